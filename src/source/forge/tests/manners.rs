//! What a forge may do to us, and what we never do to it.

use std::process::{Command, Stdio};

use serde_json::json;

use super::{
    Asker, CANARY, NOW, SHORT,
    hub::*,
    openapi,
    server::{Answer, Asked, Server},
};
use crate::{
    model::Said,
    source::forge::{
        Github, Gitlab, Settings,
        http::{LIMITS, Limits},
    },
};

/// A GitHub that answers the list of reviews so.
fn reviews_are(answer: impl Fn(&Asked, u16) -> Answer + Send + Sync + 'static) -> Hub {
    Hub::default().instead(move |asked, port| asked.path.ends_with("/reviews").then(|| answer(asked, port)))
}

fn away(said: Said) -> String {
    match said {
        Said::Away(why) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn refused(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> String {
    away(reviews_are(move |_, _| Answer::status(status, headers, body)).said().await)
}

const REVIEWS: &str = "/repos/corp/access/pulls/7/reviews";

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    assert_eq!(refused(500, &[], "<html>oh no</html>").await, format!("127.0.0.1 answers {REVIEWS} with 500"));
    assert_eq!(refused(502, &[], "").await, format!("127.0.0.1 answers {REVIEWS} with 502"));
    let bad = refused(401, &[], r#"{"message":"Bad credentials"}"#).await;
    assert!(bad.starts_with("127.0.0.1 does not accept the token in /"), "{bad}");
    assert!(bad.ends_with("/forge: renew it (it says: Bad credentials)"), "{bad}");
    let forbidden =
        refused(403, &[("x-ratelimit-remaining", "4999")], r#"{"message":"Resource not accessible"}"#).await;
    assert!(forbidden.contains(&format!("forbids to read {REVIEWS}: give the token in /")), "{forbidden}");
    assert!(forbidden.ends_with("(it says: Resource not accessible)"), "{forbidden}");
    // The forge's words are cut and cleaned, and hold no token, even if it says it back.
    let body = json!({ "message": format!("\u{1b}[31m{CANARY}\n{}", "x".repeat(9000)) }).to_string();
    let said = away(reviews_are(move |_, _| Answer::status(400, &[], &body)).said().await);
    assert!(said.contains("(it says: [31m***xxx"), "{said}");
    assert!(said.len() < 400, "{said}");
}

#[tokio::test]
async fn a_forge_that_wants_to_be_left_alone_is() {
    for (status, headers, body, until) in [
        (429, vec![("retry-after", "90")], "", "2026-11-20T12:01:30Z"),
        (403, vec![("retry-after", "30")], "", "2026-11-20T12:00:30Z"),
        (503, vec![("retry-after", "30")], "", "2026-11-20T12:00:30Z"),
        // 2026-11-20T12:20:00Z
        (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795177200")], "", "2026-11-20T12:20:00Z"),
        (429, vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "1795177200")], "", "2026-11-20T12:20:00Z"),
        (429, vec![], "", "2026-11-20T12:01:00Z"),
        (429, vec![("retry-after", "Fri, 20 Nov 2026 13:00:00 GMT")], "", "2026-11-20T12:01:00Z"),
        (403, vec![], r#"{"message":"You have exceeded a secondary rate limit."}"#, "2026-11-20T12:01:00Z"),
        // Nobody silences us for ever, or asks us back in time.
        (429, vec![("retry-after", "99999999999999")], "", "2026-11-20T13:00:00Z"),
        (429, vec![("retry-after", "9223372036854775807")], "", "2026-11-20T13:00:00Z"),
        (429, vec![("retry-after", "-5")], "", "2026-11-20T12:00:00Z"),
        (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")], "", "2026-11-20T12:00:00Z"),
    ] {
        let (server, faults) = reviews_are(move |_, _| Answer::status(status, &headers, body)).serve();
        let asker = Asker::new(&settings(server.port), LIMITS);
        let why = away(asker.said(MERGE, NOW).await);
        assert_eq!(why, format!("127.0.0.1 has been asked too much: it will be asked again after {until}"));
        let asked = server.asked().len();
        let just_before = until.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_nanos(1);
        let why = away(asker.said(MERGE, &just_before.to_string()).await);
        assert_eq!(why, format!("127.0.0.1 wants to be asked again after {until}"));
        assert_eq!(server.asked().len(), asked, "it was asked before {until}");
        away(asker.said(MERGE, until).await);
        assert!(server.asked().len() > asked, "it was not asked at {until}");
        assert!(faults.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_cut_late_or_garbage_is_no_answer() {
    let cut = away(reviews_are(|_, _| Answer::Cut).said().await);
    assert!(cut.starts_with(&format!("127.0.0.1 breaks off its answer to {REVIEWS}: ")), "{cut}");

    let (server, _) = reviews_are(|_, _| Answer::Silence).serve();
    let silent = Asker::new(&settings(server.port), SHORT).said(MERGE, NOW).await;
    assert_eq!(away(silent), format!("127.0.0.1 does not answer {REVIEWS} within 400ms"));
    let whole = Limits { whole: SHORT.request, request: SHORT.whole, ..SHORT };
    let silent = Asker::new(&settings(server.port), whole).said(MERGE, NOW).await;
    assert_eq!(away(silent), "127.0.0.1 does not tell of 3e5c1f0a3e within 400ms");

    let place = |line: u8, column: u32| {
        format!(
            "127.0.0.1 answers repos/corp/access/pulls/7/reviews with what makes no sense at line {line}, column {column}"
        )
    };
    let garbage = |body| refused(200, &[], body);
    assert_eq!(garbage("").await, place(1, 0));
    assert_eq!(garbage("<html>").await, place(1, 1));
    assert_eq!(garbage(r#"[{"user":null,"state":"ghp_secret"#).await, place(1, 33));
    assert_eq!(garbage(r#"{"state":"APPROVED"}"#).await, place(1, 0));
    assert_eq!(garbage(r#"[{"user":null,"state":7}]"#).await, place(1, 23));
    assert_eq!(garbage(r#"[{"user":null,"state":"A","state":"B"}]"#).await, place(1, 33));
    assert_eq!(garbage(r#"[{"user":null,"state":"A","submitted_at":"soon"}]"#).await, place(1, 47));
    assert_eq!(garbage(r#"[{"user":{"id":-1,"login":"a","type":"User"},"state":"A"}]"#).await, place(1, 17));
    let deep: &'static str = "[".repeat(200_000).leak();
    assert!(garbage(deep).await.contains("makes no sense"));
}

#[tokio::test]
async fn nobody_is_there() {
    // Bound and closed: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let why = away(super::said(&settings(port), MERGE).await);
    assert!(why.starts_with("127.0.0.1 cannot be reached: ") && why.contains("refused"), "{why}");
}

#[tokio::test]
async fn no_more_is_read_than_fits() {
    const FLOOD: usize = 100 * 1024 * 1024;
    let (server, _) = reviews_are(|_, _| Answer::Flood(200, FLOOD)).serve();
    let why = away(super::said(&settings(server.port), MERGE).await);
    assert_eq!(why, format!("127.0.0.1 answers {REVIEWS} with more than 8388608 bytes, which are not read"));
    assert!(server.flooded() < FLOOD / 2, "{} bytes were taken", server.flooded());
    // Also of what a refusal says.
    let (server, _) = reviews_are(|_, _| Answer::Flood(500, FLOOD)).serve();
    let why = away(super::said(&settings(server.port), MERGE).await);
    assert_eq!(why, format!("127.0.0.1 answers {REVIEWS} with 500"));
    assert!(server.flooded() < FLOOD / 2, "{} bytes were taken", server.flooded());
}

#[tokio::test]
async fn the_token_goes_to_the_one_place_that_it_is_for() {
    let other = Server::start(|_| Answer::status(200, &[], "[]"));
    for target in [
        format!("http://127.0.0.1:{}/repos/corp/access/pulls/7/reviews?page=2", other.port),
        format!("http://localhost:{}/x", other.port),
        format!("//127.0.0.1:{}/x", other.port),
        format!("http://me:you@127.0.0.1:{}/x", other.port),
    ] {
        let told = target.clone();
        let redirect = reviews_are(move |_, _| Answer::status(302, &[("location", &told)], ""));
        let why = away(redirect.said().await);
        assert_eq!(
            why,
            format!(
                "127.0.0.1 answers {REVIEWS} with a redirect, which is not followed: correct `repository` and `api`"
            )
        );
        let told = format!("<{target}>; rel=\"next\"");
        let elsewhere = reviews_are(move |_, _| Answer::status(200, &[("link", &told)], "[]"));
        let why = away(elsewhere.said().await);
        assert!(why.contains("says that its next page is at another place"), "{target}: {why}");
    }
    for link in [
        "</x>; rel=\"next\"",
        "<>; rel=\"next\"",
        "<https://127.0.0.1:PORT/x>; rel=\"next\"",
        "<http://a@127.0.0.1:PORT/x>; rel=next",
    ] {
        let elsewhere = reviews_are(move |_, port| {
            Answer::status(200, &[("link", &link.replace("PORT", &port.to_string()))], "[]")
        });
        let why = away(elsewhere.said().await);
        assert!(why.contains("says that its next page is at another place"), "{link}: {why}");
    }
    assert!(other.asked().is_empty(), "{:?}", other.asked());

    let (server, _) = Hub::default().serve();
    super::said(&settings(server.port), MERGE).await;
    assert_eq!(server.asked().len(), 6);
    for asked in server.asked() {
        assert!(!format!("{}{:?}", asked.path, asked.query).contains(CANARY), "{asked:?}");
        let holders: Vec<_> = asked.headers.iter().filter(|(_, value)| value.contains(CANARY)).collect();
        assert_eq!(holders.len(), 1, "{asked:?}");
    }
}

#[tokio::test]
async fn the_token_is_read_at_each_question() {
    let (server, _) = Hub::default().serve();
    let asker = Asker::new(&settings(server.port), LIMITS);
    let file = asker.folder.path().join("forge");
    assert!(matches!(asker.said(MERGE, NOW).await, Said::Review(_)));
    for bad in ["", "two\nlines", "two words", "gr\u{fc}n"] {
        std::fs::write(&file, bad).unwrap();
        let why = away(asker.said(MERGE, NOW).await);
        assert_eq!(why, format!("the token file {} does not hold one token on one line", file.display()));
    }
    std::fs::remove_file(&file).unwrap();
    assert!(away(asker.said(MERGE, NOW).await).starts_with("the token file "));
    std::fs::write(&file, CANARY).unwrap();
    assert!(matches!(asker.said(MERGE, NOW).await, Said::Review(_)));
}

#[tokio::test]
async fn one_connection_serves_all_requests() {
    let (server, _) = Hub::default().serve();
    let asker = Asker::new(&settings(server.port), LIMITS);
    asker.said(MERGE, NOW).await;
    asker.said(MERGE, NOW).await;
    assert_eq!((server.asked().len(), server.connections()), (12, 1));
}

#[tokio::test]
async fn what_is_no_commit_id_is_not_asked_for() {
    let (server, _) = Hub::default().serve();
    let upper = MERGE.to_uppercase();
    for bad in ["", "main", "../../user", "3e5c1f0a3e", upper.as_str()] {
        let said = super::said(&settings(server.port), bad).await;
        assert!(matches!(&said, Said::Missing(why) if why.ends_with("is no commit id")), "{said:?}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn the_description_knows_what_github_does_not_say() {
    let hub = Hub::default();
    let (list, alone) =
        ("/repos/{owner}/{repo}/pulls/{pull_number}/reviews", "/repos/{owner}/{repo}/pulls/{pull_number}");
    let check = |over| openapi::check(list, 200, &json!([with(review(BEN, "APPROVED", 30, HEAD), over)]));
    assert_eq!(check(json!({})), Ok(()));
    assert_eq!(check(json!({ "user": null, "commit_id": null })), Ok(()));
    for bad in [
        json!({ "state": null }),
        json!({ "submitted_at": "soon" }),
        json!({ "user": { "id": "1" } }),
        json!({ "user": 1 }),
    ] {
        assert!(check(bad.clone()).is_err(), "{bad}");
    }
    assert_eq!(openapi::check(alone, 200, &hub.pull), Ok(()));
    assert!(openapi::check(alone, 200, &with(hub.pull.clone(), json!({ "merged": "yes" }))).is_err());
    assert!(openapi::check(alone, 200, &with(hub.pull.clone(), json!({ "head": { "sha": null } }))).is_err());
    let asked = |path: &str, query: &[(&str, &str)]| {
        openapi::operation(&Asked {
            method: "GET".into(),
            path: path.into(),
            query: query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            headers: Default::default(),
        })
    };
    assert_eq!(asked("/repos/corp/access/pulls/7/reviews", &[("per_page", "100")]), Ok(list.into()));
    assert!(asked("/repos/corp/access/pulls/7/reviewers", &[]).is_err());
    assert!(asked("/repos/corp/access/pulls/7/reviews", &[("perpage", "100")]).is_err());
    assert!(asked("/repos/corp/access/pulls/7/reviews", &[("per_page", "all")]).is_err());
    assert!(asked("/repos/corp/access/pulls/seven/reviews", &[]).is_err());
    assert!(asked("/repos/corp/access/activity", &[("activity_type", "pushed")]).is_err());
}

/// Names the port of a server with a certificate, to this test run again as its own child.
const CHILD: &str = "GRANTD_TEST_TLS_PORT";

async fn over_tls(port: &str) -> String {
    let api = format!("https://localhost:{port}/api/v4");
    let settings = Settings::Gitlab(Gitlab { id: 42, token: "credential:forge".into(), api });
    away(super::said(&settings, MERGE).await)
}

#[tokio::test]
async fn certificates_count_if_the_system_trusts_who_made_them() {
    if let Some(port) = std::env::var_os(CHILD) {
        println!("it says: {}", over_tls(port.to_str().unwrap()).await);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("openssl is missing: scripts/test installs it")
    };
    let make = |arguments: &[&str]| {
        let all = [&["req", "-x509", "-newkey", "rsa:2048", "-nodes"], arguments].concat();
        assert!(openssl(&all).wait().unwrap().success(), "{arguments:?}");
    };
    make(&["-keyout", "corp.key", "-out", "corp.crt", "-subj", "/CN=Corp"]);
    let by = ["-CA", "corp.crt", "-CAkey", "corp.key", "-keyout", "key", "-out", "crt", "-subj", "/CN=localhost"];
    make(
        &[&by[..], &["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]]
            .concat(),
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let place = format!("127.0.0.1:{port}");
    let mut server = openssl(&["s_server", "-quiet", "-www", "-key", "key", "-cert", "crt", "-accept", &place]);
    // It takes a moment to listen.
    let unknown = loop {
        let why = over_tls(&port).await;
        if !why.contains("refused") || server.try_wait().unwrap().is_some() {
            break why;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("source::forge::tests::manners::certificates_count_if_the_system_trusts_who_made_them")
        .env("SSL_CERT_FILE", folder.path().join("corp.crt"))
        .env(CHILD, &port)
        .output()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(unknown.starts_with("localhost cannot be reached: "), "{unknown}");
    assert!(unknown.contains("invalid peer certificate: UnknownIssuer"), "{unknown}");
    // The server speaks no JSON: it was read.
    let known = String::from_utf8(child.stdout).unwrap();
    assert!(known.contains("it says: localhost answers projects/42 with what makes no sense at line 1"), "{known}");
}

#[test]
fn settings_say_what_to_write_instead() {
    let hub = |over: serde_json::Value| {
        let whole = with(json!({ "repository": "corp/access", "id": 5, "token": "credential:forge" }), over);
        serde_json::from_value::<Github>(whole).map_err(|e| e.to_string()).and_then(|hub| Settings::Github(hub).check())
    };
    assert_eq!(hub(json!({})), Ok(()));
    for api in ["https://ghe.corp.example/api/v3", "http://127.0.0.1:80", "http://[::1]:3000/", "http://localhost/x"] {
        assert_eq!(hub(json!({ "api": api })), Ok(()), "{api}");
    }
    for api in [
        "",
        "api.github.com",
        "/api/v3",
        "ftp://api.github.com",
        "http://api.github.com",
        "http://127.0.0.1.corp.example",
        "http://localhost.corp.example",
        "http://127.0.0.1@corp.example",
        "https://ghp_secret@api.github.com",
        "https://api.github.com?token=ghp_secret",
        "https://api.github.com#ghp_secret",
        "https://",
    ] {
        let why = hub(json!({ "api": api })).expect_err(api);
        assert!(why.starts_with("`api` ") && !why.contains("ghp_secret"), "{api}: {why}");
    }
    for repository in
        ["", "access", "corp/", "/access", "corp/access/x", "corp/..", "../access", "corp/a b", "corp/a?b", "corp/%2e"]
    {
        assert!(hub(json!({ "repository": repository })).unwrap_err().starts_with("`repository` is "), "{repository}");
    }
    assert!(hub(json!({ "id": 0 })).unwrap_err().contains("0 is none"));
    assert!(hub(json!({ "id": "5" })).is_err());
    let why = hub(json!({ "token": CANARY })).unwrap_err();
    assert!(why.contains("credential:NAME") && !why.contains(CANARY), "{why}");
    assert!(hub(json!({ "tokne": "x" })).unwrap_err().contains("unknown field"));
    let yaml = "gitlab: { id: 42, token: /run/token, api: https://gitlab.corp.example/api/v4 }";
    let settings: Settings = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(settings.check(), Ok(()));
    for bad in [
        "gitlab: { id: 1, token: /t }\ngithub: { id: 1, token: /t, repository: a/b }",
        "gitea: { id: 1 }",
        "{}",
        "github",
    ] {
        assert!(serde_saphyr::from_str::<Settings>(bad).is_err(), "{bad}");
    }
}
