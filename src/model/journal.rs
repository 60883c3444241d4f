use jiff::Timestamp;

use super::{Ledger, Record};

/// One line of the journal, as it is folded: its number and time, and what it says. The hash that chains it to the line
/// before it is the backend's business.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// From 1, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub record: Record,
}

/// The append-only, hash-chained record of everything done. One writer at a time.
pub trait Journal: Send {
    /// Appends a batch, each record with its time, and makes it durable, all of it or none, on the head that this writer saw
    /// last. Answers the lines as written. After an error nothing may be appended before [`Journal::reopen`].
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError>;

    /// The same, for what happens at one time.
    ///
    /// # Errors
    /// As [`Journal::write`].
    fn append(&mut self, at: Timestamp, records: Vec<Record>) -> Result<Vec<Line>, JournalError> {
        self.write(records.into_iter().map(|record| (at, record)).collect())
    }

    /// The number that the next line will have.
    fn next(&self) -> u64;

    /// Whether the next checkpoint is due, so that a start stays fast.
    fn full(&self) -> bool;

    /// Begins a segment with the whole ledger. After [`JournalError::Io`] the one before goes on, if it still can be written.
    fn checkpoint(&mut self, at: Timestamp, ledger: &Ledger) -> Result<(), JournalError>;

    /// Gives up (`false`) or takes again (`true`) the space that is kept so that revocations can be recorded on a full disk.
    /// Answers whether it is kept now. A backend without a disk of its own always keeps it.
    fn reserve(&mut self, keep: bool) -> bool;

    /// Closes, opens and reads again from the last checkpoint on: what is durable after a failed append.
    fn reopen(&mut self) -> Result<Vec<Line>, JournalError>;
}

/// Why the journal did not take or give a line.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none.
    #[error("there is no journal in {0}: `grantd init` begins a new installation")]
    None(String),
    /// There is one already.
    #[error("there is a journal in {0} already: nothing is begun over it")]
    Exists(String),
    /// Another process writes it.
    #[error("{0}")]
    Locked(String),
    /// Somebody else wrote since we last looked.
    #[error("{0}")]
    Moved(String),
    /// A complete line that is not what it should be.
    #[error("{0}")]
    Corrupt(String),
    /// An archive of segments is not what it should be, or is not at hand. What the state folder holds is not touched by that.
    #[error("{0}")]
    Archive(String),
    /// It is not what a place of it that was noted outside says.
    #[error("{0}")]
    Outside(String),
    /// A later release of grantd wrote it: what its lines say is not known here.
    #[error("{0}")]
    Newer(String),
    /// The file system failed: full, read-only, broken.
    #[error("{0}")]
    Io(String),
}
