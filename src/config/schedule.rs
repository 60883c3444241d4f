//! When sweeps come.

use chrono::{DateTime, Utc};
use cron::Schedule;
use jiff::Timestamp;

/// Whether it is a cron expression whose time comes.
pub fn check(text: &str) -> Result<(), String> {
    let schedule = schedule(text)?;
    match schedule.after(&DateTime::<Utc>::UNIX_EPOCH).next() {
        Some(_) => Ok(()),
        None => Err(format!("`{text}` never comes: no such month has such a day; such as `*/15 * * * *`")),
    }
}

/// The next time after a moment.
pub fn next(text: &str, after: Timestamp) -> Option<Timestamp> {
    let after = DateTime::<Utc>::from_timestamp(after.as_second(), 0)?;
    let next = schedule(text).ok()?.after(&after).next()?;
    Timestamp::from_second(next.timestamp()).ok()
}

/// A cron expression as crontab(5) has it. The `cron` crate wants seconds first, counts the days of the week from Sunday = 1,
/// and takes day of month and day of week together where crontab takes either.
fn schedule(text: &str) -> Result<Schedule, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!(
            "`{text}` is not five fields: minute, hour, day of month, month, day of week; such as `*/15 * * * *`"
        ));
    };
    if !day.starts_with('*') && !weekday.starts_with('*') {
        return Err("give the day of the month or the day of the week, and write * for the other".into());
    }
    let weekday = weekdays(weekday)
        .ok_or_else(|| format!("`{weekday}` is no day of the week: write 0 to 7 (0 and 7 are Sunday) or SUN to SAT"))?;
    format!("0 {minute} {hour} {day} {month} {weekday}")
        .parse()
        .map_err(|error| format!("`{text}` is no cron expression: {error}"))
}

/// The field of the days of the week with names for numbers.
fn weekdays(field: &str) -> Option<String> {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    if !field.contains(|c: char| c.is_ascii_digit()) || field.starts_with('*') {
        return Some(field.to_owned());
    }
    let mut days = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, Some(1)), |(range, step)| (range, step.parse().ok()));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to, step): (usize, usize, usize) = (from.parse().ok()?, to.parse().ok()?, step?);
        if from > to || step == 0 {
            return None;
        }
        for day in (from..=to).step_by(step) {
            days.push(*NAMES.get(day)?);
        }
    }
    Some(days.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week_are_counted_as_crontab_counts_them() {
        // 2026-11-20 is a Friday.
        let friday: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let next = |sweep: &str| next(sweep, friday).unwrap().to_string();
        assert_eq!(next("*/15 * * * *"), "2026-11-20T12:15:00Z");
        assert_eq!(next("0 3 * * 0"), "2026-11-22T03:00:00Z");
        assert_eq!(next("0 3 * * 7"), "2026-11-22T03:00:00Z");
        assert_eq!(next("0 3 * * 1-5"), "2026-11-23T03:00:00Z");
        assert_eq!(next("0 3 * * MON-FRI"), "2026-11-23T03:00:00Z");
        assert_eq!(next("0 3 1 * *"), "2026-12-01T03:00:00Z");
    }
}
