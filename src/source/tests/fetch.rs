use std::{fs, os::unix::fs::chown, path::Path, process::Command, time::Duration};

use super::{Daemon, Repo};
use crate::model::{Oid, Source, SourceError};

pub fn unreachable(result: Result<impl std::fmt::Debug, SourceError>) -> String {
    match result {
        Err(SourceError::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn brings_the_head_and_its_files() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::new(&repo.settings());
    assert_eq!(daemon.source.fetch().await, Ok(first.clone()));
    let tree = daemon.tree(&first).await;
    let blobs: Vec<Oid> = tree.entries.iter().map(|entry| entry.blob.clone()).collect();
    assert_eq!(daemon.source.blobs(&blobs).await, Ok(vec![b"a\n".to_vec()]));

    let second = repo.commit(&[("grants/b.yaml", "b\n")]);
    assert_eq!(daemon.source.fetch().await, Ok(second.clone()));
    assert_eq!(daemon.tree(&second).await.entries.len(), 2);
}

#[tokio::test]
async fn asks_but_does_not_fetch_while_nothing_changes() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = Daemon::of(&repo).await;
    daemon.source.remote.limits.later.child.time = Duration::ZERO;
    assert_eq!(daemon.source.fetch().await, Ok(first));
    repo.commit(&[("grants/b.yaml", "b\n")]);
    assert!(unreachable(daemon.source.fetch().await).contains("did not end within 0 s"));
}

#[tokio::test]
async fn reads_nothing_before_the_first_fetch() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::new(&repo.settings());
    assert!(matches!(daemon.source.tree(&head).await, Err(SourceError::Missing(_))));
    assert!(matches!(daemon.source.log(&head, None).await, Err(SourceError::Missing(_))));
    assert!(matches!(daemon.source.resolve("HEAD").await, Err(SourceError::Missing(_))));
}

#[tokio::test]
async fn tells_a_branch_that_vanished_from_a_remote_that_did() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    // Also found by the pattern `refs/heads/main`, and another branch.
    repo.git(&["update-ref", "refs/heads/refs/heads/main", &first.0]);
    repo.git(&["branch", "--move", "main", "trunk"]);
    let Err(SourceError::NoBranch(text)) = daemon.source.fetch().await else { panic!("the branch is gone") };
    assert!(text.contains("has no branch `main`"), "{text}");
    // What was fetched stays readable.
    assert_eq!(daemon.tree(&first).await.entries.len(), 1);

    fs::remove_dir_all(&repo.path).unwrap();
    let text = unreachable(daemon.source.fetch().await);
    assert!(text.contains("does not appear to be a git repository"), "{text}");
    assert!(!text.contains("Please make sure"), "{text}");
}

#[tokio::test]
async fn an_empty_remote_has_no_branch() {
    let daemon = Daemon::new(&Repo::new().settings());
    let repo = Repo::new();
    assert!(matches!(Daemon::new(&repo.settings()).source.fetch().await, Err(SourceError::NoBranch(_))));
    assert!(matches!(daemon.source.fetch().await, Err(SourceError::Unreachable(_))), "its folder is gone");
}

#[tokio::test]
async fn keeps_what_a_rewritten_history_dropped() {
    let (repo, first) = Repo::with_grant();
    let old = repo.commit(&[("grants/b.yaml", "b\n")]);
    let daemon = Daemon::of(&repo).await;
    repo.git(&["reset", "--quiet", "--hard", &first.0]);
    let new = repo.commit(&[("grants/c.yaml", "c\n")]);
    assert_eq!(daemon.source.fetch().await, Ok(new.clone()));
    // Not even an operator's housekeeping removes it.
    repo.git_in(&daemon.bare(), &["gc", "--quiet"], b"");
    assert_eq!(daemon.tree(&old).await.entries.len(), 2);
    assert_eq!(daemon.tree(&new).await.entries.len(), 2);
}

#[tokio::test]
async fn a_path_is_no_shell_text() {
    let repo = Repo::named("it's \"a\" $(touch pwned) `touch pwned`; touch pwned & %s * \\ -x");
    let head = repo.commit(&[("grants/a.yaml", "a\n")]);
    for url in [repo.settings().url, format!("file://{}", repo.settings().url.replace('%', "%25"))] {
        let daemon = Daemon::new(&super::Settings { url, ..repo.settings() });
        assert_eq!(daemon.source.fetch().await, Ok(head.clone()));
        assert!(![daemon.bare(), "/".into(), ".".into()].iter().any(|place| place.join("pwned").exists()));
        assert!(!repo.path.join("pwned").exists());
    }
}

#[tokio::test]
async fn a_repository_of_another_user_is_read() {
    let (repo, head) = Repo::with_grant();
    let give = |path: &Path| chown(path, Some(65_534), None).is_ok();
    if !give(&repo.path) || !give(&repo.path.join(".git")) {
        return; // Only root can give files away.
    }
    assert_eq!(Daemon::new(&repo.settings()).source.fetch().await, Ok(head));
}

