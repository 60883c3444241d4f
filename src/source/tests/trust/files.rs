use super::*;

#[test]
fn only_files_that_nobody_else_can_change_are_read() {
    let shelf = Shelf::new();
    let ann = shelf.ed25519("ann");
    let keys = shelf.signers(&ann.line(""));
    let path = keys.signers.clone().unwrap();
    assert!(Signers::load(&keys).is_ok());
    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Signers::load(&keys).unwrap_err();
        assert!(error.contains("can be written by others") && error.contains("`chmod go-w "), "{mode:o}: {error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Signers::load(&keys).is_ok());
    // Only root can give a file away.
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    assert!(Signers::load(&keys).unwrap_err().contains("belongs to user 12345"));
    fs::remove_file(&path).unwrap();
    assert!(Signers::load(&keys).unwrap_err().contains("cannot be opened"));
    fs::create_dir(&path).unwrap();
    assert!(Signers::load(&keys).unwrap_err().contains("is no regular file"));
    fs::remove_dir(&path).unwrap();
    done(Command::new("mkfifo").args(["-m", "600"]).arg(&path).output().unwrap());
    assert!(Signers::load(&keys).unwrap_err().contains("is no regular file"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
    assert!(Signers::load(&keys).unwrap_err().contains("is larger than 4194304 bytes"));
    fs::write(&path, ann.line("").repeat(10_001)).unwrap();
    assert!(Signers::load(&keys).unwrap_err().contains("more than 10000 keys"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let shelf = Shelf::new();
    let missing = Some(shelf.path("missing"));
    for keys in [
        Keys { signers: missing.clone(), ..Keys::default() },
        Keys { keyring: missing.clone(), ..Keys::default() },
        Keys { revoked: missing.clone(), ..Keys::default() },
    ] {
        assert!(Signers::load(&keys).unwrap_err().contains("missing cannot be opened"));
    }
    let relative = Keys { keyring: Some("keyring".into()), ..Keys::default() };
    assert_eq!(Signers::load(&relative).unwrap_err(), "`keyring` is an absolute path: write `/etc/grantd/keyring`");
}

#[test]
fn the_digest_names_all_that_decides() {
    let shelf = Shelf::new();
    let (ann, bob) = (shelf.ed25519("ann"), shelf.ed25519("bob"));
    let digest = |keys: &Keys| Signers::load(keys).unwrap().digest().to_string();
    let list = ann.line("") + &bob.line("");
    let first = digest(&shelf.signers(&list));
    assert!(first.len() == 64 && first.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(digest(&shelf.signers(&list)), first);
    let merging = Keys { merge_keys: vec![bob.name()], ..shelf.signers(&list) };
    let others = [
        digest(&shelf.signers(&ann.line(""))),
        digest(&shelf.revoking(&list, &bob.public)),
        digest(&shelf.revoking(&list, "")),
        digest(&merging),
    ];
    let distinct: std::collections::BTreeSet<_> = others.iter().chain([&first]).collect();
    assert_eq!(distinct.len(), 5);
    assert_eq!(&**Signers::default().digest(), "");
    let signers = Signers::load(&merging).unwrap();
    assert!(signers.merges(&bob.name()) && !signers.merges(&ann.name()));
}

#[test]
fn a_merge_key_is_among_the_keys() {
    let shelf = Shelf::new();
    let (ann, bob) = (shelf.ed25519("ann"), shelf.ed25519("bob"));
    let keys = Keys { merge_keys: vec![bob.name()], ..shelf.signers(&ann.line("")) };
    let error = Signers::load(&keys).unwrap_err();
    assert!(error.contains(&bob.name().to_string()) && error.contains("add the key there"), "{error}");
}

#[test]
fn settings_take_no_unknown_field() {
    let keys: Keys = serde_json::from_str(
        r#"{"signers": "/a", "merge_keys": ["SHA256:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"]}"#,
    )
    .unwrap();
    assert_eq!((keys.signers, keys.merge_keys.len()), (Some("/a".into()), 1));
    assert!(serde_json::from_str::<Keys>(r#"{"signer": "/a"}"#).is_err());
    assert!(serde_json::from_str::<Keys>(r#"{"merge_keys": ["ann"]}"#).is_err());
}

#[test]
fn without_keys_nothing_is_signed() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    let raw = repo.raw(&repo.signed(&shelf.ed25519("ann"), &[]));
    let why = Signers::default().verify(&raw, now()).unwrap_err();
    assert_eq!(&*why, "is not looked at: no keys are configured");
}
