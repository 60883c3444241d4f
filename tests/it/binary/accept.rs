//! A rewritten history, and the operator who accepts it by name.

use std::fs;

use super::{GROUP, HOST, Site, grant, until};

/// One grant is live, and the branch has lost the commit that brought it; in its place it has another one.
fn rewritten() -> (Site, String, String) {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("jdoe-one", &grant("8h", GROUP));
    let old = site.git(&["rev-parse", "HEAD"]);
    site.fine(&["apply"]);
    assert!(site.in_group());
    site.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    fs::create_dir_all(site.path("work/grants")).unwrap();
    fs::write(site.path("work/grants/jdoe-two.yaml"), grant("8h", HOST)).unwrap();
    site.git(&["add", "--all"]);
    site.git(&["commit", "--quiet", "--message=Another history"]);
    site.git(&["push", "--quiet", "--force", "origin", "main"]);
    let new = site.git(&["rev-parse", "HEAD"]);
    (site, old, new)
}

#[test]
fn a_force_push_freezes_until_an_operator_accepts_the_head_and_says_why() {
    let (site, old, new) = rewritten();
    let daemon = site.daemon();
    until("granting is frozen", || (site.count("freeze", "") == 1).then_some(()));
    assert!(site.in_group() && site.on_host() == 0, "a rewritten history granted or revoked");
    let accept = |rev: &str, reason: &str| site.run(&["source", "accept", "--rev", rev, "--reason", reason]);
    let done = accept(&new, "CHG-1");
    assert_eq!(done.code, 1, "{done}");
    assert!(done.err.contains("a daemon that runs must be stopped for a moment (systemctl stop grantd)"), "{done}");
    assert_eq!(site.count("adopt", ""), 0);
    daemon.stop();

    // The freeze is on record: a restart does not thaw it.
    let daemon = site.daemon();
    daemon.said("revision read");
    daemon.stop();
    assert_eq!((site.count("freeze", ""), site.on_host()), (1, 0));

    for (rev, reason, why) in [
        (&*old, "CHG-1", "is not on the first-parent line of"),
        ("no-such-rev", "CHG-1", "no-such-rev"),
        ("--upload-pack=x", "CHG-1", ""),
        (&*new, "", "--reason is one line"),
        (&*new, "   ", "--reason is one line"),
        (&*new, "CHG-1\naccept everything", "--reason is one line"),
    ] {
        let done = accept(rev, reason);
        assert_ne!(done.code, 0, "{rev} {reason:?}: {done}");
        assert!(done.err.contains(why), "{rev} {reason:?}: {done}");
    }
    assert_eq!(site.count("adopt", ""), 0, "what was refused is on record");

    let told = site.json(&["source", "accept", "--rev", &new[..12], "--reason", "CHG-1: a token was purged"]);
    assert_eq!(told["commit"], new.as_str());
    assert_eq!(told["previous"], old.as_str());
    assert_eq!(told["reason"], "CHG-1: a token was purged");
    assert_eq!(told["withdraws"], serde_json::json!(["jdoe-one"]));
    assert!(told["by"].as_str().unwrap().starts_with("uid "), "{told}");
    let history = site.fine(&["history"]).out;
    let line = history.lines().find(|line| line.contains("CHG-1: a token was purged")).unwrap_or_default();
    assert!(line.contains(&new[..10]) && line.contains("accepted by uid "), "{history}");

    let daemon = site.daemon();
    until("it goes on from the new head", || (!site.in_group() && site.on_host() == 1).then_some(()));
    daemon.stop();
    // Once is enough.
    let done = accept(&new, "CHG-2");
    assert_eq!(done.code, 1, "{done}");
    assert!(done.err.contains("there is nothing to accept"), "{done}");
    assert_eq!(site.run(&["audit", "verify"]).code, 0);
}

#[test]
fn what_is_accepted_is_told_in_text_too() {
    let (site, old, new) = rewritten();
    site.run(&["apply"]);
    assert!(site.on_host() == 0);
    let done = site.fine(&["source", "accept", "--rev", "main", "--reason", "CHG-1"]);
    assert!(done.out.contains(&format!("accepted {new}\nbefore   {old}\n")), "{done}");
    assert!(done.out.contains("1 live grant without a file there, to be withdrawn: jdoe-one"), "{done}");
    assert!(done.out.contains("what is withheld stays withheld"), "{done}");
}
