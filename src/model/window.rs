use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `[from, until)`, half open: at `until` the access is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Window {
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// A moment for people, in whole seconds: RFC 3339 in UTC.
pub fn moment(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

/// A length of time in whole seconds, written `90s`, `45m`, `8h`, `2d`: one number, one unit, nothing else.
/// A day is 24 hours. At least one second, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

/// What is wrong with a time or a length of time, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTime(pub &'static str);

impl Span {
    const LONGEST: i64 = 3653 * 86_400;
    /// The pattern of the JSON Schema; the parser adds the bounds.
    pub const PATTERN: &'static str = "^[1-9][0-9]{0,8}[smhd]$";

    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds)
    }
    pub const fn minutes(minutes: i64) -> Self {
        Self(minutes * 60)
    }
    pub const fn hours(hours: i64) -> Self {
        Self(hours * 3600)
    }
    pub const fn days(days: i64) -> Self {
        Self(days * 86_400)
    }
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// `start + self`, or the last representable instant.
    pub fn after(self, start: Timestamp) -> Timestamp {
        start.checked_add(SignedDuration::from_secs(self.0)).unwrap_or(Timestamp::MAX)
    }

    /// The first instant at which more than this has passed since `start`.
    pub fn past(self, start: Timestamp) -> Timestamp {
        self.after(start).checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
    }

    /// `start - self`, or the first representable instant.
    pub fn before(self, start: Timestamp) -> Timestamp {
        start.checked_sub(SignedDuration::from_secs(self.0)).unwrap_or(Timestamp::MIN)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl FromStr for Span {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        const HELP: BadTime = BadTime("a length of time is one number and one unit: `90s`, `45m`, `8h` or `2d`");
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(HELP)?;
        let scale = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(HELP),
        };
        if digits.is_empty()
            || digits.len() > 9
            || digits.starts_with('0')
            || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(HELP);
        }
        let number: i64 = digits.parse().map_err(|_| HELP)?;
        let seconds = number * scale;
        if seconds > Self::LONGEST {
            Err(BadTime("a length of time is at most ten years (3653d)"))
        } else {
            Ok(Self(seconds))
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": Self::PATTERN,
            "description": "A length of time: one number and one unit, such as `90s`, `45m`, `8h`, `2d`."
        })
    }
}

/// Reads a moment in RFC 3339 with an offset: `2026-11-21T02:00:00Z` or `2026-11-21T03:00:00+01:00`. Stricter than jiff,
/// which also takes a blank for the `T`, lower case, and zone names.
pub fn instant(text: &str) -> Result<Timestamp, BadTime> {
    const HELP: BadTime =
        BadTime("a moment is RFC 3339 with an offset: `2026-11-21T02:00:00Z` or `2026-11-21T03:00:00+01:00`");
    let shaped = |shape: &str, part: &str| {
        shape.len() == part.len()
            && shape.bytes().zip(part.bytes()).all(|(s, b)| if s == b'0' { b.is_ascii_digit() } else { s == b })
    };
    let (moment, rest) = text.split_at_checked(19).ok_or(HELP)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if !(1..=9).contains(&(fraction.len() - zone.len())) {
                return Err(HELP);
            }
            zone
        }
        None => rest,
    };
    let zoned = zone == "Z" || shaped("+00:00", zone) || shaped("-00:00", zone);
    if !shaped("0000-00-00T00:00:00", moment) || !zoned {
        return Err(HELP);
    }
    text.parse().map_err(|_| BadTime("there is no such moment: look at the month, the day, the hour and the offset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_grammar() {
        for good in ["1s", "90s", "45m", "8h", "2d", "3653d"] {
            let span: Span = good.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{good}");
        }
        for bad in [
            "",
            "8",
            "h",
            "8 h",
            "8H",
            "08h",
            "+8h",
            "-1h",
            "1.5h",
            "8h30m",
            "0h",
            "3 dayz",
            "in 3d",
            "9999999999s",
            "3654d",
            "８h",
            "8h\n",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn moments_have_one_grammar() {
        for good in ["2026-11-21T02:00:00Z", "2026-11-21T03:00:00+01:00", "2026-11-21T02:00:00.5Z"] {
            instant(good).unwrap();
        }
        assert_eq!(instant("2026-11-21T02:00:00Z"), instant("2026-11-21T03:00:00+01:00"));
        for bad in [
            "2026-11-21",
            "2026-11-21T02:00:00",
            "2026-11-21 02:00:00Z",
            "2026-11-21t02:00:00z",
            "2026-13-21T02:00:00Z",
            "2026-02-30T02:00:00Z",
            "2026-11-21T02:00Z",
            "tomorrow",
            "2026-11-21T02:00:00+0100",
            "2026-11-21T02:00:00[UTC]",
            "2026-11-21T02:00:00.Z",
            " 2026-11-21T02:00:00Z",
            "2026-11-21T24:00:00Z",
        ] {
            assert!(instant(bad).is_err(), "{bad:?} passed");
        }
    }
}
