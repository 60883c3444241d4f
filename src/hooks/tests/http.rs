//! Over loopback, with real bytes.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{GITHUB, GITLAB, Post, Sent, heard, signature, status, until};
use crate::hooks::server::{BODY, CONNECTIONS};

fn push(id: &str) -> Sent {
    Sent::github("push", id, b"{}")
}

#[test]
fn what_is_refused_says_a_number_and_nothing_else() {
    let post = Post::with(false, |_| {});
    let line = |line| Sent { line, ..push("1") };
    let long = vec![b'x'; BODY + 1];
    for (what, request, expected) in [
        ("another path", line("POST /"), 404),
        ("a longer path", line("POST /hooks/github/"), 404),
        ("the path in another case", line("POST /Hooks/GitHub"), 404),
        ("a path that ends the same", line("POST /x/../hooks/github"), 404),
        ("a forge without a secret", Sent::gitlab("Push Hook", "1", b"{}"), 404),
        ("GitHub's signature for GitLab", line("POST /hooks/gitlab"), 404),
        ("GET", line("GET /hooks/github"), 405),
        ("PUT", line("PUT /hooks/github"), 405),
        ("OPTIONS", line("OPTIONS /hooks/github"), 405),
        ("a method of its own", line("PUSH /hooks/github"), 405),
        ("no signature", push("1").without("X-Hub-Signature-256"), 401),
        (
            "SHA-1 alone",
            push("1")
                .without("X-Hub-Signature-256")
                .put("X-Hub-Signature", "sha1=0123456789012345678901234567890123456789"),
            401,
        ),
        ("another secret", push("1").put("X-Hub-Signature-256", signature(GITLAB, b"{}")), 401),
        ("another body", push("1").put("X-Hub-Signature-256", signature(GITHUB, b"{ }")), 401),
        ("a truncated signature", push("1").put("X-Hub-Signature-256", &signature(GITHUB, b"{}")[..70]), 401),
        (
            "upper case",
            push("1").put("X-Hub-Signature-256", format!("sha256={}", signature(GITHUB, b"{}")[7..].to_uppercase())),
            401,
        ),
        ("GitLab's way", push("1").without("X-Hub-Signature-256").put("X-Gitlab-Token", GITHUB), 401),
        ("a body too long", Sent::github("push", "1", &long), 413),
        ("a body too long and forged", Sent { body: long.clone(), ..push("1") }, 413),
        ("a body much too long", Sent::github("push", "1", &vec![b'x'; 16 * BODY]), 413),
        ("headers too long", push("1").put("X-Long", "x".repeat(64 * 1024)), 431),
    ] {
        let answer = post.raw(&request.bytes());
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{what}: an answer with words");
        let names: Vec<_> = head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
        let usual = |name: &&str| ["content-length", "connection", "date", "allow"].contains(name);
        assert!(names.iter().all(usual), "{what}: {names:?}");
        assert_eq!(names.contains(&"allow"), expected == 405, "{what}");
    }
    let mut twice = push("1");
    twice.headers.push(("X-Hub-Signature-256", signature(GITLAB, b"{}")));
    assert_eq!(post.send(&twice), 401, "two signatures");
    twice.headers.reverse();
    assert_eq!(post.send(&twice), 401, "two signatures, the other way round");
    assert_eq!(status(&post.raw(&Sent::github("push", "1", &long).chunked(1000))), 413, "chunks too long");
    assert_eq!(post.hints(), 0, "a refused request is a hint");
    // None of them has used up the id, and the longest body that may come does.
    assert_eq!(post.send(&Sent::github("push", "1", &long[1..])), 202);
    until("the hint is told", || post.hints() == 1);
}

