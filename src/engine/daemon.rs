//! The daemon: everything that happens is handled serially, in one loop; writes and reads run beside it.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::model::{Policy, Span};

use super::{Cycle, Executor, Happening, Outlook, brake::Brake};

/// How long a stopping daemon waits for the calls under way, in real time: their fates are better known than guessed.
const FAREWELL: Duration = Duration::from_secs(20);
/// How many happenings are taken in before the next decision: fates come in bursts, and are journaled in batches.
const BURST: usize = 20_000;
/// The longest that answers are gathered before they are decided on. A grant whose end comes is ended at that moment whatever is being
/// gathered; what has to go because of an answer waits for so long at the most, and for the decision.
pub const GATHER: Duration = Duration::from_secs(1);
/// They are gathered for so many times as long as the last decision took: while they come one by one, that takes a fifth of the time.
const RATHER: u32 = 4;
/// In so many portions they are taken in meanwhile, and journaled, each with one sync.
const PORTIONS: u32 = 8;

/// What the outside asks of the daemon.
pub enum Order {
    /// End, after the calls under way.
    Stop,
    /// The repository may have news.
    Fetch,
    /// The cloud may have changed: look at everything.
    Sweep,
    /// Go on under a new configuration.
    Configure(Arc<Policy>, Pulse),
    /// Prove that the loop goes on (the watchdog's interval).
    Beat,
}

/// When the daemon does what on its own.
#[derive(Clone)]
pub struct Pulse {
    pub poll: Span,
    /// The next sweep after a moment.
    pub sweep: Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>,
}

pub struct Daemon {
    pub cycle: Cycle,
    pub executor: Executor,
    pub pulse: Pulse,
    brake: Brake,
    /// How long the last decision took, and since when answers wait for the next, by the steady clock.
    took: Duration,
    gathers: Option<Duration>,
    /// When the next portion of them is taken in.
    listens: Duration,
}

impl Daemon {
    pub fn new(cycle: Cycle, executor: Executor, pulse: Pulse) -> Self {
        let (took, listens) = (Duration::ZERO, Duration::ZERO);
        Self { cycle, executor, pulse, brake: Brake::default(), took, gathers: None, listens }
    }

