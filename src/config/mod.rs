//! One typed YAML configuration, checked once, in whole sentences.

mod files;
mod schedule;
mod trust;
mod vain;

pub use trust::Settings as Trust;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    hooks,
    model::{Account, Limits, Person, Policy, Rule, Text, check_secret, word_or_map},
    source,
    surface::{self, IdentityCenter, WindowsAdmin, world::Pace},
};

/// The configuration file of grantd, by default `/etc/grantd/grantd.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "grantd configuration")]
pub struct Config {
    pub source: source::Settings,
    /// The folder for the journal and the bare repository; one daemon uses it. Relative to this file.
    pub state: PathBuf,
    pub cloud: Cloud,
    /// The AWS accounts that grants may name.
    #[serde(default)]
    pub accounts: BTreeMap<Text, Account>,
    #[serde(default)]
    pub limits: Limits,
    /// When everything is looked at again: a cron expression of five fields (minute, hour, day of month, month, day of
    /// week), UTC.
    #[serde(default = "default_sweep")]
    pub sweep: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub trust: trust::Settings,
    /// Who people are, by a name that rules and plans call them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub people: BTreeMap<Text, Person>,
    /// Principals that several people share, and who they are: `"iam:role/OpsOnCall": [jdoe, asmith]`. None of them approves
    /// access for it. One that is not listed here, and is nobody's own in `people`, needs two approvals.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: BTreeMap<Text, BTreeSet<Text>>,
    /// What grants of some kind need. Every rule that matches applies, and the strictest value wins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: Vec<Rule>,
    /// What to do about access of ours that somebody removed by hand.
    #[serde(default)]
    pub drift: Drift,
    #[serde(default, rename = "windows-admin", skip_serializing_if = "is_default")]
    pub windows_admin: WindowsAdmin,
    /// Where Identity Center is: needed for grants of permission sets on AWS.
    #[serde(default, rename = "permission-set", skip_serializing_if = "Option::is_none")]
    pub permission_set: Option<IdentityCenter>,
    /// Where the forges' webhooks are heard; without it, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<hooks::Settings>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where access is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// Amazon Web Services.
    Aws,
    #[serde(untagged)]
    World(WorldSettings),
}

impl<'de> Deserialize<'de> for Cloud {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let aws = |text: &str| (text == "aws").then_some(Self::Aws);
        word_or_map(from, "`aws` or `{ world: world.yaml }`", aws, Self::World)
    }
}

/// The world: an in-memory cloud in a YAML file, to try grantd on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorldSettings {
    /// The world's file. Relative to this file.
    pub world: PathBuf,
    /// `real`, or a time of its own: `{ start: 2026-11-20T09:00:00Z, speed: 60 }`.
    #[serde(default)]
    pub clock: Pace,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Tell it, and leave it.
    #[default]
    Report,
    /// Grant it again.
    Restore,
}

/// How deep a configuration is nested at the most, and how much it holds: some 20,000 people with two keys each.
const DEEPEST: usize = 12;
const LARGEST: usize = 200_000;

fn default_sweep() -> String {
    "*/15 * * * *".into()
}

