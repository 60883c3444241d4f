use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Settings, forge::Forge};
use crate::model::{read_file, secret_file};

/// The shortest secret, bytes: nobody may find it by trying.
const SHORTEST: usize = 16;
/// The longest one, bytes.
const LONGEST: u64 = 1024;

/// A secret that a forge and we share. It has no `Debug`: it is never printed.
pub(super) struct Key(Box<[u8]>);

impl Key {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that says what to do; it never repeats what the file holds.
    fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let cannot = |error: std::io::Error| format!("the secret {shown} cannot be read: {error}");
        // A pipe would be waited for.
        if !path.metadata().map_err(cannot)?.is_file() {
            return Err(format!("the secret {shown} is no file: {}", how(path)));
        }
        let text = read_file(path, LONGEST).map_err(cannot)?;
        if text.len() as u64 > LONGEST {
            return Err(format!("the secret {shown} is longer than {LONGEST} bytes: {}", how(path)));
        }
        Self::new(text.trim_ascii()).map_err(|wrong| format!("the secret {shown} {wrong}: {}", how(path)))
    }

    #[cfg(test)]
    pub(super) fn plain(secret: &[u8]) -> Self {
        Self(secret.into())
    }

    fn new(secret: &[u8]) -> Result<Self, String> {
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err("is not one word of ASCII on one line".into());
        }
        if secret.len() < SHORTEST {
            return Err(format!("has fewer than {SHORTEST} bytes"));
        }
        Ok(Self(secret.into()))
    }

    /// Whether this is the body's HMAC-SHA256, compared in constant time.
    pub(super) fn signed(&self, body: &[u8], tag: &[u8; 32]) -> bool {
        // A key may have any length.
        Hmac::<Sha256>::new_from_slice(&self.0).is_ok_and(|mac| mac.chain_update(body).verify_slice(tag).is_ok())
    }

    /// Whether this is the secret itself. Hashes are compared, in constant time: the time tells nothing of length or
    /// content.
    pub(super) fn is(&self, word: &[u8]) -> bool {
        let (ours, theirs): ([u8; 32], [u8; 32]) = (Sha256::digest(&self.0).into(), Sha256::digest(word).into());
        ours.ct_eq(&theirs).into()
    }
}

fn how(path: &Path) -> String {
    format!("make one with `openssl rand -hex 32 > {}`, and give the forge the same", path.display())
}

/// The secrets of the forges. Each is read again when its file changes.
pub struct Keys {
    github: Option<Secret>,
    gitlab: Option<Secret>,
}

impl Keys {
    /// Reads the secrets. `credentials` is systemd's credentials directory.
    ///
    /// # Errors
    /// A sentence that names the file and says what to do.
    pub fn open(settings: &Settings, credentials: Option<&Path>) -> Result<Self, String> {
        let open = |name, value: &Option<String>| {
            let open = |value: &String| Secret::open(secret_file(name, value, credentials)?);
            value.as_ref().map(open).transpose().map_err(|wrong| format!("hooks: {wrong}"))
        };
        Ok(Self { github: open("github", &settings.github)?, gitlab: open("gitlab", &settings.gitlab)? })
    }

    /// Reads the files again, changed or not. A secret that cannot be used is refused, and told; the old one stays.
    pub fn reread(&self) {
        for secret in [&self.github, &self.gitlab].into_iter().flatten() {
            secret.now(true);
        }
    }

    pub(super) fn of(&self, forge: Forge) -> Option<Arc<Key>> {
        let secret = match forge {
            Forge::GitHub => &self.github,
            Forge::GitLab => &self.gitlab,
        };
        secret.as_ref().map(|secret| secret.now(false))
    }
}

struct Secret {
    path: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    /// The file when it was last read, used or refused.
    stamp: Option<Stamp>,
    key: Arc<Key>,
}

impl Secret {
    fn open(path: PathBuf) -> Result<Self, String> {
        let stamp = Stamp::of(&path);
        let key = Arc::new(Key::read(&path)?);
        Ok(Self { path, held: Mutex::new(Held { stamp, key }) })
    }

    /// The secret as the file has it now; the last good one, if the file has none.
    fn now(&self, anyway: bool) -> Arc<Key> {
        let stamp = Stamp::of(&self.path);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if anyway || stamp != held.stamp {
            held.stamp = stamp;
            match Key::read(&self.path) {
                Ok(key) if key.0 == held.key.0 => {}
                Ok(key) => {
                    held.key = Arc::new(key);
                    tracing::info!(file = %self.path.display(), "the webhook's secret is read again");
                }
                Err(error) => {
                    tracing::error!(error, "the webhook's new secret is refused, the old one stays");
                }
            }
        }
        held.key.clone()
    }
}

/// What changes when a file does: device, inode, length, and the times of change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, [i64; 4]);

trait Stamped: Sized {
    fn of(path: &Path) -> Option<Self>;
}

impl Stamped for Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about: Metadata = path.metadata().ok()?;
        let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        Some((about.dev(), about.ino(), about.len(), times))
    }
}
