//! Old segments: compressed beside the daemon, moved out beside it, and read wherever they are.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use grantd::{
    decide::ledger,
    journal::FileJournal,
    model::{Journal, Record},
};

use super::{GROUP, Site, grant, now, root, until};

/// A state whose journal has this many segments more, each of so many batches of a hundred lines; a live grant is in the first.
fn long(segments: i64, batches: i64) -> Site {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    site.fine(&["apply"]);
    let (mut journal, mut lines) = FileJournal::open(&site.state(), now()).unwrap();
    for _ in 0..segments {
        for _ in 0..batches {
            lines.extend(journal.append(now(), vec![Record::Tick {}; 100]).unwrap());
        }
        journal.checkpoint(now(), &ledger(lines.clone())).unwrap();
        lines = journal.reopen().unwrap();
    }
    site
}

fn names_of(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

fn names(folder: &Path) -> Vec<String> {
    names_of(folder).into_iter().filter(|name| name.contains(".jsonl")).collect()
}

fn packed(site: &Site) -> usize {
    names(&site.state().join("journal")).iter().filter(|name| name.ends_with(".gz")).count()
}

fn archive(site: &Site) -> PathBuf {
    let folder = site.path("archive");
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn the_daemon_compresses_what_is_closed_and_ends_what_is_due() {
    let site = long(4, 3);
    let (before, told) = (site.json(&["audit", "verify"]), site.history());
    assert_eq!((before["segments"].as_u64(), packed(&site)), (Some(5), 0));
    let daemon = site.daemon();
    daemon.said("closed segments of the journal are compressed");
    assert_eq!(packed(&site), 3);
    assert_eq!(site.history()[..told.len()], told);
    site.withdraw("2026-11-20-jdoe-long");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
    let head = format!("{}:{}", before["head"]["seq"], before["head"]["hash"].as_str().unwrap());
    site.fine(&["audit", "verify", "--checkpoint", &head]);
    site.daemon().stop();
}

/// A daemon that is told to end does not wait for a segment that is just being compressed, and a kill leaves nothing behind.
#[test]
fn no_end_waits_for_a_compression() {
    let site = long(3, 600);
    for kill in [false, true, false] {
        let daemon = site.daemon();
        let new = site.state().join("journal/pack.tmp");
        until("a segment is being compressed", || fs::metadata(&new).ok().filter(|about| about.len() > 0));
        let begun = Instant::now();
        if kill {
            daemon.kill();
            assert!(new.exists());
        } else {
            site.merge("2026-11-20-jdoe-more", &grant("8h", GROUP));
            daemon.stop();
            assert!(!new.exists());
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert!(packed(&site) < 2, "it was done already");
        site.fine(&["audit", "verify"]);
        site.fine(&["status"]);
    }
}

#[test]
fn segments_are_moved_out_beside_the_daemon() {
    let site = long(4, 3);
    let told = site.history();
    let to = archive(&site);
    let path = to.to_str().unwrap();
    let daemon = site.daemon();
    let done = site.fine(&["audit", "archive", "--to", path]);
    assert!(done.out.starts_with("3 segments moved, with "), "{done}");
    assert_eq!((names(&to).len(), names(&site.state().join("journal")).len()), (3, 2));
    assert!(names(&to).iter().all(|name| name.ends_with(".jsonl.gz")));
    let done = site.fine(&["audit", "archive", "--to", path]);
    assert!(done.out.starts_with("nothing to move: the last two segments stay"), "{done}");

    // The daemon goes on, and so do its readers.
    site.withdraw("2026-11-20-jdoe-long");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    let here = site.fine(&["audit", "verify"]);
    assert!(here.out.contains("are archived (") && here.out.contains("not looked at"), "{here}");
    let all = site.fine(&["audit", "verify", "--archive", path]);
    assert!(all.out.contains("and verified there"), "{all}");
    assert_eq!(site.json(&["audit", "verify", "--archive", path])["segments"], 5);
    assert_eq!(site.json(&["audit", "verify"])["archived"]["segments"], 3);
    assert!(!done.err.contains("warning"), "{done}");
    site.fine(&["status"]);
    daemon.stop();
    site.daemon().stop();

    // What happened before is named, and shown if it is at hand.
    let id = "2026-11-20-jdoe-long";
    let here = site.fine(&["history", id]);
    assert!(!here.out.contains("accept") && here.out.contains("withdraw"), "{here}");
    assert!(here.err.contains("note: lines 1 to ") && here.err.contains(path), "{here}");
    let all = site.fine(&["history", "--archive", path, "--format", "json"]);
    assert_eq!(all.err, "");
    let lines: Vec<serde_json::Value> = all.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..told.len()], told);
    let none = site.run(&["history", "2026-11-20-nobody"]);
    assert!(none.code == 1 && none.err.contains("what is here of the journal has no line"), "{none}");
    let all = site.run(&["history", "2026-11-20-nobody", "--archive", path]);
    assert!(all.code == 1 && all.err.contains("error: the journal has no line"), "{all}");
}

#[test]
fn what_is_young_stays_and_what_is_wrong_is_told() {
    let site = long(3, 1);
    let to = archive(&site);
    let path = to.to_str().unwrap();
    let young = site.fine(&["audit", "archive", "--to", path, "--older-than", "1d"]);
    assert!(young.out.contains("and so does what is younger"), "{young}");
    let bad = site.run(&["audit", "archive", "--to", path, "--older-than", "3 months"]);
    assert!(bad.code == 64 && bad.err.contains("write one such as `90d`"), "{bad}");
    let none = site.run(&["audit", "archive", "--to", "nowhere"]);
    assert!(none.code == 1 && none.err.contains("install -d -m 700 nowhere"), "{none}");
    let same = site.run(&["audit", "archive", "--to", "state/journal"]);
    assert!(same.code == 1 && same.err.contains("name one outside"), "{same}");
    assert_eq!(names(&to), Vec::<String>::new());
    // A damaged one stays, and what comes after it; the advice is that for a damaged journal.
    let first = site.state().join("journal").join(&names(&site.state().join("journal"))[0]);
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replacen("Auditors", "Auditorz", 1)).unwrap();
    for arguments in [&["audit", "archive", "--to", path][..], &["audit", "archive", "--to", path, "--format", "json"]]
    {
        let damaged = site.run(arguments);
        assert!(damaged.code == 1 && format!("{damaged}").contains("01.jsonl, line "), "{damaged}");
    }
    assert_eq!(names(&to), Vec::<String>::new());
    fs::write(&first, text).unwrap();
    // An archive that broke is told as what it is: nobody is advised to put the journal back.
    site.fine(&["audit", "archive", "--to", path]);
    let moved = to.join(&names(&to)[0]);
    fs::write(&moved, "x").unwrap();
    let broken = site.run(&["audit", "verify", "--archive", path]);
    assert!(broken.code == 1 && !broken.err.contains("nothing ends by itself"), "{broken}");
    site.fine(&["audit", "verify"]);
}