/// A configuration that cannot be used: whole sentences, with file, line and column where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads and checks a file. Relative paths come back joined to the file's folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError(format!("{shown} cannot be read: {error}")))?;
        let mut config = Self::parse(&text).map_err(|ConfigError(error)| ConfigError(format!("{shown}:{error}")))?;
        let absolute = std::path::absolute(path).map_err(|error| ConfigError(format!("{shown}: {error}")))?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        config.state = folder.join(&config.state);
        if let Cloud::World(world) = &mut config.cloud {
            world.world = folder.join(&world.world);
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: DEEPEST, max_nodes: LARGEST, max_aliases: 0, max_anchors: 0, max_documents: 1
            },
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
            merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
            strict_booleans: true,
            reject_unsupported_tags: true,
            with_snippet: false,
        };
        let config: Self = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            let shown = usize::try_from(line).ok().and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
            // Enough to find it by.
            let shown: String = shown.chars().take(160).collect();
            ConfigError(format!("{line}:{column}: {}\n  | {shown}", explain(&error)))
        })?;
        match config.wrong() {
            wrong if wrong.is_empty() => Ok(config),
            wrong => Err(ConfigError(format!(" {}", wrong.join("\n  ")))),
        }
    }

    /// Everything that the types cannot see.
    fn wrong(&self) -> Vec<String> {
        let Self { source, accounts, limits, sweep, windows_admin, permission_set, hooks, .. } = self;
        let mut wrong = Vec::new();
        wrong.extend(source.check().err().map(|error| format!("source: {error}")));
        wrong.extend(schedule::check(sweep).err().map(|error| format!("sweep: {error}")));
        if limits.default_ttl > limits.max_duration {
            wrong.push(format!(
                "limits: default_ttl, {}, is longer than max_duration, {}",
                limits.default_ttl, limits.max_duration
            ));
        }
        let mut ids = BTreeSet::new();
        for (name, account) in accounts {
            if account.id.len() != 12 || !account.id.bytes().all(|b| b.is_ascii_digit()) {
                wrong.push(format!("accounts: {name}: id: write the account's 12 digits, in quotes"));
            }
            if !ids.insert(&account.id) {
                wrong.push(format!("accounts: {name}: another account has the id {} already", account.id));
            }
            wrong.extend(reach(account).err().map(|error| format!("accounts: {name}: {error}")));
        }
        wrong.extend(trust::wrong(self));
        wrong.extend(vain::wrong(self));
        wrong.extend(windows_admin.documents.check());
        wrong.extend(hooks.as_ref().and_then(|hooks| hooks.check().err()).map(|error| format!("hooks: {error}")));
        if let Some(IdentityCenter { account, region: _ }) = permission_set
            && !accounts.contains_key(account)
        {
            wrong.push(format!("permission-set: account: `{account}` is not a name under `accounts`"));
        }
        wrong
    }

    /// The surfaces' own blocks, with ids for the names of accounts.
    pub fn surfaces(&self) -> surface::Settings {
        let permission_set = self.permission_set.clone().map(|IdentityCenter { account, region }| {
            let account = self.accounts.get(&account).map_or(account, |found| found.id.clone());
            IdentityCenter { account, region }
        });
        surface::Settings { windows_admin: self.windows_admin.clone(), permission_set }
    }

    /// The files that decide what Git and the forges are taken to say, each with the name of its field. `credentials`: systemd's
    /// folder of them.
    pub fn trusted_files(&self, credentials: Option<&Path>) -> Vec<(Text, PathBuf)> {
        files::trusted(self, credentials)
    }

    pub fn policy(&self) -> Policy {
        Policy {
            limits: self.limits.clone(),
            accounts: Some(self.accounts.clone()),
            restore: self.drift == Drift::Restore,
            trust: trust::trusted(self),
            unguarded: None,
        }
    }

    /// The next sweep after a moment.
    pub fn next_sweep(&self, after: Timestamp) -> Option<Timestamp> {
        schedule::next(&self.sweep, after)
    }
}

/// What is wrong with it as YAML, in words of ours where the library's are for programmers.
fn explain(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::{Error, budget::BudgetBreach};
    let deep = || format!("nested deeper than {DEEPEST} levels, which no setting needs");
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here for the second time: keep one of them")
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "a second document begins here: a configuration is one".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => deep(),
        Error::Budget { breach: BudgetBreach::Nodes { .. }, .. } => {
            format!("more than {LARGEST} keys and values, which is the most that is read")
        }
        Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "anchors and aliases (`&name`, `*name`) are not read: write the value out".to_owned()
        }
        // Before the budget is counted.
        other if other.to_string().starts_with("recursion limit") => deep(),
        other => other.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
    }
}

