//! Instances, and what SSM says of them.

use grantd::surface::world::{Agent, Power};
use serde_json::{Value, json};

use crate::aws::{Caller, Cloud, account, all};

const REGION: &str = "eu-central-1";

struct Site {
    cloud: Cloud,
    account: String,
    caller: Caller,
}

fn site() -> Site {
    let (cloud, account) = (Cloud::new(), account());
    let caller = cloud.caller(REGION).assume(&format!("arn:aws:iam::{account}:role/grantd"));
    Site { cloud, account, caller }
}

#[test]
fn an_instance_is_windows_has_tags_and_loses_its_power_in_both() {
    let Site { cloud, account, caller } = site();
    let host = cloud.windows(&account, REGION, &[("AccessGroup", "JITAdmins"), ("Name", "web-1")]);
    cloud.windows(&account, REGION, &[]);
    let look = || {
        let filter = [("Filter.1.Name", "tag:AccessGroup"), ("Filter.1.Value.1", "JITAdmins")];
        let xml = caller.fine_form("ec2", "DescribeInstances", &filter);
        let state = xml.split("<instanceState>").nth(1).map(|rest| all(rest, "name")[0].clone());
        (all(&xml, "instanceId"), all(&xml, "platform"), state.unwrap_or_default())
    };
    let here = |state: &str| (vec![host.clone()], vec!["windows".to_owned()], state.to_owned());
    assert_eq!(look(), here("running"));
    for (power, state) in [(Power::Stopped, "stopped"), (Power::Running, "running"), (Power::Terminated, "terminated")]
    {
        cloud.power(&account, REGION, &host, power);
        assert_eq!(look(), here(state));
        assert_eq!(cloud.hosts(&account, REGION, |hosts| hosts[&host].state), power);
    }
    cloud.tag(&account, REGION, &host, "AccessGroup", None);
    assert_eq!(look(), (vec![], vec![], String::new()));
    cloud.tag(&account, REGION, &host, "AccessGroup", Some("JITAdmins"));
    assert_eq!(look(), here("terminated"));
}

fn described(caller: &Caller, asked: &Value) -> (Vec<String>, Value) {
    let answer = caller.fine_json("ssm", "DescribeInstanceInformation", asked);
    let hosts = answer["InstanceInformationList"].as_array().unwrap().iter();
    let said = hosts.map(|host| {
        assert_eq!(host["PlatformType"], "Windows");
        format!("{} {} {}", host["InstanceId"], host["PingStatus"], host["AgentVersion"]).replace('"', "")
    });
    (said.collect(), answer["NextToken"].clone())
}

#[test]
fn ssm_tells_whose_agent_answers_and_omits_who_does_not_run() {
    let Site { cloud, account, caller } = site();
    let ids = ["i-00000001", "i-00000002", "i-00000003", "i-00000004"];
    cloud.hosts(&account, REGION, |hosts| {
        hosts.extend(ids.map(|id| (id.to_owned(), Default::default())));
        hosts.get_mut(ids[1]).unwrap().agent = Agent::Offline;
        hosts.get_mut(ids[2]).unwrap().state = Power::Stopped;
    });
    cloud.agent_version(&account, REGION, ids[3], "3.2.1.0");
    let lines = ["i-00000001 Online 3.3.3050.0", "i-00000002 ConnectionLost 3.3.3050.0", "i-00000004 Online 3.2.1.0"];
    assert_eq!(described(&caller, &json!({})), (lines.map(String::from).to_vec(), Value::Null));
    let filter = json!({ "Filters": [{ "Key": "InstanceIds", "Values": [ids[0], ids[2], "i-99999999"] }] });
    assert_eq!(described(&caller, &filter).0, [lines[0]]);
    let other = cloud.caller(REGION).assume("arn:aws:iam::200000000000:role/grantd");
    assert_eq!(described(&other, &json!({})).0, [""; 0]);
}

#[test]
fn ssm_tells_of_hosts_by_the_page() {
    let Site { cloud, account, caller } = site();
    cloud.hosts(&account, REGION, |hosts| {
        hosts.extend((0..12).map(|number| (format!("i-{number:08}"), Default::default())));
    });
    let (first, token) = described(&caller, &json!({}));
    let (second, end) = described(&caller, &json!({ "NextToken": token }));
    assert_eq!((first.len(), second.len(), end), (10, 2, Value::Null));
    assert_eq!(described(&caller, &json!({ "MaxResults": 50 })).0.len(), 12);
    for bad in [json!({ "MaxResults": 4 }), json!({ "MaxResults": 51 }), json!({ "NextToken": "page-13" })] {
        assert_eq!(caller.json("ssm", "DescribeInstanceInformation", &bad).unwrap().status(), 400, "{bad}");
    }
}
