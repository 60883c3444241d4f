//! Throw-away repositories: what they lean on, where they lie, and what is left of them.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};

use super::{Daemon, Repo};
use crate::{
    model::Source,
    source::{GitSource, words::lacks_room},
};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder as one of ours that was left, long ago.
fn left(beside: &Path, name: &str, mode: u32) -> File {
    let folder = beside.join(name);
    fs::create_dir(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    File::open(&folder).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    lock
}

#[tokio::test]
async fn what_only_looks_leans_on_the_state_and_leaves_nothing() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    let beside = tempfile::tempdir().unwrap();
    let before = names(&daemon.bare().join("objects/pack"));
    let reader = GitSource::new(&repo.settings(), daemon.state.path(), None).unwrap();
    let reader = reader.reading().beside(vec![beside.path().to_owned()]);
    assert_eq!(reader.fetch().await, Ok(head.clone()));
    assert_eq!(reader.unkept(), None, "it was not meant to be kept");
    assert_eq!(reader.tree(&head).await.unwrap().entries.len(), 2);
    assert_eq!(reader.log(&head, Some(&first)).await.unwrap().changes.len(), 1);
    let mine = beside.path().join(&names(beside.path())[0]);
    assert_eq!(mine.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // Nothing that the state has was fetched again.
    let packs = fs::read_dir(mine.join("git/objects/pack")).unwrap();
    let bytes: u64 =
        packs.map(|file| file.unwrap()).filter(|file| file.path().extension().unwrap() == "pack").count() as u64;
    assert_eq!(bytes, 1);
    drop(reader);
    assert_eq!(names(beside.path()), Vec::<String>::new());
    assert_eq!(names(&daemon.bare().join("objects/pack")), before);
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(first), "the state's ref moved");
}

/// In a folder that is not sticky whoever may write there puts a repository of his own in the place of ours.
#[tokio::test]
async fn nothing_is_fetched_into_a_folder_where_others_may_exchange_it() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let (open, sticky) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let reader = |folders: &[&Path]| {
        let reader = GitSource::new(&repo.settings(), daemon.state.path(), None).unwrap();
        reader.reading().beside(folders.iter().map(|folder| folder.to_path_buf()).collect())
    };
    fs::set_permissions(sticky.path(), Permissions::from_mode(0o1777)).unwrap();
    for mode in [0o777, 0o775] {
        fs::set_permissions(open.path(), Permissions::from_mode(mode)).unwrap();
        let told = reader(&[open.path()]).fetch().await.unwrap_err().to_string();
        assert!(told.contains("no folder to fetch into"), "{told}");
        let reader = reader(&[open.path(), sticky.path()]);
        assert_eq!(reader.fetch().await, Ok(head.clone()));
        assert_eq!((names(open.path()).len(), names(sticky.path()).len()), (0, 1));
    }
}

/// A state that is damaged, or was never begun, is no reason to see nothing.
#[tokio::test]
async fn a_state_that_cannot_be_read_is_not_leaned_on() {
    let (repo, _) = Repo::with_grant();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    for damage in ["none", "objects", "ref"] {
        let daemon = Daemon::of(&repo).await;
        match damage {
            "none" => fs::remove_dir_all(daemon.bare()).unwrap(),
            "objects" => fs::remove_dir_all(daemon.bare().join("objects/pack")).unwrap(),
            _ => fs::write(daemon.bare().join("refs/grantd/fetched"), "").unwrap(),
        }
        let reader = GitSource::new(&repo.settings(), daemon.state.path(), None).unwrap().reading();
        assert_eq!(reader.fetch().await, Ok(head.clone()), "{damage}");
        assert_eq!(reader.log(&head, None).await.unwrap().changes.len(), 2, "{damage}");
    }
}

#[tokio::test]
async fn what_was_left_by_the_killed_is_removed_and_nothing_else() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let beside = tempfile::tempdir().unwrap();
    left(beside.path(), "grantd-git-left", 0o700);
    let held = left(beside.path(), "grantd-git-held", 0o700);
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    left(beside.path(), "grantd-git-open", 0o755);
    left(beside.path(), "somebody-else", 0o700);
    fs::create_dir(beside.path().join("grantd-git-young")).unwrap();
    fs::set_permissions(beside.path().join("grantd-git-young"), Permissions::from_mode(0o700)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), beside.path().join("grantd-git-link")).unwrap();
    left(beside.path(), "grantd-git-theirs", 0o700);
    let gone = chown(beside.path().join("grantd-git-theirs"), Some(65_534), None).is_err();
    let reader = GitSource::new(&repo.settings(), daemon.state.path(), None).unwrap();
    let reader = reader.reading().beside(vec![beside.path().to_owned()]);
    assert_eq!(reader.fetch().await, Ok(head));
    drop(reader);
    let mut stays =
        vec!["grantd-git-held", "grantd-git-link", "grantd-git-open", "grantd-git-theirs", "grantd-git-young"];
    stays.retain(|name| !gone || *name != "grantd-git-theirs");
    stays.push("somebody-else");
    assert_eq!(names(beside.path()), stays);
    assert!(elsewhere.path().is_dir());
}

#[test]
fn the_remotes_own_disk_is_no_matter_of_ours() {
    assert!(lacks_room(b"error: file write error: No space left on device\nfatal: unpack-objects failed\n"));
    assert!(lacks_room(b"fatal: unable to create '/x': Disk quota exceeded"));
    assert!(!lacks_room(b"remote: fatal: No space left on device\rremote: x\nfatal: early EOF\n"));
    assert!(!lacks_room(b"git@host: Permission denied (publickey).\n"));
}
