//! The worst of what 64 KiB can hold, through the parser of grant files.

use std::time::Duration;

use grantd::{command::setup, decide::parse};

use crate::{
    report::{Runs, row, short, timed},
    town,
};

const SIZE: usize = 64 * 1024;
/// Repeated until the file is full.
const UNITS: [&str; 49] = [
    "[", "{a: ", "- ", "? ", "a: ", "\"", "'", "&a ", "*a ", "! ", "a: [", "a:\n ", "#", "|\n ", "-\n", "\t", "é",
    "a: b\n", "- a\n", "x ", "[a,", "%", "---\n", "\\", ",", "}", "{", "{a,", "[[],", "[{", "{[", "[]", "{}", "? ? ",
    "- - ", "- ? ", ": ", "\n", " ", " \n", "\r", "\\x41", "''", "\"\" ", "&a &b ", "!!str ", "<<: ", "...\n", ">\n\n",
];

pub fn measure() {
    let (targets, policy) = (setup::targets(), town::policy());
    let mut worst = (Duration::ZERO, String::new());
    let texts = texts();
    let count = texts.len();
    for (name, text) in texts {
        let runs = Runs::of(5, || timed(|| parse(text.as_bytes(), &targets, &policy)).0);
        worst = worst.max((runs.median(), name));
    }
    let (time, name) = worst;
    let measured = format!("{} for the worst of {count}: {name}", short(time));
    row("any 64 KiB are answered", "< 20 ms", &measured, time < Duration::from_millis(20));
}

fn texts() -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = Vec::new();
    for unit in UNITS {
        let text = unit.repeat(SIZE / unit.len());
        texts.push((format!("{unit:?} repeated"), text.clone()));
        // Behind the beginning of a grant, so that it is read as a value, in block and in flow style.
        for head in ["requester: ", "access: [", "access:\n  - windows-admin: {", "access: \""] {
            let text: String = format!("{head}{text}")
                .chars()
                .scan(0, |size, c| {
                    *size += c.len_utf8();
                    (*size <= SIZE).then_some(c)
                })
                .collect();
            texts.push((format!("{unit:?} repeated behind {head:?}"), text));
        }
    }
    let fill = |name: &str, head: &str, part: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        for number in 0.. {
            let part = part(number);
            if text.len() + part.len() + tail.len() > SIZE {
                break;
            }
            text.push_str(&part);
        }
        (name.to_owned(), text + tail)
    };
    texts.push(fill("distinct unknown keys", "", &|n| format!("k{n}: v\n"), ""));
    texts.push(fill(
        "1,900 distinct keys with long values",
        "",
        &|n| if n < 1900 { format!("k{n}: {}\n", "v".repeat(22)) } else { String::from("# fill\n") },
        "",
    ));
    texts.push(fill("distinct keys in flow style", "{", &|n| format!("k{n}: v, "), "}"));
    texts.push(fill("many entries of access", "requester: a@b\npurpose: x\naccess:\n", &|n| {
        format!("  - windows-admin: {{ user: 'CORP\\u{n}', account: prod, region: us-east-1, instances: {{ Team: t }} }}\n")
    }, ""));
    texts.push(fill(
        "many wrong entries of access",
        "requester: a@b\npurpose: x\naccess:\n",
        &|n| format!("  - surface{n}: {{ a: b }}\n"),
        "",
    ));
    texts.push(fill("many tags", "requester: a@b\npurpose: x\naccess:\n  - windows-admin: { user: 'CORP\\u', account: prod, region: us-east-1, instances: {", &|n| format!(" k{n}: v,"), " } }\n"));
    texts.push(fill("many values of a tag", "requester: a@b\npurpose: x\naccess:\n  - windows-admin: { user: 'CORP\\u', account: prod, region: us-east-1, instances: { Team: [", &|n| format!(" v{n},"), " ] } }\n"));
    texts.push(fill("nested mappings in block style", "", &|n| format!("{}a:\n", " ".repeat(n)), ""));
    texts.push(fill("nested lists in block style", "", &|n| format!("{}-\n", " ".repeat(n)), ""));
    texts.push(fill(
        "nested mappings that close",
        "{a: {a: {a: {a: {a: {a: b}}}}}, x: [",
        &|_| "{a: {a: {a: b}}}, ".into(),
        "]}",
    ));
    texts.push(fill("a folded text with many lines", "purpose: >\n", &|_| "  x\n\n".into(), ""));
    texts.push(fill("a quoted text with many escapes", "purpose: \"", &|_| "\\u0041".into(), "\""));
    texts.push(fill("one long plain text over many lines", "purpose: a\n", &|_| " b\n".into(), ""));
    texts.push(fill("invisible characters on each line", "", &|_| "\u{200b}\n".into(), ""));
    texts.push(fill("a comment on each line", "a: b\n", &|_| "#\n".into(), ""));
    texts
}
