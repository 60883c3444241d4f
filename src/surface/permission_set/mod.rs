//! Identity Center assignments: `permission-set / 123456789012 / PowerUser / user:jdoe@corp.example`.
//!
//! User names compare without case and are written in lower case. Groups and permission sets keep their spelling, and
//! an adapter grants only to Identity Center's own.

use super::{
    model::{Ask, Binding, Field, Fields, Given, Kind, Need, Selector, Target, Text},
    names,
};

#[cfg(feature = "aws")]
mod aws;
mod settings;
mod world;

pub use settings::Settings;

const SURFACE: &str = "permission-set";
const PRINCIPALS: [&str; 2] = ["user", "group"];

#[derive(Default)]
pub struct PermissionSet;

static FIELDS: [Field; 4] = [
    Field {
        name: "account",
        kind: Kind::Account,
        need: Need::Always,
        about: "The AWS account to act in: its name in the configuration, or its 12 digits in quotes.",
        example: "prod",
    },
    Field {
        name: "user",
        kind: Kind::Word(&names::SSO_USER),
        need: Need::OneOf("principal"),
        about: "The Identity Center user. Compared without case.",
        example: "jdoe@corp.example",
    },
    Field {
        name: "group",
        kind: Kind::Word(&names::SSO_GROUP),
        need: Need::OneOf("principal"),
        about: "The Identity Center group, spelled as Identity Center has it.",
        example: "Cloud Operators",
    },
    Field {
        name: "set",
        kind: Kind::Word(&names::PERMISSION_SET),
        need: Need::Always,
        about: "The permission set, spelled as Identity Center has it.",
        example: "PowerUser",
    },
];

impl Target for PermissionSet {
    fn surface(&self) -> &'static str {
        SURFACE
    }

    fn about(&self) -> &'static str {
        "Assigns an Identity Center permission set on an account to a user or group."
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn marks(&self) -> bool {
        false
    }

    /// The user in lower case.
    fn ask(&self, mut fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>> {
        if let Some(Given::One(user)) = fields.get_mut("user") {
            *user = user.to_ascii_lowercase().into();
        }
        Ok(super::ask(SURFACE, fields))
    }

    fn selector(&self, _: &Ask) -> Option<Selector> {
        None
    }

    fn wanted(&self, ask: &Ask, _: &[Text]) -> Vec<Binding> {
        let principal = PRINCIPALS.iter().map(|kind| (kind, ask.word(kind))).find(|(_, name)| !name.is_empty());
        let binding = principal
            .map(|(kind, name)| Binding::new(SURFACE, ask.word("account"), ask.word("set"), &format!("{kind}:{name}")));
        binding.into_iter().collect()
    }
}
