//! What a step comes to at its place: one table for every cloud.

use jiff::Timestamp;

use super::model::{Fate, Seen, Step, Trouble, TroubleKind, Verb};

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

/// A grant or renewal that comes after its time must not land.
pub fn late(step: &Step, now: Timestamp) -> Option<Trouble> {
    let by = step.act_by.filter(|by| step.verb != Verb::Revoke && now > *by)?;
    let detail = format!("it came at {now}, after {by}, when it had to be there; nothing was changed");
    Some(Trouble::new(TroubleKind::Unreachable, detail))
}

/// What to do about `seen`. `marks`: whether the surface tells our access from others' by a marker.
pub fn act(step: &Step, seen: &Seen, marks: bool) -> Act {
    match (step.verb, seen) {
        (_, Seen::Gone) => Act::Settled(Fate::Gone),
        (_, Seen::Blind(trouble)) => Act::Settled(Fate::Failed(trouble.clone())),
        (_, Seen::Present { ours: None }) if marks => Act::Settled(Fate::Standing),
        // Without markers only the look that the caller had before tells whose it is.
        (Verb::Grant, Seen::Present { .. }) if !marks && step.before != Seen::Absent => Act::Settled(Fate::Standing),
        // Somebody took it away: whether it is given back is for the plan to say, once it has seen that.
        (Verb::Renew, Seen::Absent) if !marks => Act::Settled(Fate::Failed(Trouble::new(
            TroubleKind::Gone,
            "it is not there any more, and a new end gives nothing back",
        ))),
        (Verb::Grant | Verb::Renew, _) => Act::Add,
        (Verb::Revoke, Seen::Present { .. }) => Act::Remove,
        (Verb::Revoke, Seen::Unread | Seen::Absent) => Act::Settled(Fate::Done),
    }
}

/// What a removal came to, by the look after it.
pub fn removed(seen: Seen, marks: bool) -> Result<Fate, Trouble> {
    match seen {
        // What is left is another's: our marker was there, and is not any more.
        Seen::Present { .. } if marks => Ok(Fate::Standing),
        Seen::Present { .. } => Err(Trouble::new(TroubleKind::Broken, "it is still there")),
        Seen::Absent | Seen::Gone => Ok(Fate::Done),
        Seen::Blind(trouble) => Err(trouble),
        Seen::Unread => Err(Trouble::new(TroubleKind::Broken, "nobody looked")),
    }
}
