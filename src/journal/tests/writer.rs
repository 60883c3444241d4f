//! One writer: the lock, compare-and-append, failures, the full disk, rotation, and readers beside it.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

#[test]
fn a_journal_is_begun_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("a/b");
    assert!(matches!(FileJournal::open(&state, at(0)), Err(JournalError::None(_))));
    assert!(!state.exists(), "looking for a journal made a folder");
    assert!(matches!(crate::journal::read(&state), Err(JournalError::None(_))));
    assert!(matches!(FileJournal::create(&state, at(0), Vec::new()), Err(JournalError::Io(_))));
    let (journal, lines) = FileJournal::create(&state, at(0), vec![start(0), start(1)]).unwrap();
    assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2]);
    drop(journal);
    let before = contents(&state);
    assert!(matches!(FileJournal::create(&state, at(0), vec![start(0)]), Err(JournalError::Exists(_))));
    assert_eq!(contents(&state), before);
}

#[test]
fn only_its_owner_can_look_in() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    drop(FileJournal::create(&state, at(0), vec![start(0)]).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for path in [&state, &reader::folder(&state)] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let files = contents(&state).into_iter().map(|(path, _)| path).chain([state.join("lock")]);
    assert_eq!(files.map(|path| assert_eq!(mode(&path), 0o600, "{}", path.display())).count(), 3);
}

#[test]
fn a_second_writer_is_told_who_holds_the_journal() {
    let (state, lines) = three();
    let (journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    let Err(JournalError::Locked(told)) = FileJournal::open(state.path(), at(3)) else { panic!("two writers") };
    assert!(told.contains(&format!("process {} ", std::process::id())), "{told}");
    assert!(matches!(FileJournal::create(state.path(), at(3), vec![start(0)]), Err(JournalError::Locked(_))));
    assert_eq!(crate::journal::read(state.path()).unwrap(), lines, "a reader needs no lock");
    let (mut journal, again) = (journal, FileJournal::open(state.path(), at(3)).map(drop));
    assert!(again.is_err(), "a refused writer took the lock along");
    journal.reopen().unwrap();
    assert!(FileJournal::open(state.path(), at(3)).is_err(), "reading again gave the lock up");
    drop(journal);
    FileJournal::open(state.path(), at(3)).unwrap();
}

#[test]
fn an_append_succeeds_only_on_the_head_that_the_writer_saw() {
    let (state, _) = three();
    let (mut first, _) = FileJournal::open(state.path(), at(3)).unwrap();
    // Without its name the lock keeps nobody out.
    fs::remove_file(state.path().join("lock")).unwrap();
    let (mut second, _) = FileJournal::open(state.path(), at(3)).unwrap();
    second.append(at(4), vec![start(4)]).unwrap();
    assert!(matches!(first.append(at(5), vec![start(5)]), Err(JournalError::Moved(_))));
    assert!(matches!(first.append(at(5), vec![start(5)]), Err(JournalError::Io(_))), "not before it has read again");
    for _ in 0..2 {
        assert!(matches!(first.reopen(), Err(JournalError::Locked(_))), "the other one writes now");
        assert!(matches!(first.append(at(5), vec![start(5)]), Err(JournalError::Io(_))));
    }
    second.checkpoint(at(6), &Ledger::default()).unwrap();
    drop(second);
    // Alone again, it goes on from what the other one wrote: its own last line is in it.
    assert_eq!(first.reopen().unwrap().len(), 1);
    first.append(at(6), vec![start(6)]).unwrap();
    fs::remove_file(state.path().join("lock")).unwrap();
    assert!(matches!(first.checkpoint(at(7), &Ledger::default()), Err(JournalError::Moved(_))));
    first.reopen().unwrap();
    let mut second = first;
    let path = segments(&state)[1].clone();
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, copy).unwrap();
    assert!(matches!(second.append(at(9), vec![start(9)]), Err(JournalError::Moved(_))), "it wrote to a deleted file");
    assert_eq!(verify(&state, None).unwrap().lines, 9);
}

