use std::fmt::Write;

use serde_json::{Value, json};

use crate::model::{Check, Text};

use super::{BAD, GOOD, count, paint};

/// How wide a list of what is fine may be.
const WIDTH: usize = 100;

/// What is fine as a list a place, and what is not one by one, with what to do.
pub fn checks_text(checks: &[Check]) -> String {
    let mut out = String::new();
    for group in checks.chunk_by(|one, other| one.place == other.place) {
        let place = group.first().map_or("", |check| &*check.place);
        let fine: Vec<&Text> = group.iter().filter(|check| check.found.is_ok()).map(|check| &check.what).collect();
        if !fine.is_empty() {
            let _ = writeln!(out, "{}  {place}", paint(GOOD, "ok"));
            list(&mut out, &fine);
        }
        for Check { place, what, found } in group {
            if let Err(trouble) = found {
                let detail = trouble.detail.replace(char::is_control, " ");
                let _ = writeln!(out, "{}  {place}: {what}\n    {detail}", paint(BAD, "!!"));
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

/// Words with commas between them, in lines of bounded width. A service is named once: `iam: GetGroup, …`.
fn list(out: &mut String, words: &[&Text]) {
    let mut service = "";
    let mut width = 0;
    for word in words {
        let (of, name) = match word.split_once(':') {
            Some((of, name)) if !name.starts_with(' ') => (of, name),
            _ => ("", &***word),
        };
        let fresh = of != service || width == 0;
        let text = if fresh && !of.is_empty() { format!("{of}: {name}") } else { name.to_owned() };
        let begin = width == 0 || fresh || width + text.len() + 2 > WIDTH;
        match begin {
            true if width > 0 => out.push_str("\n    "),
            true => out.push_str("    "),
            false => out.push_str(", "),
        }
        // A line that goes on is set in under its service.
        if begin && !fresh && !of.is_empty() {
            out.push_str("  ");
        }
        width = if begin { 4 + text.len() } else { width + 2 + text.len() };
        out.push_str(&text);
        service = of;
    }
    out.push('\n');
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

#[cfg(test)]
mod tests {
    use crate::model::{Trouble, TroubleKind};

    use super::*;

    #[test]
    fn what_is_fine_is_a_list_and_what_is_not_says_what_to_do() {
        let check = |place: &str, what: &str, found| Check { place: place.into(), what: what.into(), found };
        let denied = Trouble::new(TroubleKind::Denied, "AccessDenied on iam:AttachRolePolicy:\nallow it");
        let checks = [
            check("here", "configuration", Ok(())),
            check("here", "Git", Ok(())),
            check("prod 1", "credentials: arn:x", Ok(())),
            check("prod 1", "iam:GetGroup", Ok(())),
            check("prod 1", "iam:AttachRolePolicy", Err(denied)),
            check("prod 1", "iam:AddUserToGroup", Ok(())),
        ];
        let text = anstream::adapter::strip_str(&checks_text(&checks)).to_string();
        assert_eq!(
            text,
            "ok  here\n    configuration, Git\nok  prod 1\n    credentials: arn:x\n    iam: GetGroup, AddUserToGroup\n\
             !!  prod 1: iam:AttachRolePolicy\n    AccessDenied on iam:AttachRolePolicy: allow it\n6 checks, 1 to mend\n"
        );
    }

    #[test]
    fn long_lists_are_wrapped() {
        let checks: Vec<Check> = (0..30)
            .map(|n| Check {
                place: "prod".into(),
                what: format!("iam:SomeAction{n:02}").as_str().into(),
                found: Ok(()),
            })
            .collect();
        let text = anstream::adapter::strip_str(&checks_text(&checks)).to_string();
        assert!(text.lines().all(|line| line.len() <= WIDTH + 4), "{text}");
        assert_eq!(text.matches("SomeAction").count(), 30);
    }
}
