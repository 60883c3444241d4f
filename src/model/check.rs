use super::{Text, Trouble};

/// One thing that `grantd doctor` looked at, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where: `here`, `123456789012` or `123456789012/us-east-1`.
    pub place: Text,
    /// A permission, or what else was looked at.
    pub what: Text,
    /// What is wrong, and what to do about it.
    pub found: Result<(), Trouble>,
}
