//! SSM Run Command: one command for up to fifty hosts, one answer from each.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_ssm::types::{
    CommandInvocation, CommandInvocationStatus, DocumentHashType, InstanceInformationStringFilter, PingStatus,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::model::{Trouble, TroubleKind},
    Aws, Call, Fault,
    documents::Pinned,
    more,
};

/// The most hosts that SendCommand takes, and that one page of answers holds.
pub const BATCH: usize = 50;
/// How long SSM tries to hand a command to a host's agent: the least that it takes, seconds.
const DELIVERY: i32 = 30;
/// How long an answer may take in all: delivery, the script's own time, and the way back.
const PATIENCE: Duration = Duration::from_secs(30 + 60 + 30);
/// How long to wait before the first question for answers, and at most between two.
const FIRST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(3);
/// The longest output that a list of answers holds, characters.
const CUT: usize = 2_500;
/// The longest comment that a command takes, characters.
const COMMENT: usize = 100;

const UNMANAGED: &str = "SSM does not manage the host: is its agent running, with a role that lets it?";

/// One command.
#[derive(Clone)]
pub struct Command<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub name: &'a str,
    /// What the document must hold.
    pub content: &'a str,
    pub parameters: BTreeMap<&'static str, String>,
    pub comment: String,
    pub urgent: bool,
    /// Must not go out after this moment.
    pub by: Option<Timestamp>,
    /// Whether it must not go out to these hosts any more.
    pub off: &'a (dyn Fn(&[String]) -> bool + Sync),
}

/// What a host said, or why it said nothing.
pub type Answer = Result<Value, Fault>;

impl<'a> Command<'a> {
    /// A document in an account and region, with nothing to say to it yet.
    pub fn of(account: &'a str, region: &'a str, name: &'a str, content: &'a str) -> Self {
        Self {
            account,
            region,
            name,
            content,
            parameters: BTreeMap::new(),
            comment: String::new(),
            urgent: false,
            by: None,
            off: &|_| false,
        }
    }

    pub(super) fn call(&self, action: &'static str) -> Call<'_> {
        Call::new(self.account, self.region, action).urgent(self.urgent)
    }
}

impl Aws {
    /// Runs a command on hosts, fifty at a time, and waits for each answer. `told` hears which hosts a command went to, and
    /// its id, as soon as AWS gives one; `heard` gets every host's answer exactly once.
    pub async fn run(
        &self,
        command: &Command<'_>,
        hosts: &[String],
        told: &(dyn Fn(&[String], &str) + Sync),
        heard: &(dyn Fn(&str, Answer) + Sync),
    ) {
        let batches = hosts.chunks(BATCH).map(|hosts| self.batch(command, hosts, told, heard));
        futures_util::future::join_all(batches).await;
    }

    async fn batch(
        &self,
        command: &Command<'_>,
        hosts: &[String],
        told: &(dyn Fn(&[String], &str) + Sync),
        heard: &(dyn Fn(&str, Answer) + Sync),
    ) {
        let pinned = match self.pinned(command).await {
            Ok(pinned) => pinned,
            Err(fault) => return hosts.iter().for_each(|host| heard(host, Err(fault.clone()))),
        };
        let mut sent = Vec::new();
        // What a refused batch is made of: first those whose agent is known to answer, then halves.
        let mut waiting = vec![(hosts.to_vec(), false)];
        while let Some((hosts, sorted)) = waiting.pop() {
            match self.send(command, &pinned, &hosts).await {
                Ok((id, doubt)) => {
                    // Of two there may have been, this is not the one to be asked about: both are known by their nonce.
                    if !doubt {
                        told(&hosts, &id);
                    }
                    sent.push((id, hosts, doubt));
                }
                Err(fault) if fault.code == "InvalidInstanceId" && !sorted => {
                    let (online, silent) = self.silent(command, &hosts).await;
                    for (host, silence) in silent {
                        heard(&host, Err(Fault { refused: fault.refused, ..silence }));
                    }
                    if !online.is_empty() {
                        waiting.push((online, true));
                    }
                }
                // A right that goes by tags may hold for some: one host that lost its tag must not keep the others waiting.
                Err(fault) if hosts.len() > 1 && (fault.code == "InvalidInstanceId" || fault.denied()) => {
                    let (one, other) = hosts.split_at(hosts.len() / 2);
                    waiting.push((one.to_vec(), sorted));
                    waiting.push((other.to_vec(), sorted));
                }
                Err(fault) if fault.code == "InvalidInstanceId" => {
                    let trouble = Trouble::new(TroubleKind::Unreachable, UNMANAGED);
                    hosts.iter().for_each(|host| heard(host, Err(Fault { trouble: trouble.clone(), ..fault.clone() })));
                }
                Err(fault) => {
                    if fault.missing() || fault.code.starts_with("InvalidDocument") {
                        self.unpin(command).await;
                    }
                    hosts.iter().for_each(|host| heard(host, Err(fault.clone())));
                }
            }
        }
        let answers = sent.iter().map(|(id, hosts, doubt)| async move {
            let heard = |host: &str, answer: Answer| heard(host, if *doubt { single(answer) } else { answer });
            self.collect(command, id, hosts, &heard).await;
        });
        futures_util::future::join_all(answers).await;
    }

