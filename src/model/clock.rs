use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BoxFuture, Text};

/// What a sleeper waits on.
pub type Wait<'a> = BoxFuture<'a, ()>;

/// The only source of time. Real for AWS; fast or hand-driven on the world.
pub trait Clock: Send + Sync {
    /// The time now, UTC. It may be behind an earlier answer if the machine's clock was stepped: callers that need order
    /// take the ledger's high-water mark into account.
    fn now(&self) -> Timestamp;

    /// How much time has passed since a moment of its own, by a clock that nobody can step.
    fn steady(&self) -> Duration;

    /// Names the boot of the machine in which [`Clock::steady`] counts: within one, what has passed can be told across
    /// processes. Empty where that is not known.
    fn boot(&self) -> Text;

    /// Resolves when `until` has come, by `now` or by the time that has passed, whichever is sooner. Resolves at once if
    /// that is past. A caller looks at `now` again.
    fn sleep(&self, until: Timestamp) -> Wait<'_>;
}

/// How the engine's time hangs on the steady clock of one boot: by what lies between them, the engine's time goes on through
/// whatever is done to the machine's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Era {
    pub boot: Text,
    /// The engine's time when the steady clock was at zero.
    pub zero: Timestamp,
    /// What was reckoned by the clock since then was reckoned by this era's, which may be found to be wrong.
    pub since: Timestamp,
    /// The machine's clock was behind the journal when the boot was first seen: which of the two was wrong nobody knows.
    #[serde(default)]
    pub unsure: bool,
}

impl Era {
    /// The engine's time after so much of the boot.
    pub fn at(&self, steady: Duration) -> Timestamp {
        SignedDuration::try_from(steady).ok().and_then(|steady| self.zero.checked_add(steady).ok()).unwrap_or(self.zero)
    }
}
