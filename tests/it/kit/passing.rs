//! What is passed on to moto, and what is known about it on the way.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
};

use serde_json::json;

use crate::aws::{Call, Caller, Center, Cloud, HOME, Realm, account, all, moto, one};

const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess";

#[test]
fn an_assumed_role_acts_in_its_own_account() {
    let (cloud, prod) = (Cloud::new(), account());
    let home = cloud.caller("us-east-1");
    let there = home.assume(&format!("arn:aws:iam::{prod}:role/grantd"));
    let who = |caller: &Caller| one(&caller.fine_form("sts", "GetCallerIdentity", &[]), "Account");
    assert_eq!((who(&home), who(&there)), (HOME.into(), prod.clone()));
    there.fine_form("iam", "CreateUser", &[("UserName", "jdoe")]);
    let call = |account: &str, action: &str, pairs: &str| Call {
        account: account.into(),
        region: "us-east-1".into(),
        action: action.into(),
        by_moto: true,
        body: format!("Action={}&Version={pairs}", action.split(':').nth(1).unwrap()),
    };
    let role = format!("arn%3Aaws%3Aiam%3A%3A{prod}%3Arole%2Fgrantd");
    let expected = [
        call(&prod, "sts:AssumeRole", &format!("2011-06-15&RoleArn={role}&RoleSessionName=test")),
        call(HOME, "sts:GetCallerIdentity", "2011-06-15"),
        call(&prod, "sts:GetCallerIdentity", "2011-06-15"),
        call(&prod, "iam:CreateUser", "2010-05-08&UserName=jdoe"),
    ];
    assert_eq!(cloud.calls(), expected);
    assert_eq!((cloud.count("sts:GetCallerIdentity"), cloud.counts().len()), (2, 3));
    cloud.clear_calls();
    assert_eq!(cloud.calls(), []);
}

#[test]
fn a_cloud_may_have_a_home_of_its_own() {
    let home = account();
    let answer = Cloud::at_home(&home).caller("us-east-1").fine_form("sts", "GetCallerIdentity", &[]);
    assert_eq!(one(&answer, "Account"), home);
}

#[test]
fn iam_attaches_and_detaches_what_exists() {
    let (cloud, prod) = (Cloud::new(), account());
    let realm = Realm::of(&prod);
    realm.user("jdoe").role("OpsOnCall").group("Auditors").join("Auditors", "jdoe");
    let own = realm.policy("Own");
    realm.attach("role", "OpsOnCall", READ_ONLY).attach("role", "OpsOnCall", &own).attach("user", "jdoe", &own);
    assert_eq!(realm.attached("role", "OpsOnCall"), [READ_ONLY, &own]);
    assert_eq!(realm.attached("user", "jdoe"), [own.as_str()]);
    assert_eq!(realm.attached("group", "Auditors"), [""; 0]);
    assert_eq!(realm.members("Auditors"), ["jdoe"]);
    assert!(realm.id("role", "OpsOnCall").starts_with("AROA"));
    realm.detach("role", "OpsOnCall", READ_ONLY).leave("Auditors", "jdoe");
    assert_eq!((realm.attached("role", "OpsOnCall"), realm.members("Auditors")), (vec![own], vec![]));

    let there = cloud.caller("us-east-1").assume(&format!("arn:aws:iam::{prod}:role/grantd"));
    let pairs = [("RoleName", "OpsOnCall"), ("PolicyArn", READ_ONLY)];
    let again = there.form("iam", "DetachRolePolicy", &pairs).unwrap();
    assert_eq!((again.status(), one(&again.text(), "Code")), (404, "NoSuchEntity".into()));
    let unknown = [("RoleName", "OpsOnCall"), ("PolicyArn", "arn:aws:iam::aws:policy/NoSuch")];
    assert_eq!(one(&there.form("iam", "AttachRolePolicy", &unknown).unwrap().text(), "Code"), "NoSuchEntity");
    let old = realm.id("group", "Auditors");
    realm.delete("group", "Auditors").group("Auditors");
    assert_ne!(realm.id("group", "Auditors"), old);
}

#[test]
fn identity_center_assigns() {
    let (home, prod) = (account(), account());
    let center = Center::of(&home, "us-east-1");
    let (set, user, group) =
        (center.permission_set("PowerUser"), center.user("jdoe@corp.example"), center.group("Ops"));
    center.assign(&prod, &set, "USER", &user);
    center.assign(&prod, &set, "GROUP", &group);
    let there = Cloud::at_home(&home).caller("us-east-1");
    let attribute = json!({ "AttributePath": "userName", "AttributeValue": "jdoe@corp.example" });
    let asked = json!({ "IdentityStoreId": center.store, "AlternateIdentifier": { "UniqueAttribute": attribute } });
    assert_eq!(there.fine_json("identitystore", "GetUserId", &asked)["UserId"], user.as_str());
    center.unassign(&prod, &set, "USER", &user);
    assert_eq!(center.assignments(&prod, &set), [("GROUP".into(), group)]);
    center.delete_user(&user);
    assert_eq!(there.json("identitystore", "GetUserId", &asked).unwrap().status(), 400);
}

#[test]
fn what_moto_lacks_is_a_500_and_the_connection_goes_on() {
    let answer = Caller::of_moto(HOME, "us-east-1").json("ssm", "ListDocumentVersions", &json!({})).unwrap();
    assert_eq!(answer.status(), 500);
}

#[test]
fn moto_ends_with_who_started_it() {
    let mut moto = moto::command().spawn().unwrap();
    let mut port = String::new();
    BufReader::new(moto.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
    // As the kernel does when a process ends.
    drop(moto.stdin.take());
    assert_eq!(moto.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).is_err());
}

#[test]
fn xml_is_read() {
    let xml = "<a><PolicyArn>x</PolicyArn><PolicyArn>y</PolicyArn><PolicyArns>z</PolicyArns></a>";
    assert_eq!(all(xml, "PolicyArn"), ["x", "y"]);
}
