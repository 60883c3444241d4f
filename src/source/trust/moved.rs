use std::collections::{BTreeMap, BTreeSet, HashMap};

use git2::{ObjectType, Odb, Oid, Repository};

use crate::{
    model::{SourceError, Text, names_grant},
    source::tree::{FOLDER, FORMAT, MAX_ENTRIES, MAX_TREE, header, unread},
};

/// The largest file that a grant file can be shown as a rename of: twice what a grant has at most, since half of it must be
/// in both.
const MAX_SOURCE: u64 = 128 * 1024;
/// How deep folders are looked at, anywhere in the repository.
const MAX_DEPTH: usize = 64;
/// The most files that are compared with each other.
const MAX_PAIRS: usize = 10_000;

type Entries = BTreeMap<Vec<u8>, (i32, Oid)>;

/// Grant files that one tree has and the other has not, and that are much like a file that is no grant file and went at the
/// same time: a review shows that they were renamed, and not what they say. Nobody held them where they came from.
///
/// `None` if there is too much to be looked at.
pub(super) fn moved(
    repo: &Repository,
    odb: &Odb<'_>,
    new: Oid,
    old: Oid,
    folder: &str,
) -> Result<Option<BTreeSet<Text>>, SourceError> {
    let mut hunt = Hunt { repo, odb, folder, came: Vec::new(), went: BTreeSet::new(), seen: 0, lost: false };
    hunt.compare(Some(new), Some(old), "", 0)?;
    if hunt.lost || hunt.came.len().saturating_mul(hunt.went.len()) > MAX_PAIRS {
        return Ok(if hunt.came.is_empty() && !hunt.lost { Some(BTreeSet::new()) } else { None });
    }
    let mut found = BTreeSet::new();
    for (path, blob) in &hunt.came {
        let Some(news) = hunt.read(*blob)? else { continue };
        for source in &hunt.went {
            if source == blob || hunt.read(*source)?.is_some_and(|source| alike(&news, &source)) {
                found.insert(path.clone());
                break;
            }
        }
    }
    Ok(Some(found))
}

struct Hunt<'a> {
    repo: &'a Repository,
    odb: &'a Odb<'a>,
    folder: &'a str,
    came: Vec<(Text, Oid)>,
    went: BTreeSet<Oid>,
    /// Entries read so far.
    seen: usize,
    /// Whether there was more than is looked at.
    lost: bool,
}

impl Hunt<'_> {
    fn compare(&mut self, new: Option<Oid>, old: Option<Oid>, path: &str, depth: usize) -> Result<(), SourceError> {
        if new == old || self.lost {
            return Ok(());
        }
        let (Some(new), Some(old)) = (self.entries(new)?, self.entries(old)?) else {
            self.lost = true;
            return Ok(());
        };
        self.seen += new.len() + old.len();
        if depth > MAX_DEPTH || self.seen > 3 * MAX_ENTRIES {
            self.lost = true;
            return Ok(());
        }
        let names: BTreeSet<&Vec<u8>> = new.keys().chain(old.keys()).collect();
        for name in names {
            let (new, old) = (new.get(name).copied(), old.get(name).copied());
            if new == old {
                continue;
            }
            let name = String::from_utf8_lossy(name);
            let full = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            let below = full.strip_prefix(self.folder).and_then(|rest| rest.strip_prefix('/'));
            match (file(new), file(old), below.is_some_and(names_grant)) {
                (Some(blob), None, true) => self.came.push((full.as_str().into(), blob)),
                (None, Some(blob), false) => drop(self.went.insert(blob)),
                _ => {}
            }
            self.compare(tree(new), tree(old), &full, depth + 1)?;
        }
        Ok(())
    }

    /// `None` if it is too large to be looked at, or no folder.
    fn entries(&self, tree: Option<Oid>) -> Result<Option<Entries>, SourceError> {
        let Some(id) = tree else { return Ok(Some(Entries::new())) };
        let (size, kind) = header(self.odb, id)?;
        if kind != ObjectType::Tree || size > MAX_TREE as u64 {
            return Ok(None);
        }
        let tree = self.repo.find_tree(id).map_err(|e| unread(&format!("the folder {id}"), &e))?;
        Ok(Some(tree.iter().map(|entry| (entry.name_bytes().to_vec(), (entry.filemode_raw(), entry.id()))).collect()))
    }

    /// `None` if it is too large to be what is looked for.
    fn read(&self, blob: Oid) -> Result<Option<Vec<u8>>, SourceError> {
        let (size, kind) = header(self.odb, blob)?;
        if kind != ObjectType::Blob || size > MAX_SOURCE {
            return Ok(None);
        }
        let object = self.odb.read(blob).map_err(|e| unread(&format!("the blob {blob}"), &e))?;
        Ok(Some(object.data().to_vec()))
    }
}

fn tree(entry: Option<(i32, Oid)>) -> Option<Oid> {
    entry.filter(|(mode, _)| mode & FORMAT == FOLDER).map(|(_, id)| id)
}

fn file(entry: Option<(i32, Oid)>) -> Option<Oid> {
    entry.filter(|(mode, _)| mode & FORMAT == 0o100_000).map(|(_, id)| id)
}

/// Whether a third of the larger one stands in both, line by line. Git and the forges ask for a half, and count a little
/// otherwise.
fn alike(one: &[u8], other: &[u8]) -> bool {
    let mut lines: HashMap<&[u8], usize> = HashMap::new();
    for line in one.split_inclusive(|b| *b == b'\n') {
        *lines.entry(line).or_default() += 1;
    }
    let mut shared = 0;
    for line in other.split_inclusive(|b| *b == b'\n') {
        if let Some(left) = lines.get_mut(line).filter(|left| **left > 0) {
            *left -= 1;
            shared += line.len();
        }
    }
    3 * shared >= one.len().max(other.len()) && shared > 0
}
