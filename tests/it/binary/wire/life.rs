//! What a grant does to AWS, from its merge to its end.

use grantd::surface::world::{Agent, Caseless, Member, Power};

use super::*;
use crate::aws::{Fault, How};

#[test]
fn every_surface_is_granted_and_ends_in_two_accounts_and_two_regions() {
    let stage = Stage::new();
    let Stage { site, prod, dev, .. } = &stage;
    let hosts = [(prod, EAST), (prod, WEST), (dev, EAST)].map(|(id, region)| (id, region, stage.host(id, region)));
    let daemon = site.daemon();
    let entries: Vec<String> = ["prod", "dev"].iter().flat_map(|name| [policy(name), group(name), set(name)]).collect();
    let hosted = [windows("prod", EAST), windows("prod", WEST), windows("dev", EAST)];
    stage.merge("jdoe-checkout", "12s", &[&entries[..], &hosted].concat());
    let everywhere = |there: bool| {
        hosts.iter().all(|(id, region, host)| stage.admin(id, region, host) == there)
            && [prod, dev]
                .iter()
                .all(|id| stage.attached(id) == there && stage.member(id) == there && stage.assigned(id) == there)
    };
    stage.until(&daemon, "everything is granted", || everywhere(true));
    stage.until(&daemon, "everything is taken away", || everywhere(false));
    stage.until(&daemon, "every revocation is told", || site.count("fate", "revoke") == 9);
    let log = daemon.stop();
    assert!(stage.fates().iter().all(|fate| fate.ends_with(" done")), "{:?}\n{log}", stage.fates());
    // The journal and CloudTrail meet by the ids that AWS gave.
    let sent = site.history().into_iter().filter(|line| line["kind"] == "sent");
    assert_eq!(sent.filter(|line| line["request"].as_str().is_some_and(|id| id.len() > 10)).count(), 18);
    // What stood there before stands there still.
    for (id, region, host) in &hosts {
        let left = stage.cloud.hosts(id, region, |hosts| hosts[host].administrators.clone());
        assert_eq!(left.iter().map(|member| &*member.user.0).collect::<Vec<_>>(), [r"CORP\ops"]);
    }
}

#[test]
fn a_grant_costs_three_reads_and_one_write_and_a_rest_costs_nothing() {
    let stage = Stage::new();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-audit", "8h", &[policy("prod"), group("prod")]);
    stage.until(&daemon, "it is granted", || stage.site.count("fate", "grant") == 2);
    let counts = |actions: [&str; 5]| actions.map(|action| stage.cloud.count(action));
    let writes = ["iam:AttachRolePolicy", "iam:AddUserToGroup", "iam:DetachRolePolicy", "iam:RemoveUserFromGroup", "*"];
    let reads = || ["iam:ListAttachedRolePolicies", "iam:GetGroup"].map(|action| stage.cloud.count(action));
    // The plan's, one right before the call, and one that proves it.
    assert_eq!((reads(), counts(writes)), ([3, 3], [1, 1, 0, 0, 0]));
    stage.cloud.clear_calls();
    // Some polls of Git without news.
    stage.pass(3);
    assert_eq!(stage.cloud.calls(), [], "{}", daemon.log());
    stage.site.withdraw("jdoe-audit");
    stage.until(&daemon, "it is revoked", || stage.site.count("fate", "revoke") == 2);
    assert_eq!((reads(), counts(writes)), ([1, 1], [0, 0, 1, 1, 0]));
    daemon.stop();
}

#[test]
fn a_deleted_file_ends_its_access_at_once() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST), policy("prod"), set("prod")]);
    let there = || [stage.admin(&stage.prod, EAST, &host), stage.attached(&stage.prod), stage.assigned(&stage.prod)];
    stage.until(&daemon, "it is granted", || there() == [true; 3]);
    // Whoever reads CloudTrail sees which grant it was.
    let sends = stage.cloud.calls().into_iter().filter(|call| call.action == "ssm:SendCommand");
    assert_eq!(sends.filter(|call| call.body.contains("grantd grants jdoe-checkout")).count(), 1);
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "it is withdrawn", || there() == [false; 3]);
    daemon.stop();
}

