//! Dates as RFC 3339 §5.6 writes them, in UTC alone.

use std::time::{Duration, SystemTime};

use crate::credentials::UnixTime;

/// Days of the months in front of each, in a year without a leap day.
const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 9999-12-31T23:59:59Z: years have four digits.
const LAST: u64 = 253_402_300_799;

/// `2027-01-31T12:00:00Z`; what is past the year 9999 is written as its end.
pub fn to_rfc3339(time: UnixTime) -> String {
    // `Sun, 31 Jan 2027 12:00:00 GMT`, with fixed places: the calendar is that of HTTP dates.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.0.min(LAST));
    let http = httpdate::fmt_http_date(time);
    let part = |from: usize, to: usize| http.get(from..to).unwrap_or_default();
    let month = MONTHS.iter().position(|name| *name == part(8, 11)).unwrap_or(0) + 1;
    format!("{}-{month:02}-{}T{}Z", part(12, 16), part(5, 7), part(17, 25))
}

/// Reads `2027-01-31T12:00:00Z`, or `2027-01-31` for the day's beginning. No zone but `Z` and no fractions: an operator writes
/// these by hand. From 1970 on.
pub fn from_rfc3339(text: &str) -> Option<UnixTime> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time.strip_suffix(['Z', 'z'])?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = *BEFORE.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let days = match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Leap days from the year 1 up to the beginning of `year`, less those up to 1970.
    let leaps = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let days = (year - 1970) * 365 + leaps(year) - leaps(1970) + before + u64::from(leap(year) && month > 2) + day - 1;
    Some(UnixTime(((days * 24 + hour) * 60 + minute) * 60 + second))
}

fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        let plain = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = plain.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_is_written_over_four_centuries() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-12-31T00:00:00Z", 1_735_603_200),
            ("2027-01-31T12:00:00Z", 1_801_396_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(from_rfc3339(text), Some(UnixTime(seconds)), "{text}");
            assert_eq!(to_rfc3339(UnixTime(seconds)), text);
        }
        // Each day of 430 years, a little later each day.
        for day in 0..157_000 {
            let time = UnixTime(day * 86_400 + day % 86_400);
            assert_eq!(from_rfc3339(&to_rfc3339(time)), Some(time));
        }
        assert_eq!(from_rfc3339("2027-01-31"), from_rfc3339("2027-01-31T00:00:00Z"));
        assert_eq!(to_rfc3339(UnixTime(u64::MAX)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "2027-02-29",
            "2100-02-29",
            "2027-00-01",
            "2027-13-01",
            "2027-01-00",
            "2027-04-31",
            "2027-1-1",
            "1969-12-31",
            "2027-01-31T12:00:00",
            "2027-01-31T12:00:00+01:00",
            "2027-01-31T24:00:00Z",
            "2027-01-31T12:60:00Z",
            "2027-01-31T12:00:60Z",
            "2027-01-31T12:00Z",
            "+027-01-31",
            "2027-01-31-01",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }
}
