//! What a remote does to us, and what must not leak to it or to the logs.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{Daemon, Repo, raw_tree};
use crate::{
    model::{Source, SourceError},
    source::{Settings, child, words::last_words},
};

const CANARY: &str = "ghp_C4n4ryC4n4ryC4n4ry";

fn http(port: u16, token: Option<&str>) -> Settings {
    Settings {
        url: format!("http://127.0.0.1:{port}/access.git"),
        token: token.map(str::to_owned),
        ..Repo::new().settings()
    }
}

/// Answers every request with the same bytes (or never), and hands out what was asked, and at the end of each
/// connection how long it lived.
fn server(answer: Option<String>) -> (u16, mpsc::Receiver<String>, mpsc::Receiver<Duration>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = mpsc::channel();
    let (ended, ends) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let begin = Instant::now();
            let mut request = vec![0; 8192];
            let size = connection.read(&mut request).unwrap_or(0);
            let _ = asked.send(String::from_utf8_lossy(&request[..size]).into_owned());
            match &answer {
                Some(answer) => connection.write_all(answer.as_bytes()).unwrap(),
                None => while connection.read(&mut request).is_ok_and(|size| size > 0) {},
            }
            let _ = ended.send(begin.elapsed());
        }
    });
    (port, requests, ends)
}

fn smart(line: &str) -> String {
    let body = format!("001e# service=git-upload-pack\n0000{:04x}{line}", line.len() + 4);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_token_reaches_the_remote_and_nobody_else() {
    // The remote sends back what it got.
    let (port, requests, _) = server(Some(smart(&format!("ERR you sent {CANARY}, {CANARY}"))));
    let daemon = Daemon::new(&http(port, Some("credential:forge")));
    let text = daemon.source.fetch().await.unwrap_err().to_string();
    assert!(text.contains("forge cannot be read"), "{text}");

    fs::write(daemon.state.path().join("forge"), format!("{CANARY}\n")).unwrap();
    let Err(SourceError::Unreachable(text)) = daemon.source.fetch().await else { panic!("it went well") };
    assert!(text.contains("you sent ***, ***"), "{text}");
    // base64 of x-access-token:CANARY
    let sent = "eC1hY2Nlc3MtdG9rZW46Z2hwX0M0bjRyeUM0bjRyeUM0bjRyeQ==";
    assert!(requests.recv().unwrap().contains(&format!("Authorization: Basic {sent}\r\n")));

    let token = daemon.source.remote.token().await.unwrap();
    let command = daemon.source.remote.command(&["fetch"], token.as_ref());
    for argument in command.as_std().get_args() {
        let argument = argument.to_str().unwrap();
        assert!(!argument.contains(CANARY) && !argument.contains(sent), "{argument}");
    }
    assert!(!format!("{:?}", daemon.source).contains(CANARY));
    assert!(!last_words(format!("{sent} {CANARY}").as_bytes(), token.as_ref()).contains("C4n4ry"));
}

#[tokio::test]
async fn a_bad_token_file_is_told_without_its_content() {
    let daemon = Daemon::new(&http(1, Some("credential:forge")));
    for bad in ["", "\n", "two words", "two\nlines", "x\r\nHost: evil", &"x".repeat(20_000)] {
        fs::write(daemon.state.path().join("forge"), bad).unwrap();
        let text = daemon.source.fetch().await.unwrap_err().to_string();
        assert!(text.ends_with("does not hold one token on one line"), "{text}");
    }
}

#[test]
fn the_environment_is_ours() {
    let repo = Repo::new();
    let daemon = Daemon::new(&repo.settings());
    let command = daemon.source.remote.command(&["fetch"], None);
    let names: Vec<_> = command.as_std().get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "GIT_ALLOW_PROTOCOL",
            "GIT_ATTR_NOSYSTEM",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_NOSYSTEM",
            "GIT_LITERAL_PATHSPECS",
            "GIT_NO_REPLACE_OBJECTS",
            "GIT_TERMINAL_PROMPT",
            "HOME",
            "LC_ALL",
            "PATH"
        ]
    );
}

#[tokio::test]
async fn the_daemons_environment_stays_with_it() {
    // cargo puts CARGO_MANIFEST_DIR there.
    assert!(fs::read("/proc/self/environ").unwrap().windows(19).any(|part| part == b"CARGO_MANIFEST_DIR="));
    let daemon = Daemon::new(&Repo::new().settings());
    let mut command = daemon.source.remote.command(&[], None);
    command.args(["-c", "alias.surroundings=!env", "surroundings"]);
    let output = child::run(command, &daemon.source.remote.limits.ask).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("GIT_ALLOW_PROTOCOL=file:ssh:http:https"), "{text}");
    assert!(!text.contains("CARGO_") && !text.contains("AWS_"), "{text}");
}

