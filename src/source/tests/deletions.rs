use super::{Daemon, Repo};
use crate::model::{Change, Commit, Source, SourceError};

impl Daemon {
    /// `commit: +path -path`, sorted.
    async fn gone(&self, head: &Commit, since: Option<&Commit>) -> Vec<(Commit, Vec<String>)> {
        let changes: Vec<Change> = self.source.deletions(head, since).await.unwrap();
        let files = |change: &Change| {
            let sign = |blob: bool| if blob { '+' } else { '-' };
            change.files.iter().map(|(path, blob)| format!("{}{path}", sign(blob.is_some()))).collect()
        };
        let mut gone: Vec<_> = changes.iter().map(|change| (change.commit.clone(), files(change))).collect();
        gone.sort();
        gone
    }
}

fn sorted<const N: usize>(expected: [(&Commit, &[&str]); N]) -> Vec<(Commit, Vec<String>)> {
    let owned = |files: &[&str]| files.iter().map(|&file| file.to_owned()).collect();
    let mut all: Vec<_> = expected.iter().map(|(commit, files)| ((*commit).clone(), owned(files))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_deletion_on_the_line_is_found_and_nothing_else() {
    let (repo, first) = Repo::with_grant();
    repo.commit(&[("grants/b.yaml", "b\n"), ("grants/a.yaml", "a2\n"), ("README.md", "x\n"), ("grants/n.md", "x\n")]);
    let deleted = repo.delete("grants/a.yaml");
    let back = repo.commit(&[("grants/a.yaml", "a\n")]);
    repo.delete("README.md");
    let last = repo.delete("grants/n.md");
    let daemon = Daemon::of(&repo).await;
    let found = sorted([(&deleted, &["-grants/a.yaml"])]);
    assert_eq!(daemon.gone(&last, Some(&first)).await, found);
    assert_eq!(daemon.gone(&last, None).await, found);
    assert_eq!(daemon.gone(&last, Some(&deleted)).await, []);
    assert_eq!(daemon.gone(&back, Some(&back)).await, []);
    let change = &daemon.source.deletions(&last, None).await.unwrap()[0];
    assert_eq!((&*change.author, change.parents), ("Ann Author <ann@corp.example>", 1));
    let absent = Commit("0123456789012345678901234567890123456789".into());
    assert_eq!(daemon.gone(&last, Some(&absent)).await, found);
    assert!(matches!(daemon.source.deletions(&absent, None).await, Err(SourceError::Missing(_))));
}

#[tokio::test]
async fn a_deletion_on_a_side_branch_is_found_behind_a_foxtrot_merge() {
    let (repo, _) = Repo::with_grant();
    let base = repo.commit(&[("grants/b.yaml", "b\n")]);
    let main = repo.commit(&[("grants/m.yaml", "m\n")]);
    repo.branch("side", &base);
    let deleted = repo.delete("grants/a.yaml");
    // main is merged into the side, which becomes main.
    let fox = repo.merge("main");
    repo.git(&["update-ref", "refs/heads/main", &fox.0]);
    let daemon = Daemon::of(&repo).await;
    assert!(!daemon.source.log(&fox, Some(&main)).await.unwrap().descends);
    let expected = sorted([(&deleted, &["-grants/a.yaml"]), (&fox, &["-grants/a.yaml"])]);
    assert_eq!(daemon.gone(&fox, Some(&main)).await, expected);
}

#[tokio::test]
async fn a_deletion_that_the_merge_takes_back_is_found_all_the_same() {
    let (repo, first) = Repo::with_grant();
    repo.branch("side", &first);
    let deleted = repo.delete("grants/a.yaml");
    repo.checkout("main");
    repo.commit(&[("grants/m.yaml", "m\n")]);
    repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "--strategy=ours", "side"]);
    let daemon = Daemon::of(&repo).await;
    assert_eq!(daemon.gone(&repo.head(), Some(&first)).await, sorted([(&deleted, &["-grants/a.yaml"])]));
}

#[tokio::test]
async fn a_merge_that_keeps_one_side_drops_what_the_other_has() {
    let (repo, first) = Repo::with_grant();
    let added = repo.commit(&[("grants/b.yaml", "b\n")]);
    let later = repo.commit(&[("grants/c.yaml", "c\n")]);
    // Of the sides only the new one is kept; the other one is old, or the last head itself.
    for (old, dropped) in [
        (&added, &["-grants/b.yaml", "+grants/s.yaml"][..]),
        (&later, &["-grants/b.yaml", "-grants/c.yaml", "+grants/s.yaml"]),
    ] {
        repo.branch("side", &first);
        repo.commit(&[("grants/s.yaml", "s\n")]);
        repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "--strategy=ours", &old.0]);
        let merge = repo.head();
        repo.git(&["update-ref", "refs/heads/main", &merge.0]);
        let daemon = Daemon::of(&repo).await;
        assert_eq!(daemon.gone(&merge, Some(&later)).await, sorted([(&merge, dropped)]));
    }
}

