//! The figures of the README: each row says what was measured, the target, and what it was. Run by `scripts/bench`.
//! Medians of several runs on whatever machine this is; no row fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use grantd::{
    command::setup,
    decide::{Ground, desire, fold, parse, plan},
    engine::{Book, Cycle, Daemon, Executor, Parts, Pulse},
    journal::FileJournal,
    model::{
        BoxFuture, Cause, Clock, Commit, Fate, GrantId, Ledger, Line, Log, Oid, Policy, Record, Seen, Source,
        SourceError, Span, Survey, Tree, Verb,
    },
    surface::{
        self,
        world::{ManualClock, State, World},
    },
};
use jiff::Timestamp;

fn main() {
    println!("| what | target | measured |\n|---|---|---|");
    hostile();
    let small = plans(10_000, "under 100 ms");
    let large = plans(100_000, "linear, under 500 MiB");
    row("plan: 100,000 grants against 10,000", "10 times", &format!("{:.1} times", large / small));
    row("peak resident memory so far", "under 500 MiB", &format!("{} MiB", status("VmHWM") / 1024));
    start();
    storm();
}

fn row(what: &str, target: &str, measured: &str) {
    println!("| {what} | {target} | {measured} |");
}

/// The median of five runs, in milliseconds.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(2).copied().unwrap_or_default()
}

/// A line of /proc/self/status, in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn hostile() {
    let (targets, policy) = (setup::targets(), Policy::default());
    let units = [
        "[",
        "{a: ",
        "- ",
        "? ",
        "a: ",
        "\"",
        "'",
        "&a ",
        "*a ",
        "! ",
        "a: [",
        "a:\n ",
        "#",
        "|\n ",
        "-\n",
        "\t",
        "é",
        "a: b\n",
        "- a\n",
        "x ",
        "[a,",
        "%",
        "---\n",
        "\\",
        ",",
        "}",
        "a: {b: [c, {d: ",
        "? [a, b]\n: c\n",
        "\u{feff}",
        "requester: a\n",
        "- {a: b}\n",
    ];
    let mut worst: (f64, &str) = (0.0, "");
    for unit in units {
        let text = unit.repeat(64 * 1024 / unit.len());
        let time = median(|| drop(parse(text.as_bytes(), &targets, &policy)));
        if time > worst.0 {
            worst = (time, unit);
        }
    }
    row("any 64 KiB input is answered (the worst of 31)", "20 ms", &format!("{:.1} ms, for {:?}", worst.0, worst.1));
}

const START: &str = "2026-11-20T09:00:00Z";

fn now() -> Timestamp {
    START.parse().unwrap_or(Timestamp::MIN)
}

fn accept(n: usize, until: Timestamp) -> Record {
    let targets = setup::targets();
    let entries: String =
        (0..5).map(|k| format!("  - iam-group: {{ account: '123456789012', user: u{n}, group: G{k} }}\n")).collect();
    let text = format!("requester: r\npurpose: p\nttl: 8h\naccess:\n{entries}");
    let asks = parse(text.as_bytes(), &targets, &Policy::default()).grant.map(|grant| grant.access).unwrap_or_default();
    Record::Accept {
        grant: id(n),
        path: format!("grants/g-{n}.yaml").into(),
        blob: Oid(format!("{n:040}").into()),
        commit: Commit("c".repeat(40).into()),
        author: "Ann <ann@corp.example>".into(),
        committed: now(),
        requester: "r".into(),
        purpose: "p".into(),
        asks,
        from: None,
        ttl: None,
        stated: None,
        start: now(),
        until,
        ceiling: until,
    }
}

fn id(n: usize) -> GrantId {
    #[expect(clippy::unwrap_used, reason = "the form is right")]
    format!("grant-{n}").parse().unwrap()
}

