//! The table of the design: wanted, owned and seen to steps. Pure; the executor has nothing left to choose.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::{
    AskId, Attempt, Binding, Cause, GrantId, Hold, Ledger, Note, Off, Origin, Owned, Plan, Policy, Record, Seen, Span,
    Stamp, Stated, Step, Survey, Text, Verb,
};

use super::{
    Targets,
    desire::{Want, Wanted, earliest, end_of},
    moment, protects,
};

/// How long after our last write an absence has to be read before the binding is forgotten: AWS may answer with an older
/// state for minutes.
pub const SETTLE: Span = Span::minutes(5);
/// How old a look may be to count as "read just before": older than this, a grant is read for again.
pub const FRESH: Span = Span::minutes(1);
/// How long a look may take and still say what was there just before. A slower one is no ground to call anything ours.
pub(super) const PATIENCE: Span = Span::minutes(10);
/// How long after its intent a grant or renewal may still be sent.
pub(super) const ACT_BY: Span = Span::minutes(10);

/// What is told of access that somebody took away.
pub(super) const DRIFT: &str = "drift: removed by somebody else";

pub(super) fn note(binding: &Binding, plan: &mut Plan, text: String) {
    plan.notes.push(Note { binding: binding.clone(), text });
}

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
    /// Revocations that failed since the ledger's last line about them.
    pub tries: &'a BTreeMap<Binding, Attempt>,
    /// Why nothing may be granted or extended now, if so. Revocation goes on.
    pub standstill: Option<&'a str>,
    /// Nothing else stands in the way than that Git was asked for the first time and has neither answered nor failed to: for a while that
    /// is no reason to end what somebody asks for.
    pub unheard: bool,
    pub now: Timestamp,
    /// When the engine's time last went ahead by more than had passed.
    pub leapt: Timestamp,
}

/// Compares what is wanted with what is owned and seen. Takes over what is wanted beside access: notes and answers.
pub fn plan(ground: &Ground<'_>, wanted: &mut Wanted) -> Plan {
    let Ground { ledger, pending, .. } = ground;
    let (notes, records) = (std::mem::take(&mut wanted.notes), std::mem::take(&mut wanted.resolved));
    let mut plan = Plan { wake: wanted.edge, notes, records, unread: wanted.unread, ..Plan::default() };
    // Both are sorted: walked side by side, which is many times faster than to look each of the one up in the other.
    let mut ours = ledger.owned.iter().peekable();
    plan.steps.reserve_exact(ledger.owned.len().saturating_sub(wanted.bindings.len()));
    let unwanted = |binding: &Binding, owned: &Owned, plan: &mut Plan| {
        if !pending.contains(binding) {
            ground.end(binding, owned, plan);
        } else if !matches!(owned.hold, Hold::Revoking { .. }) {
            plan.off.push(binding.clone());
        }
    };
    for (binding, want) in &wanted.bindings {
        while let Some((before, owned)) = ours.next_if(|(other, _)| *other < binding) {
            unwanted(before, owned, &mut plan);
        }
        let owned = ours.next_if(|(other, _)| *other == binding);
        if pending.contains(binding) {
            // A call that gives nobody more than there is goes on.
            let gives = |owned: &Owned| match &owned.hold {
                Hold::Renewing { call, .. } => call.until > owned.until,
                hold => hold.call().is_some(),
            };
            let longer = |owned: &Owned| owned.hold.call().is_some_and(|call| call.until > want.until);
            if owned.is_some_and(|(_, owned)| gives(owned) && (want.barred.is_some() || longer(owned))) {
                plan.off.push(binding.clone());
            }
            continue;
        }
        match owned {
            None => ground.fresh_want(binding, want, &mut plan),
            Some((_, owned)) => ground.ours(binding, want, owned, &mut plan),
        }
    }
    ours.for_each(|(binding, owned)| unwanted(binding, owned, &mut plan));
    // What is only remembered about bindings that nobody asks for any more.
    let idle = unasked(ledger.standing.keys(), wanted);
    let idle = idle.chain(unasked(ledger.refused.keys(), wanted)).chain(unasked(ledger.gone.keys(), wanted));
    for binding in idle.filter(|binding| !ledger.owned.contains_key(*binding)) {
        let because = "no longer asked for".into();
        plan.records.push(Record::Forget { binding: binding.clone(), because, stamp: Stamp::default() });
    }
    let shorter = |step: &Step| {
        step.verb == Verb::Revoke
            || ledger.owned.get(&step.binding).is_some_and(|owned| step.verb == Verb::Renew && step.until < owned.until)
    };
    // Revocations first; a renewal to an earlier end is one.
    // No two are equal, and in place: there may be half a million.
    plan.steps.sort_unstable_by(|a, b| (!shorter(a), a.verb, &a.binding).cmp(&(!shorter(b), b.verb, &b.binding)));
    plan.notes.sort_unstable();
    plan
}

/// Those that nobody wants. Both are sorted: walked side by side.
fn unasked<'a>(known: impl Iterator<Item = &'a Binding>, wanted: &Wanted) -> impl Iterator<Item = &'a Binding> {
    let mut wants = wanted.bindings.iter().map(|(binding, _)| binding).peekable();
    known.filter(move |binding| {
        while wants.next_if(|other| other < binding).is_some() {}
        wants.peek() != Some(binding)
    })
}

