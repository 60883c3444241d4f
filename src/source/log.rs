use std::{iter::Peekable, slice::Split, time::Duration};

use jiff::Timestamp;

use super::{
    child::{self, Failure, Limits},
    git::Git,
    words::last_words,
};
use crate::model::{Change, Commit, Log, Oid, SourceError, Text, names_grant};

/// About 250 bytes a commit: a million commits.
const LIMITS: Limits =
    Limits { time: Duration::from_secs(120), cpu: 120, memory: 1 << 30, space: 4 << 30, file: 0, output: 256 << 20 };

/// The longest author that is kept, characters.
const AUTHOR: usize = 200;

/// How every commit and what it changed is printed. `sparse`: also what touches nothing below the folder.
const PRINT: [&str; 11] = [
    "log",
    "--full-history",
    "--sparse",
    "--raw",
    "-z",
    "--no-renames",
    "--no-abbrev",
    "--root",
    "--no-mailmap",
    "--ignore-submodules=none",
    "--format=tformat:%H%x00%P%x00%ct%x00%an <%ae>",
];

/// Every commit of the line is asked for, because only an unbroken chain of first parents proves that `since` lies on it.
/// Dates are the author's, so `since..head` alone proves nothing.
const LINE: [&str; 2] = ["--first-parent", "--diff-merges=first-parent"];

/// Against each parent by itself; and of these comparisons the ones, whole, in which a path vanished or became something
/// else. Git must not simplify the history (`--sparse` in [`PRINT`]): it would pass over a merge whose kept side is new
/// and whose dropped side is old.
const GONE: [&str; 2] = ["--diff-merges=separate", "--diff-filter=DT*"];

/// The first-parent line from `since` to `head`, both of which are in the repository.
pub async fn log(git: &Git, head: &Commit, since: Option<&Commit>, folder: &str) -> Result<Log, SourceError> {
    let range = since.map_or_else(|| head.to_string(), |since| format!("{since}..{head}"));
    let printed = print(git, &LINE, head, &range, folder).await?;
    let unread = |what: &str| unread(head, what);
    let (mut changes, end) = parse(&printed, head, folder).map_err(unread)?;
    if end.as_ref() != since.map(|since| &since.0) {
        return match since {
            Some(_) => Ok(Log::default()),
            None => Err(unread("it does not end at a first commit")),
        };
    }
    changes.reverse();
    Ok(Log { descends: true, changes })
}

/// The commits behind `head` and not behind `since` in which a grant file is gone that a parent has, once for each such
/// parent, with all that changed against it.
pub async fn deletions(
    git: &Git,
    head: &Commit,
    since: Option<&Commit>,
    folder: &str,
) -> Result<Vec<Change>, SourceError> {
    let range = since.map_or_else(|| head.to_string(), |since| format!("{since}..{head}"));
    let printed = print(git, &GONE, head, &range, folder).await?;
    let mut tokens = Tokens::of(&printed);
    let mut gone = Vec::new();
    while let Some(entry) = Block::next(&mut tokens, folder).map_err(|what| unread(head, what))? {
        if entry.gone {
            gone.push(entry.change);
        }
    }
    Ok(gone)
}

/// Whether a commit lies on the first-parent line of `head`, as git itself walks it.
pub async fn is_on_line(git: &Git, head: &Commit, commit: &Commit) -> Result<bool, SourceError> {
    let printed = ask(git, &["rev-list", "--first-parent", &head.0, "--"], head).await?;
    Ok(printed.split(|b| *b == b'\n').any(|id| id == commit.0.as_bytes()))
}

async fn print(git: &Git, how: &[&str], head: &Commit, range: &str, folder: &str) -> Result<Vec<u8>, SourceError> {
    ask(git, &[&PRINT[..], how, &[range, "--", folder]].concat(), head).await
}

