//! The engine with its real Git source and file journal on a world: a poll and a cycle without news, 10,000 ends in one
//! second, and what the idle daemon keeps in memory.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grantd::{
    command::setup,
    engine::Daemon,
    model::{BoxFuture, Change, Commit, Hold, Log, Oid, Owned, Proof, Source, SourceError, Text, Tree},
    source::GitSource,
    surface::world::{ManualClock, World},
};
use jiff::Timestamp;

use crate::{
    report::{Runs, resident, row, short, timed},
    town::{self, Repo},
};

const GRANTS: usize = 10_000;

pub fn measure() {
    setup::runtime().unwrap().block_on(async {
        quiet().await;
        let mut times = Vec::new();
        for _ in 0..3 {
            times.push(ends().await);
        }
        times.sort();
        let (most, all) = times[1];
        let measured = format!("99 % after {}, all after {} (median of 3 runs); none lost", short(most), short(all));
        let good = times.iter().all(|(most, _)| *most < Duration::from_secs(2));
        row(
            "10,000 grants that end in the same second: revocations issued and done",
            "99 % in 2 s, none lost",
            &measured,
            good,
        );
    });
}

/// A town whose grants are all given.
async fn settled(folder: &std::path::Path) -> (Daemon, World, Arc<ManualClock>, Arc<Counted>) {
    let state = folder.join("state");
    let mut repo = Repo::new(folder.join("origin.git"));
    town::init(&repo, &state, town::nine()).await;
    repo.merge_grants(GRANTS);
    let clock = Arc::new(ManualClock::new(town::nine()));
    let world = World::new(town::state(GRANTS), clock.clone());
    let source =
        Arc::new(Counted { git: repo.source(&state), fetches: AtomicUsize::new(0), reads: AtomicUsize::new(0) });
    let mut cycle = town::cycle(source.clone(), &state, &world, clock.clone());
    cycle.fetch();
    cycle.sweep();
    let mut daemon = town::daemon(cycle, &world);
    daemon.once().await;
    assert_eq!(town::members(&world.state().unwrap()), GRANTS);
    (daemon, world, clock, source)
}

async fn quiet() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, world, clock, source) = settled(folder.path()).await;
    let mut polls = Vec::new();
    for _ in 0..15 {
        let begin = Instant::now();
        source.fetch().await.unwrap();
        polls.push(begin.elapsed());
    }
    let polls = Runs::new(polls);
    row("a poll that changes nothing: one `ls-remote`", "", &polls.to_string(), true);

    let (calls, fetches, reads) =
        (world.calls(), source.fetches.load(Ordering::Relaxed), source.reads.load(Ordering::Relaxed));
    let written = size(&folder.path().join("state/journal"));
    let (mut turns, mut cycles) = (Vec::new(), Vec::new());
    let count: usize = 7;
    for minute in 0..count {
        clock.set(Timestamp::from_second(town::nine().as_second() + 60 * (minute as i64 + 1)).unwrap());
        let begin = Instant::now();
        daemon.cycle.fetch();
        daemon.once().await;
        cycles.push(begin.elapsed());
        turns.push(timed(|| daemon.turn()).0);
    }
    let after = world.calls();
    let sum = |calls: &std::collections::BTreeMap<_, u64>| calls.values().sum::<u64>();
    let (looks, writes) = (sum(&after.reads) - sum(&calls.reads), sum(&after.writes) - sum(&calls.writes));
    let lines = size(&folder.path().join("state/journal")) - written;
    let fetches = source.fetches.load(Ordering::Relaxed) - fetches;
    let reads = source.reads.load(Ordering::Relaxed) - reads;
    let measured = format!(
        "{count} cycles: {writes} writes, {looks} reads, {lines} bytes journaled, {fetches} `ls-remote`, {reads} other questions to Git; {} each, of which a turn {}",
        Runs::new(cycles),
        Runs::new(turns),
    );
    let good = (writes, looks, lines, fetches, reads) == (0, 0, 0, count, 0);
    row("a cycle without changes, 10,000 grants", "no writes, no reads", &measured, good);
}

