//! What an operator may set about lists.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::credentials::{TransportPolicy, UriTransport};

/// Most servers of others.
pub const MAX_SERVERS: usize = 64;
/// Most rules. Each is looked at until one matches.
pub const MAX_LISTS: usize = 64;
/// Most URLs of one server: more than every transport on two addresses.
pub const MAX_SERVER_URLS: usize = 16;
/// Most values of one condition.
pub const MAX_VALUES: usize = 256;

/// Servers of others, and the rules by which they and this server's own relay are given away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Default none.
    pub servers: Vec<Server>,
    /// In the order in which they are tried. Default none: everybody gets everything.
    pub rules: Vec<Rule>,
    /// A database that knows countries of addresses, in the format of MaxMind. Default none.
    pub countries: Option<PathBuf>,
    /// The header in which a trusted proxy tells the client's country. Default none.
    pub country_header: Option<HeaderName>,
}

/// Servers of somebody else, or of the same operator elsewhere, that stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As the operator calls it.
    pub name: Box<str>,
    /// As they go into lists; at most [`MAX_SERVER_URLS`].
    pub urls: Vec<String>,
    /// What opens its TURN URLs.
    pub access: Access,
    /// Longest lifetime of a credential for it. Default: as for this server's own.
    pub max_ttl: Option<Duration>,
    /// How much of the clients it gets, beside the others of a choice. Default 1.
    pub weight: u32,
    /// What else it may be called, together with others.
    pub tags: Vec<Box<str>>,
}

/// What opens a server of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// STUN needs nothing.
    Nothing,
    /// The secret that it shares with this server (`use-auth-secret` of coturn).
    Secret(Password),
    /// The same for everybody.
    Fixed(Box<str>, Password),
}

/// Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a copy.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(in crate::http) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who gets which list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As the operator calls it.
    pub name: Box<str>,
    /// For whom.
    pub when: When,
    /// What.
    pub gives: Gives,
}

/// Conditions. All that are there must hold; of the values of one, any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Networks of the client.
    pub clients: Vec<IpNet>,
    /// Countries of the client.
    pub countries: Vec<Country>,
    /// Headers of the request, and values that they must have; values under the same name are alternatives.
    pub headers: Vec<(HeaderName, Box<str>)>,
    /// Whether headers count that no trusted proxy passed on.
    pub headers_from_anyone: bool,
    /// Claims of the token, and values that they must have; values under the same name are alternatives.
    pub claims: Vec<(Box<str>, Box<str>)>,
    /// Tenants, [`crate::credentials::DEFAULT_REALM`] for those of none.
    pub realms: Vec<Box<str>>,
    /// Names of API keys, of those that the operator wrote down.
    pub keys: Vec<Box<str>>,
}

/// What is in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gives {
    /// This server's own relay.
    pub own: bool,
    /// [`super::super::Ice::extra`], or the tenant's.
    pub extra: bool,
    /// Which servers of others.
    pub servers: Servers,
    /// So many of them; 0 is all.
    pub pick: usize,
    /// Transports that may be in it; empty is all.
    pub transports: Vec<(UriTransport, bool)>,
    /// `None`: as [`super::super::Ice::relay_only`] says.
    pub policy: Option<TransportPolicy>,
    /// Most URLs in it.
    pub max_urls: usize,
}

/// Servers of others that a rule may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Whatever there is.
    All,
    /// Those with one of these names, or one of these tags.
    Some {
        /// Names.
        names: Vec<Box<str>>,
        /// Tags.
        tags: Vec<Box<str>>,
    },
}

impl Default for Gives {
    /// Everything: what a client gets for whom there is no rule.
    fn default() -> Self {
        Self {
            own: true,
            extra: true,
            servers: Servers::All,
            pick: 0,
            transports: Vec::new(),
            policy: None,
            max_urls: crate::credentials::ice_list::MAX_URLS,
        }
    }
}

/// A country by its two letters (ISO 3166-1 alpha-2), upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Two letters, of either case. `XX` and `T1`, by which some proxies say that they do not know, are none.
    pub fn parse(text: &str) -> Option<Self> {
        let &[one, two] = text.as_bytes() else { return None };
        let letters = [one, two].map(|letter| letter.to_ascii_uppercase());
        (letters.iter().all(u8::is_ascii_uppercase) && letters != *b"XX").then_some(Self(letters))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
