//! The types of keys that are more than a number or a string.

use super::value::{Fault, Raw, RawValue, Value, quoted};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use zeroize::Zeroizing;

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
            .find(|(_, size)| millis != 0 && millis % size == 0)
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
            .find(|(_, size)| self.0 != 0 && self.0 % size == 0)
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

/// A range of ports, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// How many ports it holds.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// Whether the port is inside.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Value for PortRange {
    fn expects() -> String {
        "a range of ports, such as `\"49152-65535\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)));
        match range {
            Some((0, _)) => Err(raw.fault("port 0 cannot be relayed from")),
            Some((first, last)) if first > last => {
                Err(raw.fault_with(format!("{first} is above {last}"), format!("write \"{last}-{first}\"")))
            }
            Some((first, last)) => Ok(Self { first, last }),
            None => Err(raw.fault(format!("`{text}` is not a range of ports"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}-{}", self.first, self.last))
    }
}

impl Value for IpNet {
    fn expects() -> String {
        "an address or a network, such as `\"203.0.113.5\"` or `\"10.0.0.0/8\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let net: Self = text
            .parse()
            .map_err(|_| raw.fault(format!("`{text}` is not an address or a network")))?;
        // 10.1.2.3/8 is more likely a slip than a wish; a filter is no place to guess.
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(raw.fault_with(
                format!("`{text}` has bits set outside its prefix"),
                format!(
                    "write \"{}\" for the network, \"{}\" for the one address",
                    net.trunc(),
                    net.addr()
                ),
            ))
        }
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

/// A public address, and the address of this machine that it is mapped to (1:1 NAT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalIp {
    /// What clients and peers see.
    pub public: IpAddr,
    /// What this machine binds; without it, the address of the default route.
    pub private: Option<IpAddr>,
}

impl Value for ExternalIp {
    fn expects() -> String {
        "a public address, or `public/private` behind 1:1 NAT, such as `\"203.0.113.5/10.0.0.5\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let (public, private) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a.trim(), Some(b.trim())));
        let parse = |part: &str| {
            part.parse::<IpAddr>()
                .map_err(|_| raw.fault(format!("`{part}` in `{text}` is not an IP address")))
        };
        let this = Self {
            public: parse(public)?,
            private: private.map(parse).transpose()?,
        };
        if this.public.is_unspecified() {
            return Err(raw.fault(format!("{} cannot be advertised", this.public)));
        }
        match this.private {
            Some(private) if private.is_ipv4() != this.public.is_ipv4() => {
                Err(raw.fault(format!("{} and {private} are of different families", this.public)))
            }
            _ => Ok(this),
        }
    }

    fn to_toml(&self) -> String {
        match self.private {
            Some(private) => quoted(format_args!("{}/{private}", self.public)),
            None => quoted(self.public),
        }
    }
}

/// A secret in text. Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes it over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

impl Value for SecretText {
    const SECRET: bool = true;

    fn expects() -> String {
        "a secret".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        if text.is_empty() {
            Err(raw.fault("the secret is empty"))
        } else {
            Ok(Self::new(text.to_owned()))
        }
    }

    fn to_toml(&self) -> String {
        quoted("<redacted>")
    }
}

/// A user with a fixed password, as `name:password`. The password is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticUser {
    /// The USERNAME of RFC 8489 §14.3.
    pub name: String,
    /// Its password.
    pub password: SecretText,
}

impl Value for StaticUser {
    const SECRET: bool = true;

    fn expects() -> String {
        "a user as `\"name:password\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match raw.text()?.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(Self {
                name: name.to_owned(),
                password: SecretText::new(password.to_owned()),
            }),
            _ => Err(raw.fault("a user needs a name, a colon and a password")),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}:<redacted>", self.name))
    }
}

/// Declares an enum whose members are written as words.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $member_doc:literal])* $member:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $member_doc])* $member,)* }

        impl $name {
            /// The word it is written as.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$member => $word,)* }
            }
        }

        impl Value for $name {
            fn expects() -> String {
                let words = [$(concat!("`\"", $word, "\"`")),*];
                format!("one of {}", words.join(", "))
            }

            fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
                match raw.text()? {
                    $($word => Ok(Self::$member),)*
                    other => Err(raw.fault(format!("`{other}` is not one of the choices"))),
                }
            }

            fn to_toml(&self) -> String {
                quoted(self.word())
            }
        }
    };
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One line for a person.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}
