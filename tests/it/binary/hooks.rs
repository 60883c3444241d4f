//! Webhooks at the real daemon: a push that a forge tells of is fetched at once.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use rustix::process::Signal;
use sha2::Sha256;

use super::{Daemon, GROUP, HOST, PATIENCE, Site, grant, http::Server, until};

/// Secrets, which no output may hold.
const GITHUB: &str = "canary-of-github-5b1f0c9e";
const GITLAB: &str = "canary-of-gitlab-77ab31d2";
const HOOKS: &str = "hooks: { listen: 127.0.0.1:0, github: credential:hook-github, gitlab: credential:hook-gitlab }\n";

/// A site whose repository is remote, so that nobody watches its files; what is said goes by credentials.
fn site(poll: &str) -> (Site, Server) {
    let mut site = Site::bare();
    let server = Server::new(site.folder.path().to_owned(), false);
    fs::create_dir(site.path("credentials")).unwrap();
    secret(&site, "hook-github", GITHUB);
    secret(&site, "hook-gitlab", GITLAB);
    site.environment.push(("CREDENTIALS_DIRECTORY", site.path("credentials").display().to_string()));
    site.environment.push(("GRANTD_LOG", "trace".into()));
    site.configure(&format!("  url: {}\n  poll: {poll}\n", server.url()), HOOKS);
    site.fine(&["init"]);
    (site, server)
}

fn secret(site: &Site, name: &str, value: &str) {
    fs::write(site.path("credentials/draft"), format!("{value}\n")).unwrap();
    fs::set_permissions(site.path("credentials/draft"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(site.path("credentials/draft"), site.path(&format!("credentials/{name}"))).unwrap();
}

/// A daemon that has read the first revision, and where it hears webhooks.
fn started(site: &Site) -> (Daemon, SocketAddr) {
    let daemon = site.daemon();
    daemon.said("revision read");
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains("webhooks are heard")).unwrap_or_else(|| panic!("{log}"));
    let (_, address) = told.split_once("listen=").unwrap_or_else(|| panic!("{told}"));
    let address = address.trim().parse().unwrap();
    (daemon, address)
}

/// Posts and answers the status.
fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: grantd\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

fn github(address: SocketAddr, secret: &str, id: &str) -> u16 {
    let body = r#"{"ref":"refs/heads/main"}"#;
    let tag = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize().into_bytes();
    let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = format!("X-GitHub-Event: push\r\nX-GitHub-Delivery: {id}\r\nX-Hub-Signature-256: sha256={tag}\r\n");
    post(address, "/hooks/github", &headers, body)
}

fn gitlab(address: SocketAddr, token: &str, id: &str) -> u16 {
    let headers = format!("X-Gitlab-Event: Push Hook\r\nIdempotency-Key: {id}\r\nX-Gitlab-Token: {token}\r\n");
    post(address, "/hooks/gitlab", &headers, "{}")
}

fn secretless(said: &str) {
    for secret in [GITHUB, GITLAB, "canary"] {
        assert!(!said.contains(secret), "{secret} is in the output:\n{said}");
    }
}

#[test]
fn a_merge_becomes_access_by_the_webhook_alone() {
    let (site, server) = site("1h");
    let (daemon, address) = started(&site);
    let asked = server.asked.load(Ordering::SeqCst);

    let merged = Instant::now();
    site.merge("2026-11-20-jdoe-hook", &grant("8h", GROUP));
    // Nobody is believed who does not know the secret, and nobody asks Git on his word.
    assert_eq!(github(address, "another secret of another one", "1"), 401);
    assert_eq!(gitlab(address, GITHUB, "1"), 401);
    assert_eq!((server.asked.load(Ordering::SeqCst), site.in_group()), (asked, false), "something else fetched");
    assert_eq!(github(address, GITHUB, "1"), 202);
    until("jdoe is in the group", || site.in_group().then_some(()));
    let took = merged.elapsed();
    println!("from merge to access, by GitHub's webhook alone: {took:.2?}");
    assert!(took < Duration::from_secs(5), "the webhook took {took:?}");

    // By GitLab's. It comes within the window of the first one, and is not lost.
    site.merge("2026-11-20-jdoe-more", &grant("8h", HOST));
    let merged = Instant::now();
    assert_eq!(gitlab(address, GITLAB, "1"), 202);
    until("jdoe is on the host", || (site.on_host() == 1).then_some(()));
    println!("from the next merge, within the window of the first: {:.2?}", merged.elapsed());

    // It is a hint to fetch and no more: without a merge it changes nothing.
    let lines = site.history().len();
    let read = daemon.log().matches("revision read").count();
    assert_eq!(github(address, GITHUB, "1"), 200, "a replay counts");
    assert_eq!(github(address, GITHUB, "2"), 202);
    daemon.said_times("the branch is asked", 3);
    let log = daemon.stop();
    assert_eq!(site.history().len(), lines);
    assert_eq!(log.matches("revision read").count(), read);
    assert!(log.contains("reason=\"another secret, or a changed body\""), "{log}");
    secretless(&log);
    for verb in ["status", "history", "plan", "doctor"] {
        secretless(&site.run(&[verb]).to_string());
    }
}

#[test]
fn without_a_webhook_the_poll_still_comes() {
    let (site, _server) = site("1s");
    let (daemon, _) = started(&site);
    site.merge("2026-11-20-jdoe-poll", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    daemon.stop();
}

#[test]
fn a_flood_delays_neither_a_webhook_nor_an_end() {
    let (site, server) = site("1h");
    let (daemon, address) = started(&site);
    // Connections that say nothing, and a storm of forged and real requests beside them.
    let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    site.merge("2026-11-20-jdoe-flood", &grant("4s", GROUP));
    let asked = server.asked.load(Ordering::SeqCst);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for at in 0..50 {
                    assert_eq!(github(address, "another secret of another one", "1"), 401);
                    assert_eq!(github(address, GITHUB, &format!("{thread}-{at}")), 202);
                }
            });
        }
        until("jdoe is in the group", || site.in_group().then_some(()));
        println!("from merge to access within a flood: {:.2?}", begun.elapsed());
    });
    println!("400 forged and 400 signed requests took {:.2?}", begun.elapsed());
    until("it ends", || (!site.in_group()).then_some(()));
    // Two questions a fetch that brings something, one a fetch that does not; a window is five seconds.
    let asked = server.asked.load(Ordering::SeqCst) - asked;
    let windows = 2 + usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    assert!(asked <= 1 + windows, "{asked} questions to Git in {windows} windows");
    drop(idle);
    let log = daemon.stop();
    let refusals = log.matches("a webhook is refused").count();
    let most = 2 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    assert!((1..=most).contains(&refusals), "{refusals} lines of refusals");
    secretless(&log);
}