    /// The command's id, and whether there may be another one: of an attempt that came to no answer.
    async fn send(&self, command: &Command<'_>, pinned: &Pinned, hosts: &[String]) -> Result<(String, bool), Fault> {
        let Pinned { name, version, hash } = pinned;
        let parameters: HashMap<String, Vec<String>> =
            command.parameters.iter().map(|(name, value)| ((*name).to_owned(), vec![value.clone()])).collect();
        let comment: String = command.comment.chars().take(COMMENT).collect();
        let off = || (command.off)(hosts);
        let answer = self.doubtful(command.call("ssm:SendCommand").by(command.by).unless(&off), |session, region| {
            let call = session.at(region).ssm.send_command();
            let call = call.document_name(name).document_version(version).document_hash(hash);
            let call = call.document_hash_type(DocumentHashType::Sha256);
            let call = call.set_instance_ids(Some(hosts.to_vec())).set_parameters(Some(parameters.clone()));
            // One host that fails must not keep the command from the others.
            call.comment(&comment).timeout_seconds(DELIVERY).max_concurrency("50").max_errors("100%").send()
        });
        let (answer, doubt) = answer.await?;
        let id = answer.command.and_then(|command| command.command_id);
        id.map(|id| (id, doubt)).ok_or_else(|| {
            let trouble = Trouble::new(TroubleKind::Broken, "ssm:SendCommand answered without an id");
            Fault { refused: false, ..trouble.into() }
        })
    }

    /// Waits for the answers to one command, a page a question, at growing intervals.
    async fn collect(&self, command: &Command<'_>, id: &str, hosts: &[String], heard: &(dyn Fn(&str, Answer) + Sync)) {
        let mut open: BTreeSet<&str> = hosts.iter().map(String::as_str).collect();
        let (mut wait, began) = (FIRST, Instant::now());
        let nonce = command.parameters.get("Nonce").map_or("", String::as_str);
        let mut last = None;
        while !open.is_empty() && began.elapsed() < PATIENCE {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
            match self.invocations(command, id).await {
                Ok(found) => {
                    for one in found {
                        let host = one.instance_id.as_deref().unwrap_or_default();
                        if !open.contains(host) {
                            continue;
                        }
                        match self.answer(command, id, &one, nonce).await {
                            Ok(Some(answer)) => {
                                open.remove(host);
                                heard(host, answer);
                            }
                            Ok(None) => {}
                            Err(fault) => last = Some(fault),
                        }
                    }
                }
                Err(fault) => last = Some(fault),
            }
        }
        for host in open {
            let detail = format!("the host did not answer command {id} within {} s", PATIENCE.as_secs());
            let trouble =
                last.as_ref().map_or(Trouble::new(TroubleKind::Unreachable, detail), |last| last.trouble.clone());
            heard(host, Err(unknown(trouble)));
        }
    }

    pub(super) async fn invocations(&self, command: &Command<'_>, id: &str) -> Result<Vec<CommandInvocation>, Fault> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(command.call("ssm:ListCommandInvocations"), |session, region| {
                let call = session.at(region).ssm.list_command_invocations();
                call.command_id(id).details(true).max_results(50).set_next_token(next.clone()).send()
            });
            let page = page.await?;
            all.extend(page.command_invocations.unwrap_or_default());
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// What a host's invocation came to; `None` while it is under way. A fault is the question's own: it may be asked again.
    pub(super) async fn answer(
        &self,
        command: &Command<'_>,
        id: &str,
        one: &CommandInvocation,
        nonce: &str,
    ) -> Result<Option<Answer>, Fault> {
        let output = |one: &CommandInvocation| {
            let plugin = one.command_plugins.as_ref().and_then(|plugins| plugins.first());
            plugin.and_then(|plugin| plugin.output.clone()).unwrap_or_default()
        };
        let detail = one.status_details.as_deref().unwrap_or_default();
        let Some(status) = &one.status else { return Ok(None) };
        match status {
            CommandInvocationStatus::Pending
            | CommandInvocationStatus::InProgress
            | CommandInvocationStatus::Delayed
            | CommandInvocationStatus::Cancelling => Ok(None),
            CommandInvocationStatus::Success | CommandInvocationStatus::Failed => {
                let said = output(one);
                if let Some(answer) = parse(&said, nonce) {
                    return Ok(Some(Ok(answer)));
                }
                if said.len() >= CUT {
                    let host = one.instance_id.as_deref().unwrap_or_default();
                    return self.whole(command, id, host, nonce).await.map(Some);
                }
                let why = match said.trim().lines().last() {
                    Some(line) => format!("said `{}` instead of a result", line.chars().take(200).collect::<String>()),
                    None => "said nothing: the step was skipped (no Windows host?) or the agent is too old".to_owned(),
                };
                let why = format!("the host ended with {detail} and {why}");
                Ok(Some(Err(unknown(Trouble::new(TroubleKind::Broken, why)))))
            }
            // Not delivered in time does not mean that it did not run.
            _ => {
                let detail = format!("command {id} ended with {detail} before the host answered");
                Ok(Some(Err(unknown(Trouble::new(TroubleKind::Unreachable, detail)))))
            }
        }
    }

