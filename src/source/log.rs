use std::time::Duration;

use jiff::Timestamp;

use super::{
    child::{self, Limits},
    fetch::last_words,
    git::Git,
};
use crate::model::{Change, Commit, Log, Oid, SourceError, Text, names_grant};

/// About 250 bytes a commit: a million commits.
const LIMITS: Limits = Limits { time: Duration::from_secs(120), memory: 2 << 30, file: 0, output: 256 << 20 };

/// The longest author that is kept, characters.
const AUTHOR: usize = 200;

/// Asks for every commit of the line, also for those that touch nothing below the folder: only an unbroken chain of
/// first parents proves that `since` lies on it. Dates are the author's, so `since..head` alone proves nothing.
const ARGUMENTS: [&str; 13] = [
    "log",
    "--first-parent",
    "--full-history",
    "--sparse",
    "--raw",
    "-z",
    "--no-renames",
    "--no-abbrev",
    "--diff-merges=first-parent",
    "--root",
    "--no-mailmap",
    "--ignore-submodules=none",
    "--format=tformat:%H%x00%P%x00%ct%x00%an <%ae>",
];

/// The first-parent line from `since` to `head`, both of which are in the repository.
pub async fn log(git: &Git, head: &Commit, since: Option<&Commit>, folder: &str) -> Result<Log, SourceError> {
    let range = since.map_or_else(|| head.to_string(), |since| format!("{since}..{head}"));
    let mut arguments = ARGUMENTS.to_vec();
    arguments.extend([range.as_str(), "--", folder]);
    let broken = |what: String| SourceError::Broken(format!("the history up to {head} cannot be read: {what}"));
    let output = child::run(git.command(&arguments), &LIMITS).await.map_err(|e| broken(e.to_string()))?;
    if !output.status.success() {
        return Err(broken(last_words(&output.stderr, None)));
    }
    let (mut changes, end) = parse(&output.stdout, head, folder).map_err(|e| broken(e.into()))?;
    if end.as_deref() != since.map(|since| &*since.0) {
        return match since {
            Some(_) => Ok(Log::default()),
            None => Err(broken("it does not end at a first commit".into())),
        };
    }
    changes.reverse();
    Ok(Log { descends: true, changes })
}

/// The changes, newest first, and the first parent of the oldest commit. Fails if the commits are no chain that begins
/// at `head`.
fn parse(printed: &[u8], head: &Commit, folder: &str) -> Result<(Vec<Change>, Option<String>), &'static str> {
    let mut tokens = printed.split(|b| *b == 0).peekable();
    let mut changes = Vec::new();
    let mut expected = Some(head.0.to_string());
    while let Some(id) = tokens.next_if(|token| !token.is_empty()) {
        if expected.as_deref().map(str::as_bytes) != Some(id) {
            // Nothing was printed for what lies between: this is another line.
            return Err("its commits are no chain of first parents");
        }
        let (Some(parents), Some(time), Some(author)) = (tokens.next(), tokens.next(), tokens.next()) else {
            return Err("the answer of git breaks off");
        };
        let mut files = Vec::new();
        while let Some(entry) = tokens.next_if(|token| token.trim_ascii_start().starts_with(b":")) {
            let path = tokens.next().ok_or("the answer of git breaks off")?;
            files.extend(file(entry, path, folder)?);
        }
        files.sort();
        if !files.is_empty() {
            changes.push(Change {
                commit: commit_id(id)?,
                author: author_text(author),
                committed: moment(time),
                parents: u32::try_from(parents.split(|b| *b == b' ').filter(|id| !id.is_empty()).count())
                    .unwrap_or(u32::MAX),
                files,
            });
        }
        expected = parents.split(|b| *b == b' ').next().filter(|id| !id.is_empty()).map(lossy);
    }
    if tokens.any(|token| !token.is_empty()) {
        Err("the answer of git makes no sense")
    } else {
        Ok((changes, expected))
    }
}

/// `:OLDMODE NEWMODE OLDBLOB NEWBLOB STATUS` and a path. `None` for what is no grant file.
fn file(entry: &[u8], path: &[u8], folder: &str) -> Result<Option<(Text, Option<Oid>)>, &'static str> {
    // A path that is not UTF-8 is none that anything of ours can name; `tree` refuses the revision.
    let Ok(path) = std::str::from_utf8(path) else { return Ok(None) };
    let below = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    if !below.is_some_and(names_grant) {
        return Ok(None);
    }
    let mut fields = entry.trim_ascii_start().split(|b| *b == b' ').skip(1);
    let (Some(mode), Some(_), Some(blob)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("git's list of changed files makes no sense");
    };
    let regular = mode.starts_with(b"100");
    let blob = regular.then(|| commit_id(blob).map(|id| Oid(id.0))).transpose()?;
    Ok(Some((path.into(), blob)))
}

fn commit_id(id: &[u8]) -> Result<Commit, &'static str> {
    match std::str::from_utf8(id) {
        Ok(text) if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Commit(text.into())),
        _ => Err("git prints an id that is none"),
    }
}

fn author_text(author: &[u8]) -> Text {
    let text = lossy(author);
    text.chars().filter(|c| !c.is_control()).take(AUTHOR).collect::<String>().trim().into()
}

/// What is no moment counts as the oldest there is: a commit date can only hold a grant back.
fn moment(seconds: &[u8]) -> Timestamp {
    let number: Option<u64> = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
    number.map_or(Timestamp::MIN, |number| {
        i64::try_from(number).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX)
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
