//! Signatures: a range of 1,000 signed commits, and one merge, over a history of 50,000.

use std::{fmt::Write as _, io::Write as _, path::Path, process::Command, time::Duration};

use git2::{ObjectType, Oid, Repository};
use grantd::{
    command::setup,
    model::{Commit, Signature, Source},
    source::Keys,
};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, private::Ed25519Keypair};

use crate::{
    report::{Runs, row, timed},
    town::{self, Repo},
};

const FILES: usize = 10_000;
const HISTORY: usize = 50_000;
/// Merges, each of a branch of nine commits.
const MERGES: usize = 100;
const BRANCH: usize = 9;

pub fn measure() {
    setup::runtime().unwrap().block_on(range());
}

async fn range() {
    let folder = tempfile::tempdir().unwrap();
    let mut repo = Repo::new(folder.path().join("origin.git"));
    repo.merge_grants(FILES);
    history(&repo.path);
    let people: Vec<PrivateKey> = (0..5).map(|seed| PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))).collect();
    let merges = merges(&repo.path, &people);
    let list = folder.path().join("signers");
    let lines = people.iter().map(|key| format!("someone {}\n", PublicKey::from(key).to_openssh().unwrap()));
    std::fs::write(&list, lines.collect::<String>()).unwrap();
    let keys = Keys { signers: Some(list), ..Keys::default() };
    let source = repo.source(&folder.path().join("state")).trusting(&keys);
    source.fetch().await.unwrap();
    let mut whole = Vec::new();
    for _ in 0..5 {
        let begin = std::time::Instant::now();
        let proofs = source.prove(&merges, town::nine()).await.unwrap();
        whole.push(begin.elapsed());
        assert_eq!(proofs.len(), MERGES);
        let good = |signature: &Signature| matches!(signature, Signature::By(_));
        assert!(
            proofs.iter().all(|proof| good(&proof.signature) && proof.unsigned.is_none() && proof.signers.len() == 4)
        );
        assert!(proofs.iter().all(|proof| proof.differs.is_empty()));
    }
    let runs = Runs::new(whole);
    let what = "1,000 signed commits (Ed25519, 100 merges) above a history of 50,000, on one core: signatures, signers, contents";
    row(what, "< 1 s", &runs.to_string(), runs.median() < Duration::from_secs(1));
    let mut one = Vec::new();
    for merge in merges.iter().rev().take(5) {
        let begin = std::time::Instant::now();
        source.prove(std::slice::from_ref(merge), town::nine()).await.unwrap();
        one.push(begin.elapsed());
    }
    row("one of these merges alone", "", &Runs::new(one).to_string(), true);
    let (time, trust) = timed(|| source.trust().unwrap());
    assert_eq!(trust.len(), 64);
    row("the digest of the keys", "", &crate::report::short(time), true);
}

/// Commits that change nothing.
fn history(bare: &Path) {
    let mut stream = String::new();
    for number in 0..HISTORY {
        let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
        let date = 1_700_000_000 + number;
        writeln!(
            stream,
            "commit refs/heads/main\ncommitter Ann <ann@corp.example> {date} +0000\ndata 5\nOlder\n{from}"
        )
        .unwrap();
    }
    let mut git = Command::new("git");
    let git = git.arg("--git-dir").arg(bare).args(["fast-import", "--quiet"]).stdin(std::process::Stdio::piped());
    let mut git = git.spawn().unwrap();
    git.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
}

/// Signed merges of signed branches, oldest first: each commit of a branch changes one grant file.
fn merges(bare: &Path, people: &[PrivateKey]) -> Vec<Commit> {
    let repo = Repository::open_bare(bare).unwrap();
    let mut head = repo.refname_to_id("refs/heads/main").unwrap();
    let mut made = Vec::new();
    let mut number = 0;
    for _ in 0..MERGES {
        let mut tip = head;
        for _ in 0..BRANCH {
            let text = town::grant(number).replace("ttl: 4h", "ttl: 3h");
            let tree = with(&repo, repo.find_commit(tip).unwrap().tree_id(), &town::path(number), text.as_bytes());
            tip = signed(&repo, tree, &[tip], &people[1 + number % 4]);
            number += 1;
        }
        head = signed(&repo, repo.find_commit(tip).unwrap().tree_id(), &[head, tip], &people[0]);
        made.push(Commit(head.to_string().into()));
    }
    repo.reference("refs/heads/main", head, true, "merged").unwrap();
    made
}

/// The tree with one file more.
fn with(repo: &Repository, tree: Oid, path: &str, text: &[u8]) -> Oid {
    let tree = repo.find_tree(tree).unwrap();
    let mut builder = repo.treebuilder(Some(&tree)).unwrap();
    match path.split_once('/') {
        Some((folder, rest)) => {
            let below = tree.get_name(folder).unwrap().id();
            builder.insert(folder, with(repo, below, rest, text), 0o040_000).unwrap();
        }
        None => {
            builder.insert(path, repo.blob(text).unwrap(), 0o100_644).unwrap();
        }
    }
    builder.write().unwrap()
}

fn signed(repo: &Repository, tree: Oid, parents: &[Oid], key: &PrivateKey) -> Oid {
    let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
    let person = "Ann <ann@corp.example> 1790000000 +0000";
    let headers = format!("tree {tree}\n{parents}author {person}\ncommitter {person}\n");
    let message = "\nMore access for the release of the evening\n";
    let signature = key.sign("git", HashAlg::Sha512, format!("{headers}{message}").as_bytes()).unwrap();
    let signature = signature.to_pem(LineEnding::LF).unwrap().trim_end().replace('\n', "\n ");
    let raw = format!("{headers}gpgsig {signature}\n{message}");
    repo.odb().unwrap().write(ObjectType::Commit, raw.as_bytes()).unwrap()
}
