use sha2::{Digest, Sha256};
use signature::Signer;
use ssh_key::{
    Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig,
    public::{KeyData, SkEd25519},
};

use super::*;

const GOOD: Result<(), &str> = Ok(());

/// One commit under one list, as we see it and as git does.
struct Case<'a> {
    what: &'a str,
    list: String,
    revoked: String,
    commit: &'a Commit,
    want: Result<(), &'a str>,
}

#[test]
fn what_git_does_not_verify_we_do_not_either() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    let (ann, eve) = (shelf.ed25519("ann"), shelf.ed25519("eve"));
    let signed = repo.signed(&ann, &[("grants/a.yaml", "a\n")]);
    let other = repo.signed(&ann, &[("grants/a.yaml", "b\n")]);
    let unsigned = repo.commit(&[("grants/a.yaml", "c\n")]);
    let raw = repo.raw(&signed);
    let text = String::from_utf8(raw.clone()).unwrap();
    let plain = stripped(&raw);
    let signature = ann.sign(&shelf, "git", &plain);
    let changed = repo.put(text.replace("change", "changed").as_bytes());
    let author = repo.put(text.replace("Ann Author", "Eve Author").as_bytes());
    let moved = repo.put(&with_header(&stripped(&repo.raw(&other)), "gpgsig", &signature));
    let file = repo.put(&with_header(&plain, "gpgsig", &ann.sign(&shelf, "file", &plain)));
    let twice = repo.put(&with_header(&raw, "gpgsig", &signature));
    let longer = repo.put(&with_header(&raw, "gpgsig-sha256", &signature));
    let odd = repo.put(&with_header(&raw, "gpgsignature", "evil"));
    let tagged = repo.put(&with_header(&plain, "mergetag", &signature));
    let below = repo.put(
        format!("{}\ngpgsig {}", String::from_utf8(plain.clone()).unwrap(), signature.replace('\n', "\n ")).as_bytes(),
    );
    let half = repo.put(&with_header(&plain, "gpgsig", signature.get(..150).unwrap()));
    let large = repo.put(&with_header(&plain, "gpgsig", &format!("{signature}{}", "A".repeat(70_000))));
    let trailed = repo.put(&with_header(&plain, "gpgsig", &format!("{signature}{signature}")));
    let made = repo.put(&with_header(&plain, "gpgsig", &signature));
    let line = ann.line("");
    let case = |what, list: &str, revoked: &str, commit, want| Case {
        what,
        list: list.into(),
        revoked: revoked.into(),
        commit,
        want,
    };
    let cases = [
        case("good", &line, "", &signed, GOOD),
        case("good, put together by hand", &line, "", &made, GOOD),
        case("good in the second line", &(eve.line("") + &line), "", &signed, GOOD),
        case("unsigned", &line, "", &unsigned, Err("carries no signature")),
        case("not in the list", &eve.line(""), "", &signed, Err("not among the signers")),
        case("an empty list", "# nobody\n\n", "", &signed, Err("not among the signers")),
        case("for git alone", &ann.line("namespaces=\"git\""), "", &signed, GOOD),
        case("for what begins with g", &ann.line("namespaces=\"file,g?*\""), "", &signed, GOOD),
        case("for files alone", &ann.line("namespaces=\"file\""), "", &signed, Err("may not sign for git")),
        case("for all but git", &ann.line("namespaces=\"*,!git\""), "", &signed, Err("may not sign for git")),
        case("for nothing", &ann.line("namespaces=\"\""), "", &signed, Err("may not sign for git")),
        case("ended", &ann.line("valid-before=\"20260101Z\""), "", &signed, Err("was valid until 2026-01-01")),
        case("not begun", &ann.line("valid-after=\"20990101Z\""), "", &signed, Err("is valid from 2099-01-01")),
        case(
            "within its time",
            &ann.line("valid-after=\"20200101Z\",valid-before=\"209901010000Z\""),
            "",
            &signed,
            GOOD,
        ),
        case("ended in one line", &(ann.line("valid-before=\"20200101Z\"") + &line), "", &signed, GOOD),
        case("quoted names", &format!("\"ann@corp.example\" {}", ann.public), "", &signed, GOOD),
        case("revoked by key", &line, &ann.public, &signed, Err("which is revoked")),
        case("revoked by name", &line, &format!("# out\n{}", ann.name()), &signed, Err("which is revoked")),
        case("another one revoked", &line, &eve.public, &signed, GOOD),
        case("the message changed", &line, "", &changed, Err("not over this commit")),
        case("the author changed", &line, "", &author, Err("not over this commit")),
        case("the signature of another commit", &line, "", &moved, Err("not over this commit")),
        case("signed as a file", &line, "", &file, Err("for something else than `git`")),
        case("two signatures", &line, "", &twice, Err("more than one signature")),
        case("two signatures in one header", &line, "", &trailed, Err("cannot be read")),
        case("one for SHA-256 as well", &line, "", &longer, Err("of a kind that is not looked at")),
        case("a header that git leaves out", &line, "", &odd, Err("of a kind that is not looked at")),
        case("a signed tag within", &line, "", &tagged, Err("carries no signature")),
        case("a signature in the message", &line, "", &below, Err("carries no signature")),
        case("half a signature", &line, "", &half, Err("cannot be read")),
        case("a large one", &line, "", &large, Err("more than 65536 bytes")),
    ];
    // What git says of these is not ours: it joins, skips, or asks the commit for the time.
    let stricter = [
        "two signatures",
        "two signatures in one header",
        "one for SHA-256 as well",
        "a header that git leaves out",
        "a large one",
    ];
    let mut looser = Vec::new();
    for Case { what, list, revoked, commit, want } in &cases {
        let keys = shelf.revoking(list, revoked);
        let answer = verify(&keys, &repo.raw(commit), now());
        match (&answer, want) {
            (Ok(key), Ok(())) => assert_eq!(*key, ann.name(), "{what}"),
            (Err(why), Err(part)) if why.contains(part) => {}
            _ => panic!("{what}: {answer:?}"),
        }
        let settings = [
            "gpg.format=ssh".to_owned(),
            format!("gpg.ssh.allowedSignersFile={}", keys.signers.as_ref().unwrap().display()),
            format!("gpg.ssh.revocationFile={}", shelf.write("git-revoked", by_key(revoked, &ann)).display()),
        ];
        let git = repo.git_verifies(commit, &settings);
        if answer.is_ok() {
            assert!(git, "{what}: git says no");
        } else if git {
            looser.push(*what);
        }
    }
    assert_eq!(looser, stricter);
}

