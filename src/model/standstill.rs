use std::{fmt, ops::Deref};

/// Why nothing is granted or extended. Ends go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standstill {
    pub kind: Still,
    /// A sentence for an operator. It may hold what moves (the time of day, a count), so that only the kind says whether
    /// anything is new.
    pub text: String,
}

/// The kinds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Still {
    /// The clock is not trusted.
    Clock,
    /// The journal cannot be written.
    Journal,
    /// The head cannot be accepted.
    Frozen,
    /// Git has not answered for too long.
    Silent,
    /// A head is there and could not be read: it is tried again.
    Unread,
    /// What was fetched cannot be kept.
    Unkept,
    /// Somebody else could change what is trusted by its path.
    Unguarded,
    /// Live grants lie where nothing is read.
    Elsewhere,
    /// What proofs are made with cannot be had.
    Untrusted,
    /// Nobody has looked yet at who stands behind the grants.
    Unjudged,
}

impl Standstill {
    pub fn new(kind: Still, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Its sentence.
impl Deref for Standstill {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}
