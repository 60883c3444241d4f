//! Scenarios: each file of `tests/scenarios` is a timeline of commands, with what they printed below each. They read as the
//! manual. `GRANTD_UPDATE=1 cargo test` writes what was printed into the files, to be reviewed as a change.
//!
//! A command is a line `> [HH:MM[:SS]] verb arguments`, its body the lines below that begin with `| `. Before it runs, the
//! clock goes on to its time, and the daemon wakes at every edge on the way.
//!
//! Each is played on the world and on AWS, where it prints the same, and its last lines say what it costs there. One that
//! begins with `# On the world only: REASON` is not played on AWS.

#[cfg(feature = "aws")]
mod wire;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use grantd::{
    decide::render::{history_text, status_text},
    model::{self, Line, Policy, Record, Span},
    surface::{
        Cloud,
        world::{Account, Agent, Caseless, Fault, Host, ManualClock, Marker, Member, Power, State, World},
    },
};
use jiff::Timestamp;

use crate::sim::Sim;

const DAY: &str = "2026-11-20";
const PROD: &str = "123456789012";
const EAST: &str = "us-east-1";
const WORLD: &str = r#"
accounts:
  "123456789012":
    hosts:
      us-east-1:
        i-00000001: { tags: { AccessGroup: JITAdmins }, administrators: ['CORP\ops'] }
        i-00000002: { tags: { AccessGroup: OnCall } }
    users: { jdoe: {}, maria: {} }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {} }
    permission-sets: { PowerUser: [] }
policies: [AmazonEC2ReadOnlyAccess, AdministratorAccess]
directory: { windows: ['CORP\jdoe', 'CORP\maria', 'CORP\ops'], users: [jdoe@corp.example], groups: [sre] }
"#;

/// A scenario's file.
struct Scenario {
    path: PathBuf,
    /// Its commands, with what they print.
    story: String,
    /// Its last lines: what it costs on AWS.
    costs: String,
}

impl Scenario {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no scenarios in {}", folder.display());
        let only = option_env!("GRANTD_SCENARIO");
        let chosen = paths.into_iter().filter(|path| only.is_none_or(|only| path.to_string_lossy().contains(only)));
        chosen.map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let (story, costs) = text.split_at(text.find("\n# On AWS, ").unwrap_or(text.len()));
        Self { path, story: story.into(), costs: costs.into() }
    }

    fn world_only(&self) -> bool {
        self.story
            .lines()
            .take_while(|line| line.starts_with('#'))
            .any(|line| line.starts_with("# On the world only: "))
    }

    /// What is wrong with a part of it, by what was printed. Writes that into the file on request.
    fn judge(&self, part: fn(&mut Self) -> &mut String, printed: &str) -> Option<String> {
        /// Two tests write.
        static WRITING: Mutex<()> = Mutex::new(());
        let _writing = WRITING.lock().unwrap();
        let mut now = Self::read(self.path.clone());
        let expected = std::mem::replace(part(&mut now), printed.into());
        if expected == printed {
            return None;
        }
        if std::env::vars_os().any(|(name, _)| name == "GRANTD_UPDATE") {
            fs::write(&now.path, now.story + &now.costs).unwrap();
        }
        Some(format!("{}:\n{}", self.path.display(), difference(&expected, printed)))
    }
}

