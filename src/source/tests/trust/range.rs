use super::*;
use crate::{
    model::{Proof, Said, Signature, Source, SourceError},
    source::{GitSource, tests::Daemon},
};

/// What the daemon finds of a commit of this repository, by this list.
fn proof(repo: &Repo, commit: &Commit, keys: &Keys) -> Proof {
    let signers = Signers::load(keys).unwrap();
    let bare = repo.path.join(".git");
    let mut proofs = crate::source::trust::facts(
        &bare,
        std::slice::from_ref(commit),
        "grants",
        &signers,
        now(),
        &mut Default::default(),
    )
    .unwrap();
    proofs.pop().unwrap()
}

fn texts(proof: &Proof) -> Vec<&str> {
    proof.differs.iter().map(|path| &**path).collect()
}

/// A branch with one commit by `bob`, to be merged into `main`, where `ann` has one.
struct Two {
    repo: Repo,
    ann: Pair,
    bob: Pair,
    keys: Keys,
    base: Commit,
    tip: Commit,
    _shelf: Shelf,
}

impl Two {
    fn new() -> Self {
        let (shelf, repo) = (Shelf::new(), Repo::new());
        let (ann, bob) = (shelf.ed25519("ann"), shelf.ed25519("bob"));
        let keys = shelf.signers(&(ann.line("") + &bob.line("")));
        let base = repo.signed(&ann, &[("grants/a.yaml", "a\n"), ("grants/b.yaml", "b\n"), ("README", "r\n")]);
        repo.branch("topic", &base);
        let tip = repo.signed(&bob, &[("grants/c.yaml", "c\n"), ("grants/deep/d.yaml", "d\n")]);
        repo.checkout("main");
        Self { _shelf: shelf, repo, ann, bob, keys, base, tip }
    }

    fn proof(&self, commit: &Commit) -> Proof {
        proof(&self.repo, commit, &self.keys)
    }

    /// A signed merge of `topic` with the files of the working tree.
    fn evil(&self, files: &[(&str, &str)]) -> Commit {
        self.repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
        self.repo.signed(&self.ann, files)
    }
}

#[test]
fn a_merge_tells_who_signed_what_it_brought_in() {
    let two = Two::new();
    let merge = two.repo.signed_merge(&two.ann, "topic");
    let expected = Proof {
        commit: merge.clone(),
        parents: 2,
        signature: Signature::By(two.ann.name()),
        signers: [two.bob.name()].into(),
        unsigned: None,
        differs: Vec::new(),
        forge: Said::Unasked,
        until: None,
    };
    assert_eq!(two.proof(&merge), expected);
    let plain = two.proof(&two.base);
    assert_eq!((plain.parents, plain.signers.len(), plain.unsigned, plain.differs.len()), (0, 0, None, 0));
    // Fast-forwarded, there is no merge: the tip stands for itself.
    let tip = two.proof(&two.tip);
    assert_eq!((tip.parents, tip.signature, tip.signers.len()), (1, Signature::By(two.bob.name()), 0));
}

#[test]
fn an_unsigned_commit_under_a_signed_merge_is_named() {
    let two = Two::new();
    two.repo.checkout("topic");
    let bad = two.repo.commit(&[("grants/e.yaml", "e\n")]);
    two.repo.signed(&two.bob, &[("grants/f.yaml", "f\n")]);
    two.repo.checkout("main");
    let merge = two.repo.signed_merge(&two.ann, "topic");
    let proof = two.proof(&merge);
    assert_eq!(proof.signature, Signature::By(two.ann.name()));
    assert_eq!(
        proof.unsigned.as_deref(),
        Some(&*format!("the commit {bad}, which it brings in, carries no signature"))
    );
    assert_eq!(proof.signers, [two.bob.name()].into());
}

#[test]
fn a_merge_within_the_branch_hides_nothing() {
    let two = Two::new();
    two.repo.branch("side", &two.base);
    let bad = two.repo.commit(&[("grants/e.yaml", "e\n")]);
    two.repo.checkout("topic");
    two.repo.signed_merge(&two.bob, "side");
    two.repo.checkout("main");
    two.repo.signed(&two.ann, &[("README", "new\n")]);
    let merge = two.repo.signed_merge(&two.ann, "topic");
    assert!(two.proof(&merge).unsigned.unwrap().contains(&*bad.0));
}

