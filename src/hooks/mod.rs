//! Webhooks of the forges: a hint to fetch, and nothing more.
//!
//! A forge posts to `/hooks/github` or `/hooks/gitlab` when somebody has pushed. What it posts is never parsed: the
//! headers say whether it is authentic, whether it is a push, and whether it was here before. Then the branch is asked,
//! as at every poll, and only what Git answers counts. A forger gains at most a fetch in [`WINDOW`]; a lost webhook
//! costs at most the time to the next poll.
//!
//! Everything runs in one future, [`Hooks::serve`]: nothing is spawned, and what it holds is bounded.
//!
//! | file | does |
//! |---|---|
//! | `settings` | the block of the configuration, checked |
//! | `keys` | the secrets, read again when their files change |
//! | `forge` | what each forge says in its headers |
//! | `judge` | whether a request is a hint |
//! | `memory` | which deliveries were here, and how often the log is told of refusals |
//! | `server` | HTTP, within limits |

mod forge;
mod judge;
mod keys;
mod memory;
mod server;
mod settings;

#[cfg(test)]
mod tests;

pub use keys::Keys;
pub use server::{Hooks, WINDOW};
pub use settings::Settings;
