//! The level `signed`: every commit that matters is signed by a key that is allowed now.

use super::*;

async fn town() -> Town {
    Town::new(Trust::Signed).await
}

#[tokio::test]
async fn an_unsigned_commit_under_a_signed_head_holds_its_file_and_no_other() {
    let mut town = town().await;
    let bad = town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.put(Who::Jdoe, "jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"));
    town.at("09:01").await;
    let why = format!("{} carries no signature", &bad[..10]);
    town.is_held("jdoe-one", ("jdoe", "Auditors"), &why);
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    // Neither a restart nor a reviewed comment on top clears it.
    town.restart().await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), &why);
    town.comment(Who::Jdoe, "jdoe-one");
    town.at("09:02").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), &why);
    town.restart().await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), &why);
    assert_eq!(town.withheld("jdoe-one").unwrap().chain.links.len(), 2);
    // It is there anew only if somebody who signs looked at all of it.
    town.delete(Who::Nobody, "jdoe-one");
    town.at("09:03").await;
    assert_eq!((town.held("jdoe-one"), town.withheld("jdoe-one")), (None, None));
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:04").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
}

#[tokio::test]
async fn the_order_in_which_commits_are_fetched_changes_nothing() {
    // All of it between two polls.
    let mut town = town().await;
    let bad = town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.comment(Who::Jdoe, "jdoe-one");
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), &bad[..10]);
    town.delete(Who::Nobody, "jdoe-one");
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:02").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_signature_that_git_calls_good_by_a_key_in_no_list_proves_nothing() {
    let mut town = town().await;
    let commit = town.put(Who::Eve, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.write("hers", format!("eve@corp.example {}", town.public("eve")));
    let hers = format!("gpg.ssh.allowedSignersFile={}", town.path("hers").display());
    town.git(&["-c", &hers, "verify-commit", &commit]);
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "which is not among the signers");
}

#[tokio::test]
async fn the_names_in_a_commit_prove_nothing() {
    let mut town = town().await;
    town.file("jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.git(&["add", "--all"]);
    let asmith = "--author=Alice Smith <asmith@corp.example>";
    town.sign(
        Who::Eve,
        "commit",
        &["--quiet", "--message=change", "--trailer=Signed-off-by: Alice Smith <asmith@corp.example>", asmith],
    );
    town.file("jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"));
    town.git(&["add", "--all"]);
    town.sign(Who::Jdoe, "commit", &["--quiet", "--message=change", asmith]);
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "which is not among the signers");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    let signer = town.terms("jdoe-two").unwrap().vouched.signer.clone().unwrap();
    assert_eq!((signer.person.as_deref(), signer.key), (Some("jdoe"), town.key(Who::Jdoe)));
}

#[tokio::test]
async fn an_extension_that_nobody_signed_is_none_whatever_is_signed_on_top() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h"));
    town.at("09:01").await;
    let end = town.terms("jdoe-one").unwrap().until;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    for time in ["09:10", "09:20"] {
        town.at(time).await;
        assert!(town.held("jdoe-one").unwrap().contains("what was accepted before goes on to its end"));
        assert_eq!(town.terms("jdoe-one").unwrap().until, end);
        assert!(town.withheld("jdoe-one").is_some() && town.has("jdoe", "Auditors"));
        town.restart().await;
        assert_eq!(town.terms("jdoe-one").unwrap().until, end);
        town.comment(Who::Jdoe, "jdoe-one");
    }
    town.at("11:02").await;
    assert!(!town.has("jdoe", "Auditors") && town.terms("jdoe-one").is_none());
}

#[tokio::test]
async fn what_goes_back_to_the_verified_content_is_held_no_more() {
    let mut town = town().await;
    let first = ask("jdoe", "Auditors", "ttl: 2h");
    town.put(Who::Jdoe, "jdoe-one", &first);
    town.at("09:01").await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    town.at("09:10").await;
    assert!(town.withheld("jdoe-one").is_some());
    town.put(Who::Nobody, "jdoe-one", &first);
    town.at("09:20").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
    // And from there a signed edit counts.
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 3h"));
    town.at("09:30").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
    assert_eq!(town.terms("jdoe-one").unwrap().ttl, Some("3h".parse().unwrap()));
}

#[tokio::test]
async fn a_withdrawal_needs_no_signature() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
    town.delete(Who::Nobody, "jdoe-one");
    town.at("09:02").await;
    assert!(!town.has("jdoe", "Auditors") && town.terms("jdoe-one").is_none());
}

#[tokio::test]
async fn a_live_file_that_somebody_moved_unsigned_can_be_withdrawn_where_it_lies_now() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.rename(Who::Nobody, "jdoe-one", "folder/jdoe-one");
    town.at("09:02").await;
    assert!(town.withheld("jdoe-one").is_some() && town.has("jdoe", "Auditors"));
    town.restart().await;
    town.delete(Who::Jdoe, "folder/jdoe-one");
    town.at("09:03").await;
    assert!(!town.has("jdoe", "Auditors") && town.terms("jdoe-one").is_none());
}

#[tokio::test]
async fn a_branch_with_an_unsigned_commit_is_held_though_its_merge_is_signed() {
    let mut town = town().await;
    town.branch("topic");
    let bad = town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.comment(Who::Jdoe, "jdoe-one");
    town.switch("main");
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_held(
        "jdoe-one",
        ("jdoe", "Auditors"),
        &format!("the commit {bad}, which it brings in, carries no signature"),
    );
}

#[tokio::test]
async fn a_restart_verifies_nothing_twice() {
    let mut town = town().await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.put(Who::Jdoe, "jdoe-two", &ask("jdoe", "Readers", "ttl: 8h"));
    let later = town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Writers", "ttl: 1h\nfrom: 2026-11-20T15:00:00Z"));
    town.at("09:01").await;
    assert_eq!(town.proved.lock().unwrap().len(), 3);
    let kept = town.ledger().proofs.len();
    assert_eq!(kept, 1, "of the one that waits; what is bad may be good a moment later, when clocks differ");
    for time in ["09:02", "09:03"] {
        town.restart().await;
        town.at(time).await;
    }
    let looks = town.proved.lock().unwrap().iter().filter(|commit| *commit.0 == *later).count();
    assert_eq!(looks, 1, "a restart looked again");
    assert_eq!(town.ledger().proofs.len(), kept);
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "carries no signature");
}

#[tokio::test]
async fn a_mass_withdrawal_that_is_held_is_taken_back_only_by_somebody_who_signs() {
    let mut town = town().await;
    let text = ask("jdoe", "Auditors", "ttl: 8h");
    let all = |town: &Town, there: bool| {
        for n in 0..12 {
            let name = format!("many/jdoe-{n:02}");
            match there {
                true => town.file(&name, &text),
                false => std::fs::remove_file(town.sim.repo.path.join(format!("grants/{name}.yaml"))).unwrap(),
            }
        }
    };
    all(&town, true);
    town.commit(Who::Jdoe);
    town.sim.poll().await;
    assert_eq!(town.ledger().grants.len(), 12);
    all(&town, false);
    town.commit(Who::Nobody);
    town.at("09:10").await;
    assert!(town.has("jdoe", "Auditors"), "it was not held");
    all(&town, true);
    town.commit(Who::Nobody);
    town.at("09:11").await;
    town.at("09:41").await;
    assert!(!town.has("jdoe", "Auditors") && town.ledger().grants.is_empty());
}
