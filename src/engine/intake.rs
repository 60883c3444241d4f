//! From a commit to an [`Intake`]: tree, blobs, parsed once each, and who changed what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    decide::{Filed, Intake, LONGEST, Targets, parse, stem},
    model::{Change, Commit, Finding, Grant, Ledger, Oid, Policy, Source, SourceError, Text},
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
    since: Option<Commit>,
    accepted: BTreeMap<Text, (Oid, Origin)>,
    used: BTreeSet<Text>,
}

impl Known {
    pub fn new(ledger: &Ledger) -> Self {
        let accepted = ledger.grants.values().map(|terms| {
            // The commit date counts only until a grant is accepted.
            let origin = Origin {
                commit: terms.origin.commit.clone(),
                author: terms.origin.author.clone(),
                committed: terms.start,
            };
            (terms.path.clone(), (terms.blob.clone(), origin))
        });
        Self {
            since: ledger.head.clone(),
            accepted: accepted.collect(),
            used: ledger.used.keys().map(|id| id.as_str().into()).collect(),
        }
    }
}

impl Librarian {
    /// Drops what the policy had a part in.
    pub fn forget(&mut self) {
        self.blobs.clear();
    }

    /// Reads everything that a commit holds. The cost: one walk of the tree, the blobs that are new, and one `git log` over
    /// the commits since the accepted head.
    pub async fn take(
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
        for (oid, bytes) in unread.iter().zip(source.blobs(&unread).await?) {
            let parsed = parse(&bytes, targets, policy);
            let page = Page { grant: parsed.grant.map(Arc::new), findings: parsed.findings };
            self.blobs.insert(oid.clone(), Arc::new(page));
        }
        let touched: BTreeSet<&Text> =
            log.changes.iter().flat_map(|change| change.files.iter().map(|(path, _)| path)).collect();
        let mut filed = Vec::new();
        let mut lost = false;
        for entry in fitting {
            let Some(page) = self.blobs.get(&entry.blob) else { continue };
            for finding in &page.findings {
                findings.push(Finding { path: entry.path.clone(), ..finding.clone() });
            }
            let Some(grant) = &page.grant else { continue };
            // Old files of grants that are over may lie in the tree for ever: nothing about them can change.
            let over = stem(&entry.path).is_ok_and(|id| known.used.contains(id.as_str()));
            if over && !touched.contains(&entry.path) {
                continue;
            }
            let accepted = known
                .accepted
                .get(&entry.path)
                .filter(|(blob, _)| *blob == entry.blob)
                .map(|(_, origin)| origin.clone());
            let origin = accepted.or_else(|| self.origins.get(&(entry.path.clone(), entry.blob.clone())).cloned());
            lost |= origin.is_none();
            filed.push((entry, grant.clone(), origin, over));
        }
        if lost {
            // A file that was not accepted in its own time: its commit lies further back.
            let all = source.log(head, None).await?;
            self.learn(&all.changes);
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
        let present: BTreeSet<&Oid> = tree.entries.iter().map(|entry| &entry.blob).collect();
        self.blobs.retain(|blob, _| present.contains(blob));
        self.origins.retain(|(_, blob), _| present.contains(blob));
        findings.sort();
        Ok(Intake {
            head: head.clone(),
            descends: log.descends,
            refused: tree.refused,
            files,
            findings,
            changes: log.changes,
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
