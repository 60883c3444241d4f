use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    decide::{digest, moment},
    model::{Commit, Finding, Held, Level, Note, Plan, Provenance, Step, Verb},
};

use super::{BAD, CHANGE, GOOD, HEAD, QUIET, WARNING, findings_json, findings_text, paint};

/// A plan and what it was made of.
pub struct Shown<'a> {
    pub at: Timestamp,
    pub plan: &'a Plan,
    pub findings: &'a [Finding],
    pub head: Option<&'a Commit>,
    pub standstill: Option<&'a str>,
    /// Why Git could not be read.
    pub source: Option<&'a str>,
    /// There is no journal: what is owned is not known.
    pub unjournaled: bool,
}

const UNJOURNALED: &str =
    "from the cloud only: there is no journal, so what grantd owns is not known and nothing is revoked";

fn counts(plan: &Plan) -> (usize, usize, usize) {
    let of = |verb| plan.steps.iter().filter(|step| step.verb == verb).count();
    (of(Verb::Revoke), of(Verb::Renew), of(Verb::Grant))
}

fn reason(step: &Step) -> String {
    let Step { verb, until, cause, holders, origin, .. } = step;
    let commit = origin.as_ref().map_or_else(String::new, |origin| format!(" {}", origin.commit.short()));
    let grants: Vec<_> = holders.keys().map(|id| id.as_str()).collect();
    match verb {
        Verb::Revoke => format!("{} · {cause}", grants.join(", ")),
        Verb::Grant | Verb::Renew => format!("until {} · {} · {cause}{commit}", moment(*until), grants.join(", ")),
    }
}

/// The commit that last changed a file, and who stands behind it.
fn origin(source: &Provenance) -> String {
    let Provenance { grant: _, path: _, commit, author, verdict } = source;
    format!("{} by {author}: {verdict}", commit.short())
}

/// For a terminal.
pub fn plan_text(shown: &Shown<'_>) -> String {
    let Shown { at, plan, findings, head, standstill, source, unjournaled } = shown;
    let mut text = findings_text(findings);
    let head = head.map_or("no revision".to_owned(), |head| format!("revision {}", head.short()));
    let _ = writeln!(text, "{} {head}, {}", paint(HEAD, "plan"), moment(*at));
    let mut warn = |why: &str| {
        let _ = writeln!(text, "{} {why}", paint(WARNING, "!"));
    };
    if let Some(why) = source {
        warn(&format!("Git: {why}"));
    }
    if let Some(why) = standstill {
        warn(why);
    }
    if *unjournaled {
        warn(UNJOURNALED);
    }
    for step in &plan.steps {
        let (sign, style) = match step.verb {
            Verb::Revoke => ("-", BAD),
            Verb::Renew => ("~", CHANGE),
            Verb::Grant => ("+", GOOD),
        };
        let verb = step.verb.to_string();
        let _ = writeln!(text, "  {} {}", paint(style, format!("{sign} {verb:<6}")), step.binding);
        let _ = writeln!(text, "           {}", paint(QUIET, reason(step)));
    }
    for Held { grant, reason, until } in &plan.held {
        let until = until.map_or_else(String::new, |until| format!(" (goes on by itself at {})", moment(until)));
        let _ = writeln!(text, "  {} {grant}", paint(WARNING, "= held  "));
        let _ = writeln!(text, "           {}", paint(QUIET, format!("{reason}{until}")));
    }
    for Note { binding, text: note } in &plan.notes {
        let _ = writeln!(text, "  {} {binding}", paint(QUIET, "· note  "));
        let _ = writeln!(text, "           {}", paint(QUIET, note));
    }
    for source in &plan.sources {
        let _ = writeln!(text, "  {} {}", paint(QUIET, "· from  "), source.path);
        let _ = writeln!(text, "           {}", paint(QUIET, origin(source)));
    }
    let (revoke, renew, grant) = counts(plan);
    let _ = writeln!(text, "{revoke} to revoke, {renew} to renew, {grant} to grant, {} held", plan.held.len());
    if changes(plan) {
        let _ = writeln!(text, "digest {}", digest(plan));
    }
    text
}

