//! Collects what is wrong with one text, each with its place, and reads the simple shapes that grant files are made of.

use crate::model::{Finding, Spot, Text};

use super::yaml::{Node, Value, hidden, printable};

/// The text under examination and what was found in it so far. Paths are filled in by who knows them: one blob may lie
/// at several.
pub struct Examiner<'t> {
    lines: Vec<&'t str>,
    pub findings: Vec<Finding>,
}

impl<'t> Examiner<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { lines: text.split('\n').collect(), findings: Vec::new() }
    }

    pub fn spot(&self, line: u32, column: u32) -> Spot {
        let text = self.lines.get(line as usize - 1).copied().unwrap_or_default();
        let shown: Text =
            text.chars().take(200).map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect::<String>().into();
        Spot { line, column, text: shown }
    }

    pub fn error(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        self.error_at(node.line, node.column, message, help);
    }

    pub fn error_at(&mut self, line: u32, column: u32, message: impl Into<String>, help: impl Into<String>) {
        let spot = self.spot(line, column);
        self.findings.push(Finding::error("", Some(spot), message, help));
    }

    /// The word in a node; a finding if it holds anything else.
    pub fn word<'n>(&mut self, name: &str, node: &'n Node) -> Option<&'n str> {
        let (message, help) = match &node.value {
            Value::Word(word) => return Some(word),
            Value::Nothing => (format!("`{name}` is empty"), "write a value, or take the key out".to_owned()),
            Value::Ambiguous(other) => {
                (format!("`{name}` holds {other} to other readers of YAML, not a word"), "put it in quotes".to_owned())
            }
            Value::Tagged(tag) => {
                (format!("tags (`{}`) are not allowed", printable(tag)), "write the plain value".to_owned())
            }
            Value::List(_) => (format!("`{name}` takes one value, not a list"), "write one value".to_owned()),
            Value::Map(_) => (format!("`{name}` takes one value, not a mapping"), "write one value".to_owned()),
        };
        self.error(node, message, help);
        None
    }

    /// The entries of a mapping with words for keys; findings for the keys that are none and if it is no mapping.
    pub fn entries<'n>(&mut self, what: &str, node: &'n Node) -> Option<Vec<(&'n str, &'n Node, &'n Node)>> {
        let Value::Map(map) = &node.value else {
            self.error(
                node,
                format!("{what} is a mapping: keys, each with a value"),
                "look at the example in the README",
            );
            return None;
        };
        let mut entries = Vec::new();
        for (key, value) in map {
            match &key.value {
                Value::Word(word) => entries.push((word.as_str(), key, value)),
                Value::Ambiguous(other) => {
                    self.error(key, format!("a key that is {other} to other readers of YAML"), "put it in quotes")
                }
                _ => self.error(key, "a key is one word", "look at the example in the README"),
            }
        }
        Some(entries)
    }

    /// A moment or a length of time, by its grammar.
    pub fn time<T: std::str::FromStr<Err = crate::model::BadTime>>(&mut self, name: &str, node: &Node) -> Option<T> {
        self.parsed(name, node, str::parse)
    }

    pub fn parsed<T>(
        &mut self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, crate::model::BadTime>,
    ) -> Option<T> {
        let word = self.word(name, node)?;
        match parse(word) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(node, format!("`{name}: {}` cannot be read", printable(word)), error.to_string());
                None
            }
        }
    }
}
