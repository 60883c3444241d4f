//! The life of grants: what a revision begins, moves and ends. Each decision is a journal record; nothing is kept elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::{
    Ask, AskId, Change, Commit, Finding, Grant, GrantId, Held, Ledger, Level, Limits, Oid, Policy, Record, State,
    Terms, Text,
};

use super::{
    desire::end_of,
    guard::{effective, holding},
    judge, moment, stem,
};

/// A revision, read and parsed.
#[derive(Debug, Clone)]
pub struct Intake {
    pub head: Commit,
    /// Whether the accepted head lies on the first-parent line of this one.
    pub descends: bool,
    /// Why the tree may not be used at all.
    pub refused: Option<String>,
    /// The valid files, sorted by path.
    pub files: Vec<Filed>,
    /// What is wrong with the others.
    pub findings: Vec<Finding>,
    /// The first-parent commits since the accepted head, oldest first.
    pub changes: Vec<Change>,
}

/// A valid grant file at the head, and the first-parent commit that last changed it.
#[derive(Debug, Clone)]
pub struct Filed {
    pub path: Text,
    pub blob: Oid,
    pub grant: Arc<Grant>,
    pub commit: Commit,
    pub author: Text,
    pub committed: Timestamp,
    /// Its id was over already when this revision was read.
    pub late: bool,
}

/// What a revision comes to.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    pub records: Vec<Record>,
    pub held: Vec<Held>,
    pub findings: Vec<Finding>,
}

/// The grants whose end has come, or was moved earlier by the configuration. Needs no revision, so that expiry goes on without Git.
pub fn close(ledger: &Ledger, policy: &Policy, now: Timestamp) -> Vec<Record> {
    use crate::model::Cause::{Expired, Withdrawn};
    let over = |terms: &Terms| end_of(terms, policy) <= now;
    let longest = policy.limits.max_duration;
    let records = ledger.grants.iter().filter_map(|(grant, terms)| {
        if over(terms) {
            let withdrawn = matches!(terms.state, State::Withdrawn { effective, .. } if effective <= now);
            return Some(Record::Finish { grant: grant.clone(), cause: if withdrawn { Withdrawn } else { Expired } });
        }
        // On record, because a configuration may shorten and never lengthen: not even back.
        let until = longest.after(terms.start);
        (until < terms.until).then(|| Record::Shorten { grant: grant.clone(), until })
    });
    records.collect()
}

/// Decides what a revision changes. Expects that [`close`] was folded in already, so that nothing that is over can be moved.
/// Asked again with the same revision it answers only what time has changed.
pub fn admit(ledger: &Ledger, intake: &Intake, policy: &Policy, now: Timestamp) -> Admission {
    let mut admission = Admission { findings: intake.findings.clone(), ..Admission::default() };
    if let Some(reason) = standstill(ledger, intake) {
        if ledger.freeze.as_ref().is_none_or(|freeze| *freeze.reason != *reason) {
            admission.records.push(Record::Freeze { commit: Some(intake.head.clone()), reason: reason.into() });
        }
        return admission;
    }
    if ledger.freeze.is_some() {
        admission.records.push(Record::Thaw { commit: intake.head.clone() });
    }
    let mut revision = Revision { ledger, policy, now, admission, gone: BTreeSet::new(), guarded: false };
    revision.withdraw(intake);
    revision.files(intake);
    let mut admission = revision.admission;
    if ledger.head.as_ref() != Some(&intake.head) {
        admission.records.push(Record::Head { commit: intake.head.clone(), previous: ledger.head.clone() });
    }
    admission.held.sort();
    admission
}

fn standstill(ledger: &Ledger, intake: &Intake) -> Option<String> {
    if let Some(why) = &intake.refused {
        return Some(format!("the tree of {} is refused: {why}", intake.head.short()));
    }
    let accepted = ledger.head.as_ref()?;
    (!intake.descends).then(|| {
        format!(
            "{} does not have the accepted head {} on its first-parent line: history was rewritten, or merged the wrong way round",
            intake.head.short(),
            accepted.short()
        )
    })
}

struct Revision<'a> {
    ledger: &'a Ledger,
    policy: &'a Policy,
    now: Timestamp,
    admission: Admission,
    /// Withdrawn by this very revision.
    gone: BTreeSet<GrantId>,
    /// A mass withdrawal waits: no end moves later.
    guarded: bool,
}

