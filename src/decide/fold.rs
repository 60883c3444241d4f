//! The journal's lines to the ledger, one at a time. The only maker of ledgers: state and audit trail cannot disagree.

use std::sync::Arc;

use jiff::Timestamp;

use super::terms::{head, terms, trust};
use crate::model::{
    AskId, Attempt, Binding, Cause, Fate, Freeze, GrantId, Holders, Landed, Ledger, Line, Origin, Over, Owned, Pending,
    Record, Span, Stamp, State, Terms, Trouble, TroubleKind, Verb,
};

/// For how long a withdrawal counts for the guard against mass withdrawal.
pub const SLIDING: Span = Span::hours(1);

/// Takes one line in that nobody else needs: a checkpoint is as large as all that is known, and is not copied.
pub fn replay(ledger: &mut Ledger, line: Line) {
    match line.record {
        Record::Checkpoint { ledger: whole } => *ledger = compact(*whole),
        _ => fold(ledger, &line),
    }
}

/// The ledger that lines come to.
pub fn ledger(lines: Vec<Line>) -> Ledger {
    let mut ledger = Ledger::default();
    lines.into_iter().for_each(|line| replay(&mut ledger, line));
    ledger
}

/// Takes one line in. Total: a line that makes no sense for this ledger changes nothing but the clock.
pub fn fold(ledger: &mut Ledger, line: &Line) {
    let Line { seq, at, record } = line;
    if let Record::Checkpoint { ledger: whole } = record {
        ledger.clone_from(whole);
        return;
    }
    ledger.clock = ledger.clock.max(Some(*at));
    let horizon = SLIDING.before(*at);
    ledger.withdrawn.retain(|(when, _)| *when >= horizon);
    match record {
        Record::Checkpoint { .. } | Record::Start { .. } | Record::Cut { .. } => {}
        Record::Init { commit, .. } => {
            ledger.origin = Some(commit.clone());
            head(ledger, commit, *at, false);
        }
        Record::Prior { grant, existing: true } => {
            ledger.prior.insert(grant.clone(), *at);
        }
        Record::Prior { grant, existing: false } => {
            ledger.used.insert(grant.clone(), Over { at: *at, cause: Cause::Prior, by: None, file: None });
        }
        Record::Head { commit, .. } => head(ledger, commit, *at, false),
        Record::Adopt { commit, .. } => {
            ledger.freeze = None;
            // They were excused as they lay there at the beginning, in another history.
            ledger.prior.clear();
            head(ledger, commit, *at, true);
        }
        Record::Freeze { commit, reason, accept } => {
            let (commit, reason) = (commit.clone(), reason.clone());
            ledger.freeze = Some(Freeze { since: *at, commit, reason, accept: *accept });
        }
        Record::Thaw { .. } => ledger.freeze = None,
        Record::Accept { .. }
        | Record::Amend { .. }
        | Record::Shorten { .. }
        | Record::Withdraw { .. }
        | Record::Restore { .. }
        | Record::Suspend { .. }
        | Record::Resume { .. } => terms(ledger, record, *at),
        Record::Prove { .. } | Record::Withhold { .. } | Record::Clear { .. } => trust(ledger, record),
        Record::Hold { grant, blob, reason, .. } => {
            ledger.held.insert(grant.clone(), (blob.clone(), reason.clone()));
        }
        Record::Release { grants, .. } => {
            for grant in grants {
                if let Some(Terms { state: State::Withdrawn { effective, .. }, .. }) = ledger.grants.get_mut(grant) {
                    *effective = *at;
                }
            }
        }
        Record::Finish { grant, cause } => {
            let terms = ledger.grants.remove(grant);
            ledger.held.remove(grant);
            if let Some(withheld) = ledger.withheld.get_mut(grant) {
                withheld.whole = false;
                if withheld.chain.links.is_empty() {
                    ledger.withheld.remove(grant);
                }
            }
            let file = terms.as_ref().map(|terms| (terms.path.clone(), terms.blob.clone()));
            let by = match (cause, terms) {
                (Cause::Withdrawn, Some(Terms { state: State::Withdrawn { by, .. }, .. })) => Some(by),
                _ => None,
            };
            ledger.used.insert(grant.clone(), Over { at: *at, cause: *cause, by, file });
        }
        Record::Join { binding, holders, stamp } => {
            begin(ledger, holders);
            let (holders, origin) = shared(ledger, holders, stamp);
            if let Some(owned) = ledger.owned.get_mut(binding) {
                owned.holders = holders;
                owned.origin = origin;
            }
        }
        Record::Intend { .. } => intend(ledger, *seq, *at, record),
        Record::Sent { intent, binding, request, .. } => {
            if let Some(Owned { open: Some(open), .. }) = ledger.owned.get_mut(binding)
                && open.intent == *intent
            {
                open.request = Some(request.clone());
            }
        }
        Record::Fate { intent, verb, binding, until, fate, knew, .. } => {
            settle(ledger, binding, *intent, *verb, *until, fate, *knew);
        }
        Record::Dispute { binding, .. } => {
            if let Some(owned) = ledger.owned.get_mut(binding) {
                owned.landed = Landed::Yes;
                owned.disputed = true;
                owned.open = None;
                owned.revoked = false;
                owned.attempt = None;
            }
        }
        Record::Drift { binding, .. } => {
            if let Some(owned) = ledger.owned.get_mut(binding) {
                owned.drifted = true;
            }
        }
        Record::Standing { binding, .. } => {
            ledger.standing.insert(binding.clone(), *at);
        }
        Record::Forget { binding, .. } => {
            ledger.owned.remove(binding);
            ledger.standing.remove(binding);
            ledger.refused.remove(binding);
        }
    }
}

