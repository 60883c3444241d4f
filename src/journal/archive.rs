//! What is moved out of the state folder, and what the state folder keeps to know of it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    disk::failed,
    folder::{Folder, Tidy},
    line::Head,
    pack::{Closed, KEPT, Rest, copy},
    read,
    shelf::{self, LARGEST, Opened},
};
use crate::model::JournalError;

/// What the state folder knows of its archive.
const LINK: &str = "archived.json";
/// What that is called until it is whole.
const NEW: &str = "archived.tmp";

/// The lines that were moved out: all from the first one on, up to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The last line that was moved out, a commit line.
    pub to: u64,
    /// Its hash, on which the first segment in the state folder goes on.
    pub hash: String,
    /// Without commit lines.
    pub lines: u64,
    pub segments: u64,
    /// When the first of them was written.
    pub since: Timestamp,
    /// When the line after them was written.
    pub until: Timestamp,
    /// Where the latest of them was moved to.
    pub folder: PathBuf,
}

/// What one call of [`archive`] did.
#[derive(Debug, Default)]
pub struct Moved {
    pub segments: u64,
    /// Without commit lines.
    pub lines: u64,
    /// What is archived by now, in all.
    pub archived: Option<Archived>,
    /// The folder held nothing of what had been archived before.
    pub elsewhere: bool,
}

impl Archived {
    pub fn head(&self) -> Head {
        Head { seq: self.to, hash: self.hash.clone() }
    }

    /// What a state folder knows of its archive; nothing if it has none.
    pub(super) fn read(state: &Path) -> Result<Option<Self>, JournalError> {
        let path = read::folder(state).join(LINK);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed("read", &path))?,
        };
        let wrong = |what: &str| JournalError::Corrupt(format!("{}, line 1: {what}", path.display()));
        let read: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(&format!("expected what grantd keeps of the archive: {error}")))?;
        if read.head().to_string().parse() != Ok(read.head()) || read.to > u64::MAX >> 2 {
            return Err(wrong("expected the number and the hash of a line"));
        }
        Ok(Some(read))
    }

    /// The archive has another line where the state folder goes on.
    pub(super) fn differs(&self, state: &Path, found: &Head) -> JournalError {
        let path = read::folder(state).join(LINK);
        JournalError::Corrupt(format!("{}, line 1: says {}, and the archive has {found}", path.display(), self.head()))
    }

    fn keep(&self, folder: &Folder) -> Result<(), JournalError> {
        let path = folder.path(NEW);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| JournalError::Io(format!("cannot write {}: {error}", path.display())))?;
        text.push(b'\n');
        let mut file = folder.create(NEW)?;
        let kept = file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed("write", &path));
        let kept = kept.and_then(|()| folder.name(NEW, &file, LINK));
        if kept.is_err() {
            let _ = folder.remove(NEW);
        }
        kept
    }
}

/// Moves segments out of a state folder, oldest first: each is read and proven, copied, the copy proven, the state folder told, and
/// only then does the segment go. What a start needs stays, and so does all of which a line was written at `before` or later. Needs no
/// lock of the writer's: the daemon may run.
///
/// # Errors
/// What was moved until then is moved; the rest stays, and calling it again goes on. So it is where `rest` breaks it off, which is
/// no error.
pub fn archive(
    state: &Path,
    to: &Path,
    before: Option<Timestamp>,
    rest: &mut Rest,
) -> (Moved, Result<(), JournalError>) {
    let mut moved = Moved::default();
    let done = work(state, to, before, rest, &mut moved);
    (moved, done)
}

fn work(
    state: &Path,
    to: &Path,
    before: Option<Timestamp>,
    rest: &mut Rest,
    moved: &mut Moved,
) -> Result<(), JournalError> {
    // Without a journal nothing is made there.
    read::segments(state)?;
    let _tidy = Tidy::hold(state, true)?;
    let folder = Folder::open(&read::folder(state))?;
    let into = Folder::open(to)?;
    if folder.is(&into) || Folder::open(state)?.is(&into) {
        let to = to.display();
        return Err(JournalError::Io(format!("{to} is of the state folder: name one outside, best on another disk")));
    }
    moved.archived = Archived::read(state)?;
    let held = shelf::list(to).map_err(failed("read the archive in", to))?;
    // What a start would go on with, by its own eyes.
    let latest = read::latest(state, &mut |_| ())?;
    let segments = read::segments(state)?;
    let behind = |archived: &Archived| segments.first().is_some_and(|(first, _)| *first > archived.to);
    moved.elsewhere = held.is_empty() && moved.archived.as_ref().is_some_and(behind);
    let live = segments.iter().position(|(_, path)| *path == latest.path).unwrap_or_default();
    for pair in segments.windows(2).take((live + 1).saturating_sub(KEPT)) {
        let [(first, path), (next, after)] = pair else { continue };
        let opened = Opened::new(path)?;
        let closed = Closed::between(*first, &opened, *next, &Opened::new(after)?)?;
        let (since, until) = (opened.opening(*first)?.1, Opened::new(after)?.opening(*next)?.1);
        if before.is_some_and(|before| until >= before) {
            break;
        }
        let known = moved.archived.clone();
        // An earlier call may have broken off before this one went.
        let again = known.as_ref().is_some_and(|known| *first <= known.to);
        let known_end = known.as_ref().map_or_else(Head::origin, Archived::head);
        if !again && known_end != closed.before {
            return Err(opened.gap(&known_end));
        }
        let Some(lines) = prove(&opened, &closed, &into, rest)? else { break };
        if !again {
            let (earlier, segments) = known.as_ref().map_or((0, 0), |known| (known.lines, known.segments));
            let archived = Archived {
                to: closed.end.seq,
                hash: closed.end.hash.clone(),
                lines: earlier + lines,
                segments: segments + 1,
                since: known.map_or(since, |known| known.since),
                until,
                folder: to.to_owned(),
            };
            archived.keep(&folder)?;
            moved.archived = Some(archived);
        }
        folder.remove(&shelf::name(*first))?;
        folder.remove(&shelf::packed(*first))?;
        folder.sync()?;
        moved.segments += 1;
        moved.lines += lines;
    }
    Ok(())
}

/// Sees to it that the archive has a segment, whole and durable. Answers how many records it has; nothing if it was broken off.
fn prove(opened: &Opened, closed: &Closed, into: &Folder, rest: &mut Rest) -> Result<Option<u64>, JournalError> {
    for (name, packed) in [(shelf::packed(closed.first), true), (shelf::name(closed.first), false)] {
        let Some(file) = into.read(&name)? else { continue };
        let there = Opened { path: into.path(&name), packed, archived: true, file };
        // An earlier call broke off, or somebody else archives there.
        let found = closed.follow(&there, rest, |_| Ok(())).map_err(|error| {
            JournalError::Archive(format!(
                "{error}\n  this file is not the segment that is to be moved there, and nothing is written over it: give every \
                 installation a folder of its own, and move a broken file away"
            ))
        })?;
        let durable = there.file.sync_all().map_err(failed("make durable", &there.path)).and_then(|()| into.sync());
        durable?;
        return Ok(found.map(|trace| trace.records));
    }
    let Some(read) = closed.follow(opened, rest, |_| Ok(()))? else { return Ok(None) };
    copy(opened, closed, into, read.largest <= LARGEST, rest)
}
