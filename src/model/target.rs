use std::{collections::BTreeMap, fmt, sync::OnceLock};

use regex::Regex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::{Ask, Binding, BoxFuture, Given, Reading, Recalled, Selector, Span, Step, Text};

/// The pure half of a surface: what a grant may say about it, and which bindings that comes to.
pub trait Target: Send + Sync {
    /// The key under `access`, such as `windows-admin`.
    fn surface(&self) -> &'static str;

    /// One sentence for the schema and the help.
    fn about(&self) -> &'static str;

    /// What an entry may hold. The parser and the JSON Schema both come from this table.
    fn fields(&self) -> &'static [Field];

    /// Whether a place of this surface tells our access from others' by a marker of ours, so that a grant needs no read
    /// before it and an intent of unknown fate can be resolved by looking.
    fn marks(&self) -> bool;

    /// Whether a place of this surface remembers the calls that reached it, so that a lost answer can be fetched
    /// ([`Read::recall`]).
    fn recalls(&self) -> bool {
        false
    }

    /// Makes an ask of checked fields: canonical spelling, so that one access has one binding. Errors are per field:
    /// its name, what is wrong, what to write instead.
    fn ask(&self, fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>>;

    /// The question that must be answered before `wanted` can say anything; `None` if the ask names its place itself.
    fn selector(&self, ask: &Ask) -> Option<Selector>;

    /// The bindings that an ask comes to at `places`, which its selector was answered with; an ask that names its place itself
    /// looks at none of them.
    fn wanted(&self, ask: &Ask, places: &[Text]) -> Vec<Binding>;
}

/// Checked fields on their way to [`Target::ask`]. `account` is the 12-digit id already.
pub type Fields = BTreeMap<&'static str, Given>;

/// One line of a surface's table of fields.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    pub about: &'static str,
    pub example: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An account by its name in the configuration or its 12 digits.
    Account,
    /// A region that the configuration lists for the account.
    Region,
    /// A word of one ASCII pattern.
    Word(&'static Pattern),
    /// Tags: keys of the first pattern, each with one value or a list of values of the second.
    Tags(&'static Pattern, &'static Pattern),
}

/// Whether a field must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Always,
    /// Exactly one of the fields that name the same group.
    OneOf(&'static str),
}

/// An ASCII allow-list for one kind of name. The same text is the schema's `pattern` and, compiled at first use, the
/// parser's check.
#[derive(Debug)]
pub struct Pattern {
    /// As in "… is not `what`".
    pub what: &'static str,
    /// An anchored regular expression that ECMA 262 and Rust read alike.
    pub regex: &'static str,
    /// The longest, in characters.
    pub longest: usize,
    /// What to write, for people.
    pub hint: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub const fn new(what: &'static str, regex: &'static str, longest: usize, hint: &'static str) -> Self {
        Self { what, regex, longest, hint, compiled: OnceLock::new() }
    }

    /// Whether the whole text is such a name. An expression that does not compile lets nothing pass.
    pub fn matches(&self, text: &str) -> bool {
        text.len() <= self.longest
            && self.compiled.get_or_init(|| Regex::new(self.regex).ok()).as_ref().is_some_and(|re| re.is_match(text))
    }
}

/// The reading half of a surface on one cloud.
pub trait Read: Send + Sync {
    /// Asks the selectors and looks at the bindings, in batches, place by place; answers each exactly once. A place that
    /// cannot be read answers [`super::Seen::Blind`] and holds up no other.
    fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>>;

    /// Finds out what became of calls whose answers were lost; answers each exactly once, in their order, within a minute. Only
    /// asked of a surface whose places remember ([`Target::recalls`]).
    fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
        Box::pin(async move { vec![Recalled::Lost; calls.len()] })
    }
}

/// A grant whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recall {
    pub intent: u64,
    pub binding: Binding,
    /// The request or command id, if it was told.
    pub request: Option<Text>,
    pub nonce: Option<Text>,
    /// How long ago it was intended.
    pub age: Span,
}

/// The writing half of a surface on one cloud.
pub trait Write: Send + Sync {
    /// Does the steps, idempotently, and tells each one's fate exactly once as it comes. A failed step stops no other. A
    /// revocation is [`Fate::Done`] only after it was read back.
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()>;
}

/// What a writer tells of a step, named by the sequence number of its intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The call is on its way, under this request or command id.
    Sent { intent: u64, request: Text },
    /// It is over.
    Done { intent: u64, fate: Fate },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum Fate {
    /// It is so now, read back where that can be done.
    Done,
    /// Of a grant: it was there already, and not by this call; nothing was changed. Whether it is ours all the same, the ledger
    /// knows.
    Standing,
    /// Of a renewal: it is not there any more. Nothing was changed: a renewal gives nothing back.
    Absent,
    /// The place no longer exists, for certain (a terminated host): nothing is owed.
    Gone,
    /// Nothing was changed.
    Failed(Trouble),
    /// Nobody knows whether it was done.
    Unknown(Trouble),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Standing => f.write_str("standing"),
            Self::Absent => f.write_str("absent"),
            Self::Gone => f.write_str("gone"),
            Self::Failed(trouble) => write!(f, "failed: {trouble}"),
            Self::Unknown(trouble) => write!(f, "unknown: {trouble}"),
        }
    }
}

/// Why a call did not do what it should, by what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// For people: what happened and what to do. Never a secret value.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// Later may be better: offline, timed out.
    Unreachable,
    /// An operator must allow it.
    Denied,
    /// Later will be better: slow down.
    Throttled,
    /// What it names is not there (a user, a policy, a group).
    Gone,
    /// An answer that makes no sense.
    Broken,
}

impl Trouble {
    pub fn new(kind: TroubleKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, detail } = self;
        write!(f, "{kind}: {detail}")
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Gone => "gone",
            Self::Broken => "broken",
        })
    }
}
