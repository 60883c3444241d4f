use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Span, check_secret};

/// Where grants come from: a branch of a Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The repository: `ssh://git@host/path.git`, `git@host:path.git`, `https://host/path.git`, `/path` or
    /// `file:///path`. Without a password or a token: those go to `ssh_key` and `token`.
    pub url: String,
    /// The branch that counts, without `refs/heads/`.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// The folder of the grant files, from the root of the repository.
    #[serde(default = "default_path")]
    pub path: String,
    /// How often the remote is asked for news: bounds how late a merge is seen. Grants end on time without it.
    #[serde(default = "default_poll")]
    pub poll: Span,
    /// The private key for an ssh URL, without a passphrase: `credential:NAME` or an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<String>,
    /// The file that holds the access token for an https URL: `credential:NAME` or an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The host keys that are trusted for an ssh URL, as an absolute path. Without it the system's
    /// `/etc/ssh/ssh_known_hosts` counts. A host that is not listed is never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
}

fn default_branch() -> String {
    "main".into()
}

fn default_path() -> String {
    "grants".into()
}

fn default_poll() -> Span {
    Span::seconds(30)
}

/// How git reaches the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    File,
    Ssh,
    Http { secure: bool, loopback: bool },
}

impl Settings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// A sentence that names the field and says what to write instead. It never repeats a password.
    pub fn check(&self) -> Result<(), String> {
        let transport = transport(&self.url)?;
        check_branch(&self.branch)?;
        check_path(&self.path)?;
        for (name, value) in [("ssh_key", &self.ssh_key), ("token", &self.token)] {
            if let Some(value) = value {
                check_secret(name, value)?;
            }
        }
        if self.known_hosts.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err("`known_hosts` is an absolute path: write `/etc/grantd/known_hosts`".into());
        }
        match transport {
            Transport::Ssh if self.ssh_key.is_none() => {
                Err("an ssh URL needs `ssh_key`: write `ssh_key: credential:deploy-key`".into())
            }
            Transport::Ssh if self.token.is_some() => {
                Err("`token` is for https URLs: remove it, an ssh URL takes `ssh_key`".into())
            }
            Transport::Http { .. } | Transport::File if self.ssh_key.is_some() || self.known_hosts.is_some() => {
                Err("`ssh_key` and `known_hosts` are for ssh URLs: remove them, or write `ssh://git@host/path.git`"
                    .into())
            }
            Transport::File if self.token.is_some() => Err("`token` is for https URLs: remove it".into()),
            Transport::Http { secure: false, loopback: false } if self.token.is_some() => {
                Err("`url` would send the token unencrypted: write `https://`".into())
            }
            Transport::File | Transport::Ssh | Transport::Http { .. } => Ok(()),
        }
    }
}

pub(super) fn transport(url: &str) -> Result<Transport, String> {
    const FORMS: &str = "write `ssh://git@host/path.git`, `https://host/path.git` or an absolute path";
    let bad = |what: &str| Err(format!("`url` {what}: {FORMS}"));
    if url.is_empty() {
        return bad("is empty");
    }
    if url.starts_with('-') {
        return bad("begins with `-`, which git would take for an option");
    }
    if url.chars().any(char::is_control) {
        return bad("holds control characters");
    }
    if url.starts_with('/') {
        return Ok(Transport::File);
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', ':'])) else {
        return scp(url).map_or_else(bad, |()| Ok(Transport::Ssh));
    };
    if scheme == "file" {
        return if rest.starts_with('/') {
            Ok(Transport::File)
        } else {
            bad("names a host: a file URL has three slashes")
        };
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if host.is_empty() || path.is_empty() {
        return bad("names no host or no path");
    }
    match scheme {
        "ssh" if user.is_some_and(|user| user.contains(':')) => {
            Err("`url` holds a password: remove it, and write `ssh_key: credential:deploy-key`".into())
        }
        "ssh" if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) => {
            bad("has a user or a host that begins with `-`")
        }
        "ssh" => Ok(Transport::Ssh),
        "http" | "https" if user.is_some() => {
            Err("`url` holds a user: remove all up to the `@`, and write `token: credential:NAME`".into())
        }
        "http" | "https" if path.contains(['?', '#']) => bad("holds a query, where tokens hide"),
        "http" | "https" => {
            let name = host
                .strip_prefix('[')
                .map_or_else(|| host.split(':').next().unwrap_or(host), |six| six.split(']').next().unwrap_or(six));
            let loopback = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
            Ok(Transport::Http { secure: scheme == "https", loopback })
        }
        _ => bad("has a transport that is not allowed"),
    }
}

/// The form `user@host:path`. The error says what is wrong.
fn scp(url: &str) -> Result<(), &'static str> {
    let (host, path) = url.split_once(':').ok_or("is no URL and no absolute path")?;
    if path.starts_with(':') {
        return Err("has a transport that is not allowed");
    }
    if host.contains('/') {
        return Err("is no URL and no absolute path");
    }
    let (user, name) = host.split_once('@').unwrap_or(("git", host));
    if name.is_empty() || name.starts_with(['-', '[']) || user.is_empty() || name.contains('@') {
        return Err("has no good user and host before the `:`");
    }
    if path.contains('@') {
        return Err("looks as if it held a password");
    }
    if path.is_empty() || path.starts_with('-') { Err("has no good path after the `:`") } else { Ok(()) }
}

fn check_branch(branch: &str) -> Result<(), String> {
    if let Some(short) = branch.strip_prefix("refs/heads/") {
        return Err(format!("`branch` is the name alone: write `{}`", short.escape_debug()));
    }
    if branch.starts_with("refs/") || !git2::Branch::name_is_valid(branch).unwrap_or(false) {
        return Err(format!("`branch` `{}` is no name that a branch can have: write `main`", branch.escape_debug()));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    let part = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git") && !part.contains('\\')
    };
    if path.split('/').all(part) && !path.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "`path` `{}` is no folder of the repository: write `grants`, without a `/` at its ends and without `.` or `..`",
        path.escape_debug()
    ))
}
