//! What GitHub publishes: a vector, and examples of every event.

use std::path::PathBuf;

use hyper::HeaderMap;
use serde_json::Value;

use super::{GITHUB, Post, Sent, signature};
use crate::hooks::{forge::Forge, keys::Key};

/// From "Validating webhook deliveries" in GitHub's documentation.
const SECRET: &[u8] = b"It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn the_published_vector_is_authentic_and_nothing_near_it() {
    assert_eq!(signature("It's a Secret to Everybody", BODY), SIGNATURE, "the tests sign as GitHub does");
    // With blanks, as only the vector has it: files hold one word.
    let key = Key::plain(SECRET);
    let check = |signature: &str, body: &[u8]| {
        let headers = HeaderMap::from_iter([("x-hub-signature-256".parse().unwrap(), signature.parse().unwrap())]);
        Forge::GitHub.check(&key, &headers, body)
    };
    assert_eq!(check(SIGNATURE, BODY), Ok(()));
    let digits = SIGNATURE.strip_prefix("sha256=").unwrap();
    for (what, signature) in [
        ("upper case", format!("sha256={}", digits.to_ascii_uppercase())),
        ("no name", digits.to_owned()),
        ("another name", format!("sha512={digits}")),
        ("a truncated one", SIGNATURE[..SIGNATURE.len() - 1].to_owned()),
        ("half of it", SIGNATURE[..7 + 32].to_owned()),
        ("none", "sha256=".to_owned()),
        ("more digits", format!("{SIGNATURE}00")),
        ("no digits", format!("sha256={}", "g".repeat(64))),
        ("bytes beyond ASCII", format!("sha256={}", "é".repeat(32))),
        ("zeros", format!("sha256={}", "0".repeat(64))),
        ("a list", format!("{SIGNATURE}, {SIGNATURE}")),
    ] {
        assert!(check(&signature, BODY).is_err(), "{what} is taken");
    }
    for at in 7..SIGNATURE.len() {
        let mut other = SIGNATURE.to_owned().into_bytes();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        assert!(check(std::str::from_utf8(&other).unwrap(), BODY).is_err(), "digit {at} does not count");
    }
    for body in [&b"Hello, World"[..], b"Hello, World!\n", b"", b"hello, World!"] {
        assert!(check(SIGNATURE, body).is_err(), "another body is taken");
    }
}

/// `webhooks.json`: for each event its name and examples.
fn published() -> Vec<(String, Vec<Value>)> {
    let beside = || {
        // target/debug/deps/NAME
        std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("specs")
    };
    let path = std::env::var_os("GRANTD_SPECS").map_or_else(beside, PathBuf::from).join("webhooks.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/specs first", path.display()));
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    events
        .iter()
        .map(|event| (event["name"].as_str().unwrap().to_owned(), event["examples"].as_array().unwrap().clone()))
        .collect()
}

#[test]
fn of_all_published_events_only_a_push_is_a_hint() {
    let post = Post::new();
    let mut sent = 0;
    let mut pushes = 0;
    for (name, examples) in published() {
        for example in examples {
            sent += 1;
            let (body, id) = (serde_json::to_vec_pretty(&example).unwrap(), format!("delivery-{sent}"));
            let request = Sent::github(&name, &id, &body);
            // Forged first: nothing of it may stay.
            let forged = request.clone().put("X-Hub-Signature-256", signature("another secret", &body));
            assert_eq!(post.send(&forged), 401, "{name}");
            let expected = if name == "push" { 202 } else { 200 };
            pushes += usize::from(name == "push");
            assert_eq!(post.send(&request), expected, "{name}");
            // And the same once more.
            assert_eq!(post.send(&request), 200, "{name}");
            // In chunks, which begin and end anywhere.
            let chunked = post.raw(&Sent::github(&name, &format!("chunked-{sent}"), &body).chunked(997));
            assert_eq!(super::status(&chunked), expected, "{name}");
            // As a form, which GitHub sends too if it is told to: it is not read anyway.
            let body = [b"payload=", &body[..]].concat();
            let form = Sent::github(&name, &format!("form-{sent}"), &body)
                .put("Content-Type", "application/x-www-form-urlencoded");
            assert_eq!(post.send(&form), expected, "{name}");
        }
    }
    assert!(sent > 300 && pushes > 5, "only {sent} examples, {pushes} of them pushes");
    assert_eq!(signature(GITHUB, b"").len(), 7 + 64);
    super::until("a hint is told", || post.hints() > 0);
}
