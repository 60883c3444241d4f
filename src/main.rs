//! The entry: arguments in, exit code out. The tour is in the crate doc of `lib.rs`.

use std::process::ExitCode;

use clap::Parser;
use grantd::{cli::Cli, command};

/// The exit code for arguments that make no sense, EX_USAGE of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return command::usage(&error, ExitCode::from(USAGE)),
    };
    command::run(cli)
}
