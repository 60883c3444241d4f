use std::sync::{Arc, Mutex, PoisonError};

use hyper::{Method, StatusCode, http::request};

use super::{Keys, forge::Forge, keys::Key, memory::Deliveries};

/// Why a request is refused. The answer says nothing but a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// For the log.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// What an authentic request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Somebody pushed something somewhere: ask the branch.
    Pushed,
    /// The same delivery once more.
    Again,
    /// A ping, or an event that moves no branch.
    Other,
}

/// Decides what a request is, by its path, method and headers. Its body is only hashed.
pub(super) struct Judge {
    pub keys: Arc<Keys>,
    deliveries: Mutex<Deliveries>,
}

impl Judge {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys: Arc::new(keys), deliveries: Mutex::default() }
    }

    /// Who posts, and the secret that he should know: what can be said before the body is read.
    pub(super) fn admit(&self, head: &request::Parts) -> Result<(Forge, Arc<Key>), Refusal> {
        let forge = Forge::at(head.uri.path());
        let forge = forge.ok_or(Refusal::new(StatusCode::NOT_FOUND, "another path"))?;
        let key = self.keys.of(forge).ok_or(Refusal::new(StatusCode::NOT_FOUND, "a forge without a secret"))?;
        if head.method != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "another method"));
        }
        Ok((forge, key))
    }

    /// What an admitted request says, whole.
    pub(super) fn word(&self, forge: Forge, key: &Key, head: &request::Parts, body: &[u8]) -> Result<Word, Refusal> {
        let refuse = |reason| Refusal::new(StatusCode::UNAUTHORIZED, reason);
        forge.check(key, &head.headers, body).map_err(refuse)?;
        // Remembered only now: a forger cannot use up the id of what is still to come.
        let new = forge.delivery(&head.headers).is_none_or(|id| {
            let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
            deliveries.note(forge, id)
        });
        Ok(match (new, forge.push(&head.headers)) {
            (false, _) => Word::Again,
            (true, true) => Word::Pushed,
            (true, false) => Word::Other,
        })
    }
}
