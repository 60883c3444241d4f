//! Every end comes: attacks on the engine that once kept access, or took what was not ours, each as a story on the world.

use std::{collections::BTreeMap, sync::Arc};

use grantd::{
    model::{Binding, BoxFuture, Hold, Policy, Read, Reading, Recall, Recalled, Record, Selector, Span, Sure, Verb},
    surface::{
        Cloud,
        world::{Caseless, Failure, Fault, Latency, ManualClock, Member, On, Power, State, World},
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::sim::Sim;

const WORLD: &str = r#"
accounts:
  "123456789012":
    hosts:
      us-east-1:
        i-00000001: { tags: { AccessGroup: JITAdmins }, administrators: ['CORP\ops'] }
    users: { jdoe: {} }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {} }
policies: [AmazonEC2ReadOnlyAccess]
directory: { windows: ['CORP\jdoe', 'CORP\ops'] }
"#;
pub const HOST: &str =
    r"windows-admin: { user: CORP\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: JITAdmins } }";
pub const POLICY: &str = "iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }";
pub const GROUP: &str = "iam-group: { account: prod, user: jdoe, group: Auditors }";

pub struct Story {
    pub sim: Sim,
    pub world: World,
    pub clock: Arc<ManualClock>,
}

pub fn nine() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

impl Story {
    pub async fn begin() -> Self {
        let accounts = serde_saphyr::from_str("prod: { id: \"123456789012\", regions: [us-east-1] }").unwrap();
        let policy = Policy { accounts: Some(accounts), ..Policy::default() };
        let clock = Arc::new(ManualClock::new(nine()));
        let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
        let mut sim = Sim::new(Cloud::World(world.clone()), clock.clone(), policy);
        sim.init(false).await;
        sim.start();
        sim.work().await;
        Self { sim, world, clock }
    }

    /// Merges a grant and lets the daemon do what it can.
    pub async fn grant(&mut self, id: &str, ttl: &str, access: &[&str]) {
        let access: String = access.iter().map(|ask| format!("  - {ask}\n")).collect();
        self.sim
            .repo
            .write(&format!("{id}.yaml"), &format!("requester: jdoe\npurpose: p\nttl: {ttl}\naccess:\n{access}"));
        // Whoever commits has a clock of his own.
        let steady = SignedDuration::try_from(grantd::model::Clock::steady(self.clock.as_ref())).unwrap();
        self.sim.repo.commit(nine().checked_add(steady).unwrap(), id);
        self.sim.poll().await;
    }

    pub fn clock_now(&self) -> Timestamp {
        self.sim.clock_now()
    }

    pub async fn pass(&mut self, span: Span) {
        self.sim.advance(span.after(self.clock_now())).await;
    }

    pub fn fault(&self, on: On, trouble: Failure, times: Option<u32>) {
        let times = times.and_then(std::num::NonZeroU32::new);
        let fault = Fault { surface: None, place: None, on, trouble, times };
        self.world.edit(|state| state.faults.push(fault.clone())).unwrap();
    }

    pub fn host(&self, change: impl Fn(&mut grantd::surface::world::Host)) {
        self.world
            .edit(|state| {
                let account = state.accounts.get_mut("123456789012").unwrap();
                change(account.hosts.get_mut("us-east-1").unwrap().get_mut("i-00000001").unwrap());
            })
            .unwrap();
    }

    pub fn has(&self, what: &str) -> bool {
        self.world.show().unwrap().contains(what)
    }

    pub fn hold(&self) -> Hold {
        self.sim.daemon.as_ref().unwrap().cycle.ledger().owned.values().next().unwrap().hold.clone()
    }

    /// How many intents to do this are on record.
    pub fn intents(&self, asked: Verb) -> usize {
        self.sim
            .lines()
            .iter()
            .filter(|line| matches!(&line.record, Record::Intend { verb, .. } if *verb == asked))
            .count()
    }
}

pub const ADMIN: &str = r"corp\jdoe";
pub const ATTACHED: &str = "AmazonEC2ReadOnlyAccess";

/// Whether there is time for all of it.
fn soak() -> bool {
    std::env::vars_os().any(|(name, _)| name == "GRANTD_SOAK")
}

pub fn run(story: impl AsyncFnOnce(Story)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { story(Story::begin().await).await });
}

/// Renewals that fail pause for minutes by now; the end comes, and its first attempt is made at once.
#[test]
fn an_end_does_not_wait_for_failed_renewals() {
    for access in [HOST, POLICY] {
        run(async |mut story| {
            story.grant("jdoe-one", "1h", &[access]).await;
            story.fault(On::Write, Failure::Unreachable, None);
            story.grant("jdoe-one", "2h", &[access]).await;
            story.pass(Span::minutes(60)).await;
            assert!(story.hold().retry().unwrap().count >= 8, "{:?}", story.hold());
            story.world.edit(|state| state.faults.clear()).unwrap();
            let now = story.clock_now();
            std::fs::remove_file(story.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
            story.sim.repo.commit(now, "withdraw");
            story.sim.poll().await;
            assert_eq!(story.clock_now(), now, "no time passed");
            assert!(matches!(story.hold(), Hold::Settling { .. }), "{:?}", story.hold());
            assert!(!story.has(ADMIN) && !story.has(ATTACHED), "{}", story.world.show().unwrap());
        });
    }
}

/// A renewal to an earlier end is another thing than the one to a later end that fails.
#[test]
fn an_earlier_end_does_not_wait_for_renewals_to_a_later_one() {
    run(async |mut story| {
        story.grant("jdoe-one", "2h", &[HOST]).await;
        story.fault(On::Write, Failure::Unreachable, None);
        story.grant("jdoe-one", "3h", &[HOST]).await;
        story.pass(Span::minutes(40)).await;
        story.world.edit(|state| state.faults.clear()).unwrap();
        let before = story.intents(Verb::Renew);
        story.grant("jdoe-one", "1h", &[HOST]).await;
        assert_eq!(story.intents(Verb::Renew), before + 1, "at once");
        assert!(story.has("until 2026-11-20T10:00:00Z"), "{}", story.world.show().unwrap());
    });
}

/// Readers that fetch no lost answer: nobody knows any more.
struct Forgetful(Arc<dyn Read>);

impl Read for Forgetful {
    fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>> {
        self.0.read(selectors, bindings)
    }

    fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
        Box::pin(async { vec![Recalled::Lost; calls.len()] })
    }
}

