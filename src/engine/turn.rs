//! One turn of the loop: whether anything is to be decided, and if so, what. It makes no call.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    decide::{FRESH, Ground, Reach, SETTLE, admit, close, desire, earliest, plan, waiting},
    model::{Binding, GrantId, Plan, Record, Selector, SourceError, Span, Standstill, Still},
};

use super::{
    Counted, Cycle, Outlook,
    age::Distrust,
    gate,
    parts::sources,
    still::{Gates, Same, Stamp},
};

/// How old the journal's latest line gets while anything is ours: after a reboot with a clock that is behind, an end may be late by
/// that much and the time that the machine was down.
const TICK: Span = Span::minutes(10);
/// How long the first answer of Git is waited for before what nobody may have yet is ended.
const FIRST: Duration = Duration::from_secs(30);
/// How long a look is kept, at the most: no decision uses an older one.
const KEPT: Span = Span::minutes(2 * SETTLE.as_seconds() / 60);

/// What the comparison comes to.
struct Weighed {
    plan: Plan,
    /// The questions of live grants that have no answer, and those of them that are to be asked now.
    selectors: BTreeSet<Selector>,
    ask: BTreeSet<Selector>,
}

impl Cycle {
    /// Decides, unless the last decision stands: ends what is over, admits what the revision brings, plans. Records what it decides;
    /// makes no call.
    pub fn turn(&mut self, pending: &Counted<BTreeSet<Binding>>) -> Arc<Outlook> {
        self.time();
        let now = self.now();
        self.book.mend(now);
        // How far time had come must not be forgotten where an end depends on it.
        if !self.ledger().owned.is_empty() && self.ledger().clock.is_none_or(|latest| latest < TICK.before(now)) {
            self.book.write(now, vec![Record::Tick {}]);
        }
        self.retry(now);
        self.heard |= self.intake.is_some() || self.troubles.fetch().is_some() || self.troubles.standstill().is_some();
        let (gates, steady) = (self.gates(), self.parts.clock.steady());
        let stamp = self.stamp(gates.clone(), pending, now);
        if let Some(outlook) = self.still.stands(&stamp, now, steady) {
            // Never in what is installed: there `BELT` bounds what a forgotten dependency costs.
            if cfg!(debug_assertions) {
                self.prove(&outlook, &stamp.gates, pending, now);
            }
            return outlook;
        }
        let aged = self.still.aged(&stamp, now);
        let written = self.book.numbers();
        let (outlook, edge) = self.decide(&gates, pending, now);
        let outlook = Arc::new(outlook);
        // One that changes what it rests on is made again, and one that has steps is to be done.
        let done = outlook.plan.steps.is_empty() && outlook.plan.records.is_empty() && self.book.numbers() == written;
        if aged && !done {
            tracing::error!(
                "something was due that nothing had announced: this is a mistake of grantd, please report it"
            );
        }
        let stamp = done.then(|| self.stamp(gates, pending, now));
        self.still.made(&outlook, stamp, edge, steady);
        outlook
    }

    /// How many decisions were made so far: turns in which nothing had changed made none.
    pub fn decisions(&self) -> u64 {
        self.still.count()
    }

    /// When the last decision is made anew in any case, by the steady clock.
    pub(super) fn belt(&self) -> Option<Duration> {
        self.still.belt()
    }

    fn gates(&self) -> Gates {
        let distrust = self.age.distrust(self.parts.clock.as_ref()).map(Distrust::sentence);
        Gates {
            distrust: distrust.map(|why| Standstill::new(Still::Clock, why)),
            // A head that is lost with this process begins nothing either.
            unread: self
                .troubles
                .standstill()
                .or_else(|| gate::unkept(self.parts.source.unkept()))
                .or_else(|| gate::unguarded(&self.parts.policy)),
            unheard: !self.heard && self.parts.clock.steady().saturating_sub(self.begun) < FIRST,
            vanished: matches!(self.troubles.fetch(), Some(SourceError::NoBranch(_))),
            heard: self.heard,
            source: self.troubles.sentence(),
            // While Git is asked, its answer wakes us.
            again: self.troubles.wake().filter(|_| !self.fetching),
        }
    }

    fn stamp(&self, gates: Gates, pending: &Counted<BTreeSet<Binding>>, now: Timestamp) -> Stamp {
        let Self { book, survey, intake, reading, recalling, asking, fresh, tries, .. } = self;
        let [ledger, fault, starved] = book.numbers();
        let looks = [survey.number(), reading.number(), recalling.number(), asking.number()];
        let [survey, reading, recalling, asking] = looks;
        let (intake, fresh, tries, pending) = (intake.number(), fresh.number(), tries.number(), pending.number());
        Stamp {
            gates,
            silent: gate::silent(self.answered, self.book.ledger(), &self.parts.policy, now),
            numbers: [ledger, fault, starved, survey, reading, recalling, asking, intake, fresh, tries, pending],
            policy: Same(self.parts.policy.clone()),
            leapt: self.age.leapt(),
        }
    }

