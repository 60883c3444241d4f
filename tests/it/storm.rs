//! The real engine over random weeks: merges and withdrawals, changes by hand, lost answers, marks taken off, hosts that are away
//! and that are no more, a clock that is stepped, local reads that fail, tasks that panic, and processes that are killed; in any
//! order. Whatever happens, nobody's own access is taken, nothing is given back, and in the end nothing of ours is left.

use std::sync::Arc;

use grantd::{
    engine::Executor,
    model::{Policy, Record, Write},
    surface::{
        Cloud,
        world::{Agent, Caseless, Failure, Fault, Host, ManualClock, Member, On, Power, State, World},
    },
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::{
    faults::{Breaking, Plan, Shaky, Wrong},
    sim::Sim,
};

const WORLD: &str = r#"
accounts:
  "123456789012":
    hosts:
      us-east-1:
        i-00000001: { tags: { AccessGroup: JITAdmins }, administrators: ['CORP\ops'] }
        i-00000002: { tags: { AccessGroup: JITAdmins } }
    roles: { OpsOnCall: {} }
policies: [AmazonEC2ReadOnlyAccess]
directory: { windows: ['CORP\jdoe', 'CORP\ops'] }
"#;
const HOSTS: [&str; 2] = ["i-00000001", "i-00000002"];

#[derive(Debug, Clone)]
enum Op {
    /// Another grant of so many minutes, of the hosts, the role, or both.
    Grant {
        minutes: u16,
        what: u8,
    },
    /// The latest grant's end is moved.
    Move {
        minutes: u16,
    },
    Withdraw,
    /// Minutes.
    Wait(u16),
    Sweep,
    Kill,
    Reboot,
    /// Somebody adds jdoe by hand at a place (0 and 1: hosts, 2: the role), or takes him away, or takes our mark off.
    Add(u8),
    Take(u8),
    Unmark(u8),
    Away(u8),
    Back(u8),
    Terminate(u8),
    /// So many calls, reads or writes, go wrong in this way.
    Fault {
        times: u8,
        write: bool,
        kind: u8,
    },
    /// So many of Git's answers.
    Git {
        times: u8,
        call: u8,
        panic: bool,
    },
    /// So many adapters' tasks.
    Panic(u8),
    /// Minutes by which the clock is stepped.
    Step(i16),
    /// It is put right.
    Right,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..300u16, 1..4u8).prop_map(|(minutes, what)| Op::Grant { minutes, what }),
        2 => (1..300u16).prop_map(|minutes| Op::Move { minutes }),
        2 => Just(Op::Withdraw),
        6 => (1..200u16).prop_map(Op::Wait),
        2 => Just(Op::Sweep),
        2 => Just(Op::Kill),
        1 => Just(Op::Reboot),
        2 => (0..3u8).prop_map(Op::Add),
        2 => (0..3u8).prop_map(Op::Take),
        2 => (0..2u8).prop_map(Op::Unmark),
        2 => (0..2u8).prop_map(Op::Away),
        2 => (0..2u8).prop_map(Op::Back),
        1 => (0..2u8).prop_map(Op::Terminate),
        3 => (1..5u8, any::<bool>(), 0..5u8).prop_map(|(times, write, kind)| Op::Fault { times, write, kind }),
        2 => (1..4u8, 0..5u8, any::<bool>()).prop_map(|(times, call, panic)| Op::Git { times, call, panic }),
        1 => (1..3u8).prop_map(Op::Panic),
        2 => prop_oneof![Just(-1440), Just(-60), Just(-1), Just(1), Just(60), Just(1440)].prop_map(Op::Step),
        2 => Just(Op::Right),
    ]
}

struct Storm {
    sim: Sim,
    world: World,
    clock: Arc<ManualClock>,
    git: Plan,
    /// What has passed, by nobody's clock.
    passed: SignedDuration,
    off: SignedDuration,
    count: u32,
    /// The last line of the journal that was looked at.
    seen: u64,
    /// What somebody gave by hand where we owed nothing: his, and never ours to take.
    theirs: [bool; 3],
    /// What somebody took away of ours, until another grant is made.
    taken: [bool; 3],
}

