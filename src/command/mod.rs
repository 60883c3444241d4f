//! One file a verb: reads the configuration, plugs the parts together, prints, and answers the exit code. The edge: only
//! here are the environment and the file system of the user touched.

mod accept;
pub mod apply;
mod archive;
mod audit;
mod demo;
mod doctor;
mod documents;
mod guard;
mod history;
mod init;
mod interrupt;
mod known;
mod lint;
mod log;
mod output;
mod owner;
mod plan;
mod run;
mod schema;
pub mod setup;
mod status;
mod tidy;
mod watch;

use std::process::ExitCode;

use rustix::fs::Mode;

use self::output::{complain, print, print_json};
use crate::cli::{AuditVerb, Cli, ClockVerb, DocumentsVerb, SourceVerb, Verb};

/// The exit code for arguments that make no sense, EX_USAGE of sysexits.h.
pub const USAGE: u8 = 64;

/// Does what the command line says. Errors are printed; the exit code is as the help of each verb has it.
pub fn run(cli: Cli) -> ExitCode {
    // What we and our children make is for this user alone; whoever else is to read it will get it handed.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
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
            AuditVerb::Archive(args) => archive::run(&args),
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
        Ok(code) => finish(code),
        Err(error) if error.is::<Usage>() => fail(&error.to_string(), ExitCode::from(USAGE)),
        Err(error) => fail(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

/// An argument that makes no sense, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Says what clap has to say: help and versions to standard output, what makes no sense to standard error, with this code.
pub fn usage(said: &clap::Error, code: ExitCode) -> ExitCode {
    let text = said.render().ansi().to_string();
    if said.use_stderr() {
        complain(&text);
        return code;
    }
    print(&text);
    finish(ExitCode::SUCCESS)
}

/// The code, unless the report was lost.
fn finish(code: ExitCode) -> ExitCode {
    output::failure().map_or(code, |why| fail(&why, ExitCode::FAILURE))
}

fn fail(why: &str, code: ExitCode) -> ExitCode {
    complain(&format!("{}error:{} {why}\n", anstyle::AnsiColor::Red.on_default().bold(), anstyle::Reset));
    code
}
