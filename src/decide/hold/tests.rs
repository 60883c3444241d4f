use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn trouble() -> Trouble {
    Trouble::new(TroubleKind::Unreachable, "no answer")
}

fn attempt(count: u32) -> Option<Box<Attempt>> {
    Some(Box::new(Attempt { count, last: at(0), trouble: trouble(), until: Some(at(3600)) }))
}

fn call(intent: u64, retry: Option<Box<Attempt>>) -> Call {
    Call { intent, until: at(3600), asked: at(0), request: None, nonce: Some("n".into()), retry }
}

/// Each state, with failures behind it where it can have some.
fn states() -> Vec<(&'static str, Vec<Tenure>)> {
    use Tenure::{Gone, Nothing, Owned, Refused, Standing};
    let both = |make: &dyn Fn(Sure) -> Hold| vec![Owned(make(Sure::Answered)), Owned(make(Sure::Disputed))];
    let revoking = |sure| {
        let call = Some(Box::new(call(1, None)));
        Owned(Hold::Revoking { sure, call, retry: attempt(8), perhaps: false })
    };
    vec![
        ("nothing", vec![Nothing]),
        ("standing", vec![Standing(at(0))]),
        ("refused", vec![Refused(attempt(8).unwrap())]),
        ("gone", vec![Gone(at(0))]),
        ("granting", vec![Owned(Hold::Granting(Box::new(call(1, attempt(8)))))]),
        (
            "uncertain",
            vec![Owned(Hold::Uncertain(Box::new(Doubt {
                call: Some(call(1, None)),
                retry: attempt(8),
                wrote: Some(at(0)),
            })))],
        ),
        ("held", both(&|sure| Hold::Held { sure, retry: attempt(8) })),
        ("renewing", both(&|sure| Hold::Renewing { sure, call: Box::new(call(1, attempt(8))) })),
        ("drifted", both(&|sure| Hold::Drifted { sure, retry: attempt(8), settled: false })),
        ("restoring", both(&|sure| Hold::Restoring { sure, call: Box::new(call(1, attempt(8))) })),
        ("revoking", [None, Some(Sure::Answered), Some(Sure::Disputed)].into_iter().map(revoking).collect()),
        ("settling", vec![Owned(Hold::Settling { wrote: at(0), retry: attempt(8) })]),
        ("regranting", vec![Owned(Hold::Regranting { wrote: at(0), call: Box::new(call(1, attempt(8))) })]),
    ]
}

fn name(tenure: &Tenure) -> &'static str {
    match tenure {
        Tenure::Nothing => "nothing",
        Tenure::Standing(_) => "standing",
        Tenure::Refused(_) => "refused",
        Tenure::Gone(_) => "gone",
        Tenure::Owned(hold) => match hold {
            Hold::Granting(_) => "granting",
            Hold::Uncertain(_) => "uncertain",
            Hold::Held { .. } => "held",
            Hold::Renewing { .. } => "renewing",
            Hold::Drifted { .. } => "drifted",
            Hold::Restoring { .. } => "restoring",
            Hold::Revoking { .. } => "revoking",
            Hold::Settling { .. } => "settling",
            Hold::Regranting { .. } => "regranting",
        },
    }
}

