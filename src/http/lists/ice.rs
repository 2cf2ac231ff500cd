//! What an operator may set about this server's own entries.

use std::time::Duration;

use crate::credentials::{Advertised, Host, IceServer, UriTransport};

/// The ICE list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// Hosts to advertise. Default: none, then the host that the client itself used to reach this server (which a browser
    /// on the same network can reach by definition) is advertised.
    pub hosts: Vec<Host>,
    /// Advertised when `hosts` is empty and the request's own host is missing or unusable: the addresses the relay is
    /// known to have.
    pub fallback_hosts: Vec<Host>,
    /// The relay's listeners as clients reach them, preferred ones first. Default: UDP and TCP on 3478.
    pub listeners: Vec<Advertised>,
    /// Entries of other servers, appended as they are. Each makes every client send more probes.
    pub extra: Vec<IceServer>,
    /// Lifetime of a credential when the client asks for none. Default 1 h. A leaked credential opens allocations for this
    /// long; a living relay is never cut by it.
    pub ttl: Duration,
    /// Longest lifetime a client may ask for with `?ttl=`. Default 48 h, as clients of other services ask for a day.
    pub max_ttl: Duration,
    /// Whether clients that are no browsers get the first TLS URL once more without its query. Default yes.
    pub plain_turns: bool,
    /// Whether browsers get URLs to port 53, to which they do not connect. Default no.
    pub port_53_for_browsers: bool,
    /// `iceTransportPolicy` to recommend: relay only. Default off. Hides clients' addresses from each other and sends all
    /// traffic through this server.
    pub relay_only: bool,
}

impl Default for Ice {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            fallback_hosts: Vec::new(),
            listeners: [UriTransport::Udp, UriTransport::Tcp]
                .map(|transport| Advertised {
                    transport,
                    secure: false,
                    port: 3478,
                })
                .into(),
            extra: Vec::new(),
            ttl: Duration::from_secs(3_600),
            max_ttl: Duration::from_secs(48 * 3_600),
            plain_turns: true,
            port_53_for_browsers: false,
            relay_only: false,
        }
    }
}
