use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::fs::{FlockOperation, flock};
use tokio::{process::Command, sync::Mutex, time::sleep};

use super::{
    Settings,
    child::{self, Limits, Output},
    git::Git,
    settings::{Transport, transport},
    tree,
};
use crate::model::{Commit, SourceError, secret_file};

const MIB: u64 = 1024 * 1024;

/// One question to the remote: a few round trips, one line of an answer.
const ASK: Limits = Limits { time: Duration::from_secs(30), memory: 1024 * MIB, file: MIB, output: 64 * 1024 };
/// The first fetch brings the whole history, and an operator waits for it.
const FIRST: Limits =
    Limits { time: Duration::from_secs(15 * 60), memory: 4096 * MIB, file: 2048 * MIB, output: 64 * 1024 };
/// Later fetches bring some commits with some small files each.
const LATER: Limits = Limits { time: Duration::from_secs(120), memory: 1024 * MIB, file: 128 * MIB, output: 64 * 1024 };
/// How long a fetch of another process (`grantd plan` beside the daemon) is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Over HTTP a server may answer as a plain file server, and what git takes from one it does not check (measured with
/// 2.47: `fsckObjects` does nothing there). A depth is what git refuses to ask such a server for; this one means the
/// whole history.
const SMART_ONLY: &str = "--depth=2147483647";
/// The longest token, bytes.
const TOKEN: u64 = 16 * 1024;

/// The remote branch, and how it is reached.
#[derive(Debug)]
pub struct Remote {
    git: Git,
    url: String,
    branch: String,
    /// The command line for `GIT_SSH_COMMAND`.
    ssh: Option<String>,
    token: Option<PathBuf>,
    http: bool,
    pub(super) limits: Bounds,
    /// Whether the bare repository may hold what a killed git left there. One fetch at a time.
    dirty: Mutex<bool>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub ask: Limits,
    pub first: Limits,
    pub later: Limits,
}

impl Remote {
    /// The settings are checked ones.
    pub fn new(settings: &Settings, git: Git, credentials: Option<&Path>) -> Result<Self, String> {
        let file = |name, value: &Option<String>| {
            value.as_ref().map(|value| secret_file(name, value, credentials)).transpose()
        };
        let key = file("ssh_key", &settings.ssh_key)?;
        let token = file("token", &settings.token)?;
        let (ssh, http) = match transport(&settings.url)? {
            Transport::Ssh => (Some(ssh_command(key.as_deref(), settings.known_hosts.as_deref())?), false),
            Transport::Http { .. } => (None, true),
            Transport::File => (None, false),
        };
        Ok(Self {
            git,
            url: settings.url.clone(),
            branch: settings.branch.clone(),
            ssh,
            token,
            http,
            limits: Bounds { ask: ASK, first: FIRST, later: LATER },
            dirty: Mutex::new(true),
        })
    }

    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Brings the branch up to date and answers its head.
    pub async fn fetch(&self) -> Result<Commit, SourceError> {
        let mut dirty = self.dirty.lock().await;
        let broken = |e| SourceError::Broken(format!("the folder {} cannot be used: {e}", self.git.bare().display()));
        self.git.prepare().map_err(broken)?;
        let _lock = self.lock().await?;
        let token = self.token()?;
        let theirs = self.ask(token.as_ref()).await?;
        let ours = self.head().await?;
        if ours.as_ref() == Some(&theirs) {
            return Ok(theirs);
        }
        if *dirty {
            self.git.sweep().map_err(broken)?;
        }
        *dirty = true;
        self.bring(token.as_ref(), ours.is_none()).await?;
        *dirty = false;
        // What was fetched, not what was announced: the branch may have moved in between.
        self.head().await?.ok_or_else(|| SourceError::Broken(format!("git fetched {} and left no head", self.url)))
    }

