use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::{Chain, Change, Commit, Finding, Grant, GrantId, Oid, Proof, Text};

/// A revision, read and parsed.
#[derive(Debug, Clone)]
pub struct Intake {
    pub head: Commit,
    /// Whether the accepted head lies on the first-parent line of this one.
    pub descends: bool,
    /// Why the tree may not be used at all.
    pub refused: Option<String>,
    /// The valid files, sorted by path.
    pub files: Vec<Filed>,
    /// The ids of all files, valid or not.
    pub present: BTreeSet<GrantId>,
    /// What is wrong with the others.
    pub findings: Vec<Finding>,
    /// The first-parent commits since the accepted head, oldest first.
    pub changes: Vec<Change>,
    /// Every deletion since the accepted head on any line, where the head cannot be accepted.
    pub deletions: Vec<Change>,
    /// What happened to each file since it was verified, where anything did.
    pub chains: BTreeMap<GrantId, Chain>,
    /// What stands behind the commits of those.
    pub proofs: BTreeMap<Commit, Proof>,
    pub footing: Footing,
    /// When it was read.
    pub at: Timestamp,
}

/// What the proofs of a revision rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Footing {
    /// Nothing is asked: the files of a working tree, as if they were merged.
    Assumed,
    /// Nothing is accepted anyway.
    Idle,
    /// The trust that they were made under, as the source names it.
    Named(Text),
    /// They cannot be made, in a sentence.
    Broken(String),
}

/// A valid grant file at the head, and the first-parent commit that last changed it.
#[derive(Debug, Clone)]
pub struct Filed {
    pub path: Text,
    pub blob: Oid,
    pub grant: Arc<Grant>,
    pub commit: Commit,
    pub author: Text,
    pub committed: Timestamp,
    /// Its id was over already when this revision was read.
    pub late: bool,
}
