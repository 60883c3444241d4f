//! The guard against mass withdrawal by mistake: a wrong merge must not take everybody's access at once. Expiry is never
//! held, nor is a withdrawal that stands alone.

use jiff::Timestamp;

use crate::model::{GrantId, Held, Ledger, Span, State};

/// For how long a mass withdrawal waits for an operator before it is done all the same.
const HOLD: Span = Span::minutes(30);
/// So few withdrawals within the sliding hour are never held.
const FEW: usize = 10;

/// When withdrawals of `count` live grants in one revision take effect: now, or, if together with those of the last hour they
/// are at least 10 and more than a quarter of what was live, half an hour later.
pub fn effective(ledger: &Ledger, count: usize, now: Timestamp) -> Timestamp {
    if count < 2 {
        return now;
    }
    let recent = ledger.withdrawn.len();
    let live = ledger.grants.values().filter(|terms| terms.state == State::Live).count();
    let (gone, before) = (recent + count, recent + live);
    if gone >= FEW && gone * 4 > before { HOLD.after(now) } else { now }
}

/// What waits for an operator, or for its time, by what is on record.
pub fn waiting(ledger: &Ledger, now: Timestamp) -> Vec<Held> {
    ledger.grants.iter().filter_map(|(grant, terms)| holds(grant, &terms.state, now)).collect()
}

/// The same of one grant.
pub fn holds(grant: &GrantId, state: &State, now: Timestamp) -> Option<Held> {
    let (what, effective) = match state {
        State::Live => return None,
        State::Suspended { effective, .. } => ("suspended", *effective),
        State::Withdrawn { effective, .. } => ("withdrawn", *effective),
    };
    let reason = format!("{what} together with many others: held in case that it was a mistake");
    (effective > now).then(|| Held { grant: grant.clone(), reason, until: Some(effective) })
}

/// Whether a mass withdrawal waits: no end is moved later meanwhile.
pub fn holding(ledger: &Ledger, now: Timestamp) -> bool {
    ledger.grants.values().any(|terms| matches!(terms.state, State::Withdrawn { effective, .. } if effective > now))
}
