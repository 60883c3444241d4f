use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cli::{Apply, Format},
    decide::{
        digest,
        render::{Shown, count, plan_json, plan_text},
    },
    engine::Daemon,
    model::Record,
};

use super::{plan, print, print_json, setup, setup::Setup};

pub fn run(args: &Apply) -> Result<ExitCode> {
    let setup = Setup::guarded(&args.configured.config)?;
    setup::runtime()?.block_on(async {
        // The lock first: whatever is compared must still be so when it is done.
        let now = setup.clock().now();
        let mut book = setup.book(now)?;
        let release = match &args.digest {
            Some(reviewed) => Some(review(&setup, reviewed).await?),
            None => None,
        };
        book.write(now, vec![Record::Start { version: env!("CARGO_PKG_VERSION").into() }]);
        let mut cycle = setup.cycle(book)?;
        cycle.fetch();
        cycle.sweep();
        let first = cycle.settle().await;
        if let Some(reviewed) = &args.digest
            && digest(&first.plan) != *reviewed
        {
            bail!("something changed while this began: look at `grantd plan` again; nothing was done");
        }
        let shown = Shown {
            at: cycle.now(),
            plan: &first.plan,
            findings: &first.findings,
            head: first.head.as_ref(),
            standstill: first.standstill.as_deref(),
            source: first.source.as_deref(),
            unjournaled: false,
        };
        match args.format {
            Format::Text => print(&plan_text(&shown)),
            Format::Json => print_json(&plan_json(&shown))?,
        }
        if let (Some(reviewed), Some(held)) = (&args.digest, release)
            && !cycle.release(held, reviewed)
        {
            bail!("the journal cannot be written: the held withdrawals were not released");
        }
        let mut daemon = Daemon { executor: setup.executor(), pulse: setup.pulse(), cycle };
        let (last, failed) = daemon.once().await;
        if args.format == Format::Text {
            print(&match failed {
                0 => "applied\n".to_owned(),
                _ => format!("applied; what failed is tried again by the next cycle: {}\n", count(failed, "call")),
            });
        }
        let fine = failed == 0 && last.source.is_none() && last.standstill.is_none();
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Plans without effect and compares. Answers the grants whose held withdrawal the reviewer let go on.
async fn review(setup: &Setup, reviewed: &str) -> Result<Vec<crate::model::GrantId>> {
    let (mut cycle, _) = plan::reader(setup)?;
    cycle.fetch();
    cycle.sweep();
    let outlook = cycle.settle().await;
    let now = digest(&outlook.plan);
    if now != reviewed {
        bail!(
            "the plan is not the one that was reviewed: its digest is {now} now; look at `grantd plan` again; nothing was done"
        );
    }
    let held = outlook.plan.held.into_iter().filter(|held| held.until.is_some());
    Ok(held.map(|held| held.grant).collect())
}
