//! What its path means now: files are watched by every link on the way to them, and what they come to is compared.
//!
//! Kubernetes exchanges a link (`..data`) on the way to the configuration, release tools another; neither the file nor its folder
//! changes then, so watching these would miss that a limit was shortened.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Passed, way};

/// How often what the paths mean is compared, whatever the kernel tells: it tells nothing of a folder above that is exchanged,
/// of network file systems, and when its watches are used up.
pub const COMPARE: Duration = Duration::from_secs(5);

/// What the file system or a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    Reload,
    Repository,
    World,
}

/// What changes when a path comes to another file, or the file changes: device, inode, length, and the times of change in
/// seconds and nanoseconds. None where there is no file.
pub type Stamp = Option<(u64, u64, u64, [i64; 4])>;

pub fn stamp(path: &Path) -> Stamp {
    let about = path.metadata().ok()?;
    let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
    Some((about.dev(), about.ino(), about.len(), times))
}

/// A path, and what is said when what it comes to changes.
struct Watched {
    path: PathBuf,
    hint: Hint,
    /// A folder with all below it, of which the kernel alone tells.
    deep: bool,
    seen: Stamp,
}

/// What the kernel's events are held against. Shared with the thread that hears them.
#[derive(Default)]
struct Names {
    /// Links and files, by their names in folders without links.
    exact: BTreeSet<(PathBuf, Hint)>,
    /// Folders of which all below counts.
    below: BTreeSet<(PathBuf, Hint)>,
    /// Folders that went away, or may have: their watches went with them.
    lost: BTreeSet<PathBuf>,
}

/// A folder as the kernel watches it: its device and inode, and whether with all below it.
type Place = (u64, u64, bool);

/// Watches until it is dropped. Hints only: what it misses, SIGHUP, the sweep and the poll make good.
pub struct Watch {
    files: Vec<Watched>,
    names: Arc<Mutex<Names>>,
    kernel: Option<RecommendedWatcher>,
    places: BTreeMap<PathBuf, Place>,
    /// What is not watched, told once.
    told: BTreeSet<PathBuf>,
}