#[test]
fn the_first_end_of_two_takes_nothing_from_the_second() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    let entries = [windows("prod", EAST), policy("prod")];
    stage.merge("jdoe-short", "6s", &entries);
    let there = || [stage.admin(&stage.prod, EAST, &host), stage.attached(&stage.prod)];
    stage.until(&daemon, "the first is granted", || there() == [true; 2]);
    stage.merge("jdoe-long", "15s", &entries);
    stage.until(&daemon, "the first is over", || stage.site.count("finish", "") == 1);
    // A wrong revocation would have landed by then.
    stage.pass(3);
    assert_eq!(there(), [true; 2], "{}", daemon.log());
    assert_eq!(stage.site.count("fate", "revoke"), 0);
    stage.until(&daemon, "the second is over", || there() == [false; 2]);
    daemon.stop();
}

#[test]
fn what_was_there_before_is_never_removed() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let jdoe = Member { user: Caseless(r"CORP\jdoe".into()), marker: None };
    stage.cloud.hosts(&stage.prod, EAST, |hosts| hosts.get_mut(&host).unwrap().administrators.push(jdoe.clone()));
    Realm::of(&stage.prod).attach("role", "OpsOnCall", EC2).join("Auditors", "jdoe");
    Center::of(&stage.org, EAST).assign(&stage.prod, &stage.set, "USER", &stage.person);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "6s", &[windows("prod", EAST), policy("prod"), group("prod"), set("prod")]);
    stage.until(&daemon, "it is told", || {
        stage.site.count("standing", "") == 3 && stage.fates().contains(&"grant windows-admin standing".to_owned())
    });
    stage.until(&daemon, "the grant is over", || stage.site.count("finish", "") == 1);
    stage.pass(2);
    let left = stage.cloud.hosts(&stage.prod, EAST, |hosts| hosts[&host].administrators.clone());
    assert!(left.contains(&jdoe), "{left:?}");
    assert_eq!(
        [stage.attached(&stage.prod), stage.member(&stage.prod), stage.assigned(&stage.prod)],
        [true; 3],
        "{}",
        daemon.log()
    );
    assert_eq!(stage.site.count("fate", "revoke"), 0);
    let writes = stage.cloud.calls().into_iter().filter(|call| {
        let verb = call.action.split_once(':').unwrap().1;
        ["Detach", "Remove", "Delete", "Attach", "Add", "Create"].iter().any(|begin| verb.starts_with(begin))
    });
    assert_eq!(writes.map(|call| call.action).collect::<Vec<_>>(), Vec::<String>::new());
    daemon.stop();
}

#[test]
fn a_host_that_is_away_at_the_end_is_revoked_when_it_is_back() {
    let stage = Stage::new();
    let hosts: Vec<String> = (0..3).map(|_| stage.host(&stage.prod, EAST)).collect();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "6s", &[windows("prod", EAST)]);
    let there = || hosts.iter().map(|host| stage.admin(&stage.prod, EAST, host)).collect::<Vec<_>>();
    stage.until(&daemon, "it is granted", || there() == [true; 3]);
    let agent =
        |host: &str, agent| stage.cloud.hosts(&stage.prod, EAST, |hosts| hosts.get_mut(host).unwrap().agent = agent);
    agent(&hosts[1], Agent::Offline);
    stage.cloud.power(&stage.prod, EAST, &hosts[2], Power::Stopped);
    // Hosts that cannot be told keep the others waiting for nothing.
    stage.until(&daemon, "the host that is there is free", || there() == [false, true, true]);
    stage.until(&daemon, "the others are overdue", || {
        let owed = stage.site.json(&["status"])["owed"].as_array().unwrap().clone();
        owed.iter().filter(|one| one["state"] == "overdue").count() == 2
    });
    let log = daemon.log();
    assert!(log.contains("the SSM agent does not answer") && log.contains("the instance is stopped"), "{log}");
    agent(&hosts[1], Agent::Online);
    stage.until(&daemon, "the host that came back is free", || there() == [false, false, true]);
    // Only one that is gone for certain closes the debt.
    stage.cloud.power(&stage.prod, EAST, &hosts[2], Power::Terminated);
    stage.until(&daemon, "the host is known to be gone", || {
        stage.fates().contains(&"revoke windows-admin gone".to_owned())
    });
    daemon.stop();
}

