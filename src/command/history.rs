use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    cli::{Format, History},
    decide::render::history_text,
    journal,
    model::{GrantId, Line},
};

use super::{Usage, archive, complain, known::Known, owner, print, setup};

pub fn run(args: &History) -> Result<ExitCode> {
    let known = Known::find(&args.reading)?;
    owner::note_unless_root(&known.state);
    let grant: Option<GrantId> = match &args.grant {
        Some(id) => Some(id.parse().map_err(|error| Usage(format!("`{id}` is no grant: {error}")))?),
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
    let verdict = journal::scan(&known.state, args.archive.as_deref(), shown);
    let verdict = verdict.map_err(|error| match error.downcast() {
        Ok(error) => setup::no_journal(error),
        Err(error) => error,
    })?;
    let archived = verdict.archived.as_ref().filter(|_| args.archive.is_none());
    // Not among the lines: it is none.
    if let Some(archived) = archived {
        complain(&format!("note: {}, and not shown here ({})\n", archive::told(archived), archive::HOW));
    }
    if let (false, Some(grant)) = (found, &grant) {
        let here = if archived.is_some() { "what is here of the journal" } else { "the journal" };
        bail!("{here} has no line about {grant}; `grantd status` lists what is live, `grantd history` all that was");
    }
    Ok(ExitCode::SUCCESS)
}
