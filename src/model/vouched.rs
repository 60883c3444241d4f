use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Commit, Key, Oid, Text, Trust};

/// One first-parent change of a grant's file: each since the content that was verified last must pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub commit: Commit,
    /// How many parents the commit has.
    pub parents: u32,
    /// The file's path after it.
    pub path: Text,
    /// It stands for more changes than are judged together: nothing passes by it wherever anything must be proven.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beyond: bool,
}

/// A file that may not grant yet, or not what it says now: the changes that were not accepted, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withheld {
    pub chain: Chain,
    pub reason: Text,
    #[serde(default, skip_serializing_if = "Lacks::is_proof")]
    pub lacks: Lacks,
    /// It was accepted and has not begun: nothing of it may begin. Otherwise what was accepted before goes on.
    #[serde(default)]
    pub whole: bool,
}

/// What a file lacks, by what follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lacks {
    /// It was looked at, and does not pass.
    #[default]
    Proof,
    /// The forge does not answer: it comes and goes, and is no news.
    Forge,
    /// The keys cannot be read.
    Trust,
}

impl Lacks {
    fn is_proof(&self) -> bool {
        *self == Self::Proof
    }
}

/// What happened to a grant's file since the content that was verified last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Oldest first, each once.
    pub links: Vec<Link>,
    /// Where the file lies now, with its content; several if somebody gave a second file its name.
    pub paths: BTreeMap<Text, Oid>,
}

/// Who stands behind a grant's file as it was accepted: the verdict that its commit passed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vouched {
    /// What it was held to.
    pub level: Trust,
    /// The key on the commit that last changed it, and whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// Who asked: the people (or keys and ids that are nobody's) behind the commits that it brought in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub askers: BTreeSet<Text>,
    /// Who merged it at the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merger: Option<Text>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvers: BTreeSet<Text>,
    /// The number of the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The rules that applied, and what they asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Text>,
}

/// A key and the person whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    pub key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Text>,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, person } = self;
        match person {
            Some(person) => write!(f, "{person} ({key})"),
            None => write!(f, "{key}"),
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Branch => "branch",
            Self::Signed => "signed",
            Self::Approved => "approved",
        })
    }
}

/// As a clause: `approved by asmith (#12), asked by jdoe, signed by jdoe (SHA256:…)`.
impl fmt::Display for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, signer, askers, merger, approvers, request, rules } = self;
        let list = |names: &BTreeSet<Text>| names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        match level {
            Trust::Branch => f.write_str("on the branch, nothing else is proven")?,
            Trust::Signed => f.write_str("signed")?,
            Trust::Approved => write!(f, "approved by {}", list(approvers))?,
        }
        if let Some(request) = request {
            write!(f, " (#{request})")?;
        }
        if !askers.is_empty() {
            write!(f, ", asked by {}", list(askers))?;
        }
        if let Some(signer) = signer {
            write!(f, ", signed by {signer}")?;
        }
        if let Some(merger) = merger {
            write!(f, ", merged by {merger}")?;
        }
        rules.iter().try_for_each(|rule| write!(f, ", {rule}"))
    }
}
