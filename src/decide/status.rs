//! The ledger as a person wants to see it: what is live, owed, held.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{
    Attempt, Binding, Cause, Freeze, GrantId, Hold, Ledger, Owned, Span, State, Sure, Terms, Text, Vouched,
};

use super::{Allows, SETTLE, end_of, fold::cause, moment};

/// How long after its end a revocation is no longer just under way.
pub const BOUND: Span = Span::seconds(30);

/// What one moment looks like from the ledger alone: no call, no lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub at: Timestamp,
    pub head: Option<Text>,
    /// The time of the journal's latest line.
    pub latest: Option<Timestamp>,
    pub freeze: Option<Freeze>,
    pub grants: Vec<GrantStatus>,
    /// Access whose end has come and that is not proven gone.
    pub owed: Vec<Owing>,
    /// What a grant asks for and could not be given yet.
    pub waiting: Vec<Waiting>,
    pub held: Vec<HeldStatus>,
    /// What a grant asked for and somebody else gave: never ours to remove.
    pub standing: Vec<Binding>,
}

/// An accepted grant and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantStatus {
    pub id: GrantId,
    pub requester: Text,
    pub purpose: Text,
    pub path: Text,
    pub commit: Text,
    /// Who stands behind it.
    pub verdict: Vouched,
    pub start: Timestamp,
    pub until: Timestamp,
    pub state: &'static str,
    pub access: Vec<Access>,
    /// Where it asks for hosts and none matched when it began: it grants nothing there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub empty: Vec<String>,
}

/// One binding of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    pub binding: Binding,
    /// `live`, `under way`, `unknown`, `drifted` or `disputed`.
    pub state: &'static str,
    pub until: Timestamp,
    pub trouble: Option<String>,
}

/// A binding that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owing {
    pub binding: Binding,
    pub grants: Vec<GrantId>,
    pub ended: Timestamp,
    pub cause: String,
    /// `revoking`, `overdue`, or `settling`: revoked, read back, and watched until the absence has settled.
    pub state: &'static str,
    /// As far as they are on record: what fails alike is summed up once an hour.
    pub attempts: u32,
    /// `None`: by now it was tried again, and failed alike.
    pub next: Option<Timestamp>,
    pub trouble: Option<String>,
}

impl Owing {
    /// When it is no longer just under way, if it is not proven gone by then; `None` for what only settles.
    pub fn overdue(&self) -> Option<Timestamp> {
        (self.state != "settling").then(|| BOUND.past(self.ended))
    }
}

/// A binding that could not be granted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub binding: Binding,
    pub attempts: u32,
    pub next: Timestamp,
    pub trouble: String,
}

/// A grant that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldStatus {
    pub grant: GrantId,
    pub reason: Text,
}

