//! What the life of grants, and what is withheld of it, makes of the ledger: a part of the fold.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;

use crate::model::{Ask, AskId, Commit, GrantId, Ledger, Oid, Origin, Proved, Record, State, Terms};

/// Takes in a record of a grant's own life.
pub fn terms(ledger: &mut Ledger, record: &Record, at: Timestamp) {
    match record {
        Record::Accept {
            grant,
            path,
            blob,
            commit,
            author,
            committed: _,
            requester,
            purpose,
            asks,
            from,
            ttl,
            stated,
            start,
            until,
            ceiling,
            vouched,
            links,
        } => {
            let terms = Terms {
                path: path.clone(),
                blob: blob.clone(),
                origin: Arc::new(Origin { commit: commit.clone(), author: author.clone() }),
                requester: requester.clone(),
                purpose: purpose.clone(),
                asks: named(asks),
                places: LiteMap::new(),
                from: *from,
                ttl: *ttl,
                stated: *stated,
                start: *start,
                asks_since: Some(at),
                until: *until,
                ceiling: *ceiling,
                state: State::Live,
                restored: None,
                vouched: (**vouched).clone(),
                links: links.clone(),
            };
            ledger.prior.remove(grant);
            ledger.held.remove(grant);
            ledger.withheld.remove(grant);
            ledger.grants.insert(grant.clone(), Box::new(terms));
        }
        Record::Amend { grant, path, blob, commit, author, purpose, asks, ttl, stated, until, vouched, links } => {
            let back = released(ledger, grant);
            if let Some(terms) = ledger.grants.get_mut(grant) {
                terms.asks_since = if back { Some(at) } else { terms.asks_since };
                terms.path = path.clone();
                terms.blob = blob.clone();
                terms.origin = Arc::new(Origin { commit: commit.clone(), author: author.clone() });
                terms.purpose = purpose.clone();
                terms.asks = named(asks);
                terms.places.retain(|ask, _| terms.asks.contains_key(ask));
                terms.ttl = *ttl;
                terms.stated = *stated;
                terms.until = *until;
                terms.vouched = (**vouched).clone();
                terms.links.extend(links.iter().cloned());
            }
        }
        Record::Shorten { grant, until } => {
            if let Some(terms) = ledger.grants.get_mut(grant) {
                terms.until = terms.until.min(*until);
            }
        }
        Record::Withdraw { grant, commit, author, effective } => {
            let by = Arc::new(Origin { commit: commit.clone(), author: author.clone() });
            part(ledger, grant, State::Withdrawn { effective: *effective, by }, at);
        }
        Record::Suspend { grant, commit, author, effective } => {
            let by = Arc::new(Origin { commit: commit.clone(), author: author.clone() });
            part(ledger, grant, State::Suspended { effective: *effective, by }, at);
        }
        Record::Restore { grant, commit } | Record::Resume { grant, commit } => {
            if let Some(terms) = ledger.grants.get_mut(grant) {
                terms.state = State::Live;
                terms.asks_since = Some(at);
                terms.restored = Some(commit.clone());
                ledger.withdrawn.remove(grant);
            }
        }
        _ => {}
    }
}

/// An edit by `origin` of which only that counts by now that it takes entries out or moves the end earlier, if it does: its file, where
/// it lies and what it says, is looked at again for the rest.
pub fn reduced(grant: &GrantId, terms: &Terms, origin: &Origin, asks: &[Arc<Ask>], until: Timestamp) -> Option<Record> {
    (asks.len() < terms.asks.len() || until < terms.until).then(|| Record::Amend {
        grant: grant.clone(),
        path: terms.path.clone(),
        blob: terms.blob.clone(),
        commit: origin.commit.clone(),
        author: origin.author.clone(),
        purpose: terms.purpose.clone(),
        asks: asks.to_vec(),
        ttl: terms.ttl,
        stated: terms.stated,
        until: until.min(terms.until),
        vouched: terms.vouched.clone().into(),
        links: Vec::new(),
    })
}

/// It goes, for good or for a while.
fn part(ledger: &mut Ledger, grant: &GrantId, state: State, at: Timestamp) {
    if let Some(terms) = ledger.grants.get_mut(grant) {
        let counted = matches!(terms.state, State::Suspended { .. });
        terms.state = state;
        if !counted {
            ledger.withdrawn.insert(at, grant.clone());
        }
    }
}

/// What is withheld of it counts no more. Whether that was all of it.
fn released(ledger: &mut Ledger, grant: &GrantId) -> bool {
    ledger.withheld.remove(grant).is_some_and(|withheld| withheld.whole)
}

/// Takes in what is known and withheld of commits.
pub fn trust(ledger: &mut Ledger, record: &Record, at: Timestamp) {
    match record {
        Record::Prove { trust, proof } => {
            let proved = Proved { trust: trust.clone(), proof: proof.clone() };
            ledger.proofs.insert(proof.commit.clone(), proved);
        }
        Record::Withhold { grant, what } => {
            // What was held for its age is held no more when the file says something else.
            let same = |held: &Oid| what.chain.paths.is_empty() || what.chain.paths.values().any(|blob| blob == held);
            if ledger.held.get(grant).is_some_and(|(held, _)| !same(held)) {
                ledger.held.remove(grant);
            }
            ledger.withheld.insert(grant.clone(), what.clone());
        }
        Record::Clear { grant } => {
            if released(ledger, grant)
                && let Some(terms) = ledger.grants.get_mut(grant)
            {
                terms.asks_since = Some(at);
            }
            ledger.held.remove(grant);
        }
        _ => {}
    }
}

/// A new head: proofs that nothing rests on any more go.
pub fn head(ledger: &mut Ledger, commit: &Commit, at: Timestamp, adopted: bool) {
    ledger.head = Some(commit.clone());
    ledger.headed = Some(at);
    ledger.adopted = adopted;
    if !ledger.proofs.is_empty() {
        let withheld = ledger.withheld.values().flat_map(|withheld| &withheld.chain.links);
        let waiting = ledger.grants.values().flat_map(|terms| &terms.links);
        let needed: BTreeSet<&Commit> = withheld.chain(waiting).map(|link| &link.commit).collect();
        let idle: Vec<Commit> = ledger.proofs.keys().filter(|commit| !needed.contains(commit)).cloned().collect();
        for commit in idle {
            ledger.proofs.remove(&commit);
        }
    }
}

fn named(asks: &[Arc<Ask>]) -> LiteMap<AskId, Arc<Ask>> {
    let mut named = LiteMap::with_capacity(asks.len());
    named.extend(asks.iter().map(|ask| (ask.id(), ask.clone())));
    named
}