/// Only a history that is longer than what is read of one is the commit's own fault. That git did not start, ran out of
/// time or memory, or ended otherwise than well, says nothing of it.
async fn ask(git: &Git, arguments: &[&str], head: &Commit) -> Result<Vec<u8>, SourceError> {
    let output = child::run(git.command(arguments), &LIMITS).await.map_err(|failure| failed(head, &failure))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = last_words(&output.stderr, None);
    let said = if said.is_empty() { format!("git ended with {} and said nothing", output.status) } else { said };
    Err(unread(head, &said))
}

pub(super) fn failed(head: &Commit, failure: &Failure) -> SourceError {
    match failure {
        Failure::Output(_) => SourceError::Bad(format!("the history up to {head} is too long: {failure}")),
        Failure::Start(_) | Failure::Limit(_) | Failure::Time(_) | Failure::Read(_) => {
            unread(head, &failure.to_string())
        }
    }
}

fn unread(head: &Commit, what: &str) -> SourceError {
    SourceError::Unread(format!("the history up to {head} cannot be read: {what}"))
}

/// The changes, newest first, and the first parent of the oldest commit. Fails if the commits are no chain that begins
/// at `head`.
fn parse(printed: &[u8], head: &Commit, folder: &str) -> Result<(Vec<Change>, Option<Text>), &'static str> {
    let mut tokens = Tokens::of(printed);
    let mut changes = Vec::new();
    let mut expected = Some(head.0.clone());
    while let Some(Block { change, first, .. }) = Block::next(&mut tokens, folder)? {
        if expected.as_ref() != Some(&change.commit.0) {
            // Nothing was printed for what lies between: this is another line.
            return Err("its commits are no chain of first parents");
        }
        if !change.files.is_empty() {
            changes.push(change);
        }
        expected = first;
    }
    Ok((changes, expected))
}

/// What git printed, cut at its NULs.
struct Tokens<'a>(Peekable<Cut<'a>>);

type Cut<'a> = Split<'a, u8, fn(&u8) -> bool>;

impl<'a> Tokens<'a> {
    fn of(printed: &'a [u8]) -> Self {
        Self(printed.split((|b| *b == 0) as fn(&u8) -> bool).peekable())
    }

    fn next(&mut self) -> Result<&'a [u8], &'static str> {
        self.0.next().ok_or("the answer of git breaks off")
    }
}

/// One commit, against one parent.
struct Block {
    change: Change,
    /// Its first parent.
    first: Option<Text>,
    /// Whether a grant file of the parent is gone.
    gone: bool,
}

impl Block {
    fn next(tokens: &mut Tokens<'_>, folder: &str) -> Result<Option<Self>, &'static str> {
        let Some(id) = tokens.0.next_if(|token| !token.is_empty()) else {
            let rest = tokens.0.any(|token| !token.is_empty());
            return if rest { Err("the answer of git makes no sense") } else { Ok(None) };
        };
        let (parents, time, author) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let parents: Vec<&[u8]> = parents.split(|b| *b == b' ').filter(|id| !id.is_empty()).collect();
        let (mut files, mut gone) = (Vec::new(), false);
        while let Some(entry) = tokens.0.next_if(|token| token.trim_ascii_start().starts_with(b":")) {
            if let Some((path, blob)) = file(entry, tokens.next()?, folder)? {
                gone |= blob.is_none() && entry.trim_ascii_start().starts_with(b":100");
                files.push((path, blob));
            }
        }
        files.sort();
        let change = Change {
            commit: commit_id(id)?,
            author: author_text(author),
            committed: moment(time),
            parents: u32::try_from(parents.len()).unwrap_or(u32::MAX),
            files,
        };
        let first = parents.first().map(|id| commit_id(id).map(|id| id.0)).transpose()?;
        Ok(Some(Self { change, first, gone }))
    }
}

/// `:OLDMODE NEWMODE OLDBLOB NEWBLOB STATUS` and a path. `None` for what is no grant file.
fn file(entry: &[u8], path: &[u8], folder: &str) -> Result<Option<(Text, Option<Oid>)>, &'static str> {
    // A path that is not UTF-8 is none that anything of ours can name; `tree` tells it.
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
