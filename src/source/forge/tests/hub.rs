//! GitHub, as much of it as is asked, with answers made of GitHub's own examples.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    CANARY, openapi,
    server::{Answer, Asked, Server},
};
use crate::{
    model::Said,
    source::forge::{Github, Settings},
};

pub const REPOSITORY: u64 = 620_314_159;
pub const MERGE: &str = "3e5c1f0a3e5c1f0a3e5c1f0a3e5c1f0a3e5c1f0a";
pub const FIRST: &str = "11111111aaaaaaaa11111111aaaaaaaa11111111";
pub const HEAD: &str = "22222222bbbbbbbb22222222bbbbbbbb22222222";
pub const OTHER: &str = "99999999cccccccc99999999cccccccc99999999";

pub const ANNE: u64 = 1001;
pub const BEN: u64 = 1002;
pub const CARL: u64 = 1003;
pub const BOT: u64 = 1004;

pub const MERGED: &str = "2026-11-20T10:00:00Z";

type Instead = dyn Fn(&Asked, u16) -> Option<Answer> + Send + Sync;

/// What GitHub knows. Lists are pages.
#[derive(Clone)]
pub struct Hub {
    pub repository: Value,
    pub listed: Vec<Value>,
    pub pull: Value,
    pub reviews: Vec<Vec<Value>>,
    pub commits: Vec<Vec<Value>>,
    pub activity: Vec<Vec<Value>>,
    /// What is answered instead, by request and port.
    pub instead: Arc<Instead>,
}

/// Puts values over those of the same names, at any depth.
pub fn with(mut value: Value, over: Value) -> Value {
    fn put(value: &mut Value, over: Value) {
        match (value, over) {
            (Value::Object(old), Value::Object(new)) => {
                new.into_iter().for_each(|(name, value)| put(old.entry(name).or_insert(Value::Null), value));
            }
            (value, over) => *value = over,
        }
    }
    put(&mut value, over);
    value
}

pub fn user(id: u64) -> Value {
    let (login, kind) = if id == BOT { ("robot[bot]".to_owned(), "Bot") } else { (format!("user-{id}"), "User") };
    with(
        openapi::example("pull-request-review-items")[0]["user"].clone(),
        json!({ "id": id, "login": login, "type": kind }),
    )
}

/// A review at a minute past nine of the day of the merge.
pub fn review(who: u64, state: &str, minute: u8, commit: &str) -> Value {
    let at = format!("2026-11-20T09:{minute:02}:00Z");
    with(
        openapi::example("pull-request-review-items")[0].clone(),
        json!({ "user": user(who), "state": state, "submitted_at": at, "commit_id": commit }),
    )
}

pub fn commit(sha: &str, author: Value) -> Value {
    let mut commit = openapi::example("commit-items")[0].clone();
    commit["author"] = author.clone();
    commit["committer"] = author;
    with(commit, json!({ "sha": sha }))
}

pub fn activity(who: Value, kind: &str, minute: u8, after: &str) -> Value {
    let at = format!("2026-11-20T09:{minute:02}:00Z");
    let mut activity = openapi::example("activity-items")[0].clone();
    activity["actor"] = who;
    with(activity, json!({ "ref": "refs/heads/topic/1", "activity_type": kind, "timestamp": at, "after": after }))
}

impl Default for Hub {
    /// Anne pushed a commit and then the head, Ben approved it at 09:30, Carl merged it at 10:00.
    fn default() -> Self {
        let side = |name: &str, sha: &str| json!({ "ref": name, "sha": sha, "repo": { "id": REPOSITORY } });
        let told = json!({
            "number": 7, "state": "closed", "merged_at": MERGED, "merge_commit_sha": MERGE, "user": user(ANNE),
            "base": side("main", OTHER), "head": side("topic/1", HEAD), "requested_teams": [],
        });
        let listed = with(openapi::example("pull-request-simple-items")[0].clone(), told.clone());
        let more = json!({ "merged": true, "merged_by": user(CARL), "commits": 2 });
        // GitHub's example is a fork, and lacks a field that its schema asks for.
        let mut repository = openapi::example("full-repository-default-response");
        repository
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["parent", "source", "template_repository"].contains(&name.as_str()));
        let repository = with(repository, json!({ "id": REPOSITORY, "fork": false, "language": null }));
        Self {
            repository,
            listed: vec![listed],
            pull: with(with(openapi::example("pull-request"), told), more),
            reviews: vec![vec![review(BEN, "APPROVED", 30, HEAD)]],
            commits: vec![vec![commit(FIRST, user(ANNE)), commit(HEAD, user(ANNE))]],
            activity: vec![vec![
                activity(user(ANNE), "push", 20, HEAD),
                activity(user(ANNE), "branch_creation", 10, FIRST),
            ]],
            instead: Arc::new(|_, _| None),
        }
    }
}

