//! The list that goes into `new RTCPeerConnection({ iceServers })`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::credential::Credential;
use super::unix_time::UnixTime;
use super::uri::{Host, StunUri, TurnUri, UriTransport};

/// Most URLs in one list. Browsers gather on each of them at once and warn from five servers on; the bound keeps a
/// misconfiguration (many hosts times many listeners) from becoming a probe storm in every client.
pub const MAX_URLS: usize = 32;

/// URLs of one server. Clones share: the same ones go into a great many lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls(Arc<[String]>);

impl Deref for Urls {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl From<Vec<String>> for Urls {
    fn from(urls: Vec<String>) -> Self {
        Self(urls.into())
    }
}

impl FromIterator<String> for Urls {
    fn from_iter<I: IntoIterator<Item = String>>(urls: I) -> Self {
        Self(urls.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Urls {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// An array of strings.
impl Serialize for Urls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

/// `iceTransportPolicy` of an `RTCConfiguration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TransportPolicy {
    /// Any candidate.
    All,
    /// Relayed candidates alone: hides clients' addresses from each other, and sends all traffic through relays.
    Relay,
}

impl TransportPolicy {
    /// As the W3C spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Relay => "relay",
        }
    }
}

/// One `RTCIceServer`: STUN entries have neither username nor credential, TURN entries have both.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct IceServer {
    /// `stun:`/`stuns:`/`turn:`/`turns:` URIs, always an array.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub urls: Urls,
    /// Of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(nullable = false))]
    pub username: Option<String>,
    /// The credential's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(nullable = false))]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &self.credential.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// A listener as clients reach it: behind a mapping or a balancer the port differs from the bound one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Advertised {
    /// What the client's leg runs over.
    pub transport: UriTransport,
    /// TLS (over TCP) or DTLS (over UDP).
    pub secure: bool,
    /// Port that clients are told.
    pub port: u16,
}

/// ICE servers with the time until which their credential opens new allocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct IceList {
    /// Ready for `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// What the operator recommends; without it, that is left to the client.
    #[serde(rename = "iceTransportPolicy", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(nullable = false))]
    pub policy: Option<TransportPolicy>,
    /// Seconds from the moment of minting.
    pub ttl: u64,
    /// Unix seconds.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub expires_at: UnixTime,
}

impl IceList {
    /// One STUN entry and one TURN entry with a URL per host and listener, then the operator's own entries.
    ///
    /// STUN and TURN are separate entries, since some clients drop a whole entry over one URL they do not know. STUN goes
    /// over plain UDP alone: over anything else the mapped address says nothing about the client's UDP path. URLs are in
    /// the order in which listeners are given, hosts innermost; what exceeds [`MAX_URLS`] is left out.
    pub fn new(
        hosts: &[Host],
        listeners: &[Advertised],
        credential: &Credential,
        now: UnixTime,
        extra: &[IceServer],
    ) -> Self {
        let (stun, turn) = own_urls(hosts, listeners);
        Self::of_urls(stun, turn, credential, now, extra)
    }

    /// The same of URLs that are ready.
    pub fn of_urls(
        stun: Vec<String>,
        turn: Vec<String>,
        credential: &Credential,
        now: UnixTime,
        extra: &[IceServer],
    ) -> Self {
        let mut ice_servers = Vec::with_capacity(2 + extra.len());
        if !stun.is_empty() {
            ice_servers.push(IceServer {
                urls: stun.into(),
                username: None,
                credential: None,
            });
        }
        if !turn.is_empty() {
            ice_servers.push(IceServer {
                urls: turn.into(),
                username: Some(credential.username.clone()),
                credential: Some(credential.password.as_str().to_owned()),
            });
        }
        ice_servers.extend_from_slice(extra);
        let ttl: Duration = credential.expires_at.saturating_since(now);
        Self {
            ice_servers,
            policy: None,
            ttl: ttl.as_secs(),
            expires_at: credential.expires_at,
        }
    }
}

