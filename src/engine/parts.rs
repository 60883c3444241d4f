use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    decide::{Intake, Targets},
    model::{
        Clock, Commit, Event, Finding, GrantId, Ledger, Plan, Policy, Provenance, Read, Reading, Recalled, Source,
        SourceError, Standstill, Verb,
    },
};

use super::intake::Librarian;

/// What the reading half is made of.
pub struct Parts {
    pub targets: Arc<Targets>,
    pub readers: BTreeMap<&'static str, Arc<dyn Read>>,
    pub source: Arc<dyn Source>,
    pub clock: Arc<dyn Clock>,
    pub policy: Arc<Policy>,
}

/// Everything that happens, handled one by one by whoever runs the cycle.
pub enum Happening {
    /// The branch's head, or why there is none.
    Fetched(Result<Commit, SourceError>),
    /// A revision was read, or could not be.
    Taken(Box<Taken>),
    /// A look at the cloud came back that began at that moment.
    Read(Timestamp, Vec<Reading>),
    /// What became of calls whose answers were lost, by their intents.
    Recalled(Vec<(u64, Recalled)>),
    /// A writer tells of a step.
    Told(Event),
    /// A writer is through with these intents: whatever it did not tell of is of unknown fate.
    Through(Vec<u64>),
}

/// A revision, and who read it.
pub struct Taken {
    pub head: Commit,
    pub librarian: Librarian,
    pub intake: Result<Intake, SourceError>,
    /// What it was read under.
    pub policy: Arc<Policy>,
}

/// What a turn decided, for whoever shows or does it.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    pub plan: Plan,
    pub findings: Vec<Finding>,
    /// The head that the findings are about.
    pub head: Option<Commit>,
    /// Why nothing is granted, if so.
    pub standstill: Option<Standstill>,
    /// Why the last fetch failed.
    pub source: Option<String>,
}

/// Who stands behind the grants that the steps give access for.
pub fn sources(outlook: &Outlook, ledger: &Ledger) -> Vec<Provenance> {
    let gives = outlook.plan.steps.iter().filter(|step| step.verb != Verb::Revoke);
    let grants: BTreeSet<&GrantId> = gives.flat_map(|step| step.holders.keys()).collect();
    let from = |id: &GrantId| {
        let terms = ledger.grants.get(id)?;
        Some(Provenance {
            grant: id.clone(),
            path: terms.path.clone(),
            commit: terms.origin.commit.clone(),
            author: terms.origin.author.clone(),
            verdict: terms.vouched.clone(),
        })
    };
    grants.into_iter().filter_map(from).collect()
}
