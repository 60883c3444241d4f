//! YAML as grant files may use it: mappings, lists and words, each with its place. Everything that YAML can do beyond that
//! is an error, and so is a plain word that another reader of YAML would take for a boolean, a null or a number.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Spanned, Tagged,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

/// A value and where it begins: line and column from 1, the column in characters.
#[derive(Debug)]
pub struct Node {
    pub line: u32,
    pub column: u32,
    pub value: Value,
    /// Where it begins in the text, in bytes.
    offset: usize,
}

#[derive(Debug)]
pub enum Value {
    Word(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// Nothing where something should be.
    Nothing,
    /// A plain scalar that is not a word to every reader; says what it could be taken for.
    Ambiguous(&'static str),
    Tagged(String),
}

/// Why a text is no YAML of ours.
#[derive(Debug)]
pub struct Broken {
    pub line: u32,
    pub column: u32,
    pub message: String,
    pub help: &'static str,
}

/// Reads one document. The cost is bounded by the budget, whatever the text.
pub fn read(text: &str) -> Result<Node, Broken> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 8,
            max_nodes: 2000,
            max_aliases: 0,
            max_anchors: 0,
            max_documents: 1,
            max_merge_keys: 0,
            flow_nesting_limit: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let mut node: Node = serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error))?;
    node.settle(text);
    Ok(node)
}

fn explain(error: &serde_saphyr::Error) -> Broken {
    use serde_saphyr::{Error, budget::BudgetBreach};
    let (message, help) = match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Anchors { .. }, .. } => {
            ("anchors (`&name`) are not allowed".into(), "write the value out")
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            ("a grant file holds one document".into(), "put each grant into a file of its own")
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            ("nested too deeply".into(), "a grant needs no more than the levels of the example in the README")
        }
        Error::Budget { .. } => ("too large: more than 2,000 values".into(), "split it into several grants"),
        Error::UnknownAnchor { .. } | Error::AliasError { .. } => {
            ("aliases (`*name`) are not allowed".into(), "write the value out")
        }
        Error::MergeKeyNotAllowed { .. } => ("merge keys (`<<`) are not allowed".into(), "write the keys out"),
        Error::UnsupportedTag { .. } => ("tags (`!name`) are not allowed".into(), "write the plain value"),
        Error::DuplicateMappingKey { key, .. } => (
            match key {
                Some(key) => format!("the key `{}` stands here for the second time", printable(key)),
                None => "a key stands here for the second time".into(),
            },
            "keep one of them",
        ),
        other => {
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            if text.starts_with("recursion limit") {
                ("nested too deeply".into(), "a grant needs no more than the levels of the example in the README")
            } else {
                (format!("not YAML: {}", printable(text)), "look at quotes, brackets and indentation")
            }
        }
    };
    let (line, column) = error.location().map_or((1, 1), |at| (small(at.line()), small(at.column())));
    Broken { line, column, message, help }
}

