//! Which bindings are wanted now, by whom, and until when.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use litemap::LiteMap;

use crate::model::{
    Answer, Ask, AskId, Binding, GrantId, Holders, Ledger, Note, Record, Selector, State, Survey, Target, Terms, Text,
};

use super::{Allows, Targets, protects};

/// What is wanted at one moment.
#[derive(Debug, Default)]
pub struct Wanted {
    pub bindings: LiteMap<Binding, Want>,
    /// The questions of live grants that have no answer of their time yet.
    pub selectors: BTreeSet<Selector>,
    /// What answers came to: the places of a grant, for its whole life.
    pub resolved: Vec<Record>,
    /// The next moment at which a grant starts or ends.
    pub edge: Option<Timestamp>,
    /// Asks that grant nothing for now, and why, as bindings that name only the surface.
    pub notes: Vec<Note>,
    /// How many of them do so because their places cannot be listed.
    pub unread: usize,
}

/// One wanted binding: the latest end of the grants that hold it, and who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub until: Timestamp,
    /// The grant whose end is the latest (of those, the first by name).
    pub last: GrantId,
    pub holders: Holders,
    /// A holder whose entry the operator protects by now: what is owned stays to its end, nothing new is granted.
    pub barred: Option<Text>,
}

/// Until when a grant is wanted: what was journaled, shortened by what the configuration says today, by a withdrawal and by
/// a suspension.
pub fn end_of(grant: &GrantId, terms: &Terms, policy: &impl Allows) -> Timestamp {
    let end = last_of(grant, terms, policy);
    match &terms.state {
        State::Live => end,
        State::Withdrawn { effective, .. } | State::Suspended { effective, .. } => end.min(*effective),
    }
}

/// When a grant is over for good: a suspended one may come back until then.
pub fn over_of(grant: &GrantId, terms: &Terms, policy: &impl Allows) -> Timestamp {
    match &terms.state {
        State::Suspended { .. } => last_of(grant, terms, policy),
        State::Live | State::Withdrawn { .. } => end_of(grant, terms, policy),
    }
}

fn last_of(grant: &GrantId, terms: &Terms, policy: &impl Allows) -> Timestamp {
    terms.until.min(policy.longest(grant, terms).after(terms.start))
}

