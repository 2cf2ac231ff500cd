//! What a refused message becomes.

use std::time::Duration;

use super::{
    identity::AuthError,
    labels::{CloseCode, ErrorCode},
};

/// A refusal: what the client is told, and whether its connection survives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) code: ErrorCode,
    /// For developers; never contains anything a client sent, nor a secret.
    pub(crate) message: &'static str,
    /// When to try again.
    pub(crate) retry: Option<Duration>,
    /// `Some` makes it fatal.
    pub(crate) close: Option<CloseCode>,
    /// No refusal at all: the message waits for other nodes, and is carried out again, from its beginning, when they have
    /// answered.
    pub(crate) held: bool,
}

impl Reject {
    pub(crate) const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self {
            code,
            message,
            retry: None,
            close: None,
            held: false,
        }
    }

    /// What a primitive says that has to wait for other nodes. Whoever carries out a message hands it on as it is, and must not
    /// have answered anything before: the message will be carried out once more.
    pub(crate) const HELD: Self = Self {
        held: true,
        ..Self::new(ErrorCode::Unavailable, "waits for other servers")
    };

    pub(crate) const fn bad_request(message: &'static str) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(crate) const fn fatal(mut self, close: CloseCode) -> Self {
        self.close = Some(close);
        self
    }

    pub(crate) const fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }
}

impl From<AuthError> for Reject {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Self::new(ErrorCode::Unauthorized, "a token is required").fatal(CloseCode::BadToken),
            AuthError::Invalid => {
                Self::new(ErrorCode::Unauthorized, "the token is not valid").fatal(CloseCode::BadToken)
            }
            AuthError::Expired => Self::new(ErrorCode::Expired, "the token has expired").fatal(CloseCode::Expired),
            AuthError::Unavailable(retry) => Self::new(ErrorCode::Unavailable, "tokens cannot be judged now")
                .retry(retry)
                .fatal(CloseCode::Unavailable),
            AuthError::Throttled(retry) => {
                Self::new(ErrorCode::RateLimited, "too many bad tokens came from this address")
                    .retry(retry)
                    .fatal(CloseCode::Rate)
            }
            AuthError::Forbidden => {
                Self::new(ErrorCode::Forbidden, "the token does not allow signaling").fatal(CloseCode::Forbidden)
            }
        }
    }
}
