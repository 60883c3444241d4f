//! The whole story on the world: the real engine, Git source and file journal; only the cloud is in memory, and its clock
//! runs fast. Every promise is checked against the world's state and the journal, never just printed.

mod repo;
mod stage;
mod story;
mod teller;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{cli::Demo, config::Config, engine::Daemon};

use super::{interrupt::Signals, output, setup, setup::Setup};

use self::{repo::Repo, story::Story, teller::Teller};

/// How many seconds pass in the world in one real second. Faster, and a busy machine would be late by the engine's own
/// measures: a look counts as fresh for one minute of the world.
const SPEED: u32 = 180;
/// The name of the configuration in the folder.
const CONFIG: &str = "grantd.yaml";

pub fn run(args: &Demo) -> Result<ExitCode> {
    let began = Instant::now();
    // Whoever is interrupted leaves no folder behind.
    let runtime = setup::runtime()?;
    let mut signals = Signals::hear(&runtime);
    let folder = Folder::new(args.keep.as_deref())?;
    let path = folder.path();
    let repo = Repo::new(path.join("repo"))?;
    let config = path.join(CONFIG);
    fs::write(path.join("world.yaml"), stage::WORLD).context("the world's file cannot be written")?;
    fs::write(&config, stage::config(repo.path())?).context("the configuration cannot be written")?;
    // Wherever it lies: nothing of it is anybody's access.
    let setup = Setup::new(Config::load(&config)?)?;
    let mut teller = Teller::new(&setup)?;
    teller.title(SPEED);
    if output::lost() {
        // Nobody hears the story.
        return Ok(ExitCode::SUCCESS);
    }
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            code = signals.come() => Ok(Some(code)),
            told = tell(&setup, &repo, &mut teller) => told.map(|()| None),
        }
    });
    // Nothing writes to the folder any more.
    drop((signals, runtime));
    if let Some(code) = ended? {
        teller.clear();
        return Ok(code);
    }
    let kept = teller.end(began.elapsed(), args.keep.as_deref());
    folder.close()?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The chapters, with the daemon beside them from the second one on.
async fn tell(setup: &Setup, repo: &Repo, teller: &mut Teller) -> Result<()> {
    let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
    let mut story = Story::new(setup, repo, teller, orders);
    story.beginning().await?;
    story.first_grant().await?;
    let now = setup.clock().now();
    let book = setup.book(now)?;
    let mut cycle = setup.cycle(book)?;
    cycle.start(env!("CARGO_PKG_VERSION"));
    let daemon = Daemon::new(cycle, setup.executor(), setup.pulse());
    // The story ends the daemon, also when it breaks off: its orders are dropped with it.
    let (_, told) = tokio::join!(daemon.run(inbox, |_, _| {}), async move {
        let told = story.go_on().await;
        drop(story);
        told
    });
    told
}

/// Where repository, journal and world lie: for a moment, or to be kept.
enum Folder {
    Passing(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(keep) = keep else {
            let folder = tempfile::Builder::new().prefix("grantd-demo-").tempdir();
            return Ok(Self::Passing(folder.context("no folder for the demo can be made")?));
        };
        if keep.starts_with("~") {
            bail!(
                "--keep {}: the shell puts the home folder in place of `~` only without `=`: write `--keep ~/DIR`",
                keep.display()
            );
        }
        if keep.symlink_metadata().is_ok() {
            bail!("{} exists already: --keep takes a folder that is not there yet", keep.display());
        }
        fs::create_dir(keep).with_context(|| format!("{} cannot be made", keep.display()))?;
        Ok(Self::Kept(std::path::absolute(keep)?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Passing(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Passing(folder) => folder.close().context("the folder of the demo cannot be removed"),
            Self::Kept(_) => Ok(()),
        }
    }
}
