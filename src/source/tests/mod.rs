//! Against real repositories, made by the system's git with a fixed identity and dates that go up by a minute.

mod aside;
mod bomb;
mod bring;
mod deletions;
mod fetch;
mod hostile;
mod http;
mod log;
mod settings;
mod tree;
mod trust;
mod watch;

use std::{
    cell::Cell,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{GitSource, Settings};
use crate::model::{Commit, Source, SourceError, Span, Tree};

/// A repository that people push to.
struct Repo {
    path: PathBuf,
    minute: Cell<u64>,
    _folder: TempDir,
}

impl Repo {
    fn new() -> Self {
        Self::named("access")
    }

    fn named(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        let repo = Self { path, minute: Cell::new(0), _folder: folder };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    /// A repository with one grant, `grants/a.yaml`.
    fn with_grant() -> (Self, Commit) {
        let repo = Self::new();
        let head = repo.commit(&[("grants/a.yaml", "a\n")]);
        (repo, head)
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.path, arguments, b"")
    }

    fn git_in(&self, place: &Path, arguments: &[&str], input: &[u8]) -> String {
        self.minute.set(self.minute.get() + 1);
        let date = format!("{} +0000", 1_800_000_000 + 60 * self.minute.get());
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(place)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_AUTHOR_NAME", "Ann Author"), ("GIT_AUTHOR_EMAIL", "ann@corp.example")])
            .envs([("GIT_COMMITTER_NAME", "Carl"), ("GIT_COMMITTER_EMAIL", "carl@corp.example")])
            .envs([("GIT_AUTHOR_DATE", "1700000000 +0000"), ("GIT_COMMITTER_DATE", &date)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn head(&self) -> Commit {
        Commit(self.git(&["rev-parse", "HEAD"]).into())
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            let file = self.path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        self.git(&["add", "--all"]);
    }

    fn commit(&self, files: &[(&str, &str)]) -> Commit {
        self.write(files);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.head()
    }

    fn delete(&self, name: &str) -> Commit {
        self.git(&["rm", "--quiet", name]);
        self.commit(&[])
    }

    fn branch(&self, name: &str, at: &Commit) {
        self.git(&["checkout", "--quiet", "-B", name, &at.0]);
    }

    fn checkout(&self, name: &str) {
        self.git(&["checkout", "--quiet", name]);
    }

    fn merge(&self, name: &str) -> Commit {
        self.git(&["merge", "--quiet", "--no-ff", "--no-edit", name]);
        self.head()
    }

    fn settings(&self) -> Settings {
        Settings {
            url: self.path.to_str().unwrap().to_owned(),
            branch: "main".into(),
            path: "grants".into(),
            poll: Span::seconds(30),
            ssh_key: None,
            token: None,
            known_hosts: None,
        }
    }
}

/// A source with a state folder of its own.
struct Daemon {
    source: GitSource,
    state: TempDir,
}

impl Daemon {
    fn new(settings: &Settings) -> Self {
        let state = tempfile::tempdir().unwrap();
        Self { source: GitSource::new(settings, state.path(), Some(state.path())).unwrap(), state }
    }

    async fn of(repo: &Repo) -> Self {
        let daemon = Self::new(&repo.settings());
        daemon.source.fetch().await.unwrap();
        daemon
    }

    /// Lets it ask again at once for what it refused.
    async fn forgive(&self) {
        self.source.remote.turn.lock().await.refusals = Default::default();
    }

    fn bare(&self) -> PathBuf {
        self.state.path().join("git")
    }

    /// Writes an object that git itself would not make.
    fn object(&self, repo: &Repo, kind: &str, content: &[u8]) -> String {
        repo.git_in(&self.bare(), &["hash-object", "-w", "--literally", "-t", kind, "--stdin"], content)
    }

    fn folder(&self, repo: &Repo, entries: &[(&str, &[u8], &str)]) -> String {
        self.object(repo, "tree", &raw_tree(entries))
    }

    /// A commit whose grants folder is this tree.
    fn commit(&self, repo: &Repo, grants: &str) -> Commit {
        let root = self.folder(repo, &[("40000", b"grants", grants)]);
        Commit(repo.git_in(&self.bare(), &["commit-tree", "-m", "made", &root], b"").into())
    }

    async fn tree(&self, commit: &Commit) -> Tree {
        self.source.tree(commit).await.unwrap()
    }

    /// Why the tree may not be used, by its content.
    async fn refused(&self, commit: &Commit) -> String {
        match self.source.tree(commit).await {
            Err(SourceError::Bad(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn raw_tree(entries: &[(&str, &[u8], &str)]) -> Vec<u8> {
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(git2::Oid::from_str(id).unwrap().as_bytes());
    }
    raw
}