/// The answer is lost for ever and the new administrator takes our mark off: it is there, may be ours, and is told and ended.
#[test]
fn what_may_be_ours_is_disputed_and_ended() {
    run(async |mut story| {
        let readers = story.sim.cloud.readers();
        let forgetful = |(name, reader)| (name, Arc::new(Forgetful(reader)) as Arc<dyn Read>);
        let parts = &mut story.sim.daemon.as_mut().unwrap().cycle.parts;
        parts.readers = readers.into_iter().map(forgetful).collect::<BTreeMap<_, _>>();
        story.fault(On::Write, Failure::LostReply, Some(1));
        story.grant("jdoe-one", "1h", &[HOST]).await;
        story.host(|host| host.administrators.iter_mut().for_each(|member| member.marker = None));
        story.pass(Span::minutes(1)).await;
        assert!(matches!(story.hold(), Hold::Held { sure: Sure::Disputed, .. }), "{:?}", story.hold());
        assert!(story.has(ADMIN));
        story.pass(Span::minutes(59)).await;
        assert!(!story.has(ADMIN), "{}", story.world.show().unwrap());
    });
}

/// Killed between intent and call, where somebody stood before: nothing was sent, and nothing of his is taken.
#[test]
fn an_intent_that_was_never_sent_takes_nothing() {
    for access in [HOST, POLICY, GROUP] {
        run(async |mut story| {
            // The call takes longer than the process lives.
            story.world.edit(|state| state.latency = Some(Latency(std::time::Duration::from_secs(2)))).unwrap();
            story
                .sim
                .repo
                .write("jdoe-one.yaml", &format!("requester: j\npurpose: p\nttl: 1h\naccess:\n  - {access}\n"));
            story.sim.repo.commit(nine(), "one");
            let daemon = story.sim.daemon.as_mut().unwrap();
            daemon.cycle.fetch();
            while daemon.executor.pending().is_empty() {
                daemon.turn();
                story.clock.advance(SignedDuration::from_secs(3));
                let next = tokio::time::timeout(std::time::Duration::from_millis(50), daemon.cycle.next());
                if let Ok(happening) = next.await {
                    daemon.absorb(happening);
                }
            }
            story.sim.kill();
            story.world.edit(|state| state.latency = None).unwrap();
            let before = story.world.show().unwrap();
            assert!(!before.contains(ADMIN) && !before.contains(ATTACHED), "{before}");
            story.sim.start();
            story.sim.work().await;
            story.pass(Span::hours(2)).await;
            assert_eq!(story.world.show().unwrap(), before, "{access}");
            assert!(story.sim.daemon.as_ref().unwrap().cycle.ledger().owned.is_empty());
        });
    }
}

/// Somebody is quicker than our call, though we looked just before: his is not ours, and stays.
#[test]
fn what_was_added_between_look_and_call_is_not_ours() {
    run(async |mut story| {
        story.world.edit(|state| state.latency = Some(Latency(std::time::Duration::from_secs(2)))).unwrap();
        story
            .sim
            .repo
            .write("jdoe-one.yaml", &format!("requester: j\npurpose: p\nttl: 1h\naccess:\n  - {HOST}\n  - {POLICY}\n"));
        story.sim.repo.commit(nine(), "one");
        let daemon = story.sim.daemon.as_mut().unwrap();
        daemon.cycle.fetch();
        while daemon.executor.pending().len() < 2 {
            daemon.turn();
            story.clock.advance(SignedDuration::from_secs(1));
            let next = tokio::time::timeout(std::time::Duration::from_millis(50), daemon.cycle.next());
            if let Ok(happening) = next.await {
                daemon.absorb(happening);
            }
        }
        let by_hand = Member { user: Caseless(r"CORP\jdoe".into()), marker: None };
        story.host(|host| host.administrators.push(by_hand.clone()));
        story
            .world
            .edit(|state| {
                let roles = &mut state.accounts.get_mut("123456789012").unwrap().roles;
                roles.get_mut("OpsOnCall").unwrap().policies.insert("AmazonEC2ReadOnlyAccess".into());
                state.latency = None;
            })
            .unwrap();
        let before = story.world.show().unwrap();
        story.clock.advance(SignedDuration::from_secs(5));
        story.sim.work().await;
        let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
        assert_eq!((ledger.owned.len(), ledger.standing.len()), (0, 2), "{:?}", ledger.owned);
        story.pass(Span::hours(2)).await;
        assert_eq!(story.world.show().unwrap(), before);
    });
}

