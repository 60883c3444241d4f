use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use jiff::SignedDuration;

use super::*;

fn fast(speed: u32) -> Fast {
    Fast { start: noon(), speed: NonZeroU32::new(speed).unwrap() }
}

#[tokio::test]
async fn the_real_clock_sleeps_to_its_moment() {
    let clock = RealClock;
    let until = clock.now() + SignedDuration::from_millis(30);
    clock.sleep(until).await;
    assert!(clock.now() >= until);
    let begun = Instant::now();
    clock.sleep(noon() - SignedDuration::from_hours(24 * 365 * 10)).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "what is past needs no sleep");
}

#[tokio::test]
async fn the_fast_clock_divides_its_sleeps() {
    let clock = FastClock::new(fast(3600), RealClock.now());
    assert!(clock.now() >= noon() && clock.now() < noon() + SignedDuration::from_hours(1));
    let begun = Instant::now();
    let until = clock.now() + SignedDuration::from_mins(6);
    clock.sleep(until).await;
    assert!(clock.now() >= until);
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(95) && took < Duration::from_secs(1),
        "{took:?} for 100 ms, less than one slice"
    );
}

#[test]
fn the_fast_clock_is_a_line_through_its_beginning() {
    let ago = RealClock.now() - SignedDuration::from_secs(100);
    let passed = FastClock::new(fast(60), ago).now().duration_since(noon()).as_secs();
    assert!((6_000..7_800).contains(&passed), "{passed} s after 100 s at sixty times");
    let far = FastClock::new(fast(u32::MAX), noon() - SignedDuration::from_hours(24 * 365 * 100));
    assert_eq!(far.now(), Timestamp::MAX, "the end of time is no overflow");
}

#[tokio::test]
async fn the_manual_clock_wakes_whom_it_passes() {
    let clock = Arc::new(ManualClock::new(noon()));
    let woken = Arc::new(AtomicBool::new(false));
    let sleeper = tokio::spawn({
        let (clock, woken) = (Arc::clone(&clock), Arc::clone(&woken));
        async move {
            clock.sleep(at("2026-11-20T12:10:00Z")).await;
            woken.store(true, Ordering::SeqCst);
        }
    });
    let pause = || tokio::time::sleep(Duration::from_millis(20));
    pause().await;
    assert_eq!(clock.next(), Some(at("2026-11-20T12:10:00Z")));
    clock.advance(SignedDuration::from_mins(9));
    pause().await;
    assert!(!woken.load(Ordering::SeqCst), "a minute is left");
    clock.set(at("2026-11-20T12:10:00Z"));
    sleeper.await.unwrap();
    assert_eq!(clock.next(), None);
    clock.sleep(noon()).await;
    drop(clock.sleep(at("2026-11-20T13:00:00Z")));
    assert_eq!(clock.next(), None, "a sleep that nobody awaits is not waited for");
}

#[test]
fn a_pace_is_a_word_or_a_map() {
    let read = |text| serde_saphyr::from_str::<Pace>(text);
    assert_eq!(read("real").unwrap(), Pace::Real);
    assert_eq!(read("{ start: 2026-11-20T12:00:00Z, speed: 60 }").unwrap(), Pace::Fast(fast(60)));
    for bad in [
        "quick",
        "{ start: 2026-11-20T12:00:00Z, speed: 0 }",
        "{ speed: 60 }",
        "{ start: 2026-11-20T12:00:00Z, speed: 6, x: 1 }",
    ] {
        read(bad).unwrap_err();
    }
}

#[test]
fn latencies_have_one_grammar() {
    for good in ["0ms", "200ms", "2s", "3600s"] {
        assert_eq!(good.parse::<Latency>().unwrap().to_string().parse::<Latency>(), good.parse(), "{good}");
    }
    for bad in ["", "s", "ms", "200", "0.2s", "-1s", "+1s", "1m", "3601s", " 1s", "99999999ms"] {
        assert!(bad.parse::<Latency>().is_err(), "{bad:?}");
    }
}
