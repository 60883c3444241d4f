use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::check_secret;

/// Where the forges' webhooks are heard, and the secrets that they share with us. A webhook is a hint to fetch, nothing
/// more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hooks")]
pub struct Settings {
    /// The address and port to listen on, without TLS: a reverse proxy with TLS stands before it.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The file that holds the secret of GitHub's webhook, for `/hooks/github`: `credential:NAME` or an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<String>,
    /// The file that holds the secret token of GitLab's webhook, for `/hooks/gitlab`: `credential:NAME` or an absolute
    /// path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<String>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8788))
}

impl Settings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// A sentence that names the field and says what to write instead. It never repeats a secret.
    pub fn check(&self) -> Result<(), String> {
        let Self { listen: _, github, gitlab } = self;
        if github.is_none() && gitlab.is_none() {
            return Err(
                "there is no secret: write `github: credential:hook-github` or `gitlab: credential:hook-gitlab`".into(),
            );
        }
        for (name, value) in [("github", github), ("gitlab", gitlab)] {
            if let Some(value) = value {
                check_secret(name, value)?;
            }
        }
        Ok(())
    }
}
