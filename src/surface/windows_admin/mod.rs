//! Local administrators of Windows hosts:
//! `windows-admin / 123456789012/us-east-1/i-0abc / Administrators / corp\jdoe`.

use super::{
    model::{Ask, Binding, Field, Fields, Given, Kind, Need, Selector, Target, Text},
    names,
};

#[cfg(feature = "aws")]
mod answer;
#[cfg(feature = "aws")]
pub mod aws;
mod documents;
#[cfg(feature = "aws")]
mod recall;
mod world;

pub use documents::{Document, Settings};

const SURFACE: &str = "windows-admin";

/// Membership in the local group with the SID S-1-5-32-544 (its name is localised on the host).
const ROLE: &str = "Administrators";

#[derive(Default)]
pub struct WindowsAdmin;

static FIELDS: [Field; 4] = [
    Field {
        name: "user",
        kind: Kind::Word(&names::WINDOWS_USER),
        need: Need::Always,
        about: "The domain user, in NetBIOS form. Compared without case.",
        example: r"CORP\jdoe",
    },
    Field {
        name: "account",
        kind: Kind::Account,
        need: Need::Always,
        about: "The AWS account of the hosts: its name in the configuration, or its 12 digits in quotes.",
        example: "prod",
    },
    Field {
        name: "region",
        kind: Kind::Region,
        need: Need::Always,
        about: "The AWS region of the hosts.",
        example: "us-east-1",
    },
    Field {
        name: "instances",
        kind: Kind::Tags(&names::TAG_KEY, &names::TAG_VALUE),
        need: Need::Always,
        about: "Which Windows hosts, by their tags: every key must match, with any of its values. \
                The hosts that match at the start are the hosts of this grant to its end.",
        example: "{ AccessGroup: [JITAdmins, OnCall] }",
    },
];

impl Target for WindowsAdmin {
    fn surface(&self) -> &'static str {
        SURFACE
    }

    fn about(&self) -> &'static str {
        "Makes a domain user a local administrator of the Windows hosts that carry the given tags."
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn marks(&self) -> bool {
        true
    }

    /// SSM keeps its commands and what came of them for 30 days.
    fn recalls(&self) -> bool {
        true
    }

    /// The user in lower case; each tag's values sorted, without repetition.
    fn ask(&self, mut fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>> {
        let mut wrong = Vec::new();
        if let Some(Given::One(user)) = fields.get_mut("user") {
            *user = user.to_ascii_lowercase().into();
            if user.starts_with(r"builtin\") {
                wrong.push((
                    "user",
                    format!("`{user}` is a built-in group of the host, not a domain user"),
                    r"name one person's account, such as `CORP\jdoe`".to_owned(),
                ));
            }
        }
        if let Some(Given::Tags(tags)) = fields.get_mut("instances") {
            for (_, values) in tags.iter_mut() {
                values.sort();
                values.dedup();
            }
        }
        if wrong.is_empty() { Ok(super::ask(SURFACE, fields)) } else { Err(wrong) }
    }

    fn selector(&self, ask: &Ask) -> Option<Selector> {
        let tags = match ask.fields.get("instances") {
            Some(Given::Tags(tags)) => tags.clone(),
            Some(Given::One(_)) | None => return None,
        };
        let scope = format!("{}/{}", ask.word("account"), ask.word("region"));
        Some(Selector { surface: SURFACE.into(), scope: scope.into(), tags })
    }

    fn wanted(&self, ask: &Ask, places: &[Text]) -> Vec<Binding> {
        // A place that would read as another binding is none.
        let places = places.iter().filter(|place| !place.contains(" / "));
        places.map(|place| Binding::new(SURFACE, place, ROLE, ask.word("user"))).collect()
    }
}
