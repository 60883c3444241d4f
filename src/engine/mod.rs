//! Joins decisions with the world outside: the cycle reads and decides, the executor writes, the daemon goes on and on.
//! Tasks are spawned nowhere else.

mod age;
mod apply;
mod blind;
mod book;
mod cycle;
mod daemon;
mod gate;
mod intake;
mod parts;

pub use apply::Executor;
pub use book::Book;
pub use cycle::Cycle;
pub use daemon::{Daemon, Order, Pulse};
pub use intake::Librarian;
pub use parts::{Happening, Outlook, Parts};
