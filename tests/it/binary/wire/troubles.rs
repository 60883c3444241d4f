//! AWS at its worst: it refuses, throttles, fails, is slow, and loses answers.

use super::*;
use crate::aws::{Fault, How, Stuck};

/// Spoils the next calls of an action.
fn spoil(stage: &Stage, action: &'static str, how: How, times: usize) {
    stage.cloud.fault(Fault { times: Some(times), ..Fault::of(action, how) });
}

/// Everything that can be granted in prod, and what it comes to.
fn all() -> [String; 4] {
    [windows("prod", EAST), policy("prod"), group("prod"), set("prod")]
}

#[test]
fn an_account_that_refuses_holds_up_no_other() {
    let stage = Stage::new();
    let deny = |action, how| Fault { account: Some(stage.prod.clone()), ..Fault::of(action, how) };
    stage.cloud.fault(deny("sts:AssumeRole", How::Deny));
    let daemon = stage.site.daemon();
    stage.merge("jdoe-audit", "6s", &[policy("prod"), policy("dev")]);
    stage.until(&daemon, "the other account is served", || stage.attached(&stage.dev));
    assert!(!stage.attached(&stage.prod));
    let log = daemon.log();
    let said = format!("sts:AssumeRole in {}", stage.prod);
    assert!(log.contains(&said) && log.contains("lacks the permission: allow it sts:AssumeRole"), "{log}");
    stage.until(&daemon, "it ends", || !stage.attached(&stage.dev));
    daemon.stop();
}

#[test]
fn a_revocation_that_is_denied_is_tried_until_it_is_allowed() {
    let stage = Stage::new();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-audit", "4s", &[policy("prod")]);
    stage.until(&daemon, "it is granted", || stage.attached(&stage.prod));
    stage.cloud.fault(Fault::of("iam:DetachRolePolicy", How::Deny));
    stage.until(&daemon, "it is tried again", || stage.cloud.count("iam:DetachRolePolicy") >= 2);
    let role =
        format!("the role arn:aws:iam::{}:role/grantd lacks the permission: allow it iam:DetachRolePolicy", stage.prod);
    assert!(daemon.log().contains(&role), "{}", daemon.log());
    assert!(stage.attached(&stage.prod));
    stage.cloud.clear_faults();
    stage.until(&daemon, "it is revoked", || !stage.attached(&stage.prod));
    daemon.stop();
}

#[test]
fn credentials_that_are_over_are_made_anew() {
    let stage = Stage::new();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-first", "8h", &[policy("prod")]);
    stage.until(&daemon, "it is granted", || stage.attached(&stage.prod));
    let before = stage.cloud.count("sts:AssumeRole");
    for action in ["iam:GetGroup", "iam:RemoveUserFromGroup", "iam:DetachRolePolicy"] {
        spoil(&stage, action, How::Expired, 1);
    }
    stage.merge("jdoe-second", "4s", &[group("prod")]);
    stage.until(&daemon, "the second is granted", || stage.member(&stage.prod));
    stage.until(&daemon, "the second ends", || !stage.member(&stage.prod));
    stage.site.withdraw("jdoe-first");
    stage.until(&daemon, "the first ends", || !stage.attached(&stage.prod));
    assert_eq!(stage.cloud.count("sts:AssumeRole"), before + 3, "once for each");
    assert!(stage.fates().iter().all(|fate| fate.ends_with(" done")), "{:?}", stage.fates());
    daemon.stop();
}

