use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Key;

/// The keys whose signatures count. The files lie outside the grants repository, belong to root or to the daemon's user,
/// and nobody else may write them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// SSH keys that may sign commits, as an absolute path: OpenSSH's `allowed_signers` (see `ssh-keygen(1)`). Times end in
    /// `Z`. The names in it are for people: who a key belongs to is said under `people`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signers: Option<PathBuf>,
    /// OpenPGP certificates that may sign commits, as an absolute path: what `gpg --export` prints, armored or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<PathBuf>,
    /// Keys that count no more, whatever the other files say, as an absolute path. One a line: an SSH public key,
    /// `SHA256:` and its hash, or an OpenPGP fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<PathBuf>,
    /// Keys by which the forge signs what is merged there: they stand for no person. Each is in `signers` or in `keyring`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge_keys: Vec<Key>,
}

impl Keys {
    /// Checks what the types cannot. Reads no file.
    ///
    /// # Errors
    /// A sentence that names the field and says what to write instead.
    pub fn check(&self) -> Result<(), String> {
        for (name, path) in [("signers", &self.signers), ("keyring", &self.keyring), ("revoked", &self.revoked)] {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                return Err(format!("`{name}` is an absolute path: write `/etc/grantd/{name}`"));
            }
        }
        Ok(())
    }
}
