use jiff::Timestamp;

use super::BoxFuture;

/// What a sleeper waits on.
pub type Wait<'a> = BoxFuture<'a, ()>;

/// The only source of time. Real for AWS; fast or hand-driven on the world.
pub trait Clock: Send + Sync {
    /// The time now, UTC. It may be behind an earlier answer if the machine's clock was stepped: callers that need order
    /// take the ledger's high-water mark into account.
    fn now(&self) -> Timestamp;

    /// Resolves at or after `until`. Resolves at once if that is past. May resolve early if the clock is stepped, so a
    /// caller looks at `now` again.
    fn sleep(&self, until: Timestamp) -> Wait<'_>;
}
