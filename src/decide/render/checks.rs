use std::fmt::Write;

use serde_json::{Value, json};

use crate::model::{Check, Text};

use super::{BAD, GOOD, count, paint};

/// What is fine in one line a place, and what is not one by one, with what to do.
pub fn checks_text(checks: &[Check]) -> String {
    let mut out = String::new();
    for group in checks.chunk_by(|one, other| one.place == other.place) {
        let place = group.first().map_or("", |check| &*check.place);
        let fine: Vec<&Text> = group.iter().filter(|check| check.found.is_ok()).map(|check| &check.what).collect();
        if !fine.is_empty() {
            let names = fine.iter().map(|what| &***what).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "{}  {place}: {names}", paint(GOOD, "ok"));
        }
        for Check { place, what, found } in group {
            if let Err(trouble) = found {
                let _ = writeln!(out, "{}  {place}: {what}: {}", paint(BAD, "!!"), trouble.detail.escape_debug());
            }
        }
    }
    let wrong = checks.iter().filter(|check| check.found.is_err()).count();
    let _ = match wrong {
        0 => writeln!(out, "{}, all fine", count(checks.len(), "check")),
        _ => writeln!(out, "{}, {wrong} to mend", count(checks.len(), "check")),
    };
    out
}

pub fn checks_json(checks: &[Check]) -> Value {
    let check = |Check { place, what, found }: &Check| {
        json!({
            "place": place,
            "what": what,
            "fine": found.is_ok(),
            "trouble": found.as_ref().err(),
        })
    };
    json!({
        "fine": checks.iter().all(|check| check.found.is_ok()),
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
    })
}
