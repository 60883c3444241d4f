//! What somebody took away by hand belongs to those from whom it was taken: no other grant's asking, failing or ending gives it back
//! to them, and no suspension that ends does. Only `drift: restore` does.

use grantd::{
    decide::status,
    model::{Cause, Hold, Policy, Record, Span, Verb},
    surface::world::{Failure, Latency, On, State},
};
use jiff::SignedDuration;
use std::time::Duration;

use crate::ends::{ADMIN, GROUP, HOST, POLICY, Story, nine, run};

/// The first of two grants had it, and somebody took it away and that is on record.
async fn taken(story: &mut Story) {
    story.grant("jdoe-one", "20h", &[HOST]).await;
    assert!(story.has(ADMIN));
    take(story);
    story.sim.sweep().await;
    assert!(matches!(story.hold(), Hold::Drifted { .. }), "{:?}", story.hold());
}

fn take(story: &Story) {
    story.host(|host| host.administrators.retain(|member| member.user.0.contains("ops")));
}

fn withdraw(story: &Story, id: &str) {
    std::fs::remove_file(story.sim.repo.path.join(format!("grants/{id}.yaml"))).unwrap();
    story.sim.repo.commit(story.clock_now(), "withdraw");
}

fn configure(story: &mut Story, restore: bool) {
    story.sim.policy.restore = restore;
    let policy: Policy = story.sim.policy.clone();
    story.sim.daemon.as_mut().unwrap().cycle.reconfigure(policy.into());
}

/// For whom, and why, calls to grant were made.
fn grants(story: &Story) -> Vec<(Vec<String>, Cause)> {
    let one = |record: Record| match record {
        Record::Intend { verb: Verb::Grant, holders, cause, .. } => {
            Some((holders.keys().map(ToString::to_string).collect(), cause))
        }
        _ => None,
    };
    story.sim.lines().into_iter().filter_map(|line| one(line.record)).collect()
}

fn shown(story: &Story, id: &str) -> Vec<&'static str> {
    let cycle = &story.sim.daemon.as_ref().unwrap().cycle;
    let status = status(cycle.ledger(), &story.sim.policy, story.clock_now());
    let grant = status.grants.into_iter().find(|grant| grant.id.as_str() == id);
    grant.map(|grant| grant.access.iter().map(|access| access.state).collect()).unwrap_or_default()
}

/// Over a restart as well: it is on record.
fn again(story: &mut Story, restart: bool) {
    if restart {
        story.sim.kill();
        story.sim.start();
    }
}

#[test]
fn a_short_grant_brings_back_its_own_time_and_no_more() {
    for restart in [false, true] {
        run(async |mut story| {
            taken(&mut story).await;
            story.grant("jdoe-two", "10m", &[HOST]).await;
            assert!(story.has(ADMIN), "who asks anew has it");
            again(&mut story, restart);
            assert_eq!(grants(&story)[1], (vec!["jdoe-two".to_owned()], Cause::Merged));
            assert_eq!((shown(&story, "jdoe-one"), shown(&story, "jdoe-two")), (vec!["drifted"], vec!["live"]));
            story.pass(Span::minutes(11)).await;
            assert!(!story.has(ADMIN), "the ten minutes are over");
            again(&mut story, restart);
            for _ in 0..4 {
                story.pass(Span::minutes(10)).await;
                story.sim.sweep().await;
                assert!(!story.has(ADMIN) && shown(&story, "jdoe-one") == ["drifted"]);
            }
            // What appears there is ours to end, and a third grant has its own time, too.
            story.grant("jdoe-three", "10m", &[HOST]).await;
            assert!(story.has(ADMIN));
            withdraw(&story, "jdoe-three");
            story.sim.poll().await;
            assert!(!story.has(ADMIN), "withdrawn");
            story.pass(Span::hours(20)).await;
            story.pass(Span::minutes(10)).await;
            story.sim.sweep().await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert!(ledger.owned.is_empty() && !story.has(ADMIN), "nothing is kept for ever: {:?}", ledger.owned);
        });
    }
}

