use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};

use crate::{
    cli::{Archive, Format},
    decide::render::count,
    journal::{self, Archived, Moved},
    model::{JournalError, Span, moment},
};

use super::{Usage, complain, interrupt::until_interrupted, known::Known, owner, print, print_json, setup};

/// How to see what is archived.
pub const HOW: &str = "`--archive DIR` reads them there, too";

pub fn run(args: &Archive) -> Result<ExitCode> {
    let known = Known::find(&args.reading)?;
    owner::must_own(&known.state)?;
    if !args.to.is_dir() {
        // Made here it would lie beside a disk that is not mounted.
        let to = args.to.display();
        bail!("there is no folder {to}: make it first, for this user alone (`install -d -m 700 {to}`)");
    }
    let to = std::path::absolute(&args.to)?;
    let span = args.older_than.as_deref().map(span).transpose()?;
    let before = span.map(|span| span.before(known.clock().now()));
    until_interrupted(async {
        let state = known.state.clone();
        let going = Arc::new(());
        let goes = Arc::downgrade(&going);
        let moved = tokio::task::spawn_blocking({
            let to = to.clone();
            // An interruption drops what waits here.
            move || journal::archive(&state, &to, before, &mut || goes.strong_count() > 0)
        });
        let (moved, done) = moved.await.context("the archiving broke off")?;
        drop(going);
        tell(args, &to, &moved, done)
    })
}

fn tell(args: &Archive, to: &Path, moved: &Moved, done: Result<(), JournalError>) -> Result<ExitCode> {
    if moved.elsewhere && moved.segments > 0 {
        complain(&format!(
            "warning: {} held nothing of what was archived before: is its disk mounted? To be read, all of it must lie in one folder\n",
            to.display()
        ));
    }
    match args.format {
        Format::Json => print_json(&serde_json::json!({
            "segments": moved.segments,
            "lines": moved.lines,
            "archived": moved.archived,
            "error": done.as_ref().err().map(ToString::to_string),
        }))?,
        Format::Text => {
            print(&match moved.segments {
                0 if done.is_err() => String::new(),
                0 => format!(
                    "nothing to move: the last two segments stay, because a start needs them{}\n",
                    if args.older_than.is_some() { ", and so does what is younger" } else { "" }
                ),
                segments => {
                    format!("{} moved, with {}\n", count(segments, "segment"), count(moved.lines, "line"))
                }
            });
            if let Some(archived) = &moved.archived {
                print(&format!("{}\n", told(archived)));
            }
        }
    }
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(_) if args.format == Format::Json => Ok(ExitCode::FAILURE),
        Err(error @ JournalError::Corrupt(_)) => {
            Err(setup::no_journal(error).context("nothing from there on is moved"))
        }
        Err(error @ JournalError::None(_)) => Err(setup::no_journal(error)),
        Err(error) => Err(error.into()),
    }
}

/// What is archived, as the beginning of a sentence.
pub fn told(archived: &Archived) -> String {
    format!(
        "lines 1 to {} of {} to {} are archived ({}, {}), the last of them in {}",
        archived.to,
        moment(archived.since),
        moment(archived.until),
        count(archived.lines, "record"),
        count(archived.segments, "segment"),
        archived.folder.display()
    )
}

fn span(text: &str) -> Result<Span> {
    Ok(text.parse().map_err(|_| Usage(format!("`{text}` is no duration: write one such as `90d`")))?)
}
