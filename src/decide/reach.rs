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
            let mut known = |(id, terms): (&GrantId, &Terms)| {
                let known = before.remove(id).filter(|known| known.holds(terms));
                let anew = || Known {
                    path: terms.path.clone(),
                    asks: terms.asks.keys().copied().collect(),
                    longest: longest_of(terms, policy),
                };
                (id.clone(), known.unwrap_or_else(anew))
            };
            this.spans = ledger.grants.iter().map(|(id, terms)| known((id, terms.as_ref()))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::fold,
        model::{Ask, Commit, Given, Line, Oid, Record, Rule, When},
    };
    use jiff::Timestamp;

    fn ask(group: &str) -> Arc<Ask> {
        let fields = [("account", "123456789012"), ("user", "jdoe"), ("group", group)];
        let fields = fields.map(|(name, word)| (name.into(), Given::One(word.into()))).into_iter().collect();
        Arc::new(Ask { surface: "iam-group".into(), fields })
    }

    fn take(ledger: &mut Ledger, record: Record) {
        fold(ledger, &Line { seq: 1, at: Timestamp::UNIX_EPOCH, record });
    }

    fn accept(grant: &str, path: &str, asks: Vec<Arc<Ask>>) -> Record {
        let (at, commit) = (Timestamp::UNIX_EPOCH, Commit("c".into()));
        Record::Accept {
            grant: grant.parse().unwrap(),
            path: path.into(),
            blob: Oid("b".into()),
            commit,
            author: "Ann".into(),
            committed: at,
            requester: "jdoe".into(),
            purpose: "x".into(),
            asks,
            from: None,
            ttl: None,
            stated: None,
            start: at,
            until: Span::hours(24).after(at),
            ceiling: Span::hours(24).after(at),
            vouched: Default::default(),
            links: Vec::new(),
        }
    }

    fn policy(hours: i64) -> Arc<Policy> {
        let rule = |group: Option<&str>, path: Option<&str>, hours| Rule {
            when: When { group: group.map(Into::into), path: path.map(Into::into), ..When::default() },
            max_duration: Some(Span::hours(hours)),
            ..Rule::default()
        };
        let mut policy = Policy::default();
        policy.trust.rules = vec![rule(Some("Admins"), None, hours), rule(None, Some("grants/prod/*"), hours + 1)];
        Arc::new(policy)
    }

    #[test]
    fn the_table_says_what_the_rules_say_whatever_changed_since() {
        let (mut ledger, mut reach) = (Ledger::default(), Arc::new(Reach::default()));
        let check = |reach: &mut Arc<Reach>, policy: &Arc<Policy>, ledger: &Ledger, hours: [i64; 3]| {
            // Before and after it is made anew.
            for now in [reach.clone(), Reach::renew(reach, policy, ledger), Reach::renew(reach, policy, ledger)] {
                for ((id, terms), hours) in ledger.grants.iter().zip(hours) {
                    if Arc::ptr_eq(&now.policy, policy) {
                        assert_eq!(now.longest(id, terms), Span::hours(hours), "{id}");
                    }
                    assert_eq!(policy.longest(id, terms), Span::hours(hours), "{id}");
                }
            }
        };
        let three = policy(3);
        Reach::renew(&mut reach, &three, &ledger);
        take(&mut ledger, accept("one", "grants/one.yaml", vec![ask("Admins"), ask("Readers")]));
        take(&mut ledger, accept("two", "grants/prod/two.yaml", vec![ask("Readers")]));
        take(&mut ledger, accept("three", "grants/three.yaml", vec![ask("Readers")]));
        // By name: one, three, two.
        check(&mut reach, &three, &ledger, [3, 24, 4]);
        // An entry is taken out, and a file moves.
        ledger.grants.get_mut(&"one".parse().unwrap()).unwrap().asks =
            [(ask("Readers").id(), ask("Readers"))].into_iter().collect();
        ledger.grants.get_mut(&"two".parse().unwrap()).unwrap().path = "grants/two.yaml".into();
        check(&mut reach, &three, &ledger, [24, 24, 24]);
        ledger.grants.get_mut(&"three".parse().unwrap()).unwrap().path = "grants/prod/three.yaml".into();
        check(&mut reach, &three, &ledger, [24, 4, 24]);
        check(&mut reach, &policy(1), &ledger, [24, 2, 24]);
        check(&mut reach, &Arc::new(Policy::default()), &ledger, [24, 24, 24]);
    }
}
