//! The nouns and the ports. Everything may use this module, and it uses nothing of the house.
//!
//! A noun is plain data in canonical spelling, ordered and comparable. A port is a trait at which the outside world is
//! plugged in ([`Target`], [`Read`], [`Write`], [`Source`], [`Journal`], [`Clock`]), so that a simulation can own all of it.

mod binding;
mod check;
mod clock;
mod file;
mod finding;
mod forms;
mod grant;
mod guard;
mod holders;
mod journal;
mod ledger;
mod names;
mod outside;
mod owned;
mod plan;
mod policy;
mod proof;
mod record;
mod secret;
mod source;
mod standstill;
mod survey;
mod target;
mod trust;
mod vouched;
mod window;
mod withdrawn;

pub use binding::{Binding, Text};
pub use check::Check;
pub use clock::{Clock, Era, Wait};
pub use file::read_file;
pub use finding::{Finding, Level, Odd, Spot};
pub use forms::word_or_map;
pub use grant::{Ask, AskId, BadId, Given, Grant, GrantId, Tags};
pub use guard::{Passed, guard, guard_way, guard_within, way};
pub use holders::Holders;
pub use journal::{Journal, JournalError, Line};
pub use ledger::{Freeze, Ledger, Origin, Over, Proved, Resolved, State, Terms};
pub use names::{Name, Twins, names_grant, odd};
pub use outside::Outside;
pub use owned::{Attempt, Call, Doubt, Had, Hold, Owned, Sure};
pub use plan::{Cause, Held, Note, Off, Plan, Provenance, Seen, Stated, Step, Verb};
pub use policy::{Account, Limits, Policy, Protected};
pub use proof::{BadKey, Key, Proof, Review, Said, Signature};
pub use record::{FORMAT, Record, Stamp};
pub use secret::{check_secret, secret_file};
pub use source::{Change, Commit, Entry, Log, Oid, Source, SourceError, Tree};
pub use standstill::{Standstill, Still};
pub use survey::{Answer, Reading, Recalled, Selector, Survey};
pub use target::{Event, Fate, Field, Fields, Kind, Need, Pattern, Read, Recall, Target, Trouble, TroubleKind, Write};
pub use trust::{ForgeKind, Person, Rule, Trust, Trusted, When, like};
pub use vouched::{Chain, Lacks, Link, Signer, Vouched, Withheld};
pub use window::{BadTime, Span, Window, instant, moment};
pub use withdrawn::Withdrawn;

/// A boxed future that borrows: what an object-safe port returns.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
