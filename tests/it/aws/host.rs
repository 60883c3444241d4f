//! What grantd's three documents do on a Windows host, done to a host of the world.

use std::collections::{BTreeMap, BTreeSet};

use grantd::surface::world::{Caseless, Host, Marker, Member};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fleet::{Outcome, Stuck};

/// Runs a document's step at a moment by the host's clock.
pub fn run(
    host: &mut Host,
    directory: &BTreeSet<Caseless>,
    step: &str,
    parameters: &BTreeMap<String, String>,
    stuck: Option<Stuck>,
    at: Timestamp,
) -> Outcome {
    if stuck == Some(Stuck::Skipped) {
        return Outcome { status: "Success", details: "Success", code: 0, out: String::new(), at };
    }
    let script = Script { directory, parameters, at, domain: stuck != Some(Stuck::NoDomain) };
    let done = match step {
        _ if stuck == Some(Stuck::Failed) => Err("the agent fails on purpose"),
        "add" => script.add(host),
        "remove" => script.remove(host),
        "list" => script.list(host),
        _ => Err("no document of ours has such a step"),
    };
    let failed = done.is_err();
    let mut answer = json!({ "grantd": 1, "nonce": parameters.get("Nonce"), "result": "failed", "detail": "" });
    match done {
        Ok(more) => answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone()),
        Err(why) => answer["detail"] = why.into(),
    }
    if stuck == Some(Stuck::Unmarked) {
        host.administrators.iter_mut().for_each(|member| member.marker = None);
    }
    if stuck == Some(Stuck::Long) {
        answer["detail"] = "long ".repeat(1000).into();
    }
    let status = if failed { "Failed" } else { "Success" };
    Outcome { status, details: status, code: if failed { 10 } else { 0 }, out: format!("{answer}\r\n"), at }
}

struct Script<'a> {
    directory: &'a BTreeSet<Caseless>,
    parameters: &'a BTreeMap<String, String>,
    at: Timestamp,
    /// Whether its domain answers.
    domain: bool,
}

/// What a script adds to its answer, or why it fails.
type Done = Result<Value, &'static str>;

impl Script<'_> {
    fn value(&self, name: &str) -> Result<&str, &'static str> {
        self.parameters.get(name).map(String::as_str).ok_or("a parameter is missing")
    }

    fn user(&self) -> Result<Caseless, &'static str> {
        Ok(Caseless(self.value("User")?.into()))
    }

    fn time(&self, name: &str) -> Result<Timestamp, &'static str> {
        self.value(name)?.parse().map_err(|_| "a parameter is no time")
    }

    fn add(&self, host: &mut Host) -> Done {
        let renew = match self.value("Verb")? {
            "grant" => false,
            "renew" => true,
            _ => return Err("a parameter is malformed"),
        };
        let user = self.user()?;
        let (until, act_by) = (self.time("Until")?, self.time("ActBy")?);
        let grants = self.value("Grants")?.split(',').map(str::parse).collect::<Result<_, _>>();
        let marker = Marker { until, grants: grants.map_err(|_| "Grants names no grants")? };
        let sid = sid(&user);
        if host.domain_controller {
            return Ok(json!({ "result": "domain-controller" }));
        }
        if self.at > act_by || self.at >= until {
            return Ok(json!({ "result": "late" }));
        }
        if !self.domain {
            return Err(SILENT);
        }
        if !self.directory.contains(&user) {
            return Ok(json!({ "result": "no-such-user" }));
        }
        let member = host.administrators.iter().find(|member| member.user == user);
        let found = match (renew, member) {
            (true, None) => Some("absent"),
            (false, Some(Member { marker: None, .. })) => Some("standing"),
            (true, Some(_)) | (false, _) => None,
        };
        if let Some(found) = found {
            return Ok(json!({ "result": found, "sid": sid }));
        }
        host.administrators.retain(|member| member.user != user);
        host.administrators.push(Member { user, marker: Some(marker) });
        Ok(json!({ "result": "done", "sid": sid }))
    }

    fn remove(&self, host: &mut Host) -> Done {
        let user = self.user()?;
        if host.domain_controller {
            return Ok(json!({ "result": "domain-controller" }));
        }
        // A mark knows the account. Without one it takes the domain, or its word that there is no such account.
        let marked = host.administrators.iter().any(|member| member.user == user && member.marker.is_some());
        if !marked && !self.domain {
            return Err(SILENT);
        }
        let before = host.administrators.len();
        host.administrators.retain(|member| member.user != user);
        host.sessions.remove(&user);
        let result = if host.administrators.len() < before { "done" } else { "absent" };
        Ok(json!({ "result": result, "sid": sid(&user) }))
    }

    fn list(&self, host: &Host) -> Done {
        if host.domain_controller {
            return Ok(json!({ "result": "domain-controller" }));
        }
        let members = host.administrators.iter().map(|Member { user, .. }| {
            let name = self.name(user);
            json!({ "sid": sid(user), "name": name })
        });
        let marks = host.administrators.iter().filter_map(|Member { user, marker }| {
            let Marker { until, grants } = marker.as_ref()?;
            let grants: Vec<_> = grants.iter().map(|grant| grant.as_str()).collect();
            let lower = user.0.to_ascii_lowercase();
            Some(json!({ "sid": sid(user), "user": lower, "until": until.to_string(), "grants": grants.join(",") }))
        });
        Ok(json!({ "result": "done", "members": members.collect::<Vec<_>>(), "marks": marks.collect::<Vec<_>>() }))
    }

    /// `CORP\jdoe`; nothing for a SID that is left of one whom the domain no longer knows. A domain of which we know
    /// nobody is the host itself, which knows its own.
    fn name(&self, user: &Caseless) -> Option<String> {
        let (domain, name) = user.0.split_once('\\').unwrap_or(("", &user.0));
        let of_domain = |each: &Caseless| each.0.split('\\').next().unwrap_or_default().eq_ignore_ascii_case(domain);
        let orphan = self.directory.iter().any(of_domain) && !self.directory.contains(user);
        (self.domain && !orphan).then(|| format!("{}\\{name}", domain.to_ascii_uppercase()))
    }
}

const SILENT: &str = "the domain does not answer";

/// Invented, and always the same for a name.
fn sid(user: &Caseless) -> String {
    let digest = Sha256::digest(user.0.to_ascii_lowercase());
    let number = |at: usize| u16::from_be_bytes([digest[at], digest[at + 1]]);
    format!("S-1-5-21-1004336348-1177238915-682003330-{}", 1000 + u32::from(number(0)) * 65_536 + u32::from(number(2)))
}
