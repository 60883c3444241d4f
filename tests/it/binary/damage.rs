//! What befalls the journal: torn tails, flipped bits, a full disk.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::{GROUP, HOST, Site, flip, grant, now, root, until};

/// A state with a live grant, and nobody who runs.
fn with_grant() -> Site {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    site.fine(&["apply"]);
    assert!(site.in_group());
    site
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn kept(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.state()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("torn-")).collect()
}

/// The daemon starts over the torn tail, records the cut, and goes on: a withdrawal reaches the world.
fn goes_on(site: &Site, torn: &[u8]) {
    assert_eq!(kept(site), Vec::<PathBuf>::new(), "readers put nothing aside");
    let daemon = site.daemon();
    let aside = kept(site);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(&aside[0]).unwrap(), torn, "what was cut is kept byte for byte");
    let cuts: Vec<_> = site.history().into_iter().filter(|line| line["kind"] == "cut").collect();
    assert_eq!(cuts.len(), 1, "{cuts:?}");
    assert_eq!(cuts[0]["bytes"], torn.len());
    assert_eq!(cuts[0]["kept"], aside[0].file_name().unwrap().to_str().unwrap());
    site.withdraw("2026-11-20-jdoe-long");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
}

#[test]
fn a_tail_torn_within_a_line_is_cut_and_kept() {
    let site = with_grant();
    let segment = site.segment();
    let text = fs::read_to_string(&segment).unwrap();
    // Everything after the last commit line but one is the last batch; it loses its end, in the middle of a line.
    let commits: Vec<usize> = text.match_indices("\"commit\":{\"count\"").map(|(at, _)| at).collect();
    let before = commits[commits.len() - 2];
    let batch = before + text[before..].find('\n').unwrap() + 1;
    let cut = text.len() - 40;
    assert!(cut > batch);
    fs::write(&segment, &text[..cut]).unwrap();
    let verdict = site.fine(&["audit", "verify"]);
    assert!(verdict.out.contains(&format!("{} bytes at the end: an unfinished batch", cut - batch)), "{verdict}");
    goes_on(&site, &text.as_bytes()[batch..cut]);
}

#[test]
fn the_beginning_of_a_line_without_its_end_is_cut_and_kept() {
    let site = with_grant();
    let torn = begin_line(&site);
    goes_on(&site, torn.as_bytes());
}

/// What a writer would have begun next: the same shape with the next number and the hash of the line before.
fn begin_line(site: &Site) -> String {
    let segment = site.segment();
    let lines = fs::read_to_string(&segment).unwrap();
    let last = lines.lines().next_back().unwrap();
    let head = site.json(&["audit", "verify"])["head"].clone();
    assert!(last.contains(&format!("\"seq\":{}", head["seq"])), "{last}");
    let torn = format!("{{\"seq\":{},\"prev\":{},\"at\":\"2026-11-2", head["seq"].as_u64().unwrap() + 1, head["hash"]);
    append(&segment, torn.as_bytes());
    torn
}

/// Bytes that no writer of ours leaves are not taken for a torn tail: somebody else wrote there.
#[test]
fn garbage_at_the_end_is_no_torn_tail() {
    for garbage in [&b"garbage"[..], b"garbage\n", b"\0\0\0\0", b"{\"seq\":99"] {
        let site = with_grant();
        append(&site.segment(), garbage);
        refused(&site, &String::from_utf8_lossy(garbage));
    }
}

/// `audit verify` says where, `run` and `apply` do not start, and nothing in the world changes.
fn refused(site: &Site, what: &str) {
    let place = site.segment().file_name().unwrap().to_str().unwrap().to_owned();
    let before = fs::read(site.segment()).unwrap();
    for arguments in [&["audit", "verify"][..], &["run"], &["apply"]] {
        let done = site.run(arguments);
        assert_eq!(done.code, 1, "{what}: {arguments:?}: {done}");
        assert!(
            done.err.contains(&place) && done.err.contains("line "),
            "{what}: {arguments:?} names no place: {done}"
        );
    }
    // And what to do about it, whoever asks.
    for arguments in [&["run"][..], &["apply"], &["plan"], &["status"], &["history"], &["doctor"], &["audit", "verify"]]
    {
        let done = site.run(arguments);
        let said = format!("{}{}", done.out, done.err);
        assert_eq!(done.code, 1, "{what}: {arguments:?}: {done}");
        for advice in [
            "nothing ends by itself",
            "`grantd history` shows all that is whole",
            "from a copy that `grantd audit verify` calls whole",
        ] {
            assert!(said.contains(advice), "{what}: {arguments:?} does not say `{advice}`: {done}");
        }
    }
    let verdict = site.json(&["audit", "verify"]);
    assert_eq!(verdict["whole"], false, "{what}: {verdict}");
    assert!(verdict["error"].as_str().unwrap().contains(&place), "{what}: {verdict}");
    assert!(site.in_group(), "{what}");
    assert_eq!(fs::read(site.segment()).unwrap(), before, "{what}: the evidence was changed");
}