#[test]
fn a_grant_that_failed_over_drift_is_not_tried_for_whom_it_was_taken_from() {
    for (restart, expire) in [(false, false), (true, false), (false, true), (true, true)] {
        run(async |mut story| {
            taken(&mut story).await;
            story.fault(On::Write, Failure::Throttled, None);
            story.grant("jdoe-two", "10m", &[HOST]).await;
            assert!(!story.has(ADMIN));
            if expire {
                story.pass(Span::minutes(11)).await;
            } else {
                withdraw(&story, "jdoe-two");
            }
            story.world.edit(|state| state.faults.clear()).unwrap();
            again(&mut story, restart);
            story.sim.poll().await;
            story.pass(Span::hours(1)).await;
            story.sim.sweep().await;
            assert!(!story.has(ADMIN), "nobody asks for it");
            assert!(grants(&story).iter().skip(1).all(|(whom, _)| whom == &["jdoe-two"]), "{:?}", grants(&story));
            assert_eq!(shown(&story, "jdoe-one"), ["drifted"]);
        });
    }
}

#[test]
fn what_is_no_longer_to_be_given_back_is_not() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "20h", &[HOST]).await;
            configure(&mut story, true);
            story.fault(On::Write, Failure::Throttled, None);
            take(&story);
            story.sim.sweep().await;
            assert!(!story.has(ADMIN));
            configure(&mut story, false);
            story.world.edit(|state| state.faults.clear()).unwrap();
            again(&mut story, restart);
            story.pass(Span::hours(1)).await;
            story.sim.sweep().await;
            assert!(!story.has(ADMIN), "`drift: report` now");
            let causes: Vec<Cause> = grants(&story).into_iter().map(|(_, cause)| cause).collect();
            assert_eq!(causes, [Cause::Merged, Cause::Drift], "it says why it was tried");
            configure(&mut story, true);
            story.pass(Span::minutes(6)).await;
            assert!(story.has(ADMIN), "`drift: restore` again");
            assert_eq!(shown(&story, "jdoe-one"), ["live"]);
        });
    }
}

#[test]
fn nothing_is_given_over_drift_while_granting_stands_still() {
    for restore in [false, true] {
        run(async |mut story| {
            taken(&mut story).await;
            // Another history: granting is frozen.
            story.sim.repo.git(nine(), &["commit", "--quiet", "--amend", "--allow-empty", "--message", "other"]);
            story.sim.poll().await;
            configure(&mut story, restore);
            story.grant("jdoe-two", "1h", &[HOST]).await;
            story.pass(Span::minutes(30)).await;
            story.sim.sweep().await;
            assert!(story.sim.outlook.standstill.is_some());
            assert!(!story.has(ADMIN), "{:?}", grants(&story));
        });
    }
}

pub fn add_group(story: &Story) {
    let users = |state: &mut State| {
        let users = &mut state.accounts.get_mut("123456789012").unwrap().users;
        users.get_mut("jdoe").unwrap().groups.insert("Auditors".into());
    };
    story.world.edit(users).unwrap();
}

fn take_group(story: &Story) {
    story
        .world
        .edit(|state| {
            let users = &mut state.accounts.get_mut("123456789012").unwrap().users;
            users.iter_mut().for_each(|(_, user)| user.groups.clear());
        })
        .unwrap();
}

/// A history that nobody accepted deletes the file: the grant is suspended.
async fn suspend(story: &mut Story, id: &str) {
    let at = story.clock_now();
    story.sim.repo.git(at, &["commit", "--quiet", "--amend", "--allow-empty", "--message", "another history"]);
    withdraw(story, id);
    story.sim.poll().await;
}

/// An operator accepts that history with the file in it: the grant goes on.
async fn resume(story: &mut Story) {
    story.sim.repo.git(story.clock_now(), &["revert", "--no-edit", "HEAD"]);
    story.sim.accept("agreed on").await;
    story.sim.start();
    story.sim.poll().await;
}

