use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use crate::{cli::SchemaKind, config::Config, decide::grant_schema, surface::world};

use super::{print_json, setup};

pub fn run(kind: SchemaKind) -> Result<ExitCode> {
    print_json(&schema(kind))?;
    Ok(ExitCode::SUCCESS)
}

pub fn schema(kind: SchemaKind) -> Value {
    match kind {
        SchemaKind::Grant => grant_schema(&setup::targets()),
        SchemaKind::Config => schemars::schema_for!(Config).to_value(),
        SchemaKind::World => schemars::schema_for!(world::State).to_value(),
    }
}
