use jiff::Timestamp;

use crate::model::{Journal, JournalError, Ledger, Line, Record};

/// A journal that numbers lines and keeps none: a plan may say what it would record, and nothing comes of it.
#[derive(Debug)]
pub struct Draft {
    next: u64,
}

impl Draft {
    /// Goes on behind `lines`.
    pub fn after(lines: &[Line]) -> Self {
        Self { next: lines.last().map_or(1, |line| line.seq + 1) }
    }
}

impl Journal for Draft {
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError> {
        let line = |((at, record), seq)| Line { seq, at, record };
        let lines = records.into_iter().zip(self.next..).map(line).collect::<Vec<_>>();
        self.next += lines.len() as u64;
        Ok(lines)
    }

    fn next(&self) -> u64 {
        self.next
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
        Err(JournalError::Io("a draft is not kept".into()))
    }
}
