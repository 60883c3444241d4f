//! A segment, read and checked line by line.

use std::io::{BufRead, Read};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    line::{self, Head, Said, Wrong, hex},
    shelf::{LARGEST, Opened},
};
use crate::model::{JournalError, Line, Record};

/// A segment with more lines than this is due for the next one.
const SEGMENT_LINES: u64 = 50_000;
/// But only once it is this many times as long as its checkpoint: a large ledger must not be written again and again
/// for a few lines each.
const SEGMENT_GROWTH: u64 = 4;

/// A batch in bytes, ready to be written after `before`, and what it comes to.
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    pub lines: Vec<Line>,
    /// Its commit line.
    pub head: Head,
}

impl Batch {
    pub fn new(before: &Head, records: Vec<(Timestamp, Record)>) -> Result<Self, JournalError> {
        let mut bytes = Vec::new();
        let mut head = before.clone();
        let mut lines = Vec::with_capacity(records.len());
        for (at, record) in records {
            let line = line::record(&head, at, &record)
                .map_err(|error| JournalError::Io(format!("a record cannot be written as JSON: {error}")))?;
            head = head.next(&line);
            bytes.extend_from_slice(&line);
            lines.push(Line { seq: head.seq, at, record });
        }
        let commit = line::commit(&head, lines.len() as u64, &hex(&Sha256::digest(&bytes)));
        bytes.extend_from_slice(&commit);
        Ok(Self { bytes, lines, head: head.next(&commit) })
    }
}

/// What a segment's complete batches come to, and what is left after them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The last commit line.
    pub head: Head,
    /// Of complete batches, commit lines included.
    pub lines: u64,
    pub batches: u64,
    /// Length of the complete batches, in bytes.
    pub length: u64,
    /// Length of the first batch, in bytes: the checkpoint, except in the first segment.
    pub first: u64,
    /// Length of an unfinished batch at the end, in bytes.
    pub tail: u64,
}

impl Segment {
    /// Whether the next one is due.
    pub fn full(&self) -> bool {
        self.lines > SEGMENT_LINES && self.length >= SEGMENT_GROWTH.saturating_mul(self.first)
    }
}

/// Reads the segment that continues the chain after `before`. Gives each line of a complete batch to `each`, in order
/// and only when its batch proved whole; `None` stands for the commit line. Memory is bounded by the largest batch.
pub(super) fn walk<E: From<JournalError>>(
    opened: &Opened,
    before: Head,
    mut each: impl FnMut(Head, Option<Line>) -> Result<(), E>,
) -> Result<Segment, E> {
    let mut reader = opened.bytes()?;
    let later = before.seq > 0;
    let mut segment = Segment { head: before.clone(), lines: 0, batches: 0, length: 0, first: 0, tail: 0 };
    let mut at = before;
    let mut batch: Vec<(Head, Line)> = Vec::new();
    // Lines that this release cannot read, and the first of them: only a batch that proves whole shows that they are no damage.
    let (mut strange, mut newer) = (0, None);
    let mut hash = Sha256::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let count = batch.len() as u64 + strange;
        let number = segment.lines + count + 1;
        let corrupt = |what: String| opened.damaged(number, &what);
        // A file has its own length for a bound; what is compressed may stand for a thousand times as much.
        let most = if opened.packed { LARGEST.saturating_sub(segment.tail) } else { u64::MAX - 1 };
        let read = reader.by_ref().take(most + 1).read_until(b'\n', &mut bytes);
        read.map_err(|error| opened.unread(number, error))?;
        if bytes.len() as u64 > most {
            return Err(opened.too_large(number).into());
        }
        let expected = || line::commit(&at, count, &hex(&hash.clone().finalize()));
        let Some(text) = bytes.strip_suffix(b"\n") else {
            if !line::cut_short(&at, &bytes, &expected()) {
                let what = "expected a newline at the end, and this is not what an interrupted write leaves";
                return Err(corrupt(what.into()).into());
            }
            segment.tail += bytes.len() as u64;
            if opened.packed && (segment.tail > 0 || segment.batches == 0) {
                return Err(corrupt(
                    "it ends within a batch: only the last segment may, and that one is not compressed".into(),
                )
                .into());
            }
            return Ok(segment);
        };
        segment.tail += bytes.len() as u64;
        let read = match line::parse(&at, text) {
            Ok(said) => said,
            Err(Wrong::Damage(what)) => return Err(corrupt(what).into()),
            Err(Wrong::Newer(what)) => {
                let what = format!(
                    "{}, line {number}: {what}: a newer grantd wrote this journal; run that one",
                    opened.path.display()
                );
                newer.get_or_insert(what);
                strange += 1;
                hash.update(&bytes);
                at = at.next(&bytes);
                continue;
            }
        };
        match read {
            Said::Record(line) => {
                if later && segment.batches == 0 && !matches!(line.record, Record::Checkpoint { .. }) {
                    let what = "expected a checkpoint: every segment but the first begins with one, in its own batch";
                    return Err(corrupt(what.into()).into());
                }
                if later && segment.batches == 0 && !batch.is_empty() {
                    return Err(corrupt("expected the commit line of the checkpoint".into()).into());
                }
                hash.update(&bytes);
                at = at.next(&bytes);
                batch.push((at.clone(), *line));
            }
            Said::Commit if count == 0 || expected() != bytes => {
                let what = format!("expected {}", String::from_utf8_lossy(&expected()).trim_end());
                return Err(corrupt(what).into());
            }
            Said::Commit => {
                if let Some(newer) = newer {
                    return Err(JournalError::Newer(newer).into());
                }
                at = at.next(&bytes);
                segment.head = at.clone();
                segment.lines = number;
                segment.batches += 1;
                segment.length += std::mem::take(&mut segment.tail);
                if segment.batches == 1 {
                    segment.first = segment.length;
                }
                hash.reset();
                for (head, line) in batch.drain(..) {
                    each(head, Some(line))?;
                }
                each(at.clone(), None)?;
            }
        }
    }
}
