//! What a revision leaves behind that was not accepted: on record, so that neither a restart nor a later head forgets it.

use std::collections::BTreeSet;

use crate::model::{Chain, GrantId, Record, Withheld};

use super::{admit::waits, intake::Footing, revision::Revision};

impl Revision<'_> {
    /// Notes durably what was not accepted, so that what comes later is judged together with it.
    pub(super) fn withhold(&mut self) {
        if self.intake.footing == Footing::Assumed {
            return;
        }
        let known = self.ledger.withheld.keys();
        let ids: BTreeSet<&GrantId> = known.chain(self.intake.chains.keys()).chain(self.refused.keys()).collect();
        let mut records = Vec::new();
        for id in ids {
            let terms = self.ledger.grants.get(id);
            let over = self.ledger.used.contains_key(id) || self.gone.contains(id);
            let chain =
                self.intake.chains.get(id).filter(|_| !self.settled.contains(id) && self.intake.present.contains(id));
            let chain = chain.filter(|chain| !chain.links.is_empty());
            let whole =
                terms.is_some_and(|terms| waits(terms, self.now) && self.refused.contains_key(id) && chain.is_none());
            let reason = self.refused.get(id).map_or("not accepted yet", String::as_str);
            let now = (!over && (chain.is_some() || whole)).then(|| Withheld {
                chain: chain.cloned().unwrap_or_else(Chain::default),
                reason: reason.into(),
                whole,
            });
            let before = self.ledger.withheld.get(id);
            match now {
                Some(what) if before != Some(&what) => records.push(Record::Withhold { grant: id.clone(), what }),
                None if before.is_some() && !self.settles(id) => records.push(Record::Clear { grant: id.clone() }),
                _ => {}
            }
        }
        self.admission.records.splice(0..0, self.proven());
        self.admission.records.extend(records);
    }

    /// Whether a record of this revision takes the id out of what is withheld by itself.
    fn settles(&self, id: &GrantId) -> bool {
        let takes = |record: &Record| matches!(record, Record::Accept { grant, .. } | Record::Amend { grant, .. } if grant == id);
        self.admission.records.iter().any(takes)
    }

    /// The good proofs that go on mattering, so that nothing is verified twice. A bad one is looked at again: the clock of who
    /// signed may be ahead of ours, a forge away.
    fn proven(&self) -> Vec<Record> {
        let Footing::Named(trust) = &self.intake.footing else { return Vec::new() };
        let withheld = self.intake.chains.iter().filter(|(id, _)| !self.settled.contains(id)).map(|(_, chain)| chain);
        let begun = |record: &'_ Record| match record {
            Record::Accept { links, .. } => links.clone(),
            _ => Vec::new(),
        };
        let links = withheld.flat_map(|chain| chain.links.iter().cloned());
        let waiting = self.ledger.grants.values().filter(|terms| waits(terms, self.now));
        let links = links
            .chain(self.admission.records.iter().flat_map(begun))
            .chain(waiting.flat_map(|terms| terms.links.iter().cloned()));
        let commits: BTreeSet<_> = links.map(|link| link.commit).collect();
        let fresh = commits.iter().filter_map(|commit| self.intake.proofs.get(commit)).filter(|proof| {
            let same = self.ledger.proofs.get(&proof.commit).is_some_and(|known| known.trust == *trust);
            !same && proof.holds()
        });
        fresh.map(|proof| Record::Prove { trust: trust.clone(), proof: Box::new(proof.clone()) }).collect()
    }
}