/// Whether there is anything to apply.
fn changes(plan: &Plan) -> bool {
    !plan.steps.is_empty() || plan.held.iter().any(|held| held.until.is_some())
}

/// For a pull request.
pub fn plan_markdown(shown: &Shown<'_>) -> String {
    let Shown { at, plan, findings, head, standstill, source, unjournaled } = shown;
    let (revoke, renew, grant) = counts(plan);
    let mut text = format!("### grantd plan: {grant} to grant, {renew} to renew, {revoke} to revoke\n\n");
    let head = head.map_or("no revision".to_owned(), |head| format!("revision `{}`", head.short()));
    let _ = writeln!(text, "{head}, {}\n", moment(*at));
    let source = source.map(|why| format!("Git: {why}"));
    for why in [source.as_deref(), *standstill, unjournaled.then_some(UNJOURNALED)].into_iter().flatten() {
        let _ = writeln!(text, "> **Note:** {}\n", cell(why));
    }
    if !findings.is_empty() {
        text.push_str("| | where | what | instead |\n|---|---|---|---|\n");
        for Finding { path, spot, level, message, help } in *findings {
            let sign = match level {
                Level::Error => "❌",
                Level::Warning => "⚠️",
            };
            let place = spot.as_ref().map_or_else(String::new, |spot| format!(":{}:{}", spot.line, spot.column));
            let _ = writeln!(text, "| {sign} | {}{place} | {} | {} |", code(path), cell(message), cell(help));
        }
        text.push('\n');
    }
    if !plan.steps.is_empty() {
        text.push_str("| | access | why |\n|---|---|---|\n");
        for step in &plan.steps {
            let _ =
                writeln!(text, "| **{}** | {} | {} |", step.verb, code(&step.binding.to_string()), cell(&reason(step)));
        }
        text.push('\n');
    }
    for Held { grant, reason, until } in &plan.held {
        let until = until.map_or_else(String::new, |until| format!(" (goes on by itself at {})", moment(until)));
        let _ = writeln!(text, "- held: {}: {}{until}", code(grant.as_str()), cell(reason));
    }
    for source in &plan.sources {
        let _ = writeln!(text, "- from {}: {}", code(&source.path), cell(&origin(source)));
    }
    for Note { binding, text: note } in &plan.notes {
        let _ = writeln!(text, "- {}: {}", code(&binding.to_string()), cell(note));
    }
    if changes(plan) {
        let _ = writeln!(text, "\ndigest `{}`", digest(plan));
    }
    text
}

/// Text that stays text inside a Markdown table.
fn cell(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, c| {
        match c {
            '\n' | '\r' => safe.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '!' | '@' | '~' | '&' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
        safe
    })
}

/// Code that no backtick in it can end, and no bar can split.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

/// For programs. Steps in the order of work; times in RFC 3339.
pub fn plan_json(shown: &Shown<'_>) -> Value {
    let Shown { at, plan, findings, head, standstill, source, unjournaled } = shown;
    let Plan { steps, records: _, reads: _, recalls: _, held, notes, unread, sources, wake, off: _ } = plan;
    let (revoke, renew, grant) = counts(plan);
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            let Step {
                verb,
                binding,
                until,
                holders,
                cause,
                act_by: _,
                off: _,
                before,
                origin,
                intent: _,
                nonce: _,
                stated: _,
            } = step;
            json!({
                "verb": verb,
                "binding": binding,
                "until": until,
                "cause": cause,
                "grants": holders.keys().collect::<Vec<_>>(),
                "commit": origin.as_ref().map(|origin| &origin.commit),
                "author": origin.as_ref().map(|origin| &origin.author),
                "seen": before.to_string(),
            })
        })
        .collect();
    json!({
        "at": at,
        "head": head,
        "digest": digest(plan),
        "revoke": revoke,
        "renew": renew,
        "grant": grant,
        "steps": steps,
        "held": held,
        "notes": notes,
        "unread": unread,
        "sources": sources,
        "findings": findings_json(findings),
        "standstill": standstill,
        "source": source,
        "journal": !unjournaled,
        "next": wake,
    })
}