/// Access is given for these: they have begun.
fn begin(ledger: &mut Ledger, holders: &Holders) {
    for grant in holders.keys() {
        if let Some(terms) = ledger.grants.get_mut(grant) {
            terms.links.clear();
        }
    }
}

fn intend(ledger: &mut Ledger, seq: u64, at: Timestamp, record: &Record) {
    let Record::Intend { verb, binding, until, holders, stamp, cause: _, before: _, act_by: _ } = record else {
        return;
    };
    if *verb != Verb::Revoke {
        begin(ledger, holders);
    }
    let open = Some(Box::new(Pending { intent: seq, verb: *verb, until: *until, asked: at, request: None }));
    let (holders, origin) = shared(ledger, holders, stamp);
    ledger.standing.remove(binding);
    match ledger.owned.get_mut(binding) {
        Some(owned) => {
            // What was revoked and is granted anew has a new life: what is known of the old one must not vouch for it.
            if *verb == Verb::Grant && owned.revoked && owned.open.is_none() {
                owned.revoked = false;
                owned.landed = Landed::No;
                owned.disputed = false;
                owned.drifted = false;
            }
            // An earlier call whose answer never came may still have landed.
            if owned.open.as_ref().is_some_and(|open| open.verb == Verb::Grant) {
                owned.landed = owned.landed.max(Landed::Maybe);
            }
            if *verb != Verb::Revoke {
                owned.holders = holders;
                owned.origin = origin;
            }
            owned.open = open;
        }
        None => {
            let owned = Owned {
                until: *until,
                holders,
                origin,
                landed: Landed::No,
                disputed: false,
                drifted: false,
                open,
                wrote: None,
                revoked: false,
                attempt: None,
            };
            ledger.owned.insert(binding.clone(), owned);
        }
    }
}

