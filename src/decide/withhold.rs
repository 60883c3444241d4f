//! What a revision leaves behind that was not accepted: on record, so that neither a restart nor a later head forgets it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Chain, Finding, GrantId, Lacks, Record, Text, Withheld};

use super::{admit::waits, intake::Footing, revision::Revision};

/// How much of what is wrong with a file is put on record, characters.
const LONGEST: usize = 300;

impl Revision<'_> {
    /// Notes durably what was not accepted, so that what comes later is judged together with it.
    pub(super) fn withhold(&mut self) {
        if self.intake.footing == Footing::Assumed {
            return;
        }
        let known = self.ledger.withheld.keys().chain(self.ledger.held.keys());
        let ids: BTreeSet<&GrantId> = known.chain(self.intake.chains.keys()).chain(self.stopped.keys()).collect();
        let named = matches!(self.intake.footing, Footing::Named(_));
        let settled = self.settling();
        let wrong = self.wrong();
        let mut records = Vec::new();
        for id in ids {
            // Its id is used up. What is done to its file matters only to renames, and they only where proofs are asked for.
            let over = self.ledger.used.contains_key(id) || self.gone.contains(id);
            if over && !self.policy.trust.proves() && self.intake.present.contains_key(id) {
                continue;
            }
            let chain = self
                .intake
                .chains
                .get(id)
                .filter(|_| !self.settled.contains(id) && self.intake.present.contains_key(id));
            let chain = chain.filter(|chain| !chain.links.is_empty() && !self.ended_so(id, chain));
            // Without proofs there is no judgement: what may not begin stays so.
            let kept = self.ledger.withheld.get(id).filter(|before| before.whole && !named);
            let kept = kept.filter(|_| self.ledger.grants.contains_key(id));
            let whole = self.stopped.contains_key(id) || kept.is_some();
            let line;
            let other = match chain {
                _ if self.ledger.used.contains_key(id) => "its id is over, and its file was changed since",
                Some(chain) if chain.paths.len() > 1 => "several files have its name",
                chain => {
                    let found = chain.and_then(|chain| chain.paths.keys().find_map(|path| wrong.get(path)));
                    line =
                        found.map_or_else(|| "not accepted yet".to_owned(), |(finding, count)| told(finding, *count));
                    &line
                }
            };
            let lack = self.stopped.get(id).or_else(|| self.refused.get(id));
            let (reason, lacks) = lack.map_or((other, Lacks::Proof), |lack| (&*lack.why, lack.what));
            let (reason, lacks) = kept.map_or((reason, lacks), |before| (&*before.reason, before.lacks));
            let now = (chain.is_some() || whole).then(|| Withheld {
                chain: chain.cloned().unwrap_or_else(Chain::default),
                reason: reason.into(),
                lacks,
                whole,
            });
            let before = self.ledger.withheld.get(id);
            // Held for its age, and gone: nobody waits for it any more.
            let aged = self.ledger.held.contains_key(id) && !self.intake.present.contains_key(id);
            match now {
                Some(what) if settled.contains(id) || before.is_none_or(|before| news(before, &what)) => {
                    records.push(Record::Withhold { grant: id.clone(), what });
                }
                None if (before.is_some() || aged) && !settled.contains(id) => {
                    records.push(Record::Clear { grant: id.clone() });
                }
                _ => {}
            }
        }
        self.admission.records.splice(0..0, self.proven());
        self.admission.records.extend(records);
    }

    /// The first thing that is wrong with each file, and how many there are.
    fn wrong(&self) -> BTreeMap<&Text, (&Finding, usize)> {
        let mut first: BTreeMap<&Text, (&Finding, usize)> = BTreeMap::new();
        for finding in &self.admission.findings {
            let (least, count) = first.entry(&finding.path).or_insert((finding, 0));
            *count += 1;
            if (finding.level, &finding.spot) < (least.level, &least.spot) {
                *least = finding;
            }
        }
        first
    }

    /// Whether a file still is what its grant was when it ended: the changes that brought it were accepted.
    fn ended_so(&self, id: &GrantId, chain: &Chain) -> bool {
        let file = self.ledger.used.get(id).and_then(|over| over.file.as_ref());
        file.is_some_and(|(path, blob)| chain.paths.len() == 1 && chain.paths.get(path) == Some(blob))
    }

    /// The ids that a record of this revision takes out of what is withheld by itself.
    fn settling(&self) -> BTreeSet<GrantId> {
        let takes = |record: &Record| match record {
            Record::Accept { grant, .. } | Record::Amend { grant, .. } => Some(grant.clone()),
            _ => None,
        };
        self.admission.records.iter().filter_map(takes).collect()
    }

    /// The good proofs that go on mattering, so that nothing is verified twice. A bad one is looked at again: the clock of who
    /// signed may be ahead of ours, a forge away.
    fn proven(&self) -> Vec<Record> {
        let Footing::Named(trust) = &self.intake.footing else { return Vec::new() };
        let withheld = self.intake.chains.iter().filter(|(id, _)| !self.settled.contains(id)).map(|(_, chain)| chain);
        let begun = |record: &'_ Record| match record {
            Record::Accept { links, .. } | Record::Amend { links, .. } => links.clone(),
            _ => Vec::new(),
        };
        let links = withheld.flat_map(|chain| chain.links.iter().cloned());
        let waiting = self.ledger.grants.values().filter(|terms| waits(terms));
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