impl Ground<'_> {
    /// Wanted and not ours.
    fn fresh_want(&self, binding: &Binding, want: &Want, plan: &mut Plan) {
        let seen = self.survey.fresh(binding, FRESH.before(self.now), PATIENCE);
        let note = |plan: &mut Plan, text: String| note(binding, plan, text);
        if let Some(since) = self.ledger.gone.get(binding)
            && !self.anew(binding, want, *since)
        {
            return note(plan, "its place no longer exists".into());
        }
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
            && attempt.same(want.until)
            && attempt.next_gain() > self.now
        {
            plan.wake = earliest(plan.wake, attempt.next_gain());
            return note(
                plan,
                format!(
                    "not granted yet: {} (attempt {}, next at {})",
                    attempt.trouble,
                    attempt.count,
                    moment(attempt.next_gain())
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
                plan.unread += 1;
                self.look_again(binding, plan);
                note(plan, format!("not granted yet: it cannot be read: {trouble}"));
            }
            Seen::Gone => {
                plan.records.push(Record::Gone { binding: binding.clone(), stamp: self.stamp(want) });
                note(plan, "its place no longer exists".into());
            }
        }
    }

    /// Wanted, and ours or may be.
    fn ours(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let drifted = matches!(owned.hold, Hold::Drifted { .. });
        match self.without_lost(want, owned) {
            // Who may not begin now keeps nobody else's access: that ends as if it were not wanted.
            Some(want) if self.goes_on(&want, owned) => self.keep(binding, &want, owned, plan),
            // Taken away by hand from all who want it: it stays so.
            None | Some(_) if drifted => self.keep_away(binding, want, owned, plan),
            None => {
                note(binding, plan, DRIFT.into());
                self.end(binding, owned, plan);
            }
            Some(_) => self.end(binding, owned, plan),
        }
    }

    /// What is wanted by those from whom nobody took it by hand; of all where that is given back.
    fn without_lost<'w>(&self, want: &'w Want, owned: &Owned) -> Option<Cow<'w, Want>> {
        if self.policy.restore || !want.holders.iter().any(|(grant, ask)| owned.lost.contains(grant, ask)) {
            return Some(Cow::Borrowed(want));
        }
        let holders = want.holders.without(&owned.lost);
        let ends = holders.keys().filter_map(|id| {
            let terms = self.ledger.grants.get(id)?;
            Some((end_of(id, terms, self.policy), id))
        });
        let (until, last) = ends.max_by_key(|(end, id)| (*end, Reverse(*id)))?;
        let barred = |(grant, ask): (&GrantId, &AskId)| {
            let ask = self.ledger.grants.get(grant)?.asks.get(ask)?;
            protects(&self.policy.limits.protected, ask).map(|(_, why)| why.into())
        };
        // One holder that may is enough.
        let barred: Option<Vec<Text>> = holders.iter().map(barred).collect();
        let barred = barred.and_then(|whys| whys.into_iter().min());
        let last = last.clone();
        Some(Cow::Owned(Want { until, last, holders, barred }))
    }

    /// Whether what is ours stays for those who want it: they have it already, or may have it now.
    fn goes_on(&self, want: &Want, owned: &Owned) -> bool {
        let free = self.standstill.is_none() && want.barred.is_none();
        let had = owned.had.as_ref().map_or(&owned.holders, |had| &had.holders);
        let unheard = self.unheard && want.barred.is_none() && !matches!(owned.hold, Hold::Revoking { .. });
        free || unheard || want.holders.iter().any(|(grant, ask)| had.contains(grant, ask))
    }

    /// Whether a holder's question was answered with the place after it was known to be gone.
    fn anew(&self, binding: &Binding, want: &Want, gone: Timestamp) -> bool {
        let place = binding.place();
        want.holders.iter().any(|(grant, ask)| {
            let resolved = self.ledger.grants.get(grant).and_then(|terms| terms.places.get(ask));
            resolved.is_some_and(|resolved| resolved.at > gone && resolved.places.iter().any(|known| **known == *place))
        })
    }

    pub(super) fn marks(&self, binding: &Binding) -> bool {
        self.targets.get(binding.surface()).is_some_and(|target| target.marks())
    }

    /// What could not be read is read again a minute after the last look.
    pub(super) fn look_again(&self, binding: &Binding, plan: &mut Plan) {
        let again = FRESH.after(self.survey.looked(binding).unwrap_or(self.now));
        if again <= self.now { plan.reads.push(binding.clone()) } else { plan.wake = earliest(plan.wake, again) }
    }

    pub(super) fn forget(&self, binding: &Binding, owned: &Owned, because: &str) -> Record {
        Record::Forget { binding: binding.clone(), because: because.into(), stamp: owned.stamp() }
    }

    /// The commit that matters is that of the grant with the latest end.
    pub(super) fn origin(&self, want: &Want) -> Option<&Arc<Origin>> {
        self.ledger.grants.get(&want.last).map(|terms| &terms.origin)
    }

    pub(super) fn stamp(&self, want: &Want) -> Stamp {
        Stamp::new(&want.holders, self.origin(want).map(AsRef::as_ref))
    }

    pub(super) fn step(&self, verb: Verb, binding: &Binding, want: &Want, cause: Cause, before: Seen) -> Step {
        let stated = match self.ledger.grants.get(&want.last) {
            Some(terms) if self.fresh.contains(&want.last) => {
                let ttl = terms.ttl.unwrap_or(self.policy.limits.default_ttl);
                Some(Box::new(Stated { from: terms.from, ttl, until: terms.stated }))
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
            nonce: None,
            stated,
            off: Off::default(),
        }
    }
}
