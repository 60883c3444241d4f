//! How long grants may live as the configuration says today. Rules are many, and this is asked of every grant at every look: it
//! is reckoned once for each grant and configuration.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use crate::model::{AskId, GrantId, Ledger, Policy, Span, Terms, Text};

use super::demand::longest_of;

/// A configuration that says how long an accepted grant may live: itself, or with a table of what it comes to. Both say the same.
pub trait Allows {
    fn policy(&self) -> &Policy;
    /// The longest that a grant may live, counted from its start.
    fn longest(&self, grant: &GrantId, terms: &Terms) -> Span;
}

impl Allows for Policy {
    fn policy(&self) -> &Policy {
        self
    }

    fn longest(&self, _: &GrantId, terms: &Terms) -> Span {
        longest_of(terms, self)
    }
}

impl<T: Allows> Allows for Arc<T> {
    fn policy(&self) -> &Policy {
        (**self).policy()
    }

    fn longest(&self, grant: &GrantId, terms: &Terms) -> Span {
        (**self).longest(grant, terms)
    }
}

/// A configuration and what its rules come to for the grants that there are.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    policy: Arc<Policy>,
    spans: BTreeMap<GrantId, Known>,
}

/// What was reckoned, and of what: an edit may move the file or take entries out.
#[derive(Debug, Clone)]
struct Known {
    path: Text,
    asks: Box<[AskId]>,
    longest: Span,
}

impl Known {
    fn holds(&self, terms: &Terms) -> bool {
        self.path == terms.path && terms.asks.keys().eq(&self.asks)
    }
}

impl Reach {
    /// The table for this configuration and ledger; what is known of another configuration counts for nothing.
    pub fn renew(now: &mut Arc<Self>, policy: &Arc<Policy>, ledger: &Ledger) -> Arc<Self> {
        if !Arc::ptr_eq(&now.policy, policy) {
            *now = Arc::new(Self { policy: policy.clone(), spans: BTreeMap::new() });
        }
        // Without such rules one number is true of all.
        if policy.trust.rules.iter().all(|rule| rule.max_duration.is_none()) {
            return now.clone();
        }
        let spans = &now.spans;
        let same = spans.len() == ledger.grants.len()
            && spans.iter().zip(&ledger.grants).all(|((id, known), (grant, terms))| id == grant && known.holds(terms));
        if !same {
            let this = Arc::make_mut(now);
            let mut before = std::mem::take(&mut this.spans);
            let known = |(id, terms): (&GrantId, &Terms)| {
                let known = before.remove(id).filter(|known| known.holds(terms));
                let anew = || Known {
                    path: terms.path.clone(),
                    asks: terms.asks.keys().copied().collect(),
                    longest: longest_of(terms, policy),
                };
                (id.clone(), known.unwrap_or_else(anew))
            };
            this.spans = ledger.grants.iter().map(known).collect();
        }
        now.clone()
    }
}

impl Allows for Reach {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn longest(&self, grant: &GrantId, terms: &Terms) -> Span {
        // What was accepted or edited since is reckoned by itself.
        let known = self.spans.get(grant).filter(|known| known.holds(terms));
        known.map_or_else(|| longest_of(terms, &self.policy), |known| known.longest)
    }
}

/// Wherever a configuration is asked for.
impl Deref for Reach {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}
