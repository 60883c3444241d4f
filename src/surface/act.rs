//! What a step comes to at its place: one table for every cloud.

use jiff::Timestamp;

use super::model::{Fate, Seen, Step, Trouble, TroubleKind, Verb, moment};

/// What is left to do once the place was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing: it has come to this.
    Settled(Fate),
    /// Make it so.
    Add,
    /// Take away what is ours.
    Remove,
}

/// A grant or renewal that comes after its time must not land, nor one that nobody wants any more.
pub fn late(step: &Step, now: Timestamp) -> Option<Trouble> {
    if step.verb == Verb::Revoke {
        return None;
    }
    if step.off.called(step.intent) {
        return Some(called_off());
    }
    let by = step.act_by.filter(|by| now > *by)?;
    let detail =
        format!("it came at {}, after {}, when it had to be there; nothing was changed", moment(now), moment(by));
    Some(Trouble::new(TroubleKind::Unreachable, detail))
}

/// Why a call was not made that was under way.
pub fn called_off() -> Trouble {
    Trouble::new(
        TroubleKind::Unreachable,
        "called off before it was made: it is not asked for any more; nothing was changed",
    )
}

/// What to do about `seen`. What is there and carries no mark of ours is not claimed by a grant: whether it is ours all the same
/// the ledger knows, and not the place. A renewal gives nothing back. What is to be revoked was ours, or may have been, whoever
/// took the mark off.
pub fn act(step: &Step, seen: &Seen) -> Act {
    match (step.verb, seen) {
        (_, Seen::Gone) => Act::Settled(Fate::Gone),
        (_, Seen::Blind(trouble)) => Act::Settled(Fate::Failed(trouble.clone())),
        (Verb::Grant, Seen::Present { ours: None }) => Act::Settled(Fate::Standing),
        (Verb::Grant, Seen::Present { ours: Some(_) } | Seen::Absent | Seen::Unread) => Act::Add,
        (Verb::Renew, Seen::Present { .. }) => Act::Add,
        (Verb::Renew | Verb::Revoke, Seen::Absent) => Act::Settled(Fate::Absent),
        (Verb::Renew | Verb::Revoke, Seen::Unread) => Act::Settled(Fate::Failed(unlooked())),
        (Verb::Revoke, Seen::Present { .. }) => Act::Remove,
    }
}

/// What a removal came to, by the look after it.
pub fn removed(seen: Seen) -> Result<Fate, Trouble> {
    match seen {
        Seen::Present { .. } => Err(Trouble::new(TroubleKind::Broken, "it is still there")),
        Seen::Absent | Seen::Gone => Ok(Fate::Done),
        Seen::Blind(trouble) => Err(trouble),
        Seen::Unread => Err(unlooked()),
    }
}

fn unlooked() -> Trouble {
    Trouble::new(TroubleKind::Broken, "nobody looked")
}
