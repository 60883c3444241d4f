//! Turns in which nothing changed, and answers that come in one by one: what they cost, and what an end waits for them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use grantd::{
    command::setup,
    decide::{Bearing, Deletions, Filed, Footing, Intake, here},
    engine::{Book, Cycle, Daemon, Executor, Order, Parts, Pulse},
    journal::FileJournal,
    model::{
        BoxFuture, Change, Commit, Event, FORMAT, Fate, Ledger, Log, Oid, Proof, Record, Source, SourceError, Span,
        Step, Survey, Text, Tree, Verb, Write,
    },
    surface::world::ManualClock,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    growth, plan,
    report::{Runs, row, short, timed},
    town,
};

/// The longest that a turn may take in which nothing changed.
const STILL: Duration = Duration::from_millis(1);
/// The longest that an end may be late while answers come in.
const LATE: Duration = Duration::from_secs(1);
const ANSWERS: usize = 10_000;
const ENDS: usize = 100;

pub fn measure() {
    let mut good = true;
    for grants in [10_000, 100_000] {
        let (first, turns) = still(grants);
        let fine = turns.median() < STILL;
        good &= fine;
        let measured = format!("{turns}; the decision before them: {}", short(first));
        row(
            &format!("a turn in which nothing changed, {grants} grants with 5 bindings each"),
            "< 1 ms",
            &measured,
            fine,
        );
    }
    let Burst { took, decisions, deciding, latest } = burst();
    let fine = latest < LATE;
    good &= fine;
    let measured = format!(
        "all are journaled after {}, with {decisions} decisions, which took {}; the latest end was begun {} after its moment",
        short(took),
        short(deciding),
        short(latest)
    );
    let what = format!("{ANSWERS} answers one by one, {ENDS} of 20,000 grants end meanwhile, one after the other");
    row(&what, "ends at most 1 s late", &measured, fine);
    if !good {
        std::process::exit(growth::FAILED);
    }
}

/// The first decision, and turns after it.
fn still(grants: usize) -> (Duration, Runs) {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    plan::fill(&mut ledger, &mut Survey::default(), (grants, 5), &setup::targets(), &town::policy());
    let (mut daemon, clock) = daemon(folder.path(), ledger, BTreeMap::new());
    let (first, _) = timed(|| daemon.turn());
    // The first accepts the head.
    daemon.turn();
    let decisions = daemon.cycle.decisions();
    let turns = Runs::of(1_000, || {
        clock.advance(SignedDuration::from_millis(10));
        timed(|| daemon.turn()).0
    });
    assert_eq!(daemon.cycle.decisions(), decisions);
    (first, turns)
}

/// A daemon over this ledger, whose files all lie at the head.
fn daemon(
    folder: &std::path::Path,
    ledger: Ledger,
    writers: BTreeMap<&'static str, Arc<dyn Write>>,
) -> (Daemon, Arc<ManualClock>) {
    let (now, head) = (town::nine(), Commit("f".repeat(40).into()));
    let init = Record::Init { version: "bench".into(), commit: head.clone(), existing: false, format: FORMAT };
    FileJournal::create(folder, now, vec![init]).unwrap();
    let journal = FileJournal::open_with(folder, now, &mut |_| {}).unwrap();
    let grant = growth::request(&town::policy());
    let file = |terms: &grantd::model::Terms| Filed {
        path: terms.path.clone(),
        blob: terms.blob.clone(),
        grant: grant.clone(),
        commit: terms.origin.commit.clone(),
        author: terms.origin.author.clone(),
        committed: now,
        late: false,
    };
    let files: Vec<Filed> = ledger.grants.values().map(|terms| file(terms)).collect();
    let intake = Intake {
        head,
        bearing: Bearing::Follows,
        present: here(files.iter().map(|filed| &filed.path)),
        files,
        findings: Vec::new(),
        changes: Vec::new(),
        deletions: Deletions::default(),
        chains: BTreeMap::new(),
        proofs: BTreeMap::new(),
        footing: Footing::Named("".into()),
        at: now,
    };
    let clock = Arc::new(ManualClock::new(now));
    let parts = Parts {
        targets: Arc::new(setup::targets()),
        readers: BTreeMap::new(),
        source: Arc::new(Silent),
        clock: clock.clone(),
        policy: Arc::new(town::policy()),
    };
    let mut cycle = Cycle::new(parts, Book::new(Box::new(journal), ledger));
    cycle.adopt(intake);
    let pulse = Pulse { poll: Span::hours(1), sweep: Arc::new(|_| None) };
    (Daemon::new(cycle, Executor::new(writers, Box::new(|| None)), pulse), clock)
}

struct Burst {
    took: Duration,
    decisions: u64,
    deciding: Duration,
    latest: Duration,
}

