//! The journal and its fold, kept in step; and what happens while the journal cannot be written: grants stop, revocations
//! go on in memory and are recorded when it is back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::counted::Counted;
use crate::{
    decide::{fold, ledger},
    model::{Binding, Journal, JournalError, Ledger, Line, Record, Span},
};

/// How long to leave a journal that failed alone before it is opened again.
const REST: Span = Span::seconds(10);
/// How long to leave a checkpoint alone that could not be written: the segment before it goes on, and only grows.
const SPARE: Span = Span::minutes(5);
/// How many lines of what was done meanwhile are recorded at a time: one batch, so that the loop goes on in between.
const PORTION: usize = 2_000;
/// The pause between two portions: other things come first.
const BETWEEN: jiff::SignedDuration = jiff::SignedDuration::from_millis(20);

/// The writing side of the journal, and the ledger that it comes to.
pub struct Book {
    journal: Box<dyn Journal>,
    ledger: Counted<Ledger>,
    fault: Counted<Option<Fault>>,
    /// The reserve was given up so that revocations can be recorded; when it was last asked for again.
    starved: Counted<Option<Timestamp>>,
    /// That the journal cannot be written is on the log.
    told: bool,
    /// Since when a checkpoint is due and cannot be written, and when that was tried last.
    unfit: Option<Timestamp>,
    /// Numbers that intents had while the journal was away, and what they are now; until their fate is known.
    aliases: BTreeMap<u64, u64>,
    /// The next number for an intent that is not durable: far above all real ones.
    unreal: u64,
}

struct Fault {
    why: String,
    since: Timestamp,
    tried: Timestamp,
    /// Another process holds the lock.
    ousted: bool,
    /// What was done meanwhile, in order, with the number that it went by.
    owed: VecDeque<Line>,
    /// The latest of each binding, where that only sums up failures: what is owed is bounded by what it is about, and not by how
    /// often it was tried.
    sums: BTreeMap<Binding, Line>,
    /// The numbers of what is recorded of it by now: they stay true if it fails again.
    aliases: BTreeMap<u64, u64>,
    mending: Option<Mending>,
}

/// A journal that is open again, and not all of what was done meanwhile recorded.
struct Mending {
    /// What the journal holds by now.
    ledger: Ledger,
    written: usize,
}

impl Fault {
    fn owe(&mut self, mut line: Line) {
        match &mut line.record {
            Record::Retried { binding, first, .. } => {
                let binding = binding.clone();
                if let Some(Line { record: Record::Retried { first: since, .. }, .. }) = self.sums.get(&binding) {
                    *first = (*since).min(*first);
                }
                self.sums.insert(binding, line);
            }
            Record::Intend { binding, .. }
            | Record::Fate { binding, .. }
            | Record::Gone { binding, .. }
            | Record::Forget { binding, .. } => {
                self.owed.extend(self.sums.remove(binding));
                self.owed.push_back(line);
            }
            _ => self.owed.push_back(line),
        }
    }
}

