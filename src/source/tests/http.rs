//! Over HTTP: git's own server, and a plain file server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Daemon, Repo, Settings,
    fetch::unreachable,
    raw_tree,
    watch::{Watch, living},
};
use crate::model::{Commit, Odd, Source, SourceError};

/// What kind of server it is.
#[derive(Clone, Copy)]
enum Kind {
    /// `git http-backend`, which is a CGI program.
    Smart,
    /// Hands out files.
    Plain,
    /// Smart, but a pack comes a byte at a time, and never to its end.
    Slow,
}

/// Serves the repositories of a folder.
fn serve(root: PathBuf, kind: Kind) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = answer(connection.unwrap(), &root, kind);
        }
    });
    port
}

fn answer(connection: TcpStream, root: &Path, kind: Kind) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let [method, target, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Ok(()) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new("git");
    backend.arg("http-backend").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    backend.envs([("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", query)]);
    backend.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut connection = connection;
    if matches!(kind, Kind::Plain) {
        return match std::fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(content) => {
                write!(
                    connection,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                )?;
                connection.write_all(&content)
            }
            Err(_) => write!(connection, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        };
    }
    backend.env("CONTENT_LENGTH", length.to_string());
    let mut child = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?;
    connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")?;
    let begin = output.stdout.windows(9).position(|part| part == b"packfile\n");
    if let (Kind::Slow, Some(begin)) = (kind, begin) {
        connection.write_all(&output.stdout[..begin + 9])?;
        loop {
            // Git's own keep-alive: an empty line of the side band.
            connection.write_all(b"0005\x02")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    connection.write_all(&output.stdout)
}

/// A daemon that reads the repository over smart HTTP.
pub fn over_http(repo: &Repo) -> Daemon {
    through(repo, Kind::Smart)
}

fn through(repo: &Repo, kind: Kind) -> Daemon {
    let port = serve(repo.path.parent().unwrap().to_owned(), kind);
    Daemon::new(&Settings { url: format!("http://127.0.0.1:{port}/access/.git"), ..repo.settings() })
}

/// Points the branch at a commit whose grants folder holds `..`.
fn hide_bad_tree(repo: &Repo) -> Commit {
    let made =
        |raw: &[u8]| repo.git_in(&repo.path, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], raw);
    let sub = repo.git(&["rev-parse", "HEAD:grants"]);
    let grants = made(&raw_tree(&[("40000", b"..", &sub)]));
    let root = made(&raw_tree(&[("40000", b"grants", &grants)]));
    let commit = repo.git(&["commit-tree", "-p", "HEAD", "-m", "bad", &root]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    Commit(commit.into())
}

#[tokio::test]
async fn a_smart_server_is_fetched_from_whole_and_checked() {
    let (repo, first) = Repo::with_grant();
    for number in 0..5 {
        repo.commit(&[("grants/b.yaml", &format!("{number}\n"))]);
    }
    let head = repo.head();
    let daemon = over_http(&repo);
    assert_eq!(daemon.source.fetch().await, Ok(head.clone()));
    let log = daemon.source.log(&head, None).await.unwrap();
    assert_eq!((log.changes.len(), &log.changes[0].commit), (6, &first));
    let next = repo.commit(&[("grants/c.yaml", "c\n")]);
    assert_eq!(daemon.source.fetch().await, Ok(next.clone()));
    assert_eq!(daemon.source.log(&next, Some(&head)).await.unwrap().changes.len(), 1);
    assert!(!daemon.bare().join("shallow").exists());

    hide_bad_tree(&repo);
    let Err(SourceError::Unreachable(text)) = daemon.source.fetch().await else { panic!("it was fetched") };
    assert!(text.contains("hasDotdot"), "{text}");
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(next));
}

#[tokio::test]
async fn a_plain_file_server_is_refused_because_nothing_from_it_is_checked() {
    let (repo, _) = Repo::with_grant();
    repo.git(&["update-server-info"]);
    let daemon = through(&repo, Kind::Plain);
    let Err(SourceError::Unreachable(text)) = daemon.source.fetch().await else { panic!("it was fetched") };
    assert!(text.contains("dumb http transport"), "{text}");

    // Were it not: this is why.
    let bad = hide_bad_tree(&repo);
    repo.git(&["update-server-info"]);
    let port = serve(repo.path.parent().unwrap().to_owned(), Kind::Plain);
    let url = format!("http://127.0.0.1:{port}/access/.git");
    let arguments = ["fetch", "--quiet", "--", &url, "+refs/heads/main:refs/grantd/fetched"];
    let mut trusting = daemon.source.remote.git().command(&arguments);
    let output = trusting.output().await.unwrap();
    if output.status.success() {
        daemon.refused(&bad).await; // The second line of defence.
    } // Else this git has learned to check.
}

#[tokio::test]
async fn a_server_that_drips_is_left_with_all_its_children() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = through(&repo, Kind::Slow);
    daemon.source.remote.limits.first.child.time = Duration::from_secs(2);
    let told = unreachable(daemon.source.fetch().await);
    assert!(told.contains("did not end within 2 s and was killed"), "{told}");
    assert_eq!(living(daemon.state.path()), 0);
    assert!(!daemon.state.path().join("git-incoming").exists());
    // A fetch that nobody waits for any more.
    daemon.forgive().await;
    let waited = tokio::time::timeout(Duration::from_secs(1), daemon.source.fetch()).await;
    assert!(waited.is_err(), "{waited:?}");
    for _ in 0..200 {
        if living(daemon.state.path()) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await; // Killed, and not yet gone.
        }
    }
    assert_eq!(living(daemon.state.path()), 0);
    assert!(!daemon.state.path().join("git-incoming").exists());
    assert!(matches!(daemon.source.tree(&first).await, Err(SourceError::Missing(_))));
}

