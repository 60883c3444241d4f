//! What the world holds, as it is written in its YAML file.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    str::FromStr,
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::model::{GrantId, Text, word_or_map};

/// The whole in-memory cloud. The file may be edited by hand at any time, also while something works on it. When it is
/// rewritten the comment lines at its top stay, and all other comments are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct State {
    /// AWS accounts, by their 12 digits in quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<Text, Account>,
    /// The managed policies that exist: AWS's own by name, the accounts' by ARN. No other can be attached.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Text>,
    #[serde(default, skip_serializing_if = "Directory::is_empty")]
    pub directory: Directory,
    /// What goes wrong. The first entry that fits a call counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// How long a call takes, by the world's clock, such as `200ms` or `2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The real moment at which the world's fast clock began; written at its first use, so that all processes agree.
    /// Take it out and the clock begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_began: Option<Timestamp>,
}

/// One AWS account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// Windows hosts, by region and instance id. An id that is taken out of the file is unknown, which proves nothing;
    /// a host that is gone for certain has `state: terminated`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<Text, BTreeMap<Text, Host>>,
    /// IAM users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<Text, User>,
    /// IAM roles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<Text, Role>,
    /// IAM groups.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Text, Group>,
    /// Permission sets with those they are assigned to on this account, as `user:NAME` and `group:NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub permission_sets: BTreeMap<Text, BTreeSet<Caseless>>,
}

/// A Windows host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "flow::map")]
    pub tags: BTreeMap<Text, Text>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: Power,
    /// Whether its SSM agent answers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub agent: Agent,
    /// A domain controller has no local groups.
    #[serde(default, skip_serializing_if = "is_default")]
    pub domain_controller: bool,
    /// The members of the local group Administrators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub administrators: Vec<Member>,
    /// Who is logged on, as `DOMAIN\user`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", serialize_with = "flow::seq")]
    pub sessions: BTreeSet<Caseless>,
}

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    #[default]
    Running,
    /// It cannot be reached, and may come back.
    Stopped,
    /// It is gone for certain.
    Terminated,
}

/// Whether a host's SSM agent answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    #[default]
    Online,
    Offline,
}

/// A local administrator: `'CORP\ops'`, or with grantd's marker `{ user: 'corp\jdoe', until: …, grants: […] }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: Caseless,
    /// `None`: access that is not ours.
    pub marker: Option<Marker>,
}

/// What grantd leaves at access of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub until: Timestamp,
    pub grants: Vec<GrantId>,
}

/// An IAM user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The groups that it is in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", serialize_with = "flow::seq")]
    pub groups: BTreeSet<Text>,
    /// The managed policies attached to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Text>,
}

/// An IAM role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The managed policies attached to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Text>,
}

/// An IAM group. Its members are listed at the users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The managed policies attached to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Text>,
}

/// Who exists outside the accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The users of the Windows domain, as `DOMAIN\user`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub windows: BTreeSet<Caseless>,
    /// Identity Center's users.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<Caseless>,
    /// Identity Center's groups.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<Text>,
}

impl Directory {
    fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.users.is_empty() && self.groups.is_empty()
    }
}

/// Something that goes wrong on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// On this surface only, such as `windows-admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Text>,
    /// At this place and those below it only, such as `123456789012/us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Text>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on: On,
    pub trouble: Failure,
    /// How many calls it spoils; then it is taken out. Without this: until somebody takes it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<NonZeroU32>,
}

/// Which calls a fault spoils.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    Read,
    Write,
    #[default]
    Any,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    Unreachable,
    Denied,
    Throttled,
    Broken,
    /// A write is done, but its answer does not arrive. A read is unreachable.
    LostReply,
}

/// A name that compares without case (ASCII) and keeps its spelling.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Caseless(pub Text);

impl Caseless {
    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl Ord for Caseless {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for Caseless {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Caseless {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Caseless {}

/// A length of time in milliseconds, written `200ms` or `2s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency(pub Duration);

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis if millis % 1000 == 0 => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

impl FromStr for Latency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "a latency is written `200ms` or `2s`, and is at most an hour";
        let (digits, scale) = match text.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix('s').ok_or(HELP)?, 1000),
        };
        if digits.len() > 7 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HELP);
        }
        let millis = digits.parse::<u64>().map_err(|_| HELP)? * scale;
        if millis > 3_600_000 { Err(HELP) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Latency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Latency".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,7}m?s$",
            "description": "A length of time such as `200ms` or `2s`, at most an hour."
        })
    }
}

/// The written form of a marked [`Member`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Marked {
    /// As `DOMAIN\user`.
    user: Caseless,
    /// The end in the marker.
    until: Timestamp,
    /// The grants that the marker names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    grants: Vec<GrantId>,
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.marker.clone() {
            None => self.user.serialize(to),
            Some(Marker { until, grants }) => {
                serde_saphyr::FlowMap(Marked { user: self.user.clone(), until, grants }).serialize(to)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word_or_map(
            from,
            r"`'DOMAIN\user'` or `{ user: …, until: …, grants: […] }`",
            |text| Some(Self { user: Caseless(text.into()), marker: None }),
            |Marked { user, until, grants }| Self { user, marker: Some(Marker { until, grants }) },
        )
    }
}

impl JsonSchema for Member {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Member".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let marked = generator.subschema_for::<Marked>();
        schemars::json_schema!({
            "description": "A local administrator: with `until` it carries grantd's marker, else it is not grantd's.",
            "oneOf": [{ "type": "string" }, marked]
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Short collections on one line.
mod flow {
    use serde::{Serialize, Serializer};
    use serde_saphyr::{FlowMap, FlowSeq};

    pub fn map<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        FlowMap(value).serialize(to)
    }

    pub fn seq<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        FlowSeq(value).serialize(to)
    }
}
