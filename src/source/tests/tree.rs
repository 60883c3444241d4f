use super::{Daemon, Repo};
use crate::{
    model::{Commit, Level, Oid, Source, SourceError, Tree},
    source::{MAX_BLOB, MAX_DEPTH, MAX_ENTRIES},
};

fn paths(tree: &Tree) -> Vec<&str> {
    tree.entries.iter().map(|entry| &*entry.path).collect()
}

#[tokio::test]
async fn lists_grant_files_and_nothing_else() {
    let repo = Repo::new();
    let head = repo.commit(&[
        ("grants/oncall/b.yaml", "bb\n"),
        ("grants/z.yml", "z\n"),
        ("grants/oncall-2/a.yaml", "a\n"),
        ("grants/README.md", "x"),
        ("grants/.gitkeep", ""),
        ("grants/.hidden.yaml", "x"),
        ("grants/.hidden/c.yaml", "x"),
        ("grants/notes.yaml.txt", "x"),
        ("grants/yaml", "x"),
        ("elsewhere/d.yaml", "x"),
        ("e.yaml", "x"),
    ]);
    let daemon = Daemon::of(&repo).await;
    let tree = daemon.tree(&head).await;
    assert_eq!(paths(&tree), ["grants/oncall-2/a.yaml", "grants/oncall/b.yaml", "grants/z.yml"]);
    assert_eq!(tree.findings, []);
    assert_eq!(tree.entries[1].size, 3);
    assert_eq!(&*tree.entries[1].blob.0, repo.git(&["rev-parse", "HEAD:grants/oncall/b.yaml"]));
}

#[tokio::test]
async fn reads_a_nested_folder_and_an_absent_one() {
    let repo = Repo::new();
    let head = repo.commit(&[("ops/access/grants/a.yaml", "a\n"), ("ops/b.yaml", "b\n")]);
    for (path, found) in [
        ("ops/access/grants", &["ops/access/grants/a.yaml"][..]),
        ("ops/access", &["ops/access/grants/a.yaml"]),
        ("grants", &[]),
        ("ops/b", &[]),
        ("OPS", &[]),
    ] {
        let daemon = Daemon::new(&super::Settings { path: path.into(), ..repo.settings() });
        daemon.source.fetch().await.unwrap();
        assert_eq!(paths(&daemon.tree(&head).await), found, "{path}");
    }
    let daemon = Daemon::new(&super::Settings { path: "ops/b.yaml".into(), ..repo.settings() });
    daemon.source.fetch().await.unwrap();
    assert_eq!(daemon.tree(&head).await.findings[0].message, "the grants folder is no folder");
}

#[tokio::test]
async fn what_is_no_regular_file_is_a_finding_and_the_others_go_on() {
    let (repo, first) = Repo::with_grant();
    repo.write(&[("grants/run.yaml", "x\n"), ("grants/LOUD.YAML", "x\n"), ("grants/tool.sh", "x\n")]);
    for (link, target) in [("grants/link.yaml", "a.yaml"), ("grants/link", "/etc"), ("grants/.dot", "..")] {
        std::os::unix::fs::symlink(target, repo.path.join(link)).unwrap();
    }
    repo.git(&["add", "--all"]);
    repo.git(&["update-index", "--chmod=+x", "grants/run.yaml", "grants/tool.sh"]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},grants/module")]);
    repo.git(&["commit", "--quiet", "--message=odd"]);
    let daemon = Daemon::of(&repo).await;
    let tree = daemon.tree(&repo.head()).await;
    assert_eq!(paths(&tree), ["grants/a.yaml"]);
    let told: Vec<_> = tree.findings.iter().map(|finding| (&*finding.path, finding.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("grants/.dot", "a symbolic link is not followed"),
            ("grants/LOUD.YAML", "the extension is not in lower case, so the file is not read"),
            ("grants/link", "a symbolic link is not followed"),
            ("grants/link.yaml", "a symbolic link is not followed"),
            ("grants/module", "a submodule is not read"),
            ("grants/run.yaml", "the file is executable"),
        ]
    );
    assert!(tree.findings.iter().all(|f| f.level == Level::Error && f.spot.is_none() && !f.help.is_empty()));
    assert_eq!(tree.findings[5].help, "make it a regular file: git update-index --chmod=-x grants/run.yaml");
}

