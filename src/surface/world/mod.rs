//! The world: an in-memory cloud, with Windows hosts, IAM, Identity Center, a clock, and faults on request. The demo,
//! the scenarios and the simulations run on it; behind it there may be a YAML file that a person can edit.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;

use super::model::{Binding, Clock, Fate, Recall, Step, Text, Trouble, TroubleKind};

mod adapter;
mod clock;
mod file;
mod show;
mod state;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, Realm};
pub use clock::{Fast, FastClock, ManualClock, Pace, RealClock};
pub use state::{
    Account, Agent, Caseless, Directory, Failure, Fault, Group, Host, Latency, Marker, Member, On, Power, Role, State,
    User,
};

use file::Store;

/// A handle on an in-memory cloud; clones share it.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    store: Mutex<Store>,
    calls: Mutex<Calls>,
    /// What calls came to whose place remembers them, oldest first: as far as SSM remembers its commands.
    memory: Mutex<VecDeque<(Text, Binding, Fate)>>,
}

/// How many calls a world remembers.
const MEMORY: usize = 4096;

/// What was asked of a world through this handle and its clones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// Selectors asked and bindings looked at, by surface.
    pub reads: BTreeMap<Text, u64>,
    /// Steps taken, by surface.
    pub writes: BTreeMap<Text, u64>,
    /// How often the file was replaced.
    pub saves: u64,
}

/// Why a world could not be read or changed. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// The file system's trouble.
    #[error("{0}")]
    Io(String),
    /// The file says something that a world cannot be. Line and column from 1.
    #[error("{file}:{line}:{column}: {message}")]
    Format { file: String, line: u64, column: u64, message: String },
}

impl WorldError {
    fn io(path: &Path, what: &str, error: &io::Error) -> Self {
        Self::Io(format!("{} {what}: {error}", path.display()))
    }

    fn format(error: &serde_saphyr::Error) -> Self {
        let (line, column) = error.location().map_or((1, 1), |spot| (spot.line(), spot.column()));
        let message = error.without_snippet().to_string();
        // The place is told by the fields, once.
        let message = message.strip_suffix(&format!(" at line {line}, column {column}")).unwrap_or(&message).to_owned();
        Self::Format { file: "world".to_owned(), line, column, message }
    }

    fn with_file(self, path: &Path) -> Self {
        match self {
            Self::Format { file: _, line, column, message } => {
                Self::Format { file: path.display().to_string(), line, column, message }
            }
            Self::Io(_) => self,
        }
    }
}

impl World {
    /// A world without a file.
    pub fn new(state: State, clock: Arc<dyn Clock>) -> Self {
        Self::with(Store::in_memory(state), clock)
    }

    /// The world in a file, with a clock of this pace. A fast clock's beginning is written to the file at its first
    /// use.
    pub fn open(path: &Path, pace: Pace) -> Result<Self, WorldError> {
        let mut store = Store::open(path)?;
        let clock: Arc<dyn Clock> = match pace {
            Pace::Real => Arc::new(RealClock),
            Pace::Fast(fast) => {
                let began = match store.fresh()?.clock_began {
                    Some(began) => began,
                    None => store.transact(|state| *state.clock_began.get_or_insert_with(|| RealClock.now()))?,
                };
                Arc::new(FastClock::new(fast, began))
            }
        };
        Ok(Self::with(store, clock))
    }

