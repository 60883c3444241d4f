//! AWS for tests, over HTTP: moto for what it does well, and in front of it a [`Cloud`] that knows who asks what, lets
//! things go wrong on request, and runs SSM commands on the world's hosts.
//!
//! A test has a cloud, and account ids, of its own; moto is shared. What a test finds in AWS ([`Realm`], [`Center`])
//! is asked of moto directly: no fault spoils it and no record shows it.

#![allow(dead_code, unused_imports, reason = "a kit: whoever takes it uses a part of it")]

mod caller;
mod center;
mod cloud;
mod commands;
mod document;
mod ec2;
mod fault;
mod fleet;
mod host;
mod http;
mod iam;
pub mod moto;
mod run_command;

pub use caller::{Caller, all, one};
pub use center::Center;
pub use cloud::{Call, Cloud, HOME};
pub use fault::{Fault, How};
pub use fleet::Stuck;
pub use iam::Realm;

use std::sync::atomic::{AtomicU64, Ordering};

/// An account id that no other test has: all share one moto.
pub fn account() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(200_000_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
