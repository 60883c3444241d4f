//! The level `signed` as an operator sets it up: by the configuration, with a key of `ssh-keygen` and commits of `git`.

use std::{fs, process::Command};

use super::{GROUP, HOST, Site, grant, until};

pub(super) fn signed() -> Site {
    let site = Site::bare();
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(site.path("jdoe")).status().unwrap();
    assert!(made.success());
    let public = fs::read_to_string(site.path("jdoe.pub")).unwrap();
    fs::write(site.path("signers"), format!("jdoe@corp.example namespaces=\"git\" {public}")).unwrap();
    let trust = format!("trust: {{ level: signed, keys: {{ signers: {} }} }}\n", site.path("signers").display());
    site.configure("", &trust);
    site
}

/// From now on commits are signed, or are not.
fn sign(site: &Site, yes: bool) {
    site.git(&["config", "gpg.format", "ssh"]);
    site.git(&["config", "user.signingkey", site.path("jdoe").to_str().unwrap()]);
    site.git(&["config", "commit.gpgsign", if yes { "true" } else { "false" }]);
}

#[test]
fn by_the_configuration_only_what_is_signed_is_granted() {
    let site = signed();
    site.fine(&["init"]);
    sign(&site, false);
    site.merge("2026-11-20-jdoe-unsigned", &grant("8h", HOST));
    sign(&site, true);
    site.merge("2026-11-20-jdoe-signed", &grant("8h", GROUP));
    let plan = site.run(&["plan"]);
    assert!(plan.out.contains("signed, asked by SHA256:"), "{plan}");
    assert!(plan.out.contains("carries no signature") && plan.out.contains("1 held"), "{plan}");
    let daemon = site.daemon();
    until("jdoe is in the group", || site.in_group().then_some(()));
    assert_eq!(site.on_host(), 0);
    let status = site.json(&["status"]);
    assert_eq!(status["held"][0]["grant"], "2026-11-20-jdoe-unsigned");
    assert_eq!(status["grants"][0]["verdict"]["level"], "signed");
    // The list counts as it is now; and without one nothing new passes, and what is deleted goes.
    fs::remove_file(site.path("signers")).unwrap();
    site.merge("2026-11-20-jdoe-later", &grant("8h", HOST));
    daemon.said("nobody can be trusted");
    sign(&site, false);
    site.withdraw("2026-11-20-jdoe-signed");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    assert_eq!(site.on_host(), 0);
    daemon.stop();
    assert_eq!(site.count("withdraw", ""), 1);
}

#[test]
fn doctor_says_what_a_level_does_not_prove_and_a_configuration_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = signed();
    site.fine(&["init"]);
    let doctor = site.fine(&["doctor"]);
    assert!(doctor.out.contains("trust: signed (whoever holds an allowed key grants"), "{doctor}");
    fs::set_permissions(site.path("signers"), fs::Permissions::from_mode(0o666)).unwrap();
    let doctor = site.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("signers"), "{doctor}");
    let config = site.path("grantd.yaml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o664)).unwrap();
    for verb in [&["run"][..], &["apply"], &["source", "accept", "--rev", "HEAD", "--reason", "x"]] {
        let done = site.run(verb);
        assert!(done.code == 1 && done.err.contains("chmod go-w"), "{verb:?}: {done}");
    }
    fs::write(&config, "source: { url: /srv/a.git }\nstate: s\ncloud: { world: w }\ntrust: { level: signed }\n")
        .unwrap();
    let done = site.run(&["plan"]);
    assert!(done.err.contains("need keys: write `keys: { signers:"), "{done}");
    site.configure("", "");
    assert!(site.fine(&["doctor"]).out.contains("whoever can push to `main` grants"));
}
