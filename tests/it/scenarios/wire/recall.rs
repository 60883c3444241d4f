//! What the reader of Windows hosts finds out of calls whose answers were lost.

use grantd::model::{Binding, Cause, Clock, Fate, Recall, Recalled, Seen, Span, Step, Verb};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::aws::{Fault, How};

const NONCE: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

struct Play {
    wire: Wire,
    host: String,
}

async fn ground() -> Play {
    ground_at(moment("09:00")).await
}

async fn ground_at(now: Timestamp) -> Play {
    // It waits for the SDK in its own way.
    let make = move || Wire::new(Arc::new(ManualClock::new(now)));
    let wire = tokio::task::spawn_blocking(make).await.unwrap();
    let host = wire.hosts["i-00000001"].clone();
    Play { wire, host }
}

impl Play {
    fn binding(&self, user: &str) -> Binding {
        let place = format!("{}/{EAST}/{}", self.wire.account, self.host);
        Binding::new("windows-admin", &place, "Administrators", user)
    }

    fn lost(&self, nonce: &str, age: Span) -> Recall {
        let binding = self.binding(r"corp\jdoe");
        Recall { intent: 7, binding, request: None, nonce: Some(nonce.into()), age }
    }

    /// Grants it, as the executor would under this nonce.
    async fn grant(&self, nonce: &str) {
        let step = Step {
            verb: Verb::Grant,
            binding: self.binding(r"corp\jdoe"),
            until: Span::hours(8).after(self.wire.clock.now()),
            holders: [("inc-1".parse().unwrap(), "0123456789ab".parse().unwrap())].into_iter().collect(),
            cause: Cause::Merged,
            act_by: None,
            before: Seen::Unread,
            origin: None,
            intent: 7,
            nonce: Some(nonce.into()),
            stated: None,
            off: Default::default(),
        };
        let writer = self.wire.cloud().writers()["windows-admin"].clone();
        writer.write(vec![step], unbounded_channel().0).await;
    }

    /// By a process that has asked nothing yet.
    async fn ask(&self, calls: &[Recall]) -> Vec<Recalled> {
        let reader = self.wire.cloud().readers()["windows-admin"].clone();
        reader.recall(calls).await
    }
}

fn never(recalled: &Recalled) -> bool {
    matches!(recalled, Recalled::Came(Fate::Failed(trouble)) if trouble.detail.starts_with("it was never sent"))
}

#[tokio::test]
async fn each_call_is_told_by_its_nonce_its_user_and_its_host() {
    let ground = ground().await;
    ground.grant(NONCE).await;
    let age = Span::minutes(6);
    let ours = ground.lost(NONCE, age);
    let other_user = Recall { binding: ground.binding(r"corp\maria"), ..ours.clone() };
    let there = ground.binding(r"corp\jdoe");
    let place = there.place().replace(&ground.host, &ground.wire.hosts["i-00000002"]);
    let other_host =
        Recall { binding: Binding::new("windows-admin", &place, "Administrators", r"corp\jdoe"), ..ours.clone() };
    let old = Recall { nonce: None, ..ours.clone() };
    ground.wire.cloud.clear_calls();
    let found = ground.ask(&[other_user, ours, ground.lost(OTHER, age), old, other_host]).await;
    assert_eq!((&found[1], &found[3]), (&Recalled::Came(Fate::Done), &Recalled::Lost));
    assert!([0, 2, 4].iter().all(|at| never(&found[*at])), "{found:?}");
    // One list for all, and one more before anybody says never.
    let counts = ["ssm:ListCommands", "ssm:ListCommandInvocations"].map(|action| ground.wire.cloud.count(action));
    assert_eq!(counts, [2, 1]);
}

#[tokio::test]
async fn never_is_said_of_what_is_old_enough_and_not_of_what_ssm_has_forgotten() {
    let ground = ground().await;
    let ages = [Span::seconds(0), Span::minutes(4), Span::minutes(5), Span::days(2), Span::days(28), Span::days(30)];
    let found = ground.ask(&ages.map(|age| ground.lost(NONCE, age))).await;
    assert!(found[..2].iter().all(|one| matches!(one, Recalled::Later(_))), "{found:?}");
    assert!(found[2..5].iter().all(never), "{found:?}");
    assert_eq!(found[5], Recalled::Lost);
}

#[tokio::test]
async fn a_clock_that_was_wrong_at_the_intent_or_is_wrong_now_hides_no_command() {
    // Ours is a month ahead of AWS's: by that alone, SSM would be asked for what is yet to come.
    #[expect(clippy::disallowed_methods, reason = "AWS goes by the machine's clock")]
    let ground = ground_at(Span::days(30).after(Timestamp::now())).await;
    ground.grant(NONCE).await;
    // It was ten hours ago, and by what the engine knows, six minutes.
    ground.wire.cloud.pass(SignedDuration::from_hours(10));
    let found = ground.ask(&[ground.lost(NONCE, Span::minutes(6))]).await;
    assert_eq!(found, [Recalled::Came(Fate::Done)]);
}

#[tokio::test]
async fn who_may_not_list_has_lost_it_and_whom_nobody_answers_asks_again() {
    let ground = ground().await;
    ground.grant(NONCE).await;
    let cloud = &ground.wire.cloud;
    let ask = async |action, how| {
        cloud.fault(Fault::of(action, how));
        let found = ground.ask(&[ground.lost(NONCE, Span::minutes(1))]).await;
        cloud.clear_faults();
        found.into_iter().next().unwrap()
    };
    assert_eq!(ask("ssm:ListCommands", How::Deny).await, Recalled::Lost);
    for (action, how) in [
        ("sts:AssumeRole", How::Deny),
        ("ssm:ListCommands", How::Error500),
        ("ssm:ListCommands", How::Throttle),
        ("ssm:ListCommandInvocations", How::Error500),
    ] {
        assert!(matches!(ask(action, how).await, Recalled::Later(_)), "{action} {how:?}");
    }
    assert_eq!(ground.ask(&[ground.lost(NONCE, Span::minutes(1))]).await, [Recalled::Came(Fate::Done)]);
}
