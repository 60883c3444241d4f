//! A small cloud, and short ways to ask it and to change it.

mod clocks;
mod files;
mod iam;
mod troubles;
mod windows;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    super::{
        Cloud,
        model::{
            Binding, Cause, Clock, Event, Fate, Holders, Reading, Seen, Selector, Step, Text, Trouble, TroubleKind,
            Verb,
        },
    },
    *,
};

const YAML: &str = r"
accounts:
  '123456789012':
    hosts:
      us-east-1:
        i-0abc:
          name: checkout-1
          tags: { AccessGroup: JITAdmins, Env: prod }
          administrators: ['CORP\ops']
          sessions: ['CORP\ops', 'CORP\jdoe']
        i-0abd: { tags: { AccessGroup: OnCall, Env: prod }, state: stopped }
        i-0abe: { tags: { AccessGroup: JITAdmins, Env: prod }, agent: offline }
        i-0abf: { tags: { AccessGroup: JITAdmins, Env: prod }, state: terminated }
        i-0dc0: { tags: { AccessGroup: DCs }, domain-controller: true }
      eu-west-1:
        i-0eee: { tags: { AccessGroup: JITAdmins, Env: prod } }
    users:
      jdoe: { groups: [Readers] }
      boss: { groups: [Auditors], policies: [ReadOnlyAccess] }
    roles:
      OpsOnCall: {}
    groups:
      Auditors: {}
      Readers: {}
    permission-sets:
      PowerUser: ['user:Boss@corp.example']
policies: [ReadOnlyAccess, 'arn:aws:iam::123456789012:policy/Ops']
directory:
  windows: ['CORP\jdoe', 'CORP\ops', 'CORP\asmith']
  users: [jdoe@corp.example, boss@corp.example]
  groups: [Cloud Operators]
";

pub const READ_ONLY: &str = "attach:arn:aws:iam::aws:policy/ReadOnlyAccess";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn noon() -> Timestamp {
    at("2026-11-20T12:00:00Z")
}

pub fn end() -> Timestamp {
    at("2026-11-20T20:00:00Z")
}

pub fn small() -> World {
    World::new(State::from_yaml(YAML).unwrap(), Arc::new(ManualClock::new(noon())))
}

pub fn admin(instance: &str, who: &str) -> Binding {
    Binding::new("windows-admin", &format!("123456789012/us-east-1/{instance}"), "Administrators", who)
}

pub fn attach(kind: &str, name: &str, policy: &str) -> Binding {
    Binding::new("iam-policy", &format!("123456789012/{kind}/{name}"), policy, name)
}

pub fn member(group: &str, who: &str) -> Binding {
    Binding::new("iam-group", &format!("123456789012/group/{group}"), "member", who)
}

pub fn assign(set: &str, who: &str) -> Binding {
    Binding::new("permission-set", "123456789012", set, who)
}

pub fn step(verb: Verb, binding: &Binding) -> Step {
    Step {
        verb,
        binding: binding.clone(),
        until: end(),
        holders: Holders::from_iter([("oncall-1".parse().unwrap(), "0123456789ab".parse().unwrap())]),
        cause: Cause::Merged,
        act_by: None,
        before: Seen::Unread,
        origin: None,
        intent: 7,
        nonce: None,
        stated: None,
        off: Default::default(),
    }
}

/// Every event of one batch, in order.
pub async fn write(world: &World, steps: Vec<Step>) -> Vec<Event> {
    let surface = steps[0].binding.surface().to_string();
    let (events, mut told) = mpsc::unbounded_channel();
    Cloud::World(world.clone()).writers()[&*surface].write(steps, events).await;
    let mut all = Vec::new();
    while let Some(event) = told.recv().await {
        all.push(event);
    }
    all
}

pub async fn fate(world: &World, step: Step) -> Fate {
    match write(world, vec![step]).await.pop() {
        Some(Event::Done { intent: 7, fate, .. }) => fate,
        other => panic!("{other:?} is not the end"),
    }
}

pub async fn act(world: &World, verb: Verb, binding: &Binding) -> Fate {
    fate(world, step(verb, binding)).await
}

pub async fn seen(world: &World, binding: &Binding) -> Seen {
    let readings =
        Cloud::World(world.clone()).readers()[binding.surface()].read(&[], std::slice::from_ref(binding)).await;
    match &readings[..] {
        [Reading::Sight { binding: of, seen }] if of == binding => seen.clone(),
        other => panic!("{other:?} is not one sight"),
    }
}

pub fn failed(fate: Fate) -> (TroubleKind, String) {
    match fate {
        Fate::Failed(Trouble { kind, detail }) => (kind, detail),
        other => panic!("{other:?} did not fail"),
    }
}

pub fn blind(seen: Seen) -> TroubleKind {
    match seen {
        Seen::Blind(trouble) => trouble.kind,
        other => panic!("{other:?} is not blind"),
    }
}

/// A line of what the world shows.
pub fn line(world: &World, of: &str) -> String {
    let shown = world.show().unwrap();
    shown.lines().find(|line| line.contains(of)).unwrap_or_default().to_owned()
}
