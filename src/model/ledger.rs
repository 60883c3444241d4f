use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::{
    Ask, AskId, Binding, Cause, Commit, GrantId, Holders, Link, Oid, Proof, Span, Stamp, Text, Trouble, Verb, Vouched,
    Withheld,
};

/// What the journal comes to: what we own, owe and hold, and which ids are used. Made by `decide::fold` only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The head at `init`.
    pub origin: Option<Commit>,
    /// The head that was accepted last.
    pub head: Option<Commit>,
    /// When that was: Git has answered then at the latest.
    #[serde(default)]
    pub headed: Option<Timestamp>,
    /// An operator named that head: what its files do not say any more is withdrawn, though no commit on its line says so.
    #[serde(default)]
    pub adopted: bool,
    /// Why granting stands still, if it does.
    pub freeze: Option<Freeze>,
    /// The latest time on any line: our clock never counts as earlier than this.
    pub clock: Option<Timestamp>,
    /// Grants that are accepted and not over.
    pub grants: BTreeMap<GrantId, Terms>,
    /// Ids that are over. For ever.
    pub used: BTreeMap<GrantId, Over>,
    /// Files that were there at `init --existing` and are not accepted yet.
    pub prior: BTreeMap<GrantId, Timestamp>,
    /// Files that may not grant, with the blob and the reason.
    pub held: BTreeMap<GrantId, (Oid, Text)>,
    /// Files whose changes were not accepted. Neither a restart nor another head clears them.
    #[serde(default)]
    pub withheld: BTreeMap<GrantId, Withheld>,
    /// What stands behind the commits that still matter, so that nothing is verified twice.
    #[serde(default)]
    pub proofs: BTreeMap<Commit, Proved>,
    /// What is ours, or may be, until it is proven gone.
    #[serde(with = "pairs")]
    pub owned: BTreeMap<Binding, Owned>,
    /// What a grant asks for and somebody else holds, and when it was seen.
    #[serde(with = "pairs")]
    pub standing: BTreeMap<Binding, Timestamp>,
    /// Grants that failed before they owned anything, and when to try again.
    #[serde(with = "pairs")]
    pub refused: BTreeMap<Binding, Box<Attempt>>,
    /// Who was withdrawn when, within the last hour before `clock`.
    pub withdrawn: Vec<(Timestamp, GrantId)>,
}

/// Granting stands still since `since`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    pub since: Timestamp,
    pub commit: Option<Commit>,
    pub reason: Text,
    /// Only `grantd source accept` ends it.
    #[serde(default)]
    pub accept: bool,
}

/// A proof, and the trust that it was made under: under another one it counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    pub trust: Text,
    pub proof: Box<Proof>,
}

/// An accepted grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub path: Text,
    pub blob: Oid,
    /// The commit that brought it or edited it last.
    pub origin: Arc<Origin>,
    pub requester: Text,
    pub purpose: Text,
    /// What is left of the entries that were accepted: edits can only take some out.
    pub asks: LiteMap<AskId, Arc<Ask>>,
    pub from: Option<Timestamp>,
    pub ttl: Option<Span>,
    pub stated: Option<Timestamp>,
    pub start: Timestamp,
    pub until: Timestamp,
    /// No end ever lies beyond this: first start and the `max_duration` of then.
    pub ceiling: Timestamp,
    pub state: State,
    /// Who stands behind what it says now.
    #[serde(default)]
    pub vouched: Vouched,
    /// The changes that brought it: judged again until it begins, and empty from then on.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// Where in its life a grant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Live,
    /// Its file was deleted in a head that cannot be accepted; the access is wanted until `effective`, and again when an
    /// accepted head has the old content.
    Suspended {
        effective: Timestamp,
        by: Arc<Origin>,
    },
    /// Its file is gone; the access is wanted until `effective`.
    Withdrawn {
        effective: Timestamp,
        by: Arc<Origin>,
    },
}

/// A commit and its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    pub commit: Commit,
    pub author: Text,
}

/// Since when an id is over, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Over {
    pub at: Timestamp,
    pub cause: Cause,
    /// Who withdrew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<Origin>>,
    /// Where its file lay, and what it said when it was accepted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<(Text, Oid)>,
}

/// A binding that is ours or may be. There are as many as access: what is rare is boxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// The end that the target carries, as far as we know.
    pub until: Timestamp,
    pub holders: Holders,
    /// Where the latest end comes from.
    pub origin: Option<Arc<Origin>>,
    /// Whether our grant took effect, as far as we know.
    pub landed: Landed,
    /// It was taken for ours though no answer ever said so: it was absent just before our call, and present after.
    pub disputed: bool,
    /// It was found missing though we confirmed it; told once.
    pub drifted: bool,
    /// The last intent while its fate is not known.
    pub open: Option<Box<Pending>>,
    /// When the last call to this binding had its terminal fate.
    pub wrote: Option<Timestamp>,
    /// A revocation was done and read back; forgotten when an absence settles.
    pub revoked: bool,
    /// Failures in a row.
    pub attempt: Option<Box<Attempt>>,
}

/// Whether a grant of ours took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Landed {
    /// No call was answered yet, or each said that nothing was changed.
    No,
    /// A call's answer was lost.
    Maybe,
    /// A call was answered with "done", or looking resolved it.
    Yes,
}

/// An intent without a terminal fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    pub intent: u64,
    pub verb: Verb,
    pub until: Timestamp,
    pub asked: Timestamp,
    pub request: Option<Text>,
}

/// Failures in a row: how many, when the last was, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    pub count: u32,
    pub last: Timestamp,
    pub trouble: Trouble,
}

impl Owned {
    /// What a line about it repeats.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(&self.holders, self.origin.as_deref())
    }
}

impl Attempt {
    /// The longest pause between two attempts at an overdue revocation: 5 minutes.
    pub const CAP: Span = Span::minutes(5);

    /// When to try again: 5 s after the first failure, twice as long each time, at most [`Attempt::CAP`].
    pub fn next(&self) -> Timestamp {
        let pause = 5i64 << self.count.saturating_sub(1).min(6);
        Span::seconds(pause.min(Self::CAP.as_seconds())).after(self.last)
    }
}

/// Maps with structured keys, as a list of pairs: JSON has only text for keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
