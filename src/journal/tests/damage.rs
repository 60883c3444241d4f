//! What a crash leaves is cut and kept; every other change is corruption, and nothing is touched.

use super::*;

/// Where the last batch begins.
fn last_batch(bytes: &[u8]) -> usize {
    let mut ends = Vec::new();
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        if value["commit"].is_object() {
            ends.push(end);
        }
    }
    ends[ends.len() - 2]
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_kept_and_recorded() {
    let (state, lines) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let begin = last_batch(&whole);
    for end in begin + 1..whole.len() {
        for (path, _) in contents(state.path()).iter().filter(|(path, _)| !path.ends_with("reserve")) {
            fs::remove_file(path).unwrap();
        }
        fs::write(path, &whole[..end]).unwrap();

        assert_eq!(crate::journal::read(state.path()).unwrap(), lines[..3], "cut at {end}");
        let verdict = verify(&state, None).unwrap();
        assert_eq!((verdict.lines, verdict.batches, verdict.tail), (3, 2, (end - begin) as u64), "cut at {end}");
        assert_eq!(fs::read(path).unwrap(), whole[..end], "a reader wrote");

        let (mut journal, found) = FileJournal::open(state.path(), at(9)).unwrap();
        let kept = torn(&state);
        assert_eq!(kept, [("torn-00000000000000000006-1.jsonl".into(), whole[begin..end].to_vec())]);
        let cut = Record::Cut { bytes: (end - begin) as u64, kept: kept[0].0.as_str().into() };
        assert_eq!(found[..3], lines[..3]);
        assert_eq!(found[3..], [Line { seq: 6, at: at(9), record: cut }]);
        assert_eq!(journal.append(at(10), vec![start(9)]).unwrap()[0].seq, 8);
        drop(journal);
        let (_, again) = FileJournal::open(state.path(), at(11)).unwrap();
        assert_eq!(again.len(), 5, "a second start must find nothing to cut");
        assert_eq!(verify(&state, None).unwrap().tail, 0);
    }
}

#[test]
fn a_crash_between_a_cut_and_its_record_does_not_lose_the_record() {
    let (state, _) = three();
    fs::write(disk::kept(state.path(), 10, 1), b"{\"seq\":10").unwrap();
    let (_, lines) = FileJournal::open(state.path(), at(9)).unwrap();
    let kept = "torn-00000000000000000010-1.jsonl".into();
    assert_eq!(lines[6..], [Line { seq: 10, at: at(9), record: Record::Cut { bytes: 9, kept } }]);
    assert_eq!(FileJournal::open(state.path(), at(9)).unwrap().1.len(), 7, "it was recorded twice");
}

#[test]
fn any_flipped_bit_is_corruption() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let mut bytes = fs::read(path).unwrap();
    for byte in 0..bytes.len() {
        for bit in 0..8 {
            bytes[byte] ^= 1 << bit;
            fs::write(path, &bytes).unwrap();
            let mut read = 0;
            let found = reader::latest(state.path(), &mut |_| read += 1).map(|_| read);
            assert!(matches!(found, Err(JournalError::Corrupt(_))), "bit {bit} of byte {byte}: {found:?}");
            if bit == byte % 8 || byte + 8 > bytes.len() {
                assert_corrupt(&state, &format!("bit {bit} of byte {byte}"));
            }
            bytes[byte] ^= 1 << bit;
        }
    }
}

#[test]
fn the_last_newline_as_any_other_byte_is_corruption() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
        bytes[last] = byte;
        fs::write(path, &bytes).unwrap();
        assert_corrupt(&state, &format!("byte {byte:#x} for the last newline"));
    }
}

#[test]
fn lines_removed_repeated_or_swapped_are_corruption() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    for n in 0..lines.len() {
        let mut twice = lines.clone();
        twice.insert(n, lines[n]);
        fs::write(path, twice.concat()).unwrap();
        assert_corrupt(&state, &format!("line {} twice", n + 1));
        // Without its last line a journal is one whose last write was interrupted.
        if n < last {
            let mut without = lines.clone();
            without.remove(n);
            fs::write(path, without.concat()).unwrap();
            assert_corrupt(&state, &format!("without line {}", n + 1));
            let mut swapped = lines.clone();
            swapped.swap(n, n + 1);
            fs::write(path, swapped.concat()).unwrap();
            assert_corrupt(&state, &format!("line {} and the next swapped", n + 1));
        }
    }
}