#[test]
fn a_delivery_counts_once_and_a_refused_one_never() {
    let post = Post::with(true, |hooks| hooks.window = Duration::from_secs(3600));
    let forged = push("7").put("X-Hub-Signature-256", signature("another secret", b"{}"));
    assert_eq!(post.send(&forged), 401);
    assert_eq!(post.send(&push("7")), 202, "a forger used up the id");
    assert_eq!(post.send(&push("7")), 200);
    assert_eq!(post.send(&forged), 401, "a replay is judged like any other");
    assert_eq!(post.send(&push("8")), 202);
    // The same id at another forge is another delivery.
    assert_eq!(post.send(&Sent::gitlab("Push Hook", "8", b"{}")), 202);
    assert_eq!(post.send(&Sent::gitlab("Push Hook", "8", b"{}")), 200);
    // Without an id nothing can be told apart: the window has to do.
    for _ in 0..2 {
        assert_eq!(post.send(&push("9").without("X-GitHub-Delivery")), 202);
    }
    until("the hint is told", || post.hints() > 0);
    assert_eq!(post.hints(), 1, "within the window they are one");
}

#[test]
fn gitlab_is_known_by_its_token() {
    let post = Post::new();
    let hook = |id: &str| Sent::gitlab("Push Hook", id, br#"{"object_kind":"push"}"#);
    for (what, token) in [
        ("another", "x".repeat(GITLAB.len())),
        ("none", String::new()),
        ("one too long", format!("{GITLAB}x")),
        ("one too short", GITLAB[1..].to_owned()),
        ("GitHub's", GITHUB.to_owned()),
        ("another case", GITLAB.to_uppercase()),
    ] {
        assert_eq!(post.send(&hook("1").put("X-Gitlab-Token", token)), 401, "{what}");
    }
    assert_eq!(post.send(&hook("1").without("X-Gitlab-Token")), 401);
    let mut twice = hook("1");
    twice.headers.push(("X-Gitlab-Token", "x".into()));
    assert_eq!(post.send(&twice), 401, "two tokens");
    let signed =
        hook("1").without("X-Gitlab-Token").put("X-Hub-Signature-256", signature(GITLAB, br#"{"object_kind":"push"}"#));
    assert_eq!(post.send(&signed), 401, "GitHub's way");
    assert_eq!(post.send(&hook("1")), 202);
    for event in ["Tag Push Hook", "Merge Request Hook", "System Hook", "push hook"] {
        assert_eq!(post.send(&hook(event).put("X-Gitlab-Event", event)), 200, "{event}");
    }
    // Older ones have no key. Where there is one, the event's id does not count: events of one cause share it.
    let older = |id: &str| hook(id).without("Idempotency-Key").put("X-Gitlab-Event-UUID", "e");
    assert_eq!((post.send(&older("")), post.send(&older(""))), (202, 200));
    assert_eq!(post.send(&hook("2").put("X-Gitlab-Event-UUID", "e")), 202);
}

#[test]
fn a_connection_is_one_request_of_one_length() {
    let post = Post::new();
    // A second one behind the first is not even read.
    let both = [Sent::github("ping", "1", b"{}").bytes(), push("2").bytes()].concat();
    let answer = post.raw(&both);
    assert_eq!((status(&answer), answer.matches("HTTP/1.1").count()), (200, 1), "{answer}");
    assert_eq!(post.hints(), 0, "a smuggled request counts");
    for (what, lengths) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 20\r\n"),
        ("two lengths, the other way round", "Content-Length: 20\r\nContent-Length: 2\r\n"),
        ("a list", "Content-Length: 2, 20\r\n"),
        ("a sign", "Content-Length: +2\r\n"),
        ("a negative one", "Content-Length: -2\r\n"),
        ("another coding", "Transfer-Encoding: gzip\r\n"),
    ] {
        let bytes = format!("{}{lengths}\r\n{{}}", push("2").head());
        assert_eq!(status(&post.raw(bytes.as_bytes())), 400, "{what}");
    }
    // No length is no body, and so another one than was signed.
    assert_eq!(status(&post.raw(format!("{}\r\n{{}}", push("2").head()).as_bytes())), 401);
    assert_eq!(status(&post.raw(b"\0\0\0\0\r\n\r\n")), 400);
    assert_eq!(post.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "", "HTTP/2 is not spoken");
    assert_eq!(post.hints(), 0);
    // Over HTTP/1.0, as a proxy may speak.
    let old = String::from_utf8(push("2").bytes()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    assert!(post.raw(old.as_bytes()).starts_with("HTTP/1.0 202"));
    until("the hint is told", || post.hints() == 1);
}

#[test]
fn who_is_slow_is_cut_off_and_holds_up_nobody() {
    let post = Post::with(true, |hooks| hooks.patience = Duration::from_millis(500));
    let request = push("1").bytes();
    let slow = |bytes: &[u8]| {
        let mut stream = post.connect();
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut mute = slow(b"");
    let mut head = slow(&request[..30]);
    let mut body = slow(&request[..request.len() - 1]);
    let mut chunk = slow(format!("{}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n", push("1").head()).as_bytes());
    assert_eq!(post.send(&push("2")), 202);
    for (what, stream) in [("a body", &mut body), ("a chunk", &mut chunk)] {
        assert_eq!(status(&heard(stream)), 408, "{what}");
    }
    for (what, stream) in [("nothing", &mut mute), ("a head", &mut head)] {
        let answer = heard(stream);
        assert!(answer.is_empty() || status(&answer) == 408, "{what}: {answer}");
    }
    // Who hangs up is no trouble.
    drop(slow(&request[..request.len() - 1]));
    assert_eq!(post.send(&push("1")), 202, "a cut request used up the id");
    // One byte at a time does not help: the time is for the whole.
    let mut stream = post.connect();
    let wrote = request.iter().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&[**byte]).is_ok()
    });
    assert!(wrote.count() < request.len(), "a slow request was read to its end");
}

#[test]
fn so_many_connections_and_no_more() {
    let post = Post::with(true, |hooks| hooks.patience = super::PATIENCE);
    let mut idle: Vec<_> = (0..CONNECTIONS).map(|_| post.connect()).collect();
    for stream in &mut idle {
        stream.write_all(b"POST /hooks/github HTTP/1.1\r\n").unwrap();
    }
    let mut next = post.connect();
    next.write_all(&push("1").bytes()).unwrap();
    next.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let early = heard(&mut next);
    assert_eq!(early, "", "one connection too many is served");
    // The first place that is free is its own.
    idle.pop();
    next.set_read_timeout(Some(super::PATIENCE)).unwrap();
    assert_eq!(status(&heard(&mut next)), 202);
}

#[test]
fn a_flood_of_forged_requests_lets_a_real_one_through() {
    let post = Post::new();
    let forged = push("1").put("X-Hub-Signature-256", format!("sha256={}", "0".repeat(64)));
    let forged = Sent { body: vec![b'x'; BODY], ..forged }.bytes();
    let (over, told) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    /// Ends the flood, also when the test fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|scope| {
        let _end = End(&over);
        for _ in 0..16 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    assert_eq!(status(&post.raw(&forged)), 401);
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        until("the flood runs", || told.load(Ordering::SeqCst) >= 300);
        assert_eq!(post.hints(), 0);
        let before = told.load(Ordering::SeqCst);
        assert_eq!(post.send(&push("1")), 202);
        until("the hint is told", || post.hints() == 1);
        let meanwhile = told.load(Ordering::SeqCst) - before;
        println!("a hint within a flood: {meanwhile} forged requests were answered before it was told");
    });
}

#[test]
fn hints_come_at_once_and_then_by_the_window() {
    let post = Post::with(true, |hooks| hooks.window = Duration::from_millis(300));
    for round in 0..3 {
        let before = post.hints();
        assert_eq!(post.send(&push(&round.to_string())), 202);
        until("the hint is told", || post.hints() > before);
    }
}
