//! GitLab, with answers written by hand after its documentation (merge requests, approvals, events, users).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Asker, CANARY, NOW,
    hub::{ANNE, BEN, BOT, CARL, FIRST, HEAD, MERGE, OTHER, with},
    server::{Answer, Server},
};
use crate::{
    model::{Commit, Review, Said},
    source::forge::{Gitlab, Settings, http::LIMITS},
};

const NOBODY: [u64; 0] = [];

#[derive(Clone)]
struct Lab {
    project: Value,
    requests: Vec<Value>,
    versions: Value,
    approvals: Value,
    /// Pages, newest first.
    events: Vec<Vec<Value>>,
    users: BTreeMap<u64, Value>,
}

fn user(id: u64) -> Value {
    let name = format!("user-{id}");
    let web = format!("https://gitlab.corp.example/{name}");
    json!({ "id": id, "name": name, "username": name, "state": "active", "avatar_url": null, "web_url": web })
}

fn at(time: &str) -> String {
    format!("2026-11-20T{time}.000Z")
}

fn version(head: &str, time: &str) -> Value {
    json!({
        "id": 110, "head_commit_sha": head, "base_commit_sha": OTHER, "start_commit_sha": OTHER, "created_at": at(time),
        "merge_request_id": 105, "state": "collected", "real_size": "1", "patch_id_sha": null,
    })
}

fn approval(who: u64, time: &str) -> Value {
    json!({ "user": user(who), "approved_at": at(time) })
}

fn pushed(who: u64, action: &str, time: &str, to: &str) -> Value {
    json!({
        "id": 9, "project_id": 42, "action_name": "pushed to", "target_id": null, "target_iid": null, "target_type": null,
        "author_id": who, "author": user(who), "author_username": format!("user-{who}"), "target_title": null,
        "created_at": at(time),
        "push_data": {
            "commit_count": 1, "action": action, "ref_type": "branch", "commit_from": null, "commit_to": to,
            "ref": "topic/1", "commit_title": "x", "ref_count": null,
        },
    })
}

fn bulk(who: u64, time: &str) -> Value {
    let none = json!({ "commit_count": 0, "commit_to": null, "ref": null, "commit_title": null, "ref_count": 5 });
    with(pushed(who, "pushed", time, HEAD), json!({ "push_data": none }))
}

impl Default for Lab {
    fn default() -> Self {
        let request = json!({
            "id": 105, "iid": 7, "project_id": 42, "title": "x", "description": null, "state": "merged",
            "merged_by": user(CARL), "merge_user": user(CARL), "merged_at": at("10:00:00"), "closed_by": null,
            "target_branch": "main", "source_branch": "topic/1", "author": user(ANNE), "source_project_id": 42,
            "target_project_id": 42, "sha": HEAD, "merge_commit_sha": MERGE, "squash_commit_sha": null, "squash": false,
        });
        Self {
            project: json!({ "id": 42, "path_with_namespace": "corp/access" }),
            requests: vec![request],
            versions: json!([version(HEAD, "09:20:01"), version(FIRST, "09:10:01")]),
            approvals: json!({
                "user_has_approved": false, "user_can_approve": false, "approved": true,
                "approved_by": [approval(BEN, "09:30:00")],
            }),
            events: vec![vec![
                pushed(CARL, "pushed", "10:00:01", MERGE),
                pushed(ANNE, "pushed", "09:20:00", HEAD),
                pushed(ANNE, "created", "09:10:00", FIRST),
            ]],
            users: [ANNE, BEN, CARL, BOT].map(|id| (id, with(user(id), json!({ "bot": id == BOT })))).into(),
        }
    }
}

impl Lab {
    fn tell(mut self, over: Value) -> Self {
        self.requests[0] = with(self.requests[0].clone(), over);
        self
    }

    fn approved(mut self, by: Value) -> Self {
        self.approvals["approved_by"] = by;
        self
    }

    fn pushed(self, events: Vec<Value>) -> Self {
        Self { events: vec![events], ..self }
    }

