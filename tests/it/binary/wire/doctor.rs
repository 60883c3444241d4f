//! `grantd doctor` and `grantd documents`: what they find, and what they say to do.

use serde_json::json;

use super::*;
use crate::aws::{Caller, Fault, How};

#[test]
fn a_deployment_that_is_whole_is_fine_and_nothing_is_changed() {
    let stage = Stage::new();
    let done = stage.site.fine(&["doctor"]);
    assert!(done.out.ends_with("all fine\n"), "{done}");
    for (name, account) in [("prod", &stage.prod), ("dev", &stage.dev)] {
        let said = format!("ok  {name} {account}\n    credentials: arn:aws:iam::{account}:role/grantd\n    iam: Get");
        assert!(done.out.contains(&said), "{done}");
    }
    for action in
        ["iam:AttachRolePolicy", "iam:GetAccountAuthorizationDetails", "ssm:SendCommand", "sso:CreateAccountAssignment"]
    {
        assert!(
            done.out.contains(action.split_once(':').unwrap().1) && stage.cloud.count(action) > 0,
            "{action}: {done}"
        );
    }
    let names =
        |call: &crate::aws::Call| call.body.contains("grantd-doctor-") || call.body.contains("i-00000000000000000");
    let writes = stage.cloud.calls().into_iter().filter(|call| {
        let verb = call.action.split_once(':').unwrap().1;
        ["Attach", "Detach", "Add", "Remove", "Send"].iter().any(|begin| verb.starts_with(begin))
    });
    for call in writes {
        assert!(names(&call), "it writes to names that nobody has: {call:?}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let stage = Stage::bare();
    let done = stage.site.run(&["doctor"]);
    assert_eq!(done.code, 1, "{done}");
    for said in ["`grantd init` makes it", "a new installation begins with `grantd init`", "`grantd documents install`"]
    {
        assert!(done.out.contains(said), "{said}: {done}");
    }
    stage.site.fine(&["documents", "install"]);
    stage.site.fine(&["init"]);
    stage.cloud.fault(Fault { account: Some(stage.dev.clone()), ..Fault::of("sts:AssumeRole", How::Deny) });
    stage.cloud.fault(Fault { account: Some(stage.prod.clone()), ..Fault::of("iam:AttachUserPolicy", How::Deny) });
    let done = stage.site.run(&["doctor"]);
    assert_eq!(done.code, 1, "{done}");
    let (prod, dev) = (&stage.prod, &stage.dev);
    for said in [
        format!(
            "!!  dev {dev}: credentials: arn:aws:iam::{dev}:role/grantd\n    AccessDenied on sts:AssumeRole in {dev}"
        ),
        format!("!!  prod {prod}: iam:AttachUserPolicy\n    AccessDenied on iam:AttachUserPolicy in {prod}"),
        format!("the role arn:aws:iam::{prod}:role/grantd lacks the permission: allow it iam:AttachUserPolicy"),
    ] {
        assert!(done.out.contains(&said), "{said}: {done}");
    }
    assert!(done.out.ends_with(", 2 to mend\n"), "{done}");
    let told = stage.site.json(&["doctor"]);
    let wrong = told["checks"].as_array().unwrap().iter().filter(|check| check["fine"] == false);
    assert_eq!((told["fine"].clone(), wrong.count()), (json!(false), 2));
}

#[test]
fn documents_are_installed_once_and_nobody_elses_is_replaced_unasked() {
    let stage = Stage::bare();
    let ssm = Caller::of_moto(&stage.prod, EAST);
    let theirs = json!({ "schemaVersion": "2.2", "description": "The old script", "mainSteps": [
        { "action": "aws:runPowerShellScript", "name": "old", "inputs": { "runCommand": ["exit 0"] } },
    ] });
    ssm.fine_json(
        "ssm",
        "CreateDocument",
        &json!({ "Name": "AddLocalAdminADUser", "DocumentType": "Command", "DocumentFormat": "JSON", "Content": theirs.to_string() }),
    );
    let done = stage.site.run(&["documents", "install", "--account", "prod"]);
    assert_eq!(done.code, 1, "{done}");
    assert!(done.out.contains("that is not grantd's") && done.out.contains("--replace"), "{done}");
    assert_eq!(done.out.matches(": made\n").count(), 5, "{done}");
    let content = |name: &str| ssm.fine_json("ssm", "GetDocument", &json!({ "Name": name }))["Content"].clone();
    assert_eq!(content("AddLocalAdminADUser"), json!(theirs.to_string()));
    // And it is not run either.
    stage.site.fine(&["init"]);
    let done = stage.site.run(&["doctor"]);
    assert!(done.out.contains("the SSM document is not the one of this grantd, and is not run"), "{done}");

    let done = stage.site.fine(&["documents", "install", "--account", "prod", "--replace"]);
    assert_eq!((done.out.matches(": updated\n").count(), done.out.matches(": is there\n").count()), (1, 5), "{done}");
    assert_eq!(content("AddLocalAdminADUser"), json!(stage.site.fine(&["documents", "show", "add"]).out));
    let again = stage.site.fine(&["documents", "install", "--account", "prod"]);
    assert_eq!(again.out.matches(": is there\n").count(), 6, "{again}");
}