/// How grantd gets into an account.
fn reach(account: &Account) -> Result<(), String> {
    let Account { id, role, external_id, regions: _ } = account;
    if let Some(role) = role {
        let parts: Vec<&str> = role.splitn(6, ':').collect();
        let [arn, partition, iam, region, owner, name] = parts[..] else {
            return Err(format!("role: `{role}` is no ARN: write `arn:aws:iam::{id}:role/grantd`"));
        };
        if (arn, iam, region) != ("arn", "iam", "") || !partition.starts_with("aws") || !name.starts_with("role/") {
            return Err(format!("role: `{role}` is no role's ARN: write `arn:aws:iam::{id}:role/grantd`"));
        }
        if owner != &**id {
            return Err(format!("role: it is a role of account {owner}, and the account is {id}"));
        }
    }
    match external_id {
        Some(_) if role.is_none() => Err("external_id: there is no role that asks for it".to_owned()),
        Some(value) => check_secret("external_id", value),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "source: { url: /srv/access.git }\nstate: state\ncloud: { world: world.yaml }\n";

    fn said(more: &str) -> String {
        Config::parse(&format!("{MINIMAL}{more}")).map_or_else(|error| error.0, |_| "fine".into())
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_readme() {
        let config = Config::parse(MINIMAL).unwrap();
        assert_eq!(config.limits.default_ttl.to_string(), "8h");
        assert_eq!(config.limits.max_duration.to_string(), "1d");
        assert_eq!(config.source.branch, "main");
        assert_eq!(config.drift, Drift::Report);
        assert_eq!(config.cloud, Cloud::World(WorldSettings { world: "world.yaml".into(), clock: Pace::Real }));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        assert!(said("sweeep: x\n").starts_with("4:1: unknown field"), "{}", said("sweeep: x\n"));
        assert!(said("limits: { default_ttl: 8 hours }\n").contains("one number and one unit"));
        assert!(said("limits: { default_ttl: 48h }\n").contains("longer than max_duration"));
        assert!(said("accounts: { prod: { id: \"1234\" } }\n").contains("12 digits"));
        assert!(said("accounts: { a: { id: \"123456789012\" }, b: { id: \"123456789012\" } }\n").contains("already"));
        assert!(said("sweep: \"* * * *\"\n").contains("five fields"));
        assert!(said("sweep: \"61 * * * *\"\n").contains("no cron expression"));
        assert!(said("sweep: \"0 0 1 * 1\"\n").contains("write * for the other"));
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 31 FEB *"] {
            assert!(said(&format!("sweep: \"{never}\"\n")).contains("never comes"), "{never}");
        }
        assert_eq!(said("sweep: \"0 0 29 2 *\"\n"), "fine");
        assert!(said("drift: ignore\n").contains("4:8"));
        assert!(said("drift: report\ndrift: restore\n").starts_with("5:1: the key `drift` stands here for the second"));
        assert!(said("---\nx: y\n").contains("a second document"));
        let people: String = (0..LARGEST / 2).map(|number| format!("  p{number}: {{}}\n")).collect();
        assert!(said(&format!("people:\n{people}")).contains("more than 200000 keys and values"));
        assert!(said("shared: &a { x: [y] }\n").contains("anchors and aliases"));
        let long = said(&format!("x: {}\n", "y".repeat(900)));
        assert!(long.contains("unknown field `x`") && !long.contains(&"y".repeat(160)), "{long}");
        let cloud = |cloud: &str| Config::parse(&format!("source: {{ url: /srv/x }}\nstate: s\ncloud: {cloud}\n"));
        let wrong = |text: &str| cloud(text).unwrap_err().0;
        assert_eq!(cloud("aws").unwrap().cloud, Cloud::Aws);
        assert!(wrong("azure").starts_with("3:8: `azure` is neither: write `aws` or"), "{}", wrong("azure"));
        assert!(wrong("{ wrld: x }").contains("unknown field `wrld`"), "{}", wrong("{ wrld: x }"));
        let pace = |clock: &str| wrong(&format!("{{ world: w, clock: {clock} }}"));
        assert!(pace("fast").contains("`real` or"), "{}", pace("fast"));
        let none = pace("{ start: 2026-11-20T09:00:00Z, speed: 0 }");
        assert!(none.contains("nonzero") && none.starts_with("3:"), "{none}");
    }

    #[test]
    fn accounts_and_surfaces_say_what_to_write() {
        let account = |more: &str| said(&format!("accounts: {{ prod: {{ id: \"123456789012\", {more} }} }}\n"));
        assert_eq!(
            account("role: \"arn:aws-cn:iam::123456789012:role/jit/grantd\", external_id: credential:x"),
            "fine"
        );
        assert!(account("role: grantd").contains("write `arn:aws:iam::123456789012:role/grantd`"));
        assert!(account("role: \"arn:aws:iam::123456789012:user/x\"").contains("no role's ARN"));
        assert!(account("role: \"arn:aws:iam::210987654321:role/x\"").contains("a role of account 210987654321"));
        assert!(account("external_id: credential:x").contains("no role that asks for it"));
        let role = "role: \"arn:aws:iam::123456789012:role/x\"";
        let secret = account(&format!("{role}, external_id: hunter2"));
        assert!(secret.contains("names a file") && !secret.contains("hunter2"), "{secret}");
        assert!(said("permission-set: { account: org, region: us-east-1 }\n").contains("not a name under `accounts`"));
        assert!(said("windows-admin: { documents: { add: AWS-Run } }\n").contains("not beginning with aws"));
        assert!(said("windows-admin: { documents: { add: same, list: same } }\n").contains("a name of its own"));
    }
}