#[test]
fn what_no_interrupted_write_leaves_is_corruption() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let next = line::record(&verify(&state, None).unwrap().head, at(3), &start(3)).unwrap();
    let (opening, rest) = next.split_at(90);
    let tails: [&[u8]; 9] = [
        b"\0",
        &[0; 4096],
        b"\n",
        b"{}\n",
        b"{\"seq\":11",
        b"{\"seq\":10,\"prev\":\"00",
        &[opening, b"\0\0\0\0"].concat(),
        &[opening, rest.strip_suffix(b"\n").unwrap(), b"x"].concat(),
        &[opening, b"\"at\":\"2026"].concat(),
    ];
    for tail in tails {
        fs::write(path, [&whole, tail].concat()).unwrap();
        assert_corrupt(&state, &String::from_utf8_lossy(tail));
    }
    fs::write(path, [&whole[..], opening, rest.strip_suffix(b"\n").unwrap()].concat()).unwrap();
    FileJournal::open(state.path(), at(9)).unwrap();
}

#[test]
fn an_unknown_or_repeated_key_is_corruption_even_in_a_whole_chain() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let head = verify(&state, None).unwrap().head;
    for key in [r#""colour":"red","#, r#""at":"2026-11-20T09:12:31Z","#, r#""kind":"start","#, ""] {
        for record in [start(3), revocation(3)] {
            let line = String::from_utf8(line::record(&head, at(3), &record).unwrap()).unwrap();
            let line = line.replacen(r#""kind":"#, &format!(r#"{key}"kind":"#), 1);
            let hash = line::hex(&<sha2::Sha256 as sha2::Digest>::digest(&line));
            let commit = line::commit(&head.next(line.as_bytes()), 1, &hash);
            fs::write(path, [&whole, line.as_bytes(), &commit].concat()).unwrap();
            if key.is_empty() {
                verify(&state, None).unwrap();
            } else {
                assert_corrupt(&state, key);
            }
        }
    }
}

#[test]
fn what_a_newer_release_wrote_is_no_damage() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let head = verify(&state, None).unwrap().head;
    let with = |from: &str, to: &str| {
        let line = String::from_utf8(line::record(&head, at(3), &start(3)).unwrap()).unwrap();
        let line = line.replacen(from, to, 1);
        let hash = line::hex(&<sha2::Sha256 as sha2::Digest>::digest(&line));
        let commit = line::commit(&head.next(line.as_bytes()), 1, &hash);
        fs::write(path, [&whole, line.as_bytes(), &commit].concat()).unwrap();
        (verify(&state, None).unwrap_err(), FileJournal::open(state.path(), at(9)).err().unwrap())
    };
    for (from, to) in [(r#""kind":"start""#, r#""kind":"emergency""#), (r#""format":2"#, r#""format":4"#)] {
        let (read, opened) = with(from, to);
        for told in [read, opened] {
            assert!(matches!(&told, JournalError::Newer(_)), "{told}");
            assert!(told.to_string().ends_with("a newer grantd wrote this journal; run that one"), "{told}");
        }
    }
    // What is broken is not excused by an odd kind.
    for (from, to) in [(r#""kind":"start""#, r#""kind":"Start!""#), (r#""kind":"start""#, r#""kind":7"#)] {
        assert!(matches!(with(from, to).0, JournalError::Corrupt(_)), "{to}");
    }
    let mut flipped = fs::read(path).unwrap();
    flipped[100] ^= 1;
    fs::write(path, flipped).unwrap();
    assert!(matches!(verify(&state, None).unwrap_err(), JournalError::Corrupt(_)));
}

#[test]
fn corruption_is_told_with_file_line_and_expectation() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace("\"seq\":4,", "\"seq\":5,")).unwrap();
    let told = verify(&state, None).unwrap_err().to_string();
    assert_eq!(told, format!("{}, line 4: expected seq 4, found 5", path.display()));
    fs::write(path, text.replace("0.1.1", "0.1.7")).unwrap();
    let told = verify(&state, None).unwrap_err().to_string();
    assert!(told.contains(", line 4: expected prev "), "{told}");
}

#[test]
fn a_missing_segment_is_corruption() {
    let state = rotated();
    let paths = segments(&state);
    assert_eq!(paths.len(), 4);
    let hidden = state.path().join("hidden");
    for missing in [0, 1, 2] {
        fs::rename(&paths[missing], &hidden).unwrap();
        let verdict = verify(&state, None);
        assert!(matches!(verdict, Err(JournalError::Corrupt(_))), "segment {missing}: {verdict:?}");
        // A start reads the last segment and the end of the one before it only.
        if missing == 2 {
            assert_corrupt(&state, "without the segment before the last");
        }
        fs::rename(&hidden, &paths[missing]).unwrap();
    }
    verify(&state, None).unwrap();
}

