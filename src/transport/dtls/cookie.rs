//! Cookies: what an address must have received to be believed (RFC 6347 §4.2.1, RFC 9147 §5.1).
//!
//! A cookie is an HMAC over the 5-tuple and what the client may not change between its two ClientHello messages. Nothing is
//! remembered: the secret alone decides.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::turn::FiveTuple;

/// The library behind the gate takes cookies of this length alone.
pub(super) const COOKIE: usize = 32;

/// How long a secret makes cookies; they are good for as long again.
const ROTATION: Duration = Duration::from_secs(60);

/// Which version a cookie is for: it travels in another field, so none can pass for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Dtls12,
    Dtls13,
}

/// The secrets of one worker. All datagrams of a client address come to the same one.
pub(super) struct Cookies {
    current: [u8; 32],
    previous: [u8; 32],
    since: Instant,
}

impl Cookies {
    pub(super) fn new(seed: [u8; 32], now: Instant) -> Self {
        let mut cookies = Self {
            current: seed,
            previous: [0; 32],
            since: now,
        };
        cookies.turn(now);
        cookies
    }

    /// The current secret becomes the previous one. Whoever learns one of them cannot tell the next: an HMAC with the seed
    /// of the last as key has no way back, and none forward without that key.
    fn turn(&mut self, now: Instant) {
        self.previous = derive(&self.current, b"cookie");
        self.current = derive(&self.current, b"next seed");
        self.since = now;
    }

    fn rotate(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= ROTATION * 2 {
            // Nobody asked for a long time: what was made then is too old as well.
            self.turn(now);
        }
        if age >= ROTATION {
            self.turn(now);
        }
    }

    /// The cookie to send now, to this address, to a client that `said` this.
    pub(super) fn make(&mut self, now: Instant, from: &FiveTuple, note: Note, said: &Said<'_>) -> [u8; COOKIE] {
        self.rotate(now);
        compute(&derive(&self.current, b"cookie"), from, note, said)
    }

    /// Whether a cookie is one that was sent to this address, for what the client says it said, not long ago.
    pub(super) fn is_good(&mut self, now: Instant, from: &FiveTuple, said: &Said<'_>, cookie: &[u8; COOKIE]) -> bool {
        self.rotate(now);
        let secrets = [derive(&self.current, b"cookie"), self.previous];
        secrets
            .iter()
            .any(|secret| compute(secret, from, note(cookie), said).ct_eq(cookie).into())
    }
}

/// What a cookie carries for the time when it comes back.
pub(super) type Note = [u8; 2];

/// What a cookie carries.
pub(super) fn note(cookie: &[u8; COOKIE]) -> Note {
    [cookie[0], cookie[1]]
}

/// What a client must say again, in pieces that cannot be cut otherwise.
pub(super) struct Said<'a> {
    pub(super) version: Version,
    pub(super) pieces: [&'a [u8]; 2],
}

fn derive(key: &[u8; 32], label: &[u8]) -> [u8; 32] {
    tag(key, &[label])
}

fn compute(secret: &[u8; 32], from: &FiveTuple, note: Note, said: &Said<'_>) -> [u8; COOKIE] {
    let version = match said.version {
        Version::Dtls12 => [2],
        Version::Dtls13 => [3],
    };
    let (client, server) = (address(from.client.0), address(from.server.0));
    let [one, two] = said.pieces;
    let mut cookie = tag(secret, &[&version, &client, &server, &note, one, two]);
    // 30 bytes of the tag are as good as 32.
    cookie[..note.len()].copy_from_slice(&note);
    cookie
}

fn address(addr: SocketAddr) -> [u8; 18] {
    let ip = match addr.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut out = [0; 18];
    out[..16].copy_from_slice(&ip.octets());
    out[16..].copy_from_slice(&addr.port().to_be_bytes());
    out
}

fn tag(key: &[u8; 32], pieces: &[&[u8]]) -> [u8; 32] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{ClientAddr, ListenAddr, Transport};

    fn from(client: &str) -> FiveTuple {
        FiveTuple {
            transport: Transport::Dtls,
            client: ClientAddr(client.parse().unwrap()),
            server: ListenAddr("192.0.2.9:5349".parse().unwrap()),
        }
    }

    fn said<'a>(version: Version, bytes: &'a [u8]) -> Said<'a> {
        Said {
            version,
            pieces: [bytes, b"choices"],
        }
    }

    #[test]
    fn a_cookie_is_good_for_the_address_the_version_and_the_hello_it_was_made_for() {
        let now = Instant::now();
        let mut cookies = Cookies::new([1; 32], now);
        let (one, v12) = (b"one", Version::Dtls12);
        let me = from("192.0.2.1:5000");
        let cookie = cookies.make(now, &me, [4, 2], &said(v12, one));
        assert_eq!(note(&cookie), [4, 2]);
        let mut good = |from: &str, version, bytes: &[u8], cookie: &[u8; COOKIE]| {
            let from = self::from(from);
            cookies.is_good(now, &from, &said(version, bytes), cookie)
        };
        assert!(good("192.0.2.1:5000", v12, one, &cookie));
        assert!(!good("192.0.2.2:5000", v12, one, &cookie));
        assert!(!good("192.0.2.1:5001", v12, one, &cookie));
        assert!(!good("192.0.2.1:5000", Version::Dtls13, one, &cookie));
        assert!(!good("192.0.2.1:5000", v12, b"two", &cookie));
        for at in 0..COOKIE {
            let mut changed = cookie;
            changed[at] ^= 1;
            assert!(!good("192.0.2.1:5000", v12, one, &changed), "{at}");
        }
        let mut stranger = Cookies::new([2; 32], now);
        assert!(!stranger.is_good(now, &me, &said(v12, one), &cookie));
    }

    #[test]
    fn a_cookie_outlives_one_change_of_the_secret_and_not_two() {
        let start = Instant::now();
        let one = said(Version::Dtls13, b"one");
        let me = from("[2001:db8::1]:5000");
        for (age, good) in [
            (0, true),
            (59, true),
            (60, true),
            (119, true),
            (121, false),
            (100_000, false),
        ] {
            let mut cookies = Cookies::new([1; 32], start);
            let cookie = cookies.make(start, &me, [0; 2], &one);
            let later = start + Duration::from_secs(age);
            assert_eq!(cookies.is_good(later, &me, &one, &cookie), good, "{age}");
        }
        // Asked often, it ends as well.
        let mut cookies = Cookies::new([1; 32], start);
        let cookie = cookies.make(start, &me, [0; 2], &one);
        let still = (0..200).filter(|age| {
            let later = start + Duration::from_secs(*age);
            cookies.is_good(later, &me, &one, &cookie)
        });
        assert_eq!(still.count(), 120);
    }
}
