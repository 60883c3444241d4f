use std::{path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::time::timeout;

use crate::model::read_file;

/// The longest token, bytes.
const TOKEN: u64 = 16 * 1024;
/// How long its disk may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An access token, and what is sent of it. Neither is ever printed.
pub struct Token {
    pub(super) plain: String,
    /// As HTTP's basic authentication sends it.
    pub(super) basic: String,
}

impl Token {
    /// Reads a file, beside everything else: its disk may be one that does not answer.
    ///
    /// # Errors
    /// A sentence; it never repeats what the file holds.
    pub async fn load(path: &Path) -> Result<Self, String> {
        let file = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || Self::read(&file));
        match timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(format!("the token file {} cannot be read: {error}", path.display())),
            Err(_) => Err(format!("the token file {} cannot be read: its disk does not answer", path.display())),
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let text =
            read_file(path, TOKEN).map_err(|e| format!("the token file {} cannot be read: {e}", path.display()))?;
        let text = String::from_utf8(text).unwrap_or_default();
        let plain = text.trim().to_owned();
        if plain.is_empty() || text.len() as u64 > TOKEN || !plain.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("the token file {} does not hold one token on one line", path.display()));
        }
        // The user name that GitHub asks for; the other forges take any.
        let basic = BASE64_STANDARD.encode(format!("x-access-token:{plain}"));
        Ok(Self { plain, basic })
    }

    pub fn plain(&self) -> &str {
        &self.plain
    }
}

/// `GIT_SSH_COMMAND`: nobody's configuration, one key, pinned hosts. Git hands it to a shell.
pub fn ssh_command(key: Option<&Path>, known_hosts: Option<&Path>) -> Result<String, String> {
    let mut words: Vec<String> = ["ssh", "-F", "/dev/null", "-a", "-x", "-T"].map(str::to_owned).into();
    let mut option = |text: String| words.extend(["-o".to_owned(), text]);
    for fixed in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ClearAllForwardings=yes",
        "ConnectTimeout=15",
        "LogLevel=ERROR",
    ] {
        option(fixed.into());
    }
    match key {
        Some(key) => option(format!("IdentityFile={}", ssh_path(key)?)),
        None => option("IdentityFile=none".into()),
    }
    match known_hosts {
        Some(hosts) => {
            option(format!("UserKnownHostsFile={}", ssh_path(hosts)?));
            option("GlobalKnownHostsFile=/dev/null".into());
        }
        None => option("UserKnownHostsFile=/dev/null".into()),
    }
    Ok(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// A path as ssh reads it in an option: `"` keeps blanks together, `%` begins a token, `${` a variable.
fn ssh_path(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\', '$']) && !text.chars().any(char::is_control) => {
            Ok(format!("\"{}\"", text.replace('%', "%%")))
        }
        _ => Err(format!("ssh cannot be given the path {}: rename it", path.display())),
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
