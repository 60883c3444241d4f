//! Ten times as much of each thing that a push, a fleet or a configuration can bring: how many times as long it takes. Linear is
//! ten, and what no longer fits into the caches takes longer for each: how much, a plain copy of the same data shows, which is linear
//! for certain. Whatever takes more than 1.3 times what is linear hides a product, and fails.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use grantd::{
    command::setup,
    decide::{
        Allows, Bearing, Deletions, Filed, Footing, Intake, Past, Reach, admit, chains, close, desire, fold, here,
        parse, status,
    },
    model::{
        Cause, Change, Commit, Fate, Grant, GrantId, Holders, Ledger, Line, Oid, Policy, Record, Rule, Seen, Span,
        Stamp, State, Survey, Terms, Text, Trouble, TroubleKind, Trust, Verb, When,
    },
};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::{plan, report, town};

/// What is promised of each.
pub const MOST: &str = "at most 13 times as long, or 1.3 times what a plain copy or walk of it takes";

/// How many times as long something takes with ten times as much, and a plain copy of that.
pub struct Growth {
    pub time: f64,
    pub yard: f64,
}

impl Growth {
    pub fn good(&self) -> bool {
        self.time <= 1.3 * self.yard.max(10.0)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, yard } = self;
        write!(f, "{time:.1} times (a copy: {yard:.1} times)")
    }
}

/// How long a plain copy takes: the shortest of several.
pub fn yard<T: Clone>(of: &T) -> Duration {
    shortest(|| timed(|| of.clone()).0)
}

/// How this part ends if anything takes longer.
pub const FAILED: i32 = 3;
/// Each is measured so often, and the shortest counts: the machine is shared, and what is done is always the same.
const RUNS: usize = 4;

pub fn measure() {
    let mut good = true;
    let mut both = |what: &str, run: &dyn Fn(usize) -> Measured, count: usize| {
        let (small, large) = (run(count), run(10 * count));
        // Below a tenth of a millisecond it is noise.
        let ratio = |small: Duration, large: Duration| {
            large.as_secs_f64() / small.max(Duration::from_micros(100)).as_secs_f64()
        };
        let growth = Growth { time: ratio(small.time, large.time), yard: ratio(small.yard, large.yard) };
        good &= growth.good();
        let measured = format!("{} to {}: {growth}", report::short(small.time), report::short(large.time));
        report::row(&format!("ten times {what}"), MOST, &measured, growth.good());
    };
    both("the grants (40,000), nothing to do: close, desire, plan", &grants, 40_000);
    both("the rules with `max_duration` (40), over 2,000 grants, under a new configuration", &rules_anew, 40);
    both("the rules (40), in each turn after it: close twice, desire, status", &rules_again, 40);
    both(
        "the withdrawals (10,000 of four times as many) in one commit: admission, its lines, a start over them",
        &withdrawn,
        10_000,
    );
    both("the withdrawals (20,000) taken back before they count", &restored, 20_000);
    both("the live grants (20,000) and the commits that delete, a turn while frozen", &frozen, 20_000);
    both(
        "the files (10,000) renamed and edited by each of four commits: chains, admission, its lines",
        &renamed,
        10_000,
    );
    both("the places (40,000) that fail: lines of two tries, desire, plan, status", &failing, 40_000);
    if !good {
        std::process::exit(FAILED);
    }
}

/// How long this thread computed so far: what others do on the machine counts for nothing.
pub fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// How long this thread computes for something, and what comes of it.
fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    // What the run before has freed is put in order when something large is asked for, and is no part of this one.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(100 << 10)));
    let begin = spent();
    let answer = run();
    (spent() - begin, answer)
}

/// How long something takes, and a plain copy of what it is about.
struct Measured {
    time: Duration,
    yard: Duration,
}

/// The shortest of several runs.
fn shortest(run: impl FnMut() -> Duration) -> Duration {
    shortest_of(RUNS, run)
}

fn shortest_of(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..runs).map(|_| run()).min().unwrap()
}

