use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Key, Span, Text};

/// What a commit must prove before it grants. Each level asks for all that the one before it asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// That it is on the branch: whoever can push to the branch grants.
    #[default]
    Branch,
    /// That it, and every commit that came with it, is signed by an allowed signer.
    Signed,
    /// That somebody else than those who ask, sign and benefit stands behind it.
    Approved,
}

/// Where pull requests are merged: it says whose numeric ids its record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    GitHub,
    GitLab,
}

/// Who must stand behind a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    pub level: Trust,
    /// How many approvers a grant needs at the level `approved`.
    pub approvals: u32,
    /// How long Git may be silent before nothing new is granted.
    pub max_age: Span,
    /// The forge's own keys: they sign what its merge button makes, and say nothing of who approved.
    pub merge_keys: BTreeSet<Key>,
    pub forge: Option<ForgeKind>,
    pub people: BTreeMap<Text, Person>,
    /// Principals that several people share, and who they are.
    pub shared: BTreeMap<Text, BTreeSet<Text>>,
    pub rules: Vec<Rule>,
}

impl Default for Trusted {
    fn default() -> Self {
        Self {
            level: Trust::Branch,
            approvals: 1,
            max_age: Span::hours(24),
            merge_keys: BTreeSet::new(),
            forge: None,
            people: BTreeMap::new(),
            shared: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

impl Trusted {
    /// Whether any grant needs more than to be on the branch.
    pub fn proves(&self) -> bool {
        self.level > Trust::Branch || self.rules.iter().any(|rule| rule.level() > Trust::Branch)
    }

    /// Whose key it is.
    pub fn signer(&self, key: &Key) -> Option<&Text> {
        self.find(|person| person.keys.contains(key))
    }

    /// Who has this numeric id at the forge.
    pub fn user(&self, id: u64) -> Option<&Text> {
        self.find(|person| match self.forge {
            Some(ForgeKind::GitHub) => person.github == Some(id),
            Some(ForgeKind::GitLab) => person.gitlab == Some(id),
            None => false,
        })
    }

    /// Whom a grant file may mean by its `requester`.
    pub fn requester(&self, text: &str) -> Option<&Text> {
        let named = |name: &Text| name.eq_ignore_ascii_case(text);
        self.people
            .iter()
            .find(|(name, person)| named(name) || person.requesters.iter().any(named))
            .map(|(name, _)| name)
    }

    /// Who gets what a principal gets; `None` if nobody says.
    pub fn behind(&self, principal: &str) -> Option<BTreeSet<Text>> {
        let is = |text: &Text| text.eq_ignore_ascii_case(principal);
        let shared = self.shared.iter().find(|(name, _)| is(name)).map(|(_, members)| members.clone());
        shared.or_else(|| self.find(|person| person.principals.iter().any(is)).map(|name| [name.clone()].into()))
    }

    fn find(&self, is: impl Fn(&Person) -> bool) -> Option<&Text> {
        self.people.iter().find(|(_, person)| is(person)).map(|(name, _)| name)
    }
}

/// One person, by everything that proves or names him. What is in nobody's list is nobody's: it never approves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Person {
    /// The keys that he signs commits with: `SHA256:…` as `ssh-keygen -l` shows it, or an OpenPGP fingerprint.
    pub keys: Vec<Key>,
    /// His numeric id at GitHub (`gh api users/LOGIN --jq .id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub github: Option<u64>,
    /// His numeric id at GitLab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<u64>,
    /// What he is called where access is given: `windows:user/CORP\jdoe`, `iam:user/jdoe`, `sso:user/jdoe@corp.example`. He never
    /// approves access for himself.
    pub principals: Vec<Text>,
    /// How grant files name him under `requester`, besides the name that he has here. It only keeps him from approving.
    pub requesters: Vec<Text>,
}

/// What grants of one kind need. Every rule that matches applies, and the strictest value wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What plans call it.
    pub name: Text,
    /// Which entries it is for. Without any, for all.
    #[serde(rename = "match")]
    pub when: When,
    /// The level that such a grant needs, if it is stricter than `trust.level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Trust>,
    /// Only these people can approve it; it needs the level `approved` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<BTreeSet<Text>>,
    /// How many of them must; it needs the level `approved` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub approvals_required: Option<u32>,
    /// The longest that it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Span>,
}

/// What an entry must be for a rule to match: all that is given, compared without case; `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The account, by its name under `accounts` or its 12 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Text>,
    /// Such as `windows-admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Text>,
    /// The IAM role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Text>,
    /// The policy, by its ARN or the name at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Text>,
    /// The IAM or Identity Center group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// The permission set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Text>,
    /// Who gets the access: `windows:user/CORP\jdoe`, `iam:role/OpsOnCall`, `sso:user/*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Text>,
    /// The file, from the root of the repository. Whoever writes a file chooses its path, so a rule by path can only make
    /// things stricter, as all rules can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
}