/// What the ledger says at `now`.
pub fn status(ledger: &Ledger, policy: &impl Allows, now: Timestamp) -> Status {
    let ends = ends(ledger, policy);
    let mut held: Vec<HeldStatus> = ledger
        .held
        .iter()
        .map(|(grant, (_, reason))| HeldStatus { grant: grant.clone(), reason: reason.clone() })
        .collect();
    let withheld = ledger
        .withheld
        .iter()
        .filter(|(grant, _)| !ledger.held.contains_key(grant) && !ledger.used.contains_key(grant));
    held.extend(withheld.map(|(grant, what)| HeldStatus { grant: grant.clone(), reason: what.reason.clone() }));
    let mut grants = Vec::new();
    let mut access: BTreeMap<&GrantId, Vec<Access>> = BTreeMap::new();
    for (binding, owned) in &ledger.owned {
        for id in live_holders(ledger, owned, &ends, now) {
            let state = match &owned.hold {
                Hold::Drifted { .. } | Hold::Restoring { .. } => "drifted",
                Hold::Held { sure, .. } | Hold::Renewing { sure, .. } => match sure {
                    Sure::Answered => "live",
                    Sure::Disputed => "disputed",
                },
                _ if owned.lost.asks(id).next().is_some() => "drifted",
                Hold::Granting(call) if call.retry.is_none() => "under way",
                Hold::Regranting { call, .. } if call.retry.is_none() => "under way",
                Hold::Granting(_)
                | Hold::Uncertain(_)
                | Hold::Revoking { .. }
                | Hold::Settling { .. }
                | Hold::Regranting { .. } => "unknown",
            };
            let trouble = owned.hold.retry().map(|attempt| attempt.trouble.to_string());
            access.entry(id).or_default().push(Access { binding: binding.clone(), state, until: owned.until, trouble });
        }
        // Taken away by hand from this one, whoever has it now.
        let goes_on = |id: &GrantId| {
            let asks = |terms: &Terms| owned.lost.asks(id).any(|ask| terms.asks.contains_key(ask));
            ledger.grants.get(id).is_some_and(|terms| asks(terms))
        };
        let other = |id: &&GrantId| owned.holders.keys().all(|holder| holder != *id);
        for id in owned.lost.keys().filter(other).filter(|id| goes_on(id)) {
            let (binding, until) = (binding.clone(), ends.get(id).copied().unwrap_or(owned.until));
            access.entry(id).or_default().push(Access { binding, state: "drifted", until, trouble: None });
        }
    }
    for (id, terms) in &ledger.grants {
        let until = ends.get(id).copied().unwrap_or(terms.until);
        let state = match &terms.state {
            State::Withdrawn { effective, .. } if *effective > now => {
                let reason = format!("withdrawn together with many others: takes effect at {}", moment(*effective));
                held.push(HeldStatus { grant: id.clone(), reason: reason.into() });
                "withdrawal held"
            }
            State::Withdrawn { .. } => "withdrawn",
            State::Suspended { effective, .. } if *effective > now => {
                let reason = format!("suspended together with many others: takes effect at {}", moment(*effective));
                held.push(HeldStatus { grant: id.clone(), reason: reason.into() });
                "suspension held"
            }
            State::Suspended { .. } => "suspended",
            State::Live if ledger.withheld.get(id).is_some_and(|withheld| withheld.whole) => "held",
            State::Live if now < terms.start => "waiting for its start",
            State::Live if until <= now => "over",
            State::Live => "live",
        };
        grants.push(GrantStatus {
            id: id.clone(),
            requester: terms.requester.clone(),
            purpose: terms.purpose.clone(),
            path: terms.path.clone(),
            commit: terms.origin.commit.0.clone(),
            verdict: terms.vouched.clone(),
            start: terms.start,
            until,
            state,
            access: access.remove(id).unwrap_or_default(),
            empty: empty(terms),
        });
    }
    let waiting = ledger.refused.iter().map(|(binding, attempt)| Waiting {
        binding: binding.clone(),
        attempts: attempt.count,
        next: attempt.next_gain(),
        trouble: attempt.trouble.to_string(),
    });
    Status {
        at: now,
        head: ledger.head.as_ref().map(|head| head.0.clone()),
        latest: ledger.clock,
        freeze: ledger.freeze.clone(),
        grants,
        owed: owing(ledger, &ends, now),
        waiting: waiting.collect(),
        held,
        standing: ledger.standing.keys().cloned().collect(),
    }
}

fn empty(terms: &Terms) -> Vec<String> {
    let nothing = terms.places.iter().filter(|(_, resolved)| resolved.places.is_empty());
    let asks = nothing.filter_map(|(ask, _)| terms.asks.get(ask));
    asks.map(|ask| format!("{} {}/{}", ask.surface, ask.word("account"), ask.word("region"))).collect()
}

/// The access whose end has come and that is not proven gone.
pub fn owed(ledger: &Ledger, policy: &impl Allows, now: Timestamp) -> Vec<Owing> {
    owing(ledger, &ends(ledger, policy), now)
}

