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
}

impl Daemon {
    pub fn new(cycle: Cycle, executor: Executor, pulse: Pulse) -> Self {
        Self { cycle, executor, pulse, brake: Brake::default() }
    }

    /// Runs until it is told to stop; answers why it gave up, if it did. `told` hears of every turn of the loop. Polls, sweeps and pauses wait by the steady clock:
    /// a step of the machine's clock neither stops them nor makes them come all at once.
    pub async fn run(
        mut self,
        mut orders: UnboundedReceiver<Order>,
        mut told: impl FnMut(&Cycle, &Outlook),
    ) -> Option<String> {
        let clock = self.cycle.parts.clock.clone();
        let mut poll_at = clock.steady();
        let mut sweep_at = Some(poll_at);
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
            let outlook = self.turn();
            told(&self.cycle, &outlook);
            if let Some(who) = self.cycle.book.ousted() {
                let why = format!("another daemon took the journal, and ends what is due from now on: {who}");
                self.farewell().await;
                return Some(why);
            }
            let now = self.cycle.now();
            let pause = self.brake.turn(&outlook, now);
            let wake = outlook.plan.wake.map(|wake| pause.map_or(wake, |pause| pause.max(wake)));
            let wake = wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
            let due = [Some(poll_at), sweep_at].into_iter().flatten().map(|at| at.saturating_sub(clock.steady()));
            let span = due.chain(wake).min().unwrap_or_default();
            let until = SignedDuration::try_from(span).ok().and_then(|span| clock.now().checked_add(span).ok());
            // Biased: an order to stop and a fate go before the next thing to do.
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(Order::Fetch) => poll_at = Duration::ZERO,
                    Some(Order::Sweep) => self.cycle.sweep(),
                    Some(Order::Configure(policy, pulse)) => {
                        self.cycle.reconfigure(policy);
                        self.pulse = pulse;
                        sweep_at = self.next_sweep(clock.steady());
                        poll_at = Duration::ZERO;
                    }
                    Some(Order::Beat) => {}
                },
                happening = self.cycle.next() => self.absorb(happening),
                () = clock.sleep(until.unwrap_or(Timestamp::MAX)) => {}
            }
        }
        self.farewell().await;
        None
    }

    /// When the next sweep is, by the steady clock: cron counts on the engine's time.
    fn next_sweep(&self, steady: Duration) -> Option<Duration> {
        let now = self.cycle.now();
        let next = (self.pulse.sweep)(now)?;
        Some(steady.saturating_add(Duration::try_from(next.duration_since(now)).unwrap_or_default()))
    }

    /// Decides and begins what was decided.
    pub fn turn(&mut self) -> Outlook {
        let mut outlook = self.cycle.turn(self.executor.pending());
        let (now, steady) = (self.cycle.now(), self.cycle.parts.clock.steady());
        if self.cycle.book.ousted().is_some() {
            outlook.plan.steps.clear();
        }
        self.brake.steps(&mut outlook, now, steady);
        self.executor.call_off(&outlook.plan.off);
        self.executor.start(&mut self.cycle, outlook.plan.steps.clone());
        outlook
    }

    /// Takes in one happening, and those that came with it.
    pub fn absorb(&mut self, first: Happening) {
        let mut fates = Vec::new();
        let mut next = Some(first);
        for _ in 0..BURST {
            let Some(happening) = next else { break };
            fates.extend(self.cycle.absorb(happening));
            next = self.cycle.ready();
        }
        if let Some(rest) = next {
            fates.extend(self.cycle.absorb(rest));
        }
        self.executor.absorb(&mut self.cycle, fates);
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
                return (outlook, failed);
            }
        }
    }
}

fn passed(span: Span) -> Duration {
    Duration::from_secs(u64::try_from(span.as_seconds()).unwrap_or_default())
}
