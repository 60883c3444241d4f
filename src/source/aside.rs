use std::{
    fs::{self, DirEntry, File, Permissions},
    io,
    ops::Deref,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock, statvfs};
use tempfile::TempDir;

use super::{git::Git, quarantine::ALTERNATES, tree};
use crate::model::{Text, guard_within};

/// How the folders of throw-away repositories begin.
const PREFIX: &str = "grantd-git-";
/// A place with less room than this is taken only if none has more, bytes.
const ROOM: u64 = 64 << 20;
/// A throw-away repository that holds more, beside its largest pack, is begun anew, bytes: it may lie in memory.
const WEIGHT: u64 = 256 << 20;
/// What nobody holds is not removed before this: its maker may be about to lock it.
const YOUNG: Duration = Duration::from_secs(60);
/// How many names of a folder that everybody may write to are looked at.
const LOOKS: usize = 10_000;

/// Where what is fetched lies: in the state folder, and, as long as it cannot or must not be kept there, beside it.
#[derive(Debug)]
pub struct Places {
    kept: Arc<Git>,
    /// Whether anything may be written to the state folder.
    keeps: bool,
    /// Where a throw-away repository may lie, best first.
    folders: Vec<PathBuf>,
    aside: Mutex<Option<Arc<Aside>>>,
}

/// A repository to fetch into and to read from. What reads from it keeps it there.
#[derive(Debug, Clone)]
pub enum Place {
    Kept(Arc<Git>),
    Aside(Arc<Aside>),
}

impl Deref for Place {
    type Target = Git;

    fn deref(&self) -> &Git {
        match self {
            Self::Kept(git) => git,
            Self::Aside(aside) => &aside.git,
        }
    }
}

impl Places {
    pub fn new(kept: Git) -> Self {
        Self { kept: Arc::new(kept), keeps: true, folders: vec![std::env::temp_dir()], aside: Mutex::default() }
    }

    /// Nothing is written to the state folder.
    pub fn reading(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Where throw-away repositories may lie, best first.
    pub fn beside(self, folders: Vec<PathBuf>) -> Self {
        Self { folders, ..self }
    }

    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// The state's own.
    pub fn kept(&self) -> Place {
        Place::Kept(self.kept.clone())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Aside>>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to read from: it shows all that was fetched.
    pub fn now(&self) -> Place {
        self.slot().clone().map_or_else(|| self.kept(), Place::Aside)
    }

    /// The throw-away repository; made if there is none. `why`: what keeps the state folder from being used. `anew`: one that
    /// became too large may go.
    ///
    /// # Errors
    /// Why none can be made.
    pub fn aside(&self, why: Option<&str>, anew: bool) -> Result<Place, String> {
        let there = self.slot().take();
        let fits = |aside: &Arc<Aside>| !anew || aside.weight().is_ok_and(|weight| weight <= WEIGHT);
        let aside = match there.filter(fits) {
            Some(aside) => aside,
            None => Arc::new(Aside::new(&self.kept, &self.folders, why.map(Text::from))?),
        };
        *self.slot() = Some(aside.clone());
        Ok(Place::Aside(aside))
    }

    /// All that was fetched is in the state folder, or what lies beside it is of no use.
    pub fn clear(&self) {
        let aside = self.slot().take();
        drop(aside);
    }

    /// Why what was fetched last is not kept, although it should be.
    pub fn unkept(&self) -> Option<Text> {
        self.slot().as_ref().filter(|_| self.keeps).and_then(|aside| aside.why.clone())
    }
}

/// A throw-away repository that sees the objects of the state's, and goes with the last that uses it.
#[derive(Debug)]
pub struct Aside {
    git: Git,
    why: Option<Text>,
    /// Shows other processes that somebody uses it.
    _lock: File,
    _folder: TempDir,
}

impl Aside {
    fn new(kept: &Git, folders: &[PathBuf], why: Option<Text>) -> Result<Self, String> {
        let none =
            || "there is no folder to fetch into that others may not write, or that is sticky as /tmp is".to_owned();
        // Whoever may exchange what is made there has git run what he likes.
        let own = rustix::process::geteuid().as_raw();
        let folders = folders.iter().filter(|folder| guard_within(folder, own).is_ok());
        let folders: &[PathBuf] = &folders.cloned().collect::<Vec<_>>();
        let place = choose(kept, folders, why.is_some()).ok_or_else(none)?;
        let failed = |e: io::Error| format!("nothing can be fetched into {}: {e}", place.display());
        folders.iter().for_each(|folder| remove_stale(folder));
        let mut folder = tempfile::Builder::new();
        folder.prefix(PREFIX).permissions(Permissions::from_mode(0o700));
        let folder = folder.tempdir_in(place).map_err(failed)?;
        let lock = File::create(folder.path().join("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
        let git = Git::new(folder.path());
        git.prepare().map_err(failed)?;
        lean(&git, kept).map_err(failed)?;
        Ok(Self { git, why, _lock: lock, _folder: folder })
    }

    /// Bytes of its packs but the largest.
    fn weight(&self) -> io::Result<u64> {
        let (mut sum, mut largest) = (0, 0);
        for file in fs::read_dir(self.git.bare().join("objects/pack"))? {
            let bytes = file?.metadata()?.len();
            (sum, largest) = (sum + bytes, bytes.max(largest));
        }
        Ok(sum - largest)
    }
}

/// Lets a repository see the objects of the state's, and begins at its head. One that cannot be read, or has no head, is not
/// leaned on: then all is fetched anew.
fn lean(git: &Git, kept: &Git) -> io::Result<()> {
    let Ok(Some(head)) = tree::fetched(kept.bare()) else { return Ok(()) };
    let objects = kept.bare().join("objects");
    let Some(line) = objects.to_str().filter(|path| !path.contains('\n')) else { return Ok(()) };
    let file = git.bare().join("objects").join(ALTERNATES);
    fs::write(&file, format!("{line}\n"))?;
    if tree::has_commit(git.bare(), &head) == Ok(true) {
        return fs::write(git.bare().join(tree::FETCHED), format!("{head}\n"));
    }
    fs::remove_file(&file)
}

/// The first with room, or the roomiest there is. `elsewhere`: on another disk than the state's, of which only the quota may be
/// used up.
fn choose<'a>(kept: &Git, folders: &'a [PathBuf], elsewhere: bool) -> Option<&'a Path> {
    // The state folder itself: the bare repository may not be there yet.
    let disk =
        kept.bare().parent().filter(|_| elsewhere).and_then(|state| state.metadata().ok()).map(|about| about.dev());
    let room = |folder: &Path| statvfs(folder).map_or(0, |about| about.f_bavail.saturating_mul(about.f_frsize));
    let good = |folder: &&PathBuf| {
        folder.metadata().is_ok_and(|about| about.is_dir() && Some(about.dev()) != disk) && room(folder) >= ROOM
    };
    let roomiest = || folders.iter().filter(|folder| folder.is_dir()).max_by_key(|folder| room(folder));
    folders.iter().find(good).or_else(roomiest).map(PathBuf::as_path)
}

/// Removes what processes left that were killed. Best effort: whatever stays here costs room and nothing else.
fn remove_stale(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.take(LOOKS).flatten() {
        if is_stale(&entry) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ours, and nobody's any more. In such a place anybody may make what looks so: it must belong to us alone.
fn is_stale(entry: &DirEntry) -> bool {
    let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
        && entry.metadata().is_ok_and(|about| {
            let old = about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
            about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0 && old
        });
    if !ours {
        return false;
    }
    match File::open(entry.path().join("lock")) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}
