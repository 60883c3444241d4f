//! Plans, findings, status and history for people: text with colours where a terminal is, Markdown for pull requests, JSON
//! for programs. Everything that comes from outside is shown with its control characters escaped.

mod findings;
mod history;
mod plan;
mod status;

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

/// `1 grant`, `2 grants`.
pub fn count(number: usize, what: &str) -> String {
    match (number, what.ends_with('s')) {
        (1, _) => format!("1 {what}"),
        (_, true) => format!("{number} {what}es"),
        (_, false) => format!("{number} {what}s"),
    }
}

fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
