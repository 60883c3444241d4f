//! Bytes to a grant, or to every reason why they are none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{
    Ask, BadId, Fields, Finding, Given, Grant, GrantId, Kind, Need, Pattern, Policy, Span, Tags, Target, Text, instant,
};

use super::{
    Targets, protects,
    shape::Examiner,
    yaml::{self, Node, Value, hidden, printable},
};

/// The largest grant file, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// The longest `purpose` and `requester`, in characters.
const LONGEST_TEXT: usize = 500;
const KEYS: [&str; 6] = ["requester", "purpose", "ttl", "until", "from", "access"];

/// What one blob says. Findings have no path yet: the blob may lie at several.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// `None` if there is an error among the findings.
    pub grant: Option<Grant>,
    pub findings: Vec<Finding>,
}

/// The id that a file's path gives: its stem.
pub fn stem(path: &str) -> Result<GrantId, BadId> {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name).parse()
}

/// Reads a grant. It depends on the bytes, the surfaces and the policy alone, so that the answer may be kept by blob.
pub fn parse(bytes: &[u8], targets: &Targets, policy: &Policy) -> Parsed {
    if bytes.len() > LONGEST {
        return whole(
            format!("the file has {} bytes; a grant has at most 64 KiB", bytes.len()),
            "split it into several grants",
        );
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
            return whole(format!("not UTF-8 (line {line})"), "save the file as UTF-8");
        }
    };
    let mut examiner = Examiner::new(text);
    refuse_hidden(text, &mut examiner);
    if !examiner.findings.is_empty() {
        return Parsed { grant: None, findings: examiner.findings };
    }
    let node = match yaml::read(text) {
        Ok(node) => node,
        Err(broken) => {
            examiner.error_at(broken.line, broken.column, broken.message, broken.help);
            return Parsed { grant: None, findings: examiner.findings };
        }
    };
    let grant = document(&node, &mut examiner, targets, policy);
    let grant = grant.filter(|_| examiner.findings.is_empty());
    Parsed { grant, findings: examiner.findings }
}

fn whole(message: String, help: &str) -> Parsed {
    Parsed { grant: None, findings: vec![Finding::error("", None, message, help)] }
}

/// A reviewer must see what is there: nothing invisible, nothing that reorders what is shown.
fn refuse_hidden(text: &str, examiner: &mut Examiner<'_>) {
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| hidden(*c) && *c != '\t') {
            let (line, column) =
                (u32::try_from(index + 1).unwrap_or(u32::MAX), u32::try_from(column + 1).unwrap_or(u32::MAX));
            examiner.error_at(line, column, format!("an invisible character, U+{:04X}", u32::from(c)), "take it out");
        }
    }
}

fn document(node: &Node, examiner: &mut Examiner<'_>, targets: &Targets, policy: &Policy) -> Option<Grant> {
    let entries = examiner.entries("a grant", node)?;
    let mut at: BTreeMap<&str, &Node> = BTreeMap::new();
    for (name, key, value) in entries {
        if KEYS.contains(&name) {
            at.insert(name, value);
        } else {
            examiner.error(
                key,
                format!("unknown key `{}`", printable(name)),
                format!("a grant has {}", KEYS.join(", ")),
            );
        }
    }
    for (name, example) in [
        ("requester", "requester: jdoe@corp.example"),
        ("purpose", "purpose: \"INC-4312: …\""),
        ("access", "access: [ … ]"),
    ] {
        if !at.contains_key(name) {
            examiner.error(node, format!("`{name}` is missing"), format!("add `{example}`"));
        }
    }
    let requester = at.get("requester").and_then(|node| line("requester", node, examiner));
    let purpose = at.get("purpose").and_then(|node| line("purpose", node, examiner));
    let from = at.get("from").and_then(|node| examiner.parsed("from", node, instant));
    let until = at.get("until").and_then(|node| examiner.parsed("until", node, instant));
    let ttl: Option<Span> = at.get("ttl").and_then(|node| examiner.time("ttl", node));
    let longest = policy.limits.max_duration;
    if let (Some(node), Some(ttl)) = (at.get("ttl"), ttl)
        && ttl > longest
    {
        examiner.error(
            node,
            format!("`ttl: {ttl}` is beyond `max_duration`, {longest}"),
            format!("ask for {longest} at most"),
        );
    }
    if let (Some(node), Some(from), Some(until)) = (at.get("until"), from, until) {
        if until <= from {
            examiner.error(node, "the end is not after the start", "write an `until` after `from`");
        } else if until > longest.after(from) {
            examiner.error(
                node,
                format!("from `from` to `until` is beyond `max_duration`, {longest}"),
                "bring them closer",
            );
        }
    }
    let access = at.get("access").map(|node| asks(node, examiner, targets, policy)).unwrap_or_default();
    let access = access.into_iter().map(Arc::new).collect();
    Some(Grant { requester: requester?, purpose: purpose?, from, until, ttl, access })
}

