//! Who may read and write what grantd makes, whatever the umask; and the trial of the README under each.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Daemon, GROUP, Site, grant, root, until};

const UMASKS: [&str; 4] = ["0000", "0002", "0027", "0077"];
/// Nobody's user and group.
const NOBODY: u32 = 65534;

/// The same command under a umask.
fn under(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask \"$0\"; exec \"$@\"", umask]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    shell
}

/// What others may do anything with, below and with a folder.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut open = Vec::new();
    let mut places = vec![folder.to_owned()];
    while let Some(place) = places.pop() {
        let about = fs::symlink_metadata(&place).unwrap();
        if about.mode() & 0o7077 != 0 {
            open.push(format!("{} {:o}", place.display(), about.mode()));
        }
        if about.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    open
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_in_the_state_is_for_others_whatever_the_umask() {
    for umask in UMASKS {
        let site = Site::new();
        site.configure("", "state: deep/er/state\n");
        let state = site.path("deep/er/state");
        let init = under(umask, &site.command(&["init"])).output().unwrap();
        assert!(init.status.success(), "umask {umask}: {init:?}");
        assert_eq!(open_to_others(&state), Vec::<String>::new(), "umask {umask}, after init");
        assert_eq!(mode(&site.path("deep")), 0o700, "umask {umask}: the folders above that were made");
        let daemon = Daemon::start(under(umask, &site.command(&["run"])));
        daemon.said("grantd runs");
        site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
        until("jdoe is in the group", || site.in_group().then_some(()));
        daemon.kill();
        // A torn tail is put aside, by the next start.
        let segment = fs::read_dir(state.join("journal")).unwrap().next().unwrap().unwrap().path();
        let text = fs::read(&segment).unwrap();
        fs::write(&segment, &text[..text.len() - 40]).unwrap();
        let apply = under(umask, &site.command(&["apply"])).output().unwrap();
        assert!(
            fs::read_dir(&state).unwrap().any(|entry| entry
                .unwrap()
                .file_name()
                .as_encoded_bytes()
                .starts_with(b"torn-"))
        );
        assert_eq!(open_to_others(&state), Vec::<String>::new(), "umask {umask}, after apply: {apply:?}");
    }
}

/// What `run` would refuse, `init` refuses first, and says what to do.
#[test]
fn init_is_content_with_nothing_that_run_refuses() {
    for (name, bad) in [("grantd.yaml", 0o664), ("grantd.yaml", 0o646), ("state", 0o775), ("state", 0o1777)] {
        let site = Site::new();
        fs::create_dir(site.state()).unwrap();
        let good = mode(&site.path(name)) & 0o755;
        set(&site.path(name), bad);
        for verb in ["init", "run", "apply"] {
            let done = site.run(&[verb]);
            assert_eq!(done.code, 1, "{verb}, {name} {bad:o}: {done}");
            let advice = format!("`chmod go-w {}`", site.path(name).display());
            assert!(done.err.contains(&advice), "{verb}, {name} {bad:o}: {done}");
        }
        assert_eq!(fs::read_dir(site.state()).unwrap().count(), 0, "something was begun");
        set(&site.path(name), good);
        site.fine(&["init"]);
        site.fine(&["apply"]);
    }
}

/// A folder that was there, of an earlier release or made by hand, is closed to others.
#[test]
fn a_state_folder_that_others_may_read_is_closed() {
    for umask in ["0000", "0022"] {
        let site = Site::new();
        fs::create_dir(site.state()).unwrap();
        set(&site.state(), 0o755);
        let init = under(umask, &site.command(&["init"])).output().unwrap();
        assert!(init.status.success(), "{init:?}");
        assert_eq!(open_to_others(&site.state()), Vec::<String>::new());
        set(&site.state(), 0o755);
        let doctor = site.run(&["doctor"]);
        assert!(doctor.out.contains(&format!("`chmod 0700 {}`", site.state().display())), "{doctor}");
        site.fine(&["status"]);
        assert_eq!(mode(&site.state()), 0o755, "who only reads changes nothing");
        site.daemon().stop();
        assert_eq!(mode(&site.state()), 0o700);
    }
}

/// The trial as the README has it, for a machine without patience: what it sleeps for is waited for.
fn trial() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("\n## A trial on your own repository\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("\n```").next().unwrap();
    let mut text = block.to_owned();
    let mut swap = |old: &str, new: &str| {
        assert_eq!(text.matches(old).count(), 1, "`{old}` in the README's trial:\n{text}");
        text = text.replace(old, new);
    };
    let loop_until = |what: &str| format!("for _ in $(seq 600); do {what} && break; sleep 0.1; done");
    swap("cargo build --release --no-default-features", ":");
    swap("ttl: 1m", "ttl: 3s");
    swap("poll: 5s", "poll: 1s");
    swap("sleep 6;", &format!("{};", loop_until("grantd history --config grantd.yaml | grep -q 'grant done'")));
    swap("sleep 60;", &format!("{};", loop_until("grantd history --config grantd.yaml | grep -q 'finish jdoe'")));
    text
}

/// The built binary where everybody may run it, as `target/release/grantd` below a folder as the README's own.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path(), 0o755);
    fs::create_dir_all(folder.path().join("target/release")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_grantd"), folder.path().join("target/release/grantd")).unwrap();
    folder
}

#[test]
fn the_trial_of_the_readme_works_twice_under_any_umask_as_anybody() {
    let (checkout, trial) = (checkout(), trial());
    for umask in &UMASKS[1..] {
        let users = if root() { vec![0, NOBODY] } else { vec![rustix::process::geteuid().as_raw()] };
        for user in users {
            let home = tempfile::tempdir().unwrap();
            std::os::unix::fs::chown(home.path(), root().then_some(user), None).unwrap();
            let mut bash = Command::new("bash");
            bash.args(["--norc", "--noprofile", "-c"]).current_dir(checkout.path()).stdin(Stdio::null());
            // Pasted a second time into the same shell; and git is not to learn who we are from anywhere else.
            bash.arg(format!("umask {umask}\n{trial}\n{trial}\npwd; jobs; umask"));
            bash.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home.path());
            if root() {
                bash.uid(user).gid(user);
            }
            let output = bash.output().unwrap();
            let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            let what = format!("umask {umask}, user {user}:\n{out}\n{err}");
            assert_eq!(output.status.code(), Some(0), "{what}");
            for (text, times) in [
                ("journal begun in", 2),
                ("jdoe-checkout live until", 2),
                ("finish jdoe-checkout: expired", 2),
                ("whole: ", 2),
                ("1 file, 0 errors, 0 warnings", 2),
            ] {
                assert_eq!(out.matches(text).count(), times, "`{text}`, {what}");
            }
            // It ends where it began, nothing runs on, and nothing went wrong on the way.
            let end: Vec<_> = out.lines().rev().take(2).collect();
            let here: PathBuf = checkout.path().canonicalize().unwrap();
            assert_eq!(end, [*umask, here.to_str().unwrap()], "{what}");
            assert_eq!(err.matches("grantd stopped").count(), 2, "{what}");
            for bad in ["error", "fatal", "ERROR", "WARN", "No such", "cannot", "hint:", "rm:", "File exists"] {
                assert!(!err.contains(bad), "`{bad}`, {what}");
            }
        }
    }
}
