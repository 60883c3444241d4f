//! What the configuration asks of one grant: the strictest of all that applies. Whoever writes a file chooses its words and
//! its path, so a rule can only make things stricter.

use std::collections::BTreeSet;

use crate::model::{Ask, Policy, Rule, Span, Terms, Text, Trust};

/// What one grant needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub level: Trust,
    /// How many people must approve.
    pub approvals: usize,
    /// Who may; `None`: everybody in `people`.
    pub approvers: Option<BTreeSet<Text>>,
    /// Who asks or gets the access, as far as it is known: none of them approves.
    pub interested: BTreeSet<Text>,
    /// The rules that apply, and what they ask for.
    pub rules: Vec<Text>,
}

/// The demand on these entries in a file that lay, or lies, at these paths.
pub fn demand<'a>(
    asks: impl IntoIterator<Item = &'a Ask>,
    requester: &str,
    paths: &BTreeSet<&str>,
    policy: &Policy,
) -> Demand {
    let trusted = &policy.trust;
    let mut demand = Demand {
        level: trusted.level,
        approvals: trusted.approvals as usize,
        approvers: None,
        interested: trusted.requester(requester).cloned().into_iter().collect(),
        rules: Vec::new(),
    };
    let mut strangers = BTreeSet::new();
    let mut applied = BTreeSet::new();
    for ask in asks {
        let principal = ask.principal();
        match trusted.behind(&principal) {
            Some(people) => demand.interested.extend(people),
            None => {
                strangers.insert(principal);
            }
        }
        for path in paths {
            applied.extend(matching(ask, path, policy, |_| true).map(|(index, _)| index));
        }
    }
    for (index, rule) in trusted.rules.iter().enumerate().filter(|(index, _)| applied.contains(index)) {
        demand.level = demand.level.max(rule.level());
        demand.approvals = demand.approvals.max(rule.approvals_required.unwrap_or(0) as usize);
        if let Some(may) = &rule.approvers {
            let both = |so_far: BTreeSet<Text>| so_far.intersection(may).cloned().collect();
            demand.approvers = Some(demand.approvers.take().map_or_else(|| may.clone(), both));
        }
        demand.rules.push(told(index, rule).into());
    }
    // Of two approvers one at least is not the only one who gets it.
    if demand.level == Trust::Approved && demand.approvals < 2 && !strangers.is_empty() {
        demand.approvals = 2;
        let names = strangers.into_iter().collect::<Vec<_>>().join(", ");
        demand.rules.push(format!("2 approvals, since nobody is known behind {names}").into());
    }
    demand
}

/// The longest that a file with these entries may live.
pub fn longest<'a>(asks: impl IntoIterator<Item = &'a Ask>, path: &str, policy: &Policy) -> Span {
    let limit = policy.limits.max_duration;
    // Only those that could shorten it.
    let shorter = |rule: &Rule| rule.max_duration.is_some_and(|span| span < limit);
    if !policy.trust.rules.iter().any(shorter) {
        return limit;
    }
    let spans = asks.into_iter().flat_map(|ask| {
        matching(ask, path, policy, shorter).filter_map(|(_, rule)| rule.max_duration).collect::<Vec<_>>()
    });
    spans.fold(limit, Span::min)
}

/// The same of an accepted grant.
pub fn longest_of(terms: &Terms, policy: &Policy) -> Span {
    longest(terms.asks.values().map(AsRef::as_ref), &terms.path, policy)
}

/// The rules for an entry, of those that matter.
fn matching<'a>(
    ask: &'a Ask,
    path: &'a str,
    policy: &'a Policy,
    matters: impl Fn(&Rule) -> bool,
) -> impl Iterator<Item = (usize, &'a Rule)> {
    let principal = ask.principal();
    let id = ask.word("account");
    let accounts = policy.accounts.iter().flatten();
    let names: Vec<&str> = accounts.filter(|(_, account)| &*account.id == id).map(|(name, _)| &**name).collect();
    let rules = policy.trust.rules.iter().enumerate();
    rules.filter(move |(_, rule)| matters(rule) && rule.when.matches(ask, &principal, path, &names))
}

fn told(index: usize, rule: &Rule) -> String {
    let Rule { name, when: _, level, approvers, approvals_required, max_duration } = rule;
    let mut asks = Vec::new();
    asks.extend(level.map(|level| level.to_string()));
    asks.extend(approvals_required.map(|count| super::render::count(count as usize, "approval")));
    asks.extend(
        approvers.as_ref().map(|may| format!("by {}", may.iter().map(|name| &**name).collect::<Vec<_>>().join(" or "))),
    );
    asks.extend(max_duration.map(|span| format!("at most {span}")));
    let name = if name.is_empty() { format!("{}", index + 1) } else { format!("`{name}`") };
    format!("rule {name}: {}", asks.join(", "))
}
