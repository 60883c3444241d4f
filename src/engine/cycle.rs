//! The reading and deciding half: fetch, survey, admit, desire, plan. It cannot write to the cloud: it has no writers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    decide::{Intake, Reach, desire},
    model::{Binding, GrantId, Ledger, Policy, Record, Selector, Survey},
};

use super::{
    Book, Broke,
    age::{Age, Distrust},
    blind,
    counted::Counted,
    intake::Librarian,
    looks::Sight,
    parts::{Happening, Outlook, Parts},
    spawn,
    still::Still,
    tries::Tries,
    troubles::Troubles,
};

pub struct Cycle {
    pub parts: Parts,
    pub book: Book,
    pub(super) survey: Counted<Survey>,
    pub(super) intake: Counted<Option<Intake>>,
    /// At home, or out with a task that reads a revision.
    pub(super) librarian: Option<Librarian>,
    pub(super) fetching: bool,
    /// Somebody asked again while a fetch was under way: there may be news that it did not see.
    pub(super) again: bool,
    pub(super) answered: Option<Timestamp>,
    /// Git told this process what it says, or that it cannot.
    pub(super) heard: bool,
    /// When this process began, by the steady clock.
    pub(super) begun: Duration,
    /// When the head of the intake was first seen.
    pub(super) since: Timestamp,
    pub(super) troubles: Troubles,
    /// Looks that are under way.
    pub(super) reading: Counted<BTreeMap<Binding, Sight>>,
    /// Lost answers that are being fetched.
    pub(super) recalling: Counted<BTreeSet<u64>>,
    /// Selectors whose answers are under way.
    pub(super) asking: Counted<BTreeSet<Selector>>,
    pub(super) blinds: blind::Blinds,
    /// Accepted by this process.
    pub(super) fresh: Counted<BTreeSet<GrantId>>,
    pub(super) reach: Arc<Reach>,
    happenings: UnboundedReceiver<Happening>,
    sender: UnboundedSender<Happening>,
    pub(super) tasks: usize,
    pub(super) tries: Counted<Tries>,
    pub(super) age: Age,
    pub(super) still: Still,
}

impl Cycle {
    pub fn new(parts: Parts, book: Book) -> Self {
        let (sender, happenings) = unbounded_channel();
        Self {
            age: Age::new(parts.clock.as_ref(), book.ledger()),
            begun: parts.clock.steady(),
            parts,
            book,
            survey: Counted::default(),
            intake: Counted::default(),
            librarian: Some(Librarian::default()),
            fetching: false,
            again: false,
            answered: None,
            heard: false,
            since: Timestamp::MIN,
            troubles: Troubles::default(),
            reading: Counted::default(),
            recalling: Counted::default(),
            asking: Counted::default(),
            blinds: blind::Blinds::default(),
            fresh: Counted::default(),
            reach: Arc::default(),
            happenings,
            sender,
            tasks: 0,
            tries: Counted::default(),
            still: Still::default(),
        }
    }

    pub fn sender(&self) -> UnboundedSender<Happening> {
        self.sender.clone()
    }
    pub fn ledger(&self) -> &Ledger {
        self.book.ledger()
    }

    /// Now, by the engine's own time, which no step of the machine's clock stops or turns back.
    pub fn now(&self) -> Timestamp {
        self.age.now(self.parts.clock.as_ref())
    }

    /// Records that this process took the journal over.
    pub fn start(&mut self, version: &str) {
        let start = self.age.start(self.parts.clock.as_ref(), version);
        self.book.write(self.now(), vec![start]);
    }

