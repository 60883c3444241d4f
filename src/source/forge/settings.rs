use std::net::IpAddr;

use hyper::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::check_secret;

/// The forge that keeps the record of reviews: `github: {...}` or `gitlab: {...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Settings {
    /// GitHub, or a GitHub Enterprise Server.
    Github(Github),
    /// GitLab, version 18 or later: earlier ones do not tell when an approval was given, and it counts for nothing.
    Gitlab(Gitlab),
}

/// A repository on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Github {
    /// Where it is found: `owner/name`.
    pub repository: String,
    /// Its number, which no other repository ever gets, whatever its name: `gh api repos/OWNER/NAME --jq .id`.
    pub id: u64,
    /// The file that holds an access token which may read metadata, contents and pull requests of the repository, and
    /// nothing else: `credential:NAME` or an absolute path.
    pub token: String,
    /// The address of the interface: of a GitHub Enterprise Server it is `https://HOST/api/v3`.
    #[serde(default = "default_github")]
    pub api: String,
}

/// A project on GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gitlab {
    /// The number of the project: its page shows it.
    pub id: u64,
    /// The file that holds an access token with the scope `read_api`: `credential:NAME` or an absolute path.
    pub token: String,
    /// The address of the interface: `https://HOST/api/v4`.
    #[serde(default = "default_gitlab")]
    pub api: String,
}

fn default_github() -> String {
    "https://api.github.com".into()
}

fn default_gitlab() -> String {
    "https://gitlab.com/api/v4".into()
}

impl Settings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// A sentence that names the field and says what to write instead. It never repeats a token.
    pub fn check(&self) -> Result<(), String> {
        let (id, token, api) = match self {
            Self::Github(Github { repository, id, token, api }) => {
                check_repository(repository)?;
                (*id, token, api)
            }
            Self::Gitlab(Gitlab { id, token, api }) => (*id, token, api),
        };
        if id == 0 {
            return Err("`id` is the number of the repository at the forge, and 0 is none".into());
        }
        check_secret("token", token)?;
        address(api).map(|_| ())
    }

    pub(super) fn token(&self) -> &str {
        let (Self::Github(Github { token, .. }) | Self::Gitlab(Gitlab { token, .. })) = self;
        token
    }

    pub(super) fn api(&self) -> &str {
        let (Self::Github(Github { api, .. }) | Self::Gitlab(Gitlab { api, .. })) = self;
        api
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    let good = |part: &str| {
        !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match repository.split_once('/') {
        Some((owner, name)) if good(owner) && good(name) => Ok(()),
        _ => Err("`repository` is `owner/name` alone: write `corp/access`".into()),
    }
}

/// The address of the interface. A token is never sent unencrypted, but to this machine.
pub(super) fn address(api: &str) -> Result<Uri, String> {
    const FORM: &str = "write `https://api.github.com`, or `https://HOST/api/v3` or `/api/v4` of your own forge";
    // The value is not repeated where it may hold a secret.
    let uri: Uri = api.parse().map_err(|_| format!("`api` is no address: {FORM}"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("`api` is no whole address: {FORM}"));
    };
    if authority.as_str().contains('@') || uri.query().is_some() || api.contains('#') {
        return Err(format!("`api` holds a user or a query, where secrets hide: {FORM}"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => Ok(uri),
        "http" if loopback => Ok(uri),
        "http" => Err("`api` would send the token unencrypted: write `https://`".into()),
        _ => Err(format!("`api` is no https address: {FORM}")),
    }
}