#[test]
fn dates_do_not_lead_the_walk() {
    for (first, second) in [(0, 4_070_908_800_i64), (4_070_908_800, 0)] {
        let two = Two::new();
        // Unsigned commits with odd dates on the branch, and one on the line that is merged into.
        let dated = |date: i64, name: &str| {
            two.repo.write(&[(&*format!("grants/{name}.yaml"), name)]);
            let tree = two.repo.git(&["write-tree"]);
            let parent = two.repo.head();
            let raw = format!(
                "tree {tree}\nparent {parent}\nauthor A <a@b> {date} +0000\ncommitter A <a@b> {date} +0000\n\nx\n"
            );
            let commit = two.repo.put(raw.as_bytes());
            two.repo.git(&["reset", "--quiet", "--hard", &commit.0]);
            commit
        };
        two.repo.checkout("topic");
        let hidden = dated(first, "hidden");
        dated(second, "above");
        two.repo.signed(&two.bob, &[("grants/top.yaml", "t\n")]);
        two.repo.checkout("main");
        let old = dated(first, "main");
        dated(second, "main2");
        let merge = two.repo.signed_merge(&two.ann, "topic");
        let signers = Signers::load(&two.keys).unwrap();
        let bare = two.repo.path.join(".git");
        let repo = git2::Repository::open(&bare).unwrap();
        let odb = repo.odb().unwrap();
        let parents: Vec<git2::Oid> =
            repo.find_commit(git2::Oid::from_str(&merge.0).unwrap()).unwrap().parent_ids().collect();
        let found = crate::source::trust::brought(&odb, &parents);
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let listed = two.repo.git(&["rev-list", "main^1..main^2"]);
        let mut listed: Vec<&str> = listed.lines().collect();
        found.sort();
        listed.sort();
        assert_eq!(found, listed);
        assert!(found.contains(&hidden.to_string()) && !found.contains(&old.to_string()));
        // In any order of asking.
        let line: Vec<Commit> =
            two.repo.git(&["rev-list", "--first-parent", "main"]).lines().map(|id| Commit(id.into())).collect();
        // What was learnt by one question must not change the answer to the next.
        let mut reach = Default::default();
        let mut ask =
            |line: &[Commit]| crate::source::trust::facts(&bare, line, "grants", &signers, now(), &mut reach).unwrap();
        let forth = ask(&line);
        let mut back = ask(&line.iter().rev().cloned().collect::<Vec<_>>());
        back.reverse();
        assert_eq!(forth, back);
        assert!(forth[0].unsigned.is_some());
        // What lies behind the first parent is not brought in a second time.
        two.repo.branch("late", &old);
        two.repo.signed(&two.bob, &[("grants/late.yaml", "l\n")]);
        two.repo.checkout("main");
        let merge = two.repo.signed_merge(&two.ann, "late");
        assert_eq!((two.proof(&merge).unsigned, two.proof(&merge).signers), (None, [two.bob.name()].into()));
    }
}

#[test]
fn a_merge_with_content_of_neither_parent_differs() {
    let two = Two::new();
    let merge = two.evil(&[("grants/c.yaml", "evil\n")]);
    let proof = two.proof(&merge);
    assert_eq!((texts(&proof), proof.unsigned.clone()), (vec!["grants/c.yaml"], None));
    // What is told is what git itself sees.
    assert!(two.repo.git(&["diff", "--name-only", "main", "main^2", "--", "grants"]).contains("grants/c.yaml"));
}

