use std::process::ExitCode;

use anyhow::Result;

use crate::{
    cli::{Format, Status},
    decide::{ledger, render::status_text, status},
    journal,
};

use super::{known::Known, owner, print, print_json, setup};

pub fn run(args: &Status) -> Result<ExitCode> {
    let known = Known::find(&args.reading)?;
    owner::note_unless_root(&known.state);
    let lines = journal::read(&known.state).map_err(setup::no_journal)?;
    let ledger = ledger(lines);
    let now = known.clock().now();
    let now = ledger.clock.map_or(now, |latest| latest.max(now));
    let status = status(&ledger, &known.policy(), now);
    match args.format {
        Format::Text => print(&status_text(&status)),
        Format::Json => print_json(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}
