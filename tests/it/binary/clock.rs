//! The machine's clock is stepped under the real daemon: libfaketime fakes the wall clock, and the monotonic ones go on.

use std::{fs, path::Path, process::Command};

use jiff::SignedDuration;

use super::{GROUP, HOST, Site, grant, now, until};

/// Debian's `libfaketime`.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

fn library() -> String {
    let arm = LIBRARY.replace("x86_64", "aarch64");
    let found = [LIBRARY, &arm].into_iter().find(|path| Path::new(path).exists());
    found.expect("scripts/test installs libfaketime").to_owned()
}

/// The clock is off by so much from now on, for what was started with it.
fn step(site: &Site, off: SignedDuration) {
    let secs = off.as_secs();
    fs::write(site.path("clock.new"), format!("{}{secs}\n", if secs < 0 { "" } else { "+" })).unwrap();
    fs::rename(site.path("clock.new"), site.path("clock")).unwrap();
}

fn faked(site: &Site, command: &mut Command) {
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", site.path("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// Ahead and put right, while it runs: nothing is granted meanwhile, Git is polled on, and what is granted after that ends by the
/// steady clock.
#[test]
fn a_clock_that_jumps_ahead_and_is_put_right_stops_nothing() {
    for hours in [1, 24] {
        let site = Site::new();
        step(&site, SignedDuration::ZERO);
        site.fine(&["init"]);
        let daemon = site.daemon_with(|command| faked(&site, command));
        site.merge("2026-11-20-jdoe-first", &grant("10h", HOST));
        until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
        step(&site, SignedDuration::from_hours(hours));
        daemon.said("nothing is granted or extended; ends go on");
        if hours == 24 {
            until("the later time ends it", || (site.on_host() == 0).then_some(()));
        }
        site.merge("2026-11-20-jdoe-second", &grant("3s", GROUP));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!site.in_group(), "granted by a clock that is wrong");
        step(&site, SignedDuration::ZERO);
        daemon.said("the machine's clock was put right");
        // Polled on, granted, and ended three seconds later, not an hour.
        until("jdoe is in the group", || (site.count("fate", "grant") == 2).then_some(()));
        until("jdoe is out of the group", || (!site.in_group()).then_some(()));
        assert_eq!(site.on_host(), usize::from(hours == 1), "what was granted before keeps its end");
        let lines = site.history();
        let ends = lines.iter().filter(|line| line["kind"] == "clock").count();
        assert_eq!(ends, 1, "one line says so");
        let until = |line: &serde_json::Value| line["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let second = lines.iter().find(|line| line["kind"] == "accept" && line["grant"] == "2026-11-20-jdoe-second");
        assert!(until(second.unwrap()) < now(), "reckoned by the clock as it is");
        daemon.stop();
        site.fine(&["audit", "verify"]);
    }
}

/// Put right while it is down, and stepped back while it runs.
#[test]
fn within_one_boot_a_restart_knows_what_has_passed() {
    let site = Site::new();
    step(&site, SignedDuration::ZERO);
    site.fine(&["init"]);
    let daemon = site.daemon_with(|command| faked(&site, command));
    site.merge("2026-11-20-jdoe-first", &grant("20s", HOST));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    step(&site, SignedDuration::from_hours(-1));
    daemon.said("nothing is granted or extended; ends go on");
    daemon.kill();
    let daemon = site.daemon_with(|command| faked(&site, command));
    daemon.said("nothing is granted or extended; ends go on");
    until("it ends by what has passed", || (site.on_host() == 0).then_some(()));
    daemon.kill();
    // Ahead within another process, and put right while none runs.
    step(&site, SignedDuration::from_hours(1));
    let daemon = site.daemon_with(|command| faked(&site, command));
    daemon.said("nothing is granted or extended; ends go on");
    site.merge("2026-11-20-jdoe-second", &grant("3s", GROUP));
    daemon.kill();
    step(&site, SignedDuration::ZERO);
    let daemon = site.daemon_with(|command| faked(&site, command));
    until("jdoe is in the group", || (site.count("fate", "grant") == 2).then_some(()));
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
    site.fine(&["audit", "verify"]);
}

/// Where the clock is right and nothing else can tell, an operator says so: granting goes on, and no end comes later by that.
#[test]
fn an_operator_accepts_a_clock_by_name() {
    for hours in [-1, 1] {
        let site = Site::new();
        step(&site, SignedDuration::ZERO);
        site.fine(&["init"]);
        let daemon = site.daemon_with(|command| faked(&site, command));
        site.merge("2026-11-20-jdoe-first", &grant("10h", HOST));
        until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
        let accept = || {
            let mut command = site.command(&["clock", "accept", "--reason", "CHG-212: NTP was set up"]);
            faked(&site, &mut command);
            super::Done::of(&command.output().unwrap())
        };
        let done = accept();
        assert!(done.code == 1 && done.err.contains("systemctl stop grantd"), "{done}");
        step(&site, SignedDuration::from_hours(hours));
        daemon.said("nothing is granted or extended; ends go on");
        daemon.stop();
        let done = accept();
        assert!(done.code == 0 && done.out.contains("by about 1h"), "{done}");
        let done = accept();
        assert!(done.code == 1 && done.err.contains("trusted already"), "{done}");
        let daemon = site.daemon_with(|command| faked(&site, command));
        site.merge("2026-11-20-jdoe-second", &grant("2s", GROUP));
        until("granting goes on", || (site.count("fate", "grant") == 2).then_some(()));
        until("and ends", || (!site.in_group()).then_some(()));
        daemon.stop();
        let status = site.fine(&["status", "--format", "json"]).json();
        let first = status["grants"].as_array().unwrap().iter().find(|grant| grant["id"] == "2026-11-20-jdoe-first");
        let end: jiff::Timestamp = first.unwrap()["until"].as_str().unwrap().parse().unwrap();
        let left = end.duration_since(now()) - SignedDuration::from_hours(hours.min(0));
        assert!(left <= SignedDuration::from_hours(10), "its end came later: {left:?}");
        let said = site.history().into_iter().find(|line| line["kind"] == "clock").unwrap();
        assert!(said["because"].as_str().unwrap().contains("CHG-212"), "{said}");
        site.fine(&["audit", "verify"]);
    }
}