/// An empty folder where the archive was may be the place of a disk that is not mounted.
#[test]
fn an_archive_that_is_not_there_is_missed() {
    let site = long(2, 1);
    let to = archive(&site);
    let path = to.to_str().unwrap();
    let first = site.fine(&["audit", "archive", "--to", path]);
    assert!(!first.err.contains("is its disk mounted?"), "{first}");
    let (mut journal, lines) = FileJournal::open(&site.state(), now()).unwrap();
    journal.checkpoint(now(), &ledger(lines)).unwrap();
    drop(journal);
    let kept = to.with_file_name("kept");
    fs::rename(&to, &kept).unwrap();
    fs::create_dir(&to).unwrap();
    let second = site.fine(&["audit", "archive", "--to", path]);
    assert!(second.err.contains("held nothing of what was archived before: is its disk mounted?"), "{second}");
    let lacks = site.run(&["audit", "verify", "--archive", path]);
    assert!(lacks.code == 1 && lacks.err.contains("bring all that was archived into one folder"), "{lacks}");
    let name = &names(&to)[0];
    fs::rename(to.join(name), kept.join(name)).unwrap();
    site.fine(&["audit", "verify", "--archive", kept.to_str().unwrap()]);
}

#[test]
fn only_the_owner_of_the_state_archives() {
    if !root() {
        eprintln!("NOT TESTED: to give a folder away takes root");
        return;
    }
    let site = long(3, 1);
    let to = archive(&site);
    std::os::unix::fs::chown(site.state(), Some(4711), None).unwrap();
    let done = site.run(&["audit", "archive", "--to", to.to_str().unwrap()]);
    assert!(done.code == 1 && done.err.contains("belongs to uid 4711"), "{done}");
    assert!(done.err.contains("grantd audit archive --to"), "{done}");
    assert_eq!(names(&to), Vec::<String>::new());
    assert!(!site.state().join("tidy").exists());
}

#[test]
fn an_older_journal_is_begun_with_as_it_is() {
    let site = long(30, 1);
    let daemon = site.daemon();
    daemon.said("closed segments of the journal are compressed");
    assert_eq!(packed(&site), 29);
    daemon.stop();
    let status = site.json(&["status"]);
    assert_eq!(status["grants"].as_array().map(Vec::len), Some(1), "{status}");
}

