//! Looks that failed, told once each: there may be ten thousand bindings behind one refusal.

use std::collections::BTreeMap;

use crate::model::{Reading, Seen, Sight, Trouble};

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
