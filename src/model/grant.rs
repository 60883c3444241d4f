use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
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
    pub access: Vec<Ask>,
}

/// One entry under `access`, in canonical spelling. Opaque outside its surface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub surface: Text,
    pub fields: BTreeMap<Text, Given>,
}

/// What one field holds: a word, or tags with the values that each may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    One(Text),
    Tags(BTreeMap<Text, Vec<Text>>),
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

/// Names an ask by its content: the first 12 hexadecimal digits of the SHA-256 of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskId(pub Text);

impl Ask {
    pub fn id(&self) -> AskId {
        // Strings in ordered maps: serialisation cannot fail, and an empty text would only fail to match.
        let json = serde_json::to_vec(self).unwrap_or_default();
        AskId(Sha256::digest(json).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// The word in a field, or "" where it is not given.
    pub fn word(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", Given::word)
    }
}
