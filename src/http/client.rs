//! Who sent a request, and by which name they reached this server, when proxies stand between.
//!
//! A header is worth what its sender is worth: it is read only when the TCP peer is a trusted proxy. The addresses in it
//! are read from the right, which is the end that our proxies write, up to the first address that is not one of them.
//! Where several headers are present and disagree, none is believed: a proxy that sets one of them passes on the others as
//! the client wrote them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::header::{FORWARDED, HOST};
use axum::http::{HeaderMap, HeaderName, Uri};
use ipnet::IpNet;

use crate::credentials::Host;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address, with IPv4-mapped IPv6 reduced to IPv4. `0.0.0.0` for somebody whom a trusted proxy on this
    /// machine forwarded without saying who it is: the proxy's own address would make a stranger look local.
    pub ip: IpAddr,
    /// Whether the request came through a trusted proxy.
    pub proxied: bool,
    /// Whether the request says that it came through a proxy, but that proxy is not a trusted one. Everybody can say so; it
    /// matters on loopback, where a forgotten proxy would make the whole world look local.
    pub through_unknown_proxy: bool,
    /// The host by which the client reached this server, if it named a usable one.
    pub host: Option<Host>,
    /// That host with its port, where a trusted proxy told it.
    pub forwarded_authority: Option<Box<str>>,
}

impl Client {
    /// Reads the request's headers as far as `peer` may be believed.
    pub fn of(peer: SocketAddr, uri: &Uri, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
        let peer = peer.ip().to_canonical();
        let proxied = is_trusted(peer);
        let forwarding = [&X_FORWARDED_FOR, &FORWARDED, &X_REAL_IP, &X_FORWARDED_HOST];
        let forwarded_by_somebody = forwarding.into_iter().any(|name| headers.contains_key(name));
        let ip = match proxied.then(|| forwarded_for(headers, is_trusted)).flatten() {
            Some(ip) => ip,
            // Anybody gets here by sending one of the headers that the proxy passes on as it came.
            None if proxied && forwarded_by_somebody && peer.is_loopback() => Ipv4Addr::UNSPECIFIED.into(),
            None => peer,
        };
        let forwarded = || {
            let list = headers.get(&X_FORWARDED_HOST)?.to_str().ok()?;
            // The first proxy appended first: the leftmost name is the client's.
            let authority = list.split(',').next()?.trim();
            Some((parse_host(authority)?, authority.into()))
        };
        let own_host = || match uri.authority() {
            Some(authority) => parse_host(authority.as_str()),
            None => headers.get(HOST).and_then(|host| parse_host(host.to_str().ok()?)),
        };
        let through_unknown_proxy = !proxied && forwarded_by_somebody;
        let (host, forwarded_authority) = match proxied.then(forwarded).flatten() {
            Some((host, authority)) => (Some(host), Some(authority)),
            None => (own_host(), None),
        };
        Self {
            ip,
            proxied,
            through_unknown_proxy,
            host,
            forwarded_authority,
        }
    }

    /// Whether this is somebody on this machine: a loopback address that nothing claims to have been forwarded to.
    pub fn is_local(&self) -> bool {
        self.ip.is_loopback() && !self.through_unknown_proxy
    }
}

fn parse_host(authority: &str) -> Option<Host> {
    let (host, _port) = Host::parse_authority(authority.trim()).ok()?;
    // An unspecified address reaches nobody.
    (!host.ip().is_some_and(|ip| ip.is_unspecified())).then_some(host)
}

/// The client's address as our proxies tell it; `None` when they do not, or contradict each other.
fn forwarded_for(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lists = [
        chain(headers, &X_FORWARDED_FOR, parse_address),
        chain(headers, &FORWARDED, |element| parse_address(for_parameter(element)?)),
        chain(headers, &X_REAL_IP, parse_address),
    ];
    let mut found = None;
    for list in lists {
        let Some(client) = nearest_stranger(list, &is_trusted) else {
            continue;
        };
        match found {
            None => found = Some(client),
            Some(other) if other == client => {}
            Some(_) => return None,
        }
    }
    found
}

/// The elements of a list header over all its lines, in order; `None` for what is no address.
fn chain(headers: &HeaderMap, name: &HeaderName, parse: fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| {
            line.to_str()
                .unwrap_or("?")
                .split(',')
                .map(|element| parse(element.trim()))
        })
        .collect()
}

/// From the right, the first address that is not a proxy of ours. An element that is no address ends the search.
fn nearest_stranger(list: Vec<Option<IpAddr>>, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    for element in list.into_iter().rev() {
        let ip = element?;
        if !is_trusted(ip) {
            return Some(ip);
        }
    }
    None
}

/// `for=` of one element of `Forwarded` (RFC 7239 §4), unquoted.
fn for_parameter(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim().trim_matches('"'))
    })
}

