use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::{Chain, Change, Commit, Finding, Grant, GrantId, Level, Oid, Origin, Proof, Text, Tree};

use super::stem;

/// A revision, read and parsed.
#[derive(Debug, Clone)]
pub struct Intake {
    pub head: Commit,
    /// Whether it may be accepted.
    pub bearing: Bearing,
    /// The valid files, sorted by path.
    pub files: Vec<Filed>,
    /// The ids of all files with their paths, valid or not: an id belongs to the file that has it, whatever that says.
    pub present: BTreeMap<GrantId, BTreeSet<Text>>,
    /// What is wrong with the others.
    pub findings: Vec<Finding>,
    /// The first-parent commits since the accepted head, oldest first.
    pub changes: Vec<Change>,
    /// Where the head is not accepted: every deletion since the accepted one, on any line; where it could not be read, what
    /// changed on the line, or every deletion if it strays.
    pub deletions: Deletions,
    /// What happened to each file since it was verified, where anything did.
    pub chains: BTreeMap<GrantId, Chain>,
    /// What stands behind the commits of those.
    pub proofs: BTreeMap<Commit, Proof>,
    pub footing: Footing,
    /// When it was read.
    pub at: Timestamp,
}

/// What a head is to the accepted one. Three ways of not being accepted, of which each has its own consequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearing {
    /// It has the accepted head on its first-parent line.
    Follows,
    /// It has not: an operator must decide.
    Strays,
    /// Its content is not what may be used, in a sentence: final for this commit.
    Bad(String),
    /// It could not be read, in a sentence, which says nothing of it: it is tried again.
    Unread(String),
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

/// Which change first takes a path away and brings its id nowhere else. Made once for a revision, and walked side by side with the
/// grants: it is asked about all of them for as long as the head is not accepted.
#[derive(Debug, Clone, Default)]
pub struct Deletions(BTreeMap<GrantId, Gone>);

/// What is deleted and moved under one id.
#[derive(Debug, Clone, Default)]
pub struct Gone {
    first: BTreeMap<Text, (usize, Arc<Origin>)>,
    /// Where files were moved to, each within one change: who follows a file follows it there.
    moved: BTreeMap<Text, BTreeSet<Text>>,
}

impl Deletions {
    pub fn new(changes: &[Change]) -> Self {
        let mut all: BTreeMap<GrantId, Gone> = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            let mut came: BTreeMap<GrantId, Vec<&Text>> = BTreeMap::new();
            for (path, _) in change.files.iter().filter(|(_, blob)| blob.is_some()) {
                if let Ok(id) = stem(path) {
                    came.entry(id).or_default().push(path);
                }
            }
            let by = Arc::new(Origin { commit: change.commit.clone(), author: change.author.clone() });
            for (path, _) in change.files.iter().filter(|(_, blob)| blob.is_none()) {
                // A name that is no id is nobody's.
                let Ok(id) = stem(path) else { continue };
                let to = came.get(&id);
                let gone = all.entry(id).or_default();
                match to {
                    None => drop(gone.first.entry(path.clone()).or_insert_with(|| (place, by.clone()))),
                    Some(to) => gone.moved.entry(path.clone()).or_default().extend(to.iter().copied().cloned()),
                }
            }
        }
        Self(all)
    }

    pub fn by_id(&self) -> &BTreeMap<GrantId, Gone> {
        &self.0
    }
}

impl Gone {
    /// The change that takes away the first of these, or of where they were moved to. The changes may be of several lines and in
    /// any order, so that every place counts.
    pub fn of<'a>(&'a self, paths: impl IntoIterator<Item = &'a Text>) -> Option<&'a Arc<Origin>> {
        let mut places: Vec<&Text> = paths.into_iter().collect();
        let mut known: BTreeSet<&Text> = places.iter().copied().collect();
        while let Some(place) = places.pop() {
            places.extend(self.moved.get(place).into_iter().flatten().filter(|to| known.insert(to)));
        }
        let gone = known.into_iter().filter_map(|path| self.first.get(path));
        gone.min_by_key(|(place, _)| place).map(|(_, by)| by)
    }
}

/// The ids of all that lies in the grants folder, with their paths. Odd entries too (links, executables): what is there and
/// grants nothing is not deleted. Not what is only warned of: that is no grant file.
pub fn present(tree: &Tree) -> BTreeMap<GrantId, BTreeSet<Text>> {
    let odd = tree.findings.iter().filter(|finding| finding.level == Level::Error).map(|finding| &finding.path);
    here(tree.entries.iter().map(|entry| &entry.path).chain(odd))
}

/// The ids of paths. A name that is no id belongs to nobody.
pub fn here<'a>(paths: impl Iterator<Item = &'a Text>) -> BTreeMap<GrantId, BTreeSet<Text>> {
    let mut present: BTreeMap<GrantId, BTreeSet<Text>> = BTreeMap::new();
    for path in paths {
        // A link or a submodule of another name is nobody's file.
        let yaml = path.ends_with(".yaml") || path.ends_with(".yml");
        if let (true, Ok(id)) = (yaml, stem(path)) {
            present.entry(id).or_default().insert(path.clone());
        }
    }
    present
}
