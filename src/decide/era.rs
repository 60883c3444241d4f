//! What the lines about time make of the ledger.

use jiff::{SignedDuration, Timestamp};
use litemap::LiteMap;

use crate::model::{Era, Hold, Ledger, State, Terms, Text};

/// How far the machine's clock may lie from the engine's time and still be trusted to grant by.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(2);

/// The engine's time at the beginning of a boot of which so many milliseconds have passed.
fn zero(at: Timestamp, steady: u64) -> Timestamp {
    let steady = i64::try_from(steady).unwrap_or(i64::MAX);
    at.checked_sub(SignedDuration::from_millis(steady)).unwrap_or(Timestamp::MIN)
}

/// A process began. Within one boot time goes on as it went; another boot begins another era, with what came before it still
/// in question if the clock was found behind it.
pub fn started(ledger: &mut Ledger, boot: Option<&Text>, steady: u64, wall: Option<Timestamp>, at: Timestamp) {
    let Some(boot) = boot.filter(|boot| !boot.is_empty()) else {
        ledger.era = None;
        return;
    };
    if ledger.era.as_ref().is_none_or(|era| era.boot != *boot) {
        let unsure = wall.is_some_and(|wall| at.duration_since(wall) > TOLERANCE);
        ledger.era = Some(Era { boot: boot.clone(), zero: zero(at, steady), since: at, unsure });
    }
}

/// Time goes on from `at`, which is `step` milliseconds from where it was. After a step back no moment of what has been lies
/// ahead of it, and ends that were reckoned by the wrong clock, from `since` on, come that much earlier: a step back takes nobody's
/// end later. `accepted`: an operator says that the time that was gone by is wrong: then the end of all that has begun, a stated one
/// too, is as far away as it was.
pub fn put_right(
    ledger: &mut Ledger,
    boot: &Text,
    steady: u64,
    step: i64,
    since: Timestamp,
    accepted: bool,
    at: Timestamp,
) {
    let era = if step < 0 { at } else { since };
    ledger.era = Some(Era { boot: boot.clone(), zero: zero(at, steady), since: era, unsure: false });
    ledger.clock = Some(at);
    if step >= 0 {
        return;
    }
    let back = SignedDuration::from_millis(step);
    let earlier = |moment: Timestamp| moment.checked_add(back).unwrap_or(moment);
    let then = at.checked_sub(back).unwrap_or(at);
    for terms in ledger.grants.values_mut() {
        let Terms { start, until, ceiling, stated, from, state, places, asks_since, .. } = &mut **terms;
        *asks_since = asks_since.map(|since| since.min(at));
        if accepted && *start <= then {
            *until = earlier(*until);
            *start = earlier(*start);
            *ceiling = earlier(*ceiling);
        // What was reckoned by it: a start that was not stated, and lies where that clock counted.
        } else if from.is_none() && (*start > at || *start >= since) {
            if *stated != Some(*until) {
                *until = earlier(*until);
            }
            *start = earlier(*start);
            *ceiling = earlier(*ceiling);
        }
        match state {
            State::Live => {}
            State::Suspended { effective, .. } | State::Withdrawn { effective, .. } => {
                if *effective > at {
                    *effective = earlier(*effective).max(at);
                }
            }
        }
        // What has not begun was asked for too early.
        if *start > at {
            *places = LiteMap::new();
        }
        for (_, resolved) in places.iter_mut() {
            resolved.at = resolved.at.min(at);
        }
    }
    for owned in ledger.owned.values_mut() {
        owned.ending = owned.ending.map(|ending| ending.min(at));
        if let Some(had) = &mut owned.had {
            had.ending = had.ending.map(|ending| ending.min(at));
        }
        if let Hold::Settling { wrote, .. } | Hold::Regranting { wrote, .. } = &mut owned.hold {
            *wrote = (*wrote).min(at);
        }
        if let Hold::Uncertain(doubt) = &mut owned.hold {
            doubt.wrote = doubt.wrote.map(|wrote| wrote.min(at));
        }
        clamp(&mut owned.hold, at);
    }
    ledger.refused.values_mut().for_each(|attempt| attempt.last = attempt.last.min(at));
    ledger.gone.values_mut().for_each(|since| *since = (*since).min(at));
    ledger.standing.values_mut().for_each(|since| *since = (*since).min(at));
    ledger.prior.values_mut().for_each(|since| *since = (*since).min(at));
    ledger.used.values_mut().for_each(|over| over.at = over.at.min(at));
    ledger.withdrawn.clamp(at);
    ledger.headed = ledger.headed.map(|headed| headed.min(at));
    if let Some(freeze) = &mut ledger.freeze {
        freeze.since = freeze.since.min(at);
    }
}

/// Pauses and questions that are reckoned from a moment ahead would wait for it.
fn clamp(hold: &mut Hold, at: Timestamp) {
    if let Some(call) = hold.call_mut() {
        call.asked = call.asked.min(at);
    }
    if let Some(retry) = hold.retry_mut() {
        retry.last = retry.last.min(at);
    }
}
