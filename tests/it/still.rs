//! Nothing changed, nothing decided; what moved is decided on; and answers are gathered, but for no longer than is stated. In these
//! tests, as in all others, each turn that decides nothing is proven to come to the same as if it had.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grantd::{
    command::setup,
    decide::Targets,
    engine::{Executor, Happening, Order},
    model::{
        Ask, Binding, BoxFuture, Clock, Event, Fate, Field, Fields, Policy, Selector, Span, Step, Target, Text, Verb,
        Write,
    },
    surface::{
        Cloud,
        world::{Failure, Fault, Latency, ManualClock, On, State, World},
    },
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    ends::{GROUP, HOST, POLICY, Story, nine, run},
    sim::Sim,
};

fn decisions(story: &Story) -> u64 {
    story.sim.daemon.as_ref().unwrap().cycle.decisions()
}

/// How many decisions a turn makes: none, or one.
fn turn(story: &mut Story) -> u64 {
    let before = decisions(story);
    story.sim.daemon.as_mut().unwrap().turn();
    decisions(story) - before
}

#[test]
fn turns_without_news_decide_nothing_and_once_a_minute_all_is_decided() {
    run(async |mut story| {
        story.grant("jdoe-one", "8h", &[HOST, POLICY, GROUP]).await;
        // Until nothing settles any more, and the looks are old.
        story.pass(Span::minutes(30)).await;
        story.sim.poll().await;
        let before = decisions(&story);
        for _ in 0..15 {
            story.clock.advance(SignedDuration::from_secs(3));
            story.sim.poll().await;
        }
        assert_eq!(decisions(&story), before, "45 s of polls");
        story.clock.advance(SignedDuration::from_secs(20));
        assert_eq!((turn(&mut story), turn(&mut story)), (1, 0), "a minute is over");
        story.sim.sweep().await;
        assert!(decisions(&story) > before + 1, "something was looked at");
    });
}

/// An answer that is older than the grant that asks is no reason to ask without a pause, if the next one fails.
#[test]
fn places_that_cannot_be_listed_are_asked_for_with_a_pause_whatever_was_answered_before() {
    run(async |mut story| {
        let latency = |seconds: Option<u64>| {
            story.world.edit(|state| state.latency = seconds.map(|seconds| Latency(Duration::from_secs(seconds))))
        };
        latency(Some(6)).unwrap();
        let text = |from: &str| format!("requester: jdoe\npurpose: p\nttl: 1h\n{from}access:\n  - {HOST}\n");
        story.sim.repo.write("jdoe-one.yaml", &text(""));
        story.sim.repo.write("jdoe-two.yaml", &text("from: 2026-11-20T09:00:04Z\n"));
        story.sim.repo.commit(nine(), "one, and another in a moment");
        let daemon = story.sim.daemon.as_mut().unwrap();
        daemon.cycle.fetch();
        // The second begins while the question of the first is under way; the answer is good for the first alone.
        let resolved = |daemon: &grantd::engine::Daemon, id: &str| {
            daemon.cycle.ledger().grants.iter().any(|(grant, terms)| grant.as_str() == id && !terms.places.is_empty())
        };
        for second in 0.. {
            assert!(second < 100, "the first one's hosts never came");
            let next = tokio::time::timeout(Duration::from_millis(50), daemon.cycle.next()).await;
            if let Ok(happening) = next {
                daemon.absorb(happening);
            }
            daemon.turn();
            if resolved(daemon, "jdoe-one") {
                break;
            }
            if !daemon.cycle.ledger().grants.is_empty() {
                story.clock.advance(SignedDuration::from_secs(1));
            }
        }
        assert!(!resolved(daemon, "jdoe-two"));
        latency(None).unwrap();
        let fault = |trouble| Fault { surface: None, place: None, on: On::Read, trouble, times: None };
        story.world.edit(|state| state.faults.push(fault(Failure::Unreachable))).unwrap();
        let mut looks = 0;
        for _ in 0..300 {
            let next = tokio::time::timeout(Duration::from_millis(10), daemon.cycle.next()).await;
            looks += usize::from(matches!(next, Ok(Happening::Read(..))));
            if let Ok(happening) = next {
                daemon.absorb(happening);
            }
            daemon.turn();
            story.clock.advance(SignedDuration::from_secs(1));
        }
        assert!((4..=7).contains(&looks), "once a minute, and not {looks} times in five minutes");
    });
}

