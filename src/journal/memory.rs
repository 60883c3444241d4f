use jiff::Timestamp;

use crate::model::{Journal, JournalError, Ledger, Line, Record};

/// A journal that is gone with the process: for plans, which record nothing, and for simulations.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    lines: Vec<Line>,
    next: u64,
}

impl MemoryJournal {
    /// Goes on behind `lines`.
    pub fn after(lines: Vec<Line>) -> Self {
        let next = lines.last().map_or(1, |line| line.seq + 1);
        Self { lines, next }
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, at: Timestamp, records: Vec<Record>) -> Result<Vec<Line>, JournalError> {
        let from = self.lines.len();
        for record in records {
            self.lines.push(Line { seq: self.next, at, record });
            self.next += 1;
        }
        Ok(self.lines.get(from..).unwrap_or_default().to_vec())
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
        Ok(self.lines.clone())
    }
}
