//! What grantd's documents do on a host of the kit's: as the scripts themselves, which run on Windows alone.

use grantd::surface::world::{Caseless, Member};
use serde_json::{Value, json};

use super::commands::{A, FOREVER, REGION, add, site};
use crate::aws::Stuck;

fn renew(ids: &[&str], until: &str) -> Value {
    let mut asked = add(ids);
    asked["Parameters"]["Verb"] = json!(["renew"]);
    asked["Parameters"]["Until"] = json!([until]);
    asked
}

#[test]
fn access_is_given_listed_and_taken_away() {
    let site = site();
    let done = site.answer(&add(&[A]));
    assert_eq!((&done["grantd"], &done["nonce"], &done["result"]), (&json!(1), &json!("abcd"), &json!("done")));
    let sid = done["sid"].as_str().unwrap();
    assert!(sid.starts_with("S-1-5-21-"), "{done}");
    site.host(A, |host| {
        host.sessions.insert(Caseless(r"Corp\JDoe".into()));
        host.administrators.push(Member { user: Caseless(r"corp\gone".into()), marker: None });
        host.administrators.push(Member { user: Caseless(r"web-1\Administrator".into()), marker: None });
    });
    let listed = site.simple("list", A);
    let names: Vec<_> = listed["members"].as_array().unwrap().iter().map(|member| member["name"].clone()).collect();
    assert_eq!(names, [json!(r"CORP\jdoe"), Value::Null, json!(r"WEB-1\Administrator")]);
    assert_eq!(listed["members"][0]["sid"], sid);
    let mark = json!({ "sid": sid, "user": r"corp\jdoe", "until": FOREVER, "grants": "inc-1,inc-2" });
    assert_eq!((&listed["result"], &listed["marks"]), (&json!("done"), &json!([mark])));
    assert_eq!(site.simple("remove", A)["result"], "done");
    assert_eq!(site.simple("remove", A)["result"], "absent");
    assert_eq!(site.host(A, |host| (host.administrators.len(), host.sessions.len())), (2, 0));
}

#[test]
fn a_grant_leaves_standing_access_as_it_is_and_a_removal_asks_for_no_mark() {
    let site = site();
    let jdoe = Member { user: Caseless(r"CORP\JDOE".into()), marker: None };
    site.host(A, |host| host.administrators.push(jdoe.clone()));
    assert_eq!(site.answer(&add(&[A]))["result"], "standing");
    assert_eq!(site.host(A, |host| host.administrators.clone()), [jdoe]);
    assert_eq!(site.simple("remove", A)["result"], "done");
    assert_eq!(site.host(A, |host| host.administrators.clone()), []);
}

#[test]
fn a_renewal_adds_nobody_and_gives_a_member_its_mark_back() {
    let site = site();
    let until = "2098-01-01T00:00:00Z";
    assert_eq!(site.answer(&renew(&[A], until))["result"], "absent");
    assert_eq!(site.host(A, |host| host.administrators.clone()), []);
    site.host(A, |host| host.administrators.push(Member { user: Caseless(r"CORP\jdoe".into()), marker: None }));
    assert_eq!(site.answer(&renew(&[A], until))["result"], "done");
    let marker = site.host(A, |host| host.administrators[0].marker.clone()).unwrap();
    assert_eq!(marker.until.to_string(), until);
}

#[test]
fn a_host_without_its_domain_removes_by_its_mark_and_claims_nothing_without() {
    let site = site();
    let domain = |stuck: Option<Stuck>| site.cloud.stuck(&site.account, REGION, A, stuck);
    site.answer(&add(&[A]));
    domain(Some(Stuck::NoDomain));
    assert_eq!(site.simple("list", A)["members"][0]["name"], Value::Null);
    assert_eq!(site.answer(&add(&[A]))["result"], "failed");
    assert_eq!(site.simple("remove", A)["result"], "done");
    assert_eq!(site.simple("remove", A)["result"], "failed");
    domain(None);
    assert_eq!(site.simple("remove", A)["result"], "absent");
}

#[test]
fn a_host_says_why_it_gives_no_access() {
    let site = site();
    let with = |name: &str, value: &str| {
        let mut asked = add(&[A]);
        asked["Parameters"][name] = json!([value]);
        site.answer(&asked)["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(with("User", r"corp\nobody"), "no-such-user");
    assert_eq!(with("ActBy", "2020-01-01T00:00:00Z"), "late");
    assert_eq!(with("Until", "2020-01-01T00:00:00Z"), "late");
    site.host(A, |host| host.domain_controller = true);
    assert_eq!(with("Nonce", "wxyz"), "domain-controller");
    assert_eq!(site.simple("remove", A)["result"], "domain-controller");
    assert_eq!(site.host(A, |host| host.administrators.clone()), []);
}

#[test]
fn a_second_add_renews_what_is_ours() {
    let site = site();
    site.answer(&add(&[A]));
    let mut again = add(&[A]);
    again["Parameters"]["Until"] = json!(["2098-01-01T00:00:00Z"]);
    assert_eq!(site.answer(&again)["result"], "done");
    let administrators = site.host(A, |host| host.administrators.clone());
    let untils: Vec<_> =
        administrators.iter().map(|member| member.marker.as_ref().unwrap().until.to_string()).collect();
    assert_eq!(untils, ["2098-01-01T00:00:00Z"]);
}
