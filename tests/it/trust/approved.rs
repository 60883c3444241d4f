//! The level `approved`, by people's keys alone: one signs the branch, another one signs the merge.

use super::*;

async fn town() -> Town {
    Town::new(Trust::Approved).await
}

const ONE: (&str, &str) = ("jdoe", "Auditors");

fn one() -> String {
    ask("jdoe", "Auditors", "ttl: 8h")
}

fn two() -> String {
    ask("jdoe", "Readers", "ttl: 8h")
}

#[tokio::test]
async fn a_branch_of_one_person_that_another_one_merges_is_granted() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic", "jdoe-one", &one());
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    let vouched = &town.terms("jdoe-one").unwrap().vouched;
    assert_eq!(vouched.level, Trust::Approved);
    assert_eq!(vouched.approvers, ["asmith".into()].into());
    assert_eq!(vouched.askers, ["jdoe".into()].into());
    let signer = vouched.signer.as_ref().unwrap();
    assert_eq!((signer.person.as_deref(), &signer.key), (Some("asmith"), &town.key(Who::Asmith)));
    let told = vouched.to_string();
    assert!(told.starts_with("approved by asmith, asked by jdoe, signed by asmith (SHA256:"), "{told}");
    // Another push, which nobody approved.
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 20h"));
    town.at("09:02").await;
    assert!(town.held("jdoe-one").unwrap().contains("is no merge that an approver signed"));
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("17:01"));
}

#[tokio::test]
async fn nobody_merges_his_own_branch() {
    let mut town = town().await;
    for (who, name, user, group) in
        [(Who::Jdoe, "jdoe-one", "jdoe", "Auditors"), (Who::Asmith, "jdoe-two", "jdoe", "Readers")]
    {
        town.propose(who, name, name, &ask(user, group, "ttl: 8h"));
        town.merge(who, name);
    }
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "jdoe signed the merge, and cannot approve it");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "asmith signed the merge, and cannot approve it");
}

#[tokio::test]
async fn nobody_approves_himself_under_another_mail_address_or_with_another_key() {
    let mut town = town().await;
    // The same key in the list for the second time, under a name that is not his.
    let lines = format!("asmith@corp.example {}jdoe@corp.example {}", town.public("jdoe"), town.public("jdoe"));
    // And a key of his that nobody has mapped.
    town.write("signers", format!("{lines}asmith@corp.example {}", town.public("guest")));
    town.propose(Who::Jdoe, "topic-1", "jdoe-one", &one());
    town.merge(Who::Jdoe, "topic-1");
    town.propose(Who::Jdoe, "topic-2", "jdoe-two", &two());
    town.merge(Who::Guest, "topic-2");
    town.propose(Who::Guest, "topic-3", "jdoe-three", &ask("jdoe", "Writers", "ttl: 8h"));
    town.merge(Who::Jdoe, "topic-3");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "jdoe signed the merge, and cannot approve it");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "on the merge is nobody's in `people`");
    town.is_held("jdoe-three", ("jdoe", "Writers"), "the branch is signed by a key that is nobody's in `people`");
}

#[tokio::test]
async fn a_second_key_of_the_same_person_is_the_same_person() {
    let mut town = town().await;
    let second = town.key(Who::Guest);
    town.configure(|policy| policy.trust.people.get_mut("jdoe").unwrap().keys.push(second)).await;
    town.propose(Who::Jdoe, "topic", "jdoe-one", &one());
    town.merge(Who::Guest, "topic");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "jdoe signed the merge, and cannot approve it");
}

#[tokio::test]
async fn nobody_approves_what_he_gets_himself() {
    let mut town = town().await;
    // Somebody else asks for him.
    town.propose(
        Who::Jdoe,
        "topic-1",
        "asmith-one",
        &ask("asmith", "Auditors", "ttl: 8h").replace("requester: asmith", "requester: jdoe"),
    );
    town.merge(Who::Asmith, "topic-1");
    // Written with another case.
    let shouted = ask("asmith", "Readers", "ttl: 8h")
        .replace("requester: asmith", "requester: maria")
        .replace("user: asmith", "user: ASMITH");
    town.propose(Who::Jdoe, "topic-2", "asmith-two", &shouted);
    town.merge(Who::Asmith, "topic-2");
    // He is named as who asks, and does not get it.
    town.propose(
        Who::Jdoe,
        "topic-3",
        "jdoe-three",
        &ask("jdoe", "Writers", "ttl: 8h").replace("requester: jdoe", "requester: ASMITH"),
    );
    town.merge(Who::Asmith, "topic-3");
    town.at("09:01").await;
    town.is_held("asmith-one", ("asmith", "Auditors"), "asmith signed the merge, and cannot approve it");
    town.is_held("asmith-two", ("asmith", "Readers"), "asmith signed the merge, and cannot approve it");
    town.is_held("jdoe-three", ("jdoe", "Writers"), "asmith signed the merge, and cannot approve it");
}

#[tokio::test]
async fn a_branch_of_two_people_is_not_approved_by_a_third() {
    let mut town = town().await;
    town.branch("topic");
    town.put(Who::Jdoe, "jdoe-one", &one());
    town.comment(Who::Asmith, "jdoe-one");
    town.switch("main");
    town.merge(Who::Bwong, "topic");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "the branch is not signed by one person alone");
}

#[tokio::test]
async fn an_unsigned_commit_in_the_branch_holds_it() {
    let mut town = town().await;
    town.branch("topic");
    town.put(Who::Jdoe, "jdoe-one", &one());
    // It touches no grant, and its content is not known to the requester.
    std::fs::write(town.sim.repo.path.join("README.md"), "New.\n").unwrap();
    town.commit(Who::Nobody);
    town.switch("main");
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "brought in a commit that does not count");
}

