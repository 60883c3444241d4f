//! Reading without the lock: what a reader sees is whole batches, as far as they were written when it looked.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use super::{
    archive::Archived,
    chain::{Segment, walk},
    disk::failed,
    line::Head,
    shelf::{self, Opened},
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
    /// What was moved to an archive, whether that was looked at or not.
    pub archived: Option<Archived>,
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

/// Gives every line to `each`, in order: since the beginning, or since what is archived unless that is given, too. Takes no lock and
/// changes nothing.
pub fn scan<E: From<JournalError>>(
    state: &Path,
    archive: Option<&Path>,
    each: impl FnMut(Line) -> Result<(), E>,
) -> Result<Verdict, E> {
    verify(state, archive, None, each)
}

/// Checks the whole chain, gives every line to `each`, and compares it with a place that was noted outside. The caller
/// who folds the lines can hold each checkpoint against its fold. What is archived is checked if its folder is given; else the
/// chain begins with the last line there, as the state folder has it. Takes no lock and changes nothing.
pub fn verify<E: From<JournalError>>(
    state: &Path,
    archive: Option<&Path>,
    outside: Option<&Head>,
    mut each: impl FnMut(Line) -> Result<(), E>,
) -> Result<Verdict, E> {
    let (segments, archived) = everything(state, archive)?;
    let mut head = match &archived {
        Some(archived) if archive.is_none() => archived.head(),
        _ => Head::origin(),
    };
    let mut found = outside.filter(|outside| head.seq > 0 && outside.seq == head.seq).map(|_| head.clone());
    let mut verdict = Verdict {
        lines: 0,
        batches: 0,
        segments: segments.len() as u64,
        head: Head::origin(),
        tail: 0,
        archived: None,
    };
    for (first, opened) in &segments {
        if verdict.tail > 0 || *first != head.seq + 1 {
            let lacks = archive.filter(|_| archived.as_ref().is_some_and(|archived| *first <= archived.to + 1));
            return Err(lacks
                .map_or_else(|| opened.gap(&head), |archive| lacking(archive, head.seq + 1, *first))
                .into());
        }
        let segment = walk(opened, head, |head, line| -> Result<(), E> {
            if let Some(archived) =
                archived.as_ref().filter(|archived| archived.to == head.seq && archived.head() != head)
            {
                return Err(archived.differs(state, &head).into());
            }
            if outside.is_some_and(|outside| outside.seq == head.seq) {
                found = Some(head);
            }
            line.map_or(Ok(()), |line| {
                verdict.lines += 1;
                each(line)
            })
        })?;
        verdict.batches += segment.batches;
        verdict.tail = segment.tail;
        head = segment.head;
    }
    if verdict.batches == 0 {
        return Err(unborn(state).into());
    }
    verdict.head = head;
    if let Some(archived) = archived.as_ref().filter(|archived| archived.to > verdict.head.seq) {
        return Err(archived.differs(state, &verdict.head).into());
    }
    let state = state.display();
    match (outside, found) {
        (Some(outside), None) if outside.seq < verdict.head.seq => Err(JournalError::Archive(format!(
            "line {} is archived and was not looked at: `--archive DIR` compares it",
            outside.seq
        ))
        .into()),
        (Some(outside), None) => Err(JournalError::Outside(format!(
            "the journal in {state} is older than the checkpoint outside: it ends at line {}, that is at line {}",
            verdict.head.seq, outside.seq
        ))
        .into()),
        (Some(outside), Some(found)) if *outside != found => Err(JournalError::Outside(format!(
            "the journal in {state} differs from the checkpoint outside: expected {outside}, found {found}"
        ))
        .into()),
        _ => Ok(Verdict { archived, ..verdict }),
    }
}

/// How often segments are looked for that have other names by the time when they are opened.
const LOOKS: usize = 20;

