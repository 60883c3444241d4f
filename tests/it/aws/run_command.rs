//! SSM Run Command as AWS answers it, with its limits and its traps. moto only pretends.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use grantd::surface::world::Power;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    cloud::{Protocol, Request, Shared},
    commands,
    document::Document,
    fault,
    fleet::{Command, Fleet, Outcome, reachable},
    http::Message,
};

/// An error of the service's: its code, and what it says.
pub type Refusal = (&'static str, String);

/// What is done here and not by moto.
const OURS: [&str; 6] = [
    "ssm:SendCommand",
    "ssm:ListCommands",
    "ssm:ListCommandInvocations",
    "ssm:GetCommandInvocation",
    "ssm:DescribeInstanceInformation",
    "ssm:CancelCommand",
];

pub fn is_ours(request: &Request) -> bool {
    OURS.contains(&request.action.as_str())
}

pub fn answer(shared: &Shared, request: &Request) -> Message {
    let asked = serde_json::from_slice(&request.message.body).unwrap_or_default();
    let answer = if request.action == "ssm:SendCommand" {
        send(shared, request, &asked)
    } else {
        let fleet = &mut shared.lock().fleet;
        fleet.settle();
        match request.action.as_str() {
            "ssm:ListCommands" => commands::list(fleet, request, &asked),
            "ssm:ListCommandInvocations" => list(fleet, request, &asked),
            "ssm:GetCommandInvocation" => get(fleet, request, &asked),
            "ssm:DescribeInstanceInformation" => describe(fleet, request, &asked),
            _ => cancel(fleet, request, &asked),
        }
    };
    let mut answer = match answer {
        Ok(value) => Message::response(200, "application/x-amz-json-1.1", value.to_string()),
        Err((code, message)) => fault::error(Protocol::Json, 400, code, &message),
    };
    let date = shared.lock().fleet.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer.headers.push(("Date".into(), date));
    answer
}

fn send(shared: &Shared, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let ids = texts(&asked["InstanceIds"]);
    let comment = asked["Comment"].as_str().unwrap_or_default();
    let timeout = asked["TimeoutSeconds"].as_i64().unwrap_or(3600);
    let version = asked["DocumentVersion"].as_str().unwrap_or("$DEFAULT");
    valid(ids.len() <= 50, "instanceIds", "Member must have length less than or equal to 50")?;
    valid(!ids.is_empty(), "instanceIds", "Targets are not modelled here, so instance ids are needed")?;
    valid(
        ids.iter().all(|id| is_instance(id)),
        "instanceIds",
        r"Member must satisfy regular expression pattern: (^i-(\w{8}|\w{17})$)|(^mi-\w{17}$)",
    )?;
    valid(comment.chars().count() <= 100, "comment", "Member must have length less than or equal to 100")?;
    valid(timeout >= 30, "timeoutSeconds", "Member must have value greater than or equal to 30")?;
    valid(timeout <= 2_592_000, "timeoutSeconds", "Member must have value less than or equal to 2592000")?;
    let errors = errors(asked["MaxErrors"].as_str().unwrap_or("0"), ids.len())?;
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(("DuplicateInstanceId", String::new()));
    }
    let document = Document::of_moto(shared, request, asked["DocumentName"].as_str().unwrap_or_default(), version)?;
    document.check_hash(asked)?;
    let parameters = document.parameters(&asked["Parameters"])?;

    let fleet = &mut shared.lock().fleet;
    fleet.settle();
    let place = (request.account.clone(), request.region.clone());
    let hosts = fleet.hosts.entry(place.clone()).or_default();
    let bad: Vec<_> = ids.iter().filter(|id| !hosts.get(*id).is_some_and(reachable)).cloned().collect();
    if !bad.is_empty() {
        let message = format!("Instances [[{}]] not in a valid state for account {}", bad.join(", "), request.account);
        return Err(("InvalidInstanceId", message));
    }
    let sent = fleet.now();
    let command = Command {
        id: new_id(),
        place,
        document: document.name,
        version: version.into(),
        comment: comment.into(),
        step: document.step,
        parameters,
        sent,
        due: sent + fleet.agent_time,
        expires: sent + SignedDuration::from_secs(timeout),
        errors,
        looked: false,
        invocations: ids.iter().map(|id| (id.clone(), None)).collect(),
    };
    let mut answer = commands::shown(&command);
    answer["MaxConcurrency"] = asked["MaxConcurrency"].as_str().unwrap_or("50").into();
    answer["MaxErrors"] = asked["MaxErrors"].as_str().unwrap_or("0").into();
    answer["TimeoutSeconds"] = timeout.into();
    let answer = json!({ "Command": answer });
    fleet.commands.insert(command.id.clone(), command);
    Ok(answer)
}