impl Book {
    /// `ledger`: what the journal's lines come to.
    pub fn new(journal: Box<dyn Journal>, ledger: Ledger) -> Self {
        Self {
            journal,
            ledger: Counted::new(ledger),
            fault: Counted::default(),
            starved: Counted::default(),
            told: false,
            unfit: None,
            aliases: BTreeMap::new(),
            unreal: 1 << 62,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Others as soon as anything may have changed that is decided by.
    pub fn numbers(&self) -> [u64; 3] {
        [self.ledger.number(), self.fault.number(), self.starved.number()]
    }

    /// Why nothing may be granted: the journal cannot be written, or only the reserve is left for it.
    pub fn fault(&self) -> Option<String> {
        let broken = self
            .fault
            .as_ref()
            .map(|fault| format!("the journal cannot be written since {}: {}", fault.since, fault.why));
        broken.or_else(|| {
            self.starved.map(|_| "the disk is full, or cannot be written: what is left is kept for revocations".into())
        })
    }

    /// Makes records durable and folds them in. `None` if that failed: then nothing may be done that depends on them.
    pub fn write(&mut self, now: Timestamp, records: Vec<Record>) -> Option<Vec<Line>> {
        if self.starved.is_some() { None } else { self.append(now, self.renumber(records)) }
    }

    fn append(&mut self, now: Timestamp, records: Vec<Record>) -> Option<Vec<Line>> {
        if self.fault.is_some() {
            return None;
        }
        if records.is_empty() {
            return Some(Vec::new());
        }
        match self.journal.append(now, records) {
            Ok(lines) => {
                lines.iter().for_each(|line| fold(&mut self.ledger, line));
                self.checkpoint(now);
                Some(lines)
            }
            Err(error) => {
                self.fail(now, &error);
                None
            }
        }
    }

    /// Records that must not hold anything up: ends, revocations, fates. If they cannot be made durable now they count all
    /// the same and are written when the journal is back.
    pub fn write_anyway(&mut self, now: Timestamp, records: Vec<Record>) -> Vec<Line> {
        if records.is_empty() {
            return Vec::new();
        }
        let ended = |record: &Record| if let Record::Fate { intent, .. } = record { Some(*intent) } else { None };
        let ended: Vec<u64> = records.iter().filter_map(ended).collect();
        let records = self.renumber(records);
        // Each has one fate: nobody asks for its number again.
        for intent in &ended {
            self.aliases.remove(intent);
        }
        let kept = records.clone();
        self.append(now, records).unwrap_or_else(|| {
            let lines: Vec<Line> =
                kept.into_iter().map(|record| Line { seq: self.unreal(), at: now, record }).collect();
            lines.iter().for_each(|line| fold(&mut self.ledger, line));
            if let Some(fault) = &mut *self.fault {
                lines.iter().cloned().for_each(|line| fault.owe(line));
            }
            lines
        })
    }

    /// A number for an intent that is not on record: no line has it.
    pub fn unreal(&mut self) -> u64 {
        self.unreal += 1;
        self.unreal
    }

    /// With the numbers by which the ledger knows the intents.
    fn renumber(&self, mut records: Vec<Record>) -> Vec<Record> {
        if !self.aliases.is_empty() {
            records.iter_mut().for_each(|record| renumber(record, &self.aliases));
        }
        records
    }

    /// Who writes the journal now, if another process does: he ends what is due, and this one would undo what he gives.
    pub fn ousted(&self) -> Option<&str> {
        self.fault.as_ref().filter(|fault| fault.ousted).map(|fault| &*fault.why)
    }

    /// When to try a failed journal again.
    pub fn retry(&self) -> Option<Timestamp> {
        let Some(fault) = &*self.fault else { return self.starved.map(|tried| REST.after(tried)) };
        let soon = fault.tried.checked_add(BETWEEN).unwrap_or(fault.tried);
        Some(if fault.mending.is_some() { soon } else { REST.after(fault.tried) })
    }

    /// Opens a failed journal again, if it rested long enough, and records what was done meanwhile, a portion at a time.
    pub fn mend(&mut self, now: Timestamp) {
        // Time may have been put right: nobody rests until a moment that was wrong.
        self.unfit = self.unfit.map(|tried| tried.min(now));
        if self.starved.is_some_and(|tried| tried > now) {
            *self.starved = Some(now);
        }
        if let (None, Some(tried)) = (&*self.fault, *self.starved)
            && now >= REST.after(tried)
        {
            *self.starved = if self.journal.reserve(true) { None } else { Some(now) };
        }
        // Until it has rested nothing changes.
        let rests = |fault: &Fault| fault.tried <= now && fault.mending.is_none() && now < REST.after(fault.tried);
        if self.fault.as_ref().is_none_or(rests) {
            return;
        }
        let Some(mut fault) = self.fault.take() else { return };
        fault.tried = fault.tried.min(now);
        let rested = fault.mending.is_some() || now >= REST.after(fault.tried);
        match if rested { self.portion(now, &mut fault) } else { Ok(()) } {
            Ok(()) => {}
            Err(error) => {
                fault.mending = None;
                fault.ousted = matches!(error, JournalError::Locked(_));
                let why = error.to_string();
                if fault.why != why {
                    tracing::error!(error = why, "the journal still cannot be written");
                    fault.why = why;
                }
                if !self.journal.reserve(false) {
                    *self.starved = Some(now);
                }
            }
        }
        let all = fault.owed.is_empty() && fault.sums.is_empty();
        match fault.mending.take_if(|_| all) {
            Some(Mending { ledger, written }) => {
                *self.ledger = ledger;
                // Of what has its fate nobody asks for the number.
                let open: BTreeSet<u64> = self.ledger.open().collect();
                self.aliases.extend(std::mem::take(&mut fault.aliases));
                self.aliases.retain(|_, real| open.contains(real));
                self.told = false;
                tracing::info!(records = written, "the journal is back; what was done meanwhile is recorded");
                self.checkpoint(now);
            }
            None => *self.fault = Some(fault),
        }
    }

    /// What the disk holds is the truth; what was done since is put on top of it. Until all of it is, what was done meanwhile
    /// counts as it did.
    fn portion(&mut self, now: Timestamp, fault: &mut Fault) -> Result<(), JournalError> {
        fault.tried = now;
        let mut mending = match fault.mending.take() {
            Some(mending) => mending,
            None => Mending { ledger: ledger(self.journal.reopen()?), written: 0 },
        };
        if fault.owed.is_empty() {
            fault.owed.extend(std::mem::take(&mut fault.sums).into_values());
        }
        let mut records = Vec::new();
        let mut aliases = BTreeMap::new();
        for (line, real) in fault.owed.iter().take(PORTION).zip(self.journal.next()..) {
            let mut record = line.record.clone();
            renumber(&mut record, &fault.aliases);
            renumber(&mut record, &aliases);
            if matches!(record, Record::Intend { .. }) {
                aliases.insert(line.seq, real);
            }
            records.push((line.at, record));
        }
        let owed = records.len();
        if records.is_empty() {
            // That it can be read says nothing: it is back when it takes a line.
            records.push((now, Record::Tick {}));
        }
        let lines = self.journal.write(records)?;
        lines.iter().for_each(|line| fold(&mut mending.ledger, line));
        fault.owed.drain(..owed.min(fault.owed.len()));
        mending.written += owed;
        fault.aliases.extend(aliases);
        fault.mending = Some(mending);
        Ok(())
    }

    fn checkpoint(&mut self, now: Timestamp) {
        if !self.journal.full() || self.unfit.is_some_and(|tried| now < SPARE.after(tried)) {
            return;
        }
        match self.journal.checkpoint(now, &self.ledger) {
            Ok(()) => {
                if self.unfit.take().is_some() {
                    tracing::info!("the journal's checkpoint is written");
                }
            }
            // Lines still go behind the last one.
            Err(JournalError::Io(why)) => {
                if self.unfit.replace(now).is_none() {
                    tracing::warn!(error = why, "the journal's checkpoint cannot be written, and is tried again");
                }
            }
            Err(error) => self.fail(now, &error),
        }
    }

    fn fail(&mut self, now: Timestamp, error: &JournalError) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(error = %error, "the journal cannot be written: grants stop, revocations go on");
        }
        let again = REST.before(now);
        *self.fault = Some(Fault {
            why: error.to_string(),
            since: now,
            tried: if self.starved.is_some() { now } else { again },
            ousted: false,
            owed: VecDeque::new(),
            sums: BTreeMap::new(),
            aliases: BTreeMap::new(),
            mending: None,
        });
        // Room for what must be recorded, if it is room that lacks; tried at once.
        if !self.journal.reserve(false) {
            *self.starved = Some(now);
        }
    }
}

/// The intent that a record speaks of, by another number.
fn renumber(record: &mut Record, aliases: &BTreeMap<u64, u64>) {
    if let Record::Fate { intent, .. } | Record::Sent { intent, .. } | Record::Dispute { intent, .. } = record
        && let Some(real) = aliases.get(intent)
    {
        *intent = *real;
    }
}