#[test]
fn a_foreign_tail_is_never_overwritten() {
    let (state, _) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    let path = &segments(&state)[0];
    File::options().append(true).open(path).unwrap().write_all(b"hello\n").unwrap();
    let before = contents(state.path());
    assert!(matches!(journal.append(at(4), vec![start(4)]), Err(JournalError::Moved(_))));
    for _ in 0..2 {
        assert!(matches!(journal.reopen(), Err(JournalError::Corrupt(_))));
        assert!(matches!(journal.append(at(4), vec![start(4)]), Err(JournalError::Io(_))));
    }
    assert_eq!(contents(state.path()), before);
}

#[test]
fn after_a_failed_fsync_the_batch_is_taken_back_before_anything_else_is_written() {
    let (state, lines) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    // A pipe takes the bytes and cannot be synced.
    let (mut out, into) = std::io::pipe().unwrap();
    journal.file = File::from(OwnedFd::from(into));
    assert!(matches!(journal.append(at(4), vec![start(4)]), Err(JournalError::Io(_))));
    let told = journal.append(at(4), vec![start(4)]).unwrap_err().to_string();
    assert!(told.contains("must be read again"), "{told}");
    assert!(journal.checkpoint(at(4), &Ledger::default()).is_err());
    // As the cache would show it: whole.
    let mut batch = vec![0; 4096];
    let length = out.read(&mut batch).unwrap();
    let path = &segments(&state)[0];
    File::options().append(true).open(path).unwrap().write_all(&batch[..length]).unwrap();
    assert_eq!(verify(&state, None).unwrap().lines, 7);

    assert_eq!(journal.reopen().unwrap(), lines);
    assert_eq!(journal.append(at(5), vec![start(5)]).unwrap()[0].seq, 10);
    assert_eq!((verify(&state, None).unwrap().lines, torn(&state)), (7, Vec::new()));
}

/// A file system of 4 MiB, gone when it is dropped.
pub(super) struct Small(pub(super) TempDir);

impl Small {
    /// `None` without the right to mount.
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT TESTED: a full disk takes root, to mount a small tmpfs");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(folder.path()).status();
        assert!(mount.unwrap().success(), "cannot mount a tmpfs as root");
        Some(Self(folder))
    }

    /// Takes all the space there is.
    pub(super) fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.0.path().join("ballast")).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_the_reserve_lets_revocations_through() {
    let Some(disk) = Small::new() else { return };
    let state = disk.0.path().join("state");
    let (mut journal, mut lines) = FileJournal::create(&state, at(0), vec![start(0)]).unwrap();
    disk.fill();
    let told = loop {
        match journal.append(at(1), (0..20).map(revocation).collect()) {
            Ok(more) => lines.extend(more),
            Err(error) => break error,
        }
    };
    assert!(matches!(&told, JournalError::Io(told) if told.contains("the disk is full")), "{told}");
    assert_eq!(journal.reopen().unwrap(), lines, "what was acknowledged, no more and no less");
    assert!(journal.append(at(2), (0..20).map(revocation).collect()).is_err(), "there was space after all");
    assert_eq!(journal.reopen().unwrap(), lines);
    let told = journal.checkpoint(at(2), &Ledger::default()).unwrap_err().to_string();
    assert!(told.contains("the disk is full"), "{told}");

    assert!(contents(&state).iter().all(|(path, _)| !path.ends_with(disk::NEW)), "it left half a checkpoint");

    assert!(journal.release_reserve());
    assert!(!journal.release_reserve(), "there is one reserve");
    for n in 0..100 {
        lines.extend(journal.append(at(3), vec![revocation(n)]).unwrap());
    }
    assert!(!journal.refill_reserve());
    assert!(contents(&state).iter().all(|(path, _)| !path.ends_with(disk::NEW)), "it left half a file on a full disk");
    lines.extend(journal.append(at(4), vec![revocation(0)]).unwrap());
    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    assert!(journal.refill_reserve());
    assert_eq!(fs::metadata(state.join("reserve")).unwrap().len(), 1 << 20);
    drop(journal);
    assert_eq!(crate::journal::read(&state).unwrap(), lines);
    super::super::verify(&state, None, None, |_| Ok::<_, JournalError>(())).unwrap();
}

