use std::io::Write;

use super::*;

/// When keys are made, and when commits are signed.
const MADE: &str = "20260101T000000";
const SIGNED: &str = "20260601T000000";

/// A home of gpg, whose agent ends with it.
struct Home(Shelf);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).output();
    }
}

impl Home {
    fn new() -> Self {
        let home = Self(Shelf::new());
        fs::create_dir(home.home()).unwrap();
        fs::set_permissions(home.home(), fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    fn home(&self) -> PathBuf {
        self.0.path("gnupg")
    }

    fn command(&self, at: &str) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home()).args(["--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(["--faked-system-time", &format!("{at}!")]);
        command
    }

    fn gpg(&self, at: &str, arguments: &[&str]) -> String {
        done(self.command(at).args(["--batch", "--yes"]).args(arguments).output().unwrap())
    }

    /// Edits a key, by what one would type.
    fn edit(&self, at: &str, key: &str, typed: &str) {
        let mut command = self.command(at);
        command.args(["--expert", "--command-fd", "0", "--edit-key", key]).stdin(std::process::Stdio::piped());
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A new key and the fingerprint of its certificate.
    fn key(&self, name: &str, kind: &str, usage: &str, end: &str, more: &[&str]) -> String {
        let id = format!("{name} <{name}@corp.example>");
        self.gpg(MADE, &[more, &["--quick-gen-key", &id, kind, usage, end]].concat());
        self.gpg(MADE, &["--list-keys", "--with-colons", &id])
            .lines()
            .find_map(|line| line.strip_prefix("fpr:"))
            .unwrap()
            .trim_matches(':')
            .to_owned()
    }

    fn export(&self, key: &str) -> Vec<u8> {
        self.command(SIGNED).args(["--batch", "--export", key]).output().unwrap().stdout
    }

    fn armored(&self, key: &str) -> String {
        self.gpg(SIGNED, &["--armor", "--export", key])
    }

    fn keys(&self, ring: impl AsRef<[u8]>) -> Keys {
        Keys { keyring: Some(self.0.write("keyring", ring)), ..Keys::default() }
    }

    /// What git is to run for gpg.
    fn program(&self, at: &str, more: &str) -> String {
        let home = self.home();
        let script = format!(
            "#!/bin/sh\nexec gpg --homedir {} --batch --pinentry-mode loopback --passphrase '' --faked-system-time {at}! {more} \"$@\"\n",
            home.display()
        );
        let path = self.0.write("gpg.sh", script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("gpg.program={}", path.display())
    }

    fn commit(&self, repo: &Repo, key: &str, at: &str, more: &str) -> Commit {
        let program = self.program(at, more);
        let key = format!("user.signingkey={key}");
        repo.git(&["-c", &program, "-c", &key, "commit", "--quiet", "--allow-empty", "-S", "--message=change"]);
        repo.head()
    }
}

fn refused(keys: &Keys, raw: &[u8], at: Timestamp, part: &str) {
    let answer = verify(keys, raw, at);
    assert!(answer.as_ref().is_err_and(|why| why.contains(part)), "{part}: {answer:?}");
}

#[test]
fn a_key_of_the_keyring_signs_within_its_time() {
    let (home, repo) = (Home::new(), Repo::new());
    let ann = home.key("ann", "ed25519", "sign", "2026-07-01", &[]);
    let eve = home.key("eve", "rsa2048", "sign", "never", &[]);
    let commit = home.commit(&repo, &ann, SIGNED, "");
    let raw = repo.raw(&commit);
    let june = time("2026-06-02T00:00:00Z");
    assert!(repo.git_verifies(&commit, &[home.program(SIGNED, "")]));
    for ring in [
        home.export(&ann),
        home.armored(&ann).into_bytes(),
        (home.armored(&eve) + &home.armored(&ann)).into_bytes(),
        [home.export(&eve), home.export(&ann)].concat(),
    ] {
        assert_eq!(verify(&home.keys(ring), &raw, june), Ok(ann.parse().unwrap()));
    }
    let keys = home.keys(home.export(&ann));
    // Signed in June, by a key that ended in July: its own date does not help it.
    refused(&keys, &raw, now(), "was valid until 2026-07-01T");
    refused(&keys, &raw, time("2026-05-31T23:59:59Z"), "past or still to come");
    refused(&keys, &raw, time("2025-12-31T00:00:00Z"), "says nothing of itself that counts");
    refused(&home.keys(home.export(&eve)), &raw, june, &format!("is signed by {ann}, which is not in the keyring"));
    let keys = home.keys(home.export(&ann));
    let text = String::from_utf8(raw.clone()).unwrap();
    refused(&keys, text.replace("Ann Author", "Eve Author").as_bytes(), june, "not over this commit");
    let other = repo.raw(&repo.commit(&[("a", "b")]));
    let (_, signature) = text.split_once("gpgsig ").unwrap();
    let (signature, _) = signature.split_once("\n\n").unwrap();
    let signature = signature.replace("\n ", "\n");
    refused(&keys, &with_header(&other, "gpgsig", &signature), june, "not over this commit");
    refused(
        &keys,
        &with_header(&stripped(&raw), "gpgsig", &format!("{signature}\n{signature}")),
        june,
        "cannot be read",
    );
    let half = signature.get(..signature.len() / 2).unwrap();
    refused(&keys, &with_header(&stripped(&raw), "gpgsig", half), june, "cannot be read");
    // Listed as revoked, with the spaces that gpg prints.
    let spaced: Vec<&str> = (0..10).map(|at| ann.get(4 * at..4 * at + 4).unwrap()).collect();
    let revoked = Keys { revoked: Some(home.0.write("revoked", spaced.join(" "))), ..keys };
    refused(&revoked, &raw, june, "which is revoked");
    // RSA too, and as a key of the forge.
    let raw = repo.raw(&home.commit(&repo, &eve, SIGNED, ""));
    let keys = Keys { merge_keys: vec![eve.parse().unwrap()], ..home.keys(home.export(&eve)) };
    assert_eq!(verify(&keys, &raw, now()), Ok(eve.parse().unwrap()));
    assert!(Signers::load(&keys).unwrap().merges(&eve.parse().unwrap()));
}

#[test]
fn a_revoked_certificate_counts_for_nothing_whatever_the_reason() {
    let (home, repo) = (Home::new(), Repo::new());
    let june = time("2026-06-02T00:00:00Z");
    for reason in ["0", "1", "3"] {
        let ann = home.key(&format!("ann{reason}"), "ed25519", "sign", "never", &[]);
        let commit = home.commit(&repo, &ann, SIGNED, "");
        let raw = repo.raw(&commit);
        assert!(verify(&home.keys(home.export(&ann)), &raw, june).is_ok());
        // Long after the signature: a soft reason would leave it good, by the books.
        home.edit("20261001T000000", &ann, &format!("revkey\ny\n{reason}\n\ny\nsave\n"));
        refused(&home.keys(home.export(&ann)), &raw, now(), "is revoked");
        refused(&home.keys(home.export(&ann)), &raw, june, "is revoked");
    }
}

#[test]
fn a_subkey_signs_for_its_certificate() {
    let (home, repo) = (Home::new(), Repo::new());
    let ann = home.key("ann", "ed25519", "cert", "never", &[]);
    home.gpg(MADE, &["--quick-add-key", &ann, "ed25519", "sign", "2026-07-01"]);
    home.gpg(MADE, &["--quick-add-key", &ann, "cv25519", "encr", "never"]);
    let raw = repo.raw(&home.commit(&repo, &ann, SIGNED, ""));
    let june = time("2026-06-02T00:00:00Z");
    let keys = home.keys(home.export(&ann));
    assert_eq!(verify(&keys, &raw, june), Ok(ann.parse().unwrap()));
    refused(&keys, &raw, now(), "was valid until 2026-07-01T");
    let names = home.gpg(SIGNED, &["--list-keys", "--with-colons", "--with-subkey-fingerprints", &ann]);
    let subkey =
        names.lines().filter_map(|line| line.strip_prefix("fpr:")).nth(1).unwrap().trim_matches(':').to_owned();
    assert_ne!(subkey, ann);
    // The list knows the subkey, or its certificate.
    for name in [&subkey, &ann] {
        let keys = Keys { revoked: Some(home.0.write("revoked", name)), ..keys.clone() };
        refused(&keys, &raw, june, &format!("is signed by {name}, which is revoked"));
    }
    // Without the subkey's own word, and with a subkey that another certificate takes over.
    let bytes = home.export(&ann);
    let eve = home.key("eve", "ed25519", "cert", "never", &[]);
    let at = bytes.windows(2).position(|two| two == [0xb8, 0x33]).unwrap();
    refused(&home.keys([home.export(&eve), bytes[at..].to_vec()].concat()), &raw, june, "is bound to no certificate");
    home.edit("20260901T000000", &ann, "key 1\nrevkey\ny\n3\n\ny\nsave\n");
    refused(&home.keys(home.export(&ann)), &raw, june, "is revoked");
}

#[test]
fn a_key_that_may_not_sign_does_not() {
    let (home, repo) = (Home::new(), Repo::new());
    let ann = home.key("ann", "ed25519", "sign", "never", &[]);
    let raw = repo.raw(&home.commit(&repo, &ann, SIGNED, ""));
    let october = time("2026-10-02T00:00:00Z");
    assert!(verify(&home.keys(home.export(&ann)), &raw, october).is_ok());
    home.edit("20261001T000000", &ann, "change-usage\nS\nQ\nsave\n");
    let keys = home.keys(home.export(&ann));
    refused(&keys, &raw, october, "may not sign");
    // Nor does an end that was brought forward wait for anything.
    let bob = home.key("bob", "ed25519", "sign", "never", &[]);
    let raw = repo.raw(&home.commit(&repo, &bob, SIGNED, ""));
    home.gpg("20261001T000000", &["--quick-set-expire", &bob, "2026-11-01"]);
    let keys = home.keys(home.export(&bob));
    assert!(verify(&keys, &raw, october).is_ok());
    refused(&keys, &raw, time("2026-11-02T00:00:00Z"), "was valid until 2026-11-01");
}

#[test]
fn weak_hashes_and_odd_kinds_do_not_count() {
    let (home, repo) = (Home::new(), Repo::new());
    let june = time("2026-06-02T00:00:00Z");
    let ann = home.key("ann", "rsa2048", "sign", "never", &[]);
    let keys = home.keys(home.export(&ann));
    for more in [
        "--digest-algo SHA1",
        "--digest-algo RIPEMD160",
        "--textmode",
        "--set-notation !a@corp.example=b",
        "--default-sig-expire 1d --ask-sig-expire",
    ] {
        let raw = repo.raw(&home.commit(&repo, &ann, SIGNED, more));
        let part = if more.contains("expire") { "past or still to come" } else { "of a kind that does not count" };
        refused(&keys, &raw, time("2026-06-03T00:00:00Z"), part);
    }
    // An old self-signature over SHA-1.
    let old = home.key("old", "rsa2048", "sign", "never", &["--cert-digest-algo", "SHA1"]);
    let raw = repo.raw(&home.commit(&repo, &old, SIGNED, ""));
    refused(&home.keys(home.export(&old)), &raw, june, "says nothing of itself that counts");
    let small = home.key("small", "rsa1024", "sign", "never", &[]);
    let raw = repo.raw(&home.commit(&repo, &small, SIGNED, ""));
    refused(&home.keys(home.export(&small)), &raw, june, "is an RSA key of only 1024 bits");
    let dsa = home.key("dsa", "dsa2048", "sign", "never", &[]);
    let raw = repo.raw(&home.commit(&repo, &dsa, SIGNED, ""));
    refused(&home.keys(home.export(&dsa)), &raw, june, "is of a kind that does not count");
}

#[test]
fn keyrings_that_make_no_sense_are_refused() {
    let home = Home::new();
    let ann = home.key("ann", "ed25519", "sign", "never", &[]);
    let (bytes, armored) = (home.export(&ann), home.armored(&ann));
    let secret = home.command(SIGNED).args(["--batch", "--export-secret-keys", &ann]).output().unwrap().stdout;
    assert!(Signers::load(&home.keys(&bytes)).is_ok());
    for (ring, part) in [
        (Vec::new(), "it holds no certificate"),
        (b"ann@corp.example\n".to_vec(), "it holds no certificate"),
        (b"\x00\xff\xfe".to_vec(), "neither armored nor a keyring"),
        (vec![0xff; 100], "it holds what"),
        (bytes[..bytes.len() - 20].to_vec(), "it holds what cannot be read"),
        (bytes[53..].to_vec(), "it does not begin with a certificate"),
        ([bytes.clone(), bytes.clone()].concat(), "twice"),
        (armored.replace("-----END", "-----AND").into_bytes(), "a block has no end"),
        (secret, "it holds a secret key"),
    ] {
        let error = Signers::load(&home.keys(&ring)).unwrap_err();
        assert!(error.contains(part) && error.contains("`keyring` "), "{part}: {error}");
    }
}
