//! The writing half: intents first, then calls, then fates. Nothing left to decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::mpsc::unbounded_channel;

use crate::model::{Binding, Event, Fate, Record, Step, Text, Trouble, TroubleKind, Verb, Write};

use super::{
    Cycle, Happening,
    spawn::{begin, spawn},
};

pub struct Executor {
    writers: BTreeMap<&'static str, Arc<dyn Write>>,
    /// Calls under way, by their intent.
    flights: BTreeMap<u64, Flight>,
    pending: BTreeSet<Binding>,
    nonces: Nonces,
}

/// Where nonces come from; none where there is no randomness to be had.
pub type Nonces = Box<dyn FnMut() -> Option<Text> + Send>;

struct Flight {
    step: Step,
    asked: jiff::Timestamp,
    request: Option<Text>,
}

impl Executor {
    pub fn new(writers: BTreeMap<&'static str, Arc<dyn Write>>, nonces: Nonces) -> Self {
        Self { writers, flights: BTreeMap::new(), pending: BTreeSet::new(), nonces }
    }

    /// The bindings with a call under way.
    pub fn pending(&self) -> &BTreeSet<Binding> {
        &self.pending
    }

    /// Records the intents and makes the calls, beside everything else. Grants and renewals without a durable intent are
    /// left out; revocations are not.
    pub fn start(&mut self, cycle: &mut Cycle, mut steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let now = cycle.now();
        // One for all that begins together: what many places are told alike goes out as one command.
        let nonce = (self.nonces)();
        for step in &mut steps {
            let target = cycle.parts.targets.get(step.binding.surface());
            step.nonce = nonce.clone().filter(|_| target.is_some_and(|target| target.recalls()));
        }
        let (ends, gains): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.verb == Verb::Revoke);
        let lines = cycle.book.write_anyway(now, ends.iter().map(intent).collect());
        let mut ready: Vec<Step> = number(ends, &lines);
        if let Some(lines) = cycle.book.write(now, gains.iter().map(intent).collect()) {
            ready.extend(number(gains, &lines));
        }
        let mut by_surface: BTreeMap<&'static str, Vec<Step>> = BTreeMap::new();
        for step in ready {
            tracing::info!(verb = %step.verb, binding = %step.binding, until = %step.until, cause = %step.cause, "step");
            self.pending.insert(step.binding.clone());
            let flight = Flight { step: step.clone(), asked: now, request: None };
            self.flights.insert(step.intent, flight);
            match self.writers.keys().copied().find(|surface| *surface == step.binding.surface()) {
                Some(surface) => by_surface.entry(surface).or_default().push(step),
                None => {
                    let trouble = Trouble::new(
                        TroubleKind::Broken,
                        format!("no surface `{}` in this build", step.binding.surface()),
                    );
                    let event = Event::Done { intent: step.intent, fate: Fate::Failed(trouble) };
                    let _ = cycle.sender().send(Happening::Told(event));
                }
            }
        }
        for (surface, steps) in by_surface {
            let Some(writer) = self.writers.get(surface).cloned() else { continue };
            let (events, mut told) = unbounded_channel();
            let intents: Vec<u64> = steps.iter().map(|step| step.intent).collect();
            let sender = cycle.sender();
            let forward = {
                let sender = sender.clone();
                async move {
                    while let Some(event) = told.recv().await {
                        let _ = sender.send(Happening::Told(event));
                    }
                }
            };
            // By itself: what it told before it broke off is forwarded all the same. That it did is told by its end.
            let work = begin("a writer", async move { writer.write(steps, events).await });
            let both = async move { drop(tokio::join!(forward, work)) };
            // A writer that panics must not leave its steps in flight for ever.
            spawn("the forwarding of fates", both, move |_| drop(sender.send(Happening::Through(intents))));
        }
    }

    /// Records what writers told. Every step gets exactly one fate.
    pub fn absorb(&mut self, cycle: &mut Cycle, happenings: Vec<Happening>) {
        let now = cycle.now();
        let mut records = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Told(Event::Sent { intent, request }) => {
                    if let Some(flight) = self.flights.get_mut(&intent) {
                        flight.request = Some(request.clone());
                        let (binding, stamp) = (flight.step.binding.clone(), flight.step.stamp());
                        let intent = cycle.book.number(intent);
                        records.push(Record::Sent { intent, binding, request, stamp });
                    }
                }
                Happening::Told(Event::Done { intent, fate }) => records.extend(self.land(cycle, intent, fate, now)),
                Happening::Through(intents) => {
                    for intent in intents {
                        let trouble = Trouble::new(TroubleKind::Broken, "the adapter broke off without an answer");
                        records.extend(self.land(cycle, intent, Fate::Unknown(trouble), now));
                    }
                }
                Happening::Fetched(_) | Happening::Taken(_) | Happening::Read(..) | Happening::Recalled(_) => {}
            }
        }
        cycle.book.write_anyway(now, records);
    }

    fn land(&mut self, cycle: &mut Cycle, intent: u64, fate: Fate, knew: jiff::Timestamp) -> Option<Record> {
        let Flight { step, asked, request } = self.flights.remove(&intent)?;
        let stamp = step.stamp();
        let Step {
            verb,
            binding,
            until,
            cause,
            origin: _,
            holders: _,
            act_by: _,
            before: _,
            intent: _,
            nonce: _,
            stated: _,
        } = step;
        self.pending.remove(&binding);
        cycle.changed(&binding);
        match &fate {
            Fate::Done | Fate::Gone | Fate::Standing | Fate::Absent => {
                tracing::info!(%verb, %binding, %fate, "done")
            }
            Fate::Failed(trouble) | Fate::Unknown(trouble) => {
                let ledger = cycle.ledger();
                let owned = ledger.owned.get(&binding).and_then(|owned| owned.hold.retry());
                let before = owned.or(ledger.refused.get(&binding).map(AsRef::as_ref));
                // A debt is tried for ever, and fails each time in the same way.
                if before.is_some_and(|attempt| attempt.trouble.kind == trouble.kind) {
                    tracing::debug!(%verb, %binding, %trouble, "not done");
                } else {
                    tracing::warn!(%verb, %binding, %trouble, "not done");
                }
            }
        }
        let intent = cycle.book.number(intent);
        Some(Record::Fate { intent, verb, binding, cause, until, fate, request, asked, knew, stamp })
    }
}

fn intent(step: &Step) -> Record {
    let Step { verb, binding, until, holders, cause, act_by, before, nonce, origin: _, intent: _, stated: _ } = step;
    Record::Intend {
        verb: *verb,
        binding: binding.clone(),
        cause: *cause,
        until: *until,
        before: before.clone(),
        act_by: *act_by,
        nonce: nonce.clone(),
        holders: holders.clone(),
        stamp: step.stamp(),
    }
}

fn number(steps: Vec<Step>, lines: &[crate::model::Line]) -> Vec<Step> {
    steps.into_iter().zip(lines).map(|(step, line)| Step { intent: line.seq, ..step }).collect()
}
