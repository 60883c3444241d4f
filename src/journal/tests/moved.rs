//! Segments that were moved out: what goes, what stays, and what is known of it.

use super::{
    super::{Moved, archive, archive::Archived, pack, shelf},
    *,
};

fn moved(state: &TempDir, to: &TempDir) -> Result<Moved, JournalError> {
    let (moved, done) = archive(state.path(), to.path(), None, &mut || true);
    done.map(|()| moved)
}

fn whole(state: &TempDir, archive: &Path) -> Result<crate::journal::Verdict, JournalError> {
    crate::journal::verify(state.path(), Some(archive), None, |_| Ok(()))
}

fn numbers(folder: &Path) -> Vec<u64> {
    shelf::list(folder).unwrap().into_iter().map(|(first, _)| first).collect()
}

#[test]
fn what_no_start_needs_is_moved_and_the_chain_goes_on_behind_it() {
    for compressed in [false, true] {
        let (state, to) = (rotated(), tempfile::tempdir().unwrap());
        let (before, lines) = (verify(&state, None).unwrap(), everything(&state).unwrap());
        if compressed {
            pack(state.path(), &mut || true).unwrap();
        }
        let (mut journal, latest) = FileJournal::open(state.path(), at(8)).unwrap();
        let done = moved(&state, &to).unwrap();
        assert_eq!((done.segments, done.lines), (2, 9));
        let archived = done.archived.unwrap();
        assert_eq!((archived.to, archived.lines, archived.segments), (14, 9, 2));
        assert_eq!((archived.since, archived.until), (at(0), at(5)));
        assert_eq!(numbers(to.path()), [1, 10]);
        assert_eq!(numbers(&reader::folder(state.path())), [15, 20]);
        // The chain from here on, and the whole of it.
        let here = verify(&state, None).unwrap();
        assert_eq!((here.lines, &here.head, here.archived.as_ref()), (6, &before.head, Some(&archived)));
        let all = whole(&state, to.path()).unwrap();
        assert_eq!((all.lines, all.segments, &all.head), (before.lines, 4, &before.head));
        let mut read = Vec::new();
        crate::journal::scan(state.path(), Some(to.path()), |line| {
            read.push(line);
            Ok::<_, JournalError>(())
        })
        .unwrap();
        assert_eq!(read, lines);
        // The writer notices nothing, and can be begun anew.
        journal.append(at(9), vec![start(1)]).unwrap();
        let again = journal.reopen().unwrap();
        assert_eq!(again[..latest.len()], latest);
        drop(journal);
        assert_eq!(FileJournal::open(state.path(), at(10)).unwrap().1, again);
        // The next time it goes on.
        assert_eq!(moved(&state, &to).unwrap().segments, 0);
        let (mut journal, _) = FileJournal::open(state.path(), at(11)).unwrap();
        journal.checkpoint(at(12), &Ledger::default()).unwrap();
        assert_eq!(moved(&state, &to).unwrap().archived.unwrap().segments, 3);
        assert_eq!(whole(&state, to.path()).unwrap().segments, 5);
        verify(&state, None).unwrap();
    }
}

#[test]
fn what_is_younger_stays() {
    for (n, segments) in [(3, 0), (4, 0), (5, 1), (6, 2), (9, 2)] {
        let (state, to) = (rotated(), tempfile::tempdir().unwrap());
        // The first three end at 4, 5 and 6.
        let (moved, done) = archive(state.path(), to.path(), Some(at(n)), &mut || true);
        done.unwrap();
        assert_eq!(moved.segments, segments, "before {n}");
    }
}

