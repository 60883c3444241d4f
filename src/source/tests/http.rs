//! Over HTTP: git's own server, and a plain file server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Daemon, Repo, Settings, raw_tree};
use crate::model::{Commit, Source, SourceError};

/// Serves the repositories of a folder; `smart` by `git http-backend`, which is a CGI program.
fn serve(root: PathBuf, smart: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = answer(connection.unwrap(), &root, smart);
        }
    });
    port
}

fn answer(connection: TcpStream, root: &Path, smart: bool) -> std::io::Result<()> {
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
    if !smart {
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
    connection.write_all(&output.stdout)
}

/// A daemon that reads the repository over smart HTTP.
pub fn over_http(repo: &Repo) -> Daemon {
    through(repo, true)
}

fn through(repo: &Repo, smart: bool) -> Daemon {
    let port = serve(repo.path.parent().unwrap().to_owned(), smart);
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
    let daemon = through(&repo, false);
    let Err(SourceError::Unreachable(text)) = daemon.source.fetch().await else { panic!("it was fetched") };
    assert!(text.contains("dumb http transport"), "{text}");

    // Were it not: this is why.
    let bad = hide_bad_tree(&repo);
    repo.git(&["update-server-info"]);
    let port = serve(repo.path.parent().unwrap().to_owned(), false);
    let url = format!("http://127.0.0.1:{port}/access/.git");
    let arguments = ["fetch", "--quiet", "--", &url, "+refs/heads/main:refs/grantd/fetched"];
    let mut trusting = daemon.source.remote.git().command(&arguments);
    let output = trusting.output().await.unwrap();
    if output.status.success() {
        assert!(daemon.tree(&bad).await.refused.is_some(), "the second line of defence");
    } // Else this git has learned to check.
}