/// Reads nothing but the ledger and the answers: Git may be away, and what was accepted is wanted to its end all the same.
pub fn desire(ledger: &Ledger, survey: &Survey, targets: &Targets, policy: &impl Allows, now: Timestamp) -> Wanted {
    let mut wanted = Wanted::default();
    // By grant, its live asks in the order of their ids. Looked up only, never shown in its order.
    let mut live: HashMap<&GrantId, Vec<Live<'_>>> = HashMap::with_capacity(ledger.grants.len());
    for (id, terms) in &ledger.grants {
        let end = end_of(id, terms, policy);
        if now >= end {
            let over = over_of(id, terms, policy);
            if now < over {
                wanted.edge = earliest(wanted.edge, over);
            }
            continue;
        }
        if ledger.withheld.get(id).is_some_and(|withheld| withheld.whole) {
            wanted.edge = earliest(wanted.edge, end);
            continue;
        }
        if now < terms.start {
            // It may be over before it begins: withdrawn, and held.
            wanted.edge = earliest(wanted.edge, terms.start.min(end));
            continue;
        }
        wanted.edge = earliest(wanted.edge, end);
        let asks = terms.asks.iter().filter_map(|(ask, content)| {
            let target = targets.get(&*content.surface)?.as_ref();
            let barred = protects(&policy.policy().limits.protected, content).map(|(_, why)| why.into());
            let alone = Holders::from_iter([(id.clone(), *ask)]);
            Some(Live { grant: id, ask, content, target, end, barred, alone })
        });
        // No more room than it takes: mostly it is one.
        let mut all = Vec::with_capacity(terms.asks.len());
        all.extend(asks);
        live.insert(id, all);
    }
    let size = ledger.owned.len();
    let mut wants = Wants { list: Vec::with_capacity(size), places: HashMap::with_capacity(size) };
    // What is ours stays with the asks that it was given for. It goes first because it is sorted and its texts are shared.
    for (binding, owned) in &ledger.owned {
        for (grant, ask) in owned.holders.iter() {
            let Some(asks) = live.get(grant) else { continue };
            if let Ok(found) = asks.binary_search_by(|live| live.ask.cmp(ask))
                && let Some(live) = asks.get(found)
            {
                wants.hold(binding.clone(), live);
            }
        }
    }
    for (terms, live) in ledger.grants.iter().filter_map(|(id, terms)| Some((terms, live.get(id)?))) {
        for live in live {
            let selector = || live.target.selector(live.content);
            let places = match terms.places.get(live.ask) {
                Some(resolved) => {
                    if resolved.places.is_empty()
                        && let Some(selector) = selector()
                    {
                        let text = format!("no host matched when `{}` began: it grants nothing there", live.grant);
                        wanted.notes.push(live.note(&selector, text));
                    }
                    &resolved.places[..]
                }
                None => match selector() {
                    None => &[][..],
                    Some(selector) => {
                        match survey.answers.get(&selector) {
                            Some(Answer { asked, places }) if *asked >= terms.start => {
                                let (grant, ask, asked, places) =
                                    (live.grant.clone(), *live.ask, *asked, places.clone());
                                wanted.resolved.push(Record::Resolve { grant, ask, asked, places });
                            }
                            _ => {
                                if let Some((trouble, _)) = survey.unlisted.get(&selector) {
                                    let text = format!("not granted yet: its hosts cannot be listed: {trouble}");
                                    wanted.notes.push(live.note(&selector, text));
                                    wanted.unread += 1;
                                }
                                wanted.selectors.insert(selector);
                            }
                        }
                        continue;
                    }
                },
            };
            for binding in live.target.wanted(live.content, places) {
                wants.hold(binding, live);
            }
        }
    }
    drop(wants.places);
    // No binding is there twice, and mostly they are in order already.
    wants.list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    wanted.bindings = LiteMap::from_sorted_store_unchecked(wants.list);
    wanted
}

/// An entry of a grant that is live.
struct Live<'a> {
    grant: &'a GrantId,
    ask: &'a AskId,
    content: &'a Ask,
    target: &'a dyn Target,
    end: Timestamp,
    /// Why an operator does not let it grant any more.
    barred: Option<Text>,
    /// Itself as the only holder, for all of its bindings.
    alone: Holders,
}

impl Live<'_> {
    /// What is told of it where no place is known.
    fn note(&self, selector: &Selector, text: String) -> Note {
        let binding = Binding::new(self.target.surface(), &selector.scope, "-", self.content.word("user"));
        Note { binding, text }
    }
}

/// Wanted bindings in the order in which they came up.
struct Wants {
    list: Vec<(Binding, Want)>,
    places: HashMap<Binding, usize>,
}

impl Wants {
    /// The outcome does not depend on the order of the calls.
    fn hold(&mut self, binding: Binding, live: &Live<'_>) {
        let Live { grant, ask, content: _, target: _, end, barred, alone } = live;
        let place = self.places.entry(binding).or_insert_with_key(|binding| {
            let want = Want { until: *end, last: (*grant).clone(), holders: alone.clone(), barred: barred.clone() };
            self.list.push((binding.clone(), want));
            self.list.len() - 1
        });
        let Some((_, want)) = self.list.get_mut(*place) else { return };
        if *end > want.until || (*end == want.until && **grant < want.last) {
            want.until = *end;
            want.last = (*grant).clone();
        }
        // One holder that may is enough; of several that may not, one reason is.
        want.barred = want.barred.take().zip(barred.as_ref()).map(|(one, other)| one.min(other.clone()));
        want.holders.insert((*grant).clone(), **ask);
    }
}

pub fn earliest(so_far: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(so_far.map_or(other, |at| at.min(other)))
}
