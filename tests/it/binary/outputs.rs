//! Every command where what it writes to does not take it: full, closed, hung up; and where it has no home.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{Daemon, Done, GROUP, PATIENCE, Site, grant, root, until};

/// A command and its exit code where all is well. Those that change something get a site of their own.
struct Case {
    arguments: &'static [&'static str],
    code: i32,
    changes: bool,
}

const fn reads(arguments: &'static [&'static str], code: i32) -> Case {
    Case { arguments, code, changes: false }
}

const fn changes(arguments: &'static [&'static str], code: i32) -> Case {
    Case { arguments, code, changes: true }
}

/// Every verb, in every format.
const CASES: [Case; 27] = [
    reads(&["lint", "work/grants"], 0),
    reads(&["lint", "work/grants", "--format", "json"], 0),
    reads(&["plan"], 2),
    reads(&["plan", "--format", "json"], 2),
    reads(&["plan", "--format", "markdown"], 2),
    reads(&["status"], 0),
    reads(&["status", "--format", "json"], 0),
    reads(&["history"], 0),
    reads(&["history", "--format", "json"], 0),
    reads(&["history", "2026-11-20-nobody"], 1),
    reads(&["audit", "verify"], 0),
    reads(&["audit", "verify", "--format", "json"], 0),
    reads(&["doctor"], 0),
    reads(&["doctor", "--format", "json"], 0),
    reads(&["documents", "show", "add"], 0),
    reads(&["documents", "install"], 1),
    reads(&["schema", "grant"], 0),
    reads(&["schema", "config"], 0),
    reads(&["schema", "world"], 0),
    reads(&["--version"], 0),
    reads(&["--help"], 0),
    reads(&["no-such-verb"], 64),
    changes(&["apply"], 0),
    changes(&["apply", "--format", "json"], 0),
    changes(&["init"], 0),
    changes(&["init", "--format", "json"], 0),
    changes(&["source", "accept", "--rev", "main", "--reason", "a test"], 0),
];

impl Case {
    /// A site where the command has something to say.
    fn site(&self) -> Site {
        let site = Site::new();
        let init = self.arguments[0] == "init";
        if !init {
            site.fine(&["init"]);
        }
        site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
        site
    }

    fn command(&self, site: &Site) -> Command {
        let flags = self.arguments[0].starts_with('-') || self.code == 64;
        if !flags {
            return site.command(self.arguments);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
        command.env_clear().current_dir(site.folder.path()).args(self.arguments);
        command
    }
}

/// The command with its files as the shell puts them.
fn with(files: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {files}")).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    shell
}

fn done(mut command: Command) -> Done {
    Done::of(&command.output().unwrap())
}

/// Each command under each of these, each with what is to be true of it.
fn all(conditions: &[&str], check: impl Fn(&Case, &str, &Done, &Site)) {
    let shared = reads(&["status"], 0).site();
    for case in &CASES {
        for condition in conditions {
            let own = case.changes.then(|| case.site());
            let site = own.as_ref().unwrap_or(&shared);
            let done = done(with(condition, &case.command(site)));
            check(case, condition, &done, site);
        }
    }
    shared.fine(&["audit", "verify"]);
}

#[test]
fn a_report_that_is_lost_is_a_failure() {
    all(&[">/dev/full", "</dev/null >/dev/full"], |case, condition, done, site| {
        let Case { arguments, code, changes } = case;
        // What is said to standard error only is not lost.
        let silent = *code == 64 || matches!(arguments, ["documents", "install"] | ["history", "2026-11-20-nobody"]);
        assert_eq!(done.code, if silent { *code } else { 1 }, "{arguments:?} {condition}: {done}");
        if !silent {
            assert!(
                done.err.contains("standard output takes no more") && done.err.contains("No space left"),
                "{arguments:?}: {done}"
            );
        }
        // What was to be done is done all the same.
        if *changes {
            site.fine(&["audit", "verify"]);
        }
        if arguments[0] == "apply" {
            assert!(site.in_group(), "{arguments:?} {condition}");
        }
    });
}

#[test]
fn a_reader_that_hangs_up_and_files_that_are_closed_change_no_exit_code() {
    let conditions = ["2>/dev/full", ">&-", "2>&-", "<&-", "<&- >&- 2>&-", "</dev/full >/dev/null"];
    all(&conditions, |case, condition, done, site| {
        assert_eq!(done.code, case.code, "{:?} {condition}: {done}", case.arguments);
        // Nothing was written into what was opened in place of a closed file.
        if case.changes {
            assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
        }
    });
    let shared = reads(&["status"], 0).site();
    for case in CASES.iter().filter(|case| !case.changes) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = case.command(&shared).stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(case.code), "{:?}", case.arguments);
    }
}

