//! What the daemon logs, and how.

use std::{
    env::VarError,
    io::{IsTerminal, stderr},
};

use anyhow::{Context, Result};
use tracing::Level;
use tracing_subscriber::{
    filter::{LevelFilter, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::cli::LogFormat;

/// The parts of grantd that may have a level of their own.
const PARTS: [&str; 8] = ["command", "config", "decide", "engine", "hooks", "journal", "source", "surface"];

/// Begins to log. A `GRANTD_LOG` that makes no sense is told and stops nothing: access ends all the same, and errors are logged.
pub fn begin(format: LogFormat) -> Result<()> {
    let given = level();
    let filter = parse(&given);
    let odd = filter.is_none().then_some(given);
    // Libraries show requests, credentials in them, when they are asked for details: of others only warnings are taken.
    let ours = filter_fn(|about| *about.level() <= Level::WARN || about.target().starts_with("grantd"));
    let base = tracing_subscriber::registry().with(filter.unwrap_or_else(usual)).with(ours);
    let text = tracing_subscriber::fmt::layer().with_writer(stderr);
    match format {
        LogFormat::Text => base.with(text.with_ansi(stderr().is_terminal()).with_target(false)).init(),
        LogFormat::Json => base.with(text.json().flatten_event(true)).init(),
        LogFormat::Journald => base.with(tracing_journald::layer().context("journald does not answer")?).init(),
    }
    if let Some(given) = odd {
        tracing::warn!(
            ?given,
            "GRANTD_LOG makes no sense and `info` counts: write error, warn, info, debug or trace, or a part's own level too, such as `info,grantd::source=debug`"
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the edge: the level comes by environment")]
fn level() -> String {
    match std::env::var("GRANTD_LOG") {
        Ok(level) => level,
        Err(VarError::NotUnicode(level)) => level.to_string_lossy().into_owned(),
        Err(VarError::NotPresent) => String::new(),
    }
}

fn usual() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// Levels with commas between them: of everything, of `grantd`, or of a part of it. What has none of its own has `info`: nothing
/// that is written here silences errors.
fn parse(text: &str) -> Option<Targets> {
    let mut filter = usual();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (target, level) = one.split_once('=').map_or((None, one), |(target, level)| (Some(target), level));
        let level = match level.to_ascii_lowercase().as_str() {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return None,
        };
        let known = |path: &str| PARTS.contains(&path.split("::").next().unwrap_or_default());
        filter = match target {
            None => filter.with_default(level),
            Some(target) if target == "grantd" || target.strip_prefix("grantd::").is_some_and(known) => {
                filter.with_target(target, level)
            }
            Some(_) => return None,
        };
    }
    Some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_errors_are_logged() {
        for (text, info, debug) in [
            ("", true, false),
            ("info", true, false),
            ("DEBUG", true, true),
            ("error", false, false),
            ("grantd=debug", true, true),
            ("grantd::source=debug", true, false),
            ("warn, grantd::source=trace", false, false),
            ("grantd::engine::cycle=trace", true, false),
        ] {
            let filter = parse(text).unwrap();
            let enabled = |level| filter.would_enable("grantd::engine", &level);
            assert!(enabled(Level::ERROR), "{text}");
            assert_eq!((enabled(Level::INFO), enabled(Level::DEBUG)), (info, debug), "{text}");
        }
        for bad in [
            "verbose",
            "off",
            "none",
            "0",
            "grantd",
            "grantd=off",
            "grantd=",
            "grantd::nothing=debug",
            "hyper=debug",
            "[x]=debug",
            "info;debug",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
