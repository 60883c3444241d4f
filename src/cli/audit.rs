use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, Reading};

/// Examine the journal, and move out what is old
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    pub verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    Verify(Verify),
    Archive(Archive),
}

/// Verify the whole chain, and that every checkpoint is the fold of the lines before it
///
/// A chain proves that nothing in it was changed, not that nothing was cut off its end: for that, compare with a head that
/// was noted outside. What was moved to an archive is verified if that is given; else the chain begins behind it. Exits 0 if it is
/// whole, 1 if not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd audit verify\n  grantd audit verify --checkpoint 4711:9f86d081884c7d65…\n  grantd audit verify --archive /var/lib/grantd-archive"
)]
pub struct Verify {
    #[command(flatten)]
    pub reading: Reading,
    /// A line's number and hash that were noted outside, as `audit verify` prints them
    #[arg(long, value_name = "SEQ:HASH")]
    pub checkpoint: Option<String>,
    /// Verify what was archived there, too
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Move old segments of the journal to another folder, compressed
///
/// Each is verified, copied, and the copy verified on its disk before the segment goes. What a start needs stays: the last two
/// segments. The daemon may run. A call that breaks off is gone on with by the next one. Exits 0 if all
/// is moved that was to be, or there was nothing to move, 1 if not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grantd audit archive --to /var/lib/grantd-archive\n  grantd audit archive --to /var/lib/grantd-archive --older-than 90d"
)]
pub struct Archive {
    #[command(flatten)]
    pub reading: Reading,
    /// The folder, which must be there; always the same one, and none that another installation archives to
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Keep here whatever has a line that is younger, such as `90d`
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}