/// OpenSSH's own list knows keys, and no names without `HASH:` in a specification.
fn by_key(revoked: &str, key: &Pair) -> String {
    if revoked.contains("SHA256:") { key.public.clone() } else { revoked.to_owned() }
}

#[test]
fn a_date_in_the_commit_does_not_bring_a_key_back() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    let ann = shelf.ed25519("ann");
    let commit = repo.signed(&ann, &[]);
    let plain = String::from_utf8(stripped(&repo.raw(&commit))).unwrap();
    let (before, rest) = plain.split_once("committer").unwrap();
    let (_, message) = rest.split_once('\n').unwrap();
    let old = format!("{before}committer Carl <carl@corp.example> 1500000000 +0000\n{message}");
    let raw = with_header(old.as_bytes(), "gpgsig", &ann.sign(&shelf, "git", old.as_bytes()));
    let commit = repo.put(&raw);
    let keys = shelf.signers(&ann.line("valid-before=\"20200101Z\""));
    let settings = [format!("gpg.ssh.allowedSignersFile={}", keys.signers.as_ref().unwrap().display())];
    assert!(repo.git_verifies(&commit, &settings), "git goes by the date: else this shows nothing");
    assert!(verify(&keys, &raw, now()).unwrap_err().contains("was valid until 2020-01-01"));
    assert_eq!(verify(&keys, &raw, time("2019-12-31T23:59:59Z")), Ok(ann.name()));
    assert!(verify(&keys, &raw, time("2020-01-01T00:00:00Z")).is_err());
}

#[test]
fn every_kind_of_key_that_openssh_makes_counts() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    for kind in [
        &["ecdsa", "-b", "256"][..],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "4096"],
    ] {
        let key = shelf.key(&kind.concat(), kind);
        let raw = repo.raw(&repo.signed(&key, &[]));
        let keys = shelf.signers(&key.line(""));
        assert_eq!(verify(&keys, &raw, now()), Ok(key.name()), "{kind:?}");
        let other = String::from_utf8(raw).unwrap().replace("change", "changed");
        assert!(verify(&keys, other.as_bytes(), now()).is_err(), "{kind:?}");
    }
}

