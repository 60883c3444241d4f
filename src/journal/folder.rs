//! A folder held open: whatever is put in its place meanwhile, names are made and taken away in this one only.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, statat, unlinkat};

use super::disk::failed;
use crate::model::JournalError;

pub(super) struct Folder {
    file: File,
    path: PathBuf,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let open = || {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() { Ok(file) } else { Err(io::ErrorKind::NotADirectory.into()) }
        };
        Ok(Self { file: open().map_err(failed("open the folder", path))?, path: path.to_owned() })
    }

    /// For what is said about a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn is(&self, other: &Self) -> bool {
        let id = |folder: &Self| folder.file.metadata().map(|found| (found.dev(), found.ino())).ok();
        id(self).is_some() && id(self) == id(other)
    }

    /// An empty file for our eyes only; what had this name is gone.
    pub fn create(&self, name: &str) -> Result<File, JournalError> {
        let _ = self.remove(name);
        let how = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = openat(&self.file, name, how, Mode::RUSR | Mode::WUSR);
        Ok(made.map_err(io::Error::from).map_err(failed("create", &self.path(name)))?.into())
    }

    /// To be read; none if there is none.
    pub fn read(&self, name: &str) -> Result<Option<File>, JournalError> {
        match openat(&self.file, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("open", &self.path(name))(error.into())),
        }
    }

    /// Whether a name still is this very file.
    pub fn holds(&self, name: &str, file: &File) -> bool {
        match (statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW), file.metadata()) {
            (Ok(there), Ok(ours)) => there.st_dev == ours.dev() && there.st_ino == ours.ino(),
            _ => false,
        }
    }

    /// Gives a file that was made here, and is durable, its name, durably.
    pub fn name(&self, made: &str, file: &File, name: &str) -> Result<(), JournalError> {
        let taken = || JournalError::Io(format!("somebody took {} away", self.path(made).display()));
        if !self.holds(made, file) {
            return Err(taken());
        }
        let named = renameat(&self.file, made, &self.file, name).map_err(io::Error::from);
        named.map_err(failed("name", &self.path(name)))?;
        // Two at once in one folder: what got the name must be what was proven.
        if self.holds(name, file) { self.sync() } else { Err(taken()) }
    }

    /// Takes a name away, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), JournalError> {
        match unlinkat(&self.file, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path(name))(error.into())),
        }
    }

    /// Makes the names durable.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_all().map_err(failed("make durable", &self.path))
    }

    /// How many bytes may still be written; unknown is enough.
    pub fn room(&self) -> u64 {
        rustix::fs::fstatvfs(&self.file).map_or(u64::MAX, |about| about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// Held by whoever compresses or archives closed segments: one at a time, beside the writer.
pub(super) struct Tidy(File);

impl Tidy {
    /// `wait` for whoever has it; else none if somebody has.
    pub fn hold(state: &Path, wait: bool) -> Result<Option<Self>, JournalError> {
        let path = state.join("tidy");
        let mut how = fs::OpenOptions::new();
        let file =
            how.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed("open", &path))?;
        let held = if wait {
            file.lock()
        } else {
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => Err(error),
                Ok(()) => Ok(()),
            }
        };
        held.map_err(failed("lock", &path))?;
        Ok(Some(Self(file)))
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        // As with the writer's lock: a child that is being started has the file open for a moment.
        let _ = self.0.unlock();
    }
}
