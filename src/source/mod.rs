//! Git as the source of grants: the system's `git` fetches, `git2` reads.
//!
//! Fetching is done by a child process, because only there does git check each object that it takes (`fsckObjects`; the
//! transports of libgit2 do not), and because a child can be limited, killed and kept from the daemon's environment:
//! what parses bytes from the network holds no AWS credentials. The log is read by a child too, since `git log --raw`
//! is many times faster than diffs by libgit2. Trees and blobs are read by libgit2, in this process, from the bare
//! repository that the child has filled: thousands of objects cost no process each, and sizes are known before
//! contents are read. Nothing is ever checked out.
//!
//! | file | does |
//! |---|---|
//! | `settings` | the block of the configuration, checked |
//! | `child` | runs a child within limits, and kills all of it |
//! | `git` | a `git` command with an environment and a configuration of our own |
//! | `fetch` | brings the branch into the bare repository |
//! | `log` | the first-parent line |
//! | `tree` | trees, blobs, names of commits |

mod child;
mod fetch;
mod git;
mod log;
mod settings;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::{BoxFuture, Change, Commit, Log, Oid, Proof, Source, SourceError, Text, Tree};

pub use settings::Settings;
pub use tree::{MAX_BLOB, MAX_DEPTH, MAX_ENTRIES};

/// A branch of a Git repository, mirrored into a bare repository of our own.
///
/// Needs a tokio runtime with I/O and time. A fetch that is dropped kills its children.
#[derive(Debug)]
pub struct GitSource {
    remote: fetch::Remote,
    branch: String,
    folder: String,
}

impl GitSource {
    /// A source that keeps its bare repository in `state/git`, and in `state/git-home` what git takes for its home.
    /// `credentials` is systemd's credentials directory, for settings of the form `credential:NAME`.
    ///
    /// Writes nothing and reads no credential: both happen at each fetch.
    ///
    /// # Errors
    /// [`SourceError::Broken`] for settings that cannot work; it says what to write instead.
    pub fn new(settings: &Settings, state: &Path, credentials: Option<&Path>) -> Result<Self, SourceError> {
        settings.check().map_err(SourceError::Broken)?;
        let state = std::path::absolute(state)
            .map_err(|e| SourceError::Broken(format!("the state folder {} cannot be used: {e}", state.display())))?;
        let remote = fetch::Remote::new(settings, git::Git::new(&state), credentials).map_err(SourceError::Broken)?;
        Ok(Self { remote, branch: settings.branch.clone(), folder: settings.path.clone() })
    }

    /// Runs what libgit2 does beside the runtime: it blocks on the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let bare: PathBuf = self.remote.git().bare().to_owned();
        tokio::task::spawn_blocking(move || read(&bare))
            .await
            .unwrap_or_else(|e| Err(SourceError::Broken(format!("reading the local repository was cut off: {e}"))))
    }
}

impl Source for GitSource {
    fn fetch(&self) -> BoxFuture<'_, Result<Commit, SourceError>> {
        Box::pin(self.remote.fetch())
    }

    fn tree<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Tree, SourceError>> {
        Box::pin(async move {
            let (commit, folder) = (commit.clone(), self.folder.clone());
            self.read(move |bare| tree::tree(bare, &commit, &folder)).await
        })
    }

    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> BoxFuture<'a, Result<Vec<Vec<u8>>, SourceError>> {
        Box::pin(async move {
            let blobs = blobs.to_vec();
            self.read(move |bare| tree::blobs(bare, &blobs)).await
        })
    }

    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> BoxFuture<'a, Result<Log, SourceError>> {
        Box::pin(async move {
            if since == Some(head) {
                return Ok(Log { descends: true, changes: Vec::new() });
            }
            let (to, from) = (head.clone(), since.cloned());
            let known = self
                .read(move |bare| {
                    tree::commit(bare, &to)?;
                    from.map(|from| tree::has_commit(bare, &from)).transpose()
                })
                .await?;
            if known == Some(false) {
                // The bare repository is complete: what it does not hold is no ancestor of the head.
                return Ok(Log::default());
            }
            log::log(self.remote.git(), head, since, &self.folder).await
        })
    }

    fn deletions<'a>(
        &'a self,
        _head: &'a Commit,
        _since: Option<&'a Commit>,
    ) -> BoxFuture<'a, Result<Vec<Change>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn trust(&self) -> Result<Text, String> {
        Ok("".into())
    }

    fn prove<'a>(&'a self, _commits: &'a [Commit], _now: Timestamp) -> BoxFuture<'a, Result<Vec<Proof>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn resolve<'a>(&'a self, rev: &'a str) -> BoxFuture<'a, Result<Commit, SourceError>> {
        Box::pin(async move {
            let (rev, branch) = (rev.to_owned(), self.branch.clone());
            self.read(move |bare| tree::resolve(bare, &rev, &branch)).await
        })
    }
}
