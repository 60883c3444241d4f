//! What stands behind a commit: its signatures, checked in this process, and what it changed.
//!
//! A signature counts by the keys that are allowed now, over exactly these bytes, never by what a program prints: git
//! says "Good signature" of a key that is in no list.

mod cert;
mod entries;
mod file;
mod graph;
mod moved;
mod object;
mod pgp;
mod range;
mod settings;
mod signers;
mod ssh;

pub(super) use graph::Reach;
pub use range::MAX_BROUGHT;
pub(super) use range::{facts, reviewed};
pub use settings::Keys;
pub use signers::Signers;

/// A commit without its signature.
#[cfg(test)]
pub(super) fn payload(raw: &[u8]) -> Option<Vec<u8>> {
    object::signed(raw).ok().map(|signed| signed.payload)
}

/// What lies behind a merge's other parents and not behind its first.
#[cfg(test)]
pub(super) fn brought(odb: &git2::Odb<'_>, parents: &[git2::Oid]) -> Vec<git2::Oid> {
    graph::Graph::new(odb, &mut Reach::default()).brought(parents, MAX_BROUGHT).ok().flatten().unwrap_or_default()
}
