use super::{Daemon, Repo};
use crate::model::{Change, Commit, Log, Source, SourceError};

impl Daemon {
    async fn log(&self, head: &Commit, since: Option<&Commit>) -> Log {
        self.source.log(head, since).await.unwrap()
    }
}

/// `commit: +path -path`
fn shape(log: &Log) -> Vec<(&Commit, Vec<String>)> {
    let files = |change: &Change| {
        let sign = |blob: bool| if blob { '+' } else { '-' };
        change.files.iter().map(|(path, blob)| format!("{}{path}", sign(blob.is_some()))).collect()
    };
    log.changes.iter().map(|change| (&change.commit, files(change))).collect()
}

fn one(commit: &Commit, files: &[&str]) -> (Commit, Vec<String>) {
    (commit.clone(), files.iter().map(|&file| file.to_owned()).collect())
}

macro_rules! assert_shape {
    ($log:expr, $expected:expr) => {{
        let log = $log;
        assert!(log.descends);
        let expected: Vec<(Commit, Vec<String>)> = $expected.into();
        let expected: Vec<_> = expected.iter().map(|(commit, files)| (commit, files.clone())).collect();
        assert_eq!(shape(&log), expected);
    }};
}

#[tokio::test]
async fn lists_changes_oldest_first_with_author_and_commit_date() {
    let (repo, first) = Repo::with_grant();
    repo.commit(&[("README.md", "elsewhere\n"), ("grants/README.md", "no grant\n"), ("grants/.x.yaml", "hidden\n")]);
    let second = repo.commit(&[("grants/sub/b.yml", "b\n"), ("grants/a.yaml", "a2\n")]);
    let third = repo.commit(&[("grants/c.yaml", "c\n"), ("grants.yaml", "x\n"), ("other/grants/d.yaml", "x\n")]);
    let daemon = Daemon::of(&repo).await;
    let log = daemon.log(&third, None).await;
    assert_shape!(
        log.clone(),
        [
            one(&first, &["+grants/a.yaml"]),
            one(&second, &["+grants/a.yaml", "+grants/sub/b.yml"]),
            one(&third, &["+grants/c.yaml"])
        ]
    );
    assert_eq!(&*log.changes[0].author, "Ann Author <ann@corp.example>");
    let date = repo.git(&["show", "--no-patch", "--format=%ct", &first.0]);
    assert_eq!(log.changes[0].committed.as_second().to_string(), date);
    let blob = repo.git(&["rev-parse", &format!("{second}:grants/a.yaml")]);
    assert_eq!(&*log.changes[1].files[0].1.as_ref().unwrap().0, blob);

    assert_shape!(daemon.log(&third, Some(&second)).await, [one(&third, &["+grants/c.yaml"])]);
    assert_eq!(daemon.log(&third, Some(&third)).await, Log { descends: true, changes: vec![] });
}

#[tokio::test]
async fn shows_a_deletion_and_its_revert() {
    let (repo, first) = Repo::with_grant();
    let deleted = repo.delete("grants/a.yaml");
    let back = repo.commit(&[("grants/a.yaml", "a\n")]);
    let daemon = Daemon::of(&repo).await;
    assert_shape!(
        daemon.log(&back, Some(&first)).await,
        [one(&deleted, &["-grants/a.yaml"]), one(&back, &["+grants/a.yaml"])]
    );
}

#[tokio::test]
async fn shows_a_move_as_both_in_one_commit() {
    let (repo, first) = Repo::with_grant();
    std::fs::create_dir(repo.path.join("grants/prod")).unwrap();
    repo.git(&["mv", "grants/a.yaml", "grants/prod/a.yaml"]);
    let moved = repo.commit(&[]);
    let away = {
        repo.git(&["mv", "grants/prod/a.yaml", "old.yaml"]);
        repo.commit(&[])
    };
    let daemon = Daemon::of(&repo).await;
    assert_shape!(
        daemon.log(&away, Some(&first)).await,
        [one(&moved, &["-grants/a.yaml", "+grants/prod/a.yaml"]), one(&away, &["-grants/prod/a.yaml"])]
    );
}