/// `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`: all occur in the wild.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: IpAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .or_else(bracketed)?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> Client {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Client::of(peer.parse().unwrap(), &Uri::from_static("/"), &map, &trusted)
    }

    fn ip(peer: &str, headers: &[(&'static str, &str)]) -> String {
        client(peer, headers).ip.to_string()
    }

    #[test]
    fn a_stranger_cannot_name_another_address_or_host() {
        let spoofed = [
            ("x-forwarded-for", "198.51.100.9"),
            ("forwarded", "for=198.51.100.9"),
            ("x-real-ip", "198.51.100.9"),
            ("x-forwarded-host", "evil.example"),
            ("host", "meet.example:8000"),
        ];
        let client = client("203.0.113.7:5000", &spoofed);
        assert_eq!(client.ip.to_string(), "203.0.113.7");
        assert!(!client.proxied);
        assert_eq!(client.host.unwrap().to_string(), "meet.example");
    }

    #[test]
    fn behind_proxies_the_client_is_the_rightmost_address_that_is_not_one_of_them() {
        assert_eq!(
            ip("10.0.0.1:1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.2")]),
            "203.0.113.7"
        );
        assert_eq!(
            ip(
                "10.0.0.1:1",
                &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")]
            ),
            "203.0.113.7"
        );
        assert_eq!(
            ip("[::ffff:10.0.0.1]:1", &[("x-forwarded-for", "203.0.113.7:6000")]),
            "203.0.113.7"
        );
        assert_eq!(
            ip("10.0.0.1:1", &[("forwarded", "for=\"[2001:db8::7]:6000\";proto=https")]),
            "2001:db8::7"
        );
        assert_eq!(
            ip("[2001:db8:ffff::1]:1", &[("x-real-ip", "2001:db8::7")]),
            "2001:db8::7"
        );
    }

    #[test]
    fn without_an_address_to_believe_the_proxy_itself_counts() {
        assert_eq!(ip("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(ip("10.0.0.1:1", &[("x-forwarded-for", "unknown")]), "10.0.0.1");
        assert_eq!(
            ip("10.0.0.1:1", &[("x-forwarded-for", "203.0.113.7, junk")]),
            "10.0.0.1"
        );
        assert_eq!(
            ip("10.0.0.1:1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]),
            "10.0.0.1"
        );
        assert_eq!(ip("10.0.0.1:1", &[("forwarded", "for=_hidden")]), "10.0.0.1");
    }

    #[test]
    fn loopback_is_local_unless_a_proxy_was_forgotten() {
        assert!(client("127.0.0.1:1", &[("host", "localhost")]).is_local());
        assert!(client("[::1]:1", &[]).is_local());
        assert!(!client("203.0.113.7:1", &[]).is_local());
        for header in ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"] {
            assert!(
                !client("127.0.0.1:1", &[(header, "203.0.113.7")]).is_local(),
                "{header}"
            );
        }
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let both = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.9")];
        assert_eq!(ip("10.0.0.1:1", &both), "10.0.0.1");
        let same = [("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.7")];
        assert_eq!(ip("10.0.0.1:1", &same), "203.0.113.7");
        // The inner proxy's X-Real-IP is the outer proxy, which says nothing.
        let inner = [("x-forwarded-for", "203.0.113.7, 10.0.0.9"), ("x-real-ip", "10.0.0.9")];
        assert_eq!(ip("10.0.0.1:1", &inner), "203.0.113.7");
    }

    #[test]
    fn a_stranger_does_not_become_local_by_confusing_a_trusted_proxy_on_this_machine() {
        let trusted = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let of = |peer: &str, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            Client::of(peer.parse().unwrap(), &Uri::from_static("/"), &map, &trusted)
        };
        // The proxy writes one of the headers and passes the other on as the client sent it.
        let confusing: [&[(&'static str, &str)]; 4] = [
            &[("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "198.51.100.9")],
            &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.9")],
            &[("x-forwarded-for", "unknown")],
            &[("x-forwarded-host", "meet.example")],
        ];
        for headers in confusing {
            for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
                let client = of(peer, headers);
                assert!(!client.ip.is_loopback(), "limits spare loopback: {headers:?}");
                assert!(!client.is_local(), "{headers:?}");
            }
        }
        assert!(of("127.0.0.1:1", &[]).is_local(), "past the proxy");
        let told = of("127.0.0.1:1", &[("x-forwarded-for", "203.0.113.7")]);
        assert_eq!(told.ip.to_string(), "203.0.113.7");
    }

    #[test]
    fn the_host_is_the_forwarded_one_behind_a_proxy_and_never_junk() {
        let host =
            |peer: &str, headers: &[(&'static str, &str)]| client(peer, headers).host.map(|host| host.to_string());
        let forwarded = [("x-forwarded-host", "meet.example, inner"), ("host", "inner:8000")];
        assert_eq!(host("10.0.0.1:1", &forwarded).as_deref(), Some("meet.example"));
        assert_eq!(host("10.0.0.1:1", &[("host", "inner:8000")]).as_deref(), Some("inner"));
        assert_eq!(
            host("203.0.113.7:1", &[("host", "[2001:db8::1]:8000")]).as_deref(),
            Some("[2001:db8::1]")
        );
        for junk in [
            "",
            "a b",
            "a/b",
            "x@y",
            "0.0.0.0:80",
            "[::]",
            "\"onload=",
            "a:99999",
            "a?transport=tcp",
        ] {
            assert_eq!(host("203.0.113.7:1", &[("host", junk)]), None, "{junk}");
        }
    }
}