#[tokio::test]
async fn names_that_no_honest_git_makes_refuse_the_revision() {
    let (repo, first) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let blob = repo.git(&["rev-parse", "HEAD:grants/a.yaml"]);
    let sub = repo.git(&["rev-parse", "HEAD:grants"]);
    let file = |name: &'static [u8]| ("100644", name, blob.as_str());
    let folder = |name: &'static [u8]| ("40000", name, sub.as_str());
    let good = file(b"good.yaml");
    for (bad, why) in [
        (vec![folder(b"..")], "leads out"),
        (vec![folder(b".")], "leads out"),
        (vec![file(b"../x.yaml")], "leads out"),
        (vec![file(b"a/b.yaml")], "leads out"),
        (vec![folder(b".git")], ".git"),
        (vec![folder(b".GiT")], ".git"),
        (vec![file(b"GIT~1")], ".git"),
        (vec![folder(b".git. .")], ".git"),
        (vec![folder(b".git::$INDEX_ALLOCATION")], ".git"),
        (vec![folder(".g\u{200c}it".as_bytes())], ".git"),
        (vec![file(b"a.yaml"), file(b"a.yaml")], "twice"),
        (vec![file(b"a.yaml"), folder(b"a.yaml")], "twice"),
        (vec![file(b"A.yaml"), file(b"a.yaml")], "twice"),
        (vec![folder(b"PROD"), folder(b"prod")], "twice"),
        (vec![file(b"A.YAML"), file(b"a.yaml")], "twice"),
        (vec![file(b"README.md"), file(b"README.md")], "twice"),
        (vec![folder(b"a.yaml"), file(b"A.yaml")], "twice"),
        (vec![folder(b".g\xffit")], ".git"),
        (vec![folder(b".git\r")], ".git"),
        (vec![("100644", b"tree.yaml", sub.as_str())], "no blob"),
        (vec![("40000", b"blob", blob.as_str())], "no tree"),
    ] {
        let grants = daemon.folder(&repo, &[vec![good], bad.clone()].concat());
        for grants in [grants.clone(), daemon.folder(&repo, &[("40000", b"deep", &grants)])] {
            let refused = daemon.refused(&daemon.commit(&repo, &grants)).await;
            assert!(refused.contains(why) && !refused.chars().any(char::is_control), "{refused}");
        }
    }
    // The folder itself has a twin.
    for twin in [&b"grants"[..], b"GRANTS"] {
        let root = daemon.folder(&repo, &[("40000", twin, &sub), ("40000", b"grants", &sub)]);
        let made = Commit(repo.git_in(&daemon.bare(), &["commit-tree", "-m", "x", &root], b"").into());
        daemon.refused(&made).await;
    }
    // The same way to make a tree, and nothing wrong with it.
    let grants = daemon.folder(&repo, &[good, folder(b"git"), file(b"..a.txt")]);
    assert_eq!(paths(&daemon.tree(&daemon.commit(&repo, &grants)).await), ["grants/git/a.yaml", "grants/good.yaml"]);
    assert_eq!(paths(&daemon.tree(&first).await), ["grants/a.yaml"]);
}

/// What is no grant file freezes nothing, whatever it is called; where somebody may expect access of it, that is an error.
#[tokio::test]
async fn odd_names_are_told_and_the_others_go_on() {
    let (repo, _) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let blob = repo.git(&["rev-parse", "HEAD:grants/a.yaml"]);
    let sub = repo.git(&["rev-parse", "HEAD:grants"]);
    let text = daemon.folder(&repo, &[("100644", b"notes.txt", &blob)]);
    let file = |name: &'static [u8]| ("100644", name, blob.as_str());
    let folder = |name: &'static [u8]| ("40000", name, sub.as_str());
    let plain = |name: &'static [u8]| ("40000", name, text.as_str());
    for (odd, told) in [
        (
            vec![file(b"README.md"), file(b"readme.md")],
            &[("README.md", Level::Warning), ("readme.md", Level::Warning)][..],
        ),
        (vec![file(b"Icon\r")], &[("Icon\\r", Level::Warning)]),
        (vec![file(b"J\xf6rg.txt")], &[("J\u{fffd}rg.txt", Level::Warning)]),
        (vec![file(b"J\xf6rg.yaml")], &[("J\u{fffd}rg.yaml", Level::Error)]),
        (vec![file(b"a\n.yaml")], &[("a\\n.yaml", Level::Error)]),
        (vec![file("a\u{85}.YAML".as_bytes())], &[("a\\u{85}.YAML", Level::Error)]),
        (vec![folder(b"b\xfcro")], &[("b\u{fffd}ro", Level::Error)]),
        (vec![folder(b"PROD"), plain(b"prod")], &[("prod", Level::Warning)]),
        (vec![plain(b"Docs"), plain(b"docs")], &[("Docs", Level::Warning), ("docs", Level::Warning)]),
        (vec![file(b"good"), file(b"GOOD")], &[("GOOD", Level::Warning), ("good", Level::Warning)]),
        (vec![file(b".X.yaml"), file(b".x.yaml")], &[(".X.yaml", Level::Warning), (".x.yaml", Level::Warning)]),
        (vec![file(b"x.yaml"), plain(b"X.yaml")], &[("X.yaml", Level::Warning)]),
    ] {
        let grants = daemon.folder(&repo, &[vec![file(b"good.yaml")], odd.clone()].concat());
        let tree = daemon.tree(&daemon.commit(&repo, &grants)).await;
        let found: Vec<_> =
            tree.findings.iter().map(|one| (one.path.trim_start_matches("grants/"), one.level)).collect();
        assert_eq!(found, told, "{odd:?}");
        assert!(paths(&tree).contains(&"grants/good.yaml"), "{odd:?}");
        assert!(!paths(&tree).iter().any(|path| path.chars().any(char::is_control)), "{odd:?}");
        // An odd name stands in no grant's way.
        let here = crate::decide::present(&tree);
        assert!(here.values().all(|paths| paths.len() == 1), "{odd:?}: {here:?}");
    }
}

