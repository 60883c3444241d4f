use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    http::{Asking, Failure},
    is_id,
    pushes::{Push, pushers},
    settings::Github,
};
use crate::model::{Commit, Review};

pub const HEADERS: &[(&str, &str)] =
    &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];

#[derive(Deserialize)]
struct Repository {
    id: u64,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The user to whom a commit is mapped: null or empty if there is none.
#[derive(Deserialize)]
struct Mapped {
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    /// Gone with a deleted fork.
    repo: Option<Repository>,
}

/// A pull request in a list.
#[derive(Deserialize)]
struct Listed {
    number: u64,
    merged_at: Option<Timestamp>,
    merge_commit_sha: Option<String>,
    base: Side,
}

#[derive(Deserialize)]
struct Pull {
    merged: bool,
    merged_at: Option<Timestamp>,
    merge_commit_sha: Option<String>,
    base: Side,
    head: Side,
    user: Option<User>,
    merged_by: Option<User>,
    commits: usize,
}

#[derive(Deserialize)]
struct Opinion {
    user: Option<User>,
    state: String,
    commit_id: Option<String>,
    submitted_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Brought {
    sha: String,
    author: Option<Mapped>,
    committer: Option<Mapped>,
}

#[derive(Deserialize)]
struct Activity {
    after: String,
    #[serde(rename = "ref")]
    name: String,
    timestamp: Timestamp,
    activity_type: String,
    actor: Option<User>,
}

/// The one merged pull request of this repository and branch whose merge is exactly this commit.
pub async fn review(asking: &Asking<'_>, settings: &Github, branch: &str, commit: &Commit) -> Result<Review, Failure> {
    let place = format!("repos/{}", settings.repository);
    let Some(Repository { id }) = asking.find(&place).await? else {
        return Err(asking.away(format!(
            "shows no repository {}: correct `repository`, or give the token the right to read it",
            settings.repository
        )));
    };
    if id != settings.id {
        return Err(asking.missing(format!(
            "has another repository under the name {}: its id is {id}, and `id` is {}",
            settings.repository, settings.id
        )));
    }
    let number = number(asking, &place, settings.id, branch, commit).await?;
    let gone = || asking.missing(format!("does not show the pull request {number} any more"));
    let here = format!("{place}/pulls/{number}");
    let pull: Pull = asking.find(&here).await?.ok_or_else(gone)?;
    let fits =
        pull.merged && is(&pull.base, settings.id, branch) && pull.merge_commit_sha.as_deref() == Some(&*commit.0);
    let (true, Some(merged), true) = (fits, pull.merged_at, is_id(&pull.head.sha)) else {
        return Err(asking.away(format!("tells two things of the pull request {number}")));
    };
    let head = pull.head.sha.as_str();
    let Some(User { id: author, .. }) = pull.user else {
        return Err(asking.missing(format!("does not tell who opened the pull request {number}")));
    };
    if pull.head.repo.is_none_or(|repo| repo.id != settings.id) {
        return Err(asking.missing(format!(
            "has no record of who pushed to the fork that the pull request {number} comes from: push the branch to {} \
             itself",
            settings.repository
        )));
    }
    let brought: Vec<Brought> = asking.list(&format!("{here}/commits?per_page=100")).await?.ok_or_else(gone)?;
    if brought.len() != pull.commits || !brought.iter().any(|commit| commit.sha == head) {
        return Err(asking.missing(format!(
            "lists {} of the {} commits of the pull request {number}: make smaller ones, of at most 250 commits",
            brought.len(),
            pull.commits
        )));
    }
    let opinions: Vec<Opinion> = asking.list(&format!("{here}/reviews?per_page=100")).await?.ok_or_else(gone)?;
    let pushes = pushes(asking, &place, &pull.head.branch).await?;

    let mut authors =
        pushers(&pushes, head, merged).map_err(|why| asking.missing(format!("{why}, of the pull request {number}")))?;
    authors.insert(author);
    authors.extend(brought.iter().flat_map(|b| [&b.author, &b.committer]).flatten().filter_map(|user| user.id));
    let mut approvers = approvers(opinions, head, merged);
    approvers.retain(|id| !authors.contains(id));
    Ok(Review {
        number,
        head: Commit(head.into()),
        authors,
        approvers,
        merger: pull.merged_by.map(|user| user.id),
        differs: Vec::new(),
    })
}

fn is(side: &Side, id: u64, branch: &str) -> bool {
    side.repo.as_ref().is_some_and(|repo| repo.id == id) && side.branch == branch
}

async fn number(asking: &Asking<'_>, place: &str, id: u64, branch: &str, commit: &Commit) -> Result<u64, Failure> {
    let short = commit.short();
    let listed: Option<Vec<Listed>> = asking.list(&format!("{place}/commits/{commit}/pulls?per_page=100")).await?;
    let Some(listed) = listed else {
        return Err(asking.missing(format!("does not know the commit {short}")));
    };
    let all = listed.len();
    let fitting: Vec<u64> = listed
        .into_iter()
        .filter(|pull| {
            is(&pull.base, id, branch)
                && pull.merged_at.is_some()
                && pull.merge_commit_sha.as_deref() == Some(&*commit.0)
        })
        .map(|pull| pull.number)
        .collect();
    match (fitting.as_slice(), all) {
        ([number], _) => Ok(*number),
        ([], 0) => Err(asking.missing(format!("has no pull request behind {short}"))),
        ([], _) => Err(asking.missing(format!(
            "has no pull request that was merged into {branch} as exactly {short}: merge or squash, since a rebase leaves \
             commits that nobody reviewed"
        ))),
        (several, _) => {
            let several: Vec<String> = several.iter().map(u64::to_string).collect();
            Err(asking.missing(format!("has several pull requests merged as {short}: {}", several.join(", "))))
        }
    }
}

/// Whose latest decisive review before the merge approves, on exactly this head. Bots do not.
fn approvers(mut opinions: Vec<Opinion>, head: &str, merged: Timestamp) -> BTreeSet<u64> {
    opinions.retain(|opinion| matches!(opinion.state.as_str(), "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED"));
    // One without a time may be the latest one. They come in order of time, and the sort keeps what is of one second.
    opinions.retain(|opinion| opinion.submitted_at.is_none_or(|at| at <= merged));
    opinions.sort_by_key(|opinion| opinion.submitted_at.unwrap_or(Timestamp::MAX));
    let mut latest = BTreeMap::new();
    for opinion in opinions {
        let Some(User { id, login, kind }) = opinion.user else { continue };
        let person = kind == "User" && !login.ends_with("[bot]");
        let approves = person
            && opinion.state == "APPROVED"
            && opinion.submitted_at.is_some()
            && opinion.commit_id.as_deref() == Some(head);
        latest.insert(id, approves);
    }
    latest.into_iter().filter_map(|(id, approves)| approves.then_some(id)).collect()
}

/// What the record of the repository's activity has of a branch, which may be deleted by now.
async fn pushes(asking: &Asking<'_>, place: &str, branch: &str) -> Result<Vec<Push>, Failure> {
    let name = format!("refs/heads/{branch}");
    let query = utf8_percent_encode(&name, NON_ALPHANUMERIC);
    let all: Option<Vec<Activity>> = asking.list(&format!("{place}/activity?ref={query}&per_page=100")).await?;
    let Some(all) = all else {
        return Err(asking.away("does not show who pushed what: give the token the right to read contents".into()));
    };
    let pushes =
        all.into_iter().filter(|activity| activity.name == name && activity.activity_type != "branch_deletion");
    Ok(pushes
        .map(|activity| Push {
            at: activity.timestamp,
            who: activity.actor.map(|user| user.id),
            begins: activity.activity_type == "branch_creation",
            after: Some(activity.after),
        })
        .collect())
}
