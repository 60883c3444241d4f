//! The format: every record comes back as it went, and the page that describes it is true.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use super::*;
use crate::journal::{Head, line::Said};

const PAGE: &str = include_str!("../../../docs/journal.md");

const BINDING: &str = r#""binding":{"surface":"iam-group","place":"123456789012","role":"Auditors","who":"jdoe"}"#;
const STAMP: &str = r#""grants":["oncall-1","oncall-2"],"commit":"c0","author":"J. \"Ü\" \u0001 Doe"#;
const TERMS: &str = r#""path":"grants/a.yaml","blob":"b0","commit":"c0","author":"A","purpose":"P \\ / ü",
    "asks":[{"surface":"iam-group","fields":{"account":"1","tags":{"a":["b","c"]}}}],"ttl":"8h","stated":null,
    "until":"2026-11-20T17:00:00Z""#;

const VOUCHED: &str = r#""vouched":{"level":"approved","signer":{"key":"968479A1AFF927E37D1A566BB5690EEEBB952194",
    "person":"asmith"},"askers":["jdoe"],"merger":"user 7","approvers":["asmith"],"request":12,"rules":["rule 1: at most 4h"]}"#;
const LINK: &str = r#"{"commit":"c0","parents":2,"path":"grants/a.yaml"}"#;
const WITHHELD: &str = r#"{"chain":{"links":[{"commit":"c0","parents":2,"path":"grants/a.yaml"}],"paths":{"grants/a.yaml":"b0"}},
    "reason":"c0 carries no signature","whole":true}"#;
const PROOF: &str = r#"{"commit":"c0","parents":2,"signature":{"bad":"carries no signature"},
    "signers":["968479A1AFF927E37D1A566BB5690EEEBB952194"],"unsigned":"c1 carries none","differs":["grants/a.yaml"],
    "forge":{"review":{"number":12,"head":"c1","authors":[7],"approvers":[8],"merger":null,"differs":["grants/b.yaml"]}},"until":null}"#;

