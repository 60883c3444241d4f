use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    cli::{Format, History},
    config::Config,
    decide::render::history_text,
    journal,
    model::{GrantId, Line},
};

use super::{owner, print, setup};

pub fn run(args: &History) -> Result<ExitCode> {
    let config = Config::load(&args.configured.config)?;
    owner::note_unless_root(&config.state);
    let grant: Option<GrantId> = match &args.grant {
        Some(id) => Some(id.parse().with_context(|| format!("`{id}` is no grant"))?),
        None => None,
    };
    let mut found = false;
    let shown = |line: Line| -> Result<()> {
        if grant.as_ref().is_some_and(|grant| !line.record.grants().contains(&grant)) {
            return Ok(());
        }
        found = true;
        match args.format {
            Format::Text => print(&format!("{}\n", history_text(&line))),
            Format::Json => {
                let mut value = serde_json::to_value(&line.record)?;
                if let Some(object) = value.as_object_mut() {
                    object.insert("seq".into(), json!(line.seq));
                    object.insert("at".into(), json!(line.at));
                }
                print(&format!("{value}\n"));
            }
        }
        Ok(())
    };
    journal::scan(&config.state, shown).map_err(|error| match error.downcast() {
        Ok(error) => setup::no_journal(error),
        Err(error) => error,
    })?;
    if let (false, Some(grant)) = (found, &grant) {
        anstream::eprintln!("the journal has no line about {grant}");
    }
    Ok(ExitCode::SUCCESS)
}
