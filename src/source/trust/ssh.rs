//! SSH signatures, and OpenSSH's list of who may make them.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig, public::KeyData};

use crate::model::{Key, Text};

/// What git signs for.
const NAMESPACE: &str = "git";
/// The sizes of RSA keys, bits: below is weak, above no key of this kind is read.
const RSA: std::ops::RangeInclusive<usize> = 2048..=4096;

/// One line of the list: a key, and what it may sign when.
#[derive(Debug)]
pub(super) struct Rule {
    pub key: PublicKey,
    options: Options,
}

#[derive(Debug, Default)]
struct Options {
    /// Pattern list; without one all namespaces.
    namespaces: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Options {
    fn allow(&self, at: Timestamp) -> Result<(), Text> {
        if self.namespaces.as_ref().is_some_and(|list| !matches_list(list, NAMESPACE)) {
            return Err("may not sign for git".into());
        }
        match (self.after, self.before) {
            (Some(after), _) if at < after => Err(format!("is valid from {after} only").into()),
            (_, Some(before)) if at >= before => Err(format!("was valid until {before} only").into()),
            _ => Ok(()),
        }
    }
}

impl Rule {
    /// Whether the key may sign commits at this time.
    ///
    /// # Errors
    /// The end of a sentence that begins with the key.
    pub(super) fn allows(&self, at: Timestamp) -> Result<(), Text> {
        self.options.allow(at)
    }

    /// When it ends.
    pub(super) fn end(&self) -> Option<Timestamp> {
        self.options.before
    }
}

/// The name of a key, as `ssh-keygen -l` shows it.
pub(super) fn name(key: &KeyData) -> Option<Key> {
    key.fingerprint(HashAlg::Sha256).to_string().parse().ok()
}

/// A public key of any kind: `TYPE BASE64`, and whatever comment follows.
pub(super) fn public(text: &str) -> Result<PublicKey, String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(data)) = (words.next(), words.next()) else {
        return Err("it holds no key: write `ssh-ed25519 AAAA…`, as in the `.pub` file".into());
    };
    let key = PublicKey::from_openssh(&format!("{kind} {data}"));
    key.map_err(|e| format!("the key of the kind `{}` cannot be read: {e}", kind.escape_debug()))
}

/// A public key whose signatures count.
fn key(text: &str) -> Result<PublicKey, String> {
    let key = public(text)?;
    match key.key_data() {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok(key),
        KeyData::Rsa(rsa) => {
            let modulus = rsa.n.as_positive_bytes().unwrap_or_default();
            let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
            let bits = (modulus.len() * 8).saturating_sub(zeros);
            if RSA.contains(&bits) {
                Ok(key)
            } else {
                Err(format!("an RSA key of {bits} bits does not count: make one of 3072, or `ssh-keygen -t ed25519`"))
            }
        }
        _ => Err("keys of this kind do not count: make one by `ssh-keygen -t ed25519`".into()),
    }
}

/// One line of the list: `PRINCIPALS [OPTIONS] TYPE BASE64 [COMMENT]`.
pub(super) fn rule(line: &str) -> Result<Rule, String> {
    let (principals, rest) = principals(line)?;
    if principals.split(',').any(|one| one.is_empty() || one.starts_with('!')) {
        return Err("its names are patterns with commas between them, and none is empty or begins with `!`".into());
    }
    let rest = rest.trim_start();
    let first = rest.split_ascii_whitespace().next().unwrap_or_default();
    let mut options = Options::default();
    let named = Algorithm::new(first).is_ok_and(|kind| !matches!(kind, Algorithm::Other(_)));
    let rest = if named { rest } else { options.read(rest)? };
    let key = key(rest)?;
    if options.after.zip(options.before).is_some_and(|(after, before)| before <= after) {
        return Err("`valid-before` is not later than `valid-after`, so it is never valid".into());
    }
    Ok(Rule { key, options })
}

/// The names and what follows. They stand in quotes if they hold a space.
fn principals(line: &str) -> Result<(&str, &str), String> {
    let split = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').filter(|(_, rest)| rest.starts_with([' ', '\t'])),
        None => line.split_once([' ', '\t']),
    };
    split.ok_or_else(|| "it holds no key: write `ann@corp.example ssh-ed25519 AAAA…`".into())
}

