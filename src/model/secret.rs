//! Where a secret lies: the configuration names files, never values.

use std::path::{Path, PathBuf};

/// The file behind `credential:NAME` or an absolute path.
pub fn secret_file(name: &str, value: &str, credentials: Option<&Path>) -> Result<PathBuf, String> {
    check_secret(name, value)?;
    match (value.strip_prefix("credential:"), credentials) {
        (None, _) => Ok(value.into()),
        (Some(credential), Some(folder)) => Ok(folder.join(credential)),
        (Some(credential), None) => Err(format!(
            "`{name}: {value}` needs systemd's credentials directory, and there is none: add \
             `LoadCredential={credential}:/PATH` to the unit, or write an absolute path"
        )),
    }
}

/// Checks that a value names a file, and is not the secret itself.
pub fn check_secret(name: &str, value: &str) -> Result<(), String> {
    let good = match value.strip_prefix("credential:") {
        Some(credential) => {
            !credential.is_empty()
                && !credential.starts_with('.')
                && credential.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        }
        None => value.starts_with('/') && !value.chars().any(char::is_control),
    };
    // The value is not repeated: what stands here by mistake is the secret itself.
    if good { Ok(()) } else { Err(format!("`{name}` names a file: write `credential:NAME` or an absolute path")) }
}
