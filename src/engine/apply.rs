//! The writing half: intents first, then calls, then fates. Nothing left to decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::mpsc::unbounded_channel;

use crate::model::{Binding, Event, Fate, Hold, Off, Record, Step, Text, Trouble, TroubleKind, Verb, Write};

use super::{
    Counted, Cycle, Happening,
    spawn::{begin, spawn},
    tries::Heard,
};

/// How many intents are written with one sync.
const BATCH: usize = 10_000;

pub struct Executor {
    writers: BTreeMap<&'static str, Arc<dyn Write>>,
    /// Calls under way, by their intent.
    flights: BTreeMap<u64, Flight>,
    pending: Counted<BTreeSet<Binding>>,
    nonces: Nonces,
    off: Off,
}

/// Where nonces come from; none where there is no randomness to be had.
pub type Nonces = Box<dyn FnMut() -> Option<Text> + Send>;

struct Flight {
    step: Step,
    asked: jiff::Timestamp,
    request: Option<Text>,
    /// It failed before, and has no line of its own unless it is news what becomes of it.
    again: bool,
}

/// What the journal is told of a call that ended: first these, then its fate. `opens`: which of these is its intent.
struct Landed {
    before: Vec<Record>,
    opens: Option<usize>,
    fate: Option<Record>,
}

impl Executor {
    pub fn new(writers: BTreeMap<&'static str, Arc<dyn Write>>, nonces: Nonces) -> Self {
        Self { writers, flights: BTreeMap::new(), pending: Counted::default(), nonces, off: Off::new() }
    }

    /// The bindings with a call under way.
    pub fn pending(&self) -> &Counted<BTreeSet<Binding>> {
        &self.pending
    }