#[test]
fn the_demo_stops_where_nobody_hears_it() {
    let site = Site::bare();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_grantd"));
    demo.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TMPDIR", site.folder.path());
    demo.current_dir(site.folder.path()).arg("demo");
    let begun = std::time::Instant::now();
    let full = done(with(">/dev/full", &demo));
    assert!(full.code == 1 && full.err.contains("standard output takes no more"), "{full}");
    assert!(begun.elapsed() < PATIENCE / 3, "it told nobody the whole story");
    let left = fs::read_dir(site.folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("grantd-demo"));
    assert_eq!(left.count(), 0, "it left its folder");
    demo.arg("--keep=~/x");
    let kept = done(demo);
    assert!(kept.code == 1 && kept.err.contains("write `--keep ~/DIR`") && !site.path("~").exists(), "{kept}");
}

#[test]
fn a_daemon_whose_log_takes_nothing_ends_access_all_the_same() {
    for files in [">/dev/full 2>/dev/full", "<&- >&- 2>&-", ">&- 2>/dev/full"] {
        for log in ["text", "json"] {
            let site = Site::new();
            site.fine(&["init"]);
            let daemon = Daemon::start(with(files, &site.command(&["run", "--log", log])));
            until("it runs", || (site.count("start", "") == 1).then_some(()));
            site.merge("2026-11-20-jdoe-short", &grant("3s", GROUP));
            until("jdoe is in the group", || site.in_group().then_some(()));
            until("jdoe is out of the group", || (!site.in_group()).then_some(()));
            daemon.signal(rustix::process::Signal::TERM);
            let (status, said) = daemon.ended();
            assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{files} {log}");
            site.fine(&["audit", "verify"]);
        }
    }
}

#[test]
fn a_level_that_makes_no_sense_is_told_and_silences_nothing() {
    for (level, told) in [
        ("verbose", true),
        ("off", true),
        ("grantd=off", true),
        ("hyper=trace", true),
        ("grantd::source=debug", false),
        ("", false),
    ] {
        let site = Site::new();
        site.fine(&["init"]);
        let daemon = site.daemon_with(|command| {
            command.env("GRANTD_LOG", level);
        });
        site.replace("grantd.yaml", "nonsense: true\n");
        daemon.said("the new configuration is refused");
        let log = daemon.stop();
        assert_eq!(log.contains("GRANTD_LOG makes no sense"), told, "{level}: {log}");
        assert!(log.contains("ERROR"), "{level}: {log}");
    }
}

/// What only a shell knows makes no folders of that name.
#[test]
fn a_path_for_a_shell_makes_no_folder() {
    for state in ["~/state", "$HOME/state", "${STATE}"] {
        let site = Site::new();
        site.configure("", &format!("state: \"{state}\"\n"));
        for verb in ["init", "run", "apply", "plan", "status", "doctor"] {
            let done = site.run(&[verb]);
            assert!(done.code == 1 && done.err.contains("write the whole path"), "{verb}: {done}");
        }
        let names = fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let odd: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(['~', '$'])).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}

#[test]
fn no_command_needs_a_home() {
    let shared = reads(&["status"], 0).site();
    for case in &CASES {
        for home in [None, Some(""), Some("/nowhere"), Some("/dev/null"), Some("/proc"), Some("relative")] {
            let own = case.changes.then(|| case.site());
            let site = own.as_ref().unwrap_or(&shared);
            let mut command = case.command(site);
            if let Some(home) = home {
                command.env("HOME", home);
            }
            let done = done(command);
            assert_eq!(done.code, case.code, "{:?} {home:?}: {done}", case.arguments);
        }
    }
}

/// Everything that is written lies on a disk that is full: the state, and what is only for a while.
#[test]
fn on_a_full_disk_every_command_ends_with_a_sentence() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: a full disk needs root, to mount a small tmpfs of its own");
        return;
    }
    for case in CASES.iter().filter(|case| case.arguments[0] != "--help") {
        let site = Site::new();
        let disk = super::damage::Disk::mount(site.state());
        if case.arguments[0] != "init" {
            site.fine(&["init"]);
        }
        site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
        disk.fill();
        let mut command = case.command(&site);
        command.env("TMPDIR", site.state());
        let full = done(command);
        let Case { arguments, code, changes } = case;
        let reader = !changes && !matches!(arguments[0], "plan" | "doctor");
        let codes: &[i32] = if reader { &[*code] } else { &[1, *code] };
        assert!(codes.contains(&full.code), "{arguments:?}: {full}");
        assert!(!full.err.contains("panicked"), "{arguments:?}: {full}");
        if full.code == 1 && *code != 1 {
            let all = format!("{}{}", full.out, full.err);
            let why = ["disk is full", "No space left", "MiB left"];
            assert!(why.iter().any(|why| all.contains(why)), "{arguments:?} does not say why: {full}");
        }
        disk.free();
        if arguments[0] != "init" {
            site.fine(&["audit", "verify"]);
        }
        // And where there is room again it goes on.
        if *changes {
            assert_eq!(
                done(case.command(&site)).code,
                if full.code == 0 && *code == 0 && arguments[0] != "apply" { 1 } else { *code },
                "{arguments:?}"
            );
        }
        drop(disk);
    }
    assert!(Path::new("/dev/full").exists());
}
