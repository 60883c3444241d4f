//! What became of commands whose answers were lost. SSM keeps its commands, with their parameters and what their hosts said:
//! so a command is known again by its nonce, whoever took the marks on the host away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::model::{Span, Trouble, TroubleKind},
    Aws, Command, Fault, more,
};

/// How long all of it may take in one account and region.
const LIMIT: Duration = Duration::from_secs(30);
/// What is younger may not be on SSM's list yet, or may be on its way. The host refuses what is older than three minutes.
const YOUNG: Span = Span::minutes(5);
/// SSM keeps commands for thirty days.
const KEPT: Span = Span::days(29);
/// How long to wait before each look again at a command that was sent just now.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long before its intent a command is looked for. A near list is short. That a command was never sent is said by the
/// far one alone: the clock may have been wrong when it was intended, and by up to a day that changes nothing.
const MARGINS: [Span; 2] = [Span::minutes(2), Span::days(1)];

/// A command that went out earlier, or did not, as one host's.
#[derive(Debug, Clone)]
pub struct Sought<'a> {
    pub host: &'a str,
    pub user: &'a str,
    pub nonce: &'a str,
    /// Its id, if it was told.
    pub request: Option<&'a str>,
    /// How long ago it was intended.
    pub age: Span,
}

/// What is known of such a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Trace {
    /// What the host said.
    Answer(Value),
    /// It was never sent, and never will be.
    Never,
    /// It is under way, or it cannot be told now.
    Later(Trouble),
    /// It is over, or forgotten, and nobody knows how it ended.
    Lost,
}

/// A command of SSM's list.
struct Listed {
    id: String,
    nonce: String,
    user: String,
    hosts: Vec<String>,
}

