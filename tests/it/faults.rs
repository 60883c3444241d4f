//! What fails on our own side: an error while a revision is read, a task that breaks off. It never means "bad" or "empty", is
//! tried again, and nothing waits for ever for what will not come.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use grantd::{
    model::{
        BoxFuture, Change, Commit, Event, Fate, Log, Oid, Proof, Read, Reading, Recall, Recalled, Record, Selector,
        Source, SourceError, Span, Step, Still, Text, Tree, Verb, Write,
    },
    source::GitSource,
    surface::{
        Cloud,
        world::{ManualClock, State, World},
    },
};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::sim::Sim;

const WORLD: &str = r#"
accounts:
  "123456789012":
    users: { jdoe: {} }
    groups: { Auditors: {}, Ops: {} }
"#;

fn grant(group: &str, rest: &str) -> String {
    format!(
        "requester: jdoe@corp.example\npurpose: INC-1\n{rest}\naccess:\n  \
         - iam-group: {{ account: prod, user: jdoe, group: {group} }}\n"
    )
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// This machine cannot.
    Unread,
    /// The commit is bad.
    Bad,
    /// The task panics.
    Panic,
    /// It does not come back.
    Hang,
}

/// By the name of the call: how the next ones go wrong, and how many.
pub type Plan = Arc<Mutex<BTreeMap<&'static str, (Wrong, usize)>>>;

/// The real source, some of whose calls go wrong.
pub struct Shaky {
    pub source: GitSource,
    pub plan: Plan,
}

impl Shaky {
    fn go(&self, call: &'static str) -> Result<(), SourceError> {
        let wrong = match self.plan.lock().unwrap().get_mut(call) {
            Some((wrong, left)) if *left > 0 => {
                *left -= 1;
                *wrong
            }
            _ => return Ok(()),
        };
        match wrong {
            Wrong::Unread => Err(SourceError::Unread(format!("{call}: no process could be started"))),
            Wrong::Bad => Err(SourceError::Bad(format!("{call}: more than there may be"))),
            Wrong::Panic => panic!("planted in {call}"),
            Wrong::Hang => Ok(()),
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, SourceError>>;

impl Source for Shaky {
    fn fetch(&self) -> Answer<'_, Commit> {
        Box::pin(async {
            if self.plan.lock().unwrap().get("fetch").is_some_and(|(wrong, _)| *wrong == Wrong::Hang) {
                std::future::pending::<()>().await;
            }
            self.go("fetch")?;
            self.source.fetch().await
        })
    }
    fn tree<'a>(&'a self, commit: &'a Commit) -> Answer<'a, Tree> {
        Box::pin(async {
            self.go("tree")?;
            self.source.tree(commit).await
        })
    }
    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(async {
            self.go("blobs")?;
            self.source.blobs(blobs).await
        })
    }
    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Log> {
        Box::pin(async move {
            self.go("log")?;
            self.source.log(head, since).await
        })
    }
    fn deletions<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Vec<Change>> {
        Box::pin(async move {
            self.go("deletions")?;
            self.source.deletions(head, since).await
        })
    }
    fn trust(&self) -> Result<Text, String> {
        self.source.trust()
    }
    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> Answer<'a, Vec<Proof>> {
        self.source.prove(commits, now)
    }
    fn resolve<'a>(&'a self, rev: &'a str) -> Answer<'a, Commit> {
        self.source.resolve(rev)
    }
}

fn begin() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

fn after(minutes: i64) -> Timestamp {
    Span::minutes(minutes).after(begin())
}

