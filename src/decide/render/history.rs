use std::fmt::Write;

use crate::{
    decide::moment,
    model::{Fate, GrantId, Line, Record, Signature, Stamp, Trust, Verb, Vouched},
};

use super::{BAD, CHANGE, GOOD, QUIET, WARNING, count, paint};

/// One line of the journal as a sentence.
pub fn history_text(line: &Line) -> String {
    let Line { seq, at, record } = line;
    let (what, style) = sentence(record);
    let time = moment(*at);
    let mut text = String::new();
    let _ = write!(text, "{} {}", paint(QUIET, format!("{seq:>6} {time}")), paint(style, what));
    if let Some(why) = stamp(record) {
        let _ = write!(text, " {}", paint(QUIET, why));
    }
    text
}

fn stamp(record: &Record) -> Option<String> {
    let (Record::Intend { stamp, .. }
    | Record::Fate { stamp, .. }
    | Record::Join { stamp, .. }
    | Record::Sent { stamp, .. }
    | Record::Dispute { stamp, .. }
    | Record::Retried { stamp, .. }
    | Record::Drift { stamp, .. }
    | Record::Standing { stamp, .. }
    | Record::Gone { stamp, .. }
    | Record::Forget { stamp, .. }) = record
    else {
        return None;
    };
    let Stamp { grants, commit, author: _ } = stamp;
    let grants: Vec<_> = grants.iter().map(GrantId::as_str).collect();
    let commit = commit.as_ref().map_or_else(String::new, |commit| format!(" {}", commit.short()));
    (!grants.is_empty()).then(|| format!("[{}{commit}]", grants.join(" ")))
}

/// Who stands behind it, where anybody had to.
fn verdict(vouched: &Vouched) -> String {
    if vouched.level == Trust::Branch { String::new() } else { format!(": {vouched}") }
}

fn sentence(record: &Record) -> (String, anstyle::Style) {
    match record {
        Record::Init { commit, existing, .. } => {
            let existing = if *existing { ", existing files grant" } else { "" };
            (format!("init at {}{existing}", commit.short()), QUIET)
        }
        Record::Prior { grant, existing: true } => (format!("{grant} was there before, and may grant"), QUIET),
        Record::Prior { grant, existing: false } => (format!("{grant} was there before, and grants nothing"), QUIET),
        Record::Start { version, .. } => (format!("start of grantd {version}"), QUIET),
        Record::Tick {} => ("tick".into(), QUIET),
        Record::Clock { step, because, .. } => (format!("clock moved by {} s: {because}", step / 1000), WARNING),
        Record::Head { commit, .. } => (format!("head {}", commit.short()), QUIET),
        Record::Freeze { reason, .. } => (format!("freeze: {reason}"), WARNING),
        Record::Adopt { commit, reason, by, .. } => {
            (format!("head {} accepted by {by}: {reason}", commit.short()), WARNING)
        }
        Record::Prove { proof, .. } => {
            let found = match (&proof.signature, &proof.unsigned) {
                (Signature::Bad(why), _) => why.to_string(),
                (_, Some(why)) => format!("brought in what does not count: {why}"),
                (Signature::By(key), None) => format!("is signed by {key}"),
            };
            (format!("verify: {} {found}", proof.commit.short()), QUIET)
        }
        Record::Withhold { grant, what } => (format!("withhold {grant}: {}", what.reason), WARNING),
        Record::Clear { grant } => (format!("clear {grant}: nothing of it is withheld"), QUIET),
        Record::Suspend { grant, commit, author, effective } => {
            (format!("suspend {grant} at {}, {} by {author}", moment(*effective), commit.short()), CHANGE)
        }
        Record::Resume { grant, commit } => (format!("resume {grant}, {}", commit.short()), CHANGE),
        Record::Thaw { commit } => (format!("thaw at {}", commit.short()), GOOD),
        Record::Accept { grant, commit, author, start, until, vouched, .. } => {
            let window = format!("from {} until {}", moment(*start), moment(*until));
            (format!("accept {grant} {window}, {} by {author}{}", commit.short(), verdict(vouched)), GOOD)
        }
        Record::Amend { grant, commit, author, until, vouched, .. } => {
            let until = moment(*until);
            (format!("amend {grant} until {until}, {} by {author}{}", commit.short(), verdict(vouched)), CHANGE)
        }
        Record::Shorten { grant, until } => {
            (format!("shorten {grant} until {}: the configuration allows no more", moment(*until)), CHANGE)
        }
        Record::Hold { grant, reason, .. } => (format!("hold {grant}: {reason}"), WARNING),
        Record::Withdraw { grant, commit, author, effective } => {
            (format!("withdraw {grant} at {}, {} by {author}", moment(*effective), commit.short()), CHANGE)
        }
        Record::Restore { grant, commit } => (format!("restore {grant}, {}", commit.short()), CHANGE),
        Record::Release { grants, digest } => {
            (format!("release {}, digest {digest}", count(grants.len(), "withdrawal")), WARNING)
        }
        Record::Finish { grant, cause } => (format!("finish {grant}: {cause}"), CHANGE),
        Record::Resolve { grant, places, .. } if places.is_empty() => {
            (format!("resolve {grant}: no host matches, and it grants nothing there"), WARNING)
        }
        Record::Resolve { grant, places, .. } => {
            let places: Vec<&str> = places.iter().map(AsRef::as_ref).collect();
            (format!("resolve {grant}: {}", places.join(", ")), QUIET)
        }
        Record::Join { binding, .. } => (format!("join {binding}"), QUIET),
        Record::Intend { verb, binding, cause, until, .. } => {
            (format!("intend {verb} {binding} until {}, {cause}", moment(*until)), QUIET)
        }
        Record::Sent { binding, request, .. } => (format!("sent {request} for {binding}"), QUIET),
        Record::Fate { verb, binding, fate, .. } => match fate {
            Fate::Done => (format!("{verb} done {binding}"), GOOD),
            Fate::Standing => (format!("{verb} standing {binding}: it was there already"), WARNING),
            Fate::Absent if *verb == Verb::Revoke => {
                (format!("{verb} absent {binding}: it was not there any more"), GOOD)
            }
            Fate::Absent => (format!("{verb} absent {binding}: somebody took it away, and it stays so"), WARNING),
            Fate::Gone => (format!("{verb} gone {binding}: its place no longer exists"), WARNING),
            Fate::Failed(trouble) => (format!("{verb} failed {binding}: {trouble}"), BAD),
            Fate::Unknown(trouble) => (format!("{verb} unknown {binding}: {trouble}"), BAD),
        },
        Record::Retried { binding, count, first, trouble, .. } => {
            let first = moment(*first);
            (format!("revoke failed {binding}: {trouble} (failure {count} in a row, alike since {first})"), BAD)
        }
        Record::Dispute { binding, .. } => (format!("dispute {binding}: there, and taken for ours"), WARNING),
        Record::Drift { binding, .. } => (format!("drift {binding}: removed by somebody else"), WARNING),
        Record::Standing { binding, .. } => (format!("standing {binding}: not ours"), WARNING),
        Record::Gone { binding, .. } => (format!("gone {binding}: its place no longer exists"), WARNING),
        Record::Forget { binding, because, .. } => (format!("forget {binding}: {because}"), QUIET),
        Record::Cut { bytes, kept } => {
            (format!("cut {} of a torn tail, kept in {kept}", count(*bytes, "byte")), WARNING)
        }
        Record::Checkpoint { .. } => ("checkpoint".into(), QUIET),
    }
}
