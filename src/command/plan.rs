use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::Result;

use crate::{
    cli::{Plan, PlanFormat},
    decide::{
        Bearing, Deletions, Filed, Footing, Intake, here, ledger,
        render::{Shown, plan_json, plan_markdown, plan_text},
    },
    engine::{Book, Cycle, Outlook},
    journal::Draft,
    model::{Commit, JournalError, Level, Oid, Text},
};

use super::{interrupt::until_interrupted, lint, owner, print, print_json, setup, setup::Setup};

/// What Git asks for is not what is: there is something to do, or something is held.
const CHANGES: u8 = 2;

pub fn run(args: &Plan) -> Result<ExitCode> {
    let setup = Setup::load(&args.configured.config)?;
    owner::note(&setup.config.state);
    until_interrupted(async {
        let (outlook, cycle, unjournaled) = look(&setup, args).await?;
        let shown = Shown {
            at: cycle.now(),
            plan: &outlook.plan,
            findings: &outlook.findings,
            head: outlook.head.as_ref(),
            standstill: outlook.standstill.as_deref(),
            source: outlook.source.as_deref(),
            unjournaled,
        };
        match args.format {
            PlanFormat::Text => print(&plan_text(&shown)),
            PlanFormat::Markdown => print(&plan_markdown(&shown)),
            PlanFormat::Json => print_json(&plan_json(&shown))?,
        }
        let broken = outlook.source.is_some()
            || outlook.plan.unread > 0
            || outlook.findings.iter().any(|finding| finding.level == Level::Error);
        let held = !outlook.plan.held.is_empty() || outlook.standstill.is_some();
        let changes = !outlook.plan.steps.is_empty() || held;
        Ok(match (broken, changes) {
            (true, _) => ExitCode::FAILURE,
            (false, true) => ExitCode::from(CHANGES),
            (false, false) => ExitCode::SUCCESS,
        })
    })
}

async fn look(setup: &Setup, args: &Plan) -> Result<(Outlook, Cycle, bool)> {
    let (mut cycle, unjournaled) = reader(setup)?;
    match (&args.rev, &args.path) {
        (Some(rev), _) => {
            let source = cycle.parts.source.clone();
            source.fetch().await?;
            cycle.take(source.resolve(rev).await?);
        }
        (None, Some(path)) => {
            let intake = working_tree(&cycle, path, &setup.config.source.path)?;
            cycle.adopt(intake);
        }
        (None, None) => cycle.fetch(),
    }
    cycle.sweep();
    Ok((cycle.settle().await, cycle, unjournaled))
}

/// A cycle over a copy of the journal in memory: whatever it records is gone with it, and what it fetches.
pub fn reader(setup: &Setup) -> Result<(Cycle, bool)> {
    let (book, unjournaled) = draft(setup)?;
    Ok((setup.onlooker(book)?, unjournaled))
}

/// A copy of the journal in memory, and whether there is none on the disk.
pub fn draft(setup: &Setup) -> Result<(Book, bool)> {
    let (lines, unjournaled) = match setup.lines() {
        Ok(lines) => (lines, false),
        Err(JournalError::None(_)) => (Vec::new(), true),
        Err(error) => return Err(setup::no_journal(error)),
    };
    Ok((Book::new(Box::new(Draft::after(&lines)), ledger(lines)), unjournaled))
}

/// The files of a folder, as if they were merged now on top of the accepted head.
fn working_tree(cycle: &Cycle, path: &std::path::Path, folder: &str) -> Result<Intake> {
    let now = cycle.parts.clock.now();
    let checked = lint::check(path, folder, &cycle.parts.targets, &cycle.parts.policy, now)?;
    let commit = cycle.ledger().head.clone().unwrap_or(Commit("of the working tree".into()));
    let valid: Vec<Text> = checked.grants.iter().map(|(path, _)| path.as_str().into()).collect();
    let odd = checked.findings.iter().filter(|finding| finding.level == Level::Error).map(|finding| &finding.path);
    let present = here(valid.iter().chain(odd));
    let files = checked.grants.into_iter().map(|(path, grant)| Filed {
        path: path.as_str().into(),
        blob: Oid("working-tree".into()),
        grant: Arc::new(grant),
        commit: commit.clone(),
        author: "working tree".into(),
        committed: now,
        late: false,
    });
    Ok(Intake {
        head: commit.clone(),
        bearing: Bearing::Follows,
        files: files.collect(),
        present,
        findings: checked.findings,
        changes: Vec::new(),
        deletions: Deletions::default(),
        chains: BTreeMap::new(),
        proofs: BTreeMap::new(),
        footing: Footing::Assumed,
        at: now,
    })
}
