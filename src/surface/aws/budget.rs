//! How many calls a second AWS gets from us: one budget an API, account and region.
//!
//! AWS publishes few of its rates, and shares them with everybody in the account. So each budget begins at a modest rate,
//! creeps up with every answer, and halves whenever AWS says to slow down. A share of each is kept for revocations.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Calls a second at the beginning: what EC2 and Identity Center allow in all, by their documentation.
const RATE: f64 = 20.0;
/// Calls a second at most.
const MOST: f64 = 200.0;
/// Calls a second at least, however often AWS says to slow down.
const FLOOR: f64 = 0.2;
/// Calls that may come at once.
const BURST: f64 = 20.0;
/// Of them, those kept for revocations.
const RESERVE: f64 = 5.0;
/// What one answered call adds to the rate.
const CREEP: f64 = 0.1;

/// An API in an account and region: `123456789012/us-east-1/iam:AttachRolePolicy`.
pub type Api = Arc<str>;

#[derive(Debug, Default)]
pub struct Budget {
    buckets: Mutex<HashMap<Api, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Budget {
    /// Waits until a call may be made, and takes it. An urgent one (a revocation) may use the reserve too.
    pub async fn take(&self, api: &Api, urgent: bool) {
        while let Some(wait) = self.draw(api, urgent, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// AWS said to slow down.
    pub fn throttled(&self, api: &Api) {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, api, Instant::now());
        bucket.rate = (bucket.rate / 2.0).max(FLOOR);
        bucket.tokens = bucket.tokens.min(0.0);
        tracing::warn!(%api, rate = bucket.rate, "AWS says to slow down");
    }

    /// AWS answered.
    pub fn answered(&self, api: &Api) {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, api, Instant::now());
        bucket.rate = (bucket.rate + CREEP).min(MOST);
    }

    /// How long to wait before asking again; `None` if the call may be made.
    fn draw(&self, api: &Api, urgent: bool, now: Instant) -> Option<Duration> {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, api, now);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * bucket.rate).min(BURST);
        bucket.filled = now;
        let kept = if urgent { 0.0 } else { RESERVE };
        if bucket.tokens >= kept + 1.0 {
            bucket.tokens -= 1.0;
            return None;
        }
        let missing = (kept + 1.0 - bucket.tokens) / bucket.rate;
        Some(Duration::from_secs_f64(missing.clamp(0.01, 30.0)))
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Api, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bucket<'a>(buckets: &'a mut HashMap<Api, Bucket>, api: &Api, now: Instant) -> &'a mut Bucket {
    buckets.entry(api.clone()).or_insert(Bucket { rate: RATE, tokens: BURST, filled: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls pass at once, and how many more after a second.
    fn passes(budget: &Budget, urgent: bool, from: Instant) -> (usize, usize) {
        let api: Api = "1/r/iam:X".into();
        let at_once = (0..100).take_while(|_| budget.draw(&api, urgent, from).is_none()).count();
        let later = from + Duration::from_secs(1);
        (at_once, (0..100).take_while(|_| budget.draw(&api, urgent, later).is_none()).count())
    }

    #[test]
    fn a_share_is_kept_for_revocations() {
        let budget = Budget::default();
        let now = Instant::now();
        assert_eq!(passes(&budget, false, now), (15, 20 - 5));
        // What grants have left over is there for revocations, at the same moment.
        assert_eq!(passes(&budget, true, now + Duration::from_secs(1)).0, 5);
    }

    #[test]
    fn throttling_halves_the_rate_and_answers_bring_it_back() {
        let (budget, api): (_, Api) = (Budget::default(), "1/r/iam:X".into());
        for _ in 0..3 {
            budget.throttled(&api);
        }
        let rate = |budget: &Budget| budget.buckets().get(&api).map(|bucket| bucket.rate).unwrap();
        assert_eq!(rate(&budget), RATE / 8.0);
        assert!(budget.draw(&api, true, Instant::now()).is_some(), "nothing passes at once any more");
        for _ in 0..100 {
            budget.throttled(&api);
        }
        assert_eq!(rate(&budget), FLOOR, "but it never stops");
        for _ in 0..10_000 {
            budget.answered(&api);
        }
        assert_eq!(rate(&budget), MOST);
    }

    #[test]
    fn a_call_waits_just_until_it_may_be_made() {
        let (budget, api): (_, Api) = (Budget::default(), "1/r/iam:X".into());
        let began = Instant::now();
        let mut now = began;
        for _ in 0..35 {
            while let Some(wait) = budget.draw(&api, false, now) {
                now += wait;
            }
        }
        let passed = (now - began).as_secs_f64();
        assert!((0.99..1.3).contains(&passed), "15 at once, 20 more at 20 a second: {passed}");
    }
}
