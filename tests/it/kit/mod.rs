//! That the kit does what AWS does, asked over HTTP as AWS's clients ask.

mod clients;
mod commands;
mod faults;
mod hosts;
mod passing;
mod scripts;
