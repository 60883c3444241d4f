//! Why nothing is granted or extended, as far as Git is the reason. Ends never pass here.

use jiff::Timestamp;

use crate::{
    decide::moment,
    model::{Ledger, Policy, Record, SourceError},
};

/// A branch that is gone freezes, until an operator accepts a head: whoever can take it away can also put another one there.
pub fn vanished(trouble: Option<&SourceError>, ledger: &Ledger) -> Option<Record> {
    let Some(SourceError::NoBranch(why)) = trouble else { return None };
    let frozen = ledger.freeze.as_ref().is_some_and(|freeze| freeze.accept);
    (!frozen).then(|| Record::Freeze { commit: None, reason: why.as_str().into(), accept: true })
}

/// Tells once what a person should look at now: the records are written once.
pub fn alert(records: &[Record], ends: &[Record]) {
    for record in records.iter().chain(ends) {
        match record {
            Record::Freeze { reason, .. } => tracing::error!(%reason, "granting is frozen; ends go on"),
            Record::Suspend { grant, commit, .. } => {
                tracing::error!(%grant, %commit, "suspended: a head that is not accepted deletes its file");
            }
            Record::Withhold { grant, what } => tracing::warn!(%grant, reason = %what.reason, "withheld"),
            _ => {}
        }
    }
}

pub fn frozen(ledger: &Ledger) -> Option<String> {
    let freeze = ledger.freeze.as_ref()?;
    let help = "; `grantd source accept` lets it go on from a head that you name";
    Some(format!("granting is frozen: {}{}", freeze.reason, if freeze.accept { help } else { "" }))
}

/// Git was silent for longer than may be: a withdrawal may wait there, or be kept from us. `fetched`: when it last answered
/// this process; before that the last head that was recorded counts.
pub fn silent(fetched: Option<Timestamp>, ledger: &Ledger, policy: &Policy, now: Timestamp) -> Option<String> {
    let answered = fetched.or(ledger.headed)?;
    let limit = policy.trust.max_age;
    let why = || format!("Git has not answered since {}, for longer than `max_age`, {limit}", moment(answered));
    (limit.after(answered) < now).then(why)
}
