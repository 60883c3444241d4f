//! The built binary, with everything real: git, processes, signals, files. Only the cloud is a world in a file.
//!
//! Nothing here waits for a length of time; everything waits for a state, and says after [`PATIENCE`] what it waited for.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests: a panic is how they fail")]

mod accept;
mod archive;
mod aside;
mod bad_input;
mod clock;
mod commands;
mod damage;
mod held;
mod hooks;
mod http;
mod interrupt;
mod life;
mod limits;
mod links;
mod modes;
mod odd_names;
mod outputs;
mod outside;
mod reload;
mod renames;
mod snapshots;
mod ssh;
mod trust;
mod ways;
#[cfg(feature = "aws")]
mod wire;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use grantd::surface::world::{Caseless, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a state is waited for before the test fails. Long: a loaded machine is no bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cloud in which the grants of these tests make sense.
const WORLD: &str = r"accounts:
  '123456789012':
    hosts:
      us-east-1:
        i-00000001:
          tags: { AccessGroup: JITAdmins }
          administrators: ['CORP\ops']
    users:
      jdoe: {}
    roles:
      OpsOnCall: {}
    groups:
      Auditors: {}
    permission-sets:
      PowerUser: []
policies: [AmazonEC2ReadOnlyAccess]
directory:
  windows: ['CORP\jdoe', 'CORP\ops']
  users: [jdoe@corp.example]
";

/// Every secret in these tests begins so, and no output of any command may hold one, plain or as git sends a token.
const CANARY: [&str; 2] = ["canary-", "eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5L"];

/// What a command printed, when it was looked at for secrets.
fn secretless(printed: String) -> String {
    assert!(!CANARY.iter().any(|canary| printed.contains(canary)), "a secret is in the output:\n{printed}");
    printed
}

/// Waits until `look` answers.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An entry for the group, an entry for the host, or both.
const GROUP: &str = "  - iam-group: { account: prod, user: jdoe, group: Auditors }\n";
const HOST: &str = "  - windows-admin: { user: CORP\\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: JITAdmins } }\n";

fn grant(ttl: &str, access: &str) -> String {
    format!("requester: jdoe@corp.example\npurpose: \"INC-4312: checkout\"\nttl: {ttl}\naccess:\n{access}")
}

/// A repository, its working tree, a configuration, a world and a state folder, all in one temporary folder.
struct Site {
    folder: TempDir,
    /// The date of the commits; without one, now.
    date: Option<&'static str>,
    /// What every command gets beside the path.
    environment: Vec<(&'static str, String)>,
}

impl Site {
    /// With a bare repository that the configuration names by its path, and the machine's clock.
    fn new() -> Self {
        let site = Self::bare();
        site.configure("", "");
        site
    }

    /// Without a configuration.
    fn bare() -> Self {
        Self::begin(None)
    }

    /// In a time of its own: the world's clock begins at nine, and whatever is committed is of a minute before.
    fn fixed() -> Self {
        let site = Self::begin(Some("2026-11-20T08:59:00Z"));
        site.configure("", "cloud: { world: world.yaml, clock: { start: 2026-11-20T09:00:00Z, speed: 1 } }\n");
        site
    }

    fn begin(date: Option<&'static str>) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), date, environment: Vec::new() };
        fs::create_dir_all(site.path("work/grants")).unwrap();
        site.git(&["init", "--quiet", "--initial-branch=main", "."]);
        fs::write(site.path("work/README.md"), "Grants of Corp.\n").unwrap();
        site.git(&["init", "--quiet", "--bare", "--initial-branch=main", "../access.git"]);
        site.git(&["remote", "add", "origin", "../access.git"]);
        site.push();
        site.edit_world(|_| WORLD.into());
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes the configuration: more lines below `source:`, and more at the end.
    fn configure(&self, source: &str, more: &str) {
        let url = self.path("access.git");
        let url = if source.contains("url:") { String::new() } else { format!("  url: {}\n", url.display()) };
        let clock = if more.contains("cloud:") { "" } else { "cloud: { world: world.yaml }\n" };
        let poll = if source.contains("poll:") { "" } else { "  poll: 1s\n" };
        let state = if more.contains("state:") { "" } else { "state: state\n" };
        let text = format!(
            "source:\n{url}{poll}{source}{state}{clock}\
             accounts: {{ prod: {{ id: \"123456789012\", regions: [us-east-1] }} }}\n{more}"
        );
        self.replace("grantd.yaml", &text);
    }

    /// Replaces a file at once, as a careful editor does.
    fn replace(&self, name: &str, text: &str) {
        let draft = self.path(&format!("{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, self.path(name)).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(arguments)
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@corp.example")])
            .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@corp.example")]);
        if let Some(date) = self.date {
            git.envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)]);
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits everything and pushes it to the bare repository.
    fn push(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["push", "--quiet", "origin", "main"]);
    }

    /// Merges a grant file; the name is without `.yaml`.
    fn merge(&self, name: &str, text: &str) {
        fs::write(self.path(&format!("work/grants/{name}.yaml")), text).unwrap();
        self.push();
    }

    fn withdraw(&self, name: &str) {
        fs::remove_file(self.path(&format!("work/grants/{name}.yaml"))).unwrap();
        self.push();
    }

    /// Changes the text of the world's file; under its lock, so that a daemon beside us loses nothing.
    fn edit_world(&self, change: impl FnOnce(&str) -> String) {
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path(".world.yaml.lock"))
            .unwrap();
        lock.lock().unwrap();
        let text = fs::read_to_string(self.path("world.yaml")).unwrap_or_default();
        self.replace("world.yaml", &change(&text));
        lock.unlock().unwrap();
    }

