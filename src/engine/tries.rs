//! Revocations that fail again as they failed before: counted here, and on record once an hour. A debt may fail for a year.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Attempt, Binding, Hold, Ledger, Record, Span, Stamp, Text, Trouble, TroubleKind};

/// How long failures that are alike go without a line.
const QUIET: Span = Span::hours(1);

/// What failed since the last line about it, by binding.
#[derive(Debug, Default)]
pub struct Tries {
    /// As on record, and with what came since: what the plan goes by.
    attempts: BTreeMap<Binding, Attempt>,
    since: BTreeMap<Binding, Since>,
}

#[derive(Debug)]
struct Since {
    /// The first of the failures without a line, and the last one's request.
    first: Option<Timestamp>,
    request: Option<Text>,
    /// What had lines of its own in this hour: failures that come by turns are no news each time.
    kinds: BTreeSet<TroubleKind>,
    /// When the hour began.
    told: Timestamp,
}

/// What is to be done about a failure.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// It is counted, and needs no line yet.
    Counted,
    /// An hour is over: this line sums up.
    Sum(Box<Record>),
    /// It is news.
    News,
}

impl Tries {
    /// What the plan goes by where it is later than the ledger.
    pub fn attempts(&self) -> &BTreeMap<Binding, Attempt> {
        &self.attempts
    }

    /// A revocation failed that had failed before.
    pub fn failed(
        &mut self,
        binding: &Binding,
        recorded: &Attempt,
        trouble: &Trouble,
        request: Option<&Text>,
        knew: Timestamp,
        stamp: &Stamp,
    ) -> Heard {
        let since = self.since.entry(binding.clone()).or_insert_with(|| Since {
            first: None,
            request: None,
            kinds: BTreeSet::from([recorded.trouble.kind]),
            told: recorded.last,
        });
        if since.kinds.insert(trouble.kind) {
            return Heard::News;
        }
        since.first.get_or_insert(knew);
        since.request = request.cloned().or(since.request.take());
        let attempt = self.attempts.entry(binding.clone()).or_insert_with(|| recorded.clone());
        attempt.count = attempt.count.saturating_add(1);
        (attempt.last, attempt.trouble) = (knew, trouble.clone());
        if knew < QUIET.after(since.told) {
            return Heard::Counted;
        }
        (since.told, since.kinds) = (knew, BTreeSet::from([trouble.kind]));
        self.sum(binding, stamp).map_or(Heard::Counted, |record| Heard::Sum(Box::new(record)))
    }

    /// The line about what had none so far, before another one about the binding.
    pub fn sum(&mut self, binding: &Binding, stamp: &Stamp) -> Option<Record> {
        let Attempt { count, last, trouble, until: _ } = self.attempts.remove(binding)?;
        let since = self.since.get_mut(binding)?;
        let (first, request) = (since.first.take().unwrap_or(last), since.request.take());
        let (binding, stamp) = (binding.clone(), stamp.clone());
        Some(Record::Retried { binding, count, first, last, trouble, request, stamp })
    }

    /// The lines about all that had none so far, before the process ends.
    pub fn all(&mut self, ledger: &Ledger) -> Vec<Record> {
        let bindings: Vec<Binding> = self.attempts.keys().cloned().collect();
        let sum = |binding: &Binding| self.sum(binding, &ledger.owned.get(binding)?.stamp());
        bindings.iter().filter_map(sum).collect()
    }

    /// Forgets what is no longer to be revoked.
    pub fn keep(&mut self, ledger: &Ledger) {
        let owes = |binding: &Binding| {
            ledger.owned.get(binding).is_some_and(|owned| matches!(owned.hold, Hold::Revoking { .. }))
        };
        self.attempts.retain(|binding, _| owes(binding));
        self.since.retain(|binding, _| owes(binding));
    }

    /// Time was put right: nobody rests until a moment that was wrong.
    pub fn clamp(&mut self, now: Timestamp) {
        self.attempts.values_mut().for_each(|attempt| attempt.last = attempt.last.min(now));
        for since in self.since.values_mut() {
            since.first = since.first.map(|first| first.min(now));
            since.told = since.told.min(now);
        }
    }
}
