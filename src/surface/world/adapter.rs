//! What all surfaces have in common on a world: faults, latency, request ids, batches, and what each verb means.

use std::num::NonZeroU32;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    super::{
        act::{Act, act, late, removed},
        model::{
            Binding, BoxFuture, Event, Fate, Read, Reading, Recall, Recalled, Seen, Selector, Step, Target, Text,
            Trouble, TroubleKind, Write,
        },
    },
    World, WorldError,
    state::{Failure, Fault, On, State},
};

/// How many calls are under way at a time when calls take time.
const ABREAST: usize = 256;

/// One surface's part of the world.
pub trait Realm: Target {
    /// The places that a selector stands for, in order.
    fn list(&self, _: &State, selector: &Selector) -> Result<Vec<Text>, Trouble> {
        Err(Trouble::new(TroubleKind::Broken, format!("{} has nothing to select", selector.surface)))
    }

    /// Absent, present or gone; a trouble if the place cannot be read. On a surface without markers `ours` is `None`.
    fn look(&self, state: &State, binding: &Binding) -> Result<Seen, Trouble>;

    /// Makes it so, with our marker if the surface has one. Called only after a look that found nothing in the way.
    fn add(&self, state: &mut State, step: &Step) -> Result<(), Trouble>;

    /// Takes away what is ours. Called only after a look that found it.
    fn remove(&self, state: &mut State, binding: &Binding) -> Result<(), Trouble>;
}

/// A surface on a world: its reader and its writer.
pub struct Adapter<R> {
    realm: R,
    world: World,
}

impl<R: Realm + Default> Adapter<R> {
    pub fn new(world: &World) -> Self {
        Self { realm: R::default(), world: world.clone() }
    }
}

impl<R: Realm> Adapter<R> {
    fn answer(&self, state: &State, faults: &mut Vec<Fault>, selector: &Selector) -> Result<Vec<Text>, Trouble> {
        match strike(faults, self.realm.surface(), &selector.scope, On::Read) {
            Some(failure) => Err(failure.trouble()),
            None => self.realm.list(state, selector),
        }
    }

    fn sight(&self, state: &State, faults: &mut Vec<Fault>, binding: &Binding) -> Seen {
        match strike(faults, self.realm.surface(), binding.place(), On::Read) {
            Some(failure) => Seen::Blind(failure.trouble()),
            None => self.realm.look(state, binding).unwrap_or_else(Seen::Blind),
        }
    }

    /// One step, as it lands at `now`.
    fn perform(&self, state: &mut State, step: &Step, now: Timestamp) -> Fate {
        let failure = strike(&mut state.faults, self.realm.surface(), step.binding.place(), On::Write);
        match failure {
            None => self.done(state, step, now),
            Some(Failure::LostReply) => {
                // Whatever came of it, nobody hears.
                self.done(state, step, now);
                Fate::Unknown(Failure::LostReply.trouble())
            }
            Some(failure) => Fate::Failed(failure.trouble()),
        }
    }

    fn done(&self, state: &mut State, step: &Step, now: Timestamp) -> Fate {
        let fate = self.act(state, step, now).unwrap_or_else(Fate::Failed);
        if self.realm.recalls() {
            self.world.remember(step, &fate);
        }
        fate
    }

    fn act(&self, state: &mut State, step: &Step, now: Timestamp) -> Result<Fate, Trouble> {
        if let Some(trouble) = late(step, now) {
            return Err(trouble);
        }
        match act(step, &self.realm.look(state, &step.binding)?) {
            Act::Settled(fate) => Ok(fate),
            Act::Add => self.realm.add(state, step).map(|()| Fate::Done),
            Act::Remove => {
                self.realm.remove(state, &step.binding)?;
                removed(self.realm.look(state, &step.binding)?)
            }
        }
    }
}

impl<R: Realm> Read for Adapter<R> {
    fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>> {
        Box::pin(async move {
            self.world.count_reads(self.realm.surface(), selectors.len() + bindings.len());
            self.world.wait().await;
            let looked = self.world.observe(|state, faults| {
                let answers: Vec<_> = selectors.iter().map(|selector| self.answer(state, faults, selector)).collect();
                let sights: Vec<_> = bindings.iter().map(|binding| self.sight(state, faults, binding)).collect();
                (answers, sights)
            });
            let (answers, sights) = looked.unwrap_or_else(|error| {
                let trouble = Trouble::from(error);
                (vec![Err(trouble.clone()); selectors.len()], vec![Seen::Blind(trouble); bindings.len()])
            });
            let answers = selectors
                .iter()
                .zip(answers)
                .map(|(selector, places)| Reading::Answer { selector: selector.clone(), places });
            let sights =
                bindings.iter().zip(sights).map(|(binding, seen)| Reading::Sight { binding: binding.clone(), seen });
            answers.chain(sights).collect()
        })
    }

