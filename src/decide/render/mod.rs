//! Plans, findings, status and history for people: text with colours where a terminal is, Markdown for pull requests, JSON
//! for programs. Everything that comes from outside is shown with its control characters escaped.

mod checks;
mod findings;
mod history;
mod plan;
mod status;

pub use checks::{checks_json, checks_text};
pub use findings::{findings_json, findings_text};
pub use history::history_text;
pub use plan::{Shown, plan_json, plan_markdown, plan_text};
pub use status::status_text;

use anstyle::{AnsiColor, Style};

/// Colours by meaning. Whether a terminal shows them is decided where the text is printed.
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const CHANGE: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();
const HEAD: Style = Style::new().bold();

/// `1 grant`, `2 grants`, `3 batches`.
pub fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let ending = match number {
        1 => "",
        _ if what.ends_with(['s', 'h']) => "es",
        _ => "s",
    };
    format!("{number} {what}{ending}")
}

fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
