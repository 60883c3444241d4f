use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Holders, Origin, Span, Stamp, Text, Trouble, Verb};

/// A binding that is ours or may be: until when, for whom, and where in its life it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Owned {
    /// The end that the target carries, as far as we know.
    pub until: Timestamp,
    pub holders: Holders,
    /// Where the latest end comes from.
    pub origin: Option<Arc<Origin>>,
    pub hold: Hold,
    /// From whom somebody took it away by hand. They do not get it back by another grant's asking, nor by a suspension that ends:
    /// only `drift: restore` gives it back.
    #[serde(default, skip_serializing_if = "Holders::is_empty")]
    pub lost: Holders,
    /// Since when it has to go: its first call to end it was intended then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Timestamp>,
    /// Who had it when it was known last, while nobody knows whether those have it who came since by a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<Box<Had>>,
}

/// Whose access was before a call for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Had {
    pub holders: Holders,
    pub origin: Option<Arc<Origin>>,
    /// Since when it had to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Timestamp>,
}

/// Where in its life a binding is that is ours or may be. `decide::hold` has the table of how one becomes another; each has
/// just what it needs, and failures are counted where the verb that failed belongs. There are as many of these as access: what is
/// rare is boxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Hold {
    /// Our first grant: under way, or its answer was lost. Nothing of ours was there before it.
    Granting(Box<Call>),
    /// It may be ours and may be there: something of ours was there or may have been, and a grant was made over it.
    Uncertain(Box<Doubt>),
    /// It is ours.
    Held { sure: Sure, retry: Option<Box<Attempt>> },
    /// Ours, and its end is being moved.
    Renewing { sure: Sure, call: Box<Call> },
    /// Ours, and somebody took it away.
    /// `settled`: nothing of ours has been there since, so that nothing is to be ended where it is absent.
    Drifted {
        sure: Sure,
        retry: Option<Box<Attempt>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        settled: bool,
    },
    /// Somebody took it away, and it is being given back: `drift: restore`.
    Restoring { sure: Sure, call: Box<Call> },
    /// It has to go. Without `sure` nobody knows whether it ever came. `perhaps`: the answer to a call was lost that may have taken
    /// it away, so that nobody knows who did if it is absent.
    Revoking {
        sure: Option<Sure>,
        call: Option<Box<Call>>,
        retry: Option<Box<Attempt>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        perhaps: bool,
    },
    /// It is gone, read back, and watched until the absence has settled. `wrote`: when the revocation was done. `retry`: grants that
    /// failed since.
    Settling {
        wrote: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Box<Attempt>>,
    },
    /// It is gone, and not settled, and is being granted again.
    Regranting { wrote: Timestamp, call: Box<Call> },
}

/// Why we say that access is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sure {
    /// A call was answered with "done".
    Answered,
    /// No answer ever said so: it may be ours, and it was there.
    Disputed,
}

/// A call whose fate is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The number of its `intend` line.
    pub intent: u64,
    pub until: Timestamp,
    pub asked: Timestamp,
    pub request: Option<Text>,
    /// By what its place knows it.
    pub nonce: Option<Text>,
    /// Failures of its verb before it, or that its answer was lost.
    pub retry: Option<Box<Attempt>>,
}

/// What is known of what may be ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// The last grant, while its fate is not known.
    pub call: Option<Call>,
    pub retry: Option<Box<Attempt>>,
    /// When the last one before it was made of which nobody knows what became. Journals before format 3 had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote: Option<Timestamp>,
}

/// Failures of one verb in a row: how many, when the last was, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    pub count: u32,
    pub last: Timestamp,
    pub trouble: Trouble,
    /// The end that was to be reached: with another one it is another thing, and starts afresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Owned {
    /// What a line about it repeats.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(&self.holders, self.origin.as_deref())
    }
}

impl Hold {
    /// Whether an absence that lasts ends it.
    pub fn settles(&self) -> bool {
        matches!(self, Self::Settling { .. } | Self::Uncertain(_) | Self::Granting(_) | Self::Regranting { .. })
    }

    /// The failures in a row of what is being tried.
    pub fn retry(&self) -> Option<&Attempt> {
        match self {
            Self::Granting(call)
            | Self::Renewing { call, .. }
            | Self::Restoring { call, .. }
            | Self::Regranting { call, .. } => call.retry.as_deref(),
            Self::Uncertain(doubt) => doubt.retry.as_deref(),
            Self::Held { retry, .. }
            | Self::Drifted { retry, .. }
            | Self::Revoking { retry, .. }
            | Self::Settling { retry, .. } => retry.as_deref(),
        }
    }

    pub fn retry_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Self::Granting(call)
            | Self::Renewing { call, .. }
            | Self::Restoring { call, .. }
            | Self::Regranting { call, .. } => call.retry.as_deref_mut(),
            Self::Uncertain(doubt) => doubt.retry.as_deref_mut(),
            Self::Held { retry, .. }
            | Self::Drifted { retry, .. }
            | Self::Revoking { retry, .. }
            | Self::Settling { retry, .. } => retry.as_deref_mut(),
        }
    }

    /// How it failed, if it is to be revoked and the last attempt failed.
    pub fn fails(&self) -> Option<&Attempt> {
        match self {
            Self::Revoking { call: None, retry, .. } => retry.as_deref(),
            _ => None,
        }
    }

    /// The call whose fate is not known.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Granting(call)
            | Self::Renewing { call, .. }
            | Self::Restoring { call, .. }
            | Self::Regranting { call, .. } => Some(call),
            Self::Uncertain(doubt) => doubt.call.as_ref(),
            Self::Revoking { call, .. } => call.as_deref(),
            Self::Held { .. } | Self::Drifted { .. } | Self::Settling { .. } => None,
        }
    }

    pub fn call_mut(&mut self) -> Option<&mut Call> {
        match self {
            Self::Granting(call)
            | Self::Renewing { call, .. }
            | Self::Restoring { call, .. }
            | Self::Regranting { call, .. } => Some(call),
            Self::Uncertain(doubt) => doubt.call.as_mut(),
            Self::Revoking { call, .. } => call.as_deref_mut(),
            Self::Held { .. } | Self::Drifted { .. } | Self::Settling { .. } => None,
        }
    }

    /// Whether it is ours beyond doubt, or told as disputed.
    pub fn sure(&self) -> Option<Sure> {
        match self {
            Self::Held { sure, .. }
            | Self::Renewing { sure, .. }
            | Self::Drifted { sure, .. }
            | Self::Restoring { sure, .. } => Some(*sure),
            Self::Revoking { sure, .. } => *sure,
            Self::Granting(_) | Self::Uncertain(_) | Self::Settling { .. } | Self::Regranting { .. } => None,
        }
    }
}

