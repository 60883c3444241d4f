//! The forge's own record of a merged pull request: who asked, who pushed, who approved which bytes.
//!
//! Only numbers count: of the repository, of users. Names and mail addresses are text. What the forge does not say is
//! unknown, and unknown is never an approval: an answer that is cut short, lacks a field or points elsewhere gives no
//! review, and a sentence that says why.
//!
//! HTTP is spoken by `hyper` and `rustls` directly, as the AWS SDKs do: it adds 5 s to a cold build without these, where
//! `reqwest` adds 12 s to 29 s (measured on two cores), and follows no redirect. Certificates are judged by what the system
//! trusts, or `SSL_CERT_FILE`, so that a company's own authority works; a proxy is gone through as the environment says.
//!
//! | file | does |
//! |---|---|
//! | `settings` | the block of the configuration, checked |
//! | `http` | asks for one thing or a list, within limits |
//! | `wire` | the connection, by itself or through a proxy |
//! | `pushes` | who pushed what was merged |
//! | `github`, `gitlab` | what to ask, and what the answers mean |

mod github;
mod gitlab;
mod http;
mod pushes;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;

use jiff::Timestamp;
use tokio::time::timeout;

use crate::model::{Commit, Outside, Said, secret_file};

use http::Failure;
pub use settings::{Github, Gitlab, Settings};

/// The forge that holds one repository, asked about one branch of it.
///
/// Needs a tokio runtime with I/O and time.
#[derive(Debug)]
pub struct Forge {
    http: http::Forge,
    settings: Settings,
    branch: String,
}

impl Forge {
    /// `credentials` is systemd's credentials directory, for settings of the form `credential:NAME`. Reads no token: that
    /// happens at each question.
    ///
    /// # Errors
    /// A sentence for an operator: settings that cannot work, or a system without certificates that it trusts.
    pub fn new(
        settings: &Settings,
        branch: &str,
        credentials: Option<&Path>,
        outside: &Outside,
    ) -> Result<Self, String> {
        Self::limited(settings, branch, credentials, outside, http::LIMITS)
    }

    fn limited(
        settings: &Settings,
        branch: &str,
        credentials: Option<&Path>,
        outside: &Outside,
        limits: http::Limits,
    ) -> Result<Self, String> {
        settings.check()?;
        let token = secret_file("token", settings.token(), credentials)?;
        let headers = match settings {
            Settings::Github(_) => github::HEADERS,
            Settings::Gitlab(_) => gitlab::HEADERS,
        };
        let http = http::Forge::new(settings.api(), token, headers, limits, outside)?;
        Ok(Self { http, settings: settings.clone(), branch: branch.to_owned() })
    }

    /// Names the repository, wherever it is called what: a record of another one counts for nothing.
    pub fn name(&self) -> String {
        match &self.settings {
            Settings::Github(Github { id, api, .. }) => format!("github {api} {id} {}", self.branch),
            Settings::Gitlab(Gitlab { id, api, .. }) => format!("gitlab {api} {id} {}", self.branch),
        }
    }

    /// What the forge has on record of a commit of the first-parent line. `now` is the time by which its wish to be left
    /// alone for a while is kept.
    ///
    /// Never fails: [`Said::Away`] when it cannot be asked, [`Said::Missing`] when it answered and there is no fitting
    /// record. [`crate::model::Review::differs`] is left empty: that needs the head fetched.
    pub async fn said(&self, commit: &Commit, now: Timestamp) -> Said {
        let asked = async {
            if !is_id(&commit.0) {
                return Err(Failure::Missing(format!("`{}` is no commit id", commit.0.escape_debug())));
            }
            let asking = self.http.begin(now).await?;
            match &self.settings {
                Settings::Github(settings) => github::review(&asking, settings, &self.branch, commit).await,
                Settings::Gitlab(settings) => gitlab::review(&asking, settings, &self.branch, commit).await,
            }
        };
        let whole = self.http.limits.whole;
        match timeout(whole, asked).await {
            Ok(Ok(review)) => Said::Review(review),
            Ok(Err(failure)) => failure.into(),
            Err(_) => {
                Failure::Away(format!("{} does not tell of {} within {whole:?}", self.http.host(), commit.short()))
                    .into()
            }
        }
    }
}

/// Whether it is a commit id in full: what stands in an address must be nothing else.
fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
