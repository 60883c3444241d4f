//! The table of the design: wanted, owned and seen to steps. Pure; the executor has nothing left to choose.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use crate::model::{
    Binding, Cause, GrantId, Landed, Ledger, Note, Origin, Owned, Plan, Policy, Record, Seen, Span, Stamp, Stated,
    Step, Survey, Verb,
};

use super::{
    Targets,
    desire::{Want, Wanted, earliest},
    fold::cause,
    moment,
};

/// How long after our last write an absence has to be read before the binding is forgotten: AWS may answer with an older
/// state for minutes.
pub const SETTLE: Span = Span::minutes(5);
/// How old a look may be to count as "read just before": older than this, a grant is read for again.
pub const FRESH: Span = Span::minutes(1);
/// How long a look may take and still say what was there just before. A slower one is no ground to call anything ours.
const PATIENCE: Span = Span::minutes(10);
/// How long after its intent a grant or renewal may still be sent.
const ACT_BY: Span = Span::minutes(10);

/// Everything that a plan depends on beside what is wanted.
pub struct Ground<'a> {
    pub ledger: &'a Ledger,
    pub survey: &'a Survey,
    pub targets: &'a Targets,
    pub policy: &'a Policy,
    /// Bindings with a call under way: left alone until its fate is known.
    pub pending: &'a BTreeSet<Binding>,
    /// Accepted in this very cycle: their ends depend on the time of day, so the digest covers their terms instead.
    pub fresh: &'a BTreeSet<GrantId>,
    /// Why nothing may be granted or extended now, if so. Revocation goes on.
    pub standstill: Option<&'a str>,
    pub now: Timestamp,
}

/// Compares what is wanted with what is owned and seen.
pub fn plan(ground: &Ground<'_>, wanted: &Wanted) -> Plan {
    let Ground { ledger, pending, .. } = ground;
    let mut plan = Plan { wake: wanted.edge, notes: wanted.notes.clone(), ..Plan::default() };
    // Both are sorted: walked side by side, which is many times faster than to look each of the one up in the other.
    let mut ours = ledger.owned.iter().peekable();
    let mut unwanted = Vec::new();
    for (binding, want) in &wanted.bindings {
        while let Some(before) = ours.next_if(|(other, _)| *other < binding) {
            unwanted.push(before);
        }
        let owned = ours.next_if(|(other, _)| *other == binding);
        if pending.contains(binding) {
            continue;
        }
        match owned {
            None => ground.fresh_want(binding, want, &mut plan),
            Some((_, owned)) => ground.keep(binding, want, owned, &mut plan),
        }
    }
    unwanted.extend(ours);
    for (binding, owned) in unwanted {
        if !pending.contains(binding) {
            ground.end(binding, owned, &mut plan);
        }
    }
    // What is only remembered about bindings that nobody asks for any more.
    for binding in ledger.standing.keys().chain(ledger.refused.keys()) {
        if !wanted.bindings.contains_key(binding) && !ledger.owned.contains_key(binding) {
            let because = "no longer asked for".into();
            plan.records.push(Record::Forget { binding: binding.clone(), because, stamp: Stamp::default() });
        }
    }
    let shorter = |step: &Step| {
        step.verb == Verb::Revoke
            || ledger.owned.get(&step.binding).is_some_and(|owned| step.verb == Verb::Renew && step.until < owned.until)
    };
    // Revocations first; a renewal to an earlier end is one.
    plan.steps.sort_by(|a, b| (!shorter(a), a.verb, &a.binding).cmp(&(!shorter(b), b.verb, &b.binding)));
    plan.notes.sort();
    plan
}