/// Killed while a renewal is under way, and the access is taken away by hand: the next start gives nothing back.
#[test]
fn a_renewal_that_was_cut_off_gives_nothing_back() {
    for access in [HOST, POLICY] {
        run(async |mut story| {
            story.grant("jdoe-one", "1h", &[access]).await;
            assert!(story.has(ADMIN) || story.has(ATTACHED));
            story.world.edit(|state| state.latency = Some(Latency(std::time::Duration::from_secs(60)))).unwrap();
            story
                .sim
                .repo
                .write("jdoe-one.yaml", &format!("requester: jdoe\npurpose: p\nttl: 2h\naccess:\n  - {access}\n"));
            story.sim.repo.commit(nine(), "longer");
            let daemon = story.sim.daemon.as_mut().unwrap();
            daemon.cycle.fetch();
            while daemon.executor.pending().is_empty() {
                daemon.turn();
                let next = tokio::time::timeout(std::time::Duration::from_millis(50), daemon.cycle.next());
                if let Ok(happening) = next.await {
                    daemon.absorb(happening);
                }
            }
            assert!(matches!(story.hold(), Hold::Renewing { .. }), "{:?}", story.hold());
            story.sim.kill();
            story.world.edit(|state| state.latency = None).unwrap();
            story.host(|host| host.administrators.retain(|member| member.user.0.contains("ops")));
            story
                .world
                .edit(|state| {
                    let roles = &mut state.accounts.get_mut("123456789012").unwrap().roles;
                    roles.get_mut("OpsOnCall").unwrap().policies.clear();
                })
                .unwrap();
            story.sim.start();
            story.sim.work().await;
            story.pass(Span::minutes(30)).await;
            assert!(!story.has(ADMIN) && !story.has(ATTACHED), "given back: {}", story.world.show().unwrap());
            assert!(matches!(story.hold(), Hold::Drifted { .. }), "{:?}", story.hold());
        });
    }
}

/// A host that is terminated while its grant is tried costs one line, not a busy loop.
#[test]
fn a_terminated_host_is_left_alone() {
    run(async |mut story| {
        story.host(|host| host.agent = grantd::surface::world::Agent::Offline);
        story.grant("jdoe-one", "2h", &[HOST]).await;
        story.host(|host| host.state = Power::Terminated);
        story.pass(Span::minutes(1)).await;
        let before = story.sim.lines().len();
        story.pass(Span::minutes(30)).await;
        story.sim.sweep().await;
        story.sim.kill();
        story.sim.start();
        story.pass(Span::minutes(10)).await;
        let lines = story.sim.lines().len() - before;
        assert!(lines <= 3, "{lines} lines about a host that is no more");
        story.pass(Span::hours(3)).await;
        let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
        assert!(ledger.gone.is_empty() && ledger.owned.is_empty() && ledger.refused.is_empty());
    });
}

/// A plan that asks for the same again and again, whatever mistake is behind it, comes to an end: here each
/// answer is lost, and what is fetched in its place makes no sense for a grant.
#[test]
fn what_goes_round_in_circles_is_slowed_down() {
    struct Liar(Arc<dyn Read>);
    impl Read for Liar {
        fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>> {
            self.0.read(selectors, bindings)
        }
        /// Each lost answer is told to have failed, at once.
        fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
            Box::pin(async { vec![Recalled::Came(grantd::model::Fate::Absent); calls.len()] })
        }
    }
    run(async |mut story| {
        let readers = story.sim.cloud.readers();
        let liars = readers.into_iter().map(|(name, reader)| (name, Arc::new(Liar(reader)) as Arc<dyn Read>)).collect();
        story.sim.daemon.as_mut().unwrap().cycle.parts.readers = liars;
        story.fault(On::Write, Failure::LostReply, None);
        story.grant("jdoe-one", "1h", &[HOST]).await;
        story.pass(Span::minutes(5)).await;
        let calls = story.intents(Verb::Grant);
        assert!(calls < 40, "{calls} calls in five minutes");
    });
}