    /// Why no head may be accepted, though one may have been read.
    fn unread(&self, gates: &Gates) -> Option<Standstill> {
        gates.unread.clone().or_else(|| gate::elsewhere(&*self.parts.source, self.book.ledger(), self.now()))
    }

    /// Why nothing may be granted, beside what the revision itself says.
    fn standstill(&self, gates: &Gates, revision: Option<Standstill>, now: Timestamp) -> Option<Standstill> {
        let (ledger, policy) = (self.book.ledger(), &self.parts.policy);
        let silent = gate::silent(self.answered, ledger, policy, now);
        let fault = || self.book.fault().map(|why| Standstill::new(Still::Journal, why));
        let why = gates.distrust.clone().or_else(fault).or_else(|| gate::frozen(ledger)).or(silent);
        let why = why.or_else(|| self.unread(gates)).or(revision);
        why.or_else(|| gate::unjudged(self.intake.is_some(), gates.heard, policy))
    }

    /// Everything anew. Answers with it the next moment at which it would be otherwise.
    fn decide(
        &mut self,
        gates: &Gates,
        pending: &Counted<BTreeSet<Binding>>,
        now: Timestamp,
    ) -> (Outlook, Option<Timestamp>) {
        self.survey.fade(KEPT.before(now));
        let policy = Reach::renew(&mut self.reach, &self.parts.policy, self.book.ledger());
        self.book.write_anyway(now, close(self.book.ledger(), &policy, now));
        let mut outlook = Outlook { source: gates.source.clone(), ..Outlook::default() };
        let unread = self.unread(gates);
        let (held, edge);
        if let Some(intake) = &*self.intake {
            let admission = admit(self.book.ledger(), intake, &policy, now);
            outlook.findings = admission.findings;
            outlook.head = Some(intake.head.clone());
            (held, edge) = (admission.held, admission.edge);
            let accepted = |record: &Record| match record {
                Record::Accept { grant, .. } => Some(grant.clone()),
                _ => None,
            };
            let news: BTreeSet<_> = admission.records.iter().filter_map(accepted).collect();
            let elsewhere = unread.as_ref().is_some_and(|why| why.kind == Still::Elsewhere);
            // By one folder nothing is gone, and nothing less, that lies in another.
            let grants = &self.book.ledger().grants;
            let here = |id: &GrantId| grants.get(id).is_none_or(|terms| self.parts.source.covers(&terms.path));
            let counts = |record: &Record| !elsewhere || record.grants().into_iter().all(here);
            let ends = admission.ends.into_iter().filter(counts).collect();
            let less = |record: &Record| gate::less(record, self.book.ledger());
            let takes: Vec<Record> =
                admission.records.iter().filter(|record| counts(record)).filter_map(less).collect();
            gate::alert(&self.book.write_anyway(now, ends));
            // While the head is unread, the one before it begins nothing either.
            let trusted = gates.distrust.is_none() && unread.is_none();
            match if trusted { self.book.write(now, admission.records) } else { None } {
                Some(lines) => {
                    gate::alert(&lines);
                    self.fresh.extend(news);
                }
                None => drop(self.book.write_anyway(now, takes)),
            }
            self.book.write_anyway(now, close(self.book.ledger(), &policy, now));
            outlook.standstill = admission.standstill;
        } else {
            (held, edge) = (waiting(self.book.ledger(), now), None);
        }
        let freeze: Vec<Record> = gate::vanished(self.troubles.fetch(), self.book.ledger()).into_iter().collect();
        gate::alert(&self.book.write(now, freeze).unwrap_or_default());
        outlook.standstill = self.standstill(gates, outlook.standstill.take(), now);
        let weighed = self.weigh(&policy, gates, outlook.standstill.as_ref(), pending, now);
        let Weighed { plan, selectors, ask } = weighed;
        outlook.plan = Plan { held, ..plan };
        outlook.plan.sources = sources(&outlook, self.book.ledger());
        self.tries.keep(self.book.ledger());
        self.survey.keep(|selector| selectors.contains(selector));
        self.asking.retain(|selector| selectors.contains(selector));
        self.read(ask, outlook.plan.reads.iter().cloned().collect());
        self.recall(&outlook.plan.recalls);
        // What became of a lost call may be what an end waits for, and what is owed no longer must not be ended again: that is held up
        // by nothing.
        let (known, records): (Vec<_>, Vec<_>) = outlook.plan.records.iter().cloned().partition(|record| {
            matches!(record, Record::Fate { .. } | Record::Forget { .. } | Record::Gone { .. } | Record::Drift { .. })
        });
        let news = |record: &Record| gate::is_news(record, self.book.ledger());
        let (known, settled): (Vec<_>, Vec<_>) = known.into_iter().partition(news);
        let lines = self.book.write_anyway(now, known);
        gate::alert(&lines);
        let told = !lines.is_empty() || !self.book.write_anyway(now, settled).is_empty();
        let written = !records.is_empty() && self.book.write(now, records).map(|lines| gate::alert(&lines)).is_some();
        if told || written {
            // They may be what the next steps wait for.
            outlook.plan.wake = Some(now);
        }
        let ledger = self.book.ledger();
        self.fresh.retain(|id| ledger.grants.contains_key(id));
        let open: BTreeSet<u64> =
            if self.survey.recalled.is_empty() { BTreeSet::new() } else { ledger.open().collect() };
        self.survey.recalled.retain(|intent, _| open.contains(intent));
        if let Some(retry) = self.book.retry() {
            outlook.plan.wake = earliest(outlook.plan.wake, retry);
        }
        let older = self.survey.older(&[FRESH, KEPT], now);
        let edge = [outlook.plan.wake, edge, older].into_iter().flatten().min();
        (outlook, edge)
    }