#[tokio::test]
async fn a_merge_is_one_change_of_all_that_it_brings() {
    let (repo, first) = Repo::with_grant();
    repo.branch("side", &first);
    repo.commit(&[("grants/s.yaml", "s\n")]);
    repo.delete("grants/a.yaml");
    // Comes and goes on the side: never was on the line.
    repo.commit(&[("grants/t.yaml", "t\n")]);
    repo.delete("grants/t.yaml");
    repo.checkout("main");
    let main = repo.commit(&[("grants/m.yaml", "m\n")]);
    let merge = repo.merge("side");
    let daemon = Daemon::of(&repo).await;
    let expected = [one(&main, &["+grants/m.yaml"]), one(&merge, &["-grants/a.yaml", "+grants/s.yaml"])];
    assert_shape!(daemon.log(&merge, Some(&first)).await, expected.clone());
    assert_shape!(daemon.log(&merge, Some(&main)).await, expected[1..].to_vec());
}

#[tokio::test]
async fn a_merge_that_changes_nothing_against_its_first_parent_is_passed_over() {
    let (repo, first) = Repo::with_grant();
    repo.branch("side", &first);
    let same = repo.commit(&[("grants/b.yaml", "b\n")]);
    repo.checkout("main");
    let main = repo.commit(&[("grants/b.yaml", "b\n"), ("x", "x\n")]);
    let merge = repo.merge("side");
    let last = repo.commit(&[("grants/c.yaml", "c\n")]);
    let daemon = Daemon::of(&repo).await;
    assert_shape!(
        daemon.log(&last, Some(&first)).await,
        [one(&main, &["+grants/b.yaml"]), one(&last, &["+grants/c.yaml"])]
    );
    assert!(!daemon.log(&merge, Some(&same)).await.descends, "the second parent is not on the line");
}

#[tokio::test]
async fn a_foxtrot_merge_does_not_descend() {
    let (repo, first) = Repo::with_grant();
    let accepted = repo.commit(&[("grants/b.yaml", "b\n")]);
    repo.branch("attack", &first);
    repo.commit(&[("grants/evil.yaml", "e\n")]);
    let foxtrot = repo.merge("main");
    repo.git(&["branch", "--force", "main", &foxtrot.0]);
    let daemon = Daemon::of(&repo).await;
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(foxtrot.clone()));
    assert_eq!(daemon.log(&foxtrot, Some(&accepted)).await, Log::default());
    assert!(daemon.log(&foxtrot, Some(&first)).await.descends);
}

#[tokio::test]
async fn rewritten_and_rolled_back_histories_do_not_descend() {
    let (repo, first) = Repo::with_grant();
    let accepted = repo.commit(&[("grants/b.yaml", "b\n")]);
    let daemon = Daemon::of(&repo).await;
    assert_eq!(daemon.log(&first, Some(&accepted)).await, Log::default(), "rolled back");
    repo.git(&["reset", "--quiet", "--hard", &first.0]);
    let forced = repo.commit(&[("grants/c.yaml", "c\n")]);
    daemon.source.fetch().await.unwrap();
    assert_eq!(daemon.log(&forced, Some(&accepted)).await, Log::default(), "forced");
    let unknown = Commit("0123456789012345678901234567890123456789".into());
    assert_eq!(daemon.log(&forced, Some(&unknown)).await, Log::default(), "never seen");
    assert!(matches!(daemon.source.log(&unknown, None).await, Err(SourceError::Missing(_))));
    let option = Commit("--output=/tmp/x".into());
    assert!(matches!(daemon.source.log(&option, None).await, Err(SourceError::Missing(_))));
}

#[tokio::test]
async fn forged_dates_do_not_hide_where_the_line_parts() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    // A commit by hand: its dates go up and down as they please.
    let made = |parents: &[&str], seconds: u64, file: &str| {
        let blob = daemon.object(&repo, "blob", file.as_bytes());
        let grants = daemon.folder(&repo, &[("100644", format!("{file}.yaml").as_bytes(), &blob)]);
        let root = daemon.folder(&repo, &[("40000", b"grants", &grants)]);
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let text = format!("tree {root}\n{parents}author A <a> 1 +0000\ncommitter C <c> {seconds} +0000\n\nx\n");
        Commit(daemon.object(&repo, "commit", text.as_bytes()).as_str().into())
    };
    let mut line = vec![first];
    for (number, seconds) in [4_000_000_000, 1, 3_000_000_000, 2, 9_999_999_999, 5, 1].into_iter().enumerate() {
        let parent = line.last().unwrap().0.clone();
        line.push(made(&[&parent], seconds, &format!("f{number}")));
    }
    let head = line.last().unwrap();
    for (at, since) in line.iter().enumerate() {
        let log = daemon.log(head, Some(since)).await;
        assert!(log.descends, "{at}");
        let commits: Vec<_> = log.changes.iter().map(|change| &change.commit).collect();
        assert_eq!(commits, line[at + 1..].iter().collect::<Vec<_>>());
        let fox = made(&[&line[0].0, &head.0], 1, "fox");
        assert_eq!(daemon.log(&fox, Some(since)).await.descends, at == 0);
    }
}

