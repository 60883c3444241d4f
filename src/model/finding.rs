use std::fmt;

use serde::Serialize;

use super::Text;

/// How much a finding weighs: an error keeps the file from having any effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
}

/// A place in a file: line and column, both from 1, the column in characters, and the line itself without its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Spot {
    pub line: u32,
    pub column: u32,
    pub text: Text,
}

/// Something to tell a person: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub path: Text,
    pub spot: Option<Spot>,
    pub level: Level,
    pub message: String,
    /// What to write instead; may be empty where the message says it all.
    pub help: String,
}

impl Finding {
    pub fn error(path: &str, spot: Option<Spot>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), spot, level: Level::Error, message: message.into(), help: help.into() }
    }
}

/// Why an entry of the grants folder is not read, be it in Git or in a working tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    Link,
    Module,
    /// `.YAML`
    Case,
    Executable,
    /// Somebody may expect access of it.
    Unreadable,
    /// The rest.
    Unprintable,
    /// No grant file.
    Twin,
    /// The grants folder itself, by another name.
    Folder,
}

impl Odd {
    pub fn finding(self, path: &str) -> Finding {
        let (message, help) = match self {
            Self::Link => ("a symbolic link is not followed", "commit the file itself in its place".to_owned()),
            Self::Module => ("a submodule is not read", "commit its files themselves in its place".to_owned()),
            Self::Case => ("the extension is not in lower case, so the file is not read", "write `.yaml`".to_owned()),
            Self::Executable => {
                ("the file is executable", format!("make it a regular file: git update-index --chmod=-x {path}"))
            }
            Self::Unreadable | Self::Unprintable => (
                "its name is not UTF-8 or holds control characters, so it is not read",
                "rename it: letters, digits and `-`".to_owned(),
            ),
            Self::Twin => (
                "another name here differs in upper and lower case only: where case does not count, one of them is lost",
                "rename or remove one of them".to_owned(),
            ),
            Self::Folder => (
                "there is no folder of this name, only one in other upper and lower case: nothing in it grants",
                "rename the folder, or correct `path`".to_owned(),
            ),
        };
        let level = if matches!(self, Self::Unprintable | Self::Twin) { Level::Warning } else { Level::Error };
        Finding { level, ..Finding::error(path, None, message, help) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One line, for logs; people get the frame with the caret from `decide::render`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, spot, level, message, help } = self;
        write!(f, "{path}")?;
        if let Some(Spot { line, column, text: _ }) = spot {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {level}: {message}")?;
        if !help.is_empty() {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}
