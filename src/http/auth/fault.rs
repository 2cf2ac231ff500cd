//! Why a configuration judges no tokens.

use std::path::Path;

use super::key::MIN_SECRET_BYTES;
use crate::outbound::{Trust, TrustError};

/// Why tokens cannot be judged with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// Nothing to verify with.
    #[error("tokens are asked for, but there is no secret or key to verify them with")]
    NoSecret,
    /// Too easily guessed.
    #[error("a token secret must have at least {MIN_SECRET_BYTES} bytes")]
    ShortSecret,
    /// The operator's own authorities cannot be read.
    #[error("auth.authorities: {0}")]
    Authorities(#[from] TrustError),
    /// Key sets are fetched by a task.
    #[error("a key set is fetched, which takes a runtime")]
    NoRuntime,
    /// The system gives none.
    #[error("there is no randomness to hide tokens with")]
    NoRandomness,
}

/// Whose certificates are believed of those who are asked.
pub(super) fn trust(authorities: Option<&Path>) -> Result<Trust, TrustError> {
    authorities.map_or_else(|| Ok(Trust::default()), Trust::with_authorities)
}
