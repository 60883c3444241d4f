use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cli::{Format, Verify},
    decide::{fold, render::count},
    journal::{self, Head},
    model::{FORMAT, JournalError, Ledger, Record},
};

use super::{Usage, archive, known::Known, owner, print, print_json, setup};

pub fn verify(args: &Verify) -> Result<ExitCode> {
    let known = Known::find(&args.reading)?;
    owner::note_unless_root(&known.state);
    let outside = args.checkpoint.as_deref().map(checkpoint).transpose()?;
    let mut ledger = Ledger::default();
    // Where what came before is archived, the first checkpoint is what is begun with.
    let mut begun = false;
    let mut earlier = 0;
    let checked = journal::verify(&known.state, args.archive.as_deref(), outside.as_ref(), |line| -> Result<()> {
        let first = !std::mem::replace(&mut begun, true);
        if let Record::Checkpoint { ledger: kept } = &line.record
            && !first
        {
            // Lines of an earlier format may come to something else by now: as at a start, what was kept then is gone on from.
            if kept.format < FORMAT {
                earlier += 1;
            } else if **kept != ledger {
                bail!("line {}: the checkpoint is not what the lines before it come to", line.seq);
            }
        }
        fold(&mut ledger, &line);
        Ok(())
    });
    let verdict = match checked {
        Ok(verdict) => verdict,
        Err(error) => {
            if args.format == Format::Json && !matches!(error.downcast_ref(), Some(JournalError::None(_))) {
                print_json(&serde_json::json!({ "whole": false, "error": error.to_string() }))?;
                return Ok(ExitCode::FAILURE);
            }
            return Err(match error.downcast::<JournalError>() {
                Ok(error @ JournalError::Corrupt(_)) => setup::no_journal(error).context("the journal is not whole"),
                Ok(error) => setup::no_journal(error),
                Err(error) => error.context("the journal is not whole"),
            });
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
            "earlier": earlier,
            "archived": verdict.archived,
            "archive": args.archive,
        }))?,
        Format::Text => {
            let journal::Verdict { lines, batches, segments, head, tail, archived } = &verdict;
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
                    "{} at the end: an unfinished batch, which is being written, or which a crash left\n",
                    count(*tail, "byte")
                ));
            }
            match archived {
                Some(archived) if args.archive.is_none() => {
                    print(&format!(
                        "{}, and not looked at: this begins behind them ({})\n",
                        archive::told(archived),
                        archive::HOW
                    ));
                }
                Some(archived) => print(&format!("{}, and verified there\n", archive::told(archived))),
                None => {}
            }
            if earlier > 0 {
                let told = count(earlier, "checkpoint");
                print(&format!(
                    "{told} of an earlier release: not compared with the lines before, which it read otherwise\n"
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
    let form = |_| Usage(format!("`{text}` is no SEQ:HASH: a line's number, a colon, 64 hexadecimal digits"));
    Ok(text.parse().map_err(form)?)
}