    /// Compares what is wanted with what is owned and seen, and says what is to be asked for that.
    fn weigh(
        &self,
        policy: &Arc<Reach>,
        gates: &Gates,
        standstill: Option<&Standstill>,
        pending: &BTreeSet<Binding>,
        now: Timestamp,
    ) -> Weighed {
        let targets = &self.parts.targets;
        let ledger = self.book.ledger();
        let unjudged = standstill.is_some_and(|why| why.kind == Still::Unjudged);
        let mut wanted = desire(ledger, &self.survey, targets, policy, now);
        let ground = Ground {
            ledger,
            survey: &self.survey,
            targets,
            policy,
            pending,
            fresh: &self.fresh,
            tries: self.tries.attempts(),
            standstill: standstill.map(|why| &**why),
            unheard: gates.unheard && unjudged,
            now,
            leapt: self.age.leapt(),
        };
        let mut plan = plan(&ground, &mut wanted);
        let mut ask = wanted.selectors.clone();
        // What was answered before a grant began that asks it too is asked anew, and what had no answer after a pause.
        ask.retain(|selector| {
            let Some((_, at)) = self.survey.unlisted.get(selector) else { return true };
            let again = FRESH.after(*at);
            if again > now {
                plan.wake = earliest(plan.wake, again);
            }
            again <= now
        });
        ask.retain(|selector| !self.asking.contains(selector));
        if let Some(again) = gates.again {
            plan.wake = earliest(plan.wake, again);
        }
        Weighed { plan, selectors: wanted.selectors, ask }
    }

    /// Decides anew what is said to stand: it must come to the same. In tests each such turn is proven so.
    fn prove(&self, outlook: &Outlook, gates: &Gates, pending: &BTreeSet<Binding>, now: Timestamp) {
        let (ledger, mut policy) = (self.book.ledger(), self.reach.clone());
        let policy = Reach::renew(&mut policy, &self.parts.policy, ledger);
        assert_eq!(close(ledger, &policy, now), [], "an end has come");
        let gated = gates.distrust.is_some() || self.unread(gates).is_some() || self.book.fault().is_some();
        let mut revision = None;
        if let Some(intake) = &*self.intake {
            let admission = admit(ledger, intake, &policy, now);
            assert_eq!(admission.ends, [], "something was taken away");
            assert!(gated || admission.records.is_empty(), "the revision brings {:?}", admission.records);
            assert_eq!(admission.held, outlook.plan.held);
            // What to write instead may name a time from now on.
            let told = |findings: &[crate::model::Finding]| {
                findings.iter().map(|told| (told.path.clone(), told.message.clone())).collect::<Vec<_>>()
            };
            assert_eq!(told(&admission.findings), told(&outlook.findings));
            revision = admission.standstill;
        }
        let frozen = gate::vanished(self.troubles.fetch(), ledger);
        assert!(gated || frozen.is_none(), "the branch is gone");
        assert_eq!(self.standstill(gates, revision, now), outlook.standstill);
        let Weighed { plan, selectors: _, ask } = self.weigh(&policy, gates, outlook.standstill.as_ref(), pending, now);
        let wake = self.book.retry().map_or(plan.wake, |retry| earliest(plan.wake, retry));
        assert_eq!((&plan.steps, &plan.records), (&Vec::new(), &Vec::new()), "there is something to do");
        assert_eq!((&plan.notes, wake), (&outlook.plan.notes, outlook.plan.wake));
        let heard = |surface: &str| self.parts.readers.contains_key(surface);
        let unread = |binding: &Binding| heard(binding.surface()) && !self.reading.contains_key(binding);
        assert!(!ask.iter().any(|selector| heard(&selector.surface)), "something is to be asked");
        assert!(!plan.reads.iter().any(unread), "something is to be looked at");
        assert!(plan.recalls.iter().all(|call| self.recalling.contains(&call.intent)), "an answer is to be fetched");
    }
}