/// What is wrong with a file, as a line.
fn told(finding: &Finding, count: usize) -> String {
    let Finding { path, spot, level: _, message, help: _ } = finding;
    let place = spot.as_ref().map_or_else(String::new, |spot| format!(":{}:{}", spot.line, spot.column));
    let more = if count > 1 { format!(" (`grantd plan` shows {} more)", count - 1) } else { String::new() };
    let message: String = message.chars().take(LONGEST).collect();
    format!("{path}{place}: {message}{more}")
}

/// Whether a record of it says anything new: by kind, since what comes and goes says so in words that move. A forge that is
/// away is none, whichever way; keys that cannot be read are news once.
fn news(before: &Withheld, what: &Withheld) -> bool {
    let reason = match (before.lacks, what.lacks) {
        (Lacks::Forge, _) | (_, Lacks::Forge) | (Lacks::Trust, Lacks::Trust) => false,
        (Lacks::Proof, Lacks::Proof) => before.reason != what.reason,
        (Lacks::Proof, Lacks::Trust) | (Lacks::Trust, Lacks::Proof) => true,
    };
    before.chain != what.chain || before.whole != what.whole || reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_no_news_whatever_its_words_say() {
        let held =
            |lacks, reason: &str| Withheld { chain: Chain::default(), reason: reason.into(), lacks, whole: false };
        for (before, what, new) in [
            (held(Lacks::Proof, "not signed"), held(Lacks::Proof, "not signed"), false),
            (held(Lacks::Proof, "not signed"), held(Lacks::Proof, "not approved"), true),
            (held(Lacks::Proof, "not signed"), held(Lacks::Forge, "away since 9:01"), false),
            (held(Lacks::Forge, "away since 9:01"), held(Lacks::Forge, "away since 9:02"), false),
            (held(Lacks::Proof, "not signed"), held(Lacks::Trust, "unreadable at 9:01"), true),
            (held(Lacks::Trust, "unreadable at 9:01"), held(Lacks::Trust, "unreadable at 9:02"), false),
            // The words that once told it apart may stand in any sentence.
            (held(Lacks::Proof, "the forge does not answer"), held(Lacks::Proof, "not approved"), true),
        ] {
            assert_eq!(news(&before, &what), new, "{before:?} {what:?}");
        }
        let whole = Withheld { whole: true, ..held(Lacks::Forge, "away") };
        assert!(news(&held(Lacks::Forge, "away"), &whole));
        // The journal keeps the kind, and older lines have none.
        let line = serde_json::to_string(&held(Lacks::Trust, "x")).unwrap();
        assert_eq!(serde_json::from_str::<Withheld>(&line).unwrap().lacks, Lacks::Trust);
        let old = serde_json::to_string(&held(Lacks::Proof, "x")).unwrap();
        assert!(!old.contains("lacks"), "{old}");
    }
}