#[test]
fn a_flipped_bit_is_found_and_stops_the_start() {
    let site = with_grant();
    let segment = site.segment();
    let text = fs::read_to_string(&segment).unwrap();
    let accept = text.find("\"kind\":\"accept\"").unwrap();
    let line = text[..accept].matches('\n').count() + 1;
    for (what, at) in [
        ("in a record", text[accept..].find("jdoe@corp").unwrap() + accept),
        ("in a hash", text[..accept].rfind("\"prev\":\"").unwrap() + 20),
        ("in a newline", accept + text[accept..].find('\n').unwrap()),
        ("in the first line", 3),
    ] {
        flip(&segment, at);
        refused(&site, what);
        flip(&segment, at);
    }
    // The place is the right one.
    flip(&segment, text[..accept].rfind("\"prev\":\"").unwrap() + 20);
    let done = site.run(&["audit", "verify"]);
    assert!(done.err.contains(&format!("line {line}")), "line {line}: {done}");
}

#[test]
fn a_checkpoint_outside_finds_lines_cut_off_the_end() {
    let site = with_grant();
    let head = site.json(&["audit", "verify"])["head"].clone();
    let outside = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap());
    site.fine(&["audit", "verify", "--checkpoint", &outside]);
    let text = fs::read_to_string(site.segment()).unwrap();
    let commits: Vec<usize> = text.match_indices("\"commit\":{\"count\"").map(|(at, _)| at).collect();
    let before = commits[commits.len() - 2];
    let end = before + text[before..].find('\n').unwrap() + 1;
    fs::write(site.segment(), &text[..end]).unwrap();
    site.fine(&["audit", "verify"]);
    let done = site.run(&["audit", "verify", "--checkpoint", &outside]);
    assert_eq!(done.code, 1, "{done}");
    assert!(done.err.contains("older than the checkpoint outside"), "{done}");
}

/// A small disk of our own. Unmounted when it is dropped.
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(place: PathBuf) -> Self {
        fs::create_dir_all(&place).unwrap();
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", "size=4m,mode=700", "grantd-test"]).arg(&place).output().unwrap();
        assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Self(place)
    }

    /// Writes until nothing more goes.
    pub fn fill(&self) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.0.join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let bytes = vec![7; size];
            while file.write(&bytes).is_ok_and(|written| written > 0) {}
        }
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let output = Command::new("mount").args(["-o", &how]).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_grants_stop_and_ends_go_on() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: a full disk needs root, to mount a small tmpfs of its own");
        return;
    }
    let site = Site::new();
    let disk = Disk::mount(site.state());
    site.fine(&["init"]);
    let daemon = site.daemon();
    // Accepted while there is room; its start comes when there is none. Many hosts, so that their intents do not fit into
    // what is left of the segment's last page.
    let hosts: String =
        (0..60).map(|n| format!("        i-000001{n:02}: {{ tags: {{ AccessGroup: Many }} }}\n")).collect();
    site.edit_world(|world| world.replace("      us-east-1:\n", &format!("      us-east-1:\n{hosts}")));
    let granted = || fs::read_to_string(site.path("world.yaml")).unwrap().matches("2026-11-20-jdoe-later").count();
    let from = now().checked_add(jiff::SignedDuration::from_secs(12)).unwrap();
    site.merge("2026-11-20-jdoe-later", &format!("from: {from}\n{}", grant("8h", &HOST.replace("JITAdmins", "Many"))));
    site.merge("2026-11-20-jdoe-live", &grant("25s", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    until("both are recorded", || (site.count("fate", "grant") == 1 && site.count("accept", "") == 2).then_some(()));
    disk.fill();
    assert!(now() < from, "this machine is too slow for this test");
    until("the end came all the same", || {
        // The reserve, too, is somebody else's now.
        disk.fill();
        assert_eq!(granted(), 0, "granted without a journal");
        (!site.in_group()).then_some(())
    });
    assert!(now() > from);
    disk.free();
    until("the end is recorded", || (site.count("fate", "revoke") >= 1 && site.count("finish", "") == 1).then_some(()));
    until("what waited is granted", || (granted() == 60).then_some(()));
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    let log = daemon.stop();
    assert!(log.contains("the disk is full") && log.contains("grants stop, revocations go on"), "{log}");
    site.fine(&["audit", "verify"]);
    drop(disk);
}

/// A daemon that dies with its disk full, in the middle of a line, has left what a start would have to put aside.
#[test]
fn over_a_torn_tail_on_a_full_disk_the_start_ends_what_is_due() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: a full disk needs root, to mount a small tmpfs of its own");
        return;
    }
    let site = Site::new();
    let disk = Disk::mount(site.state());
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-short", &grant("2s", GROUP));
    site.fine(&["apply"]);
    assert!(site.in_group());
    let torn = begin_line(&site);
    let _ = fs::remove_file(site.state().join("reserve"));
    disk.fill();
    let daemon = site.daemon();
    until("the end came all the same", || (!site.in_group()).then_some(()));
    assert_eq!(kept(&site), Vec::<PathBuf>::new(), "there was no room to put it aside");
    disk.free();
    until("the end is recorded", || (site.count("fate", "revoke") >= 1 && site.count("cut", "") == 1).then_some(()));
    assert_eq!(fs::read(&kept(&site)[0]).unwrap(), torn.as_bytes());
    let log = daemon.stop();
    assert!(log.contains("the disk is full") && log.contains("the journal is back"), "{log}");
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    drop(disk);
}

