use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::types::Filter;
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    super::{
        act::late,
        aws::{Answer, Aws, Call, Command, Fault, more, parts},
        model::{
            Binding, BoxFuture, Event, Fate, Read, Reading, Recall, Recalled, Seen, Selector, Span, Step, Text,
            Trouble, TroubleKind, Verb, Write,
        },
    },
    Document, SURFACE,
    answer::{Listing, Told},
    recall,
};

/// How long after it was sent a host may still act: less than the time after which an absence counts as settled, so that a
/// command that was held up cannot land when all is forgotten.
const WINDOW: Span = Span::minutes(3);
/// The states of hosts that run, or may again.
const STATES: [&str; 4] = ["pending", "running", "stopping", "stopped"];
/// The most values that an EC2 filter takes.
const VALUES: usize = 200;

/// Windows hosts on AWS: chosen by EC2, told by SSM.
pub struct Hosts {
    aws: Aws,
}

/// Account and region.
type Region = (String, String);

/// What became of an instance, by EC2.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Running,
    Stopped,
    /// Gone for certain.
    Terminated,
}

impl Hosts {
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone() }
    }

    /// The Windows hosts that carry the tags, stopped ones too: they are given the access when they are back. One that is
    /// being terminated does not come back.
    async fn list(&self, selector: &Selector) -> Result<Vec<Text>, Trouble> {
        let [account, region] = parts(&selector.scope)?;
        let filter = |name: &str, values: Vec<String>| Filter::builder().name(name).set_values(Some(values)).build();
        let mut filters = vec![filter("instance-state-name", STATES.map(Into::into).to_vec())];
        filters.extend(
            selector
                .tags
                .iter()
                .map(|(key, any)| filter(&format!("tag:{key}"), any.iter().map(ToString::to_string).collect())),
        );
        let found = self.instances(account, region, &filters).await.map_err(|fault| fault.trouble)?;
        let mut places: Vec<Text> = found.into_keys().map(|id| format!("{account}/{region}/{id}").into()).collect();
        places.sort();
        Ok(places)
    }

    async fn instances(
        &self,
        account: &str,
        region: &str,
        filters: &[Filter],
    ) -> Result<BTreeMap<String, Life>, Fault> {
        let mut all = BTreeMap::new();
        let mut next: Option<String> = None;
        loop {
            let call = Call::new(account, region, "ec2:DescribeInstances");
            let page = self.aws.call(call, |session, region| {
                let call = session.at(region).ec2.describe_instances();
                call.set_filters(Some(filters.to_vec())).max_results(1000).set_next_token(next.clone()).send()
            });
            let page = page.await?;
            let instances =
                page.reservations.unwrap_or_default().into_iter().flat_map(|one| one.instances.unwrap_or_default());
            for instance in instances {
                let state = instance.state.as_ref().and_then(|state| state.name.as_ref()).map(|name| name.as_str());
                let life = match state {
                    Some("terminated") => Life::Terminated,
                    Some("stopping" | "stopped" | "shutting-down") => Life::Stopped,
                    _ => Life::Running,
                };
                // EC2 says `windows`, and the model of its API `Windows`.
                let windows = instance.platform.is_some_and(|name| name.as_str().eq_ignore_ascii_case("windows"));
                all.extend(instance.instance_id.filter(|_| windows).map(|id| (id, life)));
            }
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Says of hosts that could not be told anything what became of them. Only `terminated` is the end of a host; one that
    /// EC2 does not know may be late.
    async fn explain(&self, account: &str, region: &str, failed: &mut BTreeMap<String, Told>) {
        let ids: Vec<String> =
            failed.iter().filter(|(_, told)| matches!(told, Told::Fault(_))).map(|(id, _)| id.clone()).collect();
        for ids in ids.chunks(VALUES) {
            let filter = Filter::builder().name("instance-id").set_values(Some(ids.to_vec())).build();
            let Ok(lives) = self.instances(account, region, &[filter]).await else { return };
            for id in ids {
                let Some(told) = failed.get_mut(id) else { continue };
                let Told::Fault(fault) = told else { continue };
                match lives.get(id) {
                    Some(Life::Terminated) => *told = Told::Gone,
                    Some(Life::Stopped) if fault.trouble.kind == TroubleKind::Unreachable => {
                        fault.trouble.detail = "the instance is stopped".to_owned();
                    }
                    Some(Life::Running | Life::Stopped) => {}
                    None if fault.code == "InvalidInstanceId" && fault.refused => {
                        let detail = format!(
                            "InvalidInstanceId: {account}/{region}/{id} is not known, which does not prove it gone"
                        );
                        fault.trouble = Trouble::new(TroubleKind::Gone, detail);
                    }
                    None => {}
                }
            }
        }
    }

    /// Runs a document on hosts. Answers each host once; `sent` hears the command's id at once. `nonce`: by what the command is
    /// known again, if that is on record.
    async fn run(
        &self,
        (account, region): &Region,
        order: &Order,
        nonce: Option<&str>,
        hosts: &[String],
        Ends { sent, heard, off }: Ends<'_>,
    ) {
        let settings = self.aws.settings();
        let document = order.document();
        let (name, content) = (settings.windows_admin.documents.get(document), document.content());
        let nonce = match nonce.map_or_else(|| self.aws.nonce(), |nonce| Ok(nonce.to_owned())) {
            Ok(nonce) => nonce,
            Err(trouble) => return hosts.iter().for_each(|host| heard(host, Told::Fault(trouble.clone().into()))),
        };
        let parameters = order.parameters(self.aws.clock().now()).into_iter().chain([("Nonce", nonce)]).collect();
        let comment = order.comment();
        let urgent = document == Document::Remove;
        let by = order.by();
        let command = Command { account, region, name, content: &content, parameters, comment, urgent, by, off };
        let failed = Mutex::new(BTreeMap::new());
        let sort = |host: &str, answer: Answer| match answer {
            Ok(answer) => heard(host, Told::Answer(answer)),
            Err(fault) => drop(lock(&failed).insert(host.to_owned(), Told::Fault(fault))),
        };
        self.aws.run(&command, hosts, sent, &sort).await;
        let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !failed.is_empty() {
            self.explain(account, region, &mut failed).await;
        }
        for (host, told) in failed {
            heard(&host, told);
        }
    }

    /// Every host's administrators, as far as they can be read.
    async fn administrators(
        &self,
        region: &Region,
        hosts: BTreeSet<String>,
    ) -> BTreeMap<String, Result<Listing, Told>> {
        let hosts: Vec<String> = hosts.into_iter().collect();
        let found = Mutex::new(BTreeMap::new());
        let heard = |host: &str, told: Told| {
            let listing = match told {
                Told::Answer(answer) => Listing::read(&answer).map_err(|fault| Told::Fault(fault.into())),
                other => Err(other),
            };
            lock(&found).insert(host.to_owned(), listing);
        };
        let ends = Ends { sent: &|_, _| {}, heard: &heard, off: &|_| false };
        self.run(region, &Order::List, None, &hosts, ends).await;
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is the same on many hosts. Every step's fate is told once.
    async fn perform(
        &self,
        region: &Region,
        (order, nonce): &Noted,
        steps: Vec<Step>,
        events: &UnboundedSender<Event>,
    ) {
        let done = |step: &Step, fate: Fate| {
            let _ = events.send(Event::Done { intent: step.intent, fate });
        };
        let mut by_host: BTreeMap<String, Step> = BTreeMap::new();
        for step in steps {
            let now = self.aws.clock().now();
            match (late(&step, now), parts::<3>(step.binding.place())) {
                (Some(trouble), _) | (None, Err(trouble)) => done(&step, Fate::Failed(trouble)),
                (None, Ok([_, _, host])) => {
                    let host = host.to_owned();
                    by_host.insert(host, step);
                }
            }
        }
        let hosts: Vec<String> = by_host.keys().cloned().collect();
        let sent = |hosts: &[String], id: &str| {
            for step in hosts.iter().filter_map(|host| by_host.get(host)) {
                let _ = events.send(Event::Sent { intent: step.intent, request: id.into() });
            }
        };
        let heard = |host: &str, told: Told| {
            if let Some(step) = by_host.get(host) {
                done(step, told.fate());
            }
        };
        if !hosts.is_empty() {
            // What is owed is never called off.
            let off = |hosts: &[String]| {
                let off = |step: &Step| step.verb != Verb::Revoke && step.off.called(step.intent);
                hosts.iter().filter_map(|host| by_host.get(host)).all(off)
            };
            self.run(region, order, nonce.as_deref(), &hosts, Ends { sent: &sent, heard: &heard, off: &off }).await;
        }
    }
}

/// Who is told of a command, and who may call it off for hosts before it goes out.
struct Ends<'a> {
    sent: &'a (dyn Fn(&[String], &str) + Sync),
    heard: &'a (dyn Fn(&str, Told) + Sync),
    off: &'a (dyn Fn(&[String]) -> bool + Sync),
}

/// What many hosts are told alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Add { verb: Verb, user: String, until: Timestamp, by: Timestamp, grants: String },
    Remove { user: String },
    List,
}

