use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BoxFuture, Finding, Proof, Text};

/// A commit id: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commit(pub Text);

impl Commit {
    /// The first 10 digits, for people. What is no commit, but stands for one, is no shorter.
    pub fn short(&self) -> &str {
        let hex = self.0.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.0.get(..10).filter(|_| hex).unwrap_or(&self.0)
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A blob id: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Oid(pub Text);

/// A regular `.yaml` or `.yml` file under the grants folder at some commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the root of the repository, with `/`.
    pub path: Text,
    pub blob: Oid,
    /// Bytes.
    pub size: u64,
}

/// The grants folder at some commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Sorted by path.
    pub entries: Vec<Entry>,
    /// Entries that are no regular files (symlinks, submodules), one finding each. The others go on.
    pub findings: Vec<Finding>,
}

/// What one commit on the first-parent line changed under the grants folder, against its first parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub commit: Commit,
    /// `Name <mail>`: text that its author chose.
    pub author: Text,
    /// The committer date: text that its author chose.
    pub committed: Timestamp,
    /// How many parents it has: more than two make an octopus.
    pub parents: u32,
    /// Path and its new blob, `None` where it was deleted. Sorted by path.
    pub files: Vec<(Text, Option<Oid>)>,
}

/// The first-parent line between two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Whether `since` lies on the first-parent line of the head. If not, `changes` is empty.
    pub descends: bool,
    /// Oldest first.
    pub changes: Vec<Change>,
}

/// Where grants come from. All methods but `fetch` read what was fetched, without the network.
pub trait Source: Send + Sync {
    /// Brings the branch up to date and answers its head. Costs one `ls-remote` if nothing changed.
    fn fetch(&self) -> BoxFuture<'_, Result<Commit, SourceError>>;

    /// Why what was fetched last is not kept where it should be, if so: it counts for what it takes away, and is lost with this
    /// process.
    fn unkept(&self) -> Option<Text> {
        None
    }

    /// Whether a file lies where grants are read; of what lies elsewhere a deletion is not seen.
    fn covers(&self, path: &str) -> bool {
        let _ = path;
        true
    }

    /// The grants folder at a commit. An absent folder is an empty one.
    ///
    /// # Errors
    /// [`SourceError::Bad`] for names that no honest git makes (`..`, `.git`, duplicates) and for two grant files that are one
    /// where case does not count: nothing of this tree may be used.
    fn tree<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Tree, SourceError>>;

    /// The contents of blobs, in the order asked for.
    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> BoxFuture<'a, Result<Vec<Vec<u8>>, SourceError>>;

    /// The first-parent line from `since` (not included; `None`: from the beginning) to `head`.
    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> BoxFuture<'a, Result<Log, SourceError>>;

    /// Every commit behind `head` that is not behind `since`, on any line, in which a grant file is gone that one of its
    /// parents has; with all that it changed, as [`Change`] says, against that parent. In no order of time.
    fn deletions<'a>(
        &'a self,
        head: &'a Commit,
        since: Option<&'a Commit>,
    ) -> BoxFuture<'a, Result<Vec<Change>, SourceError>>;

    /// Names the trust that proofs are made under: the keys and what else decides them, as they are now. A proof that was
    /// made under another one counts for nothing.
    ///
    /// # Errors
    /// A sentence for an operator: the files cannot be read, or hold what makes no sense.
    fn trust(&self) -> Result<Text, String>;

    /// What stands behind commits of the first-parent line, in the order asked for. `now` is the time at which keys must be
    /// valid.
    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> BoxFuture<'a, Result<Vec<Proof>, SourceError>>;

    /// Names a commit: a full or abbreviated id, a branch or a tag of what was fetched.
    fn resolve<'a>(&'a self, rev: &'a str) -> BoxFuture<'a, Result<Commit, SourceError>>;
}

/// Why Git did not answer, by what follows from it. Each is a whole sentence for an operator, without secrets.
///
/// When in doubt it is [`SourceError::Unread`]: to try again costs little, and what is final cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The commit itself says what must not be (names that no honest git makes, more than a stated limit): final for this
    /// commit, and nothing of it may be used. What it deletes counts all the same.
    #[error("{0}")]
    Bad(String),
    /// This machine could not read it (no process, memory, descriptor or time, a disk that fails): it says nothing of the
    /// content, is never taken for an empty answer, and is tried again.
    #[error("{0}")]
    Unread(String),
    /// The remote did not answer, or refused: later may be better.
    #[error("{0}")]
    Unreachable(String),
    /// The remote answered and the branch is not there: an operator must decide.
    #[error("{0}")]
    NoBranch(String),
    /// What was asked for by name is not in the local repository.
    #[error("{0}")]
    Missing(String),
    /// The settings cannot work: an operator must change them.
    #[error("{0}")]
    Settings(String),
}

impl SourceError {
    /// Whether both are of one kind: what is told once is told of a kind, since the sentences may hold what moves.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}
