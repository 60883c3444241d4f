//! What Git does not tell us, why, and when it is asked again. Told once each way: sentences may hold what moves.

use jiff::Timestamp;

use crate::model::{Attempt, Commit, SourceError, Span, Standstill, Still};

/// What is to be tried again now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Fetch,
    Take(Commit),
}

/// How often something failed in a row, and when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tries {
    count: u32,
    next: Timestamp,
}

impl Tries {
    /// After 5 s, twice as long each time, at most 5 minutes.
    fn after(before: Option<Self>, now: Timestamp) -> Self {
        let count = before.map_or(0, |tries| tries.count);
        let pause = (5i64 << count.min(6)).min(Attempt::CAP.as_seconds());
        Self { count: count + 1, next: Span::seconds(pause).after(now) }
    }
}

#[derive(Debug, Default)]
pub struct Troubles {
    /// Why the last fetch failed; `Tries` only if this machine was the reason: a remote that is away is asked at the polls.
    fetch: Option<(SourceError, Option<Tries>)>,
    /// The head that could not be read.
    unread: Option<(Commit, SourceError, Tries)>,
}

impl Troubles {
    /// The remote answered. A head that the branch has no longer is not read any more.
    pub fn answered(&mut self, head: &Commit) {
        self.unread = self.unread.take().filter(|(commit, ..)| commit == head);
        if self.fetch.take().is_some() {
            tracing::info!("Git answers again");
        }
    }

    /// A fetch failed.
    pub fn silent(&mut self, error: SourceError, now: Timestamp) {
        let before = self.fetch.as_ref().filter(|(before, _)| before.is_like(&error));
        match before {
            None => tracing::warn!(error = %error, "Git cannot be read: nothing new is granted, ends go on"),
            Some(_) => tracing::debug!(error = %error, "Git cannot be read"),
        }
        let tries = before.and_then(|(_, tries)| *tries);
        let tries = matches!(error, SourceError::Unread(_)).then(|| Tries::after(tries, now));
        self.fetch = Some((error, tries));
    }

    /// A head was read.
    pub fn read(&mut self) {
        if self.unread.take().is_some() {
            tracing::info!("the head can be read again");
        }
    }

    /// A head could not be read: nothing is known of what it says.
    pub fn unread(&mut self, head: Commit, error: SourceError, now: Timestamp) {
        let before = self.unread.as_ref().filter(|(commit, before, _)| *commit == head && before.is_like(&error));
        match before {
            None => tracing::warn!(%head, error = %error, "the head cannot be read: nothing is granted, ends go on"),
            Some(_) => tracing::debug!(%head, error = %error, "the head cannot be read"),
        }
        let tries = Tries::after(before.map(|(_, _, tries)| *tries), now);
        self.unread = Some((head, error, tries));
    }

    /// Time was put right: nobody rests until a moment that was wrong.
    pub fn clamp(&mut self, now: Timestamp) {
        let latest = Attempt::CAP.after(now);
        let fetch = self.fetch.as_mut().and_then(|(_, tries)| tries.as_mut());
        let unread = self.unread.as_mut().map(|(.., tries)| tries);
        fetch.into_iter().chain(unread).for_each(|tries| tries.next = tries.next.min(latest));
    }

    /// Whether a head is to be left alone for now: it could not be read a moment ago.
    pub fn rests(&self, head: &Commit, now: Timestamp) -> bool {
        self.unread.as_ref().is_some_and(|(commit, _, tries)| commit == head && now < tries.next)
    }

    /// Whether the last head could not be read.
    pub fn is_unread(&self, head: &Commit) -> bool {
        self.unread.as_ref().is_some_and(|(commit, ..)| commit == head)
    }

    /// What is to be tried again by now.
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        match (&self.unread, &self.fetch) {
            (Some((head, _, tries)), _) if tries.next <= now => Some(Due::Take(head.clone())),
            (_, Some((_, Some(tries)))) if tries.next <= now => Some(Due::Fetch),
            _ => None,
        }
    }

    /// When something is tried again, at the earliest.
    pub fn wake(&self) -> Option<Timestamp> {
        let unread = self.unread.as_ref().map(|(_, _, tries)| tries.next);
        let fetch = self.fetch.as_ref().and_then(|(_, tries)| tries.map(|tries| tries.next));
        unread.into_iter().chain(fetch).min()
    }

    /// Why the last fetch failed.
    pub fn fetch(&self) -> Option<&SourceError> {
        self.fetch.as_ref().map(|(error, _)| error)
    }

    /// For people: what does not work with Git.
    pub fn sentence(&self) -> Option<String> {
        let unread = self.unread.as_ref().map(|(_, error, _)| error);
        self.fetch().or(unread).map(ToString::to_string)
    }

    /// While nobody knows what the head says, nothing new is granted: it may take back what is about to be given.
    pub fn standstill(&self) -> Option<Standstill> {
        let (head, error, _) = self.unread.as_ref()?;
        let why = format!("the head {} could not be read, and is tried again: {error}", head.short());
        Some(Standstill::new(Still::Unread, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_begin_anew_after_success() {
        let (mut troubles, mut now, mut pauses) = (Troubles::default(), at(0), Vec::new());
        let head = Commit("a".repeat(40).into());
        for _ in 0..9 {
            troubles.unread(head.clone(), SourceError::Unread("no process".into()), now);
            let next = troubles.wake().unwrap();
            assert!(troubles.rests(&head, now) && troubles.due(now).is_none());
            assert_eq!(troubles.due(next), Some(Due::Take(head.clone())));
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(troubles.standstill().map(|why| why.kind), Some(Still::Unread));
        troubles.read();
        assert_eq!((troubles.wake(), troubles.standstill(), troubles.sentence()), (None, None, None));
        troubles.unread(head.clone(), SourceError::Unread("no process".into()), now);
        assert_eq!(troubles.wake(), Some(Span::seconds(5).after(now)));
    }

    #[test]
    fn another_head_is_read_at_once_and_a_remote_that_is_away_waits_for_the_poll() {
        let mut troubles = Troubles::default();
        let head = |c: &str| Commit(c.repeat(40).into());
        troubles.unread(head("a"), SourceError::Unread("no memory".into()), at(0));
        assert!(!troubles.rests(&head("b"), at(0)));
        troubles.read();
        troubles.silent(SourceError::Unreachable("no route".into()), at(0));
        assert_eq!((troubles.wake(), troubles.standstill()), (None, None));
        troubles.silent(SourceError::Unread("no process".into()), at(0));
        assert_eq!(troubles.due(at(5)), Some(Due::Fetch));
        troubles.unread(head("a"), SourceError::Unread("no memory".into()), at(5));
        troubles.answered(&head("b"));
        assert_eq!(troubles.due(at(500)), None, "the branch is elsewhere");
    }
}