#[tokio::test]
async fn a_merge_that_carries_what_is_in_neither_parent_is_held_for_that_file() {
    let mut town = town().await;
    town.branch("topic");
    town.file("jdoe-two", &two());
    town.put(Who::Jdoe, "jdoe-one", &one());
    town.switch("main");
    town.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
    town.file("jdoe-one", &ask("jdoe", "Writers", "ttl: 20h"));
    town.file("jdoe-three", &ask("jdoe", "Writers", "ttl: 20h"));
    town.git(&["add", "--all"]);
    town.sign(Who::Asmith, "commit", &["--quiet", "--message=Merge branch 'topic'"]);
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Writers"), "the merge has the file not as the branch made it");
    town.is_held("jdoe-three", ("jdoe", "Writers"), "the merge has the file not as the branch made it");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_resolved_conflict_is_held() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic-1", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 4h"));
    town.merge(Who::Asmith, "topic-1");
    town.at("09:01").await;
    town.branch("topic-2");
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 5h"));
    town.switch("main");
    town.propose(Who::Jdoe, "topic-3", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 3h"));
    town.merge(Who::Asmith, "topic-3");
    town.at("09:02").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("12:01"));
    let merge = ["-C", town.sim.repo.path.to_str().unwrap(), "merge", "--no-commit", "topic-2"];
    assert!(!std::process::Command::new("git").args(merge).output().unwrap().status.success(), "there was no conflict");
    town.file("jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    town.git(&["add", "--all"]);
    town.sign(Who::Asmith, "commit", &["--quiet", "--message=Merge branch 'topic-2'"]);
    town.at("09:03").await;
    assert!(town.held("jdoe-one").unwrap().contains("the merge has the file not as the branch made it"));
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("12:01"));
}

#[tokio::test]
async fn a_fast_forward_and_a_direct_push_are_held() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic", "jdoe-one", &one());
    town.git(&["merge", "--quiet", "--ff-only", "topic"]);
    town.put(Who::Asmith, "jdoe-two", &two());
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "it is no merge that an approver signed");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "it is no merge that an approver signed");
    // A merge of nothing on top approves nothing.
    town.git(&["branch", "empty", "HEAD~1"]);
    town.sign(Who::Bwong, "merge", &["--quiet", "--no-ff", "--no-edit", "--strategy=ours", "empty"]);
    town.comment(Who::Bwong, "jdoe-one");
    town.at("09:02").await;
    town.is_held("jdoe-one", ONE, "it is no merge that an approver signed");
}

#[tokio::test]
async fn a_merge_without_a_signature_is_held() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic-1", "jdoe-one", &one());
    town.merge(Who::Nobody, "topic-1");
    town.propose(Who::Jdoe, "topic-2", "jdoe-two", &two());
    town.merge(Who::Eve, "topic-2");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "carries no signature");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "which is not among the signers");
}

#[tokio::test]
async fn main_merged_into_the_branch_disturbs_nothing() {
    let mut town = town().await;
    town.branch("topic");
    town.put(Who::Jdoe, "jdoe-one", &one());
    town.switch("main");
    town.propose(Who::Bwong, "other", "jdoe-two", &two());
    town.merge(Who::Asmith, "other");
    town.at("09:01").await;
    town.switch("topic");
    town.merge(Who::Jdoe, "main");
    town.switch("main");
    town.merge(Who::Asmith, "topic");
    town.at("09:02").await;
    town.is_granted("jdoe-one", ONE);
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_merge_whose_branch_holds_an_older_content_extends_nothing() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic-1", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    town.merge(Who::Asmith, "topic-1");
    town.at("09:01").await;
    // It begins here, and has nothing to do with that file.
    town.propose(Who::Jdoe, "topic-2", "jdoe-two", &two());
    town.propose(Who::Bwong, "topic-3", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.merge(Who::Asmith, "topic-3");
    town.at("09:02").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    town.git(&["merge", "--quiet", "--no-ff", "--no-commit", "topic-2"]);
    town.git(&["checkout", "--quiet", "topic-2", "--", "grants/jdoe-one.yaml"]);
    town.sign(Who::Asmith, "commit", &["--quiet", "--message=Merge branch 'topic-2'"]);
    town.at("09:03").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_revert_is_a_withdrawal_and_a_revert_of_it_brings_nothing_back() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic", "jdoe-one", &one());
    let merge = town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    town.sign(Who::Jdoe, "revert", &["--no-edit", "--mainline=1", &merge]);
    town.at("09:02").await;
    assert!(town.terms("jdoe-one").is_none() && !town.has("jdoe", "Auditors"));
    town.branch("again");
    town.sign(Who::Jdoe, "revert", &["--no-edit", "main"]);
    town.switch("main");
    town.merge(Who::Asmith, "again");
    town.at("09:03").await;
    assert!(town.terms("jdoe-one").is_none() && !town.has("jdoe", "Auditors"));
    town.restart().await;
    assert!(!town.has("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_revert_of_a_shorter_end_needs_approval_as_any_extension() {
    let mut town = town().await;
    town.propose(Who::Jdoe, "topic", "jdoe-one", &one());
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.propose(Who::Bwong, "shorter", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.merge(Who::Asmith, "shorter");
    town.at("09:02").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    town.sign(Who::Jdoe, "revert", &["--no-edit", "--mainline=1", "HEAD"]);
    town.at("09:03").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    assert!(town.held("jdoe-one").unwrap().contains("it is no merge that an approver signed"));
    // The revert of the revert is the content that was verified.
    town.sign(Who::Jdoe, "revert", &["--no-edit", "HEAD"]);
    town.at("09:04").await;
    town.is_granted("jdoe-one", ONE);
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
}
