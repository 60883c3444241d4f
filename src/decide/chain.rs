//! What happened to a file since its content was verified last. A reviewed comment on top of an unreviewed change must not
//! launder it, nor may a move, a second file of the same name, or a rename that a review shows without its content.
//!
//! Whoever can push decides how many changes there are, and a rename takes changes over from other files: so they are sets,
//! and what grows beyond what is judged anyway is one link that says so.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use crate::model::{Chain, Change, GrantId, Ledger, Link, Oid, State, Text};

use super::{stem, vouch::MOST};

/// The most changes that files take over from others: so many for each on average, and so many beside. What is remembered and
/// written grows with what is pushed, and not faster.
const SHARED: (usize, usize) = (4, 5_000);

/// What is known of the files before the changes: where each lies, and its verified content if it has one.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub verified: BTreeMap<GrantId, (Text, Oid)>,
    pub withheld: BTreeMap<GrantId, Chain>,
}

impl Past {
    pub fn new(ledger: &Ledger) -> Self {
        // What was withdrawn is verified no more: to take that back is a change as any other.
        let live = ledger.grants.iter().filter(|(_, terms)| !matches!(terms.state, State::Withdrawn { .. }));
        let live = live.map(|(id, terms)| (id, (terms.path.clone(), terms.blob.clone())));
        // What is over grants nothing any more, but a rename may bring its content back under another name.
        let over = ledger.used.iter().filter_map(|(id, over)| Some((id, over.file.clone()?)));
        let withheld = ledger.withheld.iter().filter(|(_, withheld)| !withheld.chain.links.is_empty());
        let chain = |chain: &Chain| {
            let mut links = Vec::new();
            join(&mut links, &chain.links);
            Chain { links, paths: chain.paths.clone() }
        };
        Self {
            verified: live.chain(over).map(|(id, file)| (id.clone(), file)).collect(),
            withheld: withheld.map(|(id, withheld)| (id.clone(), chain(&withheld.chain))).collect(),
        }
    }
}

/// Adds changes to those before them, each once. Of more than are judged together two are left at most: one that says so, and
/// one that passes nowhere.
pub fn join(links: &mut Vec<Link>, more: &[Link]) {
    for link in more {
        if links.iter().any(|link| link.beyond) {
            let octopus = link.parents > 2 && links.iter().all(|link| link.parents <= 2);
            links.splice(0..0, octopus.then(|| Link { beyond: false, ..link.clone() }));
        } else if !links.contains(link) {
            links.push(link.clone());
            if link.beyond || links.len() > MOST {
                give_up(links);
            }
        }
    }
}

/// They are not judged one by one any more.
fn give_up(links: &mut Vec<Link>) {
    let Some(last) = links.pop() else { return };
    links.retain(|link| link.parents > 2);
    links.truncate(1);
    links.push(Link { beyond: true, ..last });
}

/// What goes in one change, though it was never verified.
#[derive(Default)]
struct Orphans {
    /// All of them.
    links: Vec<Link>,
    /// By what the files said: the same content under another name has the changes of just these. Looked up only.
    by_blob: HashMap<Oid, Vec<Link>>,
}

impl Orphans {
    /// A file went that said this, as far as it is known, by these changes.
    fn add(&mut self, blob: Option<Oid>, links: &[Link]) {
        join(&mut self.links, links);
        if let Some(blob) = blob {
            join(self.by_blob.entry(blob).or_default(), links);
        }
    }

    /// What a file takes over that has come with these contents.
    fn of(&self, blobs: &[&Oid]) -> Vec<Link> {
        let same: Option<Vec<&Vec<Link>>> = blobs.iter().map(|blob| self.by_blob.get(*blob)).collect();
        let Some(same) = same else { return self.links.clone() };
        let mut links = Vec::new();
        same.into_iter().for_each(|more| join(&mut links, more));
        links
    }
}

/// The chain of each file that was withheld or that the changes (oldest first) touched. An empty one: the file is gone, or
/// back at what was verified.
pub fn chains(past: &Past, changes: &[Change]) -> BTreeMap<GrantId, Chain> {
    let mut chains = past.withheld.clone();
    let mut shared: usize = chains.iter().map(|(id, chain)| taken(id, chain)).sum();
    for change in changes {
        let mut all: Vec<(GrantId, &Text, Option<&Oid>)> = Vec::with_capacity(change.files.len());
        all.extend(change.files.iter().filter_map(|file| Some((stem(&file.0).ok()?, &file.0, file.1.as_ref()))));
        // In its order where an id has several.
        all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        // What was not verified and goes in the same change in which something else comes: a review shows a rename, and
        // not the content.
        let mut orphans = Orphans::default();
        let mut newcomers: Vec<(&GrantId, Vec<&Oid>)> = Vec::new();
        for files in all.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((id, ..)) = files.first() else { continue };
            let verified = past.verified.get(id);
            // A name that was there for a moment and went is as new as one that never was.
            let (known, chain) = match chains.entry(id.clone()) {
                Entry::Occupied(chain) => (verified.is_some() || !chain.get().paths.is_empty(), chain.into_mut()),
                Entry::Vacant(none) => {
                    let paths = verified.cloned().into_iter().collect();
                    (verified.is_some(), none.insert(Chain { links: Vec::new(), paths }))
                }
            };
            for (_, path, blob) in files {
                let gone = match blob {
                    Some(blob) => {
                        chain.paths.insert((*path).clone(), (*blob).clone());
                        continue;
                    }
                    None => chain.paths.remove(*path),
                };
                orphans.add(gone, &chain.links);
            }
            for (_, path, _) in files.iter().filter(|(.., blob)| blob.is_some()) {
                let (commit, path) = (change.commit.clone(), (*path).clone());
                join(&mut chain.links, &[Link { commit, parents: change.parents, path, beyond: false }]);
            }
            let back =
                verified.is_some_and(|(path, blob)| chain.paths.len() == 1 && chain.paths.get(path) == Some(blob));
            if chain.paths.is_empty() || back {
                shared -= taken(id, chain).min(shared);
                chain.links.clear();
            } else if !known {
                newcomers.push((id, files.iter().filter_map(|(.., blob)| *blob).collect()));
            }
        }
        for (id, blobs) in newcomers.into_iter().filter(|_| !orphans.links.is_empty()) {
            let (each, beside) = SHARED;
            let room = chains.len() * each + beside;
            let Some(chain) = chains.get_mut(id) else { continue };
            let mut links = orphans.of(&blobs);
            if shared + links.len() > room {
                give_up(&mut links);
            }
            let own = std::mem::replace(&mut chain.links, links);
            join(&mut chain.links, &own);
            shared += taken(id, chain);
        }
    }
    chains
}

