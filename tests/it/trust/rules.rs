//! Rules: all that match apply, and the strictest wins.

use grantd::model::{Rule, Span, Text, When};

use super::*;

async fn town(rules: Vec<Rule>) -> Town {
    let mut town = Town::new(Trust::Approved).await;
    town.configure(|policy| policy.trust.rules = rules).await;
    town
}

fn group(name: &str) -> When {
    When { group: Some(name.into()), ..When::default() }
}

fn path(pattern: &str) -> When {
    When { path: Some(pattern.into()), ..When::default() }
}

fn approvals(when: When, count: u32) -> Rule {
    Rule { when, approvals_required: Some(count), ..Rule::default() }
}

fn merged(town: &Town, name: &str, text: &str, by: Who) {
    town.propose(Who::Jdoe, &format!("topic-{}", name.replace('/', "-")), name, text);
    town.merge(by, &format!("topic-{}", name.replace('/', "-")));
}

fn one() -> String {
    ask("jdoe", "Auditors", "ttl: 8h")
}

const ONE: (&str, &str) = ("jdoe", "Auditors");

#[tokio::test]
async fn two_approvals_are_not_one_wherever_the_file_lies() {
    let mut town = town(vec![
        approvals(group("audit*"), 2),
        approvals(path("grants/lax/*"), 1),
        approvals(path("grants/strict/*"), 2),
    ])
    .await;
    merged(&town, "lax/jdoe-one", &one(), Who::Asmith);
    merged(&town, "strict/jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"), Who::Asmith);
    merged(&town, "lax/jdoe-three", &ask("jdoe", "Writers", "ttl: 8h"), Who::Asmith);
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "is approved by asmith, and needs 2");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "is approved by asmith, and needs 2");
    town.is_granted("jdoe-three", ("jdoe", "Writers"));
    // Moved to where less is asked for.
    town.branch("move");
    town.rename(Who::Jdoe, "strict/jdoe-two", "lax/jdoe-two");
    town.switch("main");
    town.merge(Who::Asmith, "move");
    town.at("09:02").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "is approved by asmith, and needs 2");
    town.restart().await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "is approved by asmith, and needs 2");
}

#[tokio::test]
async fn a_move_of_a_live_file_needs_what_both_places_ask_for() {
    let mut town = town(vec![]).await;
    merged(&town, "strict/jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"), Who::Asmith);
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    town.configure(|policy| policy.trust.rules = vec![approvals(path("grants/strict/*"), 2)]).await;
    town.branch("move");
    town.git(&["mv", "grants/strict/jdoe-one.yaml", "grants/jdoe-one.yaml"]);
    town.file("jdoe-one", &one());
    town.commit(Who::Jdoe);
    town.switch("main");
    town.merge(Who::Asmith, "move");
    town.at("09:02").await;
    assert!(town.held("jdoe-one").unwrap().contains("is approved by asmith, and needs 2"));
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
}

#[tokio::test]
async fn only_those_whom_every_rule_names_approve() {
    let may = |names: &[&str]| Some(names.iter().map(|name| Text::from(*name)).collect());
    let mut town = town(vec![
        Rule { when: group("Auditors"), approvers: may(&["bwong"]), ..Rule::default() },
        Rule { when: path("*"), approvers: may(&["asmith", "bwong"]), ..Rule::default() },
    ])
    .await;
    merged(&town, "jdoe-one", &one(), Who::Asmith);
    merged(&town, "jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"), Who::Asmith);
    merged(&town, "maria-three", &ask("maria", "Auditors", "ttl: 8h"), Who::Bwong);
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "is not among those who may");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    // Nobody is known behind maria: two are needed, and the rule lets one.
    town.is_held("maria-three", ("maria", "Auditors"), "is approved by bwong, and needs 2");
}