#[tokio::test]
async fn nothing_of_the_remote_runs() {
    let (repo, head) = Repo::with_grant();
    let state = tempfile::tempdir().unwrap();
    let mark = state.path().join("ran");
    // Would run for a fetch by a trusting git.
    repo.git(&["config", "uploadpack.packObjectsHook", &format!("touch {}", mark.display())]);
    let daemon = Daemon::new(&repo.settings());
    for hook in ["reference-transaction", "post-fetch", "post-merge"] {
        let file = daemon.bare().join("hooks").join(hook);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    assert_eq!(daemon.source.fetch().await, Ok(head));
    assert!(!mark.exists());
}

#[tokio::test]
async fn sweeps_what_a_killed_git_left() {
    let (repo, _) = Repo::with_grant();
    let state = Daemon::of(&repo).await;
    let bare = state.bare();
    let left = ["objects/pack/tmp_pack_x1", "objects/ab/tmp_obj_x2", "refs/grantd/fetched.lock", "packed-refs.lock"];
    fs::create_dir_all(state.state.path().join("git-incoming/objects/pack")).unwrap();
    fs::write(state.state.path().join("git-incoming/objects/pack/tmp_pack_x3"), "half").unwrap();
    for name in left {
        fs::create_dir_all(bare.join(name).parent().unwrap()).unwrap();
        fs::write(bare.join(name), "half").unwrap();
    }
    // A daemon that was started anew: it cannot know how the last one ended.
    let daemon = crate::source::GitSource::new(&repo.settings(), state.state.path(), None).unwrap();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    assert_eq!(daemon.fetch().await, Ok(head));
    for name in left {
        assert!(!bare.join(name).exists(), "{name}");
    }
    assert!(!state.state.path().join("git-incoming").exists());
}

#[tokio::test]
async fn a_fetch_that_is_too_large_is_refused_and_says_so() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = Daemon::of(&repo).await;
    let generous = std::mem::replace(&mut daemon.source.remote.limits.later.child.file, 32 * 1024);
    let mut noise = String::new();
    let mut state = 1_u64;
    while noise.len() < 400_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{state:x}"));
    }
    let second = repo.commit(&[("noise.txt", &noise)]);
    let text = unreachable(daemon.source.fetch().await);
    assert!(text.contains("larger than a fetch may be"), "{text}");
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(first));

    daemon.source.remote.limits.later.child.file = generous;
    daemon.forgive().await;
    assert_eq!(daemon.source.fetch().await, Ok(second));
    let left = Command::new("find").arg(daemon.bare()).args(["-name", "tmp_*"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
}

#[tokio::test]
async fn two_sources_of_one_state_take_turns() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::new(&repo.settings());
    let other = crate::source::GitSource::new(&repo.settings(), daemon.state.path(), None).unwrap();
    for round in 0..5 {
        let head = if round == 0 { head.clone() } else { repo.commit(&[("grants/a.yaml", &format!("{round}\n"))]) };
        let (one, two) = tokio::join!(daemon.source.fetch(), other.fetch());
        assert_eq!((one, two), (Ok(head.clone()), Ok(head)));
    }
}

#[tokio::test]
async fn resolves_names_and_ids() {
    let (repo, first) = Repo::with_grant();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    let daemon = Daemon::of(&repo).await;
    repo.git_in(&daemon.bare(), &["tag", "-a", "-m", "tagged", "v1", &first.0], b"");
    for (rev, commit) in [
        ("HEAD", &head),
        ("main", &head),
        (&head.0, &head),
        (first.short(), &first),
        (&first.0[..4], &first),
        ("v1", &first),
    ] {
        assert_eq!(daemon.source.resolve(rev).await.as_ref(), Ok(commit), "{rev}");
    }
    let blob = daemon.tree(&head).await.entries[0].blob.0.clone();
    for rev in
        ["", "-h", "nothing", "HEAD~1", "abc", "0000000000", &"0".repeat(40), &blob, &blob[..10], "main\0", "../x"]
    {
        let Err(SourceError::Missing(text)) = daemon.source.resolve(rev).await else { panic!("{rev:?}") };
        assert!(!text.contains('\0'));
    }
}

#[tokio::test]
async fn a_remote_that_is_not_whole_is_told_as_what_it_is() {
    let (repo, _) = Repo::with_grant();
    repo.commit(&[("grants/b.yaml", "b\n")]);
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    let from = format!("file://{}", repo.path.display());
    for (how, said) in [
        ("--depth=1", "is a shallow clone"),
        ("--filter=blob:none", "is a partial clone"),
        ("--filter=tree:0", "is a partial clone"),
    ] {
        let clone = tempfile::tempdir().unwrap();
        let path = clone.path().join("clone.git");
        repo.git(&["clone", "--quiet", "--bare", how, &from, path.to_str().unwrap()]);
        let url = format!("file://{}", path.display());
        let daemon = Daemon::new(&super::Settings { url, ..repo.settings() });
        let text = unreachable(daemon.source.fetch().await);
        assert!(text.contains(said) && text.contains("that it was made from"), "{how}: {text}");
        assert!(!text.contains("so large"), "{how}: {text}");
    }
}

#[tokio::test]
async fn packs_are_joined_and_nothing_is_lost() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = Daemon::of(&repo).await;
    daemon.source.remote.limits.packs = 4;
    let dropped = repo.commit(&[("grants/dropped.yaml", "x\n")]);
    daemon.source.fetch().await.unwrap();
    repo.git(&["reset", "--quiet", "--hard", &first.0]);
    for number in 0..12 {
        let head = repo.commit(&[("grants/a.yaml", &format!("{number}\n"))]);
        assert_eq!(daemon.source.fetch().await, Ok(head.clone()));
        assert!(daemon.source.remote.git().packs().unwrap() <= 4);
        assert_eq!(daemon.source.log(&head, None).await.unwrap().changes.len(), number + 2);
    }
    assert_eq!(daemon.tree(&dropped).await.entries.len(), 2);
}
