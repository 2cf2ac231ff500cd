//! Durations, sizes and rates.

use crate::config::value::{Fault, Raw, RawValue, Value, quoted};
use std::time::Duration;

/// Splits `"10m"` into `10` and `"m"`.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 3600 * 1000),
    ("d", 24 * 3600 * 1000),
];

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let &(_, millis) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    let total = number * millis as f64;
    (total <= 1e15).then(|| Duration::from_millis(total.round() as u64))
}

impl Value for Duration {
    fn expects() -> String {
        "a duration, such as `\"500ms\"`, `\"30s\"`, `\"10m\"`, `\"12h\"` or `\"2d\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        if let RawValue::Integer(number) = &raw.value {
            return Err(raw.fault_with(
                format!("{number} has no unit"),
                format!("write \"{number}s\" if seconds are meant"),
            ));
        }
        let text = raw.text()?;
        if text == "0" {
            return Ok(Self::ZERO);
        }
        parse_duration(text).ok_or_else(|| {
            if text.parse::<f64>().is_ok() {
                raw.fault_with(
                    format!("`{text}` has no unit"),
                    format!("write \"{text}s\" if seconds are meant"),
                )
            } else {
                raw.fault(format!("`{text}` is not a duration"))
            }
        })
    }

    fn to_toml(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let &(unit, size) = DURATION_UNITS
            .iter()
            .rev()
            .find(|(_, size)| millis != 0 && millis.is_multiple_of(*size))
            .unwrap_or(&DURATION_UNITS[1]);
        // 48 h reads better than 2 d next to hours elsewhere, and 24 h than 1 d.
        let (unit, size) = if unit == "d" && millis < 7 * size {
            ("h", 3600 * 1000)
        } else {
            (unit, size)
        };
        quoted(format_args!("{}{unit}", millis / size))
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// As an index of this machine; saturates where `usize` is smaller.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1000),
    ("KiB", 1024),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl Value for ByteSize {
    fn expects() -> String {
        "a size, such as `\"900B\"`, `\"64KiB\"` or `\"4MiB\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = match &raw.value {
            RawValue::Integer(number) => {
                return u64::try_from(*number)
                    .map(Self)
                    .map_err(|_| raw.fault(format!("{number} is out of range")));
            }
            _ => raw.text()?,
        };
        number_and_unit(text)
            .and_then(|(number, unit)| {
                let unit = if unit.is_empty() { "B" } else { unit };
                let &(_, size) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
                let total = number * size as f64;
                (total <= 1e15).then_some(Self(total.round() as u64))
            })
            .ok_or_else(|| raw.fault(format!("`{text}` is not a size")))
    }

    fn to_toml(&self) -> String {
        let &(unit, size) = [SIZE_UNITS[6], SIZE_UNITS[4], SIZE_UNITS[2]]
            .iter()
            .find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size))
            .unwrap_or(&SIZE_UNITS[0]);
        quoted(format_args!("{}{unit}", self.0 / size))
    }
}

/// So many in so long: `"10/s"`, `"600/m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// `count` in each second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self {
            count,
            per: Duration::from_secs(1),
        }
    }

    /// `count` in each minute.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self {
            count,
            per: Duration::from_secs(60),
        }
    }

    /// As a number in each second.
    #[must_use]
    pub fn each_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

impl Value for Rate {
    fn expects() -> String {
        "a rate, such as `\"10/s\"`, `\"600/m\"` or `\"5000/h\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        if let RawValue::Integer(number) = &raw.value {
            return Err(raw.fault_with(
                format!("{number} does not say in how long"),
                format!("write \"{number}/s\" if each second is meant"),
            ));
        }
        let text = raw.text()?;
        let rate = text.split_once('/').and_then(|(count, per)| {
            let per = match per.trim() {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            Some(Self {
                count: count.trim().replace('_', "").parse().ok()?,
                per: Duration::from_secs(per),
            })
        });
        rate.ok_or_else(|| raw.fault(format!("`{text}` is not a rate")))
    }

    fn to_toml(&self) -> String {
        let per = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        quoted(format_args!("{}/{per}", self.count))
    }
}
