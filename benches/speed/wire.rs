//! The daemon on AWS: moto and hosts of ours behind a front server that counts. What is counted is what AWS would bill;
//! moto's own time is in the figures.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    aws::{Cloud, Realm, account},
    report::{Runs, row, short},
};

const REGION: &str = "us-east-1";
const PRINCIPALS: usize = 1_000;
const CHANGED: usize = 10;
const HOSTS: usize = 500;
const READ_ONLY: &str = "AmazonEC2ReadOnlyAccess";

/// An installation in one account, and the daemon that runs on it.
struct Site {
    folder: TempDir,
    cloud: Cloud,
    account: String,
    daemon: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), cloud: Cloud::new(), account: account(), daemon: None };
        fs::create_dir_all(site.path("access/grants")).unwrap();
        site.git(&["init", "--quiet", "--initial-branch=main", "."]);
        fs::write(site.path("access/README.md"), "Grants of Corp.\n").unwrap();
        site.commit();
        let (repo, id) = (site.path("access"), &site.account);
        let config = format!(
            "source: {{ url: {}, poll: 1s }}\nstate: state\ncloud: aws\naccounts: {{ prod: {{ id: \"{id}\", role: \
             \"arn:aws:iam::{id}:role/grantd\", regions: [{REGION}] }} }}\n",
            repo.display()
        );
        fs::write(site.path("grantd.yaml"), config).unwrap();
        site.run(&["documents", "install"]);
        site.run(&["init"]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@corp.example"];
        let status = Command::new("git").args(identity).args(arguments).current_dir(self.path("access")).status();
        assert!(status.unwrap().success());
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
    }

    fn grant(&self, name: &str, entry: &str) {
        let text = format!("requester: jdoe@corp.example\npurpose: on call\nttl: 8h\naccess:\n  - {entry}\n");
        fs::write(self.path(&format!("access/grants/{name}.yaml")), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
        command.args(arguments).arg("--config").arg(self.path("grantd.yaml")).envs(self.cloud.environment());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        self.daemon = Some(self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.until("it runs", || fs::read_to_string(self.path("log")).unwrap().contains("grantd runs"));
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn until(&self, what: &str, look: impl Fn() -> bool) {
        let begun = Instant::now();
        while !look() {
            assert!(begun.elapsed() < Duration::from_secs(300), "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many fates the journal has.
    fn fates(&self) -> usize {
        let journal = fs::read_dir(self.path("state/journal")).unwrap();
        let texts = journal.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        texts.map(|text| text.matches(r#""kind":"fate""#).count()).sum()
    }

    /// Waits until nothing has been asked for two seconds, and answers how many calls there were.
    fn rest(&self) -> usize {
        let (mut count, mut since) = (self.cloud.calls().len(), Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.cloud.calls().len();
            if now != count {
                (count, since) = (now, Instant::now());
            }
        }
        count
    }
}

pub fn measure() {
    merge();
    principals();
    hosts();
}

/// From a merge to the first call.
fn merge() {
    let mut site = Site::new();
    Realm::of(&site.account).role("OpsOnCall");
    site.start();
    site.rest();
    let mut times = Vec::new();
    for run in 0..5 {
        site.cloud.clear_calls();
        let policy = [
            "AmazonEC2ReadOnlyAccess",
            "ReadOnlyAccess",
            "SecurityAudit",
            "ViewOnlyAccess",
            "AWSBillingReadOnlyAccess",
        ][run];
        site.grant(
            &format!("jdoe-{run}"),
            &format!("iam-policy: {{ account: prod, role: OpsOnCall, policy: {policy} }}"),
        );
        site.commit();
        let begun = Instant::now();
        site.until("AWS is asked", || !site.cloud.calls().is_empty());
        times.push(begun.elapsed());
        site.rest();
    }
    let runs = Runs::new(times);
    row(
        "merge to first AWS call, local repository",
        "under 1 s",
        &runs.to_string(),
        runs.median() < Duration::from_secs(1),
    );
}

fn principals() {
    let mut site = Site::new();
    let realm = Realm::of(&site.account);
    for number in 0..PRINCIPALS + CHANGED {
        realm.user(&format!("u{number:04}"));
    }
    let entry = |number: usize| format!("iam-policy: {{ account: prod, user: u{number:04}, policy: {READ_ONLY} }}");
    (0..PRINCIPALS).for_each(|number| site.grant(&format!("grant-{number:04}"), &entry(number)));
    site.start();
    let begun = Instant::now();
    site.commit();
    site.until("all is granted", || site.fates() == PRINCIPALS);
    row("1,000 principals, one grant each: from merge to the last proven", "", &short(begun.elapsed()), true);
    site.stop();
    site.cloud.clear_calls();
    let begun = Instant::now();
    site.start();
    site.until("a sweep begins", || !site.cloud.calls().is_empty());
    let calls = site.rest();
    let pages = site.cloud.count("iam:GetAccountAuthorizationDetails");
    let measured = format!(
        "{calls} calls, {pages} of them pages; {}",
        short(begun.elapsed().saturating_sub(Duration::from_secs(2)))
    );
    row("a start with a sweep over them, without changes", "at most pages + 5 calls", &measured, calls <= pages + 5);
    site.cloud.clear_calls();
    std::thread::sleep(Duration::from_secs(5));
    let calls = site.cloud.calls().len();
    row("five polls without changes", "no calls", &format!("{calls} calls"), calls == 0);
    (PRINCIPALS..PRINCIPALS + CHANGED).for_each(|number| site.grant(&format!("grant-{number:04}"), &entry(number)));
    site.commit();
    site.until("the new ones are granted", || site.fates() == PRINCIPALS + CHANGED);
    let calls = site.rest();
    let writes = site.cloud.count("iam:AttachUserPolicy");
    let reads = calls - writes;
    let good = reads <= 3 * CHANGED && writes == CHANGED;
    row("10 more of them", "at most 3 reads and 1 write each", &format!("{reads} reads, {writes} writes"), good);
}

fn hosts() {
    let mut site = Site::new();
    site.cloud.directory(&[r"corp\jdoe"]);
    site.cloud.agent_time(Duration::from_secs(2));
    for _ in 0..HOSTS {
        site.cloud.windows(&site.account, REGION, &[("AccessGroup", "JITAdmins")]);
    }
    site.start();
    site.rest();
    let windows = format!(
        "windows-admin: {{ user: CORP\\jdoe, account: prod, region: {REGION}, instances: {{ AccessGroup: JITAdmins }} }}"
    );
    site.grant("jdoe-hosts", &windows);
    let begun = Instant::now();
    site.commit();
    site.until("all hosts answered", || site.fates() == HOSTS);
    let time = begun.elapsed();
    let (sends, polls) = (site.cloud.count("ssm:SendCommand"), site.cloud.count("ssm:ListCommandInvocations"));
    let measured = format!("{sends} SendCommand, {polls} ListCommandInvocations, {}", short(time));
    let good = sends <= 12 && time < Duration::from_secs(10);
    row(
        "500 hosts, one user, agents that take 2 s: from merge to the last answer",
        "at most 12 SendCommand, under 10 s",
        &measured,
        good,
    );
}
