//! Why nothing is granted or extended, as far as Git is the reason. Ends never pass here.

use jiff::Timestamp;

use crate::{
    decide::{moment, reduced, render::count},
    model::{Ledger, Line, Origin, Policy, Record, Source, SourceError, Standstill, State, Still, Terms, Text},
};

/// A branch that is gone freezes, until an operator accepts a head: whoever can take it away can also put another one there.
pub fn vanished(trouble: Option<&SourceError>, ledger: &Ledger) -> Option<Record> {
    let Some(SourceError::NoBranch(why)) = trouble else { return None };
    let frozen = ledger.freeze.as_ref().is_some_and(|freeze| freeze.accept);
    (!frozen).then(|| Record::Freeze { commit: None, reason: why.as_str().into(), accept: true })
}

/// Tells what a person should look at now, once: as it was written.
pub fn alert(lines: &[Line]) {
    for line in lines {
        match &line.record {
            Record::Freeze { reason, .. } => tracing::error!(%reason, "granting is frozen; ends go on"),
            Record::Suspend { grant, commit, effective, .. } if *effective > line.at => {
                let until = moment(*effective);
                tracing::error!(%grant, %commit, "suspended with many others from {until} on: a head that is not accepted deletes its file");
            }
            Record::Suspend { grant, commit, .. } => {
                tracing::error!(%grant, %commit, "suspended: a head that is not accepted deletes its file");
            }
            Record::Dispute { binding, .. } => {
                tracing::warn!(%binding, "disputed: it is there and may be ours; it ends with its grant")
            }
            Record::Drift { binding, .. } => tracing::warn!(%binding, "drift: somebody took it away"),
            Record::Gone { binding, .. } => tracing::warn!(%binding, "its place no longer exists"),
            Record::Resolve { grant, places, .. } if places.is_empty() => {
                tracing::warn!(%grant, "no host matched when it began: it grants nothing there");
            }
            Record::Withhold { grant, what } => tracing::warn!(%grant, reason = %what.reason, "withheld"),
            _ => {}
        }
    }
}

/// Live grants lie outside the folder that is read: their deletion would not be seen, and a head in which they are gone must not be
/// accepted before it is. An operator who named the head while this folder was read has said what there is.
pub fn elsewhere(source: &dyn Source, ledger: &Ledger, now: Timestamp) -> Option<Standstill> {
    // One whose withdrawal is held may be taken back.
    let over = |state: &State| matches!(state, State::Withdrawn { effective, .. } if *effective <= now);
    let gone = |terms: &&Terms| !over(&terms.state) && !source.covers(&terms.path);
    let mut outside = ledger.grants.values().map(AsRef::as_ref).filter(gone);
    let named = ledger.adopted && ledger.folder.as_ref().is_none_or(|folder| source.covers(&format!("{folder}/x")));
    let first = outside.next().filter(|_| !named)?;
    let text = format!(
        "{} outside `path` of the configuration, such as {}: nothing is read there, a deletion neither, so no head is accepted; \
         correct `path`, or, if the folder was moved, `grantd source accept` goes on from a head that you name",
        count(1 + outside.count(), "live grant"),
        first.path
    );
    Some(Standstill::new(Still::Elsewhere, text))
}

/// Whether a line tells what happened just now: that drift goes on where an absence has settled is none.
pub fn is_news(record: &Record, ledger: &Ledger) -> bool {
    let Record::Drift { binding, .. } = record else { return true };
    ledger.owned.get(binding).is_none_or(|owned| !owned.hold.settles())
}

pub fn frozen(ledger: &Ledger) -> Option<Standstill> {
    let freeze = ledger.freeze.as_ref()?;
    let help = "; `grantd source accept` lets it go on from a head that you name";
    let why = format!("granting is frozen: {}{}", freeze.reason, if freeze.accept { help } else { "" });
    Some(Standstill::new(Still::Frozen, why))
}

/// Git was silent for longer than may be: a withdrawal may wait there, or be kept from us. `fetched`: when it last answered
/// this process; before that the last head that was recorded counts.
pub fn silent(fetched: Option<Timestamp>, ledger: &Ledger, policy: &Policy, now: Timestamp) -> Option<Standstill> {
    let answered = fetched.or(ledger.headed)?;
    let limit = policy.trust.max_age;
    let why = || format!("Git has not answered since {}, for longer than `max_age`, {limit}", moment(answered));
    (limit.after(answered) < now).then(|| Standstill::new(Still::Silent, why()))
}

/// What was fetched cannot be kept, because the disk is full for instance: it counts for what it takes away.
pub fn unkept(why: Option<Text>) -> Option<Standstill> {
    let why = why?;
    let text = format!("what Git brings cannot be kept in the state folder, and only takes away until it can: {why}");
    Some(Standstill::new(Still::Unkept, text))
}

/// What somebody else could change says who gets access.
pub fn unguarded(policy: &Policy) -> Option<Standstill> {
    policy.unguarded.as_ref().map(|why| Standstill::new(Still::Unguarded, &**why))
}

/// What of a revision's record takes something away, or keeps what is there: that waits for no journal, no clock and no guard. An edit
/// to an earlier end or to fewer entries, and no more of it than that, because its head is not accepted; and a withdrawal that was held and is taken back.
pub fn less(record: &Record, ledger: &Ledger) -> Option<Record> {
    match record {
        Record::Restore { .. } => Some(record.clone()),
        Record::Amend { grant, asks, until, commit, author, .. } => {
            let origin = Origin { commit: commit.clone(), author: author.clone() };
            reduced(grant, ledger.grants.get(grant)?, &origin, asks, *until)
        }
        _ => None,
    }
}

/// What may begin by now, as the ledger says, was not judged by this process yet: a key may be revoked since, or the file deleted
/// while nobody ran. `heard`: Git answered this process, or failed to.
pub fn unjudged(read: bool, heard: bool, policy: &Policy) -> Option<Standstill> {
    let (waits, why) = if policy.trust.proves() {
        (!read, "nobody has looked yet at who stands behind the grants: that needs Git")
    } else {
        (!read && !heard, "Git has not been asked yet what is withdrawn")
    };
    waits.then(|| Standstill::new(Still::Unjudged, why))
}