#[test]
fn a_torn_tail_on_a_full_disk_does_not_keep_the_journal_from_opening() {
    let Some(disk) = Small::new() else { return };
    let state = disk.0.path().join("state");
    let (mut journal, lines) = FileJournal::create(&state, at(0), vec![start(0)]).unwrap();
    let whole = fs::metadata(reader::segment(&state, 1)).unwrap().len();
    journal.append(at(1), (0..500).map(revocation).collect()).unwrap();
    drop(journal);
    let segment = File::options().write(true).open(reader::segment(&state, 1)).unwrap();
    segment.set_len(segment.metadata().unwrap().len() - 1).unwrap();
    disk.fill();
    let (mut journal, found) = FileJournal::open(&state, at(2)).unwrap();
    assert_eq!(found[..1], lines);
    assert!(matches!(found[1].record, Record::Cut { bytes, .. } if bytes > 100 * whole));
    journal.release_reserve();
    journal.append(at(3), vec![revocation(1)]).unwrap();
}

#[test]
fn a_long_journal_rotates_and_starts_from_its_last_checkpoint() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, mut all) = FileJournal::create(state.path(), at(0), vec![start(0)]).unwrap();
    let mut batches = 0;
    while !journal.full() {
        all.extend(journal.append(at(1), (0..5_000).map(start).collect()).unwrap());
        batches += 1;
        assert!(batches < 20, "it is never full");
    }
    assert_eq!(batches, 10, "more than 50,000 lines");
    let ledger = Ledger { clock: Some(at(1)), ..Ledger::default() };
    journal.checkpoint(at(2), &ledger).unwrap();
    assert!(!journal.full());
    let more = journal.append(at(3), vec![start(7)]).unwrap();
    let checkpoint = Line { seq: 50_013, at: at(2), record: Record::Checkpoint { ledger: Box::new(ledger) } };
    let last: Vec<_> = [checkpoint].into_iter().chain(more).collect();
    assert_eq!(journal.reopen().unwrap(), last);
    drop(journal);
    assert_eq!(FileJournal::open(state.path(), at(4)).unwrap().1, last);
    assert_eq!(crate::journal::read(state.path()).unwrap(), last);
    all.extend(last);
    assert_eq!(everything(&state).unwrap(), all);
    let verdict = verify(&state, None).unwrap();
    assert_eq!((verdict.lines, verdict.batches, verdict.segments), (50_003, 13, 2));
}

#[test]
fn a_caller_can_stop_a_walk_through_the_journal() {
    let (state, lines) = three();
    let mut seen = Vec::new();
    let stopped = crate::journal::scan(state.path(), None, |line| {
        seen.push(line);
        if seen.len() == 2 { Err(anyhow::anyhow!("enough")) } else { Ok(()) }
    });
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
    assert_eq!(seen, lines[..2]);
}

#[test]
fn readers_beside_a_writer_see_whole_batches_and_nothing_else() {
    let (state, _) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut last) = (0, 0);
            while !done.load(Ordering::Relaxed) || reads < 10 {
                let lines = crate::journal::read(state.path()).unwrap();
                let newest = lines.last().unwrap();
                assert!(newest.seq >= last, "the journal went back");
                if let Record::Start { version, .. } = &newest.record {
                    assert!(["0.1.2", "0.1.4"].contains(&&**version), "half a batch: {version}");
                }
                last = newest.seq;
                assert!(everything(&state).unwrap().last().unwrap().seq >= last);
                reads += 1;
            }
            reads
        });
        for n in 0..150 {
            journal.append(at(n), vec![start(0), start(1), start(2)]).unwrap();
            if n % 3 == 0 {
                journal.checkpoint(at(n), &Ledger::default()).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() >= 10);
    });
    assert_eq!(verify(&state, None).unwrap().segments, 51);
}
