use std::collections::{BTreeMap, BTreeSet};

use git2::{ObjectType, Odb, Oid, Repository};

use crate::{
    model::{SourceError, Text, names_grant},
    source::tree::{FOLDER, FORMAT, MAX_DEPTH, MAX_ENTRIES, MAX_TREE, header, unread},
};

/// The entries of a folder by name. Honest folders have one of a name.
type Entries = BTreeMap<Vec<u8>, Vec<(i32, Oid)>>;

/// The same folder at three commits; `None` where it is not there.
#[derive(Clone, Copy)]
struct Folders {
    new: Option<Oid>,
    old: Option<Oid>,
    other: Option<Oid>,
}

/// Grant files below the folder whose blob or mode in the tree `new` is neither that of `old` nor that of `other`; not to
/// be there counts as one of the ways to be. Sorted. Trees are compared by their ids, and only those that differ are read.
///
/// What cannot be looked at (a name that is there twice, folders too deep, too large or too many) is named as if it were
/// such a file: nobody has approved it.
pub(super) fn differs(
    repo: &Repository,
    odb: &Odb<'_>,
    [new, old, other]: [Option<Oid>; 3],
    folder: &str,
) -> Result<Vec<Text>, SourceError> {
    let mut walk = Walk { repo, odb, root: folder, found: BTreeSet::new(), seen: 0 };
    let mut below = |tree: Option<Oid>| tree.map_or(Ok(None), |tree| walk.below(tree));
    let folders = Folders { new: below(new)?, old: below(old)?, other: below(other)? };
    walk.compare(folders, folder, 0)?;
    Ok(walk.found.into_iter().collect())
}

struct Walk<'a> {
    repo: &'a Repository,
    odb: &'a Odb<'a>,
    root: &'a str,
    found: BTreeSet<Text>,
    /// Entries read so far.
    seen: usize,
}

impl Walk<'_> {
    /// The grants folder in the tree of a commit.
    fn below(&mut self, root: Oid) -> Result<Option<Oid>, SourceError> {
        let mut tree = root;
        for part in self.root.split('/') {
            let all = self.entries(Some(tree))?.map(|mut entries| entries.remove(part.as_bytes()).unwrap_or_default());
            match all.as_deref() {
                Some(all @ ([] | [_])) => match folder(all) {
                    Some(found) => tree = found,
                    None => return Ok(None),
                },
                None | Some(_) => {
                    self.found.insert(self.root.into());
                    return Ok(None);
                }
            }
        }
        Ok(Some(tree))
    }

    /// `None` if it is too large to be looked at, or no folder.
    fn entries(&self, tree: Option<Oid>) -> Result<Option<Entries>, SourceError> {
        let Some(id) = tree else { return Ok(Some(Entries::new())) };
        let (size, kind) = header(self.odb, id)?;
        if kind != ObjectType::Tree || size > MAX_TREE as u64 {
            return Ok(None);
        }
        let tree = self.repo.find_tree(id).map_err(|e| unread(&format!("the folder {id}"), &e))?;
        let mut entries = Entries::new();
        for entry in &tree {
            entries.entry(entry.name_bytes().to_vec()).or_default().push((entry.filemode_raw(), entry.id()));
        }
        Ok(Some(entries))
    }

    fn compare(&mut self, folders: Folders, path: &str, depth: usize) -> Result<(), SourceError> {
        let Folders { new, old, other } = folders;
        if new == old || new == other {
            return Ok(());
        }
        let (Some(new), Some(old), Some(other)) = (self.entries(new)?, self.entries(old)?, self.entries(other)?) else {
            self.found.insert(path.into());
            return Ok(());
        };
        self.seen += new.len() + old.len() + other.len();
        if depth > MAX_DEPTH || self.seen > 3 * MAX_ENTRIES {
            self.found.insert(path.into());
            return Ok(());
        }
        let names: BTreeSet<&Vec<u8>> = new.keys().chain(old.keys()).collect();
        for name in names {
            let all = |entries: &'_ Entries| entries.get(name).cloned().unwrap_or_default();
            let (new, old, other) = (all(&new), all(&old), all(&other));
            if new == old || new == other {
                continue;
            }
            let name = String::from_utf8_lossy(name);
            let full = format!("{path}/{name}");
            if [&new, &old, &other].iter().any(|all| all.len() > 1) {
                self.found.insert(full.into());
                continue;
            }
            let below = full.get(self.root.len() + 1..).unwrap_or(&name);
            if file(&new) != file(&old) && file(&new) != file(&other) && names_grant(below) {
                self.found.insert(full.as_str().into());
            }
            if !name.starts_with('.') {
                let folders = Folders { new: folder(&new), old: folder(&old), other: folder(&other) };
                self.compare(folders, &full, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn folder(all: &[(i32, Oid)]) -> Option<Oid> {
    match all {
        [(mode, id)] if mode & FORMAT == FOLDER => Some(*id),
        _ => None,
    }
}

fn file(all: &[(i32, Oid)]) -> Option<(i32, Oid)> {
    all.first().copied().filter(|(mode, _)| mode & FORMAT != FOLDER)
}
