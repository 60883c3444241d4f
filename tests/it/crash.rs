//! The daemon dies at each append to the journal, before it and after it, and is started again. Whatever the point, the story
//! ends the same: everything granted is gone on time, what stood before stands, the chain is whole.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use grantd::{
    journal,
    model::{Journal, JournalError, Ledger, Line, Policy, Record},
    surface::{
        Cloud,
        world::{ManualClock, State, World},
    },
};
use jiff::Timestamp;

use crate::sim::{Death, Sim};

const WORLD: &str = r#"
accounts:
  "123456789012":
    hosts:
      us-east-1:
        i-00000001: { tags: { AccessGroup: JITAdmins }, administrators: ['CORP\ops'] }
    users: { jdoe: {}, maria: { groups: [Auditors] } }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {} }
    permission-sets: { PowerUser: ['user:boss@corp.example'] }
policies: [AmazonEC2ReadOnlyAccess]
directory: { windows: ['CORP\jdoe', 'CORP\ops'], users: [jdoe@corp.example, boss@corp.example] }
"#;
const GRANT: &str = r"
requester: jdoe@corp.example
purpose: INC-1
ttl: TTL
access:
  - windows-admin: { user: CORP\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: JITAdmins } }
  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }
  - iam-group: { account: prod, user: jdoe, group: Auditors }
  - iam-group: { account: prod, user: maria, group: Auditors }
  - permission-set: { account: prod, user: jdoe@corp.example, set: PowerUser }
";

/// When the process dies: at which append, counted from 1 over all its lives, and whether the batch was durable by then.
#[derive(Debug, Clone, Copy)]
struct When {
    append: usize,
    after: bool,
}

/// A journal whose process dies at one append.
struct Mortal {
    inner: Box<dyn Journal>,
    when: Option<When>,
    appends: Arc<AtomicUsize>,
}

impl Journal for Mortal {
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError> {
        let count = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        match self.when {
            Some(When { append, after }) if append == count => {
                if after {
                    self.inner.write(records)?;
                }
                std::panic::panic_any(Death)
            }
            _ => self.inner.write(records),
        }
    }
    fn next(&self) -> u64 {
        self.inner.next()
    }
    fn full(&self) -> bool {
        self.inner.full()
    }
    fn checkpoint(&mut self, at: Timestamp, ledger: &Ledger) -> Result<(), JournalError> {
        self.inner.checkpoint(at, ledger)
    }
    fn reserve(&mut self, keep: bool) -> bool {
        self.inner.reserve(keep)
    }
    fn reopen(&mut self) -> Result<Vec<Line>, JournalError> {
        self.inner.reopen()
    }
}

/// Plays the story with one death and answers how many appends it took.
async fn story(when: Option<When>) -> usize {
    let start: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
    let accounts = serde_saphyr::from_str("prod: { id: \"123456789012\", regions: [us-east-1] }").unwrap();
    let policy = Policy { accounts: Some(accounts), ..Policy::default() };
    let clock = Arc::new(ManualClock::new(start));
    let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
    let mut sim = Sim::new(Cloud::World(world.clone()), clock, policy);
    let before = world.show().unwrap();
    let appends = Arc::new(AtomicUsize::new(0));
    let counted = appends.clone();
    sim.wrap = Box::new(move |inner| Box::new(Mortal { inner, when, appends: counted.clone() }));
    sim.init(false).await;
    sim.start();
    let minute = |n: i64| start + jiff::SignedDuration::from_mins(n);
    for (at, change) in [(0, "first"), (10, "second"), (20, "withdraw"), (30, "extend")] {
        sim.advance(minute(at)).await;
        match change {
            "first" => sim.repo.write("jdoe-first.yaml", &GRANT.replace("TTL", "1h")),
            "second" => sim.repo.write("jdoe-second.yaml", &GRANT.replace("TTL", "40m")),
            "withdraw" => std::fs::remove_file(sim.repo.path.join("grants/jdoe-second.yaml")).unwrap(),
            _ => sim.repo.write("jdoe-first.yaml", &GRANT.replace("TTL", "90m")),
        }
        sim.repo.commit(minute(at), change);
        sim.poll().await;
        revive(&mut sim).await;
    }
    for at in [40, 60, 89, 90, 95, 100, 110, 120] {
        sim.advance(minute(at)).await;
        revive(&mut sim).await;
        if at == 89 {
            let shown = world.show().unwrap();
            assert!(
                shown.contains("corp\\jdoe until 2026-11-20T10:30:00Z"),
                "{when:?}: not extended, or gone early:\n{shown}"
            );
        }
        if at >= 95 {
            assert_eq!(world.show().unwrap(), before, "{when:?}: at minute {at}");
        }
    }
    let ledger = sim.daemon.as_ref().unwrap().cycle.ledger();
    assert!(ledger.owned.is_empty(), "{when:?}: still owned: {:?}", ledger.owned.keys());
    assert!(ledger.grants.is_empty(), "{when:?}: still live");
    sim.kill();
    journal::verify(&sim.state(), None, None, |_| Ok::<_, JournalError>(())).unwrap();
    let lines = sim.lines();
    let calls = |record: &Record| matches!(record, Record::Intend { .. });
    assert!(lines.iter().filter(|line| calls(&line.record)).count() >= 8);
    appends.load(Ordering::SeqCst)
}

/// The process that died is started again.
async fn revive(sim: &mut Sim) {
    // At the start itself too.
    while sim.daemon.is_none() {
        sim.start();
        sim.work().await;
    }
}

#[test]
fn death_at_any_append_changes_nothing_about_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let appends = runtime.block_on(story(None));
    assert!(appends > 10, "only {appends} appends");
    for append in 1..=appends {
        for after in [false, true] {
            runtime.block_on(story(Some(When { append, after })));
        }
    }
}
