use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::{
    Ask, AskId, Attempt, Binding, Cause, Commit, Era, FORMAT, GrantId, Link, Oid, Owned, Proof, Span, Text, Vouched,
    Withdrawn, Withheld,
};

/// What the journal comes to: what we own, owe and hold, and which ids are used. Made by `decide::fold` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// How the lines are to be read, as the last `init` or `start` says.
    #[serde(default = "oldest")]
    pub format: u32,
    /// By what the engine's time went last.
    #[serde(default)]
    pub era: Option<Era>,
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
    /// Where its grants lie, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Text>,
    /// Why granting stands still, if it does.
    pub freeze: Option<Freeze>,
    /// The latest time on any line since time was put right last: ours never counts as earlier than this.
    pub clock: Option<Timestamp>,
    /// Grants that are accepted and not over. Boxed: there are many, and they are walked by their names more often than read.
    pub grants: BTreeMap<GrantId, Box<Terms>>,
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
    /// What a grant asks for at a place that no longer exists, and since when that is known.
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub gone: BTreeMap<Binding, Timestamp>,
    /// Who was withdrawn when, within the last hour before `clock`.
    pub withdrawn: Withdrawn,
}

impl Ledger {
    /// The intents whose fate is not known.
    pub fn open(&self) -> impl Iterator<Item = u64> {
        self.owned.values().filter_map(|owned| owned.hold.call()).map(|call| call.intent)
    }
}

/// What a journal without a number was written by.
fn oldest() -> u32 {
    1
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            format: FORMAT,
            era: None,
            origin: None,
            head: None,
            headed: None,
            adopted: false,
            folder: None,
            freeze: None,
            clock: None,
            grants: BTreeMap::new(),
            used: BTreeMap::new(),
            prior: BTreeMap::new(),
            held: BTreeMap::new(),
            withheld: BTreeMap::new(),
            proofs: BTreeMap::new(),
            owned: BTreeMap::new(),
            standing: BTreeMap::new(),
            refused: BTreeMap::new(),
            gone: BTreeMap::new(),
            withdrawn: Withdrawn::default(),
        }
    }
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
    /// The places that entries came to when the grant began, where a question had to be answered for that. They stay so.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub places: LiteMap<AskId, Resolved>,
    pub from: Option<Timestamp>,
    pub ttl: Option<Span>,
    pub stated: Option<Timestamp>,
    pub start: Timestamp,
    /// Since when it asks, if that is later: when it was accepted, or was back after a suspension. Journals before this had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_since: Option<Timestamp>,
    pub until: Timestamp,
    /// No end ever lies beyond this: first start and the `max_duration` of then.
    pub ceiling: Timestamp,
    pub state: State,
    /// The head in which its file was there again after a withdrawal that was held: the deletions before that are excused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Commit>,
    /// Who stands behind what it says now.
    #[serde(default)]
    pub vouched: Vouched,
    /// The changes that brought it: judged again until it begins, and empty from then on.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// What an entry's question was answered with, and when that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    pub at: Timestamp,
    pub places: Arc<[Text]>,
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
