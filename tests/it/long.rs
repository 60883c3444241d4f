//! What lasts: debts that fail for days, a journal that is away for hours, checkpoints that do not fit. What is written, kept and
//! waited for is bounded by what it is about, and not by how often it was tried.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use grantd::{
    decide::ledger,
    engine::Book,
    model::{
        Binding, Cause, Fate, Hold, Holders, Journal, JournalError, Ledger, Line, Policy, Record, Seen, Span, Stamp,
        Trouble, TroubleKind, Verb,
    },
    surface::{
        Cloud,
        world::{Failure, Fault, ManualClock, On, State, World},
    },
};
use jiff::Timestamp;

use crate::sim::Sim;

const WORLD: &str = r#"
accounts:
  "123456789012":
    users: { jdoe: {} }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {} }
policies: [AmazonEC2ReadOnlyAccess]
"#;
const GRANT: &str = "requester: jdoe\npurpose: p\nttl: 1h\naccess:\n  \
    - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }\n  \
    - iam-group: { account: prod, user: jdoe, group: Auditors }\n";

fn nine() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

fn after(span: Span) -> Timestamp {
    span.after(nine())
}

/// What a journal's disk does, from outside.
#[derive(Default)]
struct Disk {
    /// Takes no line.
    away: AtomicBool,
    /// Takes no line, and can be read.
    deaf: AtomicBool,
    /// Is due for a checkpoint at each line, and takes none.
    small: AtomicBool,
    /// How many records each batch had.
    batches: Mutex<Vec<usize>>,
}

struct OnDisk {
    inner: Box<dyn Journal>,
    disk: Arc<Disk>,
}

fn no_room() -> JournalError {
    JournalError::Io("the disk is full".into())
}

impl Journal for OnDisk {
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError> {
        if self.disk.away.load(Ordering::SeqCst) {
            return Err(no_room());
        }
        self.disk.batches.lock().unwrap().push(records.len());
        self.inner.write(records)
    }
    fn next(&self) -> u64 {
        self.inner.next()
    }
    fn full(&self) -> bool {
        self.disk.small.load(Ordering::SeqCst)
    }
    fn checkpoint(&mut self, at: Timestamp, ledger: &Ledger) -> Result<(), JournalError> {
        if self.disk.small.load(Ordering::SeqCst) { Err(no_room()) } else { self.inner.checkpoint(at, ledger) }
    }
    fn reserve(&mut self, _: bool) -> bool {
        true
    }
    fn reopen(&mut self) -> Result<Vec<Line>, JournalError> {
        if self.disk.away.load(Ordering::SeqCst) { Err(no_room()) } else { self.inner.reopen() }
    }
}

/// A town with one grant that is live, and the disk of its journal.
async fn town() -> (Sim, World, Arc<Disk>) {
    let accounts = serde_saphyr::from_str("prod: { id: \"123456789012\", regions: [us-east-1] }").unwrap();
    let policy = Policy { accounts: Some(accounts), ..Policy::default() };
    let clock = Arc::new(ManualClock::new(nine()));
    let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
    let mut sim = Sim::new(Cloud::World(world.clone()), clock, policy);
    let disk = Arc::new(Disk::default());
    let wrapped = disk.clone();
    sim.wrap = Box::new(move |inner| Box::new(OnDisk { inner, disk: wrapped.clone() }));
    sim.init(false).await;
    sim.start();
    sim.work().await;
    sim.repo.write("jdoe-one.yaml", GRANT);
    sim.repo.commit(nine(), "one");
    sim.poll().await;
    assert_eq!(present(&world), 2);
    (sim, world, disk)
}

fn present(world: &World) -> usize {
    let shown = world.show().unwrap();
    shown.matches("AmazonEC2ReadOnlyAccess").count() + shown.matches("members: jdoe").count()
}

fn break_writes(world: &World, surface: Option<&str>, trouble: Option<Failure>) {
    let fault = trouble.map(|trouble| Fault {
        surface: surface.map(Into::into),
        place: None,
        on: On::Write,
        trouble,
        times: None,
    });
    world.edit(|state| state.faults = fault.iter().cloned().collect()).unwrap();
}

/// The kinds of the lines about one surface, in order, from a moment on.
fn kinds(sim: &Sim, surface: &str, from: Timestamp) -> Vec<String> {
    let mut kinds = Vec::new();
    for line in sim.lines().into_iter().filter(|line| line.at >= from) {
        let value = serde_json::to_value(&line.record).unwrap();
        if value["binding"]["surface"] == surface {
            kinds.push(value["kind"].as_str().unwrap().to_owned());
        }
    }
    kinds
}

