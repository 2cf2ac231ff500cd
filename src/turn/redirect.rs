//! Which new allocations are sent to another server, and to which (RFC 8489 §10).
//!
//! A client that was sent here by another server must not be sent on: two servers that are both full would hand it back and
//! forth, and a client that keeps to the RFC gives up at the second turn although both have room left. Nothing in its request
//! says so, so the other servers name a port of ours that nobody else uses ([`Redirect::arrival_ports`]).

use std::net::SocketAddr;

use super::bucket::Ticks;
use super::five_tuple::{FiveTuple, Transport};
use super::server::Server;
use super::verdict::RedirectReason;

/// Sends new allocations elsewhere with 300. Living ones, and whoever holds a reservation here, are not touched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// When.
    pub when: RedirectWhen,
    /// Percent of the limit of allocations, and of that of bytes and packets of the process, from which on it is too full.
    /// Default 90.
    pub above_percent: u8,
    /// Where to, for clients that came by UDP and TCP.
    pub servers: Vec<AlternateServer>,
    /// Where to, for clients that came by TLS and DTLS: it is the same transport that they try there.
    pub secure_servers: Vec<AlternateServer>,
    /// Ports of ours that other servers send their clients to. Who comes there is never sent on.
    pub arrival_ports: Vec<u16>,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            when: RedirectWhen::Full,
            above_percent: 90,
            servers: Vec::new(),
            secure_servers: Vec::new(),
            arrival_ports: Vec::new(),
        }
    }
}

/// When new allocations are sent elsewhere. Each includes the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RedirectWhen {
    /// While the process is about to end.
    Draining,
    /// When it is too full as well.
    Full,
    /// Always.
    Always,
}

/// Where clients are sent by 300 (RFC 8489 §14.15): an address of the family the client came with, else not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlternateServer {
    /// For clients that came by IPv4.
    pub v4: Option<SocketAddr>,
    /// For clients that came by IPv6.
    pub v6: Option<SocketAddr>,
    /// ALTERNATE-DOMAIN (§14.16): the name in its certificate, where that differs from ours.
    pub domain: Option<String>,
    /// How many clients it gets in relation to the others; 0 is none.
    pub weight: u16,
}

impl AlternateServer {
    /// Its address for a client: of the family that the client came with.
    fn address_for(&self, from: &FiveTuple) -> Option<SocketAddr> {
        let address = match from.client.0 {
            SocketAddr::V4(_) => self.v4,
            SocketAddr::V6(_) => self.v6,
        };
        address.filter(|_| self.weight > 0)
    }
}

/// What a 300 says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Alternate {
    pub(super) addr: SocketAddr,
    pub(super) domain: Option<Box<str>>,
}

impl Redirect {
    /// Who may be meant by a client of this transport. What comes by WebSocket cannot be told another URL.
    fn servers_for(&self, transport: Transport) -> &[AlternateServer] {
        match transport {
            Transport::Udp | Transport::Tcp => &self.servers,
            Transport::Tls | Transport::Dtls => &self.secure_servers,
            Transport::WebSocket => &[],
        }
    }

    /// The `turn`th choice for a client: in any run of as many turns as the weights add up to, each has its share.
    fn choose(&self, from: &FiveTuple, turn: u32) -> Option<Alternate> {
        let fitting = || {
            let servers = self.servers_for(from.transport).iter();
            servers.filter_map(|server| Some((server, server.address_for(from)?)))
        };
        let all: u32 = fitting().map(|(server, _)| u32::from(server.weight)).sum();
        let mut place = turn.checked_rem(all)?;
        for (server, addr) in fitting() {
            match place.checked_sub(u32::from(server.weight)) {
                Some(rest) => place = rest,
                None => {
                    let domain = server.domain.as_deref().map(Box::from);
                    return Some(Alternate { addr, domain });
                }
            }
        }
        None
    }
}

impl Server {
    /// Where a client with good credentials shall try instead, if it shall.
    pub(super) fn redirection(&mut self, now: Ticks, from: &FiveTuple) -> Option<Alternate> {
        let redirect = self.config.redirect.as_ref()?;
        if redirect.arrival_ports.contains(&from.server.0.port()) {
            return None;
        }
        let reason = self.redirect_reason(now, redirect)?;
        let alternate = redirect.choose(from, self.redirect_turn)?;
        self.redirect_turn = self.redirect_turn.wrapping_add(1);
        self.stats.redirects[reason.index()] += 1;
        Some(alternate)
    }

    fn redirect_reason(&self, now: Ticks, redirect: &Redirect) -> Option<RedirectReason> {
        if self.config.draining {
            return Some(RedirectReason::Draining);
        }
        if redirect.when == RedirectWhen::Always {
            return Some(RedirectReason::Always);
        }
        if redirect.when < RedirectWhen::Full {
            return None;
        }
        let (held, most) = (self.ledger.total(), self.config.limits.allocations);
        if u64::from(held) * 100 >= u64::from(most) * u64::from(redirect.above_percent) {
            return Some(RedirectReason::Allocations);
        }
        self.ledger.load().is_high(now).then_some(RedirectReason::Rate)
    }
}
