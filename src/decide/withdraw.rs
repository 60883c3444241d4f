//! What a revision takes away: found on its line, commit by commit.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Change, GrantId, Record, State, Text};

use super::{
    admit::places,
    guard::{effective, holding},
    intake::Footing,
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
        for change in self.intake.changes.iter().filter(|_| first) {
            // Where it brings which id: made for changes that take anything of ours away.
            let mut came: Option<BTreeMap<GrantId, &Text>> = None;
            for (path, _) in change.files.iter().filter(|(_, blob)| blob.is_none()) {
                let Ok(id) = stem(path) else { continue };
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
        for (id, terms) in &self.ledger.grants {
            if let State::Withdrawn { effective, .. } = terms.state {
                self.wait(id, effective);
            }
        }
        for (grant, change) in gone {
            let (commit, author) = change.map_or_else(
                || (self.intake.head.clone(), "the head that an operator accepted".into()),
                |change| (change.commit.clone(), change.author.clone()),
            );
            self.gone.insert(grant.clone());
            // What went already does not come back because it goes for good.
            let effective = suspended(&grant).map_or(effective, |earlier| earlier.min(effective));
            if effective > self.now {
                self.wait(&grant, effective);
            }
            self.admission.ends.push(Record::Withdraw { grant, commit, author, effective });
        }
    }

    fn wait(&mut self, grant: &GrantId, effective: Timestamp) {
        let reason = "withdrawn together with many others: held in case that it was a mistake".to_owned();
        self.hold(grant, reason, Some(effective));
    }
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
