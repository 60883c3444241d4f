use std::{collections::BTreeSet, path::Path};

use git2::{Oid, Repository};
use jiff::Timestamp;

use super::{
    Signers, entries,
    graph::{self, Graph, Reach},
    moved,
};
use crate::{
    model::{Commit, Key, Proof, Said, Signature, SourceError, Text},
    source::tree::{object_id, open, unread},
};

/// The most commits that one merge may bring in.
pub const MAX_BROUGHT: usize = 10_000;

/// What stands behind commits of the first-parent line, in the order asked for; quick if that is oldest first. The forge
/// is not asked. `at` is the time at which keys must be valid; `reach` makes the next call quick. Blocks.
///
/// A commit that cannot be looked at, because it or what lies behind it is missing or odd, proves nothing, and holds up no
/// other.
///
/// # Errors
/// [`SourceError::Missing`] and [`SourceError::Unread`] if there is no repository.
pub fn facts(
    bare: &Path,
    commits: &[Commit],
    folder: &str,
    signers: &Signers,
    at: Timestamp,
    reach: &mut Reach,
) -> Result<Vec<Proof>, SourceError> {
    let repo = open(bare)?;
    let odb = repo.odb().map_err(|e| unread("the object database", &e))?;
    let mut graph = Graph::new(&odb, reach);
    let mut prove = |commit: &Commit| {
        let id = object_id(&commit.0)?;
        let raw = graph.read(id)?;
        let (tree, parents) = graph::links(id, raw.data())?;
        let brought = graph.brought(&parents, MAX_BROUGHT)?;
        let (behind, unsigned) = signed(&graph, brought.as_deref(), signers, at)?;
        let differs = match parents[..] {
            [first, second] => {
                let trees = [Some(tree), Some(root(&graph, first)?), Some(root(&graph, second)?)];
                unlike(&repo, &graph, trees, brought.as_deref(), folder)?
            }
            _ => Vec::new(),
        };
        let signature = signers.verify(raw.data(), at).map_or_else(Signature::Bad, Signature::By);
        let own = match &signature {
            Signature::By(key) => Some(key),
            Signature::Bad(_) => None,
        };
        let until = behind.iter().chain(own).filter_map(|key| signers.end(key, at)).min();
        Ok(Proof {
            commit: commit.clone(),
            parents: u32::try_from(parents.len()).unwrap_or(u32::MAX),
            signature,
            signers: behind,
            unsigned,
            differs,
            forge: Said::Unasked,
            until,
        })
    };
    let looked = commits.iter().map(|commit| prove(commit).unwrap_or_else(|error: SourceError| odd(commit, &error)));
    Ok(looked.collect())
}

fn odd(commit: &Commit, error: &SourceError) -> Proof {
    Proof {
        commit: commit.clone(),
        parents: 0,
        signature: Signature::Bad(format!("cannot be looked at: {error}").into()),
        signers: BTreeSet::new(),
        unsigned: None,
        differs: Vec::new(),
        forge: Said::Unasked,
        until: None,
    }
}

/// Grant files that a commit changed against its first parent and whose content is not that of `head`, or not made by what
/// lies behind `head`, sorted; and who signed what lies there and is new: for what a forge made of a branch, as by a squash.
/// Blocks.
///
/// # Errors
/// [`SourceError::Missing`] for what is not in the local repository.
pub fn reviewed(
    bare: &Path,
    commit: &Commit,
    head: &Commit,
    folder: &str,
    signers: &Signers,
    at: Timestamp,
    reach: &mut Reach,
) -> Result<(Vec<Text>, BTreeSet<Key>), SourceError> {
    let repo = open(bare)?;
    let odb = repo.odb().map_err(|e| unread("the object database", &e))?;
    let mut graph = Graph::new(&odb, reach);
    let id = object_id(&commit.0)?;
    let (tree, parents) = graph::links(id, graph.read(id)?.data())?;
    let head = object_id(&head.0)?;
    let Some(first) = parents.first() else {
        let differs = entries::differs(&repo, &odb, [Some(tree), None, Some(root(&graph, head)?)], folder)?;
        return Ok((differs, BTreeSet::new()));
    };
    let brought = graph.brought(&[*first, head], MAX_BROUGHT)?;
    let trees = [Some(tree), Some(root(&graph, *first)?), Some(root(&graph, head)?)];
    let keys = signed(&graph, brought.as_deref(), signers, at)?.0;
    Ok((unlike(&repo, &graph, trees, brought.as_deref(), folder)?, keys))
}

/// Grant files that the first tree has otherwise than the second, and not as the third: the tip of a branch. Or as the tip,
/// but no commit of the branch made it so: the tip may be as old as the branch, and what it was never about is not approved
/// with it. Or renamed from what is no grant file: then a review shows no content.
fn unlike(
    repo: &Repository,
    graph: &Graph<'_>,
    [new, first, tip]: [Option<Oid>; 3],
    brought: Option<&[Oid]>,
    folder: &str,
) -> Result<Vec<Text>, SourceError> {
    let odb = graph.odb();
    let mut found: BTreeSet<Text> = entries::differs(repo, odb, [new, first, tip], folder)?.into_iter().collect();
    let taken = entries::differs(repo, odb, [new, first, first], folder)?;
    let mut taken: BTreeSet<Text> = taken.into_iter().filter(|path| !found.contains(path)).collect();
    for id in brought.unwrap_or_default() {
        if taken.is_empty() {
            break;
        }
        let (tree, parents) = graph::links(*id, graph.read(*id)?.data())?;
        let [one, other] = match parents[..] {
            [] => [None; 2],
            [one] => [Some(root(graph, one)?); 2],
            [one, other] => [Some(root(graph, one)?), Some(root(graph, other)?)],
            _ => continue,
        };
        for path in entries::differs(repo, odb, [Some(tree), one, other], folder)? {
            taken.remove(&path);
        }
    }
    found.extend(taken);
    if let (Some(new), Some(first)) = (new, first) {
        match moved::moved(repo, odb, new, first, folder)? {
            Some(moved) => found.extend(moved),
            None => found.extend(entries::differs(repo, odb, [Some(new), Some(first), Some(first)], folder)?),
        }
    }
    Ok(found.into_iter().collect())
}

fn root(graph: &Graph<'_>, commit: Oid) -> Result<Oid, SourceError> {
    Ok(graph::links(commit, graph.read(commit)?.data())?.0)
}

/// Who signed what a commit brought in, and the first of it that is not well signed.
fn signed(
    graph: &Graph<'_>,
    brought: Option<&[Oid]>,
    signers: &Signers,
    at: Timestamp,
) -> Result<(BTreeSet<Key>, Option<Text>), SourceError> {
    let (mut keys, mut unsigned) = (BTreeSet::new(), None);
    let Some(found) = brought else {
        return Ok((keys, Some(format!("it brings in more than {MAX_BROUGHT} commits").into())));
    };
    for id in found {
        match signers.verify(graph.read(*id)?.data(), at) {
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
