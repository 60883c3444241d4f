use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::{fs::OFlags, process::geteuid};

use crate::model::guard_way;

/// The largest file of keys, bytes.
pub(super) const MAX_FILE: u64 = 4 << 20;

/// Reads a file that decides whose signatures count: whoever can write it decides what is granted.
pub(super) fn read(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    let place = format!("`{name}` {}", path.display());
    // Whoever opens a pipe waits for its writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|e| format!("{place} cannot be opened: {e}"))?;
    // What was opened is looked at, not what has the name a moment later.
    let about = file.metadata().map_err(|e| format!("{place} cannot be looked at: {e}"))?;
    if !about.is_file() {
        return Err(format!("{place} is no regular file: write the keys into a file"));
    }
    if about.uid() != 0 && about.uid() != geteuid().as_raw() {
        return Err(format!(
            "{place} belongs to user {}, who could change it: `chown root {}`",
            about.uid(),
            path.display()
        ));
    }
    if about.mode() & 0o022 != 0 {
        return Err(format!("{place} can be written by others than its owner: `chmod go-w {}`", path.display()));
    }
    guard_way(path, geteuid().as_raw()).map_err(|why| format!("`{name}` {why}"))?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|e| format!("{place} cannot be read: {e}"))?;
    if content.len() as u64 > MAX_FILE {
        return Err(format!("{place} is larger than {MAX_FILE} bytes: keep only the keys that are needed"));
    }
    Ok(content)
}

/// The text of a file and its lines that say something, numbered from 1.
pub(super) fn lines<'a>(place: &str, content: &'a [u8]) -> Result<Vec<(usize, &'a str)>, String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(content.split(|b| *b == b'\n')) {
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(format!("{place}, line {number}: it is no text in UTF-8"));
        };
        let line = line.trim();
        if line.contains('\0') {
            return Err(format!("{place}, line {number}: it holds a zero byte, so this is no text file"));
        }
        if !line.is_empty() && !line.starts_with('#') {
            found.push((number, line));
        }
    }
    Ok(found)
}