impl Options {
    /// Takes options off the text: `NAME` or `NAME="VALUE"`, with commas between them, up to a blank.
    fn read<'a>(&mut self, text: &'a str) -> Result<&'a str, String> {
        let mut rest = text;
        loop {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let (value, after) = match after.strip_prefix('=') {
                None => (None, after),
                Some(value) => {
                    let (value, after) = quoted(value).ok_or_else(|| format!("`{name}` has no value in quotes"))?;
                    (Some(value), after)
                }
            };
            self.option(name, value)?;
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.starts_with([' ', '\t']) => return Ok(after.trim_start()),
                None => return Err("after the options stand a blank and the key".into()),
            }
        }
    }

    fn option(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        let twice = || Err(format!("`{name}` stands there twice"));
        match (name.to_ascii_lowercase().as_str(), value) {
            ("namespaces", Some(_)) if self.namespaces.is_some() => twice(),
            ("valid-after", Some(_)) if self.after.is_some() => twice(),
            ("valid-before", Some(_)) if self.before.is_some() => twice(),
            ("namespaces", Some(list)) => {
                self.namespaces = Some(list);
                Ok(())
            }
            ("valid-after", Some(text)) => {
                self.after = Some(time(name, &text)?);
                Ok(())
            }
            ("valid-before", Some(text)) => {
                self.before = Some(time(name, &text)?);
                Ok(())
            }
            ("cert-authority", None) => {
                Err("`cert-authority` is not supported: write one line for each key that the authority certified"
                    .into())
            }
            _ => Err(format!(
                "`{}` is no option or no kind of key that is known: write `namespaces=\"git\"`, \
                 `valid-after=\"20260131Z\"` or `valid-before=\"20270131Z\"`, and the key after it",
                name.escape_debug()
            )),
        }
    }
}

/// What stands in quotes, and what follows. A backslash stands before a quote that belongs to the text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' if text.get(at + 1..)?.starts_with('"') => {
                letters.next();
                value.push('"');
            }
            _ => value.push(letter),
        }
    }
    None
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, and `Z`.
fn time(name: &str, text: &str) -> Result<Timestamp, String> {
    let Some(digits) = text.strip_suffix(['Z', 'z']) else {
        return Err(format!(
            "`{name}=\"{}\"` would be a time of wherever the daemon runs: write it in UTC and with `Z`, as in `20270131Z`",
            text.escape_debug()
        ));
    };
    let form = match digits.len() {
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => "",
    };
    let good = !form.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let time = good.then(|| DateTime::strptime(form, digits).ok()?.to_zoned(TimeZone::UTC).ok()).flatten();
    time.map(|time| time.timestamp()).ok_or_else(|| {
        format!("`{name}=\"{}\"` is no time: write `20270131Z` or `20270131173000Z`", text.escape_debug())
    })
}

/// OpenSSH's pattern list: one must match, and none that begins with `!` may.
fn matches_list(list: &str, text: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if matches(not.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

/// `*` is any text, `?` any letter.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), None) => matches(rest, text),
        (Some((b'*', rest)), Some((_, shorter))) => matches(rest, text) || matches(pattern, shorter),
        (Some((one, rest)), Some((letter, shorter))) => (*one == b'?' || one == letter) && matches(rest, shorter),
        (Some(_), None) => false,
    }
}

/// A signature, read and named but not yet checked.
pub(super) fn read(armored: &str) -> Result<(SshSig, Key), Text> {
    let unreadable = || Text::from("carries an SSH signature that cannot be read");
    let signature = SshSig::from_pem(armored.trim_end()).map_err(|_| unreadable())?;
    let key = name(signature.public_key()).ok_or_else(unreadable)?;
    Ok((signature, key))
}

/// Whether the signature is over this payload, for git, by this key.
///
/// # Errors
/// The end of a sentence that begins with the commit.
pub(super) fn verify(signature: &SshSig, key: &PublicKey, payload: &[u8]) -> Result<(), Text> {
    if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err("carries an SSH signature of an unknown version".into());
    }
    if signature.namespace() != NAMESPACE {
        return Err(format!("is signed for something else than `{NAMESPACE}`").into());
    }
    let same = match (key.key_data(), signature.algorithm()) {
        // SHA-1 has no name here: the crate knows only SHA-256 and SHA-512 beside it.
        (KeyData::Rsa(_), Algorithm::Rsa { hash }) => hash.is_some(),
        (key, made) => key.algorithm() == made,
    };
    if !same {
        return Err("carries an SSH signature of another kind than its key".into());
    }
    if matches!(key.key_data(), KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_)) {
        // Flags (one byte) and counter (four) stand at the end. Without the first flag nobody touched the device.
        let flags = signature.signature_bytes().iter().rev().nth(4).copied().unwrap_or_default();
        if flags & 1 == 0 {
            return Err("is signed by a security key that nobody touched".into());
        }
    }
    key.verify(NAMESPACE, payload, signature).map_err(|_| "carries a signature that is not over this commit".into())
}
