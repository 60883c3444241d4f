use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cli::Demo;

pub fn run(_: &Demo) -> Result<ExitCode> {
    bail!("no demo yet")
}
