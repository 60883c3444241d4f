//! The same thread on AWS, over HTTP: moto for EC2, IAM, STS and Identity Center, and SSM Run Command on hosts of ours.

mod doctor;
mod life;
mod lost;
mod standing;
mod troubles;

use std::time::{Duration, Instant};

use grantd::surface::world::{Caseless, Host, Member};

use super::{Daemon, PATIENCE, Site};
use crate::aws::{Center, Cloud, Realm, account};

const EC2: &str = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess";
const TAGS: &[(&str, &str)] = &[("AccessGroup", "JITAdmins")];
const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";
const ADD: &str = "AddLocalAdminADUser";
const REMOVE: &str = "RemoveLocalADUser";
const LIST: &str = "ListLocalAdmins";

/// Two accounts with IAM and hosts, and the one that has Identity Center.
struct Stage {
    site: Site,
    cloud: Cloud,
    prod: String,
    dev: String,
    org: String,
    /// The permission set PowerUser, and the id of jdoe@corp.example.
    set: String,
    person: String,
}

impl Stage {
    /// With the documents in place, and an installation begun.
    fn new() -> Self {
        let stage = Self::bare();
        let done = stage.site.fine(&["documents", "install"]);
        assert_eq!(done.out.matches(": made\n").count(), 9, "{done}");
        stage.site.fine(&["init"]);
        stage.cloud.clear_calls();
        stage
    }

    fn bare() -> Self {
        let mut site = Site::bare();
        let cloud = Cloud::new();
        site.environment = cloud.environment();
        let (prod, dev, org) = (account(), account(), account());
        for account in [&prod, &dev] {
            Realm::of(account).user("jdoe").user("maria").role("OpsOnCall").group("Auditors");
        }
        let center = Center::of(&org, EAST);
        let (set, person) = (center.permission_set("PowerUser"), center.user("jdoe@corp.example"));
        cloud.directory(&[r"corp\jdoe", r"corp\maria", r"corp\ops"]);
        let stage = Self { site, cloud, prod, dev, org, set, person };
        stage.configure("");
        stage
    }

    fn configure(&self, more: &str) {
        let Self { site, prod, dev, org, .. } = self;
        let role = |id: &str| format!("id: \"{id}\", role: \"arn:aws:iam::{id}:role/grantd\"");
        let text = format!(
            "source: {{ url: {}, poll: 1s }}\nstate: state\ncloud: aws\naccounts:\n  \
             prod: {{ {}, regions: [{EAST}, {WEST}] }}\n  dev: {{ {}, regions: [{EAST}] }}\n  org: {{ {}, regions: [] }}\n\
             permission-set: {{ account: org, region: {EAST} }}\n{more}",
            site.path("access.git").display(),
            role(prod),
            role(dev),
            role(org),
        );
        site.replace("grantd.yaml", &text);
    }

    fn host(&self, account: &str, region: &str) -> String {
        let ops = Member { user: Caseless(r"CORP\ops".into()), marker: None };
        self.cloud.windows_like(account, region, TAGS, Host { administrators: vec![ops], ..Host::default() })
    }

    fn merge(&self, name: &str, ttl: &str, entries: &[String]) {
        let access: String = entries.iter().map(|entry| format!("  - {entry}\n")).collect();
        self.site.merge(name, &super::grant(ttl, &access));
    }

    /// Whether corp\jdoe is a local administrator of ours.
    fn admin(&self, account: &str, region: &str, host: &str) -> bool {
        let jdoe = Caseless(r"corp\jdoe".into());
        let hosts = self.cloud.hosts(account, region, |hosts| hosts.clone());
        hosts[host].administrators.iter().any(|member| member.user == jdoe && member.marker.is_some())
    }

    /// Whether corp\jdoe is a local administrator, whoever's he is.
    fn local(&self, account: &str, region: &str, host: &str) -> bool {
        let jdoe = Caseless(r"corp\jdoe".into());
        let hosts = self.cloud.hosts(account, region, |hosts| hosts.clone());
        hosts[host].administrators.iter().any(|member| member.user == jdoe)
    }

    /// Somebody makes corp\jdoe a local administrator by hand.
    fn by_hand(&self, account: &str, region: &str, host: &str) {
        let jdoe = Member { user: Caseless(r"CORP\jdoe".into()), marker: None };
        self.cloud.hosts(account, region, |hosts| hosts.get_mut(host).unwrap().administrators.push(jdoe));
    }

    /// How many commands of a document were asked for.
    fn sends(&self, document: &str) -> usize {
        let sends = self.cloud.calls().into_iter().filter(|call| call.action == "ssm:SendCommand");
        sends.filter(|call| call.body.contains(document)).count()
    }

    fn attached(&self, account: &str) -> bool {
        Realm::of(account).attached("role", "OpsOnCall").iter().any(|arn| arn == EC2)
    }

    fn member(&self, account: &str) -> bool {
        Realm::of(account).members("Auditors").contains(&"jdoe".to_owned())
    }

    fn assigned(&self, account: &str) -> bool {
        Center::of(&self.org, EAST).assignments(account, &self.set).contains(&("USER".into(), self.person.clone()))
    }

    /// Waits until it is so; if it never is, tells what the daemon said and asked.
    fn until(&self, daemon: &Daemon, what: &str, look: impl Fn() -> bool) {
        let begun = Instant::now();
        while !look() {
            if begun.elapsed() > PATIENCE {
                let (log, counts, history) = (daemon.log(), self.cloud.counts(), self.site.fine(&["history"]).out);
                panic!("waited in vain until {what}:\n{log}\n{counts:#?}\n{history}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a time in which nothing is to happen.
    fn pass(&self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }

    /// Every fate in the journal so far: verb, surface and what it was.
    fn fates(&self) -> Vec<String> {
        let lines = self.site.history().into_iter().filter(|line| line["kind"] == "fate");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        lines
            .map(|line| {
                format!("{} {} {}", text(&line["verb"]), text(&line["binding"]["surface"]), text(&line["fate"]["is"]))
            })
            .collect()
    }
}

fn windows(account: &str, region: &str) -> String {
    format!(
        "windows-admin: {{ user: CORP\\jdoe, account: {account}, region: {region}, instances: {{ AccessGroup: JITAdmins }} }}"
    )
}

fn policy(account: &str) -> String {
    format!("iam-policy: {{ account: {account}, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }}")
}

fn group(account: &str) -> String {
    format!("iam-group: {{ account: {account}, user: jdoe, group: Auditors }}")
}

fn set(account: &str) -> String {
    format!("permission-set: {{ account: {account}, user: jdoe@corp.example, set: PowerUser }}")
}
