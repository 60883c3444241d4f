//! Closed segments, compressed: beside readers and the writer, through crashes, full disks and damage.

use std::{
    fs::File,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::{Compression, write::GzEncoder};

use super::{
    super::{pack, shelf},
    writer::Small,
    *,
};

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn names(state: &TempDir) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(reader::folder(state.path())).unwrap().map(name).collect();
    names.sort();
    names
}

fn packed(state: &TempDir) -> Result<u64, JournalError> {
    pack(state.path(), &mut || true)
}

#[test]
fn closed_segments_are_compressed_but_for_the_last() {
    let state = rotated();
    let (whole, lines) = (verify(&state, None).unwrap(), everything(&state).unwrap());
    let latest = crate::journal::read(state.path()).unwrap();
    let plain: Vec<_> = segments(&state).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(packed(&state).unwrap(), 2);
    let [one, two, three, four] = [1, 10, 15, 20];
    assert_eq!(names(&state), [shelf::packed(one), shelf::packed(two), shelf::name(three), shelf::name(four)]);
    assert_eq!(verify(&state, None).unwrap(), whole);
    assert_eq!(everything(&state).unwrap(), lines);
    assert_eq!(crate::journal::read(state.path()).unwrap(), latest);
    for (path, plain) in segments(&state).iter().zip(plain).take(2) {
        use std::{io::Read, os::unix::fs::PermissionsExt};
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, plain);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(packed(&state).unwrap(), 0, "it has nothing left to do");
    // And the writer goes on, and the next one too.
    let (mut journal, _) = FileJournal::open(state.path(), at(8)).unwrap();
    journal.append(at(9), vec![start(1)]).unwrap();
    journal.checkpoint(at(9), &Ledger::default()).unwrap();
    assert_eq!(packed(&state).unwrap(), 1);
    journal.append(at(9), vec![start(1)]).unwrap();
    journal.reopen().unwrap();
    drop(journal);
    FileJournal::open(state.path(), at(10)).unwrap();
    assert!(matches!(FileJournal::create(state.path(), at(1), vec![start(0)]), Err(JournalError::Exists(_))));
}

/// However far it came, it is told to break off, or killed: what is there is the whole journal, and the next call does it.
#[test]
fn a_compression_that_breaks_off_loses_nothing() {
    let state = rotated();
    let lines = everything(&state).unwrap();
    for steps in 0.. {
        let mut left = steps;
        let before = contents(state.path());
        let done = pack(state.path(), &mut || {
            left -= 1;
            left >= 0
        });
        assert_eq!(everything(&state).unwrap(), lines, "after {steps} steps");
        if done.unwrap() > 0 {
            break;
        }
        let without = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
            files.into_iter().filter(|(path, _)| !path.ends_with("tidy")).collect()
        };
        assert_eq!(without(contents(state.path())), without(before), "after {steps} steps");
    }
    // What a kill leaves at each moment: half of it under its first name; the whole of it there; both forms.
    let state = rotated();
    let (path, folder) = (segments(&state).remove(0), reader::folder(state.path()));
    let plain = fs::read(&path).unwrap();
    let whole = gz(&plain);
    for (name, bytes) in [
        ("pack.tmp".to_owned(), &whole[..whole.len() / 2]),
        ("pack.tmp".to_owned(), &whole),
        (shelf::packed(1), &whole),
        // No crash of ours leaves this; a file system may.
        (shelf::packed(1), b""),
        (shelf::packed(1), &gz(b"something else")),
    ] {
        fs::write(folder.join(&name), bytes).unwrap();
        assert_eq!(everything(&state).unwrap(), lines, "{name}");
        FileJournal::open(state.path(), at(9)).unwrap();
        assert_eq!(packed(&state).unwrap(), 2, "{name}");
        assert_eq!(names(&state)[..2], [shelf::packed(1), shelf::packed(10)], "{name}");
        assert_eq!(everything(&state).unwrap(), lines, "{name}");
        fs::write(&path, &plain).unwrap();
        fs::remove_file(folder.join(shelf::packed(1))).unwrap();
        let second = folder.join(shelf::packed(10));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(File::open(&second).unwrap()), &mut bytes)
            .unwrap();
        fs::write(folder.join(shelf::name(10)), bytes).unwrap();
        fs::remove_file(second).unwrap();
    }
    // What is left of a kill goes even where there is nothing else to do.
    packed(&state).unwrap();
    fs::write(folder.join("pack.tmp"), "x").unwrap();
    assert_eq!(packed(&state).unwrap(), 0);
    assert!(!folder.join("pack.tmp").exists());
}

/// A damaged segment is evidence: it stays as it is, and the others are compressed all the same.
#[test]
fn what_is_not_whole_is_not_compressed() {
    let state = rotated();
    let path = segments(&state).remove(0);
    let whole = fs::read(&path).unwrap();
    for (n, bytes) in [
        [&whole[..], b"\n"].concat(),
        whole[..whole.len() - 1].to_vec(),
        whole.split_inclusive(|byte| *byte == b'\n').take(2).collect::<Vec<_>>().concat(),
        Vec::new(),
        whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 300)).collect(),
        whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == whole.len() - 20)).collect(),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&path, &bytes).unwrap();
        let told = packed(&state).unwrap_err();
        assert!(matches!(&told, JournalError::Corrupt(told) if told.contains("01.jsonl, line ")), "{n}: {told}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{n}");
        assert_eq!(names(&state)[..2], [shelf::name(1), shelf::packed(10)], "{n}");
    }
}