/// Half of the grants are to be given, and the writer answers one after the other; of those that are given some end meanwhile.
fn burst() -> Burst {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    plan::fill(&mut ledger, &mut Survey::default(), (2 * ANSWERS, 1), &setup::targets(), &town::policy());
    let given: Vec<_> = ledger.owned.keys().take(ANSWERS).cloned().collect();
    ledger.owned.retain(|binding, _| given.binary_search(binding).is_ok());
    for (number, owned) in ledger.owned.values_mut().take(ENDS).enumerate() {
        let end = town::nine().checked_add(SignedDuration::from_millis(1_000 + 30 * number as i64)).unwrap();
        owned.until = end;
        owned.holders.keys().for_each(|grant| ledger.grants.get_mut(grant).unwrap().until = end);
    }
    let (trickle, late) = (Arc::new(Trickle::default()), Arc::new(Mutex::new(Vec::new())));
    let (daemon, clock) =
        daemon(folder.path(), ledger, BTreeMap::from([("windows-admin", trickle.clone() as Arc<dyn Write>)]));
    *trickle.clock.lock().unwrap() = Some(clock.clone());
    *trickle.late.lock().unwrap() = late.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let ticker = std::thread::spawn({
        let (stop, clock, begin) = (stop.clone(), clock.clone(), Instant::now());
        move || {
            while !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
                clock.set(at(begin.elapsed()));
            }
        }
    });
    let (orders, inbox) = unbounded_channel();
    let (mut decisions, mut deciding, mut before) = (0, Duration::ZERO, growth::spent());
    let begin = Instant::now();
    setup::runtime().unwrap().block_on(daemon.run(inbox, |cycle, _| {
        // What a turn takes is what the processor did for this thread since the last word of the loop.
        let spent = growth::spent();
        if cycle.decisions() != decisions {
            (decisions, deciding) = (cycle.decisions(), deciding + (spent - before));
        }
        before = spent;
        let open = cycle.ledger().open().next().is_some();
        if late.lock().unwrap().len() == ENDS && !open && cycle.ledger().owned.len() == 2 * ANSWERS {
            let _ = orders.send(Order::Stop);
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "it does not come to an end");
    }));
    let took = begin.elapsed();
    stop.store(true, Ordering::SeqCst);
    ticker.join().unwrap();
    let latest = late.lock().unwrap().iter().max().copied().unwrap();
    Burst { took, decisions, deciding, latest }
}

fn at(passed: Duration) -> Timestamp {
    town::nine().checked_add(SignedDuration::try_from(passed).unwrap()).unwrap()
}

/// Answers grants one after the other, and notes how late each end was begun.
#[derive(Default)]
struct Trickle {
    clock: Mutex<Option<Arc<ManualClock>>>,
    late: Mutex<Arc<Mutex<Vec<Duration>>>>,
}

impl Write for Trickle {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        use grantd::model::Clock;
        let (clock, late) = (self.clock.lock().unwrap().clone().unwrap(), self.late.lock().unwrap().clone());
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || {
                for step in steps {
                    match step.verb {
                        Verb::Revoke => {
                            let since = clock.now().duration_since(step.until);
                            late.lock().unwrap().push(Duration::try_from(since).unwrap_or_default());
                        }
                        Verb::Grant | Verb::Renew => std::thread::sleep(Duration::from_micros(300)),
                    }
                    let _ = events.send(Event::Done { intent: step.intent, fate: Fate::Done });
                }
            });
            work.await.unwrap();
        })
    }
}

/// A repository that does not answer.
struct Silent;

type Answer<'a, T> = BoxFuture<'a, Result<T, SourceError>>;

fn never<T: Send + 'static>() -> Answer<'static, T> {
    Box::pin(std::future::pending())
}

impl Source for Silent {
    fn fetch(&self) -> Answer<'_, Commit> {
        never()
    }
    fn tree<'a>(&'a self, _: &'a Commit) -> Answer<'a, Tree> {
        never()
    }
    fn blobs<'a>(&'a self, _: &'a [Oid]) -> Answer<'a, Vec<Vec<u8>>> {
        never()
    }
    fn log<'a>(&'a self, _: &'a Commit, _: Option<&'a Commit>) -> Answer<'a, Log> {
        never()
    }
    fn deletions<'a>(&'a self, _: &'a Commit, _: Option<&'a Commit>) -> Answer<'a, Vec<Change>> {
        never()
    }
    fn trust(&self) -> Result<Text, String> {
        Ok("".into())
    }
    fn prove<'a>(&'a self, _: &'a [Commit], _: Timestamp) -> Answer<'a, Vec<Proof>> {
        never()
    }
    fn resolve<'a>(&'a self, _: &'a str) -> Answer<'a, Commit> {
        never()
    }
}