/// A ledger of so many grants with five bindings each, all of them granted.
fn ledger(grants: usize) -> (Ledger, Vec<Record>) {
    let mut ledger = Ledger::default();
    let mut records = Vec::new();
    let mut seq = 0;
    let mut say = |ledger: &mut Ledger, record: Record| {
        seq += 1;
        records.push(record.clone());
        fold(ledger, &Line { seq, at: now(), record });
        seq
    };
    let until = Span::hours(8).after(now());
    for n in 0..grants {
        say(&mut ledger, accept(n, until));
    }
    let wanted = desire(&ledger, &Survey::default(), &setup::targets(), &Policy::default(), now());
    for (binding, want) in wanted.bindings {
        let stamp = grantd::model::Stamp { grants: want.holders.keys().cloned().collect(), commit: None, author: None };
        let intent = say(
            &mut ledger,
            Record::Intend {
                verb: Verb::Grant,
                binding: binding.clone(),
                cause: Cause::Merged,
                until,
                before: Seen::Absent,
                act_by: None,
                holders: want.holders,
                stamp: stamp.clone(),
            },
        );
        let fate = Record::Fate {
            intent,
            verb: Verb::Grant,
            binding,
            cause: Cause::Merged,
            until,
            fate: Fate::Done,
            request: Some("request-1".into()),
            asked: now(),
            knew: now(),
            stamp,
        };
        say(&mut ledger, fate);
    }
    (ledger, records)
}

fn plans(grants: usize, target: &str) -> f64 {
    let (ledger, _) = ledger(grants);
    let (targets, policy, survey) = (setup::targets(), Policy::default(), Survey::default());
    let time = median(|| {
        let wanted = desire(&ledger, &survey, &targets, &policy, now());
        let (pending, fresh) = (BTreeSet::new(), BTreeSet::new());
        let ground = Ground {
            ledger: &ledger,
            survey: &survey,
            targets: &targets,
            policy: &policy,
            pending: &pending,
            fresh: &fresh,
            standstill: None,
            now: now(),
        };
        assert!(plan(&ground, &wanted).steps.is_empty());
    });
    row(&format!("plan over {grants} grants and {} bindings", ledger.owned.len()), target, &format!("{time:.0} ms"));
    time
}

#[expect(clippy::unwrap_used, reason = "a figure that cannot be taken fails the bench")]
fn start() {
    let folder = tempfile::tempdir().unwrap();
    let (_, records) = ledger(1000);
    let mut ledger = Ledger::default();
    let (mut journal, lines) = FileJournal::create(folder.path(), now(), records).unwrap();
    let mut count = lines.len();
    lines.iter().for_each(|line| fold(&mut ledger, line));
    let drift = || {
        let stamp = grantd::model::Stamp {
            grants: vec![id(1)],
            commit: Some(Commit("c".repeat(40).into())),
            author: Some("Ann".into()),
        };
        Record::Drift {
            binding: grantd::model::Binding::new("iam-group", "123456789012/group/G", "member", "u1"),
            stamp,
        }
    };
    while count < 1_000_000 {
        use grantd::model::Journal;
        let lines = journal.append(now(), (0..1000).map(|_| drift()).collect()).unwrap();
        count += lines.len();
        lines.iter().for_each(|line| fold(&mut ledger, line));
        if journal.full() {
            journal.checkpoint(now(), &ledger).unwrap();
        }
    }
    drop(journal);
    let time = median(|| {
        let (_, lines) = FileJournal::open(folder.path(), now()).unwrap();
        let mut ledger = Ledger::default();
        lines.iter().for_each(|line| fold(&mut ledger, line));
    });
    row("start over a journal of 1,000,000 lines", "under 2 s", &format!("{time:.0} ms"));
}

/// A repository that is away: ends need no Git.
struct Away;