fn nine() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

impl Storm {
    async fn begin() -> Self {
        let clock = Arc::new(ManualClock::new(nine()));
        let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
        let accounts = serde_saphyr::from_str("prod: { id: \"123456789012\", regions: [us-east-1] }").unwrap();
        let policy = Policy { accounts: Some(accounts), ..Policy::default() };
        let mut sim = Sim::new(Cloud::World(world.clone()), clock.clone(), policy);
        let git = Plan::default();
        let shaken = git.clone();
        sim.init(false).await;
        sim.around = Box::new(move |source| Arc::new(Shaky { source, plan: shaken.clone() }));
        sim.start();
        sim.work().await;
        let (passed, off) = (SignedDuration::ZERO, SignedDuration::ZERO);
        Self { sim, world, clock, git, passed, off, count: 0, seen: 0, theirs: [false; 3], taken: [false; 3] }
    }

    /// Whether jdoe has the access at a place.
    fn has(&self, place: usize) -> bool {
        let state = self.world.state().unwrap();
        let account = &state.accounts["123456789012"];
        match HOSTS.get(place) {
            Some(id) => account.hosts["us-east-1"][*id]
                .administrators
                .iter()
                .any(|m| m.user.0.eq_ignore_ascii_case(r"corp\jdoe")),
            None => !account.roles["OpsOnCall"].policies.is_empty(),
        }
    }

    /// Whether we owe anything there, or may.
    fn owes(&self, place: usize) -> bool {
        let name = HOSTS.get(place).copied().unwrap_or("OpsOnCall");
        let ledger = self.sim.daemon.as_ref().unwrap().cycle.ledger();
        ledger.owned.keys().any(|binding| binding.place().ends_with(name))
    }

    fn host(&self, place: u8, change: impl Fn(&mut Host)) {
        let edited = self.world.edit(|state| {
            let account = state.accounts.get_mut("123456789012").unwrap();
            change(account.hosts.get_mut("us-east-1").unwrap().get_mut(HOSTS[usize::from(place)]).unwrap());
        });
        edited.unwrap();
    }

    fn role(&self, add: bool) {
        let edited = self.world.edit(|state| {
            let role = state.accounts.get_mut("123456789012").unwrap().roles.get_mut("OpsOnCall").unwrap();
            role.policies.clear();
            if add {
                role.policies.insert("AmazonEC2ReadOnlyAccess".into());
            }
        });
        edited.unwrap();
    }

    fn truth(&self) -> Timestamp {
        nine().checked_add(self.passed).unwrap()
    }

    async fn pass(&mut self, minutes: u16, each: u16) {
        for _ in 0..minutes.div_ceil(each) {
            let step = SignedDuration::from_mins(i64::from(each.min(minutes)));
            self.passed += step;
            self.clock.advance(step);
            self.sim.poll().await;
        }
    }

    fn file(&self, minutes: u16, what: u8) {
        let mut access = String::new();
        if what & 1 != 0 {
            access += "  - windows-admin: { user: CORP\\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: JITAdmins } }\n";
        }
        if what & 2 != 0 {
            access += "  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }\n";
        }
        let text = format!("requester: jdoe\npurpose: p\nttl: {minutes}m\naccess:\n{access}");
        self.sim.repo.write(&format!("grant-{}.yaml", self.count), &text);
    }

