//! How one value is read from a source and written back.

use super::problem::Origin;
use std::fmt::{Debug, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A value as a source gave it, before its key gives it a type.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    /// What was written.
    pub value: RawValue,
    /// Where it was written.
    pub origin: Origin,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub enum RawValue {
    /// Untyped: the environment and flags know only text. Lists are separated by commas.
    Text(String),
    /// A TOML string.
    String(String),
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    Array(Vec<Raw>),
    /// A TOML table.
    Table(Vec<(String, Raw)>),
    /// A TOML float or date: no key takes one.
    Other(&'static str),
}

impl RawValue {
    /// What it is called in an error.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Why a value was refused: where, what is wrong, and (if more is known than the type's own words) the fix.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The element of a list that is wrong, or the value itself.
    pub origin: Origin,
    /// What is wrong.
    pub wrong: String,
    /// What to write, where that is more than "write …".
    pub fix: Option<String>,
}

impl Raw {
    /// A fault at this value.
    pub fn fault(&self, wrong: impl Into<String>) -> Vec<Fault> {
        vec![Fault {
            origin: self.origin.clone(),
            wrong: wrong.into(),
            fix: None,
        }]
    }

    /// A fault with its own fix.
    pub fn fault_with(&self, wrong: impl Into<String>, fix: impl Into<String>) -> Vec<Fault> {
        vec![Fault {
            origin: self.origin.clone(),
            wrong: wrong.into(),
            fix: Some(fix.into()),
        }]
    }

    /// The text of a string, whichever source it is from.
    pub fn text(&self) -> Result<&str, Vec<Fault>> {
        match &self.value {
            RawValue::Text(text) | RawValue::String(text) => Ok(text.trim()),
            other => Err(self.fault(format!("expected a string, found {}", other.kind()))),
        }
    }
}

/// A type that a key can have.
pub trait Value: Sized {
    /// Whether this is a secret: never printed, and allowed to come from `<key>_file`.
    const SECRET: bool = false;

    /// Whether the file of a `<key>_file` is one value, not one on each line.
    const WHOLE_FILE: bool = false;

    /// What to write, as it follows the words "write" and "expects".
    fn expects() -> String;

    /// Reads it, or says everything that is wrong with it.
    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>>;

    /// As it would be written in the file. Secrets give a placeholder.
    fn to_toml(&self) -> String;
}

/// A string in TOML's quotes.
#[must_use]
pub fn quoted(text: impl Display) -> String {
    let mut out = String::from("\"");
    for c in text.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Value for bool {
    fn expects() -> String {
        "`true` or `false`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match &raw.value {
            RawValue::Boolean(value) => Ok(*value),
            RawValue::Text(text) => match text.trim() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                other => Err(raw.fault(format!("`{other}` is not a boolean"))),
            },
            other => Err(raw.fault(format!("expected a boolean, found {}", other.kind()))),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn expects() -> String {
                "a whole number".into()
            }

            fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
                let number = match &raw.value {
                    RawValue::Integer(number) => *number,
                    RawValue::Text(text) => text
                        .trim()
                        .replace('_', "")
                        .parse()
                        .map_err(|_| raw.fault(format!("`{}` is not a whole number", text.trim())))?,
                    other => return Err(raw.fault(format!("expected an integer, found {}", other.kind()))),
                };
                Self::try_from(number).map_err(|_| {
                    raw.fault_with(
                        format!("{number} is out of range"),
                        format!("write a number from {} to {}", Self::MIN, Self::MAX),
                    )
                })
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integer!(u8, u16, u32, u64, usize);

impl Value for String {
    fn expects() -> String {
        "a string".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        raw.text().map(str::to_owned)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    fn expects() -> String {
        "a path".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        raw.text().map(Self::from)
    }

    fn to_toml(&self) -> String {
        quoted(self.display())
    }
}

impl Value for SocketAddr {
    fn expects() -> String {
        "an address and a port, such as `\"0.0.0.0:3478\"` or `\"[::]:3478\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        text.parse().map_err(|_| {
            let port = text.trim_start_matches(':');
            if port.parse::<u16>().is_ok() {
                raw.fault_with(
                    format!("`{text}` has no address"),
                    format!("write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 address"),
                )
            } else if text.parse::<IpAddr>().is_ok() {
                raw.fault(format!("`{text}` has no port"))
            } else {
                raw.fault(format!("`{text}` is not an address and a port"))
            }
        })
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for IpAddr {
    fn expects() -> String {
        "an IP address, such as `\"203.0.113.5\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        text.parse()
            .map_err(|_| raw.fault(format!("`{text}` is not an IP address")))
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;
    const WHOLE_FILE: bool = T::WHOLE_FILE;

    fn expects() -> String {
        T::expects()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match &raw.value {
            RawValue::Text(text) | RawValue::String(text) if text.trim().is_empty() => Ok(None),
            _ => T::from_raw(raw).map(Some),
        }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), Value::to_toml)
    }
}

impl<T: Value> Value for Vec<T> {
    const SECRET: bool = T::SECRET;
    const WHOLE_FILE: bool = T::WHOLE_FILE;

    fn expects() -> String {
        format!("a list, each {}", T::expects())
    }

    /// A list, or a single value for a list of one. Every wrong element is reported.
    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let elements: Vec<Raw> = match &raw.value {
            RawValue::Array(elements) => elements.clone(),
            RawValue::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|element| !element.is_empty())
                .map(|element| Raw {
                    value: RawValue::Text(element.into()),
                    origin: raw.origin.clone(),
                })
                .collect(),
            _ => vec![raw.clone()],
        };
        let mut values = Self::with_capacity(elements.len());
        let mut faults = Vec::new();
        for element in &elements {
            match T::from_raw(element) {
                Ok(value) => values.push(value),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn to_toml(&self) -> String {
        format!("[{}]", self.iter().map(Value::to_toml).collect::<Vec<_>>().join(", "))
    }
}

/// A bound on the value of one key.
pub trait Check<T> {
    /// What is wrong with the value, if anything.
    fn check(&self, value: &T) -> Result<(), String>;

    /// The bound in words, as in "between 1 and 64".
    fn bounds(&self) -> Option<String>;
}

/// No bound but the type.
#[derive(Debug, Clone, Copy)]
pub struct Any;

impl<T> Check<T> for Any {
    fn check(&self, _: &T) -> Result<(), String> {
        Ok(())
    }

    fn bounds(&self) -> Option<String> {
        None
    }
}

/// Both ends allowed.
#[derive(Debug, Clone, Copy)]
pub struct Between<T>(pub T, pub T);

impl<T: Value + PartialOrd> Check<T> for Between<T> {
    fn check(&self, value: &T) -> Result<(), String> {
        if *value < self.0 {
            Err(format!("{} is too small", value.to_toml()))
        } else if *value > self.1 {
            Err(format!("{} is too large", value.to_toml()))
        } else {
            Ok(())
        }
    }

    fn bounds(&self) -> Option<String> {
        Some(format!("between {} and {}", self.0.to_toml(), self.1.to_toml()))
    }
}

/// A list with at least one element, a string with at least one character.
#[derive(Debug, Clone, Copy)]
pub struct NonEmpty;

impl<T> Check<Vec<T>> for NonEmpty {
    fn check(&self, value: &Vec<T>) -> Result<(), String> {
        if value.is_empty() {
            Err("the list is empty".into())
        } else {
            Ok(())
        }
    }

    fn bounds(&self) -> Option<String> {
        Some("at least one".into())
    }
}

impl Check<String> for NonEmpty {
    fn check(&self, value: &String) -> Result<(), String> {
        if value.is_empty() {
            Err("the string is empty".into())
        } else {
            Ok(())
        }
    }

    fn bounds(&self) -> Option<String> {
        Some("not empty".into())
    }
}

/// A test of its own, with the words that describe it.
pub struct Must<F>(pub &'static str, pub F);

impl<F> Debug for Must<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Must").field(&self.0).finish()
    }
}

impl<T: Value, F: Fn(&T) -> bool> Check<T> for Must<F> {
    fn check(&self, value: &T) -> Result<(), String> {
        if (self.1)(value) {
            Ok(())
        } else {
            Err(format!("{} is not accepted", value.to_toml()))
        }
    }

    fn bounds(&self) -> Option<String> {
        Some(self.0.into())
    }
}
