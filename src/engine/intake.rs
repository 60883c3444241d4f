//! From a commit to an [`Intake`]: tree, blobs, parsed once each, who changed what, and what stands behind the changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::{
        Bearing, Deletions, Filed, Footing, Intake, LONGEST, Past, Targets, chains as chains_of, join, parse, present,
        stem, waits,
    },
    model::{
        Chain, Change, Commit, Finding, Grant, GrantId, Ledger, Log, Oid, Policy, Proof, Proved, Said, Source,
        SourceError, Text,
    },
};

/// Reads revisions and remembers what each blob said: a new revision costs what changed, not what exists.
#[derive(Default)]
pub struct Librarian {
    blobs: BTreeMap<Oid, Arc<Page>>,
    /// Which first-parent commit last changed a path to a blob.
    origins: BTreeMap<(Text, Oid), Origin>,
}

struct Page {
    grant: Option<Arc<Grant>>,
    findings: Vec<Finding>,
}

#[derive(Clone)]
struct Origin {
    commit: Commit,
    author: Text,
    committed: Timestamp,
}

/// What the ledger knows already, so that nobody looks for it in history.
pub struct Known {
    now: Timestamp,
    since: Option<Commit>,
    /// An operator must accept a head before any other counts.
    frozen: bool,
    /// An operator named the accepted head: what it holds came by other commits than those that were looked at.
    adopted: bool,
    accepted: BTreeMap<Text, (Oid, Origin)>,
    used: BTreeSet<GrantId>,
    prior: BTreeSet<GrantId>,
    past: Past,
    /// The commits that brought what has not begun.
    waiting: BTreeSet<Commit>,
    proofs: BTreeMap<Commit, Proved>,
}

impl Known {
    pub fn new(ledger: &Ledger, now: Timestamp) -> Self {
        let accepted = ledger.grants.values().map(|terms| {
            // The commit date counts only until a grant is accepted.
            let origin = Origin {
                commit: terms.origin.commit.clone(),
                author: terms.origin.author.clone(),
                committed: terms.start,
            };
            (terms.path.clone(), (terms.blob.clone(), origin))
        });
        let waiting = ledger.grants.values().filter(|terms| waits(terms)).flat_map(|terms| &terms.links);
        Self {
            now,
            since: ledger.head.clone(),
            frozen: ledger.freeze.as_ref().is_some_and(|freeze| freeze.accept),
            adopted: ledger.adopted,
            accepted: accepted.collect(),
            used: ledger.used.keys().cloned().collect(),
            prior: ledger.prior.keys().cloned().collect(),
            past: Past::new(ledger),
            waiting: waiting.map(|link| link.commit.clone()).collect(),
            proofs: ledger.proofs.clone(),
        }
    }
}

impl Librarian {
    /// Drops what the policy had a part in.
    pub fn forget(&mut self) {
        self.blobs.clear();
    }

    /// Reads a head. Of one that is bad, and of one that cannot be read, all that counts is what it takes away.
    ///
    /// # Errors
    /// [`SourceError::Unread`] if not even that can be told: what cannot be read is never taken for an empty list.
    pub async fn take(
        &mut self,
        source: &dyn Source,
        head: &Commit,
        known: &Known,
        targets: &Targets,
        policy: &Policy,
    ) -> Result<Intake, SourceError> {
        let since = known.since.as_ref();
        let (bearing, deletions) = match self.read(source, head, known, targets, policy).await {
            Err(SourceError::Bad(why)) => {
                let deletions = source.deletions(head, since).await.map_err(|error| {
                    SourceError::Unread(format!("{why}; and what it deletes cannot be told: {error}"))
                })?;
                (Bearing::Bad(why), deletions)
            }
            // What was fetched is here: what is missing is damaged, or out of reach for now.
            Err(SourceError::Unread(why) | SourceError::Missing(why)) => {
                // What it will take away as soon as it is read, and nothing beyond: the trouble may be gone in a moment.
                let line = source.log(head, since).await;
                let gone = match line {
                    Ok(Log { descends: true, changes }) => Ok(changes),
                    Ok(Log { descends: false, .. }) => source.deletions(head, since).await,
                    Err(error) => Err(error),
                };
                let gone = gone.map_err(|_| SourceError::Unread(why.clone()))?;
                (Bearing::Unread(why), gone)
            }
            other => return other,
        };
        Ok(Intake {
            head: head.clone(),
            bearing,
            files: Vec::new(),
            present: BTreeMap::new(),
            findings: Vec::new(),
            changes: Vec::new(),
            deletions: Deletions::new(&deletions),
            chains: BTreeMap::new(),
            proofs: BTreeMap::new(),
            footing: Footing::Idle,
            at: known.now,
        })
    }

