use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::model::{Commit, SourceError};

/// How long a commit that was not taken is left alone: twice as long each time.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How many are remembered; beyond, the one that may be asked for soonest is forgotten.
const MOST: usize = 64;

/// Commits that were not taken, so that the same bomb is not brought at each poll. Another head of the branch is another
/// commit, and asked for at once.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<Commit, Refusal>);

#[derive(Debug)]
struct Refusal {
    why: String,
    wait: Duration,
    until: Instant,
}

impl Refusals {
    /// Fails, with what was said then, while the commit is to be left alone.
    pub fn pass(&self, commit: &Commit, now: Instant) -> Result<(), SourceError> {
        match self.0.get(commit) {
            Some(refusal) if now < refusal.until => Err(refusal.error(commit)),
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers that the remote's side of it failed; what failed on ours is tried again at once.
    pub fn note(&mut self, commit: &Commit, error: SourceError, now: Instant) -> SourceError {
        let SourceError::Unreachable(why) = error else { return error };
        let wait = self.0.get(commit).map_or(SHORTEST, |last| (last.wait * 2).min(LONGEST));
        let refusal = Refusal { why, wait, until: now + wait };
        let error = refusal.error(commit);
        self.0.insert(commit.clone(), refusal);
        if self.0.len() > MOST {
            let soonest = self.0.iter().min_by_key(|(_, refusal)| refusal.until).map(|(commit, _)| commit.clone());
            soonest.and_then(|commit| self.0.remove(&commit));
        }
        error
    }

    pub fn forget(&mut self, commit: &Commit) {
        self.0.remove(commit);
    }
}

impl Refusal {
    /// The same words at each poll, so that they are told once.
    fn error(&self, commit: &Commit) -> SourceError {
        let minutes = self.wait.as_secs() / 60;
        let (why, commit) = (&self.why, commit.short());
        SourceError::Unreachable(format!("{why} ({commit} is asked for again in {minutes} min, another head at once)"))
    }
}
