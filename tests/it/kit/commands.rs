//! SSM Run Command: what it refuses, what it does, and what it shows when.

use std::time::Duration;

use grantd::surface::world::{Agent, Host, Power};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::aws::{Caller, Cloud, Fault, How, Stuck, account};

pub const REGION: &str = "us-east-1";
pub const A: &str = "i-00000001";
const B: &str = "i-00000002";
pub const FOREVER: &str = "2099-01-01T00:00:00Z";

pub struct Site {
    pub cloud: Cloud,
    pub account: String,
    pub caller: Caller,
}

/// The content of one of grantd's documents, as far as the service goes by it.
pub fn content(step: &str) -> String {
    let text = |pattern: &str| json!({ "type": "String", "allowedPattern": pattern, "interpolationType": "ENV_VAR" });
    let mut parameters = json!({ "Nonce": text("^[a-z0-9]{4,}$") });
    if step != "list" {
        parameters["User"] = text(r"^[^\\]+\\[^\\]+$");
    }
    if step == "add" {
        parameters["Verb"] = text("^(grant|renew)$");
        parameters["Until"] = text("Z$");
        parameters["ActBy"] = text("Z$");
        parameters["Grants"] = text("^[a-z0-9,-]+$");
    }
    let steps = json!([{ "action": "aws:runPowerShellScript", "name": step, "inputs": { "runCommand": ["…"] } }]);
    json!({ "schemaVersion": "2.2", "description": step, "parameters": parameters, "mainSteps": steps }).to_string()
}

pub fn site() -> Site {
    let (cloud, account) = (Cloud::new(), account());
    let caller = cloud.caller(REGION).assume(&format!("arn:aws:iam::{account}:role/grantd"));
    for step in ["add", "remove", "list"] {
        let asked = json!({ "Name": step, "Content": content(step), "DocumentType": "Command" });
        caller.fine_json("ssm", "CreateDocument", &asked);
    }
    cloud.hosts(&account, REGION, |hosts| hosts.extend([A, B].map(|id| (id.to_owned(), Host::default()))));
    cloud.directory(&[r"corp\jdoe", r"corp\ops"]);
    cloud.agent_time(Duration::ZERO);
    Site { cloud, account, caller }
}

pub fn add(ids: &[&str]) -> Value {
    let parameters = json!({
        "Verb": ["grant"], "User": [r"CORP\jdoe"], "Until": [FOREVER], "ActBy": [FOREVER], "Grants": ["inc-1,inc-2"],
        "Nonce": ["abcd"],
    });
    json!({ "DocumentName": "add", "InstanceIds": ids, "Parameters": parameters })
}

impl Site {
    fn send(&self, asked: &Value) -> String {
        let answer = self.caller.fine_json("ssm", "SendCommand", asked);
        answer["Command"]["CommandId"].as_str().unwrap().into()
    }

    /// The code of the error.
    fn refused(&self, action: &str, asked: &Value) -> String {
        let answer = self.caller.json("ssm", action, asked).unwrap();
        assert_eq!(answer.status(), 400, "{asked}: {}", answer.text());
        serde_json::from_slice::<Value>(&answer.body).unwrap()["__type"].as_str().unwrap().into()
    }

    fn list(&self, id: &str) -> Vec<Value> {
        let asked = json!({ "CommandId": id, "Details": true });
        self.caller.fine_json("ssm", "ListCommandInvocations", &asked)["CommandInvocations"].as_array().unwrap().clone()
    }

    /// The invocations once they are shown.
    fn shown(&self, id: &str) -> Vec<Value> {
        self.list(id);
        self.cloud.pass(SignedDuration::from_millis(60));
        self.list(id)
    }

    /// Each host's status, its details and its exit code.
    fn statuses(&self, id: &str) -> Vec<String> {
        let line = |each: &Value| {
            let code = &each["CommandPlugins"][0]["ResponseCode"];
            format!("{} {} {code}", each["Status"].as_str().unwrap(), each["StatusDetails"].as_str().unwrap())
        };
        self.shown(id).iter().map(line).collect()
    }

    /// What the only host's script printed.
    pub fn answer(&self, asked: &Value) -> Value {
        let shown = self.shown(&self.send(asked));
        serde_json::from_str(shown[0]["CommandPlugins"][0]["Output"].as_str().unwrap()).unwrap()
    }

