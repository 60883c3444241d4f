//! Everything that is tested from outside: scenarios on the world, and the built binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[cfg(feature = "aws")]
mod aws;
mod binary;
mod crash;
mod drift;
mod ends;
mod faults;
mod house;
#[cfg(feature = "aws")]
mod kit;
mod long;
mod plan;
mod property;
mod scenarios;
mod sim;
mod still;
mod storm;
mod trust;
