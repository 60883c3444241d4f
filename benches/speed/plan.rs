//! Desire and plan over a ledger of grants with five bindings each: as it mostly is (nothing to do), all new, all over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use grantd::{
    command::setup,
    decide::{Ground, Targets, close, desire, fold, parse, plan, stem},
    model::{
        Answer, Binding, Cause, Commit, Fate, Holders, Ledger, Line, Oid, Policy, Record, Seen, Selector, Stamp,
        Survey, Verb,
    },
};
use jiff::Timestamp;

use crate::{
    growth::{Growth, MOST, yard},
    report::{Runs, resident, row, timed},
    town,
};

const HOSTS: usize = 5;

pub fn ten_thousand() {
    let Times { settled, new, over, .. } = measure(10_000, 7);
    let good = [&settled, &new, &over].iter().all(|runs| runs.median() < Duration::from_millis(100));
    let measured = format!("nothing to do: {settled}; all to grant: {new}; all to revoke: {over}");
    row("desire and plan over 10,000 grants and 50,000 bindings", "< 100 ms", &measured, good);
}

pub fn hundred_thousand() {
    let small = measure(10_000, 5);
    let Times { settled, peaks: [given, idle, peak], new, over, yard: large } = measure(100_000, 3);
    let growth = Growth {
        time: settled.median().as_secs_f64() / small.settled.median().as_secs_f64(),
        yard: large.as_secs_f64() / small.yard.as_secs_f64(),
    };
    let measured = format!("nothing to do: {settled}, {growth}; all to grant: {new}; all to revoke: {over}");
    row("the same over 100,000 grants and 500,000 bindings", MOST, &measured, growth.good());
    let measured = format!(
        "half a million steps to grant: {given:.0} MiB; then nothing to do: {idle:.0} MiB; then half a million steps to revoke: {peak:.0} MiB"
    );
    row("its memory at the highest, ledger and all", "< 500 MiB", &measured, peak < 500.0);
}

struct Times {
    settled: Runs,
    /// MiB at the highest so far: all to grant, nothing to do, all to revoke.
    peaks: [f64; 3],
    new: Runs,
    over: Runs,
    /// How long a copy of the settled ledger takes.
    yard: Duration,
}

fn measure(grants: usize, count: usize) -> Times {
    let (targets, policy) = (setup::targets(), town::policy());
    let mut ledger = Ledger::default();
    let mut survey = Survey::default();
    // In the order of a life, so that each state has only its own in memory.
    fill_with(&mut ledger, &mut survey, (grants, HOSTS), &targets, &policy, false);
    let now = town::nine();
    let runs = |ledger: &Ledger, now: Timestamp, steps: usize| {
        Runs::of(count, || {
            let (time, plan) = timed(|| decide(ledger, &survey, &targets, &policy, now));
            assert_eq!(plan.steps.len(), steps);
            time
        })
    };
    let new = runs(&ledger, now, grants * HOSTS);
    let mut seq = 0;
    let mut take = |ledger: &mut Ledger, record| {
        seq += 1;
        fold(ledger, &Line { seq, at: now, record });
        seq
    };
    for step in decide(&ledger, &survey, &targets, &policy, now).steps {
        let stamp = step.stamp();
        own(&mut ledger, &mut take, step.binding, step.until, &step.holders, &stamp);
    }
    let given = resident("self", "VmHWM");
    let settled = runs(&ledger, now, 0);
    let idle = resident("self", "VmHWM");
    let after: Timestamp = "2026-11-20T14:00:00Z".parse().unwrap();
    for (seq, record) in close(&ledger, &policy, after).into_iter().enumerate() {
        fold(&mut ledger, &Line { seq: seq as u64, at: after, record });
    }
    let over = runs(&ledger, after, grants * HOSTS);
    let peaks = [given, idle, resident("self", "VmHWM")];
    let yard = yard(&ledger);
    Times { settled, peaks, new, over, yard }
}

