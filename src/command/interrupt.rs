//! Signals that end a command that would end by itself: it leaves no throw-away folder and no child behind.

use std::{future::poll_fn, process::ExitCode, task::Poll, time::Duration};

use anyhow::Result;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::setup;

/// What a reading that is under way may take to notice that nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a shell adds to the number of a signal that ended a command.
const SIGNALLED: u8 = 128;

/// Does the work of a command to its end, or until it is interrupted.
///
/// # Errors
/// Those of the work, and that the runtime does not start.
pub fn until_interrupted(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = setup::runtime()?;
    let mut signals = Signals::hear(&runtime);
    let (done, interrupted) = runtime.block_on(async {
        tokio::select! {
            biased;
            code = signals.come() => (Ok(code), true),
            done = work => (done, false),
        }
    });
    // With the tasks goes what they hold: children, and folders.
    if interrupted {
        runtime.shutdown_timeout(PATIENCE);
    }
    done
}

/// The signals that end a command, each with its number.
pub struct Signals(Vec<(u8, Signal)>);

impl Signals {
    /// From here on they end nothing by themselves.
    pub fn hear(runtime: &Runtime) -> Self {
        let _entered = runtime.enter();
        let ignored = ignored();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let heard = kinds.into_iter().filter_map(|kind| {
            let number = u8::try_from(kind.as_raw_value()).ok()?;
            let deaf = ignored >> number.checked_sub(1)? & 1 == 1;
            (!deaf).then(|| signal(kind).ok()).flatten().map(|signal| (number, signal))
        });
        Self(heard.collect())
    }

    /// Waits for one. Answers the exit code, as a shell tells it.
    pub async fn come(&mut self) -> ExitCode {
        let number = poll_fn(|context| {
            let come = |(number, signal): &mut (u8, Signal)| signal.poll_recv(context).is_ready().then_some(*number);
            self.0.iter_mut().find_map(come).map_or(Poll::Pending, Poll::Ready)
        });
        ExitCode::from(SIGNALLED.saturating_add(number.await))
    }
}

/// The signals that whoever started us had us ignore, as `nohup` does, a bit each. They stay so.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
