//! The engine's own time: it hangs on the steady clock, so that no step of the machine's clock stops it or turns it back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::TOLERANCE,
    model::{Clock, Era, FORMAT, Ledger, Record, Span},
};

/// How far small steps may carry the engine's time before that is put on record, so that a later process goes on from there.
const NOTED: SignedDuration = SignedDuration::from_secs(30);

/// The engine's time: so much after the beginning of this boot, and what lies between the two.
pub struct Age {
    era: Era,
    /// The clock was stepped ahead, and the later time counts until it is put right.
    ahead: Option<Ahead>,
    /// What was said last.
    wall: Timestamp,
    /// How far ahead small steps have taken it, and when the last was.
    crept: SignedDuration,
    crept_at: Duration,
    /// When it last went ahead by more than has passed, or may have.
    leapt: Timestamp,
}

struct Ahead {
    /// As time went before.
    before: Era,
    /// Since when the later time counts.
    since: Timestamp,
}

/// Why the machine's clock is not trusted to grant by: an end reckoned from it would lie too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It is behind the time that has passed.
    Behind(SignedDuration),
    /// It was stepped ahead.
    Ahead(SignedDuration),
}

impl Age {
    /// Goes on where the ledger ends. In the same boot by what has passed; in another one by the machine's clock, or, if that is
    /// behind the journal, from there: nobody knows which of the two was wrong, so ends go on and nothing is granted.
    pub fn new(clock: &dyn Clock, ledger: &Ledger) -> Self {
        let (wall, steady, boot) = (clock.now(), clock.steady(), clock.boot());
        let (latest, crept) = (ledger.clock.unwrap_or(wall), SignedDuration::ZERO);
        let Some(known) = ledger.era.as_ref().filter(|era| era.boot == boot && !boot.is_empty()) else {
            let (since, unsure) = (wall.max(latest), latest.duration_since(wall) > TOLERANCE);
            return Self {
                era: Era { boot, zero: back(since, steady), since, unsure },
                ahead: None,
                wall,
                crept,
                crept_at: steady,
                leapt: since,
            };
        };
        let (mut era, mut ahead) = (known.clone(), None);
        let beyond = latest.duration_since(known.at(steady));
        if beyond > SignedDuration::ZERO {
            era.zero = back(latest, steady);
        }
        // Lines of this boot can lie ahead of what has passed in it only if an earlier process saw the clock stepped ahead.
        if beyond > TOLERANCE {
            ahead = Some(Ahead { before: known.clone(), since: known.at(steady) });
        }
        let leapt = if ahead.is_some() { era.at(steady) } else { Timestamp::MIN };
        Self { era, ahead, wall, crept, crept_at: steady, leapt }
    }

    /// Looks at the machine's clock. Answers what has to be put on record before time goes on from there.
    pub fn look(&mut self, clock: &dyn Clock) -> Option<Record> {
        let (wall, steady) = (clock.now(), clock.steady());
        self.wall = wall;
        let now = self.era.at(steady);
        let off = wall.duration_since(now);
        if off > TOLERANCE && self.era.unsure {
            // The clock was behind the journal when the machine began, and has caught up.
            self.era = Era { zero: back(wall, steady), unsure: false, ..self.era.clone() };
            let since = self.era.since;
            self.leapt = wall;
            return Some(self.clocked(steady, off, since, "the machine's clock has caught up"));
        }
        if self.era.unsure && off.abs() <= TOLERANCE {
            self.era.unsure = false;
            let since = self.era.since;
            return Some(self.clocked(steady, SignedDuration::ZERO, since, "the machine's clock is right"));
        }
        if off > TOLERANCE {
            self.leapt = wall;
        }
        if off > SignedDuration::ZERO {
            // Many small steps are a large one: what they come to wears off within a day.
            let worn =
                SignedDuration::try_from(steady.saturating_sub(self.crept_at) / 720).unwrap_or(SignedDuration::MAX);
            self.crept = self.crept.saturating_sub(worn).max(SignedDuration::ZERO).saturating_add(off);
            self.crept_at = steady;
            if self.crept > TOLERANCE && self.ahead.is_none() {
                let zero = back(wall, steady).checked_sub(self.crept).unwrap_or(self.era.zero);
                self.ahead = Some(Ahead { before: Era { zero, ..self.era.clone() }, since: wall });
                self.leapt = wall;
            }
            self.era.zero = back(wall, steady);
            return None;
        }
        let ahead = self.ahead.as_ref().filter(|_| off < -TOLERANCE)?;
        if wall.duration_since(ahead.before.at(steady)).abs() > TOLERANCE {
            return None;
        }
        let since = ahead.since;
        self.era = Era { zero: back(wall, steady), ..self.era.clone() };
        (self.ahead, self.crept, self.leapt) = (None, SignedDuration::ZERO, Timestamp::MIN);
        Some(self.clocked(steady, off, since, "the machine's clock was put right"))
    }

