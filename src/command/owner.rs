//! Whose the state folder is, and what to write if that is somebody else: what another user leaves there, his files under his
//! umask, the daemon cannot read.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::complain;

/// Users that systemd makes for a unit (`DynamicUser=`), and that nobody else can become.
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// For what writes to the state folder: only its owner may.
///
/// # Errors
/// Whose it is, and the command that works.
pub fn must_own(state: &Path) -> Result<()> {
    match other(state) {
        Some(told) => bail!("{told}: what this one writes there grantd could not read afterwards, so nothing was done"),
        None => Ok(()),
    }
}

/// For what only looks: says first that somebody else looks than the daemon, who may read less, or more.
pub fn note(state: &Path) {
    if let Some(told) = other(state) {
        complain(&format!("note: {told}\n"));
    }
}

/// The same where root sees just what the daemon does.
pub fn note_unless_root(state: &Path) {
    if !rustix::process::geteuid().is_root() {
        note(state);
    }
}

/// What is ours in a state folder.
pub const OURS: [&str; 7] = ["configuration.json", "git", "git-home", "git-incoming", "journal", "lock", "tidy"];
/// How many files are looked at.
const LOOKS: usize = 200_000;

/// That another user owns it, as a sentence without its end.
fn other(state: &Path) -> Option<String> {
    let shown = state.display();
    let me = rustix::process::geteuid().as_raw();
    let owner = match state.metadata() {
        Ok(about) => about.uid(),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Some(format!("{shown} is closed to {}; write `sudo {}`", name(me), line()));
        }
        // Nobody's yet.
        Err(_) => return None,
    };
    (owner != me).then(|| {
        let help = match (known(owner), owner) {
            (_, 0) => format!("`sudo {}`", line()),
            (Some(user), _) => format!("`sudo -u {user} {}`", line()),
            (None, owner) if DYNAMIC.contains(&owner) => {
                format!("`as_grantd{}`, as docs/deploy.md has it", line().trim_start_matches("grantd"))
            }
            (None, owner) => format!("`setpriv --reuid={owner} --clear-groups {}` as root", line()),
        };
        format!("{shown} belongs to {}, and this runs as {}; write {help}", name(owner), name(me))
    })
}

/// What of ours in the state folder does not belong to its owner. Where nobody may look, nothing is found.
pub fn alien(state: &Path) -> Option<PathBuf> {
    let owner = state.metadata().ok()?.uid();
    let mut open: Vec<PathBuf> = OURS.iter().map(|name| state.join(name)).collect();
    for _ in 0..LOOKS {
        let path = open.pop()?;
        let Ok(about) = path.symlink_metadata() else { continue };
        if about.uid() != owner {
            return Some(path);
        }
        if about.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    None
}

fn name(uid: u32) -> String {
    known(uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// By the local list alone: no network is asked whose a folder is.
fn known(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| user.to_owned())
    })
}

/// What was called, for a shell. No argument of ours is a secret.
fn line() -> String {
    let arguments = std::env::args_os().skip(1).map(|word| quoted(&word));
    std::iter::once("grantd".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsString) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    let shown: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", shown.replace('\'', r"'\''"))
}
