//! The pure verbs: no I/O, no clock, no randomness; `now` is an argument.
//!
//! `parse` makes grants of bytes, `admit` decides what a revision changes in the life of grants, `desire` says which
//! bindings are wanted now, `plan` compares them with what is owned and seen, `fold` makes the ledger of the journal, and
//! `render` shows it all to people.

mod admit;
mod both;
mod chain;
mod demand;
mod desire;
mod digest;
mod era;
mod fold;
mod guard;
mod hold;
mod intake;
mod judge;
mod parse;
mod plan;
mod reach;
pub mod render;
mod revision;
mod schema;
mod shape;
mod status;
mod terms;
mod verdict;
mod vouch;
mod withdraw;
mod withhold;
mod yaml;

use std::collections::BTreeMap;

pub use admit::{Admission, admit, close, waits};
pub use chain::{Past, chains, join};
pub use demand::longest;
pub use desire::{Want, Wanted, desire, earliest, end_of};
pub use digest::digest;
pub use era::TOLERANCE;
pub use fold::{fold, ledger, replay};
pub use guard::waiting;
pub use intake::{Bearing, Deletions, Filed, Footing, Intake, here, present};
pub use judge::{judge, protects};
pub use parse::{LONGEST, Parsed, parse, stem};
pub use plan::{FRESH, Ground, SETTLE, plan};
pub use reach::{Allows, Reach};
pub use schema::grant_schema;
pub use status::{Owing, Status, owed, status};
pub use terms::reduced;

use crate::model::Target;
pub use crate::model::moment;

/// The surfaces by name: the pure halves, as the registry lists them.
pub type Targets = BTreeMap<&'static str, Box<dyn Target>>;
