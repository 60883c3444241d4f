//! The entry: arguments in, exit code out. The tour is in the crate doc of `lib.rs`.

use std::process::ExitCode;

use clap::Parser;
use grantd::{cli::Cli, command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return command::usage(&error, ExitCode::from(command::USAGE)),
    };
    command::run(cli)
}
