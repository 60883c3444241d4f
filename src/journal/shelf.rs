//! The segments of a folder: which there are, and their bytes, compressed or not.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    disk::failed,
    line::{Head, hex},
    pack::is_packed,
};
use crate::model::{JournalError, instant};

/// No batch in a compressed segment has more bytes: what grows beyond that when it is read is none of ours. A segment with a
/// longer one is not compressed.
pub(super) const LARGEST: u64 = 128 << 20;

const BUFFER: usize = 1 << 18;

/// The name of a segment, and of its compressed form.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(super) fn packed(first: u64) -> String {
    format!("{first:020}.jsonl.gz")
}

/// The first line's number and the path of each segment in a folder, in order. Where a segment is there in both forms, an
/// interruption left the compressed one: the other counts.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut before = look(folder)?;
    // A segment that is being compressed beside us may have neither name at the moment when each is looked for.
    loop {
        let now = look(folder)?;
        if now == before {
            return Ok(now.into_iter().map(|(first, name)| (first, folder.join(name))).collect());
        }
        before = now;
    }
}

fn look(folder: &Path) -> io::Result<BTreeMap<u64, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name();
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|first| *first > 0);
        let Some(first) = file.to_str().and_then(|name| number(name.get(..20)?)) else { continue };
        if file == *name(first) {
            found.insert(first, name(first));
        } else if file == *packed(first) {
            found.entry(first).or_insert_with(|| packed(first));
        }
    }
    Ok(found)
}

/// A segment, open: whatever becomes of its name, it can be read to its end.
pub(super) struct Opened {
    pub path: PathBuf,
    pub packed: bool,
    /// It lies in an archive, and not in the state folder.
    pub archived: bool,
    pub file: File,
}

impl Opened {
    pub fn new(path: &Path) -> Result<Self, JournalError> {
        let packed = is_packed(path);
        let file = File::open(path).map_err(failed("open", path))?;
        Ok(Self { path: path.to_owned(), packed, archived: false, file })
    }

    /// Its lines' bytes.
    pub fn bytes(&self) -> Result<Box<dyn BufRead>, JournalError> {
        let again = self.file.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file));
        let raw = BufReader::with_capacity(BUFFER, again.map_err(failed("read", &self.path))?);
        Ok(if self.packed {
            Box::new(BufReader::with_capacity(BUFFER, Single(GzDecoder::new(raw))))
        } else {
            Box::new(raw)
        })
    }

    /// What a failed read means: the disk's own errors have a number, broken compression has none.
    pub fn unread(&self, line: u64, error: io::Error) -> JournalError {
        if error.raw_os_error().is_some() || !self.packed {
            return failed("read", &self.path)(error);
        }
        self.damaged(line, &format!("the compressed data is broken: {error}"))
    }

    pub fn damaged(&self, line: u64, what: &str) -> JournalError {
        let told = format!("{}, line {line}: {what}", self.path.display());
        if self.archived { JournalError::Archive(told) } else { JournalError::Corrupt(told) }
    }

    pub fn too_large(&self, line: u64) -> JournalError {
        let what = format!("a batch of more than {} MiB, and grantd compresses none of that length", LARGEST >> 20);
        self.damaged(line, &what)
    }

    /// What comes before it is not there.
    pub fn gap(&self, head: &Head) -> JournalError {
        self.damaged(1, &format!("expected the line before it, the segments before it end with line {}", head.seq))
    }

    /// What its first line says of the line before it, and its time; `first` is its number.
    pub fn opening(&self, first: u64) -> Result<(Head, Timestamp), JournalError> {
        let mut start = Vec::new();
        // Longer than what every line begins with.
        self.bytes()?.take(512).read_to_end(&mut start).map_err(|error| self.unread(1, error))?;
        let said = || {
            let rest = start.strip_prefix(format!(r#"{{"seq":{first},"prev":""#).as_bytes())?;
            let (prev, rest) = rest.split_at_checked(64)?;
            let rest = rest.strip_prefix(br#"","at":""#)?;
            let end = rest.iter().position(|byte| *byte == b'"')?;
            let at = instant(str::from_utf8(rest.get(..end)?).ok()?).ok()?;
            Some((Head { seq: first - 1, hash: String::from_utf8(prev.to_owned()).ok()? }, at))
        };
        said().ok_or_else(|| self.damaged(1, &format!("expected the line {first}, as the file's name has it")))
    }

    /// Its last line, which must be the commit line `seq`, because another segment follows.
    pub fn last_line(&self, seq: u64) -> Result<Head, JournalError> {
        // Longer than any commit line.
        const LONGEST: u64 = 512;
        let mut end = Vec::new();
        let mut read = || {
            if !self.packed {
                let mut file = &self.file;
                let length = file.metadata()?.len();
                file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
                return file.read_to_end(&mut end).map(drop);
            }
            let mut bytes = self.bytes().map_err(io::Error::other)?;
            loop {
                let more = bytes.fill_buf()?;
                if more.is_empty() {
                    return Ok(());
                }
                end.extend_from_slice(more);
                let taken = more.len();
                end.drain(..end.len().saturating_sub(LONGEST as usize));
                bytes.consume(taken);
            }
        };
        read().map_err(|error| self.unread(1, error))?;
        let line = end.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default();
        let said: Value = serde_json::from_slice(line).unwrap_or_default();
        let commits = said.get("commit").is_some_and(Value::is_object);
        if !commits || said.get("seq").and_then(Value::as_u64) != Some(seq) || !line.ends_with(b"\n") {
            return Err(JournalError::Corrupt(format!(
                "{}, last line: expected the commit line {seq}, because the next segment begins with line {}",
                self.path.display(),
                seq + 1
            )));
        }
        Ok(Head { seq, hash: hex(&Sha256::digest(line)) })
    }
}

/// One member of gzip and nothing after it: that is what we write, and anything else would be read differently elsewhere.
struct Single<R: BufRead>(GzDecoder<R>);

impl<R: BufRead> Read for Single<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.0.get_mut().fill_buf()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "something follows its end"));
        }
        Ok(count)
    }
}