/// A daemon that has accepted one grant of eight hours, `auditor`.
async fn town() -> (Sim, Plan, World) {
    let clock = Arc::new(ManualClock::new(begin()));
    let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
    let accounts = [("prod".into(), account())].into();
    let policy = grantd::model::Policy { accounts: Some(accounts), ..Default::default() };
    let mut sim = Sim::new(Cloud::World(world.clone()), clock, policy);
    let plan = Plan::default();
    let shaken = plan.clone();
    sim.around = Box::new(move |source| Arc::new(Shaky { source, plan: shaken.clone() }));
    sim.init(false).await;
    sim.start();
    sim.work().await;
    sim.repo.write("auditor.yaml", &grant("Auditors", "ttl: 8h"));
    sim.repo.commit(begin(), "auditor");
    sim.poll().await;
    assert_eq!(groups(&world), ["Auditors"]);
    (sim, plan, world)
}

fn account() -> grantd::model::Account {
    grantd::model::Account { id: "123456789012".into(), role: None, external_id: None, regions: Vec::new() }
}

fn groups(world: &World) -> Vec<String> {
    let state = world.state().unwrap();
    let user = &state.accounts["123456789012"].users["jdoe"];
    user.groups.iter().map(ToString::to_string).collect()
}

fn kinds(sim: &Sim) -> Vec<&'static str> {
    let kind = |record: &Record| match record {
        Record::Freeze { .. } => Some("freeze"),
        Record::Suspend { .. } => Some("suspend"),
        Record::Withdraw { .. } => Some("withdraw"),
        Record::Accept { .. } => Some("accept"),
        Record::Thaw { .. } => Some("thaw"),
        _ => None,
    };
    sim.lines().iter().filter_map(|line| kind(&line.record)).collect()
}

/// Reading a head with a withdrawal and a new grant in it fails: on each call, each way, once and more often. The access goes,
/// and nothing is ever frozen for it.
#[tokio::test]
async fn a_head_that_could_not_be_read_is_read_again_and_its_withdrawal_comes() {
    for wrong in [Wrong::Unread, Wrong::Panic] {
        for calls in [&["tree"][..], &["blobs"], &["log"], &["fetch"], &["tree", "log"], &["log", "deletions", "fetch"]]
        {
            let (mut sim, plan, world) = town().await;
            sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
            std::fs::remove_file(sim.repo.path.join("grants/auditor.yaml")).unwrap();
            sim.repo.commit(after(1), "out with the auditor");
            sim.clock.set(after(1));
            plan.lock().unwrap().extend(calls.iter().map(|call| (*call, (wrong, 3))));
            sim.poll().await;
            assert!(sim.outlook.source.is_some(), "{wrong:?} {calls:?}: nobody is told");
            if !calls.contains(&"fetch") {
                let still = sim.outlook.standstill.as_ref().map(|why| why.kind);
                assert_eq!(still, Some(Still::Unread), "{wrong:?} {calls:?}");
            }
            assert!(!groups(&world).contains(&"Ops".into()), "{wrong:?} {calls:?}: granted while nothing is known");
            // No poll and no news: the retries alone.
            sim.advance(after(12)).await;
            assert_eq!(groups(&world), ["Ops"], "{wrong:?} {calls:?}: {:?}", kinds(&sim));
            assert_eq!((sim.outlook.source.clone(), sim.outlook.standstill.clone()), (None, None));
            let told = kinds(&sim);
            assert!(!told.contains(&"freeze") && told.contains(&"withdraw"), "{wrong:?} {calls:?}: {told:?}");
        }
    }
}

/// If the line is readable and the files are not, what the line takes away goes at once.
#[tokio::test]
async fn a_deletion_in_a_head_that_cannot_be_read_counts_at_once() {
    let (mut sim, plan, world) = town().await;
    std::fs::remove_file(sim.repo.path.join("grants/auditor.yaml")).unwrap();
    sim.repo.commit(after(1), "out with the auditor");
    sim.clock.set(after(1));
    plan.lock().unwrap().insert("tree", (Wrong::Unread, usize::MAX));
    sim.poll().await;
    assert_eq!(groups(&world), [""; 0]);
    assert_eq!(kinds(&sim), ["accept", "suspend"]);
    assert_eq!(sim.outlook.standstill.as_ref().map(|why| why.kind), Some(Still::Unread));
    plan.lock().unwrap().clear();
    sim.advance(after(10)).await;
    assert_eq!(kinds(&sim), ["accept", "suspend", "withdraw"]);
}

