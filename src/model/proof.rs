use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Commit, Text};

/// Names a key that signs: `SHA256:` and 43 characters of base64 for OpenSSH (as `ssh-keygen -l` shows it), or the 40 or 64
/// hexadecimal digits of an OpenPGP certificate's fingerprint, in upper case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Key(Text);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key is named by `SHA256:` and 43 characters (see `ssh-keygen -l -f KEY.pub`), or by an OpenPGP fingerprint of 40 or 64 hexadecimal digits (see `gpg --fingerprint`)"
)]
pub struct BadKey;

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if let Some(hash) = text.strip_prefix("SHA256:") {
            let good = hash.len() == 43 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
            return if good { Ok(Self(text.into())) } else { Err(BadKey) };
        }
        // As gpg prints it, in groups.
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let good = matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if good { Ok(Self(digits.to_ascii_uppercase().into())) } else { Err(BadKey) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// What stands behind one commit of the first-parent line: facts, without names of people and without a judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub commit: Commit,
    /// How many parents it has: two make a merge, more an octopus.
    pub parents: u32,
    /// Its own signature.
    pub signature: Signature,
    /// Who signed the commits that it brought in: those behind it that were not behind its first parent, and those that the
    /// forge made it of.
    pub signers: BTreeSet<Key>,
    /// The first of those that carries no good signature, in a sentence.
    pub unsigned: Option<Text>,
    /// Grant files that it changed against its first parent and whose content is not that of its second parent, or was made
    /// by no commit that it brought in. Empty for what is no merge of two.
    pub differs: Vec<Text>,
    /// What the forge has on record of it.
    pub forge: Said,
    /// When the first of its keys is over: the proof is good until then.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Proof {
    /// Whether it and all that it brought in is signed.
    pub fn signed(&self) -> bool {
        matches!(self.signature, Signature::By(_)) && self.unsigned.is_none()
    }

    /// Whether nothing in it can become better by itself: what does not hold now may hold a little later.
    pub fn holds(&self) -> bool {
        self.signed() && !matches!(self.forge, Said::Away(_) | Said::Missing(_))
    }
}

/// A signature, by the one rule that counts: a key that is allowed now, over exactly this commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    By(Key),
    /// Why it proves nothing, as the end of a sentence that begins with the commit: "carries no signature".
    Bad(Text),
}

/// What the forge says of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// There is no forge to be asked.
    Unasked,
    /// It did not answer, in a sentence: later may be better.
    Away(Text),
    /// It answered, and there is no merged pull request of this repository, branch and commit, in a sentence.
    Missing(Text),
    Review(Review),
}

/// A merged pull (or merge) request, by numeric ids of the forge's users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Its number in the repository.
    pub number: u64,
    /// The head that was merged.
    pub head: Commit,
    /// Who opened it, committed to it and pushed it: none of them can approve it.
    pub authors: BTreeSet<u64>,
    /// Whose latest decisive review, before the merge and on exactly this head, approves. Bots are not among them.
    pub approvers: BTreeSet<u64>,
    /// Who merged it.
    pub merger: Option<u64>,
    /// Grant files that the commit changed and whose content is not that of `head`, or was made by no commit behind it that
    /// is new.
    pub differs: Vec<Text>,
}
