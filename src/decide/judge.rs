//! What a grant may ask for now: limits that depend on the time, and what the operator protects.

use std::sync::Arc;

use jiff::Timestamp;

use super::moment;
use crate::model::{Ask, Grant, Limits, Protected, Span, Terms};

/// Why a grant that may live for `longest` cannot be accepted at `now`, and what to write instead; `None` if it can. Over is not a reason: an end that
/// is past grants nothing and harms nobody.
pub fn judge(grant: &Grant, limits: &Limits, longest: Span, now: Timestamp) -> Option<(String, String)> {
    let Limits { default_ttl: _, max_duration: _, max_ahead, stale_after: _, protected: _ } = limits;
    if let Some(from) = grant.from
        && from > max_ahead.after(now)
    {
        return Some((
            format!("`from: {from}` is further ahead than `max_ahead`, {max_ahead}"),
            format!("merge it later, or write a `from` before {}", moment(max_ahead.after(now))),
        ));
    }
    let start = grant.from.unwrap_or(now).max(now);
    if let Some(until) = grant.until
        && until > longest.after(start)
    {
        return Some((
            format!("`until: {until}` is beyond `max_duration`, {longest}"),
            format!("write an `until` before {}", moment(longest.after(start))),
        ));
    }
    None
}

/// The field by which an ask touches what is protected, and the sentence that says so.
pub fn protects(protected: &Protected, ask: &Ask) -> Option<(&'static str, String)> {
    let Protected { policies, roles, groups, users, sets } = protected;
    for (name, list) in [("policy", policies), ("role", roles), ("group", groups), ("user", users), ("set", sets)] {
        let word = ask.word(name);
        // An ARN is protected by its name too, and a Windows user by the part behind the backslash.
        let bare = word.rsplit(['/', '\\']).next().unwrap_or_default();
        let hit = list.iter().find(|entry| entry.eq_ignore_ascii_case(word) || entry.eq_ignore_ascii_case(bare));
        if let (false, Some(entry)) = (word.is_empty(), hit) {
            return Some((name, format!("`{entry}` is protected: no grant may give it")));
        }
    }
    None
}

/// `min(stated until, start + ttl, start + longest)`; with neither `ttl` nor `until`, `default_ttl` counts.
pub fn ending(grant: &Grant, start: Timestamp, limits: &Limits, longest: Span) -> Timestamp {
    let ttl = grant.ttl.or_else(|| grant.until.is_none().then_some(limits.default_ttl));
    let ends = [grant.until, ttl.map(|ttl| ttl.after(start))];
    ends.into_iter().flatten().fold(longest.after(start), Timestamp::min)
}

/// What is left of the accepted entries if this is the same request; `None` if whoever, whatever, wherever or `from` differs.
pub fn same_request(terms: &Terms, grant: &Grant) -> Option<Vec<Arc<Ask>>> {
    let same = grant.requester == terms.requester && grant.from == terms.from;
    (same && grant.access.iter().all(|ask| terms.asks.contains_key(&ask.id()))).then(|| grant.access.clone())
}