    /// The world in a file, with a clock of the caller's.
    pub fn open_with(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, WorldError> {
        Ok(Self::with(Store::open(path)?, clock))
    }

    fn with(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                store: Mutex::new(store),
                calls: Mutex::default(),
                memory: Mutex::default(),
            }),
        }
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Everything, as it is now.
    pub fn state(&self) -> Result<State, WorldError> {
        self.store().fresh().cloned()
    }

    /// Whether somebody else changed the file since this handle read or wrote it.
    pub fn edited(&self) -> bool {
        self.store().edited()
    }

    /// Changes anything. With a file, `change` may run a second time if the file was edited meanwhile.
    pub fn edit<T>(&self, change: impl FnMut(&mut State) -> T) -> Result<T, WorldError> {
        self.store().transact(change)
    }

    /// Who has what, one line a host, principal or permission set; see [`State`]'s `Display`.
    pub fn show(&self) -> Result<String, WorldError> {
        Ok(self.store().fresh()?.to_string())
    }

    /// What was asked so far.
    pub fn calls(&self) -> Calls {
        let saves = self.store().saves();
        Calls { saves, ..self.counters().clone() }
    }

    /// Looks at the state and at what goes wrong. A look changes nothing, except that it uses up a fault that is
    /// limited to some calls: only then is the file locked and replaced, so that a reader needs no right to write.
    fn observe<T>(&self, mut look: impl FnMut(&State, &mut Vec<Fault>) -> T) -> Result<T, WorldError> {
        let mut store = self.store();
        let state = store.fresh()?;
        if state.faults.iter().any(|fault| fault.on != On::Write && fault.times.is_some()) {
            store.transact(|state| {
                let mut faults = std::mem::take(&mut state.faults);
                let out = look(state, &mut faults);
                state.faults = faults;
                out
            })
        } else {
            Ok(look(state, &mut state.faults.clone()))
        }
    }

    fn latency(&self) -> Duration {
        // A file that cannot be read is told by the call itself.
        self.store().fresh().ok().and_then(|state| state.latency).unwrap_or_default().0
    }

    /// Waits as long as a call takes.
    async fn wait(&self) {
        let latency = self.latency();
        if !latency.is_zero() {
            let clock = &self.shared.clock;
            let until =
                SignedDuration::try_from(latency).ok().and_then(|latency| clock.now().checked_add(latency).ok());
            if let Some(until) = until {
                clock.sleep(until).await;
            }
        }
    }

    fn count_reads(&self, surface: &'static str, reads: usize) {
        *self.counters().reads.entry(surface.into()).or_default() += reads as u64;
    }

    fn remember(&self, step: &Step, fate: &Fate) {
        let Some(nonce) = &step.nonce else { return };
        let mut memory = self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= MEMORY {
            memory.pop_front();
        }
        memory.push_back((nonce.clone(), step.binding.clone(), fate.clone()));
    }

    fn remembered(&self, call: &Recall) -> Option<Fate> {
        let nonce = call.nonce.as_ref()?;
        let memory = self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memory.iter().rev().find(|(known, binding, _)| known == nonce && *binding == call.binding);
        found.map(|(.., fate)| fate.clone())
    }

    /// Answers the number of the first of these calls, from 1.
    fn count_writes(&self, surface: &'static str, writes: usize) -> u64 {
        let mut calls = self.counters();
        let before: u64 = calls.writes.values().sum();
        *calls.writes.entry(surface.into()).or_default() += writes as u64;
        before + 1
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Calls> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An account, or the sentence that it is missing.
    pub(super) fn account(&self, id: &str) -> Result<&Account, Trouble> {
        self.accounts.get(id).ok_or_else(|| missing("account", id, self.accounts.keys()))
    }

    pub(super) fn account_mut(&mut self, id: &str) -> Result<&mut Account, Trouble> {
        // Looked up twice, because the sentence borrows the map that a find would lend out.
        self.account(id)?;
        self.accounts.get_mut(id).ok_or_else(|| missing("account", id, [].iter()))
    }
}

/// The sentence about a name that is not there, and the spelling that is, if only the case differs.
pub(super) fn missing<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a Text>) -> Trouble {
    let twin = known.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    let detail = match twin {
        Some(twin) => format!("there is no {what} `{name}`; it is spelled `{twin}`"),
        None => format!("there is no {what} `{name}`"),
    };
    Trouble::new(TroubleKind::Gone, detail)
}