fn list(fleet: &mut Fleet, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let most = asked["MaxResults"].as_i64().unwrap_or(50);
    valid((1..=50).contains(&most), "maxResults", "Member must have value between 1 and 50")?;
    valid(asked["Filters"].is_null(), "filters", "They are not modelled here")?;
    let now = fleet.now();
    let command = command(fleet, request, asked)?;
    if hidden(command, now) {
        return Ok(json!({ "CommandInvocations": [] }));
    }
    let only = asked["InstanceId"].as_str();
    let invocations: Vec<_> =
        command.invocations.iter().filter(|(instance, _)| only.is_none_or(|only| only == instance)).collect();
    let (page, next) = page(&invocations, asked, most)?;
    let details = asked["Details"].as_bool().unwrap_or(false);
    let invocations = page.iter().map(|(instance, outcome)| {
        let Seen { status, details: status_details, code, out, begun, ended } = seen(command, outcome.as_ref(), now);
        let plugin = json!({
            "Name": command.step,
            "Status": status,
            "StatusDetails": status_details,
            "ResponseCode": code,
            "ResponseStartDateTime": begun.map(epoch),
            "ResponseFinishDateTime": ended.map(epoch),
            "Output": cut(out, 2_500, "\n---Output truncated---"),
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
        });
        json!({
            "CommandId": command.id,
            "InstanceId": instance,
            "InstanceName": "",
            "Comment": command.comment,
            "DocumentName": command.document,
            "DocumentVersion": command.version,
            "RequestedDateTime": epoch(command.sent),
            "Status": status,
            "StatusDetails": status_details,
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "CommandPlugins": if details { vec![plugin] } else { Vec::new() },
        })
    });
    Ok(with_next(json!({ "CommandInvocations": invocations.collect::<Vec<_>>() }), next))
}

fn get(fleet: &mut Fleet, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let now = fleet.now();
    let command = command(fleet, request, asked)?;
    let missing = || ("InvocationDoesNotExist", String::new());
    if hidden(command, now) {
        return Err(missing());
    }
    let instance = asked["InstanceId"].as_str().unwrap_or_default();
    let (_, outcome) = command.invocations.iter().find(|(each, _)| each == instance).ok_or_else(missing)?;
    if asked["PluginName"].as_str().is_some_and(|name| name != command.step) {
        return Err(("InvalidPluginName", String::new()));
    }
    let Seen { status, details, code, out, begun, ended } = seen(command, outcome.as_ref(), now);
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let elapsed =
        begun.zip(ended).map(|(begun, ended)| format!("PT{:.3}S", (ended - begun).total(jiff::Unit::Second).unwrap()));
    Ok(json!({
        "CommandId": command.id,
        "InstanceId": instance,
        "Comment": command.comment,
        "DocumentName": command.document,
        "DocumentVersion": command.version,
        "PluginName": command.step,
        "ResponseCode": code,
        "ExecutionStartDateTime": text(begun),
        "ExecutionElapsedTime": elapsed.unwrap_or_default(),
        "ExecutionEndDateTime": text(ended),
        "Status": status,
        "StatusDetails": details,
        "StandardOutputContent": cut(out, 24_000, "--output truncated--"),
        "StandardOutputUrl": "",
        "StandardErrorContent": "",
        "StandardErrorUrl": "",
    }))
}

fn describe(fleet: &mut Fleet, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let most = asked["MaxResults"].as_i64().unwrap_or(10);
    valid((5..=50).contains(&most), "maxResults", "Member must have value between 5 and 50")?;
    valid(
        asked["InstanceInformationFilterList"].is_null(),
        "instanceInformationFilterList",
        "It is not modelled here",
    )?;
    let place = (request.account.clone(), request.region.clone());
    let hosts = fleet.hosts.entry(place.clone()).or_default().iter();
    let mut found = Vec::new();
    for (id, host) in hosts.filter(|(_, host)| host.state == Power::Running) {
        let ping = if reachable(host) { "Online" } else { "ConnectionLost" };
        let mut fits = true;
        for filter in asked["Filters"].as_array().into_iter().flatten() {
            let values = texts(&filter["Values"]);
            valid((1..=100).contains(&values.len()), "filters", "Member must have length between 1 and 100")?;
            let value = match filter["Key"].as_str().unwrap_or_default() {
                "InstanceIds" => id,
                "PingStatus" => ping,
                "PlatformTypes" => "Windows",
                other => return Err(("InvalidFilterKey", format!("{other} is not modelled here"))),
            };
            fits &= values.iter().any(|each| each == value);
        }
        if fits {
            let version = fleet.versions.get(&(place.clone(), id.clone())).map_or("3.3.3050.0", String::as_str);
            found.push(json!({
                "InstanceId": id,
                "PingStatus": ping,
                "AgentVersion": version,
                "IsLatestVersion": false,
                "PlatformType": "Windows",
                "PlatformName": "Microsoft Windows Server 2022 Datacenter",
                "PlatformVersion": "10.0.20348",
                "ResourceType": "EC2Instance",
                "ComputerName": format!("{id}.corp.example"),
            }));
        }
    }
    let (page, next) = page(&found, asked, most)?;
    Ok(with_next(json!({ "InstanceInformationList": page }), next))
}

