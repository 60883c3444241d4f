use std::{os::unix::fs::MetadataExt, path::Path, process::ExitCode};

use anyhow::Result;

use crate::{
    cli::{Doctor, Format},
    config,
    decide::render::{checks_json, checks_text},
    hooks::Keys,
    model::{Account, Check, ForgeKind, JournalError, Source, Text, Trouble, TroubleKind, Trust},
    surface::Cloud,
};

use super::{guard, interrupt::until_interrupted, owner, print, print_json, setup, setup::Setup};

/// Space that a journal needs to go on for a while, bytes.
const SPACE: u64 = 256 << 20;

pub fn run(args: &Doctor) -> Result<ExitCode> {
    let setup = Setup::load(&args.configured.config)?;
    owner::note(&setup.config.state);
    until_interrupted(async {
        let checks = look(&setup).await;
        match args.format {
            Format::Text => print(&checks_text(&checks)),
            Format::Json => print_json(&checks_json(&checks))?,
        }
        let fine = checks.iter().all(|check| check.found.is_ok());
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn look(setup: &Setup) -> Vec<Check> {
    let mut all = vec![
        here("configuration", setup.guard()),
        here("files that Git and forges are known by", guard::files(&setup.config)),
        here("Git", git(setup).await),
        here(&trust(setup), keys(setup)),
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

/// Fetches into a throw-away repository: the daemon's may belong to another user, and must stay so.
async fn git(setup: &Setup) -> Result<(), String> {
    let source = setup.git().map_err(|error| error.to_string())?.reading();
    let head = source.fetch().await.map_err(|error| error.to_string())?;
    let tree = source.tree(&head).await.map_err(|error| error.to_string())?;
    // The grants folder itself: what lies in it is for those who merge.
    if let Some(finding) = tree.findings.iter().find(|finding| *finding.path == *setup.config.source.path) {
        return Err(format!("`{}` at {head}: {}; {}", finding.path, finding.message, finding.help));
    }
    source.reach(&head, setup.clock().now()).await.map_err(|why| format!("it is read, but the forge is not: {why}"))
}

/// What a grant has to prove, and what that does not show.
fn trust(setup: &Setup) -> String {
    let policy = setup.config.policy();
    let (level, branch) = (policy.trust.level, &setup.config.source.branch);
    match level {
        Trust::Branch => format!(
            "trust: branch (whoever can push to `{branch}` grants: nobody's signature and nobody's review is looked at)"
        ),
        Trust::Signed => {
            "trust: signed (whoever holds an allowed key grants, also to himself: no review is looked at)".to_owned()
        }
        Trust::Approved => "trust: approved".to_owned(),
    }
}

/// Whether the keys can be read, and name people.
fn keys(setup: &Setup) -> Result<(), String> {
    let policy = setup.config.policy();
    if !policy.trust.proves() {
        return Ok(());
    }
    setup.source().and_then(|source| source.trust().map_err(anyhow::Error::msg)).map_err(|error| error.to_string())?;
    let known = policy.trust.people.values().any(|person| {
        !person.keys.is_empty()
            || match policy.trust.forge {
                Some(ForgeKind::GitHub) => person.github.is_some(),
                Some(ForgeKind::GitLab) => person.gitlab.is_some(),
                None => false,
            }
    });
    let approves = policy.trust.level == Trust::Approved;
    if approves && !known {
        return Err("nobody under `people` has a key or an id at the forge, so nobody can approve anything".to_owned());
    }
    Ok(())
}

fn state(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let about = folder.metadata().map_err(|error| format!("{shown}: {error}; `grantd init` makes it"))?;
    if !about.is_dir() {
        return Err(format!("{shown} is no folder"));
    }
    if about.mode() & 0o077 != 0 {
        let what = if about.mode() & 0o022 != 0 { "written" } else { "read" };
        return Err(format!("{shown} can be {what} by others: `chmod 0700 {shown}`"));
    }
    guard::state(folder)?;
    if let Some(alien) = owner::alien(folder) {
        return Err(format!(
            "{} belongs to another user than {shown}, and grantd cannot use it: `chown -R --reference={shown} {shown}`",
            alien.display()
        ));
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
        Err(error) => Err(setup::no_journal(error).to_string()),
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