    fn serve(self) -> Server {
        Server::start(move |asked| {
            let query: Vec<_> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (path, query) = (asked.path.strip_prefix("/api/v4/").unwrap(), query.join("&"));
            if asked.headers.get("authorization") != Some(&format!("Bearer {CANARY}")) {
                return Answer::status(401, &[], r#"{"message":"401 Unauthorized"}"#);
            }
            let list = "per_page=100";
            let body = if (path, query.as_str()) == ("projects/42", "") {
                self.project.clone()
            } else if path == format!("projects/42/repository/commits/{MERGE}/merge_requests") && query == list {
                self.requests.clone().into()
            } else if (path, query.as_str()) == ("projects/42/merge_requests/7/versions", list) {
                self.versions.clone()
            } else if (path, query.as_str()) == ("projects/42/merge_requests/7/approvals", "") {
                self.approvals.clone()
            } else if path == "projects/42/events" {
                let page = asked.query.get("page").map_or(1, |page| page.parse::<usize>().unwrap());
                let mut asked_for = asked.query.clone();
                asked_for.remove("page");
                let wanted = [("action", "pushed"), ("before", "2026-11-22"), ("per_page", "100"), ("sort", "desc")];
                if asked_for != wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into() {
                    return Answer::status(400, &[], r#"{"message":"not as documented"}"#);
                }
                let link =
                    format!("<http://{}{}?{query}&page={}>; rel=\"next\"", asked.headers["host"], asked.path, page + 1);
                let body = Value::from(self.events[page - 1].clone()).to_string();
                let more = page < self.events.len();
                return Answer::status(
                    200,
                    if more { vec![("Link", link.as_str())] } else { vec![] }.as_slice(),
                    &body,
                );
            } else if let Some(user) = path.strip_prefix("users/").and_then(|id| self.users.get(&id.parse().unwrap())) {
                user.clone()
            } else {
                return Answer::status(404, &[], r#"{"message":"404 Not Found"}"#);
            };
            Answer::status(200, &[], &body.to_string())
        })
    }

    async fn said(self) -> Said {
        let server = self.serve();
        Asker::new(&settings(server.port), LIMITS).said(MERGE, NOW).await
    }

    async fn review(self) -> Review {
        match self.said().await {
            Said::Review(review) => review,
            other => panic!("{other:?}"),
        }
    }

    async fn approvers(self) -> Vec<u64> {
        self.review().await.approvers.into_iter().collect()
    }

    async fn authors(self) -> Vec<u64> {
        self.review().await.authors.into_iter().collect()
    }

    async fn missing(self) -> String {
        match self.said().await {
            Said::Missing(why) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn settings(port: u16) -> Settings {
    let api = format!("http://127.0.0.1:{port}/api/v4/");
    Settings::Gitlab(Gitlab { id: 42, token: "credential:forge".into(), api })
}

#[tokio::test]
async fn a_reviewed_merge_is_told_by_numbers() {
    let good = Review {
        number: 7,
        head: Commit(HEAD.into()),
        authors: [ANNE].into(),
        approvers: [BEN].into(),
        merger: Some(CARL),
        differs: Vec::new(),
    };
    assert_eq!(Lab::default().review().await, good);
    let squash = Lab::default().tell(json!({ "merge_commit_sha": null, "squash_commit_sha": MERGE }));
    assert_eq!(squash.review().await, good);
    let old = Lab::default().tell(json!({ "merge_user": null }));
    assert_eq!(old.review().await, good);
}

#[tokio::test]
async fn an_approval_lies_between_the_last_push_and_the_merge() {
    let by = |time: &str| Lab::default().approved(json!([approval(BEN, time)])).approvers();
    assert_eq!(by("09:20:00").await, NOBODY);
    assert_eq!(by("09:20:01").await, NOBODY);
    assert_eq!(by("09:20:02").await, [BEN]);
    assert_eq!(by("10:00:00").await, [BEN]);
    assert_eq!(by("10:00:01").await, NOBODY);
    // The head was there before, and something else in between.
    let back = json!([version(HEAD, "09:40:00"), version(FIRST, "09:35:00"), version(HEAD, "09:20:01")]);
    assert_eq!(Lab { versions: back, ..Lab::default() }.approvers().await, NOBODY);
    // What came after the merge is not what was merged.
    let late = json!([version(FIRST, "10:00:01"), version(HEAD, "09:20:01")]);
    assert_eq!(Lab { versions: late, ..Lab::default() }.approvers().await, [BEN]);
    for versions in
        [json!([]), json!([version(FIRST, "09:50:00"), version(HEAD, "09:20:01")]), json!([version(HEAD, "10:00:01")])]
    {
        let why = Lab { versions, ..Lab::default() }.missing().await;
        assert_eq!(why, "127.0.0.1 has no record of when the merge request 7 came to its head");
    }
}

#[tokio::test]
async fn an_approval_without_a_time_counts_for_nothing() {
    let timeless = json!({ "user": user(BEN) });
    let why = Lab::default().approved(json!([timeless])).missing().await;
    assert!(why.starts_with("127.0.0.1 does not tell when the merge request 7 was approved"), "{why}");
    let one = Lab::default().approved(json!([timeless, approval(CARL, "09:30:00")]));
    assert_eq!(one.approvers().await, [CARL]);
    let twice = Lab::default().approved(json!([timeless, approval(BEN, "09:30:00")]));
    assert!(twice.missing().await.contains("does not tell when"));
    assert_eq!(Lab::default().approved(json!([])).approvers().await, NOBODY);
}

#[tokio::test]
async fn bots_and_those_who_took_part_approve_nothing() {
    let by = |who: Value| {
        let mut approval = approval(BEN, "09:30:00");
        approval["user"] = who;
        Lab::default().approved(json!([approval]))
    };
    assert_eq!(by(user(BOT)).approvers().await, NOBODY);
    assert_eq!(by(user(ANNE)).approvers().await, NOBODY);
    assert_eq!(by(Value::Null).approvers().await, NOBODY);
    for name in ["project_42_bot", "project_42_bot_0123456789abcdef", "group_7_bot_0123456789abcdef"] {
        assert_eq!(by(with(user(BEN), json!({ "username": name }))).approvers().await, NOBODY, "{name}");
    }
    // Unknown is not no.
    let mut unknown = by(user(BEN));
    unknown.users.insert(BEN, user(BEN));
    assert_eq!(unknown.approvers().await, NOBODY);
    let mut gone = by(user(BEN));
    gone.users.clear();
    assert_eq!(gone.approvers().await, NOBODY);
    assert_eq!(by(user(BEN)).tell(json!({ "author": user(BEN) })).approvers().await, NOBODY);
    let pushes = vec![pushed(BEN, "pushed", "09:20:00", HEAD), pushed(ANNE, "created", "09:10:00", FIRST)];
    assert_eq!(by(user(BEN)).pushed(pushes).approvers().await, NOBODY);
    assert_eq!(by(user(BEN)).approvers().await, [BEN]);
}

#[tokio::test]
async fn whoever_moved_the_branch_since_it_began_took_part() {
    let (head, began) = (pushed(ANNE, "pushed", "09:20:00", HEAD), pushed(ANNE, "created", "09:10:00", FIRST));
    let between = |event: Value| Lab::default().pushed(vec![head.clone(), event, began.clone()]).authors();
    assert_eq!(between(pushed(CARL, "pushed", "09:15:00", OTHER)).await, [ANNE, CARL]);
    assert_eq!(between(bulk(CARL, "09:15:00")).await, [ANNE, CARL]);
    let tags = with(bulk(CARL, "09:15:00"), json!({ "push_data": { "ref_type": "tag" } }));
    assert_eq!(between(tags).await, [ANNE]);
    assert_eq!(between(pushed(CARL, "removed", "09:15:00", OTHER)).await, [ANNE]);
    for other in [json!({ "ref": "topic/11" }), json!({ "ref_type": "tag" })] {
        let event = with(pushed(CARL, "pushed", "09:15:00", OTHER), json!({ "push_data": other }));
        assert_eq!(between(event).await, [ANNE]);
    }
    let earlier = vec![head.clone(), began.clone(), pushed(CARL, "pushed", "09:05:00", OTHER)];
    assert_eq!(Lab::default().pushed(earlier).authors().await, [ANNE]);

    let why = "127.0.0.1 has no record of who pushed the head 22222222bb, of the merge request 7";
    for events in [
        vec![],
        vec![began.clone()],
        vec![bulk(ANNE, "09:20:00"), began.clone()],
        vec![pushed(ANNE, "pushed", "10:00:01", HEAD), began.clone()],
        vec![with(head.clone(), json!({ "push_data": null })), began.clone()],
    ] {
        assert_eq!(Lab::default().pushed(events).missing().await, why);
    }
    let nobody = with(head, json!({ "author_id": null }));
    assert!(Lab::default().pushed(vec![nobody, began]).missing().await.contains("does not tell who pushed 22222222bb"));
}

#[tokio::test]
async fn events_are_read_as_far_back_as_the_branch_began() {
    let (head, began) = (pushed(ANNE, "pushed", "09:20:00", HEAD), pushed(ANNE, "created", "09:10:00", FIRST));
    let carl = pushed(CARL, "pushed", "09:15:00", OTHER);
    let later = pushed(CARL, "created", "10:30:00", OTHER);
    let lab = Lab { events: vec![vec![later], vec![head.clone()], vec![carl, began], vec![]], ..Lab::default() };
    let server = lab.clone().serve();
    let said = Asker::new(&settings(server.port), LIMITS).said(MERGE, NOW).await;
    assert!(matches!(&said, Said::Review(review) if review.authors == [ANNE, CARL].into()), "{said:?}");
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with("/events")).count(), 3);
    // The beginning is further back than is read.
    let endless = Lab { events: vec![vec![head]; 21], ..Lab::default() };
    let why = endless.missing().await;
    assert_eq!(why, "127.0.0.1 lists more under projects/42/events than the 20 pages that are read");
}

#[tokio::test]
async fn only_this_project_branch_and_commit_fit() {
    for over in [
        json!({ "target_project_id": 43 }),
        json!({ "target_branch": "release" }),
        json!({ "state": "opened" }),
        json!({ "state": "closed" }),
        // A fast-forward: the commit is one of the branch.
        json!({ "merge_commit_sha": null }),
        json!({ "merge_commit_sha": OTHER, "squash_commit_sha": OTHER }),
    ] {
        let why = Lab::default().tell(over.clone()).missing().await;
        assert!(why.contains("was merged into main as exactly 3e5c1f0a3e"), "{over}: {why}");
    }
    let why = Lab { requests: vec![], ..Lab::default() }.missing().await;
    assert_eq!(why, "127.0.0.1 has no merge request behind 3e5c1f0a3e");
    let mut two = Lab::default();
    two.requests.push(with(two.requests[0].clone(), json!({ "iid": 8 })));
    assert_eq!(two.missing().await, "127.0.0.1 has several merge requests merged as 3e5c1f0a3e: 7, 8");
    for fork in [json!({ "source_project_id": 43 }), json!({ "source_project_id": null })] {
        assert!(Lab::default().tell(fork).missing().await.contains("has no record of who pushed to the fork"));
    }
    for unknown in [json!({ "merged_at": null }), json!({ "sha": null }), json!({ "author": null })] {
        assert!(Lab::default().tell(unknown).missing().await.contains("does not tell "));
    }
    let other = Lab { project: json!({ "id": 43 }), ..Lab::default() }.said().await;
    assert!(matches!(&other, Said::Away(why) if why.ends_with("shows the project 43 for 42")), "{other:?}");
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let absent = |end: &'static str| async move {
        let server = Server::start(move |asked| {
            if asked.path.ends_with(end) {
                Answer::status(404, &[], "{}")
            } else {
                Answer::status(200, &[], r#"{"id":42}"#)
            }
        });
        Asker::new(&settings(server.port), LIMITS).said(MERGE, NOW).await
    };
    let project = absent("/projects/42").await;
    assert!(matches!(&project, Said::Away(why) if why.contains("shows no project 42")), "{project:?}");
    let commit = absent("/merge_requests").await;
    assert!(matches!(&commit, Said::Missing(why) if why.contains("does not know the commit 3e5c1f0a3e")), "{commit:?}");
}
