//! Everything that is tested from outside: scenarios on the world, and the built binary.

mod binary;
mod scenarios;
mod sim;
