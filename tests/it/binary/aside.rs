//! What is fetched beside the state folder: because the disk is full, because the command only looks; and what is none of ours
//! to read, a HOME and its configuration.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Daemon, Done, GROUP, HOST, Site, damage::Disk, grant, root, until};

/// Nobody's user: the tests give him files, and run as him.
const NOBODY: u32 = 65_534;

/// A merge and two withdrawals come while nothing can be written: both withdrawals take effect, nothing is granted, and when
/// there is room again all is as if there had been none of it.
#[test]
fn a_withdrawal_is_seen_while_the_disk_is_full() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: a full disk needs root, to mount a small tmpfs of its own");
        return;
    }
    let mut site = Site::new();
    let disk = Disk::mount(site.state());
    let run = site.path("run");
    fs::create_dir(&run).unwrap();
    site.environment.push(("RUNTIME_DIRECTORY", run.to_str().unwrap().into()));
    site.fine(&["init"]);
    site.merge("jdoe-one", &grant("8h", GROUP));
    site.merge("jdoe-two", &grant("8h", HOST));
    let daemon = site.daemon();
    until("both are granted", || (site.in_group() && site.on_host() == 1).then_some(()));
    until("both are recorded", || (site.count("fate", "grant") == 2).then_some(()));
    disk.fill();
    site.withdraw("jdoe-one");
    until("the first withdrawal took effect", || {
        disk.fill();
        (!site.in_group()).then_some(())
    });
    // Another head, beside the first one; and a request, which has to wait.
    site.merge("jdoe-three", &grant("8h", GROUP));
    site.withdraw("jdoe-two");
    until("the second withdrawal took effect", || {
        disk.fill();
        (site.on_host() == 0).then_some(())
    });
    let aside = fs::read_dir(&run).unwrap().count();
    assert_eq!(aside, 1, "what is fetched lies in systemd's folder, once");
    assert!(!site.in_group(), "granted from what is not kept");
    disk.free();
    until("what waited is granted", || site.in_group().then_some(()));
    until("the ends are recorded", || {
        (site.count("fate", "revoke") >= 2 && site.count("withdraw", "") == 2).then_some(())
    });
    let head = site.git(&["rev-parse", "HEAD"]);
    until("the head is kept", || {
        fs::read_to_string(site.state().join("git/refs/grantd/fetched"))
            .is_ok_and(|kept| kept.trim() == head)
            .then_some(())
    });
    until("nothing lies beside", || (fs::read_dir(&run).unwrap().count() == 0).then_some(()));
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    let log = daemon.stop();
    assert!(!log.contains("Git cannot be read"), "{log}");
    drop(disk);
}

/// A state folder that cannot be written to for another reason: the repository there is somebody else's by now.
#[test]
fn a_withdrawal_is_seen_over_a_repository_that_cannot_be_written() {
    let Some(site) = given_away() else { return };
    let daemon = as_nobody(&site);
    until("jdoe is in the group", || site.in_group().then_some(()));
    // As a fetch by root under the umask 077 left it.
    for place in ["git/objects/pack", "git/refs/grantd", "git"] {
        std::os::unix::fs::chown(site.state().join(place), Some(0), Some(0)).unwrap();
        fs::set_permissions(site.state().join(place), fs::Permissions::from_mode(0o755)).unwrap();
    }
    site.merge("jdoe-two", &grant("8h", HOST));
    daemon.said("nothing is granted or extended");
    // Who asks for less has less.
    site.merge("jdoe-one", &grant("1h", GROUP));
    until("the end is moved earlier", || {
        (site.count("amend", "") == 1 && site.count("fate", "renew") == 1).then_some(())
    });
    site.withdraw("jdoe-one");
    until("the withdrawal took effect", || (!site.in_group()).then_some(()));
    assert_eq!(site.on_host(), 0, "granted from what is not kept");
    let doctor = site.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("chown -R --reference="), "{doctor}");
    // What doctor says helps.
    give(&site.state());
    until("what waited is granted", || (site.on_host() == 1).then_some(()));
    let log = daemon.stop();
    assert!(log.contains("what Git brings cannot be kept in the state folder"), "{log}");
}

fn give(path: &Path) {
    let done = Command::new("chown").args(["-R", "65534:65534"]).arg(path).status().unwrap();
    assert!(done.success());
}

/// A site with one grant, all of which but the configuration belongs to nobody; none without root, who alone can give things
/// away.
fn given_away() -> Option<Site> {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: only root can give files to another user");
        return None;
    }
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("jdoe-one", &grant("8h", GROUP));
    // Where it was built, nobody may enter.
    let (built, here) = (env!("CARGO_BIN_EXE_grantd"), site.path("grantd"));
    fs::hard_link(built, &here).or_else(|_| fs::copy(built, &here).map(drop)).unwrap();
    for name in ["state", "access.git", "work", "world.yaml", ".world.yaml.lock"] {
        give(&site.path(name));
    }
    std::os::unix::fs::chown(site.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // Our own work goes on there.
    fs::write(site.path(".gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    Some(site)
}

/// The same command as nobody.
fn nobodys(site: &Site, command: &Command) -> Command {
    let mut other = Command::new(site.path("grantd"));
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    other.args(command.get_args()).env_clear().envs(environment).current_dir("/").uid(NOBODY).gid(NOBODY);
    other
}

fn as_nobody(site: &Site) -> Daemon {
    let daemon = Daemon::start(nobodys(site, &site.command(&["run"])));
    daemon.said("grantd runs");
    daemon
}

fn run_as_nobody(site: &Site, arguments: &[&str]) -> Done {
    Done::of(&nobodys(site, &site.command(arguments)).output().unwrap())
}

/// Everything in a folder: owner, mode, size, time.
fn picture(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, i64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let about = path.symlink_metadata().unwrap();
        if about.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (about.uid(), about.mode(), about.size(), about.mtime_nsec()));
    }
    found
}

