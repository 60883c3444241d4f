//! What is trusted by its path: whoever may write a folder on the way to it, or the link that leads there, may put another one in its
//! place.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

use super::{GROUP, HOST, Site, grant, root, until};

/// Nobody's user.
const NOBODY: u32 = 65534;
const REFUSED: &str = "the new configuration is refused, the old one stays";
const STANDS: &str = "nothing is granted or extended; ends go on";

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The configuration in `etc/now/`, reached by the link `etc/data`, which `grantd.yaml` leads to; the state in `var/deep/state`.
fn linked() -> Site {
    let site = Site::new();
    site.configure("", &format!("state: {}\n", site.path("var/deep/state").display()));
    fs::create_dir_all(site.path("etc/now")).unwrap();
    fs::create_dir_all(site.path("var/deep")).unwrap();
    for folder in ["etc", "etc/now", "var", "var/deep"] {
        set(&site.path(folder), 0o755);
    }
    let text = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    let text = text.replace("world: world.yaml", &format!("world: {}", site.path("world.yaml").display()));
    fs::write(site.path("etc/now/grantd.yaml"), text).unwrap();
    set(&site.path("etc/now/grantd.yaml"), 0o644);
    symlink("now", site.path("etc/data")).unwrap();
    fs::remove_file(site.path("grantd.yaml")).unwrap();
    symlink("etc/data/grantd.yaml", site.path("grantd.yaml")).unwrap();
    site
}

/// Every verb that writes refuses, and says what to write; `doctor` does not call it fine.
fn refused(site: &Site, what: &str, help: &str) {
    for verb in [
        &["init"][..],
        &["run"],
        &["apply"],
        &["source", "accept", "--rev", "HEAD", "--reason", "x"],
        &["clock", "accept", "--reason", "x"],
    ] {
        let done = site.run(verb);
        assert!(done.code == 1 && done.err.contains(help), "{verb:?}, {what}: {done}");
    }
    let doctor = site.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains(help) && !doctor.out.contains("all fine"), "{what}: {doctor}");
}

#[test]
fn a_folder_on_the_way_that_others_may_write_is_refused() {
    let site = linked();
    site.fine(&["init"]);
    assert!(site.fine(&["doctor"]).out.contains("all fine"));
    for folder in ["etc", "etc/now", "var", "var/deep"] {
        let path = site.path(folder);
        for mode in [0o777, 0o775, 0o757, 0o2775] {
            set(&path, mode);
            refused(&site, &format!("{folder} {mode:o}"), &format!("`chmod go-w {}`", path.display()));
        }
        // As /tmp is: nobody moves what is another one's.
        set(&path, 0o1777);
        site.fine(&["apply"]);
        site.fine(&["doctor"]);
        set(&path, 0o755);
    }
    site.fine(&["apply"]);
}

#[test]
fn a_folder_or_link_on_the_way_that_is_another_ones_is_refused() {
    if !root() {
        return;
    }
    let site = linked();
    site.fine(&["init"]);
    for folder in ["etc", "etc/now", "var", "var/deep"] {
        let path = site.path(folder);
        for mode in [0o755, 0o1777] {
            set(&path, mode);
            chown(&path, Some(NOBODY), None).unwrap();
            refused(&site, &format!("{folder} {mode:o}"), &format!("`chown root {}`", path.display()));
            chown(&path, Some(0), None).unwrap();
            set(&path, 0o755);
        }
    }
    for link in ["grantd.yaml", "etc/data"] {
        let path = site.path(link);
        std::os::unix::fs::lchown(&path, Some(NOBODY), None).unwrap();
        refused(&site, link, &format!("`chown -h root {}`", path.display()));
        std::os::unix::fs::lchown(&path, Some(0), None).unwrap();
    }
    // The journal on another disk, behind a link.
    fs::rename(site.path("var/deep/state/journal"), site.path("journal")).unwrap();
    symlink(site.path("journal"), site.path("var/deep/state/journal")).unwrap();
    site.fine(&["apply"]);
    chown(site.path("journal"), Some(NOBODY), None).unwrap();
    let done = site.run(&["apply"]);
    assert!(done.code == 1 && done.err.contains("belongs to another user"), "{done}");
    chown(site.path("journal"), Some(0), None).unwrap();
    site.fine(&["apply"]);
}

/// The folders of a ConfigMap are open to all by their modes, and nobody can write there.
#[test]
fn what_is_mounted_for_reading_only_is_written_by_nobody() {
    if !root() {
        return;
    }
    let site = linked();
    site.fine(&["init"]);
    let etc = site.path("etc");
    let mount = |arguments: &[&str]| {
        let done = Command::new(arguments[0]).args(&arguments[1..]).arg(&etc).output().unwrap();
        done.status.success()
    };
    set(&etc, 0o777);
    let here = etc.to_str().unwrap();
    if !mount(&["mount", "--bind", here]) {
        return;
    }
    let read_only = mount(&["mount", "-o", "remount,bind,ro"]);
    let (doctor, apply) = (site.run(&["doctor"]), site.run(&["apply"]));
    assert!(mount(&["umount"]));
    assert!(read_only && doctor.code == 0 && apply.code == 0, "{doctor}\n{apply}");
    assert_eq!(site.run(&["apply"]).code, 1);
}