/// An order, and the nonce that is on record for it.
type Noted = (Order, Option<Text>);

impl Order {
    fn of(step: &Step) -> Self {
        let user = step.binding.who().to_owned();
        if step.verb == Verb::Revoke {
            return Self::Remove { user };
        }
        let grants: Vec<&str> = step.holders.keys().map(|grant| grant.as_str()).collect();
        let by = step.act_by.unwrap_or(step.until);
        Self::Add { verb: step.verb, user, until: step.until, by, grants: grants.join(",") }
    }

    fn document(&self) -> Document {
        match self {
            Self::Add { .. } => Document::Add,
            Self::Remove { .. } => Document::Remove,
            Self::List => Document::List,
        }
    }

    fn by(&self) -> Option<Timestamp> {
        match self {
            Self::Add { by, .. } => Some(*by),
            Self::Remove { .. } | Self::List => None,
        }
    }

    /// Whole seconds; an end is never rounded up.
    fn parameters(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let second = |at: &Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match self {
            Self::Add { verb, user, until, by, grants } => vec![
                ("Verb", verb.to_string()),
                ("User", user.clone()),
                ("Until", second(until)),
                ("ActBy", second(&WINDOW.after(now).min(*by))),
                ("Grants", grants.clone()),
            ],
            Self::Remove { user } => vec![("User", user.clone())],
            Self::List => Vec::new(),
        }
    }