#[test]
fn scenarios_print_what_their_files_say() {
    let wrong = Scenario::all().into_iter().filter_map(|scenario| {
        let clock = Arc::new(ManualClock::new(moment("09:00")));
        let mut world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
        scenario.judge(|file| &mut file.story, &play(&scenario.story, &mut world, clock))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn few_scenarios_are_for_the_world_only() {
    let only: Vec<_> = Scenario::all().into_iter().filter(Scenario::world_only).map(|scenario| scenario.path).collect();
    assert!(option_env!("GRANTD_SCENARIO").is_some() || only.len() == 4, "{only:#?}");
}

fn difference(expected: &str, printed: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), printed.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str], sign: char| {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("line {}:\n{}{}", same + 1, show(&old, '-'), show(&new, '+'))
}

/// The cloud that a scenario plays on, in the scenario's names.
trait Ground {
    /// As a new process of the daemon sees it.
    fn cloud(&self) -> Cloud;
    /// The account `prod`, as the configuration has it.
    fn prod(&self) -> model::Account;
    /// Who has what.
    fn state(&self) -> State;
    /// What somebody else does there.
    fn edit(&mut self, change: &mut dyn FnMut(&mut State));
    /// What the daemon prints, in the scenario's names.
    fn named(&self, text: &str) -> String;
}

impl Ground for World {
    fn cloud(&self) -> Cloud {
        Cloud::World(self.clone())
    }

    fn prod(&self) -> model::Account {
        model::Account { id: PROD.into(), role: None, external_id: None, regions: vec![EAST.into()] }
    }

    fn state(&self) -> State {
        World::state(self).unwrap()
    }

    fn edit(&mut self, change: &mut dyn FnMut(&mut State)) {
        World::edit(self, change).unwrap();
    }

    fn named(&self, text: &str) -> String {
        text.into()
    }
}

/// Runs a scenario and answers its text with what the commands print now.
fn play(text: &str, ground: &mut dyn Ground, clock: Arc<ManualClock>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Stage::new(ground, clock).play(text))
}

struct Stage<'a> {
    ground: &'a mut dyn Ground,
    sim: Sim,
    begun: bool,
    existing: bool,
    /// How many lines of the journal were printed.
    told: usize,
    said: String,
}

impl<'a> Stage<'a> {
    fn new(ground: &'a mut dyn Ground, clock: Arc<ManualClock>) -> Self {
        let accounts = [("prod".into(), ground.prod())].into();
        let policy = Policy { accounts: Some(accounts), ..Policy::default() };
        let sim = Sim::new(ground.cloud(), clock, policy);
        Self { ground, sim, begun: false, existing: false, told: 0, said: String::new() }
    }

    async fn play(mut self, text: &str) -> String {
        let mut out = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("> ") else {
                // Prose before the first command, and blank lines; old output is left out.
                if line.starts_with('#') {
                    let _ = writeln!(out, "{line}");
                }
                continue;
            };
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "{line}");
            let mut body = String::new();
            while let Some(more) = lines.next_if(|line| line.starts_with('|')) {
                let _ = writeln!(out, "{more}");
                let _ = writeln!(body, "{}", more.strip_prefix("| ").unwrap_or(""));
            }
            let printed = self.command(command, &body).await;
            for line in printed.lines() {
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
        out
    }

    /// Runs one command and answers what there is to tell since the last one.
    async fn command(&mut self, command: &str, body: &str) -> String {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        if let Some(time) = words.first().filter(|word| word.as_bytes().get(2) == Some(&b':')) {
            let to = moment(time);
            words.remove(0);
            self.begin().await;
            self.sim.advance(to).await;
        }
        let shown = self.act(&words, body).await;
        let mut out = self.news();
        out.push_str(&shown);
        self.ground.named(&out.replace(&self.sim.folder.path().display().to_string(), "…"))
    }

