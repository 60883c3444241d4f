//! Nothing changed, nothing decided. What a decision rests on is told here, once; as long as none of it moved and no moment has come
//! that it depends on, it stands. The comparison itself knows nothing of this: it is made anew from all that there is, or not at all.
//!
//! What moves by being changed is [`Counted`]: the ledger, why the journal cannot be written, the survey and what is being looked
//! at, the revision, what this process accepted, failures without a line, calls under way. What is cheap is reckoned at each turn and
//! compared ([`Gates`]): whether the clock, Git and the state folder are trusted, how long Git was silent, what it is asked again.
//!
//! What moves by time is an edge, the next moment at which anything would be decided otherwise. Whoever adds a place that reads `now`
//! adds its edge. By now these are all:
//!
//! - `decide::desire`: start, end, and for what is suspended the last end of each grant; `close` acts at the same ends.
//! - `decide::plan`, `decide::hold`: the next try of what failed, the settling of what is revoked, looks at what is blind, answers that
//!   are asked for again.
//! - `decide::admit`: how long proofs count; `from`, `until` and the age of files that are not accepted. Withdrawals that are held
//!   count as ends.
//! - the survey: looks are fresh for a minute, and are dropped after ten.
//! - this module: selectors that are asked again, the journal's next try, Git's.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::model::{Policy, Standstill};

#[cfg(doc)]
use super::counted::Counted;
use super::parts::Outlook;

/// A decision is made anew after so long, by the steady clock, though nothing seems to have moved: if ever a dependency is
/// forgotten above, an end is late by no more than that. With 100,000 grants a decision takes a fiftieth of it.
pub const BELT: Duration = Duration::from_secs(60);

/// What a turn reckons anew each time: it takes no time, and moves with the clock or in other tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Why the machine's clock is not trusted.
    pub distrust: Option<Standstill>,
    /// Why the head cannot be read, or not be kept.
    pub unread: Option<Standstill>,
    /// The branch is gone.
    pub vanished: bool,
    /// Git told this process what it says, or that it cannot.
    pub heard: bool,
    /// It was asked for the first time a moment ago.
    pub unheard: bool,
    /// What does not work with Git.
    pub source: Option<String>,
    /// When Git is tried again.
    pub again: Option<Timestamp>,
}

/// All that a decision rests on beside time.
#[derive(Debug, PartialEq)]
pub struct Stamp {
    pub gates: Gates,
    /// Git was silent for too long.
    pub silent: Option<Standstill>,
    /// The numbers of what counts its changes.
    pub numbers: [u64; 11],
    pub policy: Same<Policy>,
    /// When the engine's time last leapt.
    pub leapt: Timestamp,
}

/// The very same, and not one that looks like it.
#[derive(Debug)]
pub struct Same<T>(pub Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The last decision, if it may stand.
#[derive(Debug, Default)]
pub struct Still {
    last: Option<Last>,
    /// How many were made.
    count: u64,
}

#[derive(Debug)]
struct Last {
    outlook: Arc<Outlook>,
    stamp: Stamp,
    edge: Option<Timestamp>,
    made: Duration,
}

impl Last {
    fn stands(&self, stamp: &Stamp, now: Timestamp) -> bool {
        self.edge.is_none_or(|edge| now < edge) && self.stamp == *stamp
    }
}

impl Still {
    /// The last decision, if it stands.
    pub fn stands(&self, stamp: &Stamp, now: Timestamp, steady: Duration) -> Option<Arc<Outlook>> {
        let young = |last: &&Last| steady.saturating_sub(last.made) < BELT;
        self.last.as_ref().filter(|last| young(last) && last.stands(stamp, now)).map(|last| last.outlook.clone())
    }

    /// Whether the last decision would stand but for its age: then the next one must be the same.
    pub fn aged(&self, stamp: &Stamp, now: Timestamp) -> bool {
        self.last.as_ref().is_some_and(|last| last.stands(stamp, now))
    }

    /// A decision was made. `stamp`: what it rests on; `None` if it may not stand, because it changes what it rests on.
    pub fn made(&mut self, outlook: &Arc<Outlook>, stamp: Option<Stamp>, edge: Option<Timestamp>, made: Duration) {
        self.count += 1;
        self.last = stamp.map(|stamp| Last { outlook: outlook.clone(), stamp, edge, made });
    }

    /// How many decisions were made so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When the last one is made anew in any case.
    pub fn belt(&self) -> Option<Duration> {
        self.last.as_ref().map(|last| last.made.saturating_add(BELT))
    }
}