    /// For whoever reads CloudTrail; the journal has the command's id at each grant.
    fn comment(&self) -> String {
        match self {
            Self::Add { grants, .. } if grants.len() <= 80 => format!("grantd grants {grants}"),
            Self::Add { grants, .. } => format!("grantd: {} grants, see its journal", grants.split(',').count()),
            Self::Remove { user } => format!("grantd revokes {user}"),
            Self::List => "grantd looks".to_owned(),
        }
    }
}

impl Read for Hosts {
    fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>> {
        Box::pin(async move {
            let answers = join_all(selectors.iter().map(|selector| async move {
                Reading::Answer { selector: selector.clone(), places: self.list(selector).await }
            }));
            let mut asked: BTreeMap<Region, BTreeSet<String>> = BTreeMap::new();
            for binding in bindings {
                if let Ok([account, region, host]) = parts(binding.place()) {
                    asked.entry((account.to_owned(), region.to_owned())).or_default().insert(host.to_owned());
                }
            }
            let looks = join_all(asked.into_iter().map(|(region, hosts)| async move {
                let found = self.administrators(&region, hosts).await;
                (region, found)
            }));
            let (mut readings, found) = join(answers, looks).await;
            let found: BTreeMap<Region, _> = found.into_iter().collect();
            readings.extend(bindings.iter().map(|binding| {
                let seen = match parts(binding.place()) {
                    Err(trouble) => Seen::Blind(trouble),
                    Ok([account, region, host]) => {
                        let hosts = found.get(&(account.to_owned(), region.to_owned()));
                        match hosts.and_then(|hosts| hosts.get(host)) {
                            Some(Ok(listing)) => listing.seen(binding.who()),
                            Some(Err(Told::Gone)) => Seen::Gone,
                            Some(Err(Told::Fault(fault))) => Seen::Blind(fault.trouble.clone()),
                            Some(Err(Told::Answer(_))) | None => {
                                Seen::Blind(Trouble::new(TroubleKind::Broken, "nobody looked at the host"))
                            }
                        }
                    }
                };
                Reading::Sight { binding: binding.clone(), seen }
            }));
            readings
        })
    }

    fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
        Box::pin(recall::recall(&self.aws, calls))
    }
}

impl Write for Hosts {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What many hosts are told alike goes out as one, under the nonce that is on record with each.
            let mut orders: BTreeMap<(Region, Noted), Vec<Step>> = BTreeMap::new();
            for step in steps {
                debug_assert_eq!(step.binding.surface(), SURFACE);
                let [account, region, _] = parts(step.binding.place()).unwrap_or_default();
                let order = (Order::of(&step), step.nonce.clone());
                orders.entry(((account.to_owned(), region.to_owned()), order)).or_default().push(step);
            }
            let work = orders.into_iter().map(|((region, order), steps)| {
                let events = &events;
                async move { self.perform(&region, &order, steps, events).await }
            });
            join_all(work).await;
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
