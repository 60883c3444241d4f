//! Scenarios on AWS: its adapters in this process, and the kit's cloud behind HTTP.

mod recall;

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::Credentials;
use grantd::{
    model::{self, Text},
    surface::{
        Cloud, Document, IdentityCenter, Settings, WindowsAdmin,
        aws::{Aws, Edge, wire},
        world::{Caseless, Host, ManualClock, State},
    },
};
use serde_json::{Value, json};

use super::{EAST, Ground, PROD, Scenario, WORLD, difference, moment, play};
use crate::aws::{self, Caller, Center, Realm};

/// Scenarios that are played at a time. They mostly wait: an answer of SSM's takes most of a second.
const ABREAST: usize = 8;

/// Instances that are there before they join: more than any scenario needs.
const STOCK: usize = 4;

#[test]
fn scenarios_print_the_same_on_aws_and_cost_what_they_say() {
    let scenarios = Mutex::new(Scenario::all().into_iter().filter(|scenario| !scenario.world_only()));
    let next = || scenarios.lock().unwrap().next();
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(scenario) = next() {
            // In a thread with its name, by which a panic tells which one it was.
            let name = scenario.path.file_name().unwrap().to_string_lossy().into_owned();
            let thread = thread::Builder::new().name(name).spawn(move || judge(&scenario)).unwrap();
            let found = thread.join().expect("a scenario panicked");
            wrong.lock().unwrap().extend(found);
        }
    };
    thread::scope(|scope| (0..ABREAST).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a scenario. Its story is the world's to write, and its costs are written here.
fn judge(scenario: &Scenario) -> Vec<String> {
    let clock = Arc::new(ManualClock::new(moment("09:00")));
    let mut wire = Wire::new(clock.clone());
    let printed = play(&scenario.story, &mut wire, clock);
    let differs = printed != scenario.story;
    let story = differs.then(|| format!("{}:\n{}", scenario.path.display(), difference(&scenario.story, &printed)));
    let costs = scenario.judge(|file| &mut file.costs, &wire.costs());
    story.into_iter().chain(costs).collect()
}

/// A scenario's account in AWS. Ids there are AWS's own.
struct Wire {
    clock: Arc<ManualClock>,
    cloud: aws::Cloud,
    base: SdkConfig,
    account: String,
    center: Center,
    /// What there is by name; who has what is looked up each time.
    names: State,
    /// The instances' ids, by the scenario's.
    hosts: BTreeMap<Text, String>,
    /// The ids of instances that wait to join, in the order in which they will.
    stock: std::vec::IntoIter<String>,
    /// The permission sets' ARNs.
    sets: BTreeMap<Text, String>,
    /// Identity Center's principals as the scenario names them, by its ids.
    principals: BTreeMap<String, Caseless>,
}

impl Wire {
    /// What the scenarios begin with.
    fn new(clock: Arc<ManualClock>) -> Self {
        let names = State::from_yaml(WORLD).unwrap();
        let (cloud, account) = (aws::Cloud::new(), aws::account());
        cloud.host_clock(clock.clone());
        cloud.agent_time(std::time::Duration::ZERO);
        cloud.directory(&names.directory.windows.iter().map(|user| &*user.0).collect::<Vec<_>>());
        let (realm, center) = (Realm::of(&account), Center::of(&account, EAST));
        let prod = &names.accounts[PROD];
        for name in prod.users.keys() {
            realm.user(name);
        }
        for name in prod.roles.keys() {
            realm.role(name);
        }
        for name in prod.groups.keys() {
            realm.group(name);
        }
        let sets = prod.permission_sets.keys().map(|name| (name.clone(), center.permission_set(name))).collect();
        let users = names.directory.users.iter().map(|Caseless(name)| (center.user(name), format!("user:{name}")));
        let groups = names.directory.groups.iter().map(|name| (center.group(name), format!("group:{name}")));
        let principals = users.chain(groups).map(|(id, name)| (id, Caseless(name.as_str().into()))).collect();
        let caller = Caller::of_moto(&account, EAST);
        for document in Document::ALL {
            let name = WindowsAdmin::default().documents.get(document).clone();
            let asked = json!({ "Name": &*name, "Content": document.content(), "DocumentType": "Command" });
            caller.fine_json("ssm", "CreateDocument", &asked);
        }
        // In the order of their ids, which are random, as the scenarios' hosts are in the order of theirs.
        let mut stock: Vec<String> = (0..STOCK).map(|_| cloud.windows(&account, EAST, &[])).collect();
        stock.sort();
        let (base, hosts, stock) = (base(&cloud), BTreeMap::new(), stock.into_iter());
        let mut wire = Self { clock, cloud, base, account, center, names, hosts, stock, sets, principals };
        for (name, host) in wire.names.accounts[PROD].hosts[EAST].clone() {
            wire.host(&name, &host);
        }
        wire
    }

    /// Makes a host so; one that is new joins.
    fn host(&mut self, name: &Text, host: &Host) {
        let stock = &mut self.stock;
        let id = self.hosts.entry(name.clone()).or_insert_with(|| stock.next().expect("the stock is too small"));
        let was = self.cloud.hosts(&self.account, EAST, |hosts| hosts[id].clone());
        for key in was.tags.keys().filter(|key| !host.tags.contains_key(*key)) {
            self.cloud.tag(&self.account, EAST, id, key, None);
        }
        for (key, value) in host.tags.iter().filter(|(key, value)| was.tags.get(*key) != Some(value)) {
            self.cloud.tag(&self.account, EAST, id, key, Some(value));
        }
        if was.state != host.state {
            self.cloud.power(&self.account, EAST, id, host.state);
        }
        self.cloud.hosts(&self.account, EAST, |hosts| hosts.insert(id.clone(), host.clone()));
    }

    /// What was asked of AWS since the beginning. Left out is what depends on time: sessions, which are begun every hour,
    /// and questions whether something is through.
    fn costs(&self) -> String {
        let mut counts: [BTreeMap<String, usize>; 2] = Default::default();
        for call in self.cloud.calls() {
            let aws::Call { mut action, body, .. } = call;
            let polls = ["ssm:ListCommandInvocations", "sso:DescribeAccountAssignment"];
            if action.starts_with("sts:") || polls.iter().any(|poll| action.starts_with(poll)) {
                continue;
            }
            let verb = action.split_once(':').unwrap().1;
            let mut reads = ["Describe", "Get", "List"].iter().any(|begin| verb.starts_with(begin));
            if action == "ssm:SendCommand" {
                let asked: Value = serde_json::from_str(&body).unwrap();
                let document = asked["DocumentName"].as_str().unwrap();
                reads = document.starts_with("List");
                action = format!("{action} of {document}");
            }
            *counts[usize::from(!reads)].entry(action).or_default() += 1;
        }
        let mut text = String::new();
        for (what, counts) in ["read", "write"].iter().zip(counts) {
            let calls: Vec<_> = counts.iter().map(|(action, count)| format!("{count} {action}")).collect();
            let _ = match counts.values().sum() {
                0 => writeln!(text, "# On AWS, no {what}"),
                1 => writeln!(text, "# On AWS, 1 {what}: {}", calls.join(", ")),
                sum => writeln!(text, "# On AWS, {sum} {what}s: {}", calls.join(", ")),
            };
        }
        format!("\n{text}")
    }
}

impl Ground for Wire {
    fn cloud(&self) -> Cloud {
        let secret = |name: &str| Err(format!("nobody asks for {name}"));
        let edge = Edge {
            clock: self.clock.clone(),
            daemon: "test".into(),
            secret: Box::new(secret),
            random,
            base: Some(self.base.clone()),
            http: wire::client(&model::Outside::default()).unwrap(),
        };
        let aws = Aws::new(edge);
        let center = IdentityCenter { account: self.account.as_str().into(), region: EAST.into() };
        let settings = Settings { windows_admin: WindowsAdmin::default(), permission_set: Some(center) };
        aws.configure([self.prod()].iter(), &settings);
        Cloud::Aws(aws)
    }

    fn prod(&self) -> model::Account {
        let role = format!("arn:aws:iam::{}:role/grantd", self.account);
        let (id, role) = (self.account.as_str().into(), Some(role.as_str().into()));
        model::Account { id, role, external_id: None, regions: vec![EAST.into()] }
    }

    fn state(&self) -> State {
        let mut state = self.names.clone();
        let prod = state.accounts.get_mut(PROD).unwrap();
        let realm = Realm::of(&self.account);
        let attached =
            |kind: &str, name: &str| realm.attached(kind, name).iter().map(|arn| arn.as_str().into()).collect();
        for (name, user) in &mut prod.users {
            user.policies = attached("user", name);
        }
        for (name, role) in &mut prod.roles {
            role.policies = attached("role", name);
        }
        for (name, group) in &mut prod.groups {
            group.policies = attached("group", name);
            for member in realm.members(name) {
                prod.users.get_mut(member.as_str()).unwrap().groups.insert(name.clone());
            }
        }
        for (name, assigned) in &mut prod.permission_sets {
            let found = self.center.assignments(&self.account, &self.sets[name]);
            *assigned = found.iter().map(|(_, id)| self.principals[id].clone()).collect();
        }
        let hosts = self.cloud.hosts(&self.account, EAST, |hosts| hosts.clone());
        let hosts = self.hosts.iter().map(|(name, id)| (name.clone(), hosts[id].clone())).collect();
        prod.hosts.insert(EAST.into(), hosts);
        state
    }

    fn edit(&mut self, change: &mut dyn FnMut(&mut State)) {
        let old = self.state();
        let mut new = old.clone();
        change(&mut new);
        let realm = Realm::of(&self.account);
        let (was, is) = (&old.accounts[PROD], &new.accounts[PROD]);
        for (name, role) in &is.roles {
            let before = &was.roles[name].policies;
            for arn in before.difference(&role.policies) {
                realm.detach("role", name, arn);
            }
            for arn in role.policies.difference(before) {
                realm.attach("role", name, arn);
            }
        }
        for (name, host) in &is.hosts[EAST] {
            self.host(name, host);
        }
        assert_eq!(self.state(), new, "such a change cannot be made here yet");
    }

    fn named(&self, text: &str) -> String {
        let hosts = self.hosts.iter().map(|(name, id)| (id, &**name));
        let names = hosts.chain([(&self.account, PROD)]);
        names.fold(text.to_owned(), |text, (id, name)| text.replace(id.as_str(), name))
    }
}

/// What the SDK's default chain would find in a process that has this cloud for AWS.
fn base(cloud: &aws::Cloud) -> SdkConfig {
    let load = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(cloud.url())
        .region(Region::from_static(EAST))
        .credentials_provider(Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(load)
}

/// Another number each time.
fn random() -> io::Result<[u8; 16]> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Ok(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
}
