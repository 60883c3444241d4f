use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Binding, Seen, Span, Tags, Text, Trouble};

/// A question whose answer is a list of places: the hosts in `scope` whose tags have, for every key, any of its values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    pub surface: Text,
    /// Where to look, such as `123456789012/us-east-1`.
    pub scope: Text,
    pub tags: Tags,
}

/// What one look at the cloud brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A selector's answer: the places, in order, or why there is none.
    Answer { selector: Selector, at: Timestamp, places: Result<Vec<Text>, Trouble> },
    /// One binding as it was at `at`. Never [`Seen::Unread`].
    Sight(Sight),
}

/// One binding as it was seen, and when the look began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub binding: Binding,
    pub at: Timestamp,
    pub seen: Seen,
}

/// The last good answer of each selector, or the trouble that kept us from one.
pub type Answers = BTreeMap<Selector, Result<Vec<Text>, Trouble>>;

/// A look at one binding: when it began, when it came back, and what it saw.
#[derive(Debug, Clone)]
struct Look {
    began: Timestamp,
    came: Timestamp,
    seen: Seen,
}

/// What was seen of the cloud, and when: bindings and what the selectors answered.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub answers: Answers,
    /// Looked up only, never shown in its order.
    sights: HashMap<Binding, Look>,
}

impl Survey {
    /// Takes a reading in that came back at `now`. A selector that could not be asked keeps its earlier answer: unknown is not empty.
    pub fn take(&mut self, reading: Reading, now: Timestamp) {
        match reading {
            Reading::Answer { selector, at: _, places: Err(trouble) } => {
                self.answers.entry(selector).or_insert(Err(trouble));
            }
            Reading::Answer { selector, at: _, places } => {
                self.answers.insert(selector, places);
            }
            Reading::Sight(Sight { binding, at, seen }) => {
                self.sights.insert(binding, Look { began: at, came: now, seen });
            }
        }
    }

    /// What a look that began at or after `since` saw of a binding; [`Seen::Unread`] if there was none.
    pub fn seen(&self, binding: &Binding, since: Timestamp) -> &Seen {
        match self.sights.get(binding) {
            Some(look) if look.began >= since => &look.seen,
            _ => &Seen::Unread,
        }
    }

    /// What a look that came back at or after `since` saw, if it took no longer than `patience`; [`Seen::Unread`] if there
    /// was none.
    pub fn fresh(&self, binding: &Binding, since: Timestamp, patience: Span) -> &Seen {
        match self.sights.get(binding) {
            Some(look) if look.came >= since && patience.after(look.began) >= look.came => &look.seen,
            _ => &Seen::Unread,
        }
    }

    /// Drops what was seen of a binding: we changed it since.
    pub fn unsee(&mut self, binding: &Binding) {
        self.sights.remove(binding);
    }

    /// When the last look at the binding came back.
    pub fn looked(&self, binding: &Binding) -> Option<Timestamp> {
        self.sights.get(binding).map(|look| look.came)
    }

    /// Drops the looks that came back before `before`, which no decision may use any more.
    pub fn fade(&mut self, before: Timestamp) {
        self.sights.retain(|_, look| look.came >= before);
    }

    /// Forgets the selectors that nobody asks any more.
    pub fn keep(&mut self, asked: impl Fn(&Selector) -> bool) {
        self.answers.retain(|selector, _| asked(selector));
    }
}
