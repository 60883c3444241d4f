//! From a configuration to the parts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::{
    config::{Cloud, Config},
    decide::{Targets, replay},
    engine::{Book, Cycle, Executor, Parts, Pulse},
    journal::{self, FileJournal},
    model::{Clock, JournalError, Ledger, Line, Source},
    source::GitSource,
    surface::{self, Writers, world::World},
};

/// A checked configuration and the cloud that it names.
pub struct Setup {
    pub config: Config,
    world: World,
}

impl Setup {
    pub fn load(path: &Path) -> Result<Self> {
        Self::new(Config::load(path)?)
    }

    pub fn new(config: Config) -> Result<Self> {
        let world = match &config.cloud {
            Cloud::Aws => bail!(
                "`cloud: aws` needs a build with the AWS adapters; this one knows only `cloud: {{ world: FILE }}`"
            ),
            Cloud::World(settings) => World::open(&settings.world, settings.clock)?,
        };
        Ok(Self { config, world })
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        self.world.clock()
    }

    pub fn world(&self) -> World {
        self.world.clone()
    }

    pub fn source(&self) -> Result<Arc<dyn Source>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the edge: systemd names the folder of the credentials by environment"
        )]
        let credentials = std::env::var("CREDENTIALS_DIRECTORY").ok().map(PathBuf::from);
        Ok(Arc::new(GitSource::new(&self.config.source, &self.config.state, credentials.as_deref())?))
    }

    /// The reading half. It has no writers.
    pub fn cycle(&self, book: Book) -> Result<Cycle> {
        let parts = Parts {
            targets: Arc::new(targets()),
            readers: surface::world_readers(&self.world),
            source: self.source()?,
            clock: self.clock(),
            policy: Arc::new(self.config.policy()),
        };
        Ok(Cycle::new(parts, book))
    }

    pub fn executor(&self) -> Executor {
        let writers: Writers = surface::world_writers(&self.world);
        Executor::new(writers)
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

pub fn pulse(config: &Config) -> Pulse {
    let sweeps = config.clone();
    Pulse { poll: config.source.poll, sweep: Arc::new(move |after| sweeps.next_sweep(after)) }
}

pub fn targets() -> Targets {
    surface::targets().into_iter().map(|target| (target.surface(), target)).collect()
}

/// The runtime of a command. Two workers: the loop itself is serial, and the rest waits for the network.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")
}

/// What to do where there is no journal: one of two.
pub fn no_journal(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::None(state) => anyhow!(
            "there is no journal in {state}\n  \
             a new installation begins with `grantd init`\n  \
             if there was one and it is lost, put it back from a copy first: without it grantd does not know what it owns"
        ),
        other => other.into(),
    }
}
