//! What happened to a file since its content was verified last. A reviewed comment on top of an unreviewed change must not
//! launder it, nor may a move, a second file of the same name, or a rename that a review shows without its content.

use std::collections::BTreeMap;

use crate::model::{Chain, Change, GrantId, Ledger, Link, Oid, State, Text};

use super::{stem, vouch::MOST};

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
        Self {
            verified: live.chain(over).map(|(id, file)| (id.clone(), file)).collect(),
            withheld: withheld.map(|(id, withheld)| (id.clone(), withheld.chain.clone())).collect(),
        }
    }
}

/// The chain of each file that was withheld or that the changes (oldest first) touched. An empty one: the file is gone, or
/// back at what was verified.
pub fn chains(past: &Past, changes: &[Change]) -> BTreeMap<GrantId, Chain> {
    let mut chains = past.withheld.clone();
    for change in changes {
        let mut files: BTreeMap<GrantId, Vec<(&Text, Option<&Oid>)>> = BTreeMap::new();
        for (path, blob) in &change.files {
            if let Ok(id) = stem(path) {
                files.entry(id).or_default().push((path, blob.as_ref()));
            }
        }
        // What was not verified and goes in the same change in which something else comes: a review shows a rename, and
        // not the content.
        let mut orphans: Vec<Link> = Vec::new();
        let mut newcomers = Vec::new();
        for (id, files) in files {
            let verified = past.verified.get(&id);
            // A name that was there for a moment and went is as new as one that never was.
            let known = verified.is_some() || chains.get(&id).is_some_and(|chain| !chain.paths.is_empty());
            let chain = chains
                .entry(id.clone())
                .or_insert_with(|| Chain { links: Vec::new(), paths: verified.cloned().into_iter().collect() });
            for (path, blob) in &files {
                match blob {
                    Some(blob) => chain.paths.insert((*path).clone(), (*blob).clone()),
                    None => chain.paths.remove(*path),
                };
            }
            if files.iter().any(|(_, blob)| blob.is_none()) {
                orphans.extend(chain.links.iter().cloned());
            }
            // Beyond what is judged nothing is kept: it does not pass anyway, and anybody who can push could fill a disk.
            let room = chain.links.len() <= MOST;
            let came = files.iter().filter(|(_, blob)| blob.is_some() && room);
            chain.links.extend(came.map(|(path, _)| Link {
                commit: change.commit.clone(),
                parents: change.parents,
                path: (*path).clone(),
            }));
            let back =
                verified.is_some_and(|(path, blob)| chain.paths.len() == 1 && chain.paths.get(path) == Some(blob));
            if chain.paths.is_empty() || back {
                chain.links.clear();
            } else if !known {
                newcomers.push(id);
            }
        }
        for id in newcomers.into_iter().filter(|_| !orphans.is_empty()) {
            if let Some(chain) = chains.get_mut(&id) {
                chain.links.splice(0..0, orphans.iter().cloned());
            }
        }
    }
    chains
}
