use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use crate::model::Commit;

/// As the Git source has it: what works here works there.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The repository that people merge into, made with the system's `git` and nothing of the user's configuration.
pub struct Repo {
    path: PathBuf,
}

impl Repo {
    pub fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(path.join("grants")).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first commit.
    pub fn begin(&self, at: Timestamp) -> Result<()> {
        self.git(at, &["init", "--quiet", "--template=", "--initial-branch=main", "."])?;
        self.write("README.md", "Grants of Corp. Add a file under grants/ by pull request.\n")?;
        self.commit(at, "Begin").map(drop)
    }

    /// Adds a grant, as a pull request that was squashed and merged.
    pub fn merge(&self, at: Timestamp, id: &str, text: &str) -> Result<Commit> {
        self.write(&format!("grants/{id}.yaml"), text)?;
        self.commit(at, &format!("Grant {id}"))
    }

    /// Takes a grant out.
    pub fn withdraw(&self, at: Timestamp, id: &str) -> Result<Commit> {
        let path = self.path.join(format!("grants/{id}.yaml"));
        fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        self.commit(at, &format!("Withdraw {id}"))
    }

    /// Takes the last commit back.
    pub fn revert(&self, at: Timestamp) -> Result<Commit> {
        self.git(at, &["revert", "--no-edit", "HEAD"])?;
        self.head(at)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    fn commit(&self, at: Timestamp, message: &str) -> Result<Commit> {
        self.git(at, &["add", "--all"])?;
        self.git(at, &["commit", "--quiet", "--message", message])?;
        self.head(at)
    }

    fn head(&self, at: Timestamp) -> Result<Commit> {
        Ok(Commit(self.git(at, &["rev-parse", "HEAD"])?.as_str().into()))
    }

    /// Dates are the world's: a commit that looks old would be held.
    fn git(&self, at: Timestamp, arguments: &[&str]) -> Result<String> {
        let done = Command::new("git")
            .args(arguments)
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", &self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "J. Doe")
            .env("GIT_AUTHOR_EMAIL", "jdoe@corp.example")
            .env("GIT_COMMITTER_NAME", "Ann Approver")
            .env("GIT_COMMITTER_EMAIL", "ann@corp.example")
            .env("GIT_AUTHOR_DATE", at.to_string())
            .env("GIT_COMMITTER_DATE", at.to_string())
            .output();
        let output = match done {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no `git` in {PATH}: install it, grantd reads grants with it")
            }
            done => done.context("`git` cannot be run")?,
        };
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
