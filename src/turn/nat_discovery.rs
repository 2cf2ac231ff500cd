//! Two addresses and two ports that clients learn about their NAT from (RFC 5780 §6).
//!
//! What it is: which of the four a request came to, and which of them its answer leaves from. What it is not: the answer
//! itself, which is that of the Binding handler.

use std::net::{IpAddr, SocketAddr};

use super::five_tuple::{Family, FiveTuple, ListenAddr, Transport};
use crate::wire::attribute::ChangeRequest;

/// Longest PADDING of an answer, bytes: the MTU of almost every interface, so that with its headers the answer is sent in
/// fragments, as RFC 5780 §7.6 wants.
pub(super) const MAX_PADDING: usize = 1500;

/// What clients may ask about NATs. It opens what an abuser can use, so there is no default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatDiscovery {
    /// At most one of each family. Requests to any other address or port are answered as if there were none.
    pub places: Vec<DiscoveryPlaces>,
    /// The same four are listened at by TCP, so answers over TCP name them as well.
    pub tcp: bool,
    /// Serve RESPONSE-PORT (RFC 5780 §7.5): a client then chooses to which port of its own address the answer goes. Off, it
    /// is answered with 420. Whoever shares an address with others can have those sent to what they did not ask for.
    pub response_port: bool,
    /// Answers of this kind in one second, for each client address (or IPv6 prefix) and shard; 0 is no limit. Beyond it a
    /// request without attributes of RFC 5780 gets the short answer, one with them none.
    pub answers_per_second: u16,
}

/// The four places of one family: two addresses, and two ports that are the same at both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiscoveryPlaces {
    /// The addresses, of one family.
    pub addrs: [ServerAddr; 2],
    /// The ports.
    pub ports: [u16; 2],
}

/// An address of ours that clients come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerAddr {
    /// Address of this machine.
    pub bind: IpAddr,
    /// The same as clients see it: another one behind 1:1 NAT.
    pub advertised: IpAddr,
}

/// One of the four.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    places: DiscoveryPlaces,
    addr: usize,
    port: usize,
}

impl NatDiscovery {
    /// Where a request arrived, if that is one of the four.
    pub(super) fn spot(&self, to: &FiveTuple) -> Option<Spot> {
        let is_served = match to.transport {
            Transport::Udp => true,
            Transport::Tcp => self.tcp,
            Transport::Tls | Transport::Dtls | Transport::WebSocket => false,
        };
        let ListenAddr(server) = to.server;
        let of_family = |places: &&DiscoveryPlaces| Family::of(places.addrs[0].bind) == Family::of(server.ip());
        let places = self.places.iter().filter(|_| is_served).find(of_family)?;
        Some(Spot {
            places: *places,
            addr: places.addrs.iter().position(|addr| addr.bind == server.ip())?,
            port: places.ports.iter().position(|port| *port == server.port())?,
        })
    }
}

impl Spot {
    /// Where the answer leaves from (RFC 5780 §6.1, table 1).
    pub(super) const fn changed(self, change: ChangeRequest) -> Self {
        Self {
            places: self.places,
            addr: self.addr ^ change.change_ip as usize,
            port: self.port ^ change.change_port as usize,
        }
    }

    /// The address and port that differ in both, whatever was asked for: what OTHER-ADDRESS says.
    pub(super) const fn other(self) -> Self {
        self.changed(ChangeRequest {
            change_ip: true,
            change_port: true,
        })
    }

    /// The socket.
    pub(super) const fn listen(self) -> ListenAddr {
        ListenAddr(SocketAddr::new(
            self.places.addrs[self.addr].bind,
            self.places.ports[self.port],
        ))
    }

    /// The same as clients see it.
    pub(super) const fn advertised(self) -> SocketAddr {
        SocketAddr::new(self.places.addrs[self.addr].advertised, self.places.ports[self.port])
    }
}
