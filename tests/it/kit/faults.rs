//! Each fault, as each protocol writes it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::aws::{Caller, Cloud, Fault, How, Realm, account, one};

/// The status and the code of what is answered by IAM, EC2 and SSM.
fn codes(caller: &Caller) -> [(u16, String); 3] {
    let iam = caller.form("iam", "AttachRolePolicy", &[("RoleName", "OpsOnCall")]).unwrap();
    let ec2 = caller.form("ec2", "DescribeInstances", &[]).unwrap();
    let ssm = caller.json("ssm", "SendCommand", &json!({})).unwrap();
    let kind = serde_json::from_slice::<Value>(&ssm.body).unwrap()["__type"].as_str().unwrap().to_owned();
    assert!(iam.text().starts_with("<ErrorResponse><Error><Type>"), "{}", iam.text());
    assert!(ec2.text().starts_with("<Response><Errors><Error><Code>"), "{}", ec2.text());
    [(iam.status(), one(&iam.text(), "Code")), (ec2.status(), one(&ec2.text(), "Code")), (ssm.status(), kind)]
}

#[test]
fn each_protocol_has_its_own_errors() {
    let cloud = Cloud::new();
    let caller = cloud.caller("us-east-1");
    let expected = [
        (How::Throttle, [(400, "Throttling"), (503, "RequestLimitExceeded"), (400, "ThrottlingException")]),
        (How::Deny, [(403, "AccessDenied"), (403, "UnauthorizedOperation"), (400, "AccessDeniedException")]),
        (How::Expired, [(403, "ExpiredToken"), (400, "RequestExpired"), (400, "ExpiredTokenException")]),
        (How::Error500, [(500, "InternalFailure"), (500, "InternalError"), (500, "InternalFailure")]),
    ];
    for (how, codes_of_it) in expected {
        cloud.fault(Fault::of("*", how));
        assert_eq!(codes(&caller), codes_of_it.map(|(status, code)| (status, code.to_owned())), "{how:?}");
        cloud.clear_faults();
    }
    assert!(cloud.calls().iter().all(|call| !call.by_moto));
}

#[test]
fn a_denial_says_who_may_not_do_what_to_what() {
    let (cloud, prod) = (Cloud::new(), account());
    let there = cloud.caller("us-east-1").assume(&format!("arn:aws:iam::{prod}:role/grantd"));
    cloud.fault(Fault::of("iam:*", How::Deny));
    let answer = there.form("iam", "AttachRolePolicy", &[("RoleName", "OpsOnCall")]).unwrap().text();
    let expected = format!(
        "User: arn:aws:sts::{prod}:assumed-role/grantd/grantd is not authorized to perform: iam:AttachRolePolicy on \
         resource: role OpsOnCall because no identity-based policy allows the iam:AttachRolePolicy action"
    );
    assert_eq!(one(&answer, "Message"), expected);
}

#[test]
fn a_fault_is_of_an_action_an_account_and_a_number_of_calls() {
    let (cloud, prod, other) = (Cloud::new(), account(), account());
    let role = |account: &str| format!("arn:aws:iam::{account}:role/grantd");
    let [in_prod, in_other] = [&prod, &other].map(|account| cloud.caller("us-east-1").assume(&role(account)));
    cloud.fault(Fault { account: Some(prod.clone()), times: Some(1), ..Fault::of("iam:ListUsers", How::Throttle) });
    let status = |caller: &Caller, action: &str| caller.form("iam", action, &[]).unwrap().status();
    assert_eq!(status(&in_other, "ListUsers"), 200);
    assert_eq!(status(&in_prod, "ListGroups"), 200);
    assert_eq!(status(&in_prod, "ListUsers"), 400);
    assert_eq!(status(&in_prod, "ListUsers"), 200);
    // A role that may not be assumed is of its own account, not of the caller's.
    cloud.fault(Fault { account: Some(prod.clone()), ..Fault::of("sts:*", How::Deny) });
    let assume = |role: &str| {
        cloud.caller("us-east-1").form("sts", "AssumeRole", &[("RoleArn", role), ("RoleSessionName", "s")])
    };
    assert_eq!(assume(&role(&prod)).unwrap().status(), 403);
    assert_eq!(assume(&role(&other)).unwrap().status(), 200);
}

#[test]
fn a_reset_does_nothing_and_a_lost_reply_has_done_it() {
    let (cloud, prod) = (Cloud::new(), account());
    let there = cloud.caller("us-east-1").assume(&format!("arn:aws:iam::{prod}:role/grantd"));
    let realm = Realm::of(&prod);
    realm.user("jdoe").group("Auditors");
    let join = || there.form("iam", "AddUserToGroup", &[("GroupName", "Auditors"), ("UserName", "jdoe")]);
    cloud.fault(Fault { times: Some(1), ..Fault::of("iam:AddUserToGroup", How::ResetBefore) });
    assert!(join().is_err());
    assert_eq!(realm.members("Auditors"), [""; 0]);
    cloud.fault(Fault { times: Some(1), ..Fault::of("iam:AddUserToGroup", How::LostReply) });
    assert!(join().is_err());
    assert_eq!(realm.members("Auditors"), ["jdoe"]);
    let by_moto: Vec<_> = cloud.calls().iter().map(|call| call.by_moto).collect();
    assert_eq!(by_moto, [true, false, true]);
}

#[test]
fn a_slow_answer_is_an_answer() {
    let cloud = Cloud::new();
    cloud.fault(Fault::of("sts:*", How::Slow(Duration::from_millis(150))));
    let begun = Instant::now();
    cloud.caller("us-east-1").fine_form("sts", "GetCallerIdentity", &[]);
    assert!(begun.elapsed() >= Duration::from_millis(150));
}
