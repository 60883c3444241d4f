//! Managed policies on IAM users, roles and groups:
//! `iam-policy / 123456789012/role/OpsOnCall / attach:arn:aws:iam::aws:policy/ReadOnlyAccess / OpsOnCall`.
//!
//! IAM keeps names unique without case. A binding keeps the spelling that the grant gives, and an adapter grants only
//! to IAM's own spelling: of two spellings of one principal at most one can ever hold access, so one access has one
//! binding, and it reads as IAM shows it.

use super::{
    model::{Ask, Binding, Field, Fields, Given, Kind, Need, Selector, Target, Text},
    names,
};

#[cfg(feature = "aws")]
mod aws;
mod world;

const SURFACE: &str = "iam-policy";
const AWS_MANAGED: &str = "arn:aws:iam::aws:policy/";
const ATTACH: &str = "attach:";
const PRINCIPALS: [&str; 3] = ["user", "role", "group"];

#[derive(Default)]
pub struct IamPolicy;

static FIELDS: [Field; 5] = [
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
        need: Need::OneOf("principal"),
        about: "The IAM user, spelled as IAM has it.",
        example: "jdoe",
    },
    Field {
        name: "role",
        kind: Kind::Word(&names::IAM_NAME),
        need: Need::OneOf("principal"),
        about: "The IAM role, spelled as IAM has it.",
        example: "OpsOnCall",
    },
    Field {
        name: "group",
        kind: Kind::Word(&names::IAM_GROUP),
        need: Need::OneOf("principal"),
        about: "The IAM group, spelled as IAM has it.",
        example: "Auditors",
    },
    Field {
        name: "policy",
        kind: Kind::Word(&names::POLICY),
        need: Need::Always,
        about: "The managed policy: the name of one of AWS's own, or the ARN of one of the account's.",
        example: "AmazonEC2ReadOnlyAccess",
    },
];

impl Target for IamPolicy {
    fn surface(&self) -> &'static str {
        SURFACE
    }

    fn about(&self) -> &'static str {
        "Attaches a managed policy to an IAM user, role or group."
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn marks(&self) -> bool {
        false
    }

    /// The policy as an ARN.
    fn ask(&self, mut fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>> {
        let account = fields.get("account").map_or("", Given::word).to_owned();
        if let Some(Given::One(policy)) = fields.get_mut("policy") {
            match policy.split(':').nth(4) {
                None => *policy = format!("{AWS_MANAGED}{policy}").into(),
                // AWS's own policies have one spelling in all partitions; the adapter knows the account's.
                Some("aws") => {
                    let name = policy.split_once(":policy/").map(|(_, name)| format!("{AWS_MANAGED}{name}"));
                    *policy = name.map_or(policy.clone(), Into::into);
                }
                Some(owner) if owner != account => {
                    return Err(vec![(
                        "policy",
                        format!("the policy belongs to account {owner}, the principal to {account}"),
                        "only AWS's own policies and those of the same account can be attached".to_owned(),
                    )]);
                }
                Some(_) => {}
            }
        }
        Ok(super::ask(SURFACE, fields))
    }

    fn selector(&self, _: &Ask) -> Option<Selector> {
        None
    }

    fn wanted(&self, ask: &Ask, _: &[Text]) -> Vec<Binding> {
        let principal = PRINCIPALS.iter().map(|kind| (kind, ask.word(kind))).find(|(_, name)| !name.is_empty());
        let binding = principal.map(|(kind, name)| {
            let place = format!("{}/{kind}/{name}", ask.word("account"));
            Binding::new(SURFACE, &place, &format!("{ATTACH}{}", ask.word("policy")), name)
        });
        binding.into_iter().collect()
    }
}
