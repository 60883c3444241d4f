//! Whether the changes of a file pass what is asked of it. Pure: the proofs are facts, the judgement is made here, again and
//! again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Commit, Lacks, Link, Proof, Review, Said, Signature, Signer, Text, Trust, Trusted, Vouched};

use super::demand::Demand;

/// Why a file does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub what: Lacks,
    /// A sentence.
    pub why: String,
}

impl Lack {
    /// The same, said otherwise.
    fn said(self, say: impl FnOnce(&str) -> String) -> Self {
        Self { why: say(&self.why), ..self }
    }
}

impl<T: Into<String>> From<T> for Lack {
    fn from(why: T) -> Self {
        Self { what: Lacks::Proof, why: why.into() }
    }
}

/// The most changes of a file that are judged together, those that it took over by a rename among them.
pub const MOST: usize = 100;

/// Judges each link; the answer is the verdict on the last one. The error is a sentence: which commit does not pass, and why.
pub fn vouch(
    links: &[Link],
    proofs: &BTreeMap<Commit, Proof>,
    demand: &Demand,
    trusted: &Trusted,
    now: Timestamp,
) -> Result<Vouched, Lack> {
    // A key may end between two looks.
    let good = |commit| proofs.get(commit).filter(|proof| proof.until.is_none_or(|until| now < until));

    let mut vouched = Vouched { rules: demand.rules.clone(), ..Vouched::default() };
    // Where nothing has to be proven, nothing is gained by counting. Anywhere else a rule may ask for more than this file's own
    // level, by a path that is told no more.
    if trusted.proves() && (links.len() > MOST || links.iter().any(|link| link.beyond)) {
        return Err(format!(
            "more than {MOST} changes of the file, or of those that it was renamed from, were not accepted: delete it, and add it again reviewed"
        )
        .into());
    }
    for link in links {
        let short = link.commit.short();
        vouched = Case { link, demand, trusted }
            .judge(good(&link.commit))
            .map_err(|lack| lack.said(|why| format!("{short} {why}")))?;
    }
    Ok(vouched)
}

struct Case<'a> {
    link: &'a Link,
    demand: &'a Demand,
    trusted: &'a Trusted,
}

