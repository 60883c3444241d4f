use sha2::{Digest, Sha256};

use super::line::{self, Head, hex};

/// Follows the chain through bytes as they come, in bounded memory whatever they are. It reads no record: it proves that the
/// bytes are the ones that the chain's last hash stands for.
pub(super) struct Trace {
    /// The last whole line.
    at: Head,
    /// How the line begins that is being read, until it is known what it is; all of a commit line.
    begun: Vec<u8>,
    said: Said,
    line: Sha256,
    batch: Sha256,
    /// Records of the batch that is not committed yet.
    open: u64,
    /// Its bytes.
    pub size: u64,
    /// Records of complete batches.
    pub records: u64,
    /// Bytes of the largest batch.
    pub largest: u64,
    /// All bytes.
    pub length: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Said {
    Nothing,
    Record,
    Commit,
}

/// Longer than any commit line.
const COMMIT: usize = 512;

impl Trace {
    pub fn after(before: Head) -> Self {
        Self {
            at: before,
            begun: Vec::new(),
            said: Said::Nothing,
            line: Sha256::new(),
            batch: Sha256::new(),
            open: 0,
            size: 0,
            records: 0,
            largest: 0,
            length: 0,
        }
    }

    /// The number of the line that comes next, within this chain.
    pub fn next(&self) -> u64 {
        self.at.seq + 1
    }

    /// Where the chain ends, if it ends with a commit line.
    pub fn end(&self) -> Option<&Head> {
        (self.said == Said::Nothing && self.begun.is_empty() && self.open == 0).then_some(&self.at)
    }

    /// Answers what was expected instead.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        bytes.split_inclusive(|byte| *byte == b'\n').try_for_each(|part| self.part(part))
    }

    /// Within one line.
    fn part(&mut self, part: &[u8]) -> Result<(), String> {
        self.length += part.len() as u64;
        self.size += part.len() as u64;
        let ends = part.ends_with(b"\n");
        if self.said == Said::Record {
            self.line.update(part);
            self.batch.update(part);
        } else {
            self.begun.extend_from_slice(part);
            if self.said == Said::Nothing {
                self.decide(ends)?;
            }
        }
        if self.said == Said::Commit && self.begun.len() > COMMIT {
            return Err("expected the end of a commit line".into());
        }
        if ends { self.finish() } else { Ok(()) }
    }

    fn decide(&mut self, ends: bool) -> Result<(), String> {
        const MARK: &[u8] = b"\"commit\":{";
        let opening = line::opening(&self.at).into_bytes();
        if self.begun.len() < opening.len() + MARK.len() && !ends {
            return Ok(());
        }
        let Some(rest) = self.begun.strip_prefix(&opening[..]) else {
            return Err(format!("expected it to begin with `{}`", String::from_utf8_lossy(&opening)));
        };
        if rest.starts_with(MARK) {
            self.said = Said::Commit;
            return Ok(());
        }
        self.said = Said::Record;
        self.line.update(&self.begun);
        self.batch.update(&self.begun);
        self.begun.clear();
        Ok(())
    }

    /// The line is whole.
    fn finish(&mut self) -> Result<(), String> {
        if self.said == Said::Record {
            self.at = Head { seq: self.at.seq + 1, hash: hex(&self.line.finalize_reset()) };
            self.open += 1;
        } else {
            let expected = line::commit(&self.at, self.open, &hex(&self.batch.finalize_reset()));
            if self.open == 0 || expected != self.begun {
                return Err(format!("expected {}", String::from_utf8_lossy(&expected).trim_end()));
            }
            self.at = self.at.next(&self.begun);
            self.begun.clear();
            self.records += std::mem::take(&mut self.open);
            self.largest = self.largest.max(std::mem::take(&mut self.size));
        }
        self.said = Said::Nothing;
        Ok(())
    }
}