/// The clock is stepped by an hour or a day, either way, at each stage of a grant's life, before, during and after a restart,
/// and put right again (or not): nothing outlives its end by what has passed, and the journal stays whole.
#[test]
fn no_step_of_the_clock_keeps_access() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Stage {
        Waiting,
        Live,
        Renewed,
        Failing,
        Settling,
    }
    let mut number = 0;
    for stage in [Stage::Waiting, Stage::Live, Stage::Renewed, Stage::Failing, Stage::Settling] {
        for hours in [-24, -1, 1, 24] {
            for (stop, restart) in [(false, false), (true, false), (false, true), (true, true)] {
                for right in [true, false] {
                    // All 160 take a minute: a third of them here, every value of each among them, and all in scripts/soak.
                    number += 1;
                    if number % 3 != 0 && !soak() {
                        continue;
                    }
                    let what = format!(
                        "{stage:?}, {hours} h, down at the step {stop}, restarted within {restart}, put right {right}"
                    );
                    run(async |mut story| {
                        let step = SignedDuration::from_hours(hours);
                        if stage == Stage::Waiting {
                            story.fault(On::Write, Failure::Unreachable, None);
                        }
                        story.grant("jdoe-one", "30m", &[HOST, POLICY]).await;
                        // What has passed since it began, by the steady clock.
                        let begun = grantd::model::Clock::steady(story.clock.as_ref());
                        match stage {
                            Stage::Waiting | Stage::Live => story.pass(Span::minutes(2)).await,
                            Stage::Renewed => story.grant("jdoe-one", "20m", &[HOST, POLICY]).await,
                            Stage::Failing => {
                                story.fault(On::Write, Failure::Unreachable, None);
                                story.pass(Span::minutes(31)).await;
                            }
                            Stage::Settling => story.pass(Span::minutes(31)).await,
                        }
                        if stop {
                            story.sim.kill();
                        }
                        story.clock.step(step);
                        if stop {
                            story.sim.start();
                        }
                        story.sim.work().await;
                        // A step ahead grants nothing, and one back neither.
                        story.grant("jdoe-two", "10m", &[GROUP]).await;
                        assert!(!story.has("members: jdoe"), "{what}: granted by a clock that is wrong");
                        if restart {
                            story.sim.kill();
                            story.sim.start();
                            story.sim.work().await;
                        }
                        story.pass(Span::minutes(3)).await;
                        story.world.edit(|state| state.faults.clear()).unwrap();
                        if right {
                            story.clock.step(-step);
                            story.sim.work().await;
                            assert_eq!(story.sim.outlook.standstill.as_deref(), None, "{what}");
                            story.sim.poll().await;
                            assert!(story.has("members: jdoe"), "{what}: {:?}", story.sim.outlook);
                        }
                        // What had to go by now goes within the longest pause.
                        let passed = grantd::model::Clock::steady(story.clock.as_ref()) - begun;
                        let left = std::time::Duration::from_secs(30 * 60).saturating_sub(passed);
                        let left = Span::seconds(left.as_secs() as i64 + 5 * 60 + 1);
                        for _ in 0..left.as_seconds() / 60 + 1 {
                            story.clock.advance(SignedDuration::from_secs(60));
                            story.sim.work().await;
                        }
                        assert!(!story.has(ADMIN) && !story.has(ATTACHED), "{what}:\n{}", story.world.show().unwrap());
                        for _ in 0..8 {
                            story.clock.advance(SignedDuration::from_mins(6));
                            story.sim.sweep().await;
                        }
                        let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
                        assert!(ledger.owned.is_empty(), "{what}: {:?}", ledger.owned);
                        story.sim.kill();
                        grantd::journal::verify(&story.sim.state(), None, None, |_| {
                            Ok::<_, grantd::model::JournalError>(())
                        })
                        .unwrap();
                    });
                }
            }
        }
    }
}

/// An edit that takes an entry out or moves the end earlier gives nothing: it waits for no clock that is to be trusted.
#[test]
fn less_is_asked_for_while_the_clock_is_wrong() {
    for hours in [-1, 1] {
        run(async |mut story| {
            story.grant("jdoe-one", "8h", &[POLICY, GROUP]).await;
            story.grant("jdoe-two", "8h", &[HOST]).await;
            story.clock.step(SignedDuration::from_hours(hours));
            story.sim.work().await;
            assert!(story.sim.outlook.standstill.is_some());
            story.grant("jdoe-one", "8h", &[POLICY]).await;
            assert!(!story.has("members: jdoe"), "{hours}: the entry is out");
            // What is asked for anew, or for longer, waits.
            story.grant("jdoe-three", "8h", &[GROUP]).await;
            story.grant("jdoe-two", "2h", &[HOST]).await;
            story.grant("jdoe-one", "20h", &[POLICY]).await;
            assert!(!story.has("members: jdoe"));
            for _ in 0..60 {
                story.clock.advance(SignedDuration::from_secs(130));
                story.sim.work().await;
            }
            assert!(!story.has(ADMIN), "{hours}: its end was moved earlier");
            assert!(story.has(ATTACHED), "{hours}");
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert!(ledger.grants.values().all(|terms| terms.until <= Span::hours(8).after(terms.start)));
        });
    }
}

/// Somebody else could change the configuration: nothing is granted, and who asks for less has less; a mass withdrawal that is taken back
/// in time is none.
#[test]
fn what_takes_away_or_is_taken_back_waits_for_no_guard() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "20h", &[HOST, POLICY]).await;
            let many: Vec<String> = (0..12).map(|number| format!("many-{number:02}.yaml")).collect();
            let request = format!("requester: jdoe\npurpose: p\nttl: 20h\naccess:\n  - {GROUP}\n");
            many.iter().for_each(|name| story.sim.repo.write(name, &request));
            story.sim.repo.commit(story.clock_now(), "many");
            story.sim.poll().await;
            many.iter().for_each(|name| std::fs::remove_file(story.sim.repo.path.join("grants").join(name)).unwrap());
            story.sim.repo.commit(story.clock_now(), "by mistake");
            story.sim.poll().await;
            story.sim.policy.unguarded = Some("anybody can write to it".into());
            if restart {
                story.sim.kill();
                story.sim.start();
            }
            let policy = story.sim.policy.clone();
            story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy.into());
            story.sim.repo.git(story.clock_now(), &["revert", "--no-edit", "HEAD"]);
            story.sim.poll().await;
            story.grant("jdoe-one", "1h", &[HOST]).await;
            story.grant("jdoe-two", "1h", &[POLICY]).await;
            assert!(!story.has(ATTACHED) && story.has(ADMIN), "{restart}: one of two entries went, and nothing came");
            story.pass(Span::minutes(35)).await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert_eq!((ledger.grants.len(), ledger.used.len()), (13, 0), "{restart}: taken back in time");
            assert!(story.has("members: jdoe"));
            story.pass(Span::minutes(26)).await;
            assert!(!story.has(ADMIN), "{restart}: its end was moved earlier");
            story.sim.policy.unguarded = None;
            let policy = story.sim.policy.clone();
            story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy.into());
            story.sim.poll().await;
            assert!(story.has(ATTACHED), "{restart}: what waited");
        });
    }
}