    /// Records the intents and makes the calls, beside everything else. Grants and renewals without a durable intent are
    /// left out; revocations are not, and one that failed before is on record already.
    pub fn start(&mut self, cycle: &mut Cycle, mut steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let now = cycle.now();
        // One for all that begins together: what many places are told alike goes out as one command.
        let nonce = (self.nonces)();
        for step in &mut steps {
            let target = cycle.parts.targets.get(step.binding.surface());
            step.off = self.off.clone();
            step.nonce = nonce.clone().filter(|_| target.is_some_and(|target| target.recalls()));
        }
        // A renewal to an earlier end is one.
        let shorter = |step: &Step| {
            step.verb == Verb::Renew
                && cycle.ledger().owned.get(&step.binding).is_some_and(|owned| step.until < owned.until)
        };
        let (ends, gains): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| step.verb == Verb::Revoke || shorter(step));
        let failed =
            |step: &Step| cycle.ledger().owned.get(&step.binding).is_some_and(|owned| owned.hold.fails().is_some());
        let (again, ends): (Vec<_>, Vec<_>) = ends.into_iter().partition(failed);
        let mut ready: Vec<Step> = Vec::with_capacity(again.len() + ends.len() + gains.len());
        for ends in batches(ends) {
            let lines = cycle.book.write_anyway(now, ends.iter().map(intent).collect());
            ready.extend(number(ends, &lines));
        }
        let again: Vec<Step> = again.into_iter().map(|step| Step { intent: cycle.book.unreal(), ..step }).collect();
        let repeated: BTreeSet<u64> = again.iter().map(|step| step.intent).collect();
        ready.extend(again);
        // A debt over which somebody is granted is a debt no more: what was only counted of it is told.
        let owned = &cycle.book.ledger().owned;
        let sum = |step: &Step| cycle.tries.sum(&step.binding, &owned.get(&step.binding)?.stamp());
        let sums: Vec<Record> = gains.iter().filter_map(sum).collect();
        cycle.book.write_anyway(now, sums);
        for gains in batches(gains) {
            let Some(lines) = cycle.book.write(now, gains.iter().map(intent).collect()) else { break };
            ready.extend(number(gains, &lines));
        }
        let mut by_surface: BTreeMap<&'static str, Vec<Step>> = BTreeMap::new();
        for step in ready {
            let again = repeated.contains(&step.intent);
            // A debt is tried for ever: that is told when it begins and when it ends.
            if again {
                tracing::debug!(verb = %step.verb, binding = %step.binding, until = %step.until, cause = %step.cause, "step");
            } else {
                tracing::info!(verb = %step.verb, binding = %step.binding, until = %step.until, cause = %step.cause, "step");
            }
            self.pending.insert(step.binding.clone());
            let flight = Flight { step: step.clone(), asked: now, request: None, again };
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

    /// Lets no call go out any more that gives these. One that is on its way is found out about by its fate.
    pub fn call_off(&self, bindings: &[Binding]) {
        if bindings.is_empty() {
            return;
        }
        let bindings: BTreeSet<&Binding> = bindings.iter().collect();
        let gives = |flight: &&Flight| flight.step.verb != Verb::Revoke && bindings.contains(&flight.step.binding);
        self.flights.values().filter(gives).for_each(|flight| self.off.call(flight.step.intent));
    }

    /// Records what writers told. Every step gets exactly one fate.
    pub fn absorb(&mut self, cycle: &mut Cycle, happenings: Vec<Happening>) {
        let now = cycle.now();
        let (mut before, mut records) = (Vec::new(), Vec::new());
        // Fates whose intent is written with them, by their places in both.
        let mut opens = Vec::new();
        let mut land = |landed: Landed, records: &mut Vec<Record>| {
            opens.extend(landed.opens.map(|opens| (records.len(), before.len() + opens)));
            before.extend(landed.before);
            records.extend(landed.fate);
        };
        for happening in happenings {
            match happening {
                Happening::Told(Event::Sent { intent, request }) => {
                    if let Some(flight) = self.flights.get_mut(&intent) {
                        flight.request = Some(request.clone());
                        if !flight.again {
                            let (binding, stamp) = (flight.step.binding.clone(), flight.step.stamp());
                            records.push(Record::Sent { intent, binding, request, stamp });
                        }
                    }
                }
                Happening::Told(Event::Done { intent, fate }) => {
                    self.land(cycle, intent, fate, now).into_iter().for_each(|landed| land(landed, &mut records));
                }
                Happening::Through(intents) => {
                    for intent in intents {
                        let trouble = Trouble::new(TroubleKind::Broken, "the adapter broke off without an answer");
                        let landed = self.land(cycle, intent, Fate::Unknown(trouble), now);
                        landed.into_iter().for_each(|landed| land(landed, &mut records));
                    }
                }
                Happening::Fetched(_) | Happening::Taken(_) | Happening::Read(..) | Happening::Recalled(_) => {}
            }
        }
        let lines = cycle.book.write_anyway(now, before);
        for (fate, line) in opens {
            if let (Some(Record::Fate { intent, .. }), Some(line)) = (records.get_mut(fate), lines.get(line)) {
                *intent = line.seq;
            }
        }
        cycle.book.write_anyway(now, records);
    }

    fn land(&mut self, cycle: &mut Cycle, intent: u64, fate: Fate, knew: jiff::Timestamp) -> Option<Landed> {
        let Flight { step, asked, request, again } = self.flights.remove(&intent)?;
        self.off.over(intent);
        self.pending.remove(&step.binding);
        cycle.changed(&step.binding);
        tell(cycle, &step, &fate);
        let stamp = step.stamp();
        let mut before = Vec::new();
        if again {
            let hold = cycle.book.ledger().owned.get(&step.binding).map(|owned| &owned.hold);
            let recorded = hold.and_then(|hold| hold.fails());
            // That the answer to a revocation was lost must be known when the next one finds nothing.
            let lost = matches!((&fate, hold), (Fate::Unknown(_), Some(Hold::Revoking { perhaps: false, .. })));
            if let (Fate::Failed(trouble) | Fate::Unknown(trouble), Some(recorded), false) = (&fate, recorded, lost) {
                match cycle.tries.failed(&step.binding, recorded, trouble, request.as_ref(), knew, &stamp) {
                    Heard::Counted => return None,
                    Heard::Sum(sum) => return Some(Landed { before: vec![*sum], opens: None, fate: None }),
                    Heard::News => {}
                }
            }
            before.extend(cycle.tries.sum(&step.binding, &stamp));
            before.push(self::intent(&step));
        }
        let opens = before.len().checked_sub(1);
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
            off: _,
        } = step;
        let fate = Record::Fate { intent, verb, binding, cause, until, fate, request, asked, knew, stamp };
        Some(Landed { before, opens, fate: Some(fate) })
    }
}

/// For the log: what became of a call, once where it fails each time in the same way.
fn tell(cycle: &Cycle, step: &Step, fate: &Fate) {
    let Step { verb, binding, .. } = step;
    match fate {
        Fate::Done | Fate::Gone | Fate::Standing | Fate::Absent => {
            tracing::info!(%verb, %binding, %fate, "done")
        }
        Fate::Failed(trouble) | Fate::Unknown(trouble) => {
            let ledger = cycle.ledger();
            let owned = ledger.owned.get(binding).and_then(|owned| owned.hold.retry());
            let recorded = owned.or(ledger.refused.get(binding).map(AsRef::as_ref));
            let before = cycle.tries.attempts().get(binding).or(recorded);
            // A debt is tried for ever, and fails each time in the same way.
            if before.is_some_and(|attempt| attempt.trouble.kind == trouble.kind) {
                tracing::debug!(%verb, %binding, %trouble, "not done");
            } else {
                tracing::warn!(%verb, %binding, %trouble, "not done");
            }
        }
    }
}

fn intent(step: &Step) -> Record {
    let Step { verb, binding, until, holders, cause, act_by, before, nonce, origin: _, intent: _, stated: _, off: _ } =
        step;
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

/// So many at a time: a line is some times as large as its step, and there may be half a million.
fn batches(steps: Vec<Step>) -> impl Iterator<Item = Vec<Step>> {
    let mut steps = steps.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<Step> = steps.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

fn number(steps: Vec<Step>, lines: &[crate::model::Line]) -> Vec<Step> {
    steps.into_iter().zip(lines).map(|(step, line)| Step { intent: line.seq, ..step }).collect()
}
