//! The plan, alone.

use std::collections::{BTreeMap, BTreeSet};

use grantd::{
    command::setup,
    decide::{Ground, desire, fold, parse, plan},
    model::{Commit, Ledger, Line, Oid, Policy, Reading, Record, Seen, Span, Survey},
};

/// Looks may take longer than they stay fresh: each counts from when it came back, or the grant would be read for again
/// and again and never be given.
#[test]
fn a_look_that_took_long_is_good_for_one_decision() {
    let (targets, policy, now) = (setup::targets(), Policy::default(), "2026-11-20T09:10:00Z".parse().unwrap());
    let text = "requester: r\npurpose: p\nttl: 8h\naccess: [iam-group: { account: '123456789012', user: jdoe, group: Auditors }]\n";
    let grant = parse(text.as_bytes(), &targets, &policy).grant.unwrap();
    let start = "2026-11-20T09:00:00Z".parse().unwrap();
    let accept = Record::Accept {
        grant: "jdoe-audit".parse().unwrap(),
        path: "grants/jdoe-audit.yaml".into(),
        blob: Oid("b".into()),
        commit: Commit("c".into()),
        author: "Ann".into(),
        committed: start,
        requester: grant.requester.clone(),
        purpose: grant.purpose.clone(),
        asks: grant.access.clone(),
        from: None,
        ttl: grant.ttl,
        stated: None,
        start,
        until: Span::hours(8).after(start),
        ceiling: Span::hours(24).after(start),
        vouched: Default::default(),
        links: Vec::new(),
    };
    let mut ledger = Ledger::default();
    fold(&mut ledger, &Line { seq: 1, at: start, record: accept });
    let decide = |survey: &Survey, now| {
        let mut wanted = desire(&ledger, survey, &targets, &policy, now);
        let (pending, fresh, tries) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let (ledger, targets, policy) = (&ledger, &targets, &policy);
        plan(
            &Ground {
                ledger,
                survey,
                targets,
                policy,
                pending: &pending,
                fresh: &fresh,
                tries: &tries,
                standstill: None,
                unheard: false,
                now,
                leapt: jiff::Timestamp::MIN,
            },
            &mut wanted,
        )
    };
    let mut survey = Survey::default();
    let first = decide(&survey, now);
    let [binding] = &first.reads[..] else { panic!("{first:?}") };
    let sight = Reading::Sight { binding: binding.clone(), seen: Seen::Absent };
    survey.take(sight.clone(), start, now);
    let second = decide(&survey, now);
    assert_eq!((second.reads.len(), second.steps.len()), (0, 1), "{second:?}");
    survey.take(sight, Span::hours(1).before(now), now);
    assert_eq!(decide(&survey, now).reads, first.reads, "what was seen an hour ago is not just before");
    let later = Span::minutes(2).after(now);
    assert_eq!(decide(&survey, later).reads, first.reads, "what was seen two minutes ago is not just before");
}
