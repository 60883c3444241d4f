use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Ask, AskId, Binding, Cause, Commit, Fate, GrantId, Holders, Ledger, Link, Oid, Origin, Proof, Seen, Span, Text,
    Trouble, Verb, Vouched, Withheld,
};

/// What every line about a binding repeats, so that each can be read alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    pub grants: Vec<GrantId>,
    /// The commit that is the reason: the one that brought the grant, moved its end or deleted it.
    pub commit: Option<Commit>,
    /// That commit's author. Text: it proves nothing.
    pub author: Option<Text>,
}

impl Stamp {
    pub fn new(holders: &Holders, origin: Option<&Origin>) -> Self {
        Self {
            grants: holders.keys().cloned().collect(),
            commit: origin.map(|origin| origin.commit.clone()),
            author: origin.map(|origin| origin.author.clone()),
        }
    }
}

/// The number of how lines are to be read; `init` and `start` carry it. A release that finds a greater one was written before it.
///
/// 1: what is ours was told by flags, and a grant that was answered with "there already" closed whatever was open.
/// 2: what may be ours and is there is owed.
/// 3: a grant knows since when it asks, and what was asked for over a debt in vain is not had.
pub const FORMAT: u32 = 3;

fn first() -> u32 {
    1
}

/// One thing that happened or was decided. The ledger is the fold of all of them in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// A new installation begins at this head.
    Init {
        version: Text,
        commit: Commit,
        existing: bool,
        #[serde(default = "first")]
        format: u32,
    },
    /// A file that was there at `init`. Without `existing` its id is used up; with it the grant's start is no later than
    /// its commit date.
    Prior { grant: GrantId, existing: bool },
    /// A process took the journal over: in which boot of the machine, how many milliseconds after its beginning, and what the
    /// machine's clock said.
    Start {
        version: Text,
        #[serde(default = "first")]
        format: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<Text>,
        #[serde(default)]
        steady: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wall: Option<Timestamp>,
    },
    /// Time goes on from here by the machine's clock. `step`: by how many milliseconds it was moved; what was reckoned by the
    /// wrong clock, from `since` on, is shortened by a step back.
    Clock {
        boot: Text,
        steady: u64,
        step: i64,
        since: Timestamp,
        because: Text,
        /// An operator says so: whatever has begun was reckoned by the wrong clock.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        accepted: bool,
    },
    /// Time has come to here, and nothing else happened: after a reboot with a wrong clock it goes on from no earlier moment.
    Tick {},
    /// A head was accepted: from now on a new one must descend from it.
    Head { commit: Commit, previous: Option<Commit> },
    /// Granting and extending stop: the head cannot be accepted. `accept`: until an operator accepts one by name.
    Freeze {
        commit: Option<Commit>,
        reason: Text,
        #[serde(default)]
        accept: bool,
    },
    /// They go on.
    Thaw { commit: Commit },
    /// An operator accepted this head by name, whatever lay before it: the next one must descend from it.
    Adopt {
        commit: Commit,
        previous: Option<Commit>,
        reason: Text,
        by: Text,
        /// Where grants lie in it. Journals before format 3 had none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<Text>,
    },
    /// What stands behind a commit, and the trust (keys and what else decides) that it was found under.
    Prove { trust: Text, proof: Box<Proof> },
    /// A grant passed lint, limits and trust for the first time. Its start and its ceiling never change again.
    Accept {
        grant: GrantId,
        path: Text,
        blob: Oid,
        commit: Commit,
        author: Text,
        committed: Timestamp,
        requester: Text,
        purpose: Text,
        asks: Vec<Arc<Ask>>,
        from: Option<Timestamp>,
        ttl: Option<Span>,
        stated: Option<Timestamp>,
        start: Timestamp,
        until: Timestamp,
        ceiling: Timestamp,
        /// Who stands behind it. Boxed, because a record of any kind has the size of the largest.
        #[serde(default)]
        vouched: Box<Vouched>,
        /// The changes that brought it: judged again at its start.
        #[serde(default)]
        links: Vec<Link>,
    },
    /// A permitted edit of an accepted grant: another end, purpose or path, fewer entries.
    Amend {
        grant: GrantId,
        path: Text,
        blob: Oid,
        commit: Commit,
        author: Text,
        purpose: Text,
        asks: Vec<Arc<Ask>>,
        ttl: Option<Span>,
        stated: Option<Timestamp>,
        until: Timestamp,
        #[serde(default)]
        vouched: Box<Vouched>,
        /// Of a grant that has not begun: the changes that made the edit, judged again at its start.
        #[serde(default)]
        links: Vec<Link>,
    },
    /// A shorter `max_duration` moved the end earlier; no configuration moves it back.
    Shorten { grant: GrantId, until: Timestamp },
    /// A file that may not grant, durably: it came too long before it could be accepted.
    Hold { grant: GrantId, path: Text, blob: Oid, commit: Commit, author: Text, committed: Timestamp, reason: Text },
    /// Changes of a grant's file that may not take effect, durably: all of them, oldest first, since the content that was
    /// verified last. It stays so until each of them passes, or the file is gone or back at that content.
    Withhold { grant: GrantId, what: Withheld },
    /// Nothing of the grant's file is withheld any more, nor held for its age.
    Clear { grant: GrantId },
    /// A grant's file was deleted in a head that cannot be accepted: the access goes at `effective`, and comes back only
    /// when an accepted head has the old content.
    Suspend { grant: GrantId, commit: Commit, author: Text, effective: Timestamp },
    /// An accepted head has the old content.
    Resume { grant: GrantId, commit: Commit },
    /// A grant's file was deleted. It takes effect at `effective`: at once, or later when so many went at a time that it
    /// looks like a mistake.
    Withdraw { grant: GrantId, commit: Commit, author: Text, effective: Timestamp },
    /// A held withdrawal was taken back in Git before it took effect.
    Restore { grant: GrantId, commit: Commit },
    /// An operator let the held withdrawals take effect now.
    Release { grants: Vec<GrantId>, digest: Text },
    /// A grant is over: its id never becomes active again.
    Finish { grant: GrantId, cause: Cause },
    /// What an entry's places came to, at the first good answer after the grant's start: they stay so to its end.
    Resolve { grant: GrantId, ask: AskId, asked: Timestamp, places: Arc<[Text]> },
    /// A grant relies on a binding that is there already; no call is needed.
    Join {
        binding: Binding,
        holders: Holders,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A call will be made. Durable before the call for grants and renewals.
    Intend {
        verb: Verb,
        binding: Binding,
        cause: Cause,
        until: Timestamp,
        before: Seen,
        act_by: Option<Timestamp>,
        /// By what the place knows the call, where it does: a lost answer is fetched by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<Text>,
        holders: Holders,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// The call's request or command id.
    Sent {
        intent: u64,
        binding: Binding,
        request: Text,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// How the call of an intent ended. `asked` is when it was intended, `knew` when the adapter knew.
    Fate {
        intent: u64,
        verb: Verb,
        binding: Binding,
        cause: Cause,
        until: Timestamp,
        fate: Fate,
        request: Option<Text>,
        asked: Timestamp,
        knew: Timestamp,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A revocation failed again as it had failed before: `count` times in a row by now. Those from `first` to `last` have no
    /// lines of their own; `request` is the last one's.
    Retried {
        binding: Binding,
        count: u32,
        first: Timestamp,
        last: Timestamp,
        trouble: Trouble,
        request: Option<Text>,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// What may be ours is there, and no answer ever said whose it is: it is owed, and told.
    Dispute {
        intent: u64,
        binding: Binding,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// What we confirmed is not there any more, and it was not us.
    Drift {
        binding: Binding,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// Something is there that is not ours: noted, never removed.
    Standing {
        binding: Binding,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// Its place no longer exists: nothing is owed there, and nothing is given there again.
    Gone {
        binding: Binding,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// Nothing is owed there any more.
    Forget {
        binding: Binding,
        because: Text,
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A torn tail was cut: what it held is in the named file beside the journal.
    Cut { bytes: u64, kept: Text },
    /// The whole ledger, as the fold of all lines before this one. Begins a segment.
    Checkpoint { ledger: Box<Ledger> },
}

impl Record {
    /// The grants that a line speaks of.
    pub fn grants(&self) -> Vec<&GrantId> {
        match self {
            Self::Prior { grant, .. }
            | Self::Accept { grant, .. }
            | Self::Amend { grant, .. }
            | Self::Shorten { grant, .. }
            | Self::Resolve { grant, .. }
            | Self::Hold { grant, .. }
            | Self::Withhold { grant, .. }
            | Self::Clear { grant }
            | Self::Suspend { grant, .. }
            | Self::Resume { grant, .. }
            | Self::Withdraw { grant, .. }
            | Self::Restore { grant, .. }
            | Self::Finish { grant, .. } => vec![grant],
            Self::Release { grants, .. } => grants.iter().collect(),
            Self::Join { stamp, .. }
            | Self::Intend { stamp, .. }
            | Self::Sent { stamp, .. }
            | Self::Fate { stamp, .. }
            | Self::Retried { stamp, .. }
            | Self::Dispute { stamp, .. }
            | Self::Drift { stamp, .. }
            | Self::Gone { stamp, .. }
            | Self::Standing { stamp, .. }
            | Self::Forget { stamp, .. } => stamp.grants.iter().collect(),
            Self::Init { .. }
            | Self::Start { .. }
            | Self::Clock { .. }
            | Self::Tick {}
            | Self::Head { .. }
            | Self::Freeze { .. }
            | Self::Thaw { .. }
            | Self::Adopt { .. }
            | Self::Prove { .. }
            | Self::Cut { .. }
            | Self::Checkpoint { .. } => Vec::new(),
        }
    }
}
