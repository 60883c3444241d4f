use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Binding, Fate, Seen, Span, Tags, Text, Trouble};

/// A question whose answer is a list of places: the hosts in `scope` whose tags have, for every key, any of its values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    pub surface: Text,
    /// Where to look, such as `123456789012/us-east-1`.
    pub scope: Text,
    pub tags: Tags,
}

/// What one look at the cloud brought. When it began and came back, the engine knows by its own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A selector's answer: the places, in order, or why there is none.
    Answer { selector: Selector, places: Result<Vec<Text>, Trouble> },
    /// One binding. Never [`Seen::Unread`].
    Sight { binding: Binding, seen: Seen },
}

/// What became of a call whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// This, for certain. [`Fate::Failed`] too if it never reached its place and never will.
    Came(Fate),
    /// It cannot be told now.
    Later(Trouble),
    /// Nobody can tell any more: the place must be looked at.
    Lost,
}

/// An answer to a selector, and when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub asked: Timestamp,
    pub places: Arc<[Text]>,
}

/// A look at one binding: when it began, when it came back, and what it saw.
#[derive(Debug, Clone)]
struct Look {
    began: Timestamp,
    came: Timestamp,
    seen: Seen,
}

/// What was seen of the cloud, and when: bindings, what the selectors answered, and what became of lost calls.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The last good answer of each selector: unknown is not empty.
    pub answers: BTreeMap<Selector, Answer>,
    /// The selectors whose last question had no answer: why, and when that was known.
    pub unlisted: BTreeMap<Selector, (Trouble, Timestamp)>,
    /// By the number of the intent; with when it was told.
    pub recalled: BTreeMap<u64, (Recalled, Timestamp)>,
    /// Looked up only, never shown in its order.
    sights: HashMap<Binding, Look>,
}

impl Survey {
    /// Takes a reading in that was asked for at `began` and came back at `came`.
    pub fn take(&mut self, reading: Reading, began: Timestamp, came: Timestamp) {
        match reading {
            Reading::Answer { selector, places: Err(trouble) } => {
                self.unlisted.insert(selector, (trouble, came));
            }
            Reading::Answer { selector, places: Ok(places) } => {
                self.unlisted.remove(&selector);
                self.answers.insert(selector, Answer { asked: began, places: places.into() });
            }
            Reading::Sight { binding, seen } => {
                self.sights.insert(binding, Look { began, came, seen });
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

    /// The first moment after `now` at which a look is older than one of these ages.
    pub fn older(&self, ages: &[Span], now: Timestamp) -> Option<Timestamp> {
        let ages = |look: &Look| ages.iter().map(|age| age.past(look.came)).find(|moment| *moment > now);
        self.sights.values().filter_map(ages).min()
    }

    /// Forgets everything: the time that it was stamped with was wrong.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the selectors that nobody asks any more.
    pub fn keep(&mut self, asked: impl Fn(&Selector) -> bool) {
        self.answers.retain(|selector, _| asked(selector));
        self.unlisted.retain(|selector, _| asked(selector));
    }

    /// Each selector may be asked again at once.
    pub fn ask_again(&mut self) {
        self.unlisted.clear();
    }
}