impl Hub {
    /// Changes what is told of the pull request, in the list and alone.
    pub fn tell(mut self, over: Value) -> Self {
        self.listed[0] = with(self.listed[0].clone(), over.clone());
        self.pull = with(self.pull, over);
        self
    }

    pub fn reviewed(self, reviews: Vec<Value>) -> Self {
        Self { reviews: vec![reviews], ..self }
    }

    pub fn instead(self, instead: impl Fn(&Asked, u16) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self { instead: Arc::new(instead), ..self }
    }

    fn page(&self, template: &str, page: usize) -> (Value, usize) {
        let lists = |pages: &[Vec<Value>]| (pages.get(page).cloned().unwrap_or_default().into(), pages.len());
        match template.strip_prefix("/repos/{owner}/{repo}").unwrap() {
            "" => (self.repository.clone(), 1),
            "/commits/{commit_sha}/pulls" => (self.listed.clone().into(), 1),
            "/pulls/{pull_number}" => (self.pull.clone(), 1),
            "/pulls/{pull_number}/reviews" => lists(&self.reviews),
            "/pulls/{pull_number}/commits" => lists(&self.commits),
            "/activity" => lists(&self.activity),
            other => panic!("{other} is not asked"),
        }
    }

    fn answer(&self, asked: &Asked, port: u16) -> Result<Answer, String> {
        let mut asked = asked.clone();
        for (name, value) in [
            ("authorization", format!("Bearer {CANARY}")),
            ("accept", "application/vnd.github+json".into()),
            ("x-github-api-version", "2022-11-28".into()),
            ("user-agent", concat!("grantd/", env!("CARGO_PKG_VERSION")).into()),
        ] {
            if asked.headers.get(name) != Some(&value) {
                return Err(format!("{name} is {:?}", asked.headers.get(name)));
            }
        }
        // GitHub's own links go by number, and those of the activity by a cursor.
        let number = format!("/repositories/{REPOSITORY}");
        if let Some(rest) = asked.path.strip_prefix(&number) {
            asked.path = format!("/repos/corp/access{rest}");
        }
        let template = openapi::operation(&asked)?;
        if let Some(answer) = (self.instead)(&asked, port) {
            return Ok(answer);
        }
        let (turn, first) = if template.ends_with("/activity") { ("after", "0") } else { ("page", "1") };
        let page: usize = asked.query.get(turn).map_or(first, String::as_str).parse().unwrap();
        let (body, pages) = self.page(&template, page - usize::from(turn == "page"));
        openapi::check(&template, 200, &body)?;
        let mut headers = Vec::new();
        if page + usize::from(turn == "after") < pages {
            let path = asked.path.replace("/repos/corp/access", &number);
            let link = |page: usize, rel: &str| {
                let mut query = asked.query.clone();
                query.insert(turn.into(), page.to_string());
                let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("<http://127.0.0.1:{port}{path}?{}>; rel=\"{rel}\"", query.join("&"))
            };
            headers.push(("Link".to_owned(), format!("{}, {}", link(pages, "last"), link(page + 1, "next"))));
        }
        Ok(Answer::Whole { status: 200, headers, body: body.to_string() })
    }

    pub fn serve(&self) -> (Server, Arc<Mutex<Vec<String>>>) {
        let faults: Arc<Mutex<Vec<String>>> = Arc::default();
        let (hub, told) = (self.clone(), faults.clone());
        let server = Server::start(move |asked| {
            let port = asked.headers["host"].rsplit(':').next().unwrap().parse().unwrap();
            let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hub.answer(asked, port)));
            answer.unwrap_or_else(|_| Err("the server panicked".into())).unwrap_or_else(|fault| {
                told.lock().unwrap().push(fault);
                Answer::status(500, &[], "{}")
            })
        });
        (server, faults)
    }

    /// What is said of the merge. Fails if anything was asked that GitHub does not know, or answered that it does not say.
    pub async fn said(&self) -> Said {
        let (server, faults) = self.serve();
        let said = super::said(&settings(server.port), MERGE).await;
        assert_eq!(*faults.lock().unwrap(), Vec::<String>::new());
        said
    }
}

pub fn settings(port: u16) -> Settings {
    Settings::Github(Github {
        repository: "corp/access".into(),
        id: REPOSITORY,
        token: "credential:forge".into(),
        api: format!("http://127.0.0.1:{port}"),
    })
}