#[tokio::test]
async fn a_principal_that_nobody_is_known_behind_needs_two() {
    let mut town = town(vec![]).await;
    merged(&town, "maria-one", &ask("maria", "Auditors", "ttl: 8h"), Who::Asmith);
    let role = ask("jdoe", "Readers", "ttl: 8h")
        + "  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }\n";
    merged(&town, "jdoe-two", &role, Who::Asmith);
    town.at("09:01").await;
    town.is_held("maria-one", ("maria", "Auditors"), "needs 2");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "needs 2");
    // Who is behind the role is told: but asmith is one of them.
    town.configure(|policy| {
        policy.trust.shared = [("iam:role/opsoncall".into(), ["asmith".into(), "bwong".into()].into())].into();
    })
    .await;
    town.at("09:02").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "asmith signed the merge, and cannot approve it");
    town.configure(|policy| policy.trust.shared = [("iam:role/OpsOnCall".into(), ["bwong".into()].into())].into())
        .await;
    town.at("09:03").await;
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_rule_shortens_the_end_and_no_edit_goes_past_it() {
    let at_most = |hours| Some(Span::hours(hours));
    let mut town = town(vec![
        Rule { when: group("Auditors"), max_duration: at_most(2), ..Rule::default() },
        Rule { when: path("*"), max_duration: at_most(10), ..Rule::default() },
    ])
    .await;
    merged(&town, "jdoe-one", &ask("jdoe", "Auditors", ""), Who::Asmith);
    merged(&town, "jdoe-two", &ask("jdoe", "Auditors", "ttl: 8h"), Who::Asmith);
    merged(&town, "jdoe-three", &ask("jdoe", "Auditors", "until: 2026-11-20T16:00:00Z"), Who::Asmith);
    town.at("09:01").await;
    let ends = |town: &Town| {
        let end = |id: &str| town.terms(id).map(|terms| (terms.until.min(terms.ceiling), terms.ceiling));
        [end("jdoe-one"), end("jdoe-two")]
    };
    let most = kit::moment("11:01");
    assert_eq!(ends(&town), [Some((most, most)); 2]);
    assert!(town.terms("jdoe-three").is_none(), "it says an end that it cannot have");
    town.at("09:05").await;
    // The rule goes, the ceiling stays.
    town.configure(|policy| policy.trust.rules.clear()).await;
    town.propose(Who::Jdoe, "longer", "jdoe-one", &ask("jdoe", "Auditors", "until: 2026-11-20T20:00:00Z"));
    town.merge(Who::Asmith, "longer");
    town.at("09:10").await;
    assert_eq!(ends(&town), [Some((most, most)); 2]);
    town.at("11:02").await;
    assert_eq!(ends(&town), [None; 2]);
}

#[tokio::test]
async fn a_rule_that_is_made_meanwhile_counts_for_what_has_not_begun() {
    let mut town = town(vec![]).await;
    merged(&town, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h\nfrom: 2026-11-20T10:00:00Z"), Who::Asmith);
    town.at("09:01").await;
    assert!(town.terms("jdoe-one").is_some() && town.withheld("jdoe-one").is_none());
    town.configure(|policy| policy.trust.rules = vec![approvals(group("Auditors"), 2)]).await;
    town.at("10:01").await;
    assert!(town.withheld("jdoe-one").unwrap().whole && !town.has("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_rule_raises_the_level_of_what_it_matches_alone() {
    let mut town = Town::new(Trust::Branch).await;
    let signed = Rule { when: group("Auditors"), level: Some(Trust::Signed), ..Rule::default() };
    town.configure(|policy| policy.trust.rules = vec![signed, approvals(group("Writers"), 1)]).await;
    town.put(Who::Nobody, "jdoe-one", &one());
    town.put(Who::Nobody, "jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"));
    town.put(Who::Jdoe, "jdoe-three", &ask("jdoe", "Writers", "ttl: 8h"));
    // One of its entries is enough for the whole file.
    let both =
        ask("asmith", "Readers", "ttl: 8h") + "  - iam-group: { account: prod, user: asmith, group: AUDITORS }\n";
    town.put(Who::Nobody, "asmith-four", &both);
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "carries no signature");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    town.is_held("jdoe-three", ("jdoe", "Writers"), "it is no merge that an approver signed");
    town.is_held("asmith-four", ("asmith", "Readers"), "carries no signature");
}
