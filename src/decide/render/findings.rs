use std::fmt::Write;

use serde_json::{Value, json};

use crate::model::{Finding, Level, Spot};

use super::{ERROR, QUIET, WARNING, paint};

/// Every finding with its line, a caret, and what to write instead.
pub fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { path, spot, level, message, help } = finding;
        let style = match level {
            Level::Error => ERROR,
            Level::Warning => WARNING,
        };
        let _ = writeln!(text, "{}: {message}", paint(style, level));
        match spot {
            Some(Spot { line, column, text: shown }) => {
                let gutter = line.to_string().len();
                let (bar, arrow) = (paint(QUIET, "|"), paint(QUIET, "-->"));
                let caret = " ".repeat((*column as usize).saturating_sub(1).min(shown.chars().count()));
                let _ = writeln!(text, "{:gutter$}{arrow} {path}:{line}:{column}", "");
                let _ = writeln!(text, "{:gutter$} {bar}", "");
                let _ = writeln!(text, "{} {bar} {shown}", paint(QUIET, line));
                let _ = writeln!(text, "{:gutter$} {bar} {caret}{} {help}", "", paint(style, "^"));
            }
            None => {
                let _ = writeln!(text, " {} {path}", paint(QUIET, "-->"));
                if !help.is_empty() {
                    let _ = writeln!(text, "  {} {help}", paint(QUIET, "="));
                }
            }
        }
        text.push('\n');
    }
    text
}

/// The findings as a list of objects: path, line, column, level, message, help.
pub fn findings_json(findings: &[Finding]) -> Value {
    let list = findings.iter().map(|Finding { path, spot, level, message, help }| {
        json!({
            "path": path,
            "line": spot.as_ref().map(|spot| spot.line),
            "column": spot.as_ref().map(|spot| spot.column),
            "level": level,
            "message": message,
            "help": help,
        })
    });
    Value::Array(list.collect())
}