impl Case<'_> {
    fn judge(&self, proof: Option<&Proof>) -> Result<Vouched, Lack> {
        let Self { link, demand, trusted } = self;
        let Demand { level, approvals, approvers: _, interested: _, rules } = demand;
        if link.parents > 2 {
            return Err("merges more than two lines at once: merge them one by one".into());
        }
        let mut vouched = Vouched { level: *level, rules: rules.clone(), ..Vouched::default() };
        if *level == Trust::Branch {
            return Ok(vouched);
        }
        let proof = proof.ok_or("has not been verified yet")?;
        let key = match &proof.signature {
            Signature::By(key) => key,
            Signature::Bad(why) => return Err(why.to_string().into()),
        };
        if let Some(why) = &proof.unsigned {
            return Err(format!("brought in a commit that does not count: {why}").into());
        }
        let by_forge = trusted.merge_keys.contains(key);
        let review = self.review(proof);
        // The forge signs whatever its users click and write in its pages: alone that proves nothing.
        if by_forge || proof.signers.iter().any(|key| trusted.merge_keys.contains(key)) {
            review.clone().map_err(|lack| {
                lack.said(|why| format!("is signed with the forge's own key, which counts only with its record: {why}"))
            })?;
        }
        vouched.signer = Some(Signer { key: key.clone(), person: trusted.signer(key).cloned() });
        vouched.askers = proof.signers.iter().map(|key| self.person(key)).collect();
        if proof.parents < 2 && !by_forge {
            vouched.askers.insert(self.person(key));
        }
        if let Ok(review) = &review {
            vouched.request = Some(review.number);
            vouched.merger = review.merger.map(|id| self.user(id));
            vouched.askers.extend(review.authors.iter().map(|id| self.user(*id)));
        }
        let clicked = proof.parents < 2 && by_forge || proof.signers.iter().any(|key| trusted.merge_keys.contains(key));
        if *level == Trust::Signed {
            // No person's key is on it: then a person's review must be.
            let reviewed = review.as_ref().is_ok_and(|review| !self.by_forge(review, &vouched.askers).is_empty());
            if clicked && !reviewed {
                return Err(
                    "is signed with the forge's own key alone: it takes a person's key, or a review that counts".into(),
                );
            }
            return Ok(vouched);
        }
        let mut approving = BTreeSet::new();
        let (mut lacks, mut what) = (Vec::new(), Lacks::Proof);
        match self.by_signature(proof, by_forge, &vouched.askers) {
            Ok(person) => approving.extend([person]),
            Err(why) => lacks.push(why),
        }
        match review {
            Ok(review) => {
                let count = approving.len();
                approving.extend(self.by_forge(review, &vouched.askers));
                if approving.len() == count {
                    lacks.push(format!("no review of #{} counts: it takes somebody in `people` who may approve, and neither asks, signs nor benefits", review.number));
                }
            }
            Err(lack) => {
                what = lack.what;
                lacks.push(lack.why);
            }
        }
        if approving.len() < *approvals {
            let so_far = if approving.is_empty() {
                "nobody".to_owned()
            } else {
                approving.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
            };
            let why = format!("is approved by {so_far}, and needs {approvals}: {}", lacks.join("; "));
            return Err(Lack { what, why });
        }
        vouched.approvers = approving;
        Ok(vouched)
    }

    /// Whether the file, or a folder above it that could not be compared, is among those that differ.
    fn among(&self, differs: &[Text]) -> bool {
        let below = |folder: &Text| self.link.path.strip_prefix(&**folder).is_some_and(|rest| rest.starts_with('/'));
        differs.iter().any(|one| *one == self.link.path || below(one))
    }

    /// The record of the forge, if it covers this file.
    fn review<'p>(&self, proof: &'p Proof) -> Result<&'p Review, Lack> {
        match &proof.forge {
            Said::Unasked => Err("no forge is configured".into()),
            Said::Away(_) => Err(Lack { what: Lacks::Forge, why: "the forge does not answer".into() }),
            Said::Missing(why) => Err(why.to_string().into()),
            Said::Review(review) if self.among(&review.differs) => {
                Err(format!("the file is not as it was approved in #{}", review.number).into())
            }
            Said::Review(review) => Ok(review),
        }
    }

    /// Two people by their keys: one signed all that was merged, another one signed the merge and changed nothing in it.
    fn by_signature(&self, proof: &Proof, by_forge: bool, askers: &BTreeSet<Text>) -> Result<Text, String> {
        let Signature::By(key) = &proof.signature else { return Err("it is not signed".into()) };
        if proof.parents != 2 || by_forge {
            return Err("it is no merge that an approver signed".into());
        }
        if self.among(&proof.differs) {
            return Err(
                "the merge has the file not as the branch made it, or the branch renamed what is no grant file".into(),
            );
        }
        let Some(approver) = self.trusted.signer(key) else {
            return Err(format!("the key {key} on the merge is nobody's in `people`"));
        };
        let mut signers = proof.signers.iter().map(|key| self.trusted.signer(key));
        match (signers.next(), proof.signers.len()) {
            (None, _) => return Err("it brought in no commit".into()),
            (Some(None), _) => return Err("the branch is signed by a key that is nobody's in `people`".into()),
            (Some(first), _) if signers.any(|signer| signer != first) => {
                return Err("the branch is not signed by one person alone".into());
            }
            _ => {}
        }
        self.may(approver, askers).then(|| approver.clone()).ok_or_else(|| {
            format!("{approver} signed the merge, and cannot approve it: asks, benefits, or is not among those who may")
        })
    }

    fn by_forge(&self, review: &Review, askers: &BTreeSet<Text>) -> BTreeSet<Text> {
        let ids = review.approvers.difference(&review.authors);
        let people = ids.filter_map(|id| self.trusted.user(*id));
        people.filter(|person| self.may(person, askers)).cloned().collect()
    }

    fn may(&self, person: &Text, askers: &BTreeSet<Text>) -> bool {
        let listed = self.demand.approvers.as_ref().is_none_or(|may| may.contains(person));
        listed && !askers.contains(person) && !self.demand.interested.contains(person)
    }

    fn person(&self, key: &crate::model::Key) -> Text {
        self.trusted.signer(key).cloned().unwrap_or_else(|| key.to_string().into())
    }

    fn user(&self, id: u64) -> Text {
        self.trusted.user(id).cloned().unwrap_or_else(|| format!("user {id}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_compared_differs_with_all_that_is_below() {
        let link = Link { commit: Commit("c".into()), parents: 2, path: "grants/prod/a.yaml".into(), beyond: false };
        let demand = Demand {
            level: Trust::Approved,
            approvals: 1,
            approvers: None,
            interested: BTreeSet::new(),
            rules: Vec::new(),
        };
        let case = Case { link: &link, demand: &demand, trusted: &Trusted::default() };
        for differs in ["grants", "grants/prod", "grants/prod/a.yaml"] {
            assert!(case.among(&[differs.into()]), "{differs}");
        }
        for differs in ["grants/pro", "grants/prod/a.yam", "grants/prod/b.yaml", "rants"] {
            assert!(!case.among(&[differs.into()]), "{differs}");
        }
    }

    #[test]
    fn a_proof_counts_until_the_first_of_its_keys_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let commit = Commit("c".repeat(40).into());
        let links = [Link { commit: commit.clone(), parents: 1, path: "grants/a.yaml".into(), beyond: false }];
        let key = format!("SHA256:{}", "a".repeat(43)).parse().unwrap();
        let proof = Proof {
            commit: commit.clone(),
            parents: 1,
            signature: Signature::By(key),
            signers: BTreeSet::new(),
            unsigned: None,
            differs: Vec::new(),
            forge: Said::Unasked,
            until: Some(at(100)),
        };
        let (level, interested, rules) = (Trust::Signed, BTreeSet::new(), Vec::new());
        let demand = Demand { level, approvals: 1, approvers: None, interested, rules };
        let vouch = |now| vouch(&links, &[(commit.clone(), proof.clone())].into(), &demand, &Trusted::default(), now);
        assert!(vouch(at(99)).is_ok());
        assert!(vouch(at(100)).unwrap_err().why.contains("has not been verified yet"));
    }
}