/// A head is bad, and what it deletes cannot be told just now: that is not "nothing".
#[tokio::test]
async fn the_deletions_of_a_refused_head_are_never_empty_because_they_could_not_be_read() {
    for wrong in [Wrong::Unread, Wrong::Panic] {
        let (mut sim, plan, world) = town().await;
        std::fs::remove_file(sim.repo.path.join("grants/auditor.yaml")).unwrap();
        sim.repo.commit(after(1), "out with the auditor");
        sim.clock.set(after(1));
        plan.lock().unwrap().extend([("tree", (Wrong::Bad, usize::MAX)), ("deletions", (wrong, 2))]);
        sim.poll().await;
        assert_eq!(groups(&world), ["Auditors"]);
        assert_eq!(sim.outlook.standstill.as_ref().map(|why| why.kind), Some(Still::Unread), "{wrong:?}");
        sim.advance(after(2)).await;
        assert_eq!(groups(&world), [""; 0], "{wrong:?}");
        assert_eq!(kinds(&sim), ["accept", "suspend", "freeze"], "{wrong:?}");
        // Bad is final for this commit: nobody asks again.
        assert_eq!(sim.outlook.standstill.as_ref().map(|why| why.kind), Some(Still::Frozen), "{wrong:?}");
        assert_eq!(sim.outlook.source, None, "{wrong:?}");
    }
}

/// Ends go on while a head is unread, and so does what is asked of a head that is no longer there.
#[tokio::test]
async fn ends_come_while_nothing_can_be_read_and_another_head_is_read_at_once() {
    let (mut sim, plan, world) = town().await;
    sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
    sim.repo.commit(after(1), "ops");
    plan.lock().unwrap().extend(["tree", "log", "deletions"].map(|call| (call, (Wrong::Unread, usize::MAX))));
    sim.poll().await;
    sim.advance(after(8 * 60 + 1)).await;
    assert_eq!(groups(&world), [""; 0]);
    plan.lock().unwrap().clear();
    sim.repo.write("other.yaml", &grant("Auditors", "ttl: 1h"));
    sim.repo.commit(after(8 * 60 + 1), "other");
    sim.poll().await;
    assert_eq!(groups(&world), ["Auditors", "Ops"]);
}

/// What is due and cannot be tried, because a fetch is under way, must not keep the loop spinning.
#[tokio::test]
async fn a_fetch_that_hangs_makes_no_busy_loop_of_what_is_due() {
    let (mut sim, plan, _) = town().await;
    sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
    sim.repo.commit(after(1), "ops");
    plan.lock().unwrap().extend(["tree", "log"].map(|call| (call, (Wrong::Unread, usize::MAX))));
    sim.poll().await;
    plan.lock().unwrap().insert("fetch", (Wrong::Hang, 1));
    let daemon = sim.daemon.as_mut().unwrap();
    daemon.cycle.fetch();
    sim.clock.set(after(10));
    let wake = daemon.turn().plan.wake;
    assert!(wake.is_some_and(|wake| wake > after(10)), "{wake:?}");
}

/// An adapter whose look or call panics, so many times.
pub struct Breaking<T> {
    inner: T,
    left: Mutex<usize>,
}

impl<T> Breaking<T> {
    pub fn new(inner: T, times: usize) -> Arc<Self> {
        Arc::new(Self { inner, left: Mutex::new(times) })
    }

    fn go(&self) {
        let mut left = self.left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            drop(left);
            panic!("planted in an adapter");
        }
    }
}