fn live(grants: usize) -> (Ledger, Survey, Policy) {
    let (mut ledger, mut survey, policy) = (Ledger::default(), Survey::default(), town::policy());
    plan::fill(&mut ledger, &mut survey, (grants, 1), &setup::targets(), &policy);
    (ledger, survey, policy)
}

fn grants(count: usize) -> Measured {
    let (targets, now) = (setup::targets(), town::nine());
    let (ledger, survey, policy) = live(count);
    let yard = yard(&ledger);
    let time = shortest(|| {
        let (time, steps) = timed(|| {
            let ends = close(&ledger, &policy, now).len();
            ends + plan::decide(&ledger, &survey, &targets, &policy, now).steps.len()
        });
        assert_eq!(steps, 0);
        time
    });
    Measured { time, yard }
}

/// Rules that match nobody, and one that matches all.
fn ruled(count: usize) -> Arc<Policy> {
    let mut policy = town::policy();
    let rule = |number: usize| Rule {
        max_duration: Some(Span::hours(6)),
        when: When {
            account: Some("prod".into()),
            path: Some(format!("grants/team-{number}/*").into()),
            ..When::default()
        },
        ..Rule::default()
    };
    policy.trust.rules =
        (1..count).map(rule).chain([Rule { max_duration: Some(Span::hours(5)), ..Rule::default() }]).collect();
    Arc::new(policy)
}

fn rules_anew(count: usize) -> Measured {
    let (ledger, ..) = live(2_000);
    let policy = ruled(count);
    let time = shortest(|| timed(|| Reach::renew(&mut Arc::default(), &policy, &ledger)).0);
    Measured { time, yard: yard(&policy.trust.rules) }
}

fn rules_again(count: usize) -> Measured {
    let (targets, now) = (setup::targets(), town::nine());
    let (ledger, survey, _) = live(2_000);
    let (policy, mut reach) = (ruled(count), Arc::default());
    Reach::renew(&mut reach, &policy, &ledger);
    let (_, terms) = ledger.grants.iter().next().unwrap();
    assert_eq!(policy.longest(&id(0), terms), Span::hours(5));
    let time = shortest(|| {
        timed(|| {
            let reach = Reach::renew(&mut reach, &policy, &ledger);
            assert!(close(&ledger, &reach, now).is_empty() && close(&ledger, &reach, now).is_empty());
            desire(&ledger, &survey, &targets, &reach, now);
            assert_eq!(status(&ledger, &reach, now).grants.len(), 2_000);
        })
        .0
    });
    Measured { time, yard: yard(&policy.trust.rules) }
}

fn id(number: usize) -> GrantId {
    format!("grant-{number:06}").parse().unwrap()
}

fn path(number: usize) -> Text {
    format!("grants/grant-{number:06}.yaml").into()
}

fn blob(number: usize) -> Oid {
    Oid(format!("{number:040x}").into())
}

fn commit(number: usize) -> Commit {
    Commit(format!("{number:040x}").into())
}

/// Takes records in, and hands back their lines.
fn take(ledger: &mut Ledger, at: Timestamp, records: Vec<Record>) -> Vec<Line> {
    let lines: Vec<Line> =
        records.into_iter().enumerate().map(|(seq, record)| Line { seq: seq as u64 + 1, at, record }).collect();
    lines.iter().for_each(|line| fold(ledger, line));
    lines
}

/// A request; what it says matters to nothing here.
pub fn request(policy: &Policy) -> Arc<Grant> {
    Arc::new(parse(town::grant(1).as_bytes(), &setup::targets(), policy).grant.unwrap())
}

fn filed(grant: &Arc<Grant>, blob: Oid, path: Text) -> Filed {
    let (commit, author) = (commit(0), "Ann <ann@corp.example>".into());
    Filed { path, blob, grant: grant.clone(), commit, author, committed: town::nine(), late: false }
}