/// Killed at each moment, it is gone on with; until then nothing lacks, and nothing counts twice.
#[test]
fn an_archiving_that_breaks_off_is_gone_on_with() {
    let copy = |from: &Path, to: &Path| {
        for (_, path) in shelf::list(from).unwrap() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    };
    for (linked, removed) in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)] {
        let (state, to, old) = (rotated(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = reader::folder(state.path());
        copy(&folder, old.path());
        let lines = everything(&state).unwrap();
        // As far as it came: the second's copy is there, and the state folder knows of `linked`, and has all but `removed`.
        moved(&state, &to).unwrap();
        let link = fs::read(folder.join("archived.json")).unwrap();
        copy(old.path(), &folder);
        fs::remove_file(folder.join("archived.json")).unwrap();
        match linked {
            2 => fs::write(folder.join("archived.json"), link).unwrap(),
            1 => {
                let other = tempfile::tempdir().unwrap();
                archive(state.path(), other.path(), Some(at(5)), &mut || true).1.unwrap();
                copy(old.path(), &folder);
            }
            _ => {}
        }
        for path in segments(&state).iter().take(removed) {
            fs::remove_file(path).unwrap();
        }
        let what = format!("{linked} known, {removed} gone");
        fs::write(folder.join("archived.tmp"), "{").unwrap();
        fs::write(to.path().join("pack.tmp"), "x").unwrap();
        assert_eq!(verify(&state, None).unwrap().lines, lines.len() as u64 - [0, 6, 9][linked], "{what}");
        assert_eq!(whole(&state, to.path()).unwrap().lines, lines.len() as u64, "{what}");
        FileJournal::open(state.path(), at(9)).unwrap();
        let done = moved(&state, &to).unwrap();
        assert_eq!(done.archived.unwrap().to, 14, "{what}");
        assert_eq!(numbers(&folder), [15, 20], "{what}");
        assert_eq!(whole(&state, to.path()).unwrap().lines, lines.len() as u64, "{what}");
    }
}

#[test]
fn nothing_goes_that_is_not_whole_here_or_there() {
    let (state, to) = (rotated(), tempfile::tempdir().unwrap());
    let second = segments(&state).remove(1);
    let whole = fs::read(&second).unwrap();
    let mut broken = whole.clone();
    broken[300] ^= 1;
    fs::write(&second, &broken).unwrap();
    let (done, error) = archive(state.path(), to.path(), None, &mut || true);
    assert!(matches!(error, Err(JournalError::Corrupt(_))), "{error:?}");
    assert_eq!((done.segments, numbers(to.path())), (1, vec![1]));
    assert_eq!(fs::read(&second).unwrap(), broken);
    fs::write(&second, &whole).unwrap();
    // Another installation's, or a broken copy: nothing is written over it.
    for other in [&b"something"[..], b""] {
        let there = to.path().join(shelf::packed(10));
        fs::write(&there, other).unwrap();
        let told = moved(&state, &to).unwrap_err();
        assert!(matches!(&told, JournalError::Archive(told) if told.contains("nothing is written over it")), "{told}");
        assert_eq!(fs::read(&there).unwrap(), other);
        assert!(second.exists());
    }
    fs::remove_file(to.path().join(shelf::packed(10))).unwrap();
    // A segment that lacks in between is damage, and none goes.
    let first = tempfile::tempdir().unwrap();
    let state = rotated();
    fs::remove_file(segments(&state).remove(0)).unwrap();
    assert!(matches!(moved(&state, &first), Err(JournalError::Corrupt(_))));
    assert!(numbers(first.path()).is_empty());
}

#[test]
fn a_folder_that_is_none_for_an_archive_is_refused() {
    let (state, to) = (rotated(), tempfile::tempdir().unwrap());
    let before = numbers(&reader::folder(state.path()));
    for folder in [reader::folder(state.path()), to.path().join("nothing"), state.path().join("lock")] {
        let (_, done) = archive(state.path(), &folder, None, &mut || true);
        assert!(matches!(done, Err(JournalError::Io(_))), "{}", folder.display());
        assert_eq!(numbers(&reader::folder(state.path())), before);
    }
    let none = tempfile::tempdir().unwrap();
    assert!(matches!(archive(none.path(), to.path(), None, &mut || true).1, Err(JournalError::None(_))));
    assert_eq!(fs::read_dir(none.path()).unwrap().count(), 0);
}

#[test]
fn what_the_state_folder_knows_of_its_archive_is_checked() {
    let (state, to) = (rotated(), tempfile::tempdir().unwrap());
    moved(&state, &to).unwrap();
    let link = reader::folder(state.path()).join("archived.json");
    let text = fs::read_to_string(&link).unwrap();
    let known: Archived = serde_json::from_str(&text).unwrap();
    let other = |change: &dyn Fn(&mut Archived)| {
        let mut other = known.clone();
        change(&mut other);
        serde_json::to_string(&other).unwrap()
    };
    for (what, bad) in [
        ("nothing", String::new()),
        ("half", text[..40].to_owned()),
        ("another hash", other(&|known| known.hash = known.hash.replace(['0', '1', '2', '3'], "4"))),
        ("no hash", other(&|known| known.hash = "x".into())),
        ("another line", other(&|known| known.to = 9)),
        ("a later line", other(&|known| known.to = 19)),
        ("no line at all", other(&|known| known.to = u64::MAX)),
    ] {
        fs::write(&link, bad).unwrap();
        let told = verify(&state, None);
        assert!(matches!(told, Err(JournalError::Corrupt(_))), "{what}: {told:?}");
        // A start asks for nothing of that.
        FileJournal::open(state.path(), at(9)).unwrap();
    }
    fs::remove_file(&link).unwrap();
    assert!(matches!(verify(&state, None), Err(JournalError::Corrupt(_))), "without it they are missing");
    fs::write(&link, other(&|known| known.hash = known.hash.replace(['0', '1', '2', '3'], "4"))).unwrap();
    let told = whole(&state, to.path()).unwrap_err().to_string();
    assert!(told.contains("archived.json, line 1: says 14:"), "{told}");
    // It alone is no empty state folder.
    fs::write(&link, &text).unwrap();
    segments(&state).iter().for_each(|path| fs::remove_file(path).unwrap());
    let begun = FileJournal::create(state.path(), at(9), vec![start(0)]);
    assert!(matches!(begun, Err(JournalError::Exists(_))));
}

#[test]
fn damage_in_the_archive_is_told_as_such() {
    let (state, to) = (rotated(), tempfile::tempdir().unwrap());
    moved(&state, &to).unwrap();
    let first = to.path().join(shelf::packed(1));
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 9]).unwrap();
    let told = whole(&state, to.path());
    assert!(matches!(told, Err(JournalError::Archive(_))), "{told:?}");
    verify(&state, None).unwrap();
    fs::remove_file(&first).unwrap();
    let told = whole(&state, to.path()).unwrap_err().to_string();
    assert!(told.contains("lacks lines 1 to 9"), "{told}");
    let told = whole(&state, &to.path().join("nothing"));
    assert!(matches!(told, Err(JournalError::Io(_))), "{told:?}");
    // An unpacked one serves as well.
    fs::write(&first, &bytes).unwrap();
    std::process::Command::new("gunzip").arg(&first).status().unwrap();
    assert_eq!(numbers(to.path()), [1, 10]);
    whole(&state, to.path()).unwrap();
}

