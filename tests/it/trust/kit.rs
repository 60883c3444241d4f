//! A town: people with keys, a repository that they sign for, and the daemon that must not be fooled.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use grantd::{
    model::{self, Commit, GrantId, Key, Ledger, Person, Policy, Terms, Text, Trust, Trusted, Withheld},
    source::Keys,
    surface::{
        Cloud,
        world::{ManualClock, State, World},
    },
};
use jiff::Timestamp;
use tempfile::TempDir;

use super::{hub::Hub, watched::Watched};
use crate::sim::Sim;

const PROD: &str = "123456789012";
const WORLD: &str = r#"
accounts:
  "123456789012":
    users: { jdoe: {}, asmith: {}, bwong: {}, maria: {} }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {}, Readers: {}, Writers: {} }
policies: [AmazonEC2ReadOnlyAccess]
"#;

/// Whose key is on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Jdoe,
    Asmith,
    Bwong,
    /// Allowed to sign, and nobody in `people`.
    Guest,
    /// A key of her own that is in no list: git calls its signature good all the same.
    Eve,
    /// The key with which the forge signs what its users click.
    Forge,
    /// No signature.
    Nobody,
}

use Who::{Asmith, Bwong, Eve, Guest, Jdoe};

impl Who {
    pub const KEYS: [Self; 5] = [Jdoe, Asmith, Bwong, Guest, Eve];

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A grant file: who gets which group, and for how long.
pub fn ask(user: &str, group: &str, times: &str) -> String {
    format!(
        "requester: {user}@corp.example\npurpose: INC-1\n{times}\naccess:\n  - iam-group: {{ account: prod, user: {user}, group: {group} }}\n"
    )
}

pub fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A moment of the day on which all this happens, such as `09:30`.
pub fn moment(time: &str) -> Timestamp {
    format!("2026-11-20T{time}:00Z").parse().unwrap()
}

pub struct Town {
    pub sim: Sim,
    world: World,
    /// Keys and lists of keys, outside the repository.
    shelf: TempDir,
    pub hub: Option<Hub>,
    /// The commits that were looked at, by this process and those before.
    pub proved: Arc<Mutex<Vec<Commit>>>,
}

impl Drop for Town {
    fn drop(&mut self) {
        if self.path("gnupg").exists() {
            let _ = Command::new("gpgconf").arg("--homedir").arg(self.path("gnupg")).args(["--kill", "all"]).output();
        }
    }
}

impl Town {
    /// At this level, with nobody but people's keys to prove anything.
    pub async fn new(level: Trust) -> Self {
        let mut town = Self::empty(level);
        town.begin().await;
        town
    }

    /// At the level `approved`, with a forge and its key.
    pub async fn with_forge() -> Self {
        let mut town = Self::empty(Trust::Approved);
        let name = town.gpg_key();
        let keys = town.sim.keys.as_mut().unwrap();
        keys.keyring = Some(town.shelf.path().join("keyring"));
        keys.merge_keys = vec![name.clone()];
        town.sim.policy.trust.merge_keys = [name].into();
        town.sim.policy.trust.forge = Some(model::ForgeKind::GitHub);
        let hub = Hub::start();
        town.write("token", "t0ken");
        town.sim.forge = Some(hub.settings(&town.path("token")));
        town.hub = Some(hub);
        town.begin().await;
        town
    }

    fn empty(level: Trust) -> Self {
        let clock = Arc::new(ManualClock::new(moment("09:00")));
        let world = World::new(State::from_yaml(WORLD).unwrap(), clock.clone());
        let account = model::Account { id: PROD.into(), role: None, external_id: None, regions: vec![] };
        let policy = Policy { accounts: Some([("prod".into(), account)].into()), ..Policy::default() };
        let mut sim = Sim::new(Cloud::World(world.clone()), clock, policy);
        let shelf = tempfile::tempdir().unwrap();
        let proved: Arc<Mutex<Vec<Commit>>> = Arc::default();
        let log = proved.clone();
        sim.around = Box::new(move |source| Arc::new(Watched { source, proved: log.clone() }));
        let mut town = Self { sim, world, shelf, hub: None, proved };
        for who in Who::KEYS {
            town.ssh_key(&who.name());
        }
        town.allow(&[(Jdoe, ""), (Asmith, ""), (Bwong, ""), (Guest, "")]);
        town.sim.keys = Some(Keys { signers: Some(town.path("signers")), ..Keys::default() });
        let people = [(Jdoe, 1001), (Asmith, 1002), (Bwong, 1003)].map(|(who, id)| {
            let name = who.name();
            let person = Person {
                keys: vec![town.key(who)],
                github: Some(id),
                principals: vec![format!("iam:user/{name}").into(), format!(r"windows:user/CORP\{name}").into()],
                requesters: vec![format!("{name}@corp.example").into()],
                ..Person::default()
            };
            (Text::from(name), person)
        });
        town.sim.policy.trust = Trusted { level, people: people.into(), ..Trusted::default() };
        town
    }