#[test]
fn a_security_key_must_have_been_touched() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    let pair = shelf.ed25519("device");
    let secret = PrivateKey::read_openssh_file(&pair.path).unwrap();
    let device = SkEd25519::new(*secret.public_key().key_data().ed25519().unwrap(), "ssh:");
    let data = KeyData::SkEd25519(device);
    let public = PublicKey::from(data.clone()).to_openssh().unwrap();
    let plain = stripped(&repo.raw(&repo.signed(&pair, &[])));
    let sign = |flags: u8| {
        let message = SshSig::signed_data("git", HashAlg::Sha512, &plain).unwrap();
        let tail = [flags, 0, 0, 0, 7];
        let over = [&Sha256::digest("ssh:")[..], &tail, &Sha256::digest(message)[..]].concat();
        let made = secret.key_data().ed25519().unwrap().sign(&over);
        let made = Signature::new(Algorithm::SkEd25519, [made.as_bytes(), &tail].concat()).unwrap();
        let whole = SshSig::new(data.clone(), "git", HashAlg::Sha512, made).unwrap();
        repo.put(&with_header(&plain, "gpgsig", &whole.to_pem(LineEnding::LF).unwrap()))
    };
    let (touched, untouched) = (sign(1), sign(0));
    let keys = shelf.signers(&format!("ann@corp.example {public}\n"));
    let settings = [format!("gpg.ssh.allowedSignersFile={}", keys.signers.as_ref().unwrap().display())];
    assert!(repo.git_verifies(&touched, &settings) && repo.git_verifies(&untouched, &settings));
    assert!(verify(&keys, &repo.raw(&touched), now()).is_ok());
    assert_eq!(
        &*verify(&keys, &repo.raw(&untouched), now()).unwrap_err(),
        "is signed by a security key that nobody touched"
    );
}

#[test]
fn lists_that_make_no_sense_are_refused_with_their_line() {
    let shelf = Shelf::new();
    let ann = shelf.ed25519("ann");
    let small = shelf.key("small", &["rsa", "-b", "1024"]);
    for (line, part) in [
        ("ann@corp.example", "it holds no key"),
        ("ann@corp.example ssh-ed25519", "it holds no key"),
        ("ann@corp.example ssh-ed25519 AAAA", "cannot be read"),
        ("garbage \u{1} \u{2}", "is no option or no kind of key"),
        (&small.line(""), "an RSA key of 1024 bits does not count"),
        (&ann.line("cert-authority"), "`cert-authority` is not supported"),
        (&ann.line("zone=\"git\""), "`zone` is no option"),
        (&ann.line("namespaces=git"), "`namespaces` has no value in quotes"),
        (&ann.line("namespaces=\"git"), "`namespaces` has no value in quotes"),
        (&ann.line("namespaces=\"git\"x"), "after the options stand a blank and the key"),
        (&ann.line("namespaces=\"a\",namespaces=\"b\""), "`namespaces` stands there twice"),
        (&ann.line("valid-after=\"20260131\""), "write it in UTC and with `Z`"),
        (&ann.line("valid-before=\"2026-01-31Z\""), "is no time"),
        (&ann.line("valid-before=\"20261331Z\""), "is no time"),
        (&ann.line("valid-after=\"20270101Z\",valid-before=\"20260101Z\""), "it is never valid"),
        (&format!("!ann@corp.example {}", ann.public), "begins with `!`"),
        (&format!("a,,b {}", ann.public), "none is empty"),
        (&format!("\"ann {}", ann.public), "it holds no key"),
        (&format!("ann@corp.example ssh-rsa {}", ann.public.split(' ').nth(1).unwrap()), "cannot be read"),
    ] {
        let error = Signers::load(&shelf.signers(&format!("# first\n{}{line}", ann.line("")))).unwrap_err();
        assert!(error.contains(part) && error.contains("signers, line 3: "), "{line}: {error}");
    }
}

#[test]
fn the_list_of_revoked_keys_is_read_or_refused() {
    let shelf = Shelf::new();
    let ann = shelf.ed25519("ann");
    let load = |revoked: &[u8]| {
        let keys = Keys { revoked: Some(shelf.write("revoked", revoked)), ..shelf.signers(&ann.line("")) };
        Signers::load(&keys)
    };
    assert!(load(b"# nobody\n").is_ok());
    assert!(load(b"ABCD EF01 2345 6789 ABCD  EF01 2345 6789 ABCD EF01\n").is_ok());
    for bad in
        [&b"\nann@corp.example\n"[..], b"#\nSHA256:short\n", b"#\nABCDEF01\n", b"#\n\xff\n", b"#\nssh-ed25519 AAAA\n"]
    {
        assert!(load(bad).unwrap_err().contains("revoked, line 2: "), "{bad:?}");
    }
    let krl = shelf.path("krl");
    done(Command::new("ssh-keygen").arg("-kf").arg(&krl).arg(shelf.path("ann.pub")).output().unwrap());
    assert!(is_file(&krl));
    assert!(load(&fs::read(krl).unwrap()).unwrap_err().contains("a binary list of revoked keys"));
}
