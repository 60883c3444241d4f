//! The engine's own time, which no step of the machine's clock can turn back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::moment,
    model::{Clock, Span},
};

/// How far the clock may lie behind before it is not trusted to grant by.
const TOLERANCE: Span = Span::minutes(2);

/// When the process began, by each of its clocks.
pub struct Age {
    began: Timestamp,
    steady: Duration,
    /// The journal's latest line at the beginning.
    latest: Timestamp,
}

impl Age {
    pub fn new(clock: &dyn Clock, latest: Option<Timestamp>) -> Self {
        let began = clock.now();
        Self { began, steady: clock.steady(), latest: latest.unwrap_or(began) }
    }

    /// The latest of: what the clock says; what it said at the beginning and the time that has passed since; `latest`, the
    /// time of the journal's latest line. If the clock was behind the journal at the beginning, nobody knows which of the
    /// two was wrong: then time goes on from the journal's, at half its pace until the clock has caught up, so that ends and
    /// attempts go on and the clock can be right again.
    pub fn now(&self, clock: &dyn Clock, latest: Option<Timestamp>) -> Timestamp {
        let passed = clock.steady().saturating_sub(self.steady);
        let after = |from: Timestamp, passed: Duration| {
            SignedDuration::try_from(passed).ok().and_then(|passed| from.checked_add(passed).ok()).unwrap_or(from)
        };
        let floors = [after(self.began, passed), after(self.latest, passed / 2)];
        floors.into_iter().chain(latest).fold(clock.now(), Timestamp::max)
    }

    /// Why the clock is not trusted to grant by: an end reckoned from it would lie too late.
    pub fn distrust(&self, clock: Timestamp, now: Timestamp) -> Option<String> {
        (clock < TOLERANCE.before(now)).then(|| {
            let (clock, now) = (moment(clock), moment(now));
            format!("the clock says {clock}; by the journal and by what has passed it is {now}: set the clock, or restart grantd if it is right now")
        })
    }
}
