//! What the story is played with: world, configuration, grants; and how to look at the world.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::{
    model::Binding,
    surface::world::{Account, Agent, Caseless, Host, Member, State},
};

use super::SPEED;

pub const PROD: &str = "123456789012";
const REGION: &str = "us-east-1";
pub const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess";

pub const WORLD: &str = r#"# The world of `grantd demo`: an in-memory cloud. Edit it, and grantd sees another one.
accounts:
  "123456789012":
    hosts:
      us-east-1:
        i-0a01: { name: checkout-1, tags: { AccessGroup: OnCall }, administrators: ['CORP\ops'] }
        i-0a02: { name: checkout-2, tags: { AccessGroup: OnCall }, administrators: ['CORP\maria'], sessions: ['CORP\maria'] }
        i-0b01: { name: ledger-db, tags: { AccessGroup: Database }, administrators: ['CORP\ops'] }
    users: { jdoe: {}, maria: {} }
    roles: { OpsOnCall: {} }
    groups: { Auditors: {} }
    permission-sets: { PowerUser: [] }
policies: [AmazonEC2ReadOnlyAccess, AdministratorAccess]
directory: { windows: ['CORP\jdoe', 'CORP\maria', 'CORP\ops'], users: [jdoe@corp.example, maria@corp.example] }
"#;

pub const FIRST: (&str, &str) = (
    "jdoe-checkout",
    r"requester: jdoe@corp.example
purpose: 'INC-4312: checkout hangs'
ttl: 8h
access:
  - windows-admin:
      { user: CORP\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: OnCall } }
  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }
  - iam-group: { account: prod, user: jdoe, group: Auditors }
  - permission-set: { account: prod, user: jdoe@corp.example, set: PowerUser }
",
);

pub const SECOND: (&str, &str) = (
    "jdoe-oncall",
    r"requester: jdoe@corp.example
purpose: on call this morning
ttl: 36m
access:
  - windows-admin: { user: CORP\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: OnCall } }
  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }
",
);

pub const THIRD: (&str, &str) = (
    "maria-oncall",
    r"requester: maria@corp.example
purpose: on call this morning
ttl: 36m
access:
  - windows-admin: { user: CORP\maria, account: prod, region: us-east-1, instances: { AccessGroup: OnCall } }
",
);

/// The configuration, with a repository.
pub fn config(repo: &Path) -> Result<String> {
    let repo = serde_json::to_string(repo.to_str().context("the demo needs a folder whose name is UTF-8")?)?;
    Ok(format!(
        "# The configuration of `grantd demo`. One real second is {SPEED} seconds in its world.\n\
         source: {{ url: {repo}, poll: 10m }}\n\
         state: state\n\
         cloud: {{ world: world.yaml, clock: {{ start: 2026-11-20T09:00:00Z, speed: {SPEED} }} }}\n\
         accounts:\n  prod: {{ id: \"{PROD}\", regions: [{REGION}] }}\n"
    ))
}

/// The cloud alone, without the moment at which its clock began.
pub fn cloud(state: &State) -> State {
    State { clock_began: None, ..state.clone() }
}

fn account(state: &State) -> Option<&Account> {
    state.accounts.get(PROD)
}

fn host<'a>(state: &'a State, name: &str) -> Option<&'a Host> {
    let hosts = account(state)?.hosts.get(REGION)?;
    hosts.values().find(|host| host.name.as_deref() == Some(name))
}

/// Changes the host of this name.
pub fn change(state: &mut State, name: &str, change: impl FnOnce(&mut Host)) {
    let hosts = state.accounts.get_mut(PROD).and_then(|account| account.hosts.get_mut(REGION));
    if let Some(host) = hosts.and_then(|hosts| hosts.values_mut().find(|host| host.name.as_deref() == Some(name))) {
        change(host);
    }
}

/// The end that our marker at a local administrator says, if there is one of ours.
pub fn marked(state: &State, name: &str, user: &str) -> Option<Timestamp> {
    let user = Caseless(user.into());
    let mut ours = host(state, name)?.administrators.iter().filter(|member| member.user == user);
    ours.find_map(|member| member.marker.as_ref()).map(|marker| marker.until)
}

/// Whether a user is a local administrator of somebody else's making.
pub fn standing(state: &State, name: &str, user: &str) -> bool {
    let user = Caseless(user.into());
    let by_hand = |member: &Member| member.user == user && member.marker.is_none();
    host(state, name).is_some_and(|host| host.administrators.iter().any(by_hand))
}

pub fn logged_on(state: &State, name: &str, user: &str) -> bool {
    host(state, name).is_some_and(|host| host.sessions.contains(&Caseless(user.into())))
}

pub fn attached(state: &State) -> bool {
    let role = account(state).and_then(|account| account.roles.get("OpsOnCall"));
    role.is_some_and(|role| role.policies.contains(READ_ONLY))
}

pub fn auditor(state: &State) -> bool {
    let user = account(state).and_then(|account| account.users.get("jdoe"));
    user.is_some_and(|user| user.groups.contains("Auditors"))
}

pub fn power_user(state: &State) -> bool {
    let set = account(state).and_then(|account| account.permission_sets.get("PowerUser"));
    set.is_some_and(|set| set.contains(&Caseless("user:jdoe@corp.example".into())))
}

/// Who has what, a line a thing.
pub fn picture(state: &State) -> Vec<(String, String)> {
    let Some(account) = account(state) else { return Vec::new() };
    let mut lines = Vec::new();
    for host in account.hosts.values().flat_map(|hosts| hosts.values()) {
        let mut text = String::new();
        for Member { user, marker } in &host.administrators {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{user}");
            if let Some(marker) = marker {
                let _ = write!(text, " until {}", clock(marker.until));
            }
        }
        if host.agent == Agent::Offline {
            text.push_str(" (offline)");
        }
        lines.push((host.name.as_deref().unwrap_or_default().to_owned(), text));
    }
    let mut iam = Vec::new();
    for (name, role) in &account.roles {
        iam.push(held(name, role.policies.iter().map(|policy| last(policy))));
    }
    for name in account.groups.keys() {
        iam.push(held(
            name,
            account.users.iter().filter(|(_, user)| user.groups.contains(name)).map(|(user, _)| &**user),
        ));
    }
    lines.push(("IAM".to_owned(), iam.join(", ")));
    for (name, assigned) in &account.permission_sets {
        lines.push(("SSO".to_owned(), held(name, assigned.iter().map(|who| last(&who.0)))));
    }
    lines
}

fn held<'a>(name: &str, by: impl Iterator<Item = &'a str>) -> String {
    let by: Vec<_> = by.collect();
    if by.is_empty() { format!("{name}: -") } else { format!("{name}: {}", by.join(" ")) }
}

/// A binding as a person would say it.
pub fn say(state: &State, binding: &Binding) -> String {
    let (surface, place, role, who) = (binding.surface(), binding.place(), binding.role(), binding.who());
    match surface {
        "windows-admin" => {
            let id = last(place);
            let hosts = account(state).and_then(|account| account.hosts.get(REGION));
            let name = hosts.and_then(|hosts| hosts.get(id)).and_then(|host| host.name.as_deref());
            format!("{who}, administrator of {}", name.unwrap_or(id))
        }
        "iam-policy" => format!("{} on role {who}", last(role)),
        "iam-group" => format!("{who} in group {}", last(place)),
        "permission-set" => format!("{role} for {}", last(who)),
        _ => binding.to_string(),
    }
}

fn last(path: &str) -> &str {
    path.rsplit(['/', ':']).next().unwrap_or(path)
}

/// The time of day.
pub fn clock(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%H:%M:%S")
}