#[tokio::test]
async fn a_remote_that_never_answers_is_left_with_all_its_children() {
    let (port, _, ends) = server(None);
    let mut daemon = Daemon::new(&http(port, None));
    daemon.source.remote.limits.ask.time = Duration::from_millis(700);
    let begin = Instant::now();
    let text = daemon.source.fetch().await.unwrap_err().to_string();
    assert!(text.contains("did not end within 0.7 s"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    // The connection is held by git's child, not by git.
    assert!(ends.recv_timeout(Duration::from_secs(3)).is_ok(), "a child lives on");
}

#[tokio::test]
async fn a_fetch_that_is_dropped_leaves_no_children() {
    let (port, requests, ends) = server(None);
    let daemon = Daemon::new(&http(port, None));
    let wait = tokio::task::spawn_blocking(move || requests.recv_timeout(Duration::from_secs(10)));
    tokio::select! {
        _ = daemon.source.fetch() => panic!("it ended"),
        asked = wait => assert!(asked.unwrap().is_ok()),
    }
    assert!(ends.recv_timeout(Duration::from_secs(3)).is_ok(), "a child lives on");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_no_token_away() {
    for (code, place) in
        [(301, "127.0.0.1"), (302, "127.0.0.1"), (303, "localhost"), (307, "localhost"), (308, "127.0.0.1")]
    {
        let (there, requests, _) = server(Some(smart("ERR reached")));
        let moved = format!(
            "HTTP/1.1 {code} Moved\r\nLocation: http://{place}:{there}/x/info/refs?service=git-upload-pack\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (port, asked, _) = server(Some(moved));
        let daemon = Daemon::new(&http(port, Some("credential:forge")));
        fs::write(daemon.state.path().join("forge"), CANARY).unwrap();
        let told = daemon.source.fetch().await.unwrap_err().to_string();
        assert!(asked.try_recv().unwrap().contains("Authorization: Basic "), "{code}");
        assert!(requests.try_recv().is_err(), "{code} was followed");
        assert!(told.contains(&code.to_string()) && !told.contains("remote error"), "{told}");
    }
}

#[tokio::test]
async fn an_option_in_place_of_a_host_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pwned");
    fs::write(folder.path().join("key"), "").unwrap();
    for host in [
        "%2doProxyCommand=touch${IFS}MARK",
        "%2DoProxyCommand=touch${IFS}MARK",
        "x;touch${IFS}MARK",
        "$(touch${IFS}MARK)",
    ] {
        let host = host.replace("MARK", &mark.display().to_string().replace('/', "%2f"));
        let settings = Settings {
            url: format!("ssh://{host}/access.git"),
            ssh_key: Some(folder.path().join("key").display().to_string()),
            ..Repo::new().settings()
        };
        assert!(Daemon::new(&settings).source.fetch().await.is_err());
        assert!(!mark.exists(), "{host}");
    }
}

#[tokio::test]
async fn attributes_and_large_file_pointers_change_nothing() {
    let (repo, first) = Repo::with_grant();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    let attributes = "*.yaml binary -diff -text filter=lfs diff=lfs merge=lfs export-ignore ident eol=crlf\n";
    repo.write(&[("grants/.gitattributes", attributes), (".gitattributes", attributes), ("grants/.lfsconfig", "x\n")]);
    repo.git(&["-c", "filter.lfs.clean=cat", "commit", "--quiet", "--message=hide"]);
    let blob = repo.git_in(&repo.path, &["hash-object", "-w", "--stdin"], pointer.as_bytes());
    let b = repo.git_in(&repo.path, &["hash-object", "-w", "--stdin"], b"b $Id$\r\n");
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},grants/a.yaml")]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{b},grants/b.yaml")]);
    let tree = repo.git(&["write-tree"]);
    let commit = repo.git(&["commit-tree", "-p", "HEAD", "-m", "hidden", &tree]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    let daemon = Daemon::of(&repo).await;
    let head = crate::model::Commit(commit.as_str().into());
    let log = daemon.source.log(&head, Some(&first)).await.unwrap();
    let files: Vec<&str> = log.changes.iter().flat_map(|change| &change.files).map(|(path, _)| &**path).collect();
    assert_eq!(files, ["grants/a.yaml", "grants/b.yaml"]);
    let blobs: Vec<_> = daemon.tree(&head).await.entries.iter().map(|entry| entry.blob.clone()).collect();
    let texts = daemon.source.blobs(&blobs).await.unwrap();
    assert_eq!(texts, [pointer.as_bytes(), b"b $Id$\r\n"]);
}

