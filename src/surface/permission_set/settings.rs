use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::model::Text;

/// The `permission-set` block of the configuration: where Identity Center is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IdentityCenter")]
pub struct Settings {
    /// The management account, or the delegated administrator's: its name under `accounts`.
    pub account: Text,
    /// The region that Identity Center was set up in.
    pub region: Text,
}