    fn world(&self) -> State {
        State::from_yaml(&fs::read_to_string(self.path("world.yaml")).unwrap()).unwrap()
    }

    /// Whether jdoe is in the group.
    fn in_group(&self) -> bool {
        self.world().accounts["123456789012"].users["jdoe"].groups.contains("Auditors")
    }

    /// How often jdoe is a local administrator of the host.
    fn on_host(&self) -> usize {
        let jdoe = Caseless(r"corp\jdoe".into());
        let world = self.world();
        let host = &world.accounts["123456789012"].hosts["us-east-1"]["i-00000001"];
        host.administrators.iter().filter(|member| member.user == jdoe).count()
    }

    /// The binary with these arguments, and the configuration where the verb takes one.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(self.folder.path());
        command.envs(self.environment.iter().cloned());
        command.args(arguments);
        let takes_none = |word: &S| ["lint", "schema", "show"].iter().any(|verb| word.as_ref() == *verb);
        if !arguments.iter().take(2).any(takes_none) {
            command.arg("--config").arg(self.path("grantd.yaml"));
        }
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Done {
        let mut command = self.command(arguments);
        if arguments.first().is_some_and(|verb| verb.as_ref() == "run") {
            // One that should be refused and is not would go on for ever.
            let (status, err) = Daemon::start(command).ended();
            return Done { code: status.code().unwrap_or(-1), out: String::new(), err };
        }
        Done::of(&command.stdin(Stdio::null()).output().unwrap())
    }

    /// Runs and expects exit 0.
    fn fine(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "grantd {arguments:?}: {done}");
        done
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--format", "json"]].concat());
        done.json()
    }

    /// The journal's lines, from `history`.
    fn history(&self) -> Vec<Value> {
        let done = self.fine(&["history", "--format", "json"]);
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many records are of this kind, and of this verb if it is not empty.
    fn count(&self, kind: &str, verb: &str) -> usize {
        self.history().iter().filter(|line| line["kind"] == kind && (verb.is_empty() || line["verb"] == verb)).count()
    }

    fn daemon(&self) -> Daemon {
        self.daemon_with(|_| {})
    }

    /// Starts the daemon and waits until it runs.
    fn daemon_with(&self, set: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = self.command(&["run"]);
        set(&mut command);
        let daemon = Daemon::start(command);
        daemon.said("grantd runs");
        daemon
    }

    /// The last segment of the journal.
    fn segment(&self) -> PathBuf {
        let mut segments: Vec<_> =
            fs::read_dir(self.state().join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        segments.sort();
        segments.pop().unwrap()
    }
}

/// What a command came to.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: secretless(String::from_utf8(output.stdout.clone()).unwrap()),
            err: secretless(String::from_utf8(output.stderr.clone()).unwrap()),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}{}", self.code, self.out, self.err)
    }
}

/// A daemon under way. Killed, by its own id, when it is dropped.
struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = pipes.map(|pipe| {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines() {
                    let Ok(line) = line else { return };
                    writeln!(log.lock().unwrap(), "{line}").unwrap();
                }
            })
        });
        Self { child, log, readers: readers.into() }
    }

    fn log(&self) -> String {
        secretless(self.log.lock().unwrap().clone())
    }

    /// Waits until it logs this.
    fn said(&self, text: &str) {
        self.said_times(text, 1);
    }

    fn said_times(&self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(begun.elapsed() < PATIENCE, "the daemon never said `{text}` {times} times:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its own end. Answers the status and everything that it said.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = until("the daemon ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, self.log())
    }

    /// SIGTERM; it must end with 0.
    fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "after SIGTERM:\n{log}");
        assert!(log.contains("grantd stopped"), "{log}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the daemon under test goes by the machine's clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Whether we may mount, and so fill a disk of our own.
fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file's content with the bytes at `at` changed.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
