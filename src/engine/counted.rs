//! Values that count their changes: what a decision rests on is kept in them, so that nobody can change it unseen.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU64, Ordering},
};

/// No number is given twice, whatever it is given to: two that are equal are the same value, unchanged.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A value, and a number that is another one after whatever could have changed it: there is no way to it but through here.
#[derive(Debug)]
pub struct Counted<T> {
    value: T,
    number: u64,
}

impl<T> Counted<T> {
    pub fn new(value: T) -> Self {
        Self { value, number: next() }
    }

    /// The same for as long as nobody could have changed it.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl<T: Default> Default for Counted<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.number = next();
        &mut self.value
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_change_it_is_counted_and_a_look_is_not() {
        let mut list = Counted::new(vec![1]);
        let number = list.number();
        assert_eq!((list.len(), list.number()), (1, number));
        list.push(2);
        let pushed = list.number();
        assert_ne!(pushed, number);
        *list = vec![1];
        assert!(list.number() != number && list.number() != pushed, "back is not unchanged");
        assert_ne!(Counted::new(()).number(), Counted::new(()).number());
    }
}