#[tokio::test]
async fn rewritten_history_counts_and_a_rollback_does_not() {
    let (repo, first) = Repo::with_grant();
    let second = repo.commit(&[("grants/b.yaml", "b\n")]);
    let third = repo.commit(&[("grants/c.yaml", "c\n")]);
    let daemon = Daemon::of(&repo).await;
    repo.git(&["reset", "--quiet", "--hard", &second.0]);
    assert_eq!(daemon.source.fetch().await, Ok(second.clone()));
    assert_eq!(daemon.gone(&second, Some(&third)).await, []);

    repo.git(&["reset", "--quiet", "--hard", &first.0]);
    repo.commit(&[("grants/d.yaml", "d\n")]);
    let deleted = repo.delete("grants/a.yaml");
    assert_eq!(daemon.source.fetch().await, Ok(deleted.clone()));
    assert_eq!(daemon.gone(&deleted, Some(&third)).await, sorted([(&deleted, &["-grants/a.yaml"])]));
}

#[tokio::test]
async fn a_move_shows_both_paths_and_a_change_of_kind_is_a_deletion() {
    let (repo, first) = Repo::with_grant();
    std::fs::create_dir(repo.path.join("grants/prod")).unwrap();
    repo.git(&["mv", "grants/a.yaml", "grants/prod/a.yaml"]);
    let moved = repo.commit(&[("grants/e.yaml", "e\n")]);
    std::fs::remove_file(repo.path.join("grants/e.yaml")).unwrap();
    std::os::unix::fs::symlink("x", repo.path.join("grants/e.yaml")).unwrap();
    let link = repo.commit(&[("grants/f.yaml", "f\n")]);
    // A link that goes was no grant.
    let unlinked = repo.delete("grants/e.yaml");
    repo.git(&["mv", "grants/prod/a.yaml", "grants/prod/a.txt"]);
    let away = repo.commit(&[]);
    let daemon = Daemon::of(&repo).await;
    let expected = sorted([
        (&moved, &["-grants/a.yaml", "+grants/e.yaml", "+grants/prod/a.yaml"]),
        (&link, &["-grants/e.yaml", "+grants/f.yaml"]),
        (&away, &["-grants/prod/a.yaml"]),
    ]);
    assert_eq!(daemon.gone(&away, Some(&first)).await, expected);
    assert_eq!(daemon.gone(&unlinked, Some(&link)).await, []);
}

#[tokio::test]
async fn dates_hide_nothing_and_unrelated_histories_are_read() {
    let (repo, first) = Repo::with_grant();
    let mut line = vec![repo.commit(&[("grants/b.yaml", "b\n"), ("grants/c.yaml", "c\n")])];
    for (file, date) in [("b", "9999999999"), ("c", "1"), ("a", "4070908800")] {
        let parent = line.last().unwrap().0.clone();
        repo.git(&["rm", "--quiet", "--cached", &format!("grants/{file}.yaml")]);
        let tree = repo.git(&["write-tree"]);
        let text =
            format!("tree {tree}\nparent {parent}\nauthor A <a> {date} +0000\ncommitter C <c> {date} +0000\n\nx\n");
        let arguments = ["hash-object", "-w", "-t", "commit", "--stdin"];
        line.push(Commit(repo.git_in(&repo.path, &arguments, text.as_bytes()).into()));
    }
    let head = line.last().unwrap().clone();
    repo.git(&["update-ref", "refs/heads/main", &head.0]);
    let daemon = Daemon::of(&repo).await;
    let all =
        sorted([(&line[1], &["-grants/b.yaml"]), (&line[2], &["-grants/c.yaml"]), (&line[3], &["-grants/a.yaml"])]);
    assert_eq!(daemon.gone(&head, Some(&first)).await, all);
    assert_eq!(daemon.gone(&head, Some(&line[2])).await, sorted([(&line[3], &["-grants/a.yaml"])]));

    // Another beginning, whose deletions count, and which is merged into nothing of ours.
    repo.git(&["checkout", "--quiet", "--orphan", "island"]);
    repo.commit(&[("grants/i.yaml", "i\n"), ("grants/j.yaml", "j\n")]);
    let island = repo.delete("grants/i.yaml");
    repo.git(&["update-ref", "refs/heads/main", &island.0]);
    assert_eq!(daemon.source.fetch().await, Ok(island.clone()));
    assert_eq!(daemon.gone(&island, Some(&head)).await, sorted([(&island, &["-grants/i.yaml"])]));
}
