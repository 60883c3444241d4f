//! The table's rows of what is ours, or may be: kept, found out, renewed, given back, or ended. By state, one after the other.

use jiff::Timestamp;

use crate::model::{
    self, Attempt, Binding, Cause, Hold, Off, Owned, Plan, Recalled, Record, Seen, Span, Stamp, Step, Verb,
};

use super::{
    desire::{Want, earliest},
    fold::cause,
    moment,
    plan::{ACT_BY, DRIFT, FRESH, Ground, PATIENCE, SETTLE, note},
};

/// How long after a call of unknown fate an absence has settled: until then it may still be sent, and what it did not be seen yet.
const LATE: Span = Span::minutes((ACT_BY.as_seconds() + SETTLE.as_seconds()) / 60);

const AGAIN: &str = "drift: removed by somebody else, and there again: it ends with the grant";

/// What is known of a call whose answer was lost.
enum Recall {
    /// The answer is being fetched, or will be.
    Waits(String),
    Told(Box<Record>),
    /// Nobody can tell.
    Lost,
}

fn gone(binding: &Binding, owned: &Owned) -> Record {
    Record::Gone { binding: binding.clone(), stamp: owned.stamp() }
}

impl Ground<'_> {
    /// Wanted and ours, or may be.
    pub(super) fn keep(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        match &owned.hold {
            Hold::Granting(_) | Hold::Uncertain(_) | Hold::Settling { .. } | Hold::Regranting { .. } => {
                self.find(binding, want, owned, plan);
            }
            Hold::Revoking { .. } => {
                // Whether it went nobody knows: a grant over it settles that, whatever is there.
                if let Some(why) = self.standstill.or(want.barred.as_deref()) {
                    return note(binding, plan, format!("of unknown fate: {why}"));
                }
                let seen = self.survey.seen(binding, Timestamp::MIN).clone();
                plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen));
            }
            Hold::Held { .. } | Hold::Renewing { .. } | Hold::Drifted { .. } | Hold::Restoring { .. } => {
                self.hold(binding, want, owned, plan);
            }
        }
    }

    /// Wanted, and nobody knows whether it is there: the answer is fetched, or else the place is looked at.
    fn find(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let settling = matches!(owned.hold, Hold::Settling { .. });
        match self.recall(binding, owned, plan) {
            Recall::Waits(why) => return note(binding, plan, why),
            Recall::Told(record) => return plan.records.push(*record),
            Recall::Lost => {}
        }
        if self.settles(binding, want, owned, plan) {
            return;
        }
        if let Some(why) = self.standstill.or(want.barred.as_deref()) {
            return note(binding, plan, format!("of unknown fate: {why}"));
        }
        if self.pauses(binding, owned.hold.retry(), want.until, plan) {
            return;
        }
        let seen = self.survey.seen(binding, Timestamp::MIN);
        match seen {
            // Its place says itself whether it is there, and ours.
            Seen::Unread if settling && self.marks(binding) => {
                plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen.clone()));
            }
            Seen::Unread => plan.reads.push(binding.clone()),
            Seen::Absent | Seen::Present { ours: Some(_) } => {
                plan.steps.push(self.step(Verb::Grant, binding, want, Cause::Merged, seen.clone()));
            }
            // While a debt is open, what appears there is ours to end.
            Seen::Present { ours: None } => {
                let intent = owned.hold.call().map_or(0, |call| call.intent);
                plan.records.push(Record::Dispute { intent, binding: binding.clone(), stamp: owned.stamp() });
            }
            Seen::Blind(trouble) => {
                plan.unread += 1;
                self.look_again(binding, plan);
                note(binding, plan, format!("of unknown fate: {trouble}"));
            }
            Seen::Gone => plan.records.push(gone(binding, owned)),
        }
    }

    /// Whether an absence is looked at before anything else, or is settled and forgotten: what somebody adds from then on is his.
    fn settles(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) -> bool {
        let (wrote, wait) = match &owned.hold {
            Hold::Settling { wrote, .. } => (Some(*wrote), SETTLE),
            Hold::Granting(call) | Hold::Regranting { call, .. } => (Some(call.asked), LATE),
            Hold::Uncertain(doubt) => (doubt.call.as_ref().map(|call| call.asked).or(doubt.wrote), LATE),
            Hold::Held { .. }
            | Hold::Renewing { .. }
            | Hold::Drifted { .. }
            | Hold::Restoring { .. }
            | Hold::Revoking { .. } => (None, LATE),
        };
        let Some(settled) = wrote.map(|wrote| wait.after(wrote.max(self.leapt))) else { return false };
        // Without a failure behind it, and if it may be, the grant is made at once.
        if self.standstill.is_none() && want.barred.is_none() && owned.hold.retry().is_none() {
            return false;
        }
        if self.now < settled {
            plan.wake = earliest(plan.wake, settled);
            return false;
        }
        match self.survey.seen(binding, settled) {
            Seen::Absent => plan.records.push(self.settled(binding, owned)),
            Seen::Unread => plan.reads.push(binding.clone()),
            Seen::Present { .. } | Seen::Blind(_) | Seen::Gone => return false,
        }
        true
    }

    /// Wanted and ours.
    fn hold(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let drifted = matches!(owned.hold, Hold::Drifted { .. } | Hold::Restoring { .. });
        if drifted && (self.standstill.is_some() || want.barred.is_some()) {
            return self.keep_away(binding, want, owned, plan);
        }
        let seen = self.survey.seen(binding, Timestamp::MIN);
        match seen {
            Seen::Gone => return plan.records.push(gone(binding, owned)),
            Seen::Absent if !drifted => {
                // Of whom nobody knows whether they had it, nobody took it.
                let had = owned.had.as_ref().map(|had| Stamp::new(&had.holders, had.origin.as_deref()));
                let stamp = had.unwrap_or_else(|| owned.stamp());
                return plan.records.push(Record::Drift { binding: binding.clone(), stamp });
            }
            Seen::Absent | Seen::Unread if drifted && self.pauses(binding, owned.hold.retry(), want.until, plan) => {
                return;
            }
            // A grant that never had it asks for it now; or it is given back, where the operator has it so.
            Seen::Absent if drifted => {
                let asked = want.holders.iter().any(|(grant, ask)| !owned.lost.contains(grant, ask));
                let cause = if asked { Cause::Merged } else { Cause::Drift };
                return plan.steps.push(self.step(Verb::Grant, binding, want, cause, Seen::Absent));
            }
            Seen::Unread if drifted => return plan.reads.push(binding.clone()),
            Seen::Blind(_) if drifted => return note(binding, plan, DRIFT.into()),
            // Who never had it does not have it by what somebody added for others; but where it is given back, it is back.
            Seen::Present { ours: None } if drifted && !self.policy.restore => {
                return note(binding, plan, AGAIN.into());
            }
            Seen::Present { .. } if drifted => note(binding, plan, AGAIN.into()),
            Seen::Present { ours: None } if self.marks(binding) => {
                let text = "our marker is gone: somebody took it off; it ends with the grant all the same";
                note(binding, plan, text.into());
            }
            Seen::Absent | Seen::Present { .. } | Seen::Unread | Seen::Blind(_) => {}
        }
        self.renew(binding, want, owned, plan);
    }

    /// Taken away by hand from all who want it, or nobody may have it now: it stays away.
    pub(super) fn keep_away(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        match self.survey.seen(binding, Timestamp::MIN) {
            Seen::Gone => plan.records.push(gone(binding, owned)),
            Seen::Present { .. } => {
                note(binding, plan, AGAIN.into());
                self.renew(binding, want, owned, plan);
            }
            Seen::Absent | Seen::Unread | Seen::Blind(_) => note(binding, plan, DRIFT.into()),
        }
    }

    /// Moves its end, and puts on record who relies on it.
    fn renew(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let seen = self.survey.seen(binding, Timestamp::MIN);
        // A marker may have whole seconds only.
        let otherwise = |end: &Timestamp| end.as_second() != want.until.as_second();
        let marked_otherwise = matches!(seen, Seen::Present { ours: Some(end) } if otherwise(end));
        // A renewal that was under way when the process ended may have come or not: it is made again.
        let open = owned.hold.call().is_some();
        if owned.until != want.until || marked_otherwise || open {
            // An earlier end takes away, and waits for nothing.
            let later = want.until > owned.until;
            if later && (self.standstill.is_some() || want.barred.is_some()) {
                note(binding, plan, "not extended: granting stands still, or an operator protects it".into());
            } else if self.standstill.is_some() && want.until == owned.until {
                note(binding, plan, "what says its end there is put right when granting goes on".into());
            } else if !self.pauses(binding, owned.hold.retry(), want.until, plan) {
                plan.steps.push(self.step(Verb::Renew, binding, want, Cause::EndMoved, seen.clone()));
            }
        } else if owned.holders != want.holders {
            if self.standstill.is_none() && want.barred.is_none() {
                return self.join(binding, want, owned, plan);
            }
            // Nobody comes now, and who went is none of those from whom it may be taken.
            let gone = owned.holders.without(&want.holders);
            let holders = owned.holders.without(&gone);
            if !gone.is_empty() && !holders.is_empty() {
                let stamp = Stamp::new(&holders, self.origin(want).map(AsRef::as_ref));
                plan.records.push(Record::Join { binding: binding.clone(), holders, stamp });
            }
        }
    }

    /// Puts on record who relies on it. Who asks for it after somebody took it away has not lost it, and who asked before has: so it is
    /// looked at since the latest of them came.
    fn join(&self, binding: &Binding, want: &Want, owned: &Owned, plan: &mut Plan) {
        let new = want.holders.iter().filter(|(grant, ask)| !owned.holders.contains(grant, ask));
        let began = new.filter_map(|(grant, _)| self.ledger.grants.get(grant));
        let began = began.map(|terms| terms.asks_since.map_or(terms.start, |since| since.max(terms.start))).max();
        match self.survey.seen(binding, began.unwrap_or(Timestamp::MIN)) {
            Seen::Unread if began.is_some() => plan.reads.push(binding.clone()),
            Seen::Blind(trouble) => {
                self.look_again(binding, plan);
                note(binding, plan, format!("not known to be there for all who ask for it: {trouble}"));
            }
            Seen::Present { .. } | Seen::Absent | Seen::Gone | Seen::Unread => {
                let stamp = self.stamp(want);
                plan.records.push(Record::Join { binding: binding.clone(), holders: want.holders.clone(), stamp });
            }
        }
    }

    /// Ours, or may be, and not wanted any more.
    pub(super) fn end(&self, binding: &Binding, owned: &Owned, plan: &mut Plan) {
        let mut since = Timestamp::MIN;
        match &owned.hold {
            Hold::Settling { wrote, .. } => {
                // AWS's own time is no further because ours leapt.
                let settled = SETTLE.after(*wrote.max(&self.leapt));
                if self.now < settled {
                    plan.wake = earliest(plan.wake, settled);
                    return;
                }
                since = settled;
                match self.survey.seen(binding, settled) {
                    Seen::Absent => return plan.records.push(self.settled(binding, owned)),
                    Seen::Gone => return plan.records.push(self.forget(binding, owned, "its place no longer exists")),
                    Seen::Unread => return plan.reads.push(binding.clone()),
                    Seen::Blind(trouble) => {
                        note(binding, plan, format!("revoked, and not proven to have stayed so: {trouble}"));
                        return self.look_again(binding, plan);
                    }
                    Seen::Present { .. } => {
                        note(binding, plan, "there again after it was revoked: somebody added it".into());
                    }
                }
            }
            // Whether it ever came is asked once, for what stood there before us is not ours; an end waits for no more than
            // that one answer.
            Hold::Granting(_) | Hold::Uncertain(_) | Hold::Regranting { .. } => match self.recall(binding, owned, plan)
            {
                Recall::Told(record) => return plan.records.push(*record),
                Recall::Waits(_) if !self.asked(owned) => return,
                Recall::Waits(_) | Recall::Lost => {}
            },
            Hold::Drifted { settled: true, .. } if self.stays_away(binding, owned, plan) => return,
            // Whatever failed before, it was not this.
            Hold::Held { .. } | Hold::Renewing { .. } | Hold::Drifted { .. } | Hold::Restoring { .. } => {}
            Hold::Revoking { retry, .. } => {
                if let Some(attempt) = self.tries.get(binding).or(retry.as_deref())
                    && attempt.next() > self.now
                {
                    plan.wake = earliest(plan.wake, attempt.next());
                    let (count, next) = (attempt.count, moment(attempt.next()));
                    let text = format!("overdue: {} (attempt {count}, next at {next})", attempt.trouble);
                    return note(binding, plan, text);
                }
            }
        }
        let (cause, by) = cause(self.ledger, owned);
        plan.steps.push(Step {
            verb: Verb::Revoke,
            binding: binding.clone(),
            until: owned.until,
            holders: owned.holders.clone(),
            cause,
            act_by: None,
            before: self.survey.seen(binding, since).clone(),
            origin: by.cloned(),
            intent: 0,
            nonce: None,
            stated: None,
            off: Off::default(),
        });
    }

    /// Whether nothing is there that would have to go. Those from whom it was taken may come back, suspended or held, and must not have it
    /// then; when they are over it is looked at once more, and forgotten.
    fn stays_away(&self, binding: &Binding, owned: &Owned, plan: &mut Plan) -> bool {
        if self.goes_on_without(owned) {
            let there = matches!(self.survey.seen(binding, Timestamp::MIN), Seen::Present { .. });
            if there {
                note(binding, plan, "there again, while nobody may have it: somebody added it".into());
            }
            return !there;
        }
        match self.survey.fresh(binding, FRESH.before(self.now), PATIENCE) {
            Seen::Absent | Seen::Gone => plan.records.push(self.forget(binding, owned, "absent, and settled")),
            Seen::Unread => plan.reads.push(binding.clone()),
            Seen::Present { .. } | Seen::Blind(_) => return false,
        }
        true
    }

    /// Nothing is owed there any more. Those from whom it was taken by hand before and who are not over must not get it back.
    fn settled(&self, binding: &Binding, owned: &Owned) -> Record {
        if self.goes_on_without(owned) {
            return Record::Drift { binding: binding.clone(), stamp: Stamp::new(&owned.lost, owned.origin.as_deref()) };
        }
        self.forget(binding, owned, "absent, and settled")
    }

    /// Whether a grant from which it was taken by hand is not over: it goes on without it, is suspended, or held.
    fn goes_on_without(&self, owned: &Owned) -> bool {
        owned
            .lost
            .iter()
            .any(|(grant, ask)| self.ledger.grants.get(grant).is_some_and(|terms| terms.asks.contains_key(ask)))
    }

    /// What became of a grant whose answer was lost, where its place remembers.
    fn recall(&self, binding: &Binding, owned: &Owned, plan: &mut Plan) -> Recall {
        let Some(call) = owned.hold.call() else { return Recall::Lost };
        let target = self.targets.get(binding.surface());
        let known = call.nonce.is_some() || call.request.is_some();
        if !known || !target.is_some_and(|target| target.recalls()) {
            return Recall::Lost;
        }
        let ask = |plan: &mut Plan| {
            let age = Span::seconds(self.now.duration_since(call.asked).as_secs().max(0));
            let (intent, request, nonce) = (call.intent, call.request.clone(), call.nonce.clone());
            plan.recalls.push(model::Recall { intent, binding: binding.clone(), request, nonce, age });
        };
        match self.survey.recalled.get(&call.intent) {
            None => {
                ask(plan);
                Recall::Waits("of unknown fate: its answer is being fetched".into())
            }
            Some((Recalled::Later(trouble), at)) => {
                let again = FRESH.after(*at);
                if again <= self.now {
                    ask(plan)
                } else {
                    plan.wake = earliest(plan.wake, again)
                }
                Recall::Waits(format!("of unknown fate: {trouble}"))
            }
            Some((Recalled::Came(fate), _)) => Recall::Told(Box::new(Record::Fate {
                intent: call.intent,
                verb: Verb::Grant,
                binding: binding.clone(),
                cause: Cause::Merged,
                until: call.until,
                fate: fate.clone(),
                request: call.request.clone(),
                asked: call.asked,
                knew: self.now,
                stamp: owned.stamp(),
            })),
            Some((Recalled::Lost, _)) => Recall::Lost,
        }
    }

    /// Whether the answer to its call was asked for, and not given.
    fn asked(&self, owned: &Owned) -> bool {
        owned.hold.call().is_some_and(|call| self.survey.recalled.contains_key(&call.intent))
    }

    /// Whether what failed on the way to that end is to be left alone for now.
    fn pauses(&self, binding: &Binding, retry: Option<&Attempt>, until: Timestamp, plan: &mut Plan) -> bool {
        let Some(attempt) = retry.filter(|attempt| attempt.same(until) && attempt.next_gain() > self.now) else {
            return false;
        };
        plan.wake = earliest(plan.wake, attempt.next_gain());
        let (trouble, count, next) = (&attempt.trouble, attempt.count, moment(attempt.next_gain()));
        note(binding, plan, format!("{trouble} (attempt {count}, next at {next})"));
        true
    }
}
