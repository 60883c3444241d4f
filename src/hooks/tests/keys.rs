use std::{fs, path::Path};

use super::{GITHUB, Post, Sent, signature};
use crate::hooks::{Hooks, Keys, Settings};

fn settings(github: Option<&str>, gitlab: Option<&str>) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        github: github.map(str::to_owned),
        gitlab: gitlab.map(str::to_owned),
    }
}

#[test]
fn settings_say_what_to_write() {
    assert!(settings(None, None).check().unwrap_err().contains("write `github: credential:hook-github`"));
    assert_eq!(settings(Some("credential:hook"), None).check(), Ok(()));
    assert_eq!(settings(None, Some("/etc/grantd/hook")).check(), Ok(()));
    for secret in ["hunter2hunter2hunter2", "credential:../x", "relative/path"] {
        let error = settings(None, Some(secret)).check().unwrap_err();
        assert!(error.contains("`gitlab` names a file") && !error.contains(secret), "{error}");
    }
}

#[test]
fn a_secret_that_cannot_be_used_is_an_error_that_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let open = || Keys::open(&settings(Some("credential:secret"), None), Some(folder.path())).map(|_| ()).unwrap_err();
    let gone = open();
    assert!(gone.contains("hooks: the secret") && gone.contains("cannot be read"), "{gone}");
    for (what, text) in [
        ("fewer than 16 bytes", "canary-short15!\n".to_owned()),
        ("fewer than 16 bytes", " \n".to_owned()),
        ("one word of ASCII", "canary canary canary canary".to_owned()),
        ("one word of ASCII", "canary-canary-canary\ncanary-canary-canary\n".to_owned()),
        ("one word of ASCII", "canary-canary-cänary".to_owned()),
        ("longer than 1024 bytes", "canary".repeat(200)),
    ] {
        fs::write(&path, &text).unwrap();
        let error = open();
        assert!(error.contains(what) && error.contains("openssl rand -hex 32 >"), "{error}");
        assert!(!error.contains("canary") && !error.contains("cänary"), "{error}");
    }
    fs::write(&path, "sixteen-bytes-16\n").unwrap();
    assert!(Keys::open(&settings(Some("credential:secret"), None), Some(folder.path())).is_ok());
    let none = Keys::open(&settings(Some("credential:secret"), None), None).map(|_| ()).unwrap_err();
    assert!(none.contains("LoadCredential=secret"), "{none}");
    // A pipe would hold up the start.
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(open().contains("is no file"));
}

#[test]
fn an_address_that_is_taken_is_an_error_that_says_what_to_change() {
    let post = Post::new();
    let mut settings = settings(Some("credential:github"), None);
    settings.listen = post.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = |folder: &Path| runtime.block_on(Hooks::open(&settings, Some(folder))).map(|_| ()).unwrap_err();
    let error = open(post.folder.path());
    assert!(error.contains(&format!("hooks: {} cannot be listened on", post.address)), "{error}");
    assert!(error.contains("write another address and port to `listen`"), "{error}");
}

#[test]
fn a_changed_secret_counts_at_once_and_a_bad_one_never() {
    const NEW: &str = "the-new-secret-of-the-forge";
    let post = Post::new();
    let mut id = 0;
    let mut taken = |secret: &str| {
        id += 1;
        let request = Sent::github("push", &id.to_string(), b"{}");
        post.send(&request.put("X-Hub-Signature-256", signature(secret, b"{}")))
    };
    assert_eq!((taken(GITHUB), taken(NEW)), (202, 401));
    // Replaced, as a careful editor does.
    fs::write(post.file("draft"), NEW).unwrap();
    fs::rename(post.file("draft"), post.file("github")).unwrap();
    assert_eq!((taken(GITHUB), taken(NEW)), (401, 202));
    // Rewritten in place with one of the same length.
    let twin: String = NEW.chars().rev().collect();
    fs::write(post.file("github"), &twin).unwrap();
    post.keys.reread();
    assert_eq!((taken(NEW), taken(&twin)), (401, 202));
    // Emptied, too short, gone: the last good one stays.
    for text in ["", "short"] {
        fs::write(post.file("github"), text).unwrap();
        post.keys.reread();
        assert_eq!((taken(&twin), taken(text)), (202, 401));
    }
    fs::remove_file(post.file("github")).unwrap();
    assert_eq!(taken(&twin), 202);
    fs::write(post.file("github"), NEW).unwrap();
    assert_eq!((taken(&twin), taken(NEW)), (401, 202));
}