    /// Runs until it is told to stop; answers why it gave up, if it did. `told` hears of every turn of the loop: of another outlook only
    /// where anything was decided. Polls, sweeps and pauses wait by the steady clock: a step of the machine's clock neither stops them
    /// nor makes them come all at once. Answers that come in one by one are decided on together ([`GATHER`]).
    pub async fn run(
        mut self,
        mut orders: UnboundedReceiver<Order>,
        mut told: impl FnMut(&Cycle, &Arc<Outlook>),
    ) -> Option<String> {
        let clock = self.cycle.parts.clock.clone();
        let mut poll_at = clock.steady();
        let mut sweep_at = Some(poll_at);
        let mut wake = None;
        loop {
            let steady = clock.steady();
            if steady >= poll_at {
                poll_at = steady.saturating_add(passed(self.pulse.poll));
                self.cycle.fetch();
            }
            if sweep_at.is_some_and(|at| steady >= at) {
                sweep_at = self.next_sweep(steady);
                self.cycle.sweep();
            }
            if self.ripe(steady) || wake.is_some_and(|wake| wake <= self.cycle.now()) {
                let outlook = self.turn();
                told(&self.cycle, &outlook);
                if let Some(who) = self.cycle.book.ousted() {
                    let why = format!("another daemon took the journal, and ends what is due from now on: {who}");
                    self.farewell().await;
                    return Some(why);
                }
                let pause = self.brake.turn(&outlook, self.cycle.now());
                wake = outlook.plan.wake.map(|wake| pause.map_or(wake, |pause| pause.max(wake)));
            }
            let now = self.cycle.now();
            let sooner = wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
            let listens = self.gathers.map(|_| self.listens);
            let due = [Some(poll_at), sweep_at, self.cycle.belt(), self.gathered(), listens.filter(|at| *at > steady)];
            let due = due.into_iter().flatten().map(|at| at.saturating_sub(clock.steady()));
            let span = due.chain(sooner).min().unwrap_or_default();
            let until = SignedDuration::try_from(span).ok().and_then(|span| clock.now().checked_add(span).ok());
            // Biased: an order to stop and a fate go before the next thing to do.
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(Order::Fetch) => poll_at = Duration::ZERO,
                    Some(Order::Sweep) => self.cycle.sweep(),
                    Some(Order::Configure(policy, pulse)) => {
                        self.gathers = None;
                        self.cycle.reconfigure(policy);
                        self.pulse = pulse;
                        sweep_at = self.next_sweep(clock.steady());
                        poll_at = Duration::ZERO;
                    }
                    Some(Order::Beat) => {}
                },
                happening = self.cycle.next(), if listens.is_none_or(|at| at <= steady) => self.gather(happening),
                () = clock.sleep(until.unwrap_or(Timestamp::MAX)) => {}
            }
        }
        self.farewell().await;
        None
    }

    /// Takes in what happened, and lets answers wait for more of them. News of Git's are decided on at once: they may take away.
    fn gather(&mut self, first: Happening) {
        let steady = self.cycle.parts.clock.steady();
        let since = self.gathers.take();
        self.gathers = if self.absorb(first) { None } else { since.or(Some(steady)) };
        self.listens = steady.saturating_add(self.rest() / PORTIONS);
    }

    fn rest(&self) -> Duration {
        GATHER.min(self.took.saturating_mul(RATHER))
    }

    /// Until when answers are gathered.
    fn gathered(&self) -> Option<Duration> {
        self.gathers.map(|since| since.saturating_add(self.rest()))
    }

    /// Whether a decision is not to wait for more answers.
    fn ripe(&self, steady: Duration) -> bool {
        self.gathered().is_none_or(|until| until <= steady)
    }

    /// When the next sweep is, by the steady clock: cron counts on the engine's time.
    fn next_sweep(&self, steady: Duration) -> Option<Duration> {
        let now = self.cycle.now();
        let next = (self.pulse.sweep)(now)?;
        Some(steady.saturating_add(Duration::try_from(next.duration_since(now)).unwrap_or_default()))
    }

    /// Decides and begins what was decided: the steps are the executor's, and the outlook has them no more.
    pub fn turn(&mut self) -> Arc<Outlook> {
        let (begin, decisions) = (self.cycle.parts.clock.steady(), self.cycle.decisions());
        let mut outlook = self.cycle.turn(self.executor.pending());
        if self.cycle.decisions() != decisions {
            self.took = self.cycle.parts.clock.steady().saturating_sub(begin);
        }
        self.gathers = None;
        self.executor.call_off(&outlook.plan.off);
        if outlook.plan.steps.is_empty() {
            return outlook;
        }
        let (now, steady) = (self.cycle.now(), self.cycle.parts.clock.steady());
        // Nobody else has it: one that has steps does not stand.
        let begun = Arc::make_mut(&mut outlook);
        if self.cycle.book.ousted().is_some() {
            begun.plan.steps.clear();
        }
        self.brake.steps(begun, now, steady);
        // There may be half a million.
        self.executor.start(&mut self.cycle, std::mem::take(&mut begun.plan.steps));
        outlook
    }

    /// Takes in one happening, and those that came with it. Answers whether there was news of Git's among them.
    pub fn absorb(&mut self, first: Happening) -> bool {
        let mut fates = Vec::new();
        let mut news = false;
        let mut next = Some(first);
        for _ in 0..BURST {
            let Some(happening) = next else { break };
            news |= matches!(happening, Happening::Fetched(_) | Happening::Taken(_));
            fates.extend(self.cycle.absorb(happening));
            next = self.cycle.ready();
        }
        if let Some(rest) = next {
            news |= matches!(rest, Happening::Fetched(_) | Happening::Taken(_));
            fates.extend(self.cycle.absorb(rest));
        }
        self.executor.absorb(&mut self.cycle, fates);
        news
    }

    /// Whether a call, a look or a fetch is under way.
    pub fn busy(&self) -> bool {
        self.cycle.busy() || !self.executor.pending().is_empty()
    }

    /// Waits for the calls under way, but not for ever: what is not told by then is resolved at the next start.
    async fn farewell(&mut self) {
        let wait = async {
            while !self.executor.pending().is_empty() {
                let happening = self.cycle.next().await;
                self.absorb(happening);
            }
        };
        if tokio::time::timeout(FAREWELL, wait).await.is_err() {
            tracing::warn!(
                calls = self.executor.pending().len(),
                "stopped with calls under way: the next start resolves them"
            );
        }
        self.cycle.sum_up();
    }

    /// Does one cycle to its end: until nothing is under way and nothing more can be done now. Answers the last outlook and
    /// how many calls failed.
    pub async fn once(&mut self) -> (Outlook, usize) {
        let failures = |cycle: &Cycle| {
            let ledger = cycle.ledger();
            ledger.refused.len() + ledger.owned.values().filter(|owned| owned.hold.retry().is_some()).count()
        };
        loop {
            let outlook = self.turn();
            if self.busy() {
                let happening = self.cycle.next().await;
                self.absorb(happening);
            } else if outlook.plan.wake.is_none_or(|wake| wake > self.cycle.now())
                || self.brake.turn(&outlook, self.cycle.now()).is_some()
            {
                let failed = failures(&self.cycle);
                return (Arc::unwrap_or_clone(outlook), failed);
            }
        }
    }
}

fn passed(span: Span) -> Duration {
    Duration::from_secs(u64::try_from(span.as_seconds()).unwrap_or_default())
}