/// As root, and under the strictest umask: not a byte, not a time changes in the state folder, and the daemon goes on.
#[test]
fn what_only_looks_leaves_nothing_in_the_state_folder() {
    let Some(site) = given_away() else { return };
    let done = run_as_nobody(&site, &["apply"]);
    assert_eq!(done.code, 0, "{done}");
    site.merge("jdoe-two", &grant("8h", HOST));
    let head = site.git(&["rev-parse", "HEAD"]);
    let before = picture(&site.state());
    for arguments in [&["plan"][..], &["plan", "--rev", &head], &["plan", "--path", "work/grants"], &["doctor"]] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 077; exec \"$@\"", "sh"]);
        let command = site.command(arguments);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(site.folder.path());
        let done = Done::of(&shell.output().unwrap());
        assert_ne!(done.code, 1, "{arguments:?}: {done}");
        assert!(done.err.contains(&format!("{} belongs to ", site.state().display())), "{arguments:?}: {done}");
        assert!(done.err.contains(&format!("grantd {}", arguments[0])), "{arguments:?}: {done}");
        let same = picture(&site.state()) == before;
        assert!(same, "{arguments:?} changed the state folder");
    }
    assert!(site.run(&["plan"]).out.contains("jdoe-two"), "what root fetched is shown");
    let daemon = as_nobody(&site);
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    daemon.stop();
}

#[test]
fn what_writes_runs_as_the_owner_or_says_how() {
    let Some(site) = given_away() else { return };
    let before = picture(&site.state());
    for arguments in [
        &["apply"][..],
        &["run"],
        &["init"],
        &["source", "accept", "--rev", "main", "--reason", "it's CHG-1"],
        &["clock", "accept", "--reason", "CHG-1"],
    ] {
        let done = site.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done}");
        assert!(!done.err.contains("chown"), "{arguments:?}: {done}");
        let verb = arguments[0];
        assert!(done.err.contains(&format!("sudo -u nobody grantd {verb}")), "{arguments:?}: {done}");
        assert!(picture(&site.state()) == before, "{arguments:?} changed the state folder");
    }
    let done = site.run(&["source", "accept", "--rev", "main", "--reason", "it's CHG-1"]);
    assert!(done.err.contains(r"--reason 'it'\''s CHG-1'"), "{done}");
    // The other way round.
    let theirs = site;
    let done = Command::new("chown").args(["-R", "0:0"]).arg(theirs.state()).status().unwrap();
    assert!(done.success());
    fs::set_permissions(theirs.state(), fs::Permissions::from_mode(0o700)).unwrap();
    for arguments in [&["apply"][..], &["plan"], &["status"], &["history"], &["audit", "verify"]] {
        let done = run_as_nobody(&theirs, arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done}");
        assert!(done.err.contains(&format!("sudo grantd {}", arguments.join(" "))), "{arguments:?}: {done}");
    }
}

/// Neither a HOME that is not there, nor one that cannot be entered, nor what is written in it has a part in anything.
#[test]
fn no_home_is_read() {
    let mut site = Site::new();
    let homes = site.path("homes");
    fs::create_dir_all(homes.join("broken/.config/git")).unwrap();
    for name in ["broken/.gitconfig", "broken/.config/git/config"] {
        fs::write(homes.join(name), "[core\nnonsense = \"\n").unwrap();
    }
    // Would send what is fetched to another place.
    fs::create_dir_all(homes.join("lying")).unwrap();
    fs::write(homes.join("lying/.gitconfig"), "[url \"/nonexistent\"]\n\tinsteadOf = /\n[core]\n\tbare = nonsense\n")
        .unwrap();
    fs::write(homes.join("file"), "").unwrap();
    fs::create_dir_all(homes.join("closed/inner")).unwrap();
    fs::set_permissions(homes.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    site.fine(&["init"]);
    for (number, home) in [
        "/nonexistent".into(),
        homes.join("broken"),
        homes.join("lying"),
        homes.join("file"),
        homes.join("closed/inner"),
    ]
    .iter()
    .enumerate()
    {
        let home = home.to_str().unwrap();
        site.environment = vec![("HOME", home.into()), ("XDG_CONFIG_HOME", format!("{home}/.config"))];
        let name = format!("jdoe-{number}");
        site.merge(&name, &grant("8h", GROUP));
        assert!(site.run(&["plan"]).out.contains(&name), "{home}");
        site.fine(&["apply"]);
        assert!(site.in_group(), "HOME={home} stops granting");
        site.withdraw(&name);
        site.fine(&["apply"]);
        assert!(!site.in_group(), "HOME={home} stops withdrawals");
        site.fine(&["doctor"]);
    }
    fs::set_permissions(homes.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// Root can enter every folder: the user whose HOME is closed must be another one.
#[test]
fn a_home_that_cannot_be_entered_stops_nothing() {
    let Some(site) = given_away() else { return };
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("nobody")).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut apply = nobodys(&site, &site.command(&["apply"]));
    let done = Done::of(&apply.env("HOME", home.path().join("nobody")).output().unwrap());
    assert_eq!(done.code, 0, "{done}");
    assert!(site.in_group());
}
