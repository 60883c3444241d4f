use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A short shared string: bindings are cloned often and their parts repeat.
pub type Text = Arc<str>;

/// The atom of access, in canonical spelling: on one surface, at one place, in one role, one principal.
///
/// It prints as `surface / place / role / who` and reads back from that. No part may hold ` / ` or a control character;
/// each surface's name patterns see to that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub surface: Text,
    pub place: Text,
    pub role: Text,
    pub who: Text,
}

impl Binding {
    pub fn new(surface: &str, place: &str, role: &str, who: &str) -> Self {
        Self { surface: surface.into(), place: place.into(), role: role.into(), who: who.into() }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { surface, place, role, who } = self;
        write!(f, "{surface} / {place} / {role} / {who}")
    }
}

impl FromStr for Binding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split(" / ").collect::<Vec<_>>()[..] {
            [surface, place, role, who] if ![surface, place, role, who].contains(&"") => {
                Ok(Self::new(surface, place, role, who))
            }
            _ => Err("a binding is written `surface / place / role / who`"),
        }
    }
}