/// The STUN and the TURN URLs of this server: one for each host and listener, in the order of the listeners, hosts innermost, and no
/// more than [`MAX_URLS`] together.
pub fn own_urls(hosts: &[Host], listeners: &[Advertised]) -> (Vec<String>, Vec<String>) {
    let pairs = || {
        listeners
            .iter()
            .flat_map(|listener| hosts.iter().map(move |host| (listener, host.clone())))
    };
    let stun: Vec<_> = pairs()
        .filter(|(listener, _)| listener.transport == UriTransport::Udp && !listener.secure)
        .map(|(listener, host)| {
            StunUri {
                secure: false,
                host,
                port: Some(listener.port),
            }
            .to_string()
        })
        .take(MAX_URLS / 2)
        .collect();
    let turn: Vec<_> = pairs()
        .map(
            |(
                &Advertised {
                    transport,
                    secure,
                    port,
                },
                host,
            )| {
                TurnUri {
                    secure,
                    host,
                    port: Some(port),
                    transport: Some(transport),
                }
                .to_string()
            },
        )
        .take(MAX_URLS - stun.len())
        .collect();
    (stun, turn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{KeyRing, mint};

    const NOW: UnixTime = UnixTime(1_700_000_000);
    const UDP: Advertised = Advertised {
        transport: UriTransport::Udp,
        secure: false,
        port: 3478,
    };
    const TLS: Advertised = Advertised {
        transport: UriTransport::Tcp,
        secure: true,
        port: 443,
    };

    fn list(hosts: &[&str], listeners: &[Advertised], extra: &[IceServer]) -> IceList {
        let ring = KeyRing::from_bytes(["north"]).unwrap();
        let credential = mint(&ring, NOW, "alice", Duration::from_secs(3600)).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        IceList::new(&hosts, listeners, &credential, NOW, extra)
    }

    #[test]
    fn stun_and_turn_are_separate_entries_and_only_turn_carries_the_credential() {
        let list = list(&["turn.example.org", "2001:db8::1"], &[UDP, TLS], &[]);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "iceServers": [
                    { "urls": ["stun:turn.example.org:3478", "stun:[2001:db8::1]:3478"] },
                    {
                        "urls": [
                            "turn:turn.example.org:3478?transport=udp",
                            "turn:[2001:db8::1]:3478?transport=udp",
                            "turns:turn.example.org:443?transport=tcp",
                            "turns:[2001:db8::1]:443?transport=tcp",
                        ],
                        "username": "1700003600:alice",
                        "credential": "wjwSXO2ch1B6VaLTLMy2Avn5O9o=",
                    },
                ],
                "ttl": 3600,
                "expiresAt": 1_700_003_600,
            })
        );
    }

    #[test]
    fn without_a_plain_udp_listener_there_is_no_stun_entry() {
        let list = list(&["turn.example.org"], &[TLS], &[]);
        assert_eq!(list.ice_servers.len(), 1);
        assert_eq!(*list.ice_servers[0].urls, ["turns:turn.example.org:443?transport=tcp"]);
    }

    #[test]
    fn the_operators_own_entries_come_last() {
        let own = IceServer {
            urls: vec!["stun:other.example".into()].into(),
            username: None,
            credential: None,
        };
        assert_eq!(
            list(&["a.example"], &[UDP], std::slice::from_ref(&own))
                .ice_servers
                .last(),
            Some(&own)
        );
    }

    #[test]
    fn a_list_holds_32_urls_and_no_more() {
        let count = |listeners: usize| {
            let list = list(&["a.example"], &vec![UDP; listeners], &[]);
            list.ice_servers.iter().map(|server| server.urls.len()).sum::<usize>()
        };
        assert_eq!(count(MAX_URLS / 2), MAX_URLS);
        assert_eq!(count(MAX_URLS / 2 + 1), MAX_URLS);
    }

    #[test]
    fn the_credential_never_shows_in_debug_output() {
        assert!(!format!("{:?}", list(&["a.example"], &[UDP], &[])).contains("wjwSXO2ch1B6VaLTLMy2Avn5O9o="));
    }
}
