//! Packs that unfold, and what is left of them.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Daemon, Repo, fetch::unreachable, http::over_http, watch::Watch};
use crate::{
    model::{Commit, Oid, Source, SourceError},
    source::{caps::Caps, refusals::Refusals},
};

const GIB: usize = 1 << 30;
/// The id of a blob of so many zeros.
const ZEROS: &str = "4fce05a4e4ed8cefef2d99f32c519b2fd7841b74";

fn sha1(bytes: &[u8]) -> Vec<u8> {
    let mut sum = Command::new("sha1sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = sum.stdin.take().unwrap();
    input.write_all(bytes).unwrap();
    drop(input);
    let text = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    git2::Oid::from_str(&text[..40]).unwrap().as_bytes().to_vec()
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }))
        .collect();
    !bytes.iter().fold(u32::MAX, |crc, byte| table[((crc ^ u32::from(*byte)) & 255) as usize] ^ (crc >> 8))
}

/// So many zeros as zlib has them, by fixed codes: one zero, and again and again 258 more.
fn zeros(count: usize) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let (mut held, mut bits) = (0_u64, 0);
    let mut put = |code: u64, length: u32| {
        held |= code << bits;
        bits += length;
        while bits >= 8 {
            out.push((held & 255) as u8);
            held >>= 8;
            bits -= 8;
        }
    };
    let (literal, longest) = (0b0000_1100, 0b1010_0011); // Codes are read from their other end.
    put(0b011, 3);
    (0..1 + (count - 1) % 258).for_each(|_| put(literal, 8));
    (0..(count - 1) / 258).for_each(|_| put(longest, 13));
    put(0, 7); // The end.
    let used = 3 + 8 * (1 + (count - 1) % 258) + 13 * ((count - 1) / 258) + 7;
    put(0, ((8 - used % 8) % 8) as u32);
    let adler = ((count % 65_521) as u32) << 16 | 1;
    out.extend(adler.to_be_bytes());
    out
}

/// Puts a commit on the branch that holds 1 GiB of zeros beside the grants. Git would take ten seconds to make it.
fn plant(repo: &Repo) -> Commit {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    let begin = pack.len();
    let mut size = GIB >> 4;
    pack.push(0x80 | 3 << 4 | (GIB & 15) as u8);
    while size > 0 {
        pack.push((size & 127) as u8 | if size > 127 { 128 } else { 0 });
        size >>= 7;
    }
    pack.extend(zeros(GIB));
    let crc = crc32(&pack[begin..]);
    let sum = sha1(&pack);
    pack.extend(&sum);
    let id = git2::Oid::from_str(ZEROS).unwrap();
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    (0..256).for_each(|first| index.extend(u32::from(first >= id.as_bytes()[0].into()).to_be_bytes()));
    index.extend(id.as_bytes());
    index.extend(crc.to_be_bytes());
    index.extend(12_u32.to_be_bytes());
    index.extend(&sum);
    let sum = sha1(&index);
    index.extend(&sum);
    let place = repo.path.join(".git/objects/pack");
    fs::write(place.join(format!("pack-{ZEROS}.pack")), pack).unwrap();
    fs::write(place.join(format!("pack-{ZEROS}.idx")), index).unwrap();
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{ZEROS},big")]);
    let tree = repo.git(&["write-tree"]);
    let commit = repo.git(&["commit-tree", "-p", "HEAD", "-m", "bomb", &tree]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    Commit(commit.into())
}

fn nothing_is_left(daemon: &Daemon) {
    assert!(!daemon.state.path().join("git-incoming").exists());
    let packs = daemon.bare().join("objects/pack");
    assert_eq!(fs::read_dir(packs).unwrap().count(), 3, "one pack with its two indexes");
}

#[tokio::test]
async fn a_gibibyte_of_zeros_is_refused_by_the_processor_time() {
    let (repo, first) = Repo::with_grant();
    let daemon = over_http(&repo);
    assert_eq!(daemon.source.fetch().await, Ok(first.clone()));
    let bomb = plant(&repo);
    let watch = Watch::new(daemon.state.path());
    let begin = Instant::now();
    let told = unreachable(daemon.source.fetch().await);
    let time = begin.elapsed();
    let seen = watch.end();
    let (peak, ticks) = (seen.iter().map(|one| one.peak).sum::<u64>(), seen.iter().map(|one| one.ticks).max());
    println!("refused after {time:?}; {peak} KiB in {} processes; {ticks:?} ticks in one: {told}", seen.len());
    assert!(peak < 128 * 1024, "{seen:?}");
    // A machine that unfolds it in less than that refuses it for its size.
    assert!(
        told.contains("more than 3 s of processor time") || told.contains("1073741824 bytes when unpacked"),
        "{told}"
    );
    assert!(told.contains("what was granted still ends") && told.contains("fetch all anew"), "{told}");
    assert!(ticks.unwrap() <= 450, "{seen:?}");
    nothing_is_left(&daemon);
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(first.clone()));

    // The next poll only asks, and says the same.
    let watch = Watch::new(daemon.state.path());
    assert_eq!(unreachable(daemon.source.fetch().await), told);
    assert!(!watch.end().iter().any(|one| one.arguments.contains("git-incoming")), "it was fetched again");
    // Asked for by its id it is the same.
    assert_eq!(unreachable(daemon.source.bring(&bomb).await), told);
    // Another head is fetched at once.
    repo.git(&["read-tree", &first.0]);
    repo.git(&["update-ref", "refs/heads/main", &first.0]);
    let honest = repo.commit(&[("grants/b.yaml", "b\n")]);
    assert_eq!(daemon.source.fetch().await, Ok(honest));
}