#[test]
fn a_host_that_joins_later_gets_nothing_and_one_that_leaves_keeps_its_end() {
    let stage = Stage::new();
    let first = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "12s", &[windows("prod", EAST)]);
    stage.until(&daemon, "it is granted", || stage.admin(&stage.prod, EAST, &first));
    stage.cloud.tag(&stage.prod, EAST, &first, "AccessGroup", None);
    let second = stage.host(&stage.prod, EAST);
    // Nor with a new revision.
    stage.site.push();
    stage.pass(3);
    assert!(stage.admin(&stage.prod, EAST, &first), "a place is pinned when it is granted");
    assert!(!stage.local(&stage.prod, EAST, &second), "{}", daemon.log());
    stage.until(&daemon, "the first is free", || !stage.local(&stage.prod, EAST, &first));
    // A grant of its own is another thing.
    stage.merge("jdoe-again", "8h", &[windows("prod", EAST)]);
    stage.until(&daemon, "the second is granted", || stage.admin(&stage.prod, EAST, &second));
    assert!(!stage.local(&stage.prod, EAST, &first));
    daemon.stop();
}

#[test]
fn a_sweep_finds_what_somebody_took_away_by_hand() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST), policy("prod"), group("prod"), set("prod")]);
    stage.until(&daemon, "it is granted", || stage.site.count("fate", "grant") == 4);
    daemon.stop();
    stage.cloud.hosts(&stage.prod, EAST, |hosts| {
        hosts.get_mut(&host).unwrap().administrators.retain(|member| member.marker.is_none());
    });
    Realm::of(&stage.prod).detach("role", "OpsOnCall", EC2).leave("Auditors", "jdoe");
    Center::of(&stage.org, EAST).unassign(&stage.prod, &stage.set, "USER", &stage.person);
    stage.cloud.clear_calls();
    // Every start begins with a sweep.
    let daemon = stage.site.daemon();
    stage.until(&daemon, "all is told", || stage.site.count("drift", "") == 4);
    stage.pass(1);
    assert!(!stage.attached(&stage.prod), "what somebody took away is not given back unasked");
    daemon.stop();
}

#[test]
fn no_secret_is_in_a_log_however_much_of_it_is_asked_for() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let (key, external) = ("canary-of-the-secret-key", "canary-of-the-external-id");
    let file = stage.site.path("external-id");
    std::fs::write(&file, external).unwrap();
    let text = std::fs::read_to_string(stage.site.path("grantd.yaml")).unwrap();
    let role = format!("role: \"arn:aws:iam::{}:role/grantd\"", stage.prod);
    let text = text.replace(&role, &format!("{role}, external_id: {}", file.display()));
    stage.site.replace("grantd.yaml", &text);
    let daemon = stage.site.daemon_with(|command| {
        command.env("GRANTD_LOG", "trace").env("AWS_SECRET_ACCESS_KEY", key);
    });
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST), policy("prod"), set("prod")]);
    stage.until(&daemon, "it is granted", || stage.admin(&stage.prod, EAST, &host) && stage.attached(&stage.prod));
    let asked =
        stage.cloud.calls().into_iter().find(|call| call.action == "sts:AssumeRole" && call.account == stage.prod);
    assert!(asked.unwrap().body.contains(external), "the external id goes to AWS");
    let log = daemon.stop();
    assert!(log.contains("DEBUG") && log.contains("iam:AttachRolePolicy"), "it says much:\n{log}");
    let history = stage.site.fine(&["history", "--format", "json"]).out;
    for secret in [key, external, "security-token", "SecurityToken", "SessionToken", "Credential="] {
        assert!(!log.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in the log");
        assert!(!history.contains(secret), "{secret} is in the journal");
    }
}

