//! Measures what the README promises of speed and memory, and prints one Markdown table. `scripts/bench`
//! runs it; `scripts/bench plan` runs one part of it.
//!
//! A plain program and no statistics: the targets are orders of magnitude, and the machine is shared. Every figure is the
//! median of several runs, with the shortest and the longest beside it. Each part runs in a process of its own, so that its
//! memory is its own.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that cannot be made ends here")]
#![cfg_attr(feature = "aws", expect(clippy::panic, reason = "a measurement that cannot be made ends here"))]

#[cfg(feature = "aws")]
#[path = "../../tests/it/aws/mod.rs"]
mod aws;
mod engine;
mod growth;
mod history;
mod hostile;
mod journal;
mod lint;
mod plan;
mod report;
mod still;
mod town;
mod trust;
#[cfg(feature = "aws")]
mod wire;

use std::process::Command;

/// The parts by name, in the order of the table.
const PARTS: &[(&str, fn())] = &[
    ("lint", lint::measure),
    ("plan", plan::ten_thousand),
    ("plan-large", plan::hundred_thousand),
    ("growth", growth::measure),
    ("still", still::measure),
    ("engine", engine::measure),
    ("journal", journal::measure),
    ("memory", engine::memory),
    ("hostile", hostile::measure),
    ("history", history::measure),
    ("trust", trust::measure),
    #[cfg(feature = "aws")]
    ("wire", wire::measure),
];

fn main() {
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [only, part] = &asked[..]
        && only == "part"
    {
        let (_, measure) = PARTS.iter().find(|(name, _)| name == part).unwrap();
        return measure();
    }
    println!("| what | target | measured | |\n|---|---|---|---|");
    let mut failed = false;
    for (name, _) in PARTS.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|word| word == name)) {
        let status = Command::new(std::env::current_exe().unwrap()).args(["part", name]).status().unwrap();
        failed |= !status.success();
        if !status.success() && status.code() != Some(growth::FAILED) {
            report::row(name, "it can be measured", &status.to_string(), false);
        }
    }
    report::binary();
    report::machine();
    if failed {
        std::process::exit(1);
    }
}
