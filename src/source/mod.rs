//! Git as the source of grants: the system's `git` fetches, `git2` reads.
//!
//! Fetching is done by a child process, because only there does git check each object that it takes (`fsckObjects`; the
//! transports of libgit2 do not), and because a child can be limited, killed and kept from the daemon's environment:
//! what parses bytes from the network holds no AWS credentials. The log is read by a child too, since `git log --raw`
//! is many times faster than diffs by libgit2. Trees and blobs are read by libgit2, in this process, from the bare
//! repository that the child has filled: thousands of objects cost no process each, and sizes are known before
//! contents are read. Nothing is ever checked out.
//!
//! What a fetch brings lies in a quarantine, a bare repository of its own, until its packs were counted and measured; only
//! then it is moved into ours, and only then our ref moves. So a fetch that is refused, or killed, leaves nothing.
//!
//! | file | does |
//! |---|---|
//! | `settings` | the block of the configuration, checked |
//! | `aside` | where what is fetched lies: in the state folder, or in a throw-away repository beside it |
//! | `caps` | what a fetch may use and bring, in figures |
//! | `child` | runs a child within limits, and kills all of it |
//! | `git` | a `git` command with an environment and a configuration of our own |
//! | `login` | the token, and the command line of ssh |
//! | `quarantine` | where a fetch lies until it has been looked at |
//! | `refusals` | what was not taken, and is not asked for again at once |
//! | `calls` | the git commands that speak to the remote, and what their failing means |
//! | `fetch` | brings the branch, or one commit, into the bare repository |
//! | `log` | the first-parent line; deletions on any line |
//! | `tree` | trees, blobs, names of commits |
//! | `trust` | who signed a commit, and what it changed |
//! | `words` | what git said, fit for a person |
//! | [`forge`] | what GitHub or GitLab has on record of a commit |

mod aside;
mod calls;
mod caps;
mod child;
mod fetch;
pub mod forge;
mod git;
mod log;
mod login;
mod quarantine;
mod refusals;
mod settings;
mod tree;
mod trust;
mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use forge::Forge;

use crate::model::{BoxFuture, Change, Commit, Key, Log, Oid, Outside, Proof, Said, Source, SourceError, Text, Tree};

pub use settings::Settings;
pub use tree::{MAX_BLOB, MAX_DEPTH, MAX_ENTRIES};
pub use trust::{Keys, MAX_BROUGHT, Signers};

/// For how long a forge is asked about the commits of one revision.
const FORGE: Duration = Duration::from_secs(20);

/// A branch of a Git repository, mirrored into a bare repository of our own.
///
/// Needs a tokio runtime with I/O and time. A fetch that is dropped kills its children.
#[derive(Debug)]
pub struct GitSource {
    remote: fetch::Remote,
    branch: String,
    folder: String,
    keys: Option<Keys>,
    forge: Option<Forge>,
    reach: Arc<Mutex<trust::Reach>>,
}

impl GitSource {
    /// A source that keeps its bare repository in `state/git`, and in `state/git-home` what git takes for its home.
    /// `credentials` is systemd's credentials directory, for settings of the form `credential:NAME`.
    ///
    /// Writes nothing and reads no credential: both happen at each fetch.
    ///
    /// # Errors
    /// [`SourceError::Settings`] for settings that cannot work; it says what to write instead.
    pub fn new(settings: &Settings, state: &Path, credentials: Option<&Path>) -> Result<Self, SourceError> {
        settings.check().map_err(SourceError::Settings)?;
        let state = std::path::absolute(state)
            .map_err(|e| SourceError::Settings(format!("the state folder {} cannot be used: {e}", state.display())))?;
        let remote = fetch::Remote::new(settings, git::Git::new(&state), credentials).map_err(SourceError::Settings)?;
        Ok(Self {
            remote,
            branch: settings.branch.clone(),
            folder: settings.path.clone(),
            keys: None,
            forge: None,
            reach: Arc::default(),
        })
    }

    /// Writes nothing into the state folder: what it fetches lies in a throw-away repository that goes with it.
    #[must_use]
    pub fn reading(mut self) -> Self {
        self.remote.places = self.remote.places.reading();
        self
    }