fn tally(kinds: &[String]) -> BTreeMap<&str, usize> {
    kinds.iter().fold(BTreeMap::new(), |mut tally, kind| {
        *tally.entry(kind.as_str()).or_default() += 1;
        tally
    })
}

#[tokio::test]
async fn a_debt_that_fails_for_two_days_is_tried_every_five_minutes_and_is_a_line_an_hour() {
    let (mut sim, world, _) = town().await;
    break_writes(&world, Some("iam-group"), Some(Failure::Denied));
    let end = after(Span::hours(1));
    sim.advance(end).await;
    let before = world.calls().writes["iam-group"];
    for hour in 1..=24 {
        sim.advance(Span::hours(hour).after(end)).await;
    }
    // Over a restart, too.
    sim.kill();
    sim.start();
    for hour in 25..=48 {
        sim.advance(Span::hours(hour).after(end)).await;
    }
    let tries = world.calls().writes["iam-group"] - before;
    assert!((570..650).contains(&tries), "{tries} tries in 48 hours: one every five minutes is 576");
    let kinds = kinds(&sim, "iam-group", end);
    let told = tally(&kinds);
    assert_eq!((told["intend"], told["fate"]), (1, 1), "the first failure has its lines: {told:?}");
    assert!((46..=50).contains(&told["retried"]), "one line an hour: {told:?}");
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), ["fate", "intend", "retried", "sent"]);
    let (mut covered, mut last) = (1, end);
    for line in sim.lines() {
        if let Record::Retried { count, first, last: until, trouble, request: _, .. } = line.record {
            assert!(first >= last && until >= first && count > covered, "{first} {until} {count}");
            assert_eq!(trouble.kind, TroubleKind::Denied);
            (covered, last) = (count, until);
        }
    }
    // What a restart forgets is less than an hour's.
    assert!(u64::from(covered) + 30 > tries, "{covered} of {tries} are on record");
    // And it ends within five minutes when it can, with its lines.
    break_writes(&world, None, None);
    let healed = Span::hours(48).after(end);
    sim.advance(Span::minutes(6).after(healed)).await;
    assert_eq!(present(&world), 0);
    let kinds = self::kinds(&sim, "iam-group", healed);
    let fates = kinds.iter().filter(|kind| *kind != "retried").map(String::as_str).collect::<Vec<_>>();
    assert_eq!(fates, ["intend", "fate"], "{kinds:?}");
    sim.advance(Span::minutes(12).after(healed)).await;
    sim.sweep().await;
    sim.advance(Span::minutes(13).after(healed)).await;
    assert!(sim.daemon.as_ref().unwrap().cycle.ledger().owned.is_empty());
    // Every fate has its intent before it, with the same number.
    let mut intents = BTreeMap::new();
    for line in sim.lines() {
        match line.record {
            Record::Intend { binding, .. } => drop(intents.insert(line.seq, binding)),
            Record::Fate { intent, binding, .. } => {
                assert_eq!(intents.get(&intent), Some(&binding), "line {}", line.seq)
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn failures_that_come_by_turns_are_no_news_each_time() {
    let (mut sim, world, _) = town().await;
    break_writes(&world, None, Some(Failure::Denied));
    let end = after(Span::hours(1));
    sim.advance(end).await;
    for five in 1..=(6 * 12) {
        let trouble = if five % 2 == 0 { Failure::Denied } else { Failure::Throttled };
        break_writes(&world, None, Some(trouble));
        sim.advance(Span::minutes(5 * five).after(end)).await;
    }
    let kinds = kinds(&sim, "iam-group", end);
    let told = tally(&kinds);
    // In six hours: the first, and in each hour a sum and the other kind, with what came before it.
    assert!(told["fate"] <= 8 && told["retried"] <= 16, "{told:?}");
    assert!(told["fate"] >= 2, "another reason is told: {told:?}");
}

#[tokio::test]
async fn a_journal_that_is_away_for_a_day_owes_what_it_is_about() {
    let (mut sim, world, disk) = town().await;
    disk.away.store(true, Ordering::SeqCst);
    break_writes(&world, None, Some(Failure::Unreachable));
    let end = after(Span::hours(1));
    for hour in 0..=24 {
        sim.advance(Span::hours(hour).after(end)).await;
    }
    let before = sim.lines().len();
    disk.batches.lock().unwrap().clear();
    disk.away.store(false, Ordering::SeqCst);
    sim.advance(Span::minutes(24 * 60 + 1).after(end)).await;
    let owed = sim.lines().len() - before;
    assert!(owed <= 12, "{owed} lines about two accesses");
    let kinds = kinds(&sim, "iam-group", end);
    let told = tally(&kinds);
    assert_eq!((told["intend"], told["fate"]), (1, 1), "{told:?}");
    assert!(told["retried"] <= 2, "one for the day, and one since: {told:?}");
    break_writes(&world, None, None);
    sim.advance(Span::minutes(24 * 60 + 8).after(end)).await;
    assert_eq!(present(&world), 0);
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_holds_up_nothing() {
    let (mut sim, world, disk) = town().await;
    disk.small.store(true, Ordering::SeqCst);
    let end = after(Span::hours(1));
    sim.advance(end).await;
    assert_eq!(present(&world), 0);
    let daemon = sim.daemon.as_ref().unwrap();
    assert_eq!(daemon.cycle.book.fault(), None, "the lines are written all the same");
    let settling = daemon.cycle.ledger().owned.values().all(|owned| matches!(owned.hold, Hold::Settling { .. }));
    assert!(settling, "{:?}", daemon.cycle.ledger().owned);
    assert_eq!(tally(&kinds(&sim, "iam-group", end)), BTreeMap::from([("fate", 1), ("intend", 1), ("sent", 1)]));
    // What is granted meanwhile is granted.
    sim.repo.write("jdoe-two.yaml", GRANT);
    sim.repo.commit(end, "two");
    sim.poll().await;
    assert_eq!(present(&world), 2);
    disk.small.store(false, Ordering::SeqCst);
    sim.advance(after(Span::hours(3))).await;
    assert_eq!(present(&world), 0);
}

/// A book over a journal in memory that keeps its lines.
#[derive(Default)]
struct Kept {
    lines: Arc<Mutex<Vec<Line>>>,
    disk: Arc<Disk>,
}

impl Journal for Kept {
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError> {
        let deaf = self.disk.deaf.load(Ordering::SeqCst) && !records.is_empty();
        if deaf || self.disk.away.load(Ordering::SeqCst) {
            return Err(no_room());
        }
        self.disk.batches.lock().unwrap().push(records.len());
        let mut kept = self.lines.lock().unwrap();
        let line = |((at, record), seq)| Line { seq, at, record };
        let lines: Vec<Line> = records.into_iter().zip(kept.len() as u64 + 1..).map(line).collect();
        kept.extend(lines.iter().cloned());
        Ok(lines)
    }
    fn next(&self) -> u64 {
        self.lines.lock().unwrap().len() as u64 + 1
    }
    fn full(&self) -> bool {
        false
    }
    fn checkpoint(&mut self, _: Timestamp, _: &Ledger) -> Result<(), JournalError> {
        Ok(())
    }
    fn reserve(&mut self, _: bool) -> bool {
        true
    }
    fn reopen(&mut self) -> Result<Vec<Line>, JournalError> {
        if self.disk.away.load(Ordering::SeqCst) { Err(no_room()) } else { Ok(self.lines.lock().unwrap().clone()) }
    }
}

fn binding(n: usize) -> Binding {
    Binding::new("iam-group", "123456789012/group/Auditors", "member", &format!("user{n:05}"))
}

fn intend(verb: Verb, n: usize, until: Timestamp) -> Record {
    Record::Intend {
        verb,
        binding: binding(n),
        cause: Cause::Expired,
        until,
        before: Seen::Unread,
        act_by: None,
        nonce: None,
        holders: Holders::default(),
        stamp: Stamp::default(),
    }
}

fn fate(verb: Verb, n: usize, intent: u64, fate: Fate, knew: Timestamp) -> Record {
    let (binding, cause, until) = (binding(n), Cause::Expired, nine());
    let stamp = Stamp::default();
    Record::Fate { intent, verb, binding, cause, until, fate, request: None, asked: nine(), knew, stamp }
}

/// Ten thousand ends while the journal is away, each at its own moment: recorded in a few batches, between which the loop goes on,
/// and what lands meanwhile is known by its number.
#[test]
fn ten_thousand_ends_are_recorded_in_portions() {
    const MANY: usize = 10_000;
    let kept = Kept::default();
    let (disk, lines) = (kept.disk.clone(), kept.lines.clone());
    let mut book = Book::new(Box::new(kept), Ledger::default());
    let given = book.write(nine(), (0..MANY).map(|n| intend(Verb::Grant, n, after(Span::hours(1)))).collect()).unwrap();
    let fates = given.iter().enumerate().map(|(n, line)| fate(Verb::Grant, n, line.seq, Fate::Done, nine())).collect();
    book.write_anyway(nine(), fates);
    disk.away.store(true, Ordering::SeqCst);
    let mut open = Vec::new();
    for n in 0..MANY {
        let now = after(Span::seconds(3600 + i64::try_from(n).unwrap()));
        let line = book.write_anyway(now, vec![intend(Verb::Revoke, n, now)]).remove(0);
        if n % 100 == 0 {
            open.push((n, line.seq));
        } else {
            book.write_anyway(now, vec![fate(Verb::Revoke, n, line.seq, Fate::Done, now)]);
        }
    }
    disk.away.store(false, Ordering::SeqCst);
    disk.batches.lock().unwrap().clear();
    let mut now = after(Span::hours(9));
    let mut portions = 0;
    while book.fault().is_some() {
        book.mend(now);
        portions += 1;
        // One lands in the middle of it.
        if portions == 2 {
            let (n, intent) = open.pop().unwrap();
            book.write_anyway(now, vec![fate(Verb::Revoke, n, intent, Fate::Done, now)]);
        }
        // And it fails once more in the middle of it.
        disk.away.store(portions == 3, Ordering::SeqCst);
        assert!(portions < 30, "it never ends");
        now = book.retry().unwrap_or(now);
    }
    let batches = disk.batches.lock().unwrap().clone();
    assert!(batches.len() <= 12 && batches.iter().all(|size| *size <= 2_000), "{batches:?}");
    // The rest lands by the numbers of before.
    let failed = Fate::Failed(Trouble::new(TroubleKind::Denied, "no"));
    for (n, intent) in &open {
        book.write_anyway(now, vec![fate(Verb::Revoke, *n, *intent, failed.clone(), now)]);
    }
    let folded = ledger(lines.lock().unwrap().clone());
    assert_eq!(&folded, book.ledger(), "what is in memory is what is on record");
    let settling = folded.owned.values().filter(|owned| matches!(owned.hold, Hold::Settling { .. })).count();
    let owing = folded.owned.values().filter(|owned| matches!(owned.hold, Hold::Revoking { call: None, .. })).count();
    assert_eq!((settling, owing), (MANY - open.len(), open.len()), "a fate did not find its intent");
}

/// While the journal is away, what is proven gone is forgotten all the same: what somebody gives later is his.
#[tokio::test]
async fn what_is_forgotten_while_the_journal_is_away_is_not_ended_again() {
    let (mut sim, world, disk) = town().await;
    disk.away.store(true, Ordering::SeqCst);
    let end = after(Span::hours(1));
    sim.advance(end).await;
    assert_eq!(present(&world), 0);
    sim.advance(Span::minutes(10).after(end)).await;
    sim.sweep().await;
    world
        .edit(|state| {
            let user = state.accounts.get_mut("123456789012").unwrap().users.get_mut("jdoe").unwrap();
            user.groups.insert("Auditors".into());
        })
        .unwrap();
    for minutes in [20, 30, 40] {
        sim.advance(Span::minutes(minutes).after(end)).await;
        sim.sweep().await;
        assert_eq!(present(&world), 1, "somebody gave it, and it is not ours");
    }
    disk.away.store(false, Ordering::SeqCst);
    sim.advance(Span::minutes(50).after(end)).await;
    assert!(sim.daemon.as_ref().unwrap().cycle.ledger().owned.is_empty());
    let folded = ledger(sim.lines());
    assert_eq!(&folded, sim.daemon.as_ref().unwrap().cycle.ledger(), "what is in memory is what is on record");
}

/// What was only counted is put on record when the daemon ends well, so that the next one counts on.
#[tokio::test]
async fn a_daemon_that_ends_well_leaves_no_failure_uncounted() {
    let (mut sim, world, _) = town().await;
    break_writes(&world, Some("iam-group"), Some(Failure::Denied));
    let end = after(Span::hours(1));
    sim.advance(Span::minutes(30).after(end)).await;
    sim.daemon.as_mut().unwrap().cycle.sum_up();
    let tries = world.calls().writes["iam-group"] - 1;
    let summed = sim.lines().into_iter().find_map(|line| match line.record {
        Record::Retried { count, .. } => Some(u64::from(count)),
        _ => None,
    });
    assert_eq!(summed, Some(tries), "all but the grant itself");
    sim.daemon.as_mut().unwrap().cycle.sum_up();
    assert_eq!(tally(&kinds(&sim, "iam-group", end))["retried"], 1, "said once");
}

/// A mass withdrawal that was a mistake and is taken back at once is not made, though the journal was away all the while; and a later
/// one is.
#[tokio::test]
async fn a_withdrawal_that_was_taken_back_while_the_journal_was_away_is_not_made() {
    for mends in [false, true] {
        let (mut sim, world, disk) = town().await;
        let names: Vec<String> = (0..11).map(|n| format!("many-{n:02}.yaml")).collect();
        let text = GRANT.replace("1h", "20h");
        for name in &names {
            sim.repo.write(name, &text);
        }
        sim.repo.commit(after(Span::minutes(1)), "many");
        sim.poll().await;
        disk.away.store(true, Ordering::SeqCst);
        for name in &names {
            std::fs::remove_file(sim.repo.path.join("grants").join(name)).unwrap();
        }
        sim.repo.commit(after(Span::minutes(2)), "by mistake");
        sim.poll().await;
        sim.repo.git(after(Span::minutes(3)), &["revert", "--no-edit", "HEAD"]);
        sim.poll().await;
        for minute in 4..30 {
            sim.advance(after(Span::minutes(minute))).await;
            sim.poll().await;
        }
        if mends {
            disk.away.store(false, Ordering::SeqCst);
        }
        sim.advance(after(Span::minutes(90))).await;
        sim.poll().await;
        let ledger = sim.daemon.as_ref().unwrap().cycle.ledger();
        assert_eq!(ledger.used.len(), 1, "the town's own grant is over, and no other: {:?}", ledger.used);
        assert!(world.show().unwrap().contains("AmazonEC2ReadOnlyAccess"));
        // One that goes for good goes, and a mistake that nobody takes back is made in the end.
        std::fs::remove_file(sim.repo.path.join("grants/many-00.yaml")).unwrap();
        sim.repo.commit(after(Span::minutes(91)), "one");
        sim.poll().await;
        sim.advance(after(Span::minutes(122))).await;
        assert_eq!(sim.daemon.as_ref().unwrap().cycle.ledger().used.len(), 2);
        disk.away.store(false, Ordering::SeqCst);
        sim.advance(after(Span::minutes(124))).await;
        let lines = sim.lines();
        let restores = lines.iter().filter(|line| matches!(line.record, Record::Restore { .. })).count();
        assert_eq!(restores, 11, "once each");
        assert_eq!(over(&sim), sim.daemon.as_ref().unwrap().cycle.ledger().used.len());
    }
}

/// How many ids are over by what is on record.
fn over(sim: &Sim) -> usize {
    ledger(sim.lines()).used.len()
}

/// An edit that takes an entry out, or moves the end earlier, gives nothing: it waits for no journal.
#[tokio::test]
async fn less_is_asked_for_while_the_journal_is_away() {
    let (mut sim, world, disk) = town().await;
    sim.repo.write("jdoe-two.yaml", &GRANT.replace("1h", "8h"));
    sim.repo.commit(after(Span::minutes(1)), "two");
    sim.poll().await;
    disk.away.store(true, Ordering::SeqCst);
    // The end of the first is the later one's by now: the access is renewed to the earlier end.
    let short = GRANT.replace("1h", "2h");
    let without = short.lines().filter(|line| !line.contains("iam-group")).collect::<Vec<_>>().join("\n");
    sim.repo.write("jdoe-two.yaml", &without);
    sim.repo.commit(after(Span::minutes(2)), "less");
    sim.poll().await;
    sim.advance(after(Span::minutes(61))).await;
    assert_eq!(present(&world), 1, "the entry is out, and the first grant over");
    sim.advance(after(Span::minutes(122))).await;
    assert_eq!(present(&world), 0, "its end was moved earlier");
    disk.away.store(false, Ordering::SeqCst);
    sim.advance(after(Span::minutes(130))).await;
    let amended = sim.lines().iter().filter(|line| matches!(line.record, Record::Amend { .. })).count();
    assert_eq!(amended, 1, "once");
}

/// A journal that can be read and takes nothing is not back, though nothing is owed to it: that would be told, and tried, at every turn.
#[test]
fn a_journal_is_back_when_it_takes_a_line() {
    let kept = Kept::default();
    let disk = kept.disk.clone();
    let mut book = Book::new(Box::new(kept), Ledger::default());
    disk.deaf.store(true, Ordering::SeqCst);
    let mut now = nine();
    assert!(book.write(now, vec![Record::Tick {}]).is_none());
    for _ in 0..3 {
        book.mend(now);
        assert!(book.fault().is_some(), "it took nothing");
        let next = book.retry().unwrap();
        assert!(next >= Span::seconds(10).after(now), "no rest until {next}");
        now = next;
    }
    disk.deaf.store(false, Ordering::SeqCst);
    book.mend(now);
    assert_eq!(book.fault(), None);
}
