//! Why there is no backplane.

use std::fmt;
use std::io;

use redis::{ErrorKind, RedisError, Value};

use crate::telemetry::labels::BackplaneFault;

/// Why a connection ended, or could not be made. Its text never holds the password: Redis does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For the metric.
    pub kind: BackplaneFault,
    text: String,
}

impl Fault {
    pub(super) fn new(kind: BackplaneFault, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    pub(super) fn timed_out(what: &str) -> Self {
        Self::new(BackplaneFault::TimedOut, format!("{what} takes too long"))
    }

    /// What an error of an established connection means.
    pub(super) fn of(error: &RedisError) -> Self {
        let kind = match error.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::Server(_)
            | ErrorKind::Extension
            | ErrorKind::RESP3NotSupported => BackplaneFault::Refused,
            _ if error.is_timeout() => BackplaneFault::TimedOut,
            _ => BackplaneFault::Closed,
        };
        Self::new(kind, error.to_string())
    }

    /// The first refusal among answers.
    pub(super) fn among(answers: Vec<Value>) -> Result<(), Self> {
        for answer in answers {
            if let Value::ServerError(error) = answer {
                return Err(Self::of(&RedisError::from(error)));
            }
        }
        Ok(())
    }

    pub(super) fn unreachable(error: &io::Error) -> Self {
        Self::new(BackplaneFault::Unreachable, error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}