impl Aws {
    /// What became of each, in their order. Of one there may be several: a call whose answer was lost may have been made
    /// again.
    pub async fn recall(&self, account: &str, region: &str, sought: &[Sought<'_>]) -> Vec<Vec<Trace>> {
        let later = |trouble: &Trouble| vec![vec![Trace::Later(trouble.clone())]; sought.len()];
        // An end may wait for it.
        let command = Command { urgent: true, ..Command::of(account, region, "", "") };
        let work = async {
            // Who is not let into the account has not been told that the list is closed to him.
            match self.session(account).await {
                Ok(_) => self.trace(&command, sought).await,
                Err(fault) => later(&fault.trouble),
            }
        };
        tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
            let detail = format!("SSM did not tell within {} s what became of the call", LIMIT.as_secs());
            later(&Trouble::new(TroubleKind::Unreachable, detail))
        })
    }

    async fn trace(&self, command: &Command<'_>, sought: &[Sought<'_>]) -> Vec<Vec<Trace>> {
        let mut traces = vec![Vec::new(); sought.len()];
        let mut ids: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut open = Vec::new();
        for (index, one) in sought.iter().enumerate() {
            match one.request {
                Some(id) => ids.entry(id.to_owned()).or_default().push(index),
                None => open.push((index, one)),
            }
        }
        let mut tell = |index: usize, trace: Trace| {
            if let Some(traces) = traces.get_mut(index) {
                traces.push(trace);
            }
        };
        for margin in MARGINS {
            let Some(oldest) = open.iter().map(|(_, one)| one.age).max() else { break };
            let nonces = open.iter().map(|(_, one)| one.nonce).collect();
            let since = margin.before(oldest.before(self.aws_now()));
            let listed = match self.listed(command, since, &nonces).await {
                Ok(listed) => listed,
                Err(fault) => {
                    let trace = if fault.denied() { Trace::Lost } else { Trace::Later(fault.trouble) };
                    open.drain(..).for_each(|(index, _)| tell(index, trace.clone()));
                    break;
                }
            };
            open.retain(|(index, one)| {
                let fits = |each: &&Listed| {
                    each.nonce == one.nonce && each.user == one.user && each.hosts.iter().any(|host| host == one.host)
                };
                let found: Vec<&Listed> = listed.iter().filter(fits).collect();
                for each in &found {
                    ids.entry(each.id.clone()).or_default().push(*index);
                }
                if found.is_empty() && one.age < YOUNG {
                    let detail = "SSM does not show the call yet: it may be on its way";
                    tell(*index, Trace::Later(Trouble::new(TroubleKind::Unreachable, detail)));
                    return false;
                }
                found.is_empty()
            });
        }
        for (index, one) in open {
            tell(index, if one.age < KEPT { Trace::Never } else { Trace::Lost });
        }
        let heard = ids.iter().map(|(id, indices)| async move {
            let whose: Vec<_> = indices.iter().filter_map(|index| Some((*index, sought.get(*index)?))).collect();
            self.heard(command, id, whose).await
        });
        for (index, trace) in join_all(heard).await.into_iter().flatten() {
            tell(index, trace);
        }
        traces
    }

    /// What the hosts said to one command. One that was sent just now is waited for, a little: a daemon that was killed is back
    /// within seconds.
    async fn heard(&self, command: &Command<'_>, id: &str, whose: Vec<(usize, &Sought<'_>)>) -> Vec<(usize, Trace)> {
        for wait in WAITS {
            let traces = self.said(command, id, &whose).await;
            let open = |(trace, (_, one)): (&(usize, Trace), &(usize, &Sought<'_>))| {
                matches!(trace.1, Trace::Later(_)) && one.age < YOUNG
            };
            if !traces.iter().zip(&whose).any(open) {
                return traces;
            }
            tokio::time::sleep(wait).await;
        }
        self.said(command, id, &whose).await
    }

    async fn said(&self, command: &Command<'_>, id: &str, whose: &[(usize, &Sought<'_>)]) -> Vec<(usize, Trace)> {
        let later = |trouble| Trace::Later(trouble);
        let unseen = |one: &Sought<'_>| {
            if one.age >= YOUNG {
                return Trace::Lost;
            }
            let detail = format!("SSM does not show yet what became of command {id}");
            Trace::Later(Trouble::new(TroubleKind::Unreachable, detail))
        };
        let found = match self.invocations(command, id).await {
            Ok(found) => found,
            Err(fault) => {
                let forgotten = fault.code == "InvalidCommandId";
                let trace = |one| if forgotten { unseen(one) } else { later(fault.trouble.clone()) };
                return whose.iter().map(|(index, one)| (*index, trace(one))).collect();
            }
        };
        let found = &found;
        let traces = whose.iter().map(|&(index, one)| async move {
            let Some(invocation) = found.iter().find(|each| each.instance_id.as_deref() == Some(one.host)) else {
                return (index, unseen(one));
            };
            let trace = match self.answer(command, id, invocation, one.nonce).await {
                Ok(Some(Ok(answer))) => Trace::Answer(answer),
                Ok(Some(Err(_))) => Trace::Lost,
                Ok(None) => {
                    let detail = format!("command {id} is under way, or waits for its host");
                    later(Trouble::new(TroubleKind::Unreachable, detail))
                }
                Err(fault) => later(fault.trouble),
            };
            (index, trace)
        });
        join_all(traces).await
    }

    /// The commands with one of these nonces that were sent since, to the last page.
    async fn listed(
        &self,
        command: &Command<'_>,
        since: Timestamp,
        nonces: &BTreeSet<&str>,
    ) -> Result<Vec<Listed>, Fault> {
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let filter = CommandFilter::builder().key(CommandFilterKey::InvokedAfter).value(since).build();
        let filter = filter.map_err(|error| Trouble::new(TroubleKind::Broken, error.to_string()))?;
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(command.call("ssm:ListCommands"), |session, region| {
                let call = session.at(region).ssm.list_commands().filters(filter.clone());
                call.max_results(50).set_next_token(next.clone()).send()
            });
            let page = page.await?;
            all.extend(page.commands.unwrap_or_default().into_iter().filter_map(|one| {
                let parameters = one.parameters.unwrap_or_default();
                let given = |name: &str| parameters.get(name).and_then(|values| values.first()).cloned();
                let (id, nonce, user) = (one.command_id?, given("Nonce")?, given("User")?);
                let hosts = one.instance_ids.unwrap_or_default();
                nonces.contains(nonce.as_str()).then_some(Listed { id, nonce, user, hosts })
            }));
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// AWS's time, as far as it is known.
    fn aws_now(&self) -> Timestamp {
        let now = self.clock().now();
        self.skew().and_then(|skew| now.checked_add(skew).ok()).unwrap_or(now)
    }
}
