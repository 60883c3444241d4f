use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    cli::{Format, Init},
    decide::{present, render::count},
    journal::FileJournal,
    model::{FORMAT, GrantId, Record},
};

use super::{interrupt::until_interrupted, known, print, setup::Setup};

pub fn run(args: &Init) -> Result<ExitCode> {
    // What `run` would refuse is refused before anything is begun.
    let setup = Setup::guarded(&args.configured.config)?;
    until_interrupted(async {
        print(&begin(&setup, args).await?);
        Ok(ExitCode::SUCCESS)
    })
}

/// Begins the installation. Answers what there is to print.
pub async fn begin(setup: &Setup, args: &Init) -> Result<String> {
    let source = setup.source()?;
    let head = source.fetch().await?;
    let commit = match &args.rev {
        Some(rev) => source.resolve(rev).await?,
        None => head.clone(),
    };
    if !source.log(&head, Some(&commit)).await?.descends {
        bail!("{} is not on the first-parent line of {}, the head of the branch", commit.short(), head.short());
    }
    let tree = source.tree(&commit).await?;
    // Odd entries too: a change of the mode alone must not make one grant.
    let ids: BTreeSet<GrantId> = present(&tree).into_keys().collect();
    let existing = args.existing;
    let mut records = vec![Record::Init {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: commit.clone(),
        existing,
        format: FORMAT,
    }];
    records.extend(ids.iter().map(|grant| Record::Prior { grant: grant.clone(), existing }));
    let begun = FileJournal::create(&setup.config.state, setup.clock().now(), records)?;
    known::keep(&setup.config);
    drop(begun);
    Ok(match args.format {
        Format::Json => {
            let begun = serde_json::json!({
                "state": setup.config.state,
                "commit": commit,
                "existing": existing,
                "files": ids,
            });
            format!("{}\n", serde_json::to_string_pretty(&begun)?)
        }
        Format::Text => {
            let files = match (ids.len(), existing) {
                (0, _) => "no grant files are there yet".to_owned(),
                (n, true) => {
                    format!(
                        "{} may grant, with their time from their commit on: they were there already",
                        count(n, "file")
                    )
                }
                (n, false) => {
                    format!("{} that were there already grant nothing (`--existing` would let them)", count(n, "file"))
                }
            };
            format!("journal begun in {}\nat {commit}; {files}\n", setup.config.state.display())
        }
    })
}