/// Nobody looked since somebody took it away. What grantd then means to end itself was gone already, and is not given back.
#[test]
fn what_was_gone_when_it_had_to_go_was_taken_by_hand() {
    for (restart, fails) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
        run(async |mut story| {
            story.grant("jdoe-one", "20h", &[HOST, POLICY]).await;
            assert!(story.has(ADMIN));
            take(&story);
            if fails > 0 {
                // Where the first call failed, nobody knows what it found: the next one does.
                story.fault(On::Write, Failure::Throttled, Some(fails));
            }
            suspend(&mut story, "jdoe-one").await;
            again(&mut story, restart);
            story.pass(Span::minutes(1)).await;
            resume(&mut story).await;
            story.pass(Span::minutes(30)).await;
            story.sim.sweep().await;
            assert!(!story.has(ADMIN), "given back: {:?}", grants(&story));
            assert_eq!(shown(&story, "jdoe-one"), ["live", "drifted"], "{:?}", story.hold());
        });
    }
}

/// A call whose answer is lost may be what took it away: then it is given again.
#[test]
fn what_our_own_call_took_away_is_given_again() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "20h", &[HOST, POLICY]).await;
            story.fault(On::Write, Failure::LostReply, Some(1));
            suspend(&mut story, "jdoe-one").await;
            assert!(!story.has(ADMIN));
            again(&mut story, restart);
            story.pass(Span::minutes(1)).await;
            resume(&mut story).await;
            story.pass(Span::minutes(30)).await;
            assert!(story.has(ADMIN), "{:?}", story.hold());
            assert_eq!(shown(&story, "jdoe-one"), ["live", "live"]);
        });
    }
}

/// Whoever asks after it was taken away asks anew, whether or not somebody looked in between, and whatever becomes of the end.
#[test]
fn who_asks_after_it_was_taken_away_has_not_lost_it() {
    for access in [GROUP, HOST] {
        for (ttl, restart) in [("10m", false), ("10m", true), ("20h", false), ("20h", true)] {
            run(async |mut story| {
                story.grant("jdoe-one", "10h", &[access]).await;
                take(&story);
                take_group(&story);
                story.grant("jdoe-two", ttl, &[access]).await;
                again(&mut story, restart);
                story.sim.sweep().await;
                assert_eq!(shown(&story, "jdoe-one"), ["drifted"], "{access} {ttl}");
                assert_eq!(shown(&story, "jdoe-two"), ["live"], "{access} {ttl}: {:?}", story.hold());
                let asked = grants(&story);
                assert_eq!(asked.last().unwrap(), &(vec!["jdoe-two".to_owned()], Cause::Merged), "{asked:?}");
                // What is taken away once more is lost by both.
                take(&story);
                take_group(&story);
                story.sim.sweep().await;
                story.pass(Span::minutes(6)).await;
                story.sim.sweep().await;
                assert_eq!(shown(&story, "jdoe-two"), ["drifted"], "{access} {ttl}");
                assert_eq!(grants(&story).len(), asked.len(), "{access} {ttl}");
            });
        }
    }
}

/// A grant that joined was there before somebody took it away: it has lost it like the others.
#[test]
fn who_joined_before_it_was_taken_away_has_lost_it() {
    for access in [GROUP, HOST] {
        for (ttl, restart) in [("10m", false), ("20h", false), ("10m", true), ("20h", true)] {
            run(async |mut story| {
                story.grant("jdoe-one", "10h", &[access]).await;
                story.grant("jdoe-two", ttl, &[access]).await;
                take(&story);
                take_group(&story);
                again(&mut story, restart);
                story.sim.sweep().await;
                for id in ["jdoe-one", "jdoe-two"] {
                    assert_eq!(shown(&story, id), ["drifted"], "{access} {ttl} {id}");
                }
                assert_eq!(grants(&story).len(), 1);
            });
        }
    }
}

/// A grant over a debt that never came about takes nothing of it: whose it was, and since when it is owed.
#[test]
fn a_grant_that_failed_over_a_debt_leaves_it_as_it_was() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "1h", &[HOST]).await;
            story.fault(On::Write, Failure::Throttled, None);
            story.pass(Span::minutes(61)).await;
            story.grant("jdoe-two", "10m", &[HOST]).await;
            again(&mut story, restart);
            story.pass(Span::minutes(20)).await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            let owed = status(ledger, &story.sim.policy, story.clock_now()).owed;
            let shown: Vec<(Vec<&str>, String)> = owed
                .iter()
                .map(|owing| (owing.grants.iter().map(|id| id.as_str()).collect(), owing.ended.to_string()))
                .collect();
            assert_eq!(shown, [(vec!["jdoe-one"], "2026-11-20T10:00:00Z".to_owned())], "who never had it owes nothing");
            story.world.edit(|state| state.faults.clear()).unwrap();
            story.pass(Span::minutes(6)).await;
            assert!(!story.has(ADMIN));
        });
    }
}

