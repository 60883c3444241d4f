use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A short shared string.
pub type Text = Arc<str>;

/// The atom of access, in canonical spelling: on one surface, at one place, in one role, one principal.
///
/// It prints as `surface / place / role / who` and reads back from that. No part may hold ` / ` or a control character;
/// each surface's name patterns see to that. One text and no four: there are as many of these as access, in maps that are
/// compared every turn. In JSON it is an object with the four parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding(Text);

/// Between the parts of a binding.
const BETWEEN: &str = " / ";

impl Binding {
    pub fn new(surface: &str, place: &str, role: &str, who: &str) -> Self {
        let mut text = String::with_capacity(surface.len() + place.len() + role.len() + who.len() + 3 * BETWEEN.len());
        for (index, part) in [surface, place, role, who].into_iter().enumerate() {
            text.push_str(if index == 0 { "" } else { BETWEEN });
            text.push_str(part);
        }
        Self(text.into())
    }

    pub fn surface(&self) -> &str {
        // Asked for often; and no surface has a blank in its name.
        self.0.split(' ').next().unwrap_or_default()
    }

    pub fn place(&self) -> &str {
        self.part(1)
    }

    pub fn role(&self) -> &str {
        self.part(2)
    }

    pub fn who(&self) -> &str {
        self.part(3)
    }

    fn part(&self, index: usize) -> &str {
        self.0.split(BETWEEN).nth(index).unwrap_or_default()
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Binding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(BETWEEN);
        if parts.clone().count() == 4 && parts.into_iter().all(|part| !part.is_empty()) {
            Ok(Self(text.into()))
        } else {
            Err("a binding is written `surface / place / role / who`")
        }
    }
}

/// The parts as they stand in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Binding", deny_unknown_fields)]
struct Parts<'a> {
    #[serde(borrow)]
    surface: Cow<'a, str>,
    #[serde(borrow)]
    place: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    who: Cow<'a, str>,
}

impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (surface, place, role, who) = (self.surface(), self.place(), self.role(), self.who());
        Parts { surface: surface.into(), place: place.into(), role: role.into(), who: who.into() }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Parts { surface, place, role, who } = Parts::deserialize(from)?;
        Self::new(&surface, &place, &role, &who).0.parse().map_err(de::Error::custom)
    }
}
