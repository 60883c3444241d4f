//! A command that a signal ends, or that nobody listens to any more, leaves no folder and no child behind.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Daemon, GROUP, PATIENCE, Site, grant, until};

fn left(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A site whose temporary files have a folder of their own, and whose forge takes calls and says nothing once `silent`.
fn hung() -> (Site, TcpListener, String) {
    let mut site = Site::new();
    fs::create_dir(site.path("tmp")).unwrap();
    site.environment.push(("TMPDIR", site.path("tmp").to_str().unwrap().into()));
    site.fine(&["init"]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("  url: http://{}/access.git\n", server.local_addr().unwrap());
    (site, server, url)
}

/// With no signal ignored, whatever whoever started these tests ignores.
fn hearing(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP,INT,TERM").arg(command.get_program()).args(command.get_args());
    env.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        env.current_dir(folder);
    }
    env
}

/// Whether the other side hangs up.
fn hangs_up(mut call: TcpStream) -> bool {
    call.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 1024];
    loop {
        match call.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn what_a_signal_ends_leaves_no_folder_and_no_child() {
    let (site, server, url) = hung();
    site.configure(&url, "");
    let tmp = site.path("tmp");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        for arguments in [&["plan"][..], &["doctor"], &["plan", "--rev", "HEAD"]] {
            let command = Daemon::start(hearing(&site.command(arguments)));
            let (call, _) = server.accept().unwrap();
            assert_eq!(left(&tmp).len(), 1, "{arguments:?} fetches elsewhere");
            command.signal(signal);
            let (status, said) = command.ended();
            assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
            assert_eq!(left(&tmp), Vec::<String>::new(), "{arguments:?}");
            assert!(hangs_up(call), "{arguments:?}: the git child goes on");
        }
    }
    // What writes fetches into the state folder; its child ends with it too.
    for arguments in [&["apply"][..], &["source", "accept", "--rev", "HEAD", "--reason", "x"]] {
        let command = Daemon::start(hearing(&site.command(arguments)));
        let (call, _) = server.accept().unwrap();
        command.signal(Signal::TERM);
        assert_eq!(command.ended().0.code(), Some(143), "{arguments:?}");
        assert!(hangs_up(call), "{arguments:?}: the git child goes on");
    }
}

/// `nohup` has it ignored, and so has a shell that puts a command into the background.
#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let (site, server, url) = hung();
    site.configure(&url, "");
    let plan = site.command(&["plan"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]).arg(plan.get_program()).args(plan.get_args());
    shell.envs(plan.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(site.path(""));
    let command = Daemon::start(shell);
    let (call, _) = server.accept().unwrap();
    for signal in [Signal::HUP, Signal::INT] {
        command.signal(signal);
    }
    // It would be gone by then.
    call.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut bytes = Vec::new();
    let went_on = (&call).read_to_end(&mut bytes).unwrap_err().kind();
    assert_eq!(went_on, std::io::ErrorKind::WouldBlock);
    command.signal(Signal::TERM);
    assert_eq!(command.ended().0.code(), Some(143));
    assert_eq!(left(&site.path("tmp")), Vec::<String>::new());
}

#[test]
fn a_reader_that_hangs_up_leaves_nothing_either() {
    let (site, ..) = hung();
    site.merge("2026-11-20-jdoe-group", &grant("8h", GROUP));
    for arguments in [&["plan"][..], &["doctor"]] {
        let mut command = site.command(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let status = until("it ends", || child.try_wait().unwrap());
        assert_ne!(status.code(), None, "{arguments:?} was killed");
        assert_eq!(left(&site.path("tmp")), Vec::<String>::new(), "{arguments:?}");
    }
}

/// The demo's folder goes too, whatever ends it.
#[test]
fn a_demo_that_is_ended_leaves_no_folder() {
    let (site, ..) = hung();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_grantd"));
        demo.arg("demo").env("TMPDIR", site.path("tmp"));
        let mut child = hearing(&demo).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        until("it began", || (!left(&site.path("tmp")).is_empty()).then_some(()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(until("it ends", || child.try_wait().unwrap()).code(), Some(code));
        assert_eq!(left(&site.path("tmp")), Vec::<String>::new());
    }
}