#[test]
fn plan_reads_and_apply_does_one_cycle() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST), policy("prod"), group("prod"), set("prod")]);
    let planned = stage.site.run(&["plan"]);
    assert_eq!(planned.code, 2, "{planned}");
    assert!(planned.out.contains("OpsOnCall") && planned.out.contains(&host), "{planned}");
    let writes = |call: &crate::aws::Call| {
        let verb = call.action.split_once(':').unwrap().1;
        let runs = verb == "SendCommand" && !call.body.contains("ListLocalAdmins");
        runs || ["Attach", "Add", "Create", "Detach", "Remove", "Delete", "Put", "Update"]
            .iter()
            .any(|begin| verb.starts_with(begin))
    };
    assert_eq!(stage.cloud.calls().into_iter().find(writes), None);
    let there = || {
        let id = &stage.prod;
        [stage.admin(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)]
    };
    assert_eq!(there(), [false; 4]);
    let digest = stage.site.json(&["plan"])["digest"].as_str().unwrap().to_owned();
    let applied = stage.site.fine(&["apply", "--digest", &digest]);
    assert_eq!(there(), [true; 4], "{applied}");
    let planned = stage.site.run(&["plan"]);
    assert_eq!(planned.code, 0, "{planned}");
}

#[test]
fn an_assignment_is_asked_for_until_identity_center_is_through() {
    let stage = Stage::new();
    let says = |action, status, times| {
        stage.cloud.fault(Fault { times: Some(times), ..Fault::of(action, How::Says(status)) });
    };
    says("sso:CreateAccountAssignment", "IN_PROGRESS", 1);
    says("sso:DescribeAccountAssignmentCreationStatus", "IN_PROGRESS", 2);
    says("sso:DeleteAccountAssignment", "IN_PROGRESS", 1);
    says("sso:DescribeAccountAssignmentDeletionStatus", "IN_PROGRESS", 2);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-power", "8h", &[set("prod")]);
    stage.until(&daemon, "it is granted", || stage.site.count("fate", "grant") == 1);
    stage.site.withdraw("jdoe-power");
    stage.until(&daemon, "it is revoked", || stage.site.count("fate", "revoke") == 1);
    assert_eq!(stage.fates(), ["grant permission-set done", "revoke permission-set done"], "{}", daemon.log());
    let actions = [
        "CreateAccountAssignment",
        "DescribeAccountAssignmentCreationStatus",
        "DeleteAccountAssignment",
        "DescribeAccountAssignmentDeletionStatus",
    ];
    assert_eq!(actions.map(|action| stage.cloud.count(&format!("sso:{action}"))), [1, 3, 1, 3]);
    assert!(!stage.assigned(&stage.prod));
    daemon.stop();
}

#[test]
fn an_assignment_that_failed_and_is_there_is_ours_and_ends() {
    let stage = Stage::new();
    let says = Fault { times: Some(1), ..Fault::of("sso:CreateAccountAssignment", How::Says("FAILED")) };
    stage.cloud.fault(says);
    let daemon = stage.site.daemon();
    // As where an attempt before, whose answer was lost, has done it, and this one clashed with that.
    stage.merge("jdoe-power", "6s", &[set("prod")]);
    stage.until(&daemon, "it is there", || stage.assigned(&stage.prod));
    stage.until(&daemon, "it is taken away", || !stage.assigned(&stage.prod));
    daemon.stop();
}

#[test]
fn a_name_in_another_case_is_not_taken_for_another_one() {
    let stage = Stage::new();
    // moto keeps both; in IAM they are one.
    Realm::of(&stage.prod).user("JDoe").join("Auditors", "jdoe");
    let daemon = stage.site.daemon();
    stage.merge("jdoe-audit", "8h", &["iam-group: { account: prod, user: JDoe, group: Auditors }".to_owned()]);
    stage.until(&daemon, "it is told", || daemon.log().contains("there is no `JDoe`; it is spelled `jdoe`"));
    stage.site.withdraw("jdoe-audit");
    stage.until(&daemon, "it is over", || stage.site.count("finish", "") == 1);
    stage.pass(1);
    assert_eq!([stage.cloud.count("iam:AddUserToGroup"), stage.cloud.count("iam:RemoveUserFromGroup")], [0, 0]);
    assert!(stage.member(&stage.prod), "the standing member stays");
    daemon.stop();
}
