//! The life of a binding: which state becomes which, by what a line of the journal says. One table, and nothing else changes a
//! [`Hold`].
//!
//! Columns: an intent is on record to **grant**, **renew** or **revoke**; the fate of the open call is **done**, **standing** (there,
//! and not by this call), **absent** (a renewal or a
//! revocation found nothing), **failed** (nothing was changed), **unknown**, **gone** (no such place
//! any more). **retried**: revocations failed again, without lines of their own. **dispute**, **drift**, **vanish** and **forget** are what
//! looking came to. A dot: nothing changes.
//!
//! ```text
//!            | grant     | renew    | revoke   | done     | standing | absent   | failed    | unknown   | gone    | retried   | dispute | drift   | vanish | forget
//! nothing    | granting  | .        | .        | .        | .        | .        | .         | .         | .       | .         | .       | .       | gone   | .
//! standing   | granting  | .        | .        | .        | .        | .        | .         | .         | .       | .         | .       | .       | gone   | nothing
//! refused    | granting  | .        | .        | .        | .        | .        | .         | .         | .       | .         | .       | .       | gone   | nothing
//! gone       | granting  | .        | .        | .        | .        | .        | .         | .         | .       | .         | .       | .       | gone   | nothing
//! granting   | uncertain | .        | revoking | held     | standing | refused  | refused   | granting  | gone    | .         | held    | .       | gone   | nothing
//! uncertain  | uncertain | .        | revoking | held     | held     | .        | uncertain | uncertain | gone    | .         | held    | drifted | gone   | nothing
//! held       | restoring | renewing | revoking | .        | .        | .        | .         | .         | .       | .         | held    | drifted | gone   | nothing
//! renewing   | restoring | renewing | revoking | held     | held     | drifted  | held      | held      | gone    | .         | held    | drifted | gone   | nothing
//! drifted    | restoring | renewing | revoking | .        | .        | .        | .         | .         | .       | .         | held    | .       | gone   | nothing
//! restoring  | uncertain | renewing | revoking | held     | held     | drifted  | drifted   | uncertain | gone    | .         | held    | drifted | gone   | nothing
//! revoking   | uncertain | renewing | revoking | settling | revoking | settling | revoking  | revoking  | nothing | revoking  | held    | .       | gone   | nothing
//! settling   | regranting | .       | revoking | .        | .        | .        | .         | .         | .       | .         | held    | drifted | gone   | nothing
//! regranting | uncertain | .        | revoking | held     | held     | settling | settling  | regranting | gone   | .         | held    | drifted | gone   | nothing
//! ```
//!
//! Why these, of those that could be otherwise:
//!
//! - *granting + standing* is not ours: it was there at our first call. *uncertain + standing* is ours: something of ours was there,
//!   or may have been, and whoever has the access may have taken our mark off. It is held as *disputed*, and so is *dispute*.
//! - *granting + unknown* stays: the answer may still be fetched, and then counts as if it had never been lost.
//! - *uncertain* is not left by a look that finds nothing, but for one from when no call of ours can land any more: such an absence
//!   has settled, and what somebody adds from then on is his.
//! - *drifted* is not given back by a renewal: *renewing + absent* is drift.
//! - *drifted* belongs to those from whom it was taken: `Owned::lost` keeps them, whatever becomes of the access for others. So it is
//!   with what a revocation found absent, where no call of ours can have taken it: somebody did, and nobody had looked.
//! - *settling + drift*, and the same of *uncertain* and *regranting*: the absence has settled, and nothing is owed any more; those
//!   from whom it was taken by hand before are not over, and it is drifted for them as it was.
//! - *settling + grant* is *regranting*: while a debt is open, what appears there is ours to end. Where that grant fails, nothing was
//!   changed, and the absence settles as it would have.
//!
//! Journals before format 2 were written by a release that closed what was answered with *standing* unless it had been confirmed:
//! what such a line closed stays closed, because nobody knows any more whose it was.

use jiff::Timestamp;

use crate::model::{Attempt, Call, Doubt, Fate, Hold, Sure, Trouble, TroubleKind, Verb};

/// What is known of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenure {
    Nothing,
    /// Not ours, and there.
    Standing(Timestamp),
    /// Not ours: our grant failed, and is tried again.
    Refused(Box<Attempt>),
    /// Its place no longer exists.
    Gone(Timestamp),
    Owned(Hold),
}

