//! Whom a list is for.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::credentials::{Credential, Host};
use crate::ws::Told;

/// Whom a list is for, as far as that is known. What is not known matches no rule that asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListFor<'a> {
    /// The tenant; `None` is the default one.
    pub realm: Option<&'a str>,
    /// What the username is made of.
    pub user: &'a str,
    /// The name by which this server was reached, advertised when none is configured.
    pub host: Option<&'a Host>,
    /// The lifetime that was asked for, bounded by the configured maximum; `None` is the configured one.
    pub ttl: Option<Duration>,
    /// The room that the list is for: all in it are given the same servers, where there is a choice.
    pub room: Option<&'a str>,
    /// Where from, after trusted proxies.
    pub client: Option<IpAddr>,
    /// What its token says, names and values.
    pub claims: &'a [(Box<str>, Box<str>)],
    /// The name of the API key that it showed, if the operator wrote it down: one that a tenant made is called as the tenant likes.
    pub key: Option<&'a str>,
    /// What its request says.
    pub headers: Headers<'a>,
    /// A credential of the realm that it has already, to be in the list instead of a fresh one.
    pub again: Option<&'a Credential>,
}

/// The headers of a request, as far as they are still there. Anybody can write any header; those that only a proxy would write count
/// only when one that is trusted passed the request on.
#[derive(Clone, Copy, Debug, Default)]
pub enum Headers<'a> {
    /// There is no request.
    #[default]
    None,
    /// Of the request for this list.
    Request {
        /// All of them.
        map: &'a HeaderMap,
        /// The request came through a trusted proxy.
        proxied: bool,
    },
    /// Of the request that opened a socket of the hub, as far as they were kept.
    Kept(&'a Told),
}

impl<'a> Headers<'a> {
    /// Whether the request came through a trusted proxy.
    pub fn proxied(&self) -> bool {
        match self {
            Self::None => false,
            Self::Request { proxied, .. } => *proxied,
            Self::Kept(told) => told.proxied,
        }
    }

    /// Whether a browser asks, which cannot use every URL. A script can say the same; all that it gets by that is fewer URLs.
    pub fn of_browser(&self) -> bool {
        match self {
            Self::None => false,
            Self::Request { map, .. } => of_browser(map),
            Self::Kept(told) => told.browser,
        }
    }

    /// The values under a name.
    pub fn all(&self, name: &'a HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
        let (map, kept) = match self {
            Self::None => (None, &[][..]),
            Self::Request { map, .. } => (Some(*map), &[][..]),
            Self::Kept(told) => (None, &told.headers[..]),
        };
        let of_map = map.into_iter().flat_map(move |map| map.get_all(name));
        let of_kept = kept.iter().filter(move |(known, _)| known == name);
        of_map.chain(of_kept.map(|(_, value)| value))
    }
}

/// Fetch metadata and `Origin` are written by browsers alone and cannot be left out by a page; the plain GET of a page to its own
/// server over HTTP has neither, and is known by the word with which every browser's `User-Agent` begins.
pub(in crate::http) fn of_browser(headers: &HeaderMap) -> bool {
    static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    let agent = || headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    headers.contains_key(header::ORIGIN)
        || headers.contains_key(&SEC_FETCH_MODE)
        || agent().is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_what_they_alone_send() {
        for (name, value, expected) in [
            ("origin", "https://app.example", true),
            ("sec-fetch-mode", "cors", true),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", true),
            ("user-agent", "meet-app/1.0 (like Mozilla/5.0)", false),
            ("user-agent", "curl/8.0", false),
            ("accept", "*/*", false),
        ] {
            let mut map = HeaderMap::new();
            map.insert(name, HeaderValue::from_static(value));
            let headers = Headers::Request {
                map: &map,
                proxied: false,
            };
            assert_eq!(headers.of_browser(), expected, "{name}: {value}");
        }
        assert!(!Headers::None.of_browser());
    }
}
