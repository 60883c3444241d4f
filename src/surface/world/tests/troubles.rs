use std::{num::NonZeroU32, time::Duration};

use super::*;

fn fault(place: Option<&str>, on: On, trouble: Failure, times: u32) -> Fault {
    Fault { surface: None, place: place.map(Into::into), on, trouble, times: NonZeroU32::new(times) }
}

fn with(faults: &[Fault]) -> World {
    let world = small();
    world.edit(|state| state.faults = faults.to_vec()).unwrap();
    world
}

#[tokio::test]
async fn a_fault_lasts_for_its_times() {
    let world = with(&[fault(None, On::Write, Failure::Throttled, 2)]);
    let binding = admin("i-0abc", r"corp\jdoe");
    assert_eq!(failed(act(&world, Verb::Grant, &binding).await).0, TroubleKind::Throttled);
    assert_eq!(seen(&world, &binding).await, Seen::Absent, "reads are not touched, and nothing was done");
    assert_eq!(failed(act(&world, Verb::Grant, &binding).await).0, TroubleKind::Throttled);
    assert_eq!(world.state().unwrap().faults, []);
    assert_eq!(act(&world, Verb::Grant, &binding).await, Fate::Done);
}

#[tokio::test]
async fn a_fault_without_times_stays_and_one_on_reads_blinds() {
    let world = with(&[fault(None, On::Read, Failure::Denied, 1), fault(None, On::Any, Failure::Broken, 0)]);
    let binding = member("Auditors", "jdoe");
    assert_eq!(blind(seen(&world, &binding).await), TroubleKind::Denied);
    for _ in 0..3 {
        assert_eq!(blind(seen(&world, &binding).await), TroubleKind::Broken);
        assert_eq!(failed(act(&world, Verb::Revoke, &binding).await).0, TroubleKind::Broken);
    }
}

#[tokio::test]
async fn a_fault_keeps_to_its_place_and_surface() {
    let world = with(&[fault(Some("123456789012/us-east-1/i-0ab"), On::Any, Failure::Unreachable, 0)]);
    assert_eq!(seen(&world, &admin("i-0abc", r"corp\jdoe")).await, Seen::Absent, "half a segment is no prefix");
    let world = with(&[fault(Some("123456789012/us-east-1"), On::Any, Failure::Unreachable, 0)]);
    assert_eq!(blind(seen(&world, &admin("i-0abc", r"corp\jdoe")).await), TroubleKind::Unreachable);
    assert_eq!(seen(&world, &member("Auditors", "jdoe")).await, Seen::Absent);
    let only = Fault { surface: Some("iam-group".into()), ..fault(None, On::Any, Failure::Unreachable, 0) };
    let world = with(&[only]);
    assert_eq!(seen(&world, &admin("i-0abc", r"corp\jdoe")).await, Seen::Absent);
    assert_eq!(blind(seen(&world, &member("Auditors", "jdoe")).await), TroubleKind::Unreachable);
}

