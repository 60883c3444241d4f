//! One accepted revision, file by file: what goes, what begins, what is edited, and what is withheld because nobody, or not
//! everybody that it takes, stands behind it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Finding, GrantId, Held, Lacks, Ledger, Level, Origin, Policy, Record, State, Terms, Text, Vouched};

use super::{
    admit::{Admission, waits},
    demand::{demand, longest, longest_of},
    desire::earliest,
    intake::{Filed, Footing, Intake},
    judge::{ending, judge, same_request},
    moment, stem,
    terms::reduced,
    vouch::{Lack, vouch},
};

pub struct Revision<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) intake: &'a Intake,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
    pub(super) admission: Admission,
    /// What waits, by grant.
    pub(super) held: BTreeMap<GrantId, Vec<Held>>,
    /// Withdrawn by this very revision.
    pub(super) gone: BTreeSet<GrantId>,
    /// The paths that it takes away anywhere on its line.
    pub(super) deleted: BTreeSet<&'a Text>,
    /// A mass withdrawal waits: no end moves later.
    pub(super) guarded: bool,
    /// What it takes that files do not pass, and why.
    pub(super) refused: BTreeMap<GrantId, Lack>,
    /// What is accepted as it is now.
    pub(super) settled: BTreeSet<GrantId>,
    /// What was accepted and may not begin any more, and why.
    pub(super) stopped: BTreeMap<GrantId, Lack>,
}

impl<'a> Revision<'a> {
    pub fn read(
        ledger: &'a Ledger,
        intake: &'a Intake,
        policy: &'a Policy,
        now: Timestamp,
        admission: Admission,
    ) -> Admission {
        let (held, gone, refused, settled, stopped) = Default::default();
        let files = intake.changes.iter().flat_map(|change| &change.files);
        let deleted = files.filter(|(_, blob)| blob.is_none()).map(|(path, _)| path).collect();
        let guarded = false;
        let mut revision =
            Self { ledger, intake, policy, now, admission, held, gone, deleted, guarded, refused, settled, stopped };
        intake.proofs.values().filter_map(|proof| proof.until).for_each(|until| revision.otherwise(until));
        revision.withdraw();
        revision.files();
        revision.judge_waiting();
        revision.withhold();
        revision.admission.held.extend(revision.held.into_values().flatten());
        revision.admission
    }

    /// It waits, beside what it waits for already.
    pub(super) fn hold(&mut self, grant: &GrantId, reason: String, until: Option<Timestamp>) {
        let held = Held { grant: grant.clone(), reason, until };
        self.held.entry(grant.clone()).or_default().push(held);
    }

    /// At this moment, if it is yet to come, something would be judged otherwise.
    fn otherwise(&mut self, moment: Timestamp) {
        if moment > self.now {
            self.admission.edge = earliest(self.admission.edge, moment);
        }
    }