#[test]
fn what_a_merge_may_and_may_not_change() {
    // Deleted in the merge alone, new in it, changed from the first parent's, its mode changed, below a new folder.
    let two = Two::new();
    two.repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
    fs::remove_file(two.repo.path.join("grants/a.yaml")).unwrap();
    fs::set_permissions(two.repo.path.join("grants/b.yaml"), fs::Permissions::from_mode(0o755)).unwrap();
    let merge = two.repo.signed(
        &two.ann,
        &[
            ("grants/new.yaml", "n\n"),
            ("grants/far/x.yml", "x\n"),
            ("grants/.hidden/y.yaml", "y\n"),
            ("grants/note.txt", "t\n"),
            ("README", "z\n"),
        ],
    );
    let proof = two.proof(&merge);
    assert_eq!(texts(&proof), ["grants/a.yaml", "grants/b.yaml", "grants/far/x.yml", "grants/new.yaml"]);
    // A file of the branch that the merge leaves out is as it was before.
    let two = Two::new();
    two.repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
    fs::remove_file(two.repo.path.join("grants/c.yaml")).unwrap();
    let merge = two.repo.signed(&two.ann, &[]);
    assert_eq!(texts(&two.proof(&merge)), [""; 0]);
    // Deleted on the branch, and so in the merge.
    let two = Two::new();
    two.repo.checkout("topic");
    fs::remove_file(two.repo.path.join("grants/a.yaml")).unwrap();
    two.repo.signed(&two.bob, &[]);
    two.repo.checkout("main");
    let merge = two.repo.signed_merge(&two.ann, "topic");
    assert_eq!(texts(&two.proof(&merge)), [""; 0]);
    // A folder that became a file, and the other way around.
    let two = Two::new();
    two.repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
    fs::remove_dir_all(two.repo.path.join("grants/deep")).unwrap();
    fs::remove_file(two.repo.path.join("grants/b.yaml")).unwrap();
    let merge = two.repo.signed(&two.ann, &[("grants/deep", "file\n"), ("grants/b.yaml/in.yaml", "i\n")]);
    assert_eq!(texts(&two.proof(&merge)), ["grants/b.yaml", "grants/b.yaml/in.yaml"]);
}

#[test]
fn both_sides_changed_and_joined_by_git_differ() {
    let two = Two::new();
    let lines = |first: &str, last: &str| format!("{first}\n1\n2\n3\n4\n5\n6\n7\n{last}\n");
    two.repo.signed(&two.ann, &[("grants/a.yaml", &lines("a", "z"))]);
    two.repo.git(&["branch", "--force", "topic", "main"]);
    two.repo.signed(&two.ann, &[("grants/a.yaml", &lines("b", "z"))]);
    two.repo.checkout("topic");
    two.repo.signed(&two.bob, &[("grants/a.yaml", &lines("a", "y"))]);
    two.repo.checkout("main");
    let merge = two.repo.signed_merge(&two.ann, "topic");
    assert_eq!(texts(&two.proof(&merge)), ["grants/a.yaml"]);
}

#[test]
fn an_octopus_tells_of_all_that_it_brought() {
    let two = Two::new();
    two.repo.branch("third", &two.base);
    let bad = two.repo.commit(&[("grants/e.yaml", "e\n")]);
    two.repo.checkout("main");
    two.repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "topic", "third"]);
    let proof = two.proof(&two.repo.head());
    assert_eq!((proof.parents, proof.signers.clone(), texts(&proof).len()), (3, [two.bob.name()].into(), 0));
    assert!(proof.unsigned.unwrap().contains(&*bad.0));
}

#[test]
fn what_a_forge_squashed_is_compared_with_the_head() {
    let two = Two::new();
    let bare = two.repo.path.join(".git");
    two.repo.git(&["merge", "--quiet", "--squash", "topic"]);
    let squash = two.repo.commit(&[]);
    let differs = |commit: &Commit, head: &Commit, folder: &str| {
        let (signers, mut reach) = (Signers::default(), Default::default());
        crate::source::trust::reviewed(&bare, commit, head, folder, &signers, now(), &mut reach).unwrap().0
    };
    assert_eq!(differs(&squash, &two.tip, "grants"), [""; 0].map(Text::from));
    let more = two.repo.commit(&[("grants/c.yaml", "slipped in\n"), ("grants/g.yaml", "g\n")]);
    let found = differs(&more, &two.tip, "grants");
    assert_eq!(found, ["grants/c.yaml", "grants/g.yaml"].map(Text::from));
    // The first commit of all changed everything.
    assert_eq!(differs(&two.base, &two.base, "grants"), [""; 0].map(Text::from));
    assert_eq!(differs(&two.base, &squash, "absent"), [""; 0].map(Text::from));
}