    pub fn host<T>(&self, id: &str, edit: impl FnOnce(&mut Host) -> T) -> T {
        self.cloud.hosts(&self.account, REGION, |hosts| edit(hosts.get_mut(id).unwrap()))
    }

    pub fn simple(&self, document: &str, host: &str) -> Value {
        let mut parameters = json!({ "Nonce": ["abcd"] });
        if document == "remove" {
            parameters["User"] = json!([r"corp\jdoe"]);
        }
        self.answer(&json!({ "DocumentName": document, "InstanceIds": [host], "Parameters": parameters }))
    }
}

#[test]
fn commands_are_listed_with_their_parameters_by_the_page_and_by_their_time() {
    let site = site();
    let first = site.send(&add(&[A, B]));
    site.cloud.pass(SignedDuration::from_mins(10));
    let second = site.send(&add(&[B]));
    let list = |asked: Value| {
        let answer = site.caller.fine_json("ssm", "ListCommands", &asked);
        let ids =
            answer["Commands"].as_array().unwrap().iter().map(|one| one["CommandId"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), answer["NextToken"].clone())
    };
    assert_eq!(list(json!({})).0, [first.as_str()], "the newest is not shown yet");
    site.cloud.pass(SignedDuration::from_millis(60));
    assert_eq!(list(json!({})).0, [second.as_str(), &first]);
    let (page, token) = list(json!({ "MaxResults": 1 }));
    assert_eq!((page, list(json!({ "NextToken": token }))), (vec![second.clone()], (vec![first], Value::Null)));
    let minutes = |ago: i64| jiff::Timestamp::from_second(site_second() + 600 - 60 * ago).unwrap().to_string();
    let since = |ago: i64| json!({ "Filters": [{ "key": "InvokedAfter", "value": minutes(ago) }] });
    assert_eq!((list(since(1)).0.len(), list(since(11)).0.len()), (1, 2));
    let asked = json!({ "CommandId": second });
    let one = site.caller.fine_json("ssm", "ListCommands", &asked)["Commands"][0].clone();
    assert_eq!((&one["InstanceIds"], &one["Parameters"]["Nonce"]), (&json!([B]), &json!(["abcd"])));
    let bad = json!({ "Filters": [{ "key": "Status", "value": "Failed" }] });
    assert_eq!(site.refused("ListCommands", &bad), "InvalidFilterKey");
    let other = site.cloud.caller(REGION).fine_json("ssm", "ListCommands", &json!({}));
    assert_eq!(other["Commands"], json!([]));
}

#[test]
fn one_bad_host_refuses_all_and_nothing_is_sent() {
    let site = site();
    assert_eq!(site.refused("SendCommand", &add(&[A, "i-99999999"])), "InvalidInstanceId");
    for edit in [
        |host: &mut Host| host.state = Power::Stopped,
        |host: &mut Host| host.state = Power::Terminated,
        |host: &mut Host| host.agent = Agent::Offline,
    ] {
        site.host(B, edit);
        assert_eq!(site.refused("SendCommand", &add(&[A, B])), "InvalidInstanceId");
        site.host(B, |host| *host = Host::default());
    }
    assert_eq!(site.host(A, |host| host.administrators.clone()), []);
}

#[test]
fn what_the_service_would_refuse_is_refused() {
    let site = site();
    let ids: Vec<_> = (0..51).map(|number| format!("i-{number:08}")).collect();
    let with = |name: &str, value: Value| {
        let mut asked = add(&[A]);
        asked[name] = value;
        site.refused("SendCommand", &asked)
    };
    assert_eq!(with("InstanceIds", json!(ids)), "ValidationException");
    assert_eq!(with("InstanceIds", json!(["web-1"])), "ValidationException");
    assert_eq!(with("InstanceIds", json!([A, A])), "DuplicateInstanceId");
    assert_eq!(with("Comment", json!("c".repeat(101))), "ValidationException");
    assert_eq!(with("TimeoutSeconds", json!(29)), "ValidationException");
    assert_eq!(with("TimeoutSeconds", json!(2_592_001)), "ValidationException");
    assert_eq!(with("DocumentName", json!("nope")), "InvalidDocument");
    assert_eq!(with("DocumentVersion", json!("2")), "InvalidDocumentVersion");
    assert_eq!(with("DocumentHash", json!("00")), "InvalidDocumentVersion");
    assert_eq!(with("Parameters", json!({ "Nonce": ["abcd"] })), "InvalidParameters");
    let with = |name: &str, value: Value| {
        let mut asked = add(&[A]);
        asked["Parameters"][name] = value;
        site.refused("SendCommand", &asked)
    };
    assert_eq!(with("More", json!(["x"])), "InvalidParameters");
    assert_eq!(with("Nonce", json!(["a b"])), "InvalidParameters");
    assert_eq!(with("Nonce", json!(["abcd", "efgh"])), "InvalidParameters");
    assert_eq!(site.refused("GetCommandInvocation", &json!({ "CommandId": "0".repeat(36) })), "InvalidCommandId");
}