#[tokio::test]
async fn a_grants_folder_by_another_name_is_told() {
    let repo = Repo::new();
    let head = repo.commit(&[("Grants/a.yaml", "a\n")]);
    let tree = Daemon::of(&repo).await.tree(&head).await;
    assert_eq!(tree.entries, []);
    assert_eq!((&*tree.findings[0].path, tree.findings[0].level), ("grants", Level::Error));
}

#[tokio::test]
async fn depth_and_number_are_limited() {
    let (repo, _) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let mut tree = repo.git(&["rev-parse", "HEAD:grants"]);
    for depth in 0..=MAX_DEPTH {
        let read = daemon.tree(&daemon.commit(&repo, &tree)).await;
        assert_eq!(read.entries.len(), 1, "{depth}");
        tree = daemon.folder(&repo, &[("40000", b"d", &tree)]);
    }
    let refused = daemon.refused(&daemon.commit(&repo, &tree)).await;
    assert!(refused.contains("8 folders deep"), "{refused}");

    // The same hundred folders in a hundred folders in a hundred folders: four objects, a million files.
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let blob = repo.git(&["rev-parse", "HEAD:grants/a.yaml"]);
    let leaf = |extension: &str| {
        let files: Vec<String> = names.iter().map(|name| format!("{name}.{extension}")).collect();
        let files: Vec<_> = files.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect();
        daemon.folder(&repo, &files)
    };
    let hundred = |of: &str| {
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), of)).collect();
        daemon.folder(&repo, &entries)
    };
    let ten_thousand = hundred(&leaf("yaml"));
    assert_eq!(daemon.tree(&daemon.commit(&repo, &ten_thousand)).await.entries.len(), 10_000);
    for bomb in [hundred(&ten_thousand), hundred(&hundred(&leaf("txt")))] {
        let refused = daemon.refused(&daemon.commit(&repo, &bomb)).await;
        assert!(refused.contains(&format!("more than {MAX_ENTRIES} files")), "{refused}");
    }
}

#[tokio::test]
async fn sizes_come_first_and_large_blobs_are_not_read() {
    let (repo, _) = Repo::with_grant();
    let most = usize::try_from(MAX_BLOB).unwrap();
    let head = repo.commit(&[("grants/big.yaml", &"x".repeat(most + 1)), ("grants/fits.yaml", &"x".repeat(most))]);
    let daemon = Daemon::of(&repo).await;
    let tree = daemon.tree(&head).await;
    let sizes: Vec<u64> = tree.entries.iter().map(|entry| entry.size).collect();
    assert_eq!(sizes, [2, MAX_BLOB + 1, MAX_BLOB]);
    let blobs: Vec<Oid> = tree.entries.iter().map(|entry| entry.blob.clone()).collect();
    assert_eq!(daemon.source.blobs(&[blobs[2].clone(), blobs[0].clone()]).await.unwrap()[1], b"a\n");
    assert!(matches!(daemon.source.blobs(&blobs).await, Err(SourceError::Bad(_))));
    let missing = Oid("0123456789012345678901234567890123456789".into());
    assert!(matches!(daemon.source.blobs(&[missing]).await, Err(SourceError::Missing(_))));
    let commit = Oid(head.0.clone());
    assert!(matches!(daemon.source.blobs(&[commit]).await, Err(SourceError::Bad(_))));
}

