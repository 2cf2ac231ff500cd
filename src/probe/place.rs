//! Where a `stun:` or `turn:` URL leads to, and over what.

use crate::credentials::{DEFAULT_PORT, DEFAULT_TLS_PORT, Host, StunUri, TurnUri, UriTransport};

/// What is asked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Binding requests (RFC 8489).
    Stun,
    /// Allocations (RFC 8656).
    Turn,
}

/// What the client's leg runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// TLS on a stream.
    Tls,
    /// DTLS on datagrams.
    Dtls,
}

/// A URL, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is asked there.
    pub service: Service,
    /// Over what.
    pub way: Way,
    /// Without brackets.
    pub host: Box<str>,
    /// The URL's, or that of its scheme.
    pub port: u16,
}

impl Place {
    /// `None` for what is neither a `stun:` nor a `turn:` URL.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (service, secure, transport, host, port) = if let Ok(uri) = url.parse::<StunUri>() {
            let transport = if uri.secure {
                UriTransport::Tcp
            } else {
                UriTransport::Udp
            };
            (Service::Stun, uri.secure, transport, uri.host, uri.port)
        } else {
            let uri = url.parse::<TurnUri>().ok()?;
            let usual = if uri.secure {
                UriTransport::Tcp
            } else {
                UriTransport::Udp
            };
            let transport = uri.transport.unwrap_or(usual);
            (Service::Turn, uri.secure, transport, uri.host, uri.port)
        };
        let way = match (transport, secure) {
            (UriTransport::Udp, false) => Way::Udp,
            (UriTransport::Tcp, false) => Way::Tcp,
            (UriTransport::Tcp, true) => Way::Tls,
            (UriTransport::Udp, true) => Way::Dtls,
        };
        let host = match host {
            Host::Name(name) => name,
            Host::V4(ip) => ip.to_string().into(),
            Host::V6(ip) => ip.to_string().into(),
        };
        let usual = if secure { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        Some(Self {
            service,
            way,
            host,
            port: port.unwrap_or(usual),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_is_asked_over_what_and_where() {
        let of = |url: &str| {
            let place = Place::of_url(url).unwrap();
            (place.service, place.way, place.host.to_string(), place.port)
        };
        assert_eq!(
            of("stun:a.example"),
            (Service::Stun, Way::Udp, "a.example".into(), 3478)
        );
        assert_eq!(
            of("stuns:a.example"),
            (Service::Stun, Way::Tls, "a.example".into(), 5349)
        );
        assert_eq!(
            of("turn:192.0.2.1:80"),
            (Service::Turn, Way::Udp, "192.0.2.1".into(), 80)
        );
        assert_eq!(
            of("turn:[2001:db8::1]?transport=tcp"),
            (Service::Turn, Way::Tcp, "2001:db8::1".into(), 3478)
        );
        assert_eq!(
            of("turns:a.example:443?transport=tcp"),
            (Service::Turn, Way::Tls, "a.example".into(), 443)
        );
        assert_eq!(
            of("turns:a.example"),
            (Service::Turn, Way::Tls, "a.example".into(), 5349)
        );
        assert_eq!(
            of("turns:a.example?transport=udp"),
            (Service::Turn, Way::Dtls, "a.example".into(), 5349)
        );
        for wrong in [
            "",
            "http://a.example",
            "turn:",
            "stun:a.example?transport=udp",
            "turn:127.1",
        ] {
            assert_eq!(Place::of_url(wrong), None, "{wrong}");
        }
    }
}
