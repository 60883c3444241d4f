//! What a host says, and what it comes to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    aws::Fault,
    model::{Fate, Seen, Trouble, TroubleKind},
};

/// What is known of one host after a command.
#[derive(Debug, Clone)]
pub enum Told {
    Answer(Value),
    Fault(Fault),
    /// The instance is terminated.
    Gone,
}

impl Told {
    pub fn fate(self) -> Fate {
        let answer = match self {
            Self::Answer(answer) => answer,
            Self::Gone => return Fate::Gone,
            Self::Fault(fault) if fault.refused => return Fate::Failed(fault.trouble),
            Self::Fault(fault) => return Fate::Unknown(fault.trouble),
        };
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
        let detail = text("detail");
        let failed = |kind, what: &str| {
            let more = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            Trouble::new(kind, format!("{what}{more}"))
        };
        match text("result") {
            "done" => Fate::Done,
            "standing" => Fate::Standing,
            "absent" => Fate::Absent,
            "late" => {
                Fate::Failed(failed(TroubleKind::Unreachable, "it reached the host too late; nothing was changed"))
            }
            "no-such-user" => Fate::Failed(failed(TroubleKind::Gone, "the host's domain knows no such user")),
            "domain-controller" => Fate::Failed(failed(TroubleKind::Denied, DOMAIN_CONTROLLER)),
            _ => Fate::Unknown(failed(TroubleKind::Broken, "the host could not do it")),
        }
    }
}

const DOMAIN_CONTROLLER: &str =
    "the host is a domain controller: it has no local groups, and its Administrators are the domain's";

/// A host's local administrators, and our markers there.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// SIDs.
    members: BTreeSet<String>,
    /// Names in lower case, where the host has one, with the SID.
    names: BTreeMap<String, String>,
    /// By user: SID and end.
    marks: BTreeMap<String, (String, Timestamp)>,
}

impl Listing {
    pub fn read(answer: &Value) -> Result<Self, Trouble> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match answer.get("result").and_then(Value::as_str) {
            Some("done") => {}
            Some("domain-controller") => return Err(Trouble::new(TroubleKind::Denied, DOMAIN_CONTROLLER)),
            _ => {
                let detail = text(answer, "detail").unwrap_or_default();
                return Err(Trouble::new(
                    TroubleKind::Broken,
                    format!("the host could not list its administrators: {detail}"),
                ));
            }
        }
        let list = |key: &str| {
            answer
                .get(key)
                .and_then(Value::as_array)
                .ok_or_else(|| Trouble::new(TroubleKind::Broken, format!("the host's answer has no `{key}`")))
        };
        let mut all = Self::default();
        for member in list("members")? {
            let Some(sid) = text(member, "sid") else { continue };
            if let Some(name) = text(member, "name") {
                all.names.insert(name.to_ascii_lowercase(), sid.clone());
            }
            all.members.insert(sid);
        }
        for mark in list("marks")? {
            let (user, sid, until) = (text(mark, "user"), text(mark, "sid"), text(mark, "until"));
            // A marker without a good end is not one of ours.
            if let (Some(user), Some(sid), Some(Ok(until))) = (user, sid, until.map(|until| until.parse::<Timestamp>()))
            {
                all.marks.insert(user.to_ascii_lowercase(), (sid, until));
            }
        }
        Ok(all)
    }

    pub fn seen(&self, user: &str) -> Seen {
        match (self.marks.get(user), self.names.get(user)) {
            (Some((sid, until)), _) if self.members.contains(sid) => Seen::Present { ours: Some(*until) },
            (_, Some(_)) => Seen::Present { ours: None },
            _ => Seen::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(members: Value, marks: Value) -> Listing {
        Listing::read(&json!({ "result": "done", "members": members, "marks": marks })).unwrap()
    }

    #[test]
    fn a_marker_counts_only_with_its_member_and_a_member_without_one_is_not_ours() {
        let until: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let mark = json!([{ "sid": "S-1", "user": r"corp\jdoe", "until": "2026-11-21T02:00:00Z", "grants": "a" }]);
        let jdoe = json!([{ "sid": "S-1", "name": r"CORP\JDoe" }, { "sid": "S-9", "name": null }]);
        assert_eq!(listing(jdoe.clone(), mark.clone()).seen(r"corp\jdoe"), Seen::Present { ours: Some(until) });
        assert_eq!(listing(jdoe.clone(), json!([])).seen(r"corp\jdoe"), Seen::Present { ours: None });
        assert_eq!(listing(json!([]), mark.clone()).seen(r"corp\jdoe"), Seen::Absent, "somebody took it away");
        // The account was deleted: a bare SID is left, and the marker knows whose it is.
        let orphan = json!([{ "sid": "S-1", "name": null }]);
        assert_eq!(listing(orphan, mark.clone()).seen(r"corp\jdoe"), Seen::Present { ours: Some(until) });
        // Made anew under the same name: another SID, which is not ours.
        let anew = json!([{ "sid": "S-2", "name": r"CORP\jdoe" }]);
        assert_eq!(listing(anew, mark).seen(r"corp\jdoe"), Seen::Present { ours: None });
        assert_eq!(listing(jdoe, json!([])).seen(r"corp\maria"), Seen::Absent);
    }

    #[test]
    fn an_answer_without_its_parts_is_not_believed() {
        for answer in [
            json!({}),
            json!({ "result": "done" }),
            json!({ "result": "done", "members": [] }),
            json!({ "result": "done", "members": {}, "marks": [] }),
            json!({ "result": "failed", "detail": "no" }),
        ] {
            assert_eq!(Listing::read(&answer).unwrap_err().kind, TroubleKind::Broken, "{answer}");
        }
        let bad = listing(json!([{ "name": r"CORP\x" }]), json!([{ "sid": "S-1", "user": "x", "until": "soon" }]));
        assert!(bad.members.is_empty() && bad.marks.is_empty());
    }

    #[test]
    fn results_are_fates() {
        let fate = |result: &str| Told::Answer(json!({ "result": result, "detail": "why" })).fate();
        assert_eq!(["done", "standing", "absent"].map(fate), [Fate::Done, Fate::Standing, Fate::Absent]);
        for (result, kind) in [
            ("late", TroubleKind::Unreachable),
            ("no-such-user", TroubleKind::Gone),
            ("domain-controller", TroubleKind::Denied),
        ] {
            assert!(matches!(fate(result), Fate::Failed(trouble) if trouble.kind == kind), "{result}");
        }
        // Nobody knows what a script did that broke off, or that says what we do not know.
        for result in ["failed", "Done", ""] {
            assert!(matches!(fate(result), Fate::Unknown(_)), "{result}");
        }
    }
}
