use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cli::{Apply, Format},
    decide::{
        digest,
        render::{Shown, count, plan_json, plan_text},
    },
    engine::{Book, Cycle, Daemon},
    model::GrantId,
};

use super::{interrupt::until_interrupted, known, plan, print, print_json, setup::Setup};

pub fn run(args: &Apply) -> Result<ExitCode> {
    let setup = Setup::guarded(&args.configured.config)?;
    until_interrupted(async {
        // The lock first: whatever is compared must still be so when it is done.
        let now = setup.clock().now();
        let book = setup.book(now)?;
        known::keep(&setup.config);
        let version = env!("CARGO_PKG_VERSION");
        let (mut cycle, release) = match &args.digest {
            Some(reviewed) => {
                let (draft, _) = plan::draft(&setup)?;
                let mut cycle = setup.cycle(draft)?;
                let release = review(&mut cycle, book, reviewed).await?;
                cycle.start(version);
                (cycle, release)
            }
            None => {
                let mut cycle = setup.cycle(book)?;
                cycle.start(version);
                cycle.fetch();
                cycle.sweep();
                (cycle, Vec::new())
            }
        };
        let first = cycle.settle().await;
        let by_now = digest(&first.plan);
        if let Some(reviewed) = &args.digest
            && by_now != *reviewed
        {
            let why = first.standstill.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            bail!(
                "the plan became another one while this began: its digest is {by_now} now{why}. No call was made; what was decided before that is in the journal (`grantd history`): look at `grantd plan` again"
            );
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
        if let Some(reviewed) = &args.digest
            && !cycle.release(release, reviewed)
        {
            bail!("the journal cannot be written: what the guard holds was not let go on, and no call was made");
        }
        let mut daemon = Daemon::new(cycle, setup.executor(), setup.pulse());
        let (last, failed) = daemon.once().await;
        if args.format == Format::Text {
            print(&match failed {
                0 => "applied\n".to_owned(),
                _ => format!("applied; what failed is tried again by the next cycle: {}\n", count(failed, "call")),
            });
        }
        let fine = failed == 0 && last.plan.unread == 0 && last.source.is_none() && last.standstill.is_none();
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Plans on a draft and compares, before anything is written; what is done then rests on the same readings of Git and of the
/// cloud. Answers the grants whose held withdrawal the reviewer let go on. The book holds the lock.
pub async fn review(cycle: &mut Cycle, book: Book, reviewed: &str) -> Result<Vec<GrantId>> {
    cycle.fetch();
    cycle.sweep();
    let outlook = cycle.settle().await;
    let now = digest(&outlook.plan);
    if now != reviewed {
        bail!(
            "the plan is not the one that was reviewed: its digest is {now} now; look at `grantd plan` again; nothing was done"
        );
    }
    cycle.rest_on(book);
    let held = outlook.plan.held.into_iter().filter(|held| held.until.is_some());
    Ok(held.map(|held| held.grant).collect())
}
