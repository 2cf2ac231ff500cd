//! `stun:`, `stuns:`, `turn:` and `turns:` URIs (RFC 7064, RFC 7065).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Port of `stun:` and `turn:` when the URI names none (RFC 8489 §8.1, RFC 8656 §3).
pub const DEFAULT_PORT: u16 = 3478;
/// Port of `stuns:` and `turns:` when the URI names none.
pub const DEFAULT_TLS_PORT: u16 = 5349;

/// A host as it may stand in one of these URIs: an address, or a DNS name in lower case.
///
/// Narrower than RFC 3986's `reg-name` on purpose: a host may come from a request's `Host` field and is handed to browsers,
/// so percent-encoding, zone identifiers and the numeric oddities that resolvers take for addresses (`0x7f.1`, `127.1`)
/// have no representation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Written as it is.
    V4(Ipv4Addr),
    /// Written in brackets.
    V6(Ipv6Addr),
    /// Labels of letters, digits, `-` and `_`; at most 253 characters.
    Name(Box<str>),
}

/// `transport=` of a TURN URI. RFC 7065 leaves room for more; clients know these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UriTransport {
    /// `udp`: UDP under `turn:`, DTLS under `turns:`.
    Udp,
    /// `tcp`: TCP under `turn:`, TLS under `turns:`.
    Tcp,
}

/// RFC 7064: `stun:` / `stuns:` host [`:` port].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StunUri {
    /// `stuns:`.
    pub secure: bool,
    /// Server's host.
    pub host: Host,
    /// Omitted in the text when `None`.
    pub port: Option<u16>,
}

/// RFC 7065: `turn:` / `turns:` host [`:` port] [`?transport=` …].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TurnUri {
    /// `turns:`.
    pub secure: bool,
    /// Server's host.
    pub host: Host,
    /// Omitted in the text when `None`.
    pub port: Option<u16>,
    /// Omitted in the text when `None`; clients then take UDP for `turn:` and TCP for `turns:`.
    pub transport: Option<UriTransport>,
}

/// Why a text is not such a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Begins with none of the schemes of its type.
    #[error("unknown scheme")]
    Scheme,
    /// Neither an address nor a DNS name.
    #[error("not a host name or address")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("not a port")]
    Port,
    /// Something other than `?transport=udp` or `?transport=tcp` follows.
    #[error("unknown query")]
    Query,
}

impl Host {
    /// The address, when it is one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(ip) => Some(IpAddr::V4(*ip)),
            Self::V6(ip) => Some(IpAddr::V6(*ip)),
            Self::Name(_) => None,
        }
    }

    /// Splits `host[:port]`, the form of a `Host` field, of `X-Forwarded-Host` and of the URIs here.
    pub fn parse_authority(text: &str) -> Result<(Self, Option<u16>), UriError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, after) = rest.split_once(']').ok_or(UriError::Host)?;
                let host = inner.parse().map(Self::V6).map_err(|_| UriError::Host)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(UriError::Port)?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (Self::parse_name(host)?, Some(port)),
                None => (Self::parse_name(text)?, None),
            },
        };
        let port = port.map(parse_port).transpose()?;
        Ok((host, port))
    }

    /// An IPv4 address or a name; never an IPv6 address, which needs brackets.
    fn parse_name(text: &str) -> Result<Self, UriError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::V4(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A last label that begins with a digit is what resolvers read as an address (`1`, `127.1`, `0x7f.0x1`); no
        // top-level domain begins with one.
        let looks_numeric = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
        if name.len() > 253 || looks_numeric || !name.split('.').all(label_ok) {
            return Err(UriError::Host);
        }
        Ok(Self::Name(name.to_ascii_lowercase().into()))
    }
}

/// Accepts an IPv6 address with or without brackets, an IPv4 address or a name; no port.
impl FromStr for Host {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Self::V6(ip));
        }
        match Self::parse_authority(text)? {
            (host, None) => Ok(host),
            (_, Some(_)) => Err(UriError::Port),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

/// IPv6 addresses in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl UriTransport {
    /// The word after `transport=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for StunUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", if self.secure { "stuns" } else { "stun" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for TurnUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", if self.secure { "turns" } else { "turn" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        self.transport
            .map_or(Ok(()), |transport| write!(f, "?transport={}", transport.as_str()))
    }
}

impl FromStr for StunUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (secure, rest) = split_scheme(text, "stun", "stuns")?;
        // RFC 7064 has no query; say so rather than calling it a bad host.
        if rest.contains('?') {
            return Err(UriError::Query);
        }
        let (host, port) = Host::parse_authority(rest)?;
        Ok(Self { secure, host, port })
    }
}