#[tokio::test]
async fn a_commit_is_named_in_full() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    for bad in ["", "main", head.short(), &"0".repeat(40), &repo.git(&["rev-parse", "HEAD^{tree}"])] {
        let commit = Commit(bad.into());
        assert!(matches!(daemon.source.tree(&commit).await, Err(SourceError::Missing(_))), "{bad}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_refused_and_no_trouble_of_ours() {
    let (repo, head) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let blob = repo.git(&["rev-parse", &format!("{head}:grants/a.yaml")]);
    // Git takes such a mode for 100644, fsck and all; libgit2 does not read the folder.
    let grants = daemon.folder(&repo, &[("1100644", b"a.yaml", &blob)]);
    let commit = daemon.commit(&repo, &grants);
    let refused = daemon.refused(&commit).await;
    assert!(refused.contains("cannot be read"), "{refused}");
}

/// The disk rots, descriptors run out: whatever is here can be out of reach, and nothing of that is a commit's own fault.
#[tokio::test]
async fn what_is_damaged_or_out_of_reach_here_says_nothing_of_the_commit() {
    let (repo, first) = Repo::with_grant();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    let daemon = Daemon::of(&repo).await;
    let entries = daemon.tree(&head).await.entries;
    let blobs: Vec<Oid> = entries.iter().map(|entry| entry.blob.clone()).collect();
    let (packs, away) = (daemon.bare().join("objects/pack"), daemon.bare().join("away"));
    let whole: Vec<_> = std::fs::read_dir(&packs).unwrap().map(|file| file.unwrap().path()).collect();
    let pack = whole.iter().find(|path| path.extension().is_some_and(|ending| ending == "pack")).unwrap();
    let bytes = std::fs::read(pack).unwrap();
    let sorry = |what: &str, error: SourceError| {
        assert!(matches!(error, SourceError::Unread(_) | SourceError::Missing(_)), "{what}: {error:?}");
    };
    for damage in ["away", "rotten", "empty"] {
        match damage {
            "away" => std::fs::rename(&packs, &away).unwrap(),
            "rotten" => {
                std::fs::remove_file(pack).unwrap();
                let rotten = bytes.iter().enumerate().map(|(at, byte)| if at > 12 { !byte } else { *byte });
                std::fs::write(pack, rotten.collect::<Vec<_>>()).unwrap();
            }
            _ => {
                std::fs::remove_file(pack).unwrap();
                std::fs::write(pack, b"").unwrap();
            }
        }
        sorry("tree", daemon.source.tree(&head).await.unwrap_err());
        sorry("blobs", daemon.source.blobs(&blobs).await.unwrap_err());
        sorry("log", daemon.source.log(&head, Some(&first)).await.unwrap_err());
        sorry("deletions", daemon.source.deletions(&head, Some(&first)).await.unwrap_err());
        sorry("resolve", daemon.source.resolve("HEAD").await.unwrap_err());
        if damage == "away" {
            std::fs::rename(&away, &packs).unwrap();
        } else {
            std::fs::write(pack, &bytes).unwrap();
        }
        assert_eq!(daemon.tree(&head).await.entries.len(), 2, "after {damage}");
        assert!(daemon.source.log(&head, Some(&first)).await.unwrap().descends, "after {damage}");
    }
}

/// What cannot be found looks like another history, which would freeze granting.
#[tokio::test]
async fn an_accepted_head_that_is_out_of_reach_is_no_other_history() {
    let (repo, first) = Repo::with_grant();
    let head = repo.commit(&[("grants/b.yaml", "b\n")]);
    let daemon = Daemon::of(&repo).await;
    let git = &daemon.source.remote.git();
    assert!(crate::source::log::is_on_line(git, &head, &first).await.unwrap());
    let absent = Commit("0123456789012345678901234567890123456789".into());
    assert!(!crate::source::log::is_on_line(git, &head, &absent).await.unwrap());
    assert!(!daemon.source.log(&head, Some(&absent)).await.unwrap().descends);
    assert!(matches!(crate::source::log::is_on_line(git, &absent, &first).await, Err(SourceError::Unread(_))));
}