#[test]
fn damage_in_what_is_compressed_is_told() {
    let state = rotated();
    packed(&state).unwrap();
    let path = segments(&state).remove(1);
    let whole = fs::read(&path).unwrap();
    let plain = {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&whole[..]), &mut bytes).unwrap();
        bytes
    };
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let told = verify(&state, None).unwrap_err();
        assert!(matches!(&told, JournalError::Corrupt(told) if told.contains("jsonl.gz, line ")), "{what}: {told}");
        // A start looks at the last segments only.
        FileJournal::open(state.path(), at(9)).unwrap();
    };
    for end in 0..whole.len() {
        check(&whole[..end], &format!("cut at {end}"));
    }
    let last_batch = plain[..plain.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for (what, bytes) in [
        ("a byte behind it", [&whole[..], b"\0"].concat()),
        ("text behind it", [&whole[..], b"{}\n"].concat()),
        ("a second member", [&whole[..], &gz(b"")[..]].concat()),
        ("in two members", [gz(&plain[..40]), gz(&plain[40..])].concat()),
        ("not compressed at all", plain.clone()),
        ("within a batch", gz(&plain[..last_batch])),
        ("without its last batch", gz(&plain[..=last_batch])),
        ("nothing in it", gz(b"")),
        ("another one", gz(&fs::read(&segments(&state)[2]).unwrap())),
    ] {
        check(&bytes, what);
    }
    // But for the few bits that fill the last byte up, each one counts.
    let good = {
        fs::write(&path, &whole).unwrap();
        verify(&state, None).unwrap()
    };
    let mut idle = 0;
    for (byte, bit) in (10..whole.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        match verify(&state, None) {
            Ok(found) => {
                assert_eq!((found, byte), (good.clone(), whole.len() - 9));
                idle += 1;
            }
            Err(told) => assert!(matches!(told, JournalError::Corrupt(_)), "bit {bit} of byte {byte}: {told}"),
        }
    }
    assert!(idle < 8, "{idle}");
    fs::write(&path, &whole).unwrap();
    verify(&state, None).unwrap();
    // One that is gone is missing.
    fs::remove_file(&path).unwrap();
    assert!(matches!(verify(&state, None), Err(JournalError::Corrupt(_))));
}

/// A few hundred kilobytes that stand for more than any batch of ours: damage, told without taking it all in.
#[test]
fn a_bomb_is_damage() {
    let state = rotated();
    packed(&state).unwrap();
    let path = segments(&state).remove(1);
    let opening = line::opening(&shelf::Opened::new(&path).unwrap().opening(10).unwrap().0);
    // A member in stored and in fixed blocks would do as well; this is the shortest way to write a long one.
    let bomb = |start: &str| {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(start.as_bytes()).unwrap();
        let part = vec![b' '; 1 << 20];
        for _ in 0..=shelf::LARGEST >> 20 {
            gz.write_all(&part).unwrap();
        }
        gz.finish().unwrap()
    };
    for start in ["", &opening] {
        fs::write(&path, bomb(start)).unwrap();
        let told = verify(&state, None).unwrap_err();
        assert!(
            matches!(&told, JournalError::Corrupt(told) if told.contains("line 1: a batch of more than")),
            "{told}"
        );
    }
}

/// Readers, the writer and the compression side by side: each sees every line, once.
#[test]
fn readers_see_every_line_while_segments_are_compressed() {
    let (state, _) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let (mut reads, mut last) = (0, 0);
                while !done.load(Ordering::Relaxed) || reads < 5 {
                    let lines = everything(&state).unwrap();
                    assert!(lines.len() >= last, "the journal went back");
                    last = lines.len();
                    crate::journal::read(state.path()).unwrap();
                    reads += 1;
                }
            })
        });
        let packer = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += packed(&state).unwrap();
            }
            count + packed(&state).unwrap()
        });
        for n in 0..60 {
            journal.append(at(n), vec![start(0), start(1), start(2)]).unwrap();
            journal.checkpoint(at(n), &Ledger::default()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(packer.join().unwrap(), 59);
    });
    assert_eq!(verify(&state, None).unwrap().segments, 61);
}

#[test]
fn a_nearly_full_disk_is_left_to_the_writer() {
    let Some(disk) = Small::new() else { return };
    let state = disk.0.path().join("state");
    let (mut journal, _) = FileJournal::create(&state, at(0), vec![start(0)]).unwrap();
    for n in 1..4 {
        journal.append(at(n), vec![start(4), start(5)]).unwrap();
        journal.checkpoint(at(n), &Ledger::default()).unwrap();
    }
    let before = contents(&state).len();
    let told = pack(&state, &mut || true).unwrap_err();
    assert!(matches!(&told, JournalError::Io(told) if told.contains("nearly full")), "{told}");
    // The lock is all that is new.
    assert_eq!(contents(&state).len(), before + 1);
    disk.fill();
    assert!(pack(&state, &mut || true).is_err());
    assert_eq!(contents(&state).len(), before + 1);
    journal.release_reserve();
    journal.append(at(5), vec![start(4)]).unwrap();
}
