//! UTC days and times of day, and the files that are named after them. Days have 86,400 seconds: Unix time knows no leap seconds.

use std::fmt;
use std::str::FromStr;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Last day whose year has four digits.
const LAST: u64 = 2_932_896;

/// A UTC day, from 1970-01-01 on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(u64);

/// A text that is no day, or no time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a UTC day such as 2026-11-21, or a time such as 2026-11-21T20:05:00.000Z")]
pub struct NoDay;

impl Day {
    /// The day of a time.
    pub const fn of(unix_ms: u64) -> Self {
        let days = unix_ms / DAY_MS;
        Self(if days > LAST { LAST } else { days })
    }

    /// When it begins, in Unix milliseconds.
    pub const fn begin(self) -> u64 {
        self.0 * DAY_MS
    }

    /// The day so many days before.
    #[must_use]
    pub const fn before(self, days: u64) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// The day so many days later, if it has a year of four digits.
    #[must_use]
    pub const fn after(self, days: u64) -> Self {
        let day = self.0.saturating_add(days);
        Self(if day > LAST { LAST } else { day })
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Its file.
    pub fn file_name(self) -> String {
        format!("usage-{self}.jsonl")
    }

    /// The day whose file is called so.
    pub fn of_file(name: &str) -> Option<Self> {
        name.strip_prefix("usage-")?.strip_suffix(".jsonl")?.parse().ok()
    }

    /// Year, month and day of the month, by Howard Hinnant's algorithm for the proleptic Gregorian calendar, which counts years
    /// from March on.
    const fn civil(self) -> (u64, u64, u64) {
        let shifted = self.0 + 719_468;
        let era = shifted / 146_097;
        let of_era = shifted % 146_097;
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + (month <= 2) as u64, month, day)
    }

    /// The inverse of [`Day::civil`].
    const fn from_civil(year: u64, month: u64, day: u64) -> Option<Self> {
        if year < 1970 || year > 9999 || month == 0 || month > 12 || day == 0 || day > 31 {
            return None;
        }
        let year = if month <= 2 { year - 1 } else { year };
        let era = year / 400;
        let of_era = year % 400;
        let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let found = Self(days);
        // The 31st of a month with fewer days would be another day.
        let (_, m, d) = found.civil();
        if m == month && d == day { Some(found) } else { None }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(NoDay);
        }
        let part = |from: usize, to: usize| digits(text.get(from..to)?);
        let (Some(year), Some(month), Some(day)) = (part(0, 4), part(5, 7), part(8, 10)) else {
            return Err(NoDay);
        };
        Self::from_civil(year, month, day).ok_or(NoDay)
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A time as records have it: RFC 3339, UTC, with milliseconds. Texts compare as times do.
pub fn time(unix_ms: u64) -> String {
    let (day, ms) = (Day::of(unix_ms), unix_ms % DAY_MS);
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{day}T{hours:02}:{minutes:02}:{:02}.{:03}Z", ms / 1000 % 60, ms % 1000)
}

/// The inverse of [`time`]; the milliseconds may be missing.
///
/// # Errors
/// Of any other form.
pub fn parse_time(text: &str) -> Result<u64, NoDay> {
    let (day, clock) = text.split_once('T').ok_or(NoDay)?;
    let clock = clock.strip_suffix('Z').ok_or(NoDay)?;
    let (clock, ms) = match clock.split_once('.') {
        Some((clock, ms)) if ms.len() == 3 => (clock, digits(ms).ok_or(NoDay)?),
        Some(_) => return Err(NoDay),
        None => (clock, 0),
    };
    let mut parts = clock.split(':').map(|part| digits(part).filter(|_| part.len() == 2));
    let mut next = |most: u64| parts.next().flatten().filter(|part| *part <= most).ok_or(NoDay);
    let (hours, minutes, seconds) = (next(23)?, next(59)?, next(59)?);
    if parts.next().is_some() {
        return Err(NoDay);
    }
    let day: Day = day.parse()?;
    Ok(day.begin() + ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01"),
            (86_399_999, "1970-01-01"),
            (86_400_000, "1970-01-02"),
            (951_782_400_000, "2000-02-29"),
            (1_795_219_200_000, "2026-11-21"),
            (4_107_542_399_999, "2100-02-28"),
            (4_107_542_400_000, "2100-03-01"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(Day::of(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Day::of(ms)));
        }
        let mut day = Day::of(0);
        for _ in 0..60_000 {
            assert_eq!(day.to_string().parse(), Ok(day));
            assert!(day.to_string() < day.next().to_string());
            day = day.next();
        }
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "",
            "2026-11-31",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "1969-12-31",
            "2026-1-01",
            "2026/11/21",
            "+026-11-21",
            "2026-11-21 ",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NoDay), "{text}");
        }
    }

    #[test]
    fn times_are_read_back() {
        for ms in [0, 999, 1_795_219_200_000, 1_795_291_499_123, 86_399_999] {
            assert_eq!(parse_time(&time(ms)), Ok(ms));
        }
        assert_eq!(time(1_795_219_200_001), "2026-11-21T00:00:00.001Z");
        assert_eq!(parse_time("2026-11-21T00:00:01Z"), Ok(1_795_219_201_000));
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T24:00:00Z",
            "2026-11-21T00:00Z",
            "2026-11-21T00:00:00.1Z",
            "2026-11-21T00:00:00",
        ] {
            assert_eq!(parse_time(text), Err(NoDay), "{text}");
        }
    }

    #[test]
    fn files_are_named_after_their_day_and_no_other_file_is_one() {
        let day = Day::of(1_795_219_200_000);
        assert_eq!(day.file_name(), "usage-2026-11-21.jsonl");
        assert_eq!(Day::of_file("usage-2026-11-21.jsonl"), Some(day));
        for name in [
            "usage-2026-11-21.jsonl.gz",
            "usage-.jsonl",
            "usage.lock",
            "usage-2026-11-31.jsonl",
        ] {
            assert_eq!(Day::of_file(name), None, "{name}");
        }
    }
}
