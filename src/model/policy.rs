use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, Text, Trusted};

/// What the configuration lets a grant ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub limits: Limits,
    /// By the name that grants use. `None`: no configuration was given, so that names can only be checked for their form.
    pub accounts: Option<BTreeMap<Text, Account>>,
    /// What to do about access that somebody removed by hand: grant it again, or only report it.
    pub restore: bool,
    /// Who must stand behind a grant.
    pub trust: Trusted,
    /// What somebody else could change, so that what it says counts only for what it takes away: a sentence for an operator.
    pub unguarded: Option<Text>,
}

/// An AWS account that grants may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The 12 digits, in quotes.
    #[schemars(regex(pattern = "^[0-9]{12}$"))]
    pub id: Text,
    /// The ARN of the role that grantd assumes there. Without one the daemon's own credentials count, which must be of this
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Text>,
    /// The file that holds the external id of that role's trust policy: `credential:NAME` or an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Text>,
    /// The regions that grants may name.
    #[serde(default)]
    pub regions: Vec<Text>,
}

/// How long and how far ahead a grant may reach, and what no grant may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The length of a grant that states neither `ttl` nor `until`.
    pub default_ttl: Span,
    /// The longest that any grant lives, counted from its first start; edits cannot move an end past it.
    pub max_duration: Span,
    /// How far after its acceptance `from` may lie.
    pub max_ahead: Span,
    /// A file that was committed longer ago than this when it could first be accepted is held for an operator.
    pub stale_after: Span,
    pub protected: Protected,
}

/// What no grant may touch, by name, compared without case. A list that is given replaces the built-in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Protected {
    /// Policies by name or ARN. Built in: AdministratorAccess, IAMFullAccess.
    pub policies: Vec<Text>,
    /// IAM roles.
    pub roles: Vec<Text>,
    /// IAM and Identity Center groups.
    pub groups: Vec<Text>,
    /// IAM, Identity Center and Windows users.
    pub users: Vec<Text>,
    /// Permission sets. Built in: AdministratorAccess.
    pub sets: Vec<Text>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            default_ttl: Span::hours(8),
            max_duration: Span::hours(24),
            max_ahead: Span::days(30),
            stale_after: Span::hours(24),
            protected: Protected::default(),
        }
    }
}

impl Default for Protected {
    fn default() -> Self {
        Self {
            policies: vec!["AdministratorAccess".into(), "IAMFullAccess".into()],
            roles: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
            sets: vec!["AdministratorAccess".into()],
        }
    }
}