impl Watch {
    pub fn new(hints: UnboundedSender<Hint>) -> Self {
        let names = Arc::new(Mutex::new(Names::default()));
        let heard = names.clone();
        let hear = move |event: notify::Result<notify::Event>| {
            let mut names = heard.lock().unwrap_or_else(PoisonError::into_inner);
            for hint in names.meant(event) {
                let _ = hints.send(hint);
            }
        };
        let kernel = notify::recommended_watcher(hear).inspect_err(|error| {
            tracing::warn!(%error, "files are not watched: changes are noticed some seconds later, and in a repository by poll");
        });
        Self { files: Vec::new(), names, kernel: kernel.ok(), places: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// A file that was last read when it had this stamp.
    pub fn file(&mut self, path: &Path, hint: Hint, seen: Stamp) {
        self.add(path, hint, false, seen);
    }

    /// A folder with all that is below it.
    pub fn folder(&mut self, path: &Path, hint: Hint) {
        self.add(path, hint, true, stamp(path));
    }

    fn add(&mut self, path: &Path, hint: Hint, deep: bool, seen: Stamp) {
        // The working directory may be gone; then the path says nothing any more either.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.files.push(Watched { path, hint, deep, seen });
    }

    /// Follows the paths anew, watches what lies on the way now, and answers what changed since the last look.
    pub fn look(&mut self) -> BTreeSet<Hint> {
        // Until nothing moved between following the links and watching them.
        for _ in 0..4 {
            let (names, folders) = self.ways();
            let mut shared = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = std::mem::take(&mut shared.lost);
            let same = lost.is_empty() && folders == self.places;
            (shared.exact, shared.below) = (names.exact, names.below);
            // The kernel's thread takes it too, and is asked below.
            drop(shared);
            if same {
                break;
            }
            self.watch(folders, &lost);
        }
        let mut changed = BTreeSet::new();
        for file in &mut self.files {
            let mut now = stamp(&file.path);
            if file.deep {
                // Which folder it is. What lies below, the kernel tells.
                now = now.map(|(device, inode, ..)| (device, inode, 0, [0; 4]));
            }
            if std::mem::replace(&mut file.seen, now) != now {
                changed.insert(file.hint);
            }
        }
        changed
    }

    /// Every name that matters now, and the folders to watch for them.
    fn ways(&self) -> (Names, BTreeMap<PathBuf, Place>) {
        let (mut names, mut folders) = (Names::default(), BTreeMap::new());
        for Watched { path, hint, deep, .. } in &self.files {
            for (folder, name) in turns(path) {
                if let Ok(about) = folder.metadata() {
                    names.exact.insert((folder.join(name), *hint));
                    // It may be exchanged itself.
                    names.exact.insert((folder.clone(), *hint));
                    folders.entry(folder).or_insert((about.dev(), about.ino(), false));
                }
            }
            if *deep
                && let Ok(real) = path.canonicalize()
                && let Ok(about) = real.metadata()
            {
                names.below.insert((real.clone(), *hint));
                folders.insert(real, (about.dev(), about.ino(), true));
            }
        }
        (names, folders)
    }

    /// Has the kernel watch these folders and no others. Those that were lost are watched anew.
    fn watch(&mut self, folders: BTreeMap<PathBuf, Place>, lost: &BTreeSet<PathBuf>) {
        let Self { kernel: Some(kernel), places, told, .. } = self else {
            self.places = folders;
            return;
        };
        places.retain(|folder, place| {
            let stays = folders.get(folder) == Some(place) && !lost.contains(folder);
            if !stays {
                // It fails for a folder that is gone, whose watch went with it.
                let _ = kernel.unwatch(folder);
            }
            stays
        });
        for (folder, place) in folders {
            if places.contains_key(&folder) {
                continue;
            }
            let how = if place.2 { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match kernel.watch(&folder, how) {
                Ok(()) => drop(told.remove(&folder)),
                Err(error) if told.insert(folder.clone()) => {
                    let path = folder.display();
                    tracing::warn!(%path, %error, "is not watched: changes there are noticed some seconds later, or by poll");
                }
                Err(_) => {}
            }
            // Watched or not, this is what was tried: it is tried again when the folder is another one.
            places.insert(folder, place);
        }
    }
}

impl Names {
    /// What an event means. What the kernel could not tell of may be anything.
    fn meant(&mut self, event: notify::Result<notify::Event>) -> BTreeSet<Hint> {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            Ok(_) | Err(_) => {
                let all = self.exact.iter().chain(&self.below);
                let all = all.map(|(path, hint)| (path.clone(), *hint)).collect::<Vec<_>>();
                return all
                    .into_iter()
                    .map(|(path, hint)| {
                        self.lost.insert(path);
                        hint
                    })
                    .collect();
            }
        };
        if matches!(event.kind, EventKind::Access(_)) {
            return BTreeSet::new();
        }
        let mut hints = BTreeSet::new();
        for path in &event.paths {
            let named = self.exact.iter().filter(|(name, _)| name == path);
            let below = self.below.iter().filter(|(folder, _)| path.starts_with(folder));
            hints.extend(named.chain(below).map(|(_, hint)| *hint));
            // A folder that was watched may be gone by this; no harm is in watching one anew that is not.
            if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_)))
                && !hints.is_empty()
            {
                self.lost.insert(path.clone());
            }
        }
        hints
    }
}

/// The folder and name of each link on the way to what a path means, and of what is at its end: of the last that is there, where
/// the way breaks off. The folders are without links.
fn turns(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut way = way(path);
    let end = way.pop();
    let links = way.into_iter().filter(Passed::is_link);
    links.chain(end).map(|step| (step.folder, step.name)).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn the_way_has_each_link_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("etc/one")).unwrap();
        fs::write(root.join("etc/one/file"), "").unwrap();
        symlink("one", root.join("etc/..data")).unwrap();
        symlink("..data/file", root.join("etc/file")).unwrap();
        symlink(root.join("etc/../etc"), root.join("here")).unwrap();
        let names = |path: &str| {
            let way = turns(&root.join(path)).into_iter().map(|(folder, name)| folder.join(name));
            way.map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("etc/one/file"), ["etc/one/file"]);
        assert_eq!(names("etc/file"), ["etc/file", "etc/..data", "etc/one/file"]);
        assert_eq!(names("here/./file"), ["here", "etc/file", "etc/..data", "etc/one/file"]);
        // Where it breaks off, that name is waited for.
        assert_eq!(names("etc/two/file"), ["etc/two"]);
        symlink("two/file", root.join("etc/broken")).unwrap();
        assert_eq!(names("etc/broken"), ["etc/broken", "etc/two"]);
        symlink("round", root.join("round")).unwrap();
        assert_eq!(names("round").len(), 41);
    }
}
