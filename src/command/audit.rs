use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{
    cli::{Format, Verify},
    config::Config,
    decide::{fold, render::count},
    journal::{self, Head},
    model::{JournalError, Ledger, Record},
};

use super::{owner, print, print_json, setup};

pub fn verify(args: &Verify) -> Result<ExitCode> {
    let config = Config::load(&args.configured.config)?;
    owner::note_unless_root(&config.state);
    let outside = args.checkpoint.as_deref().map(checkpoint).transpose()?;
    let mut ledger = Ledger::default();
    let checked = journal::verify(&config.state, outside.as_ref(), |line| -> Result<()> {
        if let Record::Checkpoint { ledger: kept } = &line.record
            && **kept != ledger
        {
            bail!("line {}: the checkpoint is not what the lines before it come to", line.seq);
        }
        fold(&mut ledger, &line);
        Ok(())
    });
    let verdict = match checked {
        Ok(verdict) => verdict,
        Err(error) => {
            if let Some(JournalError::None(_)) = error.downcast_ref() {
                return Err(error.downcast::<JournalError>().map_or_else(|error| error, setup::no_journal));
            }
            if args.format == Format::Json {
                print_json(&serde_json::json!({ "whole": false, "error": error.to_string() }))?;
                return Ok(ExitCode::FAILURE);
            }
            return Err(error.context("the journal is not whole"));
        }
    };
    match args.format {
        Format::Json => print_json(&serde_json::json!({
            "whole": true,
            "lines": verdict.lines,
            "batches": verdict.batches,
            "segments": verdict.segments,
            "head": { "seq": verdict.head.seq, "hash": verdict.head.hash.to_string() },
            "unfinished": verdict.tail,
            "compared": outside.is_some(),
        }))?,
        Format::Text => {
            let journal::Verdict { lines, batches, segments, head, tail } = &verdict;
            print(&format!(
                "whole: {} in {} and {}\nhead {}:{}\n",
                count(*lines, "line"),
                count(*batches, "batch"),
                count(*segments, "segment"),
                head.seq,
                head.hash
            ));
            if *tail > 0 {
                print(&format!(
                    "{tail} bytes at the end are an unfinished batch: it is being written, or a crash left it\n"
                ));
            }
            if outside.is_none() {
                print(
                    "note this head outside: without one, lines cut off the end are not noticed (--checkpoint SEQ:HASH)\n",
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn checkpoint(text: &str) -> Result<Head> {
    let form = || format!("`{text}` is no SEQ:HASH: a line's number, a colon, 64 hexadecimal digits");
    text.parse::<Head>().ok().with_context(form)
}