/// One line of free text, for people.
fn line(name: &str, node: &Node, examiner: &mut Examiner<'_>) -> Option<Text> {
    let text = examiner.word(name, node)?.trim();
    let wrong = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > LONGEST_TEXT {
        format!("is longer than {LONGEST_TEXT} characters")
    } else if text.chars().any(hidden) {
        "holds a line break or an invisible character".to_owned()
    } else {
        return Some(text.into());
    };
    examiner.error(node, format!("`{name}` {wrong}"), "write one line of text");
    None
}

fn asks(node: &Node, examiner: &mut Examiner<'_>, targets: &Targets, policy: &Policy) -> Vec<Ask> {
    let Value::List(list) = &node.value else {
        examiner.error(node, "`access` is a list", "begin each entry with `- `, such as `- iam-policy: { … }`");
        return Vec::new();
    };
    if list.is_empty() {
        examiner.error(node, "`access` is empty", "list at least one access");
    }
    let mut asks = Vec::new();
    let mut seen = BTreeSet::new();
    for item in list {
        let Some(entries) = examiner.entries("an entry of `access`", item) else { continue };
        let [(surface, key, value)] = entries[..] else {
            examiner.error(
                item,
                "an entry of `access` has exactly one key, the surface",
                "begin each entry with a `- ` of its own",
            );
            continue;
        };
        let Some(target) = targets.get(surface) else {
            let known: Vec<_> = targets.keys().copied().collect();
            examiner.error(
                key,
                format!("unknown surface `{}`", printable(surface)),
                format!("write one of {}", known.join(", ")),
            );
            continue;
        };
        if let Some(ask) = ask(target.as_ref(), key, value, examiner, policy) {
            if !seen.insert(ask.clone()) {
                examiner.error(item, "the same access stands here for the second time", "take one out");
            }
            asks.push(ask);
        }
    }
    asks
}

fn ask(target: &dyn Target, key: &Node, node: &Node, examiner: &mut Examiner<'_>, policy: &Policy) -> Option<Ask> {
    let before = examiner.findings.len();
    let entries = examiner.entries(&format!("`{}`", target.surface()), node)?;
    let mut nodes: BTreeMap<&'static str, &Node> = BTreeMap::new();
    for (name, key, value) in &entries {
        match target.fields().iter().find(|field| field.name == *name) {
            Some(field) => {
                nodes.insert(field.name, value);
            }
            None => {
                let known: Vec<_> = target.fields().iter().map(|field| field.name).collect();
                examiner.error(
                    key,
                    format!("unknown key `{}`", printable(name)),
                    format!("{} has {}", target.surface(), known.join(", ")),
                );
            }
        }
    }
    missing(target, key, &nodes, examiner);
    let mut fields = Fields::new();
    // The account first: the region is checked against it.
    for field in target.fields() {
        let Some(node) = nodes.get(field.name) else { continue };
        let given = match field.kind {
            Kind::Account => account(node, examiner, policy),
            Kind::Region => region(node, nodes.get("account"), examiner, policy),
            Kind::Word(pattern) => examiner
                .word(field.name, node)
                .and_then(|word| fits(word, pattern, node, examiner).then(|| Given::One(word.into()))),
            Kind::Tags(keys, values) => tags(field.name, node, (keys, values), examiner),
        };
        if let Some(given) = given {
            fields.insert(field.name, given);
        }
    }
    if examiner.findings.len() > before {
        return None;
    }
    match target.ask(fields) {
        Ok(ask) => {
            if let Some((name, why)) = protects(&policy.limits.protected, &ask) {
                let node = nodes.get(name).copied().unwrap_or(node);
                examiner.error(node, why, "an operator lists what no grant may touch under `limits: protected:`");
                return None;
            }
            Some(ask)
        }
        Err(wrong) => {
            for (name, message, help) in wrong {
                examiner.error(nodes.get(name).copied().unwrap_or(node), message, help);
            }
            None
        }
    }
}

