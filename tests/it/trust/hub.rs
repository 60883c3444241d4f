//! As much of GitHub as is asked: what it has on record of merged pull requests, and whether it answers at all.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use grantd::source::forge::{Github, Settings};
use serde_json::{Value, json};

const REPOSITORY: u64 = 620_314_159;

/// A merged pull request.
#[derive(Debug, Clone)]
pub struct Pull {
    pub number: u64,
    pub merge: String,
    pub head: String,
    pub commits: Vec<String>,
    pub author: u64,
    pub pusher: u64,
    /// User, decision, and the commit that it was about.
    pub reviews: Vec<(u64, &'static str, String)>,
}

#[derive(Debug, Default)]
struct Record {
    pulls: Vec<Pull>,
    /// It answers everything with an error.
    away: bool,
    asked: usize,
}

pub struct Hub {
    port: u16,
    record: Arc<Mutex<Record>>,
}

impl Hub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let record: Arc<Mutex<Record>> = Arc::default();
        let known = record.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let known = known.clone();
                std::thread::spawn(move || connection.map(|connection| serve(&connection, &known)));
            }
        });
        Self { port, record }
    }

    pub fn settings(&self, token: &Path) -> Settings {
        Settings::Github(Github {
            repository: "corp/access".into(),
            id: REPOSITORY,
            token: token.display().to_string(),
            api: format!("http://127.0.0.1:{}", self.port),
        })
    }

    pub fn knows(&self, pull: Pull) {
        self.record.lock().unwrap().pulls.push(pull);
    }

    pub fn away(&self, away: bool) {
        self.record.lock().unwrap().away = away;
    }

    pub fn asked(&self) -> usize {
        self.record.lock().unwrap().asked
    }
}

fn user(id: u64) -> Value {
    let kind = if id == 4000 { "Bot" } else { "User" };
    json!({ "id": id, "login": format!("user-{id}"), "type": kind })
}

impl Record {
    fn answer(&self, path: &str) -> Option<Value> {
        let rest = path.strip_prefix("/repos/corp/access")?;
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        let numbered = |number: &str| self.pulls.iter().find(|pull| pull.number.to_string() == number);
        match parts[..] {
            [] => Some(json!({ "id": REPOSITORY })),
            ["commits", sha, "pulls"] => {
                Some(self.pulls.iter().filter(|pull| pull.merge == sha).map(Pull::told).collect())
            }
            ["pulls", number] => numbered(number).map(Pull::told),
            ["pulls", number, "commits"] => {
                let pull = numbered(number)?;
                let commit = |sha: &String| json!({ "sha": sha, "author": user(pull.author), "committer": null });
                Some(pull.commits.iter().map(commit).collect())
            }
            ["pulls", number, "reviews"] => {
                let review = |(who, state, commit): &(u64, &str, String)| json!({ "user": user(*who), "state": state, "commit_id": commit, "submitted_at": "2026-11-20T08:30:00Z" });
                Some(numbered(number)?.reviews.iter().map(review).collect())
            }
            ["activity"] => {
                let pushed = |pull: &Pull| {
                    json!({ "ref": format!("refs/heads/topic-{}", pull.number), "after": pull.head, "actor": user(pull.pusher),
                            "timestamp": "2026-11-20T08:20:00Z", "activity_type": "branch_creation" })
                };
                Some(self.pulls.iter().map(pushed).collect())
            }
            _ => None,
        }
    }
}

impl Pull {
    fn told(&self) -> Value {
        let side = |name: String, sha: &str| json!({ "ref": name, "sha": sha, "repo": { "id": REPOSITORY } });
        json!({
            "number": self.number, "merged": true, "merged_at": "2026-11-20T08:45:00Z",
            "merge_commit_sha": self.merge, "user": user(self.author), "merged_by": user(self.author),
            "base": side("main".into(), &self.merge), "head": side(format!("topic-{}", self.number), &self.head),
            "commits": self.commits.len(),
        })
    }
}

fn serve(connection: &TcpStream, record: &Mutex<Record>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut out = connection;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let mut record = record.lock().unwrap();
        record.asked += 1;
        let (status, body) = match record.answer(path) {
            _ if record.away => (500, json!({})),
            Some(body) => (200, body),
            None => (404, json!({})),
        };
        let body = body.to_string();
        out.write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    }
}
