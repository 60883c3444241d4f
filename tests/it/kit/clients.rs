//! That a client of AWS's own takes the cloud for AWS. boto3 is at hand: moto brings it.

use std::process::Command;

use crate::aws::{Cloud, Fault, How, Realm, account, moto};

use super::commands::content;

#[test]
fn boto3_takes_it_for_aws() {
    let (cloud, prod) = (Cloud::new(), account());
    Realm::of(&prod).role("OpsOnCall");
    cloud.directory(&[r"corp\jdoe"]);
    let host = cloud.windows(&prod, "us-east-1", &[("AccessGroup", "JITAdmins")]);
    // What boto3 asks again by itself.
    cloud.fault(Fault { times: Some(1), ..Fault::of("iam:AttachRolePolicy", How::Throttle) });
    cloud.fault(Fault { times: Some(1), ..Fault::of("iam:AttachRolePolicy", How::Error500) });
    cloud.fault(Fault { times: Some(1), ..Fault::of("ec2:DescribeInstances", How::Throttle) });
    cloud.fault(Fault { times: Some(1), ..Fault::of("ec2:DescribeInstances", How::ResetBefore) });
    cloud.fault(Fault { times: Some(1), ..Fault::of("ssm:SendCommand", How::Throttle) });
    // What it tells.
    cloud.fault(Fault::of("iam:DeleteRole", How::Deny));
    cloud.fault(Fault::of("ec2:StopInstances", How::Expired));
    cloud.fault(Fault::of("ssm:ListDocuments", How::Deny));
    let output = Command::new(moto::python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kit/client.py"))
        .args([&prod, &host, &content("add")])
        .envs(cloud.environment())
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = ["iam:AttachRolePolicy", "ec2:DescribeInstances", "ssm:SendCommand"].map(|action| cloud.count(action));
    assert_eq!(counts, [3, 3, 3]);
    let administrators = cloud.hosts(&prod, "us-east-1", |hosts| hosts[&host].administrators.len());
    assert_eq!(administrators, 1);
}
