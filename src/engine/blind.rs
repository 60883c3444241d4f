//! Looks that failed, told once each: there may be ten thousand bindings behind one refusal.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Binding, Reading, Seen, Selector, Trouble, TroubleKind};

use super::Broke;

/// One reading for each question, whatever became of the look: what brought none is blind. A question without an answer
/// would be awaited for ever.
pub fn whole(selectors: Vec<Selector>, bindings: Vec<Binding>, came: Result<Vec<Reading>, Broke>) -> Vec<Reading> {
    let (mut readings, why) = match came {
        Ok(readings) => (readings, "the adapter did not answer this".to_owned()),
        Err(broke) => (Vec::new(), broke.to_string()),
    };
    let (mut asked, mut looked): (BTreeSet<Selector>, BTreeSet<Binding>) =
        (selectors.into_iter().collect(), bindings.into_iter().collect());
    for reading in &readings {
        match reading {
            Reading::Answer { selector, .. } => drop(asked.remove(selector)),
            Reading::Sight { binding, .. } => drop(looked.remove(binding)),
        }
    }
    let trouble = Trouble::new(TroubleKind::Broken, why);
    let answer = |selector| Reading::Answer { selector, places: Err(trouble.clone()) };
    readings.extend(asked.into_iter().map(answer));
    let sight = |binding| Reading::Sight { binding, seen: Seen::Blind(trouble.clone()) };
    readings.extend(looked.into_iter().map(sight));
    readings
}

/// The most questions that are remembered: beyond, some are told of again.
const MOST: usize = 100_000;

/// What the last look could not answer, and why: a look that fails as the one before is no news.
#[derive(Default)]
pub struct Blinds {
    sights: BTreeMap<Binding, TroubleKind>,
    answers: BTreeMap<Selector, TroubleKind>,
}

impl Blinds {
    /// Logs the troubles among readings that are new, with how many looks each spoiled and one of their places; and how many
    /// can be answered again.
    pub fn tell(&mut self, readings: &[Reading]) {
        let mut troubles: BTreeMap<&Trouble, (usize, &str)> = BTreeMap::new();
        let mut again = 0;
        for reading in readings {
            let (place, before, now) = match reading {
                Reading::Answer { selector, places, .. } => {
                    let now = places.as_ref().err();
                    (&*selector.scope, put(&mut self.answers, selector, now), now)
                }
                Reading::Sight { binding, seen } => {
                    let now = if let Seen::Blind(trouble) = seen { Some(trouble) } else { None };
                    (binding.place(), put(&mut self.sights, binding, now), now)
                }
            };
            match (before, now) {
                (Some(_), None) => again += 1,
                (before, Some(trouble)) if before != Some(trouble.kind) => {
                    troubles.entry(trouble).or_insert((0, place)).0 += 1;
                }
                _ => {}
            }
        }
        for (trouble, (looks, place)) in troubles {
            tracing::warn!(%trouble, looks, place, "cannot be read");
        }
        if again > 0 {
            tracing::info!(looks = again, "can be read again");
        }
        if self.sights.len() + self.answers.len() > MOST {
            *self = Self::default();
        }
    }
}

/// Notes what is so now; answers what was so before.
fn put<K: Ord + Clone>(map: &mut BTreeMap<K, TroubleKind>, key: &K, now: Option<&Trouble>) -> Option<TroubleKind> {
    match now {
        Some(trouble) => map.insert(key.clone(), trouble.kind),
        None => map.remove(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(place: &str) -> Binding {
        Binding::new("iam-group", place, "Auditors", "jdoe")
    }

    #[test]
    fn every_question_has_a_reading_whatever_became_of_the_look() {
        let (one, two) = (binding("one"), binding("two"));
        let sight = |binding: &Binding| Reading::Sight { binding: binding.clone(), seen: Seen::Absent };
        let readings = whole(Vec::new(), vec![one.clone(), two.clone()], Ok(vec![sight(&one)]));
        let [Reading::Sight { .. }, Reading::Sight { binding, seen: Seen::Blind(_) }] = &readings[..] else {
            panic!("{readings:?}")
        };
        assert_eq!(*binding, two);
    }

    #[test]
    fn a_look_that_fails_as_before_is_no_news() {
        let mut blinds = Blinds::default();
        let blind = |kind| {
            let trouble = Trouble::new(kind, "at another time each time");
            vec![Reading::Sight { binding: binding("one"), seen: Seen::Blind(trouble) }]
        };
        for kind in [TroubleKind::Denied, TroubleKind::Denied, TroubleKind::Throttled] {
            blinds.tell(&blind(kind));
            assert_eq!(blinds.sights.values().copied().collect::<Vec<_>>(), [kind]);
        }
        let seen = Reading::Sight { binding: binding("one"), seen: Seen::Absent };
        blinds.tell(&[seen]);
        assert!(blinds.sights.is_empty());
    }
}