    /// The answer of one host whose output was cut in the list.
    async fn whole(&self, command: &Command<'_>, id: &str, host: &str, nonce: &str) -> Result<Answer, Fault> {
        let answer = self.call(command.call("ssm:GetCommandInvocation"), |session, region| {
            session.at(region).ssm.get_command_invocation().command_id(id).instance_id(host).send()
        });
        let said = answer.await?.standard_output_content.unwrap_or_default();
        Ok(parse(&said, nonce).ok_or_else(|| {
            let detail = format!("the host's answer of {} characters was cut", said.len());
            unknown(Trouble::new(TroubleKind::Broken, detail))
        }))
    }

    /// Of these hosts, those that may be told, and what to say of those whose agent is known not to answer. If that cannot
    /// be told to the last page, all may.
    async fn silent(&self, command: &Command<'_>, hosts: &[String]) -> (Vec<String>, Vec<(String, Fault)>) {
        let all = || (hosts.to_vec(), Vec::new());
        let filter = InstanceInformationStringFilter::builder().key("InstanceIds");
        let Ok(filter) = filter.set_values(Some(hosts.to_vec())).build() else { return all() };
        let mut known = BTreeMap::new();
        let mut next: Option<String> = None;
        loop {
            let answer = self.call(command.call("ssm:DescribeInstanceInformation"), |session, region| {
                let call = session.at(region).ssm.describe_instance_information();
                call.filters(filter.clone()).max_results(50).set_next_token(next.clone()).send()
            });
            let Ok(page) = answer.await else { return all() };
            known.extend(page.instance_information_list.unwrap_or_default().into_iter().filter_map(|one| {
                let online = one.ping_status == Some(PingStatus::Online);
                Some((one.instance_id?, (online, one.last_ping_date_time)))
            }));
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                break;
            }
        }
        let mut online = Vec::new();
        let mut silent = Vec::new();
        for host in hosts {
            let why = match known.get(host) {
                Some((true, _)) => {
                    online.push(host.clone());
                    continue;
                }
                Some((false, Some(last))) => format!("the SSM agent does not answer (last at {last})"),
                Some((false, None)) => "the SSM agent does not answer".to_owned(),
                None => UNMANAGED.to_owned(),
            };
            let trouble = Trouble::new(TroubleKind::Unreachable, why);
            silent.push((host.clone(), Fault { code: "InvalidInstanceId".to_owned(), ..trouble.into() }));
        }
        (online, silent)
    }
}

/// The command went out; whether it was done nobody knows.
fn unknown(trouble: Trouble) -> Fault {
    Fault { refused: false, ..trouble.into() }
}

/// What a host said to a command before which another may have come, all the same as it. What it found standing may be what
/// the other one made, and whoever it was made for may have taken our mark off since.
fn single(answer: Answer) -> Answer {
    match answer {
        Ok(answer) if answer.get("result") == Some(&json!("standing")) => {
            let detail = "the command was sent twice, and what the second one found there may be by the first";
            Err(unknown(Trouble::new(TroubleKind::Unreachable, detail)))
        }
        answer => answer,
    }
}

/// The one line of the script's own, told by the nonce from whatever else may be printed.
fn parse(output: &str, nonce: &str) -> Option<Value> {
    let ours = |line: &str| {
        let value: Value = serde_json::from_str(line.trim()).ok()?;
        (value.get("grantd")? == 1 && value.get("nonce")?.as_str()? == nonce && !nonce.is_empty()).then_some(value)
    };
    output.lines().find_map(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_answer_counts() {
        let nonce = "00112233445566778899aabbccddeeff";
        let line = format!(r#"{{"grantd":1,"nonce":"{nonce}","result":"done","detail":""}}"#);
        assert_eq!(parse(&line, nonce).unwrap()["result"], "done");
        assert_eq!(parse(&format!("WARNING: x\r\n{line}\r\n"), nonce).unwrap()["result"], "done");
        for other in ["", "done", r#"{"grantd":1,"result":"done"}"#, &line.replace("00112233", "ffffffff"), &line[..40]]
        {
            assert_eq!(parse(other, nonce), None, "{other}");
        }
        assert_eq!(parse(&line.replace(nonce, ""), ""), None, "no nonce, no answer");
    }
}
