//! From a configuration to the parts.

use std::{
    env::VarError,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Error, Result, anyhow};
use jiff::Timestamp;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::{self, Config},
    decide::{Targets, replay},
    engine::{Book, Cycle, Executor, Parts, Pulse},
    journal::{self, FileJournal},
    model::{Clock, JournalError, Ledger, Line, Outside, Policy, Source},
    source::{GitSource, forge::Forge},
    surface::{self, Cloud, world::World},
};
#[cfg(feature = "aws")]
use crate::{
    model::{read_file, secret_file},
    surface::{
        aws::{Aws, Edge, wire},
        world::RealClock,
    },
};

use super::{guard, owner};

/// The longest external id in a file, bytes.
#[cfg(feature = "aws")]
const SECRET: u64 = 4096;

/// A checked configuration and the cloud that it names.
pub struct Setup {
    pub config: Config,
    pub cloud: Cloud,
    /// Where the configuration was read; none where it is nobody's.
    path: Option<PathBuf>,
}

impl Setup {
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self { path: Some(path.to_owned()), ..Self::new(Config::load(path)?)? })
    }

    /// For what writes: whoever can change the configuration or the journal decides who gets access, so nobody but root and
    /// this user may. The state folder is closed to readers, too.
    pub fn guarded(path: &Path) -> Result<Self> {
        // Before it is read: what is read once is what was guarded.
        let guarded = guard::configuration(path).map_err(Error::msg);
        let config = Config::load(path);
        // Whoever is not the one to run this is told that first.
        if let Ok(config) = &config {
            owner::must_own(&config.state)?;
        }
        guarded?;
        let setup = Self { path: Some(path.to_owned()), ..Self::new(config?)? };
        guard::state(&setup.config.state).map_err(Error::msg)?;
        close(&setup.config.state);
        Ok(setup)
    }

    pub fn new(config: Config) -> Result<Self> {
        let cloud = match &config.cloud {
            config::Cloud::World(settings) => Cloud::World(World::open(&settings.world, settings.clock)?),
            #[cfg(feature = "aws")]
            config::Cloud::Aws => Cloud::Aws(aws(&config)?),
            #[cfg(not(feature = "aws"))]
            config::Cloud::Aws => anyhow::bail!(
                "`cloud: aws` needs a build with the feature `aws`; this one knows only `cloud: {{ world: FILE }}`"
            ),
        };
        Ok(Self { config, cloud, path: None })
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        self.cloud.clock()
    }

    /// Whether the configuration is one that nobody else could change.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn guard(&self) -> Result<(), String> {
        self.path.as_ref().map_or(Ok(()), |path| guard::configuration_of(path, &self.config.state))
    }

    /// What grants may ask for, and whether what says so is guarded.
    pub fn policy(&self) -> Policy {
        self.path.as_ref().map_or_else(|| self.config.policy(), |path| guard::policy(path, &self.config))
    }

    /// The world, which has to be the cloud.
    pub fn world(&self) -> Result<&World> {
        match &self.cloud {
            Cloud::World(world) => Ok(world),
            #[cfg(feature = "aws")]
            Cloud::Aws(_) => anyhow::bail!("the cloud is AWS, not a world"),
        }
    }

    pub fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.git()?))
    }

    /// The source that keeps what it fetches in the state folder.
    pub fn git(&self) -> Result<GitSource> {
        let config::Trust { keys, forge, .. } = &self.config.trust;
        let credentials = credentials();
        let mut git = GitSource::new(&self.config.source, &self.config.state, credentials.as_deref())?;
        git = git.beside(beside()).through(outside()?);
        if let Some(keys) = keys {
            git = git.trusting(keys);
        }
        if let Some(forge) = forge {
            let branch = &self.config.source.branch;
            git = git.asking(
                Forge::new(forge, branch, credentials.as_deref(), &outside()?).map_err(|error| anyhow!(error))?,
            );
        }
        Ok(git)
    }

    /// The reading half. It has no writers.
    pub fn cycle(&self, book: Book) -> Result<Cycle> {
        self.cycle_over(self.source()?, book)
    }

    /// The same for what only looks: not even what it fetches is kept.
    pub fn onlooker(&self, book: Book) -> Result<Cycle> {
        self.cycle_over(Arc::new(self.git()?.reading()), book)
    }

    fn cycle_over(&self, source: Arc<dyn Source>, book: Book) -> Result<Cycle> {
        let parts = Parts {
            targets: Arc::new(targets()),
            readers: self.cloud.readers(),
            source,
            clock: self.clock(),
            policy: Arc::new(self.policy()),
        };
        Ok(Cycle::new(parts, book))
    }

    pub fn executor(&self) -> Executor {
        let nonce = || {
            let mut bytes = [0; 16];
            // The kernel's own: sixteen bytes never come short.
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
            Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        };
        Executor::new(self.cloud.writers(), Box::new(nonce))
    }

    pub fn pulse(&self) -> Pulse {
        pulse(&self.config)
    }

    /// The journal, locked, and its ledger.
    pub fn book(&self, now: Timestamp) -> Result<Book> {
        let mut ledger = Ledger::default();
        let journal = FileJournal::open_with(&self.config.state, now, &mut |line| replay(&mut ledger, line));
        Ok(Book::new(Box::new(journal.map_err(no_journal)?), ledger))
    }

    /// The lines of the journal from its last checkpoint on, read without a lock.
    pub fn lines(&self) -> Result<Vec<Line>, JournalError> {
        journal::read(&self.config.state)
    }
}