    /// Where throw-away repositories may lie, best first: for what cannot be kept, or must not. Without it, the temporary
    /// folder.
    #[must_use]
    pub fn beside(mut self, folders: Vec<PathBuf>) -> Self {
        self.remote.places = self.remote.places.beside(folders);
        self
    }

    /// Reaches a remote over https by the proxies and authorities of this machine. No other needs them.
    #[must_use]
    pub fn through(mut self, outside: Outside) -> Self {
        self.remote.outside = outside;
        self
    }

    /// Looks at signatures too. The files of the keys are read at each proof, so that a change of them is noticed.
    #[must_use]
    pub fn trusting(self, keys: &Keys) -> Self {
        Self { keys: Some(keys.clone()), ..self }
    }

    /// Asks the forge for its record too.
    #[must_use]
    pub fn asking(self, forge: Forge) -> Self {
        Self { forge: Some(forge), ..self }
    }

    /// Whether the forge answers, asked about one commit; fine if there is none.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub async fn reach(&self, commit: &Commit, now: Timestamp) -> Result<(), String> {
        let Some(forge) = &self.forge else { return Ok(()) };
        match forge.said(commit, now).await {
            Said::Away(why) => Err(why.to_string()),
            _ => Ok(()),
        }
    }

    /// What the forge has on record of a commit, with what the commit changed to something else than was approved; and whose
    /// keys are on the commits that were approved.
    async fn said(&self, commit: &Commit, now: Timestamp) -> (Said, BTreeSet<Key>) {
        let none = BTreeSet::new();
        let Some(forge) = &self.forge else { return (Said::Unasked, none) };
        let mut review = match forge.said(commit, now).await {
            Said::Review(review) => review,
            other => return (other, none),
        };
        if let Err(error) = self.bring(&review.head).await {
            let why = format!("the head of #{} cannot be fetched: {error}", review.number);
            return (Said::Away(why.into()), none);
        }
        let (commit, head, folder) = (commit.clone(), review.head.clone(), self.folder.clone());
        let (keys, reach) = (self.keys.clone(), self.reach.clone());
        let compare = move |bare: &Path| {
            let signers = signers(keys.as_ref()).map_err(SourceError::Unread)?;
            trust::reviewed(bare, &commit, &head, &folder, &signers, now, &mut learnt(&reach))
        };
        match self.remote.read(compare).await {
            Ok((differs, keys)) => {
                review.differs = differs;
                (Said::Review(review), keys)
            }
            // One request that cannot be compared must not keep the others from being looked at.
            Err(error) => (Said::Missing(format!("#{} cannot be compared: {error}", review.number).into()), none),
        }
    }

    /// Brings one commit, named by its full id, with all that is behind it: the head of a pull request, which no branch may
    /// hold any more. It stays for good, under `refs/grantd/review/`, and the branch stays where it is. Costs nothing if the
    /// commit is here. The same cage as for a fetch, and the limits of a later one.
    ///
    /// # Errors
    /// [`SourceError::Missing`] for what is no full id, [`SourceError::Unreachable`] if the remote cannot be reached, does
    /// not hand out commits by id, or sends what is not taken.
    pub async fn bring(&self, commit: &Commit) -> Result<(), SourceError> {
        self.remote.bring(commit).await
    }

    /// Whether a commit of what was fetched is here.
    async fn has(&self, commit: &Commit) -> Result<bool, SourceError> {
        let commit = commit.clone();
        self.remote.read(move |bare| tree::has_commit(bare, &commit)).await
    }
}

/// What a look that was cut off left there is as true as the rest.
fn learnt(reach: &Mutex<trust::Reach>) -> MutexGuard<'_, trust::Reach> {
    reach.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As the files are now. Without keys, nobody's signature counts.
fn signers(keys: Option<&Keys>) -> Result<Signers, String> {
    keys.map_or_else(|| Ok(Signers::default()), Signers::load)
}