    async fn act(&mut self, op: &Op) {
        match op {
            Op::Grant { minutes, what } => {
                self.count += 1;
                self.file(*minutes, *what);
                self.sim.repo.commit(self.truth(), "grant");
                self.taken = [false; 3];
                self.sim.poll().await;
            }
            Op::Move { minutes } => {
                let path = self.sim.repo.path.join(format!("grants/grant-{}.yaml", self.count));
                if let Ok(text) = std::fs::read_to_string(&path) {
                    let what = u8::from(text.contains("windows")) + 2 * u8::from(text.contains("iam-policy"));
                    self.file(*minutes, what);
                    self.sim.repo.commit(self.truth(), "move");
                    self.sim.poll().await;
                }
            }
            Op::Withdraw => {
                let path = self.sim.repo.path.join(format!("grants/grant-{}.yaml", self.count));
                if std::fs::remove_file(path).is_ok() {
                    self.sim.repo.commit(self.truth(), "withdraw");
                    self.sim.poll().await;
                }
            }
            Op::Wait(minutes) => self.pass(*minutes, 5).await,
            Op::Sweep => self.sim.sweep().await,
            Op::Kill => self.restart().await,
            Op::Reboot => {
                self.clock.reboot();
                self.restart().await;
            }
            Op::Add(place) => {
                let at = usize::from(*place);
                if !self.has(at) {
                    self.theirs[at] = !self.owes(at);
                    match place {
                        2 => self.role(true),
                        _ => self.host(*place, |host| {
                            host.administrators.push(Member { user: Caseless(r"CORP\jdoe".into()), marker: None });
                        }),
                    }
                    // What somebody gave is no gift of ours.
                    self.taken[at] = false;
                }
            }
            Op::Take(place) => {
                let at = usize::from(*place);
                // Where nobody knows whether our grant came, there is nothing that could be given back.
                let ours = self.has(at) && self.sure(at);
                match place {
                    2 => self.role(false),
                    _ => self.host(*place, |host| {
                        host.administrators.retain(|m| !m.user.0.eq_ignore_ascii_case(r"corp\jdoe"))
                    }),
                }
                self.theirs[at] = false;
                self.taken[at] = ours;
            }
            Op::Unmark(place) => self.host(*place, |host| host.administrators.iter_mut().for_each(|m| m.marker = None)),
            Op::Away(place) => self.host(*place, |host| host.agent = Agent::Offline),
            Op::Back(place) => self.host(*place, |host| host.agent = Agent::Online),
            Op::Terminate(place) => self.host(*place, |host| host.state = Power::Terminated),
            Op::Fault { times, write, kind } => {
                let trouble =
                    [Failure::Unreachable, Failure::Denied, Failure::Throttled, Failure::Broken, Failure::LostReply]
                        [usize::from(*kind)];
                // A look has no answer that is lost after it was done.
                let on = if *write || trouble == Failure::LostReply { On::Write } else { On::Read };
                let times = std::num::NonZeroU32::new(u32::from(*times));
                let fault = Fault { surface: None, place: None, on, trouble, times };
                self.world.edit(|state| state.faults.push(fault.clone())).unwrap();
            }
            Op::Git { times, call, panic } => {
                let call = ["fetch", "tree", "blobs", "log", "deletions"][usize::from(*call)];
                let wrong = if *panic { Wrong::Panic } else { Wrong::Unread };
                self.git.lock().unwrap().insert(call, (wrong, usize::from(*times)));
            }
            Op::Panic(times) => {
                let daemon = self.sim.daemon.as_mut().unwrap();
                if daemon.executor.pending().is_empty() {
                    for reader in daemon.cycle.parts.readers.values_mut() {
                        *reader = Breaking::new(reader.clone(), usize::from(*times));
                    }
                    let writers = self.sim.cloud.writers().into_iter();
                    let writers = writers
                        .map(|(name, writer)| (name, Breaking::new(writer, usize::from(*times)) as Arc<dyn Write>));
                    let (mut count, life) = (0u32, self.count);
                    let nonces = move || {
                        count += 1;
                        Some(format!("{life:016x}{:016x}", count + 1_000_000).into())
                    };
                    daemon.executor = Executor::new(writers.collect(), Box::new(nonces));
                }
            }
            Op::Step(minutes) => {
                let by = SignedDuration::from_mins(i64::from(*minutes));
                self.off += by;
                self.clock.step(by);
                self.sim.work().await;
            }
            Op::Right => self.right().await,
        }
    }

