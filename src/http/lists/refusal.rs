//! Why somebody gets no list.

use crate::credentials::MintError;

/// Why there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Neither the configuration nor the request names a host to advertise.
    #[error("this server does not know its own address")]
    NoHost,
    /// The realm is not configured (any more), or has no secret.
    #[error("this realm issues no credentials")]
    NoRealm,
    /// The user names a realm whose secret this is not: its credential would open nothing.
    #[error("user ends with the name of a realm")]
    OtherRealm,
    /// The user is that of this server's own probes.
    #[error("user is that of this server's probes")]
    Reserved,
    /// The user label cannot be part of a username.
    #[error(transparent)]
    Mint(#[from] MintError),
}
