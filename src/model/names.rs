//! Names below the grants folder: which are grant files, which no honest git makes, and which are one where case does not count.
//! Git's trees and working trees are judged alike.

use std::collections::BTreeMap;

use super::{Finding, Odd};

/// Whether a path below the grants folder names a grant file: `.yaml` or `.yml`, no part of it starts with a dot, and nothing in
/// it is a control character. The tree and the log must agree on this.
pub fn names_grant(below: &str) -> bool {
    !below.split('/').any(|part| part.starts_with('.'))
        && !below.chars().any(char::is_control)
        && (below.ends_with(".yaml") || below.ends_with(".yml"))
}

/// What a name in a folder is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum Name<'a> {
    Good(&'a str),
    /// Not UTF-8, or with control characters: nothing of ours can name it, so it is not read.
    Odd,
    /// No honest git makes it; the end of a sentence.
    Bad(&'static str),
}

impl<'a> Name<'a> {
    pub fn of(name: &'a [u8]) -> Self {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Self::Bad("leads out of it");
        }
        if is_dot_git(&String::from_utf8_lossy(name)) {
            return Self::Bad("is `.git`, or is taken for it by another file system");
        }
        match std::str::from_utf8(name) {
            Ok(text) if !text.chars().any(char::is_control) => Self::Good(text),
            _ => Self::Odd,
        }
    }

    /// Printable, whatever it is.
    pub fn shown(name: &[u8]) -> String {
        let mut shown = String::new();
        for c in String::from_utf8_lossy(name).chars() {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        shown
    }
}

/// What an odd name comes to: an error where somebody may expect access of it.
pub fn odd(folder: &str, name: &[u8], is_folder: bool) -> Finding {
    let shown = Name::shown(name);
    let wanted = is_folder || names_grant(&shown.to_ascii_lowercase());
    let path = format!("{folder}/{shown}");
    if wanted { Odd::Unreadable.finding(&path) } else { Odd::Unprintable.finding(&path) }
}

/// The names of one folder, by what they are where case does not count.
#[derive(Debug, Default)]
pub struct Twins(BTreeMap<String, Vec<(String, bool)>>);

impl Twins {
    /// `grants`: it is named like a grant file, or holds such.
    pub fn add(&mut self, name: &str, path: &str, grants: bool) {
        self.0.entry(name.to_ascii_lowercase()).or_default().push((path.to_owned(), grants));
    }

    /// What there is to say of those that are one.
    ///
    /// # Errors
    /// Two of them grant: which one counts would depend on who looks. The sentence says where.
    pub fn told(self) -> Result<Vec<Finding>, String> {
        let mut findings = Vec::new();
        for mut twins in self.0.into_values().filter(|twins| twins.len() > 1) {
            if twins.iter().filter(|(_, grants)| *grants).count() > 1 {
                let path = twins.pop().map(|(path, _)| path).unwrap_or_default();
                return Err(format!("`{path}` is there twice, or in upper and in lower case"));
            }
            findings.extend(twins.into_iter().filter(|(_, grants)| !grants).map(|(path, _)| Odd::Twin.finding(&path)));
        }
        Ok(findings)
    }
}

/// `.git` for some file system: HFS+ skips invisible characters, NTFS drops dots and blanks at the end and what follows a
/// colon, and knows short names.
fn is_dot_git(name: &str) -> bool {
    let invisible = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let seen: String = name.chars().filter(|c| !invisible(c) && !c.is_control() && *c != '\u{fffd}').collect();
    let stem = seen.split([':', '\\']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem.eq_ignore_ascii_case(".git") || stem.eq_ignore_ascii_case("git~1")
}