#[test]
fn whatever_moves_is_decided_on() {
    type Move = fn(&mut Story);
    let moves: [(&str, Move); 7] = [
        ("another configuration", |story| {
            let policy = Policy { restore: true, ..story.sim.policy.clone() };
            story.sim.daemon.as_mut().unwrap().cycle.reconfigure(Arc::new(policy));
        }),
        ("an equal one, which is another all the same", |story| {
            let policy = Arc::new(story.sim.policy.clone());
            story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy);
        }),
        ("a line of the journal", |story| {
            let daemon = story.sim.daemon.as_mut().unwrap();
            let now = daemon.cycle.now();
            daemon.cycle.book.write(now, vec![grantd::model::Record::Tick {}]);
        }),
        ("a clock that is stepped", |story| story.clock.step(SignedDuration::from_hours(1))),
        ("a clock that is behind", |story| story.clock.step(SignedDuration::from_hours(-1))),
        ("a call that changed something", |story| {
            let binding = story.sim.daemon.as_ref().unwrap().cycle.ledger().owned.keys().next().unwrap().clone();
            story.sim.daemon.as_mut().unwrap().cycle.changed(&binding);
        }),
        ("another revision", |story| {
            let cycle = &mut story.sim.daemon.as_mut().unwrap().cycle;
            let head = cycle.ledger().head.clone().unwrap();
            cycle.take(head);
        }),
    ];
    run(async |mut story| {
        story.grant("jdoe-one", "8h", &[HOST, POLICY, GROUP]).await;
        story.pass(Span::minutes(30)).await;
        for (what, act) in moves {
            story.sim.work().await;
            assert_eq!(turn(&mut story), 0, "before {what}");
            act(&mut story);
            if what == "another revision" {
                let daemon = story.sim.daemon.as_mut().unwrap();
                assert!(daemon.cycle.busy());
                while daemon.cycle.busy() {
                    let happening = daemon.cycle.next().await;
                    daemon.absorb(happening);
                }
            }
            assert_eq!(turn(&mut story), 1, "{what}");
        }
    });
}

/// Each moment at which something becomes otherwise by time alone, between two polls and within the minute.
#[test]
fn what_time_changes_is_decided_on_at_its_moment() {
    run(async |mut story| {
        story.grant("jdoe-one", "1h", &[HOST, POLICY]).await;
        // A start.
        let text = |when: &str| format!("requester: jdoe\npurpose: p\n{when}\naccess:\n  - {GROUP}\n");
        story.sim.repo.write("jdoe-two.yaml", &text("from: 2026-11-20T09:30:07Z\nttl: 10m"));
        // A file that is too far ahead, until it is not.
        story.sim.repo.write("jdoe-three.yaml", &text("from: 2026-12-20T09:40:07Z\nttl: 10m"));
        story.sim.repo.commit(nine(), "more");
        story.sim.poll().await;
        let at = |second: i64| Span::seconds(second).after(nine());
        let accepted = |story: &Story| {
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            ledger.grants.contains_key(&"jdoe-three".parse().unwrap())
        };
        story.sim.advance(at(30 * 60)).await;
        for second in [0, 3, 6] {
            story.clock.set(at(30 * 60 + second));
            story.sim.work().await;
            assert!(!story.has("Auditors]"), "{second}: {}", story.world.show().unwrap());
        }
        story.clock.set(at(30 * 60 + 7));
        story.sim.work().await;
        assert_eq!(story.intents(Verb::Grant), 3, "the start");
        story.sim.advance(at(40 * 60)).await;
        for second in [1, 4, 6] {
            story.clock.set(at(40 * 60 + second));
            story.sim.poll().await;
            assert!(!accepted(&story), "{second}");
        }
        story.clock.set(at(40 * 60 + 7));
        story.sim.poll().await;
        assert!(accepted(&story), "near enough by now");
        // A retry, and an end.
        story.fault(On::Write, Failure::Unreachable, Some(2));
        story.sim.advance(at(3599)).await;
        assert_eq!(story.intents(Verb::Revoke), 1, "what began at 09:30 is over");
        story.clock.set(at(3600));
        story.sim.work().await;
        assert_eq!(story.intents(Verb::Revoke), 3, "the ends");
    });
}

/// A surface whose entries take long to think about: so a decision does.
struct Slow(Box<dyn Target>);

impl Target for Slow {
    fn surface(&self) -> &'static str {
        self.0.surface()
    }
    fn about(&self) -> &'static str {
        self.0.about()
    }
    fn fields(&self) -> &'static [Field] {
        self.0.fields()
    }
    fn marks(&self) -> bool {
        self.0.marks()
    }
    fn recalls(&self) -> bool {
        self.0.recalls()
    }
    fn ask(&self, fields: Fields) -> Result<Ask, Vec<(&'static str, String, String)>> {
        self.0.ask(fields)
    }
    fn selector(&self, ask: &Ask) -> Option<Selector> {
        self.0.selector(ask)
    }
    fn wanted(&self, ask: &Ask, places: &[Text]) -> Vec<Binding> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.wanted(ask, places)
    }
}

/// Answers grants one by one, slowly, and tells when which revocation was begun.
struct Trickle {
    clock: Arc<ManualClock>,
    /// When the answer about this user came, and when his access was begun to be taken.
    told: Arc<Mutex<BTreeMap<String, Vec<Timestamp>>>>,
}

