use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::forge::Forge;

/// How many deliveries are remembered.
pub(super) const DELIVERIES: usize = 1024;
/// How often the log is told of refusals at most.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// The last deliveries, by hash: what others chose has one length here. It forgets the oldest.
#[derive(Default)]
pub(super) struct Deliveries {
    order: VecDeque<[u8; 32]>,
    known: BTreeSet<[u8; 32]>,
}

impl Deliveries {
    /// Remembers a delivery. Answers whether it is new.
    pub(super) fn note(&mut self, forge: Forge, id: &[u8]) -> bool {
        let hash: [u8; 32] =
            Sha256::new().chain_update(forge.name()).chain_update([0]).chain_update(id).finalize().into();
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > DELIVERIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.order.len(), self.known.len())
    }
}

/// Keeps a flood of requests from becoming a flood of lines.
#[derive(Default)]
pub(super) struct Hush {
    told: Option<Instant>,
    silent: u64,
}

impl Hush {
    /// Whether to tell of a refusal now; then, of how many nothing was said since the last one.
    pub(super) fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < QUIET) {
            self.silent = self.silent.saturating_add(1);
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}