#[tokio::test]
async fn a_selector_can_fail_too() {
    let world = with(&[fault(Some("123456789012/us-east-1"), On::Read, Failure::Throttled, 1)]);
    let selector = Selector {
        surface: "windows-admin".into(),
        scope: "123456789012/us-east-1".into(),
        tags: [("AccessGroup".into(), vec!["JITAdmins".into()])].into_iter().collect(),
    };
    let readers = Cloud::World(world.clone()).readers();
    let ask = async || match readers["windows-admin"].read(std::slice::from_ref(&selector), &[]).await.pop() {
        Some(Reading::Answer { places, .. }) => places,
        other => panic!("{other:?} is no answer"),
    };
    assert_eq!(ask().await.unwrap_err().kind, TroubleKind::Throttled);
    assert_eq!(ask().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_reply_is_done_and_nobody_knows() {
    let world = with(&[fault(None, On::Write, Failure::LostReply, 1)]);
    let binding = admin("i-0abc", r"corp\jdoe");
    let events = write(&world, vec![step(Verb::Grant, &binding)]).await;
    assert!(
        matches!(&events[..], [Event::Done { intent: 7, fate: Fate::Unknown(_), .. }]),
        "the id would have come with the answer: {events:?}"
    );
    assert_eq!(seen(&world, &binding).await, Seen::Present { ours: Some(end()) });
}

#[tokio::test]
async fn each_step_is_told_once_with_its_own_request() {
    let world = with(&[fault(Some("123456789012/us-east-1/i-0abc"), On::Write, Failure::Denied, 1)]);
    let steps = ["i-0abc", "i-0abd", "i-0abf", "i-0abc"].iter().zip(11..);
    let steps = steps.map(|(id, intent)| Step { intent, ..step(Verb::Grant, &admin(id, r"corp\jdoe")) }).collect();
    let told: Vec<_> = write(&world, steps)
        .await
        .into_iter()
        .map(|event| match event {
            Event::Sent { intent, request } => format!("{intent} {request}"),
            Event::Done { intent, fate: Fate::Failed(trouble) } => format!("{intent} {}", trouble.kind),
            Event::Done { intent, fate } => format!("{intent} {fate:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "11 world-000001",
            "11 denied",
            "12 world-000002",
            "12 unreachable",
            "13 world-000003",
            "13 Gone",
            "14 world-000004",
            "14 Done",
        ]
    );
    assert_eq!(world.calls().writes, BTreeMap::from([("windows-admin".into(), 4)]));
}

#[tokio::test]
async fn readers_are_counted_and_write_nothing() {
    let world = small();
    let before = world.state().unwrap();
    seen(&world, &admin("i-0abc", r"corp\jdoe")).await;
    seen(&world, &admin("i-0abd", r"corp\jdoe")).await;
    let calls = Calls { reads: BTreeMap::from([("windows-admin".into(), 2)]), ..Calls::default() };
    assert_eq!(world.calls(), calls);
    assert_eq!(world.state().unwrap(), before);
}

#[tokio::test(flavor = "current_thread")]
async fn latency_passes_on_the_worlds_clock_and_can_make_a_grant_late() {
    let clock = Arc::new(ManualClock::new(noon()));
    let state = State { latency: Some(Latency(Duration::from_secs(2))), ..small().state().unwrap() };
    let world = World::new(state, Arc::<ManualClock>::clone(&clock));
    let binding = admin("i-0abc", r"corp\jdoe");
    let late = Step { act_by: Some(at("2026-11-20T12:00:01Z")), ..step(Verb::Grant, &binding) };
    let mut writing = std::pin::pin!(fate(&world, late));
    tokio::select! {
        biased;
        fate = &mut writing => panic!("{fate:?} without waiting"),
        () = tokio::task::yield_now() => assert_eq!(clock.next(), Some(at("2026-11-20T12:00:02Z"))),
    }
    clock.set(at("2026-11-20T12:00:02Z"));
    let (kind, _) = failed(writing.await);
    assert_eq!(kind, TroubleKind::Unreachable);
}

#[tokio::test(flavor = "current_thread")]
async fn calls_overlap_when_they_take_time() {
    let clock = Arc::new(ManualClock::new(noon()));
    let world = crowd(1_000, Some(Latency(Duration::from_secs(1))), &clock);
    let mut writing = std::pin::pin!(write(&world, revocations(1_000)));
    let fates = loop {
        tokio::select! {
            biased;
            fates = &mut writing => break fates,
            () = tokio::task::yield_now() => if let Some(next) = clock.next() {
                clock.set(next);
            },
        }
    };
    assert_eq!(fates.len(), 2_000);
    assert_eq!(clock.now(), at("2026-11-20T12:00:04Z"), "256 abreast: four rounds of a second");
}

fn instance(number: usize) -> String {
    format!("i-{number:05}")
}

/// A world of many hosts, each with one administrator of ours.
fn crowd(hosts: usize, latency: Option<Latency>, clock: &Arc<ManualClock>) -> World {
    let marker = Marker { until: end(), grants: vec!["oncall-1".parse().unwrap()] };
    let ours = Member { user: Caseless(r"corp\jdoe".into()), marker: Some(marker) };
    let host = Host { administrators: vec![ours], ..Host::default() };
    let hosts = (0..hosts).map(|number| (Text::from(instance(number)), host.clone())).collect();
    let account = Account { hosts: BTreeMap::from([("us-east-1".into(), hosts)]), ..Account::default() };
    let state = State { accounts: BTreeMap::from([("123456789012".into(), account)]), latency, ..State::default() };
    World::new(state, Arc::<ManualClock>::clone(clock))
}

fn revocations(hosts: usize) -> Vec<Step> {
    (0..hosts).map(|number| step(Verb::Revoke, &admin(&instance(number), r"corp\jdoe"))).collect()
}

#[tokio::test]
async fn ten_thousand_revocations_are_quick() {
    let world = crowd(10_000, None, &Arc::new(ManualClock::new(noon())));
    let steps = revocations(10_000);
    let begun = std::time::Instant::now();
    let events = write(&world, steps).await;
    let took = begun.elapsed();
    let done = events.iter().filter(|event| matches!(event, Event::Done { fate: Fate::Done, .. })).count();
    assert_eq!(done, 10_000);
    assert_eq!(world.show().unwrap().matches("until").count(), 0);
    eprintln!("10,000 revocations: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}, without optimisation, on a busy machine");
}
