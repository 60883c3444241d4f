//! The cycle's way to Git: fetches and the reading of revisions, beside the loop.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    decide::{Bearing, Intake},
    model::{Commit, SourceError},
};

use super::{
    Broke, Cycle,
    intake::{Known, Librarian, outdated},
    parts::{Happening, Parts, Taken},
    troubles::Due,
};

impl Cycle {
    /// Asks Git for the head, unless that is under way.
    pub fn fetch(&mut self) {
        if self.fetching {
            self.again = true;
            return;
        }
        self.fetching = true;
        self.again = false;
        let source = self.parts.source.clone();
        self.spawn("a fetch", async move { source.fetch().await }, |answer| {
            Happening::Fetched(answer.unwrap_or_else(|broke| Err(SourceError::Unread(broke.to_string()))))
        });
    }

    /// Reads one commit, as if it were the head of the branch.
    pub fn take(&mut self, head: Commit) {
        let Some(mut librarian) = self.librarian.take() else { return };
        let Parts { source, targets, policy, .. } = &self.parts;
        let (source, targets, policy) = (source.clone(), targets.clone(), policy.clone());
        let known = Known::new(self.ledger(), self.now());
        self.fetching = true;
        let (commit, under) = (head.clone(), policy.clone());
        let read = async move {
            let intake = librarian.take(source.as_ref(), &commit, &known, &targets, &under).await;
            (librarian, intake)
        };
        self.spawn("the reading of a revision", read, move |end| {
            // With the task goes what the librarian remembered: a new one reads it again.
            let broken = |broke: Broke| (Librarian::default(), Err(SourceError::Unread(broke.to_string())));
            let (librarian, intake) = end.unwrap_or_else(broken);
            Happening::Taken(Box::new(Taken { head, librarian, intake, policy }))
        });
    }

    /// A fetch came back.
    pub(super) fn fetched(&mut self, answer: Result<Commit, SourceError>) {
        self.tasks -= 1;
        self.fetching = false;
        let now = self.now();
        match answer {
            Ok(head) => {
                self.answered = Some(now);
                self.troubles.answered(&head);
                let same = self.intake.as_ref().is_some_and(|intake| intake.head == head);
                if !same {
                    self.since = now;
                }
                let news = !same || self.troubles.is_unread(&head) || self.outdated();
                if news && !self.troubles.rests(&head, now) {
                    self.take(head);
                }
            }
            Err(error) => {
                self.troubles.silent(error, now);
                // A key may be revoked while Git is away.
                if self.outdated()
                    && let Some(head) = self.intake.as_ref().map(|intake| intake.head.clone())
                {
                    self.take(head);
                }
            }
        }
    }

    /// A revision was read, or could not be.
    pub(super) fn taken(&mut self, taken: Taken) {
        self.tasks -= 1;
        self.fetching = false;
        let Taken { head, mut librarian, intake, policy } = taken;
        let old = !Arc::ptr_eq(&policy, &self.parts.policy);
        if old {
            librarian.forget();
        }
        self.librarian = Some(librarian);
        match intake {
            // Read under a configuration that is no longer.
            Ok(_) if old => self.take(head),
            Ok(intake) => self.know(intake),
            Err(error) => self.troubles.unread(head, error, self.now()),
        }
    }

    /// A revision was read, or as much of it as can be.
    fn know(&mut self, intake: Intake) {
        match &intake.bearing {
            Bearing::Unread(why) => {
                self.troubles.unread(intake.head.clone(), SourceError::Unread(why.clone()), self.now());
            }
            Bearing::Follows | Bearing::Strays | Bearing::Bad(_) => self.troubles.read(),
        }
        if self.intake.as_ref().is_none_or(|before| before.head != intake.head) {
            tracing::info!(head = %intake.head, files = intake.files.len(), findings = intake.findings.len(), "revision read");
        }
        *self.intake = Some(intake);
        // Hosts may have joined: a new revision asks the selectors again, those under way too.
        self.asking.clear();
        self.survey.ask_again();
    }

    /// Tries again what could not be read, if it rested long enough.
    pub(super) fn retry(&mut self, now: Timestamp) {
        match self.troubles.due(now).filter(|_| !self.fetching) {
            Some(Due::Take(head)) => self.take(head),
            Some(Due::Fetch) => self.fetch(),
            None => {}
        }
    }

    /// Whether the revision at hand must be read again, whatever the head is.
    fn outdated(&self) -> bool {
        let Parts { source, policy, .. } = &self.parts;
        let old = |intake| outdated(intake, source.as_ref(), policy, self.since, self.now());
        self.intake.as_ref().is_some_and(old)
    }
}
