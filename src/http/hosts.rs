//! Names this server answers to.
//!
//! A page of a stranger can let its own name resolve to this server's address after it was loaded (DNS rebinding). To the
//! browser it is then a page of this server: no CORS, an `Origin` that agrees with `Host`. Only the name gives it away.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};

use super::code::Code;
use super::error::Problem;
use super::state::AppState;

/// Paths that probes ask, which know an address and no name. Nothing a page could use is there.
const PROBED: [&str; 5] = ["/healthz", "/readyz", "/health", "/signaling/health", "/api/health"];

/// Refuses requests for a name that is not on the list, with 421 (RFC 9110 §15.5.20).
pub(super) fn refused(state: &AppState, request: &Request) -> Option<Problem> {
    let hosts = &state.config().hosts;
    let served = hosts.is_empty()
        || PROBED.contains(&request.uri().path())
        || name(request.uri(), request.headers()).is_some_and(|name| is_served(hosts, name));
    (!served).then(|| Problem::new(Code::WrongHost, "this server does not answer to that name"))
}

/// The host that the request is for, without its port.
fn name<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let authority = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => uri.authority()?.as_str(),
    };
    match authority.strip_prefix('[') {
        Some(literal) => literal.split_once(']').map(|(literal, _port)| literal),
        None => Some(authority.rsplit_once(':').map_or(authority, |(name, _port)| name)),
    }
}

/// Whether `name` is on the list. An address is no name that somebody could point elsewhere, nor is `localhost`.
fn is_served(hosts: &[String], name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| match host.strip_prefix("*.") {
            Some(parent) => is_below(name, parent),
            None => host.eq_ignore_ascii_case(name),
        })
}

/// Whether `name` is something, a dot, and `parent`.
fn is_below(name: &str, parent: &str) -> bool {
    let (name, parent) = (name.to_ascii_lowercase(), parent.to_ascii_lowercase());
    name.strip_suffix(&parent)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_list_their_wildcards_and_addresses_are_served_and_others_are_not() {
        let hosts = ["meet.example.org".to_owned(), "*.example.net".to_owned()];
        for name in [
            "meet.example.org",
            "MEET.example.ORG",
            "a.example.net",
            "a.b.example.net",
            "localhost",
            "192.0.2.1",
            "2001:db8::1",
        ] {
            assert!(is_served(&hosts, name), "{name}");
        }
        for name in [
            "",
            "example.org",
            "x.meet.example.org",
            "example.net",
            ".example.net",
            "evilexample.net",
            "meet.example.org.evil.test",
            "rebound.test",
            "ü.example.nett",
        ] {
            assert!(!is_served(&hosts, name), "{name}");
        }
    }

    #[test]
    fn the_port_is_not_part_of_the_name() {
        let of = |host: &'static str| {
            let headers = HeaderMap::from_iter([(header::HOST, axum::http::HeaderValue::from_static(host))]);
            name(&Uri::from_static("/"), &headers).map(str::to_owned)
        };
        assert_eq!(of("meet.example.org:8443").as_deref(), Some("meet.example.org"));
        assert_eq!(of("meet.example.org").as_deref(), Some("meet.example.org"));
        assert_eq!(of("[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        assert_eq!(of("192.0.2.1:80").as_deref(), Some("192.0.2.1"));
        assert_eq!(name(&Uri::from_static("/"), &HeaderMap::new()), None);
    }
}
