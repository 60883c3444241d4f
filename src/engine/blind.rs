//! Looks that failed, told once each: there may be ten thousand bindings behind one refusal.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Binding, Reading, Seen, Selector, Sight, Trouble, TroubleKind};

use super::Broke;

/// One reading for each question, whatever became of the look: what brought none is blind. A question without an answer
/// would be awaited for ever.
pub fn whole(
    selectors: Vec<Selector>,
    bindings: Vec<Binding>,
    came: Result<Vec<Reading>, Broke>,
    at: Timestamp,
) -> Vec<Reading> {
    let (mut readings, why) = match came {
        Ok(readings) => (readings, "the adapter did not answer this".to_owned()),
        Err(broke) => (Vec::new(), broke.to_string()),
    };
    let (mut asked, mut looked): (BTreeSet<Selector>, BTreeSet<Binding>) =
        (selectors.into_iter().collect(), bindings.into_iter().collect());
    for reading in &readings {
        match reading {
            Reading::Answer { selector, .. } => drop(asked.remove(selector)),
            Reading::Sight(Sight { binding, .. }) => drop(looked.remove(binding)),
        }
    }
    let trouble = Trouble::new(TroubleKind::Broken, why);
    let answer = |selector| Reading::Answer { selector, at, places: Err(trouble.clone()) };
    readings.extend(asked.into_iter().map(answer));
    let sight = |binding| Reading::Sight(Sight { binding, at, seen: Seen::Blind(trouble.clone()) });
    readings.extend(looked.into_iter().map(sight));
    readings
}

/// Logs the troubles among readings, with how many looks each spoiled and one of their places.
pub fn tell(readings: &[Reading]) {
    let mut troubles: BTreeMap<&Trouble, (usize, &str)> = BTreeMap::new();
    for reading in readings {
        let (trouble, place) = match reading {
            Reading::Answer { selector, places: Err(trouble), .. } => (trouble, &*selector.scope),
            Reading::Sight(Sight { binding, seen: Seen::Blind(trouble), .. }) => (trouble, binding.place()),
            Reading::Answer { .. } | Reading::Sight(_) => continue,
        };
        troubles.entry(trouble).or_insert((0, place)).0 += 1;
    }
    for (trouble, (looks, place)) in troubles {
        tracing::warn!(%trouble, looks, place, "cannot be read");
    }
}
