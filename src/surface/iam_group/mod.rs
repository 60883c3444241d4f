//! Membership in IAM groups: `iam-group / 123456789012/group/Auditors / member / jdoe`.
//!
//! The place is the group, spelled like an iam-policy's; names keep their spelling for the reason given there.

use super::{
    model::{Ask, Binding, Field, Fields, Kind, Need, Selector, Target, Text},
    names,
};

#[cfg(feature = "aws")]
mod aws;
mod world;

const SURFACE: &str = "iam-group";
const ROLE: &str = "member";

#[derive(Default)]
pub struct IamGroup;

static FIELDS: [Field; 3] = [
    Field {
        name: "account",
        kind: Kind::Account,
        need: Need::Always,
        about: "The AWS account: its name in the configuration, or its 12 digits in quotes.",
        example: "prod",
    },
    Field {
        name: "user",
        kind: Kind::Word(&names::IAM_NAME),
        need: Need::Always,
        about: "The IAM user, spelled as IAM has it.",
        example: "jdoe",
    },
    Field {
        name: "group",
        kind: Kind::Word(&names::IAM_GROUP),
        need: Need::Always,
        about: "The IAM group, spelled as IAM has it.",
        example: "Auditors",
    },
];

impl Target for IamGroup {
    fn surface(&self) -> &'static str {
        SURFACE
    }

    fn about(&self) -> &'static str {
        "Puts an IAM user into an IAM group."
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn marks(&self) -> bool {
        false
    }

    fn ask(&self, fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>> {
        Ok(super::ask(SURFACE, fields))
    }

    fn selector(&self, _: &Ask) -> Option<Selector> {
        None
    }

    fn wanted(&self, ask: &Ask, _: &[Text]) -> Vec<Binding> {
        let place = format!("{}/group/{}", ask.word("account"), ask.word("group"));
        vec![Binding::new(SURFACE, &place, ROLE, ask.word("user"))]
    }
}
