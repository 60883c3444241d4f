use std::{collections::BTreeSet, path::Path};

use git2::Oid;
use jiff::Timestamp;

use super::{
    Signers, entries,
    graph::{self, Graph, Reach},
};
use crate::{
    model::{Commit, Key, Proof, Said, Signature, SourceError, Text},
    source::tree::{broken, object_id, open},
};

/// The most commits that one merge may bring in.
pub const MAX_BROUGHT: usize = 10_000;

/// What stands behind commits of the first-parent line, in the order asked for; quick if that is oldest first. The forge
/// is not asked. `at` is the time at which keys must be valid; `reach` makes the next call quick. Blocks.
///
/// A commit that is not in the local repository (any more) proves nothing, and holds up no other.
///
/// # Errors
/// [`SourceError::Missing`] and [`SourceError::Broken`] for a repository that lacks what is behind a commit.
pub fn facts(
    bare: &Path,
    commits: &[Commit],
    folder: &str,
    signers: &Signers,
    at: Timestamp,
    reach: &mut Reach,
) -> Result<Vec<Proof>, SourceError> {
    let repo = open(bare)?;
    let odb = repo.odb().map_err(|e| broken("the object database", &e))?;
    let mut graph = Graph::new(&odb, reach);
    let mut prove = |commit: &Commit| {
        let id = object_id(&commit.0)?;
        let raw = match graph.read(id) {
            Err(SourceError::Missing(_)) => return Ok(absent(commit)),
            other => other?,
        };
        let (tree, parents) = graph::links(id, raw.data())?;
        let (behind, unsigned) = brought(&mut graph, &parents, signers, at)?;
        let differs = match parents[..] {
            [first, second] => {
                let trees = [Some(tree), Some(root(&graph, first)?), Some(root(&graph, second)?)];
                entries::differs(&repo, &odb, trees, folder)?
            }
            _ => Vec::new(),
        };
        Ok(Proof {
            commit: commit.clone(),
            parents: u32::try_from(parents.len()).unwrap_or(u32::MAX),
            signature: signers.verify(raw.data(), at).map_or_else(Signature::Bad, Signature::By),
            signers: behind,
            unsigned,
            differs,
            forge: Said::Unasked,
        })
    };
    commits.iter().map(&mut prove).collect()
}

fn absent(commit: &Commit) -> Proof {
    Proof {
        commit: commit.clone(),
        parents: 0,
        signature: Signature::Bad("is not in the local repository any more".into()),
        signers: BTreeSet::new(),
        unsigned: None,
        differs: Vec::new(),
        forge: Said::Unasked,
    }
}

/// Grant files that a commit changed against its first parent and whose content is not that of `head`: for what a forge
/// made of a branch, as by a squash. Sorted. Blocks.
///
/// # Errors
/// [`SourceError::Missing`] for what is not in the local repository.
pub fn differs(bare: &Path, commit: &Commit, head: &Commit, folder: &str) -> Result<Vec<Text>, SourceError> {
    let repo = open(bare)?;
    let odb = repo.odb().map_err(|e| broken("the object database", &e))?;
    let mut reach = Reach::default();
    let graph = Graph::new(&odb, &mut reach);
    let id = object_id(&commit.0)?;
    let (tree, parents) = graph::links(id, graph.read(id)?.data())?;
    let before = parents.first().map(|first| root(&graph, *first)).transpose()?;
    let head = root(&graph, object_id(&head.0)?)?;
    entries::differs(&repo, &odb, [Some(tree), before, Some(head)], folder)
}

fn root(graph: &Graph<'_>, commit: Oid) -> Result<Oid, SourceError> {
    Ok(graph::links(commit, graph.read(commit)?.data())?.0)
}

/// Who signed what a commit brought in, and the first of it that is not well signed.
fn brought(
    graph: &mut Graph<'_>,
    parents: &[Oid],
    signers: &Signers,
    at: Timestamp,
) -> Result<(BTreeSet<Key>, Option<Text>), SourceError> {
    let (mut keys, mut unsigned) = (BTreeSet::new(), None);
    if parents.len() < 2 {
        return Ok((keys, unsigned));
    }
    let Some(found) = graph.brought(parents, MAX_BROUGHT)? else {
        return Ok((keys, Some(format!("it brings in more than {MAX_BROUGHT} commits").into())));
    };
    for id in found {
        match signers.verify(graph.read(id)?.data(), at) {
            Ok(key) => {
                keys.insert(key);
            }
            Err(why) => {
                unsigned.get_or_insert_with(|| format!("the commit {id}, which it brings in, {why}").into());
            }
        }
    }
    Ok((keys, unsigned))
}
