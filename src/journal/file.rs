//! The embedded backend: a folder of segments, written by one process.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    archive::Archived,
    chain::{Batch, Segment},
    disk::{self, Lock, failed},
    line::Head,
    read::{self, Latest},
};
use crate::model::{Journal, JournalError, Ledger, Line, Record};

/// The journal as a folder of segments in the state folder, with the lock that keeps a second writer out.
pub struct FileJournal {
    state: PathBuf,
    /// Dropping it lets another writer in.
    lock: Arc<Lock>,
    path: PathBuf,
    pub(super) file: File,
    /// Device and inode of the segment: a folder that was put in its place is not ours.
    identity: (u64, u64),
    segment: Segment,
    /// The time of the last call, for what [`Journal::reopen`] has to record.
    at: Timestamp,
    spoilt: Option<Spoilt>,
}

/// Why nothing may be appended.
struct Spoilt {
    why: String,
    /// We wrote, and do not know how much of it is durable.
    wrote: bool,
}

impl FileJournal {
    /// Begins a journal with its first batch, which is there whole or not at all. Makes the state folder if need be.
    pub fn create(state: &Path, at: Timestamp, records: Vec<Record>) -> Result<(Self, Vec<Line>), JournalError> {
        if records.is_empty() {
            return Err(JournalError::Io("a journal begins with at least one record".into()));
        }
        disk::make_folder(state)?;
        let lock = disk::lock(state)?;
        match read::segments(state) {
            Err(JournalError::None(_)) if Archived::read(state)?.is_none() => {}
            // All that is left of one says what was archived of it.
            Err(JournalError::None(_)) => return Err(JournalError::Exists(state.display().to_string())),
            Err(error) => return Err(error),
            Ok(_) => return Err(JournalError::Exists(state.display().to_string())),
        }
        disk::reserve(state)?;
        let folder = read::folder(state);
        disk::make_folder(&folder)?;
        disk::place(
            &read::segment(state, 1),
            &Batch::new(&Head::origin(), records.into_iter().map(|record| (at, record)).collect())?.bytes,
        )?;
        disk::sync_folder(&folder)?;
        disk::sync_folder(state)?;
        let mut lines = Vec::new();
        let latest = read::latest(state, &mut |line| lines.push(line))?;
        let journal = Self::hold(state.into(), lock, at, latest)?;
        Ok((journal, lines))
    }

    /// Takes the lock, checks the last segment and answers its lines: all since the last checkpoint, that included.
    /// Cuts and records a torn tail; `at` is the time of that record.
    pub fn open(state: &Path, at: Timestamp) -> Result<(Self, Vec<Line>), JournalError> {
        let mut lines = Vec::new();
        let journal = Self::open_with(state, at, &mut |line| lines.push(line))?;
        Ok((journal, lines))
    }

