//! What must not reach a log, a metric or an error text as it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sha2::{Digest as _, Sha256};
use tracing::field::{DisplayValue, display};

/// Holds a secret that prints as `[redacted]`, whatever formats it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Wraps it.
    pub const fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An address as its network: the /24 of IPv4, the /48 of IPv6. Enough to see where abuse comes from, not who it is.
#[derive(Clone, Copy)]
pub struct Network(pub IpAddr);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                write!(f, "{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How much of an address a line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// The [`Network`] it is of.
    #[default]
    Network,
    /// All of it, with its port where that is known.
    Full,
    /// Nothing.
    None,
}

impl Addresses {
    /// As much of an address as may be shown, as a field of a line.
    pub fn shown(self, ip: IpAddr, port: Option<u16>) -> Option<DisplayValue<ShownAddr>> {
        let shown = ShownAddr {
            ip,
            port,
            whole: self == Self::Full,
        };
        (self != Self::None).then(|| display(shown))
    }
}

/// An address as a line may show it.
#[derive(Clone, Copy, Debug)]
pub struct ShownAddr {
    ip: IpAddr,
    port: Option<u16>,
    whole: bool,
}

impl fmt::Display for ShownAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.whole, self.port) {
            (true, Some(port)) => SocketAddr::new(self.ip, port).fmt(f),
            (true, None) => self.ip.fmt(f),
            (false, _) => Network(self.ip).fmt(f),
        }
    }
}

/// Names a credential in lines without telling it: the first 6 bytes of its username's SHA-256, in hexadecimal. Whoever has the
/// username finds its lines (`printf %s USERNAME | sha256sum`); whoever has the lines cannot go the other way but by guessing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CredentialId([u8; 6]);

impl CredentialId {
    /// Of a username as it is sent.
    pub fn of(username: &str) -> Self {
        let mut id = [0; 6];
        for (byte, digest) in id.iter_mut().zip(Sha256::digest(username)) {
            *byte = digest;
        }
        Self(id)
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A request target with its query's values blanked: tokens travel there (`?token=`, `?access_token=`), and a name that is
/// harmless today may carry one tomorrow. Control characters cannot occur in a parsed target.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Of a path and, if there is one, the query after it.
    pub const fn new(path: &'a str, query: Option<&'a str>) -> Self {
        Self { path, query }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        let Some(query) = self.query else { return Ok(()) };
        for (index, pair) in query.split('&').enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) => write!(f, "{name}=…")?,
                // Without a `=` the whole may be a token.
                None if pair.is_empty() => {}
                None => f.write_str("…")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_value_shows_in_no_format() {
        let secret = Redacted::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?} {secret:>20}"),
            "[redacted] [redacted] [redacted] [redacted]"
        );
        assert_eq!(*secret.expose(), "hunter2");
    }

    #[test]
    fn an_address_shows_as_its_network() {
        let shown = |ip: &str| Network(ip.parse().unwrap()).to_string();
        assert_eq!(shown("203.0.113.77"), "203.0.113.0/24");
        assert_eq!(shown("::ffff:203.0.113.77"), "203.0.113.0/24");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1::/48");
    }

    #[test]
    fn an_address_shows_as_much_as_is_asked_for() {
        let shown = |how: Addresses, port| {
            how.shown("203.0.113.77".parse().unwrap(), port)
                .map(|shown| shown.to_string())
        };
        assert_eq!(shown(Addresses::Network, Some(7)).unwrap(), "203.0.113.0/24");
        assert_eq!(shown(Addresses::Full, Some(7)).unwrap(), "203.0.113.77:7");
        assert_eq!(shown(Addresses::Full, None).unwrap(), "203.0.113.77");
        assert_eq!(shown(Addresses::None, Some(7)), None);
    }

    #[test]
    fn a_credential_is_named_by_what_sha256sum_says_of_its_username() {
        // printf %s 1700000000:alice | sha256sum
        assert_eq!(CredentialId::of("1700000000:alice").to_string(), "8766925a1e64");
    }

    #[test]
    fn a_target_shows_the_names_of_its_query_and_no_value() {
        let shown = |path, query| Target::new(path, query).to_string();
        assert_eq!(shown("/a", None), "/a");
        assert_eq!(shown("/a", Some("")), "/a?");
        assert_eq!(
            shown("/a", Some("token=abc=d&x=&eyJhbGciOi&&y=1")),
            "/a?token=…&x=…&…&&y=…"
        );
    }
}
