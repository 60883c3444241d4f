//! Everything that is tested from outside: scenarios on the world, and the built binary.

mod binary;
mod house;
mod scenarios;
mod sim;