/// When each grant's access ends: reckoned once for each, and asked for each binding.
type Ends<'a> = BTreeMap<&'a GrantId, Timestamp>;

fn ends<'a>(ledger: &'a Ledger, policy: &impl Allows) -> Ends<'a> {
    ledger.grants.iter().map(|(id, terms)| (id, end_of(id, terms, policy))).collect()
}

fn owing(ledger: &Ledger, ends: &Ends<'_>, now: Timestamp) -> Vec<Owing> {
    let mut owed = Vec::new();
    for (binding, owned) in &ledger.owned {
        // What is being revoked is owed by those who had it: who asked for it in vain makes it no less so.
        let had = owned.had.as_ref().filter(|_| matches!(owned.hold, Hold::Revoking { .. }));
        let alone = had.map(|had| Owned { holders: had.holders.clone(), had: None, ..owned.clone() });
        let owned = alone.as_ref().unwrap_or(owned);
        if live_holders(ledger, owned, ends, now).next().is_some() {
            continue;
        }
        // Gone, and kept in mind only because somebody took it from a grant that goes on.
        let quiet = match &owned.hold {
            Hold::Settling { wrote, .. } => SETTLE.after(*wrote) <= now,
            Hold::Drifted { settled, .. } => *settled,
            _ => false,
        };
        if quiet && owned.lost.keys().any(|id| ledger.grants.contains_key(id)) {
            continue;
        }
        let (cause, ended) = over(ledger, owned, ends, now);
        let state = match &owned.hold {
            Hold::Settling { .. } => "settling",
            _ if BOUND.after(ended) < now => "overdue",
            _ => "revoking",
        };
        // What failed before it had to go says nothing about its going.
        let retry = if matches!(owned.hold, Hold::Revoking { .. }) { owned.hold.retry() } else { None };
        owed.push(Owing {
            binding: binding.clone(),
            grants: owned.holders.keys().cloned().collect(),
            ended,
            cause: cause.to_string(),
            state,
            attempts: retry.map_or(0, |attempt| attempt.count),
            next: retry.map(Attempt::next).filter(|next| *next > now),
            trouble: retry.map(|attempt| attempt.trouble.to_string()),
        });
    }
    owed
}

/// Why access has to go, and since when. A grant may be over and its end not be on record: while nobody runs, and while the
/// journal cannot be written.
fn over(ledger: &Ledger, owned: &Owned, ends: &Ends<'_>, now: Timestamp) -> (Cause, Timestamp) {
    let unrecorded = owned.holders.keys().filter_map(|id| {
        let terms =
            ledger.grants.get(id).filter(|terms| owned.holders.asks(id).any(|ask| terms.asks.contains_key(ask)))?;
        let cause = match terms.state {
            State::Live => Cause::Expired,
            State::Withdrawn { .. } => Cause::Withdrawn,
            State::Suspended { .. } => Cause::Suspended,
        };
        ends.get(id).map(|end| (*end, cause))
    });
    let recorded = owned.holders.keys().filter_map(|id| ledger.used.get(id)).map(|over| over.at).max();
    match unrecorded.max_by_key(|(end, _)| *end) {
        Some((end, cause)) if recorded.is_none_or(|at| at < end) => (cause, end.min(now)),
        // A grant over a debt that never came about makes it no younger.
        _ => (cause(ledger, owned).0, recorded.into_iter().chain(owned.ending).min().unwrap_or(owned.until).min(now)),
    }
}

/// The grants that a binding is still held for.
fn live_holders<'a>(
    ledger: &'a Ledger,
    owned: &'a Owned,
    ends: &'a Ends<'a>,
    now: Timestamp,
) -> impl Iterator<Item = &'a GrantId> {
    owned.holders.keys().filter(move |id| {
        let asks = |terms: &Terms| owned.holders.asks(id).any(|ask| terms.asks.contains_key(ask));
        ledger.grants.get(id).is_some_and(|terms| asks(terms)) && ends.get(id).is_some_and(|end| *end > now)
    })
}