impl Source for GitSource {
    fn fetch(&self) -> BoxFuture<'_, Result<Commit, SourceError>> {
        Box::pin(self.remote.fetch())
    }

    fn unkept(&self) -> Option<Text> {
        self.remote.places.unkept()
    }

    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&*self.folder).is_some_and(|below| below.starts_with('/'))
    }

    fn tree<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Tree, SourceError>> {
        Box::pin(async move {
            let (commit, folder) = (commit.clone(), self.folder.clone());
            self.remote.read(move |bare| tree::tree(bare, &commit, &folder)).await
        })
    }

    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> BoxFuture<'a, Result<Vec<Vec<u8>>, SourceError>> {
        Box::pin(async move {
            let blobs = blobs.to_vec();
            self.remote.read(move |bare| tree::blobs(bare, &blobs)).await
        })
    }

    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> BoxFuture<'a, Result<Log, SourceError>> {
        Box::pin(async move {
            if since == Some(head) {
                return Ok(Log { descends: true, changes: Vec::new() });
            }
            let to = head.clone();
            self.remote.read(move |bare| tree::commit(bare, &to)).await?;
            if let Some(since) = since
                && !self.has(since).await?
            {
                // The bare repository is complete: what it does not hold is no ancestor of the head. But an object that cannot
                // be reached just now looks the same, and to take that for another history would freeze granting: git walks
                // the line itself.
                if log::is_on_line(&self.remote.git(), head, since).await? {
                    let why = format!("the commit {since} is on the line of {head} and cannot be found");
                    return Err(SourceError::Unread(why));
                }
                return Ok(Log::default());
            }
            log::log(&self.remote.git(), head, since, &self.folder).await
        })
    }

    fn deletions<'a>(
        &'a self,
        head: &'a Commit,
        since: Option<&'a Commit>,
    ) -> BoxFuture<'a, Result<Vec<Change>, SourceError>> {
        Box::pin(async move {
            let to = head.clone();
            self.remote.read(move |bare| tree::commit(bare, &to)).await?;
            let since = match since {
                Some(since) if self.has(since).await? => Some(since),
                Some(_) | None => None,
            };
            log::deletions(&self.remote.git(), head, since, &self.folder).await
        })
    }

    fn trust(&self) -> Result<Text, String> {
        let keys = signers(self.keys.as_ref())?.digest().clone();
        let Some(forge) = &self.forge else { return Ok(keys) };
        let both = Sha256::digest(format!("{keys}\n{}", forge.name()));
        Ok(both.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> BoxFuture<'a, Result<Vec<Proof>, SourceError>> {
        Box::pin(async move {
            let (asked, folder, keys) = (commits.to_vec(), self.folder.clone(), self.keys.clone());
            let reach = self.reach.clone();
            let facts = move |bare: &Path| {
                let signers = signers(keys.as_ref()).map_err(SourceError::Unread)?;
                trust::facts(bare, &asked, &folder, &signers, now, &mut learnt(&reach))
            };
            let mut proofs = self.remote.read(facts).await?;
            // A slow forge must not keep a deletion from being read: what it was not asked in time is asked the next time.
            let until = tokio::time::Instant::now() + FORGE;
            let mut away: Option<Text> = None;
            for proof in proofs.iter_mut().filter(|proof| proof.signed()) {
                let asked = match &away {
                    None => tokio::time::timeout_at(until, self.said(&proof.commit, now)).await,
                    Some(why) => Ok((Said::Away(why.clone()), BTreeSet::new())),
                };
                proof.forge = match asked {
                    Ok((said, keys)) => {
                        proof.signers.extend(keys);
                        said
                    }
                    Err(_) => Said::Away(format!("the forge did not tell all within {} s", FORGE.as_secs()).into()),
                };
                if let Said::Away(why) = &proof.forge {
                    away = Some(why.clone());
                }
            }
            Ok(proofs)
        })
    }

    fn resolve<'a>(&'a self, rev: &'a str) -> BoxFuture<'a, Result<Commit, SourceError>> {
        Box::pin(async move {
            let (rev, branch) = (rev.to_owned(), self.branch.clone());
            self.remote.read(move |bare| tree::resolve(bare, &rev, &branch)).await
        })
    }
}
