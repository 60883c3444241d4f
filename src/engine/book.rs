//! The journal and its fold, kept in step; and what happens while the journal cannot be written: grants stop, revocations
//! go on in memory and are recorded when it is back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{fold, ledger},
    model::{Journal, JournalError, Ledger, Line, Record, Span},
};

/// How long to leave a journal that failed alone before it is opened again.
const REST: Span = Span::seconds(10);

/// The writing side of the journal, and the ledger that it comes to.
pub struct Book {
    journal: Box<dyn Journal>,
    ledger: Ledger,
    fault: Option<Fault>,
    /// The reserve was given up so that revocations can be recorded; when it was last asked for again.
    starved: Option<Timestamp>,
    /// That the journal cannot be written is on the log.
    told: bool,
    /// Numbers that intents had while the journal was away, and what they are now.
    aliases: BTreeMap<u64, u64>,
    /// The next number for an intent that is not durable: far above all real ones.
    unreal: u64,
}

struct Fault {
    why: String,
    since: Timestamp,
    tried: Timestamp,
    /// What was done meanwhile, in order, with the number that it went by.
    owed: Vec<Line>,
}

impl Book {
    /// `ledger`: what the journal's lines come to.
    pub fn new(journal: Box<dyn Journal>, ledger: Ledger) -> Self {
        Self { journal, ledger, fault: None, starved: None, told: false, aliases: BTreeMap::new(), unreal: 1 << 62 }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Why nothing may be granted: the journal cannot be written, or only the reserve is left for it.
    pub fn fault(&self) -> Option<String> {
        let broken = self
            .fault
            .as_ref()
            .map(|fault| format!("the journal cannot be written since {}: {}", fault.since, fault.why));
        broken.or_else(|| self.starved.map(|_| "the disk is full: what is left is kept for revocations".into()))
    }

    /// Makes records durable and folds them in. `None` if that failed: then nothing may be done that depends on them.
    pub fn write(&mut self, now: Timestamp, records: Vec<Record>) -> Option<Vec<Line>> {
        if self.starved.is_some() { None } else { self.append(now, now, records) }
    }

    fn append(&mut self, at: Timestamp, now: Timestamp, records: Vec<Record>) -> Option<Vec<Line>> {
        if self.fault.is_some() {
            return None;
        }
        if records.is_empty() {
            return Some(Vec::new());
        }
        match self.journal.append(at, records) {
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
        let kept = records.clone();
        if let Some(lines) = self.append(now, now, records) {
            return lines;
        }
        let lines: Vec<Line> = kept
            .into_iter()
            .map(|record| {
                self.unreal += 1;
                Line { seq: self.unreal, at: now, record }
            })
            .collect();
        lines.iter().for_each(|line| fold(&mut self.ledger, line));
        if let Some(fault) = &mut self.fault {
            fault.owed.extend(lines.iter().cloned());
        }
        lines
    }

    /// The number by which the journal knows an intent.
    pub fn number(&self, intent: u64) -> u64 {
        self.aliases.get(&intent).copied().unwrap_or(intent)
    }

    /// When to try a failed journal again.
    pub fn retry(&self) -> Option<Timestamp> {
        self.fault.as_ref().map(|fault| fault.tried).or(self.starved).map(|tried| REST.after(tried))
    }

    /// Opens a failed journal again, if it rested long enough, and records what was done meanwhile.
    pub fn mend(&mut self, now: Timestamp) {
        // Time may have been put right: nobody rests until a moment that was wrong.
        self.starved = self.starved.map(|tried| tried.min(now));
        if let Some(fault) = &mut self.fault {
            fault.tried = fault.tried.min(now);
        }
        if let (None, Some(tried)) = (&self.fault, self.starved)
            && now >= REST.after(tried)
        {
            self.starved = if self.journal.reserve(true) { None } else { Some(now) };
        }
        let Some(fault) = &mut self.fault else { return };
        if now < REST.after(fault.tried) {
            return;
        }
        fault.tried = now;
        let lines = match self.journal.reopen() {
            Ok(lines) => lines,
            Err(error) => {
                fault.why = error.to_string();
                return;
            }
        };
        let Some(fault) = self.fault.take() else { return };
        // What the disk holds is the truth; what was done since is put on top of it.
        let memory = std::mem::take(&mut self.ledger);
        self.ledger = ledger(lines);
        let mut owed = fault.owed.iter();
        let mut written = 0;
        for line in owed.by_ref() {
            let record = self.renumber(line.record.clone());
            match self.append(line.at, now, vec![record]) {
                Some(lines) => {
                    written += 1;
                    if let Some(real) = lines.first() {
                        self.aliases.insert(line.seq, real.seq);
                    }
                }
                None => break,
            }
        }
        match &mut self.fault {
            Some(again) => {
                again.since = fault.since;
                again.owed = fault.owed.into_iter().skip(written).collect();
                self.ledger = memory;
            }
            None => {
                self.told = false;
                tracing::info!(records = written, "the journal is back; what was done meanwhile is recorded");
            }
        }
    }

    fn renumber(&self, mut record: Record) -> Record {
        if let Record::Fate { intent, .. } | Record::Sent { intent, .. } | Record::Dispute { intent, .. } = &mut record
        {
            *intent = self.number(*intent);
        }
        record
    }

    fn checkpoint(&mut self, now: Timestamp) {
        if self.journal.full()
            && let Err(error) = self.journal.checkpoint(now, &self.ledger)
        {
            self.fail(now, &error);
        }
    }

    fn fail(&mut self, now: Timestamp, error: &JournalError) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(error = %error, "the journal cannot be written: grants stop, revocations go on");
        }
        let again = REST.before(now);
        self.fault = Some(Fault {
            why: error.to_string(),
            since: now,
            tried: if self.starved.is_some() { now } else { again },
            owed: Vec::new(),
        });
        // Room for what must be recorded, if it is room that lacks; tried at once.
        if !self.journal.reserve(false) {
            self.starved = Some(now);
        }
    }
}
