use std::fmt::Write;

use crate::{
    decide::{
        moment,
        status::{Access, GrantStatus, HeldStatus, Owing, Status, Waiting},
    },
    model::Trust,
};

use super::{BAD, CHANGE, GOOD, HEAD, QUIET, WARNING, count, paint};

/// For a terminal.
pub fn status_text(status: &Status) -> String {
    let Status { at, head, latest: _, freeze, grants, owed, waiting, held, standing } = status;
    let head = head
        .as_ref()
        .map_or("no revision accepted".to_owned(), |head| format!("revision {}", head.get(..10).unwrap_or(head)));
    let mut text = format!("{} {head}, {}\n", paint(HEAD, "status"), moment(*at));
    if let Some(freeze) = freeze {
        let _ = writeln!(
            text,
            "{} granting is frozen since {}: {}",
            paint(WARNING, "!"),
            moment(freeze.since),
            freeze.reason
        );
    }
    for GrantStatus { id, requester, purpose, path: _, commit: _, verdict, start, until, state, access, empty } in
        grants
    {
        let style = if *state == "live" { GOOD } else { CHANGE };
        let when = if *state == "waiting for its start" {
            format!("from {} until {}", moment(*start), moment(*until))
        } else {
            format!("until {}", moment(*until))
        };
        let _ = writeln!(text, "{} {} {when}", paint(HEAD, id), paint(style, state));
        let _ = writeln!(text, "    {}", paint(QUIET, format!("{requester}: {purpose}")));
        if verdict.level > Trust::Branch {
            let _ = writeln!(text, "    {}", paint(QUIET, verdict));
        }
        for scope in empty {
            let none = format!("no host matched in {scope} when it began: it grants nothing there");
            let _ = writeln!(text, "    {}", paint(WARNING, none));
        }
        for Access { binding, state, until: _, trouble } in access {
            let style = if *state == "live" { GOOD } else { CHANGE };
            let _ = writeln!(text, "    {} {binding}", paint(style, format!("{state:<9}")));
            if let Some(trouble) = trouble {
                let _ = writeln!(text, "              {}", paint(QUIET, trouble));
            }
        }
    }
    for Owing { binding, grants, ended, cause, state, attempts, next, trouble } in owed {
        let style = if *state == "overdue" { BAD } else { CHANGE };
        let grants: Vec<_> = grants.iter().map(|id| id.as_str()).collect();
        let _ = writeln!(text, "{} {binding}", paint(style, format!("{state:<9}")));
        let _ = writeln!(text, "    {}", paint(QUIET, format!("{}: {cause} at {}", grants.join(", "), moment(*ended))));
        if let Some(trouble) = trouble {
            let next = next.map_or_else(
                || "on record, tried again at least every 5 minutes".to_owned(),
                |next| format!("next at {}", moment(next)),
            );
            let _ =
                writeln!(text, "    {}", paint(QUIET, format!("{trouble}; {}, {next}", count(*attempts, "attempt"))));
        }
    }
    for Waiting { binding, attempts, next, trouble } in waiting {
        let next = moment(*next);
        let _ = writeln!(text, "{} {binding}", paint(CHANGE, "waiting  "));
        let _ = writeln!(
            text,
            "    {}",
            paint(QUIET, format!("{trouble}; {}, next at {next}", count(*attempts, "attempt")))
        );
    }
    for HeldStatus { grant, reason } in held {
        let _ = writeln!(text, "{} {grant}: {reason}", paint(WARNING, "held     "));
    }
    for binding in standing {
        let _ = writeln!(text, "{} {binding}", paint(QUIET, "standing "));
    }
    let live: usize = grants.iter().map(|grant| grant.access.len()).sum();
    let of = |state| owed.iter().filter(|owing| owing.state == state).count();
    let _ = writeln!(
        text,
        "{}, {}, {} ending, {} settling, {} overdue, {} held",
        count(grants.len(), "grant"),
        count(live, "access"),
        of("revoking"),
        of("settling"),
        of("overdue"),
        held.len()
    );
    text
}