impl Attempt {
    /// The longest pause between two attempts at an overdue revocation: 5 minutes.
    pub const CAP: Span = Span::minutes(5);
    /// So many failures are an hour.
    pub const SELDOM: u32 = 18;

    /// One failure more of what failed before, or the first of another thing.
    pub fn again(before: Option<&Self>, until: Timestamp, last: Timestamp, trouble: &Trouble) -> Box<Self> {
        let count = before.filter(|before| before.same(until)).map_or(1, |before| before.count.saturating_add(1));
        Box::new(Self { count, last, trouble: trouble.clone(), until: Some(until) })
    }

    /// Whether it was about the same end.
    pub fn same(&self, until: Timestamp) -> bool {
        self.until.is_none_or(|tried| tried == until)
    }

    /// When to try again what would give access: as [`Self::next`], and after [`Self::SELDOM`] failures in a row each half hour, because
    /// each try is three lines of the journal. Nothing is owed meanwhile.
    pub fn next_gain(&self) -> Timestamp {
        if self.count > Self::SELDOM { Span::minutes(30).after(self.last) } else { self.next() }
    }

    /// When to try again: 5 s after the first failure, twice as long each time, at most [`Attempt::CAP`].
    pub fn next(&self) -> Timestamp {
        let pause = 5i64 << self.count.saturating_sub(1).min(6);
        Span::seconds(pause.min(Self::CAP.as_seconds())).after(self.last)
    }
}

/// As it stands in a checkpoint: today's form, or the flags that releases before format 2 wrote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    until: Timestamp,
    holders: Holders,
    origin: Option<Arc<Origin>>,
    hold: Option<Hold>,
    #[serde(default)]
    lost: Holders,
    ending: Option<Timestamp>,
    had: Option<Box<Had>>,
    landed: Option<Landed>,
    #[serde(default)]
    disputed: bool,
    #[serde(default)]
    drifted: bool,
    open: Option<Box<Pending>>,
    wrote: Option<Timestamp>,
    #[serde(default)]
    revoked: bool,
    attempt: Option<Box<Attempt>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Landed {
    No,
    Maybe,
    Yes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    intent: u64,
    verb: Verb,
    until: Timestamp,
    asked: Timestamp,
    request: Option<Text>,
}

impl From<Stored> for Owned {
    fn from(stored: Stored) -> Self {
        let Stored { until, holders, origin, hold, lost, ending, had, .. } = &stored;
        let (until, holders, origin, hold, ending) = (*until, holders.clone(), origin.clone(), hold.clone(), *ending);
        let (mut lost, had) = (lost.clone(), had.clone());
        let hold = hold.unwrap_or_else(|| stored.flags());
        // Whose it was is the same, where nothing says otherwise.
        if lost.is_empty() && matches!(hold, Hold::Drifted { .. } | Hold::Restoring { .. }) {
            lost.clone_from(&holders);
        }
        Self { until, holders, origin, hold, lost, ending, had }
    }
}

impl Stored {
    /// What the flags came to. When in doubt it is ours and owed.
    fn flags(self) -> Hold {
        let Self {
            until,
            holders: _,
            origin: _,
            hold: _,
            lost: _,
            ending: _,
            had: _,
            landed,
            disputed,
            drifted,
            open,
            wrote,
            revoked,
            attempt,
        } = self;
        let sure = if disputed { Sure::Disputed } else { Sure::Answered };
        let yes = landed == Some(Landed::Yes);
        let call = |retry| {
            let call = |open: Box<Pending>| {
                let Pending { intent, verb, until, asked, request } = *open;
                (verb, Box::new(Call { intent, until, asked, request, nonce: None, retry }))
            };
            open.map(call)
        };
        match (call(attempt.clone()), wrote) {
            (Some((Verb::Revoke, call)), _) => {
                Hold::Revoking { sure: yes.then_some(sure), call: Some(call), retry: attempt, perhaps: true }
            }
            (Some((Verb::Grant, call)), _) if landed == Some(Landed::No) && !revoked => Hold::Granting(call),
            (Some((Verb::Grant, call)), _) if yes && drifted => Hold::Restoring { sure, call },
            (Some((Verb::Grant, call)), _) => {
                Hold::Uncertain(Box::new(Doubt { call: Some(*call), retry: attempt, wrote: None }))
            }
            (Some((Verb::Renew, call)), _) => Hold::Renewing { sure, call },
            (None, wrote) if revoked => Hold::Settling { wrote: wrote.unwrap_or(until), retry: None },
            (None, _) if yes && drifted => Hold::Drifted { sure, retry: attempt, settled: false },
            (None, _) if yes => Hold::Held { sure, retry: attempt },
            (None, _) => Hold::Uncertain(Box::new(Doubt { call: None, retry: attempt, wrote: None })),
        }
    }
}