/// An edit that takes an entry out and moves the end later: while nothing may be given, the first part of it counts, and the rest when
/// it may be.
#[test]
fn of_an_edit_that_gives_and_takes_what_it_takes_counts_at_once() {
    for mass in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "1h", &[HOST, POLICY]).await;
            if mass {
                let many: Vec<String> = (0..12).map(|number| format!("many-{number:02}.yaml")).collect();
                let request = format!("requester: jdoe\npurpose: p\nttl: 20h\naccess:\n  - {GROUP}\n");
                many.iter().for_each(|name| story.sim.repo.write(name, &request));
                story.sim.repo.commit(story.clock_now(), "many");
                story.sim.poll().await;
                many.iter()
                    .for_each(|name| std::fs::remove_file(story.sim.repo.path.join("grants").join(name)).unwrap());
                story.sim.repo.commit(story.clock_now(), "by mistake");
                story.sim.poll().await;
            } else {
                guard(&mut story, Some("anybody can write to it"));
            }
            story.grant("jdoe-one", "8h", &[HOST]).await;
            let ends = |story: &Story| {
                let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
                ledger.grants.iter().find(|(id, _)| id.as_str() == "jdoe-one").map(|(_, terms)| terms.until.to_string())
            };
            assert!(story.has(ADMIN) && !story.has(ATTACHED), "{mass}");
            assert_eq!(ends(&story).unwrap(), "2026-11-20T10:00:00Z", "{mass}");
            if mass {
                story.pass(Span::minutes(35)).await;
            } else {
                guard(&mut story, None);
            }
            story.sim.poll().await;
            assert_eq!(ends(&story).unwrap(), "2026-11-20T17:00:00Z", "{mass}: what it gives comes later");
            story.pass(Span::hours(2)).await;
            assert!(story.has(ADMIN) && !story.has(ATTACHED), "{mass}");
        });
    }
}

/// What is taken of a head that is not accepted says nothing of where its file lies: another head may follow the accepted one.
#[test]
fn a_move_that_was_never_accepted_hides_no_deletion() {
    run(async |mut story| {
        story.grant("jdoe-one", "8h", &[HOST]).await;
        let accepted = story.sim.repo.git(nine(), &["rev-parse", "HEAD"]).trim().to_owned();
        guard(&mut story, Some("anybody can write to it"));
        story.sim.repo.git(nine(), &["rm", "--quiet", "grants/jdoe-one.yaml"]);
        std::fs::create_dir_all(story.sim.repo.path.join("grants/team")).unwrap();
        story.grant("team/jdoe-one", "2h", &[HOST]).await;
        let until = |story: &Story| {
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            ledger.grants.values().next().map(|terms| (terms.until.to_string(), terms.path.to_string()))
        };
        assert_eq!(until(&story).unwrap(), ("2026-11-20T11:00:00Z".to_owned(), "grants/jdoe-one.yaml".to_owned()));
        story.sim.repo.git(nine(), &["reset", "--quiet", "--hard", &accepted]);
        std::fs::remove_file(story.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
        story.sim.repo.commit(story.clock_now(), "gone");
        guard(&mut story, None);
        story.sim.poll().await;
        assert!(!story.has(ADMIN), "{:?}", until(&story));
    });
}

fn guard(story: &mut Story, why: Option<&str>) {
    story.sim.policy.unguarded = why.map(Into::into);
    let policy = story.sim.policy.clone();
    story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy.into());
}

/// While granting stands still no renewal is made that gives nothing and takes nothing.
#[test]
fn an_end_that_somebody_wrote_over_waits_while_granting_stands_still() {
    run(async |mut story| {
        story.grant("jdoe-one", "8h", &[HOST]).await;
        guard(&mut story, Some("anybody can write to it"));
        story.host(|host| {
            for member in &mut host.administrators {
                if let Some(marker) = &mut member.marker {
                    marker.until = "2026-11-20T11:00:00Z".parse().unwrap();
                }
            }
        });
        story.sim.sweep().await;
        story.pass(Span::minutes(10)).await;
        assert_eq!(story.intents(Verb::Renew), 0);
        guard(&mut story, None);
        story.sim.poll().await;
        story.sim.sweep().await;
        assert_eq!(story.intents(Verb::Renew), 1);
        assert!(story.has("2026-11-20T17:00:00Z"));
    });
}