    /// Reads everything that a commit holds. The cost: one walk of the tree, the blobs that are new, one `git log` over the
    /// commits since the accepted head, and the proofs of those that matter and are not known yet.
    async fn read(
        &mut self,
        source: &dyn Source,
        head: &Commit,
        known: &Known,
        targets: &Targets,
        policy: &Policy,
    ) -> Result<Intake, SourceError> {
        let tree = source.tree(head).await?;
        let log = source.log(head, known.since.as_ref()).await?;
        self.learn(&log.changes);
        let good = log.descends && !known.frozen;
        let deletions = if good { Vec::new() } else { source.deletions(head, known.since.as_ref()).await? };
        let present = present(&tree);
        let mut findings = tree.findings;
        let mut fitting = Vec::new();
        for entry in &tree.entries {
            if entry.size > LONGEST as u64 {
                let message = format!("the file has {} bytes; a grant has at most 64 KiB", entry.size);
                findings.push(Finding::error(&entry.path, None, message, "split it into several grants"));
            } else {
                fitting.push(entry);
            }
        }
        let unread: BTreeSet<Oid> = fitting
            .iter()
            .filter(|entry| !self.blobs.contains_key(&entry.blob))
            .map(|entry| entry.blob.clone())
            .collect();
        let unread: Vec<Oid> = unread.into_iter().collect();
        let contents = source.blobs(&unread).await?;
        if contents.len() != unread.len() {
            return Err(SourceError::Unread(format!("{} of {} files were read", contents.len(), unread.len())));
        }
        for (oid, bytes) in unread.iter().zip(contents) {
            let parsed = parse(&bytes, targets, policy);
            let page = Page { grant: parsed.grant.map(Arc::new), findings: parsed.findings };
            self.blobs.insert(oid.clone(), Arc::new(page));
        }
        let touched: BTreeSet<&Text> =
            log.changes.iter().flat_map(|change| change.files.iter().map(|(path, _)| path)).collect();
        let mut chains = chains_of(&known.past, &log.changes);
        let mut filed = Vec::new();
        let mut lost = BTreeSet::new();
        for entry in fitting {
            let Some(page) = self.blobs.get(&entry.blob) else { continue };
            for finding in &page.findings {
                findings.push(Finding { path: entry.path.clone(), ..finding.clone() });
            }
            let id = match stem(&entry.path) {
                Ok(id) => id,
                Err(why) => {
                    findings.push(Finding::error(&entry.path, None, why.to_string(), "rename the file"));
                    continue;
                }
            };
            // Old files of grants that are over may lie in the tree for ever: nothing about them can change.
            let over = known.used.contains(&id);
            if over && !touched.contains(&entry.path) {
                continue;
            }
            let accepted = known
                .accepted
                .get(&entry.path)
                .filter(|(blob, _)| *blob == entry.blob)
                .map(|(_, origin)| origin.clone());
            let proven = known.prior.contains(&id) || chains.contains_key(&id) && !known.adopted;
            let unproven = accepted.is_none() && !over && !proven;
            let origin = accepted.or_else(|| self.origins.get(&(entry.path.clone(), entry.blob.clone())).cloned());
            if origin.is_none() || unproven {
                lost.insert(id);
            }
            if let Some(grant) = &page.grant {
                filed.push((entry, grant.clone(), origin, over));
            }
        }
        if !lost.is_empty() {
            // A file that was not accepted in its own time: its commits lie further back.
            let all = source.log(head, None).await?;
            self.learn(&all.changes);
            let whole = Past { verified: known.past.verified.clone(), ..Past::default() };
            for (id, mut chain) in chains_of(&whole, &all.changes).into_iter().filter(|(id, _)| lost.contains(id)) {
                match known.past.withheld.get(&id) {
                    // Another history frees nothing: what was withheld before must pass as well.
                    Some(before) if known.adopted => {
                        let news = std::mem::replace(&mut chain.links, before.links.clone());
                        join(&mut chain.links, &news);
                    }
                    Some(_) => continue,
                    None => {}
                }
                chains.insert(id, chain);
            }
        }
        let files = filed.into_iter().filter_map(|(entry, grant, origin, late)| {
            let origin = origin.or_else(|| self.origins.get(&(entry.path.clone(), entry.blob.clone())).cloned());
            let Some(Origin { commit, author, committed }) = origin else {
                let message = "no commit on the first-parent line brought this content";
                findings.push(Finding::error(&entry.path, None, message, "merge a new commit that changes the file"));
                return None;
            };
            Some(Filed { path: entry.path.clone(), blob: entry.blob.clone(), grant, commit, author, committed, late })
        });
        let files = files.collect();
        let blobs: BTreeSet<&Oid> = tree.entries.iter().map(|entry| &entry.blob).collect();
        self.blobs.retain(|blob, _| blobs.contains(blob));
        self.origins.retain(|(_, blob), _| blobs.contains(blob));
        findings.sort();
        let (proofs, footing) = match good {
            true => prove(source, &log.changes, &chains, known, policy).await?,
            false => (BTreeMap::new(), Footing::Idle),
        };
        Ok(Intake {
            head: head.clone(),
            bearing: if log.descends { Bearing::Follows } else { Bearing::Strays },
            files,
            present,
            findings,
            changes: log.changes,
            deletions: Deletions::new(&deletions),
            chains,
            proofs,
            footing,
            at: known.now,
        })
    }

