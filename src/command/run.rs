use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Error, Result, anyhow};
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::block_in_place,
    time::timeout,
};

use crate::{
    cli::Run,
    config::{self, Config},
    decide::{Owing, owed, render::count},
    engine::{Cycle, Daemon, Order, Outlook, keep},
    hooks::{Hooks, Keys},
    model::{Standstill, Still, Text},
    source,
    surface::Cloud,
};

use super::{
    guard, known, log, setup,
    setup::Setup,
    tidy,
    watch::{COMPARE, Hint, Stamp, Watch, stamp},
};

/// How long a burst of file events may go on before it is acted on: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long what reads files may take to notice that the daemon ends.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn run(args: &Run) -> Result<ExitCode> {
    log::begin(args.log)?;
    // Before it is read: what changes from here on is noticed.
    let read = stamp(&args.configured.config);
    let setup = Setup::guarded(&args.configured.config)?;
    let runtime = setup::runtime()?;
    let done = runtime.block_on(daemon(args, setup, read));
    // A disk that does not answer is not waited for.
    runtime.shutdown_timeout(PATIENCE);
    done
}

async fn daemon(args: &Run, setup: Setup, read: Stamp) -> Result<ExitCode> {
    let now = setup.clock().now();
    let book = setup.book(now)?;
    known::keep(&setup.config);
    let hooks = listen(&setup.config).await?;
    let mut cycle = setup.cycle(book)?;
    let unguarded = cycle.parts.policy.unguarded.clone();
    cycle.start(env!("CARGO_PKG_VERSION"));
    let daemon = Daemon::new(cycle, setup.executor(), setup.pulse());
    let (orders, inbox) = unbounded_channel();
    let (hints, heard) = unbounded_channel();
    let watch = watch(&args.configured.config, read, &setup.config, hints.clone());
    signals(&orders, &hints)?;
    beat(&orders);
    tidy::tend(setup.config.state.clone());
    let keys = hooks.as_ref().map(Hooks::keys);
    if let Some(hooks) = hooks.map(Arc::new) {
        let orders = orders.clone();
        // Beside the loop, and gone with the runtime: whatever becomes of it, the polls go on.
        keep("the listening for webhooks", move || {
            let orders = orders.clone();
            hooks.clone().serve(move || drop(orders.send(Order::Fetch)))
        });
    }
    let (path, current, cloud) = (args.configured.config.clone(), setup.config.clone(), setup.cloud.clone());
    let (ends, ended) = tokio::sync::watch::channel(());
    // Behind a lock, so that it goes on from where it broke off.
    let attendant =
        Arc::new(Mutex::new(Attendant { path, current, cloud, keys, watch, hints: heard, orders, unguarded, ended }));
    keep("the watching of files and signals", move || {
        let attendant = attendant.clone();
        async move { attendant.lock().await.attend().await }
    });
    tracing::info!(state = %setup.config.state.display(), branch = setup.config.source.branch, "grantd runs");
    let mut ready = false;
    let mut standstill: Option<Still> = None;
    let mut overdue = Overdue::default();
    let gave_up = daemon
        .run(inbox, |cycle, outlook| {
            if !ready {
                ready = true;
                tell(&[NotifyState::Ready]);
            }
            // While Git is asked for the first time that is no news.
            let waits = |why: &&Standstill| why.kind == Still::Unjudged && cycle.busy();
            let why = outlook.standstill.as_ref().filter(|why| !waits(why));
            if news(&mut standstill, why) {
                match why {
                    Some(why) => tracing::warn!(%why, "nothing is granted or extended; ends go on"),
                    None => tracing::info!("grants go on"),
                }
            }
            let (ledger, held) = (cycle.ledger(), outlook.plan.held.len());
            let overdue = overdue.count(cycle, outlook);
            let trouble = outlook.standstill.as_deref().or(outlook.source.as_deref()).unwrap_or("fine");
            let text = format!("{}, {overdue} overdue, {held} held; {trouble}", count(ledger.grants.len(), "grant"));
            tell(&[NotifyState::Watchdog, NotifyState::Status(&text)]);
        })
        .await;
    tell(&[NotifyState::Stopping]);
    drop(ends);
    if let Some(why) = gave_up {
        return Err(anyhow!(why));
    }
    tracing::info!("grantd stopped");
    Ok(ExitCode::SUCCESS)
}