impl Revision<'_> {
    /// Finds deletions commit by commit, not by comparing heads: a deletion and its revert inside one poll is a withdrawal, a
    /// move inside one commit is none.
    fn withdraw(&mut self, intake: &Intake) {
        let mut paths: BTreeMap<Text, GrantId> = BTreeMap::new();
        for (id, terms) in &self.ledger.grants {
            if terms.state == State::Live {
                paths.insert(terms.path.clone(), id.clone());
            }
        }
        let mut gone: Vec<(GrantId, &Change)> = Vec::new();
        for change in &intake.changes {
            for (path, blob) in &change.files {
                if blob.is_some() {
                    continue;
                }
                let Some(id) = paths.remove(path) else { continue };
                let moved = change.files.iter().find(|(to, blob)| blob.is_some() && stem(to).as_ref() == Ok(&id));
                match moved {
                    Some((to, _)) => {
                        paths.insert(to.clone(), id);
                    }
                    None => gone.push((id, change)),
                }
            }
        }
        let effective = effective(self.ledger, gone.len(), self.now);
        self.guarded = holding(self.ledger, self.now) || effective > self.now;
        for (id, terms) in &self.ledger.grants {
            if let State::Withdrawn { effective, .. } = terms.state {
                self.wait(id, effective);
            }
        }
        for (grant, change) in gone {
            let (commit, author) = (change.commit.clone(), change.author.clone());
            self.gone.insert(grant.clone());
            if effective > self.now {
                self.wait(&grant, effective);
            }
            self.admission.records.push(Record::Withdraw { grant, commit, author, effective });
        }
    }

    fn wait(&mut self, grant: &GrantId, effective: Timestamp) {
        let reason = "withdrawn together with many others: held in case that it was a mistake".to_owned();
        self.admission.held.push(Held { grant: grant.clone(), reason, until: Some(effective) });
    }

    fn files(&mut self, intake: &Intake) {
        let mut by_id: BTreeMap<GrantId, Vec<&Filed>> = BTreeMap::new();
        for filed in &intake.files {
            match stem(&filed.path) {
                Ok(id) => by_id.entry(id).or_default().push(filed),
                Err(error) => self.tell(filed, Level::Error, error.to_string(), "rename the file"),
            }
        }
        for (id, files) in by_id {
            let recorded = self.ledger.grants.get(&id).map(|terms| &terms.path);
            let kept =
                if files.len() == 1 { files.first() } else { files.iter().find(|filed| Some(&filed.path) == recorded) };
            for filed in &files {
                if kept.is_none_or(|kept| kept.path != filed.path) {
                    let others = files.iter().filter(|other| other.path != filed.path).map(|other| &*other.path);
                    let message = format!("the id `{id}` is also that of {}", others.collect::<Vec<_>>().join(", "));
                    self.tell(filed, Level::Error, message, "give this file a name of its own");
                }
            }
            if let Some(filed) = kept {
                self.file(&id, filed, intake);
            }
        }
    }

    fn file(&mut self, id: &GrantId, filed: &Filed, intake: &Intake) {
        if self.gone.contains(id) && !self.guarded {
            return self.spent(id, filed, intake);
        }
        match self.ledger.grants.get(id) {
            Some(Terms { state: State::Withdrawn { effective, .. }, .. }) if *effective > self.now => {
                self.restore(id, filed)
            }
            Some(terms) if terms.state == State::Live && !self.gone.contains(id) => self.edit(id, terms, filed),
            Some(_) => {}
            None if self.ledger.used.contains_key(id) => self.spent(id, filed, intake),
            None => self.begin(id, filed),
        }
    }

    /// An id that is over: said only where somebody touched the file, not for every old file in the tree.
    fn spent(&mut self, id: &GrantId, filed: &Filed, intake: &Intake) {
        let deleted = |change: &Change| change.files.iter().any(|(path, blob)| *path == filed.path && blob.is_none());
        if filed.late || intake.changes.iter().any(deleted) {
            let message = format!("the id `{id}` was used and is over: it never becomes active again");
            self.tell(filed, Level::Warning, message, "ask again in a file with another name");
        }
    }

    /// The deletion was a mistake, and taken back before it took effect.
    fn restore(&mut self, id: &GrantId, filed: &Filed) {
        let Some(terms) = self.ledger.grants.get(id) else { return };
        if same_request(terms, &filed.grant).is_some_and(|asks| asks.len() == terms.asks.len()) {
            self.admission.held.retain(|held| held.grant != *id);
            self.admission.records.push(Record::Restore { grant: id.clone(), commit: filed.commit.clone() });
        }
    }

    fn edit(&mut self, id: &GrantId, terms: &Terms, filed: &Filed) {
        let grant = &filed.grant;
        if let Some(stated) = grant.until
            && stated > terms.ceiling
        {
            let message = format!(
                "`until: {stated}` is beyond the ceiling {}: `max_duration` from the first start",
                terms.ceiling
            );
            self.tell(filed, Level::Warning, message, "ask for longer access in a new file");
        }
        if terms.blob == filed.blob && terms.path == filed.path {
            return;
        }
        let Some(asks) = same_request(terms, grant) else {
            let message =
                format!("`{id}` is granted already: an edit may move its end, change its purpose or take entries out");
            return self.tell(
                filed,
                Level::Error,
                message,
                "ask for anything else in a new file; what was granted keeps its end",
            );
        };
        let until = ending(grant, terms.start, &self.policy.limits).min(terms.ceiling);
        if until > terms.until && self.guarded {
            let reason = "its end is not moved later while a mass withdrawal is held".to_owned();
            return self.admission.held.push(Held { grant: id.clone(), reason, until: None });
        }
        self.admission.records.push(Record::Amend {
            grant: id.clone(),
            path: filed.path.clone(),
            blob: filed.blob.clone(),
            commit: filed.commit.clone(),
            author: filed.author.clone(),
            purpose: grant.purpose.clone(),
            asks,
            ttl: grant.ttl,
            stated: grant.until,
            until,
        });
    }

    fn begin(&mut self, id: &GrantId, filed: &Filed) {
        let Filed { path, blob, grant, commit, author, committed, late: _ } = filed;
        let limits = &self.policy.limits;
        if let Some((message, help)) = judge(grant, limits, self.now) {
            return self.tell(filed, Level::Error, message, &help);
        }
        let prior = self.ledger.prior.contains_key(id);
        if !prior && *committed < limits.stale_after.before(self.now) {
            let reason = format!(
                "committed at {}, more than {} before it could be accepted",
                moment(*committed),
                limits.stale_after
            );
            if self.ledger.held.get(id).is_none_or(|(held, _)| held != blob) {
                self.admission.records.push(Record::Hold {
                    grant: id.clone(),
                    path: path.clone(),
                    blob: blob.clone(),
                    commit: commit.clone(),
                    author: author.clone(),
                    committed: *committed,
                    reason: reason.as_str().into(),
                });
            }
            let reason = format!("{reason}: if it is still needed, merge a new commit that changes the file");
            return self.admission.held.push(Held { grant: id.clone(), reason, until: None });
        }
        // Whole seconds, rounded down: easier to read, and never later.
        let now = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
        let accepted = if prior { now.min(*committed) } else { now };
        let start = grant.from.unwrap_or(accepted);
        let until = ending(grant, start, limits);
        if until <= self.now {
            return self.tell(
                filed,
                Level::Warning,
                format!("over since {}: it grants nothing", moment(until)),
                "delete the file",
            );
        }
        self.admission.records.push(Record::Accept {
            grant: id.clone(),
            path: path.clone(),
            blob: blob.clone(),
            commit: commit.clone(),
            author: author.clone(),
            committed: *committed,
            requester: grant.requester.clone(),
            purpose: grant.purpose.clone(),
            asks: grant.access.clone(),
            from: grant.from,
            ttl: grant.ttl,
            stated: grant.until,
            start,
            until,
            ceiling: limits.max_duration.after(start),
        });
    }

    fn tell(&mut self, filed: &Filed, level: Level, message: String, help: &str) {
        let path = filed.path.clone();
        self.admission.findings.push(Finding { path, spot: None, level, message, help: help.to_owned() });
    }
}

/// `min(stated until, start + ttl, start + max_duration)`; with neither `ttl` nor `until`, `default_ttl` counts.
fn ending(grant: &Grant, start: Timestamp, limits: &Limits) -> Timestamp {
    let ttl = grant.ttl.or_else(|| grant.until.is_none().then_some(limits.default_ttl));
    let ends = [grant.until, ttl.map(|ttl| ttl.after(start))];
    ends.into_iter().flatten().fold(limits.max_duration.after(start), Timestamp::min)
}

/// What is left of the accepted entries if this is the same request; `None` if whoever, whatever, wherever or `from` differs.
fn same_request(terms: &Terms, grant: &Grant) -> Option<Vec<Arc<Ask>>> {
    let known: BTreeSet<&AskId> = terms.asks.keys().collect();
    let same = grant.requester == terms.requester && grant.from == terms.from;
    (same && grant.access.iter().all(|ask| known.contains(&ask.id()))).then(|| grant.access.clone())
}