/// And who asked by a call that failed does not have it: while nothing may be granted, the debt is paid as if he had not asked.
#[test]
fn who_was_refused_over_a_debt_keeps_nothing_of_it() {
    for (restart, protect) in [(false, false), (true, false), (false, true), (true, true)] {
        run(async |mut story| {
            story.grant("jdoe-one", "1h", &[HOST]).await;
            story.fault(On::Write, Failure::Denied, None);
            story.pass(Span::minutes(61)).await;
            story.grant("jdoe-two", "10h", &[HOST]).await;
            assert_eq!(grants(&story).len(), 2);
            let overdue = |story: &Story| {
                let cycle = &story.sim.daemon.as_ref().unwrap().cycle;
                let owed = status(cycle.ledger(), &story.sim.policy, story.clock_now()).owed;
                owed.iter().flat_map(|owing| owing.grants.iter().map(ToString::to_string)).collect::<Vec<_>>()
            };
            if protect {
                story.sim.policy.limits.protected.users = vec!["CORP\\jdoe".into()];
                configure(&mut story, false);
            } else {
                let at = story.clock_now();
                story.sim.repo.git(at, &["commit", "--quiet", "--amend", "--allow-empty", "--message", "other"]);
                story.sim.poll().await;
            }
            story.pass(Span::minutes(6)).await;
            assert_eq!(overdue(&story), ["jdoe-one"], "{protect}: {:?}", story.hold());
            story.world.edit(|state| state.faults.clear()).unwrap();
            again(&mut story, restart);
            story.pass(Span::minutes(5)).await;
            assert!(!story.has(ADMIN), "{restart} {protect}");
            story.pass(Span::minutes(6)).await;
            story.sim.sweep().await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert!(ledger.owned.is_empty(), "{:?}", ledger.owned);
        });
    }
}

/// A look from before he asked says nothing of him, whenever his time began by what his file says.
#[test]
fn who_asks_is_looked_for_since_he_asked() {
    for bad in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "10h", &[GROUP]).await;
            if bad {
                story.grant("jdoe-two", "8h", &[GROUP]).await;
                for name in ["twin", "TWIN"] {
                    story.sim.repo.write(&format!("{name}.yaml"), "no matter");
                }
                withdraw(&story, "jdoe-two");
                story.sim.poll().await;
            }
            story.pass(Span::minutes(30)).await;
            story.sim.sweep().await;
            assert!(story.has("members: jdoe"));
            take_group(&story);
            story.pass(Span::minutes(2)).await;
            if bad {
                story.sim.repo.git(story.clock_now(), &["revert", "--no-edit", "HEAD"]);
            } else {
                let text = "requester: jdoe\npurpose: p\nfrom: 2026-11-20T09:05:00Z\nttl: 8h\naccess:\n";
                story.sim.repo.write("jdoe-two.yaml", &format!("{text}  - {GROUP}\n"));
                story.sim.repo.commit(story.clock_now(), "two");
            }
            story.sim.poll().await;
            story.sim.sweep().await;
            assert_eq!(shown(&story, "jdoe-two"), ["live"], "{bad}: {:?}", story.hold());
            assert!(story.has("members: jdoe"), "{bad}");
            assert_eq!(shown(&story, "jdoe-one"), ["drifted"], "{bad}");
        });
    }
}

