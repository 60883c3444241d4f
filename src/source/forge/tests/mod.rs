//! Against servers of our own on loopback. What GitHub is asked and answers is held against its published description.

mod github;
mod gitlab;
mod hub;
mod manners;
mod openapi;
mod proxy;
mod server;

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{
    Forge, Settings,
    http::{LIMITS, Limits},
};
use crate::model::{Commit, Outside, Said};

/// Must stand in no output.
const CANARY: &str = "ghp_canary0123456789abcdefcanary";

/// For those who never answer.
const SHORT: Limits = Limits { request: Duration::from_millis(400), whole: Duration::from_secs(20), ..LIMITS };

/// A daemon's side: the token lies in a file.
struct Asker {
    forge: Forge,
    folder: TempDir,
}

impl Asker {
    fn new(settings: &Settings, limits: Limits) -> Self {
        Self::outside(settings, limits, &Outside::default())
    }

    fn outside(settings: &Settings, limits: Limits, outside: &Outside) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("forge"), format!("{CANARY}\n")).unwrap();
        let forge = Forge::limited(settings, "main", Some(folder.path()), outside, limits).unwrap();
        Self { forge, folder }
    }

    async fn said(&self, commit: &str, now: &str) -> Said {
        let now: Timestamp = now.parse().unwrap();
        let said = self.forge.said(&Commit(commit.into()), now).await;
        assert!(!format!("{said:?} {:?}", self.forge).contains(CANARY), "{said:?}");
        said
    }
}

const NOW: &str = "2026-11-20T12:00:00Z";

async fn said(settings: &Settings, commit: &str) -> Said {
    Asker::new(settings, LIMITS).said(commit, NOW).await
}
