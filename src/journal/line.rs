//! The bytes of one line, written and read.
//!
//! What chains a line (`seq`, `prev`, `at`, and a whole commit line) has one spelling and is compared as bytes: that is
//! faster than a parser and leaves no second way to write the same thing. Only the record itself is read as JSON.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::{FORMAT, Line, Record, instant};

/// A place in the chain: a line's number and the SHA-256 of its bytes with the newline, in hexadecimal.
/// Prints as `SEQ:HASH` and reads back from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

impl Head {
    /// Before the first line of all.
    pub(super) fn origin() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// The line after this one, whose bytes are `line`.
    pub(super) fn next(&self, line: &[u8]) -> Self {
        Self { seq: self.seq + 1, hash: hex(&Sha256::digest(line)) }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "a place in the journal is written `SEQ:HASH`: a line's number and its 64 hexadecimal digits";
        let (seq, hash) = text.split_once(':').ok_or(HELP)?;
        let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if hash.len() != 64 || !hash.bytes().all(digits) {
            return Err(HELP);
        }
        Ok(Self { seq: seq.parse().map_err(|_| HELP)?, hash: hash.into() })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
}

/// How the line after `before` begins, whatever it says.
pub(super) fn opening(before: &Head) -> String {
    format!(r#"{{"seq":{},"prev":"{}","#, before.seq + 1, before.hash)
}

/// The line after `before` that says `record`, with its newline.
pub(super) fn record(before: &Head, at: Timestamp, record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = opening(before).into_bytes();
    line.extend_from_slice(format!(r#""at":"{at}","#).as_bytes());
    let body = line.len();
    serde_json::to_writer(&mut line, record)?;
    // The record's own opening brace: its fields stand beside `seq`, `prev` and `at`.
    line.remove(body);
    line.push(b'\n');
    Ok(line)
}

/// The line after `before` that ends a batch of `count` lines whose bytes have this hash, with its newline.
pub(super) fn commit(before: &Head, count: u64, hash: &str) -> Vec<u8> {
    format!("{}\"commit\":{{\"count\":{count},\"hash\":\"{hash}\"}}}}\n", opening(before)).into_bytes()
}

/// What a line says that ended in a newline (which `line` is without).
pub(super) enum Said {
    Record(Box<Line>),
    /// The commit line; it may still be the wrong one.
    Commit,
}

/// What is wrong with a line.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is not what it should be.
    Damage(String),
    /// It is in order, and says what this release does not know.
    Newer(String),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Damage(what)
    }
}

/// Reads the line after `before`.
pub(super) fn parse(before: &Head, line: &[u8]) -> Result<Said, Wrong> {
    let rest = line.strip_prefix(opening(before).as_bytes()).ok_or_else(|| misfit(before, line))?;
    if rest.starts_with(b"\"commit\":{") {
        return Ok(Said::Commit);
    }
    let timed = || {
        let rest = rest.strip_prefix(b"\"at\":\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let at = instant(str::from_utf8(rest.get(..end)?).ok()?).ok()?;
        Some((at, rest.get(end..)?.strip_prefix(b"\",")?))
    };
    let (at, fields) =
        timed().ok_or_else(|| "expected `at`, a time in RFC 3339, or `commit` after `prev`".to_owned())?;
    let body = [b"{", fields].concat();
    let record: Record =
        serde_json::from_slice(&body).map_err(|error| strange(&body).unwrap_or_else(|| unread(&error).into()))?;
    if let Record::Start { format, version, .. } | Record::Init { format, version, .. } = &record
        && *format > FORMAT
    {
        return Err(Wrong::Newer(format!(
            "grantd {version} wrote on in format {format}, and this release reads up to {FORMAT}"
        )));
    }
    Ok(Said::Record(Box::new(Line { seq: before.seq + 1, at, record })))
}

/// Whether `part`, which has no newline, is what a write leaves that was cut short within the line after `before`.
/// `commit` is the commit line that would be right there.
pub(super) fn cut_short(before: &Head, part: &[u8], commit: &[u8]) -> bool {
    let opening = opening(before);
    if part.len() <= opening.len() {
        return opening.as_bytes().starts_with(part);
    }
    if commit.starts_with(part) {
        return true;
    }
    // A commit line with another byte for its newline does not get here as a record: a record's line goes on with `at`.
    let at = [opening.as_bytes(), b"\"at\":\""].concat();
    if part.len() <= at.len() {
        return at.starts_with(part);
    }
    let whole =
        |part| serde_json::from_slice::<serde::de::IgnoredAny>(part).map_or_else(|error| error.is_eof(), |_| true);
    part.starts_with(&at) && whole(part)
}

fn misfit(before: &Head, line: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Chained {
        seq: u64,
        prev: String,
    }
    let expected = before.seq + 1;
    match serde_json::from_slice::<Chained>(line) {
        Err(error) => unread(&error),
        Ok(Chained { seq, .. }) if seq != expected => format!("expected seq {expected}, found {seq}"),
        Ok(Chained { prev, .. }) if prev != before.hash => {
            format!("expected prev {}, which is the hash of the line before, found {prev}", before.hash)
        }
        Ok(_) => format!("expected it to begin with `{}`, spelled like that", opening(before)),
    }
}

/// A whole object of a kind that nobody here knows: damage does not make one.
fn strange(body: &[u8]) -> Option<Wrong> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let Kind { kind } = serde_json::from_slice(body).ok()?;
    let known = serde_json::from_value::<Record>(serde_json::json!({ "kind": kind }));
    let unknown = known.is_err_and(|error| error.to_string().starts_with("unknown variant"));
    let plain = kind.len() <= 64 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    (unknown && plain).then(|| Wrong::Newer(format!("`{kind}` is a kind of record that this release does not know")))
}

fn unread(error: &serde_json::Error) -> String {
    format!("expected a line of the journal in JSON: {error}")
}
