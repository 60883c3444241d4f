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
    assert!(verdict.out.contains(&format!("{} bytes at the end are an unfinished batch", cut - batch)), "{verdict}");
    goes_on(&site, &text.as_bytes()[batch..cut]);
}

#[test]
fn the_beginning_of_a_line_without_its_end_is_cut_and_kept() {
    let site = with_grant();
    let segment = site.segment();
    let lines = fs::read_to_string(&segment).unwrap();
    let last = lines.lines().next_back().unwrap();
    // What a writer would have begun next: the same shape with the next number and the hash of the line before.
    let head = site.json(&["audit", "verify"])["head"].clone();
    assert!(last.contains(&format!("\"seq\":{}", head["seq"])), "{last}");
    let torn = format!("{{\"seq\":{},\"prev\":{},\"at\":\"2026-11-2", head["seq"].as_u64().unwrap() + 1, head["hash"]);
    append(&segment, torn.as_bytes());
    goes_on(&site, torn.as_bytes());
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
