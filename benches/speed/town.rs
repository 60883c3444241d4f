//! What is measured on: grants, the repository that holds them, and the world in which they are access.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use grantd::{
    command::setup,
    decide::replay,
    engine::{Book, Cycle, Daemon, Executor, Parts, Pulse},
    journal::FileJournal,
    model::{Account, Commit, FORMAT, Ledger, Policy, Record, Source, Span},
    source::{GitSource, Settings},
    surface::{
        Cloud,
        world::{self, Caseless, Group, Host, ManualClock, State, User, World},
    },
};
use jiff::Timestamp;

pub const PROD: &str = "123456789012";
pub const REGION: &str = "us-east-1";
/// How many grants share a team's hosts.
const TEAM: usize = 10;

/// When everything begins.
pub fn nine() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

/// The path of a grant file.
pub fn path(number: usize) -> String {
    format!("grants/{:03}/2026-11-20-user{number:06}-checkout.yaml", number % 100)
}

/// A grant file: half of them for Windows hosts, half for an IAM group, one access each, all with the same end.
pub fn grant(number: usize) -> String {
    let access = if number.is_multiple_of(2) {
        windows(number)
    } else {
        format!("iam-group: {{ account: prod, user: user{number:06}, group: group-{:02} }}", number % 50)
    };
    file(number, &access)
}

/// A grant file for the hosts of a team.
pub fn grant_of_hosts(number: usize) -> String {
    file(number, &windows(number))
}

fn windows(number: usize) -> String {
    let team = number / TEAM;
    format!(
        "windows-admin: {{ user: 'CORP\\user{number:06}', account: prod, region: {REGION}, instances: {{ Team: team-{team:05} }} }}"
    )
}

fn file(number: usize, access: &str) -> String {
    format!(
        "# yaml-language-server: $schema=https://corp.example/grantd/grant.json\n\
         requester: user{number:06}@corp.example\n\
         purpose: \"INC-{number}: checkout answers slowly since the release of the evening\"\n\
         ttl: 4h\n\
         access:\n  - {access}\n"
    )
}

pub fn policy() -> Policy {
    let account = Account { id: PROD.into(), role: None, external_id: None, regions: vec![REGION.into()] };
    Policy { accounts: Some(BTreeMap::from([("prod".into(), account)])), ..Policy::default() }
}

/// A world with the hosts, users and groups that so many grants name: one host a team.
pub fn state(grants: usize) -> State {
    let mut account = world::Account::default();
    let mut state = State::default();
    let mut hosts = BTreeMap::new();
    for number in 0..grants {
        let user = format!("user{number:06}");
        state.directory.windows.insert(Caseless(format!("CORP\\{user}").into()));
        account.users.insert(user.as_str().into(), User::default());
        account.groups.entry(format!("group-{:02}", number % 50).into()).or_insert_with(Group::default);
        let team = number / TEAM;
        hosts.entry(format!("i-{team:017x}").into()).or_insert_with(|| Host {
            tags: BTreeMap::from([("Team".into(), format!("team-{team:05}").into())]),
            ..Host::default()
        });
    }
    account.hosts.insert(REGION.into(), hosts);
    state.accounts.insert(PROD.into(), account);
    state
}

/// How much access of ours there is.
pub fn members(state: &State) -> usize {
    let account = |account: &world::Account| {
        let hosts = account.hosts.values().flat_map(BTreeMap::values);
        let marked = hosts.flat_map(|host| &host.administrators).filter(|member| member.marker.is_some());
        marked.count() + account.users.values().map(|user| user.groups.len()).sum::<usize>()
    };
    state.accounts.values().map(account).sum()
}

/// A bare repository that people merge into.
pub struct Repo {
    pub path: PathBuf,
    begun: bool,
}

impl Repo {
    /// Begins with a commit without grants.
    pub fn new(path: PathBuf) -> Self {
        let made = Command::new("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path).status();
        assert!(made.unwrap().success());
        let mut repo = Self { path, begun: false };
        repo.merge(nine(), [("README.md".to_owned(), "Grants of Corp.\n".to_owned())]);
        repo
    }

    /// Merges so many grants, a hundred at a time.
    pub fn merge_grants(&mut self, grants: usize) {
        for first in (0..grants).step_by(100) {
            self.merge(nine(), (first..grants.min(first + 100)).map(|number| (path(number), grant(number))));
        }
    }

    /// Makes one commit.
    pub fn merge(&mut self, at: Timestamp, files: impl IntoIterator<Item = (String, String)>) {
        let mut stream = format!(
            "commit refs/heads/main\ncommitter Ann <ann@corp.example> {} +0000\ndata 5\nMerge\n",
            at.as_second()
        );
        if self.begun {
            stream.push_str("from refs/heads/main^0\n");
        }
        self.begun = true;
        for (path, text) in files {
            writeln!(stream, "M 100644 inline {path}\ndata {}\n{text}", text.len()).unwrap();
        }
        let mut git = Command::new("git");
        let git = git.arg("--git-dir").arg(&self.path).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
        let mut git = git.spawn().unwrap();
        git.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
        assert!(git.wait().unwrap().success());
    }

    pub fn source(&self, state: &Path) -> GitSource {
        let settings: Settings = serde_saphyr::from_str(&format!("url: {}", self.path.display())).unwrap();
        GitSource::new(&settings, state, None).unwrap()
    }
}

/// `grantd init` at the repository's present head.
pub async fn init(repo: &Repo, state: &Path, now: Timestamp) -> Commit {
    let commit = repo.source(state).fetch().await.unwrap();
    let init = Record::Init { version: "bench".into(), commit: commit.clone(), existing: false, format: FORMAT };
    FileJournal::create(state, now, vec![init]).unwrap();
    commit
}

/// The reading half over what the journal holds.
pub fn cycle(source: Arc<dyn Source>, state: &Path, world: &World, clock: Arc<ManualClock>) -> Cycle {
    use grantd::model::Clock;
    let mut ledger = Ledger::default();
    let journal = FileJournal::open_with(state, clock.now(), &mut |line| replay(&mut ledger, line)).unwrap();
    let book = Book::new(Box::new(journal), ledger);
    let parts = Parts {
        targets: Arc::new(setup::targets()),
        readers: Cloud::World(world.clone()).readers(),
        source,
        clock,
        policy: Arc::new(policy()),
    };
    Cycle::new(parts, book)
}

pub fn daemon(cycle: Cycle, world: &World) -> Daemon {
    let executor = Executor::new(Cloud::World(world.clone()).writers(), Box::new(|| None));
    Daemon::new(cycle, executor, Pulse { poll: Span::seconds(30), sweep: Arc::new(|_| None) })
}
