//! A guard against going round in circles: whatever mistake is made in the plan, the same is not done again and again without a
//! pause.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;

use crate::model::{Record, Span, Step};

use super::Outlook;

/// For how long steps are counted.
const ROUND: Duration = Duration::from_secs(10);
/// How often one step may be begun in that time. Where it fails it pauses for 5 s at least, so that more is a circle.
const OFTEN: u8 = 3;
/// How many turns may follow each other without a pause, whatever each does.
const TURNS: u32 = 100;
/// The pauses when a turn asks for itself in vain, seconds: the first, and the longest, by which an end may be late then.
const FIRST: i64 = 1;
const LONGEST: i64 = 5;

#[derive(Default)]
pub struct Brake {
    /// When the round began, by the steady clock.
    began: Duration,
    /// How often each step was begun in it, by its hash: two that share one are held back together, which harms nobody.
    steps: HashMap<u64, u8>,
    told: bool,
    /// Why the last turn was to be followed by another at once, and how many were.
    last: Option<(Option<Timestamp>, Vec<Record>)>,
    turns: u32,
    strikes: u32,
}

impl Brake {
    /// Takes out the steps that were begun too often, and has the plan made again when they may.
    pub fn steps(&mut self, outlook: &mut Outlook, now: Timestamp, steady: Duration) {
        if steady.saturating_sub(self.began) >= ROUND {
            self.began = steady;
            self.steps.clear();
            self.told = false;
        }
        let mut held = None;
        outlook.plan.steps.retain(|step| {
            let times = self.steps.entry(key(step)).or_default();
            *times = times.saturating_add(1);
            let go = *times <= OFTEN;
            if !go {
                held.get_or_insert_with(|| (step.verb, step.binding.clone()));
            }
            go
        });
        let Some((verb, binding)) = held else { return };
        if !self.told {
            self.told = true;
            tracing::error!(%verb, %binding, "the same step again and again: slowed down; unless somebody else changes this access at the same time it is a mistake of grantd, please report it");
        }
        let left = ROUND.saturating_sub(steady.saturating_sub(self.began)).as_secs() + 1;
        let again = Span::seconds(i64::try_from(left).unwrap_or(1)).after(now);
        outlook.plan.wake = Some(outlook.plan.wake.filter(|wake| *wake > now).map_or(again, |wake| wake.min(again)));
    }

    /// When the next turn may be at the earliest, for one that asks for itself at once: `None` if there is no reason to wait.
    pub fn turn(&mut self, outlook: &Outlook, now: Timestamp) -> Option<Timestamp> {
        let wake = outlook.plan.wake.filter(|wake| *wake <= now);
        if wake.is_none() {
            (self.last, self.turns, self.strikes) = (None, 0, 0);
            return None;
        }
        self.turns += 1;
        let why = (wake.filter(|wake| *wake < now), outlook.plan.records.clone());
        let same = self.last.as_ref() == Some(&why);
        self.last = Some(why);
        if !same && self.turns < TURNS {
            return None;
        }
        self.strikes += 1;
        if self.strikes == 1 {
            let record = outlook.plan.records.first().map(|record| format!("{record:?}")).unwrap_or_default();
            let record: String = record.chars().take(200).collect();
            tracing::error!(
                record,
                "the plan asks to be made again at once, for the same reason as before: slowed down; this is a mistake of grantd, please report it"
            );
        }
        let pause = FIRST << (self.strikes - 1).min(6);
        Some(Span::seconds(pause.min(LONGEST)).after(now))
    }
}

fn key(step: &Step) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&step.binding, step.verb as u8, step.until).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Binding, Cause, Holders, Off, Plan, Seen, Verb};

    fn step(second: i64) -> Step {
        Step {
            verb: Verb::Grant,
            binding: Binding::new("s", "p", "r", "w"),
            until: Timestamp::from_second(second).unwrap(),
            holders: Holders::default(),
            cause: Cause::Merged,
            act_by: None,
            before: Seen::Unread,
            origin: None,
            intent: 0,
            nonce: None,
            stated: None,
            off: Off::default(),
        }
    }

    fn outlook(steps: Vec<Step>, records: Vec<Record>, wake: Option<Timestamp>) -> Outlook {
        Outlook { plan: Plan { steps, records, wake, ..Plan::default() }, ..Outlook::default() }
    }

    #[test]
    fn the_same_step_is_begun_three_times_in_ten_seconds_and_others_go_on() {
        let (mut brake, now) = (Brake::default(), Timestamp::from_second(1_800_000_000).unwrap());
        let begun = |brake: &mut Brake, second: u64| {
            let mut outlook = outlook(vec![step(1), step(second as i64 + 100)], Vec::new(), None);
            brake.steps(&mut outlook, now, Duration::from_secs(second));
            (
                outlook.plan.steps.iter().filter(|begun| **begun == step(1)).count(),
                outlook.plan.steps.len(),
                outlook.plan.wake,
            )
        };
        for second in 100..103 {
            assert_eq!(begun(&mut brake, second), (1, 2, None));
        }
        let (same, all, wake) = begun(&mut brake, 103);
        assert_eq!((same, all), (0, 1), "the fourth waits, and only that");
        assert!(wake.unwrap() > now);
        assert_eq!(begun(&mut brake, 110), (1, 2, None));
    }

    #[test]
    fn a_turn_that_asks_for_itself_for_the_same_reason_waits_longer_each_time() {
        let (mut brake, now) = (Brake::default(), Timestamp::from_second(1_800_000_000).unwrap());
        let past = Span::seconds(5).before(now);
        assert_eq!(brake.turn(&outlook(Vec::new(), Vec::new(), Some(past)), now), None, "once is no circle");
        let pauses: Vec<i64> = (0..8)
            .map(|_| {
                brake.turn(&outlook(Vec::new(), Vec::new(), Some(past)), now).unwrap().duration_since(now).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5, 5, 5]);
        assert_eq!(brake.turn(&outlook(Vec::new(), Vec::new(), Some(Span::seconds(1).after(now))), now), None);
        assert_eq!(brake.turn(&outlook(Vec::new(), Vec::new(), Some(past)), now), None, "it slept in between");
        // Another reason each time is work, but not without end.
        let record = |seq: u64| Record::Cut { bytes: seq, kept: "x".into() };
        let mut brake = Brake::default();
        let waits = (0..200).filter(|n| brake.turn(&outlook(Vec::new(), vec![record(*n)], Some(now)), now).is_some());
        assert_eq!(waits.count(), 101);
    }
}
