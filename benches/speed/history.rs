//! Where each file comes from, over a long history: the first-parent line as the daemon reads it, and the fetch of it under
//! the limits of a first one.

use std::{
    fmt::Write as _,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use grantd::{command::setup, model::Source};

use crate::{
    report::{Runs, row, short, timed},
    town::{self, Repo},
};

const FILES: usize = 10_000;
const COMMITS: usize = 50_000;

pub fn measure() {
    setup::runtime().unwrap().block_on(lines());
}

async fn lines() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::new(folder.path().join("origin.git"));
    grow(&repo.path, COMMITS);
    let mut state = folder.path().join("state");
    let mut first = Vec::new();
    for number in 0..3 {
        state = folder.path().join(format!("state{number}"));
        let source = repo.source(&state);
        let begin = std::time::Instant::now();
        source.fetch().await.unwrap();
        first.push(begin.elapsed());
    }
    row("the first fetch of 50,000 commits of 10,000 files", "passes its limits", &Runs::new(first).to_string(), true);

    let source = repo.source(&state);
    let head = source.fetch().await.unwrap();
    let mut cold = Vec::new();
    for _ in 0..5 {
        let begin = std::time::Instant::now();
        let log = source.log(&head, None).await.unwrap();
        cold.push(begin.elapsed());
        assert!(log.descends && log.changes.len() == COMMITS);
    }
    let cold = Runs::new(cold);
    let what = "provenance of 10,000 files over 50,000 commits, cold";
    row(what, "< 3 s", &cold.to_string(), cold.median() < Duration::from_secs(3));

    let (mut fetched, mut read, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = head.clone();
    for number in 0..7 {
        merge(&repo.path, number);
        let begin = std::time::Instant::now();
        let head = source.fetch().await.unwrap();
        fetched.push(begin.elapsed());
        let begin = std::time::Instant::now();
        let log = source.log(&head, Some(&last)).await.unwrap();
        read.push(begin.elapsed());
        assert!(log.descends && log.changes.len() == 1);
        let begin = std::time::Instant::now();
        assert!(source.deletions(&head, Some(&last)).await.unwrap().is_empty());
        gone.push(begin.elapsed());
        last = head;
    }
    let read = Runs::new(read);
    row("the same for one new merge", "< 50 ms", &read.to_string(), read.median() < Duration::from_millis(50));
    row("the fetch of one new merge", "", &Runs::new(fetched).to_string(), true);
    let begin = std::time::Instant::now();
    source.deletions(&last, None).await.unwrap();
    let all = short(begin.elapsed());
    row("deletions on any line, in one new merge", "", &format!("{}; in all commits: {all}", Runs::new(gone)), true);
}

/// Each commit changes one file; folders of 200.
fn path(number: usize) -> String {
    format!("grants/{:03}/2026-11-20-user{number:06}-checkout.yaml", number / 200)
}

fn grow(repo: &Path, commits: usize) {
    let begin = town::nine().as_second();
    let (time, ()) = timed(|| {
        import(repo, |stream| {
            for number in 0..commits {
                let file = number % FILES;
                let text = format!("# edition {}\n{}", number / FILES, town::grant(file));
                let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
                let at = begin + 60 * number as i64;
                write!(
                    stream,
                    "commit refs/heads/main\ncommitter Ann <ann@corp.example> {at} +0000\ndata 1\nx\n{from}\
                     M 100644 inline {}\ndata {}\n{text}\n",
                    path(file),
                    text.len(),
                )
                .unwrap();
            }
        });
    });
    eprintln!("a history of {commits} commits was made in {}", short(time));
}

/// A branch of one commit, and its merge.
fn merge(repo: &Path, number: usize) {
    let at = town::nine().as_second() + 60 * (COMMITS + number) as i64;
    let text = format!("# merged\n{}", town::grant(number));
    import(repo, |stream| {
        let file = format!("M 100644 inline {}\ndata {}\n{text}\n", path(number), text.len());
        let who = format!("committer Ann <ann@corp.example> {at} +0000\ndata 1\nx\n");
        write!(
            stream,
            "commit refs/heads/side\n{who}from refs/heads/main^0\n{file}\
             commit refs/heads/main\n{who}from refs/heads/main^0\nmerge refs/heads/side\n{file}"
        )
        .unwrap();
    });
}

fn import(repo: &Path, write: impl FnOnce(&mut String)) {
    let mut stream = String::new();
    write(&mut stream);
    let mut git = Command::new("git");
    let git = git.arg("--git-dir").arg(repo).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut git = git.spawn().unwrap();
    git.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
}
