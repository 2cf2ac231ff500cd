//! What operators did: who by the name of the token, never the token.

use std::net::IpAddr;

use crate::credentials::UnixTime;

/// One thing that an operator did, or somebody who wanted to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: UnixTime,
    /// What: a word of a closed set, such as `end_allocation`.
    pub action: &'static str,
    /// To whom or what: an id, a user, a username.
    pub target: Option<Box<str>>,
    /// The name of the token; `None` where none was shown that opens.
    pub token: Option<Box<str>>,
    /// Who asked.
    pub client: IpAddr,
    /// What was answered.
    pub status: u16,
    /// How often it happened since the last one that was told of.
    pub count: u64,
}
