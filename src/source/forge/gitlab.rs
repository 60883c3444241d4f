use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    http::{Asking, Failure},
    is_id,
    pushes::{Push, pushers},
    settings::Gitlab,
};
use crate::model::{Commit, Review};

pub const HEADERS: &[(&str, &str)] = &[("accept", "application/json")];

#[derive(Deserialize)]
struct Project {
    id: u64,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    username: String,
}

/// What GitLab tells of a user who is asked for alone.
#[derive(Deserialize)]
struct Profile {
    id: u64,
    bot: Option<bool>,
}

#[derive(Deserialize)]
struct Request {
    iid: u64,
    state: String,
    target_project_id: u64,
    /// Gone with a deleted fork.
    source_project_id: Option<u64>,
    target_branch: String,
    source_branch: String,
    /// The head.
    sha: Option<String>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    merged_at: Option<Timestamp>,
    author: Option<User>,
    /// Newer than `merged_by`, which says the same.
    merge_user: Option<User>,
    merged_by: Option<User>,
}

/// What the request was at one time: each push makes one.
#[derive(Deserialize)]
struct Version {
    head_commit_sha: Option<String>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct Approvals {
    approved_by: Vec<Approval>,
}

#[derive(Deserialize)]
struct Approval {
    user: Option<User>,
    /// GitLab 18 and later.
    approved_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Event {
    author_id: Option<u64>,
    created_at: Timestamp,
    push_data: Option<Pushed>,
}

#[derive(Deserialize)]
struct Pushed {
    action: Option<String>,
    ref_type: Option<String>,
    #[serde(rename = "ref")]
    name: Option<String>,
    commit_to: Option<String>,
}

/// The one merged merge request of this project and branch whose merge or squash is exactly this commit.
pub async fn review(asking: &Asking<'_>, settings: &Gitlab, branch: &str, commit: &Commit) -> Result<Review, Failure> {
    let place = format!("projects/{}", settings.id);
    match asking.find(&place).await? {
        Some(Project { id }) if id == settings.id => {}
        Some(Project { id }) => return Err(asking.away(format!("shows the project {id} for {}", settings.id))),
        None => {
            return Err(asking.away(format!(
                "shows no project {}: correct `id`, or give the token the right to read it",
                settings.id
            )));
        }
    }
    let request = request(asking, &place, settings.id, branch, commit).await?;
    let number = request.iid;
    let (Some(merged), Some(head)) = (request.merged_at, request.sha.filter(|sha| is_id(sha))) else {
        return Err(asking.missing(format!("does not tell when the merge request {number} was merged, or its head")));
    };
    let Some(User { id: author, .. }) = request.author else {
        return Err(asking.missing(format!("does not tell who opened the merge request {number}")));
    };
    if request.source_project_id != Some(settings.id) {
        return Err(asking.missing(format!(
            "has no record of who pushed to the fork that the merge request {number} comes from: push the branch to the \
             project {} itself",
            settings.id
        )));
    }
    let gone = || asking.missing(format!("does not show the merge request {number} any more"));
    let here = format!("{place}/merge_requests/{number}");
    let versions: Vec<Version> = asking.list(&format!("{here}/versions?per_page=100")).await?.ok_or_else(gone)?;
    // The latest one before the merge: the head may have been there before, among others.
    let last =
        versions.into_iter().filter(|version| version.created_at <= merged).max_by_key(|version| version.created_at);
    let Some(since) = last.filter(|last| last.head_commit_sha.as_deref() == Some(&head)).map(|last| last.created_at)
    else {
        return Err(asking.missing(format!("has no record of when the merge request {number} came to its head")));
    };
    let approvals: Approvals = asking.find(&format!("{here}/approvals")).await?.ok_or_else(gone)?;
    let pushes = pushes(asking, &place, &request.source_branch, merged).await?;

    let mut authors = pushers(&pushes, &head, merged)
        .map_err(|why| asking.missing(format!("{why}, of the merge request {number}")))?;
    authors.insert(author);
    // Each is listed once: of two lines the worse one counts.
    let mut approved: BTreeMap<u64, bool> = BTreeMap::new();
    let mut timeless = false;
    for Approval { user, approved_at } in approvals.approved_by {
        let Some(user) = user.filter(|user| !is_bot(&user.username) && !authors.contains(&user.id)) else { continue };
        timeless |= approved_at.is_none();
        let counts = approved_at.is_some_and(|at| since < at && at <= merged);
        approved.entry(user.id).and_modify(|all| *all &= counts).or_insert(counts);
    }
    let mut approvers = BTreeSet::new();
    for id in approved.into_iter().filter_map(|(id, counts)| counts.then_some(id)) {
        if is_person(asking, id).await? {
            approvers.insert(id);
        }
    }
    if approvers.is_empty() && timeless {
        return Err(asking.missing(format!(
            "does not tell when the merge request {number} was approved, so that its approvals count for nothing: that \
             needs GitLab 18 or later"
        )));
    }
    Ok(Review {
        number,
        head: Commit(head.as_str().into()),
        authors,
        approvers,
        merger: request.merge_user.or(request.merged_by).map(|user| user.id),
        differs: Vec::new(),
    })
}

async fn request(asking: &Asking<'_>, place: &str, id: u64, branch: &str, commit: &Commit) -> Result<Request, Failure> {
    let short = commit.short();
    let path = format!("{place}/repository/commits/{commit}/merge_requests?per_page=100");
    let Some(mut all): Option<Vec<Request>> = asking.list(&path).await? else {
        return Err(asking.missing(format!("does not know the commit {short}")));
    };
    let none = all.is_empty();
    all.retain(|request| {
        let merges = [&request.merge_commit_sha, &request.squash_commit_sha];
        request.state == "merged"
            && request.target_project_id == id
            && request.target_branch == branch
            && merges.into_iter().flatten().any(|sha| **sha == *commit.0)
    });
    let numbers: Vec<String> = all.iter().map(|request| request.iid.to_string()).collect();
    match (all.pop(), all.is_empty()) {
        (Some(request), true) => Ok(request),
        (None, _) if none => Err(asking.missing(format!("has no merge request behind {short}"))),
        (None, _) => Err(asking.missing(format!(
            "has no merge request that was merged into {branch} as exactly {short}: merge by a merge commit or squash, since \
             a rebase leaves commits that nobody reviewed"
        ))),
        (Some(_), false) => {
            Err(asking.missing(format!("has several merge requests merged as {short}: {}", numbers.join(", "))))
        }
    }
}

/// The users that come with the access tokens of projects and groups.
fn is_bot(username: &str) -> bool {
    (username.starts_with("project_") || username.starts_with("group_")) && username.contains("_bot")
}

async fn is_person(asking: &Asking<'_>, id: u64) -> Result<bool, Failure> {
    let profile: Option<Profile> = asking.find(&format!("users/{id}")).await?;
    Ok(profile.is_some_and(|profile| profile.id == id && profile.bot == Some(false)))
}

/// What the project's events have of a branch, which may be deleted by now. Newest first, as far back as the branch last
/// began.
async fn pushes(asking: &Asking<'_>, place: &str, branch: &str, merged: Timestamp) -> Result<Vec<Push>, Failure> {
    // A day of the server's own zone, and not that day itself.
    let before = merged.saturating_add(SignedDuration::from_hours(48)).unwrap_or(merged).strftime("%Y-%m-%d");
    let path = format!("{place}/events?action=pushed&before={before}&sort=desc&per_page=100");
    let began =
        |all: &[Event]| all.iter().filter_map(|event| push(event, branch)).any(|push| push.begins && push.at <= merged);
    let Some(all) = asking.list_until(&path, began).await? else {
        return Err(asking.away("does not show who pushed what: give the token the scope `read_api`".into()));
    };
    Ok(all.iter().filter_map(|event| push(event, branch)).collect())
}

/// What an event has to say of a branch.
fn push(event: &Event, branch: &str) -> Option<Push> {
    let Event { author_id, created_at, push_data } = event;
    let Pushed { action, ref_type, name, commit_to } = push_data.as_ref()?;
    let after = match name {
        _ if ref_type.as_deref() == Some("tag") => return None,
        Some(name) if name != branch => return None,
        Some(_) if action.as_deref() == Some("removed") => return None,
        Some(_) => commit_to.clone(),
        // Many branches at once, whose names are not told: this one may be among them.
        None => None,
    };
    let begins = name.is_some() && action.as_deref() == Some("created");
    Some(Push { at: *created_at, who: *author_id, after, begins })
}
