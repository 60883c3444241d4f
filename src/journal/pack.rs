//! Segments, compressed: written anew beside the old ones, proven, and only then named.

use std::{
    fs::File,
    io::{self, BufRead, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use rustix::fs::{Advice, fadvise};

use super::{
    disk::failed,
    folder::{Folder, Tidy},
    line::Head,
    read,
    shelf::{self, LARGEST, Opened},
    trace::Trace,
};
use crate::model::JournalError;

/// What a compressed segment is called until it is proven. A crash may leave one; nobody reads it.
const NEW: &str = "pack.tmp";
/// How much compressed data may wait for the disk: the writer's next line waits behind it.
const UNSYNCED: u64 = 1 << 20;
/// Room on the disk that is not ours to take: it is the writer's.
const SPARE: u64 = 16 << 20;
/// How many segments at the end stay as they are: the one that is written, and the one before it, whose last line a start reads.
pub(super) const KEPT: usize = 2;

/// Asked after each bit of work, of some ten milliseconds: may rest, and answers whether to go on.
pub type Rest<'a> = dyn FnMut() -> bool + 'a;

/// A segment that others follow, by its place in the chain.
pub(super) struct Closed {
    pub first: u64,
    /// The line before it.
    pub before: Head,
    /// Its last line, as the next segment has it.
    pub end: Head,
}

/// Compresses the closed segments of a state folder, all but the last of them, one after the other. `rest` is asked after each bit of
/// work. Answers how many there were; told to break off, it leaves everything as it was.
///
/// It needs no lock of the writer's and disturbs no reader: a segment's old form goes when the new one is durable and says the same.
///
/// # Errors
/// A segment that is not whole is left alone, and the others are compressed all the same; a disk that takes no more ends it.
pub fn pack(state: &Path, rest: &mut Rest) -> Result<u64, JournalError> {
    let (mut tried, mut count, mut wrong) = (0, 0, None);
    loop {
        let due = due(state, tried)?;
        if due.is_none() && !(tried == 0 && read::folder(state).join(NEW).exists()) {
            break;
        }
        // Held for one segment at a time. Who has it is at the same work, or moves them out.
        let Some(_tidy) = Tidy::hold(state, false)? else { break };
        let folder = Folder::open(&read::folder(state))?;
        folder.remove(NEW)?;
        let Some(first) = due else { break };
        tried = first;
        match replace(state, first, &folder, rest) {
            Ok(true) => count += 1,
            Ok(false) => break,
            Err(error @ JournalError::Io(_)) => return Err(error),
            Err(error) => drop(wrong.get_or_insert(error)),
        }
    }
    wrong.map_or(Ok(count), Err)
}

/// The first segment after `tried` that is to be compressed.
fn due(state: &Path, tried: u64) -> Result<Option<u64>, JournalError> {
    let segments = read::segments(state)?;
    let closed = segments.get(..segments.len().saturating_sub(KEPT)).unwrap_or_default();
    Ok(closed.iter().find(|(first, path)| *first > tried && !is_packed(path)).map(|(first, _)| *first))
}

/// Puts the compressed form of a segment in its place. Answers whether it did.
fn replace(state: &Path, first: u64, folder: &Folder, rest: &mut Rest) -> Result<bool, JournalError> {
    let name = shelf::name(first);
    let segments = read::segments(state)?;
    let mut pairs =
        segments.windows(2).filter_map(|pair| if let [one, next] = pair { Some((one, next)) } else { None });
    let Some(((_, path), (next, after))) = pairs.find(|((found, _), _)| *found == first) else { return Ok(false) };
    let opened = Opened::new(path)?;
    let closed = Closed::between(first, &opened, *next, &Opened::new(after)?)?;
    // What is there under that name by now may be another one.
    let done = copy(&opened, &closed, folder, true, rest)?.is_some() && folder.holds(&name, &opened.file);
    if done {
        folder.remove(&name)?;
        folder.sync()?;
    }
    Ok(done)
}

pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

impl Closed {
    pub fn between(first: u64, opened: &Opened, next: u64, after: &Opened) -> Result<Self, JournalError> {
        Ok(Self { first, before: opened.opening(first)?.0, end: after.opening(next)?.0 })
    }

    /// Follows the chain through a segment, and says whether it is this one, whole. Answers what it came to; nothing if it was
    /// to break off.
    pub fn follow(
        &self,
        opened: &Opened,
        rest: &mut Rest,
        mut each: impl FnMut(&[u8]) -> Result<(), JournalError>,
    ) -> Result<Option<Trace>, JournalError> {
        let mut bytes = opened.bytes()?;
        let mut trace = Trace::after(self.before.clone());
        loop {
            let line = trace.next() - self.before.seq;
            let part = bytes.fill_buf().map_err(|error| opened.unread(line, error))?;
            if part.is_empty() {
                break;
            }
            let read = trace.feed(part);
            read.map_err(|what| opened.damaged(trace.next() - self.before.seq, &what))?;
            if opened.packed && trace.size > LARGEST {
                return Err(opened.too_large(line));
            }
            each(part)?;
            let taken = part.len();
            bytes.consume(taken);
            if !rest() {
                return Ok(None);
            }
        }
        if trace.end() != Some(&self.end) {
            let what = format!("expected {} as its last line, as the next segment has it", self.end);
            return Err(opened.damaged(trace.next() - self.before.seq, &what));
        }
        Ok(Some(trace))
    }
}

/// Copies a segment into a folder, `packed` or not, and proves the copy before it gets its name there. Answers how many records it
/// has; nothing if it was to break off. Whatever goes wrong, nothing is left behind.
pub(super) fn copy(
    opened: &Opened,
    closed: &Closed,
    into: &Folder,
    packed: bool,
    rest: &mut Rest,
) -> Result<Option<u64>, JournalError> {
    let name = if packed { shelf::packed(closed.first) } else { shelf::name(closed.first) };
    let length = opened.file.metadata().map_err(failed("read", &opened.path))?.len();
    if into.room() < length.saturating_add(SPARE) {
        let path = into.path(&name);
        return Err(JournalError::Io(format!("cannot write {}: the disk is nearly full", path.display())));
    }
    let copied = write(opened, closed, into, packed, rest).and_then(|copied| {
        let Some((file, records)) = copied else { return Ok(None) };
        into.name(NEW, &file, &name)?;
        Ok(Some(records))
    });
    if !matches!(copied, Ok(Some(_))) {
        // On a full disk the half of it must not stay in the writer's way.
        let _ = into.remove(NEW);
    }
    copied
}

/// The file that is to be named, durable and proven.
fn write(
    opened: &Opened,
    closed: &Closed,
    into: &Folder,
    packed: bool,
    rest: &mut Rest,
) -> Result<Option<(File, u64)>, JournalError> {
    let new = into.path(NEW);
    let file = into.create(NEW)?;
    let mut out =
        if packed { Out::Packed(Box::new(GzEncoder::new(file, Compression::default()))) } else { Out::Plain(file) };
    let mut synced = 0;
    let read = closed.follow(opened, rest, |part| {
        out.write(part).map_err(failed("write", &new))?;
        let written = out.file().metadata().map_or(0, |about| about.len());
        if written >= synced + UNSYNCED {
            out.file().sync_data().map_err(failed("write", &new))?;
            synced = written;
        }
        Ok(())
    })?;
    let Some(read) = read else { return Ok(None) };
    if packed && read.largest > LARGEST {
        return Err(opened.too_large(1));
    }
    let file = out.finish().and_then(|file| file.sync_all().map(|()| file)).map_err(failed("write", &new))?;
    // What is read back is to come from the disk, where the system goes along with that.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let copy = Opened { path: new, packed, archived: true, file };
    let Some(proof) = closed.follow(&copy, rest, |_| Ok(()))? else { return Ok(None) };
    if proof.length != read.length {
        return Err(copy.damaged(1, "it does not read back as it was written"));
    }
    Ok(Some((copy.file, read.records)))
}

/// What a copy is written to.
enum Out {
    Packed(Box<GzEncoder<File>>),
    Plain(File),
}

impl Out {
    fn file(&self) -> &File {
        match self {
            Self::Packed(gz) => gz.get_ref(),
            Self::Plain(file) => file,
        }
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        match self {
            Self::Packed(gz) => gz.write_all(part),
            Self::Plain(file) => file.write_all(part),
        }
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Self::Packed(gz) => gz.finish(),
            Self::Plain(file) => Ok(file),
        }
    }
}