/// Killed in its first grant, and refused ever since: a quarter of an hour later nothing of ours can come any more, and what somebody
/// adds then is his.
#[test]
fn what_may_be_ours_is_so_no_longer_than_it_can_come() {
    for minutes in [5, 25] {
        run(async |mut story| {
            story.world.edit(|state| state.latency = Some(Latency(std::time::Duration::from_secs(60)))).unwrap();
            let text = format!("requester: jdoe\npurpose: p\nttl: 2h\naccess:\n  - {GROUP}\n");
            story.sim.repo.write("jdoe-one.yaml", &text);
            story.sim.repo.commit(story.clock_now(), "one");
            let daemon = story.sim.daemon.as_mut().unwrap();
            daemon.cycle.fetch();
            for _ in 0..200 {
                daemon.turn();
                if !daemon.executor.pending().is_empty() {
                    break;
                }
                story.clock.advance(SignedDuration::from_secs(3));
                let next = tokio::time::timeout(std::time::Duration::from_millis(50), daemon.cycle.next());
                if let Ok(happening) = next.await {
                    daemon.absorb(happening);
                }
            }
            assert!(!daemon.executor.pending().is_empty());
            story.sim.kill();
            story.world.edit(|state| state.latency = None).unwrap();
            story.fault(On::Write, Failure::Denied, None);
            story.sim.start();
            story.sim.poll().await;
            story.pass(Span::minutes(minutes)).await;
            story.sim.sweep().await;
            story.world.edit(|state| state.faults.clear()).unwrap();
            let disputes = |story: &Story| {
                story.sim.lines().iter().filter(|line| matches!(line.record, Record::Dispute { .. })).count()
            };
            assert_eq!(disputes(&story), 0);
            crate::drift::add_group(&story);
            story.sim.sweep().await;
            story.pass(Span::hours(3)).await;
            story.sim.sweep().await;
            let ours = minutes < 15;
            assert_eq!((disputes(&story), story.has("members: jdoe")), (usize::from(ours), !ours), "{minutes}");
        });
    }
}

/// A start asks Git before it gives anything; what somebody asks for who could not be given it yet is not taken away for that.
#[test]
fn a_start_ends_nothing_that_is_asked_for_before_git_was_heard() {
    run(async |mut story| {
        story.grant("jdoe-one", "1h", &[GROUP]).await;
        story.fault(On::Write, Failure::Denied, None);
        story.grant("jdoe-two", "10h", &[GROUP]).await;
        assert_eq!(story.intents(Verb::Renew), 1);
        story.sim.kill();
        story.world.edit(|state| state.faults.clear()).unwrap();
        story.clock.advance(SignedDuration::from_mins(61));
        story.sim.start();
        story.sim.poll().await;
        assert_eq!(story.intents(Verb::Revoke), 0);
        assert!(story.has("members: jdoe"));
        story.pass(Span::hours(9)).await;
        assert!(!story.has("members: jdoe"));
    });
}

/// Somebody is protected by now, and the longer of two grants for him goes: the renewal to the earlier end gives nothing, and is made
/// however long it takes.
#[test]
fn a_renewal_to_an_earlier_end_is_not_called_off() {
    run(async |mut story| {
        story.grant("jdoe-one", "8h", &[HOST]).await;
        story.grant("jdoe-two", "2h", &[HOST]).await;
        story.sim.policy.limits.protected.users = vec!["CORP\\jdoe".into()].into_iter().collect();
        let policy = story.sim.policy.clone();
        story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy.into());
        story.world.edit(|state| state.latency = Some(Latency(std::time::Duration::from_secs(2)))).unwrap();
        std::fs::remove_file(story.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
        story.sim.repo.commit(story.clock_now(), "the longer one goes");
        let daemon = story.sim.daemon.as_mut().unwrap();
        daemon.cycle.fetch();
        for _ in 0..40 {
            daemon.turn();
            story.clock.advance(SignedDuration::from_secs(1));
            let next = tokio::time::timeout(std::time::Duration::from_millis(50), daemon.cycle.next());
            if let Ok(happening) = next.await {
                daemon.absorb(happening);
            }
        }
        let renewed: Vec<bool> = story
            .sim
            .lines()
            .into_iter()
            .filter_map(|line| match line.record {
                Record::Fate { verb: Verb::Renew, fate, .. } => Some(fate == grantd::model::Fate::Done),
                _ => None,
            })
            .collect();
        assert_eq!(renewed, [true], "{}", story.world.show().unwrap());
    });
}

/// A clock that leaps ahead makes no absence older than it is: what appears within five minutes of our last call is ours to end.
#[test]
fn a_leap_of_the_clock_settles_nothing() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "30m", &[POLICY]).await;
            story.pass(Span::minutes(31)).await;
            assert!(!story.has(ATTACHED));
            story.clock.step(SignedDuration::from_hours(2));
            story.sim.work().await;
            if restart {
                story.sim.kill();
                story.sim.start();
            }
            let owned = |story: &Story| story.sim.daemon.as_ref().unwrap().cycle.ledger().owned.len();
            for _ in 0..4 {
                story.clock.advance(SignedDuration::from_secs(60));
                story.sim.sweep().await;
                assert_eq!(owned(&story), 1);
            }
            // AWS shows at last what it had not shown yet.
            story
                .world
                .edit(|state| {
                    let roles = &mut state.accounts.get_mut("123456789012").unwrap().roles;
                    roles.get_mut("OpsOnCall").unwrap().policies.insert(ATTACHED.into());
                })
                .unwrap();
            story.clock.advance(SignedDuration::from_secs(90));
            story.sim.sweep().await;
            assert!(!story.has(ATTACHED));
            story.clock.advance(SignedDuration::from_secs(301));
            story.sim.sweep().await;
            assert_eq!(owned(&story), 0, "{:?}", story.hold());
        });
    }
}