#[tokio::test]
async fn a_large_object_is_refused_by_its_size_and_the_first_fetch_takes_it() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = Daemon::of(&repo).await;
    daemon.source.remote.limits.later.object = Some(1_000_000);
    let zeros = |count: usize| "\0".repeat(count);
    let fits = repo.commit(&[("fits.bin", &zeros(1_000_000))]);
    assert_eq!(daemon.source.fetch().await, Ok(fits.clone()));
    // A delta of few bytes, also when the file is one that came before.
    let large = repo.commit(&[("fits.bin", &zeros(1_000_001))]);
    let told = unreachable(daemon.source.fetch().await);
    assert!(told.contains("has 1000001 bytes when unpacked, and 1000000 are the most"), "{told}");
    assert!(!daemon.state.path().join("git-incoming").exists());
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(fits));
    let blob = Oid(repo.git(&["rev-parse", "HEAD:fits.bin"]).into());
    assert!(daemon.source.blobs(&[blob]).await.unwrap_err().to_string().contains("is not in the local repository"));
    // The operator's way out, and an honest repository from the beginning.
    let other = Daemon::new(&repo.settings());
    assert_eq!(other.source.fetch().await, Ok(large));
    assert_eq!(other.source.log(&repo.head(), Some(&first)).await.unwrap().changes, []);
}

#[tokio::test]
async fn many_objects_and_many_bytes_are_refused() {
    let (repo, first) = Repo::with_grant();
    let mut daemon = Daemon::of(&repo).await;
    let usual = daemon.source.remote.limits.later;
    let names: Vec<String> = (0..100).map(|number| format!("files/{number}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let many = repo.commit(&files);
    // A commit, two folders, a hundred files; what was there before is not sent again.
    daemon.source.remote.limits.later.objects = 102;
    let told = unreachable(daemon.source.fetch().await);
    assert!(told.contains("more than 102 objects"), "{told}");
    daemon.source.remote.limits.later = Caps { pack: 1000, ..usual };
    daemon.forgive().await;
    let told = unreachable(daemon.source.fetch().await);
    assert!(told.contains("and 1000 may come at once"), "{told}");
    assert_eq!(daemon.source.resolve("HEAD").await, Ok(first));
    daemon.source.remote.limits.later = Caps { objects: 103, ..usual };
    daemon.forgive().await;
    assert_eq!(daemon.source.fetch().await, Ok(many));
}

#[test]
fn what_was_refused_is_asked_for_less_and_less() {
    let mut refusals = Refusals::default();
    let mut now = tokio::time::Instant::now();
    let commit = |number: usize| Commit(format!("{number:040x}").into());
    let refuse = || SourceError::Unreachable("no".into());
    let second = Duration::from_secs(1);
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let told = refusals.note(&commit(1), refuse(), now);
        now += second * 60 * minutes - second;
        assert_eq!(refusals.pass(&commit(1), now), Err(told));
        assert_eq!(refusals.pass(&commit(2), now), Ok(()));
        now += second;
        assert_eq!(refusals.pass(&commit(1), now), Ok(()));
    }
    refusals.note(&commit(1), refuse(), now);
    refusals.forget(&commit(1));
    assert_eq!(refusals.pass(&commit(1), now), Ok(()));
    // What is wrong with our own disk is no reason to wait.
    refusals.note(&commit(1), SourceError::Unread("disk".into()), now);
    assert_eq!(refusals.pass(&commit(1), now), Ok(()));
    (0..1000).for_each(|number| drop(refusals.note(&commit(number), refuse(), now)));
    assert_eq!((0..1000).filter(|number| refusals.pass(&commit(*number), now).is_err()).count(), 64);
}
