//! One file a verb: reads the configuration, plugs the parts together, prints, and answers the exit code. The edge: only
//! here are the environment and the file system of the user touched.

mod accept;
pub mod apply;
mod audit;
mod demo;
mod doctor;
mod documents;
mod history;
mod init;
mod lint;
mod owner;
mod plan;
mod run;
mod schema;
pub mod setup;
mod status;

use std::process::ExitCode;

use crate::cli::{AuditVerb, Cli, ClockVerb, DocumentsVerb, SourceVerb, Verb};

/// Does what the command line says. Errors are printed; the exit code is as the help of each verb has it.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.verb {
        Verb::Lint(args) => lint::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Apply(args) => apply::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::History(args) => history::run(&args),
        Verb::Audit(args) => match args.verb {
            AuditVerb::Verify(args) => audit::verify(&args),
        },
        Verb::Source(args) => match args.verb {
            SourceVerb::Accept(args) => accept::run(&args),
        },
        Verb::Clock(args) => match args.verb {
            ClockVerb::Accept(args) => accept::clock(&args),
        },
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Documents(args) => match args.verb {
            DocumentsVerb::Show(args) => documents::show(&args),
            DocumentsVerb::Install(args) => documents::install(&args),
        },
        Verb::Schema(args) => schema::run(args.kind),
        Verb::Demo(args) => demo::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("{}error:{} {error:#}", anstyle::AnsiColor::Red.on_default().bold(), anstyle::Reset);
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output. A reader that hangs up (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints JSON, indented, with a line end.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}