/// How much is overdue: looked up where anything was decided, and counted by the time where nothing was.
#[derive(Default)]
struct Overdue {
    of: Option<Arc<Outlook>>,
    /// When each is overdue, in order.
    since: Vec<Timestamp>,
}

impl Overdue {
    fn count(&mut self, cycle: &Cycle, outlook: &Arc<Outlook>) -> usize {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, outlook)) {
            let owed = owed(cycle.ledger(), &cycle.parts.policy, cycle.now());
            self.since = owed.iter().filter_map(Owing::overdue).collect();
            self.since.sort_unstable();
            self.of = Some(outlook.clone());
        }
        let now = cycle.now();
        self.since.partition_point(|since| *since <= now)
    }
}

/// Whether it is another kind of standstill than before. Its sentence may hold the time of day, and is none.
fn news(before: &mut Option<Still>, now: Option<&Standstill>) -> bool {
    let now = now.map(|why| why.kind);
    std::mem::replace(before, now) != now
}

/// The listener for webhooks, if the configuration has one.
async fn listen(config: &Config) -> Result<Option<Hooks>> {
    let Some(settings) = &config.hooks else { return Ok(None) };
    let hooks = Hooks::open(settings, setup::credentials().as_deref()).await.map_err(|error| anyhow!(error))?;
    let listen = hooks.address().unwrap_or(settings.listen);
    if !listen.ip().is_loopback() {
        tracing::warn!(%listen, "webhooks are heard beyond this host, and without TLS: a token can be read on the way");
    }
    tracing::info!(%listen, "webhooks are heard");
    Ok(Some(hooks))
}

/// Tells systemd, if it listens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "systemd was not told");
    }
}

/// SIGTERM and SIGINT end the daemon, SIGHUP reloads the configuration.
fn signals(orders: &UnboundedSender<Order>, hints: &UnboundedSender<Hint>) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let signal = Arc::new(Mutex::new(signal(kind).context("signals cannot be caught")?));
        let (orders, hints) = (orders.clone(), hints.clone());
        keep("the hearing of signals", move || {
            let (signal, orders, hints) = (signal.clone(), orders.clone(), hints.clone());
            async move {
                while signal.lock().await.recv().await.is_some() {
                    let _ = if kind == SignalKind::hangup() {
                        hints.send(Hint::Reload).is_ok()
                    } else {
                        orders.send(Order::Stop).is_ok()
                    };
                }
            }
        });
    }
    Ok(())
}

/// Asks the loop for a sign of life twice in each of the watchdog's intervals; only the loop itself answers.
fn beat(orders: &UnboundedSender<Order>) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let orders = orders.clone();
    keep("the beat of the watchdog", move || {
        let orders = orders.clone();
        async move {
            let mut ticks = tokio::time::interval(interval / 2);
            loop {
                ticks.tick().await;
                if orders.send(Order::Beat).is_err() {
                    return;
                }
            }
        }
    });
}

/// Acts on hints for as long as the daemon lives.
struct Attendant {
    path: PathBuf,
    current: Config,
    cloud: Cloud,
    keys: Option<Arc<Keys>>,
    watch: Watch,
    hints: UnboundedReceiver<Hint>,
    orders: UnboundedSender<Order>,
    /// What of all that is trusted by its path somebody else could change, when it was last looked at.
    unguarded: Option<Text>,
    /// Closed when the daemon ends: from then on there are no timers to wait on.
    ended: tokio::sync::watch::Receiver<()>,
}

impl Attendant {
    /// A burst at a time. May be called again after it broke off.
    async fn attend(&mut self) {
        // What it reads may lie on a disk that does not answer: the loop and the timers go on elsewhere.
        let mut burst = block_in_place(|| self.watch.look());
        loop {
            block_in_place(|| {
                burst.extend(self.guard());
                std::mem::take(&mut burst).into_iter().for_each(|hint| self.act(hint));
            });
            let next = async {
                match timeout(COMPARE, self.hints.recv()).await {
                    Ok(Some(first)) => {
                        tokio::time::sleep(QUIET).await;
                        Some(BTreeSet::from([first]))
                    }
                    Ok(None) => None,
                    Err(_) => Some(BTreeSet::new()),
                }
            };
            let next = tokio::select! {
                biased;
                _ = self.ended.changed() => None,
                next = next => next,
            };
            let Some(first) = next else { return };
            burst = first;
            while let Ok(more) = self.hints.try_recv() {
                burst.insert(more);
            }
            // Before it is read: what changes from here on is a hint again.
            burst.extend(block_in_place(|| self.watch.look()));
        }
    }

