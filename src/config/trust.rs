//! Who must stand behind a grant: the blocks `trust`, `people`, `shared` and `rules`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    model::{ForgeKind, Person, Rule, Span, Text, Trust, Trusted},
    source::{Keys, forge},
};

use super::Config;

/// What a commit must prove before it grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `branch`: that it is on the branch. `signed`: that it and all that came with it is signed by an allowed signer.
    /// `approved`: that somebody else than those who ask, sign and benefit stands behind it as well.
    pub level: Trust,
    /// How many approvers a grant needs at the level `approved`.
    #[schemars(range(min = 1, max = 10))]
    pub approvals_required: u32,
    /// Whose signatures count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Where reviews are on record. Without one only two people's keys can approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forge: Option<forge::Settings>,
    /// How long Git may be silent before nothing new is granted or extended. Ends go on.
    pub max_age: Span,
}

impl Default for Settings {
    fn default() -> Self {
        let Trusted { level, approvals, max_age, .. } = Trusted::default();
        Self { level, approvals_required: approvals, keys: None, forge: None, max_age }
    }
}

/// What the decisions need of all that.
pub fn trusted(config: &Config) -> Trusted {
    let Settings { level, approvals_required, keys, forge, max_age } = &config.trust;
    Trusted {
        level: *level,
        approvals: *approvals_required,
        max_age: *max_age,
        merge_keys: keys.iter().flat_map(|keys| keys.merge_keys.iter().cloned()).collect(),
        forge: forge.as_ref().map(|forge| match forge {
            forge::Settings::Github(_) => ForgeKind::GitHub,
            forge::Settings::Gitlab(_) => ForgeKind::GitLab,
        }),
        people: config.people.clone(),
        shared: config.shared.clone(),
        rules: config.rules.clone(),
    }
}

/// What the types cannot see.
pub fn wrong(config: &Config) -> Vec<String> {
    let Config { trust, people, shared, rules, .. } = config;
    let mut wrong = Vec::new();
    if !(1..=10).contains(&trust.approvals_required) {
        wrong.push("trust: approvals_required: write a number from 1 to 10".to_owned());
    }
    wrong.extend(trust.keys.as_ref().and_then(|keys| keys.check().err()).map(|error| format!("trust: keys: {error}")));
    wrong.extend(
        trust.forge.as_ref().and_then(|forge| forge.check().err()).map(|error| format!("trust: forge: {error}")),
    );
    let needs = trusted(config);
    let listed = trust.keys.as_ref().is_some_and(|keys| keys.signers.is_some() || keys.keyring.is_some());
    if needs.proves() && !listed {
        wrong.push("trust: the level `signed` and all above it need keys: write `keys: { signers: /etc/grantd/allowed_signers }`".to_owned());
    }
    if needs.level == Trust::Approved && people.is_empty() {
        wrong.push(
            "trust: at the level `approved` only people who are known can approve: list them under `people`".to_owned(),
        );
    }
    wrong.extend(twice(people));
    for (name, person) in people {
        let bad = person.principals.iter().find(|principal| !principal_like(principal));
        wrong.extend(bad.map(|bad| format!("people: {name}: principals: {}", form(bad))));
    }
    for (principal, members) in shared {
        if !principal_like(principal) {
            wrong.push(format!("shared: {}", form(principal)));
        }
        if members.is_empty() {
            wrong.push(format!(
                "shared: {principal}: list the people behind it, or remove it: without a list it needs two approvals"
            ));
        }
        wrong.extend(
            strangers(members, people).map(|name| format!("shared: {principal}: `{name}` is nobody in `people`")),
        );
        let own =
            people.iter().find(|(_, person)| person.principals.iter().any(|own| own.eq_ignore_ascii_case(principal)));
        wrong.extend(own.map(|(name, _)| format!("shared: {principal} is also {name}'s own: keep one of the two")));
    }
    for (index, rule) in rules.iter().enumerate() {
        let name = if rule.name.is_empty() { (index + 1).to_string() } else { format!("`{}`", rule.name) };
        let Rule { name: _, when: _, level, approvers, approvals_required, max_duration } = rule;
        if level.is_none() && approvers.is_none() && approvals_required.is_none() && max_duration.is_none() {
            wrong.push(format!(
                "rules: {name}: it asks for nothing: write `approvals_required: 2` or `max_duration: 4h`"
            ));
        }
        if approvals_required.is_some_and(|count| !(1..=10).contains(&count)) {
            wrong.push(format!("rules: {name}: approvals_required: write a number from 1 to 10"));
        }
        if let Some(may) = approvers {
            wrong.extend(
                strangers(may, people).map(|who| format!("rules: {name}: approvers: `{who}` is nobody in `people`")),
            );
            let need = approvals_required.unwrap_or(trust.approvals_required) as usize;
            if may.len() < need {
                wrong.push(format!(
                    "rules: {name}: approvals_required: it is {need}, and `approvers` has {}",
                    may.len()
                ));
            }
        }
    }
    wrong
}

fn principal_like(text: &str) -> bool {
    let kinds = ["windows:user/", "iam:user/", "iam:role/", "iam:group/", "sso:user/", "sso:group/"];
    kinds.iter().any(|kind| {
        text.len() > kind.len() && text.get(..kind.len()).is_some_and(|head| head.eq_ignore_ascii_case(kind))
    })
}

fn form(bad: &str) -> String {
    format!(
        r"`{bad}` is no principal: write `windows:user/CORP\jdoe`, `iam:user/jdoe`, `iam:role/NAME`, `iam:group/NAME`, `sso:user/NAME` or `sso:group/NAME`"
    )
}

fn strangers<'a>(names: &'a BTreeSet<Text>, people: &'a BTreeMap<Text, Person>) -> impl Iterator<Item = &'a Text> {
    names.iter().filter(|name| !people.contains_key(*name))
}

/// What proves one person must not prove another one.
fn twice(people: &BTreeMap<Text, Person>) -> Vec<String> {
    let mut owners: BTreeMap<String, &Text> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, person) in people {
        let Person { keys, github, gitlab, principals, requesters } = person;
        let all = keys
            .iter()
            .map(|key| format!("the key {key}"))
            .chain(github.map(|id| format!("the GitHub user {id}")))
            .chain(gitlab.map(|id| format!("the GitLab user {id}")))
            .chain(principals.iter().map(|principal| principal.to_ascii_lowercase()))
            .chain(
                [&**name]
                    .into_iter()
                    .chain(requesters.iter().map(|text| &**text))
                    .map(|text| format!("the requester {}", text.to_ascii_lowercase())),
            );
        for what in all.collect::<BTreeSet<_>>() {
            if let Some(other) = owners.insert(what.clone(), name) {
                wrong.push(format!("people: {what} is both {other}'s and {name}'s: each belongs to one person"));
            }
        }
    }
    wrong
}