#[tokio::test]
async fn what_replaces_a_file_counts_as_its_deletion() {
    let (repo, first) = Repo::with_grant();
    std::fs::remove_file(repo.path.join("grants/a.yaml")).unwrap();
    std::os::unix::fs::symlink("b.yaml", repo.path.join("grants/a.yaml")).unwrap();
    let link = repo.commit(&[]);
    std::fs::remove_file(repo.path.join("grants/a.yaml")).unwrap();
    let back = repo.commit(&[("grants/a.yaml", "a\n")]);
    repo.git(&["update-index", "--chmod=+x", "grants/a.yaml"]);
    repo.git(&["commit", "--quiet", "--message=mode"]);
    let mode = repo.head();
    repo.git(&["update-index", "--cacheinfo", &format!("160000,{first},grants/a.yaml")]);
    repo.git(&["commit", "--quiet", "--message=submodule"]);
    let module = repo.head();
    let daemon = Daemon::of(&repo).await;
    assert_shape!(
        daemon.log(&module, Some(&first)).await,
        [
            one(&link, &["-grants/a.yaml"]),
            one(&back, &["+grants/a.yaml"]),
            one(&mode, &["+grants/a.yaml"]),
            one(&module, &["-grants/a.yaml"])
        ]
    );
}

#[tokio::test]
async fn odd_authors_and_dates_are_told_as_text() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    for (author, date, name, second) in [
        ("A\x1b[2J\tB <a@x>", "12", "A[2JB <a@x>", Some(12)),
        ("\u{202e}é 1 2 <> ", "253402300799", "\u{202e}é 1 2 <>", None),
        ("A <a>", "99999999999999999999999", "A <a>", None),
    ] {
        let text = format!("tree {tree}\nauthor {author} 7 +0000\ncommitter C <c> {date} +0000\n\nx\n");
        let made = Commit(daemon.object(&repo, "commit", text.as_bytes()).as_str().into());
        let log = daemon.log(&made, None).await;
        assert_eq!(&*log.changes[0].author, name);
        if let Some(second) = second {
            assert_eq!(log.changes[0].committed.as_second(), second);
        }
    }
    assert_eq!(daemon.log(&first, None).await.changes.len(), 1);
}

#[tokio::test]
async fn the_folder_is_no_pattern() {
    let repo = Repo::new();
    let head = repo.commit(&[("gr*ts/a.yaml", "a\n"), ("grants/b.yaml", "b\n"), ("gr*ts/:(x) y.yaml", "c\n")]);
    let daemon = Daemon::new(&super::Settings { path: "gr*ts".into(), ..repo.settings() });
    daemon.source.fetch().await.unwrap();
    assert_shape!(daemon.log(&head, None).await, [one(&head, &["+gr*ts/:(x) y.yaml", "+gr*ts/a.yaml"])]);
}

#[test]
fn only_a_history_that_is_too_long_is_the_commits_own_fault() {
    use crate::source::{child::Failure, log::failed};
    let (head, io) = (Commit("a".repeat(40).into()), || std::io::Error::other("no"));
    assert!(matches!(failed(&head, &Failure::Output(5)), SourceError::Bad(_)));
    let ours = [
        Failure::Start(io()),
        Failure::Limit(rustix::io::Errno::PERM),
        Failure::Time(std::time::Duration::from_secs(1)),
        Failure::Read(io()),
    ];
    for failure in ours {
        assert!(matches!(failed(&head, &failure), SourceError::Unread(_)), "{failure}");
    }
}