/// What an attacker does in a folder that was left open: yesterday's laxer file, root's own, under the name of today's.
#[test]
fn a_configuration_is_not_taken_from_a_folder_that_others_may_write() {
    let site = linked();
    site.fine(&["init"]);
    let good = fs::read_to_string(site.path("etc/now/grantd.yaml")).unwrap();
    let strict = format!("{good}limits: {{ default_ttl: 1m, max_duration: 1m }}\n");
    fs::write(site.path("etc/now/grantd.yaml"), strict).unwrap();
    let daemon = site.daemon();
    fs::create_dir(site.path("etc/old")).unwrap();
    fs::write(site.path("etc/old/grantd.yaml"), &good).unwrap();
    set(&site.path("etc/old/grantd.yaml"), 0o644);
    set(&site.path("etc/old"), 0o755);
    set(&site.path("etc"), 0o777);
    let lead = |to: &str| {
        symlink(to, site.path("etc/next")).unwrap();
        fs::rename(site.path("etc/next"), site.path("etc/data")).unwrap();
    };
    lead("old");
    daemon.said(REFUSED);
    daemon.said(&format!("`chmod go-w {}`", site.path("etc").display()));
    daemon.said(STANDS);
    // Nothing is begun on such ground, and what ends ends.
    site.merge("2026-11-20-jdoe-long", &grant("1m", HOST));
    assert!(!daemon.log().contains("the configuration is reloaded"), "{}", daemon.log());
    // Mended: it is looked at again without a word from anybody.
    lead("now");
    set(&site.path("etc"), 0o755);
    daemon.said("grants go on");
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    let log = daemon.stop();
    assert!(!log.contains("the configuration is reloaded"), "{log}");
    assert!(log.matches(REFUSED).count() <= 2, "told again and again: {log}");
}

/// Known hosts, tokens, secrets of webhooks: who may change these may answer in the place of Git, or of the forge.
#[test]
fn while_others_may_change_what_git_is_known_by_nothing_is_granted_and_ends_go_on() {
    let site = Site::new();
    let (keys, file) = (site.path("keys"), site.path("keys/deep/token"));
    fs::create_dir_all(site.path("keys/deep")).unwrap();
    fs::write(&file, "canary-0123456789abcdef\n").unwrap();
    for (path, mode) in [(&keys, 0o755), (&site.path("keys/deep"), 0o755), (&file, 0o600)] {
        set(path, mode);
    }
    site.configure("", &format!("hooks: {{ listen: \"127.0.0.1:0\", gitlab: {} }}\n", file.display()));
    site.fine(&["init"]);
    site.fine(&["doctor"]);
    site.merge("2026-11-20-jdoe-group", &grant("8h", GROUP));
    let daemon = site.daemon();
    until("jdoe is in the group", || site.in_group().then_some(()));
    let places = [(&file, 0o620), (&keys, 0o777)];
    for (times, (place, bad)) in places.into_iter().enumerate() {
        let (help, good) = (format!("`chmod go-w {}`", place.display()), fs::metadata(place).unwrap().permissions());
        set(place, bad);
        let doctor = site.run(&["doctor"]);
        assert!(doctor.code == 1 && doctor.out.contains(&help), "{doctor}");
        let plan = site.run(&["plan"]);
        assert!(plan.out.contains(&help), "{plan}");
        daemon.said_times(STANDS, times + 1);
        daemon.said(&help);
        if times == 0 {
            fs::set_permissions(place, good).unwrap();
            site.fine(&["doctor"]);
            daemon.said("grants go on");
        }
    }
    site.merge("2026-11-20-jdoe-host", &grant("8h", HOST));
    site.withdraw("2026-11-20-jdoe-group");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    assert_eq!((site.on_host(), site.count("accept", "")), (0, 1));
    // A restart changes nothing of that.
    daemon.stop();
    let daemon = site.daemon();
    daemon.said(STANDS);
    set(&keys, 0o755);
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    daemon.stop();
}

/// As a shell has it for `--config <(…)`: what can be read once is.
#[test]
fn a_configuration_may_come_by_a_pipe() {
    let site = Site::new();
    site.configure("", &format!("state: {}\n", site.state().display()));
    let text = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    let text = text.replace("world: world.yaml", &format!("world: {}", site.path("world.yaml").display()));
    fs::write(site.path("grantd.yaml"), text).unwrap();
    for verb in ["init", "plan", "apply", "doctor"] {
        let mut shell = Command::new("bash");
        shell.args(["-c", "exec \"$0\" \"$1\" --config <(cat grantd.yaml)", env!("CARGO_BIN_EXE_grantd"), verb]);
        let done = shell.current_dir(site.path("")).output().unwrap();
        assert!(done.status.success(), "{verb}: {done:?}");
    }
}

/// The keys whose signatures count were guarded already, their folders not.
#[test]
fn keys_in_a_folder_that_others_may_write_count_for_nothing() {
    let site = super::trust::signed();
    site.fine(&["init"]);
    let keys = site.path("keys");
    fs::create_dir(&keys).unwrap();
    set(&keys, 0o755);
    fs::rename(site.path("signers"), keys.join("signers")).unwrap();
    symlink("keys/signers", site.path("signers")).unwrap();
    site.fine(&["doctor"]);
    set(&keys, 0o777);
    let doctor = site.run(&["doctor"]);
    let help = format!("`chmod go-w {}`", keys.display());
    assert!(doctor.code == 1 && doctor.out.contains(&help), "{doctor}");
    let daemon = site.daemon();
    daemon.said(STANDS);
    daemon.said(&help);
    daemon.stop();
}
