//! What a revision takes away: found on its line, commit by commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{Change, Commit, GrantId, Held, Oid, Origin, Record, State, Terms, Text};

use super::{
    admit::places,
    guard::{effective, holding, holds, waiting},
    intake::{Filed, Footing},
    revision::Revision,
    stem,
};

impl Revision<'_> {
    /// Finds deletions commit by commit, not by comparing heads: a deletion and its revert inside one poll is a withdrawal, a
    /// move inside one commit is none.
    pub(super) fn withdraw(&mut self) {
        // Where the files lie of those grants that any change takes a file of away: a path belongs to the id that it names.
        let mut lie: BTreeMap<GrantId, BTreeSet<&Text>> = BTreeMap::new();
        let places = |id: &GrantId| match self.ledger.grants.get(id) {
            Some(terms) if !matches!(terms.state, State::Withdrawn { .. }) => {
                places(self.ledger, id, terms).into_iter().collect()
            }
            _ => BTreeSet::new(),
        };
        let mut gone: Vec<(GrantId, Option<&Change>)> = Vec::new();
        // Asked again, a revision withdraws nothing that it brought itself after an earlier deletion.
        let first = self.ledger.head.as_ref() != Some(&self.intake.head);
        let mut excused = if first { self.excused() } else { BTreeMap::new() };
        for change in self.intake.changes.iter().filter(|_| first) {
            // Where it brings which id: made for changes that take anything of ours away.
            let mut came: Option<BTreeMap<GrantId, &Text>> = None;
            for (path, _) in change.files.iter().filter(|(_, blob)| blob.is_none()) {
                let Ok(id) = stem(path) else { continue };
                if excused.contains_key(&id) {
                    continue;
                }
                let lies = lie.entry(id.clone()).or_insert_with(|| places(&id));
                if !lies.remove(path) {
                    continue;
                }
                match came.get_or_insert_with(|| brings(change)).get(&id) {
                    Some(to) => drop(lies.insert(*to)),
                    None => {
                        lies.clear();
                        gone.push((id, Some(change)));
                    }
                }
            }
            excused.retain(|_, until| **until != change.commit);
        }
        // The head that an operator named says what there is, whatever commits led to it.
        if self.ledger.adopted && self.intake.footing != Footing::Assumed {
            let live = self.ledger.grants.iter().filter(|(_, terms)| !matches!(terms.state, State::Withdrawn { .. }));
            let left = live.map(|(id, _)| id).filter(|id| lie.get(*id).is_none_or(|lies| !lies.is_empty()));
            gone.extend(left.filter(|id| !self.intake.present.contains_key(*id)).map(|id| (id.clone(), None)));
        }
        let suspended = |id: &GrantId| match self.ledger.grants.get(id).map(|terms| &terms.state) {
            Some(State::Suspended { effective, .. }) => Some(*effective),
            _ => None,
        };
        let fresh = gone.iter().filter(|(id, _)| suspended(id).is_none()).count();
        let effective = effective(self.ledger, fresh, self.now);
        self.guarded = holding(self.ledger, self.now) || effective > self.now;
        for held in waiting(self.ledger, self.now) {
            self.wait(held);
        }
        for (grant, change) in gone {
            let (commit, author) = change.map_or_else(
                || (self.intake.head.clone(), "the head that an operator accepted".into()),
                |change| (change.commit.clone(), change.author.clone()),
            );
            self.gone.insert(grant.clone());
            // What went already does not come back because it goes for good, and what waits goes on waiting.
            let effective = suspended(&grant).unwrap_or(effective);
            self.guarded |= effective > self.now;
            let by = Arc::new(Origin { commit: commit.clone(), author: author.clone() });
            self.held.remove(&grant);
            if let Some(held) = holds(&grant, &State::Withdrawn { effective, by }, self.now) {
                self.wait(held);
            }
            self.admission.ends.push(Record::Withdraw { grant, commit, author, effective });
        }
    }

    /// The grants whose deletions count no more, and up to where on this very line: those that were taken back while the deletion
    /// waited, for a head may come again before it is accepted; and those that are suspended for it, where the old content is there.
    fn excused(&self) -> BTreeMap<&GrantId, &Commit> {
        let (ledger, intake) = (self.ledger, self.intake);
        if intake.changes.is_empty() {
            return BTreeMap::new();
        }
        // Only where somebody is suspended: then each file once. Wherever it lies by now, its name is its id.
        let mut files: Option<BTreeSet<(GrantId, &Oid)>> = None;
        let mut back = |id: &GrantId, terms: &Terms| {
            let files = files.get_or_insert_with(|| intake.files.iter().filter_map(named).collect());
            files.contains(&(id.clone(), &terms.blob))
        };
        let until = ledger.grants.iter().filter_map(|(id, terms)| match &terms.state {
            State::Suspended { by, .. } if back(id, terms) => Some((id, &by.commit)),
            _ => Some((id, terms.restored.as_ref()?)),
        });
        let mut until = until.peekable();
        if until.peek().is_none() {
            return BTreeMap::new();
        }
        let line: BTreeSet<&Commit> = intake.changes.iter().map(|change| &change.commit).collect();
        until.filter(|(_, until)| line.contains(until)).collect()
    }

    fn wait(&mut self, held: Held) {
        self.held.insert(held.grant.clone(), vec![held]);
    }
}

/// What a file is by its name, and what it says.
fn named(filed: &Filed) -> Option<(GrantId, &Oid)> {
    Some((stem(&filed.path).ok()?, &filed.blob))
}

/// The ids that a change brings, each with the first of its paths.
fn brings(change: &Change) -> BTreeMap<GrantId, &Text> {
    let mut brings = BTreeMap::new();
    for (path, _) in change.files.iter().filter(|(_, blob)| blob.is_some()) {
        if let Ok(id) = stem(path) {
            brings.entry(id).or_insert(path);
        }
    }
    brings
}