/// One of each kind at least.
fn samples() -> Vec<Record> {
    let stamped = |kind: &str, fields: &str| format!(r#"{{"kind":"{kind}",{BINDING}{fields},{STAMP}"}}"#);
    let intent = r#","verb":"renew","cause":"end-moved","until":"2026-11-20T17:00:00.123456789Z""#;
    let fate = format!(
        r#","intent":7{intent},"request":null,"asked":"2026-11-20T17:00:00Z","knew":"2026-11-20T17:00:01Z","fate":"#
    );
    let trouble = r#"{"kind":"throttled","detail":"slow down"}"#;
    let accept = r#""committed":"2026-11-20T08:59:00Z","requester":"R","from":"2026-11-20T09:00:00Z",
        "start":"2026-11-20T09:00:00Z","ceiling":"2026-11-21T09:00:00Z""#;
    [
        r#"{"kind":"init","version":"0.1.0","commit":"c0","existing":true}"#.into(),
        r#"{"kind":"prior","grant":"oncall-1","existing":false}"#.into(),
        r#"{"kind":"start","version":"0.1.0"}"#.into(),
        r#"{"kind":"start","version":"0.1.0","format":2,"boot":"b0","steady":7,"wall":"2026-11-20T09:00:00Z"}"#.into(),
        r#"{"kind":"clock","boot":"b0","steady":7,"step":-3600000,"since":"2026-11-20T09:00:00Z","because":"x"}"#
            .into(),
        r#"{"kind":"tick"}"#.into(),
        r#"{"kind":"head","commit":"c1","previous":"c0"}"#.into(),
        r#"{"kind":"freeze","commit":null,"reason":"no branch","accept":true}"#.into(),
        r#"{"kind":"adopt","commit":"c1","previous":null,"reason":"CHG-1","by":"uid 0"}"#.into(),
        r#"{"kind":"adopt","commit":"c1","previous":null,"reason":"CHG-1","by":"uid 0","folder":"grants"}"#.into(),
        format!(r#"{{"kind":"prove","trust":"d0","proof":{PROOF}}}"#),
        format!(r#"{{"kind":"withhold","grant":"oncall-1","what":{WITHHELD}}}"#),
        r#"{"kind":"clear","grant":"oncall-1"}"#.into(),
        r#"{"kind":"suspend","grant":"oncall-1","commit":"c0","author":"A","effective":"2026-11-20T17:00:00Z"}"#.into(),
        r#"{"kind":"resume","grant":"oncall-1","commit":"c0"}"#.into(),
        r#"{"kind":"thaw","commit":"c0"}"#.into(),
        format!(r#"{{"kind":"accept","grant":"oncall-1",{TERMS},{accept},{VOUCHED},"links":[{LINK}]}}"#),
        format!(r#"{{"kind":"amend","grant":"oncall-1",{TERMS},{VOUCHED}}}"#),
        r#"{"kind":"shorten","grant":"oncall-1","until":"2026-11-20T17:00:00Z"}"#.into(),
        r#"{"kind":"hold","grant":"oncall-1","path":"p","blob":"b0","commit":"c0","author":"A",
            "committed":"2026-11-20T17:00:00Z","reason":"stale"}"#
            .into(),
        r#"{"kind":"withdraw","grant":"oncall-1","commit":"c0","author":"A","effective":"2026-11-20T17:00:00Z"}"#
            .into(),
        r#"{"kind":"restore","grant":"oncall-1","commit":"c0"}"#.into(),
        r#"{"kind":"release","grants":["oncall-1"],"digest":"d"}"#.into(),
        r#"{"kind":"finish","grant":"oncall-1","cause":"expired"}"#.into(),
        r#"{"kind":"resolve","grant":"oncall-1","ask":"0a0b0c0d0e0f","asked":"2026-11-20T09:00:00Z","places":["p"]}"#
            .into(),
        stamped("join", r#","holders":{"oncall-1":["0a0b0c0d0e0f","a0a1a2a3a4a5"]}"#),
        stamped("intend", &format!(r#"{intent},"before":"absent","act_by":null,"holders":{{}}"#)),
        stamped("intend", &format!(r#"{intent},"before":{{"present":{{"ours":null}}}},"act_by":null,"holders":{{}}"#)),
        stamped("intend", &format!(r#"{intent},"before":{{"blind":{trouble}}},"act_by":null,"holders":{{}}"#)),
        stamped("intend", &format!(r#"{intent},"before":"absent","act_by":null,"nonce":"00ff","holders":{{}}"#)),
        stamped("sent", r#","intent":18446744073709551615,"request":"r-1""#),
        stamped("fate", &format!(r#"{fate}{{"is":"done"}}"#)),
        stamped("fate", &format!(r#"{fate}{{"is":"unknown","because":{trouble}}}"#)),
        stamped(
            "retried",
            &format!(
                r#","count":9,"first":"2026-11-20T17:12:31Z","last":"2026-11-20T18:12:31Z","trouble":{trouble},"request":null"#
            ),
        ),
        stamped("dispute", r#","intent":7"#),
        stamped("fate", &format!(r#"{fate}{{"is":"absent"}}"#)),
        stamped("gone", ""),
        stamped("drift", ""),
        stamped("standing", ""),
        stamped("forget", r#","because":"it is gone""#),
        r#"{"kind":"cut","bytes":17,"kept":"torn-1.jsonl"}"#.into(),
        format!(r#"{{"kind":"checkpoint","ledger":{}}}"#, ledger(FLAGS, "")),
        format!(r#"{{"kind":"checkpoint","ledger":{}}}"#, ledger(STATES, NEWER)),
    ]
    .iter()
    .map(|json| record(json))
    .collect()
}

/// What is ours as releases before format 2 wrote it, and as it is written now.
const FLAGS: &str = r#""landed":"yes",
            "disputed":false,"drifted":false,"open":{"intent":7,"verb":"grant","until":"2026-11-20T17:00:00Z",
            "asked":"2026-11-20T16:00:00Z","request":null},"wrote":null,"revoked":false,
            "attempt":{"count":2,"last":"2026-11-20T17:00:00Z","trouble":{"kind":"denied","detail":"no"}}"#;
const STATES: &str = r#""hold":{"revoking":{"sure":"disputed","call":{"intent":7,"until":"2026-11-20T17:00:00Z",
            "asked":"2026-11-20T16:00:00Z","request":"r","nonce":"00ff","retry":null},
            "retry":{"count":2,"last":"2026-11-20T17:00:00Z","trouble":{"kind":"denied","detail":"no"},
            "until":"2026-11-20T17:00:00Z"}}}"#;
/// What format 2 brought beside that.
const NEWER: &str = r#""format":2,"era":{"boot":"b0","zero":"2026-11-20T08:00:00Z","since":"2026-11-20T09:00:00Z","unsure":true},
            "gone":[[BINDING,"2026-11-20T17:00:00Z"]],"#;

/// A ledger in which nothing is empty.
fn ledger(hold: &str, newer: &str) -> String {
    let owned = format!(
        r#"{{"until":"2026-11-20T17:00:00Z","holders":{{"oncall-1":["0a0b0c0d0e0f"]}},"origin":{{"commit":"c0","author":"A"}},{hold}}}"#
    );
    // A ledger names its asks; a line lists them.
    let terms = TERMS.replace(r#""asks":["#, r#""asks":{"0a0b0c0d0e0f":"#).replace(r#"}}],"ttl""#, r#"}}},"ttl""#);
    let terms = terms.replace(r#""commit":"c0","author":"A""#, r#""origin":{"commit":"c0","author":"A"}"#);
    let binding = BINDING.strip_prefix(r#""binding":"#).unwrap();
    let newer = newer.replace("BINDING", binding);
    format!(
        r#"{{{newer}"origin":"c0","head":"c1","freeze":{{"since":"2026-11-20T17:00:00Z","commit":null,"reason":"x",
            "accept":true}},"headed":"2026-11-20T16:00:00Z","adopted":true,"withheld":{{"oncall-2":{WITHHELD}}},
            "proofs":{{"c0":{{"trust":"d0","proof":{PROOF}}}}},"clock":"2026-11-20T17:00:00Z","grants":{{"oncall-1":{{{terms},"requester":"R","from":null,
            "start":"2026-11-20T09:00:00Z","ceiling":"2026-11-21T09:00:00Z","state":{{"withdrawn":{{
            "effective":"2026-11-20T17:00:00Z","by":{{"commit":"c2","author":"A"}}}}}},{VOUCHED},"links":[{LINK}]}}}},
            "used":{{"old-one":{{"at":"2026-11-01T00:00:00Z","cause":"withdrawn","by":{{"commit":"c2","author":"A"}}}}}},"prior":{{"older":"2026-10-01T00:00:00Z"}},
            "held":{{"late":["b1","stale"]}},"owned":[[{binding},{owned}]],
            "standing":[[{binding},"2026-11-20T17:00:00Z"]],
            "refused":[[{binding},{{"count":1,"last":"2026-11-20T17:00:00Z",
            "trouble":{{"kind":"gone","detail":"no"}}}}]],
            "withdrawn":[["2026-11-20T17:00:00Z","oncall-1"]]}}"#
    )
}

#[test]
fn every_kind_of_record_comes_back_as_it_went() {
    let samples = samples();
    // Serde names all kinds when it is given none of them.
    let kinds = serde_json::from_str::<Record>(r#"{"kind":"?"}"#).unwrap_err().to_string();
    let kinds: BTreeSet<_> = kinds.split('`').skip(3).step_by(2).collect();
    assert!(kinds.len() > 20, "{kinds:?}");
    let written: Vec<_> = samples.iter().map(|sample| serde_json::to_value(sample).unwrap()).collect();
    let sampled: BTreeSet<_> = written.iter().map(|value| value["kind"].as_str().unwrap()).collect();
    assert_eq!(sampled, kinds, "a kind has no sample");

    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = FileJournal::create(state.path(), at(0), vec![start(0)]).unwrap();
    let appended = journal.append(at(1), samples.clone()).unwrap();
    drop(journal);
    let (_, read) = FileJournal::open(state.path(), at(2)).unwrap();
    assert_eq!(read[1..], appended);
    assert!(read[1..].iter().map(|line| &line.record).eq(&samples));
    assert!(read[1..].iter().all(|line| line.at == at(1)));
    assert_eq!(read.iter().map(|line| line.seq).collect::<Vec<_>>()[..3], [1, 3, 4], "the commit line has a number");
}

#[test]
fn every_field_of_every_kind_is_known_and_no_other() {
    for sample in samples() {
        let value = serde_json::to_value(&sample).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(!["seq", "prev", "at"].contains(&key.as_str()), "{key} is the line's");
        }
        assert!(value.get("commit").is_none_or(|commit| !commit.is_object()), "only a commit line has such a `commit`");
        let mut more = value.clone();
        more["colour"] = "red".into();
        let error = serde_json::from_value::<Record>(more).unwrap_err().to_string();
        assert!(error.contains("unknown field `colour`"), "{}: {error}", value["kind"]);
    }
}

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_on_the_page_are_lines_of_the_journal() {
    let examples = blocks("json");
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        let value: Value = serde_json::from_str(&example).unwrap();
        let before = Head { seq: value["seq"].as_u64().unwrap() - 1, hash: value["prev"].as_str().unwrap().to_owned() };
        before.to_string().parse::<Head>().unwrap();
        let mut compact = serde_json::to_vec(&value).unwrap();
        match line::parse(&before, &compact) {
            Ok(Said::Record(line)) => {
                let mut again = line::record(&before, line.at, &line.record).unwrap();
                assert_eq!(again.pop(), Some(b'\n'));
                assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(compact).unwrap(), "another spelling");
            }
            Ok(Said::Commit) => {
                let (count, hash) = (&value["commit"]["count"], &value["commit"]["hash"]);
                compact.push(b'\n');
                assert_eq!(line::commit(&before, count.as_u64().unwrap(), hash.as_str().unwrap()), compact);
            }
            Err(wrong) => panic!("{wrong:?} in {example}"),
        }
    }
}

#[test]
fn the_page_names_every_kind() {
    let table = PAGE.split("## Kinds").nth(1).unwrap();
    for sample in samples() {
        let kind = serde_json::to_value(&sample).unwrap()["kind"].as_str().unwrap().to_owned();
        assert!(table.contains(&format!("`{kind}`")), "{kind} is not in the table of kinds");
    }
}

/// Compressed or not, archived or not.
#[test]
fn the_script_on_the_page_tells_a_whole_journal_from_a_flipped_bit() {
    let (state, _) = three();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    for n in 4..9 {
        journal.checkpoint(at(n), &Ledger::default()).unwrap();
        journal.append(at(n), if n == 8 { samples() } else { vec![start(n as usize)] }).unwrap();
    }
    drop(journal);
    let script = state.path().join("verify.py");
    fs::write(&script, blocks("python").concat()).unwrap();
    let (archive, folder) = (tempfile::tempdir().unwrap(), reader::folder(state.path()));
    let run = |folders: &[&Path]| Command::new("python3").arg(&script).args(folders).output().unwrap();
    let head = verify(&state, None).unwrap().head;
    let good = |folders: &[&Path]| {
        let good = run(folders);
        assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
        assert_eq!(String::from_utf8(good.stdout).unwrap(), format!("whole: {head}\n"));
    };
    let check = |folders: &[&Path], expected: usize| {
        good(folders);
        let paths: Vec<_> = folders.iter().flat_map(|folder| crate::journal::shelf::list(folder).unwrap()).collect();
        assert_eq!(paths.len(), expected);
        for (_, path) in paths {
            let whole = fs::read(&path).unwrap();
            for byte in [0, whole.len() / 3, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1;
                fs::write(&path, bytes).unwrap();
                assert!(!run(folders).status.success(), "byte {byte} of {}", path.display());
            }
            fs::write(&path, whole).unwrap();
        }
    };
    check(&[&folder], 6);
    // As an interrupted compression leaves it: what is compressed does not count beside the other.
    fs::write(folder.join(crate::journal::shelf::packed(1)), "x").unwrap();
    good(&[&folder]);
    crate::journal::pack(state.path(), &mut || true).unwrap();
    check(&[&folder], 6);
    let first = segments(&state).remove(0);
    let copy = fs::read(&first).unwrap();
    crate::journal::archive(state.path(), archive.path(), Some(at(6)), &mut || true).1.unwrap();
    check(&[&folder], 4);
    check(&[archive.path(), &folder], 6);
    // As an interrupted archiving leaves it.
    fs::write(&first, copy).unwrap();
    good(&[&folder]);
    good(&[archive.path(), &folder]);
    fs::remove_file(first).unwrap();
    fs::remove_file(folder.join("archived.json")).unwrap();
    assert!(!run(&[&folder]).status.success(), "what lacks at the beginning is missing");
}

#[test]
fn a_place_in_the_chain_has_one_spelling() {
    let head = verify(&three().0, None).unwrap().head;
    assert_eq!(head.seq, 9);
    assert_eq!(head.to_string().parse(), Ok(head.clone()));
    let short = head.hash[1..].to_owned();
    for bad in
        ["", "9", &head.hash, &format!("9:{short}"), &format!("9:{}", head.hash.to_uppercase()), &format!("x:{short}0")]
    {
        assert!(bad.parse::<Head>().is_err(), "{bad}");
    }
}

#[test]
fn a_place_noted_outside_tells_an_older_and_another_journal() {
    let (state, _) = three();
    let old = verify(&state, None).unwrap().head;
    let copy = fs::read(&segments(&state)[0]).unwrap();
    let (mut journal, _) = FileJournal::open(state.path(), at(3)).unwrap();
    journal.append(at(4), vec![start(4)]).unwrap();
    drop(journal);
    let new = verify(&state, Some(&old)).unwrap().head;
    assert_eq!(verify(&state, Some(&new)).unwrap().head, new);
    let other = Head { hash: new.hash.clone(), ..old };
    let told = verify(&state, Some(&other)).unwrap_err().to_string();
    assert!(told.contains("differs from the checkpoint outside"), "{told}");
    fs::write(&segments(&state)[0], copy).unwrap();
    let told = verify(&state, Some(&new)).unwrap_err().to_string();
    assert!(told.contains("older than the checkpoint outside"), "{told}");
}

#[test]
fn a_segment_is_full_by_lines_and_by_growth() {
    let head = Head { seq: 60_000, hash: "0".repeat(64) };
    let full =
        |lines, length, first| chain::Segment { head: head.clone(), lines, batches: 9, length, first, tail: 0 }.full();
    assert!(full(50_001, 400, 100));
    assert!(!full(50_000, 400, 100), "too few lines");
    assert!(!full(50_001, 399, 100), "too little beside its checkpoint");
}
