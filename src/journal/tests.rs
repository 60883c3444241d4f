use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{FileJournal, chain, disk, line, read as reader};
use crate::model::{Journal, JournalError, Ledger, Line, Record};

mod damage;
mod format;
mod moved;
mod packed;
mod writer;

/// A moment that differs with `n`.
fn at(n: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + n, 250_000_000).unwrap()
}

fn start(n: usize) -> Record {
    Record::Start { version: format!("0.1.{n}").into(), format: 2, boot: None, steady: 0, wall: None }
}

/// An intent to revoke, as long as a real one.
fn revocation(n: usize) -> Record {
    record(&format!(
        r#"{{"kind":"intend","verb":"revoke","binding":{{"surface":"windows-admin",
            "place":"123456789012/us-east-1/i-{n:017}",
            "role":"Administrators","who":"corp\\jdoe"}},"cause":"expired","until":"2026-11-20T17:12:31Z",
            "before":"unread",
            "act_by":null,"holders":{{"checkout-{n}":["1f0a9c3be42d"]}},"grants":["checkout-{n}"],
            "commit":"8c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293","author":"J. Doe <jdoe@corp.example>"}}"#
    ))
}

fn record(json: &str) -> Record {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"))
}

/// A state folder with a journal of three batches of 1, 2 and 3 lines; the writer is gone.
fn three() -> (TempDir, Vec<Line>) {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, mut lines) = FileJournal::create(state.path(), at(0), vec![start(0)]).unwrap();
    lines.extend(journal.append(at(1), vec![start(1), start(2)]).unwrap());
    lines.extend(journal.append(at(2), vec![start(3), revocation(1), start(4)]).unwrap());
    (state, lines)
}

/// Four segments, three of which begin with a checkpoint.
fn rotated() -> TempDir {
    let (state, _) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    for n in 4..7 {
        journal.checkpoint(at(n), &Ledger::default()).unwrap();
        journal.append(at(n), vec![start(4), start(5)]).unwrap();
    }
    state
}

/// The segments' paths, in order.
fn segments(state: &TempDir) -> Vec<PathBuf> {
    reader::segments(state.path()).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// Every file in the state folder with its content, but for the lock.
fn contents(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in [state.to_owned(), reader::folder(state)] {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_file() && !entry.ends_with("lock") {
                found.push((entry.clone(), fs::read(entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The files with what was cut.
fn torn(state: &TempDir) -> Vec<(String, Vec<u8>)> {
    let name = |(path, bytes): (PathBuf, _)| (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes);
    contents(state.path()).into_iter().map(name).filter(|(name, _)| name.starts_with("torn-")).collect()
}

fn everything(state: &TempDir) -> Result<Vec<Line>, JournalError> {
    let mut lines = Vec::new();
    super::scan(state.path(), None, |line| {
        lines.push(line);
        Ok::<_, JournalError>(())
    })?;
    Ok(lines)
}

fn verify(state: &TempDir, outside: Option<&super::Head>) -> Result<super::Verdict, JournalError> {
    super::verify(state.path(), None, outside, |_| Ok(()))
}

/// Nobody takes the journal for whole, and the writer leaves every byte as it is.
#[track_caller]
fn assert_corrupt(state: &TempDir, what: &str) {
    let before = contents(state.path());
    let open = FileJournal::open(state.path(), at(9)).map(|_| ());
    assert!(matches!(open, Err(JournalError::Corrupt(_))), "{what}: open answered {open:?}");
    let verdict = verify(state, None);
    assert!(matches!(verdict, Err(JournalError::Corrupt(_))), "{what}: verify answered {verdict:?}");
    assert_eq!(contents(state.path()), before, "{what}: something was written");
}