impl FromStr for TurnUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (secure, rest) = split_scheme(text, "turn", "turns")?;
        let (authority, query) = rest
            .split_once('?')
            .map_or((rest, None), |(before, after)| (before, Some(after)));
        let (host, port) = Host::parse_authority(authority)?;
        let transport = match query {
            None => None,
            Some(query) if query.eq_ignore_ascii_case("transport=udp") => Some(UriTransport::Udp),
            Some(query) if query.eq_ignore_ascii_case("transport=tcp") => Some(UriTransport::Tcp),
            Some(_) => return Err(UriError::Query),
        };
        Ok(Self {
            secure,
            host,
            port,
            transport,
        })
    }
}

/// Schemes are case-insensitive (RFC 3986 §3.1).
fn split_scheme<'a>(text: &'a str, plain: &str, secure: &str) -> Result<(bool, &'a str), UriError> {
    let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
    if scheme.eq_ignore_ascii_case(plain) {
        Ok((false, rest))
    } else if scheme.eq_ignore_ascii_case(secure) {
        Ok((true, rest))
    } else {
        Err(UriError::Scheme)
    }
}

fn parse_port(text: &str) -> Result<u16, UriError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(UriError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7065 appendix A (which replace RFC 7064's for `stun`), with the text they must print as.
    #[test]
    fn the_examples_of_the_rfcs_survive_a_round_trip() {
        for text in [
            "stun:example.org",
            "stuns:example.org",
            "stun:example.org:8000",
            "stun:[2001:db8::1]:3478",
        ] {
            assert_eq!(text.parse::<StunUri>().unwrap().to_string(), text);
        }
        for text in [
            "turn:example.org",
            "turns:example.org",
            "turn:example.org:8000",
            "turn:example.org?transport=udp",
            "turns:example.org?transport=tcp",
            "turn:[2001:db8::1]:3478?transport=udp",
            "turn:192.0.2.1:65535?transport=tcp",
        ] {
            assert_eq!(text.parse::<TurnUri>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn schemes_and_names_are_case_insensitive() {
        assert_eq!(
            "TURNS:Example.ORG".parse::<TurnUri>().unwrap().to_string(),
            "turns:example.org"
        );
    }

    #[test]
    fn bad_uris_are_refused_for_the_right_reason() {
        let stun = |text: &str| text.parse::<StunUri>().unwrap_err();
        let turn = |text: &str| text.parse::<TurnUri>().unwrap_err();
        assert_eq!(stun("turn:a"), UriError::Scheme);
        assert_eq!(turn("turn"), UriError::Scheme);
        assert_eq!(turn("turn://a"), UriError::Host);
        assert_eq!(turn("turn:"), UriError::Host);
        assert_eq!(turn("turn:2001:db8::1"), UriError::Host);
        assert_eq!(turn("turn:a:0"), UriError::Port);
        assert_eq!(turn("turn:a:+1"), UriError::Port);
        assert_eq!(turn("turn:a:65536"), UriError::Port);
        assert_eq!(turn("turn:[::1]x"), UriError::Port);
        assert_eq!(turn("turn:[fe80::1%eth0]"), UriError::Host);
        assert_eq!(turn("turn:a?transport=sctp"), UriError::Query);
        assert_eq!(stun("stun:a?transport=udp"), UriError::Query);
    }

    #[test]
    fn only_names_that_no_resolver_reads_as_an_address_are_hosts() {
        for good in [
            "localhost",
            "turn.example.org",
            "a_b.example",
            "xn--bcher-kva.example",
            "example.org.",
            "3com.example",
        ] {
            assert!(good.parse::<Host>().is_ok(), "{good}");
        }
        let long = format!("{}a", "a.".repeat(127));
        for bad in [
            "",
            ".",
            "a..b",
            "-a.example",
            "a-.example",
            "127.1",
            "1",
            "0x7f000001",
            "a.0x1",
            "a b",
            "a/b",
            "a@b",
            "bücher.example",
            "a%41",
            "exa\"mple",
            "<script>",
            &"a".repeat(64),
            &long,
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ipv6_host_needs_brackets_only_where_a_port_may_follow() {
        let host = Host::V6(Ipv6Addr::LOCALHOST);
        assert_eq!("::1".parse::<Host>().unwrap(), host);
        assert_eq!("[::1]".parse::<Host>().unwrap(), host);
        assert_eq!(host.to_string(), "[::1]");
        assert_eq!(Host::parse_authority("[::1]:80").unwrap(), (host, Some(80)));
        assert!(Host::parse_authority("::1").is_err());
    }
}
