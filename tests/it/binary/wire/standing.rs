//! Access that others gave, or took away, at a moment that suits nobody.

use grantd::surface::world::Power;

use super::*;
use crate::aws::{Fault, How};

#[test]
fn what_an_operator_adds_between_the_look_and_the_call_is_not_ours() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    // The plan's own look is answered late, by what it saw: meanwhile somebody gives the same access by hand.
    let late = ["iam:ListAttachedRolePolicies", "iam:GetGroup", "sso:ListAccountAssignments", "ssm:DescribeDocument"];
    for action in late {
        stage.cloud.fault(Fault { times: Some(1), ..Fault::of(action, How::Slow(Duration::from_secs(4))) });
    }
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "20s", &[windows("prod", EAST), policy("prod"), group("prod"), set("prod")]);
    stage.until(&daemon, "all is looked at", || late.iter().all(|action| stage.cloud.count(action) == 1));
    // moto answers at once; what comes after that is not in its answer.
    stage.pass(1);
    stage.by_hand(&stage.prod, EAST, &host);
    Realm::of(&stage.prod).attach("role", "OpsOnCall", EC2).join("Auditors", "jdoe");
    Center::of(&stage.org, EAST).assign(&stage.prod, &stage.set, "USER", &stage.person);
    stage.until(&daemon, "all is told as standing", || {
        let mut fates = stage.fates();
        fates.sort();
        fates
            == ["iam-group", "iam-policy", "permission-set", "windows-admin"]
                .map(|surface| format!("grant {surface} standing"))
    });
    stage.until(&daemon, "the grant is over", || stage.site.count("finish", "") == 1);
    stage.pass(2);
    let id = &stage.prod;
    assert_eq!(
        [stage.local(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)],
        [true; 4],
        "{}",
        daemon.log()
    );
    assert_eq!(stage.site.count("intend", "revoke"), 0);
    let writes = ["iam:AttachRolePolicy", "iam:AddUserToGroup", "sso:CreateAccountAssignment"];
    assert_eq!(writes.map(|action| stage.cloud.count(action)), [0; 3]);
    daemon.stop();
}

#[test]
fn a_renewal_gives_nothing_back_that_was_taken_away_by_hand() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    let entries = [windows("prod", EAST), policy("prod"), group("prod"), set("prod")];
    stage.merge("jdoe-checkout", "1h", &entries);
    let id = &stage.prod;
    let there = || [stage.admin(id, EAST, &host), stage.attached(id), stage.member(id), stage.assigned(id)];
    stage.until(&daemon, "it is granted", || there() == [true; 4] && stage.site.count("fate", "grant") == 4);
    stage.cloud.hosts(id, EAST, |hosts| {
        let jdoe = Caseless(r"corp\jdoe".into());
        hosts.get_mut(&host).unwrap().administrators.retain(|member| member.user != jdoe);
    });
    Realm::of(id).detach("role", "OpsOnCall", EC2).leave("Auditors", "jdoe");
    Center::of(&stage.org, EAST).unassign(id, &stage.set, "USER", &stage.person);
    stage.merge("jdoe-checkout", "2h", &entries);
    stage.until(&daemon, "the new end finds nothing", || {
        stage.fates().iter().filter(|fate| fate.starts_with("renew") && fate.ends_with(" absent")).count() == 4
    });
    stage.pass(3);
    assert_eq!(there(), [false; 4], "{}", daemon.log());
    assert_eq!((stage.site.count("fate", "renew"), stage.site.count("fate", "grant")), (4, 4));
    daemon.stop();
}

#[test]
fn a_renewal_gives_a_member_its_mark_back_and_the_end_needs_none() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    let daemon = stage.site.daemon();
    let unmark = || {
        stage.cloud.hosts(&stage.prod, EAST, |hosts| {
            hosts.get_mut(&host).unwrap().administrators.iter_mut().for_each(|member| member.marker = None);
        });
    };
    stage.merge("jdoe-checkout", "1h", &[windows("prod", EAST)]);
    stage.until(&daemon, "it is granted", || stage.site.count("fate", "grant") == 1);
    unmark();
    stage.merge("jdoe-checkout", "2h", &[windows("prod", EAST)]);
    stage.until(&daemon, "its end is moved", || stage.site.count("fate", "renew") == 1);
    assert!(stage.admin(&stage.prod, EAST, &host), "with its mark again");
    unmark();
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "it is taken away without a mark", || !stage.local(&stage.prod, EAST, &host));
    stage.until(&daemon, "that is told", || stage.site.count("fate", "revoke") == 1);
    assert!(stage.fates().iter().all(|fate| fate.ends_with(" done")), "{:?}", stage.fates());
    let left = stage.cloud.hosts(&stage.prod, EAST, |hosts| hosts[&host].administrators.clone());
    assert_eq!(left.iter().map(|member| &*member.user.0).collect::<Vec<_>>(), [r"CORP\ops"]);
    daemon.stop();
}

#[test]
fn a_host_that_is_stopped_is_chosen_and_served_when_it_is_back() {
    let stage = Stage::new();
    let [running, stopped, terminated] = [(); 3].map(|()| stage.host(&stage.prod, EAST));
    stage.cloud.power(&stage.prod, EAST, &stopped, Power::Stopped);
    stage.cloud.power(&stage.prod, EAST, &terminated, Power::Terminated);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST)]);
    stage.until(&daemon, "the one that runs is served", || stage.admin(&stage.prod, EAST, &running));
    stage.until(&daemon, "the other one is known", || stage.site.count("fate", "grant") >= 2);
    assert!(daemon.log().contains("the instance is stopped"), "{}", daemon.log());
    stage.cloud.power(&stage.prod, EAST, &stopped, Power::Running);
    stage.until(&daemon, "it is served when it is back", || stage.admin(&stage.prod, EAST, &stopped));
    assert!(!stage.site.history().iter().any(|line| line.to_string().contains(&terminated)));
    daemon.stop();
}

#[test]
fn hosts_are_told_fifty_at_a_time() {
    let stage = Stage::new();
    let hosts: Vec<String> = (0..120).map(|_| stage.host(&stage.prod, EAST)).collect();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST)]);
    let there = || hosts.iter().filter(|host| stage.local(&stage.prod, EAST, host)).count();
    stage.until(&daemon, "all are granted", || there() == 120 && stage.site.count("fate", "grant") == 120);
    assert_eq!(stage.sends(ADD), 3);
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "all are free", || there() == 0 && stage.site.count("fate", "revoke") == 120);
    assert_eq!((stage.sends(REMOVE), stage.sends(LIST)), (3, 0));
    daemon.stop();
}