/// What lacks in an archive is the archive's fault, and the journal is not called damaged for it.
#[test]
fn what_an_archive_lacks_is_told_of_the_archive() {
    let site = long(4, 1);
    let to = archive(&site);
    let path = to.to_str().unwrap();
    site.fine(&["audit", "archive", "--to", path]);
    let all = names(&to);
    assert_eq!(all.len(), 3);
    for lacks in &all {
        fs::rename(to.join(lacks), site.path("aside")).unwrap();
        for verb in [&["audit", "verify"][..], &["history"][..]] {
            let told = site.run(&[verb, &["--archive", path]].concat());
            assert!(
                told.code == 1 && told.err.contains("lacks lines ") && told.err.contains("into one folder"),
                "{told}"
            );
            assert!(!told.err.contains("damaged") && !told.err.contains("not whole"), "{told}");
        }
        fs::rename(site.path("aside"), to.join(lacks)).unwrap();
    }
    let none = site.run(&["audit", "verify", "--archive", "/nothing/there"]);
    assert!(none.code == 1 && !none.err.contains("not whole"), "{none}");
    // What the state folder knows of it is checked, too.
    let link = site.state().join("journal/archived.json");
    let text = fs::read_to_string(&link).unwrap();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap();
    let far = text.replace(&format!("\"to\": {}", known["to"]), "\"to\": 4000000000");
    assert_ne!(far, text);
    fs::write(&link, far).unwrap();
    let told = site.run(&["audit", "verify", "--archive", path]);
    assert!(told.code == 1 && told.err.contains("says 4000000000:"), "{told}");
    fs::remove_file(&link).unwrap();
    let told = site.run(&["audit", "verify", "--archive", path]);
    assert!(told.code == 1 && told.err.contains("expected the line before it"), "{told}");
    fs::write(&link, text).unwrap();
    site.fine(&["audit", "verify", "--archive", path]);
    // Brought back, and archived anew: that is no other disk.
    let state = site.state();
    for name in &all {
        fs::rename(to.join(name), state.join("journal").join(name)).unwrap();
    }
    let again = site.fine(&["audit", "archive", "--to", path]);
    assert!(again.err.is_empty() && names(&to) == all, "{again}");
    for folder in [&state, &state.join("journal")] {
        let told = site.run(&["audit", "archive", "--to", folder.to_str().unwrap()]);
        assert!(told.code == 1 && told.err.contains("name one outside"), "{told}");
    }
}

/// A place that was noted of another installation says nothing of damage here.
#[test]
fn another_installations_checkpoint_is_no_damage() {
    let site = long(1, 1);
    let told = site.run(&["audit", "verify", "--checkpoint", &format!("2:{}", "ab".repeat(32))]);
    assert!(told.code == 1 && told.err.contains("noted of this very installation"), "{told}");
    assert!(!told.err.contains("nothing ends by itself"), "{told}");
    for usage in [
        &["audit", "verify", "--checkpoint", "x"][..],
        &["audit", "archive", "--to", "/", "--older-than", "8 h"][..],
        &["history", "../x"][..],
        &["clock", "accept", "--reason", " "][..],
    ] {
        assert_eq!(site.run(usage).code, 64, "{usage:?}");
    }
}

/// A checkpoint of the release before came from other rules: it is gone on from, as at a start, and is no damage.
#[test]
fn the_checkpoint_of_an_earlier_format_is_taken_as_it_is() {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    site.fine(&["apply"]);
    let (mut journal, lines) = FileJournal::open(&site.state(), now()).unwrap();
    let mut kept = ledger(lines);
    for terms in kept.grants.values_mut() {
        terms.asks_since = None;
    }
    // Of this format it would be damage.
    let (state, copy) = (site.state(), site.path("copy"));
    let copied = std::process::Command::new("cp").arg("-a").args([&state, &copy]).status().unwrap();
    assert!(copied.success());
    let (mut other, _) = FileJournal::open(&copy, now()).unwrap();
    other.checkpoint(now(), &kept).unwrap();
    drop(other);
    let told = site.run(&["audit", "verify", "--state", copy.to_str().unwrap()]);
    assert!(told.code == 1 && told.err.contains("not what the lines before it come to"), "{told}");
    kept.format = 2;
    journal.checkpoint(now(), &kept).unwrap();
    drop(journal);
    let told = site.fine(&["audit", "verify"]);
    assert!(told.out.contains("1 checkpoint of an earlier release"), "{told}");
    site.withdraw("2026-11-20-jdoe-long");
    site.fine(&["apply"]);
    assert!(!site.in_group());
    assert_eq!(site.json(&["audit", "verify"])["earlier"], 1);
}

/// Ended in the middle it leaves nothing half done in the archive, and a file that may not grow is an error like a full disk.
#[test]
fn an_archiving_that_is_ended_leaves_no_half() {
    let site = long(2, 600);
    let to = archive(&site);
    let path = to.to_str().unwrap();
    let halves = || names_of(&to).into_iter().filter(|name| !name.contains(".jsonl")).collect::<Vec<_>>();
    let mut child = site.command(&["audit", "archive", "--to", path]).spawn().unwrap();
    until("it is under way", || (!halves().is_empty()).then_some(()));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(halves(), Vec::<String>::new());
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--fsize=100000").arg(env!("CARGO_BIN_EXE_grantd")).args(["audit", "archive", "--to", path]);
    let told = limited.arg("--config").arg(site.path("grantd.yaml")).output().unwrap();
    let err = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.code() == Some(1) && err.contains("cannot write"), "{err}");
    assert_eq!(halves(), Vec::<String>::new());
    site.fine(&["audit", "archive", "--to", path]);
    site.fine(&["audit", "verify", "--archive", path]);
}