/// The machine begins anew with a clock that is behind the journal: ends come at full pace, and grants when the clock has caught
/// up.
#[test]
fn after_a_reboot_with_a_clock_that_is_behind_ends_come_and_grants_wait() {
    run(async |mut story| {
        story.grant("jdoe-one", "30m", &[HOST]).await;
        story.pass(Span::minutes(10)).await;
        story.sim.kill();
        story.clock.reboot();
        story.clock.step(SignedDuration::from_hours(-24));
        story.sim.start();
        story.sim.work().await;
        story.grant("jdoe-two", "1h", &[GROUP]).await;
        assert!(story.has(ADMIN) && !story.has("members: jdoe"));
        for _ in 0..61 {
            story.clock.advance(SignedDuration::from_secs(30));
            story.sim.work().await;
        }
        assert!(
            !story.has(ADMIN),
            "half an hour has passed since the last line, at full pace: {}",
            story.world.show().unwrap()
        );
        // Another process of the same boot knows as much.
        story.sim.kill();
        story.sim.start();
        story.sim.work().await;
        assert!(story.sim.outlook.standstill.is_some());
        // Somebody sets the clock: to what it is, which is later than anybody here knew.
        story.clock.step(SignedDuration::from_hours(32));
        story.sim.poll().await;
        assert_eq!(story.sim.outlook.standstill.as_deref(), None);
        let told = story.sim.lines().iter().any(|line| matches!(line.record, Record::Clock { step, .. } if step > 0));
        assert!(told, "no line says that the clock caught up");
        assert!(story.has("members: jdoe"), "granting goes on: {:?}", story.sim.outlook);
    });
}

/// A grant that may not begin keeps nobody else's access: whether granting stands still or an operator protects what it asks for.
#[test]
fn what_may_not_begin_keeps_no_other_access() {
    for protected in [false, true] {
        for fails in [false, true] {
            run(async |mut story| {
                story.grant("jdoe-one", "1h", &[POLICY]).await;
                story.sim.repo.write(
                    "jdoe-two.yaml",
                    &format!("requester: j\npurpose: p\nttl: 3h\nfrom: 2026-11-20T09:30:00Z\naccess:\n  - {POLICY}\n"),
                );
                story.sim.repo.commit(nine(), "two");
                story.sim.poll().await;
                if protected {
                    story.sim.policy.limits.protected.policies = vec!["AmazonEC2ReadOnlyAccess".into()];
                    let policy = story.sim.policy.clone().into();
                    story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy);
                } else {
                    story.sim.repo.git(nine(), &["branch", "-m", "main", "elsewhere"]);
                }
                story.sim.poll().await;
                story.pass(Span::minutes(45)).await;
                assert!(story.has(ATTACHED), "its own time is not over");
                if fails {
                    story.fault(On::Write, Failure::Unreachable, Some(3));
                }
                story.pass(Span::minutes(17)).await;
                assert!(!story.has(ATTACHED), "protected {protected}: {:?}", story.sim.outlook);
            });
        }
    }
}

/// Many small steps of the clock are a large one; and a clock that has caught up once is as any other from then on.
#[test]
fn small_steps_add_up_and_catching_up_happens_once() {
    run(async |mut story| {
        for _ in 0..3 {
            story.clock.step(SignedDuration::from_secs(110));
            story.pass(Span::minutes(1)).await;
        }
        assert!(story.sim.outlook.standstill.is_some(), "five minutes in small steps");
        story.clock.step(SignedDuration::from_secs(-330));
        story.pass(Span::minutes(1)).await;
        assert_eq!(story.sim.outlook.standstill.as_deref(), None, "put right");
    });
    run(async |mut story| {
        story.sim.kill();
        story.clock.reboot();
        story.clock.step(SignedDuration::from_mins(-5));
        story.sim.start();
        story.sim.work().await;
        assert!(story.sim.outlook.standstill.is_some());
        story.clock.step(SignedDuration::from_mins(5));
        story.sim.work().await;
        assert_eq!(story.sim.outlook.standstill.as_deref(), None);
        for restart in [false, true] {
            if restart {
                story.sim.kill();
                story.sim.start();
            }
            story.clock.step(SignedDuration::from_hours(24));
            story.sim.work().await;
            assert!(story.sim.outlook.standstill.is_some(), "a day ahead is no catching up");
            story.clock.step(SignedDuration::from_hours(-24));
            story.sim.work().await;
            assert_eq!(story.sim.outlook.standstill.as_deref(), None);
        }
    });
}

/// `drift: restore` tries again after a failure, and a new grant is not kept from what another lost.
#[test]
fn what_was_taken_is_given_back_where_it_may_be() {
    for restore in [true, false] {
        run(async |mut story| {
            story.sim.policy.restore = restore;
            let policy = story.sim.policy.clone().into();
            story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy);
            story.grant("jdoe-one", "3h", &[HOST]).await;
            story.host(|host| host.administrators.retain(|member| member.user.0.contains("ops")));
            story.fault(On::Write, Failure::Throttled, Some(1));
            story.sim.sweep().await;
            story.pass(Span::minutes(2)).await;
            assert_eq!(story.has(ADMIN), restore);
            story.grant("jdoe-two", "1h", &[HOST]).await;
            story.pass(Span::minutes(1)).await;
            assert!(story.has(ADMIN), "another grant asks for it");
        });
    }
}

