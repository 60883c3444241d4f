//! The journal's backends and the chain that they share. `docs/journal.md` has the format.
//!
//! [`FileJournal`] writes a folder of segments; [`read()`], [`scan`] and [`verify`] read one beside a running writer.

mod chain;
mod disk;
mod draft;
mod file;
mod line;
mod read;
#[cfg(test)]
mod tests;

pub use draft::Draft;
pub use file::FileJournal;
pub use line::Head;
pub use read::{Verdict, read, scan, verify};
