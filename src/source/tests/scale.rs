//! Measurements: `cargo test --release source::tests::scale -- --ignored --nocapture --test-threads=1`.

use std::{fmt::Write, time::Instant};

use super::{Daemon, Repo};
use crate::model::Source;

/// One commit with many files, or many commits with one new file each.
fn import(files: usize, commits: usize) -> Repo {
    let repo = Repo::new();
    let mut stream = String::new();
    for commit in 0..commits {
        let date = 1_800_000_000 + commit;
        writeln!(stream, "commit refs/heads/main\ncommitter C <c@corp.example> {date} +0000\ndata 1\nx").unwrap();
        for file in 0..files {
            let content = format!("requester: jdoe@corp.example\npurpose: \"number {commit} {file}\"\n");
            let name = format!("grants/{:03}/{commit}-{file}.yaml", (commit + file) % 365);
            writeln!(stream, "M 100644 inline {name}\ndata {}\n{content}", content.len()).unwrap();
            if commit >= 500 {
                writeln!(stream, "D grants/{:03}/{}-{file}.yaml", (commit - 500 + file) % 365, commit - 500).unwrap();
            }
        }
    }
    repo.git_in(&repo.path, &["fast-import", "--quiet"], stream.as_bytes());
    repo
}

fn told(what: &str, begin: Instant, most: f64) {
    let seconds = begin.elapsed().as_secs_f64();
    println!("{what}: {seconds:.3} s");
    assert!(seconds < most, "{what} took {seconds} s");
}

#[tokio::test]
#[ignore = "measures"]
async fn ten_thousand_files() {
    let repo = import(10_000, 1);
    let daemon = Daemon::new(&repo.settings());
    let begin = Instant::now();
    let head = daemon.source.fetch().await.unwrap();
    told("first fetch of 10,000 files", begin, 10.0);
    for _ in 0..3 {
        let begin = Instant::now();
        let tree = daemon.tree(&head).await;
        told("tree of 10,000 files", begin, 0.5);
        let blobs: Vec<_> = tree.entries.into_iter().map(|entry| entry.blob).collect();
        let begin = Instant::now();
        assert_eq!(daemon.source.blobs(&blobs).await.unwrap().len(), 10_000);
        told("10,000 blobs", begin, 0.5);
    }
    for _ in 0..3 {
        let begin = Instant::now();
        daemon.source.fetch().await.unwrap();
        told("poll that changes nothing", begin, 1.0);
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn fifty_thousand_commits() {
    let repo = import(1, 50_000);
    let daemon = Daemon::new(&repo.settings());
    let begin = Instant::now();
    let head = daemon.source.fetch().await.unwrap();
    told("first fetch of 50,000 commits", begin, 60.0);
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(daemon.source.log(&head, None).await.unwrap().changes.len(), 50_000);
        told("log of 50,000 commits", begin, 10.0);
    }
    let since = daemon.source.log(&head, None).await.unwrap().changes[49_900].commit.clone();
    let begin = Instant::now();
    assert_eq!(daemon.source.log(&head, Some(&since)).await.unwrap().changes.len(), 99);
    told("log of the last 99 commits", begin, 1.0);
    repo.checkout("main");
    repo.commit(&[("grants/new.yaml", "x\n")]);
    let begin = Instant::now();
    daemon.source.fetch().await.unwrap();
    told("fetch of one new commit", begin, 2.0);
    let begin = Instant::now();
    daemon.source.fetch().await.unwrap();
    told("poll that changes nothing", begin, 1.0);
}
