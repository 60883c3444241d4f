//! The real source, and what it was asked to look at.

use std::sync::{Arc, Mutex};

use grantd::{
    model::{BoxFuture, Change, Commit, Log, Oid, Proof, Source, SourceError, Text, Tree},
    source::GitSource,
};
use jiff::Timestamp;

/// The real source, watched.
#[derive(Debug)]
pub struct Watched {
    pub source: GitSource,
    pub proved: Arc<Mutex<Vec<Commit>>>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, SourceError>>;

impl Source for Watched {
    fn fetch(&self) -> Answer<'_, Commit> {
        self.source.fetch()
    }
    fn tree<'a>(&'a self, commit: &'a Commit) -> Answer<'a, Tree> {
        self.source.tree(commit)
    }
    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> Answer<'a, Vec<Vec<u8>>> {
        self.source.blobs(blobs)
    }
    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Log> {
        self.source.log(head, since)
    }
    fn deletions<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> Answer<'a, Vec<Change>> {
        self.source.deletions(head, since)
    }
    fn trust(&self) -> Result<Text, String> {
        self.source.trust()
    }
    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> Answer<'a, Vec<Proof>> {
        self.proved.lock().unwrap().extend(commits.iter().cloned());
        self.source.prove(commits, now)
    }
    fn resolve<'a>(&'a self, rev: &'a str) -> Answer<'a, Commit> {
        self.source.resolve(rev)
    }
}