/// When 99 % and when all of the revocations were issued, after the end.
async fn ends() -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, world, clock, _) = settled(folder.path()).await;
    let issued = |world: &World| world.calls().writes.values().sum::<u64>();
    let before = issued(&world);
    let watched = world.clone();
    let begin = Instant::now();
    let watch = std::thread::spawn(move || {
        let mut most = None;
        loop {
            let calls = issued(&watched) - before;
            if calls >= GRANTS as u64 * 99 / 100 {
                most.get_or_insert_with(|| begin.elapsed());
            }
            if calls >= GRANTS as u64 {
                // Only what is gone from the world is done.
                if town::members(&watched.state().unwrap()) == 0 {
                    return (most.unwrap(), begin.elapsed());
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "revocations are lost");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    clock.set("2026-11-20T13:00:00Z".parse().unwrap());
    daemon.once().await;
    let times = watch.join().unwrap();
    let ledger = daemon.cycle.ledger();
    assert!(ledger.grants.is_empty());
    let settling = |owned: &Owned| matches!(owned.hold, Hold::Settling { .. });
    assert!(ledger.owned.values().all(settling), "a fate is not recorded");
    times
}

/// The bytes of all files in a folder.
fn size(folder: &std::path::Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Counts what is asked of Git.
struct Counted {
    git: GitSource,
    fetches: AtomicUsize,
    reads: AtomicUsize,
}

impl Source for Counted {
    fn fetch(&self) -> BoxFuture<'_, Result<Commit, SourceError>> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.git.fetch()
    }
    fn tree<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Tree, SourceError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.git.tree(commit)
    }
    fn blobs<'a>(&'a self, blobs: &'a [Oid]) -> BoxFuture<'a, Result<Vec<Vec<u8>>, SourceError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.git.blobs(blobs)
    }
    fn log<'a>(&'a self, head: &'a Commit, since: Option<&'a Commit>) -> BoxFuture<'a, Result<Log, SourceError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.git.log(head, since)
    }
    fn deletions<'a>(
        &'a self,
        head: &'a Commit,
        since: Option<&'a Commit>,
    ) -> BoxFuture<'a, Result<Vec<Change>, SourceError>> {
        self.git.deletions(head, since)
    }
    fn trust(&self) -> Result<Text, String> {
        self.git.trust()
    }
    fn prove<'a>(&'a self, commits: &'a [Commit], now: Timestamp) -> BoxFuture<'a, Result<Vec<Proof>, SourceError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.git.prove(commits, now)
    }
    fn resolve<'a>(&'a self, rev: &'a str) -> BoxFuture<'a, Result<Commit, SourceError>> {
        self.git.resolve(rev)
    }
}

/// The daemon's process, ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `grantd run` over a real repository and a world's file, when all is granted and it sleeps.
pub fn memory() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut repo = Repo::new(at("origin.git"));
    std::fs::write(at("world.yaml"), town::state(GRANTS).to_yaml().unwrap()).unwrap();
    let config = format!(
        "source: {{ url: {} }}\nstate: state\ncloud: {{ world: world.yaml, clock: {{ start: {}, speed: 1 }} }}\n\
         accounts: {{ prod: {{ id: \"{}\", regions: [{}] }} }}\n",
        repo.path.display(),
        town::nine(),
        town::PROD,
        town::REGION,
    );
    std::fs::write(at("grantd.yaml"), config).unwrap();
    let grantd = |command: &str| {
        let mut grantd = Command::new(env!("CARGO_BIN_EXE_grantd"));
        grantd.arg(command).arg("--config").arg(at("grantd.yaml")).env("GRANTD_LOG", "warn");
        // As the unit has it.
        let unit = include_str!("../../systemd/grantd.service");
        let environment = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
        grantd.envs(environment.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('=')));
        grantd
    };
    assert!(grantd("init").stdout(Stdio::null()).status().unwrap().success());
    repo.merge_grants(GRANTS);
    let start = || Running(grantd("run").stdin(Stdio::null()).spawn().unwrap());
    let granted = |running: &mut Running| {
        let begin = Instant::now();
        loop {
            assert!(running.0.try_wait().unwrap().is_none(), "the daemon ended");
            assert!(begin.elapsed() < Duration::from_secs(300), "the daemon does not grant");
            std::thread::sleep(Duration::from_millis(500));
            let world = World::open_with(&at("world.yaml"), Arc::new(ManualClock::new(town::nine()))).unwrap();
            if town::members(&world.state().unwrap()) == GRANTS {
                break;
            }
        }
        // What is under way at the first moment comes to rest, and one poll goes by.
        std::thread::sleep(Duration::from_secs(35));
        let pid = running.0.id().to_string();
        (resident(&pid, "VmRSS"), resident(&pid, "VmHWM"))
    };
    let (first, peak) = granted(&mut start());
    let (again, peak_again) = granted(&mut start());
    let measured = format!(
        "{again:.0} MiB after a restart (highest {peak_again:.0}), {first:.0} MiB in the process that granted them (highest {peak:.0}); in the unit's environment, with the world in memory"
    );
    row("resident memory of the idle daemon with 10,000 grants", "< 64 MiB", &measured, first < 64.0 && again < 64.0);
}