#[test]
fn a_place_noted_outside_is_looked_for_where_it_is() {
    let (state, to) = (rotated(), tempfile::tempdir().unwrap());
    let mut heads = Vec::new();
    for path in segments(&state).iter().take(3) {
        let opened = shelf::Opened::new(path).unwrap();
        heads.extend(opened.file.metadata().ok().map(|_| opened));
    }
    let ends: Vec<_> = heads.iter().zip([9, 14, 19]).map(|(opened, seq)| opened.last_line(seq).unwrap()).collect();
    moved(&state, &to).unwrap();
    let compare = |archive: Option<&Path>, head: &_| {
        crate::journal::verify(state.path(), archive, Some(head), |_| Ok::<_, JournalError>(()))
    };
    for (end, here) in ends.iter().zip([false, true, true]) {
        compare(Some(to.path()), end).unwrap();
        match compare(None, end) {
            Ok(_) => assert!(here, "{end}"),
            Err(error) => assert!(!here && error.to_string().contains("--archive DIR"), "{error}"),
        }
        let other = super::super::Head { hash: end.hash.replace(['0', '1', '2', '3'], "4"), ..end.clone() };
        for archive in [Some(to.path()), None] {
            let told = compare(archive, &other).unwrap_err().to_string();
            let unseen = archive.is_none() && !here;
            assert_eq!(told.contains("differs from the checkpoint outside"), !unseen, "{told}");
        }
    }
}