#[test]
fn a_pattern_without_an_anchor_is_found_anywhere() {
    let site = site();
    let mut asked = add(&[A]);
    asked["Parameters"]["Until"] = json!(["what ever Z"]);
    // `Z$` lets it pass, and the script fails.
    assert_eq!(site.statuses(&site.send(&asked)), ["Failed Failed 10"]);
}

#[test]
fn a_pinned_document_is_sent_and_a_changed_one_is_not() {
    let site = site();
    let mut asked = add(&[A]);
    let hash: String = Sha256::digest(content("add")).iter().map(|byte| format!("{byte:02x}")).collect();
    let described = site.caller.fine_json("ssm", "DescribeDocument", &json!({ "Name": "add" }))["Document"].clone();
    let of = |name: &str| described[name].as_str().unwrap().to_owned();
    let found = ["Hash", "HashType", "DocumentVersion", "DefaultVersion", "LatestVersion", "Status"].map(of);
    assert_eq!(found, [&hash, "Sha256", "1", "1", "1", "Active"].map(String::from));
    asked["DocumentHash"] = hash.into();
    asked["DocumentHashType"] = "Sha256".into();
    asked["DocumentVersion"] = "1".into();
    site.send(&asked);
    let changed = json!({ "Name": "add", "Content": content("add").replace('…', "!"), "DocumentVersion": "$LATEST" });
    site.caller.fine_json("ssm", "UpdateDocument", &changed);
    site.send(&asked);
    asked["DocumentVersion"] = "$LATEST".into();
    assert_eq!(site.refused("SendCommand", &asked), "InvalidDocumentVersion");
    site.caller.fine_json("ssm", "UpdateDocumentDefaultVersion", &json!({ "Name": "add", "DocumentVersion": "2" }));
    asked["DocumentVersion"] = "$DEFAULT".into();
    assert_eq!(site.refused("SendCommand", &asked), "InvalidDocumentVersion");
}