const BETWEEN: Duration = Duration::from_millis(100);

impl Write for Trickle {
    fn write(&self, mut steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The early one's answer first, the late one's last.
            steps.sort_by_key(|step| (step.binding.who() == "late", step.binding.who() != "early"));
            for step in steps {
                if step.verb == Verb::Grant {
                    tokio::time::sleep(BETWEEN).await;
                }
                let who = step.binding.who().to_owned();
                self.told.lock().unwrap().entry(who).or_default().push(self.clock.now());
                let _ = events.send(Event::Done { intent: step.intent, fate: Fate::Done });
            }
        })
    }
}

/// Forty answers come in one by one while an end comes, and one of them after its own end.
#[test]
fn answers_are_gathered_and_ends_wait_no_longer_than_stated() {
    let users: Vec<String> =
        ["early", "late"].map(Into::into).into_iter().chain((0..38).map(|n| format!("u{n:02}"))).collect();
    let list: String = users.iter().map(|user| format!("{user}: {{}}, ")).collect();
    let world = format!("accounts:\n  \"123456789012\":\n    users: {{ {list} }}\n    groups: {{ Auditors: {{}} }}\n");
    let accounts = serde_saphyr::from_str("prod: { id: \"123456789012\", regions: [us-east-1] }").unwrap();
    let policy = Policy { accounts: Some(accounts), ..Policy::default() };
    let clock = Arc::new(ManualClock::new(nine()));
    let world = World::new(State::from_yaml(&world).unwrap(), clock.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let told: Arc<Mutex<BTreeMap<String, Vec<Timestamp>>>> = Arc::default();
    let at = |second: i64| Span::seconds(second).after(nine());
    let (made, ends) = runtime.block_on(async {
        let mut sim = Sim::new(Cloud::World(world.clone()), clock.clone(), policy);
        sim.init(false).await;
        let end = |user: &str| match user {
            "early" => "until: 2026-11-20T09:00:04Z",
            "late" => "until: 2026-11-20T09:00:03Z",
            _ => "ttl: 1h",
        };
        for user in &users {
            let text = format!(
                "requester: jdoe\npurpose: p\n{}\naccess:\n  - iam-group: {{ account: prod, user: {user}, group: Auditors }}\n",
                end(user)
            );
            sim.repo.write(&format!("grant-{user}.yaml"), &text);
        }
        sim.repo.commit(nine(), "all");
        sim.start();
        let mut daemon = sim.daemon.take().unwrap();
        let slow = |(name, target): (&'static str, Box<dyn Target>)| (name, Box::new(Slow(target)) as Box<dyn Target>);
        daemon.cycle.parts.targets = Arc::new(setup::targets().into_iter().map(slow).collect::<Targets>());
        let trickle = Arc::new(Trickle { clock: clock.clone(), told: told.clone() }) as Arc<dyn Write>;
        daemon.executor = Executor::new(BTreeMap::from([("iam-group", trickle)]), Box::new(|| None));
        let (orders, inbox) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (ticking, ticks) = (stop.clone(), clock.clone());
        let ticker = std::thread::spawn(move || {
            let begin = std::time::Instant::now();
            while !ticking.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
                ticks.set(nine().checked_add(SignedDuration::try_from(begin.elapsed()).unwrap()).unwrap());
            }
        });
        let seen = told.clone();
        let (mut first, mut last) = (None, 0);
        let all = users.len();
        let daemon = daemon.run(inbox, |cycle, _| {
            let told = seen.lock().unwrap();
            if told.len() > 1 {
                first.get_or_insert(cycle.decisions());
            }
            if told.len() < all {
                last = cycle.decisions();
            }
            if told.get("late").is_some_and(|times| times.len() > 1) || cycle.now() > at(20) {
                let _ = orders.send(Order::Stop);
            }
        });
        assert_eq!(daemon.await, None);
        stop.store(true, Ordering::SeqCst);
        ticker.join().unwrap();
        let told = told.lock().unwrap();
        let since = |who: &str, from: Option<Timestamp>| {
            let times = &told[who];
            assert_eq!(times.len(), 2, "{who} is given and taken");
            times[1].duration_since(from.unwrap_or(times[0]))
        };
        (last - first.unwrap(), (since("early", Some(at(4))), since("late", None)))
    });
    let (early, late) = ends;
    // A decision takes a fifth of a second. Without gathering there were one after the other.
    assert!((2..=8).contains(&made), "{made} decisions while 40 answers came in 4 s");
    assert!(early < SignedDuration::from_millis(800), "{early:?} after its end, whatever is gathered");
    assert!(late < SignedDuration::from_millis(1800), "{late:?} after the answer: a second, and two decisions");
}
