use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::GrantId;

/// Who was withdrawn when; in JSON a list of pairs, the oldest first. Every line of the journal looks at it, and so many may
/// be withdrawn at once: it is known by time and by grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawn {
    by_time: BTreeSet<(Timestamp, GrantId)>,
    by_grant: BTreeMap<GrantId, Timestamp>,
}

impl Withdrawn {
    pub fn insert(&mut self, at: Timestamp, grant: GrantId) {
        self.remove(&grant);
        self.by_time.insert((at, grant.clone()));
        self.by_grant.insert(grant, at);
    }

    pub fn remove(&mut self, grant: &GrantId) {
        if let Some(at) = self.by_grant.remove(grant) {
            self.by_time.remove(&(at, grant.clone()));
        }
    }

    /// Drops what was before `horizon`.
    pub fn fade(&mut self, horizon: Timestamp) {
        while self.by_time.first().is_some_and(|(at, _)| *at < horizon) {
            if let Some((_, grant)) = self.by_time.pop_first() {
                self.by_grant.remove(&grant);
            }
        }
    }

    /// Time was put right: nothing lies after `at`.
    pub fn clamp(&mut self, at: Timestamp) {
        let all = std::mem::take(self);
        all.by_grant.into_iter().for_each(|(grant, when)| self.insert(when.min(at), grant));
    }

    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }
}

impl Serialize for Withdrawn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(&self.by_time)
    }
}

impl<'de> Deserialize<'de> for Withdrawn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut all = Self::default();
        let pairs = Vec::<(Timestamp, GrantId)>::deserialize(from)?;
        pairs.into_iter().for_each(|(at, grant)| all.insert(at, grant));
        Ok(all)
    }
}
