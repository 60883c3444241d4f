//! Signatures made by the real programs, over commits made by the real git.

mod files;
mod pgp;
mod range;
mod ssh;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiff::Timestamp;
use tempfile::TempDir;

use super::Repo;
use crate::{
    model::{Commit, Key, Text},
    source::{Keys, Signers},
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Later than all that is made here, but for what is dated 2099.
fn now() -> Timestamp {
    time("2028-01-01T00:00:00Z")
}

/// Where the keys lie.
struct Shelf {
    folder: TempDir,
}

impl Shelf {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// A new SSH key.
    fn key(&self, name: &str, kind: &[&str]) -> Pair {
        let path = self.path(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).arg("-t").args(kind);
        done(command.output().unwrap());
        Pair { public: fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned(), path }
    }

    fn ed25519(&self, name: &str) -> Pair {
        self.key(name, &["ed25519"])
    }

    /// Keys by a list of signers.
    fn signers(&self, list: &str) -> Keys {
        Keys { signers: Some(self.write("signers", list)), ..Keys::default() }
    }

    fn revoking(&self, list: &str, revoked: &str) -> Keys {
        Keys { revoked: Some(self.write("revoked", revoked)), ..self.signers(list) }
    }
}

/// A pair of SSH keys.
struct Pair {
    path: PathBuf,
    public: String,
}

impl Pair {
    fn name(&self) -> Key {
        let output = done(Command::new("ssh-keygen").arg("-lf").arg(&self.path).output().unwrap());
        output.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// As a line of the list, with options.
    fn line(&self, options: &str) -> String {
        format!("ann@corp.example {options} {}\n", self.public)
    }

    /// What `ssh-keygen` makes of some bytes.
    fn sign(&self, shelf: &Shelf, namespace: &str, payload: &[u8]) -> String {
        let file = shelf.write("payload", payload);
        let signature = shelf.path("payload.sig");
        let _ = fs::remove_file(&signature);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&self.path).arg(&file);
        done(command.output().unwrap());
        fs::read_to_string(signature).unwrap()
    }
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Repo {
    /// A commit signed by git itself, with an SSH key.
    fn signed(&self, key: &Pair, files: &[(&str, &str)]) -> Commit {
        self.write(files);
        let key = format!("user.signingkey={}", key.path.display());
        self.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "--quiet", "--allow-empty", "-S", "--message=change"]);
        self.head()
    }

    /// A merge of this branch into the one that is checked out, signed.
    fn signed_merge(&self, key: &Pair, name: &str) -> Commit {
        let key = format!("user.signingkey={}", key.path.display());
        self.git(&["-c", "gpg.format=ssh", "-c", &key, "merge", "--quiet", "--no-ff", "--no-edit", "-S", name]);
        self.head()
    }

    fn raw(&self, commit: &Commit) -> Vec<u8> {
        let repo = git2::Repository::open(&self.path).unwrap();
        let odb = repo.odb().unwrap();
        odb.read(git2::Oid::from_str(&commit.0).unwrap()).unwrap().data().to_vec()
    }

    /// Writes a commit as it stands here, however odd.
    fn put(&self, raw: &[u8]) -> Commit {
        let id = self.git_in(&self.path, &["hash-object", "-w", "--literally", "-t", "commit", "--stdin"], raw);
        Commit(id.into())
    }

    /// Whether git takes the signature for good.
    fn git_verifies(&self, commit: &Commit, settings: &[String]) -> bool {
        let mut command = Command::new("git");
        command.current_dir(&self.path).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.args(["verify-commit", &commit.0]).output().unwrap().status.success()
    }
}

/// The commit with one more header, before the message.
fn with_header(raw: &[u8], name: &str, value: &str) -> Vec<u8> {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    let (headers, message) = text.split_once("\n\n").unwrap();
    format!("{headers}\n{name} {}\n\n{message}", value.trim_end().replace('\n', "\n ")).into_bytes()
}

/// The commit without its signature.
fn stripped(raw: &[u8]) -> Vec<u8> {
    crate::source::trust::payload(raw).unwrap()
}

fn verify(keys: &Keys, raw: &[u8], at: Timestamp) -> Result<Key, Text> {
    Signers::load(keys).unwrap().verify(raw, at)
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