impl Read for Breaking<Arc<dyn Read>> {
    fn read<'a>(
        &'a self,
        selectors: &'a [Selector],
        bindings: &'a [grantd::model::Binding],
    ) -> BoxFuture<'a, Vec<Reading>> {
        Box::pin(async move {
            self.go();
            self.inner.read(selectors, bindings).await
        })
    }
    fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
        Box::pin(async move {
            self.go();
            self.inner.recall(calls).await
        })
    }
}

impl Write for Breaking<Arc<dyn Write>> {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.go();
            self.inner.write(steps, events).await;
        })
    }
}

#[tokio::test]
async fn a_look_or_a_call_that_breaks_off_is_made_again() {
    let (mut sim, _, world) = town().await;
    let daemon = sim.daemon.as_mut().unwrap();
    for reader in daemon.cycle.parts.readers.values_mut() {
        *reader = Breaking::new(reader.clone(), 2);
    }
    let writers = sim.cloud.writers().into_iter();
    let writers = writers.map(|(name, writer)| (name, Breaking::new(writer, 2) as Arc<dyn Write>));
    daemon.executor = grantd::engine::Executor::new(writers.collect(), Box::new(|| None));
    sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
    std::fs::remove_file(sim.repo.path.join("grants/auditor.yaml")).unwrap();
    sim.repo.commit(after(1), "out with the auditor");
    sim.clock.set(after(1));
    sim.sweep().await;
    sim.poll().await;
    assert!(!sim.daemon.as_ref().unwrap().busy(), "something is awaited that will not come");
    sim.advance(after(10)).await;
    assert_eq!(groups(&world), ["Ops"]);
}

/// The branch moves on at every fetch, as if somebody merged in just that moment.
struct Moving {
    source: GitSource,
    repo: std::path::PathBuf,
    fetches: Arc<Mutex<usize>>,
}

impl Source for Moving {
    fn fetch(&self) -> Answer<'_, Commit> {
        let mut count = self.fetches.lock().unwrap();
        *count += 1;
        if *count > 1 {
            let repo = crate::sim::Repo { path: self.repo.clone() };
            repo.write(&format!("late-{count}.yaml"), &grant("Ops", "ttl: 1h"));
            repo.commit(after(1), "late");
        }
        drop(count);
        self.source.fetch()
    }
    fn tree<'a>(&'a self, commit: &'a Commit) -> Answer<'a, Tree> {
        self.source.tree(commit)
    }
    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> Answer<'a, Vec<Vec<u8>>> {
        self.source.blobs(blobs)
    }
    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Log> {
        self.source.log(head, since)
    }
    fn deletions<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Vec<Change>> {
        self.source.deletions(head, since)
    }
    fn trust(&self) -> Result<Text, String> {
        self.source.trust()
    }
    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> Answer<'a, Vec<Proof>> {
        self.source.prove(commits, now)
    }
    fn resolve<'a>(&'a self, rev: &'a str) -> Answer<'a, Commit> {
        self.source.resolve(rev)
    }
}

/// `apply --digest`: what was reviewed, and nothing else, is journaled and done; what differs leaves no line behind.
#[tokio::test]
async fn what_is_applied_by_digest_is_what_was_reviewed() {
    use grantd::{command::apply::review, decide::digest, engine::Book, journal::FileJournal};
    let (mut sim, ..) = town().await;
    sim.kill();
    sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
    sim.repo.commit(after(1), "ops");
    sim.clock.set(after(1));
    let fetches = Arc::new(Mutex::new(0));
    let (repo, count) = (sim.repo.path.clone(), fetches.clone());
    sim.around = Box::new(move |source| Arc::new(Moving { source, repo: repo.clone(), fetches: count.clone() }));
    let mut trial = sim.draft();
    trial.fetch();
    trial.sweep();
    let reviewed = digest(&trial.settle().await.plan);
    let open = || {
        let (journal, lines) = FileJournal::open(&sim.state(), sim.clock_now()).unwrap();
        Book::new(Box::new(journal), grantd::decide::ledger(lines))
    };
    let before = sim.lines().len();

    // Somebody merged since: nothing may be written.
    let mut cycle = sim.draft();
    let error = review(&mut cycle, open(), &reviewed).await.unwrap_err().to_string();
    assert!(error.contains("nothing was done"), "{error}");
    assert_eq!(sim.lines().len(), before, "{error}");
    drop(cycle);

    // The same as was reviewed, and the branch moves on meanwhile: that counts the next time.
    *fetches.lock().unwrap() = 0;
    sim.repo.git(after(1), &["reset", "--quiet", "--hard", "HEAD~1"]);
    let mut cycle = sim.draft();
    let held = review(&mut cycle, open(), &reviewed).await.unwrap();
    assert_eq!((held, sim.lines().len()), (Vec::new(), before));
    let first = cycle.settle().await;
    assert_eq!((digest(&first.plan), *fetches.lock().unwrap()), (reviewed, 1));
    let accepted: Vec<_> = sim.lines()[before..].iter().map(|line| format!("{:?}", line.record)).collect();
    assert_eq!(accepted.iter().filter(|record| record.starts_with("Accept")).count(), 1, "{accepted:#?}");
}

