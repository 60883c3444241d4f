use std::collections::BTreeSet;

use super::{
    model::{Binding, Given, Kind, Need, Text},
    *,
};

const ACCOUNT: &str = "123456789012";

fn target(surface: &str) -> Box<dyn Target> {
    targets().into_iter().find(|target| target.surface() == surface).unwrap()
}

fn word(text: &str) -> Given {
    Given::One(text.into())
}

fn fields<const N: usize>(given: [(&'static str, &str); N]) -> Fields {
    given.into_iter().map(|(name, text)| (name, word(text))).collect()
}

fn tags(given: &[(&str, &[&str])]) -> Given {
    let values = |values: &[&str]| values.iter().map(|value| Text::from(*value)).collect();
    Given::Tags(given.iter().map(|(key, any)| (Text::from(*key), values(any))).collect())
}

fn windows(user: &str, instances: Given) -> Fields {
    let mut all = fields([("user", user), ("account", ACCOUNT), ("region", "us-east-1")]);
    all.insert("instances", instances);
    all
}

/// The one binding of an ask that needs no answers.
fn binding(surface: &str, fields: Fields) -> String {
    let target = target(surface);
    let ask = target.ask(fields).unwrap();
    assert_eq!(target.selector(&ask), None);
    let wanted = target.wanted(&ask, &[]);
    assert_eq!(wanted.len(), 1);
    wanted[0].to_string()
}

#[test]
fn every_surface_is_registered_once_and_describes_itself() {
    let targets = targets();
    let surfaces: BTreeSet<_> = targets.iter().map(|target| target.surface()).collect();
    assert_eq!(
        surfaces.into_iter().collect::<Vec<_>>(),
        ["iam-group", "iam-policy", "permission-set", "windows-admin"]
    );
    for target in targets {
        let mut groups = BTreeSet::new();
        for field in target.fields() {
            assert!(!field.about.is_empty() && !field.example.is_empty(), "{}.{}", target.surface(), field.name);
            if let Kind::Word(pattern) = field.kind {
                assert!(pattern.matches(field.example), "{}.{}", target.surface(), field.name);
            }
            if let Need::OneOf(group) = field.need {
                groups.insert(group);
            }
        }
        assert!(groups.len() <= 1);
        assert_eq!(target.marks(), target.surface() == "windows-admin");
    }
}

#[test]
fn bindings_have_one_spelling() {
    const EC2: &str = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess";
    let attach =
        |policy| binding("iam-policy", fields([("account", ACCOUNT), ("role", "OpsOnCall"), ("policy", policy)]));
    assert_eq!(attach(EC2), format!("iam-policy / {ACCOUNT}/role/OpsOnCall / attach:{EC2} / OpsOnCall"));
    assert_eq!(attach("AmazonEC2ReadOnlyAccess"), attach(EC2));
    assert_eq!(attach("arn:aws-us-gov:iam::aws:policy/AmazonEC2ReadOnlyAccess"), attach(EC2));
    assert_eq!(
        attach("arn:aws:iam::123456789012:policy/team/Ops"),
        format!("iam-policy / {ACCOUNT}/role/OpsOnCall / attach:arn:aws:iam::123456789012:policy/team/Ops / OpsOnCall"),
    );
    for kind in ["user", "group"] {
        let fields = fields([("account", ACCOUNT), (kind, "ops"), ("policy", EC2)]);
        assert_eq!(binding("iam-policy", fields), format!("iam-policy / {ACCOUNT}/{kind}/ops / attach:{EC2} / ops"));
    }
    assert_eq!(
        binding("iam-group", fields([("account", ACCOUNT), ("user", "jdoe"), ("group", "Auditors")])),
        format!("iam-group / {ACCOUNT}/group/Auditors / member / jdoe"),
    );
    let assign =
        |kind, name| binding("permission-set", fields([("account", ACCOUNT), (kind, name), ("set", "PowerUser")]));
    assert_eq!(
        assign("user", "JDoe@Corp.Example"),
        format!("permission-set / {ACCOUNT} / PowerUser / user:jdoe@corp.example"),
    );
    assert_eq!(assign("user", "JDoe@Corp.Example"), assign("user", "jdoe@corp.example"));
    assert_ne!(assign("user", "oncall"), assign("group", "oncall"));
    assert_eq!(
        assign("group", "Cloud Operators"),
        format!("permission-set / {ACCOUNT} / PowerUser / group:Cloud Operators"),
    );
    for text in [attach(EC2), assign("group", "Cloud Operators")] {
        assert_eq!(text.parse::<Binding>().unwrap().to_string(), text);
    }
}

#[test]
fn windows_asks_wait_for_their_answer() {
    let target = target("windows-admin");
    let one = target.ask(windows(r"CORP\JDoe", tags(&[("AccessGroup", &["OnCall", "JITAdmins", "OnCall"])]))).unwrap();
    let other = target.ask(windows(r"corp\jdoe", tags(&[("AccessGroup", &["JITAdmins", "OnCall"])]))).unwrap();
    assert_eq!(one, other, "two spellings, one ask");

    let selector = target.selector(&one).unwrap();
    assert_eq!(&*selector.scope, "123456789012/us-east-1");
    assert_eq!(target.wanted(&one, &[]), []);
    let places: Vec<Text> = vec!["123456789012/us-east-1/i-0abc".into(), "123456789012/us-east-1/i-1 / x".into()];
    let wanted = target.wanted(&one, &places);
    assert_eq!(
        wanted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [r"windows-admin / 123456789012/us-east-1/i-0abc / Administrators / corp\jdoe"],
    );
}

#[test]
fn wrong_fields_are_told_by_name() {
    let wrong = |surface, fields| -> Vec<&'static str> {
        let told = target(surface).ask(fields).unwrap_err();
        assert!(told.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()));
        told.into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(wrong("windows-admin", windows(r"BUILTIN\Users", tags(&[("AccessGroup", &["x"])]))), ["user"]);
    let foreign = fields([("account", ACCOUNT), ("role", "Ops"), ("policy", "arn:aws:iam::999999999999:policy/Ops")]);
    assert_eq!(wrong("iam-policy", foreign), ["policy"]);
}
