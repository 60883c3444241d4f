use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    Settings,
    aside::{Place, Places},
    caps::Bounds,
    git::Git,
    login::{Token, ssh_command},
    quarantine::{Odd, Quarantine},
    refusals::Refusals,
    settings::{Transport, transport},
    tree,
};
use crate::model::{Commit, Outside, SourceError, secret_file};

/// How long a fetch of another process (`grantd plan` beside the daemon) is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(100);
/// How long the state folder is left alone after it could not keep what was fetched: twice as long each time.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// Where commits are kept alive that were fetched by their id.
const REVIEW: &str = "refs/grantd/review";

/// The remote branch, and how it is reached.
#[derive(Debug)]
pub struct Remote {
    pub(super) places: Places,
    pub(super) url: String,
    pub(super) branch: String,
    /// The command line for `GIT_SSH_COMMAND`.
    pub(super) ssh: Option<String>,
    token: Option<PathBuf>,
    pub(super) http: bool,
    /// How an https remote is reached.
    pub(super) outside: Outside,
    pub(super) limits: Bounds,
    /// One fetch at a time.
    pub(super) turn: Mutex<Turn>,
}

/// What one fetch leaves for the next.
#[derive(Debug)]
pub(super) struct Turn {
    /// Whether the bare repository may hold what a killed git left there.
    pub dirty: bool,
    pub refusals: Refusals,
    /// Why the state folder does not keep what is fetched, until when it is left alone, and for how long that is.
    unkept: Option<(String, Instant, Duration)>,
}

/// What is fetched.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Branch,
    Commit(&'a Commit),
}

/// Why a fetch brought nothing.
pub(super) enum Miss {
    /// The place cannot keep it: it has no room, or cannot be written to.
    Unkept(String),
    Told(SourceError),
}

