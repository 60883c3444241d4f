//! A start over a journal of a million lines.

use std::time::Duration;

use grantd::{
    command::setup,
    decide::{fold, parse, replay, stem},
    engine::Book,
    journal::FileJournal,
    model::{Binding, Cause, Commit, Fate, Holders, Journal, Ledger, Line, Oid, Record, Seen, Span, Stamp, Verb},
};
use jiff::Timestamp;

use crate::{
    report::{MIB, Runs, row, short, timed},
    town,
};

const LINES: u64 = 1_000_000;
/// Grants that live at the same time, and grants in one batch.
const LIVE: usize = 1_000;
const BATCH: usize = 100;

pub fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (time, (written, ledger)) = timed(|| build(&state));
    let mut bytes = 0;
    let mut segments: Vec<_> =
        std::fs::read_dir(state.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    for segment in &segments {
        bytes += std::fs::metadata(segment).unwrap().len();
    }
    let last = std::fs::metadata(segments.last().unwrap()).unwrap().len();
    let runs = Runs::of(5, || {
        let (time, book) = timed(|| {
            let mut ledger = Ledger::default();
            let journal = FileJournal::open_with(&state, town::nine(), &mut |line| replay(&mut ledger, line)).unwrap();
            Book::new(Box::new(journal), ledger)
        });
        assert!(*book.ledger() == ledger, "the ledger is not what it was");
        time
    });
    let measured = format!(
        "{runs}; {written} lines, {:.0} MiB in {} segments, the last one of {:.0} MiB and due for the next; {} ids used; written in {}",
        bytes as f64 / MIB,
        segments.len(),
        last as f64 / MIB,
        ledger.used.len(),
        short(time),
    );
    row("a start over a journal of 1,000,000 lines", "< 2 s", &measured, runs.median() < Duration::from_secs(2));
}

/// Writes the life of grants, as the engine does, until there are enough lines and the last segment is as long as it gets.
fn build(state: &std::path::Path) -> (u64, Ledger) {
    let mut at = town::nine();
    let mut ledger = Ledger::default();
    let commit = |number: usize| Commit(format!("{number:040x}").into());
    let (mut journal, lines) = FileJournal::create(
        state,
        at,
        vec![Record::Init { version: "bench".into(), commit: commit(0), existing: false, format: 2 }],
    )
    .unwrap();
    lines.iter().for_each(|line| fold(&mut ledger, line));
    let mut written = 1;
    let mut lives = Vec::new();
    let mut number = 0;
    loop {
        let mut put = |records: Vec<Record>| -> (Vec<Line>, bool) {
            let lines = journal.append(at, records).unwrap();
            lines.iter().for_each(|line| fold(&mut ledger, line));
            written += lines.len() as u64;
            if !journal.full() {
                return (lines, false);
            }
            if written >= LINES {
                return (lines, true);
            }
            journal.checkpoint(at, &ledger).unwrap();
            (lines, false)
        };
        let news: Vec<Life> = (number..number + BATCH).map(|number| Life::new(number, at)).collect();
        number += BATCH;
        let mut begin: Vec<Record> = news.iter().map(Life::accept).collect();
        begin.push(Record::Head { commit: commit(number), previous: Some(commit(number - BATCH)) });
        let _ = put(begin);
        lives.extend(news);
        let fresh = lives.len() - BATCH;
        if step(&mut put, lives.get(fresh..).unwrap(), Verb::Grant, at) {
            break;
        }
        if lives.len() >= LIVE {
            let over: Vec<Life> = lives.drain(..BATCH).collect();
            let _ =
                put(over.iter().map(|life| Record::Finish { grant: life.id.clone(), cause: Cause::Expired }).collect());
            if step(&mut put, &over, Verb::Revoke, at) {
                break;
            }
            let _ = put(over
                .iter()
                .map(|life| Record::Forget {
                    binding: life.binding.clone(),
                    because: "absent, and settled".into(),
                    stamp: life.stamp.clone(),
                })
                .collect());
        }
        at = Span::minutes(5).after(at);
    }
    (written, ledger)
}

/// Intents, requests and fates of one call for each.
fn step(put: &mut impl FnMut(Vec<Record>) -> (Vec<Line>, bool), lives: &[Life], verb: Verb, at: Timestamp) -> bool {
    let cause = if verb == Verb::Revoke { Cause::Expired } else { Cause::Merged };
    let intend = |life: &Life| Record::Intend {
        verb,
        binding: life.binding.clone(),
        cause,
        until: life.until,
        before: Seen::Unread,
        act_by: (verb == Verb::Grant).then_some(life.until),
        nonce: None,
        holders: life.holders.clone(),
        stamp: life.stamp.clone(),
    };
    let (lines, _) = put(lives.iter().map(intend).collect());
    let told = lives.iter().zip(&lines).flat_map(|(life, line)| {
        let (intent, binding, stamp) = (line.seq, life.binding.clone(), life.stamp.clone());
        let request = format!("8f3c2a10-5b6d-4e7f-9a0b-{intent:012x}");
        let sent =
            Record::Sent { intent, binding: binding.clone(), request: request.as_str().into(), stamp: stamp.clone() };
        let fate = Record::Fate {
            intent,
            verb,
            binding,
            cause,
            until: life.until,
            fate: Fate::Done,
            request: Some(request.into()),
            asked: at,
            knew: at,
            stamp,
        };
        [sent, fate]
    });
    put(told.collect()).1
}

/// What the lines about one grant say.
struct Life {
    id: grantd::model::GrantId,
    number: usize,
    start: Timestamp,
    until: Timestamp,
    binding: Binding,
    holders: Holders,
    stamp: Stamp,
    grant: grantd::model::Grant,
}

impl Life {
    fn new(number: usize, at: Timestamp) -> Self {
        let grant = parse(town::grant_of_hosts(number).as_bytes(), &setup::targets(), &town::policy()).grant.unwrap();
        let id = stem(&town::path(number)).unwrap();
        let ask = grant.access.first().unwrap();
        let place = format!("{}/{}/i-{:017x}", town::PROD, town::REGION, number / 10);
        let binding = Binding::new("windows-admin", &place, "Administrators", ask.word("user"));
        let stamp = Stamp {
            grants: vec![id.clone()],
            commit: Some(Commit(format!("{number:040x}").into())),
            author: Some("Ann <ann@corp.example>".into()),
        };
        let holders = Holders::from_iter([(id.clone(), ask.id())]);
        Self { id, number, start: at, until: Span::hours(4).after(at), binding, holders, stamp, grant }
    }

    fn accept(&self) -> Record {
        let Self { id, number, start, until, grant, .. } = self;
        Record::Accept {
            grant: id.clone(),
            path: town::path(*number).into(),
            blob: Oid(format!("{number:040x}").into()),
            commit: Commit(format!("{number:040x}").into()),
            author: "Ann <ann@corp.example>".into(),
            committed: *start,
            requester: grant.requester.clone(),
            purpose: grant.purpose.clone(),
            asks: grant.access.clone(),
            from: None,
            ttl: grant.ttl,
            stated: None,
            start: *start,
            until: *until,
            ceiling: Span::hours(24).after(*start),
            vouched: Default::default(),
            links: Vec::new(),
        }
    }
}