#[test]
fn an_invocation_is_shown_late_then_goes_on_then_ends() {
    let site = site();
    site.cloud.agent_time(Duration::from_secs(60));
    let id = site.send(&add(&[A]));
    let get = json!({ "CommandId": id, "InstanceId": A });
    assert_eq!(site.list(&id), [""; 0]);
    assert_eq!(site.refused("GetCommandInvocation", &get), "InvocationDoesNotExist");
    assert_eq!(site.statuses(&id), ["Pending Pending -1"]);
    site.cloud.pass(SignedDuration::from_secs(40));
    assert_eq!(site.statuses(&id), ["InProgress InProgress -1"]);
    assert_eq!(site.host(A, |host| host.administrators.len()), 0);
    site.cloud.pass(SignedDuration::from_secs(40));
    assert_eq!(site.host(A, |host| host.administrators.len()), 1);
    assert_eq!(site.statuses(&id), ["Success Success 0"]);
    let invocation = site.caller.fine_json("ssm", "GetCommandInvocation", &get);
    assert_eq!((&invocation["PluginName"], &invocation["ResponseCode"]), (&json!("add"), &json!(0)));
    assert!(invocation["StandardOutputContent"].as_str().unwrap().contains(r#""result":"done""#));
}

#[test]
fn a_command_whose_reply_is_lost_is_done() {
    let site = site();
    site.cloud.fault(Fault { times: Some(1), ..Fault::of("ssm:SendCommand", How::LostReply) });
    assert!(site.caller.json("ssm", "SendCommand", &add(&[A])).is_err());
    assert_eq!(site.host(A, |host| host.administrators.len()), 1);
}

#[test]
fn without_max_errors_the_first_failure_ends_the_sending() {
    let site = site();
    site.cloud.stuck(&site.account, REGION, A, Stuck::Failed);
    assert_eq!(site.statuses(&site.send(&add(&[A, B]))), ["Failed Failed 10", "Cancelled Terminated -1"]);
    assert_eq!(site.host(B, |host| host.administrators.len()), 0);
    let mut asked = add(&[A, B]);
    asked["MaxErrors"] = "100%".into();
    assert_eq!(site.statuses(&site.send(&asked)), ["Failed Failed 10", "Success Success 0"]);
    assert_eq!(site.host(B, |host| host.administrators.len()), 1);
}

#[test]
fn a_silent_agent_times_out_and_success_may_be_empty() {
    let site = site();
    site.cloud.stuck(&site.account, REGION, A, Stuck::Silent);
    site.cloud.stuck(&site.account, REGION, B, Stuck::Skipped);
    let mut asked = add(&[A, B]);
    asked["TimeoutSeconds"] = 30.into();
    let id = site.send(&asked);
    assert_eq!(site.statuses(&id), ["InProgress InProgress -1", "Success Success 0"]);
    site.cloud.pass(SignedDuration::from_secs(30));
    assert_eq!(site.statuses(&id), ["TimedOut DeliveryTimedOut -1", "Success Success 0"]);
    assert_eq!(site.shown(&id)[1]["CommandPlugins"][0]["Output"], "");
    assert_eq!(site.host(B, |host| host.administrators.len()), 0);
}

#[test]
fn a_long_output_is_cut_in_the_list_and_whole_when_asked_for() {
    let site = site();
    site.cloud.stuck(&site.account, REGION, A, Stuck::Long);
    let id = site.send(&add(&[A]));
    let output = site.shown(&id)[0]["CommandPlugins"][0]["Output"].as_str().unwrap().to_owned();
    assert!(output.len() == 2500 && output.ends_with("\n---Output truncated---"), "{output}");
    let get = json!({ "CommandId": id, "InstanceId": A });
    let output = site.caller.fine_json("ssm", "GetCommandInvocation", &get)["StandardOutputContent"].clone();
    assert_eq!(serde_json::from_str::<Value>(output.as_str().unwrap()).unwrap()["result"], "done");
    site.cloud.stuck(&site.account, REGION, A, None);
    assert_eq!(site.answer(&add(&[A]))["detail"], "");
}

#[test]
fn a_command_waits_for_a_host_that_went_away_and_goes_by_its_clock_then() {
    let site = site();
    site.cloud.agent_time(Duration::from_secs(1));
    let mut asked = add(&[A]);
    let act_by = jiff::Timestamp::from_second(site_second() + 60).unwrap();
    asked["Parameters"]["ActBy"] = json!([act_by.to_string()]);
    let id = site.send(&asked);
    site.host(A, |host| host.agent = Agent::Offline);
    site.cloud.pass(SignedDuration::from_mins(5));
    assert_eq!(site.statuses(&id), ["InProgress InProgress -1"]);
    site.host(A, |host| host.agent = Agent::Online);
    let shown = site.shown(&id);
    let answer: Value = serde_json::from_str(shown[0]["CommandPlugins"][0]["Output"].as_str().unwrap()).unwrap();
    assert_eq!(answer["result"], "late");
}

#[expect(clippy::disallowed_methods, reason = "the cloud goes by the machine's clock")]
fn site_second() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn a_cancelled_command_is_not_run_and_is_nobody_elses() {
    let site = site();
    site.cloud.agent_time(Duration::from_secs(60));
    let id = site.send(&add(&[A, B]));
    site.caller.fine_json("ssm", "CancelCommand", &json!({ "CommandId": id, "InstanceIds": [A] }));
    site.cloud.pass(SignedDuration::from_mins(2));
    assert_eq!(site.statuses(&id), ["Cancelled Cancelled -1", "Success Success 0"]);
    let other = site.cloud.caller(REGION).json("ssm", "ListCommandInvocations", &json!({ "CommandId": id })).unwrap();
    assert!(other.text().contains("InvalidCommandId"), "{}", other.text());
    let page = json!({ "CommandId": id, "MaxResults": 1 });
    let first = site.caller.fine_json("ssm", "ListCommandInvocations", &page);
    let rest = json!({ "CommandId": id, "NextToken": first["NextToken"] });
    let rest = site.caller.fine_json("ssm", "ListCommandInvocations", &rest);
    let host = |page: &Value| page["CommandInvocations"][0]["InstanceId"].clone();
    assert_eq!((host(&first), host(&rest), &rest["NextToken"]), (json!(A), json!(B), &Value::Null));
    assert_eq!(first["CommandInvocations"][0]["CommandPlugins"], json!([]));
}
