use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Keys, cert::Cert, file, object, pgp, ssh};
use crate::model::{Key, Text};

/// The most lines or certificates in one file.
const MAX_KEYS: usize = 10_000;

/// Whose signatures count, as the files say. The default is nobody's.
#[derive(Debug, Default)]
pub struct Signers {
    /// Each key with the lines that allow it.
    ssh: BTreeMap<Key, Vec<ssh::Rule>>,
    certs: Vec<Cert>,
    revoked: BTreeSet<Key>,
    merges: BTreeSet<Key>,
    /// Empty if no file was read.
    digest: Text,
}

impl Signers {
    /// Reads the files, now. Nothing is kept of an earlier reading. Blocks.
    ///
    /// # Errors
    /// A sentence for an operator: a file cannot be read, others could change it, or a line of it makes no sense.
    pub fn load(settings: &Keys) -> Result<Self, String> {
        settings.check()?;
        let mut seal = Seal(Sha256::new());
        let ssh = match seal.read("signers", settings.signers.as_deref())? {
            Some((place, content)) => allowed(&place, &content)?,
            None => BTreeMap::new(),
        };
        let certs = match seal.read("keyring", settings.keyring.as_deref())? {
            Some((place, content)) => few(&place, pgp::keyring(&content).map_err(|e| format!("{place}: {e}"))?)?,
            None => Vec::new(),
        };
        let revoked = match seal.read("revoked", settings.revoked.as_deref())? {
            Some((place, content)) => revoked(&place, &content)?,
            None => BTreeSet::new(),
        };
        let merges: BTreeSet<Key> = settings.merge_keys.iter().cloned().collect();
        for key in &merges {
            if !ssh.contains_key(key) && !certs.iter().any(|cert| cert.name == *key) {
                return Err(format!(
                    "`merge_keys` names {key}, which is not in `signers` or `keyring`: add the key there"
                ));
            }
            seal.add("merge key", key.to_string().as_bytes());
        }
        Ok(Self { ssh, certs, revoked, merges, digest: seal.done() })
    }

    /// Names all that decides here: hexadecimal SHA-256 over what the files hold and over the merge keys. Empty if nothing
    /// is configured.
    pub fn digest(&self) -> &Text {
        &self.digest
    }

    /// Whether it is a key by which the forge signs.
    pub fn merges(&self, key: &Key) -> bool {
        self.merges.contains(key)
    }

    /// Who signed a commit, given as the raw object. `at` is the time at which the key must be valid, by our own clock: what
    /// the commit or its signature says about time decides nothing.
    ///
    /// # Errors
    /// Why it proves nothing, as the end of a sentence that begins with the commit.
    pub fn verify(&self, commit: &[u8], at: Timestamp) -> Result<Key, Text> {
        if self.digest.is_empty() {
            return Err("is not looked at: no keys are configured".into());
        }
        let object::Signed { signature, payload } = object::signed(commit)?;
        if signature.starts_with("-----BEGIN SSH SIGNATURE-----") {
            self.verify_ssh(&signature, &payload, at)
        } else if signature.starts_with("-----BEGIN PGP SIGNATURE-----") {
            pgp::verify(&signature, &payload, &self.certs, &self.revoked, at)
        } else {
            Err("carries a signature of a kind that is not looked at".into())
        }
    }

    /// When a key that counts at `at` may be over, at the earliest.
    pub fn end(&self, key: &Key, at: Timestamp) -> Option<Timestamp> {
        let lines = self.ssh.get(key).into_iter().flatten().filter_map(ssh::Rule::end).filter(|end| *end > at);
        let cert = self.certs.iter().filter(|cert| cert.name == *key).filter_map(|cert| cert.end(at));
        lines.chain(cert).min()
    }

    fn verify_ssh(&self, signature: &str, payload: &[u8], at: Timestamp) -> Result<Key, Text> {
        let (signature, key) = ssh::read(signature)?;
        self.check_revoked(&key)?;
        let Some(rules) = self.ssh.get(&key) else {
            return Err(format!("is signed by {key}, which is not among the signers").into());
        };
        let mut why = Text::from("");
        for rule in rules {
            match rule.allows(at) {
                Ok(()) => return ssh::verify(&signature, &rule.key, payload).map(|()| key),
                Err(not) => why = not,
            }
        }
        Err(format!("is signed by {key}, which {why}").into())
    }

    fn check_revoked(&self, key: &Key) -> Result<(), Text> {
        if self.revoked.contains(key) { Err(format!("is signed by {key}, which is revoked").into()) } else { Ok(()) }
    }
}

/// The digest, as it grows.
struct Seal(Sha256);

impl Seal {
    /// Reads a file. Answers what it is called in an error, and what it holds.
    fn read(&mut self, name: &str, path: Option<&Path>) -> Result<Option<(String, Vec<u8>)>, String> {
        let Some(path) = path else { return Ok(None) };
        let content = file::read(name, path)?;
        self.add(name, &content);
        Ok(Some((format!("`{name}` {}", path.display()), content)))
    }

    fn add(&mut self, name: &str, content: &[u8]) {
        // With its length, so that no two sets of files run together to the same bytes.
        self.0.update(format!("{name} {}\n", content.len()));
        self.0.update(content);
    }

    fn done(self) -> Text {
        use std::fmt::Write;
        let mut hex = String::new();
        for byte in self.0.finalize() {
            let _ = write!(hex, "{byte:02x}");
        }
        hex.into()
    }
}

fn allowed(place: &str, content: &[u8]) -> Result<BTreeMap<Key, Vec<ssh::Rule>>, String> {
    let mut found: BTreeMap<Key, Vec<ssh::Rule>> = BTreeMap::new();
    for (number, line) in few(place, file::lines(place, content)?)? {
        let rule = ssh::rule(line).map_err(|e| format!("{place}, line {number}: {e}"))?;
        let key =
            ssh::name(rule.key.key_data()).ok_or_else(|| format!("{place}, line {number}: the key has no name"))?;
        found.entry(key).or_default().push(rule);
    }
    Ok(found)
}

fn revoked(place: &str, content: &[u8]) -> Result<BTreeSet<Key>, String> {
    const FORMS: &str = "write one a line: an SSH public key, `SHA256:` and its hash, or an OpenPGP fingerprint";
    if content.starts_with(b"SSHKRL") {
        return Err(format!("{place} is a binary list of revoked keys, which is not read: {FORMS}"));
    }
    let read = |(number, line): (usize, &str)| {
        if let Ok(key) = line.parse() {
            return Ok(key);
        }
        let key = ssh::public(line).ok().and_then(|key| ssh::name(key.key_data()));
        key.ok_or_else(|| format!("{place}, line {number}: it names no key: {FORMS}"))
    };
    few(place, file::lines(place, content)?)?.into_iter().map(read).collect()
}

fn few<T>(place: &str, found: Vec<T>) -> Result<Vec<T>, String> {
    if found.len() > MAX_KEYS {
        return Err(format!("{place} holds more than {MAX_KEYS} keys: keep only those that are needed"));
    }
    Ok(found)
}
