//! The journal's backends and the chain that they share. `docs/journal.md` has the format.
//!
//! [`FileJournal`] writes a folder of segments; [`read()`], [`scan`] and [`verify`] read one beside a running writer. [`pack()`]
//! compresses closed segments and [`archive()`] moves them out, beside it too: neither touches what a start needs.

mod archive;
mod chain;
mod disk;
mod draft;
mod file;
mod folder;
mod line;
mod pack;
mod read;
mod shelf;
#[cfg(test)]
mod tests;
mod trace;

pub use archive::{Archived, Moved, archive};
pub use draft::Draft;
pub use file::FileJournal;
pub use line::Head;
pub use pack::pack;
pub use read::{Verdict, read, scan, verify};
