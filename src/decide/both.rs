//! Two sorted maps, side by side.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Range},
    iter::Peekable,
};

/// So many are passed one by one before the rest is jumped over: where the two lie apart nothing is looked at, and where they lie
/// among each other each is looked at once.
const STEPS: usize = 8;

/// What both have, with what each has there, in order.
pub fn both<'a, K: Ord, A, B>(
    one: &'a BTreeMap<K, A>,
    other: &'a BTreeMap<K, B>,
) -> impl Iterator<Item = (&'a K, &'a A, &'a B)> {
    let (mut ones, mut others) = (one.range::<K, _>(..).peekable(), other.range::<K, _>(..).peekable());
    std::iter::from_fn(move || {
        loop {
            let (a, b) = (ones.peek()?.0, others.peek()?.0);
            match a.cmp(b) {
                Ordering::Less => pass(one, &mut ones, b),
                Ordering::Greater => pass(other, &mut others, a),
                Ordering::Equal => {
                    let ((key, a), (_, b)) = (ones.next()?, others.next()?);
                    return Some((key, a, b));
                }
            }
        }
    })
}

/// Goes on at `to`.
fn pass<'a, K: Ord, V>(map: &'a BTreeMap<K, V>, walk: &mut Peekable<Range<'a, K, V>>, to: &K) {
    for _ in 0..STEPS {
        if walk.next_if(|(key, _)| *key < to).is_none() {
            return;
        }
    }
    *walk = map.range(to..).peekable();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_both_have_however_they_lie() {
        for (first, second) in [(1, 1), (2, 3), (3, 2), (50, 3), (7, 90)] {
            let map = |step: usize, from: usize| (from..400).step_by(step).map(|n| (n, n)).collect::<BTreeMap<_, _>>();
            for from in [0, 1, 200, 399, 400] {
                let (one, other) = (map(first, 0), map(second, from));
                let found: Vec<usize> = both(&one, &other).map(|(key, ..)| *key).collect();
                let wanted: Vec<usize> = one.keys().filter(|key| other.contains_key(key)).copied().collect();
                assert_eq!(found, wanted, "{first} {second} {from}");
            }
        }
    }
}
