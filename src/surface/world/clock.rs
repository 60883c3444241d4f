//! Clocks: the real one, a fast one for demonstrations, and one that is set by hand.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::watch;

use super::super::model::{Clock, Text, Wait, word_or_map};

/// The longest that a sleeper goes without looking at the clock, in real time: a stepped clock is noticed within this.
const SLICE: Duration = Duration::from_secs(1);

/// How a world's time goes: `real`, or `{ start: 2026-11-20T09:00:00Z, speed: 60 }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// As everywhere.
    #[default]
    Real,
    #[serde(untagged)]
    Fast(Fast),
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let real = |text: &str| (text == "real").then_some(Self::Real);
        word_or_map(from, "`real` or `{ start: 2026-11-20T09:00:00Z, speed: 60 }`", real, Self::Fast)
    }
}

/// A time that begins at a moment of its own and passes faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fast {
    /// The world's time at its beginning.
    pub start: Timestamp,
    /// How many seconds pass in the world in one real second.
    pub speed: NonZeroU32,
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port through which everything else takes the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn steady(&self) -> Duration {
        // Goes on while the machine is suspended.
        let passed = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (u64::try_from(passed.tv_sec), u32::try_from(passed.tv_nsec));
        Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
    }

    fn boot(&self) -> Text {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| "".into(), |id| id.trim().into())
    }

    fn sleep(&self, until: Timestamp) -> Wait<'_> {
        Box::pin(doze(self, until, 1))
    }
}

/// A clock that runs `speed` times as fast as the machine's, from `start` on. Processes that share `since` agree on it.
#[derive(Debug, Clone, Copy)]
pub struct FastClock {
    fast: Fast,
    since: Timestamp,
}

impl FastClock {
    /// `since` is the real moment at which the world's time was `fast.start`.
    pub const fn new(fast: Fast, since: Timestamp) -> Self {
        Self { fast, since }
    }

    fn at(&self, real: Timestamp) -> Timestamp {
        let passed = real.duration_since(self.since).as_nanos() * i128::from(self.fast.speed.get());
        let passed = SignedDuration::try_from_nanos_i128(passed).unwrap_or(SignedDuration::MAX);
        self.fast.start.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        self.at(RealClock.now())
    }

    fn steady(&self) -> Duration {
        RealClock.steady().saturating_mul(self.fast.speed.get())
    }

    fn boot(&self) -> Text {
        // Another beginning is another time.
        format!("{} since {}", RealClock.boot(), self.since).into()
    }

    fn sleep(&self, until: Timestamp) -> Wait<'_> {
        Box::pin(doze(self, until, self.fast.speed.get()))
    }
}

/// Sleeps in slices until the clock, which runs `speed` times as fast as the machine's, has come to `until`, or as much time
/// has passed as it had to go: a clock that is stepped back makes nobody late.
async fn doze(clock: &impl Clock, until: Timestamp, speed: u32) {
    let Ok(whole) = Duration::try_from(until.duration_since(clock.now())) else { return };
    let end = clock.steady().saturating_add(whole);
    loop {
        let Ok(left) = Duration::try_from(until.duration_since(clock.now())) else { return };
        let left = left.min(end.saturating_sub(clock.steady()));
        if left.is_zero() {
            return;
        }
        // At least a millisecond, tokio's own grain: a shorter wait would spin.
        tokio::time::sleep((left / speed).clamp(Duration::from_millis(1), SLICE)).await;
    }
}

/// A clock that goes only when it is told to.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    steady: Mutex<Duration>,
    boots: Mutex<u32>,
    /// When the sleepers want to wake, each with a number to tell them apart.
    sleepers: Mutex<(u64, BTreeSet<(Timestamp, u64)>)>,
}

impl ManualClock {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
            steady: Mutex::default(),
            boots: Mutex::default(),
            sleepers: Mutex::default(),
        }
    }

    /// Lets time pass until then, and wakes whoever slept until then. A moment that is past is a step: no time passes.
    pub fn set(&self, now: Timestamp) {
        let passed = now.duration_since(self.now.send_replace(now));
        *self.steady.lock().unwrap_or_else(PoisonError::into_inner) += Duration::try_from(passed).unwrap_or_default();
    }

    /// Steps the clock, either way: no time passes.
    pub fn step(&self, by: SignedDuration) {
        self.now.send_modify(|now| *now = now.checked_add(by).unwrap_or(*now));
    }

    /// The machine begins anew: what has passed counts from zero.
    pub fn reboot(&self) {
        *self.boots.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        *self.steady.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
    }

    pub fn advance(&self, by: SignedDuration) {
        self.set(self.now().checked_add(by).unwrap_or(Timestamp::MAX));
    }

    /// The earliest moment that somebody sleeps until.
    pub fn next(&self) -> Option<Timestamp> {
        self.sleepers().1.first().map(|(until, _)| *until)
    }

    fn sleepers(&self) -> MutexGuard<'_, (u64, BTreeSet<(Timestamp, u64)>)> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a sleeper off the list, also when its sleep is dropped.
struct Sleeper<'a>(&'a ManualClock, (Timestamp, u64));

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.sleepers().1.remove(&self.1);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn steady(&self) -> Duration {
        *self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn boot(&self) -> Text {
        format!("boot {}", *self.boots.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    fn sleep(&self, until: Timestamp) -> Wait<'_> {
        Box::pin(async move {
            let key = {
                let mut sleepers = self.sleepers();
                sleepers.0 += 1;
                let key = (until, sleepers.0);
                sleepers.1.insert(key);
                key
            };
            let _sleeper = Sleeper(self, key);
            // The sender lives as long as `self`: the wait cannot fail.
            let _ = self.now.subscribe().wait_for(|now| *now >= until).await;
        })
    }
}