#[tokio::test]
async fn what_is_printed_is_bounded() {
    let daemon = Daemon::new(&Repo::new().settings());
    let mut command = tokio::process::Command::new("/bin/sh");
    command.args(["-c", "yes"]);
    let limits = daemon.source.remote.limits.ask;
    assert!(matches!(child::run(command, &limits).await, Err(child::Failure::Output(65_536))));

    let mut command = tokio::process::Command::new("/bin/sh");
    command.args(["-c", "yes 0123456789 | head -c 3000000 >&2; echo the end >&2; exit 3"]);
    let output = child::run(command, &limits).await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.len() < 100_000);
    assert!(output.stderr.starts_with(b"0123456789\n") && output.stderr.ends_with(b"the end\n"));
}

#[tokio::test]
async fn the_limits_reach_the_child() {
    let daemon = Daemon::new(&Repo::new().settings());
    let limits =
        child::Limits { cpu: 7, memory: 256 << 20, space: 512 << 20, file: 1 << 20, ..daemon.source.remote.limits.ask };
    let mut command = tokio::process::Command::new("/bin/sh");
    command.args(["-c", "sleep 0.2; exec cat /proc/self/limits"]);
    let text = String::from_utf8(child::run(command, &limits).await.unwrap().stdout).unwrap();
    for (name, soft, hard) in [
        ("Max cpu time", "7", "8"),
        ("Max data size", "268435456", "268435456"),
        ("Max address space", "536870912", "536870912"),
        ("Max file size", "1048576", "1048576"),
        ("Max core file size", "0", "0"),
    ] {
        let words = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace();
        assert_eq!(words.take(2).collect::<Vec<_>>(), [soft, hard], "{name}");
    }
}

#[test]
fn errors_hold_no_control_characters_and_end() {
    let words = last_words(b"remote: \x1b[31mred\x1b[0m\r\n\nfatal: a\x00b\xff\n", None);
    assert_eq!(words, "remote: [31mred[0m; fatal: ab\u{fffd}");
    assert!(last_words("é".repeat(100_000).as_bytes(), None).chars().count() <= 300);
    assert!(last_words("line\n".repeat(1000).as_bytes(), None).len() < 100);
}

#[tokio::test]
async fn git_refuses_what_no_honest_git_makes() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let blob = repo.git(&["rev-parse", "HEAD:grants/a.yaml"]);
    let sub = repo.git(&["rev-parse", "HEAD:grants"]);
    let trees: [Vec<u8>; 3] = [
        raw_tree(&[("40000", b"..", &sub)]),
        raw_tree(&[("40000", b".git", &sub)]),
        raw_tree(&[("100644", b"a.yaml", &blob), ("100644", b"a.yaml", &blob)]),
    ];
    for raw in trees {
        let grants = repo.git_in(&repo.path, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], &raw);
        let root = raw_tree(&[("40000", b"grants", &grants)]);
        let root = repo.git_in(&repo.path, &["hash-object", "-w", "-t", "tree", "--stdin"], &root);
        let commit = repo.git(&["commit-tree", "-m", "bad", &root]);
        repo.git(&["update-ref", "refs/heads/main", &commit]);
        let Err(SourceError::Unreachable(text)) = daemon.source.fetch().await else { panic!("it was fetched") };
        assert!(text.contains("contains") && text.contains(&grants), "{text}");
        assert_eq!(daemon.source.resolve("HEAD").await, Ok(first.clone()));
    }
}

#[tokio::test]
async fn ssh_is_given_words_that_a_shell_gives_back() {
    let key = "/keys/it's; touch pwned $(x) 100%";
    let ssh = Settings {
        url: "ssh://git@git.corp.example/access.git".into(),
        ssh_key: Some("/keys/it's; touch pwned 100%".into()),
        known_hosts: Some(PathBuf::from("/etc/known hosts")),
        ..Repo::new().settings()
    };
    let daemon = Daemon::new(&ssh);
    let command = daemon.source.remote.command(&["fetch"], None);
    let text = command
        .as_std()
        .get_envs()
        .find_map(|(name, value)| (name == "GIT_SSH_COMMAND").then(|| value.unwrap().to_str().unwrap().to_owned()))
        .unwrap();
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {text}")]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    let words: Vec<&str> = words.lines().collect();
    for option in [
        "IdentityFile=\"/keys/it's; touch pwned 100%%\"",
        "UserKnownHostsFile=\"/etc/known hosts\"",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
    ] {
        assert!(words.windows(2).any(|pair| pair == ["-o", option]), "{option} in {words:?}");
    }
    assert_eq!(words[..3], ["ssh", "-F", "/dev/null"]);

    let state = tempfile::tempdir().unwrap();
    let refused = crate::source::GitSource::new(&Settings { ssh_key: Some(key.into()), ..ssh }, state.path(), None);
    assert!(refused.unwrap_err().to_string().contains("rename it"));
}