fn intake(head: usize, files: Vec<Filed>, changes: Vec<Change>, past: &Past) -> Intake {
    Intake {
        head: commit(head),
        bearing: Bearing::Follows,
        present: here(files.iter().map(|filed| &filed.path)),
        files,
        findings: Vec::new(),
        chains: chains(past, &changes),
        changes,
        deletions: Deletions::default(),
        proofs: BTreeMap::new(),
        footing: Footing::Named("".into()),
        at: town::nine(),
    }
}

fn change(number: usize, files: Vec<(Text, Option<Oid>)>) -> Change {
    let (commit, author) = (commit(number), "Ann <ann@corp.example>".into());
    Change { commit, author, committed: town::nine(), parents: 1, files }
}

/// A revision with so many grants, accepted.
fn accepted(count: usize, policy: &Policy) -> (Ledger, Vec<Filed>) {
    let grant = request(policy);
    let files: Vec<Filed> = (0..count).map(|number| filed(&grant, blob(number), path(number))).collect();
    let brought = (0..count).map(|number| (path(number), Some(blob(number)))).collect();
    let intake = intake(1, files.clone(), vec![change(1, brought)], &Past::default());
    let mut ledger = Ledger::default();
    let records = admit(&ledger, &intake, policy, town::nine()).records;
    take(&mut ledger, town::nine(), records);
    assert_eq!(ledger.grants.len(), count);
    (ledger, files)
}

/// A fourth of all is deleted, and with it the ids of it are looked up everywhere.
fn withdrawn(count: usize) -> Measured {
    let policy = town::policy();
    let (ledger, files) = accepted(4 * count, &policy);
    let gone = (0..count).map(|number| (path(number), None)).collect();
    let intake = intake(2, files.into_iter().skip(count).collect(), vec![change(2, gone)], &Past::new(&ledger));
    let time = shortest(|| {
        let mut after = ledger.clone();
        timed(|| {
            let admission = admit(&after, &intake, &policy, town::nine());
            assert_eq!(admission.ends.len(), count);
            let mut lines = take(&mut after, town::nine(), admission.ends);
            lines.extend(take(&mut after, town::nine(), admission.records));
            let ends = close(&after, &policy, town::nine());
            assert_eq!(ends.len(), count);
            lines.extend(take(&mut after, town::nine(), ends));
            grantd::decide::ledger(lines)
        })
        .0
    });
    Measured { time, yard: yard(&ledger) + yard(&intake) }
}

/// All is deleted, which is held, and comes back.
fn restored(count: usize) -> Measured {
    let policy = town::policy();
    let (mut ledger, files) = accepted(count, &policy);
    let gone = (0..count).map(|number| (path(number), None)).collect();
    let deleted = intake(2, Vec::new(), vec![change(2, gone)], &Past::new(&ledger));
    let admission = admit(&ledger, &deleted, &policy, town::nine());
    take(&mut ledger, town::nine(), [admission.ends, admission.records].concat());
    let held = |terms: &Terms| matches!(terms.state, State::Withdrawn { effective, .. } if effective > town::nine());
    assert!(ledger.grants.values().all(|terms| held(terms)));
    let back = (0..count).map(|number| (path(number), Some(blob(number)))).collect();
    let intake = intake(3, files, vec![change(3, back)], &Past::new(&ledger));
    let time = shortest(|| {
        let mut after = ledger.clone();
        let (time, ()) = timed(|| {
            let records = admit(&after, &intake, &policy, town::nine()).records;
            take(&mut after, town::nine(), records);
        });
        assert!(after.grants.values().all(|terms| terms.state == State::Live));
        time
    });
    Measured { time, yard: yard(&ledger) + yard(&intake) }
}

