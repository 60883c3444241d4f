use std::time::Duration;

use jiff::Timestamp;

use super::BoxFuture;

/// What a sleeper waits on.
pub type Wait<'a> = BoxFuture<'a, ()>;

/// The only source of time. Real for AWS; fast or hand-driven on the world.
pub trait Clock: Send + Sync {
    /// The time now, UTC. It may be behind an earlier answer if the machine's clock was stepped: callers that need order
    /// take the ledger's high-water mark into account.
    fn now(&self) -> Timestamp;

    /// How much time has passed since a moment of its own, by a clock that nobody can step.
    fn steady(&self) -> Duration;

    /// Resolves when `until` has come, by `now` or by the time that has passed, whichever is sooner. Resolves at once if
    /// that is past. A caller looks at `now` again.
    fn sleep(&self, until: Timestamp) -> Wait<'_>;
}