    /// The same, and gives the lines to `each` as they are read: together they take more memory than what they come to.
    ///
    /// A file system that cannot be written is no error here: what was read has ends that must come. Then nothing can be
    /// appended before [`Journal::reopen`].
    pub fn open_with(state: &Path, at: Timestamp, each: &mut dyn FnMut(Line)) -> Result<Self, JournalError> {
        read::segments(state)?;
        let lock = disk::lock(state)?;
        let latest = read::latest(state, each)?;
        let mut stillborn = latest.stillborn.clone();
        let mut journal = Self::hold(state.into(), lock, at, latest)?;
        let mut ready = journal.ready(stillborn.as_deref());
        // A full disk may have torn the tail: putting that aside takes space, too.
        if matches!(ready, Err(JournalError::Io(_))) && disk::spend(state) {
            let again = read::latest(state, &mut |_| ())?;
            stillborn.clone_from(&again.stillborn);
            journal = Self::hold(journal.state, journal.lock, at, again)?;
            ready = journal.ready(stillborn.as_deref());
        }
        match ready {
            Ok(cuts) => {
                cuts.into_iter().for_each(each);
                journal.refill_reserve();
            }
            Err(JournalError::Io(why)) if journal.spoilt.is_none() => {
                journal.spoilt = Some(Spoilt { why, wrote: false });
            }
            Err(JournalError::Io(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(journal)
    }

    /// Frees 1 MiB, so that revocations can be recorded on a full disk. Answers whether there was a reserve.
    pub fn release_reserve(&mut self) -> bool {
        disk::spend(&self.state)
    }

    /// Makes the reserve again. Answers whether it is there; a full disk is no error here.
    pub fn refill_reserve(&mut self) -> bool {
        disk::reserve(&self.state).is_ok()
    }

    /// At the segment that was read, as it lies there: nothing is written.
    fn hold(
        state: PathBuf,
        lock: Arc<Lock>,
        at: Timestamp,
        Latest { path, segment, stillborn: _ }: Latest,
    ) -> Result<Self, JournalError> {
        let (file, found) = attach(&path)?;
        let identity = identity(&found);
        Ok(Self { state, lock, path, file, identity, segment, at, spoilt: None })
    }

    /// Makes durable what was read, puts aside what an interrupted write left, and answers the lines that say so.
    fn ready(&mut self, stillborn: Option<&Path>) -> Result<Vec<Line>, JournalError> {
        // For what follows it must be open to be written.
        OpenOptions::new().append(true).open(&self.path).map_err(failed("open", &self.path))?;
        let folder = read::folder(&self.state);
        let _ = fs::remove_file(folder.join(disk::NEW));
        // A writer that was killed may have left lines in the cache only.
        self.file.sync_all().map_err(failed("make durable", &self.path))?;
        disk::sync_folder(&folder)?;
        let records = self.clean(stillborn)?;
        // The files beside the journal still say it, and the next time it is recorded from them.
        self.append(self.at, records).inspect_err(|_| drop(self.retract()))
    }

    /// Puts aside what an interrupted write left, and answers the records that say so.
    fn clean(&mut self, stillborn: Option<&Path>) -> Result<Vec<Record>, JournalError> {
        let seq = self.segment.head.seq + 1;
        let mut files: Vec<_> =
            (1..).map(|n| disk::kept(&self.state, seq, n)).take_while(|path| path.exists()).collect();
        if self.segment.tail > 0 || stillborn.is_some() {
            let kept = disk::kept(&self.state, seq, files.len() + 1);
            match stillborn {
                Some(path) => fs::rename(path, &kept).map_err(failed("put aside", path))?,
                None => self.keep(&kept)?,
            }
            disk::sync_folder(&self.state)?;
            disk::sync_folder(&read::folder(&self.state))?;
            if self.segment.tail > 0 {
                self.truncate()?;
            }
            files.push(kept);
        }
        // A crash may have come between an earlier cut and its record: then what was kept at this same line is not on
        // the record yet, because nothing was appended since.
        let cut = |path: PathBuf| {
            let found = fs::metadata(&path).map_err(failed("read", &path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok(Record::Cut { bytes: found.len(), kept: name.as_ref().into() })
        };
        files.into_iter().map(cut).collect()
    }

    /// Copies what follows the complete batches.
    fn keep(&mut self, kept: &Path) -> Result<(), JournalError> {
        let mut torn = Vec::new();
        let read = self.file.seek(SeekFrom::Start(self.segment.length)).and_then(|_| self.file.read_to_end(&mut torn));
        read.map_err(failed("read", &self.path))?;
        disk::place(kept, &torn)
    }

    /// Takes everything after the complete batches off the segment.
    fn truncate(&mut self) -> Result<(), JournalError> {
        let cut = self.file.set_len(self.segment.length).and_then(|()| self.file.sync_all());
        cut.map_err(failed("cut", &self.path))?;
        self.segment.tail = 0;
        Ok(())
    }

    /// Takes a batch back that was written and not acknowledged, so that the caller knows where he stands: after a
    /// failed fsync the cache may show a batch that the disk has not got.
    fn retract(&mut self) -> Result<(), JournalError> {
        if !self.spoilt.as_ref().is_some_and(|spoilt| spoilt.wrote) {
            return Ok(());
        }
        let (file, found) = attach(&self.path)?;
        self.file = file;
        let ours = identity(&found) == self.identity && found.len() > self.segment.length;
        if ours { self.truncate() } else { Ok(()) }
    }

    /// Whether the journal still ends where we left it.
    fn unmoved(&self) -> Result<(), JournalError> {
        let found = fs::metadata(&self.path).map_err(failed("read", &self.path))?;
        let next = read::segment(&self.state, self.segment.head.seq + 1);
        if !self.lock.holds(&self.state) {
            let lock = self.state.join("lock");
            Err(JournalError::Moved(format!(
                "{} is not the one that this process locked: leave it alone",
                lock.display()
            )))
        } else if identity(&found) != self.identity {
            Err(JournalError::Moved(format!("{} was replaced since this process opened it", self.path.display())))
        } else if found.len() != self.segment.length {
            Err(JournalError::Moved(format!(
                "{} has {} bytes, this process left it with {}: somebody else wrote it",
                self.path.display(),
                found.len(),
                self.segment.length
            )))
        } else if next.exists() {
            Err(JournalError::Moved(format!("{} was begun by somebody else", next.display())))
        } else {
            Ok(())
        }
    }

    fn usable(&self) -> Result<(), JournalError> {
        let Some(Spoilt { why, .. }) = &self.spoilt else { return Ok(()) };
        Err(JournalError::Io(format!("the journal must be read again before it takes more, because of this: {why}")))
    }

    /// Keeps everything out until [`Journal::reopen`].
    fn spoil<T>(&mut self, wrote: bool, done: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(error) = &done {
            self.spoilt = Some(Spoilt { why: error.to_string(), wrote });
        }
        done
    }
}

impl Journal for FileJournal {
    fn write(&mut self, records: Vec<(Timestamp, Record)>) -> Result<Vec<Line>, JournalError> {
        self.usable()?;
        let Some((at, _)) = records.last() else { return Ok(Vec::new()) };
        self.at = *at;
        let unmoved = self.unmoved();
        self.spoil(false, unmoved)?;
        let Batch { bytes, lines, head } = Batch::new(&self.segment.head, records)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        self.spoil(true, written.map_err(failed("write", &self.path)))?;
        self.segment.head = head;
        self.segment.lines += lines.len() as u64 + 1;
        self.segment.batches += 1;
        self.segment.length += bytes.len() as u64;
        Ok(lines)
    }

    fn next(&self) -> u64 {
        self.segment.head.seq + 1
    }

    fn reserve(&mut self, keep: bool) -> bool {
        if keep {
            return self.refill_reserve();
        }
        self.release_reserve();
        false
    }

    fn full(&self) -> bool {
        self.segment.full()
    }

    fn checkpoint(&mut self, at: Timestamp, ledger: &Ledger) -> Result<(), JournalError> {
        self.usable()?;
        self.at = at;
        let unmoved = self.unmoved();
        self.spoil(false, unmoved)?;
        let before = &self.segment.head;
        let path = read::segment(&self.state, before.seq + 1);
        let batch = Batch::new(before, vec![(at, Record::Checkpoint { ledger: Box::new(ledger.clone()) })])?;
        // Until it has its name the new segment is nothing to anybody: on a failure the old one simply goes on.
        disk::place(&path, &batch.bytes)?;
        let placed = disk::sync_folder(&read::folder(&self.state)).and_then(|()| attach(&path));
        let (file, found) = self.spoil(false, placed)?;
        (self.file, self.identity) = (file, identity(&found));
        self.path = path;
        let length = batch.bytes.len() as u64;
        self.segment = Segment { head: batch.head, lines: 2, batches: 1, length, first: length, tail: 0 };
        Ok(())
    }

    fn reopen(&mut self) -> Result<Vec<Line>, JournalError> {
        let retracted = self.retract();
        self.spoil(true, retracted)?;
        if !self.lock.holds(&self.state) {
            // Another writer may have taken the new one: then this one writes no more.
            let lock = disk::lock(&self.state);
            self.lock = self.spoil(false, lock)?;
        }
        // An older copy, put in its place: what was recorded since is owed all the same.
        let ours = read::goes_through(&self.state, &self.segment.head);
        if !self.spoil(false, ours)? {
            let (state, seq) = (self.state.display(), self.segment.head.seq);
            let why = format!(
                "the journal in {state} is another one than this process wrote: it does not hold line {seq} as it was written; \
                 put that one back"
            );
            return self.spoil(false, Err(JournalError::Moved(why)));
        }
        let mut lines = Vec::new();
        let again = read::latest(&self.state, &mut |line| lines.push(line)).and_then(|latest| {
            let stillborn = latest.stillborn.clone();
            let mut again = Self::hold(self.state.clone(), self.lock.clone(), self.at, latest)?;
            let cuts = again.ready(stillborn.as_deref())?;
            Ok((again, cuts))
        });
        let (again, cuts) = self.spoil(false, again)?;
        *self = again;
        lines.extend(cuts);
        Ok(lines)
    }
}

/// Opens a segment for writing at its end; for reading on a file system that takes nothing, so that a write fails.
fn attach(path: &Path) -> Result<(File, Metadata), JournalError> {
    let open = || {
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => File::open(path)?,
            opened => opened?,
        };
        let found = file.metadata()?;
        Ok((file, found))
    };
    open().map_err(failed("open", path))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