/// Takes from everybody else what he may do with a folder of ours. Where that cannot be, as on a mount whose modes are fixed, nothing
/// that must end waits for it, and `doctor` says so.
fn close(folder: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let Ok(about) = folder.metadata() else { return };
    if about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 != 0 {
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    }
}

/// How the outside is reached.
#[expect(clippy::disallowed_methods, reason = "the edge: proxies and authorities come by environment")]
pub fn outside() -> Result<Outside> {
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value.into()),
        Err(VarError::NotUnicode(value)) => Some(value),
        Err(VarError::NotPresent) => None,
    };
    Outside::read(variable).map_err(|why| anyhow!(why))
}

/// Systemd's folder of credentials.
#[expect(clippy::disallowed_methods, reason = "the edge: systemd names the folder by environment")]
pub fn credentials() -> Option<PathBuf> {
    match std::env::var("CREDENTIALS_DIRECTORY") {
        Ok(folder) => Some(folder.into()),
        Err(VarError::NotUnicode(folder)) => Some(folder.into()),
        Err(VarError::NotPresent) => None,
    }
}

/// Where a throw-away repository may lie, best first: systemd's folder for what does not outlive the service, then where
/// everybody's lies, on a disk or in memory.
#[expect(clippy::disallowed_methods, reason = "the edge: systemd names the folder by environment")]
fn beside() -> Vec<PathBuf> {
    let named = std::env::var("RUNTIME_DIRECTORY").ok();
    let named = named.iter().flat_map(|folders| folders.split(':')).map(PathBuf::from);
    let usual = [std::env::temp_dir(), "/dev/shm".into(), "/var/tmp".into()];
    named.filter(|folder| folder.is_absolute()).chain(usual).collect()
}

#[cfg(feature = "aws")]
fn aws(config: &Config) -> Result<Aws> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let daemon: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    let folder = credentials();
    let secret = move |value: &str| {
        let path = secret_file("external_id", value, folder.as_deref())?;
        let text = read_file(&path, SECRET).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    };
    let random = || {
        let mut bytes = [0; 16];
        // The kernel's own: sixteen bytes never come short.
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(bytes)
    };
    let http = wire::client(&outside()?).map_err(|why| anyhow!(why))?;
    let aws = Aws::new(Edge { clock: Arc::new(RealClock), daemon, secret: Box::new(secret), random, base: None, http });
    aws.configure(config.accounts.values(), &config.surfaces());
    Ok(aws)
}

pub fn pulse(config: &Config) -> Pulse {
    let sweeps = config.clone();
    Pulse { poll: config.source.poll, sweep: Arc::new(move |after| sweeps.next_sweep(after)) }
}

pub fn targets() -> Targets {
    surface::targets().into_iter().map(|target| (target.surface(), target)).collect()
}

/// What the kernel sends to a process whose file grew beyond its limit; the same number everywhere but on MIPS.
const FILE_TOO_LARGE: i32 = 25;

/// The runtime of a command. Two workers: the loop itself is serial, and the rest waits for the network.
pub fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    // Left alone, it kills: a file that cannot grow must be an error like a full disk. Heard once, it is only an error from then on;
    // children get it as it was.
    let entered = runtime.enter();
    drop(signal(SignalKind::from_raw(FILE_TOO_LARGE)).context("signals cannot be caught")?);
    drop(entered);
    Ok(runtime)
}

/// What to do where there is no journal, or none that can be trusted.
pub fn no_journal(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::Corrupt(what) => anyhow!(
            "{what}\n  \
             the journal was damaged, or changed by something else than grantd, which starts over none that it cannot trust: \
             until it does, nothing ends by itself\n  \
             keep the state folder as it is for whoever finds out why (`cp -a`); `grantd history` shows all that is whole \
             before that line: what was granted and not revoked there is to be taken away by hand if its end has come\n  \
             then put the folder `journal` back from a copy that `grantd audit verify` calls whole, and take away by hand what was \
             granted after that copy was made: it knows nothing of that"
        ),
        JournalError::None(state) => anyhow!(
            "there is no journal in {state}\n  \
             a new installation begins with `grantd init`\n  \
             if there was one and it is lost, put it back from a copy first: without it grantd does not know what it owns"
        ),
        JournalError::Outside(what) => anyhow!(
            "{what}\n  \
             first see that it was noted of this very installation, and is typed as it was noted: the chain in itself is whole\n  \
             if it was, lines were cut off, or the journal was put back from an older copy or written anew: keep the state folder as \
             it is for whoever finds out why (`cp -a`), and take away by hand what was granted in the lines that lack"
        ),
        other => other.into(),
    }
}