fn cancel(fleet: &mut Fleet, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let now = fleet.now();
    let only = texts(&asked["InstanceIds"]);
    for (instance, outcome) in &mut command(fleet, request, asked)?.invocations {
        if only.is_empty() || only.contains(instance) {
            outcome.get_or_insert_with(|| Outcome::without_run("Cancelled", "Cancelled", now));
        }
    }
    Ok(json!({}))
}

fn command<'a>(fleet: &'a mut Fleet, request: &Request, asked: &Value) -> Result<&'a mut Command, Refusal> {
    let id = asked["CommandId"].as_str().unwrap_or_default();
    valid(id.len() == 36, "commandId", "Member must have length 36; a list without a command is not modelled here")?;
    let command = fleet.commands.get_mut(id);
    let ours = command.filter(|command| command.place == (request.account.clone(), request.region.clone()));
    ours.ok_or_else(|| ("InvalidCommandId", String::new()))
}

/// AWS shows a command's invocations only some time after it was sent: here 50 ms at least, and never at the first look
/// of the first second.
fn hidden(command: &mut Command, now: Timestamp) -> bool {
    let age = now.duration_since(command.sent);
    let first = !std::mem::replace(&mut command.looked, true);
    age < SignedDuration::from_millis(50) || first && age < SignedDuration::from_secs(1)
}

/// What is seen of an invocation.
struct Seen<'a> {
    status: &'a str,
    details: &'a str,
    code: i32,
    out: &'a str,
    begun: Option<Timestamp>,
    ended: Option<Timestamp>,
}

fn seen<'a>(command: &Command, outcome: Option<&'a Outcome>, now: Timestamp) -> Seen<'a> {
    let begun = command.sent + command.due.duration_since(command.sent) / 2;
    match outcome {
        Some(Outcome { status, details, code, out, at }) => {
            let begun = (*code >= 0).then_some(begun);
            Seen { status, details, code: *code, out, begun, ended: begun.map(|_| *at) }
        }
        None => {
            let (status, begun) = if now < begun { ("Pending", None) } else { ("InProgress", Some(begun)) };
            Seen { status, details: status, code: -1, out: "", begun, ended: None }
        }
    }
}

/// How many hosts may fail: `5`, `10%` of them, or with `100%` all.
fn errors(text: &str, hosts: usize) -> Result<usize, Refusal> {
    let number = match text.strip_suffix('%') {
        Some("100") => Ok(usize::MAX),
        Some(percent) => percent.parse().map(|percent: usize| hosts * percent / 100),
        None => text.parse(),
    };
    number.map_err(|_| valid(false, "maxErrors", "Member must be a number or a percentage").unwrap_err())
}

/// A page of what there is, and the token of the next.
pub fn page<'a, T>(all: &'a [T], asked: &Value, most: i64) -> Result<(&'a [T], Option<String>), Refusal> {
    let begin = asked["NextToken"].as_str().map_or(Ok(0), |token| token.trim_start_matches("page-").parse());
    let rest = begin.ok().and_then(|begin| all.get(begin..));
    let rest = rest.ok_or_else(|| ("InvalidNextToken", String::new()))?;
    let page = &rest[..rest.len().min(most as usize)];
    let end = all.len() - rest.len() + page.len();
    Ok((page, (end < all.len()).then(|| format!("page-{end}"))))
}

pub fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    answer
}

/// At most this many characters, of which the last say that there were more.
fn cut(text: &str, most: usize, mark: &str) -> String {
    if text.chars().count() <= most {
        text.into()
    } else {
        text.chars().take(most - mark.len()).chain(mark.chars()).collect()
    }
}

/// A constraint of the service's model.
pub fn valid(good: bool, field: &str, constraint: &str) -> Result<(), Refusal> {
    let message =
        || format!("1 validation error detected: Value at '{field}' failed to satisfy constraint: {constraint}");
    if good { Ok(()) } else { Err(("ValidationException", message())) }
}

fn is_instance(id: &str) -> bool {
    let rest = id.strip_prefix("i-").filter(|rest| [8, 17].contains(&rest.len()));
    let rest = rest.or_else(|| id.strip_prefix("mi-").filter(|rest| rest.len() == 17));
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.into())).collect()
}

pub fn epoch(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = format!("{} {}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let hex: String = Sha256::digest(number).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