/// A writer whose steps wait for their turn.
struct Queue(Arc<dyn Write>, Arc<tokio::sync::Semaphore>);

impl Write for Queue {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _turn = self.1.acquire().await.unwrap();
            self.0.write(steps, events).await;
        })
    }
}

/// A grant whose call waits for its turn is withdrawn, or its end moved earlier: the call is not made.
#[tokio::test]
async fn a_call_that_waits_is_not_made_when_nobody_wants_it_any_more() {
    for (shorter, renewal) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut sim, _, world) = town().await;
        if renewal {
            sim.repo.write("ops.yaml", &grant("Ops", "ttl: 1h"));
            sim.repo.commit(after(1), "ops");
            sim.poll().await;
        }
        let daemon = sim.daemon.as_mut().unwrap();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let writers = sim.cloud.writers().into_iter();
        let writers = writers.map(|(name, writer)| (name, Arc::new(Queue(writer, gate.clone())) as Arc<dyn Write>));
        daemon.executor = grantd::engine::Executor::new(writers.collect(), Box::new(|| None));
        let before = sim.lines().len();
        sim.repo.write("ops.yaml", &grant("Ops", "ttl: 4h"));
        sim.repo.commit(after(2), "ops");
        look(&mut sim).await;
        assert_eq!(sim.daemon.as_ref().unwrap().executor.pending().len(), 1);
        if shorter {
            sim.repo.write("ops.yaml", &grant("Ops", "ttl: 2h"));
        } else {
            std::fs::remove_file(sim.repo.path.join("grants/ops.yaml")).unwrap();
        }
        sim.repo.commit(after(3), "not so long");
        look(&mut sim).await;
        gate.add_permits(1_000);
        sim.work().await;
        let called = sim.lines().split_off(before).into_iter().filter_map(|line| match line.record {
            Record::Fate { verb, until, fate: Fate::Done, .. } if verb != Verb::Revoke => Some(until),
            _ => None,
        });
        let called: Vec<Timestamp> = called.collect();
        assert!(called.iter().all(|until| *until <= after(2 * 60 + 2)), "{shorter} {renewal}: {called:?}");
        sim.advance(after(10)).await;
        let expected: &[&str] = if shorter { &["Auditors", "Ops"] } else { &["Auditors"] };
        assert_eq!(groups(&world), expected, "{shorter} {renewal}");
    }
}

/// Fetches and decides, while calls wait.
async fn look(sim: &mut Sim) {
    let daemon = sim.daemon.as_mut().unwrap();
    daemon.cycle.fetch();
    loop {
        let wake = daemon.turn().plan.wake;
        if daemon.cycle.busy() {
            let happening = daemon.cycle.next().await;
            daemon.absorb(happening);
        } else if wake.is_none_or(|wake| wake > daemon.cycle.now()) {
            break;
        }
    }
}
