use std::{collections::BTreeSet, fs, io, path::Path};

use git2::{ErrorClass, ErrorCode, ObjectType, Odb, Repository};

use crate::model::{Commit, Entry, Finding, Name, Odd, Oid, SourceError, Tree, Twins, names_grant, odd};

/// Where the head of the remote branch is kept.
pub(super) const FETCHED: &str = "refs/grantd/fetched";

/// The largest grant file, bytes.
pub const MAX_BLOB: u64 = 64 * 1024;
/// The most entries below the grants folder, folders and other files included: the same folder can hang in a tree a
/// thousand times and cost nothing to make.
pub const MAX_ENTRIES: usize = 20_000;
/// How many folders deep a grant file may lie below the grants folder.
pub const MAX_DEPTH: usize = 8;
/// The largest single folder, bytes of its tree object.
pub(super) const MAX_TREE: usize = 8 * 1024 * 1024;

/// The objects of a bare repository, and of those that it leans on.
pub(super) fn objects<'a>(bare: &Path) -> Result<Odb<'a>, SourceError> {
    let folder = bare.join("objects");
    // libgit2 would take a folder that is not there for an empty one.
    let there = folder.metadata();
    match there {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(SourceError::Missing(format!("nothing has been fetched into {} yet", bare.display())));
        }
        Err(e) => return Err(SourceError::Unread(format!("the repository {} cannot be read: {e}", bare.display()))),
        Ok(_) => {}
    }
    let path = folder.to_str();
    let path =
        path.ok_or_else(|| SourceError::Unread("the path of the state folder is not UTF-8: rename it".into()))?;
    let open = || -> Result<Odb<'a>, git2::Error> {
        let objects = Odb::new()?;
        objects.add_disk_alternate(path)?;
        Ok(objects)
    };
    open().map_err(|e| unread(&format!("the repository {}", bare.display()), &e))
}

/// Opened for each call: this costs less than a millisecond, sees what was fetched meanwhile, and a repository cannot be
/// shared between threads. Over the objects alone: libgit2 reads no configuration so, neither the user's nor the system's,
/// and needs no HOME.
pub(super) fn open(bare: &Path) -> Result<Repository, SourceError> {
    Repository::from_odb(objects(bare)?).map_err(|e| unread(&format!("the repository {}", bare.display()), &e))
}

/// What a ref of a bare repository of ours holds. Read here: git takes one that it may not read for none, and libgit2 would
/// read the configuration of the user.
pub(super) fn id_of(bare: &Path, name: &str) -> Result<Option<git2::Oid>, SourceError> {
    let unread = |what: String| SourceError::Unread(format!("{name} cannot be read: {what}"));
    let none = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::read_to_string(bare.join(name)) {
        Ok(text) => match object_id(text.trim_end()) {
            Ok(id) => return Ok(Some(id)),
            Err(_) => return Err(unread("it holds no id of an object".into())),
        },
        Err(e) if none(&e) => {}
        // The beginning of other names.
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => {}
        Err(e) => return Err(unread(e.to_string())),
    }
    let packed = match fs::read_to_string(bare.join("packed-refs")) {
        Ok(packed) => packed,
        Err(e) if none(&e) => return Ok(None),
        Err(e) => return Err(unread(e.to_string())),
    };
    let id =
        packed.lines().filter_map(|line| line.split_once(' ')).find_map(|(id, found)| (found == name).then_some(id));
    id.map(|id| object_id(id).map_err(|_| unread("it holds no id of an object".into()))).transpose()
}

/// What libgit2 says of what is not content: the disk, the memory, the descriptors, an object that is damaged here.
pub(super) fn unread(what: &str, e: &git2::Error) -> SourceError {
    SourceError::Unread(format!("{what} cannot be read: {}", e.message()))
}

pub(super) fn object_id(text: &str) -> Result<git2::Oid, SourceError> {
    let full = text.len() == 40;
    full.then(|| git2::Oid::from_str(text).ok())
        .flatten()
        .ok_or_else(|| SourceError::Missing(format!("`{}` is no full object id", text.escape_debug())))
}

