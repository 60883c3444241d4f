//! Joins decisions with the world outside: the cycle reads and decides, the executor writes, the daemon goes on and on.
//! Tasks begin in one place (`spawn`), which tells the end of each.

mod age;
mod apply;
mod blind;
mod book;
mod brake;
mod counted;
mod cycle;
mod daemon;
mod gate;
mod intake;
mod looks;
mod parts;
mod revisions;
mod spawn;
mod still;
mod tries;
mod troubles;
mod turn;

pub use age::Distrust;
pub use apply::{Executor, Nonces};
pub use book::Book;
pub use counted::Counted;
pub use cycle::Cycle;
pub use daemon::{Daemon, Order, Pulse};
pub use intake::Librarian;
pub use parts::{Happening, Outlook, Parts};
pub use spawn::{Broke, keep, spawn};
