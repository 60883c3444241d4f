use serde_json::{Value, json};

use super::{hub::*, server::Answer};
use crate::model::{Commit, Review, Said};

const NOBODY: [u64; 0] = [];

fn good() -> Review {
    Review {
        number: 7,
        head: Commit(HEAD.into()),
        authors: [ANNE].into(),
        approvers: [BEN].into(),
        merger: Some(CARL),
        differs: Vec::new(),
    }
}

async fn approvers(hub: Hub) -> Vec<u64> {
    match hub.said().await {
        Said::Review(review) => review.approvers.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

async fn missing(hub: Hub) -> String {
    match hub.said().await {
        Said::Missing(why) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn away(hub: Hub) -> String {
    match hub.said().await {
        Said::Away(why) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn reviews(reviews: Vec<Value>) -> Hub {
    Hub::default().reviewed(reviews)
}

#[tokio::test]
async fn a_reviewed_merge_is_told_by_numbers() {
    assert_eq!(Hub::default().said().await, Said::Review(good()));
}

#[tokio::test]
async fn an_approval_of_an_earlier_head_is_none() {
    assert_eq!(approvers(reviews(vec![review(BEN, "APPROVED", 15, FIRST)])).await, NOBODY);
    // Also as the later one of the same person: he looked at something else last.
    let back = vec![review(BEN, "APPROVED", 30, HEAD), review(BEN, "APPROVED", 40, FIRST)];
    assert_eq!(approvers(reviews(back)).await, NOBODY);
    // A commit that is gone from Git.
    let gone = with(review(BEN, "APPROVED", 30, HEAD), json!({ "commit_id": null }));
    assert_eq!(approvers(reviews(vec![gone])).await, NOBODY);
}

#[tokio::test]
async fn the_latest_decisive_review_of_each_person_counts() {
    let states = |states: &[&str]| {
        let line = states.iter().zip(30..).map(|(state, minute)| review(BEN, state, minute, HEAD));
        approvers(reviews(line.chain([review(CARL, "APPROVED", 31, HEAD)]).collect()))
    };
    assert_eq!(states(&["APPROVED"]).await, [BEN, CARL]);
    assert_eq!(states(&["APPROVED", "CHANGES_REQUESTED"]).await, [CARL]);
    assert_eq!(states(&["CHANGES_REQUESTED", "APPROVED"]).await, [BEN, CARL]);
    assert_eq!(states(&["DISMISSED"]).await, [CARL]);
    assert_eq!(states(&["APPROVED", "DISMISSED"]).await, [CARL]);
    assert_eq!(states(&["APPROVED", "COMMENTED"]).await, [BEN, CARL]);
    assert_eq!(states(&["APPROVED", "PENDING"]).await, [BEN, CARL]);
    assert_eq!(states(&["COMMENTED"]).await, [CARL]);
    assert_eq!(states(&["approved"]).await, [CARL]);
}

#[tokio::test]
async fn the_order_of_reviews_is_that_of_time_and_then_of_the_list() {
    let (yes, no) = (review(BEN, "APPROVED", 30, HEAD), review(BEN, "CHANGES_REQUESTED", 31, HEAD));
    assert_eq!(approvers(reviews(vec![no.clone(), yes.clone()])).await, NOBODY);
    let at_once = with(no, json!({ "submitted_at": yes["submitted_at"] }));
    assert_eq!(approvers(reviews(vec![yes.clone(), at_once.clone()])).await, NOBODY);
    assert_eq!(approvers(reviews(vec![at_once, yes.clone()])).await, [BEN]);
    // One without a time may be the latest.
    let mut timeless = review(BEN, "CHANGES_REQUESTED", 1, HEAD);
    timeless.as_object_mut().unwrap().remove("submitted_at");
    assert_eq!(approvers(reviews(vec![timeless, yes.clone()])).await, NOBODY);
    let mut timeless = yes;
    timeless.as_object_mut().unwrap().remove("submitted_at");
    assert_eq!(approvers(reviews(vec![timeless])).await, NOBODY);
}

#[tokio::test]
async fn nobody_approves_after_the_merge() {
    let at = |at: &str| with(review(BEN, "APPROVED", 0, HEAD), json!({ "submitted_at": at }));
    assert_eq!(approvers(reviews(vec![at("2026-11-20T10:00:00Z")])).await, [BEN]);
    assert_eq!(approvers(reviews(vec![at("2026-11-20T10:00:01Z")])).await, NOBODY);
    // 10:30 in another zone is 09:30.
    assert_eq!(approvers(reviews(vec![at("2026-11-20T10:30:00+01:00")])).await, [BEN]);
    assert_eq!(approvers(reviews(vec![at("2026-11-20T09:30:00-01:00")])).await, NOBODY);
}

#[tokio::test]
async fn bots_and_the_deleted_approve_nothing() {
    let by = |user: Value| {
        let mut review = review(BEN, "APPROVED", 30, HEAD);
        review["user"] = user;
        approvers(reviews(vec![review]))
    };
    assert_eq!(by(user(BOT)).await, NOBODY);
    assert_eq!(by(with(user(BEN), json!({ "type": "Bot" }))).await, NOBODY);
    assert_eq!(by(with(user(BEN), json!({ "login": "ben[bot]" }))).await, NOBODY);
    assert_eq!(by(with(user(BEN), json!({ "type": "Mannequin" }))).await, NOBODY);
    assert_eq!(by(Value::Null).await, NOBODY);
    assert_eq!(by(user(BEN)).await, [BEN]);
}

#[tokio::test]
async fn who_took_part_approves_nothing() {
    let both = || reviews(vec![review(BEN, "APPROVED", 30, HEAD), review(CARL, "APPROVED", 31, HEAD)]);
    assert_eq!(approvers(both().tell(json!({ "user": user(BEN) }))).await, [CARL]);

    let mut committed = both();
    committed.commits = vec![vec![commit(FIRST, user(BEN))], vec![commit(HEAD, user(ANNE))]];
    assert_eq!(approvers(committed).await, [CARL]);

    let mut other = commit(FIRST, user(ANNE));
    other["committer"] = user(CARL);
    let mut committed = both();
    committed.commits = vec![vec![other, commit(HEAD, json!({}))]];
    assert_eq!(approvers(committed).await, [BEN]);

    // By the name of another, as far as the commits tell.
    let mut pushed = both();
    pushed.activity =
        vec![vec![activity(user(BEN), "push", 20, HEAD), activity(user(ANNE), "branch_creation", 10, FIRST)]];
    assert_eq!(approvers(pushed).await, [CARL]);
}

#[tokio::test]
async fn whoever_moved_the_branch_since_it_began_took_part() {
    let authors = |lines: Vec<Value>| async {
        let hub = Hub { activity: lines.into_iter().map(|line| vec![line]).collect(), ..Hub::default() };
        match hub.said().await {
            Said::Review(review) => review.authors.into_iter().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let head = || activity(user(ANNE), "push", 20, HEAD);
    let began = || activity(user(ANNE), "branch_creation", 10, FIRST);
    assert_eq!(authors(vec![head(), began()]).await, [ANNE]);
    for kind in ["push", "force_push", "pr_merge", "merge_queue_merge"] {
        // What was pushed over may have brought what was merged.
        assert_eq!(authors(vec![head(), activity(user(CARL), kind, 15, OTHER), began()]).await, [ANNE, CARL], "{kind}");
    }
    // In whatever order it is told.
    assert_eq!(authors(vec![began(), activity(user(CARL), "push", 15, OTHER), head()]).await, [ANNE, CARL]);
    // The head was there for a while, was taken away and put back.
    let back = vec![head(), activity(user(CARL), "force_push", 30, OTHER), activity(user(BOT), "force_push", 40, HEAD)];
    assert_eq!(authors(back).await, [ANNE, CARL, BOT]);
    // To delete a branch brings nothing.
    assert_eq!(authors(vec![activity(user(CARL), "branch_deletion", 50, OTHER), head(), began()]).await, [ANNE]);
    // An earlier branch of the same name, a later one, and another one.
    let earlier = activity(user(CARL), "push", 5, OTHER);
    assert_eq!(authors(vec![head(), began(), earlier.clone()]).await, [ANNE]);
    assert_eq!(authors(vec![head(), earlier]).await, [ANNE, CARL]);
    let later = with(activity(user(CARL), "branch_creation", 0, HEAD), json!({ "timestamp": "2026-11-20T11:00:00Z" }));
    assert_eq!(authors(vec![later, head(), began()]).await, [ANNE]);
    let another = with(activity(user(CARL), "push", 15, HEAD), json!({ "ref": "refs/heads/topic/11" }));
    assert_eq!(authors(vec![another, head(), began()]).await, [ANNE]);
}

#[tokio::test]
async fn without_a_record_of_the_push_there_is_no_review() {
    let pushed = |lines: Vec<Value>| missing(Hub { activity: vec![lines], ..Hub::default() });
    let began = || activity(user(ANNE), "branch_creation", 10, FIRST);
    let why = "127.0.0.1 has no record of who pushed the head 22222222bb, of the pull request 7";
    assert_eq!(pushed(vec![]).await, why);
    assert_eq!(pushed(vec![began()]).await, why);
    assert_eq!(pushed(vec![activity(user(ANNE), "branch_deletion", 20, HEAD), began()]).await, why);
    // Only after the merge, and only before the branch began anew.
    let late = with(activity(user(ANNE), "push", 0, HEAD), json!({ "timestamp": "2026-11-20T10:00:01Z" }));
    assert_eq!(pushed(vec![late, began()]).await, why);
    assert_eq!(pushed(vec![began(), activity(user(ANNE), "push", 5, HEAD)]).await, why);
    let another = with(activity(user(ANNE), "push", 20, HEAD), json!({ "ref": "refs/heads/topic" }));
    assert_eq!(pushed(vec![another, began()]).await, why);
    assert_eq!(
        pushed(vec![activity(Value::Null, "push", 20, HEAD), began()]).await,
        "127.0.0.1 does not tell who pushed 22222222bb before 22222222bb was merged, of the pull request 7"
    );
}

#[tokio::test]
async fn a_fork_has_no_record_that_counts() {
    let why = "127.0.0.1 has no record of who pushed to the fork that the pull request 7 comes from: push the branch to \
               corp/access itself";
    assert_eq!(missing(Hub::default().tell(json!({ "head": { "repo": { "id": 5 } } }))).await, why);
    // A deleted one is null, which the description does not know of.
    let mut deleted = Hub::default();
    deleted.pull["head"]["repo"] = Value::Null;
    let body = deleted.pull.to_string();
    let hub = Hub::default()
        .instead(move |asked, _| asked.path.ends_with("/pulls/7").then(|| Answer::status(200, &[], &body)));
    assert_eq!(missing(hub).await, why);
}

#[tokio::test]
async fn only_this_repository_branch_and_commit_fit() {
    // Another repository under the old name.
    let renamed = Hub { repository: with(Hub::default().repository, json!({ "id": 5 })), ..Hub::default() };
    assert_eq!(
        missing(renamed).await,
        format!("127.0.0.1 has another repository under the name corp/access: its id is 5, and `id` is {REPOSITORY}")
    );
    for over in [
        json!({ "base": { "repo": { "id": 5 } } }),
        json!({ "base": { "ref": "release" } }),
        json!({ "base": { "ref": "refs/heads/main" } }),
        json!({ "merged_at": null }),
        // A rebase: this is one of the earlier commits.
        json!({ "merge_commit_sha": OTHER }),
        json!({ "merge_commit_sha": null }),
        json!({ "merge_commit_sha": MERGE.to_uppercase() }),
    ] {
        let why = missing(Hub::default().tell(over.clone())).await;
        assert!(why.contains("was merged into main as exactly 3e5c1f0a3e"), "{over}: {why}");
        // Told in the list, and not of the pull request itself.
        let mut hub = Hub::default();
        hub.pull = with(hub.pull, over.clone());
        assert_eq!(away(hub).await, "127.0.0.1 tells two things of the pull request 7", "{over}");
    }
    let mut open = Hub::default();
    open.pull["merged"] = json!(false);
    assert_eq!(away(open).await, "127.0.0.1 tells two things of the pull request 7");
    assert_eq!(
        missing(Hub { listed: vec![], ..Hub::default() }).await,
        "127.0.0.1 has no pull request behind 3e5c1f0a3e"
    );
}

#[tokio::test]
async fn of_several_none_is_chosen() {
    let mut hub = Hub::default();
    hub.listed.push(with(hub.listed[0].clone(), json!({ "number": 8 })));
    assert_eq!(missing(hub.clone()).await, "127.0.0.1 has several pull requests merged as 3e5c1f0a3e: 7, 8");
    // Others may name the commit: a backport, a pull request between topics.
    hub.listed[1]["base"]["ref"] = json!("release");
    assert_eq!(hub.said().await, Said::Review(good()));
}

#[tokio::test]
async fn all_pages_are_read() {
    let hub = Hub {
        reviews: vec![
            vec![review(BEN, "APPROVED", 30, HEAD)],
            vec![review(CARL, "APPROVED", 31, HEAD)],
            vec![review(BEN, "CHANGES_REQUESTED", 32, HEAD)],
        ],
        commits: vec![vec![commit(FIRST, user(ANNE))], vec![commit(HEAD, user(ANNE))]],
        ..Hub::default()
    };
    assert_eq!(approvers(hub).await, [CARL]);
}

#[tokio::test]
async fn what_is_longer_than_is_read_is_no_review() {
    let many = vec![vec![review(BEN, "APPROVED", 30, HEAD)]; 21];
    let why = missing(Hub { reviews: many.clone(), ..Hub::default() }).await;
    assert_eq!(why, "127.0.0.1 lists more under repos/corp/access/pulls/7/reviews than the 20 pages that are read");
    assert_eq!(approvers(Hub { reviews: many[..20].into(), ..Hub::default() }).await, [BEN]);
    // GitHub lists 250 commits at most.
    let why = missing(Hub { pull: with(Hub::default().pull, json!({ "commits": 300 })), ..Hub::default() }).await;
    assert!(why.contains("lists 2 of the 300 commits of the pull request 7"), "{why}");
    let headless = Hub { commits: vec![vec![commit(FIRST, user(ANNE)), commit(OTHER, user(ANNE))]], ..Hub::default() };
    assert!(missing(headless).await.contains("lists 2 of the 2 commits"));
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let absent = |end: &'static str, status: u16| {
        Hub::default().instead(move |asked, _| {
            asked.path.ends_with(end).then(|| Answer::status(status, &[], r#"{"message":"Not Found"}"#))
        })
    };
    let why = away(absent("/access", 404)).await;
    assert!(why.starts_with("127.0.0.1 shows no repository corp/access: correct `repository`, or give"), "{why}");
    assert_eq!(missing(absent("/pulls", 422)).await, "127.0.0.1 does not know the commit 3e5c1f0a3e");
    assert!(missing(absent("/reviews", 404)).await.contains("does not show the pull request 7 any more"));
    assert!(away(absent("/activity", 404)).await.contains("does not show who pushed what"));
}
