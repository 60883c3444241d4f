//! The level `approved`, by the forge's own record.

use super::{hub::Pull, *};

async fn town() -> Town {
    Town::with_forge().await
}

const JDOE: u64 = 1001;
const ASMITH: u64 = 1002;
const BWONG: u64 = 1003;
const STRANGER: u64 = 1999;
const BOT: u64 = 4000;
const ONE: (&str, &str) = ("jdoe", "Auditors");

fn one() -> String {
    ask("jdoe", "Auditors", "ttl: 2h")
}

/// A branch of one commit for pull request `number`, and back on main.
fn propose(town: &Town, number: u64, name: &str, text: &str) -> String {
    town.propose(Who::Jdoe, &format!("topic-{number}"), name, text)
}

/// What the forge makes of it: one commit, signed by its own key.
fn squash(town: &Town, number: u64) -> String {
    town.git(&["merge", "--quiet", "--squash", &format!("topic-{number}")]);
    town.sign(Who::Forge, "commit", &["--quiet", "--message=Squashed"])
}

fn pull(number: u64, merge: &str, head: &str, reviews: &[(u64, &'static str)]) -> Pull {
    Pull {
        number,
        merge: merge.into(),
        head: head.into(),
        commits: vec![head.into()],
        author: JDOE,
        pusher: JDOE,
        reviews: reviews.iter().map(|(who, state)| (*who, *state, head.to_owned())).collect(),
    }
}

fn knows(town: &Town, pull: Pull) {
    town.hub.as_ref().unwrap().knows(pull);
}

#[tokio::test]
async fn a_squash_and_a_merge_that_the_forge_has_on_record_are_granted() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = squash(&town, 7);
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    let head = propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let merge = town.merge(Who::Forge, "topic-8");
    knows(&town, pull(8, &merge, &head, &[(BWONG, "APPROVED")]));
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    let vouched = &town.terms("jdoe-one").unwrap().vouched;
    assert_eq!((vouched.request, vouched.merger.as_deref()), (Some(7), Some("jdoe")));
    assert_eq!((&vouched.approvers, &vouched.askers), (&["asmith".into()].into(), &["jdoe".into()].into()));
    assert!(vouched.to_string().starts_with("approved by asmith (#7), asked by jdoe, signed by "), "{vouched}");
}

#[tokio::test]
async fn what_the_forge_signs_counts_only_with_its_record() {
    let mut town = town().await;
    // A file that somebody edited in the page of the forge, and a branch that was merged without a pull request.
    town.put(Who::Forge, "jdoe-one", &one());
    propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    town.merge(Who::Forge, "topic-8");
    town.at("09:01").await;
    for (id, access) in [("jdoe-one", ONE), ("jdoe-two", ("jdoe", "Readers"))] {
        town.is_held(
            id,
            access,
            "is signed with the forge's own key, which counts only with its record: 127.0.0.1 has no pull request",
        );
    }
    // At the level below, too.
    town.configure(|policy| policy.trust.level = Trust::Signed).await;
    town.is_held("jdoe-one", ONE, "counts only with its record");
}

#[tokio::test]
async fn a_forge_that_is_away_holds_what_is_new_and_revokes_nothing() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = squash(&town, 7);
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    let head = propose(&town, 6, "maria-zero", &ask("asmith", "Writers", "ttl: 8h"));
    let merge = squash(&town, 6);
    knows(&town, pull(6, &merge, &head, &[(BWONG, "APPROVED")]));
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    town.hub.as_ref().unwrap().away(true);
    let head = propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let merge = squash(&town, 8);
    knows(&town, pull(8, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.delete(Who::Nobody, "maria-zero");
    town.at("09:02").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "the forge does not answer");
    assert!(town.has("jdoe", "Auditors"), "it revoked");
    assert!(!town.has("asmith", "Writers"), "a withdrawal waited for the forge");
    town.restart().await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "the forge does not answer");
    town.at("11:02").await;
    assert!(!town.has("jdoe", "Auditors"), "an end waited for the forge");
    // The very next poll, without a new commit.
    town.hub.as_ref().unwrap().away(false);
    town.at("11:03").await;
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_record_that_comes_a_moment_after_the_merge_is_found() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = squash(&town, 7);
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "has no pull request");
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:02").await;
    town.is_granted("jdoe-one", ONE);
}

