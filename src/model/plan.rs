use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Binding, Commit, GrantId, Holders, Origin, Recall, Record, Span, Stamp, Text, Trouble, Vouched};

/// What is known of a binding in the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Nobody looked: the normal case between sweeps.
    Unread,
    /// A look failed.
    Blind(Trouble),
    Absent,
    /// It is there. On a surface that marks, `ours` is the end in our marker, and `None` means that the marker is not ours;
    /// on others it is always `None`.
    Present {
        ours: Option<Timestamp>,
    },
    /// Its place no longer exists, for certain.
    Gone,
}

/// What a step does. The order is the order of work: revocations first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Revoke,
    Renew,
    Grant,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A merged grant asks for it.
    Merged,
    /// Its end moved, either way, or the marker in the target says another.
    EndMoved,
    /// Somebody removed it and the operator set `drift: restore`.
    Drift,
    /// Its time is over.
    Expired,
    /// Its file was deleted.
    Withdrawn,
    /// Its file was deleted in a head that cannot be accepted.
    Suspended,
    /// The grant lives on, but the entry that asked for it was taken out.
    EntryRemoved,
    /// Its file was there before grantd began; only an id's end has this cause.
    Prior,
}

/// One call to make: simple, decided, nothing left to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub verb: Verb,
    pub binding: Binding,
    /// The end that the target should carry; for a revocation, the end that is over.
    pub until: Timestamp,
    /// Who holds it: the grants and which of their entries.
    pub holders: Holders,
    pub cause: Cause,
    /// After this nothing may be sent any more: a late grant is worse than none. Revocations have no such time.
    pub act_by: Option<Timestamp>,
    /// What was seen before: never taken for more than it is.
    pub before: Seen,
    /// The commit that is the reason, for the journal.
    pub origin: Option<Arc<Origin>>,
    /// The sequence number of the intent; 0 in a plan, set when the intent is durable.
    pub intent: u64,
    /// By what the place knows the call; none in a plan.
    pub nonce: Option<Text>,
    /// What `--digest` covers in place of `until` where the end still depends on the time of day. Rare, and there are as many
    /// steps as access.
    pub stated: Option<Box<Stated>>,
    /// Where it is said that the call is not wanted any more; for what has begun.
    pub off: Off,
}

/// The calls that are under way and not wanted any more, by their intents. Looked at right before a call is made; no two steps differ
/// by it.
#[derive(Debug, Clone, Default)]
pub struct Off(Option<Arc<Mutex<BTreeSet<u64>>>>);

impl Off {
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    fn with<T: Default>(&self, look: impl FnOnce(&mut BTreeSet<u64>) -> T) -> T {
        self.0.as_ref().map(|off| look(&mut off.lock().unwrap_or_else(PoisonError::into_inner))).unwrap_or_default()
    }

    /// The call must not be made any more, if it was not yet.
    pub fn call(&self, intent: u64) {
        self.with(|off| off.insert(intent));
    }

    /// The call has its fate.
    pub fn over(&self, intent: u64) {
        self.with(|off| off.remove(&intent));
    }

    pub fn called(&self, intent: u64) -> bool {
        self.with(|off| off.contains(&intent))
    }
}

impl PartialEq for Off {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Off {}

impl Step {
    /// What a line about it repeats.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(&self.holders, self.origin.as_deref())
    }
}

/// What a grant says of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    pub from: Option<Timestamp>,
    pub ttl: Span,
    pub until: Option<Timestamp>,
}

/// Something that waits for a person or for time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Held {
    pub grant: GrantId,
    pub reason: String,
    /// When it goes on by itself; `None` if it needs a person.
    pub until: Option<Timestamp>,
}

/// Where a grant comes from: the commit that last changed its file, and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    pub grant: GrantId,
    pub path: Text,
    pub commit: Commit,
    /// Text that its author chose.
    pub author: Text,
    pub verdict: Vouched,
}

/// Something that a person should know about a binding; nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    pub binding: Binding,
    pub text: String,
}

/// What to do now, sorted; why not the rest; and when to look again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Journal lines without a call: a grant joins a binding, a settled absence is forgotten, drift is told.
    pub records: Vec<Record>,
    /// Bindings that must be looked at before more can be decided.
    pub reads: Vec<Binding>,
    /// Calls whose answers were lost and must be fetched before more can be decided.
    pub recalls: Vec<Recall>,
    /// Calls under way that give what nobody may have any more, or for longer.
    pub off: Vec<Binding>,
    pub held: Vec<Held>,
    pub notes: Vec<Note>,
    /// How much is asked for and not granted because it cannot be read. The notes say which, and why.
    pub unread: usize,
    /// Who stands behind the grants that the steps are for.
    pub sources: Vec<Provenance>,
    /// The next moment at which a new plan could differ, if nothing else happens.
    pub wake: Option<Timestamp>,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoke => "revoke",
            Self::Renew => "renew",
            Self::Grant => "grant",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Merged => "merged",
            Self::EndMoved => "end moved",
            Self::Drift => "drift",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Suspended => "suspended",
            Self::EntryRemoved => "entry removed",
            Self::Prior => "was there before",
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("unread"),
            Self::Blind(trouble) => write!(f, "blind ({trouble})"),
            Self::Absent => f.write_str("absent"),
            Self::Present { .. } => f.write_str("present"),
            Self::Gone => f.write_str("gone"),
        }
    }
}