#[test]
fn an_unfinished_batch_before_another_segment_is_corruption() {
    let state = rotated();
    let path = &segments(&state)[2];
    let whole = fs::read(path).unwrap();
    for end in [whole.len() - 1, last_batch(&whole) + 5] {
        fs::write(path, &whole[..end]).unwrap();
        assert_corrupt(&state, &format!("cut at {end}"));
    }
}

#[test]
fn a_segment_that_follows_no_commit_line_is_corruption() {
    let (state, _) = three();
    let path = &segments(&state)[0];
    let whole = fs::read(path).unwrap();
    let head = verify(&state, None).unwrap().head;
    let checkpoint = || vec![(at(4), Record::Checkpoint { ledger: Box::default() })];
    // Right by its number and its hash, but nothing commits the line before it.
    let line = line::record(&head, at(3), &start(3)).unwrap();
    let next = chain::Batch::new(&head.next(&line), checkpoint()).unwrap();
    fs::write(path, [&whole[..], &line].concat()).unwrap();
    fs::write(reader::segment(state.path(), 11), next.bytes).unwrap();
    assert_corrupt(&state, "after a line without its commit line");
    fs::remove_file(reader::segment(state.path(), 11)).unwrap();
    // The same with the fragment of a line.
    let next = chain::Batch::new(&head, checkpoint()).unwrap();
    fs::write(path, [&whole[..], b"{\"seq\":10"].concat()).unwrap();
    fs::write(reader::segment(state.path(), 10), next.bytes).unwrap();
    assert_corrupt(&state, "after a fragment");
    // A segment without a batch is put aside, but the one before it was whole when that was begun.
    for end in [whole.len() - 1, last_batch(&whole) + 5] {
        fs::write(path, &whole[..end]).unwrap();
        fs::write(reader::segment(state.path(), 10), "").unwrap();
        let open = FileJournal::open(state.path(), at(5)).map(drop);
        assert!(matches!(open, Err(JournalError::Corrupt(_))), "cut at {end}: {open:?}");
        assert_eq!(torn(&state), []);
    }
}

#[test]
fn a_later_segment_that_does_not_begin_with_a_checkpoint_alone_is_corruption() {
    let (state, _) = three();
    let head = verify(&state, None).unwrap().head;
    let checkpoint = || (at(4), Record::Checkpoint { ledger: Box::default() });
    let line = || (at(4), start(3));
    for records in [vec![line()], vec![checkpoint(), line()], vec![checkpoint(), checkpoint()]] {
        let batch = chain::Batch::new(&head, records).unwrap();
        fs::write(reader::segment(state.path(), 10), batch.bytes).unwrap();
        assert_corrupt(&state, &format!("{:?}", batch.lines));
    }
    let batch = chain::Batch::new(&head, vec![checkpoint()]).unwrap();
    fs::write(reader::segment(state.path(), 10), batch.bytes).unwrap();
    verify(&state, None).unwrap();
}

#[test]
fn a_crash_while_rotating_goes_on_with_the_segment_before() {
    let (state, lines) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    journal.checkpoint(at(4), &Ledger::default()).unwrap();
    drop(journal);
    let [old, new] = &segments(&state)[..] else { panic!("no rotation") };
    let (before, whole) = (fs::read(old).unwrap(), fs::read(new).unwrap());
    for end in 0..whole.len() {
        fs::write(new, &whole[..end]).unwrap();
        assert_eq!(crate::journal::read(state.path()).unwrap(), lines, "cut at {end}");
        let (mut journal, found) = FileJournal::open(state.path(), at(9)).unwrap();
        let kept = torn(&state);
        assert_eq!(kept, [("torn-00000000000000000010-1.jsonl".into(), whole[..end].to_vec())]);
        let cut = Record::Cut { bytes: end as u64, kept: kept[0].0.as_str().into() };
        assert_eq!(found[6..], [Line { seq: 10, at: at(9), record: cut }]);
        journal.checkpoint(at(10), &Ledger::default()).unwrap();
        drop(journal);
        assert_eq!(verify(&state, None).unwrap().segments, 2);
        for path in &segments(&state)[1..] {
            fs::remove_file(path).unwrap();
        }
        fs::remove_file(disk::kept(state.path(), 10, 1)).unwrap();
        fs::write(old, &before).unwrap();
    }
}