#[tokio::test]
async fn only_a_known_person_who_did_not_ask_approves() {
    let mut town = town().await;
    for (number, reviews) in [
        (11, vec![]),
        (12, vec![(JDOE, "APPROVED")]),
        (13, vec![(BOT, "APPROVED")]),
        (14, vec![(STRANGER, "APPROVED")]),
        (15, vec![(ASMITH, "COMMENTED")]),
        (16, vec![(ASMITH, "APPROVED"), (ASMITH, "CHANGES_REQUESTED")]),
    ] {
        let name = format!("jdoe-{number}");
        let head = propose(&town, number, &name, &one());
        let merge = squash(&town, number);
        knows(&town, pull(number, &merge, &head, &reviews));
        town.sim.poll().await;
        town.is_held(&name, ONE, &format!("no review of #{number} counts"));
    }
    // He pushed to it, or it is for him.
    let head = propose(&town, 17, "jdoe-17", &one());
    let merge = squash(&town, 17);
    knows(&town, Pull { pusher: ASMITH, ..pull(17, &merge, &head, &[(ASMITH, "APPROVED")]) });
    let head = propose(&town, 18, "asmith-18", &ask("asmith", "Auditors", "ttl: 2h"));
    let merge = squash(&town, 18);
    knows(&town, pull(18, &merge, &head, &[(ASMITH, "APPROVED")]));
    // It was about an earlier head.
    let head = propose(&town, 19, "jdoe-19", &one());
    let merge = squash(&town, 19);
    let early = (ASMITH, "APPROVED", town.git(&["rev-parse", "HEAD~1"]));
    knows(&town, Pull { reviews: vec![early], ..pull(19, &merge, &head, &[]) });
    town.sim.poll().await;
    town.is_held("jdoe-17", ONE, "no review of #17 counts");
    town.is_held("asmith-18", ("asmith", "Auditors"), "no review of #18 counts");
    town.is_held("jdoe-19", ONE, "no review of #19 counts");
}

#[tokio::test]
async fn what_is_not_as_it_was_reviewed_is_held_and_the_rest_goes_on() {
    let mut town = town().await;
    town.branch("topic-7");
    town.file("jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let head = town.put(Who::Jdoe, "jdoe-one", &one());
    town.switch("main");
    town.git(&["merge", "--quiet", "--squash", "topic-7"]);
    town.file("jdoe-one", &ask("jdoe", "Auditors", "ttl: 20h"));
    town.git(&["add", "--all"]);
    let merge = town.sign(Who::Forge, "commit", &["--quiet", "--message=Squashed"]);
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "the file is not as it was approved in #7");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_commit_that_the_forge_signed_within_a_branch_needs_the_record_as_well() {
    let mut town = town().await;
    town.branch("topic");
    town.put(Who::Jdoe, "jdoe-one", &one());
    town.comment(Who::Forge, "jdoe-one");
    town.switch("main");
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "is signed with the forge's own key, which counts only with its record");
}

#[tokio::test]
async fn the_forge_approves_no_branch_that_it_merges_and_nobody_reviewed() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = town.merge(Who::Forge, "topic-7");
    knows(&town, pull(7, &merge, &head, &[]));
    // The key of the forge is nobody's approval, even if it were listed as somebody's.
    let key = town.sim.policy.trust.merge_keys.first().unwrap().clone();
    town.configure(|policy| policy.trust.people.get_mut("asmith").unwrap().keys.push(key)).await;
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "no review of #7 counts");
}

#[tokio::test]
async fn a_rebase_leaves_unsigned_commits_which_are_held() {
    let mut town = town().await;
    town.branch("topic-7");
    town.put(Who::Jdoe, "jdoe-one", &one());
    let head = town.put(Who::Jdoe, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    town.switch("main");
    town.commit(Who::Jdoe);
    town.git(&["cherry-pick", "--no-gpg-sign", "topic-7~1", "topic-7"]);
    knows(&town, pull(7, &town.head(), &head, &[(ASMITH, "APPROVED")]));
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "carries no signature");
    town.is_held("jdoe-two", ("jdoe", "Readers"), "carries no signature");
}