/// What a file system does that found itself broken.
#[test]
fn on_a_disk_that_became_read_only_the_start_ends_what_is_due() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: a read-only disk needs root, to mount a small tmpfs of its own");
        return;
    }
    let site = Site::new();
    let disk = Disk::mount(site.state());
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-short", &grant("2s", GROUP));
    site.fine(&["apply"]);
    assert!(site.in_group());
    disk.remount("ro");
    let daemon = site.daemon();
    until("the end came all the same", || (!site.in_group()).then_some(()));
    let second = site.run(&["apply"]);
    assert!(second.code == 1 && second.err.contains("writes the journal"), "two at once: {second}");
    disk.remount("rw");
    until("the end is recorded", || (site.count("fate", "revoke") >= 1 && site.count("finish", "") == 1).then_some(()));
    let log = daemon.stop();
    assert!(log.contains("ead-only file system") && log.contains("the journal is back"), "{log}");
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    drop(disk);
}

/// Whoever tidies the lock away lets a second daemon in: the first one writes no more, and the journal stays whole.
#[test]
fn a_lock_that_was_tidied_away_lets_one_write() {
    let site = Site::new();
    site.fine(&["init"]);
    let first = site.daemon();
    site.merge("2026-11-20-jdoe-short", &grant("12s", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    fs::remove_file(site.state().join("lock")).unwrap();
    let second = site.daemon();
    site.merge("2026-11-20-jdoe-host", &grant("8h", HOST));
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    let (status, log) = first.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("is not the one that this process locked") && log.contains("another daemon took"), "{log}");
    assert!(!second.stop().contains("cannot be written"), "the second one holds the lock");
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    let starts = site.history().into_iter().filter(|line| line["kind"] == "start").count();
    assert_eq!(starts, 2, "the first one came back");
    let revoked = site.count("intend", "revoke");
    assert_eq!(revoked, 1, "both ended it");
}

/// The end has come and is not on record, because nobody runs: `status` says why all the same.
#[test]
fn status_says_why_before_the_journal_does() {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-short", &grant("1s", GROUP));
    site.fine(&["apply"]);
    let status = until("it is over", || {
        let status = site.json(&["status"]);
        status["owed"].as_array().is_some_and(|owed| !owed.is_empty()).then_some(status)
    });
    assert_eq!(status["owed"][0]["cause"], "expired", "{status}");
}

/// An older copy of the journal under a daemon that runs is no journal to go on from: what was recorded since is owed, and ends.
#[test]
fn an_older_copy_under_a_running_daemon_makes_it_forget_nothing() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    let old = fs::read(site.segment()).unwrap();
    site.merge("2026-11-20-jdoe-short", &grant("15s", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    until("that is recorded", || (site.count("fate", "grant") == 1).then_some(()));
    let new = site.state().join("copy");
    let newer = fs::read(site.segment()).unwrap();
    fs::write(&new, &old).unwrap();
    fs::rename(&new, site.segment()).unwrap();
    until("the end came all the same", || (!site.in_group()).then_some(()));
    daemon.said("put that one back");
    std::thread::sleep(std::time::Duration::from_secs(11));
    assert_eq!(site.count("accept", ""), 0, "it was begun anew");
    // The right one is put back: what was done meanwhile is recorded behind it.
    fs::write(&new, &newer).unwrap();
    fs::rename(&new, site.segment()).unwrap();
    until("the end is recorded", || (site.count("fate", "revoke") == 1).then_some(()));
    daemon.stop();
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    assert_eq!(site.count("accept", ""), 1);
}
