use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::{
    process::Command,
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    Settings,
    caps::{Bounds, Caps},
    child::{self, Failure, Limits, Output},
    git::Git,
    login::{Token, ssh_command},
    quarantine::{BROUGHT, Odd, Quarantine},
    refusals::Refusals,
    settings::{Transport, transport},
    tree,
    words::{clean, last_words},
};
use crate::model::{Commit, SourceError, secret_file};

/// How long a fetch of another process (`grantd plan` beside the daemon) is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Over HTTP a server may answer as a plain file server, and what git takes from one it does not check (measured with
/// 2.47: `fsckObjects` does nothing there). A depth is what git refuses to ask such a server for; this one means the
/// whole history.
const SMART_ONLY: &str = "--depth=2147483647";
/// Where commits are kept alive that were fetched by their id.
const REVIEW: &str = "refs/grantd/review";
/// What `git update-ref` takes for a ref that is not there.
const NOTHING: &str = "0000000000000000000000000000000000000000";

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
    /// One fetch at a time.
    pub(super) turn: Mutex<Turn>,
}

/// What one fetch leaves for the next.
#[derive(Debug)]
pub(super) struct Turn {
    /// Whether the bare repository may hold what a killed git left there.
    dirty: bool,
    pub refusals: Refusals,
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
            limits: Bounds::USUAL,
            turn: Mutex::new(Turn { dirty: true, refusals: Refusals::default() }),
        })
    }

    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Brings the branch up to date and answers its head.
    pub async fn fetch(&self) -> Result<Commit, SourceError> {
        let mut turn = self.turn.lock().await;
        self.git.prepare().map_err(|e| self.unusable(&e))?;
        let lock = Arc::new(self.lock().await?);
        let token = self.token()?;
        let theirs = self.ask(token.as_ref()).await?;
        let ours = self.head().await?;
        if ours.as_ref() == Some(&theirs) {
            return Ok(theirs);
        }
        turn.refusals.pass(&theirs, Instant::now())?;
        let what = format!("refs/heads/{}", self.branch);
        let brought = self.take(&mut turn, &lock, &what, ours.as_ref(), ours.is_none(), token.as_ref()).await;
        // What was fetched, not what was announced: the branch may have moved in between.
        let head = brought.map_err(|e| turn.refusals.note(&theirs, e, Instant::now()))?;
        turn.refusals.forget(&theirs);
        self.point(tree::FETCHED, &head, ours.as_ref()).await?;
        turn.dirty = false;
        self.tidy(&mut turn).await;
        Ok(head)
    }

    /// Brings one commit with all that is behind it, unless it is here. The branch stays where it is.
    pub async fn bring(&self, commit: &Commit) -> Result<(), SourceError> {
        tree::object_id(&commit.0)?;
        let mut turn = self.turn.lock().await;
        self.git.prepare().map_err(|e| self.unusable(&e))?;
        let lock = Arc::new(self.lock().await?);
        let wanted = commit.clone();
        if self.read(move |bare| tree::has_commit(bare, &wanted)).await? {
            return Ok(());
        }
        turn.refusals.pass(commit, Instant::now())?;
        let token = self.token()?;
        let ours = self.head().await?;
        let brought = self.take(&mut turn, &lock, &commit.0, ours.as_ref(), false, token.as_ref()).await;
        let brought = brought.map_err(|e| turn.refusals.note(commit, e, Instant::now()))?;
        if brought != *commit {
            return Err(SourceError::Unreachable(format!("{} was asked for {commit} and sent {brought}", self.url)));
        }
        turn.refusals.forget(commit);
        self.point(&format!("{REVIEW}/{commit}"), commit, None).await?;
        turn.dirty = false;
        self.tidy(&mut turn).await;
        Ok(())
    }

    fn unusable(&self, e: &io::Error) -> SourceError {
        SourceError::Unread(format!("the folder {} cannot be used: {e}", self.git.bare().display()))
    }

    /// Fetches a ref or a commit into a quarantine and, if nothing is wrong with it, its objects into our repository. Moves
    /// no ref.
    async fn take(
        &self,
        turn: &mut Turn,
        lock: &Arc<File>,
        what: &str,
        ours: Option<&Commit>,
        first: bool,
        token: Option<&Token>,
    ) -> Result<Commit, SourceError> {
        if turn.dirty {
            self.git.sweep().map_err(|e| self.unusable(&e))?;
        }
        turn.dirty = true;
        let caps = if first { self.limits.first } else { self.limits.later };
        let quarantine = Quarantine::new(&self.git, ours).map_err(|e| self.unusable(&e))?;
        self.download(what, &caps, first, token).await?;
        let help = Bounds::help(first, self.git.bare());
        let (url, lock) = (self.url.clone(), lock.clone());
        let admit = move || {
            // Nobody else's turn until this is done, even if the fetch is dropped meanwhile.
            let _lock = lock;
            let commit = quarantine.check(&caps).map_err(|odd| match odd {
                Odd::Sent(why) => SourceError::Unreachable(format!("{url} sends what is not taken: {why}{help}")),
                Odd::Unread(why) => SourceError::Unread(format!("what {url} sent cannot be looked at: {why}")),
            })?;
            quarantine.admit().map_err(|e| SourceError::Unread(format!("what was fetched cannot be kept: {e}")))?;
            Ok(commit)
        };
        self.read(move |_| admit()).await
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

    async fn download(&self, what: &str, caps: &Caps, first: bool, token: Option<&Token>) -> Result<(), SourceError> {
        let refspec = format!("+{what}:{BROUGHT}");
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
        let command = self.dress(self.git.command_in(self.git.quarantine(), &arguments), token);
        let help = Bounds::help(first, self.git.bare());
        let output = child::run(command, &caps.child).await.map_err(|failure| self.failed(&failure, &help, token))?;
        if output.status.success() {
            return Ok(());
        }
        let said = last_words(&output.stderr, token);
        if let Some(why) = caps.child.broken(&said, output.status) {
            return Err(SourceError::Unreachable(format!("{} cannot be fetched: {why}{help} (git: {said})", self.url)));
        }
        let hidden = ["not our ref", "unadvertised object"].iter().any(|words| said.contains(words));
        if hidden && !what.starts_with("refs/") {
            return Err(SourceError::Unreachable(format!(
                "{} does not hand out the commit {what}: {said}; let the server give commits by their id \
                 (`uploadpack.allowAnySHA1InWant`), or see whether it is gone",
                self.url
            )));
        }
        Err(self.failure("cannot be fetched", &output, token))
    }

    /// Moves a ref of ours, from where we saw it.
    async fn point(&self, name: &str, to: &Commit, from: Option<&Commit>) -> Result<(), SourceError> {
        let from = from.map_or(NOTHING, |from| &from.0);
        let command = self.git.command(&["update-ref", name, &to.0, from]);
        let unread = |what: String| SourceError::Unread(format!("{name} cannot be moved to {to}: {what}"));
        let output = child::run(command, &self.limits.ask).await.map_err(|e| unread(e.to_string()))?;
        if output.status.success() { Ok(()) } else { Err(unread(last_words(&output.stderr, None))) }
    }

    /// Joins packs when there are many: each fetch brings one. Every object stays. If it fails nothing is lost, and the
    /// next fetch tries again.
    async fn tidy(&self, turn: &mut Turn) {
        match self.git.packs() {
            Ok(packs) if packs <= self.limits.packs => return,
            // What cannot be listed is swept before the next fetch, which says what is wrong.
            Err(_) => return turn.dirty = true,
            Ok(_) => {}
        }
        let command = self.git.command(&["repack", "--quiet", "-d", "--geometric=2"]);
        turn.dirty = !child::run(command, &self.limits.tidy).await.is_ok_and(|output| output.status.success());
    }

    /// The command, with what this remote needs to be reached. The token goes by the environment, which only our own
    /// user can read, and never into the arguments, which everybody can.
    pub(super) fn command(&self, arguments: &[&str], token: Option<&Token>) -> Command {
        self.dress(self.git.command(arguments), token)
    }

    fn dress(&self, mut command: Command, token: Option<&Token>) -> Command {
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
        child::run(command, limits).await.map_err(|failure| self.failed(&failure, "", token))
    }

    /// A child that took too much was led to it by the remote. That it did not start is our own trouble.
    fn failed(&self, failure: &Failure, help: &str, token: Option<&Token>) -> SourceError {
        let why = |help| clean(&format!("{} cannot be fetched: {failure}{help}", self.url), token);
        if failure.is_breach() { SourceError::Unreachable(why(help)) } else { SourceError::Unread(why("")) }
    }

    fn failure(&self, what: &str, output: &Output, token: Option<&Token>) -> SourceError {
        let said = last_words(&output.stderr, token);
        let said = if said.is_empty() { format!("git ended with {} and said nothing", output.status) } else { said };
        SourceError::Unreachable(format!("{} {what}: {said}", self.url))
    }

    async fn head(&self) -> Result<Option<Commit>, SourceError> {
        self.read(tree::fetched).await
    }

    /// Runs what blocks on the disk beside the runtime.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let bare = self.git.bare().to_owned();
        tokio::task::spawn_blocking(move || read(&bare))
            .await
            .unwrap_or_else(|e| Err(SourceError::Unread(format!("reading the local repository was cut off: {e}"))))
    }

    pub(super) fn token(&self) -> Result<Option<Token>, SourceError> {
        // Read at each fetch: tokens are renewed.
        self.token.as_ref().map(|file| Token::read(file).map_err(SourceError::Unreachable)).transpose()
    }

    /// Keeps the fetches of other processes out of the bare repository, until the file is closed.
    async fn lock(&self) -> Result<File, SourceError> {
        let path = self.git.home().join("lock");
        let failed = |e: io::Error| SourceError::Unread(format!("{} cannot be locked: {e}", path.display()));
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