#[tokio::test]
async fn the_token_is_in_no_argument_of_any_child() {
    const CANARY: &str = "ghp_C4n4ryC4n4ryC4n4ry";
    const SENT: &str = "eC1hY2Nlc3MtdG9rZW46Z2hwX0M0bjRyeUM0bjRyeUM0bjRyeQ==";
    let (repo, _) = Repo::with_grant();
    let port = serve(repo.path.parent().unwrap().to_owned(), Kind::Slow);
    let url = format!("http://127.0.0.1:{port}/access/.git");
    let mut daemon = Daemon::new(&Settings { url, token: Some("credential:forge".into()), ..repo.settings() });
    std::fs::write(daemon.state.path().join("forge"), CANARY).unwrap();
    daemon.source.remote.limits.first.child.time = Duration::from_secs(2);
    let watch = Watch::new(daemon.state.path());
    let told = unreachable(daemon.source.fetch().await);
    let seen = watch.end();
    let programs: String = seen.iter().map(|one| one.arguments.clone()).collect();
    for program in ["ls-remote", "remote-http", "fetch"] {
        assert!(programs.contains(program), "{program} was not seen in {programs}");
    }
    let secrets = [CANARY, SENT];
    assert!(!secrets.iter().any(|secret| programs.contains(secret) || told.contains(secret)));
    // The test can see it where it is.
    assert!(seen.iter().any(|one| one.environment.contains(SENT)));
    assert!(!seen.iter().any(|one| one.environment.contains("CARGO_") || one.environment.contains("AWS_")));
}

/// Each of them by a real fetch, over a file and over HTTP: what git refuses, and what it lets through.
#[tokio::test]
async fn a_tree_that_no_honest_git_makes_is_refused_on_every_way() {
    let (repo, first) = Repo::with_grant();
    let made =
        |raw: &[u8]| repo.git_in(&repo.path, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], raw);
    let blob = repo.git(&["rev-parse", "HEAD:grants/a.yaml"]);
    let sub = repo.git(&["rev-parse", "HEAD:grants"]);
    let link = repo.git_in(&repo.path, &["hash-object", "-w", "--stdin"], b"/etc/passwd");
    let file = |name: &'static [u8]| ("100644", name, blob.as_str());
    enum Fate {
        Git(&'static str),
        Refused(&'static str),
        Finding(Odd),
    }
    let cases = [
        (vec![("40000", &b".."[..], sub.as_str())], Fate::Git("hasDotdot")),
        (vec![("40000", b".git", &sub)], Fate::Git("hasDotgit")),
        (vec![file(b"a.yaml"), file(b"a.yaml")], Fate::Git("duplicateEntries")),
        (vec![file(b"A.yaml"), file(b"a.yaml")], Fate::Refused("in upper and in lower case")),
        (vec![file(b"a.yaml"), ("120000", b"l.yaml", &link)], Fate::Finding(Odd::Link)),
        (vec![file(b"a.yaml"), ("160000", b"m.yaml", &first.0)], Fate::Finding(Odd::Module)),
        (vec![file(b"a.yaml"), ("100755", b"x.yaml", &blob)], Fate::Finding(Odd::Executable)),
    ];
    for (entries, fate) in cases {
        let grants = made(&raw_tree(&entries));
        let root = made(&raw_tree(&[("40000", b"grants", &grants)]));
        let bad = Commit(repo.git(&["commit-tree", "-p", &first.0, "-m", "odd", &root]).into());
        for daemon in [Daemon::new(&repo.settings()), over_http(&repo)] {
            repo.git(&["update-ref", "refs/heads/main", &first.0]);
            daemon.source.fetch().await.unwrap();
            repo.git(&["update-ref", "refs/heads/main", &bad.0]);
            let fetched = daemon.source.fetch().await;
            match &fate {
                Fate::Git(why) => {
                    let told = unreachable(fetched);
                    assert!(told.contains(why), "{told}");
                    assert_eq!(daemon.source.resolve("HEAD").await, Ok(first.clone()));
                    assert!(daemon.source.tree(&bad).await.is_err(), "it was kept");
                }
                Fate::Refused(why) => {
                    assert_eq!(fetched, Ok(bad.clone()));
                    let refused = daemon.refused(&bad).await;
                    assert!(refused.contains(why), "{refused}");
                }
                Fate::Finding(odd) => {
                    assert_eq!(fetched, Ok(bad.clone()));
                    let tree = daemon.tree(&bad).await;
                    assert_eq!(tree.entries.iter().map(|entry| &*entry.path).collect::<Vec<_>>(), ["grants/a.yaml"]);
                    assert_eq!(tree.findings.len(), 1);
                    assert_eq!(tree.findings[0].message, odd.finding("x").message);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_history_that_is_cut_off_is_refused() {
    let (repo, _) = Repo::with_grant();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    let whole = over_http(&repo);
    let short = Repo::new();
    let url = format!("file://{}", repo.path.display());
    short.git(&["fetch", "--quiet", "--depth=1", &url, "main:refs/heads/main", "--update-head-ok"]);
    let daemon = over_http(&short);
    let told = unreachable(daemon.source.fetch().await);
    assert!(told.contains("is a shallow clone: its history is cut off"), "{told}");
    assert!(matches!(daemon.source.tree(&head).await, Err(SourceError::Missing(_))));
    assert_eq!(whole.source.fetch().await, Ok(head));
}
