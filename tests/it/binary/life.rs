//! The daemon's life: from a merge to an end, through crashes, with others beside it.

use std::fs;

use super::{GROUP, HOST, Site, grant, http::Server, until};

/// Merge, access, expiry, gone; then SIGTERM.
fn a_merge_becomes_access_and_ends(site: &Site) {
    site.fine(&["init"]);
    let daemon = site.daemon();
    assert!(!site.in_group() && site.on_host() == 0);
    site.merge("2026-11-20-jdoe-short", &grant("4s", &format!("{GROUP}{HOST}")));
    until("jdoe is in the group and on the host", || (site.in_group() && site.on_host() == 1).then_some(()));
    until("both ended", || (!site.in_group() && site.on_host() == 0).then_some(()));
    until("the ends are recorded", || (site.count("fate", "revoke") == 2).then_some(()));
    daemon.stop();

    let history = site.history();
    let of = |kind: &str| history.iter().find(|line| line["kind"] == kind).unwrap().clone();
    assert_eq!(of("finish")["cause"], "expired");
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for line in history.iter().filter(|line| line["kind"] == "intend" && line["verb"] == "revoke") {
        assert!(time(&line["at"]) >= time(&of("accept")["until"]), "revoked before its end: {line}");
    }
    let standing = r"CORP\ops";
    let world = fs::read_to_string(site.path("world.yaml")).unwrap();
    assert!(world.contains(standing), "the standing administrator is gone:\n{world}");
    site.fine(&["audit", "verify"]);
}

#[test]
fn over_a_file_a_merge_becomes_access_and_ends() {
    a_merge_becomes_access_and_ends(&Site::new());
}

#[test]
fn over_smart_http_a_merge_becomes_access_and_ends() {
    let site = Site::bare();
    let server = Server::new(site.folder.path().to_owned(), false);
    site.configure(&format!("  url: {}\n", server.url()), "");
    a_merge_becomes_access_and_ends(&site);
}

#[test]
fn a_withdrawal_ends_access_at_once() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    site.withdraw("2026-11-20-jdoe-long");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
}

/// Waits until the journal has an intent of this verb whose call did not land yet.
fn intended(site: &Site, verb: &str) {
    until("the intent is durable", || (site.count("intend", verb) > 0).then_some(()));
    assert_eq!(site.count("fate", verb), 0, "the call was too quick for this test");
}

fn slow(site: &Site, latency: &str) {
    site.edit_world(|world| format!("{world}latency: {latency}\n"));
}

fn quick(site: &Site) {
    site.edit_world(|world| {
        world.lines().filter(|line| !line.starts_with("latency:")).map(|line| format!("{line}\n")).collect()
    });
}

#[test]
fn killed_between_intent_and_act_it_grants_once_and_ends() {
    for access in [GROUP, HOST] {
        let site = Site::new();
        site.fine(&["init"]);
        // Merged before there is a daemon: the call is slow, the looks before it are not.
        let daemon = site.daemon();
        daemon.said("revision read");
        slow(&site, "10s");
        site.merge("2026-11-20-jdoe-crash", &grant("8h", access));
        intended(&site, "grant");
        daemon.kill();
        assert!(!site.in_group() && site.on_host() == 0, "nothing was done yet");
        quick(&site);

        let daemon = site.daemon();
        until("the restarted daemon grants", || (site.in_group() || site.on_host() == 1).then_some(()));
        until("the fate is recorded", || (site.count("fate", "grant") == 1).then_some(()));
        site.withdraw("2026-11-20-jdoe-crash");
        until("it is revoked", || (!site.in_group() && site.on_host() == 0).then_some(()));
        until("the end is recorded", || (site.count("fate", "revoke") >= 1).then_some(()));
        assert_eq!(site.count("accept", ""), 1, "accepted once");
        assert_eq!(site.count("fate", "grant"), 1, "granted once");
        daemon.stop();
        site.fine(&["audit", "verify"]);
    }
}

#[test]
fn killed_after_the_act_and_before_its_fate_it_owns_what_it_did() {
    // The world does what it is told, and the answer is lost with the process.
    let site = Site::new();
    site.fine(&["init"]);
    site.edit_world(|world| {
        format!("{world}faults: [{{ surface: windows-admin, on: write, trouble: lost-reply, times: 1 }}]\n")
    });
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-lost", &grant("8h", HOST));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    daemon.kill();
    let daemon = site.daemon();
    daemon.said("revision read");
    until("it is live", || (site.json(&["status"])["grants"][0]["access"][0]["state"] == "live").then_some(()));
    assert_eq!(site.on_host(), 1, "granted twice");
    site.withdraw("2026-11-20-jdoe-lost");
    until("jdoe is off the host", || (site.on_host() == 0).then_some(()));
    daemon.stop();
}

#[test]
fn killed_during_a_revocation_it_revokes_after_the_restart() {
    for access in [GROUP, HOST] {
        let site = Site::new();
        site.fine(&["init"]);
        let daemon = site.daemon();
        site.merge("2026-11-20-jdoe-crash", &grant("8h", access));
        until("access is there", || (site.in_group() || site.on_host() == 1).then_some(()));
        until("its fate is recorded", || (site.count("fate", "grant") == 1).then_some(()));
        slow(&site, "10s");
        site.withdraw("2026-11-20-jdoe-crash");
        intended(&site, "revoke");
        daemon.kill();
        assert!(site.in_group() || site.on_host() == 1, "it was not revoked yet");
        quick(&site);
        let daemon = site.daemon();
        until("it is revoked", || (!site.in_group() && site.on_host() == 0).then_some(()));
        until("that is recorded", || (site.count("fate", "revoke") >= 1).then_some(()));
        daemon.stop();
        assert_eq!(site.count("fate", "grant"), 1);
        site.fine(&["audit", "verify"]);
    }
}

#[test]
fn an_end_that_came_while_nobody_ran_is_made_good_at_the_start() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-short", &grant("5s", HOST));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    daemon.kill();
    until("the end is past", || {
        let status = site.json(&["status"]);
        (status["grants"].as_array().unwrap().is_empty() || status["grants"][0]["state"] != "live").then_some(())
    });
    assert_eq!(site.on_host(), 1, "nobody ran");
    let daemon = site.daemon();
    until("jdoe is off the host", || (site.on_host() == 0).then_some(()));
    daemon.stop();
}

#[test]
fn one_daemon_on_one_state_and_readers_beside_it() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    until("the fate is recorded", || (site.count("fate", "grant") == 1).then_some(()));
    let holder = format!("process {}", daemon.child.id());
    for verb in ["run", "apply"] {
        let second = site.run(&[verb]);
        assert_eq!(second.code, 1, "{verb}: {second}");
        assert!(second.err.contains(&holder), "{verb} does not say who holds it ({holder}): {second}");
    }
    assert_eq!(site.run(&["init"]).code, 1);
    // Readers take no lock.
    assert!(site.fine(&["status"]).out.contains("2026-11-20-jdoe-long"));
    assert!(site.fine(&["history", "2026-11-20-jdoe-long"]).out.contains("accept 2026-11-20-jdoe-long"));
    assert!(site.fine(&["plan"]).out.contains("0 to grant"));
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
    assert!(site.in_group());
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    daemon.stop();
    // Now it is free.
    site.fine(&["apply"]);
}