/// What there is to read, open, and what is archived.
fn everything(state: &Path, archive: Option<&Path>) -> Result<(BTreeMap<u64, Opened>, Option<Archived>), JournalError> {
    let open = || -> Result<BTreeMap<_, _>, JournalError> {
        segments(state)?.into_iter().map(|(first, path)| Ok((first, Opened::new(&path)?))).collect()
    };
    // What is compressed or archived under our eyes has another name when it is opened; what is open can be read to its end.
    let mut opened = (0..LOOKS).find_map(|_| open().ok()).map_or_else(open, Ok)?;
    // Only now: what was taken away before we looked is in it.
    let archived = Archived::read(state)?;
    match (archive, &archived) {
        (Some(_), None) if opened.keys().next().is_some_and(|first| *first > 1) => {
            // It lacks what comes before, and does not know that it was moved: a start would say so, too.
            let (_, opened) = opened.pop_first().ok_or_else(|| unborn(state))?;
            return Err(opened.gap(&Head::origin()));
        }
        (Some(archive), _) => {
            for (first, path) in shelf::list(archive).map_err(failed("read the archive in", archive))? {
                if let Entry::Vacant(place) = opened.entry(first) {
                    place.insert(Opened { archived: true, ..Opened::new(&path)? });
                }
            }
            if let Some(first) = opened.keys().next().filter(|first| **first > 1) {
                return Err(lacking(archive, 1, *first));
            }
        }
        // An archiving that broke off may have left what it had moved.
        (None, Some(archived)) => opened.retain(|first, _| *first > archived.to),
        (None, None) => {}
    }
    Ok((opened, archived))
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
        let opened = Opened::new(&path)?;
        if opened.packed {
            return Err(opened.damaged(
                1,
                "nothing follows this segment, and grantd compresses only what two others follow: a later one is missing, \
                 or somebody else compressed it (then `gunzip` it)",
            ));
        }
        let before = before(state, &segments, first, &opened)?;
        let segment = walk(&opened, before, |_, line| {
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

/// The line before a segment: the last one of the segment before it, the last of `segments`, or of what is archived.
fn before(state: &Path, segments: &[(u64, PathBuf)], first: u64, opened: &Opened) -> Result<Head, JournalError> {
    match segments.last() {
        Some((_, before)) => Opened::new(before)?.last_line(first - 1),
        None if first == 1 => Ok(Head::origin()),
        None => match Archived::read(state)? {
            Some(archived) if archived.to == first - 1 => Ok(archived.head()),
            _ => Err(opened.gap(&Head::origin())),
        },
    }
}

/// Not all of what was archived is in one folder.
fn lacking(archive: &Path, from: u64, next: u64) -> JournalError {
    let (archive, to) = (archive.display(), next - 1);
    JournalError::Archive(format!(
        "the archive in {archive} lacks lines {from} to {to}: bring all that was archived into one folder"
    ))
}

fn unborn(state: &Path) -> JournalError {
    JournalError::Corrupt(format!(
        "the journal in {} does not begin with a complete batch, though it was made with one",
        state.display()
    ))
}

/// Whether the chain goes through a place where it ended before.
pub(super) fn goes_through(state: &Path, head: &Head) -> Result<bool, JournalError> {
    let segments = segments(state)?;
    let Some(place) = segments.iter().rposition(|(first, _)| *first <= head.seq) else { return Ok(false) };
    let Some(((first, path), earlier)) = segments.get(..=place).and_then(<[_]>::split_last) else { return Ok(false) };
    let opened = Opened::new(path)?;
    let before = before(state, earlier, *first, &opened)?;
    let mut found = false;
    walk(&opened, before, |at, _| {
        found |= at == *head;
        Ok::<_, JournalError>(())
    })?;
    Ok(found)
}

/// The folder of segments.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join("journal")
}

/// The segment whose first line is `first`, as it is written.
pub(super) fn segment(state: &Path, first: u64) -> PathBuf {
    folder(state).join(shelf::name(first))
}

/// The first line's number and the path of each segment, in order. Without one: [`JournalError::None`].
pub(super) fn segments(state: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let folder = folder(state);
    let none = || JournalError::None(state.display().to_string());
    match shelf::list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(none()),
        Ok(segments) if segments.is_empty() => Err(none()),
        listed => listed.map_err(failed("read", &folder)),
    }
}