/// A machine that begins anew again and again with a clock that is behind does not begin at the same moment each time.
#[test]
fn reboots_with_a_clock_that_is_behind_do_not_keep_access() {
    run(async |mut story| {
        story.grant("jdoe-one", "2h", &[HOST]).await;
        for _ in 0..7 {
            for _ in 0..42 {
                story.clock.advance(SignedDuration::from_secs(30));
                story.sim.work().await;
            }
            story.sim.kill();
            story.clock.reboot();
            story.clock.step(SignedDuration::from_hours(-1));
            story.sim.start();
            story.sim.work().await;
        }
        assert!(!story.has(ADMIN), "two hours and a half have passed: {}", story.world.show().unwrap());
    });
}

/// What was withdrawn while nobody ran is not given at the start, though the ledger says so: Git is asked first.
#[test]
fn a_start_asks_git_before_it_gives() {
    for away in [false, true] {
        run(async |mut story| {
            let from = Span::minutes(30).after(nine());
            let text = format!("requester: jdoe\npurpose: p\nfrom: {from}\nttl: 2h\naccess:\n  - {HOST}\n");
            story.sim.repo.write("jdoe-one.yaml", &text);
            story.sim.repo.commit(nine(), "one");
            story.sim.poll().await;
            story.sim.kill();
            let now = Span::minutes(40).after(nine());
            story.clock.set(now);
            let path = story.sim.repo.path.clone();
            std::fs::remove_file(path.join("grants/jdoe-one.yaml")).unwrap();
            story.sim.repo.commit(now, "withdraw");
            if away {
                std::fs::rename(path.join(".git"), path.join("away")).unwrap();
            }
            story.sim.start();
            story.sim.work().await;
            // A remote that does not answer is no reason to give nothing, for as long as `max_age` says.
            assert_eq!((story.intents(Verb::Grant), story.has(ADMIN)), (usize::from(away), away));
        });
    }
}

/// A clock that is ahead for seconds asks for the hosts of a grant that has not begun: its hosts are those that match when it does.
#[test]
fn hosts_that_were_asked_for_by_a_wrong_clock_are_asked_for_again() {
    run(async |mut story| {
        let from = Span::minutes(30).after(nine());
        let text = format!("requester: jdoe\npurpose: p\nfrom: {from}\nttl: 2h\naccess:\n  - {HOST}\n");
        story.sim.repo.write("jdoe-one.yaml", &text);
        story.sim.repo.commit(nine(), "one");
        story.sim.poll().await;
        story.clock.step(SignedDuration::from_hours(1));
        story.sim.work().await;
        story.sim.sweep().await;
        story.clock.step(SignedDuration::from_hours(-1));
        story.sim.work().await;
        story.host(|host| {
            host.tags.clear();
        });
        for _ in 0..8 {
            story.pass(Span::minutes(5)).await;
        }
        assert!(!story.has(ADMIN), "the host does not match when the grant begins");
    });
}

/// An operator who takes the wrong one of two clocks for right gives nobody more time: neither where a grant has a `ttl` nor where its
/// end is a moment.
#[test]
fn accepting_a_clock_that_is_behind_moves_no_end_later() {
    let until = Span::minutes(60).after(nine());
    for end in [
        "ttl: 1h".to_owned(),
        format!("until: {until}"),
        format!("from: {}\nuntil: {until}", Span::minutes(5).after(nine())),
    ] {
        run(async |mut story| {
            let text = format!("requester: jdoe\npurpose: p\n{end}\naccess:\n  - {HOST}\n");
            story.sim.repo.write("jdoe-one.yaml", &text);
            story.sim.repo.commit(nine(), "one");
            story.sim.poll().await;
            story.pass(Span::minutes(10)).await;
            assert!(story.has(ADMIN), "{end}");
            story.clock.step(SignedDuration::from_hours(-1));
            story.sim.work().await;
            story.sim.kill();
            story.sim.start();
            let cycle = &mut story.sim.daemon.as_mut().unwrap().cycle;
            assert!(cycle.accept_clock("it is right").unwrap().is_some(), "{end}");
            for _ in 0..12 {
                story.pass(Span::minutes(5)).await;
            }
            assert!(!story.has(ADMIN), "{end}: it is live after its hour");
        });
    }
}

/// What has to go and cannot is overdue since it had to, whatever the reason: a suspension, an entry that was taken out.
#[test]
fn what_is_owed_is_overdue_whatever_it_is_owed_for() {
    for suspended in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "8h", &[HOST, GROUP]).await;
            story.grant("jdoe-two", "8h", &[POLICY]).await;
            story.host(|host| host.agent = grantd::surface::world::Agent::Offline);
            if suspended {
                story.sim.repo.git(story.clock_now(), &["reset", "--quiet", "--hard", "HEAD~1"]);
                std::fs::remove_file(story.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
                story.sim.repo.commit(story.clock_now(), "delete");
                story.sim.poll().await;
            } else {
                story.grant("jdoe-one", "8h", &[GROUP]).await;
            }
            let since = story.clock_now();
            for minutes in [0, 10, 50] {
                story.pass(Span::minutes(minutes)).await;
                let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
                let owed = grantd::decide::owed(ledger, &story.sim.policy, story.clock_now());
                let owing = owed.iter().find(|owing| owing.binding.surface() == "windows-admin").unwrap();
                let state = if minutes == 0 { "revoking" } else { "overdue" };
                assert_eq!((owing.state, owing.ended), (state, since), "{suspended} {owing:?}");
            }
        });
    }
}
