//! Settings that are written in one of two forms.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads a word or a mapping. By hand and not `untagged`, which would lose what is wrong and where. `expected`: both forms, as the
/// error shows them.
pub fn word_or_map<'de, D: Deserializer<'de>, M: Deserialize<'de>, T>(
    from: D,
    expected: &'static str,
    word: impl FnOnce(&str) -> Option<T>,
    map: impl FnOnce(M) -> T,
) -> Result<T, D::Error> {
    from.deserialize_any(Forms { expected, word, map, mapping: PhantomData })
}

struct Forms<W, F, M> {
    expected: &'static str,
    word: W,
    map: F,
    mapping: PhantomData<M>,
}

impl<'de, T, M: Deserialize<'de>, W: FnOnce(&str) -> Option<T>, F: FnOnce(M) -> T> Visitor<'de> for Forms<W, F, M> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let expected = self.expected;
        (self.word)(text).ok_or_else(|| E::custom(format!("`{text}` is neither: write {expected}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(self.map)
    }
}
