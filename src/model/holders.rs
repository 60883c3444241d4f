use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AskId, GrantId};

/// Which grants rely on a binding, and by which of their entries; in JSON a map of lists.
///
/// Sorted pairs and no map of sets, and shared: there are as many of these as bindings, mostly of one pair, and mostly the
/// same for all bindings of an entry. None of them costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders(Option<Arc<Vec<Pair>>>);

type Pair = (GrantId, AskId);

impl Holders {
    pub fn insert(&mut self, grant: GrantId, ask: AskId) {
        let pair = (grant, ask);
        if let Err(place) = self.pairs().binary_search(&pair) {
            let pairs = Arc::make_mut(self.0.get_or_insert_default());
            pairs.reserve_exact(1);
            pairs.insert(place, pair);
        }
    }

    fn pairs(&self) -> &[Pair] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }

    pub fn contains(&self, grant: &GrantId, ask: &AskId) -> bool {
        self.asks(grant).any(|held| held == ask)
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        let mut all = self.clone();
        others.iter().for_each(|(grant, ask)| all.insert(grant.clone(), *ask));
        all
    }

    /// These without those.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let left = self.iter().filter(|(grant, ask)| !others.contains(grant, ask));
        left.map(|(grant, ask)| (grant.clone(), *ask)).collect()
    }

    /// The grants, each once, in order.
    pub fn keys(&self) -> impl Iterator<Item = &GrantId> {
        self.pairs()
            .chunk_by(|(one, _), (other, _)| one == other)
            .filter_map(|pairs| pairs.first())
            .map(|(grant, _)| grant)
    }

    /// The entries of one grant, in order.
    pub fn asks(&self, grant: &GrantId) -> impl Iterator<Item = &AskId> {
        self.pairs().iter().filter(move |(holder, _)| holder == grant).map(|(_, ask)| ask)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &AskId)> {
        self.pairs().iter().map(|(grant, ask)| (grant, ask))
    }
}

impl FromIterator<(GrantId, AskId)> for Holders {
    fn from_iter<I: IntoIterator<Item = (GrantId, AskId)>>(pairs: I) -> Self {
        let mut all = Self::default();
        pairs.into_iter().for_each(|(grant, ask)| all.insert(grant, ask));
        all
    }
}

impl Serialize for Holders {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.keys().map(|grant| (grant, self.asks(grant).collect::<Vec<_>>())))
    }
}

impl<'de> Deserialize<'de> for Holders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<GrantId, BTreeSet<AskId>>::deserialize(from)?;
        Ok(map.into_iter().flat_map(|(grant, asks)| asks.into_iter().map(move |ask| (grant.clone(), ask))).collect())
    }
}
