use std::fs;

use super::{Daemon, Repo, fetch::unreachable, http::over_http};
use crate::model::{Commit, Source, SourceError};

/// A commit that no branch holds, as the head of a closed pull request.
fn hidden(repo: &Repo, first: &Commit) -> Commit {
    repo.branch("review", first);
    let head = repo.commit(&[("grants/r.yaml", "r\n")]);
    repo.checkout("main");
    repo.git(&["branch", "--quiet", "-D", "review"]);
    head
}

#[tokio::test]
async fn a_commit_that_no_branch_holds_is_brought_by_its_id() {
    let (repo, first) = Repo::with_grant();
    let review = hidden(&repo, &first);
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    for daemon in [Daemon::new(&repo.settings()), over_http(&repo)] {
        daemon.source.fetch().await.unwrap();
        assert!(matches!(daemon.source.tree(&review).await, Err(SourceError::Missing(_))));
        assert_eq!(daemon.source.bring(&review).await, Ok(()));
        assert_eq!(daemon.tree(&review).await.entries.len(), 2);
        assert_eq!(daemon.source.resolve("HEAD").await, Ok(first.clone()));
        let kept = repo.git_in(&daemon.bare(), &["for-each-ref", "--format=%(refname)"], b"");
        assert_eq!(kept, format!("refs/grantd/fetched\nrefs/grantd/review/{review}"));
        assert!(!daemon.state.path().join("git-incoming").exists());
        // It is here: nobody is asked.
        let path = repo.path.with_file_name("moved");
        fs::rename(&repo.path, &path).unwrap();
        assert_eq!(daemon.source.bring(&review).await, Ok(()));
        assert_eq!(daemon.source.bring(&first).await, Ok(()));
        fs::rename(&path, &repo.path).unwrap();
    }
}

#[tokio::test]
async fn what_is_not_handed_out_is_said() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let absent = Commit("0123456789012345678901234567890123456789".into());
    let told = unreachable(daemon.source.bring(&absent).await);
    assert!(told.contains(&format!("does not hand out the commit {absent}")), "{told}");
    assert!(told.contains("allowAnySHA1InWant"), "{told}");
    for bad in ["", "main", "-x", first.short(), "+refs/heads/*:refs/heads/*", "HEAD"] {
        assert!(matches!(daemon.source.bring(&Commit(bad.into())).await, Err(SourceError::Missing(_))), "{bad}");
    }
    // A tree is no commit.
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let tree = Commit(repo.commit(&[("grants/new.yaml", "n\n")]).0);
    let tree = Commit(repo.git(&["rev-parse", &format!("{tree}^{{tree}}")]).into());
    assert!(unreachable(daemon.source.bring(&tree).await).contains("is no commit"));
    fs::remove_dir_all(&repo.path).unwrap();
    let told = unreachable(daemon.source.bring(&Commit("1".repeat(40).as_str().into())).await);
    assert!(told.contains("does not appear to be a git repository"), "{told}");
}

#[tokio::test]
async fn what_is_brought_meets_the_same_cage() {
    let (repo, first) = Repo::with_grant();
    let review = hidden(&repo, &first);
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let mut daemon = Daemon::of(&repo).await;
    daemon.source.remote.limits.later.objects = 3;
    let told = unreachable(daemon.source.bring(&review).await);
    assert!(told.contains("more than 3 objects"), "{told}");
    assert!(matches!(daemon.source.tree(&review).await, Err(SourceError::Missing(_))));
    daemon.source.remote.limits.later.objects = 4;
    assert_eq!(unreachable(daemon.source.bring(&review).await), told);
    daemon.forgive().await;
    assert_eq!(daemon.source.bring(&review).await, Ok(()));
}