fn settle(
    ledger: &mut Ledger,
    binding: &Binding,
    intent: u64,
    verb: Verb,
    until: Timestamp,
    fate: &Fate,
    knew: Timestamp,
) {
    let Some(owned) = ledger.owned.get_mut(binding) else { return };
    // The fate of an intent that a later one has replaced says nothing about the present.
    if owned.open.as_ref().is_none_or(|open| open.intent != intent) {
        return;
    }
    owned.open = None;
    match fate {
        Fate::Done => {
            owned.wrote = Some(knew);
            owned.attempt = None;
            ledger.refused.remove(binding);
            match verb {
                Verb::Revoke => owned.revoked = true,
                Verb::Grant | Verb::Renew => {
                    owned.until = until;
                    owned.landed = Landed::Yes;
                    owned.drifted = false;
                    owned.revoked = false;
                }
            }
        }
        // The place says that it is not ours, and we confirmed that it is: whoever has the access may have removed our marker
        // himself. It stays owed until it is gone.
        Fate::Standing if verb != Verb::Grant && owned.landed == Landed::Yes && !owned.revoked => {
            let detail = "it is there without our marker, though it was ours: look who removed the marker, and take the access away by hand";
            owned.attempt = Some(again(owned.attempt.as_deref(), knew, &Trouble::new(TroubleKind::Broken, detail)));
        }
        Fate::Standing => {
            ledger.owned.remove(binding);
            if verb != Verb::Revoke {
                ledger.standing.insert(binding.clone(), knew);
            }
        }
        Fate::Gone => {
            ledger.owned.remove(binding);
        }
        Fate::Failed(trouble) => {
            let attempt = again(owned.attempt.as_deref(), knew, trouble);
            if verb == Verb::Grant && owned.landed == Landed::No && owned.wrote.is_some() {
                // Nothing new came of it, and the absence of the old life has still to settle.
                owned.revoked = true;
                owned.attempt = Some(attempt);
            } else if verb == Verb::Grant && owned.landed == Landed::No {
                let attempt = again(ledger.refused.get(binding).map(AsRef::as_ref), knew, trouble);
                ledger.owned.remove(binding);
                ledger.refused.insert(binding.clone(), attempt);
            } else {
                owned.attempt = Some(attempt);
            }
        }
        Fate::Unknown(trouble) => {
            owned.wrote = Some(knew);
            owned.landed = owned.landed.max(Landed::Maybe);
            owned.attempt = Some(again(owned.attempt.as_deref(), knew, trouble));
        }
    }
}

fn again(before: Option<&Attempt>, last: Timestamp, trouble: &Trouble) -> Box<Attempt> {
    let count = before.map_or(1, |attempt| attempt.count.saturating_add(1));
    Box::new(Attempt { count, last, trouble: trouble.clone() })
}

/// What a checkpoint says, with each text once.
fn compact(mut ledger: Ledger) -> Ledger {
    let mut owned = std::mem::take(&mut ledger.owned);
    for owned in owned.values_mut() {
        let (holders, origin) = shared(&ledger, &owned.holders, &owned.stamp());
        owned.holders = holders;
        owned.origin = origin;
    }
    ledger.owned = owned;
    ledger
}

/// The texts of the grants in place of equal ones of the line: there are many bindings for each grant.
fn shared(ledger: &Ledger, holders: &Holders, stamp: &Stamp) -> (Holders, Option<Arc<Origin>>) {
    let Stamp { grants: _, commit, author } = stamp;
    let mut origin = commit.clone().zip(author.clone()).map(|(commit, author)| Arc::new(Origin { commit, author }));
    let mut own = true;
    let share = |(holder, ask): (&GrantId, &AskId)| match ledger.grants.get_key_value(holder) {
        Some((grant, terms)) => {
            own &= grant.is(holder);
            if origin.as_ref() == Some(&terms.origin) {
                origin = Some(terms.origin.clone());
            }
            (grant.clone(), *ask)
        }
        None => (holder.clone(), *ask),
    };
    let other = holders.iter().map(share).collect();
    (if own { holders.clone() } else { other }, origin)
}

/// Why a binding is not wanted any more, and the commit that is the reason: those of the holder that ended last.
pub fn cause<'a>(ledger: &'a Ledger, owned: &'a Owned) -> (Cause, Option<&'a Arc<Origin>>) {
    let end = |grant| match (ledger.used.get(grant), ledger.grants.get(grant)) {
        (Some(Over { at, cause, by, file: _ }), _) => (*at, *cause, by.as_ref()),
        (None, Some(Terms { state: State::Suspended { effective, by }, .. })) => {
            (*effective, Cause::Suspended, Some(by))
        }
        (None, terms) => (Timestamp::MAX, Cause::EntryRemoved, terms.map(|terms| &terms.origin)),
    };
    let last = owned.holders.keys().map(end).max_by_key(|(at, ..)| *at);
    let (_, cause, by) = last.unwrap_or((Timestamp::MAX, Cause::Expired, None));
    (cause, by.or(owned.origin.as_ref()))
}
