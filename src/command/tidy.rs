//! Beside the daemon's loop: closed segments of the journal are compressed.

use std::{
    path::PathBuf,
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use crate::{engine::keep, journal};

/// How long until it is looked again whether there is something to do, or after a failure.
const ROUND: Duration = Duration::from_secs(60 * 60);
/// How long it rests after each bit of work, in the time that it took: a fifth of one core is enough for it.
const REST: u32 = 4;

/// Begins it, for as long as the daemon lives. Nothing waits for it, and what fails is told and tried again.
pub fn tend(state: PathBuf) {
    keep("the compressing of the journal", move || {
        let state = state.clone();
        async move {
            let mut trouble = None;
            loop {
                round(&state, &mut trouble).await;
                tokio::time::sleep(ROUND).await;
            }
        }
    });
}

async fn round(state: &std::path::Path, trouble: &mut Option<String>) {
    let state = state.to_owned();
    // Dropped with this task: a daemon that ends does not wait for it.
    let (alive, gone) = channel::<()>();
    let work = tokio::task::spawn_blocking(move || {
        let mut since = Instant::now();
        journal::pack(&state, &mut || {
            let go_on = gone.recv_timeout(since.elapsed() * REST) == Err(RecvTimeoutError::Timeout);
            since = Instant::now();
            go_on
        })
    });
    let done = work.await.map_err(|error| error.to_string());
    drop(alive);
    match done.and_then(|done| done.map_err(|error| error.to_string())) {
        Ok(segments) => {
            if segments > 0 {
                tracing::info!(segments, "closed segments of the journal are compressed");
            }
            if trouble.take().is_some() {
                tracing::info!("closed segments of the journal can be compressed again");
            }
        }
        Err(why) => {
            if trouble.as_ref() != Some(&why) {
                tracing::warn!(error = why, "a closed segment of the journal cannot be compressed; it stays as it is");
            }
            *trouble = Some(why);
        }
    }
}
