use std::collections::BTreeSet;

use jiff::Timestamp;

use super::is_id;

/// One change of a branch on the forge's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub at: Timestamp,
    pub who: Option<u64>,
    /// What the branch was at after it; none where the forge does not tell.
    pub after: Option<String>,
    /// Whether the branch began with it.
    pub begins: bool,
}

/// Who pushed what was merged, and what became of it: everybody who moved the branch from when it last began to the merge.
///
/// Not only those whose pushes are among the merged commits: a push that was rewritten by the next one may have brought
/// some of them. Who moved it before the branch last began has left it to whoever began it anew.
///
/// # Errors
/// The end of a sentence that begins with the forge: the record does not hold who pushed.
pub fn pushers(pushes: &[Push], head: &str, merged: Timestamp) -> Result<BTreeSet<u64>, String> {
    let before = || pushes.iter().filter(|push| push.at <= merged);
    let began = before().filter(|push| push.begins).map(|push| push.at).max();
    let counted = || before().filter(|push| began.is_none_or(|began| began <= push.at));
    let short = head.get(..10).unwrap_or(head);
    if !counted().any(|push| push.after.as_deref() == Some(head)) {
        return Err(format!("has no record of who pushed the head {short}"));
    }
    counted()
        .map(|push| {
            push.who.ok_or_else(|| {
                let after = push.after.as_deref().filter(|id| is_id(id)).and_then(|id| id.get(..10));
                format!("does not tell who pushed {} before {short} was merged", after.unwrap_or("something"))
            })
        })
        .collect()
}