#[test]
fn a_secret_is_renewed_without_a_restart() {
    const NEW: &str = "canary-of-github-renewed-1";
    let (site, _server) = site("1h");
    let (daemon, address) = started(&site);
    assert_eq!(github(address, NEW, "1"), 401);
    secret(&site, "hook-github", NEW);
    assert_eq!((github(address, GITHUB, "1"), github(address, NEW, "1")), (401, 202));
    secret(&site, "hook-github", "short");
    daemon.signal(Signal::HUP);
    daemon.said("the webhook's new secret is refused, the old one stays");
    assert_eq!(github(address, NEW, "2"), 202);
    // Where it listens changes only with a restart.
    let text = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    site.replace("grantd.yaml", &text.replace(", gitlab: credential:hook-gitlab", ""));
    daemon.signal(Signal::HUP);
    daemon.said("hooks change only with a restart");
    assert_eq!(gitlab(address, GITLAB, "1"), 202);
    secretless(&daemon.stop());
}

#[test]
fn what_cannot_be_heard_is_an_error_at_the_start() {
    let (site, server) = site("1h");
    let (daemon, address) = started(&site);
    daemon.stop();
    let source = format!("  url: {}\n", server.url());
    let refused = |hooks: &str| {
        site.configure(&source, hooks);
        let done = site.run(&["run"]);
        assert_eq!(done.code, 1, "{hooks}: {done}");
        assert!(!done.err.contains("grantd runs"), "{done}");
        secretless(&done.err);
        done.err
    };
    let taken = std::net::TcpListener::bind(address).unwrap();
    let error = refused(&HOOKS.replace("127.0.0.1:0", &address.to_string()));
    assert!(error.contains("cannot be listened on") && error.contains("write another address and port"), "{error}");
    drop(taken);
    assert!(refused("hooks: {}\n").contains("there is no secret"));
    assert!(refused("hooks: { github: canary-in-the-wrong-place }\n").contains("`github` names a file"));
    assert!(refused("hooks: { github: credential:hook-github, port: 1 }\n").contains("unknown field"));
    assert!(refused("hooks: { github: credential:none }\n").contains("cannot be read"));
    secret(&site, "hook-github", "canary-short");
    assert!(refused(HOOKS).contains("openssl rand -hex 32"));
    let doctor = site.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("fewer than 16 bytes"), "{doctor}");
    secretless(&doctor.to_string());
    // A start that failed is not in the journal.
    assert_eq!(site.count("start", ""), 1);
}
