use std::collections::{HashMap, HashSet, VecDeque};

use git2::{ObjectType, Odb, OdbObject, Oid};

use super::object;
use crate::{
    model::SourceError,
    source::tree::{as_commit, header, no_commit, unread},
};

/// The largest commit object, bytes.
const MAX_COMMIT: u64 = 32 << 20;

/// What was found of which commits lie behind which: a commit never changes, so it is kept from one proof to the next.
/// About 100 bytes a commit.
#[derive(Debug, Default)]
pub struct Reach {
    parents: HashMap<Oid, Vec<Oid>>,
    /// `tip` and everything behind it.
    behind: HashSet<Oid>,
    tip: Option<Oid>,
}

/// Which commits lie behind which.
///
/// Every parent is followed to the end. To walk by dates would be quicker, and the dates are the authors'.
pub(super) struct Graph<'a> {
    odb: &'a Odb<'a>,
    reach: &'a mut Reach,
}

impl<'a> Graph<'a> {
    pub(super) fn new(odb: &'a Odb<'a>, reach: &'a mut Reach) -> Self {
        Self { odb, reach }
    }

    pub(super) fn odb(&self) -> &'a Odb<'a> {
        self.odb
    }

    /// The raw object of a commit.
    pub(super) fn read(&self, id: Oid) -> Result<OdbObject<'a>, SourceError> {
        let (size, kind) = header(self.odb, id)?;
        if kind != ObjectType::Commit {
            return Err(no_commit(&as_commit(id)));
        }
        if size > MAX_COMMIT {
            return Err(SourceError::Bad(format!("the commit {id} is larger than {MAX_COMMIT} bytes")));
        }
        self.odb.read(id).map_err(|e| unread(&format!("the commit {id}"), &e))
    }

    /// What a commit brought in, at most so many commits: they lie behind its other parents and not behind its first.
    /// `None` if there are more. Nearest first. Quick for commits that are asked for oldest first.
    pub(super) fn brought(&mut self, parents: &[Oid], most: usize) -> Result<Option<Vec<Oid>>, SourceError> {
        let Some((first, others)) = parents.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Ok(Some(Vec::new()));
        };
        self.cover(*first)?;
        let mut queue: VecDeque<Oid> = others.iter().copied().collect();
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        while let Some(id) = queue.pop_front() {
            if self.reach.behind.contains(&id) || !seen.insert(id) {
                continue;
            }
            if found.len() == most {
                return Ok(None);
            }
            found.push(id);
            queue.extend(self.parents(id)?);
        }
        Ok(Some(found))
    }

    /// Moves the tip.
    fn cover(&mut self, tip: Oid) -> Result<(), SourceError> {
        if self.reach.tip == Some(tip) {
            return Ok(());
        }
        // The old tip is met if it lies behind the new one. Then so does all that lies behind it.
        let (met, seen) = self.walk(tip)?;
        if met {
            self.reach.behind.extend(seen);
        } else {
            self.reach.behind.clear();
            self.reach.tip = None;
            self.reach.behind = self.walk(tip)?.1;
        }
        self.reach.tip = Some(tip);
        Ok(())
    }

    /// What lies behind a commit and not behind the tip, and whether the tip was met.
    fn walk(&mut self, from: Oid) -> Result<(bool, HashSet<Oid>), SourceError> {
        let (mut met, mut seen, mut stack) = (false, HashSet::new(), vec![from]);
        while let Some(id) = stack.pop() {
            if self.reach.behind.contains(&id) {
                met |= self.reach.tip == Some(id);
            } else if seen.insert(id) {
                stack.extend(self.parents(id)?);
            }
        }
        Ok((met, seen))
    }

    fn parents(&mut self, id: Oid) -> Result<Vec<Oid>, SourceError> {
        if let Some(known) = self.reach.parents.get(&id) {
            return Ok(known.clone());
        }
        let parents = links(id, self.read(id)?.data())?.1;
        self.reach.parents.insert(id, parents.clone());
        Ok(parents)
    }
}

/// The tree and the parents of a commit, from its raw object.
pub(super) fn links(id: Oid, raw: &[u8]) -> Result<(Oid, Vec<Oid>), SourceError> {
    object::links(raw).ok_or_else(|| SourceError::Bad(format!("the commit {id} does not begin as commits do")))
}
