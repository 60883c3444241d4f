//! Reading without the lock: what a reader sees is whole batches, as far as they were written when it looked.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    chain::{Segment, walk},
    disk::failed,
    line::{Head, hex},
};
use crate::model::{JournalError, Line};

/// What the whole chain comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Without commit lines.
    pub lines: u64,
    pub batches: u64,
    pub segments: u64,
    /// The last commit line.
    pub head: Head,
    /// Bytes of an unfinished batch at the end: it is being written, or a crash left it.
    pub tail: u64,
}

/// The lines from the last checkpoint on. Takes no lock and changes nothing.
pub fn read(state: &Path) -> Result<Vec<Line>, JournalError> {
    // A writer that starts may cut a torn tail under our eyes: look twice before calling that damage.
    let look = || {
        let mut lines = Vec::new();
        latest(state, &mut |line| lines.push(line)).map(|_| lines)
    };
    look().or_else(|_| look())
}

/// Gives every line since the beginning to `each`, in order. Takes no lock and changes nothing.
pub fn scan<E: From<JournalError>>(state: &Path, each: impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
    verify(state, None, each).map(drop)
}

/// Checks the whole chain, gives every line to `each`, and compares it with a place that was noted outside. The caller
/// who folds the lines can hold each checkpoint against its fold. Takes no lock and changes nothing.
pub fn verify<E: From<JournalError>>(
    state: &Path,
    outside: Option<&Head>,
    mut each: impl FnMut(Line) -> Result<(), E>,
) -> Result<Verdict, E> {
    let segments = segments(state)?;
    let mut verdict = Verdict { lines: 0, batches: 0, segments: segments.len() as u64, head: Head::origin(), tail: 0 };
    let mut found = None;
    for (first, path) in &segments {
        if verdict.tail > 0 || *first != verdict.head.seq + 1 {
            return Err(gap(path, &verdict.head).into());
        }
        let segment = walk(path, verdict.head.clone(), |head, line| -> Result<(), E> {
            if outside.is_some_and(|outside| outside.seq == head.seq) {
                found = Some(head);
            }
            line.map_or(Ok(()), |line| {
                verdict.lines += 1;
                each(line)
            })
        })?;
        verdict.batches += segment.batches;
        verdict.head = segment.head;
        verdict.tail = segment.tail;
    }
    if verdict.batches == 0 {
        return Err(unborn(state).into());
    }
    let state = state.display();
    match (outside, found) {
        (Some(outside), None) => Err(JournalError::Corrupt(format!(
            "the journal in {state} is older than the checkpoint outside: it ends at line {}, that is at line {}",
            verdict.head.seq, outside.seq
        ))
        .into()),
        (Some(outside), Some(found)) if *outside != found => Err(JournalError::Corrupt(format!(
            "the journal in {state} differs from the checkpoint outside: expected {outside}, found {found}"
        ))
        .into()),
        _ => Ok(verdict),
    }
}

/// The segment that a writer goes on with.
pub(super) struct Latest {
    pub path: PathBuf,
    pub segment: Segment,
    /// A later segment without one complete batch: a crash interrupted its making.
    pub stillborn: Option<PathBuf>,
}

/// Reads the last segment that holds a complete batch; `each` gets its lines.
pub(super) fn latest(state: &Path, each: &mut dyn FnMut(Line)) -> Result<Latest, JournalError> {
    let mut segments = segments(state)?;
    let mut stillborn = None;
    while let Some((first, path)) = segments.pop() {
        let before = match segments.last() {
            None if first == 1 => Head::origin(),
            None => return Err(gap(&path, &Head::origin())),
            Some((_, before)) => last_line(before, first - 1)?,
        };
        let segment = walk(&path, before, |_, line| {
            line.into_iter().for_each(&mut *each);
            Ok::<_, JournalError>(())
        })?;
        if segment.batches > 0 {
            return Ok(Latest { path, segment, stillborn });
        }
        if stillborn.replace(path).is_some() {
            break;
        }
    }
    Err(unborn(state))
}

fn unborn(state: &Path) -> JournalError {
    JournalError::Corrupt(format!(
        "the journal in {} does not begin with a complete batch, though it was made with one",
        state.display()
    ))
}

fn gap(path: &Path, head: &Head) -> JournalError {
    JournalError::Corrupt(format!(
        "{}, line 1: expected the line before it, the segments before it end with line {}",
        path.display(),
        head.seq
    ))
}

/// Whether the chain goes through a place where it ended before.
pub(super) fn goes_through(state: &Path, head: &Head) -> Result<bool, JournalError> {
    let segments = segments(state)?;
    let Some(place) = segments.iter().rposition(|(first, _)| *first <= head.seq) else { return Ok(false) };
    let Some((first, path)) = segments.get(place) else { return Ok(false) };
    let before = match place.checked_sub(1).and_then(|before| segments.get(before)) {
        Some((_, before)) => last_line(before, first - 1)?,
        None => Head::origin(),
    };
    let mut found = false;
    walk(path, before, |at, _| {
        found |= at == *head;
        Ok::<_, JournalError>(())
    })?;
    Ok(found)
}

/// The last line of a segment that another one follows, which must be line `seq`.
fn last_line(path: &Path, seq: u64) -> Result<Head, JournalError> {
    // Longer than any commit line.
    const LONGEST: u64 = 512;
    let mut end = Vec::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
        file.read_to_end(&mut end)
    };
    read().map_err(failed("read", path))?;
    let line = end.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default();
    let said: Value = serde_json::from_slice(line).unwrap_or_default();
    let commits = said.get("commit").is_some_and(Value::is_object);
    if !commits || said.get("seq").and_then(Value::as_u64) != Some(seq) || !line.ends_with(b"\n") {
        return Err(JournalError::Corrupt(format!(
            "{}, last line: expected the commit line {seq}, because the next segment begins with line {}",
            path.display(),
            seq + 1
        )));
    }
    Ok(Head { seq, hash: hex(&Sha256::digest(line)) })
}

/// The folder of segments.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join("journal")
}

/// The segment whose first line is `first`.
pub(super) fn segment(state: &Path, first: u64) -> PathBuf {
    folder(state).join(format!("{first:020}.jsonl"))
}

/// The first line's number and the path of each segment, in order. Without one: [`JournalError::None`].
pub(super) fn segments(state: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let folder = folder(state);
    let none = || JournalError::None(state.display().to_string());
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(none()),
        entries => entries.map_err(failed("read", &folder))?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("read", &folder))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let first = stem.filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok());
        segments.extend(first.map(|first| (first, folder.join(&name))));
    }
    segments.sort();
    if segments.is_empty() { Err(none()) } else { Ok(segments) }
}