/// Each write, and the looks beside it, goes wrong `times` in a row; all the same the access comes and ends.
fn in_spite_of(how: How, times: usize) {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    let writes = [
        "ssm:SendCommand",
        "iam:AttachRolePolicy",
        "iam:AddUserToGroup",
        "sso:CreateAccountAssignment",
        "iam:DetachRolePolicy",
        "iam:RemoveUserFromGroup",
        "sso:DeleteAccountAssignment",
        "ssm:ListCommandInvocations",
        "iam:ListAttachedRolePolicies",
        "iam:GetGroup",
        "sso:ListAccountAssignments",
    ];
    let there = || {
        let id = &stage.prod;
        [stage.admin(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)]
    };
    // Looked at first and without trouble: a blind look is repeated after a minute.
    stage.merge("jdoe-checkout", "8h", &all());
    stage.until(&daemon, "it is granted", || there() == [true; 4]);
    writes.iter().for_each(|action| spoil(&stage, action, how, times));
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "it is taken away", || there() == [false; 4]);
    stage.until(&daemon, "nothing is owed", || {
        let owed = stage.site.json(&["status"])["owed"].as_array().unwrap().clone();
        owed.iter().all(|one| one["state"] == "settling")
    });
    daemon.stop();
    // What was taken away once is not taken away again, and nobody else's is touched.
    let left = stage.cloud.hosts(&stage.prod, EAST, |hosts| hosts[&host].administrators.clone());
    assert_eq!(left.len(), 1);
}

#[test]
fn throttling_delays_and_loses_nothing() {
    in_spite_of(How::Throttle, 4);
}

#[test]
fn failures_of_aws_lose_nothing() {
    in_spite_of(How::Error500, 4);
}

#[test]
fn connections_that_break_lose_nothing() {
    in_spite_of(How::ResetBefore, 4);
}

#[test]
fn answers_that_are_lost_lose_nothing() {
    in_spite_of(How::LostReply, 4);
}

#[test]
fn slow_answers_lose_nothing() {
    in_spite_of(How::Slow(Duration::from_secs(2)), 1);
}

#[test]
fn a_grant_whose_answers_are_lost_is_known_and_ends() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    // More often than the SDK repeats by itself.
    for action in ["ssm:SendCommand", "iam:AttachRolePolicy", "iam:AddUserToGroup", "sso:CreateAccountAssignment"] {
        spoil(&stage, action, How::LostReply, 3);
    }
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "25s", &all());
    let there = || {
        let id = &stage.prod;
        [stage.admin(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)]
    };
    stage.until(&daemon, "it is there", || there() == [true; 4]);
    stage.until(&daemon, "it is taken away", || there() == [false; 4]);
    daemon.stop();
}

#[test]
fn a_daemon_that_is_killed_with_calls_under_way_ends_what_they_granted() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    stage.cloud.agent_time(Duration::from_secs(3));
    for action in ["iam:AttachRolePolicy", "iam:AddUserToGroup", "sso:CreateAccountAssignment"] {
        spoil(&stage, action, How::Slow(Duration::from_secs(5)), 1);
    }
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "25s", &all());
    stage.until(&daemon, "the intents are durable and the calls made", || {
        stage.site.count("intend", "grant") == 4
            && ["ssm:SendCommand", "iam:AttachRolePolicy", "iam:AddUserToGroup", "sso:CreateAccountAssignment"]
                .iter()
                .all(|action| stage.cloud.count(action) >= 1)
    });
    assert_eq!(stage.site.count("fate", ""), 0, "nobody has heard of an end of any call");
    daemon.kill();
    let daemon = stage.site.daemon();
    let there = || {
        let id = &stage.prod;
        [stage.admin(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)]
    };
    stage.until(&daemon, "all is known to be ours", || {
        let live = stage.site.json(&["status"]);
        there() == [true; 4] && live["owed"].as_array().is_some_and(Vec::is_empty)
    });
    stage.until(&daemon, "it is taken away", || there() == [false; 4]);
    daemon.stop();
}

#[test]
fn a_host_that_says_nothing_is_not_believed() {
    let stage = Stage::new();
    let hosts: Vec<String> = (0..3).map(|_| stage.host(&stage.prod, EAST)).collect();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST)]);
    let there = || hosts.iter().map(|host| stage.admin(&stage.prod, EAST, host)).collect::<Vec<_>>();
    stage.until(&daemon, "it is granted", || there() == [true; 3]);
    // Success with no output, a failed script, and an answer that is cut in the list and read in full.
    for (host, how) in hosts.iter().zip([Stuck::Skipped, Stuck::Failed, Stuck::Long]) {
        stage.cloud.stuck(&stage.prod, EAST, host, how);
    }
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "the one that answered is free", || there() == [true, true, false]);
    stage.until(&daemon, "the others are tried again", || {
        daemon.log().contains("said nothing: the step was skipped") && stage.sends(REMOVE) > 2
    });
    assert_eq!(there(), [true, true, false]);
    for host in &hosts {
        stage.cloud.stuck(&stage.prod, EAST, host, None);
    }
    stage.until(&daemon, "all are free", || there() == [false; 3]);
    daemon.stop();
}