/// What was given over drift and is over, revoked and settled, is owed no more: what somebody adds from then on is not ended before
/// the grant from which it was taken.
#[test]
fn what_settled_for_another_is_drifted_as_it_was() {
    for (restart, refused) in [(false, false), (true, false), (false, true), (true, true)] {
        run(async |mut story| {
            story.grant("jdoe-one", "10h", &[GROUP]).await;
            take_group(&story);
            story.sim.sweep().await;
            story.grant("jdoe-two", "5m", &[GROUP]).await;
            assert_eq!(shown(&story, "jdoe-two"), ["live"]);
            story.pass(Span::minutes(6)).await;
            if refused {
                story.fault(On::Write, Failure::Denied, None);
                story.grant("jdoe-three", "2h", &[GROUP]).await;
            }
            again(&mut story, restart);
            story.pass(Span::minutes(20)).await;
            story.sim.sweep().await;
            assert_eq!(shown(&story, "jdoe-one"), ["drifted"]);
            if refused {
                assert!(matches!(story.hold(), Hold::Drifted { retry: Some(_), .. }), "{:?}", story.hold());
                story.pass(Span::hours(2)).await;
                story.world.edit(|state| state.faults.clear()).unwrap();
            }
            let revoked = story.intents(Verb::Revoke);
            add_group(&story);
            story.sim.sweep().await;
            story.pass(Span::minutes(30)).await;
            assert!(story.has("members: jdoe"), "{restart} {refused}: {:?}", story.hold());
            assert_eq!(story.intents(Verb::Revoke), revoked);
            story.pass(Span::hours(10)).await;
            assert!(!story.has("members: jdoe"), "{restart} {refused}: it ends with the grant");
            story.pass(Span::minutes(10)).await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert!(ledger.owned.is_empty(), "{:?}", ledger.owned);
        });
    }
}

/// Who was refused does not have it by what somebody added for the one from whom it had been taken.
#[test]
fn what_is_added_for_one_is_not_taken_for_another() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "10h", &[GROUP]).await;
            take_group(&story);
            story.sim.sweep().await;
            story.fault(On::Write, Failure::Denied, None);
            story.grant("jdoe-two", "2h", &[GROUP]).await;
            story.pass(Span::minutes(20)).await;
            again(&mut story, restart);
            story.world.edit(|state| state.faults.clear()).unwrap();
            add_group(&story);
            story.sim.sweep().await;
            assert_eq!(story.intents(Verb::Renew), 0, "{restart}");
            story.pass(Span::hours(3)).await;
            story.sim.sweep().await;
            assert!(story.has("members: jdoe"), "{restart}: {:?}", story.hold());
            story.pass(Span::hours(8)).await;
            assert!(!story.has("members: jdoe"), "{restart}: it ends with the grant from which it was taken");
        });
    }
}

/// Where it is given back and that fails, somebody else may do it: it is the grant's again, and its end can be moved.
#[test]
fn what_somebody_else_gives_back_is_back_where_it_is_given_back() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "2h", &[GROUP]).await;
            configure(&mut story, true);
            story.fault(On::Write, Failure::Denied, None);
            take_group(&story);
            story.sim.sweep().await;
            again(&mut story, restart);
            story.world.edit(|state| state.faults.clear()).unwrap();
            add_group(&story);
            story.sim.sweep().await;
            story.grant("jdoe-one", "4h", &[GROUP]).await;
            assert_eq!(shown(&story, "jdoe-one"), ["live"], "{restart}: {:?}", story.hold());
            story.pass(Span::hours(3)).await;
            assert!(story.has("members: jdoe"), "{restart}");
            story.pass(Span::hours(2)).await;
            assert!(!story.has("members: jdoe"), "{restart}");
        });
    }
}

/// The same while the grant from which it was taken is suspended: its absence is told as settled once, costs no call, and the grant has
/// nothing when it is back.
#[test]
fn what_settled_while_its_grant_is_suspended_stays_away() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "10h", &[GROUP]).await;
            take_group(&story);
            story.sim.sweep().await;
            story.grant("jdoe-two", "8m", &[GROUP]).await;
            for name in ["twin", "TWIN"] {
                story.sim.repo.write(&format!("{name}.yaml"), "no matter");
            }
            withdraw(&story, "jdoe-one");
            story.sim.poll().await;
            story.pass(Span::minutes(9)).await;
            again(&mut story, restart);
            story.pass(Span::minutes(20)).await;
            story.sim.sweep().await;
            assert!(matches!(story.hold(), Hold::Drifted { settled: true, .. }), "{:?}", story.hold());
            let cycle = &story.sim.daemon.as_ref().unwrap().cycle;
            let owed = status(cycle.ledger(), &story.sim.policy, story.clock_now()).owed;
            assert!(owed.is_empty(), "{owed:?}");
            let (calls, lines) = (story.intents(Verb::Revoke), story.sim.lines().len());
            story.pass(Span::hours(1)).await;
            story.sim.sweep().await;
            assert_eq!(story.intents(Verb::Revoke), calls, "an absence costs no call");
            assert!(story.sim.lines().len() < lines + 10, "and no lines");
            story.sim.repo.git(story.clock_now(), &["revert", "--no-edit", "HEAD"]);
            story.sim.poll().await;
            assert_eq!(shown(&story, "jdoe-one"), ["drifted"]);
            assert!(!story.has("members: jdoe"));
            story.pass(Span::hours(10)).await;
            story.sim.sweep().await;
            let ledger = story.sim.daemon.as_ref().unwrap().cycle.ledger();
            assert!(ledger.owned.is_empty() && story.intents(Verb::Revoke) == calls, "{:?}", ledger.owned);
        });
    }
}