fn missing(target: &dyn Target, key: &Node, nodes: &BTreeMap<&'static str, &Node>, examiner: &mut Examiner<'_>) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for field in target.fields() {
        match field.need {
            Need::Always if !nodes.contains_key(field.name) => {
                examiner.error(
                    key,
                    format!("`{}` is missing", field.name),
                    format!("add `{}: {}`", field.name, field.example),
                );
            }
            Need::Always => {}
            Need::OneOf(group) => groups.entry(group).or_default().push(field.name),
        }
    }
    for names in groups.values() {
        let given = names.iter().filter(|name| nodes.contains_key(*name)).count();
        if given != 1 {
            let all = names.join("`, `");
            let message = if given == 0 {
                format!("one of `{all}` is missing")
            } else {
                format!("only one of `{all}` may be given")
            };
            examiner.error(key, message, "write exactly one of them");
        }
    }
}

fn twelve_digits(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit())
}

/// A name of the configuration or twelve digits, to twelve digits. Without a configuration the name stays as it is.
fn account(node: &Node, examiner: &mut Examiner<'_>, policy: &Policy) -> Option<Given> {
    let word = match &node.value {
        Value::Ambiguous("a number") => {
            examiner.error(node, "an account id in digits is a number to YAML", "put it in quotes");
            return None;
        }
        _ => examiner.word("account", node)?,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if word.is_empty() || word.len() > 64 || !word.bytes().all(plain) {
        examiner.error(
            node,
            format!("`{}` is no account", printable(word)),
            "write a name from `accounts:` in the configuration, or 12 digits in quotes",
        );
        return None;
    }
    let Some(accounts) = &policy.accounts else { return Some(Given::One(word.into())) };
    let found =
        accounts.get(word).or_else(|| accounts.values().find(|account| twelve_digits(word) && &*account.id == word));
    match found {
        Some(account) => Some(Given::One(account.id.clone())),
        None => {
            let known: Vec<_> = accounts.keys().map(|name| &**name).collect();
            examiner.error(
                node,
                format!("unknown account `{word}`"),
                format!("the configuration has {}", known.join(", ")),
            );
            None
        }
    }
}

fn region(node: &Node, account: Option<&&Node>, examiner: &mut Examiner<'_>, policy: &Policy) -> Option<Given> {
    let word = examiner.word("region", node)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(5..=32).contains(&word.len()) || !word.bytes().all(plain) || !word.contains('-') {
        examiner.error(node, format!("`{}` is no region", printable(word)), "write one such as us-east-1");
        return None;
    }
    let accounts = policy.accounts.as_ref();
    let named = account.and_then(|node| if let Value::Word(name) = &node.value { Some(name.as_str()) } else { None });
    let found = accounts.zip(named).and_then(|(accounts, name)| {
        accounts.get(name).or_else(|| accounts.values().find(|account| &*account.id == name))
    });
    if let Some(account) = found
        && !account.regions.iter().any(|region| &**region == word)
    {
        let known: Vec<_> = account.regions.iter().map(|name| &**name).collect();
        let help = if known.is_empty() {
            "the configuration lists none".into()
        } else {
            format!("the configuration lists {}", known.join(", "))
        };
        examiner.error(node, format!("region `{word}` is not one of this account's"), help);
        return None;
    }
    Some(Given::One(word.into()))
}

/// `{ Key: value }` or `{ Key: [value, value] }`: every key must match, by any of its values.
fn tags(name: &str, node: &Node, (keys, allowed): (&Pattern, &Pattern), examiner: &mut Examiner<'_>) -> Option<Given> {
    let before = examiner.findings.len();
    let entries = examiner.entries(&format!("`{name}`"), node)?;
    if entries.is_empty() {
        examiner.error(
            node,
            format!("`{name}` is empty: that would be every host"),
            "write at least one tag, such as { AccessGroup: JITAdmins }",
        );
    }
    // They are kept for as long as the grant lives: no more room than it takes.
    let mut tags = Tags::with_capacity(entries.len());
    for (key, key_node, value) in entries {
        fits(key, keys, key_node, examiner);
        let nodes = match &value.value {
            Value::List(list) if list.is_empty() => {
                examiner.error(value, format!("tag `{}` has no value", printable(key)), "write at least one");
                continue;
            }
            Value::List(list) => list.iter().collect::<Vec<_>>(),
            _ => vec![value],
        };
        let mut values: Vec<Text> = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(word) = examiner.word(key, node)
                && fits(word, allowed, node, examiner)
            {
                values.push(word.into());
            }
        }
        tags.insert(Text::from(key), values);
    }
    (examiner.findings.len() == before).then_some(Given::Tags(tags))
}

/// Whether a word is of the pattern; a finding if not.
fn fits(word: &str, pattern: &Pattern, node: &Node, examiner: &mut Examiner<'_>) -> bool {
    let fits = pattern.matches(word);
    if !fits {
        examiner.error(node, format!("`{}` is not {}", printable(word), pattern.what), pattern.hint);
    }
    fits
}
