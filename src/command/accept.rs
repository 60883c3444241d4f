use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    cli::{Accept, AcceptClock, Format},
    decide::{moment, present, render::count},
    model::{GrantId, Record, State},
};

use super::{Usage, interrupt::until_interrupted, print, print_json, setup::Setup};

const STOPPED: &str = "a daemon that runs must be stopped for a moment (systemctl stop grantd): what ends meanwhile ends when it is started again";

pub fn run(args: &Accept) -> Result<ExitCode> {
    let reason = reason(&args.reason)?;
    let setup = Setup::guarded(&args.configured.config)?;
    until_interrupted(async {
        let now = setup.clock().now();
        // The lock first: what is compared must still be so when it is written.
        let mut book = setup.book(now).context(STOPPED)?;
        let source = setup.source()?;
        let head = source.fetch().await?;
        let commit = source.resolve(&args.rev).await?;
        if !source.log(&head, Some(&commit)).await?.descends {
            bail!(
                "{commit} is not on the first-parent line of {head}, the head of the branch: granting would freeze again; name the head, or a commit on its line"
            );
        }
        let tree = source.tree(&commit).await?;
        let ledger = book.ledger();
        let elsewhere = ledger.grants.values().any(|terms| !source.covers(&terms.path));
        if ledger.freeze.is_none() && !elsewhere && ledger.head.as_ref() == Some(&commit) {
            bail!("{commit} is the accepted head already, and nothing is frozen: there is nothing to accept");
        }
        let present = present(&tree);
        let gone: Vec<GrantId> = ledger
            .grants
            .iter()
            .filter(|(id, terms)| !matches!(terms.state, State::Withdrawn { .. }) && !present.contains_key(id))
            .map(|(id, _)| id.clone())
            .collect();
        let previous = ledger.head.clone();
        let by = operator();
        let adopt = Record::Adopt {
            commit: commit.clone(),
            previous: previous.clone(),
            reason: reason.into(),
            by: by.as_str().into(),
            folder: Some(setup.config.source.path.as_str().into()),
        };
        if book.write(now, vec![adopt]).is_none() {
            bail!("the journal cannot be written: nothing was accepted");
        }
        match args.format {
            Format::Json => print_json(&serde_json::json!({
                "commit": commit,
                "previous": previous,
                "reason": reason,
                "by": by,
                "withdraws": gone,
            }))?,
            Format::Text => {
                let previous = previous.map_or_else(|| "none".to_owned(), |previous| previous.to_string());
                print(&format!("accepted {commit}\nbefore   {previous}\n"));
                if !gone.is_empty() {
                    let names: Vec<&str> = gone.iter().map(GrantId::as_str).collect();
                    let files = count(gone.len(), "live grant");
                    print(&format!("{files} without a file there, to be withdrawn: {}\n", names.join(", ")));
                }
                print("what is withheld stays withheld: each change must still pass\n");
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The machine's clock, by name of whoever looked at it.
pub fn clock(args: &AcceptClock) -> Result<ExitCode> {
    let reason = reason(&args.reason)?;
    let setup = Setup::guarded(&args.configured.config)?;
    until_interrupted(async {
        let book = setup.book(setup.clock().now()).context(STOPPED)?;
        let mut cycle = setup.cycle(book)?;
        let because = format!("accepted by {}: {reason}", operator());
        let Some(distrust) = cycle.accept_clock(&because).map_err(|why| anyhow!(why))? else {
            bail!("the clock is trusted already: there is nothing to accept");
        };
        print(&format!("accepted: time goes on from {}\n", moment(cycle.now())));
        print(&format!("before   {}\n", distrust.sentence()));
        Ok(ExitCode::SUCCESS)
    })
}

/// What those who read the journal later are told.
fn reason(given: &str) -> Result<&str> {
    let reason = given.trim();
    if reason.is_empty() || reason.chars().any(char::is_control) {
        bail!(Usage("--reason is one line for those who read the journal later: write why this is right".into()));
    }
    Ok(reason)
}

/// Who did it, as the kernel says: who logged in, whatever he became since; or else who this is.
fn operator() -> String {
    let uid = rustix::process::getuid().as_raw();
    let told = std::fs::read_to_string("/proc/self/loginuid").map(|text| text.trim().parse::<u32>());
    match told {
        Ok(Ok(login)) if login != u32::MAX && login != uid => format!("uid {uid}, who logged in as uid {login}"),
        Ok(Ok(_)) => format!("uid {uid}"),
        // A kernel that keeps no such record.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("uid {uid}"),
        Ok(Err(_)) | Err(_) => format!("uid {uid}; who logged in cannot be told"),
    }
}
