//! Nothing is granted that was not reviewed: each test is an attack, or what must go on in spite of one. The engine, git and
//! the keys are real; the cloud is a world, and the forge a small server that says what GitHub would.

mod approved;
mod dates;
mod elsewhere;
mod forge;
mod hub;
mod kit;
mod laundering;
mod revoked;
mod rules;
mod signed;
mod watched;

use grantd::model::Trust;

use kit::{Town, Who, ask};