    fn files(&mut self) {
        let mut all: Vec<(GrantId, &Filed)> = Vec::with_capacity(self.intake.files.len());
        for filed in &self.intake.files {
            match stem(&filed.path) {
                Ok(id) => all.push((id, filed)),
                Err(error) => self.tell(filed, Level::Error, error.to_string(), "rename the file"),
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        for files in all.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((id, filed)) = files.first() else { continue };
            // As it mostly is.
            let alone = |paths: &BTreeSet<Text>| paths.len() == 1 && paths.contains(&filed.path);
            if files.len() == 1 && self.intake.present.get(id).is_none_or(alone) {
                self.file(id, filed);
                continue;
            }
            let paths = self.paths(id, files);
            let owner = self.owner(id, &paths);
            for (_, filed) in files {
                if owner.as_ref() == Some(&filed.path) {
                    self.file(id, filed);
                } else {
                    let others = paths.iter().filter(|other| **other != filed.path).map(|other| &**other);
                    let message = format!("the id `{id}` is also that of {}", others.collect::<Vec<_>>().join(", "));
                    self.tell(filed, Level::Error, message, "give this file a name of its own");
                }
            }
        }
    }

    /// Where something lies under an id, whatever it says.
    fn paths(&self, id: &GrantId, files: &[(GrantId, &Filed)]) -> BTreeSet<Text> {
        let present = self.intake.present.get(id).cloned().unwrap_or_default();
        files.iter().map(|(_, filed)| filed.path.clone()).chain(present).collect()
    }

    /// The file that an id belongs to: the only one there is, or the one that was accepted. A broken file is there all the
    /// same: else whoever breaks it could take its grant over with a second one.
    fn owner(&self, id: &GrantId, paths: &BTreeSet<Text>) -> Option<Text> {
        let recorded = self.ledger.grants.get(id).map(|terms| &terms.path);
        let mut all = paths.iter();
        match (all.next(), all.next()) {
            (only, None) => only.cloned(),
            _ => recorded.filter(|recorded| paths.contains(*recorded)).cloned(),
        }
    }

    fn file(&mut self, id: &GrantId, filed: &Filed) {
        if self.gone.contains(id) && !self.guarded {
            return self.spent(id, filed);
        }
        match self.ledger.grants.get(id).map(AsRef::as_ref) {
            Some(Terms { state: State::Withdrawn { effective, .. }, .. }) if *effective > self.now => {
                self.restore(id, filed)
            }
            Some(terms) if matches!(terms.state, State::Suspended { .. }) && !self.gone.contains(id) => {
                self.resume(id, terms, filed)
            }
            Some(terms) if terms.state == State::Live && !self.gone.contains(id) => self.edit(id, terms, filed),
            Some(_) => {}
            None if self.ledger.used.contains_key(id) => self.spent(id, filed),
            None => self.begin(id, filed),
        }
    }

    /// An id that is over: said only where somebody touched the file, not for every old file in the tree.
    fn spent(&mut self, id: &GrantId, filed: &Filed) {
        if filed.late || self.deleted.contains(&filed.path) {
            let message = format!("the id `{id}` was used and is over: it never becomes active again");
            self.tell(filed, Level::Warning, message, "ask again in a file with another name");
        }
    }

    /// Who stands behind a file; `None` if that is not enough: then it is withheld.
    fn vouched(&mut self, id: &GrantId, filed: &Filed, before: Option<&Terms>) -> Option<Vouched> {
        if self.intake.footing == Footing::Assumed {
            return Some(Vouched::default());
        }
        let prior = self.ledger.prior.contains_key(id);
        let links = self.intake.chains.get(id).map_or(&[][..], |chain| &chain.links);
        let paths = links.iter().map(|link| &*link.path).chain([&*filed.path]).chain(before.map(|terms| &*terms.path));
        let asks = filed.grant.access.iter().map(AsRef::as_ref);
        let demand = demand(asks, &filed.grant.requester, &paths.collect(), self.policy);
        let verdict = match &self.intake.footing {
            Footing::Broken(why) if self.policy.trust.proves() => {
                Err(Lack { what: Lacks::Trust, why: format!("nobody can be trusted: {why}") })
            }
            _ if links.is_empty() && !prior && self.policy.trust.proves() => {
                Err("no change of its own is known that brought it".into())
            }
            _ => vouch(links, &self.intake.proofs, &demand, &self.policy.trust, self.now),
        };
        match verdict {
            Ok(vouched) => Some(vouched),
            Err(lack) => {
                let why = &lack.why;
                let later = if before.is_some() { "; what was accepted before goes on to its end" } else { "" };
                self.hold(id, format!("{why}{later}"), None);
                self.refused.insert(id.clone(), lack);
                None
            }
        }
    }

    /// The deletion was a mistake, and taken back before it took effect.
    fn restore(&mut self, id: &GrantId, filed: &Filed) {
        let Some(terms) = self.ledger.grants.get(id) else { return };
        let same = same_request(terms, &filed.grant).is_some_and(|asks| asks.len() == terms.asks.len());
        if same && self.vouched(id, filed, Some(terms)).is_some() {
            self.settled.insert(id.clone());
            self.held.remove(id);
            self.admission.records.push(Record::Restore { grant: id.clone(), commit: self.intake.head.clone() });
        }
    }

    /// A deletion that was never accepted: only the old content comes back.
    fn resume(&mut self, id: &GrantId, terms: &Terms, filed: &Filed) {
        if filed.blob == terms.blob {
            self.held.remove(id);
            self.admission.records.push(Record::Resume { grant: id.clone(), commit: self.intake.head.clone() });
        } else {
            let message = format!("`{id}` is suspended: a head that was not accepted deleted its file");
            self.tell(
                filed,
                Level::Warning,
                message,
                "merge its old content, or ask again in a file with another name",
            );
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
        // Entries may have gone by an edit of which the rest does not count yet.
        let whole = grant.access.len() == terms.asks.len();
        if terms.blob == filed.blob && terms.path == filed.path && whole {
            // A second file of its name is not accepted with it.
            if self.intake.chains.get(id).is_none_or(|chain| chain.paths.len() < 2) {
                self.settled.insert(id.clone());
            }
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
        let longest =
            longest(asks.iter().map(AsRef::as_ref), &filed.path, self.policy).min(longest_of(terms, self.policy));
        let until = ending(grant, terms.start, &self.policy.limits, longest).min(terms.ceiling);
        // Who says nothing of the end does not move it later: the configuration may have become a longer one since.
        let silent = grant.ttl == terms.ttl && grant.until == terms.stated;
        let until = if silent { until.min(terms.until) } else { until };
        // A move alone changes no content, and yet needs what the rules of both places ask for.
        let Some(vouched) = self.vouched(id, filed, Some(terms)) else { return };
        if until > terms.until && self.guarded {
            let reason = "its end is not moved later while a mass withdrawal is held".to_owned();
            let origin = Origin { commit: filed.commit.clone(), author: filed.author.clone() };
            self.admission.records.extend(reduced(id, terms, &origin, &asks, terms.until));
            return self.hold(id, reason, None);
        }
        self.settled.insert(id.clone());
        let brought = self.intake.chains.get(id).filter(|_| waits(terms));
        let links = brought.map(|chain| chain.links.clone()).unwrap_or_default();
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
            vouched: vouched.into(),
            links,
        });
    }

    /// What was accepted and has not begun must pass until it does, whatever its file says by now: a key may be revoked
    /// meanwhile, a rule become stricter.
    fn judge_waiting(&mut self) {
        if !matches!(self.intake.footing, Footing::Named(_)) {
            return;
        }
        for (id, terms) in self.ledger.grants.iter().filter(|(_, terms)| waits(terms)) {
            let asks = terms.asks.values().map(AsRef::as_ref);
            let paths = terms.links.iter().map(|link| &*link.path).chain([&*terms.path]).collect();
            let demand = demand(asks, &terms.requester, &paths, self.policy);
            if let Err(lack) = vouch(&terms.links, &self.intake.proofs, &demand, &self.policy.trust, self.now) {
                let reason = format!("{}; it has not begun, and does not begin so", lack.why);
                self.held.entry(id.clone()).or_default().retain(|held| held.until.is_some());
                self.hold(id, reason, None);
                self.stopped.insert(id.clone(), lack);
            }
        }
    }

    fn begin(&mut self, id: &GrantId, filed: &Filed) {
        let Filed { path, blob, grant, commit, author, committed, late: _ } = filed;
        let limits = &self.policy.limits;
        let longest = longest(grant.access.iter().map(AsRef::as_ref), path, self.policy);
        grant.from.into_iter().for_each(|from| self.otherwise(limits.max_ahead.before(from)));
        grant.until.into_iter().for_each(|until| self.otherwise(longest.before(until)));
        self.otherwise(limits.stale_after.past(*committed));
        if let Some((message, help)) = judge(grant, limits, longest, self.now) {
            return self.tell(filed, Level::Error, message, &help);
        }
        // Whole seconds, rounded down: easier to read, and never later.
        let now = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
        let prior = self.ledger.prior.contains_key(id);
        let accepted = if prior { now.min(*committed) } else { now };
        let start = grant.from.unwrap_or(accepted);
        let until = ending(grant, start, limits, longest);
        self.otherwise(until);
        if until <= self.now {
            return self.tell(
                filed,
                Level::Warning,
                format!("over since {}: it grants nothing", moment(until)),
                "delete the file",
            );
        }
        let Some(vouched) = self.vouched(id, filed, None) else { return };
        if !prior && *committed < limits.stale_after.before(self.now) {
            return self.stale(id, filed);
        }
        self.settled.insert(id.clone());
        let links = self.intake.chains.get(id).map(|chain| chain.links.clone()).unwrap_or_default();
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
            ceiling: longest.after(start),
            vouched: vouched.into(),
            links: if start > self.now { links } else { Vec::new() },
        });
    }

    fn stale(&mut self, id: &GrantId, filed: &Filed) {
        let Filed { path, blob, grant: _, commit, author, committed, late: _ } = filed;
        let limit = self.policy.limits.stale_after;
        let reason = format!("committed at {}, more than {limit} before it could be accepted", moment(*committed));
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
        self.hold(id, reason, None);
    }

    fn tell(&mut self, filed: &Filed, level: Level, message: String, help: &str) {
        let path = filed.path.clone();
        self.admission.findings.push(Finding { path, spot: None, level, message, help: help.to_owned() });
    }
}