#[tokio::test]
async fn one_signature_and_one_review_make_two_approvals_and_the_same_person_twice_makes_one() {
    let mut town = town().await;
    town.configure(|policy| policy.trust.approvals = 2).await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = town.merge(Who::Asmith, "topic-7");
    knows(&town, pull(7, &merge, &head, &[(BWONG, "APPROVED")]));
    let head = propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let merge = town.merge(Who::Asmith, "topic-8");
    knows(&town, pull(8, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:01").await;
    town.is_granted("jdoe-one", ONE);
    assert_eq!(town.terms("jdoe-one").unwrap().vouched.approvers, ["asmith".into(), "bwong".into()].into());
    town.is_held("jdoe-two", ("jdoe", "Readers"), "is approved by asmith, and needs 2");
}

#[tokio::test]
async fn a_restart_asks_the_forge_nothing_that_it_has_told() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = squash(&town, 7);
    knows(&town, pull(7, &merge, &head, &[]));
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "no review of #7 counts");
    let asked = town.hub.as_ref().unwrap().asked();
    town.restart().await;
    town.at("09:02").await;
    assert_eq!(town.hub.as_ref().unwrap().asked(), asked);
    town.is_held("jdoe-one", ONE, "no review of #7 counts");
}

#[tokio::test]
async fn what_the_reviewed_branch_was_not_about_is_not_approved_with_it() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    let merge = squash(&town, 7);
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:01").await;
    // It begins here, and leaves that file alone.
    let old = propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 9h"));
    let head = propose(&town, 9, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    let merge = squash(&town, 9);
    knows(&town, pull(9, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:02").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    town.git(&["merge", "--quiet", "--squash", "topic-8"]);
    town.git(&["checkout", "--quiet", "topic-8", "--", "grants/jdoe-one.yaml"]);
    let merge = town.sign(Who::Jdoe, "commit", &["--quiet", "--message=Squashed"]);
    knows(&town, pull(8, &merge, &old, &[(ASMITH, "APPROVED")]));
    town.at("09:03").await;
    assert!(town.held("jdoe-one").unwrap().contains("the file is not as it was approved in #8"));
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("10:01"));
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_forge_that_is_configured_later_is_asked_about_what_waits() {
    let mut town = town().await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = town.merge(Who::Jdoe, "topic-7");
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    let settings = town.sim.forge.take();
    town.restart().await;
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "no forge is configured");
    town.sim.forge = settings;
    town.restart().await;
    town.is_granted("jdoe-one", ONE);
}

#[tokio::test]
async fn a_forge_that_answers_nothing_at_all_is_away() {
    let mut town = town().await;
    // Nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(grantd::source::forge::Settings::Github(github)) = &mut town.sim.forge else { panic!("no forge") };
    github.api = format!("http://127.0.0.1:{port}");
    town.restart().await;
    propose(&town, 7, "jdoe-one", &one());
    squash(&town, 7);
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "the forge does not answer");
}

#[tokio::test]
async fn at_the_level_signed_a_click_without_a_review_proves_nothing() {
    let mut town = town().await;
    town.configure(|policy| policy.trust.level = Trust::Signed).await;
    let head = propose(&town, 7, "jdoe-one", &one());
    let merge = squash(&town, 7);
    knows(&town, pull(7, &merge, &head, &[]));
    let head = propose(&town, 8, "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let merge = town.merge(Who::Forge, "topic-8");
    knows(&town, pull(8, &merge, &head, &[]));
    let head = propose(&town, 9, "jdoe-three", &ask("jdoe", "Writers", "ttl: 2h"));
    let merge = squash(&town, 9);
    knows(&town, pull(9, &merge, &head, &[(ASMITH, "APPROVED")]));
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "it takes a person's key, or a review that counts");
    // Here the commits of the branch carry jdoe's own signature.
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    town.is_granted("jdoe-three", ("jdoe", "Writers"));
}

#[tokio::test]
async fn who_signed_the_commits_of_a_squash_cannot_approve_it_though_another_one_pushed_them() {
    let mut town = town().await;
    let head = town.propose(Who::Asmith, "topic-7", "jdoe-one", &one());
    let merge = squash(&town, 7);
    // For the forge it is all jdoe's: the name in a commit is text.
    knows(&town, pull(7, &merge, &head, &[(ASMITH, "APPROVED")]));
    let head = town.propose(Who::Asmith, "topic-8", "jdoe-two", &ask("jdoe", "Readers", "ttl: 2h"));
    let merge = squash(&town, 8);
    knows(&town, pull(8, &merge, &head, &[(BWONG, "APPROVED")]));
    town.at("09:01").await;
    town.is_held("jdoe-one", ONE, "no review of #7 counts");
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
    assert!(town.terms("jdoe-two").unwrap().vouched.askers.contains("asmith"));
}