impl Source for Away {
    fn fetch(&self) -> BoxFuture<'_, Result<Commit, SourceError>> {
        Box::pin(async { Err(SourceError::Unreachable("away".into())) })
    }
    fn tree<'a>(&'a self, _: &'a Commit) -> BoxFuture<'a, Result<Tree, SourceError>> {
        Box::pin(async { Err(SourceError::Unreachable("away".into())) })
    }
    fn blobs<'a>(&'a self, _: &'a [Oid]) -> BoxFuture<'a, Result<Vec<Vec<u8>>, SourceError>> {
        Box::pin(async { Err(SourceError::Unreachable("away".into())) })
    }
    fn log<'a>(&'a self, _: &'a Commit, _: Option<&'a Commit>) -> BoxFuture<'a, Result<Log, SourceError>> {
        Box::pin(async { Err(SourceError::Unreachable("away".into())) })
    }
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Commit, SourceError>> {
        Box::pin(async { Err(SourceError::Unreachable("away".into())) })
    }
}

/// 10,000 grants with one binding each that end in the same second.
#[expect(clippy::unwrap_used, reason = "a figure that cannot be taken fails the bench")]
fn storm() {
    const GRANTS: usize = 10_000;
    let users: String = (0..GRANTS).map(|n| format!("      u{n}: {{ groups: [G0] }}\n")).collect();
    let world = format!("accounts:\n  \"123456789012\":\n    users:\n{users}    groups: {{ G0: {{}} }}\n");
    let clock = Arc::new(ManualClock::new(now()));
    let world = World::new(State::from_yaml(&world).unwrap(), clock.clone());
    let (_, records) = ledger(GRANTS);
    // Of the five entries the world knows one: the other groups are not there, and their debts stay.
    let keep = |record: &Record| match record {
        Record::Intend { binding, .. } | Record::Fate { binding, .. } => binding.place.ends_with("/G0"),
        _ => true,
    };
    let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
    let mut kept: Vec<Record> = Vec::new();
    for (index, record) in records.into_iter().enumerate().filter(|(_, record)| keep(record)) {
        numbers.insert(index as u64 + 1, kept.len() as u64 + 1);
        kept.push(match record {
            Record::Fate { intent, verb, binding, cause, until, fate, request, asked, knew, stamp } => {
                let intent = numbers.get(&intent).copied().unwrap_or_default();
                Record::Fate { intent, verb, binding, cause, until, fate, request, asked, knew, stamp }
            }
            other => other,
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let (journal, lines) = FileJournal::create(folder.path(), now(), kept).unwrap();
    let parts = Parts {
        targets: Arc::new(setup::targets()),
        readers: surface::world_readers(&world),
        source: Arc::new(Away),
        clock: clock.clone(),
        policy: Arc::new(Policy::default()),
    };
    let cycle = Cycle::new(parts, Book::new(Box::new(journal), &lines));
    let executor = Executor::new(surface::world_writers(&world));
    let pulse = Pulse { poll: Span::seconds(30), sweep: Arc::new(|_| None) };
    let mut daemon = Daemon { cycle, executor, pulse };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    clock.set(Span::hours(8).after(clock.now()));
    let (issued, done) = runtime.block_on(async {
        let start = Instant::now();
        daemon.turn();
        let mut issued = Duration::ZERO;
        while daemon.busy() {
            let happening = daemon.cycle.next().await;
            let made: u64 = world.calls().writes.values().sum();
            if issued.is_zero() && made as usize >= GRANTS * 99 / 100 {
                issued = start.elapsed();
            }
            daemon.absorb(happening);
        }
        (issued, start.elapsed())
    });
    let left = world
        .state()
        .unwrap()
        .accounts
        .values()
        .flat_map(|account| account.users.values())
        .filter(|user| !user.groups.is_empty())
        .count();
    let measured = format!(
        "99 % of the calls after {:.2} s, all fates journaled after {:.2} s, {left} left",
        issued.as_secs_f64(),
        done.as_secs_f64()
    );
    row("10,000 grants that end in the same second", "99 % within 2 s, none lost", &measured);
}
