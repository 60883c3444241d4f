//! The daemon: everything that happens is handled serially, in one loop; writes and reads run beside it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::model::{Policy, Span};

use super::{Cycle, Executor, Happening, Outlook};

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
}

impl Daemon {
    /// Runs until it is told to stop. `told` hears of every turn of the loop.
    pub async fn run(mut self, mut orders: UnboundedReceiver<Order>, mut told: impl FnMut(&Cycle, &Outlook)) {
        let clock = self.cycle.parts.clock.clone();
        let mut polled = self.cycle.now();
        let mut sweep_at = (self.pulse.sweep)(polled);
        self.cycle.fetch();
        self.cycle.sweep();
        loop {
            let outlook = self.turn();
            told(&self.cycle, &outlook);
            let poll_at = self.pulse.poll.after(polled);
            let wake = [sweep_at, outlook.plan.wake].into_iter().flatten().fold(poll_at, Timestamp::min);
            let by_clock = wake.checked_sub(self.cycle.ahead()).unwrap_or(wake);
            // Biased: an order to stop and a fate go before the next thing to do.
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(Order::Fetch) => {
                        polled = self.cycle.now();
                        self.cycle.fetch();
                    }
                    Some(Order::Sweep) => self.cycle.sweep(),
                    Some(Order::Configure(policy, pulse)) => {
                        self.cycle.reconfigure(policy);
                        self.pulse = pulse;
                        sweep_at = (self.pulse.sweep)(self.cycle.now());
                        self.cycle.fetch();
                    }
                    Some(Order::Beat) => {}
                },
                happening = self.cycle.next() => self.absorb(happening),
                () = clock.sleep(by_clock) => {}
            }
            let now = self.cycle.now();
            if now >= self.pulse.poll.after(polled) {
                polled = now;
                self.cycle.fetch();
            }
            if sweep_at.is_some_and(|at| now >= at) {
                sweep_at = (self.pulse.sweep)(now);
                self.cycle.sweep();
            }
        }
        self.farewell().await;
    }

    /// Decides and begins what was decided.
    pub fn turn(&mut self) -> Outlook {
        let outlook = self.cycle.turn(self.executor.pending());
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
    }

    /// Does one cycle to its end: until nothing is under way and nothing more can be done now. Answers the last outlook and
    /// how many calls failed.
    pub async fn once(&mut self) -> (Outlook, usize) {
        let failures = |cycle: &Cycle| {
            let ledger = cycle.ledger();
            ledger.refused.len() + ledger.owned.values().filter(|owned| owned.attempt.is_some()).count()
        };
        loop {
            let outlook = self.turn();
            if self.busy() {
                let happening = self.cycle.next().await;
                self.absorb(happening);
            } else if outlook.plan.wake.is_none_or(|wake| wake > self.cycle.now()) {
                let failed = failures(&self.cycle);
                return (outlook, failed);
            }
        }
    }
}
