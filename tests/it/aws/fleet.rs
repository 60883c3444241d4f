//! The hosts that SSM's agents run on, and the commands under way.
//!
//! No thread runs anything. Whoever looks, settles first: what was due by then has happened, in order, each at its own
//! moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use grantd::{
    model::Clock,
    surface::world::{Agent, Caseless, Host, Power},
};
use jiff::{SignedDuration, Timestamp};

use super::{cloud::Cloud, host};

/// An account and a region.
pub type Place = (String, String);

/// How a host's agent misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// It takes the command and never answers: `InProgress`, and `DeliveryTimedOut` when the time is over.
    Silent,
    /// The document's precondition is not met: `Success` and exit code 0, nothing done, no output.
    Skipped,
    /// It does what is asked, with an answer of over 2,500 characters.
    Long,
    /// The script ends with exit code 10, and did nothing.
    Failed,
    /// The host's domain does not answer: no name has a SID, and no SID a name.
    NoDomain,
    /// It does what is asked; and whoever is made a member takes our marks off at once.
    Unmarked,
}

impl Cloud {
    /// Edits the hosts of a place; those that are new run and answer by then.
    pub fn hosts<T>(&self, account: &str, region: &str, edit: impl FnOnce(&mut BTreeMap<String, Host>) -> T) -> T {
        let fleet = &mut self.shared.lock().fleet;
        // Before: what is due by now is done to the hosts as they were. After: what waited for a host waits no more.
        fleet.settle();
        let answer = edit(fleet.hosts.entry((account.into(), region.into())).or_default());
        fleet.settle();
        answer
    }

    /// The Windows users that exist: `corp\jdoe`.
    pub fn directory(&self, users: &[&str]) {
        self.shared.lock().fleet.directory = users.iter().map(|user| Caseless((*user).into())).collect();
    }

    /// How long a host takes for a command that is sent from now on. At first 100 ms.
    pub fn agent_time(&self, length: Duration) {
        self.shared.lock().fleet.agent_time = SignedDuration::try_from(length).unwrap();
    }

    /// Gives all hosts this clock, by which they tell what comes too late. SSM itself goes on by the real one.
    pub fn host_clock(&self, clock: Arc<dyn Clock>) {
        self.shared.lock().fleet.host_clock = Some(clock);
    }

    /// Lets a host's agent misbehave; `None`: no longer.
    pub fn stuck(&self, account: &str, region: &str, instance: &str, how: impl Into<Option<Stuck>>) {
        let fleet = &mut self.shared.lock().fleet;
        fleet.settle();
        let host = ((account.into(), region.into()), instance.into());
        match how.into() {
            Some(how) => fleet.stuck.insert(host, how),
            None => fleet.stuck.remove(&host),
        };
        fleet.settle();
    }

    /// The version that a host's agent says it has.
    pub fn agent_version(&self, account: &str, region: &str, instance: &str, version: &str) {
        let host = ((account.into(), region.into()), instance.into());
        self.shared.lock().fleet.versions.insert(host, version.into());
    }

    /// Puts the clock of SSM and of all hosts forward: a delivery takes 30 seconds at least to time out.
    pub fn pass(&self, length: SignedDuration) {
        let fleet = &mut self.shared.lock().fleet;
        fleet.settle();
        fleet.ahead += length;
        fleet.settle();
    }
}

pub struct Fleet {
    pub hosts: BTreeMap<Place, BTreeMap<String, Host>>,
    pub commands: BTreeMap<String, Command>,
    pub versions: BTreeMap<(Place, String), String>,
    pub agent_time: SignedDuration,
    directory: BTreeSet<Caseless>,
    /// The hosts', if it is not SSM's.
    host_clock: Option<Arc<dyn Clock>>,
    stuck: BTreeMap<(Place, String), Stuck>,
    ahead: SignedDuration,
    settled: Timestamp,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            commands: BTreeMap::new(),
            versions: BTreeMap::new(),
            agent_time: SignedDuration::from_millis(100),
            directory: BTreeSet::new(),
            host_clock: None,
            stuck: BTreeMap::new(),
            ahead: SignedDuration::ZERO,
            settled: Timestamp::UNIX_EPOCH,
        }
    }
}

/// What SendCommand was asked for, and what came of it.
pub struct Command {
    pub id: String,
    pub place: Place,
    pub document: String,
    /// As asked for.
    pub version: String,
    pub comment: String,
    /// The name of the document's step.
    pub step: String,
    pub parameters: BTreeMap<String, String>,
    pub sent: Timestamp,
    /// When the hosts have done it.
    pub due: Timestamp,
    /// When it is no longer delivered.
    pub expires: Timestamp,
    /// How many hosts may fail before it is sent to no more.
    pub errors: usize,
    /// Whether somebody looked for its invocations.
    pub looked: bool,
    /// By instance, in the order of sending.
    pub invocations: Vec<(String, Option<Outcome>)>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub status: &'static str,
    pub details: &'static str,
    /// The script's exit code, or -1 if it did not run.
    pub code: i32,
    pub out: String,
    pub at: Timestamp,
}

impl Outcome {
    /// One that the host had no part in.
    pub fn without_run(status: &'static str, details: &'static str, at: Timestamp) -> Self {
        Self { status, details, code: -1, out: String::new(), at }
    }
}

impl Fleet {
    #[expect(clippy::disallowed_methods, reason = "AWS goes by its own clock")]
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + self.ahead
    }

    /// Does what is due.
    pub fn settle(&mut self) {
        let now = self.now();
        for command in self.commands.values_mut().filter(|command| command.due <= now) {
            let mut failed = 0;
            for (instance, outcome) in &mut command.invocations {
                let host = (command.place.clone(), instance.clone());
                if outcome.is_none() && failed > command.errors {
                    *outcome = Some(Outcome::without_run("Cancelled", "Terminated", command.due));
                } else if outcome.is_none() {
                    let stuck = self.stuck.get(&host).copied();
                    let host = self.hosts.get_mut(&host.0).and_then(|hosts| hosts.get_mut(instance));
                    // It was not there to do this when we last looked, and now it is.
                    let at = command.due.max(self.settled);
                    *outcome = match host.filter(|host| reachable(host)) {
                        Some(host) if stuck != Some(Stuck::Silent) && at < command.expires => {
                            let by_host = self.host_clock.as_ref().map_or(at, |clock| clock.now());
                            let (step, parameters) = (&command.step, &command.parameters);
                            let outcome = host::run(host, &self.directory, step, parameters, stuck, by_host);
                            Some(Outcome { at, ..outcome })
                        }
                        _ if now < command.expires => None,
                        _ => Some(Outcome::without_run("TimedOut", "DeliveryTimedOut", command.expires)),
                    };
                }
                // A delivery that timed out is not counted, by AWS's documentation.
                failed += usize::from(outcome.as_ref().is_some_and(|outcome| outcome.status == "Failed"));
            }
        }
        self.settled = now;
    }
}

/// Whether commands get to its agent.
pub fn reachable(host: &Host) -> bool {
    host.state == Power::Running && host.agent == Agent::Online
}