/// The same where nobody knows what became of the call by which he asked: it was not there for him.
#[test]
fn who_asks_by_a_call_whose_answer_is_lost_has_not_lost_it() {
    for access in [GROUP, HOST] {
        for (kill, look) in [(false, false), (true, false), (false, true), (true, true)] {
            run(async |mut story| {
                story.grant("jdoe-one", "10h", &[access]).await;
                take(&story);
                take_group(&story);
                if kill {
                    story.world.edit(|state| state.latency = Some(Latency(Duration::from_secs(2)))).unwrap();
                } else {
                    story.fault(On::Write, Failure::LostReply, Some(1));
                }
                let text = format!("requester: jdoe\npurpose: p\nttl: 20h\naccess:\n  - {access}\n");
                story.sim.repo.write("jdoe-two.yaml", &text);
                story.sim.repo.commit(story.clock_now(), "two");
                let daemon = story.sim.daemon.as_mut().unwrap();
                daemon.cycle.fetch();
                let mut told = daemon.turn();
                for _ in 0..200 {
                    if !daemon.executor.pending().is_empty() {
                        break;
                    }
                    story.clock.advance(SignedDuration::from_secs(3));
                    let next = tokio::time::timeout(Duration::from_millis(50), daemon.cycle.next());
                    if let Ok(happening) = next.await {
                        daemon.absorb(happening);
                    }
                    told = daemon.turn();
                }
                assert!(!daemon.executor.pending().is_empty(), "{access} {kill} {look}: {told:?}");
                assert_eq!(story.intents(Verb::Renew), 1);
                if kill {
                    story.sim.kill();
                    story.world.edit(|state| state.latency = None).unwrap();
                    story.sim.start();
                }
                if look {
                    story.sim.sweep().await;
                }
                story.pass(Span::minutes(10)).await;
                story.sim.sweep().await;
                assert_eq!(shown(&story, "jdoe-one"), ["drifted"], "{access}");
                assert_eq!(shown(&story, "jdoe-two"), ["live"], "{access}: {:?}", story.hold());
            });
        }
    }
}

/// A grant that fails while the absence of another settles changed nothing: it settles all the same, and what somebody adds from then
/// on is his. Until then it is ours to end.
#[test]
fn a_grant_that_fails_leaves_an_absence_to_settle() {
    for restart in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "3m", &[GROUP]).await;
            story.pass(Span::minutes(4)).await;
            story.fault(On::Write, Failure::Denied, None);
            story.grant("jdoe-two", "1h", &[GROUP]).await;
            again(&mut story, restart);
            story.pass(Span::minutes(20)).await;
            let cycle = &story.sim.daemon.as_ref().unwrap().cycle;
            let told = status(cycle.ledger(), &story.sim.policy, story.clock_now());
            assert_eq!((told.owed.len(), told.waiting.len()), (0, 1), "{:?}", cycle.ledger().owned);
            add_group(&story);
            story.world.edit(|state| state.faults.clear()).unwrap();
            story.pass(Span::minutes(90)).await;
            story.sim.sweep().await;
            assert!(story.has("members: jdoe"), "it was somebody's own: {:?}", grants(&story));
        });
    }
    // What appears before it has settled is ours to end.
    run(async |mut story| {
        story.grant("jdoe-one", "3m", &[GROUP]).await;
        story.pass(Span::minutes(4)).await;
        story.fault(On::Write, Failure::Denied, None);
        story.grant("jdoe-two", "1h", &[GROUP]).await;
        story
            .world
            .edit(|state| {
                let users = &mut state.accounts.get_mut("123456789012").unwrap().users;
                users.get_mut("jdoe").unwrap().groups.insert("Auditors".into());
                state.faults.clear();
            })
            .unwrap();
        story.pass(Span::minutes(90)).await;
        story.sim.sweep().await;
        assert!(!story.has("members: jdoe"));
    });
}