pub(super) fn as_commit(id: git2::Oid) -> Commit {
    Commit(id.to_string().into())
}

/// The head that was fetched last.
pub fn fetched(bare: &Path) -> Result<Option<Commit>, SourceError> {
    Ok(id_of(bare, FETCHED)?.map(as_commit))
}

/// Fails with `Missing` if it is not there.
pub fn commit(bare: &Path, commit: &Commit) -> Result<(), SourceError> {
    if has_commit(bare, commit)? { Ok(()) } else { Err(no_commit(commit)) }
}

pub(super) fn no_commit(commit: &Commit) -> SourceError {
    SourceError::Missing(format!("the commit {} is not in the local repository", commit.0.escape_debug()))
}

pub fn has_commit(bare: &Path, commit: &Commit) -> Result<bool, SourceError> {
    let Ok(id) = object_id(&commit.0) else { return Ok(false) };
    match header(&objects(bare)?, id) {
        Ok((_, kind)) => Ok(kind == ObjectType::Commit),
        Err(SourceError::Missing(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A full id, the branch, `HEAD`, a ref of the bare repository, or the beginning of an id, in this order.
pub fn resolve(bare: &Path, rev: &str, branch: &str) -> Result<Commit, SourceError> {
    let repo = open(bare)?;
    let shown = rev.escape_debug();
    let missing = || {
        SourceError::Missing(format!(
            "`{shown}` names no commit of what was fetched: write a commit id, `{branch}` or `HEAD`"
        ))
    };
    // Only what is surely not there is missing: what cannot be read may be there.
    let not_there =
        |e: &git2::Error| matches!(e.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel);
    let failed = |e: &git2::Error| if not_there(e) { missing() } else { unread(&format!("`{shown}`"), e) };
    if let Ok(id) = object_id(rev) {
        return repo.find_commit(id).map(|found| as_commit(found.id())).map_err(|e| failed(&e));
    }
    if rev.is_empty() || rev.contains('\0') {
        return Err(missing()); // libgit2 would take nothing for its own HEAD, and has no name with a NUL.
    }
    let names = if rev == "HEAD" || rev == branch {
        vec![FETCHED.to_owned()]
    } else {
        let names = ["refs/", "refs/tags/", "refs/heads/"].map(|before| format!("{before}{rev}"));
        let full = Some(rev.to_owned()).filter(|rev| rev.starts_with("refs/"));
        full.into_iter().chain(names).filter(|name| git2::Reference::is_valid_name(name)).collect()
    };
    for name in names {
        let Some(id) = id_of(bare, &name)? else { continue };
        let found = repo.find_object(id, None).and_then(|object| object.peel_to_commit());
        match found {
            Ok(found) => return Ok(as_commit(found.id())),
            Err(e) if not_there(&e) => {}
            Err(e) => return Err(failed(&e)),
        }
    }
    if rev.len() < 4 || !rev.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(missing());
    }
    repo.find_commit_by_prefix(rev).map(|found| as_commit(found.id())).map_err(|e| match e.code() {
        ErrorCode::Ambiguous => SourceError::Missing(format!("`{shown}` begins several ids: write more digits")),
        _ => failed(&e),
    })
}

/// The contents of blobs, in the order asked for. The caller has looked at their sizes before.
pub fn blobs(bare: &Path, blobs: &[Oid]) -> Result<Vec<Vec<u8>>, SourceError> {
    let odb = objects(bare)?;
    let read = |blob: &Oid| {
        let id = object_id(&blob.0)?;
        let (size, kind) = header(&odb, id)?;
        if kind != ObjectType::Blob || size > MAX_BLOB {
            return Err(SourceError::Bad(format!("{id} is no file of at most {MAX_BLOB} bytes")));
        }
        odb.read(id).map(|object| object.data().to_vec()).map_err(|e| unread(&format!("the file {id}"), &e))
    };
    blobs.iter().map(read).collect()
}

/// Size and kind, without the content.
pub(super) fn header(odb: &Odb<'_>, id: git2::Oid) -> Result<(u64, ObjectType), SourceError> {
    match odb.read_header(id) {
        Ok((size, kind)) => Ok((size as u64, kind)),
        Err(e) if e.code() == ErrorCode::NotFound => {
            Err(SourceError::Missing(format!("the object {id} is not in the local repository")))
        }
        Err(e) => Err(unread(&format!("the object {id}"), &e)),
    }
}

/// The grants folder at a commit.
pub fn tree(bare: &Path, commit: &Commit, folder: &str) -> Result<Tree, SourceError> {
    let repo = open(bare)?;
    let odb = repo.odb().map_err(|e| unread("the object database", &e))?;
    let found = repo.find_commit(object_id(&commit.0)?).map_err(|e| match e.code() {
        ErrorCode::NotFound => no_commit(commit),
        _ => unread(&format!("the commit {commit}"), &e),
    })?;
    let mut walk = Walk { repo: &repo, odb: &odb, entries: Vec::new(), findings: Vec::new(), seen: 0, grants: 0 };
    match walk.folder(found.tree_id(), folder) {
        Ok(()) => {
            walk.entries.sort_by(|a, b| a.path.cmp(&b.path));
            walk.findings.sort();
            Ok(Tree { entries: walk.entries, findings: walk.findings })
        }
        Err(Stop::Refused(why)) => Err(SourceError::Bad(format!("the tree of {} is refused: {why}", commit.short()))),
        Err(Stop::Failed(e)) => Err(e),
    }
}

struct Walk<'a> {
    repo: &'a Repository,
    odb: &'a Odb<'a>,
    entries: Vec<Entry>,
    findings: Vec<Finding>,
    /// Entries below the grants folder so far.
    seen: usize,
    /// Of these, files that are named like grant files.
    grants: usize,
}

/// Why a walk ends early.
enum Stop {
    /// Nothing of this tree may be used.
    Refused(String),
    Failed(SourceError),
}

impl From<SourceError> for Stop {
    fn from(e: SourceError) -> Self {
        Self::Failed(e)
    }
}

pub(super) const FORMAT: i32 = 0o170_000;
pub(super) const FOLDER: i32 = 0o040_000;
const FILE: i32 = 0o100_000;
const LINK: i32 = 0o120_000;
const MODULE: i32 = 0o160_000;
const EXECUTE: i32 = 0o111;

impl<'a> Walk<'a> {
    /// Goes from the root of the repository to the grants folder and reads it.
    fn folder(&mut self, root: git2::Oid, folder: &str) -> Result<(), Stop> {
        let mut tree = root;
        let mut path = String::new();
        for part in folder.split('/') {
            let found = self.tree(tree, &path)?;
            // Only this one name counts so far: the rest of the repository is not ours.
            let twins: Vec<_> =
                found.iter().filter(|entry| entry.name_bytes().eq_ignore_ascii_case(part.as_bytes())).collect();
            path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
            let entry = match twins.as_slice() {
                [] => return Ok(()),
                [one] if one.name_bytes() == part.as_bytes() => one,
                [_] => {
                    self.findings.push(Odd::Folder.finding(&path));
                    return Ok(());
                }
                _ => return Err(Stop::Refused(format!("`{path}` is there twice, or in upper and in lower case"))),
            };
            if entry.filemode_raw() & FORMAT != FOLDER {
                self.finding(
                    &path,
                    "the grants folder is no folder",
                    "commit a folder of this name, or correct `path`",
                );
                return Ok(());
            }
            tree = entry.id();
        }
        self.read(tree, &path, folder, 0)
    }

    fn tree(&self, id: git2::Oid, path: &str) -> Result<git2::Tree<'a>, Stop> {
        let (size, kind) = header(self.odb, id)?;
        if kind != ObjectType::Tree {
            return Err(Stop::Refused(format!("the folder `{path}` is no tree")));
        }
        if size > MAX_TREE as u64 {
            return Err(Stop::Refused(format!("the folder `{path}` is larger than {MAX_TREE} bytes")));
        }
        // Its bytes first, whole and with their hash checked: what fails here is the machine's fault. What fails then is the
        // content's: no honest git writes what libgit2 does not read, a mode of seven digits, a name without its end.
        self.odb.read(id).map_err(|e| unread(&format!("the folder `{path}`"), &e))?;
        self.repo.find_tree(id).map_err(|e| match e.class() {
            ErrorClass::NoMemory | ErrorClass::Os => Stop::Failed(unread(&format!("the folder `{path}`"), &e)),
            _ => Stop::Refused(format!("the folder `{path}` cannot be read: {}", e.message())),
        })
    }

    fn read(&mut self, id: git2::Oid, path: &str, root: &str, depth: usize) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Refused(format!("`{path}` lies more than {MAX_DEPTH} folders deep")));
        }
        let tree = self.tree(id, path)?;
        self.seen += tree.len();
        if self.seen > MAX_ENTRIES {
            return Err(Stop::Refused(format!("there are more than {MAX_ENTRIES} files and folders in `{root}`")));
        }
        let (mut names, mut twins, mut below) = (BTreeSet::new(), Twins::default(), Vec::new());
        for entry in &tree {
            let bytes = entry.name_bytes();
            let mode = entry.filemode_raw();
            let is_folder = mode & FORMAT == FOLDER;
            if !names.insert(bytes.to_vec()) {
                return Err(Stop::Refused(format!("`{path}/{}` is there twice", Name::shown(bytes))));
            }
            let name = match Name::of(bytes) {
                Name::Good(name) => name,
                Name::Odd => {
                    self.findings.push(odd(path, bytes, is_folder));
                    continue;
                }
                Name::Bad(why) => return Err(Stop::Refused(format!("a name in the folder `{path}` {why}"))),
            };
            let full = format!("{path}/{name}");
            if is_folder && !name.starts_with('.') {
                below.push((entry.id(), full, name.to_owned()));
                continue;
            }
            let grants = !is_folder && names_grant(&name.to_ascii_lowercase());
            self.grants += usize::from(grants);
            twins.add(name, &full, grants);
            if !is_folder {
                self.file(entry.id(), &full, name, mode)?;
            }
        }
        for (id, full, name) in below {
            let before = self.grants;
            self.read(id, &full, root, depth + 1)?;
            twins.add(&name, &full, self.grants > before);
        }
        self.findings.extend(twins.told().map_err(Stop::Refused)?);
        Ok(())
    }

    /// One entry that is no folder.
    fn file(&mut self, id: git2::Oid, path: &str, name: &str, mode: i32) -> Result<(), Stop> {
        let lower = name.to_ascii_lowercase();
        match mode & FORMAT {
            LINK => self.findings.push(Odd::Link.finding(path)),
            MODULE => self.findings.push(Odd::Module.finding(path)),
            FILE if !names_grant(&lower) => {}
            FILE if !names_grant(name) => self.findings.push(Odd::Case.finding(path)),
            FILE if mode & EXECUTE != 0 => self.findings.push(Odd::Executable.finding(path)),
            FILE => {
                let (size, kind) = header(self.odb, id)?;
                if kind != ObjectType::Blob {
                    return Err(Stop::Refused(format!("the file `{path}` is no blob")));
                }
                let blob = Oid(id.to_string().into());
                self.entries.push(Entry { path: path.into(), blob, size });
            }
            _ => return Err(Stop::Refused(format!("`{path}` has the unknown mode {mode:o}"))),
        }
        Ok(())
    }

    fn finding(&mut self, path: &str, message: &str, help: &str) {
        self.findings.push(Finding::error(path, None, message, help));
    }
}