    fn learn(&mut self, changes: &[Change]) {
        for Change { commit, author, committed, parents: _, files } in changes {
            for (path, blob) in files {
                if let Some(blob) = blob {
                    let origin = Origin { commit: commit.clone(), author: author.clone(), committed: *committed };
                    self.origins.insert((path.clone(), blob.clone()), origin);
                }
            }
        }
    }
}

/// What stands behind the commits that matter: as it was found before under the same trust, or found now.
async fn prove(
    source: &dyn Source,
    changes: &[Change],
    chains: &BTreeMap<GrantId, Chain>,
    known: &Known,
    policy: &Policy,
) -> Result<(BTreeMap<Commit, Proof>, Footing), SourceError> {
    if !policy.trust.proves() {
        return Ok((BTreeMap::new(), Footing::Named("".into())));
    }
    let trust = match source.trust() {
        Ok(trust) => trust,
        Err(why) => return Ok((BTreeMap::new(), Footing::Broken(why))),
    };
    let matters = chains.iter().filter(|(id, _)| !known.used.contains(*id));
    let links = matters.flat_map(|(_, chain)| &chain.links).map(|link| &link.commit);
    let needed: BTreeSet<&Commit> = links.chain(&known.waiting).collect();
    let mut proofs = BTreeMap::new();
    let mut unknown = Vec::new();
    for commit in needed {
        let lasts =
            |proved: &&Proved| proved.trust == trust && proved.proof.until.is_none_or(|until| known.now < until);
        match known.proofs.get(commit).filter(lasts) {
            Some(proved) => drop(proofs.insert(commit.clone(), (*proved.proof).clone())),
            None => unknown.push(commit.clone()),
        }
    }
    // Oldest first is quick.
    let places: BTreeMap<&Commit, usize> =
        changes.iter().enumerate().map(|(place, change)| (&change.commit, place)).collect();
    unknown.sort_by_key(|commit| places.get(commit).copied());
    let made = match source.prove(&unknown, known.now).await {
        Ok(made) => made,
        Err(error) => return Ok((BTreeMap::new(), Footing::Broken(error.to_string()))),
    };
    proofs.extend(made.into_iter().map(|proof| (proof.commit.clone(), proof)));
    Ok((proofs, Footing::Named(trust)))
}

/// Whether a revision must be read again although the head is the same, which was first read at `since`: the trust has
/// changed, a forge was away, or what did not hold may hold by now. For the last it is read after twice as long each time,
/// at most every 5 minutes.
pub fn outdated(intake: &Intake, source: &dyn Source, policy: &Policy, since: Timestamp, now: Timestamp) -> bool {
    const LONGEST: SignedDuration = SignedDuration::from_mins(5);
    if !policy.trust.proves() || intake.footing == Footing::Idle {
        return false;
    }
    if intake.footing != source.trust().map_or_else(Footing::Broken, Footing::Named) {
        return true;
    }
    let away = intake.proofs.values().any(|proof| matches!(proof.forge, Said::Away(_)));
    let pause = intake.at.duration_since(since).min(LONGEST);
    let lapsed = intake.proofs.values().any(|proof| proof.until.is_some_and(|until| until <= now));
    away || lapsed || !intake.proofs.values().all(Proof::holds) && now.duration_since(intake.at) >= pause
}
