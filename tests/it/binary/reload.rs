//! What the daemon hears and says while it runs: signals, a changed configuration, systemd, logs.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::PathBuf,
    process::Command,
    sync::mpsc::{Receiver, channel},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, GROUP, HOST, PATIENCE, Site, grant, http::Server, root, until};

const REFUSED: &str = "the new configuration is refused, the old one stays";
const RELOADED: &str = "the configuration is reloaded";

/// A daemon with access that is live, on a configuration whose folder is not watched.
fn live() -> (Site, Daemon) {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    (site, daemon)
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let (site, daemon) = live();
    let good = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    let bad: [(&str, String); 5] = [
        ("unknown field", format!("{good}limit: {{}}\n")),
        ("one number and one unit", format!("{good}limits: {{ max_duration: 8 hours }}\n")),
        ("five fields", format!("{good}sweep: hourly\n")),
        ("change only with a restart", good.replace("state: state", "state: elsewhere")),
        ("change only with a restart", good.replace("poll: 1s", "poll: 1s\n  branch: other")),
    ];
    for (times, (what, text)) in bad.iter().enumerate() {
        site.replace("grantd.yaml", text);
        daemon.signal(Signal::HUP);
        daemon.said_times(REFUSED, times + 1);
        daemon.said(what);
    }
    // And one that is not there at all.
    fs::remove_file(site.path("grantd.yaml")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.said("cannot be read");
    assert!(!daemon.log().contains(RELOADED), "{}", daemon.log());
    assert!(site.in_group());
    // It goes on under the old one.
    site.merge("2026-11-20-jdoe-more", &grant("8h", HOST));
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    site.replace("grantd.yaml", &good);
    site.withdraw("2026-11-20-jdoe-long");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
}

/// A shorter `max_duration` shortens what is live: access ends.
fn shorter(signal: bool) {
    let (site, daemon) = live();
    let good = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    site.replace("grantd.yaml", &format!("{good}limits: {{ default_ttl: 1s, max_duration: 1s }}\n"));
    if signal {
        daemon.signal(Signal::HUP);
    }
    daemon.said(RELOADED);
    until("access ends under the new limit", || (!site.in_group()).then_some(()));
    // And the next one cannot ask for more.
    site.merge("2026-11-20-jdoe-more", &grant("8h", HOST));
    until("the new file is read", || {
        let plan = site.run(&["plan"]);
        (plan.code == 1 && plan.out.contains("beyond `max_duration`, 1s")).then_some(())
    });
    daemon.said("findings=1");
    assert_eq!(site.on_host(), 0);
    daemon.stop();
}

#[test]
fn a_good_configuration_counts_after_sighup() {
    shorter(true);
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    shorter(false);
}

/// Listens as systemd does.
struct Systemd {
    path: PathBuf,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Systemd {
    fn new(site: &Site) -> Self {
        let path = site.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                if sender.send(String::from_utf8(bytes[..length].to_vec()).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { path, said, heard: Vec::new() }
    }

    /// Waits for a message that has this line; answers it.
    fn hears(&mut self, line: &str) -> String {
        loop {
            let message =
                self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never heard {line}: {:?}", self.heard));
            self.heard.push(message.clone());
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    }
}

#[test]
fn systemd_is_told() {
    let site = Site::new();
    site.fine(&["init"]);
    let mut systemd = Systemd::new(&site);
    let path = systemd.path.clone();
    let daemon = site.daemon_with(|command| {
        command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "400000");
    });
    systemd.hears("READY=1");
    // Beats come although nothing happens.
    for _ in 0..3 {
        systemd.hears("WATCHDOG=1");
    }
    // Once Git was asked.
    let fine = "STATUS=0 grants, 0 overdue, 0 held; fine";
    until("all is fine", || systemd.hears("WATCHDOG=1").contains(fine).then_some(()));
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("the status counts the grant", || systemd.hears("WATCHDOG=1").contains("STATUS=1 grant").then_some(()));
    daemon.signal(Signal::HUP);
    let reloading = systemd.hears("RELOADING=1");
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap_or_default();
    assert!(
        stamp.parse::<u64>().is_ok_and(|stamp| stamp > 0),
        "Type=notify-reload needs MONOTONIC_USEC: {reloading:?}"
    );
    systemd.hears("READY=1");
    // A bad one ends in READY, too: the old one goes on.
    site.replace("grantd.yaml", "nonsense: true\n");
    daemon.signal(Signal::HUP);
    daemon.said(REFUSED);
    systemd.hears("READY=1");
    assert!(!systemd.heard.iter().any(|message| message.contains("STOPPING=1")));
    daemon.signal(Signal::TERM);
    systemd.hears("STOPPING=1");
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn sigint_ends_it_too() {
    let site = Site::new();
    site.fine(&["init"]);
    let daemon = site.daemon();
    daemon.signal(Signal::INT);
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

const CANARY: &str = "ghp-canary-5c1f0b";

/// Runs a daemon over HTTP with a token; answers everything that it said.
fn with_token(format: &str, refuse: bool) -> String {
    let site = Site::bare();
    fs::create_dir(site.path("credentials")).unwrap();
    fs::write(site.path("credentials/git-token"), format!("{CANARY}\n")).unwrap();
    fs::set_permissions(site.path("credentials/git-token"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::new(site.folder.path().to_owned(), false);
    site.configure(&format!("  url: {}\n  token: credential:git-token\n", server.url()), "");
    let credentials = site.path("credentials");
    let init = site.command(&["init"]).env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    assert!(
        server.authorizations.lock().unwrap().iter().any(|header| header.starts_with("Basic ")),
        "the token was not used"
    );
    let mut said = format!("{}{}", String::from_utf8_lossy(&init.stdout), String::from_utf8_lossy(&init.stderr));
    let server = if refuse { Server::new(site.folder.path().to_owned(), true) } else { server };
    site.configure(&format!("  url: {}\n  token: credential:git-token\n", server.url()), "");
    let mut run = site.command(&["run", "--log", format]);
    run.env("CREDENTIALS_DIRECTORY", &credentials).env("GRANTD_LOG", "trace");
    let daemon = Daemon::start(run);
    daemon.said("grantd runs");
    if refuse {
        daemon.said("Git cannot be read");
    } else {
        site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
        until("jdoe is in the group", || site.in_group().then_some(()));
        until("the fate is recorded", || (site.count("fate", "grant") == 1).then_some(()));
    }
    said += &daemon.stop();
    assert!(!server.authorizations.lock().unwrap().is_empty(), "the token was not used");
    for verb in ["status", "history", "plan"] {
        let output = site.command(&[verb]).env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap();
        said += &format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    // Nor may it lie about in the state folder.
    let mut places = vec![site.state()];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = fs::read(&place).unwrap();
            secretless(&String::from_utf8_lossy(&bytes), &place.display().to_string());
        }
    }
    said
}

/// The token neither plain nor as `Authorization: Basic` has it, at any of the three alignments of base64.
fn secretless(text: &str, what: &str) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    assert!(!text.contains(CANARY), "{what} holds the token: {text}");
    for shift in 0..3 {
        let encoded = BASE64_STANDARD.encode(format!("{}{CANARY}", "x".repeat(shift)));
        let core = &encoded[4..encoded.len() - 4];
        assert!(!text.contains(core), "{what} holds the token in base64: {text}");
    }
}

#[test]
fn logs_are_text_or_json_and_hold_no_secret() {
    let text = with_token("text", false);
    secretless(&text, "the log");
    let level = |line: &&str| ["TRACE", "DEBUG", " INFO", " WARN", "ERROR"].iter().any(|level| line.contains(level));
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("20") && line.contains("Z ")).collect();
    assert!(lines.len() >= 5 && lines.iter().all(level), "{text}");
    assert!(lines.iter().any(|line| line.contains("grantd runs") && line.contains("branch=\"main\"")), "{text}");
    assert!(!text.contains('\u{1b}'), "colours where no terminal is: {text}");

    let text = with_token("json", false);
    secretless(&text, "the log");
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with("{\"timestamp\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let step = lines.iter().find(|line| line["message"] == "step").unwrap_or_else(|| panic!("no step: {text}"));
    assert_eq!(step["verb"], "grant");
    assert_eq!(step["level"], "INFO");
    assert!(step["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{step}");
}

#[test]
fn a_server_that_repeats_the_token_does_not_get_it_into_the_log() {
    for format in ["text", "json"] {
        secretless(&with_token(format, true), format);
    }
}

#[test]
fn journald_gets_the_fields() {
    if !root() {
        eprintln!("SKIPPED, NOT TESTED: journald's socket needs root, for a mount namespace with one of our own");
        return;
    }
    let site = Site::new();
    site.fine(&["init"]);
    fs::create_dir(site.path("journal")).unwrap();
    let socket = UnixDatagram::bind(site.path("journal/socket")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // In a namespace of its own, so that nobody else's journal is touched.
    let run = site.command(&["run", "--log", "journald"]);
    let mut apart = Command::new("unshare");
    apart.args(["--mount", "sh", "-ec"]);
    apart.arg(
        "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; mount --bind \"$0\" /run/systemd/journal; exec \"$@\"",
    );
    apart.arg(site.path("journal")).arg(run.get_program()).args(run.get_args()).current_dir(site.folder.path());
    let daemon = Daemon::start(apart);
    let mut bytes = [0; 1 << 16];
    let mut hears = |what: &str| loop {
        let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("never heard {what}: {error}"));
        let entry = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if entry.contains(what) {
            return entry;
        }
    };
    let entry = hears("grantd runs");
    assert!(entry.contains("PRIORITY") && entry.contains("F_BRANCH"), "{entry}");
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    let entry = hears("F_VERB");
    assert!(entry.contains("F_BINDING") && entry.contains("iam-group / "), "{entry}");
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.ended();
    assert_eq!((status.code(), log.as_str()), (Some(0), ""), "what goes to the journal is not said twice");
}

/// What is read at the wrong place shows no deletion: no head is accepted so, and the deletion counts when the place is right again.
#[test]
fn a_folder_that_is_not_read_hides_no_deletion() {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("jdoe-one", &grant("8h", GROUP));
    site.merge("jdoe-two", &grant("8h", HOST));
    site.fine(&["apply"]);
    site.configure("  path: grnats\n", "");
    let daemon = site.daemon();
    daemon.said("2 live grants outside `path` of the configuration, such as grants/jdoe-one.yaml");
    site.withdraw("jdoe-one");
    let head = site.git(&["rev-parse", "HEAD"]);
    daemon.said(&head);
    let plan = site.run(&["plan"]);
    assert!(plan.code == 2 && plan.out.contains("correct `path`, or"), "{plan}");
    daemon.stop();
    assert!(site.history().iter().all(|line| line["kind"] != "head" || line["commit"] != head.as_str()));
    site.configure("", "");
    site.fine(&["apply"]);
    assert!(!site.in_group() && site.on_host() == 1, "the deletion counts");
    // Moved on purpose: whoever names the head says what there is.
    fs::rename(site.path("work/grants"), site.path("work/access")).unwrap();
    site.push();
    site.configure("  path: access\n", "");
    assert_eq!(site.run(&["apply"]).code, 1);
    let head = site.git(&["rev-parse", "HEAD"]);
    site.fine(&["source", "accept", "--rev", &head, "--reason", "moved"]);
    site.fine(&["apply"]);
    assert_eq!(site.on_host(), 1, "it lies elsewhere now");
    // And no other folder says what is gone, until that head is followed by another one or for ever.
    site.configure("  path: acess\n", "");
    assert_eq!(site.run(&["apply"]).code, 1);
    assert_eq!(site.on_host(), 1, "nothing is withdrawn by a folder that is not its own");
    site.configure("  path: access\n", "");
    site.fine(&["apply"]);
    fs::remove_file(site.path("work/access/jdoe-two.yaml")).unwrap();
    site.push();
    site.fine(&["apply"]);
    assert_eq!(site.on_host(), 0);
}

/// A configuration whose reading never ends stands for a disk that does not answer.
#[test]
fn a_configuration_that_does_not_answer_holds_nothing_up() {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("jdoe-one", &grant("8h", GROUP));
    let daemon = site.daemon();
    until("jdoe is in the group", || site.in_group().then_some(()));
    let pipe = site.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(&pipe, site.path("grantd.yaml")).unwrap();
    daemon.said("is no regular file");
    site.git(&["rm", "--quiet", "grants/jdoe-one.yaml"]);
    site.push();
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    daemon.stop();
}
