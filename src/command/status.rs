use std::process::ExitCode;

use anyhow::Result;

use crate::{
    cli::{Format, Status},
    decide::{ledger, render::status_text, status},
};

use super::{owner, print, print_json, setup, setup::Setup};

pub fn run(args: &Status) -> Result<ExitCode> {
    let setup = Setup::load(&args.configured.config)?;
    owner::note_unless_root(&setup.config.state);
    let lines = setup.lines().map_err(setup::no_journal)?;
    let ledger = ledger(lines);
    let now = ledger.clock.map_or(setup.clock().now(), |latest| latest.max(setup.clock().now()));
    let status = status(&ledger, &setup.config.policy(), now);
    match args.format {
        Format::Text => print(&status_text(&status)),
        Format::Json => print_json(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}
