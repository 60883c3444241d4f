//! The kernel says no for a while: no descriptor is left for a child or a file.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{Daemon, GROUP, HOST, Site, grant, until};

/// A file that may not grow is an error like a full disk, not the end of the process: the end of the access comes all the same.
#[test]
fn a_limit_on_the_size_of_files_stops_grants_and_no_end() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-short", &grant("6s", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    until("that is recorded", || (site.count("fate", "grant") == 1).then_some(()));
    let whole = getrlimit(Resource::Fsize);
    let size = std::fs::metadata(site.segment()).unwrap().len();
    let most = |current| prlimit(Some(Pid::from_child(&daemon.child)), Resource::Fsize, current).unwrap();
    // The world's file stays below it.
    most(Rlimit { current: Some(size.max(4096)), maximum: whole.maximum });
    until("the end came all the same", || (!site.in_group()).then_some(()));
    most(Rlimit { current: whole.current, maximum: whole.maximum });
    until("the end is recorded", || (site.count("fate", "revoke") == 1).then_some(()));
    let log = daemon.stop();
    assert!(log.contains("grants stop, revocations go on") && log.contains("the journal is back"), "{log}");
    assert!(site.fine(&["audit", "verify"]).out.starts_with("whole: "));
}

/// Lets the daemon open nothing more, or as much as before.
fn limit(daemon: &Daemon, most: Option<u64>) {
    let whole = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: most.or(whole.current), maximum: whole.maximum };
    prlimit(Some(Pid::from_child(&daemon.child)), Resource::Nofile, limit).unwrap();
}

/// A merge and a withdrawal come while nothing can be opened. They count as soon as it can, nothing is refused for it, and the
/// log says once that it begins and once that it is over.
#[test]
fn without_descriptors_nothing_is_refused_and_all_is_made_good() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    limit(&daemon, Some(0));
    site.merge("2026-11-20-jdoe-host", &grant("8h", HOST));
    site.withdraw("2026-11-20-jdoe-long");
    daemon.said("Git cannot be read");
    // Several polls, each of which fails.
    std::thread::sleep(std::time::Duration::from_secs(4));
    limit(&daemon, None);
    daemon.said("Git answers again");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    let history = site.fine(&["history"]).out;
    assert!(!history.contains("freeze"), "{history}");
    let log = daemon.log();
    let told = ["Git cannot be read", "Git answers again"].map(|text| log.matches(text).count());
    assert_eq!(told, [1, 1], "{log}");
    daemon.signal(Signal::TERM);
    daemon.ended();
}
