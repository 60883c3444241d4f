use std::{os::unix::fs::MetadataExt, path::Path, process::ExitCode};

use anyhow::Result;

use crate::{
    cli::{Doctor, Format},
    config,
    decide::render::{checks_json, checks_text},
    hooks::Keys,
    model::{Account, Check, JournalError, Source, Text, Trouble, TroubleKind},
    source::GitSource,
    surface::Cloud,
};

use super::{print, print_json, setup, setup::Setup};

/// Space that a journal needs to go on for a while, bytes.
const SPACE: u64 = 256 << 20;

pub fn run(args: &Doctor) -> Result<ExitCode> {
    let setup = Setup::load(&args.configured.config)?;
    let checks = setup::runtime()?.block_on(look(&setup));
    match args.format {
        Format::Text => print(&checks_text(&checks)),
        Format::Json => print_json(&checks_json(&checks))?,
    }
    let fine = checks.iter().all(|check| check.found.is_ok());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(setup: &Setup) -> Vec<Check> {
    let mut all = vec![
        here("configuration", Ok(())),
        here("Git", git(setup).await),
        here("state folder", state(&setup.config.state)),
        here("journal", journal(setup)),
    ];
    if let Some(hooks) = &setup.config.hooks {
        let keys = Keys::open(hooks, setup::credentials().as_deref());
        all.push(here("secrets of the webhooks", keys.map(|_| ())));
    }
    if let config::Cloud::Aws = setup.config.cloud
        && setup.config.accounts.is_empty()
    {
        all.push(here("accounts", Err("there are none: name those that grants may act in under `accounts`".into())));
    }
    all.extend(setup.cloud.check(setup.config.accounts.values()).await);
    // By the names that the configuration gives.
    for check in &mut all {
        let named = |(_, account): &(&Text, &Account)| check.place.starts_with(&*account.id);
        if let Some((name, _)) = setup.config.accounts.iter().find(named) {
            check.place = format!("{name} {}", check.place).into();
        }
    }
    // The clock came with AWS's answers.
    all.sort_by_key(|check| &*check.place != "here");
    all
}

fn here(what: &str, found: Result<(), String>) -> Check {
    let found = found.map_err(|why| Trouble::new(TroubleKind::Broken, why));
    Check { place: "here".into(), what: what.into(), found }
}

/// Fetches into a folder of its own: the daemon's may belong to another user, and must stay so.
async fn git(setup: &Setup) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for a trial can be made: {error}"))?;
    let source = GitSource::new(&setup.config.source, folder.path(), setup::credentials().as_deref());
    let source = source.map_err(|error| error.to_string())?;
    let head = source.fetch().await.map_err(|error| error.to_string())?;
    match source.tree(&head).await {
        Ok(tree) => tree.refused.map_or(Ok(()), |why| Err(format!("the tree of {} is refused: {why}", head.short()))),
        Err(error) => Err(error.to_string()),
    }
}

fn state(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let about = folder.metadata().map_err(|error| format!("{shown}: {error}; `grantd init` makes it"))?;
    if !about.is_dir() {
        return Err(format!("{shown} is no folder"));
    }
    if about.mode() & 0o022 != 0 {
        return Err(format!("{shown} can be written by others: `chmod 0700 {shown}`"));
    }
    let space = rustix::fs::statvfs(folder).map_err(|error| format!("{shown}: {error}"))?;
    let left = space.f_bavail.saturating_mul(space.f_frsize);
    if left < SPACE {
        return Err(format!("{shown} has {} MiB left: free at least {} MiB", left >> 20, SPACE >> 20));
    }
    Ok(())
}

fn journal(setup: &Setup) -> Result<(), String> {
    match setup.lines() {
        Ok(_) => Ok(()),
        Err(JournalError::None(_)) => Err("there is none: a new installation begins with `grantd init`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Cloud {
    /// What the accounts lack.
    async fn check<'a>(&self, accounts: impl Iterator<Item = &'a Account>) -> Vec<Check> {
        match self {
            Self::World(_) => {
                drop(accounts);
                Vec::new()
            }
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.check(accounts).await,
        }
    }
}