    /// What small steps came to, where it is time to put that on record.
    pub fn drift(&self, steady: Duration, recorded: Option<&Era>) -> Option<Record> {
        let recorded = recorded.filter(|era| self.ahead.is_none() && era.boot == self.era.boot)?;
        let off = self.era.zero.duration_since(recorded.zero);
        (off > NOTED).then(|| self.clocked(steady, off, self.era.since, "the machine's clock was set a little"))
    }

    fn clocked(&self, steady: Duration, step: SignedDuration, since: Timestamp, because: &str) -> Record {
        Record::Clock {
            boot: self.era.boot.clone(),
            steady: millis(steady),
            step: i64::try_from(step.as_millis()).unwrap_or(i64::MIN),
            since,
            because: because.into(),
            accepted: false,
        }
    }

    /// Time goes on from what the machine's clock says, as an operator has it.
    pub fn accept(&mut self, clock: &dyn Clock, because: &str) -> Record {
        let (wall, steady) = (clock.now(), clock.steady());
        let step = wall.duration_since(self.era.at(steady));
        // What was reckoned by the wrong clock: since it was stepped ahead, or since this boot, or one before it, began.
        let since = self.ahead.as_ref().map_or(self.era.since, |ahead| ahead.since);
        self.era = Era { zero: back(wall, steady), unsure: false, ..self.era.clone() };
        (self.ahead, self.wall, self.crept) = (None, wall, SignedDuration::ZERO);
        self.leapt = if step > SignedDuration::ZERO { wall } else { self.leapt.min(wall) };
        let mut record = self.clocked(steady, step, since, because);
        if let Record::Clock { accepted, .. } = &mut record {
            *accepted = true;
        }
        record
    }

    /// When it last went ahead by more than has passed, or may have: since then it says how long ago something was.
    pub fn leapt(&self) -> Timestamp {
        self.leapt
    }

    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.era.at(clock.steady())
    }

    /// The line by which a process takes the journal over.
    pub fn start(&self, clock: &dyn Clock, version: &str) -> Record {
        Record::Start {
            version: version.into(),
            format: FORMAT,
            boot: Some(self.era.boot.clone()),
            steady: millis(clock.steady()),
            wall: Some(clock.now()),
        }
    }

    pub fn distrust(&self, clock: &dyn Clock) -> Option<Distrust> {
        let off = self.wall.duration_since(self.now(clock));
        match &self.ahead {
            Some(ahead) => Some(Distrust::Ahead(self.era.zero.duration_since(ahead.before.zero))),
            None if off < -TOLERANCE => Some(Distrust::Behind(-off)),
            None => None,
        }
    }
}

impl Distrust {
    /// For an operator. It holds no time of day: a sentence that changes with every look says nothing.
    pub fn sentence(self) -> String {
        // Rounded: it is for people, and does not change from one minute to the next.
        let about = |off: SignedDuration| match (off.as_secs() + 30) / 60 {
            minutes if minutes >= 48 * 60 => Span::days((minutes + 720) / 1440),
            minutes if minutes >= 2 * 60 => Span::hours((minutes + 30) / 60),
            minutes => Span::minutes(minutes.max(1)),
        };
        match self {
            Self::Behind(off) => {
                format!(
                    "the clock is behind the time that has passed, by about {}: set the clock, or accept it if it is right (`grantd clock accept`)",
                    about(off)
                )
            }
            Self::Ahead(off) => format!(
                "the clock was stepped ahead, by about {}: ends come by the later time; put the clock right, or accept it if it is right (`grantd clock accept`)",
                about(off)
            ),
        }
    }
}

fn millis(steady: Duration) -> u64 {
    u64::try_from(steady.as_millis()).unwrap_or(u64::MAX)
}

/// When the boot began, if so much of it has passed by `at`.
fn back(at: Timestamp, steady: Duration) -> Timestamp {
    SignedDuration::try_from(steady).ok().and_then(|steady| at.checked_sub(steady).ok()).unwrap_or(Timestamp::MIN)
}