    /// The installation begins with the first command that has a time: those before it set the stage.
    async fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.sim.init(self.existing).await;
            self.sim.start();
            self.sim.work().await;
            self.told = self.sim.lines().len();
        }
    }

    async fn act(&mut self, words: &[&str], body: &str) -> String {
        match words {
            ["existing"] => self.existing = true,
            ["configure"] => {
                let limits: grantd::model::Limits = serde_saphyr::from_str(body).unwrap();
                self.configure(Policy { limits, ..self.sim.policy.clone() }).await;
            }
            ["drift", how] => self.configure(Policy { restore: *how == "restore", ..self.sim.policy.clone() }).await,
            ["merge", change @ ..] => {
                self.change(change, body);
                self.sim.poll().await;
            }
            ["commit", change @ ..] => self.change(change, body),
            ["poll"] => self.sim.poll().await,
            ["sweep"] => self.sim.sweep().await,
            ["tick"] => self.sim.work().await,
            ["git", "offline"] => fs::rename(&self.sim.repo.path, self.sim.folder.path().join("away")).unwrap(),
            ["git", "online"] => fs::rename(self.sim.folder.path().join("away"), &self.sim.repo.path).unwrap(),
            ["branch", "gone"] => drop(self.sim.repo.git(self.sim.clock_now(), &["branch", "-m", "main", "elsewhere"])),
            ["branch", "back"] => drop(self.sim.repo.git(self.sim.clock_now(), &["branch", "-m", "elsewhere", "main"])),
            ["source", "accept", reason @ ..] => {
                self.sim.accept(&reason.join(" ")).await;
                self.sim.cloud = self.ground.cloud();
                self.sim.start();
                self.sim.work().await;
            }
            ["stop"] => self.sim.kill(),
            ["start"] => {
                self.sim.cloud = self.ground.cloud();
                self.sim.start();
                self.sim.work().await;
            }
            ["host", id, state] => self.host(id, |host| match *state {
                "offline" => host.agent = Agent::Offline,
                "online" => (host.agent, host.state) = (Agent::Online, Power::Running),
                "stopped" => host.state = Power::Stopped,
                "terminated" => host.state = Power::Terminated,
                other => panic!("no host state `{other}`"),
            }),
            ["join", id, tag] => self.account(|account| {
                let (key, value) = tag.split_once('=').unwrap();
                let host = Host { tags: [(key.into(), value.into())].into(), ..Host::default() };
                account.hosts.entry(EAST.into()).or_default().insert((*id).into(), host);
            }),
            ["untag", id, key] => self.host(id, |host| {
                host.tags.remove(*key);
            }),
            ["login", id, user] => self.host(id, |host| {
                host.sessions.insert(Caseless((*user).into()));
            }),
            ["by-hand", "add", id, user] => self.host(id, |host| {
                let user = Caseless((*user).into());
                // A group has each member once.
                if host.administrators.iter().all(|member| member.user != user) {
                    host.administrators.push(Member { user, marker: None });
                }
            }),
            ["by-hand", "unmark", id, user] => self.host(id, |host| {
                let user = Caseless((*user).into());
                host.administrators
                    .iter_mut()
                    .filter(|member| member.user == user)
                    .for_each(|member| member.marker = None);
            }),
            ["by-hand", "remove", id, user] => self.host(id, |host| {
                host.administrators.retain(|member| !member.user.0.eq_ignore_ascii_case(user));
            }),
            ["by-hand", "mark", id, user, until] => self.host(id, |host| {
                let user = Caseless((*user).into());
                for member in host.administrators.iter_mut().filter(|member| member.user == user) {
                    let grants = member.marker.take().map(|marker| marker.grants).unwrap_or_default();
                    member.marker = Some(Marker { until: moment(until), grants });
                }
            }),
            ["by-hand", "attach", role, policy] => self.account(|account| {
                let arn = format!("arn:aws:iam::aws:policy/{policy}");
                account.roles.get_mut(*role).unwrap().policies.insert(arn.as_str().into());
            }),
            ["by-hand", "detach", role, policy] => self.account(|account| {
                let arn = format!("arn:aws:iam::aws:policy/{policy}");
                account.roles.get_mut(*role).unwrap().policies.remove(arn.as_str());
            }),
            ["fault"] => {
                let fault: Fault = serde_saphyr::from_str(body).unwrap();
                self.ground.edit(&mut |state| state.faults.push(fault.clone()));
            }
            ["faults", "end"] => self.ground.edit(&mut |state| state.faults.clear()),
            ["clock", "back", span] => {
                let span: Span = span.parse().unwrap();
                self.sim.clock.step(-jiff::SignedDuration::from_secs(span.as_seconds()));
            }
            ["clock", "ahead", span] => {
                let span: Span = span.parse().unwrap();
                self.sim.clock.step(jiff::SignedDuration::from_secs(span.as_seconds()));
                self.sim.work().await;
            }
            ["reboot"] => {
                self.sim.kill();
                self.sim.clock.reboot();
            }
            ["show"] => return self.show(),
            ["status"] => return self.status(),
            ["lint"] | ["findings"] => return self.findings(),
            ["release"] => {
                let daemon = self.sim.daemon.as_mut().unwrap();
                let held: Vec<_> = self
                    .sim
                    .outlook
                    .plan
                    .held
                    .iter()
                    .filter(|held| held.until.is_some())
                    .map(|held| held.grant.clone())
                    .collect();
                assert!(daemon.cycle.release(held, "reviewed"));
                self.sim.work().await;
            }
            other => panic!("no command `{}`", other.join(" ")),
        }
        self.said_now()
    }

    /// Changes to the repository, as one commit: `add NAME` (the body is the file), `delete NAME…`, `move A B`, `symlink
    /// NAME`, `many N` (that many small grants), `revert`, `rewrite` (another commit in place of the last one), `rollback`
    /// (drops the last one), `foxtrot NAME` (a line of its own, into which main is merged), `octopus NAME` (two lines merged
    /// at once), `twins NAME deleting OTHER` (two files whose names differ in case only), `untwin NAME`.
    fn change(&mut self, change: &[&str], body: &str) {
        let (mut at, mut change) = (self.sim.clock_now(), change);
        if let [rest @ .., "dated", days] = change {
            let days: i64 = days.strip_suffix("d-ago").unwrap().parse().unwrap();
            at = Span::days(days).before(at);
            change = rest;
        }
        let repo = &self.sim.repo;
        match change {
            ["add", name] => repo.write(&format!("{name}.yaml"), body),
            ["many", count] => {
                for n in 0..count.parse::<u32>().unwrap() {
                    let user = if n % 2 == 0 { "jdoe" } else { "maria" };
                    let text = format!(
                        "requester: {user}@corp.example\npurpose: on call\nttl: 8h\naccess:\n  - windows-admin: {{ user: 'CORP\\{user}', account: prod, region: us-east-1, instances: {{ AccessGroup: JITAdmins }} }}\n"
                    );
                    repo.write(&format!("many/many-{n:02}.yaml"), &text);
                }
            }
            ["delete", names @ ..] => {
                for name in names {
                    let path = repo.path.join("grants").join(name);
                    if path.is_dir() {
                        fs::remove_dir_all(path).unwrap()
                    } else {
                        fs::remove_file(path.with_extension("yaml")).unwrap()
                    }
                }
            }
            ["move", from, to] => {
                fs::create_dir_all(repo.path.join("grants").join(to).parent().unwrap()).unwrap();
                repo.git(at, &["mv", &format!("grants/{from}.yaml"), &format!("grants/{to}.yaml")]);
            }
            ["symlink", name] => {
                std::os::unix::fs::symlink("/etc/passwd", repo.path.join("grants").join(format!("{name}.yaml")))
                    .unwrap()
            }
            ["revert"] => {
                repo.git(at, &["revert", "--no-edit", "HEAD"]);
                return;
            }
            ["rewrite"] => {
                repo.git(at, &["reset", "--quiet", "--hard", "HEAD~1"]);
            }
            ["twins", name, "deleting", other] => {
                repo.write(&format!("{name}.yaml"), body);
                repo.write(&format!("{}.yaml", name.to_ascii_uppercase()), body);
                fs::remove_file(repo.path.join("grants").join(other).with_extension("yaml")).unwrap();
            }
            ["untwin", name] => {
                fs::remove_file(repo.path.join(format!("grants/{}.yaml", name.to_ascii_uppercase()))).unwrap();
            }
            ["rollback"] => {
                repo.git(at, &["reset", "--quiet", "--hard", "HEAD~1"]);
                return;
            }
            ["foxtrot", name] => {
                repo.git(at, &["checkout", "--quiet", "-b", "fox", "HEAD~1"]);
                repo.write(&format!("{name}.yaml"), body);
                repo.commit(at, "fox");
                repo.git(at, &["merge", "--quiet", "--no-ff", "--no-edit", "main"]);
                repo.git(at, &["branch", "-M", "fox", "main"]);
                return;
            }
            ["octopus", name] => {
                let base = repo.git(at, &["rev-parse", "HEAD"]);
                for arm in ["arm-1", "arm-2"] {
                    repo.git(at, &["checkout", "--quiet", "-b", arm, &base]);
                    if arm == "arm-1" {
                        repo.write(&format!("{name}.yaml"), body);
                    }
                    repo.commit(at, arm);
                }
                repo.git(at, &["checkout", "--quiet", "main"]);
                repo.git(at, &["merge", "--quiet", "--no-ff", "--no-edit", "arm-1", "arm-2"]);
                return;
            }
            other => panic!("no change `{}`", other.join(" ")),
        }
        repo.commit(at, &change.join(" "));
    }

    async fn configure(&mut self, policy: Policy) {
        self.sim.policy = policy.clone();
        if let Some(daemon) = &mut self.sim.daemon {
            daemon.cycle.reconfigure(policy.into());
            self.sim.poll().await;
        }
    }

    fn account(&mut self, mut change: impl FnMut(&mut Account)) {
        self.ground.edit(&mut |state| change(state.accounts.get_mut(PROD).unwrap()));
    }

    fn host(&mut self, id: &str, mut change: impl FnMut(&mut Host)) {
        self.account(|account| change(account.hosts.get_mut(EAST).unwrap().get_mut(id).unwrap()));
    }

    /// The lines that the journal got since the last time: what was decided and what came of it.
    fn news(&mut self) -> String {
        if !self.begun {
            return String::new();
        }
        let lines = self.sim.lines();
        let of_interest = |record: &Record| {
            !matches!(
                record,
                Record::Intend { .. }
                    | Record::Sent { .. }
                    | Record::Start { .. }
                    | Record::Head { .. }
                    | Record::Tick {}
            )
        };
        let mut news: Vec<&Line> = lines.iter().skip(self.told).filter(|line| of_interest(&line.record)).collect();
        // Which of the calls of one moment is answered first is chance.
        let fates = |line: &Line| match &line.record {
            Record::Fate { binding, .. } => Some(binding.clone()),
            _ => None,
        };
        let at_once = |a: &&Line, b: &&Line| a.at == b.at && fates(a).is_some() && fates(b).is_some();
        news.chunk_by_mut(at_once).for_each(|lines| lines.sort_by_key(|line| fates(line)));
        let mut out = String::new();
        for line in news {
            let text = plain(&history_text(line));
            let _ = writeln!(out, "{} {}", line.at.strftime("%H:%M:%S"), text.split_once("Z ").unwrap().1);
        }
        self.told = lines.len();
        out
    }

    /// Findings, what is held, and why nothing is granted, where that is new.
    fn said_now(&mut self) -> String {
        let mut out = self.news();
        let outlook = &self.sim.outlook;
        let mut said = String::new();
        if let Some(why) = &outlook.source {
            let _ = writeln!(said, "git: {}", why.lines().next().unwrap_or_default());
        }
        if let Some(why) = &outlook.standstill {
            let _ = writeln!(said, "standstill: {why}");
        }
        for finding in &outlook.findings {
            let _ = writeln!(said, "{finding}");
        }
        for held in &outlook.plan.held {
            let until = held.until.map_or_else(String::new, |until| format!(", until {until}"));
            let _ = writeln!(said, "held {}: {}{until}", held.grant, held.reason);
        }
        for note in &outlook.plan.notes {
            let _ = writeln!(said, "note {}: {}", note.binding, note.text);
        }
        if self.begun && said != self.said {
            if said.is_empty() {
                out.push_str("nothing is held or noted any more\n");
            }
            out.push_str(&said);
            self.said = said;
        }
        out
    }

    /// Who has what. Which of two administrators came first is chance: ours are shown in order, after those of others.
    fn show(&self) -> String {
        let mut state = self.ground.state();
        let hosts = state.accounts.values_mut().flat_map(|account| account.hosts.values_mut());
        for host in hosts.flat_map(|hosts| hosts.values_mut()) {
            host.administrators.sort_by_key(|member| member.marker.as_ref().map(|_| member.user.clone()));
        }
        state.to_string()
    }

    fn status(&self) -> String {
        let daemon = self.sim.daemon.as_ref().unwrap();
        plain(&status_text(&grantd::decide::status(daemon.cycle.ledger(), &self.sim.policy, self.sim.clock_now())))
    }

    fn findings(&self) -> String {
        plain(&grantd::decide::render::findings_text(&self.sim.outlook.findings))
    }
}

/// `09:30` or `09:30:15` of the scenario's day; hours may go beyond 24.
fn moment(time: &str) -> Timestamp {
    let mut parts = time.split(':').map(|part| part.parse::<i64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(0));
    let midnight: Timestamp = format!("{DAY}T00:00:00Z").parse().unwrap();
    Span::seconds(hours * 3600 + minutes * 60 + seconds).after(midnight)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
