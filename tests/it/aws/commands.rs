//! SSM's list of commands: what was sent, whoever heard of it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    cloud::Request,
    fleet::{Command, Fleet},
    run_command::{Refusal, epoch, page, valid, with_next},
};

/// The newest first.
pub fn list(fleet: &mut Fleet, request: &Request, asked: &Value) -> Result<Value, Refusal> {
    let most = asked["MaxResults"].as_i64().unwrap_or(50);
    valid((1..=50).contains(&most), "maxResults", "Member must have value between 1 and 50")?;
    let mut after = Timestamp::MIN;
    for filter in asked["Filters"].as_array().into_iter().flatten() {
        let value = filter["value"].as_str().unwrap_or_default();
        match filter["key"].as_str().unwrap_or_default() {
            "InvokedAfter" => {
                let time = value.parse().ok();
                after = time.ok_or_else(|| valid(false, "filters", "Member must be a time").unwrap_err())?;
            }
            other => return Err(("InvalidFilterKey", format!("{other} is not modelled here"))),
        }
    }
    let (now, place) = (fleet.now(), (request.account.clone(), request.region.clone()));
    let (id, instance) = (asked["CommandId"].as_str(), asked["InstanceId"].as_str());
    // As their invocations, they are shown some time after they were sent.
    let fits = |command: &&Command| {
        command.place == place
            && command.sent >= after
            && now.duration_since(command.sent) >= SignedDuration::from_millis(50)
            && id.is_none_or(|id| id == command.id)
            && instance.is_none_or(|only| command.invocations.iter().any(|(each, _)| each == only))
    };
    let mut found: Vec<&Command> = fleet.commands.values().filter(fits).collect();
    found.sort_by_key(|command| std::cmp::Reverse(command.sent));
    let (found, next) = page(&found, asked, most)?;
    let commands: Vec<_> = found.iter().map(|command| shown(command)).collect();
    Ok(with_next(json!({ "Commands": commands }), next))
}

/// A command as it is told to who sent it and who asks.
pub fn shown(command: &Command) -> Value {
    let outcomes = || command.invocations.iter().filter_map(|(_, outcome)| outcome.as_ref());
    let (ids, ended): (Vec<_>, _) = (command.invocations.iter().map(|(id, _)| id).collect(), outcomes().count());
    let status = match ended {
        0 => "Pending",
        _ if ended < ids.len() => "InProgress",
        _ if outcomes().all(|outcome| outcome.status == "Success") => "Success",
        _ => "Failed",
    };
    let parameters: Map<_, _> = command.parameters.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    json!({
        "CommandId": command.id,
        "DocumentName": command.document,
        "DocumentVersion": command.version,
        "Comment": command.comment,
        "ExpiresAfter": epoch(command.expires),
        "Parameters": parameters,
        "InstanceIds": ids,
        "Targets": [],
        "RequestedDateTime": epoch(command.sent),
        "Status": status,
        "StatusDetails": status,
        "TargetCount": ids.len(),
        "CompletedCount": ended,
        "ErrorCount": outcomes().filter(|outcome| outcome.status == "Failed").count(),
        "DeliveryTimedOutCount": outcomes().filter(|outcome| outcome.details == "DeliveryTimedOut").count(),
    })
}
