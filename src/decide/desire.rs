//! Which bindings are wanted now, by whom, and until when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{AskId, Binding, GrantId, Holders, Ledger, Note, Policy, Selector, State, Survey, Terms};

use super::{Targets, protects};

/// What is wanted at one moment.
#[derive(Debug, Default)]
pub struct Wanted {
    pub bindings: BTreeMap<Binding, Want>,
    /// The questions that live grants ask. One without an answer yet brings no binding; it never takes one away.
    pub selectors: BTreeSet<Selector>,
    /// The next moment at which a grant starts or ends.
    pub edge: Option<Timestamp>,
    /// Asks that grant nothing for now, and why, as bindings that name only the surface.
    pub notes: Vec<Note>,
}

/// One wanted binding: the latest end of the grants that hold it, and who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub until: Timestamp,
    /// The grant whose end is the latest (of those, the first by name).
    pub last: GrantId,
    pub holders: Holders,
    /// A holder whose entry the operator protects by now: what is owned stays to its end, nothing new is granted.
    pub barred: Option<String>,
}

/// When a grant ends: what was journaled, shortened by what the configuration says today and by a withdrawal.
pub fn end_of(terms: &Terms, policy: &Policy) -> Timestamp {
    let end = terms.until.min(policy.limits.max_duration.after(terms.start));
    match &terms.state {
        State::Live => end,
        State::Withdrawn { effective, .. } => end.min(*effective),
    }
}

/// Reads nothing but the ledger and the answers: Git may be away, and what was accepted is wanted to its end all the same.
pub fn desire(ledger: &Ledger, survey: &Survey, targets: &Targets, policy: &Policy, now: Timestamp) -> Wanted {
    let mut wanted = Wanted::default();
    let mut pinned: BTreeMap<(&GrantId, &AskId), Vec<&Binding>> = BTreeMap::new();
    for (binding, owned) in &ledger.owned {
        for (grant, asks) in &owned.holders {
            for ask in asks {
                pinned.entry((grant, ask)).or_default().push(binding);
            }
        }
    }
    for (id, terms) in &ledger.grants {
        let end = end_of(terms, policy);
        if now >= end {
            continue;
        }
        if now < terms.start {
            wanted.edge = earliest(wanted.edge, terms.start);
            continue;
        }
        wanted.edge = earliest(wanted.edge, end);
        for (ask_id, ask) in &terms.asks {
            let Some(target) = targets.get(&*ask.surface) else { continue };
            let barred = protects(&policy.limits.protected, ask).map(|(_, why)| why);
            if let Some(selector) = target.selector(ask) {
                wanted.selectors.insert(selector);
            }
            for binding in target.wanted(ask, &survey.answers) {
                hold(&mut wanted.bindings, binding, id, ask_id, end, barred.as_ref());
            }
            for binding in pinned.get(&(id, ask_id)).into_iter().flatten() {
                hold(&mut wanted.bindings, (*binding).clone(), id, ask_id, end, barred.as_ref());
            }
        }
    }
    wanted
}

fn hold(
    bindings: &mut BTreeMap<Binding, Want>,
    binding: Binding,
    grant: &GrantId,
    ask: &AskId,
    end: Timestamp,
    barred: Option<&String>,
) {
    let want = bindings.entry(binding).or_insert_with(|| Want {
        until: end,
        last: grant.clone(),
        holders: Holders::new(),
        barred: barred.cloned(),
    });
    if end > want.until {
        want.until = end;
        want.last = grant.clone();
    }
    // One holder that may is enough.
    if barred.is_none() {
        want.barred = None;
    }
    want.holders.entry(grant.clone()).or_default().insert(ask.clone());
}

pub fn earliest(so_far: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(so_far.map_or(other, |at| at.min(other)))
}