#[test]
fn a_refusal_after_a_lost_answer_is_no_refusal() {
    let stage = Stage::new();
    let daemon = stage.site.daemon();
    // The first attempt is done and its answer lost; the SDK repeats it, and that one is refused.
    for action in ["iam:AttachRolePolicy", "iam:AddUserToGroup", "sso:CreateAccountAssignment"] {
        spoil(&stage, action, How::LostReply, 1);
        stage.cloud.fault(Fault::of(action, How::Deny));
    }
    stage.merge("jdoe-checkout", "10s", &[policy("prod"), group("prod"), set("prod")]);
    let there = || [stage.attached(&stage.prod), stage.member(&stage.prod), stage.assigned(&stage.prod)];
    stage.until(&daemon, "it is there", || there() == [true; 3]);
    stage.until(&daemon, "it is taken away", || there() == [false; 3]);
    daemon.stop();
}

#[test]
fn a_host_that_is_denied_holds_up_no_other_of_its_call() {
    let stage = Stage::new();
    let hosts: Vec<String> = (0..5).map(|_| stage.host(&stage.prod, EAST)).collect();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST)]);
    let there = || hosts.iter().map(|host| stage.admin(&stage.prod, EAST, host)).collect::<Vec<_>>();
    stage.until(&daemon, "it is granted", || there() == [true; 5]);
    // As where the right goes by a tag that this host has lost: AWS refuses the whole call.
    stage.cloud.fault(Fault { about: Some(hosts[2].clone()), ..Fault::of("ssm:SendCommand", How::Deny) });
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "the others are free", || there() == [false, false, true, false, false]);
    stage.until(&daemon, "it is told", || daemon.log().contains("AccessDeniedException on ssm:SendCommand"));
    stage.cloud.clear_faults();
    stage.until(&daemon, "it is free too", || there() == [false; 5]);
    daemon.stop();
}

#[test]
fn many_principals_are_looked_at_at_once_and_one_by_one_where_that_is_denied() {
    let stage = Stage::new();
    let names: Vec<String> = (0..30).map(|number| format!("u{number:02}")).collect();
    let realm = Realm::of(&stage.prod);
    for name in &names {
        realm.user(name);
    }
    let entry =
        |name: &String| format!("iam-policy: {{ account: prod, user: {name}, policy: AmazonEC2ReadOnlyAccess }}");
    let daemon = stage.site.daemon();
    stage.merge("all-of-them", "8h", &names.iter().map(entry).collect::<Vec<_>>());
    stage.until(&daemon, "it is granted", || stage.site.count("fate", "grant") == 30);
    daemon.stop();
    realm.detach("user", "u07", EC2);
    stage.cloud.clear_calls();
    let daemon = stage.site.daemon();
    stage.until(&daemon, "the drift is told", || stage.site.count("drift", "") == 1);
    let reads = ["iam:GetAccountSummary", "iam:GetAccountAuthorizationDetails", "iam:ListAttachedUserPolicies"];
    assert_eq!(reads.map(|action| stage.cloud.count(action)), [1, 1, 0]);
    daemon.stop();
    realm.detach("user", "u08", EC2);
    stage.cloud.fault(Fault::of("iam:GetAccountAuthorizationDetails", How::Deny));
    stage.cloud.clear_calls();
    let daemon = stage.site.daemon();
    stage.until(&daemon, "the other is told", || stage.site.count("drift", "") == 2);
    assert_eq!(reads.map(|action| stage.cloud.count(action)), [1, 1, 30]);
    daemon.stop();
}