    /// Whether it is known to be ours there.
    fn sure(&self, place: usize) -> bool {
        let name = HOSTS.get(place).copied().unwrap_or("OpsOnCall");
        let ledger = self.sim.daemon.as_ref().unwrap().cycle.ledger();
        let mut owned = ledger.owned.iter().filter(|(binding, _)| binding.place().ends_with(name));
        owned.any(|(_, owned)| matches!(owned.hold, grantd::model::Hold::Held { .. }))
    }

    async fn right(&mut self) {
        self.clock.step(-self.off);
        self.off = SignedDuration::ZERO;
        self.sim.work().await;
    }

    async fn restart(&mut self) {
        self.sim.kill();
        self.sim.start();
        self.sim.work().await;
    }

    fn check(&mut self, lines: usize, what: &dyn std::fmt::Debug) {
        // What may be ours and is there is ours to end, by the law, and told.
        for line in self.sim.lines() {
            if let Record::Dispute { binding, .. } = line.record
                && line.seq > self.seen
            {
                let name = |place: usize| HOSTS.get(place).copied().unwrap_or("OpsOnCall");
                (0..3)
                    .filter(|place| binding.place().ends_with(name(*place)))
                    .for_each(|place| self.theirs[place] = false);
            }
            self.seen = self.seen.max(line.seq);
        }
        let shown = self.world.show().unwrap();
        assert!(shown.contains(r"CORP\ops"), "{what:?} took what stood before: {shown}");
        for place in 0..3 {
            assert!(
                !self.theirs[place] || self.has(place),
                "{what:?} took what somebody gave by hand at {place}: {shown}"
            );
            assert!(
                !self.taken[place] || !self.has(place),
                "{what:?} gave back what somebody took at {place}: {shown}"
            );
        }
        assert!(lines < 400, "{what:?}: {lines} lines of the journal");
    }
}

/// What each history comes to.
async fn weather(ops: &[Op]) {
    let mut storm = Storm::begin().await;
    let mut before = storm.sim.lines().len();
    for op in ops {
        storm.act(op).await;
        let lines = storm.sim.lines().len();
        storm.check(lines - before, op);
        before = lines;
    }
    // Faults stop, hosts are back, the clock is right, and nobody asks for more.
    storm.world.edit(|state| state.faults.clear()).unwrap();
    storm.git.lock().unwrap().clear();
    for place in 0..2 {
        storm.host(place, |host| host.agent = Agent::Online);
    }
    storm.right().await;
    storm.restart().await;
    // The longest grant, and an hour by which a clock that nobody put right may be believed.
    storm.pass(60 * 26, 60).await;
    storm.sim.sweep().await;
    storm.pass(30, 5).await;
    storm.sim.sweep().await;
    storm.check(0, &"the end");
    let ledger = storm.sim.daemon.as_ref().unwrap().cycle.ledger();
    assert!(ledger.owned.is_empty(), "owed: {:?}", ledger.owned);
    for place in 0..3 {
        let terminated = HOSTS.get(place).is_some_and(|id| {
            storm.world.state().unwrap().accounts["123456789012"].hosts["us-east-1"][*id].state == Power::Terminated
        });
        assert!(
            terminated || storm.has(place) == storm.theirs[place],
            "left at {place}: {}",
            storm.world.show().unwrap()
        );
    }
    let started: Vec<_> = storm
        .sim
        .lines()
        .iter()
        .filter_map(|line| if let Record::Accept { grant, .. } = &line.record { Some(grant.clone()) } else { None })
        .collect();
    let mut once = started.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), started.len(), "an id began twice");
    storm.sim.kill();
    grantd::journal::verify(&storm.sim.state(), None, None, |_| Ok::<_, grantd::model::JournalError>(())).unwrap();
}

#[test]
fn no_weather_breaks_a_promise() {
    let soak = std::env::vars_os().any(|(name, _)| name == "GRANTD_SOAK");
    // The same in every run; more and others in scripts/soak.
    let config = ProptestConfig {
        cases: if soak { 1000 } else { 20 },
        failure_persistence: None,
        max_shrink_iters: 200,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_128),
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&proptest::collection::vec(op(), 1..30), |ops| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(weather(&ops));
        Ok(())
    });
    outcome.unwrap();
}
