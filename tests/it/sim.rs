//! A simulation: the real engine, Git source and file journal; a cloud, and a clock that is set by hand.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use futures_util::FutureExt;
use grantd::{
    command::setup,
    decide::ledger,
    engine::{Book, Cycle, Daemon, Executor, Outlook, Parts, Pulse},
    journal::{self, FileJournal},
    model::{Clock, FORMAT, Journal, Line, Policy, Record, Source, Span},
    source::{GitSource, Keys, Settings, forge},
    surface::{Cloud, world::ManualClock},
};
use jiff::Timestamp;
use tempfile::TempDir;

/// What a process panics with when it is to die at once.
pub struct Death;

/// A repository that people merge into.
pub struct Repo {
    pub path: PathBuf,
}

impl Repo {
    pub fn new(path: PathBuf, at: Timestamp) -> Self {
        let repo = Self { path };
        std::fs::create_dir_all(repo.path.join("grants")).unwrap();
        repo.git(at, &["init", "--quiet", "--initial-branch=main", "."]);
        std::fs::write(repo.path.join("README.md"), "Grants of Corp.\n").unwrap();
        repo.commit(at, "Begin");
        repo
    }

    pub fn git(&self, at: Timestamp, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ann")
            .env("GIT_AUTHOR_EMAIL", "ann@corp.example")
            .env("GIT_COMMITTER_NAME", "Ann")
            .env("GIT_COMMITTER_EMAIL", "ann@corp.example")
            .env("GIT_AUTHOR_DATE", at.to_string())
            .env("GIT_COMMITTER_DATE", at.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path.join("grants").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn commit(&self, at: Timestamp, message: &str) {
        self.git(at, &["add", "--all"]);
        self.git(at, &["commit", "--quiet", "--allow-empty", "--message", message]);
    }
}

/// Puts a source that is watched around a source.
pub type Around = Box<dyn Fn(GitSource) -> Arc<dyn Source>>;

/// Puts a journal that misbehaves around a journal.
pub type Wrap = Box<dyn FnMut(Box<dyn Journal>) -> Box<dyn Journal>>;

pub struct Sim {
    pub folder: TempDir,
    pub repo: Repo,
    /// As the daemon's processes see it from the next start on.
    pub cloud: Cloud,
    pub clock: Arc<ManualClock>,
    pub policy: Policy,
    /// The daemon's process; `None` while it is down.
    pub daemon: Option<Daemon>,
    pub outlook: Outlook,
    /// Wraps the journal of each new daemon, for crashes.
    pub wrap: Wrap,
    /// Whose signatures count.
    pub keys: Option<Keys>,
    /// Where reviews are on record.
    pub forge: Option<forge::Settings>,
    /// Wraps the source of each new daemon.
    pub around: Around,
}

impl Sim {
    /// A cloud and its clock, and an empty repository.
    pub fn new(cloud: Cloud, clock: Arc<ManualClock>, policy: Policy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::new(folder.path().join("repo"), clock.now());
        Self {
            folder,
            repo,
            cloud,
            clock,
            policy,
            daemon: None,
            outlook: Outlook::default(),
            wrap: Box::new(|journal| journal),
            keys: None,
            forge: None,
            around: Box::new(|source| Arc::new(source)),
        }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn source(&self) -> GitSource {
        let yaml = format!("url: {}", self.repo.path.display());
        let settings: Settings = serde_saphyr::from_str(&yaml).unwrap();
        let source = GitSource::new(&settings, &self.state(), None).unwrap();
        let source = self.keys.iter().fold(source, GitSource::trusting);
        match &self.forge {
            Some(settings) => source.asking(forge::Forge::new(settings, "main", None, &Default::default()).unwrap()),
            None => source,
        }
    }

    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `grantd init`.
    pub async fn init(&self, existing: bool) {
        use grantd::decide::stem;
        let source = self.source();
        let commit = source.fetch().await.unwrap();
        let tree = source.tree(&commit).await.unwrap();
        let mut records = vec![Record::Init { version: "test".into(), commit, existing, format: FORMAT }];
        records.extend(tree.entries.iter().map(|entry| Record::Prior { grant: stem(&entry.path).unwrap(), existing }));
        FileJournal::create(&self.state(), self.clock.now(), records).unwrap();
    }

    /// Starts the daemon's process over what the journal holds.
    pub fn start(&mut self) {
        let (journal, lines) = FileJournal::open(&self.state(), self.clock.now()).unwrap();
        let lines_before = lines.last().map_or(0, |line| line.seq);
        let book = Book::new((self.wrap)(Box::new(journal)), ledger(lines));
        let mut cycle = Cycle::new(self.parts(), book);
        match catch_unwind(AssertUnwindSafe(|| cycle.start("test"))) {
            Ok(()) => {}
            // The journal of a crash test lets the process die where it stands.
            Err(death) if death.is::<Death>() => return self.daemon = None,
            Err(panic) => resume_unwind(panic),
        }
        cycle.fetch();
        cycle.sweep();
        // Not random: one scenario replays byte for byte.
        let (mut count, life) = (0, lines_before);
        let nonces = move || {
            count += 1;
            Some(format!("{life:016x}{count:016x}").into())
        };
        let executor = Executor::new(self.cloud.writers(), Box::new(nonces));
        let pulse = Pulse { poll: Span::seconds(30), sweep: Arc::new(|_| None) };
        self.daemon = Some(Daemon::new(cycle, executor, pulse));
    }

    /// A cycle over a copy of the journal, which keeps nothing: as `grantd plan` has it.
    pub fn draft(&self) -> Cycle {
        let lines = self.lines();
        let book = Book::new(Box::new(journal::Draft::after(&lines)), ledger(lines));
        Cycle::new(self.parts(), book)
    }

    fn parts(&self) -> Parts {
        Parts {
            targets: Arc::new(setup::targets()),
            readers: self.cloud.readers(),
            source: (self.around)(self.source()),
            clock: self.clock.clone(),
            policy: Arc::new(self.policy.clone()),
        }
    }

    /// The process is gone, with everything that it had in memory. Calls under way are lost with it.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// `grantd source accept` for the head of the branch, while the daemon is down.
    pub async fn accept(&mut self, reason: &str) {
        self.kill();
        let commit = self.source().fetch().await.unwrap();
        let (mut journal, lines) = FileJournal::open(&self.state(), self.clock.now()).unwrap();
        let previous = ledger(lines).head;
        let record = Record::Adopt { commit, previous, reason: reason.into(), by: "uid 0".into(), folder: None };
        journal.append(self.clock.now(), vec![record]).unwrap();
    }

    /// Lets the daemon do all that it can do now.
    pub async fn work(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        match AssertUnwindSafe(daemon.once()).catch_unwind().await {
            Ok((outlook, _)) => self.outlook = outlook,
            // The journal of a crash test lets the process die where it stands.
            Err(death) if death.is::<Death>() => self.daemon = None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Lets time pass until `to`: the daemon wakes at each edge on the way.
    pub async fn advance(&mut self, to: Timestamp) {
        loop {
            self.work().await;
            match self.outlook.plan.wake {
                Some(wake) if wake <= to && self.daemon.is_some() => self.clock.set(wake.max(self.clock.now())),
                _ => break,
            }
        }
        self.clock.set(to);
        self.work().await;
    }

    pub async fn poll(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.cycle.fetch();
        }
        self.work().await;
    }

    pub async fn sweep(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.cycle.sweep();
        }
        self.work().await;
    }

    /// Every line of the journal so far.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        journal::scan(&self.state(), None, |line| -> Result<(), grantd::model::JournalError> {
            lines.push(line);
            Ok(())
        })
        .unwrap();
        lines
    }
}