#[tokio::test]
async fn names_that_no_git_makes_differ() {
    let (repo, _) = Repo::with_grant();
    let daemon = Daemon::of(&repo).await;
    let blob = daemon.object(&repo, "blob", b"evil\n");
    let old = daemon.object(&repo, "blob", b"old\n");
    let empty = daemon.folder(&repo, &[]);
    let (base, second) = (daemon.commit(&repo, &empty), daemon.commit(&repo, &empty));
    assert_ne!(base, second);
    for (entries, name) in [
        (vec![("100644", &b"a.yaml"[..], &*blob), ("100644", b"a.yaml", &*old)], "grants/a.yaml"),
        (vec![("40000", b"x.yaml", &*empty), ("100644", b"x.yaml", &*old)], "grants/x.yaml"),
        (vec![("120000", b"link.yaml", &*blob)], "grants/link.yaml"),
        (vec![("160000", b"sub.yaml", &*base.0)], "grants/sub.yaml"),
    ] {
        let grants = daemon.folder(&repo, &entries);
        let commit = daemon.commit(&repo, &grants);
        let root = repo.git_in(&daemon.bare(), &["rev-parse", &format!("{commit}^{{tree}}")], b"");
        let merge =
            repo.git_in(&daemon.bare(), &["commit-tree", "-m", "m", "-p", &base.0, "-p", &second.0, &root], b"");
        let proofs = daemon.source.prove(&[Commit(merge.into())], now()).await.unwrap();
        assert_eq!(proofs[0].differs, [name.into()], "{name}");
    }
    // The grants folder itself twice.
    let one = daemon.folder(&repo, &[("100644", b"a.yaml", &blob)]);
    let root = daemon.folder(&repo, &[("40000", b"grants", &one), ("40000", b"grants", &empty)]);
    let merge = repo.git_in(&daemon.bare(), &["commit-tree", "-m", "m", "-p", &base.0, "-p", &second.0, &root], b"");
    let proofs = daemon.source.prove(&[Commit(merge.into())], now()).await.unwrap();
    assert_eq!(proofs[0].differs, ["grants".into()]);
}

#[tokio::test]
async fn a_source_reads_its_keys_anew_each_time() {
    let (shelf, repo) = (Shelf::new(), Repo::new());
    let (ann, bob) = (shelf.ed25519("ann"), shelf.ed25519("bob"));
    let head = repo.signed(&ann, &[("grants/a.yaml", "a\n")]);
    let asked = [head.clone()];
    let state = tempfile::tempdir().unwrap();
    let plain = GitSource::new(&repo.settings(), state.path(), None).unwrap();
    plain.fetch().await.unwrap();
    assert_eq!(plain.trust(), Ok("".into()));
    let why = Signature::Bad("is not looked at: no keys are configured".into());
    assert_eq!(plain.prove(&asked, now()).await.unwrap()[0].signature, why);
    let keys = shelf.signers(&ann.line(""));
    let source = plain.trusting(&keys);
    let first = source.trust().unwrap();
    assert_eq!(first.len(), 64);
    assert_eq!(source.prove(&asked, now()).await.unwrap()[0].signature, Signature::By(ann.name()));
    shelf.signers(&bob.line(""));
    assert_ne!(source.trust().unwrap(), first);
    assert!(matches!(source.prove(&asked, now()).await.unwrap()[0].signature, Signature::Bad(_)));
    shelf.signers("garbage");
    assert!(source.trust().unwrap_err().contains("signers, line 1: "));
    assert!(matches!(source.prove(&asked, now()).await, Err(SourceError::Unread(_))));
    let missing = Commit("0123456789".repeat(4).into());
    shelf.signers(&ann.line(""));
    // What is gone from the repository proves nothing, and keeps no other from it.
    let mut both = vec![missing];
    both.extend(asked.iter().cloned());
    let proofs = source.prove(&both, now()).await.unwrap();
    assert!(matches!(&proofs[0].signature, Signature::Bad(why) if why.contains("cannot be looked at")));
    assert_eq!(proofs[1].signature, Signature::By(ann.name()));
    let tree = Commit(repo.git(&["rev-parse", "HEAD^{tree}"]).into());
    assert!(matches!(source.prove(&[tree], now()).await.unwrap()[0].signature, Signature::Bad(_)));
}
