use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{Span, Text};

/// A grant's name: its file stem, `[a-z0-9][a-z0-9-]{2,63}`. Unique in the tree, used once and never again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GrantId(Text);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a grant's file is named with 3 to 64 of a-z, 0-9 and -, not beginning with -")]
pub struct BadId;

impl GrantId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are one and the same text in memory.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromStr for GrantId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = (3..=64).contains(&text.len())
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || b == b'-');
        if good { Ok(Self(text.into())) } else { Err(BadId) }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GrantId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// One YAML file: who asks, for what, why, for how long. `from`, `until` and `ttl` as stated; the window that they come to
/// is reckoned at acceptance (`decide::admit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub requester: Text,
    pub purpose: Text,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub ttl: Option<Span>,
    pub access: Vec<Arc<Ask>>,
}

/// One entry under `access`, in canonical spelling. Opaque outside its surface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub surface: Text,
    pub fields: LiteMap<Text, Given>,
}

/// Tag keys, each with the values that it may have.
pub type Tags = LiteMap<Text, Vec<Text>>;

/// What one field holds: a word, or tags with the values that each may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    One(Text),
    Tags(Tags),
}

impl Given {
    /// The word, or "" where the field holds tags.
    pub fn word(&self) -> &str {
        match self {
            Self::One(text) => text,
            Self::Tags(_) => "",
        }
    }
}

/// Names an ask by its content: the first 6 bytes of the SHA-256 of its JSON, written as 12 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId([u8; 6]);

impl fmt::Display for AskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AskId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "an entry is named by 12 hexadecimal digits";
        let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits).ok_or(HELP)?;
        let [_, _, id @ ..] = number.to_be_bytes();
        Ok(Self(id))
    }
}

impl Serialize for AskId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AskId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl Ask {
    pub fn id(&self) -> AskId {
        // Strings in ordered maps: serialisation cannot fail, and an empty text would only fail to match.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let [a, b, c, d, e, f, ..] = Sha256::digest(json).0;
        AskId([a, b, c, d, e, f])
    }

    /// Who gets the access, as people and rules are told of it: `windows:user/corp\jdoe`, `iam:role/OpsOnCall`,
    /// `sso:group/sre`.
    pub fn principal(&self) -> String {
        let realm = match self.surface.split('-').next() {
            Some("permission") | None => "sso",
            Some(realm) => realm,
        };
        let given = ["user", "role", "group"].into_iter().map(|kind| (kind, self.word(kind)));
        let (kind, name) = given.into_iter().find(|(_, name)| !name.is_empty()).unwrap_or_default();
        format!("{realm}:{kind}/{name}")
    }

    /// The word in a field, or "" where it is not given.
    pub fn word(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", Given::word)
    }
}