impl From<SourceError> for Miss {
    fn from(error: SourceError) -> Self {
        Self::Told(error)
    }
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
            places: Places::new(git),
            url: settings.url.clone(),
            branch: settings.branch.clone(),
            ssh,
            token,
            http,
            outside: Outside::default(),
            limits: Bounds::USUAL,
            turn: Mutex::new(Turn { dirty: true, refusals: Refusals::default(), unkept: None }),
        })
    }

    /// Where all that was fetched can be read.
    pub fn git(&self) -> Place {
        self.places.now()
    }

    /// Brings the branch up to date and answers its head.
    pub async fn fetch(&self) -> Result<Commit, SourceError> {
        let mut turn = self.turn.lock().await;
        self.keep(&mut turn, Wanted::Branch).await
    }

    /// Brings one commit with all that is behind it, unless it is here. The branch stays where it is.
    pub async fn bring(&self, commit: &Commit) -> Result<(), SourceError> {
        tree::object_id(&commit.0)?;
        let mut turn = self.turn.lock().await;
        let wanted = commit.clone();
        if self.read(move |bare| Ok(tree::has_commit(bare, &wanted) == Ok(true))).await? {
            return Ok(());
        }
        self.keep(&mut turn, Wanted::Commit(commit)).await.map(drop)
    }

    /// Fetches into the state's repository, and where that cannot be, or must not, into a throw-away one: a deletion must be
    /// seen although the disk is full.
    async fn keep(&self, turn: &mut Turn, what: Wanted<'_>) -> Result<Commit, SourceError> {
        let now = Instant::now();
        let head = matches!(what, Wanted::Branch);
        let rests = |turn: &Turn| turn.unkept.as_ref().is_some_and(|(_, until, _)| now < *until);
        // What belongs to a head that lies beside the state folder lies there too.
        if self.places.keeps() && !rests(turn) && (head || self.places.unkept().is_none()) {
            match self.fetch_to(turn, &self.places.kept(), what).await {
                Ok(done) => {
                    turn.unkept = None;
                    self.places.clear();
                    return Ok(done);
                }
                Err(Miss::Told(error)) => return Err(error),
                Err(Miss::Unkept(why)) => {
                    let wait = turn.unkept.as_ref().map_or(SHORTEST, |(.., wait)| (*wait * 2).min(LONGEST));
                    turn.unkept = Some((why, now + wait, wait));
                }
            }
        }
        let why = turn.unkept.as_ref().map(|(why, ..)| why.clone());
        let unread = |beside: String| match &why {
            Some(why) => SourceError::Unread(format!("{why}; and beside it: {beside}")),
            None => SourceError::Unread(beside),
        };
        let place = self.places.aside(why.as_deref(), head).map_err(unread)?;
        match self.fetch_to(turn, &place, what).await {
            Ok(done) => Ok(done),
            Err(Miss::Told(error)) => Err(error),
            Err(Miss::Unkept(beside)) => {
                self.places.clear();
                Err(unread(beside))
            }
        }
    }

    async fn fetch_to(&self, turn: &mut Turn, place: &Place, what: Wanted<'_>) -> Result<Commit, Miss> {
        match what {
            Wanted::Branch => self.follow(turn, place).await,
            Wanted::Commit(commit) => self.bring_to(turn, place, commit).await.map(|()| commit.clone()),
        }
    }

    /// Brings the branch into one place.
    async fn follow(&self, turn: &mut Turn, place: &Place) -> Result<Commit, Miss> {
        place.prepare().map_err(|e| unusable(place, &e))?;
        let lock = Arc::new(lock(place).await?);
        let token = self.token().await?;
        let theirs = self.ask(place, token.as_ref()).await?;
        let ours = head(place).await?;
        if ours.as_ref() == Some(&theirs) {
            return Ok(theirs);
        }
        turn.refusals.pass(&theirs, Instant::now())?;
        let what = format!("refs/heads/{}", self.branch);
        let brought = self.take(turn, place, &lock, &what, ours.as_ref(), ours.is_none(), token.as_ref()).await;
        // What was fetched, not what was announced: the branch may have moved in between.
        let head = brought.map_err(|miss| turn.note(&theirs, miss))?;
        turn.refusals.forget(&theirs);
        self.point(place, tree::FETCHED, &head, ours.as_ref()).await?;
        self.tidy(turn, place).await;
        Ok(head)
    }

    /// Brings one commit into one place.
    async fn bring_to(&self, turn: &mut Turn, place: &Place, commit: &Commit) -> Result<(), Miss> {
        place.prepare().map_err(|e| unusable(place, &e))?;
        let lock = Arc::new(lock(place).await?);
        let (wanted, bare) = (commit.clone(), place.bare().to_owned());
        if beside(move || tree::has_commit(&bare, &wanted)).await? {
            return Ok(());
        }
        turn.refusals.pass(commit, Instant::now())?;
        let token = self.token().await?;
        let ours = head(place).await?;
        let brought = self.take(turn, place, &lock, &commit.0, ours.as_ref(), false, token.as_ref()).await;
        let brought = brought.map_err(|miss| turn.note(commit, miss))?;
        if brought != *commit {
            let what = format!("{} was asked for {commit} and sent {brought}", self.url);
            return Err(SourceError::Unreachable(what).into());
        }
        turn.refusals.forget(commit);
        self.point(place, &format!("{REVIEW}/{commit}"), commit, None).await?;
        self.tidy(turn, place).await;
        Ok(())
    }

    /// Fetches a ref or a commit into a quarantine and, if nothing is wrong with it, its objects into the place. Moves no ref.
    #[expect(clippy::too_many_arguments, reason = "all of them are what one fetch is")]
    async fn take(
        &self,
        turn: &mut Turn,
        place: &Place,
        lock: &Arc<File>,
        what: &str,
        ours: Option<&Commit>,
        first: bool,
        token: Option<&Token>,
    ) -> Result<Commit, Miss> {
        if turn.dirty || matches!(place, Place::Aside(_)) {
            place.sweep().map_err(|e| unusable(place, &e))?;
        }
        turn.dirty |= matches!(place, Place::Kept(_));
        let caps = if first { self.limits.first } else { self.limits.later };
        let quarantine = Quarantine::new(place, ours).map_err(|e| unusable(place, &e))?;
        self.download(place, what, &caps, first, token).await?;
        let help = Bounds::help(first, self.places.kept().bare());
        let (url, lock) = (self.url.clone(), lock.clone());
        let admit = move || {
            // Nobody else's turn until this is done, even if the fetch is dropped meanwhile.
            let _lock = lock;
            let commit = quarantine.check(&caps).map_err(|odd| match odd {
                Odd::Sent(why) => SourceError::Unreachable(format!("{url} sends what is not taken: {why}{help}")),
                Odd::Shallow => SourceError::Unreachable(format!(
                    "{url} is a shallow clone: its history is cut off, and who changed what cannot be told; make it whole \
                     there (`git fetch --unshallow`), or name the repository that it was made from"
                )),
                Odd::Unread(why) => SourceError::Unread(format!("what {url} sent cannot be looked at: {why}")),
            })?;
            Ok((commit, quarantine.admit()))
        };
        let (commit, admitted) = beside(admit).await?;
        admitted.map_err(|e| Miss::Unkept(format!("what was fetched cannot be kept: {e}")))?;
        Ok(commit)
    }

    /// Runs what blocks on the disk beside the runtime, over all that was fetched.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let place = self.git();
        beside(move || read(place.bare())).await
    }

    pub(super) async fn token(&self) -> Result<Option<Token>, SourceError> {
        let Some(file) = &self.token else { return Ok(None) };
        // Read at each fetch: tokens are renewed.
        Token::load(file).await.map(Some).map_err(SourceError::Unreachable)
    }
}

impl Turn {
    /// Remembers that the remote's side of a fetch failed.
    fn note(&mut self, commit: &Commit, miss: Miss) -> Miss {
        match miss {
            Miss::Told(error) => self.refusals.note(commit, error, Instant::now()).into(),
            unkept @ Miss::Unkept(_) => unkept,
        }
    }
}

fn unusable(place: &Place, e: &io::Error) -> Miss {
    Miss::Unkept(format!("the folder {} cannot be used: {e}", place.bare().display()))
}

async fn head(place: &Place) -> Result<Option<Commit>, SourceError> {
    let bare = place.bare().to_owned();
    beside(move || tree::fetched(&bare)).await
}

/// Runs what blocks on the disk beside the runtime.
async fn beside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|e| Err(SourceError::Unread(format!("reading the local repository was cut off: {e}"))))
}

/// Keeps the fetches of other processes out of a place, until the file is closed.
async fn lock(place: &Place) -> Result<File, Miss> {
    let path = place.home().join("lock");
    let failed = |e: io::Error| Miss::Unkept(format!("{} cannot be locked: {e}", path.display()));
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
                let state = place.bare().display();
                return Err(SourceError::Unreachable(format!("another grantd is fetching into {state}")).into());
            }
            Err(e) => return Err(failed(e.into())),
        }
    }
}