/// What a line says of it.
#[derive(Debug, Clone)]
pub enum Said<'a> {
    Intended(Verb, Call),
    /// The fate of the open call, and when it was known.
    Came(&'a Fate, Timestamp),
    /// So many failures in a row by now, the last one then.
    Retried(u32, Timestamp, &'a Trouble),
    Disputed,
    Drifted,
    Vanished(Timestamp),
    Forgotten,
}

/// The table. `settled`: whether the line is of format 2 or later.
pub fn next(was: Tenure, said: Said<'_>, settled: bool) -> Tenure {
    use Tenure::{Gone, Nothing, Owned, Refused, Standing};
    match (was, said) {
        (Owned(hold), Said::Intended(verb, call)) => Owned(intended(hold, verb, call)),
        (Owned(hold), Said::Came(fate, knew)) => came(hold, fate, knew, settled),
        (Owned(Hold::Revoking { sure, call, retry, perhaps }), Said::Retried(count, last, trouble)) => {
            let until = retry.and_then(|attempt| attempt.until);
            let retry = Some(Box::new(Attempt { count, last, trouble: trouble.clone(), until }));
            Owned(Hold::Revoking { sure, call, retry, perhaps })
        }
        (was @ Owned(_), Said::Retried(..)) => was,
        (Owned(hold), Said::Disputed) => Owned(match hold {
            Hold::Held { sure, retry } => Hold::Held { sure, retry },
            _ => Hold::Held { sure: Sure::Disputed, retry: None },
        }),
        (Owned(hold), Said::Drifted) => Owned(match hold {
            Hold::Held { sure, .. } | Hold::Renewing { sure, .. } | Hold::Restoring { sure, .. } => {
                Hold::Drifted { sure, retry: None, settled: false }
            }
            Hold::Settling { wrote: _, retry } => drifted(retry),
            Hold::Uncertain(doubt) => drifted(doubt.retry),
            Hold::Regranting { wrote: _, call } => drifted(call.retry),
            Hold::Granting(_) | Hold::Drifted { .. } | Hold::Revoking { .. } => hold,
        }),
        (Owned(_) | Nothing | Standing(_) | Refused(_) | Gone(_), Said::Vanished(at)) => Gone(at),
        (_, Said::Forgotten) => Nothing,
        (Refused(attempt), Said::Intended(Verb::Grant, call)) => {
            Owned(Hold::Granting(Box::new(Call { retry: Some(attempt), ..call })))
        }
        (Nothing | Standing(_) | Gone(_), Said::Intended(Verb::Grant, call)) => Owned(Hold::Granting(Box::new(call))),
        (was @ (Nothing | Standing(_) | Refused(_) | Gone(_)), _) => was,
    }
}

/// Nobody of those who are not over has it, and nothing is owed.
fn drifted(retry: Option<Box<Attempt>>) -> Hold {
    Hold::Drifted { sure: Sure::Answered, retry, settled: true }
}

/// A call will be made.
fn intended(hold: Hold, verb: Verb, call: Call) -> Hold {
    let doubt = |call, retry, wrote| Hold::Uncertain(Box::new(Doubt { call: Some(call), retry, wrote }));
    match (verb, hold) {
        (Verb::Revoke, Hold::Revoking { sure, retry, call: before, perhaps }) => {
            Hold::Revoking { sure, call: Some(Box::new(call)), retry, perhaps: perhaps || before.is_some() }
        }
        (Verb::Revoke, hold) => {
            Hold::Revoking { sure: hold.sure(), call: Some(Box::new(call)), retry: None, perhaps: false }
        }
        // The answer of the call before never came: it may still land.
        (Verb::Grant, Hold::Granting(before)) => doubt(call, before.retry, Some(before.asked)),
        (Verb::Grant, Hold::Uncertain(before)) => {
            let wrote = before.call.map(|call| call.asked).or(before.wrote);
            doubt(call, before.retry, wrote)
        }
        (Verb::Grant, Hold::Restoring { call: before, .. } | Hold::Regranting { call: before, .. }) => {
            doubt(call, before.retry, Some(before.asked))
        }
        (Verb::Grant, Hold::Revoking { .. }) => {
            let asked = call.asked;
            doubt(call, None, Some(asked))
        }
        (Verb::Grant, Hold::Settling { wrote, retry }) => {
            Hold::Regranting { wrote, call: Box::new(Call { retry, ..call }) }
        }
        (Verb::Grant, Hold::Held { sure, .. } | Hold::Renewing { sure, .. }) => {
            Hold::Restoring { sure, call: Box::new(call) }
        }
        (Verb::Grant, Hold::Drifted { sure, retry, settled: _ }) => {
            Hold::Restoring { sure, call: Box::new(Call { retry, ..call }) }
        }
        (Verb::Renew, Hold::Held { sure, retry }) => Hold::Renewing { sure, call: Box::new(Call { retry, ..call }) },
        (Verb::Renew, Hold::Renewing { sure, call: before }) => {
            Hold::Renewing { sure, call: Box::new(Call { retry: before.retry, ..call }) }
        }
        (Verb::Renew, Hold::Drifted { sure, .. } | Hold::Restoring { sure, .. }) => {
            Hold::Renewing { sure, call: Box::new(call) }
        }
        // Only a release before format 2 did this, and only of what was confirmed.
        (Verb::Renew, Hold::Revoking { sure, .. }) => {
            Hold::Renewing { sure: sure.unwrap_or(Sure::Disputed), call: Box::new(call) }
        }
        (
            Verb::Renew,
            hold @ (Hold::Granting(_) | Hold::Uncertain(_) | Hold::Settling { .. } | Hold::Regranting { .. }),
        ) => hold,
    }
}

/// The open call has its fate.
fn came(hold: Hold, fate: &Fate, knew: Timestamp, settled: bool) -> Tenure {
    use Tenure::{Gone, Nothing, Owned, Refused, Standing};
    let sure = Sure::Answered;
    // Of the verb that was tried: how often it failed in a row.
    let again = |call: &Call, trouble: &Trouble| Attempt::again(call.retry.as_deref(), call.until, knew, trouble);
    let unmarked = || {
        let detail = "it is there, and the place said that it is not ours, though it was";
        Trouble::new(TroubleKind::Broken, detail)
    };
    match hold {
        Hold::Granting(call) => match fate {
            Fate::Done => Owned(Hold::Held { sure, retry: None }),
            Fate::Standing => Standing(knew),
            Fate::Gone => Gone(knew),
            Fate::Absent => {
                Refused(again(&call, &Trouble::new(TroubleKind::Broken, "it is not there after it was granted")))
            }
            Fate::Failed(trouble) => Refused(again(&call, trouble)),
            Fate::Unknown(trouble) => {
                let retry = Some(again(&call, trouble));
                Owned(Hold::Granting(Box::new(Call { retry, ..*call })))
            }
        },
        Hold::Uncertain(doubt) => {
            let Doubt { call, retry, wrote } = *doubt;
            let doubt = |call, retry| Owned(Hold::Uncertain(Box::new(Doubt { call, retry, wrote })));
            let Some(call) = call else { return doubt(call, retry) };
            let again = |trouble| Some(Attempt::again(retry.as_deref(), call.until, knew, trouble));
            match fate {
                Fate::Done => Owned(Hold::Held { sure, retry: None }),
                Fate::Standing if settled => Owned(Hold::Held { sure: Sure::Disputed, retry: None }),
                Fate::Standing => Standing(knew),
                Fate::Gone => Gone(knew),
                Fate::Absent => doubt(Some(call), retry),
                Fate::Failed(trouble) => doubt(None, again(trouble)),
                Fate::Unknown(trouble) => {
                    let retry = again(trouble);
                    doubt(Some(call), retry)
                }
            }
        }
        Hold::Renewing { sure, call } => match fate {
            Fate::Done => Owned(Hold::Held { sure, retry: None }),
            Fate::Standing => Owned(Hold::Held { sure, retry: Some(again(&call, &unmarked())) }),
            Fate::Absent => Owned(Hold::Drifted { sure, retry: None, settled: false }),
            Fate::Gone => Gone(knew),
            Fate::Failed(trouble) | Fate::Unknown(trouble) => {
                Owned(Hold::Held { sure, retry: Some(again(&call, trouble)) })
            }
        },
        Hold::Restoring { sure, call } => match fate {
            Fate::Done => Owned(Hold::Held { sure: Sure::Answered, retry: None }),
            Fate::Standing => Owned(Hold::Held { sure: Sure::Disputed, retry: None }),
            Fate::Absent => Owned(Hold::Drifted { sure, retry: None, settled: false }),
            Fate::Gone => Gone(knew),
            Fate::Failed(trouble) => Owned(Hold::Drifted { sure, retry: Some(again(&call, trouble)), settled: false }),
            Fate::Unknown(trouble) => {
                let retry = Some(again(&call, trouble));
                Owned(Hold::Uncertain(Box::new(Doubt { call: Some(*call), retry, wrote: None })))
            }
        },
        Hold::Regranting { wrote, call } => match fate {
            Fate::Done => Owned(Hold::Held { sure, retry: None }),
            Fate::Standing => Owned(Hold::Held { sure: Sure::Disputed, retry: None }),
            Fate::Absent => Owned(Hold::Settling { wrote, retry: call.retry }),
            Fate::Gone => Gone(knew),
            Fate::Failed(trouble) => Owned(Hold::Settling { wrote, retry: Some(again(&call, trouble)) }),
            Fate::Unknown(trouble) => {
                let retry = Some(again(&call, trouble));
                Owned(Hold::Regranting { wrote, call: Box::new(Call { retry, ..*call }) })
            }
        },
        Hold::Revoking { sure, call: Some(call), retry, perhaps } => {
            let again = |trouble| {
                let retry = Some(Attempt::again(retry.as_deref(), call.until, knew, trouble));
                let perhaps = perhaps || matches!(fate, Fate::Unknown(_));
                Owned(Hold::Revoking { sure, call: None, retry, perhaps })
            };
            match fate {
                Fate::Done | Fate::Absent => Owned(Hold::Settling { wrote: knew, retry: None }),
                Fate::Standing if settled || sure.is_some() => again(&unmarked()),
                Fate::Standing | Fate::Gone => Nothing,
                Fate::Failed(trouble) | Fate::Unknown(trouble) => again(trouble),
            }
        }
        hold @ (Hold::Held { .. }
        | Hold::Drifted { .. }
        | Hold::Revoking { call: None, .. }
        | Hold::Settling { .. }) => Owned(hold),
    }
}

#[cfg(test)]
mod tests;