impl Rule {
    /// The level that it asks for: approvers and a number of approvals make sense at `approved` only.
    pub fn level(&self) -> Trust {
        let approved = self.approvers.is_some() || self.approvals_required.is_some();
        let implied = if approved { Trust::Approved } else { Trust::Branch };
        self.level.map_or(implied, |level| level.max(implied))
    }
}

impl When {
    /// Whether it matches an entry for `principal` in the file at `path`. `named` are the names that the account has in the
    /// configuration.
    pub fn matches(&self, ask: &Ask, principal: &str, path: &str, named: &[&str]) -> bool {
        let Self { account, surface, region, role, policy, group, set, principal: who, path: file } = self;
        let one = |given: &Option<Text>, word: &str| given.as_ref().is_none_or(|given| like(given, word));
        let field = |given: &Option<Text>, name: &str| match ask.word(name) {
            "" => given.is_none(),
            word => {
                // A policy has several spellings: a grant's is AWS's own in every partition, with or without the path.
                let Some(given) = given.as_deref().map(plain) else { return true };
                let word = plain(word);
                let path = word.split_once(":policy/").map_or("", |(_, path)| path);
                let name = word.rsplit('/').next().unwrap_or_default();
                like(&given, &word) || !path.is_empty() && like(&given, path) || like(&given, name)
            }
        };
        let at_account = one(account, ask.word("account")) || named.iter().any(|name| one(account, name));
        at_account
            && one(surface, &ask.surface)
            && one(who, principal)
            && one(file, path)
            && [(region, "region"), (role, "role"), (policy, "policy"), (group, "group"), (set, "set")]
                .into_iter()
                .all(|(given, name)| field(given, name))
    }
}

/// An ARN as AWS's first partition has it.
fn plain(text: &str) -> Cow<'_, str> {
    ["arn:aws-us-gov:", "arn:aws-cn:"]
        .iter()
        .find_map(|other| text.strip_prefix(other))
        .map_or(Cow::Borrowed(text), |rest| format!("arn:aws:{rest}").into())
}

/// Whether a text is like a pattern in which `*` stands for any text, without regard to ASCII case. It is asked for each rule
/// and entry: nothing is copied.
pub fn like(pattern: &str, text: &str) -> bool {
    let (mut parts, mut left) = (pattern.as_bytes().split(|byte| *byte == b'*'), text.as_bytes());
    let (first, last) = (parts.next().unwrap_or_default(), parts.next_back());
    let Some(last) = last else { return left.eq_ignore_ascii_case(first) };
    let begins = |text: &[u8], part: &[u8]| text.get(..part.len()).is_some_and(|head| head.eq_ignore_ascii_case(part));
    if !begins(left, first) {
        return false;
    }
    left = left.get(first.len()..).unwrap_or_default();
    for part in parts {
        let Some(at) = (0..=left.len()).find(|at| left.get(*at..).is_some_and(|rest| begins(rest, part))) else {
            return false;
        };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.len().checked_sub(last.len()).and_then(|at| left.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Given;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("ops", "OPS"),
            ("*", ""),
            ("ops*", "opsoncall"),
            ("*oncall", "OpsOnCall"),
            ("a*b*c", "a-b-b-c"),
            ("grants/prod/*", "grants/prod/x/y.yaml"),
            ("*aa", "aaa"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("ops", "opsx"), ("ops*", "xops"), ("*b", "bc"), ("a*a", "a"), ("a*b*c", "acb"), ("", "x")]
        {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_policy_is_known_by_each_of_its_spellings() {
        let fields = [("account".into(), Given::One("123456789012".into())), ("role".into(), Given::One("Ops".into()))];
        let policy = ("policy".into(), Given::One("arn:aws:iam::aws:policy/job-function/ViewOnlyAccess".into()));
        let ask = Ask { surface: "iam-policy".into(), fields: fields.into_iter().chain([policy]).collect() };
        let matches = |when: When| when.matches(&ask, &ask.principal(), "grants/a.yaml", &["prod"]);
        for spelling in [
            "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
            "arn:aws-us-gov:iam::aws:policy/job-function/viewonlyaccess",
            "arn:aws-cn:iam::aws:policy/*",
            "job-function/ViewOnlyAccess",
            "ViewOnlyAccess",
            "View*",
        ] {
            assert!(matches(When { policy: Some(spelling.into()), ..When::default() }), "{spelling}");
        }
        for other in ["OnlyAccess", "arn:aws:iam::123456789012:policy/job-function/ViewOnlyAccess", "policy/*"] {
            assert!(!matches(When { policy: Some(other.into()), ..When::default() }), "{other}");
        }
        assert!(matches(When {
            account: Some("PROD".into()),
            principal: Some("iam:role/ops".into()),
            ..When::default()
        }));
        assert!(matches(When { account: Some("123456789012".into()), ..When::default() }));
        assert!(!matches(When { group: Some("*".into()), ..When::default() }), "it has no group");
    }
}