fn fates() -> [(&'static str, Fate); 6] {
    [
        ("done", Fate::Done),
        ("standing", Fate::Standing),
        ("absent", Fate::Absent),
        ("failed", Fate::Failed(trouble())),
        ("unknown", Fate::Unknown(trouble())),
        ("gone", Fate::Gone),
    ]
}

/// Every state and every event, with what came of it.
fn walk(settled: bool) -> Vec<(&'static str, &'static str, Tenure, Tenure)> {
    let mut all = Vec::new();
    for (state, tenures) in states() {
        for was in tenures {
            for (verb, event) in [(Verb::Grant, "grant"), (Verb::Renew, "renew"), (Verb::Revoke, "revoke")] {
                let came = next(was.clone(), Said::Intended(verb, call(2, None)), settled);
                all.push((state, event, was.clone(), came));
            }
            for (event, fate) in fates() {
                all.push((state, event, was.clone(), next(was.clone(), Said::Came(&fate, at(60)), settled)));
            }
            let trouble = trouble();
            for (event, said) in [
                ("retried", Said::Retried(9, at(60), &trouble)),
                ("dispute", Said::Disputed),
                ("drift", Said::Drifted),
                ("vanish", Said::Vanished(at(60))),
                ("forget", Said::Forgotten),
            ] {
                all.push((state, event, was.clone(), next(was.clone(), said, settled)));
            }
        }
    }
    all
}

/// The table at the top of the file is what the code does, cell by cell.
#[test]
fn the_table_is_true() {
    let text: Vec<&str> = include_str!("../hold.rs").lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let rows: Vec<Vec<&str>> =
        text.iter().filter(|row| row.contains(" | ")).map(|row| row.split('|').map(str::trim).collect()).collect();
    let (heads, rows) = rows.split_first().unwrap();
    assert_eq!((heads.len(), rows.len()), (15, 13));
    let mut cells = 0;
    for (state, event, was, came) in walk(true) {
        let row = rows.iter().find(|row| row[0] == state).unwrap();
        let cell = row[heads.iter().position(|head| *head == event).unwrap()];
        if cell == "." {
            assert_eq!(came, was, "{state} + {event}");
        } else {
            assert_eq!(name(&came), cell, "{state} + {event}");
        }
        cells += 1;
    }
    assert_eq!(cells, 19 * 14, "not every state met every event");
}

/// A debt ends by a proof that it is gone, by an operator's or the plan's word that it is settled, and by nothing else.
#[test]
fn nothing_that_may_be_ours_is_dropped() {
    let ours = |tenure: &Tenure| matches!(tenure, Tenure::Owned(_));
    for (state, event, was, came) in walk(true) {
        let first = state == "granting" && ["standing", "absent", "failed"].contains(&event);
        let proven = ["gone", "vanish", "forget"].contains(&event);
        assert!(!ours(&was) || ours(&came) || first || proven, "{state} + {event} drops it: {came:?}");
        assert!(ours(&was) || !ours(&came) || event == "grant", "{state} + {event} takes what is not ours: {came:?}");
    }
}

/// Retry belongs to the verb: what failed before says nothing about what is tried now.
#[test]
fn failures_stay_with_their_verb() {
    for (state, event, was, came) in walk(true) {
        let (Tenure::Owned(before), Tenure::Owned(hold)) = (&was, &came) else { continue };
        let verb = |hold: &Hold| match hold {
            Hold::Granting(_) | Hold::Uncertain(_) | Hold::Drifted { .. } | Hold::Restoring { .. } => Verb::Grant,
            // What failed since it was revoked are grants.
            Hold::Settling { .. } | Hold::Regranting { .. } => Verb::Grant,
            Hold::Held { .. } | Hold::Renewing { .. } => Verb::Renew,
            Hold::Revoking { .. } => Verb::Revoke,
        };
        let counts = hold.retry().map_or(0, |retry| retry.count);
        if verb(before) == verb(hold) {
            continue;
        }
        assert!(counts == 0, "{state} + {event}: {counts} failures of another verb are counted");
    }
    // The same verb toward another end is another thing.
    let renewing = Hold::Renewing { sure: Sure::Answered, call: Box::new(call(1, attempt(8))) };
    let Hold::Renewing { call, .. } = intended(renewing, Verb::Renew, Call { until: at(60), ..call(2, None) }) else {
        panic!()
    };
    assert_eq!(Attempt::again(call.retry.as_deref(), call.until, at(1), &trouble()).count, 1);
    assert!(!call.retry.unwrap().same(at(60)));
}

/// What an older release closed stays closed, and nothing else differs.
#[test]
fn lines_of_before_close_what_they_closed() {
    for ((state, event, was, now), (.., then)) in walk(true).into_iter().zip(walk(false)) {
        let unsure = match &was {
            Tenure::Owned(Hold::Uncertain(_)) => Tenure::Standing(at(60)),
            Tenure::Owned(Hold::Revoking { sure: None, .. }) => Tenure::Nothing,
            _ => now.clone(),
        };
        let expected = if event == "standing" { unsure } else { now };
        assert_eq!(then, expected, "{state} + {event}");
    }
}
