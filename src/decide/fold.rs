//! The journal's lines to the ledger, one at a time. The only maker of ledgers: state and audit trail cannot disagree.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;

use super::{
    era::{put_right, started},
    hold::{Said, Tenure, next},
    terms::{head, terms, trust},
};
use crate::model::{
    AskId, Binding, Call, Cause, Fate, Freeze, GrantId, Had, Hold, Holders, Ledger, Line, Origin, Over, Owned, Record,
    Resolved, Span, Stamp, State, Terms, Text, Verb,
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
    ledger.withdrawn.fade(horizon);
    match record {
        Record::Checkpoint { .. } | Record::Cut { .. } | Record::Tick {} => {}
        Record::Start { version: _, format, boot, steady, wall } => {
            ledger.format = *format;
            started(ledger, boot.as_ref(), *steady, *wall, *at);
        }
        Record::Clock { boot, steady, step, since, because: _, accepted } => {
            put_right(ledger, boot, *steady, *step, *since, *accepted, *at);
        }
        Record::Init { commit, format, .. } => {
            ledger.format = *format;
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
        Record::Adopt { commit, folder, .. } => {
            ledger.freeze = None;
            ledger.folder.clone_from(folder);
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
        Record::Prove { .. } | Record::Withhold { .. } | Record::Clear { .. } => trust(ledger, record, *at),
        Record::Hold { grant, blob, reason, .. } => {
            ledger.held.insert(grant.clone(), (blob.clone(), reason.clone()));
        }
        Record::Release { grants, .. } => {
            for grant in grants {
                if let Some(State::Withdrawn { effective, .. } | State::Suspended { effective, .. }) =
                    ledger.grants.get_mut(grant).map(|terms| &mut terms.state)
                {
                    *effective = *at;
                }
            }
        }
        Record::Finish { grant, cause } => {
            let terms = ledger.grants.remove(grant).map(|terms| *terms);
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
                let more = !holders.without(&owned.holders).is_empty();
                // Who came was looked for; where some only went, nobody looked.
                owned.had = owned.had.take().filter(|_| !more);
                if let Some(had) = &mut owned.had {
                    had.holders = had.holders.without(&had.holders.without(&holders));
                }
                (owned.holders, owned.origin) = (holders, origin);
            }
        }
        Record::Resolve { grant, ask, asked, places } => {
            let places = near(ledger, grant, places).unwrap_or_else(|| places.clone());
            if let Some(terms) = ledger.grants.get_mut(grant) {
                // No more room than it takes: mostly it is one.
                let mut known = LiteMap::with_capacity(terms.places.len() + 1);
                known.extend(std::mem::take(&mut terms.places));
                known.insert(*ask, Resolved { at: *asked, places });
                terms.places = known;
            }
        }
        Record::Intend { .. } => intend(ledger, *seq, *at, record),
        Record::Sent { intent, binding, request, .. } => {
            let owned = ledger.owned.get_mut(binding);
            if let Some(call) = owned.and_then(|owned| owned.hold.call_mut()).filter(|call| call.intent == *intent) {
                call.request = Some(request.clone());
            }
        }
        Record::Fate { intent, verb, binding, until, fate, knew, .. } => {
            // The fate of an intent that a later one has replaced says nothing about the present.
            let open = ledger.owned.get(binding).and_then(|owned| owned.hold.call());
            if open.is_some_and(|call| call.intent == *intent) {
                came(ledger, binding, (*verb, fate), *until, *knew);
            }
        }
        Record::Retried { binding, count, last, trouble, .. } => {
            turn(ledger, binding, Said::Retried(*count, *last, trouble), None);
        }
        Record::Dispute { binding, .. } => {
            turn(ledger, binding, Said::Disputed, None);
            if let Some(owned) = ledger.owned.get_mut(binding) {
                owned.had = None;
            }
        }
        Record::Drift { binding, .. } => {
            let settled = ledger.owned.get(binding).is_some_and(|owned| owned.hold.settles());
            turn(ledger, binding, Said::Drifted, None);
            if let Some(owned) =
                ledger.owned.get_mut(binding).filter(|owned| matches!(owned.hold, Hold::Drifted { .. }))
            {
                if settled {
                    (owned.holders, owned.ending, owned.had) = (owned.lost.clone(), None, None);
                    let ends = owned.lost.keys().filter_map(|grant| Some(ledger.grants.get(grant)?.until));
                    owned.until = ends.max().unwrap_or(owned.until);
                }
                robbed(owned);
            }
        }
        Record::Gone { binding, .. } => turn(ledger, binding, Said::Vanished(*at), None),
        Record::Standing { binding, .. } => {
            if !ledger.owned.contains_key(binding) {
                take(ledger, binding);
                put(ledger, binding, Tenure::Standing(*at), None);
            }
        }
        Record::Forget { binding, .. } => turn(ledger, binding, Said::Forgotten, None),
    }
}

/// How many grants before and behind one are looked at.
const NEAR: usize = 4;

/// The same list of a grant whose name is near, to be shared: people ask for the same hosts under names that are alike.
fn near(ledger: &Ledger, grant: &GrantId, places: &Arc<[Text]>) -> Option<Arc<[Text]>> {
    let before = ledger.grants.range::<GrantId, _>(..grant).rev().take(NEAR);
    let around = before.chain(ledger.grants.range::<GrantId, _>(grant..).take(NEAR));
    let mut lists = around.flat_map(|(_, terms)| terms.places.values().map(|resolved| &resolved.places));
    lists.find(|list| *list == places).cloned()
}

/// A binding as the table has it; what it carries beside that, if it is ours.
struct Carried {
    until: Timestamp,
    holders: Holders,
    origin: Option<Arc<Origin>>,
    lost: Holders,
    ending: Option<Timestamp>,
    had: Option<Box<Had>>,
}

/// One line about a binding, by the table. `seed`: what it carries if it becomes ours by this line.
fn turn(ledger: &mut Ledger, binding: &Binding, said: Said<'_>, seed: Option<Carried>) {
    let (was, carried) = take(ledger, binding);
    let settled = ledger.format >= 2;
    let now = next(was, said, settled);
    put(ledger, binding, now, carried.or(seed));
}

/// Takes a binding out of whichever map it is in: it is in one at most.
fn take(ledger: &mut Ledger, binding: &Binding) -> (Tenure, Option<Carried>) {
    if let Some(Owned { until, holders, origin, hold, lost, ending, had }) = ledger.owned.remove(binding) {
        return (Tenure::Owned(hold), Some(Carried { until, holders, origin, lost, ending, had }));
    }
    let refused = ledger.refused.remove(binding).map(Tenure::Refused);
    let gone = ledger.gone.remove(binding).map(Tenure::Gone);
    let standing = ledger.standing.remove(binding).map(Tenure::Standing);
    (refused.or(gone).or(standing).unwrap_or(Tenure::Nothing), None)
}

fn put(ledger: &mut Ledger, binding: &Binding, tenure: Tenure, carried: Option<Carried>) {
    let binding = binding.clone();
    match (tenure, carried) {
        (Tenure::Nothing, _) => {}
        (Tenure::Standing(since), _) => drop(ledger.standing.insert(binding, since)),
        (Tenure::Refused(attempt), _) => drop(ledger.refused.insert(binding, attempt)),
        (Tenure::Gone(since), _) => drop(ledger.gone.insert(binding, since)),
        (Tenure::Owned(hold), Some(Carried { until, holders, origin, lost, ending, had })) => {
            ledger.owned.insert(binding, Owned { until, holders, origin, hold, lost, ending, had });
        }
        // Nothing becomes ours but by an intent, and that carries all.
        (Tenure::Owned(_), None) => {}
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
    let Record::Intend { verb, binding, until, holders, stamp, nonce, cause: _, before: _, act_by: _ } = record else {
        return;
    };
    if *verb != Verb::Revoke {
        begin(ledger, holders);
    }
    let (holders, origin) = shared(ledger, holders, stamp);
    let call = Call { intent: seq, until: *until, asked: at, request: None, nonce: nonce.clone(), retry: None };
    let seed = Carried {
        until: *until,
        holders: holders.clone(),
        origin: origin.clone(),
        lost: Holders::default(),
        ending: None,
        had: None,
    };
    turn(ledger, binding, Said::Intended(*verb, call), Some(seed));
    let Some(owned) = ledger.owned.get_mut(binding) else { return };
    if *verb == Verb::Revoke {
        owned.ending.get_or_insert(at);
        return;
    }
    // What was revoked, and only not settled yet, nobody has.
    if !matches!(owned.hold, Hold::Regranting { .. }) && owned.holders != holders {
        let (holders, origin, ending) = (owned.holders.clone(), owned.origin.clone(), owned.ending);
        owned.had.get_or_insert_with(|| Box::new(Had { holders, origin, ending }));
    }
    (owned.holders, owned.origin, owned.ending) = (holders, origin, None);
}

/// The open call has its fate: whose the access is now, and from whom it was taken.
fn came(ledger: &mut Ledger, binding: &Binding, (verb, fate): (Verb, &Fate), until: Timestamp, knew: Timestamp) {
    let Some(before) = ledger.owned.get(binding) else { return };
    let taken = matches!(before.hold, Hold::Revoking { sure: Some(_), perhaps: false, .. });
    turn(ledger, binding, Said::Came(fate, knew), None);
    let Some(owned) = ledger.owned.get_mut(binding) else { return };
    match (verb, fate, &owned.hold) {
        (_, Fate::Done, Hold::Held { .. }) => {
            (owned.until, owned.had) = (until, None);
            owned.lost = owned.lost.without(&owned.holders);
        }
        (_, Fate::Standing, Hold::Held { .. }) => owned.had = None,
        (_, Fate::Absent, Hold::Drifted { .. }) => robbed(owned),
        (_, Fate::Absent, Hold::Settling { .. }) if taken => robbed(owned),
        // The debt is as old as it was, and who asked for it now has it no more than before.
        (Verb::Grant, Fate::Failed(_), _) => {
            if let Some(had) = &owned.had {
                (owned.holders, owned.ending) = (owned.holders.and(&had.holders), had.ending);
            }
        }
        _ => {}
    }
    if matches!(owned.hold, Hold::Settling { .. }) {
        owned.had = None;
    }
}

/// Somebody took it away: from those of whom it is known that they had it.
fn robbed(owned: &mut Owned) {
    if let Some(had) = owned.had.take() {
        (owned.holders, owned.origin) = (had.holders, had.origin);
    }
    owned.lost = owned.lost.and(&owned.holders);
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
    let mut lists: HashSet<Arc<[Text]>> = HashSet::new();
    for resolved in ledger.grants.values_mut().flat_map(|terms| terms.places.iter_mut()).map(|(_, resolved)| resolved) {
        match lists.get(&resolved.places) {
            Some(list) => resolved.places = list.clone(),
            None => drop(lists.insert(resolved.places.clone())),
        }
    }
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
    let end = |grant| match (ledger.used.get(grant), ledger.grants.get(grant).map(AsRef::as_ref)) {
        (Some(Over { at, cause, by, file: _ }), _) => (*at, *cause, by.as_ref()),
        (None, Some(Terms { state: State::Suspended { effective, by }, .. })) => {
            (*effective, Cause::Suspended, Some(by))
        }
        (None, terms) => (Timestamp::MAX, Cause::EntryRemoved, terms.map(|terms| &terms.origin)),
    };
    // Who only asked for it is no reason.
    let had = owned.had.as_ref().map_or(&owned.holders, |had| &had.holders);
    let last = had.keys().map(end).max_by_key(|(at, ..)| *at);
    let (_, cause, by) = last.unwrap_or((Timestamp::MAX, Cause::Expired, None));
    (cause, by.or(owned.origin.as_ref()))
}
