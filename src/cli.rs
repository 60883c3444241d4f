//! Flags and help. Every verb begins with an imperative and shows examples.

mod audit;

use std::path::PathBuf;

pub use audit::{Archive, Audit, AuditVerb, Verify};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Access as code that ends by itself: grants in Git become access in AWS, and end on time.
#[derive(Debug, Parser)]
#[command(name = "grantd", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Lint(Lint),
    Plan(Plan),
    Apply(Apply),
    Init(Init),
    Run(Run),
    Status(Status),
    History(History),
    Audit(Audit),
    Source(Source),
    Clock(Clock),
    Doctor(Doctor),
    Documents(Documents),
    Schema(Schema),
    Demo(Demo),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/grantd/grantd.yaml")]
    pub config: PathBuf,
}

/// What is read where nothing is changed.
#[derive(Debug, Args)]
pub struct Reading {
    #[command(flatten)]
    pub configured: Configured,
    /// Read this state folder, without a configuration: the one that was used there last counts
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
    Journald,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    Grant,
    Config,
    World,
}

/// Check grant files, without credentials and without effect
///
/// Without --config it checks the form, and the built-in limits and protections; names of accounts and regions need the
/// configuration. Exits 0 if there are no errors (warnings may be), 1 if there are.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd lint\n  grantd lint grants/oncall/2026-11-20-jdoe-checkout.yaml\n  grantd lint --config grantd.yaml --format json grants"
)]
pub struct Lint {
    /// A grant file, or a folder of them
    #[arg(value_name = "PATH", default_value = "grants")]
    pub path: PathBuf,
    /// The configuration file, for accounts, regions and limits
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Show what one cycle would do now, without doing it
///
/// Fetches, reads the cloud and the journal, takes no lock and keeps nothing. Exits 0 if there is nothing to do and nothing is
/// held, 2 if there are changes or something is held, whatever holds it, 1 on errors.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd plan\n  grantd plan --rev 3f2a91c --format markdown\n  grantd plan --path ./grants"
)]
pub struct Plan {
    #[command(flatten)]
    pub configured: Configured,
    /// Plan for this commit of the branch's history, instead of its head
    #[arg(long, value_name = "REV", conflicts_with = "path")]
    pub rev: Option<String>,
    /// Plan for the files in this folder, as if they were merged now
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
}

