use std::{
    cell::Cell,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::hooks::{
    forge::Forge,
    memory::{DELIVERIES, Deliveries, Hush, QUIET},
    server::pace,
};

/// Driven by hand: the window ends when the test says so.
#[test]
fn the_first_hint_is_told_at_once_and_those_of_the_window_become_one() {
    let (heard, end, told) = (Notify::new(), Notify::new(), Cell::new(0));
    let mut pacing = pin!(pace(&heard, || end.notified(), || told.set(told.get() + 1)));
    let mut go = || {
        assert!(pacing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        told.get()
    };
    assert_eq!(go(), 0);
    heard.notify_one();
    assert_eq!(go(), 1, "the first one waits");
    for _ in 0..100 {
        heard.notify_one();
        assert_eq!(go(), 1, "told within the window");
    }
    end.notify_one();
    assert_eq!(go(), 2, "what came within the window is lost");
    assert_eq!(go(), 2);
    // The window after a late hint counts, too.
    heard.notify_one();
    assert_eq!(go(), 2);
    end.notify_one();
    assert_eq!(go(), 3);
    end.notify_one();
    assert_eq!(go(), 3, "told without a hint");
    heard.notify_one();
    assert_eq!(go(), 4, "after a quiet window the next one waits");
}

#[test]
fn deliveries_are_remembered_and_the_memory_is_bounded() {
    let mut memory = Deliveries::default();
    let id = |at: usize| format!("delivery-{at}").into_bytes();
    for at in 0..DELIVERIES {
        assert!(memory.note(Forge::GitHub, &id(at)));
    }
    for at in 0..DELIVERIES {
        assert!(!memory.note(Forge::GitHub, &id(at)), "{at} is forgotten");
    }
    // A replay makes nothing younger, and one more forgets the oldest alone.
    assert!(memory.note(Forge::GitHub, &id(DELIVERIES)));
    assert!(!memory.note(Forge::GitHub, &id(1)));
    assert!(memory.note(Forge::GitHub, &id(0)));
    for at in 0..10 * DELIVERIES {
        memory.note(Forge::GitLab, &vec![b'x'; at]);
    }
    assert_eq!(memory.len(), (DELIVERIES, DELIVERIES));
}

#[test]
fn the_log_hears_of_a_flood_now_and_then() {
    let (mut hush, begin) = (Hush::default(), Instant::now());
    assert_eq!(hush.tell(begin), Some(0), "the first one is told");
    for at in 1..10_000 {
        assert_eq!(hush.tell(begin + Duration::from_micros(at)), None);
    }
    assert_eq!(hush.tell(begin + QUIET), Some(9_999), "it says how many it kept quiet");
    assert_eq!(hush.tell(begin + QUIET), None);
    assert_eq!(hush.tell(begin + 3 * QUIET), Some(1));
}
