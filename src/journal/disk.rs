//! Files and folders: modes, durability, the lock, the reserve, and how a failure is told.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::JournalError;

/// The reserve's size in bytes.
const RESERVE: usize = 1 << 20;

/// What a file is called in its folder until it is whole. A crash may leave one; nobody reads it.
pub(super) const NEW: &str = "new.tmp";

/// Tells an operator what failed, on which file, and that the disk is full where that is why.
pub(super) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |error| {
        let why = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("the disk is full: {error}"),
            _ => error.to_string(),
        };
        JournalError::Io(format!("cannot {what} {}: {why}", path.display()))
    }
}

/// A file for our eyes only, empty.
pub(super) fn fresh(path: &Path) -> Result<File, JournalError> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed("create", path))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), JournalError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("make durable", path))
}

/// Makes a folder for our eyes only, and the folders above it, durably.
pub(super) fn make_folder(path: &Path) -> Result<(), JournalError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    };
    if above != path {
        make_folder(above)?;
    }
    DirBuilder::new().mode(0o700).create(path).map_err(failed("create", path))?;
    sync_folder(above)
}

/// Makes a new file durable under its final name, whole or not at all. It must not be there yet.
pub(super) fn place(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let new = path.with_file_name(NEW);
    let written = fresh(&new).and_then(|mut file| {
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
        fs::rename(&new, path).map_err(failed("name", path))
    });
    if written.is_err() {
        // On a full disk the half of it must not stay in the way of revocations.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The writer's lock, until it is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started has the file open until its own program begins.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Whether the file that others would lock is still the one that we hold: somebody may have tidied it away.
    pub fn holds(&self, state: &Path) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let (ours, theirs) = (self.0.metadata().map(identity), fs::metadata(state.join("lock")).map(identity));
        matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

/// Takes the writer's lock, or tells who has it.
pub(super) fn lock(state: &Path) -> Result<Arc<Lock>, JournalError> {
    let path = state.join("lock");
    let mut how = OpenOptions::new();
    let how = how.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = match how.open(&path) {
        // The lock holds all the same, and what is on record has ends that must come.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
        opened => opened,
    }
    .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let who = if pid.trim().is_empty() { "another process".into() } else { format!("process {}", pid.trim()) };
            return Err(JournalError::Locked(format!(
                "{who} writes the journal in {} and holds {}",
                state.display(),
                path.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    // For people only: the lock holds without it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Arc::new(Lock(file)))
}

/// Whether the reserve is there, made now if it was not.
pub(super) fn reserve(state: &Path) -> Result<(), JournalError> {
    let path = state.join("reserve");
    if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE as u64) {
        return Ok(());
    }
    // Neither a hole nor zeros: a file system that compresses would keep no blocks for those.
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    });
    place(&path, &noise.take(RESERVE / 8).flatten().collect::<Vec<_>>())
}

/// Gives the reserve's blocks back to the file system. Answers whether there were any.
pub(super) fn spend(state: &Path) -> bool {
    fs::remove_file(state.join("reserve")).is_ok()
}

/// Where bytes that were cut at line `seq` are kept for the `n`th time.
pub(super) fn kept(state: &Path, seq: u64, n: usize) -> PathBuf {
    state.join(format!("torn-{seq:020}-{n}.jsonl"))
}