/// A head that is not accepted, with as many commits that delete what nobody has, and one that deletes the last grant.
fn frozen(count: usize) -> Measured {
    let policy = town::policy();
    let (ledger, files) = accepted(count, &policy);
    let other = |number: usize| change(number, vec![(path(count + number), None)]);
    let deletions: Vec<Change> = (1..count).map(other).chain([change(count, vec![(path(count - 1), None)])]).collect();
    let intake = Intake {
        bearing: Bearing::Strays,
        footing: Footing::Idle,
        deletions: Deletions::new(&deletions),
        ..intake(9, files, Vec::new(), &Past::default())
    };
    // So little that the first runs only warm up.
    let often = 50 * RUNS;
    let time = shortest_of(often, || {
        let (time, admission) = timed(|| admit(&ledger, &intake, &policy, town::nine()));
        assert_eq!(admission.ends.len(), 1);
        time
    });
    // There is nothing to it but a look at each grant.
    let looks = || timed(|| ledger.grants.values().filter(|terms| terms.state == State::Live).count()).0;
    Measured { time, yard: shortest_of(often, looks) }
}

/// Nobody signed them, so that all is withheld and written.
fn renamed(count: usize) -> Measured {
    let mut policy = town::policy();
    policy.trust.level = Trust::Signed;
    let (path, blob) = (
        |round: usize, file: usize| path(round * count + file),
        |round: usize, file: usize| blob(round * count + file),
    );
    let round = |round: usize| {
        let gone = (0..count).filter(|_| round > 0).map(|file| (path(round - 1, file), None));
        let came = (0..count).map(|file| (path(round, file), Some(blob(round, file))));
        change(round + 1, gone.chain(came).collect())
    };
    let changes: Vec<Change> = (0..=4).map(round).collect();
    let grant = request(&policy);
    let files: Vec<Filed> = (0..count).map(|file| filed(&grant, blob(4, file), path(4, file))).collect();
    let time = shortest(|| {
        let (time, ledger) = timed(|| {
            let mut ledger = Ledger::default();
            let intake = intake(9, files.clone(), changes.clone(), &Past::new(&ledger));
            let records = admit(&ledger, &intake, &policy, town::nine()).records;
            take(&mut ledger, town::nine(), records);
            ledger
        });
        assert_eq!(ledger.withheld.len(), count);
        time
    });
    Measured { time, yard: yard(&files) + yard(&changes) }
}

/// Grants over places that answer every call with a failure, twice.
fn failing(count: usize) -> Measured {
    let targets = setup::targets();
    let (mut before, survey, policy) = live(count);
    let bindings: Vec<_> = std::mem::take(&mut before.owned).into_iter().collect();
    let trouble = Trouble::new(TroubleKind::Throttled, "the place does not answer");
    let now = town::nine();
    let time = shortest(|| {
        let mut after = before.clone();
        timed(|| {
            for attempt in 0..2 {
                for (place, (binding, owned)) in bindings.iter().enumerate() {
                    let seq = (attempt * 2 * count + 2 * place + 1) as u64;
                    fold(&mut after, &Line { seq, at: now, record: intend(binding, &owned.holders, owned.until) });
                    let record = Record::Fate {
                        intent: seq,
                        verb: Verb::Grant,
                        binding: binding.clone(),
                        cause: Cause::Merged,
                        until: owned.until,
                        fate: Fate::Failed(trouble.clone()),
                        request: None,
                        asked: now,
                        knew: now,
                        stamp: Stamp::default(),
                    };
                    fold(&mut after, &Line { seq: seq + 1, at: now, record });
                }
            }
            assert_eq!(after.refused.len(), count);
            let plan = plan::decide(&after, &survey, &targets, &policy, now);
            assert_eq!(plan.steps.len() + plan.reads.len(), 0, "they pause");
            assert_eq!(status(&after, &policy, now).waiting.len(), count);
        })
        .0
    });
    Measured { time, yard: yard(&before) + yard(&bindings) }
}

fn intend(binding: &grantd::model::Binding, holders: &Holders, until: Timestamp) -> Record {
    Record::Intend {
        verb: Verb::Grant,
        binding: binding.clone(),
        cause: Cause::Merged,
        until,
        before: Seen::Unread,
        act_by: Some(until),
        nonce: None,
        holders: holders.clone(),
        stamp: Stamp::default(),
    }
}