pub fn decide(
    ledger: &Ledger,
    survey: &Survey,
    targets: &Targets,
    policy: &Policy,
    now: Timestamp,
) -> grantd::model::Plan {
    let mut wanted = desire(ledger, survey, targets, policy, now);
    let (pending, fresh, tries) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    let ground = Ground {
        ledger,
        survey,
        targets,
        policy,
        pending: &pending,
        fresh: &fresh,
        tries: &tries,
        standstill: None,
        unheard: false,
        now,
        leapt: jiff::Timestamp::MIN,
    };
    plan(&ground, &mut wanted)
}

/// Accepts the grants and gives them their bindings, line by line, as the journal would.
pub fn fill(ledger: &mut Ledger, survey: &mut Survey, size: (usize, usize), targets: &Targets, policy: &Policy) {
    fill_with(ledger, survey, size, targets, policy, true);
}

fn fill_with(
    ledger: &mut Ledger,
    survey: &mut Survey,
    (grants, hosts): (usize, usize),
    targets: &Targets,
    policy: &Policy,
    given: bool,
) {
    let now = town::nine();
    let mut seq = 0;
    let mut take = |ledger: &mut Ledger, record| {
        seq += 1;
        fold(ledger, &Line { seq, at: now, record });
        seq
    };
    for number in 0..grants {
        let parsed = parse(town::grant_of_hosts(number).as_bytes(), targets, policy).grant.unwrap();
        let path = town::path(number);
        let id = stem(&path).unwrap();
        let digits = format!("{number:040x}");
        let commit = Commit(digits.as_str().into());
        let until = parsed.ttl.unwrap().after(now);
        let stamp = Stamp {
            grants: vec![id.clone()],
            commit: Some(commit.clone()),
            author: Some("Ann <ann@corp.example>".into()),
        };
        let mut bindings = Vec::new();
        let mut resolves = Vec::new();
        for ask in &parsed.access {
            let target = targets.get(&*ask.surface).unwrap();
            let selector: Selector = target.selector(ask).unwrap();
            let team = number / 10;
            let places =
                (0..hosts).map(|host| format!("{}/{}/i-{:017x}", town::PROD, town::REGION, team * hosts + host).into());
            let answer =
                survey.answers.entry(selector).or_insert_with(|| Answer { asked: now, places: places.collect() });
            let places = answer.places.clone();
            let holders = Holders::from_iter([(id.clone(), ask.id())]);
            bindings.extend(target.wanted(ask, &places).into_iter().map(|binding| (binding, holders.clone())));
            resolves.push(Record::Resolve { grant: id.clone(), ask: ask.id(), asked: now, places });
        }
        let accept = Record::Accept {
            grant: id,
            path: path.into(),
            blob: Oid(digits.into()),
            commit,
            author: "Ann <ann@corp.example>".into(),
            committed: now,
            requester: parsed.requester,
            purpose: parsed.purpose,
            asks: parsed.access,
            from: None,
            ttl: parsed.ttl,
            stated: None,
            start: now,
            until,
            ceiling: policy.limits.max_duration.after(now),
            vouched: Default::default(),
            links: Vec::new(),
        };
        take(ledger, accept);
        for resolve in resolves {
            take(ledger, resolve);
        }
        for (binding, holders) in bindings.into_iter().filter(|_| given) {
            own(ledger, &mut take, binding, until, &holders, &stamp);
        }
    }
}

fn own(
    ledger: &mut Ledger,
    take: &mut impl FnMut(&mut Ledger, Record) -> u64,
    binding: Binding,
    until: Timestamp,
    holders: &Holders,
    stamp: &Stamp,
) {
    let (verb, cause, now) = (Verb::Grant, Cause::Merged, town::nine());
    let (holders, stamp) = (holders.clone(), stamp.clone());
    let intend = Record::Intend {
        verb,
        binding: binding.clone(),
        cause,
        until,
        before: Seen::Unread,
        act_by: Some(until),
        nonce: None,
        holders,
        stamp: stamp.clone(),
    };
    let intent = take(ledger, intend);
    take(
        ledger,
        Record::Fate {
            intent,
            verb,
            binding,
            cause,
            until,
            fate: Fate::Done,
            request: None,
            asked: now,
            knew: now,
            stamp,
        },
    );
}