    /// The world remembers what it was told in this process, as SSM remembers its commands. What it cannot find may have been
    /// told in another one.
    fn recall<'a>(&'a self, calls: &'a [Recall]) -> BoxFuture<'a, Vec<Recalled>> {
        Box::pin(async move {
            self.world.wait().await;
            let found = self.world.observe(|_, faults| {
                let one = |call: &Recall| match strike(faults, self.realm.surface(), call.binding.place(), On::Read) {
                    Some(failure) => Recalled::Later(failure.trouble()),
                    None => self.world.remembered(call).map_or(Recalled::Lost, Recalled::Came),
                };
                calls.iter().map(one).collect::<Vec<_>>()
            });
            found.unwrap_or_else(|error| vec![Recalled::Later(error.into()); calls.len()])
        })
    }
}

impl<R: Realm> Write for Adapter<R> {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let abreast = if self.world.latency().is_zero() { steps.len() } else { ABREAST };
            for batch in steps.chunks(abreast.max(1)) {
                self.world.wait().await;
                let clock = self.world.clock();
                let first = self.world.count_writes(self.realm.surface(), batch.len());
                let now = clock.now();
                let fates = self
                    .world
                    .edit(|state| batch.iter().map(|step| self.perform(state, step, now)).collect::<Vec<_>>())
                    // Nothing at all was changed: the world is replaced whole or not.
                    .unwrap_or_else(|error| vec![Fate::Failed(error.into()); batch.len()]);
                for ((step, fate), number) in batch.iter().zip(fates).zip(first..) {
                    let intent = step.intent;
                    // The id comes with the answer: where that is lost, nobody knows it. A receiver that went away is
                    // not our trouble, and must not stop the work.
                    if !matches!(fate, Fate::Unknown(_)) {
                        let _ = events.send(Event::Sent { intent, request: format!("world-{number:06}").into() });
                    }
                    let _ = events.send(Event::Done { intent, fate });
                }
                tokio::task::yield_now().await;
            }
        })
    }
}

/// Whether a call is to go wrong, and how; counts the fault that says so.
fn strike(faults: &mut Vec<Fault>, surface: &str, place: &str, on: On) -> Option<Failure> {
    let found = faults.iter().position(|fault| fault.fits(surface, place, on))?;
    let fault = faults.get_mut(found)?;
    let failure = fault.trouble;
    if let Some(times) = fault.times {
        match NonZeroU32::new(times.get() - 1) {
            Some(left) => fault.times = Some(left),
            None => drop(faults.remove(found)),
        }
    }
    Some(failure)
}

impl Fault {
    fn fits(&self, surface: &str, place: &str, on: On) -> bool {
        let below =
            |above: &Text| place.strip_prefix(&**above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (self.on == On::Any || self.on == on)
            && self.surface.as_deref().is_none_or(|named| named == surface)
            && self.place.as_ref().is_none_or(below)
    }
}

impl Failure {
    fn trouble(self) -> Trouble {
        let (kind, detail) = match self {
            Self::Unreachable => (TroubleKind::Unreachable, "no answer"),
            Self::Denied => (TroubleKind::Denied, "AccessDenied: not authorized to perform this call"),
            Self::Throttled => (TroubleKind::Throttled, "Throttling: rate exceeded"),
            Self::Broken => (TroubleKind::Broken, "InternalFailure: an answer that makes no sense"),
            Self::LostReply => (TroubleKind::Unreachable, "the connection was lost before the answer came"),
        };
        Trouble::new(kind, format!("{detail} (a fault of the world)"))
    }
}

impl From<WorldError> for Trouble {
    fn from(error: WorldError) -> Self {
        let kind = match error {
            WorldError::Io(_) => TroubleKind::Unreachable,
            WorldError::Format { .. } => TroubleKind::Broken,
        };
        Self::new(kind, error.to_string())
    }
}
