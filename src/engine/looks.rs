//! The cloud's half of the cycle: looks at places, and answers that were lost and are fetched. Each question gets its answer,
//! whatever became of the task that asked it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Binding, Reading, Recall, Recalled, Selector, Trouble, TroubleKind};

use super::{Broke, Cycle, Happening, blind};

/// A look that is under way, and whether what it brings still counts: it does not where we changed something meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Counts,
    Stale,
    /// It does not count, and somebody asked meanwhile: it is made again.
    Again,
}

impl Cycle {
    /// A look came back. What it saw of a place that we changed meanwhile says nothing.
    pub(super) fn looked(&mut self, began: Timestamp, readings: Vec<Reading>) {
        self.tasks -= 1;
        self.blinds.tell(&readings);
        let now = self.now();
        let mut again = BTreeSet::new();
        for reading in readings {
            let counts = match &reading {
                Reading::Sight { binding, .. } => match self.reading.remove(binding) {
                    Some(Sight::Counts) => true,
                    Some(Sight::Again) => {
                        again.insert(binding.clone());
                        false
                    }
                    Some(Sight::Stale) | None => false,
                },
                Reading::Answer { selector, .. } => {
                    self.asking.remove(selector);
                    true
                }
            };
            if counts {
                self.survey.take(reading, began.min(now), now);
            }
        }
        self.read(BTreeSet::new(), again);
    }

    /// It was found out what became of calls, or that it cannot be.
    pub(super) fn recalled(&mut self, answers: Vec<(u64, Recalled)>) {
        self.tasks -= 1;
        let now = self.now();
        for (intent, answer) in answers {
            self.recalling.remove(&intent);
            self.survey.recalled.insert(intent, (answer, now));
        }
    }

    /// Fetches lost answers.
    pub(super) fn recall(&mut self, calls: &[Recall]) {
        let mut tasks: BTreeMap<String, Vec<Recall>> = BTreeMap::new();
        for call in calls {
            if self.recalling.insert(call.intent) {
                tasks.entry(call.binding.surface().to_owned()).or_default().push(call.clone());
            }
        }
        for (surface, calls) in tasks {
            let Some(reader) = self.parts.readers.get(&*surface).cloned() else { continue };
            let intents: Vec<u64> = calls.iter().map(|call| call.intent).collect();
            self.spawn("fetching lost answers", async move { reader.recall(&calls).await }, move |came| {
                // One answer for each, whatever became of the task: what is not told is asked for again.
                let why =
                    came.as_ref().err().map_or_else(|| "the adapter did not answer this".to_owned(), Broke::to_string);
                let mut answers = came.unwrap_or_default();
                answers.resize(intents.len(), Recalled::Later(Trouble::new(TroubleKind::Broken, why)));
                Happening::Recalled(intents.into_iter().zip(answers).collect())
            });
        }
    }

    pub(super) fn read(&mut self, selectors: BTreeSet<Selector>, bindings: BTreeSet<Binding>) {
        let mut tasks: BTreeMap<&'static str, (Vec<Selector>, Vec<Binding>)> = BTreeMap::new();
        let readers = &self.parts.readers;
        let known = |surface: &str| readers.keys().copied().find(|key| *key == surface);
        for selector in selectors {
            if let Some(surface) = known(&selector.surface) {
                self.asking.insert(selector.clone());
                tasks.entry(surface).or_default().0.push(selector);
            }
        }
        for binding in bindings {
            let Some(surface) = known(binding.surface()) else { continue };
            match self.reading.get_mut(&binding) {
                Some(sight) => *sight = if *sight == Sight::Counts { Sight::Counts } else { Sight::Again },
                None => {
                    self.reading.insert(binding.clone(), Sight::Counts);
                    tasks.entry(surface).or_default().1.push(binding);
                }
            }
        }
        let began = self.now();
        for (surface, (selectors, bindings)) in tasks {
            let Some(reader) = self.parts.readers.get(surface).cloned() else { continue };
            let asked = (selectors.clone(), bindings.clone());
            self.spawn("a look", async move { reader.read(&selectors, &bindings).await }, move |came| {
                let (selectors, bindings) = asked;
                Happening::Read(began, blind::whole(selectors, bindings, came))
            });
        }
    }
}
