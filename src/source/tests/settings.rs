use std::path::{Path, PathBuf};

use super::{Repo, Settings};
use crate::{model::Span, source::GitSource};

fn with(change: impl FnOnce(&mut Settings)) -> Result<(), String> {
    let mut settings = Repo::new().settings();
    change(&mut settings);
    settings.check()
}

fn url(text: &str) -> Result<(), String> {
    with(|s| {
        s.url = text.into();
        let ssh = !text.starts_with(['/', '-']) && !text.starts_with("http") && !text.starts_with("file");
        s.ssh_key = ssh.then(|| "credential:key".into());
    })
}

#[test]
fn urls_name_a_place_and_no_secret() {
    for good in [
        "/srv/git/access.git",
        "/srv/it's a path/with:colon and@at",
        "file:///srv/git/access.git",
        "ssh://git@git.corp.example/access.git",
        "ssh://git.corp.example:2222/~ops/access.git",
        "git@git.corp.example:team/access.git",
        "git.corp.example:access.git",
        "https://git.corp.example/team/access.git",
        "https://git.corp.example:8443/access.git",
        "http://[::1]:3000/access.git",
    ] {
        assert_eq!(url(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "-u",
        "--upload-pack=touch x",
        "access.git",
        "./access.git",
        "../access:git",
        "ext::sh -c touch% /tmp/x",
        "fd::17",
        "transport::https://x/y",
        "git://git.corp.example/access.git",
        "ftp://git.corp.example/access.git",
        "HTTPS://git.corp.example/access.git",
        "ext://x/y",
        "file://host/srv/x",
        "file://srv",
        "https://git.corp.example",
        "https:///access.git",
        "https://jdoe@git.corp.example/access.git",
        "https://jdoe:secret@git.corp.example/access.git",
        "https://git.corp.example/access.git?private_token=secret",
        "ssh://git:secret@git.corp.example/access.git",
        "ssh://-oProxyCommand=touch/access.git",
        "ssh://git@-oProxyCommand=touch/access.git",
        "ssh://-x@host/access.git",
        "-oProxyCommand=x:access.git",
        "git@-oProxyCommand=x:access.git",
        "git:secret@git.corp.example:access.git",
        "git@host:-x",
        "git@host:",
        "@host:x",
        ":x",
        "/srv/a\nb",
        "https://git.corp.example/a\u{7f}b",
    ] {
        let said = url(bad).expect_err(bad);
        assert!(said.starts_with("`url` ") && !said.contains("secret"), "{bad}: {said}");
    }
}

#[test]
fn each_transport_has_its_own_secrets() {
    let https = "https://git.corp.example/access.git";
    let ssh = "ssh://git@git.corp.example/access.git";
    let key = || Some("credential:key".to_owned());
    assert!(with(|s| s.url = ssh.into()).unwrap_err().contains("needs `ssh_key`"));
    assert_eq!(with(|s| (s.url, s.ssh_key) = (ssh.into(), key())), Ok(()));
    assert_eq!(with(|s| (s.url, s.token) = (https.into(), key())), Ok(()));
    assert!(with(|s| (s.url, s.ssh_key) = (https.into(), key())).is_err());
    assert!(with(|s| (s.url, s.ssh_key, s.token) = (ssh.into(), key(), key())).is_err());
    assert!(with(|s| s.token = key()).is_err());
    let plain = |url: &str| with(|s| (s.url, s.token) = (url.into(), key()));
    assert!(plain("http://git.corp.example/access.git").unwrap_err().contains("write `https://`"));
    assert!(plain("http://127.0.0.1.evil.example/access.git").is_err());
    assert!(plain("http://localhost.evil.example/access.git").is_err());
    assert_eq!(plain("http://127.0.0.1:80/access.git"), Ok(()));
    assert_eq!(plain("http://[::1]:80/access.git"), Ok(()));
}

#[test]
fn secrets_are_named_and_not_written() {
    let token =
        |value: &str| with(|s| (s.url, s.token) = ("https://git.corp.example/access.git".into(), Some(value.into())));
    for good in ["credential:forge", "credential:forge_1.key", "/etc/grantd/token"] {
        assert_eq!(token(good), Ok(()), "{good}");
    }
    for bad in ["", "credential:", "credential:../x", "credential:a/b", "credential:.x", "ghp_secret", "token", "./x"] {
        let said = token(bad).expect_err(bad);
        assert!(said.contains("credential:NAME") && !said.contains("ghp_"), "{said}");
    }
    let mut settings = Repo::new().settings();
    (settings.url, settings.token) = ("https://git.corp.example/x".into(), Some("credential:forge".into()));
    let said = GitSource::new(&settings, Path::new("/nonexistent"), None).unwrap_err().to_string();
    assert!(said.contains("LoadCredential=forge:"), "{said}");
}

#[test]
fn branch_and_path_have_one_spelling() {
    for good in ["main", "release/2026-11", "a.b", "ünï"] {
        assert_eq!(with(|s| s.branch = good.into()), Ok(()), "{good}");
    }
    for bad in [
        "", "-b", "a..b", "a b", "a:b", "a*", "a~1", "a^", "a\\b", "x.lock", "/a", "a/", "a//b", "@{x", "a\n", ".a",
        "refs/x",
    ] {
        let said = with(|s| s.branch = bad.into()).expect_err(bad);
        assert!(said.starts_with("`branch` ") && !said.contains('\n'), "{said}");
    }
    let said = with(|s| s.branch = "refs/heads/main".into()).unwrap_err();
    assert!(said.ends_with("write `main`"), "{said}");

    for good in ["grants", "ops/access/grants", "-grants", "gr*ts"] {
        assert_eq!(with(|s| s.path = good.into()), Ok(()), "{good}");
    }
    for bad in ["", "/grants", "grants/", "a//b", ".", "..", "a/../b", "./a", ".git", "a/.GIT/b", "a\\b", "a\nb"] {
        let said = with(|s| s.path = bad.into()).expect_err(bad);
        assert!(said.starts_with("`path` ") && !said.contains('\n'), "{said}");
    }
    assert!(with(|s| s.known_hosts = Some(PathBuf::from("known_hosts"))).is_err());
}

#[test]
fn defaults_are_filled_in_and_unknown_keys_refused() {
    let settings: Settings = serde_json::from_str(r#"{"url": "/srv/git/access.git"}"#).unwrap();
    let expected = (settings.branch.as_str(), settings.path.as_str(), settings.poll);
    assert_eq!(expected, ("main", "grants", Span::seconds(30)));
    assert_eq!(settings.check(), Ok(()));
    let again = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&again).unwrap(), settings);
    assert!(serde_json::from_str::<Settings>(r#"{"url": "/x", "brunch": "main"}"#).is_err());

    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let fields = schema["properties"].as_object().unwrap();
    assert_eq!(fields.len(), 7);
    assert!(fields.values().all(|field| field["description"].is_string()), "{schema}");
}
