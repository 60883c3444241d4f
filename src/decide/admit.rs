//! The life of grants: what a revision begins, moves and ends. Each decision is a journal record; nothing is kept elsewhere.

use jiff::Timestamp;

use crate::model::{
    Cause, Finding, Freeze, GrantId, Held, Ledger, Origin, Policy, Record, Standstill, State, Still, Terms, Text,
};

use super::{
    Allows,
    both::both,
    desire::over_of,
    guard::{effective, holds, waiting},
    intake::{Bearing, Deletions, Footing, Intake},
    revision::Revision,
};

/// What a revision comes to.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Ends and suspensions: they count even if they cannot be journaled now.
    pub ends: Vec<Record>,
    /// Everything else, in order.
    pub records: Vec<Record>,
    pub held: Vec<Held>,
    pub findings: Vec<Finding>,
    /// Why nothing new may be granted, besides what the ledger says.
    pub standstill: Option<Standstill>,
    /// The next moment at which it would say otherwise of what is not accepted.
    pub edge: Option<Timestamp>,
}

/// The grants whose end has come, or was moved earlier by the configuration. Needs no revision, so that expiry goes on without Git.
pub fn close(ledger: &Ledger, policy: &impl Allows, now: Timestamp) -> Vec<Record> {
    let records = ledger.grants.iter().filter_map(|(grant, terms)| {
        if over_of(grant, terms, policy) <= now {
            let withdrawn = matches!(terms.state, State::Withdrawn { effective, .. } if effective <= now);
            let cause = if withdrawn { Cause::Withdrawn } else { Cause::Expired };
            return Some(Record::Finish { grant: grant.clone(), cause });
        }
        // On record, because a configuration may shorten and never lengthen: not even back.
        let until = policy.longest(grant, terms).after(terms.start);
        (until < terms.until).then(|| Record::Shorten { grant: grant.clone(), until })
    });
    records.collect()
}

/// Decides what a revision changes. Expects that [`close`] was folded in already, so that nothing that is over can be moved.
/// Asked again with the same revision it answers only what time has changed.
pub fn admit(ledger: &Ledger, intake: &Intake, policy: &Policy, now: Timestamp) -> Admission {
    let mut admission = Admission { findings: intake.findings.clone(), ..Admission::default() };
    if let Bearing::Unread(why) = &intake.bearing {
        // Nothing is known of it but what it surely takes away. It is no reason to freeze, and none to go on.
        admission.standstill = Some(Standstill::new(Still::Unread, why));
        admission.suspend(ledger, &intake.deletions, now);
        return admission;
    }
    if let Some((reason, accept)) = standstill(ledger, intake) {
        // By what it is about, not by its words.
        let known =
            |freeze: &Freeze| freeze.accept == accept && (accept || freeze.commit.as_ref() == Some(&intake.head));
        if !ledger.freeze.as_ref().is_some_and(known) {
            let commit = Some(intake.head.clone());
            admission.records.push(Record::Freeze { commit, reason: reason.into(), accept });
        }
        admission.suspend(ledger, &intake.deletions, now);
        return admission;
    }
    if ledger.freeze.is_some() {
        admission.records.push(Record::Thaw { commit: intake.head.clone() });
    }
    if let (true, Footing::Broken(why)) = (policy.trust.proves(), &intake.footing) {
        let why = format!("nobody can be trusted: {why}");
        admission.standstill = Some(Standstill::new(Still::Untrusted, why));
    }
    let mut admission = Revision::read(ledger, intake, policy, now, admission);
    if ledger.head.as_ref() != Some(&intake.head) {
        admission.records.push(Record::Head { commit: intake.head.clone(), previous: ledger.head.clone() });
    }
    admission.held.sort();
    admission
}

/// Why the head cannot be accepted, and whether only an operator ends that.
fn standstill(ledger: &Ledger, intake: &Intake) -> Option<(String, bool)> {
    if let Some(freeze) = ledger.freeze.as_ref().filter(|freeze| freeze.accept) {
        return Some((freeze.reason.to_string(), true));
    }
    if let Bearing::Bad(why) = &intake.bearing {
        return Some((why.clone(), false));
    }
    let accepted = ledger.head.as_ref()?;
    (intake.bearing == Bearing::Strays).then(|| {
        let (head, accepted) = (intake.head.short(), accepted.short());
        let what = format!("{head} does not have the accepted head {accepted} on its first-parent line");
        (format!("{what}: history was rewritten, or merged the wrong way round"), true)
    })
}

impl Admission {
    /// Withdrawal needs no trust: what is deleted in a head that cannot be accepted goes at once, and comes back only with an
    /// accepted one.
    fn suspend(&mut self, ledger: &Ledger, deletions: &Deletions, now: Timestamp) {
        let mut gone = Vec::new();
        // A file's path belongs to the id that it names.
        for (id, deleted, terms) in both(deletions.by_id(), &ledger.grants) {
            if terms.state == State::Live {
                gone.extend(deleted.of(places(ledger, id, terms)).map(|by| (id, by)));
            }
        }
        let effective = effective(ledger, gone.len(), now);
        self.held = waiting(ledger, now);
        for (grant, by) in gone {
            self.held.extend(holds(grant, &State::Suspended { effective, by: by.clone() }, now));
            let Origin { commit, author } = &**by;
            let (commit, author) = (commit.clone(), author.clone());
            self.ends.push(Record::Suspend { grant: grant.clone(), commit, author, effective });
        }
        self.held.sort();
    }
}

/// Where a grant's file lies: where it was accepted, or where it was moved to since without being accepted there.
pub fn places<'a>(ledger: &'a Ledger, id: &GrantId, terms: &'a Terms) -> Vec<&'a Text> {
    let chain = ledger.withheld.get(id).map(|withheld| &withheld.chain);
    match chain.filter(|chain| !chain.paths.is_empty() && !chain.paths.contains_key(&terms.path)) {
        Some(chain) => chain.paths.keys().collect(),
        None => vec![&terms.path],
    }
}

/// Whether a grant has not begun yet: no access was given for it. Then what brought it is judged again until it does.
pub fn waits(terms: &Terms) -> bool {
    !terms.links.is_empty()
}