    /// What the remote says that its branch is.
    async fn ask(&self, token: Option<&Token>) -> Result<Commit, SourceError> {
        let name = format!("refs/heads/{}", self.branch);
        let command = self.command(&["ls-remote", "--quiet", "--exit-code", "--", &self.url, &name], token);
        let output = self.run(command, &self.limits.ask, token).await?;
        let head = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('\t'))
            // A pattern also finds `refs/heads/refs/heads/main`.
            .find_map(|(id, found)| (found == name).then(|| id.to_owned()));
        match (output.status.code(), head) {
            (Some(0), Some(head)) if git2::Oid::from_str(&head).is_ok() && head.len() == 40 => {
                Ok(Commit(head.as_str().into()))
            }
            (Some(0), Some(_)) => Err(SourceError::Unreachable(format!(
                "{} answers with commit ids that are not SHA-1: only such repositories can be read",
                self.url
            ))),
            (Some(0 | 2), None) => Err(SourceError::NoBranch(format!(
                "{} has no branch `{}`: push it, or correct `branch` in the configuration",
                self.url, self.branch
            ))),
            _ => Err(self.failure("cannot be reached", &output, token)),
        }
    }

    async fn bring(&self, token: Option<&Token>, first: bool) -> Result<(), SourceError> {
        let refspec = format!("+refs/heads/{}:{}", self.branch, tree::FETCHED);
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--force",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--no-show-forced-updates",
            "--refmap=",
        ];
        if self.http {
            arguments.push(SMART_ONLY);
        }
        arguments.extend(["--", &self.url, &refspec]);
        let limits = if first { &self.limits.first } else { &self.limits.later };
        let output = self.run(self.command(&arguments, token), limits, token).await?;
        if output.status.success() { Ok(()) } else { Err(self.failure("cannot be fetched", &output, token)) }
    }

    /// The command, with what this remote needs to be reached. The token goes by the environment, which only our own
    /// user can read, and never into the arguments, which everybody can.
    pub(super) fn command(&self, arguments: &[&str], token: Option<&Token>) -> Command {
        let mut command = self.git.command(arguments);
        if let Some(ssh) = &self.ssh {
            command.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
        }
        if let Some(token) = token {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {}", token.basic));
        }
        command
    }

    async fn run(&self, command: Command, limits: &Limits, token: Option<&Token>) -> Result<Output, SourceError> {
        child::run(command, limits).await.map_err(|failure| {
            let url = &self.url;
            SourceError::Unreachable(clean(&format!("{url} cannot be fetched: {failure}"), token))
        })
    }

    fn failure(&self, what: &str, output: &Output, token: Option<&Token>) -> SourceError {
        let said = last_words(&output.stderr, token);
        let said = if said.is_empty() { format!("git ended with {} and said nothing", output.status) } else { said };
        let help = if said.contains("signal 25") || said.contains("File too large") || said.contains("ut of memory") {
            format!("; it is larger than a fetch may be: remove {} to fetch it anew", self.git.bare().display())
        } else {
            String::new()
        };
        SourceError::Unreachable(format!("{} {what}: {said}{help}", self.url))
    }

    async fn head(&self) -> Result<Option<Commit>, SourceError> {
        let bare = self.git.bare().to_owned();
        tokio::task::spawn_blocking(move || tree::fetched(&bare))
            .await
            .unwrap_or_else(|e| Err(SourceError::Broken(format!("reading the local repository was cut off: {e}"))))
    }

    pub(super) fn token(&self) -> Result<Option<Token>, SourceError> {
        // Read at each fetch: tokens are renewed.
        self.token.as_ref().map(|file| Token::read(file).map_err(SourceError::Unreachable)).transpose()
    }

    /// Keeps the fetches of other processes out of the bare repository, until the file is closed.
    async fn lock(&self) -> Result<File, SourceError> {
        let path = self.git.home().join("lock");
        let failed = |e: io::Error| SourceError::Broken(format!("{} cannot be locked: {e}", path.display()));
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if waited < LOCK_WAIT => {
                    sleep(LOCK_POLL).await;
                    waited += LOCK_POLL;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let state = self.git.bare().display();
                    return Err(SourceError::Unreachable(format!("another grantd is fetching into {state}")));
                }
                Err(e) => return Err(failed(e.into())),
            }
        }
    }
}

/// An access token, and what is sent of it. Neither is ever printed.
pub(super) struct Token {
    plain: String,
    basic: String,
}

impl Token {
    fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(TOKEN + 1).read_to_string(&mut text))
            .map_err(|e| format!("the token file {} cannot be read: {e}", path.display()))?;
        let plain = text.trim().to_owned();
        if plain.is_empty() || text.len() as u64 > TOKEN || !plain.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("the token file {} does not hold one token on one line", path.display()));
        }
        // The user name that GitHub asks for; the other forges take any.
        let basic = BASE64_STANDARD.encode(format!("x-access-token:{plain}"));
        Ok(Self { plain, basic })
    }
}

/// `GIT_SSH_COMMAND`: nobody's configuration, one key, pinned hosts. Git hands it to a shell.
fn ssh_command(key: Option<&Path>, known_hosts: Option<&Path>) -> Result<String, String> {
    let mut words: Vec<String> = ["ssh", "-F", "/dev/null", "-a", "-x", "-T"].map(str::to_owned).into();
    let mut option = |text: String| words.extend(["-o".to_owned(), text]);
    for fixed in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ClearAllForwardings=yes",
        "ConnectTimeout=15",
        "LogLevel=ERROR",
    ] {
        option(fixed.into());
    }
    match key {
        Some(key) => option(format!("IdentityFile={}", ssh_path(key)?)),
        None => option("IdentityFile=none".into()),
    }
    match known_hosts {
        Some(hosts) => {
            option(format!("UserKnownHostsFile={}", ssh_path(hosts)?));
            option("GlobalKnownHostsFile=/dev/null".into());
        }
        None => option("UserKnownHostsFile=/dev/null".into()),
    }
    Ok(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// A path as ssh reads it in an option: `"` keeps blanks together, `%` begins a token, `${` a variable.
fn ssh_path(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\', '$']) && !text.chars().any(char::is_control) => {
            Ok(format!("\"{}\"", text.replace('%', "%%")))
        }
        _ => Err(format!("ssh cannot be given the path {}: rename it", path.display())),
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The last lines that say something, on one line, without control characters and secrets.
pub(super) fn last_words(stderr: &[u8], token: Option<&Token>) -> String {
    const LINES: usize = 4;
    const CHARACTERS: usize = 300;
    /// Says nothing that the lines before it do not say.
    const NOISE: [&str; 2] = ["Please make sure you have the correct access rights", "and the repository exists."];
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text
        .split(['\n', '\r'])
        .map(|line| clean(line, token).trim().chars().take(CHARACTERS).collect())
        .filter(|line: &String| !line.is_empty() && !NOISE.contains(&line.as_str()))
        .collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
}

fn clean(text: &str, token: Option<&Token>) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match token {
        // Whole first: the encoded form is another string than the plain one.
        Some(token) => text.replace(&token.basic, "***").replace(&token.plain, "***"),
        None => text,
    }
}