/// Do one cycle, and end
///
/// Refuses while a daemon runs on the same state. Exits 0 if everything that could be done now was done, 1 if not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd apply\n  grantd apply --digest 5f0c…   # only the plan that was reviewed; lets what the guard holds go on"
)]
pub struct Apply {
    #[command(flatten)]
    pub configured: Configured,
    /// Apply only the plan with this digest, as `grantd plan` showed it; lets the withdrawals and suspensions that the guard holds go on
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Begin an installation: state folder, journal, starting head
///
/// Files that are in the repository already grant nothing, ever, unless --existing says so; then their time counts from
/// their commit.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd init\n  grantd init --config grantd.yaml --existing\n  grantd init --rev 3f2a91c"
)]
pub struct Init {
    #[command(flatten)]
    pub configured: Configured,
    /// Begin at this commit instead of the branch's head
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Let the files that are there already grant
    #[arg(long)]
    pub existing: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Run the daemon
///
/// SIGTERM and SIGINT end it after the calls under way; SIGHUP and a changed file reload the configuration. The level of the
/// log is set by GRANTD_LOG, such as `debug` or `info,grantd::source=debug`; errors are always logged.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd run\n  grantd run --config grantd.yaml --log json\n  systemctl start grantd"
)]
pub struct Run {
    #[command(flatten)]
    pub configured: Configured,
    /// How the log is written; to standard error, or to journald
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// Show what is live, owed and held, from the journal alone
///
/// Takes no lock. Exits 0, or 1 if the journal cannot be read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd status\n  grantd status --state /var/lib/grantd   # whatever became of the configuration\n  grantd status --format json | jq '.owed[] | select(.state == \"overdue\")'"
)]
pub struct Status {
    #[command(flatten)]
    pub reading: Reading,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Show what happened, from the journal alone
///
/// JSON is one line of the journal a line. What was moved to an archive is named, and shown if that is given. Takes no lock. Exits
/// 0, or 1 if the journal cannot be read or has no line about the grant.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd history\n  grantd history 2026-11-20-jdoe-checkout\n  grantd history --format json\n  grantd history --archive /var/lib/grantd-archive 2025-03-02-jdoe-checkout"
)]
pub struct History {
    #[command(flatten)]
    pub reading: Reading,
    /// Only the lines about this grant
    #[arg(value_name = "GRANT")]
    pub grant: Option<String>,
    /// Show what was archived there, too
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Say which history of the repository counts
#[derive(Debug, Args)]
pub struct Source {
    #[command(subcommand)]
    pub verb: SourceVerb,
}

#[derive(Debug, Subcommand)]
pub enum SourceVerb {
    Accept(Accept),
}

/// Accept a head by name after granting was frozen: history was rewritten, or the branch was gone
///
/// The branch must hold the commit on its first-parent line. Live grants that have no file there are withdrawn; what is
/// withheld stays withheld. Takes the journal's lock, so the daemon is stopped for a moment. Exits 0 if it is accepted, 1 if
/// not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd source accept --rev 3f2a91c0d4… --reason \"CHG-211: a token was purged from history\""
)]
pub struct Accept {
    #[command(flatten)]
    pub configured: Configured,
    /// The commit from which it goes on
    #[arg(long, value_name = "SHA")]
    pub rev: String,
    /// Why, in one line: it stands in the journal for ever
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Say that the machine's clock is right
#[derive(Debug, Args)]
pub struct Clock {
    #[command(subcommand)]
    pub verb: ClockVerb,
}

#[derive(Debug, Subcommand)]
pub enum ClockVerb {
    Accept(AcceptClock),
}

/// Accept the machine's clock after it was stepped: time goes on from what it says now
///
/// Where the clock was wrong before and is right now, nothing else can tell. Ends that were reckoned by the wrong clock come
/// earlier by as much as it was ahead, and none comes later. Takes the journal's lock, so the daemon is stopped for a moment. Exits
/// 0 if it is accepted, 1 if not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  grantd clock accept --reason \"CHG-212: NTP was set up\"")]
pub struct AcceptClock {
    #[command(flatten)]
    pub configured: Configured,
    /// Why, in one line: it stands in the journal for ever
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Check everything that the daemon needs, and say what to do about what is missing
///
/// Configuration, Git, state folder, journal, clock; on AWS, for each account: credentials, each permission that the surfaces
/// need, the SSM documents. Its calls change nothing: what it writes, it writes to names that nobody has. Exits 0 if all is
/// fine, 1 if not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd doctor\n  grantd doctor --format json | jq '.checks[] | select(.fine | not)'"
)]
pub struct Doctor {
    #[command(flatten)]
    pub configured: Configured,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Show or install the SSM documents by which Windows hosts are told
#[derive(Debug, Args)]
pub struct Documents {
    #[command(subcommand)]
    pub verb: DocumentsVerb,
}

#[derive(Debug, Subcommand)]
pub enum DocumentsVerb {
    Show(DocumentsShow),
    Install(DocumentsInstall),
}

/// Print a document, as it is installed
///
/// For whoever reviews it, or brings it into accounts by other means.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  grantd documents show add\n  grantd documents show list > ListLocalAdmins.json")]
pub struct DocumentsShow {
    #[arg(value_name = "DOCUMENT", value_parser = ["add", "remove", "list"])]
    pub document: String,
}

/// Bring the documents into every account and region of the configuration
///
/// The daemon runs no other content than this version's. Exits 0 if they are all there, 1 if not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  grantd documents install\n  grantd documents install --account prod")]
pub struct DocumentsInstall {
    #[command(flatten)]
    pub configured: Configured,
    /// Only in this account, by its name in the configuration; may be given several times
    #[arg(long, value_name = "NAME")]
    pub account: Vec<String>,
    /// Replace documents of these names that are not grantd's: their content becomes an older version
    #[arg(long)]
    pub replace: bool,
}

/// Print the JSON Schema of grant files, of the configuration, or of the world's file
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd schema grant > grant.schema.json\n  grantd schema config\n\nEditors with a YAML language server take it by a first line such as\n  # yaml-language-server: $schema=../schemas/grant.schema.json"
)]
pub struct Schema {
    #[arg(value_enum)]
    pub kind: SchemaKind,
}

/// Tell the whole story on an in-memory cloud: no AWS, no set-up, within a minute
///
/// The real engine, Git source and journal; only the cloud is a world, and its clock runs fast. Exits 0, or 1 if a promise of
/// the story was not kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd demo\n  grantd demo --keep /tmp/grantd-demo   # look at repository, journal and world afterwards"
)]
pub struct Demo {
    /// Keep repository, journal and world in this folder, which must not exist yet
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}
