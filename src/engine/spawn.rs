//! The one place where tasks begin. Whatever becomes of a task, its end is told: a task that panics and is not missed would
//! leave what it was to bring awaited for ever.

use std::time::Duration;

use tokio::task::JoinHandle;

/// How long a task that broke off rests before it is begun again: twice as long each time, at most [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A task ended without an answer: it panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} broke off: {why}")]
pub struct Broke {
    what: &'static str,
    why: String,
}

/// Begins a task beside everything else; waiting for the answer brings its own, or why there is none.
pub fn begin<T: Send + 'static>(
    what: &'static str,
    task: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Broke>> + Send {
    let running: JoinHandle<T> = tokio::spawn(task);
    async move {
        running.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => {
                let broke = Broke { what, why: said(panic.as_ref()) };
                tracing::error!(error = %broke, "a task broke off: please report this");
                broke
            }
            // With the process.
            Err(error) => Broke { what, why: error.to_string() },
        })
    }
}

/// Begins a task and hands its end to `done`, exactly once, whatever becomes of it.
pub fn spawn<T: Send + 'static>(
    what: &'static str,
    task: impl Future<Output = T> + Send + 'static,
    done: impl FnOnce(Result<T, Broke>) + Send + 'static,
) {
    let end = begin(what, task);
    tokio::spawn(async move { done(end.await) });
}

/// Keeps a task going that is to last as long as the process: one that breaks off is begun again after a pause, and told
/// each time. One that ends well has nothing left to do.
pub fn keep<F: Future<Output = ()> + Send + 'static>(what: &'static str, make: impl Fn() -> F + Send + 'static) {
    tokio::spawn(async move {
        let mut pause = SHORTEST;
        while begin(what, make()).await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    });
}

/// What a panic said, for a person.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_told_whatever_becomes_of_it() {
        let (ends, mut told) = tokio::sync::mpsc::unbounded_channel();
        for broken in [false, true] {
            let ends = ends.clone();
            spawn("counting", async move { if broken { panic!("planted") } else { 7 } }, move |end| {
                ends.send(end).unwrap();
            });
            let end = told.recv().await.unwrap();
            match broken {
                false => assert_eq!(end, Ok(7)),
                true => assert_eq!(end.unwrap_err().to_string(), "counting broke off: planted"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_to_last_is_begun_again() {
        let count = Arc::new(AtomicUsize::new(0));
        let (done, mut end) = tokio::sync::mpsc::unbounded_channel();
        let counted = count.clone();
        keep("attending", move || {
            let (count, done) = (counted.clone(), done.clone());
            async move {
                assert!(count.fetch_add(1, Ordering::SeqCst) >= 1, "planted");
                done.send(()).unwrap();
            }
        });
        end.recv().await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    /// As the tasks at the edge do it: what they hold lies behind a lock, and outlives them.
    #[tokio::test]
    async fn what_breaks_off_goes_on_with_what_it_held() {
        let (orders, heard) = tokio::sync::mpsc::unbounded_channel();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let held = Arc::new(tokio::sync::Mutex::new(heard));
        keep("hearing", move || {
            let (held, tell) = (held.clone(), tell.clone());
            async move {
                while let Some(order) = held.lock().await.recv().await {
                    assert_ne!(order, "break", "planted");
                    tell.send(order).unwrap();
                }
            }
        });
        for order in ["one", "break", "two"] {
            orders.send(order).unwrap();
        }
        assert_eq!((told.recv().await, told.recv().await), (Some("one"), Some("two")));
    }
}