/// How many of a file's changes are those of others.
fn taken(id: &GrantId, chain: &Chain) -> usize {
    chain.links.iter().filter(|link| stem(&link.path).as_ref() != Ok(id)).count()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::Commit;

    fn change(number: usize, parents: u32, files: Vec<(String, Option<String>)>) -> Change {
        let files = files.into_iter().map(|(name, blob)| {
            (format!("grants/{name}.yaml").as_str().into(), blob.map(|blob| Oid(blob.as_str().into())))
        });
        let (commit, author) = (Commit(format!("c{number}").as_str().into()), "Ann".into());
        Change { commit, author, committed: Timestamp::MIN, parents, files: files.collect() }
    }

    /// So many files, each of which every change renames; with another content each time if `edited`.
    fn renames(files: usize, times: usize, edited: bool) -> Vec<Change> {
        let name = |round: usize, file: usize| format!("r{round}-{file:05}");
        let blob = |round: usize, file: usize| format!("b{file}-{}", if edited { round } else { 0 });
        let round = |round: usize| {
            let gone = (0..files).filter(|_| round > 0).map(|file| (name(round - 1, file), None));
            let came = (0..files).map(|file| (name(round, file), Some(blob(round, file))));
            change(round, 1, came.chain(gone).collect())
        };
        (0..=times).map(round).collect()
    }

    fn count(chains: &BTreeMap<GrantId, Chain>) -> usize {
        chains.values().map(|chain| chain.links.len()).sum()
    }

    #[test]
    fn a_file_that_only_moved_takes_over_its_own_changes_and_no_others() {
        let chains = chains(&Past::default(), &renames(60, 3, false));
        let there: Vec<_> = chains.iter().filter(|(_, chain)| !chain.paths.is_empty()).collect();
        assert_eq!(there.len(), 60);
        for (id, chain) in there {
            let file = id.as_str().rsplit('-').next().unwrap();
            assert_eq!(chain.links.len(), 4);
            assert!(chain.links.iter().all(|link| link.path.contains(file) && !link.beyond), "{id}: {chain:?}");
        }
    }

    #[test]
    fn renames_with_edits_take_over_all_that_went_until_that_is_beyond_judgement() {
        let some = chains(&Past::default(), &renames(60, 1, true));
        assert!(some.values().all(|chain| chain.paths.is_empty() || chain.links.len() == 61));
        // Once they multiplied by 60 with each change.
        let many = chains(&Past::default(), &renames(60, 12, true));
        let there: Vec<_> = many.values().filter(|chain| !chain.paths.is_empty()).collect();
        assert_eq!(there.len(), 60);
        for chain in there {
            assert!(chain.links.len() <= 2 && chain.links.iter().any(|link| link.beyond), "{chain:?}");
        }
        // A hundred that go, and ten thousand that come: no more in all than so many for each.
        let came = (0..10_000).map(|file| (format!("new-{file:05}"), Some(format!("n{file}"))));
        let gone = (0..99).map(|file| (format!("r0-{file:05}"), None));
        let all =
            chains(&Past::default(), &[renames(99, 0, true), vec![change(1, 1, came.chain(gone).collect())]].concat());
        assert!(count(&all) < 70_000, "{}", count(&all));
    }

    #[test]
    fn what_is_beyond_judgement_keeps_an_octopus_and_stays_beyond() {
        let link = |number: usize, parents| Link {
            commit: Commit(format!("c{number}").as_str().into()),
            parents,
            path: "grants/abc.yaml".into(),
            beyond: false,
        };
        for octopus in [0, 50, 100, 101, 150] {
            let mut links = Vec::new();
            for number in 0..200 {
                join(&mut links, &[link(number, if number == octopus { 3 } else { 1 })]);
            }
            assert!(links.len() <= 2 && links.iter().any(|link| link.beyond), "{links:?}");
            assert!(links.iter().any(|link| link.parents == 3), "{octopus}: {links:?}");
        }
        let mut links = Vec::new();
        (0..MOST).for_each(|number| join(&mut links, &[link(number % 10, 1)]));
        assert_eq!(links.len(), 10, "each once");
        // As an earlier release wrote it: one after the other, more than are judged.
        let mut old: Vec<Link> = (0..=MOST).map(|number| link(number, 1)).collect();
        let chain = Chain { links: std::mem::take(&mut old), paths: BTreeMap::new() };
        let text = serde_json::to_string(&chain).unwrap();
        assert!(!text.contains("beyond"), "{text}");
        let mut links = Vec::new();
        join(&mut links, &serde_json::from_str::<Chain>(&text).unwrap().links);
        assert!(matches!(&links[..], [Link { beyond: true, .. }]), "{links:?}");
    }
}