/// Deleted in a head that is not accepted, many together, and then in one that is: what waits goes on waiting.
#[test]
fn a_suspension_that_is_held_is_not_hurried_by_the_head_that_is_accepted() {
    for accept in [false, true] {
        run(async |mut story| {
            for number in 0..12 {
                story.sim.repo.write(
                    &format!("many-{number:02}.yaml"),
                    &format!("requester: jdoe\npurpose: p\nttl: 20h\naccess:\n  - {GROUP}\n"),
                );
            }
            story.grant("jdoe-one", "20h", &[GROUP]).await;
            if accept {
                story.sim.repo.git(nine(), &["commit", "--quiet", "--amend", "--allow-empty", "--message", "other"]);
            } else {
                for name in ["twin", "TWIN"] {
                    story.sim.repo.write(&format!("{name}.yaml"), "no matter");
                }
            }
            for number in 0..12 {
                std::fs::remove_file(story.sim.repo.path.join(format!("grants/many-{number:02}.yaml"))).unwrap();
            }
            let began = story.clock_now();
            story.sim.repo.commit(began, "by mistake");
            story.sim.poll().await;
            story.pass(Span::minutes(10)).await;
            if accept {
                story.sim.accept("agreed on").await;
                story.sim.start();
            } else {
                for name in ["twin", "TWIN"] {
                    std::fs::remove_file(story.sim.repo.path.join(format!("grants/{name}.yaml"))).unwrap();
                }
                // One more that goes for good is not held, and hurries nothing.
                withdraw(&story, "jdoe-one");
                story.sim.repo.commit(story.clock_now(), "no twins");
            }
            story.sim.poll().await;
            story.pass(Span::minutes(5)).await;
            let over = |story: &Story| story.sim.daemon.as_ref().unwrap().cycle.ledger().used.len();
            assert_eq!(over(&story), usize::from(!accept), "{accept}");
            story.pass(Span::minutes(14)).await;
            assert_eq!(over(&story), usize::from(!accept), "{accept}");
            story.pass(Span::minutes(17)).await;
            assert_eq!(over(&story), 12 + usize::from(!accept), "{accept}");
        });
    }
}

/// A head that is refused for what else is in it suspends; the next one is good and has the old content: the access comes back.
#[test]
fn what_a_refused_head_suspended_comes_back_with_the_next_one() {
    for moved in [false, true] {
        run(async |mut story| {
            story.grant("jdoe-one", "20h", &[GROUP]).await;
            for name in ["twin", "TWIN"] {
                story.sim.repo.write(&format!("{name}.yaml"), "no matter");
            }
            withdraw(&story, "jdoe-one");
            story.sim.poll().await;
            assert!(!story.has("members: jdoe"));
            let at = story.clock_now();
            story.sim.repo.git(at, &["revert", "--no-edit", "HEAD"]);
            if moved {
                std::fs::create_dir_all(story.sim.repo.path.join("grants/team")).unwrap();
                story.sim.repo.git(at, &["mv", "grants/jdoe-one.yaml", "grants/team/jdoe-one.yaml"]);
                story.sim.repo.git(at, &["commit", "--quiet", "--amend", "--no-edit"]);
            }
            story.sim.poll().await;
            assert!(story.has("members: jdoe"), "{moved}");
            // A deletion in a good head is for good, reverted within one look or not.
            withdraw(&story, if moved { "team/jdoe-one" } else { "jdoe-one" });
            story.sim.repo.git(story.clock_now(), &["revert", "--no-edit", "HEAD"]);
            story.sim.poll().await;
            assert!(!story.has("members: jdoe"), "{moved}");
            assert_eq!(story.sim.daemon.as_ref().unwrap().cycle.ledger().used.len(), 1);
        });
    }
}
