//! What happened to a file since its content was verified last. A reviewed comment on top of an unreviewed change must not
//! launder it, nor may a move, a second file of the same name, or a rename that a review shows without its content.

use std::collections::BTreeMap;

use crate::model::{Chain, Change, GrantId, Ledger, Link, Oid, State, Text};

use super::stem;

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
        let withheld = ledger.withheld.iter().filter(|(_, withheld)| !withheld.chain.links.is_empty());
        Self {
            verified: live.map(|(id, terms)| (id.clone(), (terms.path.clone(), terms.blob.clone()))).collect(),
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
            let known = chains.contains_key(&id) || verified.is_some();
            let chain = chains
                .entry(id.clone())
                .or_insert_with(|| Chain { links: Vec::new(), paths: verified.cloned().into_iter().collect() });
            for (path, blob) in &files {
                match blob {
                    Some(blob) => chain.paths.insert((*path).clone(), (*blob).clone()),
                    None => chain.paths.remove(*path),
                };
            }
            let came = files.iter().filter(|(_, blob)| blob.is_some());
            chain.links.extend(came.map(|(path, _)| Link {
                commit: change.commit.clone(),
                parents: change.parents,
                path: (*path).clone(),
            }));
            let back =
                verified.is_some_and(|(path, blob)| chain.paths.len() == 1 && chain.paths.get(path) == Some(blob));
            if chain.paths.is_empty() {
                orphans.append(&mut chain.links);
            } else if back {
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