    /// Takes the machine's clock for right, as an operator says. Answers why it was not trusted; `None` if it was.
    ///
    /// # Errors
    /// The journal cannot be written: then nothing was accepted.
    pub fn accept_clock(&mut self, because: &str) -> Result<Option<Distrust>, &'static str> {
        self.time();
        let clock = self.parts.clock.clone();
        let Some(distrust) = self.age.distrust(clock.as_ref()) else { return Ok(None) };
        let record = self.age.accept(clock.as_ref(), because);
        match self.book.write(self.now(), vec![record]) {
            Some(_) => Ok(Some(distrust)),
            None => Err("the journal cannot be written: nothing was accepted"),
        }
    }

    /// Looks at the machine's clock, and records what it did where time goes on otherwise from now on.
    pub(super) fn time(&mut self) {
        let clock = self.parts.clock.clone();
        let record = self.age.look(clock.as_ref());
        let record = record.or_else(|| self.age.drift(clock.steady(), self.ledger().era.as_ref()));
        let Some(record) = record else { return };
        let back = matches!(record, Record::Clock { step, .. } if step < 0);
        let now = self.now();
        self.book.write_anyway(now, vec![record]);
        if !back {
            return;
        }
        tracing::warn!("the machine's clock was put right: time goes on from there");
        // Whatever was stamped with a moment that has not come yet would wait for it.
        self.survey.clear();
        self.asking.clear();
        self.reading.values_mut().for_each(|sight| *sight = Sight::Stale);
        self.since = self.since.min(now);
        self.answered = self.answered.map(|at| at.min(now));
        self.troubles.clamp(now);
        self.tries.clamp(now);
        if let Some(intake) = &mut *self.intake {
            intake.at = intake.at.min(now);
        }
    }

    /// Whether a fetch, a read of a revision or a look at the cloud is under way.
    pub fn busy(&self) -> bool {
        self.tasks > 0
    }

    /// When Git last answered.
    pub fn answered(&self) -> Option<Timestamp> {
        self.answered
    }

    /// A new policy: what was parsed under the old one is parsed again with the next revision.
    pub fn reconfigure(&mut self, policy: Arc<Policy>) {
        self.parts.policy = policy;
        self.survey.answers.clear();
        self.survey.ask_again();
        self.asking.clear();
        if let Some(librarian) = &mut self.librarian {
            librarian.forget();
        }
        *self.intake = None;
    }

    /// A revision from elsewhere (the files of a working tree), in place of Git's.
    pub fn adopt(&mut self, intake: Intake) {
        *self.intake = Some(intake);
    }

    /// Goes on with another journal, that says the same: what was decided on a draft is decided anew, from what was read.
    pub fn rest_on(&mut self, book: Book) {
        self.age = Age::new(self.parts.clock.as_ref(), book.ledger());
        self.book = book;
        self.fresh.clear();
    }

    /// Looks at everything: all that is wanted or owned, and every selector.
    pub fn sweep(&mut self) {
        let now = self.now();
        let policy = Reach::renew(&mut self.reach, &self.parts.policy, self.book.ledger());
        let wanted = desire(self.book.ledger(), &self.survey, &self.parts.targets, &policy, now);
        let bindings: BTreeSet<Binding> =
            wanted.bindings.keys().cloned().chain(self.ledger().owned.keys().cloned()).collect();
        self.read(wanted.selectors, bindings);
    }

    /// Decides again and again until every look that a plan waits for has come back. For commands that show or do one
    /// cycle; expects that no call is under way.
    pub async fn settle(&mut self) -> Outlook {
        let pending = Counted::default();
        loop {
            let outlook = self.turn(&pending);
            let again = !outlook.plan.records.is_empty() && self.book.fault().is_none();
            if self.busy() {
                let happening = self.next().await;
                self.absorb(happening);
            } else if !again {
                return Arc::unwrap_or_clone(outlook);
            }
        }
    }

    /// Puts failures on record that were only counted so far.
    pub fn sum_up(&mut self) {
        let now = self.now();
        let sums = self.tries.all(self.book.ledger());
        self.book.write(now, sums);
    }

    /// Lets held withdrawals and suspensions take effect now, as an operator signed off by digest.
    pub fn release(&mut self, grants: Vec<GrantId>, digest: &str) -> bool {
        let now = self.now();
        grants.is_empty() || self.book.write(now, vec![Record::Release { grants, digest: digest.into() }]).is_some()
    }

    /// The next happening; waits for one.
    pub async fn next(&mut self) -> Happening {
        match self.happenings.recv().await {
            Some(happening) => happening,
            // Never: we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// A happening that is there already.
    pub fn ready(&mut self) -> Option<Happening> {
        self.happenings.try_recv().ok()
    }

    /// Takes in what concerns the reading half; hands back what concerns the writing one.
    pub fn absorb(&mut self, happening: Happening) -> Option<Happening> {
        match happening {
            Happening::Told(_) | Happening::Through(_) => return Some(happening),
            Happening::Fetched(answer) => self.fetched(answer),
            Happening::Taken(taken) => self.taken(*taken),
            Happening::Read(began, readings) => self.looked(began, readings),
            Happening::Recalled(answers) => self.recalled(answers),
        }
        if self.again && !self.fetching {
            self.fetch();
        }
        None
    }

    /// A call to this binding ended: what was seen of it before, or is being looked at now, says nothing any more.
    pub fn changed(&mut self, binding: &Binding) {
        self.survey.unsee(binding);
        if let Some(sight) = self.reading.get_mut(binding) {
            *sight = Sight::Stale;
        }
    }

    /// Begins a task; whatever becomes of it, one happening comes of it.
    pub(super) fn spawn<T: Send + 'static>(
        &mut self,
        what: &'static str,
        task: impl Future<Output = T> + Send + 'static,
        tell: impl FnOnce(Result<T, Broke>) -> Happening + Send + 'static,
    ) {
        self.tasks += 1;
        let sender = self.sender.clone();
        // The receiver is gone only when the process ends.
        spawn(what, task, move |end| drop(sender.send(tell(end))));
    }
}