/// Text that a terminal and a log can take: control, bidirectional and zero-width characters as escapes, at most 80 of it.
pub fn printable(text: &str) -> String {
    text.chars()
        .take(80)
        .flat_map(|c| if hidden(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Characters that do not show, or that change what others look like.
pub fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).max(1)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Spanned { value: Tagged(value, tag), defined, .. } = Spanned::<Tagged<Value>>::deserialize(from)?;
        let value = match tag {
            Some(tag) => Value::Tagged(tag.replacen("tag:yaml.org,2002:", "!!", 1)),
            None => value,
        };
        let offset = defined.span().byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        Ok(Self { line: small(defined.line()), column: small(defined.column()), value, offset })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a word")
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Word(text.to_owned()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Ambiguous("a boolean"))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Ambiguous("a number"))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Ambiguous("a number"))
    }
    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Ambiguous("a number"))
    }
    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Ambiguous("a number"))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Ambiguous("a number"))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = from.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = from.next_key()? {
            map.push((key, from.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

impl Node {
    /// Marks the plain words that another reader of YAML would not take for words: `no`, `1_000`, `12:30`. Quoted ones are
    /// words to all; whether a word is quoted only the text tells.
    fn settle(&mut self, text: &str) {
        match &mut self.value {
            Value::Word(word) => {
                let quoted = matches!(text.as_bytes().get(self.offset), Some(b'"' | b'\''));
                if !quoted && let Some(other) = ambiguous(word) {
                    self.value = Value::Ambiguous(other);
                }
            }
            Value::List(list) => list.iter_mut().for_each(|node| node.settle(text)),
            Value::Map(map) => map.iter_mut().for_each(|(key, node)| {
                key.settle(text);
                node.settle(text);
            }),
            Value::Nothing | Value::Ambiguous(_) | Value::Tagged(_) => {}
        }
    }
}

/// What a plain word is to some reader of YAML 1.1 or 1.2, if it is not a word to all.
fn ambiguous(word: &str) -> Option<&'static str> {
    let lower = word.to_ascii_lowercase();
    if ["y", "n", "yes", "no", "on", "off", "true", "false"].contains(&lower.as_str()) {
        return Some("a boolean");
    }
    if ["null", "~", ""].contains(&lower.as_str()) {
        return Some("nothing");
    }
    let digits = lower.trim_start_matches(['+', '-']);
    let radix = ["0x", "0o", "0b"].iter().any(|prefix| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
    });
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.' | b':' | b'e' | b'+' | b'-'))
        // A date is a word to us; 12:30 is a number in base 60 to YAML 1.1, and 2026-11-21 is not.
        && !digits.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('-');
    let special = matches!(digits, ".inf" | ".nan");
    (radix || decimal || special).then_some("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        match read(text) {
            Ok(Node { value: Value::Map(map), .. }) => {
                map.iter().map(|(_, node)| format!("{:?}", node.value)).collect::<Vec<_>>().join(" ")
            }
            Ok(other) => format!("{other:?}"),
            Err(Broken { line, column, message, .. }) => format!("{line}:{column} {message}"),
        }
    }

    #[test]
    fn plain_words_that_others_read_differently_are_ambiguous() {
        for word in [
            "no", "Yes", "on", "true", "~", "null", "0x10", "1_000", "12", "1.5", "1e3", "12:30:00", "0o17", "-1",
            ".inf", "007",
        ] {
            assert!(
                words(&format!("a: {word}")).starts_with("Ambiguous") || words(&format!("a: {word}")) == "Nothing",
                "{word}"
            );
            assert!(words(&format!("a: '{word}'")).starts_with("Word"), "'{word}'");
            assert!(words(&format!("a: \"{word}\"")).starts_with("Word"), "\"{word}\"");
        }
        for word in [
            "8h",
            "2d",
            "jdoe",
            "2026-11-21T02:00:00Z",
            "2026-11-20-jdoe",
            "north",
            "i-0abc",
            "CORP\\jdoe",
            "e3",
            "1password",
        ] {
            assert!(words(&format!("a: {word}")).starts_with("Word"), "{word}");
        }
    }

    #[test]
    fn what_yaml_can_do_beyond_words_is_refused_with_its_place() {
        for (text, said) in [
            ("a: &x b", "1:7 anchors"),
            ("a: *x", "1:4 aliases"),
            ("<<: {a: b}", "1:1 merge keys"),
            ("a: !foo x", "1:9 tags"),
            ("a: b\na: c", "2:1 the key `a` stands here for the second time"),
            ("a: b\n---\nc: d", "2:1 a grant file holds one document"),
            ("a: 'b", "1:4 not YAML"),
            ("é: b\nc: [d", "2:4 not YAML"),
        ] {
            assert!(words(text).starts_with(said), "{text:?}: {}", words(text));
        }
        assert_eq!(words("a: !!str b"), "Tagged(\"!!str\")");
    }

    #[test]
    fn any_64_kib_are_answered() {
        let size = 64 * 1024;
        for unit in [
            "[", "{a: ", "- ", "? ", "a: ", "\"", "'", "&a ", "*a ", "! ", "a: [", "a:\n ", "#", "|\n ", "-\n", "\t",
            "é", "a: b\n", "- a\n", "x ", "[a,", "%", "---\n", "\\", ",", "}",
        ] {
            let text = unit.repeat(size / unit.len());
            // How long each takes is measured in benches/.
            let _ = read(&text);
        }
    }
}