    /// Tells the loop when what is trusted is opened to others, or closed again: then what was refused for that counts.
    fn guard(&mut self) -> Option<Hint> {
        let policy = guard::policy(&self.path, &self.current);
        if policy.unguarded == self.unguarded {
            return None;
        }
        // The loop tells of the first, and when it is over.
        if let (Some(_), Some(why)) = (&self.unguarded, &policy.unguarded) {
            tracing::warn!(%why, "still nothing is granted or extended");
        }
        self.unguarded.clone_from(&policy.unguarded);
        let _ = self.orders.send(Order::Configure(Arc::new(policy), setup::pulse(&self.current)));
        self.unguarded.is_none().then_some(Hint::Reload)
    }

    fn act(&mut self, hint: Hint) {
        let Self { path, current, cloud, keys, watch: _, hints: _, orders, unguarded: _, ended: _ } = self;
        match hint {
            Hint::Reload => {
                let since = NotifyState::monotonic_usec_now().ok();
                tell(&[NotifyState::Reloading].into_iter().chain(since).collect::<Vec<_>>());
                reload(path, current, cloud, orders);
                if let Some(keys) = keys {
                    keys.reread();
                }
                tell(&[NotifyState::Ready]);
            }
            Hint::Repository => drop(orders.send(Order::Fetch)),
            // Our own writes change the file too; they are no news.
            Hint::World if matches!(cloud, Cloud::World(world) if world.edited()) => drop(orders.send(Order::Sweep)),
            Hint::World => {}
        }
    }
}

/// Loads the configuration anew. One that cannot be used is refused: the old one stays.
fn reload(path: &Path, current: &mut Config, cloud: &Cloud, orders: &UnboundedSender<Order>) {
    let refuse = |why: &str| tracing::error!(error = why, "the new configuration is refused, the old one stays");
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        return refuse(&format!("{} is no regular file", path.display()));
    }
    let new = match guard::configuration(path).map_err(Error::msg).and_then(|()| Ok(Config::load(path)?)) {
        Ok(new) => new,
        Err(error) => return refuse(&error.to_string()),
    };
    if new == *current {
        return tracing::info!("the configuration is the same");
    }
    // What the daemon was built from; poll may change.
    let source = source::Settings { poll: current.source.poll, ..new.source.clone() };
    if source != current.source
        || new.state != current.state
        || new.cloud != current.cloud
        || new.hooks != current.hooks
        || new.trust.keys != current.trust.keys
        || new.trust.forge != current.trust.forge
    {
        return refuse(
            "source (but for poll), state, cloud, trust.keys, trust.forge and hooks change only with a restart; what the files of the keys hold counts at once",
        );
    }
    tracing::info!("the configuration is reloaded");
    cloud.configure(new.accounts.values(), &new.surfaces());
    let _ = orders.send(Order::Configure(Arc::new(guard::policy(path, &new)), setup::pulse(&new)));
    known::keep(&new);
    *current = new;
}

/// What is watched: the configuration, the world's file and a local repository.
fn watch(path: &Path, read: Stamp, config: &Config, hints: UnboundedSender<Hint>) -> Watch {
    let mut watch = Watch::new(hints);
    watch.file(path, Hint::Reload, read);
    if let config::Cloud::World(world) = &config.cloud {
        watch.file(&world.world, Hint::World, None);
    }
    let url = config.source.url.strip_prefix("file://").unwrap_or(&config.source.url);
    if Path::new(url).is_absolute() {
        let work = Path::new(url).join(".git");
        let repository = if work.is_dir() { work } else { url.into() };
        watch.folder(&repository.join("refs/heads"), Hint::Repository);
    }
    watch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_that_moves_is_no_news() {
        let (mut before, clock) = (None, |text: &str| Some(Standstill::new(Still::Clock, text)));
        let seen = [
            (None, false),
            (clock("it is 09:01"), true),
            (clock("it is 09:02"), false),
            (Some(Standstill::new(Still::Unread, "no process")), true),
            (clock("it is 09:03"), true),
            (None, true),
            (None, false),
        ];
        for (now, new) in seen {
            assert_eq!(news(&mut before, now.as_ref()), new, "{now:?}");
        }
    }
}