impl Ground<'_> {
    /// Wanted and not ours.
    fn fresh_want(&self, binding: &Binding, want: &Want, plan: &mut Plan) {
        let seen = self.survey.fresh(binding, FRESH.before(self.now), PATIENCE);
        let note = |plan: &mut Plan, text: String| plan.notes.push(Note { binding: binding.clone(), text });
        if let Some(why) = &want.barred {
            return note(plan, format!("not granted: {why}"));
        }
        if self.ledger.standing.contains_key(binding) && *seen != Seen::Absent {
            return note(plan, "standing access: not ours to remove".into());
        }
        if let Some(why) = self.standstill {
            return note(plan, format!("not granted: {why}"));
        }
        if let Some(attempt) = self.ledger.refused.get(binding)
            && attempt.next() > self.now
        {
            plan.wake = earliest(plan.wake, attempt.next());
            return note(
                plan,
                format!(
                    "not granted yet: {} (attempt {}, next at {})",
                    attempt.trouble,
                    attempt.count,
                    moment(attempt.next())
                ),
            );
        }
        match seen {
            Seen::Unread if !self.marks(binding) => plan.reads.push(binding.clone()),
            Seen::Unread | Seen::Absent | Seen::Present { ours: Some(_) } => {
                plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen.clone()));
            }
            Seen::Present { ours: None } => {
                plan.records.push(Record::Standing { binding: binding.clone(), stamp: self.stamp(want) });
                note(plan, "standing access: not ours to remove".into());
            }
            Seen::Blind(trouble) => {
                self.look_again(binding, plan);
                note(plan, format!("not granted yet: it cannot be read: {trouble}"));
            }
            Seen::Gone => note(plan, "its place no longer exists".into()),
        }
    }

    /// Wanted and ours, or may be.
    fn keep(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let note = |plan: &mut Plan, text: String| plan.notes.push(Note { binding: binding.clone(), text });
        if let Some(attempt) = &owned.attempt
            && attempt.next() > self.now
        {
            plan.wake = earliest(plan.wake, attempt.next());
            return note(
                plan,
                format!("{} (attempt {}, next at {})", attempt.trouble, attempt.count, moment(attempt.next())),
            );
        }
        let asked = owned.open.as_ref().map(|open| open.asked);
        let since = asked.max(owned.wrote).unwrap_or(Timestamp::MIN);
        let seen = self.survey.seen(binding, since);
        let certain = owned.landed == Landed::Yes && !owned.revoked && owned.open.is_none();
        if !certain {
            if let Some(why) = self.standstill {
                return note(plan, format!("of unknown fate: {why}"));
            }
            return match seen {
                _ if self.marks(binding) => {
                    plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen.clone()))
                }
                Seen::Unread => plan.reads.push(binding.clone()),
                Seen::Absent => plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen.clone())),
                // We took it away and saw it gone: whoever added it since, it was not us.
                Seen::Present { .. } if owned.revoked && owned.open.is_none() => {
                    plan.records.push(self.forget(binding, owned, "added by somebody else after it was revoked"));
                    plan.records.push(Record::Standing { binding: binding.clone(), stamp: self.stamp(want) });
                }
                // We confirmed it once, or it was absent just before our call: it is ours.
                Seen::Present { .. } => {
                    let intent = owned.open.as_ref().map_or(0, |open| open.intent);
                    plan.records.push(Record::Dispute { intent, binding: binding.clone(), stamp: owned.stamp() });
                }
                Seen::Blind(trouble) => {
                    self.look_again(binding, plan);
                    note(plan, format!("of unknown fate: {trouble}"));
                }
                Seen::Gone => plan.records.push(self.forget(binding, owned, "its place no longer exists")),
            };
        }
        if let (true, Seen::Present { ours }) = (owned.drifted, seen) {
            // Where we mark, what was added without our marker is not ours.
            let then = match (self.marks(binding), ours) {
                (true, None) => "there again without our marker: not ours to remove",
                _ => "there again: it ends with the grant",
            };
            note(plan, format!("drift: removed by somebody else, and {then}"));
        }
        // A marker may have whole seconds only.
        let otherwise = |end: &Timestamp| end.as_second() != want.until.as_second();
        let marked_otherwise = matches!(seen, Seen::Present { ours: Some(end) } if otherwise(end));
        match seen {
            Seen::Gone => plan.records.push(self.forget(binding, owned, "its place no longer exists")),
            Seen::Absent => {
                if !owned.drifted {
                    plan.records.push(Record::Drift { binding: binding.clone(), stamp: owned.stamp() });
                }
                if self.policy.restore && self.standstill.is_none() && want.barred.is_none() {
                    plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Drift, Seen::Absent));
                } else {
                    note(plan, "drift: removed by somebody else".into());
                }
            }
            Seen::Unread | Seen::Blind(_) if owned.drifted => note(plan, "drift: removed by somebody else".into()),
            _ if owned.until != want.until || marked_otherwise => {
                if want.until > owned.until && (self.standstill.is_some() || want.barred.is_some()) {
                    note(plan, "not extended: granting stands still, or an operator protects it".into());
                } else {
                    plan.steps.push(self.step(Verb::Renew, binding, want, Cause::EndMoved, seen.clone()));
                }
            }
            _ if owned.holders != want.holders => {
                let stamp = self.stamp(want);
                plan.records.push(Record::Join { binding: binding.clone(), holders: want.holders.clone(), stamp });
            }
            _ => {}
        }
    }

    /// Ours, or may be, and not wanted any more.
    fn end(&self, binding: &Binding, owned: &Owned, plan: &mut Plan) {
        let wrote = owned.wrote.unwrap_or(Timestamp::MIN);
        if owned.revoked && owned.open.is_none() {
            let settled = SETTLE.after(wrote);
            if self.now < settled {
                plan.wake = earliest(plan.wake, settled);
                return;
            }
            match self.survey.seen(binding, settled) {
                Seen::Absent => return plan.records.push(self.forget(binding, owned, "absent, and settled")),
                Seen::Gone => return plan.records.push(self.forget(binding, owned, "its place no longer exists")),
                Seen::Unread => return plan.reads.push(binding.clone()),
                Seen::Present { .. } => plan.notes.push(Note {
                    binding: binding.clone(),
                    text: "there again after it was revoked: somebody added it".into(),
                }),
                Seen::Blind(_) => {}
            }
        }
        if let Some(attempt) = &owned.attempt
            && attempt.next() > self.now
        {
            plan.wake = earliest(plan.wake, attempt.next());
            let text =
                format!("overdue: {} (attempt {}, next at {})", attempt.trouble, attempt.count, moment(attempt.next()));
            return plan.notes.push(Note { binding: binding.clone(), text });
        }
        let (cause, by) = cause(self.ledger, owned);
        plan.steps.push(Step {
            verb: Verb::Revoke,
            binding: binding.clone(),
            until: owned.until,
            holders: owned.holders.clone(),
            cause,
            act_by: None,
            before: self.survey.seen(binding, wrote).clone(),
            origin: by.cloned(),
            intent: 0,
            stated: None,
        });
    }

    fn marks(&self, binding: &Binding) -> bool {
        self.targets.get(binding.surface()).is_some_and(|target| target.marks())
    }

    /// What could not be read is read again a minute after the last look.
    fn look_again(&self, binding: &Binding, plan: &mut Plan) {
        let again = FRESH.after(self.survey.looked(binding).unwrap_or(self.now));
        if again <= self.now { plan.reads.push(binding.clone()) } else { plan.wake = earliest(plan.wake, again) }
    }

    fn forget(&self, binding: &Binding, owned: &Owned, because: &str) -> Record {
        Record::Forget { binding: binding.clone(), because: because.into(), stamp: owned.stamp() }
    }

    /// The commit that matters is that of the grant with the latest end.
    fn origin(&self, want: &Want) -> Option<&Arc<Origin>> {
        self.ledger.grants.get(&want.last).map(|terms| &terms.origin)
    }

    fn stamp(&self, want: &Want) -> Stamp {
        Stamp::new(&want.holders, self.origin(want).map(AsRef::as_ref))
    }

    fn step(&self, verb: Verb, binding: &Binding, want: &Want, cause: Cause, before: Seen) -> Step {
        let stated = match self.ledger.grants.get(&want.last) {
            Some(terms) if self.fresh.contains(&want.last) => {
                let ttl = terms.ttl.unwrap_or(self.policy.limits.default_ttl);
                Some(Stated { from: terms.from, ttl, until: terms.stated })
            }
            _ => None,
        };
        Step {
            verb,
            binding: binding.clone(),
            until: want.until,
            holders: want.holders.clone(),
            cause,
            act_by: Some(ACT_BY.after(self.now).min(want.until)),
            before,
            origin: self.origin(want).cloned(),
            intent: 0,
            stated,
        }
    }
}