    async fn begin(&mut self) {
        self.sim.init(false).await;
        self.start().await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.shelf.path().join(name)
    }

    /// Writes a file that decides, outside the repository.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub fn ssh_key(&self, name: &str) {
        let mut command = Command::new("ssh-keygen");
        done(command.args(["-q", "-N", "", "-C", name, "-t", "ed25519", "-f"]).arg(self.path(name)).output().unwrap());
    }

    pub fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    /// The fingerprint, as `ssh-keygen` tells it.
    pub fn key(&self, who: Who) -> Key {
        let told = done(Command::new("ssh-keygen").arg("-lf").arg(self.path(&who.name())).output().unwrap());
        told.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The list of those who may sign, with options.
    pub fn allow(&self, list: &[(Who, &str)]) {
        let line = |(who, options): &(Who, &str)| {
            format!("{}@corp.example {options} {}", who.name(), self.public(&who.name()))
        };
        self.write("signers", list.iter().map(line).collect::<String>());
    }

    /// The list of those whose signatures count no more.
    pub fn revoke(&mut self, list: &[Who]) {
        self.write("revoked", list.iter().map(|who| self.public(&who.name())).collect::<String>());
        self.sim.keys.as_mut().unwrap().revoked = Some(self.path("revoked"));
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.path("gnupg")).args(["--no-tty", "--batch", "--yes"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(["--faked-system-time", "20260101T000000!"]).stdin(Stdio::null());
        command
    }

    /// Makes the forge's key, and the keyring that holds it.
    fn gpg_key(&self) -> Key {
        fs::create_dir(self.path("gnupg")).unwrap();
        fs::set_permissions(self.path("gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
        done(self.gpg().args(["--quick-gen-key", "web-flow", "ed25519", "sign", "never"]).output().unwrap());
        let told = done(self.gpg().args(["--list-keys", "--with-colons", "web-flow"]).output().unwrap());
        let name = told.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
        self.write("keyring", self.gpg().args(["--export", "web-flow"]).output().unwrap().stdout);
        let home = self.path("gnupg");
        let program = format!(
            "#!/bin/sh\nexec gpg --homedir {} --batch --pinentry-mode loopback --passphrase '' --faked-system-time 20260102T000000! \"$@\"\n",
            home.display()
        );
        self.write("gpg.sh", program);
        fs::set_permissions(self.path("gpg.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        name.parse().unwrap()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_at(self.sim.clock_now(), arguments)
    }

    pub fn git_at(&self, at: Timestamp, arguments: &[&str]) -> String {
        self.sim.repo.git(at, arguments)
    }

    /// A verb of git that makes a commit, signed. Answers the commit.
    pub fn sign(&self, who: Who, verb: &str, arguments: &[&str]) -> String {
        self.sign_at(self.sim.clock_now(), who, verb, arguments)
    }

    pub fn sign_at(&self, at: Timestamp, who: Who, verb: &str, arguments: &[&str]) -> String {
        let set = |name: &str, value: &Path| format!("{name}={}", value.display());
        let settings = match who {
            Who::Nobody => vec![],
            Who::Forge => {
                let key = self.sim.policy.trust.merge_keys.first().unwrap();
                vec![set("gpg.program", &self.path("gpg.sh")), format!("user.signingkey={key}")]
            }
            _ => vec!["gpg.format=ssh".into(), set("user.signingkey", &self.path(&who.name()))],
        };
        let mut all: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting]).collect();
        all.push(verb);
        all.push(if who == Who::Nobody { "--no-gpg-sign" } else { "-S" });
        all.extend(arguments);
        self.git_at(at, &all);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits everything that lies there.
    pub fn commit(&self, who: Who) -> String {
        self.git(&["add", "--all"]);
        self.sign(who, "commit", &["--quiet", "--allow-empty", "--message=change"])
    }

    /// Writes a grant's file and commits it.
    pub fn put(&self, who: Who, name: &str, text: &str) -> String {
        self.file(name, text);
        self.commit(who)
    }

    pub fn file(&self, name: &str, text: &str) {
        self.sim.repo.write(&format!("{name}.yaml"), text);
    }

    /// Adds a line that says nothing.
    pub fn comment(&self, who: Who, name: &str) -> String {
        let path = self.sim.repo.path.join(format!("grants/{name}.yaml"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("# looks good\n{text}")).unwrap();
        self.commit(who)
    }

    pub fn delete(&self, who: Who, name: &str) -> String {
        fs::remove_file(self.sim.repo.path.join(format!("grants/{name}.yaml"))).unwrap();
        self.commit(who)
    }

    pub fn rename(&self, who: Who, from: &str, to: &str) -> String {
        let folder = self.sim.repo.path.join("grants");
        fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
        self.git(&["mv", &format!("grants/{from}.yaml"), &format!("grants/{to}.yaml")]);
        self.commit(who)
    }

    pub fn switch(&self, branch: &str) {
        self.git(&["checkout", "--quiet", branch]);
    }

    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }

    /// A branch with one file, signed; and back on main.
    pub fn propose(&self, who: Who, branch: &str, name: &str, text: &str) -> String {
        self.branch(branch);
        let head = self.put(who, name, text);
        self.switch("main");
        head
    }

    pub fn merge(&self, who: Who, branch: &str) -> String {
        self.sign(who, "merge", &["--quiet", "--no-ff", "--no-edit", branch])
    }

    /// The daemon goes on to this time of the day, and asks Git.
    pub async fn at(&mut self, time: &str) {
        self.sim.advance(moment(time)).await;
        self.sim.poll().await;
    }

    pub async fn start(&mut self) {
        self.sim.start();
        self.sim.work().await;
    }

    pub async fn restart(&mut self) {
        self.sim.kill();
        self.start().await;
    }

    /// An operator changes the configuration.
    pub async fn configure(&mut self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.sim.policy);
        let policy = Arc::new(self.sim.policy.clone());
        self.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy);
        self.sim.poll().await;
    }

    pub fn ledger(&self) -> &Ledger {
        self.sim.daemon.as_ref().unwrap().cycle.ledger()
    }

    pub fn terms(&self, id: &str) -> Option<&Terms> {
        self.ledger().grants.get(&id.parse::<GrantId>().unwrap()).map(AsRef::as_ref)
    }

    pub fn withheld(&self, id: &str) -> Option<&Withheld> {
        self.ledger().withheld.get(&id.parse::<GrantId>().unwrap())
    }

    /// Why a grant is held, as the plan tells it.
    pub fn held(&self, id: &str) -> Option<String> {
        let all = &self.sim.outlook.plan.held;
        all.iter().find(|held| held.grant.as_str() == id).map(|held| held.reason.clone())
    }

    /// Whether a user is in a group of the cloud.
    pub fn has(&self, user: &str, group: &str) -> bool {
        World::state(&self.world).unwrap().accounts[PROD].users[user].groups.contains(group)
    }

    /// It was never accepted, it is held with this reason in the plan and on record, and nobody has the access.
    #[track_caller]
    pub fn is_held(&self, id: &str, access: (&str, &str), why: &str) {
        let held = self.held(id).unwrap_or_default();
        assert!(held.contains(why), "{id} is held by `{held}`, not by `{why}`");
        let record = self.withheld(id).unwrap_or_else(|| panic!("{id} is not withheld on record"));
        assert!(record.reason.contains(why), "on record: {}", record.reason);
        assert!(self.terms(id).is_none(), "{id} was accepted");
        assert!(!self.has(access.0, access.1), "{access:?} was granted");
    }

    #[track_caller]
    pub fn is_granted(&self, id: &str, access: (&str, &str)) {
        let findings = &self.sim.outlook.findings;
        assert!(self.terms(id).is_some(), "{id} was not accepted: {:?} {findings:?}", self.held(id));
        assert_eq!((self.held(id), self.withheld(id)), (None, None));
        assert!(self.has(access.0, access.1), "{access:?} was not granted");
    }
}
