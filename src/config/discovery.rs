//! NAT discovery: the four places that two addresses and two ports make, and what must hold of them.

use super::apply::overlap;
use super::schema::Config;
use super::types::ExternalIp;
use crate::turn::{DiscoveryPlaces, NatDiscovery, ServerAddr};
use std::net::{IpAddr, SocketAddr};

/// What is wrong, and how it is put right.
pub(super) struct Wrong(pub(super) String, pub(super) String);

impl Config {
    /// UDP addresses to listen at: those of `relay.listen`, the one port, and what NAT discovery needs besides.
    #[must_use]
    pub(super) fn relay_udp(&self) -> Vec<SocketAddr> {
        let mut listen = self.relay.listen.clone();
        // A port that the kernel chooses for TCP says nothing of UDP.
        for address in self.streams.one_port.iter().filter(|address| address.port() != 0) {
            let taken = listen.iter().chain(&self.relay.listen_dtls);
            if !taken.into_iter().any(|open| overlap(*open, *address)) {
                listen.push(*address);
            }
        }
        for place in self.discovery_places().unwrap_or_default().iter().flat_map(four) {
            if !listen.iter().any(|open| overlap(*open, place)) {
                listen.push(place);
            }
        }
        listen
    }

    /// Whether a port is listened at for NAT discovery alone: nobody is sent there to relay.
    #[must_use]
    pub(super) fn is_for_discovery_alone(&self, port: u16) -> bool {
        !self.nat_discovery.addresses.is_empty()
            && port == self.nat_discovery.alternate_port
            && self.relay.listen.iter().all(|listen| listen.port() != port)
    }

    /// What the relay core needs to know; `None` where it is off.
    pub(super) fn nat_discovery(&self) -> Option<NatDiscovery> {
        let places = self.discovery_places().ok().filter(|places| !places.is_empty())?;
        let tcp = self.relay_tcp(&self.relay_udp());
        let is_open = |place: SocketAddr| tcp.iter().any(|open| overlap(*open, place));
        Some(NatDiscovery {
            tcp: places.iter().flat_map(four).all(is_open),
            places,
            response_port: self.nat_discovery.response_port,
            answers_per_second: self.nat_discovery.answers_per_second,
        })
    }

    /// The four places of each family, or the first thing that keeps them from being four.
    pub(super) fn discovery_places(&self) -> Result<Vec<DiscoveryPlaces>, Wrong> {
        let mut places = Vec::new();
        for is_ipv4 in [true, false] {
            let of_family = |address: &&ExternalIp| address.public.is_ipv4() == is_ipv4;
            let addresses: Vec<_> = self.nat_discovery.addresses.iter().filter(of_family).collect();
            if !addresses.is_empty() {
                places.push(self.places_of(&addresses)?);
            }
        }
        Ok(places)
    }

    fn places_of(&self, addresses: &[&ExternalIp]) -> Result<DiscoveryPlaces, Wrong> {
        let server_addr = |address: &ExternalIp| ServerAddr {
            bind: address.private.unwrap_or(address.public),
            advertised: address.public,
        };
        let &[one, other] = addresses else {
            let family = if addresses[0].public.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Wrong(
                format!("{} {family} address(es): discovery answers from two", addresses.len()),
                format!("name two {family} addresses that this machine has, or remove the key to turn discovery off"),
            ));
        };
        let addrs = [server_addr(one), server_addr(other)];
        let is_same = |of: fn(&ServerAddr) -> IpAddr| of(&addrs[0]) == of(&addrs[1]);
        if is_same(|addr| addr.bind) || is_same(|addr| addr.advertised) {
            return Err(Wrong(
                format!("{} twice: a client would learn nothing", one.public),
                "name two different addresses; behind 1:1 NAT each needs a public one of its own".into(),
            ));
        }
        if let Some(any) = addrs.iter().map(|addr| addr.bind).find(IpAddr::is_unspecified) {
            return Err(Wrong(
                format!("{any} stands for every address, and answers leave from one"),
                "name the two addresses of this machine, such as \"203.0.113.5\" and \"203.0.113.6\"".into(),
            ));
        }
        let at_one = |listen: &&SocketAddr| {
            let meant = addrs.iter().map(|addr| SocketAddr::new(addr.bind, listen.port()));
            listen.port() == 0 && listen.is_ipv4() == one.public.is_ipv4()
                || meant.into_iter().any(|at| overlap(at, **listen))
        };
        let bind = addrs[0].bind;
        let port = match self.relay.listen.iter().find(at_one).map(SocketAddr::port) {
            Some(0) => {
                return Err(Wrong(
                    "the port of `relay.listen` is left to the kernel, and discovery needs the same one at two addresses".into(),
                    format!("write {} in `relay.listen`", SocketAddr::new(bind, 3478)),
                ));
            }
            None => {
                return Err(Wrong(
                    format!("`relay.listen` has neither {bind} nor {}", addrs[1].bind),
                    format!("add \"{}\" to `relay.listen`", SocketAddr::new(bind, 3478)),
                ));
            }
            Some(port) => port,
        };
        let alternate = self.nat_discovery.alternate_port;
        if port == alternate {
            return Err(Wrong(
                format!("{port} is the port of `relay.listen` already"),
                "choose another `nat_discovery.alternate_port`, such as 3479".into(),
            ));
        }
        Ok(DiscoveryPlaces {
            addrs,
            ports: [port, alternate],
        })
    }
}

/// Where these places are listened at.
fn four(places: &DiscoveryPlaces) -> [SocketAddr; 4] {
    let DiscoveryPlaces { addrs, ports } = places;
    let at = |addr: usize, port: usize| SocketAddr::new(addrs[addr].bind, ports[port]);
    [at(0, 0), at(1, 0), at(0, 1), at(1, 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::detect::Machine;
    use crate::config::tests::loaded;
    use crate::config::{Settings, advertised};

    fn settings(text: &str) -> Settings {
        loaded(text).unwrap().settings(&Machine::default())
    }

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|each| each.parse().unwrap()).collect()
    }

    const TWO: &str = "[nat_discovery]\naddresses = [\"203.0.113.5\", \"203.0.113.6\"]\n";

    #[test]
    fn it_is_off_and_opens_nothing_unless_two_addresses_are_named() {
        let settings = settings("");
        assert_eq!(settings.turn.nat_discovery, None);
        assert_eq!(settings.transport.listen, addrs(&["0.0.0.0:3478", "[::]:3478"]));
    }

    #[test]
    fn whatever_of_the_four_is_not_listened_at_is_opened() {
        let wildcard = settings(TWO);
        let opened = ["0.0.0.0:3478", "[::]:3478", "203.0.113.5:3479", "203.0.113.6:3479"];
        assert_eq!(wildcard.transport.listen, addrs(&opened));
        let exact = settings(&format!(
            "[relay]\nlisten = \"203.0.113.6:5000\"\n{TWO}alternate_port = 5001\n"
        ));
        let opened = [
            "203.0.113.6:5000",
            "203.0.113.5:5000",
            "203.0.113.5:5001",
            "203.0.113.6:5001",
        ];
        assert_eq!(exact.transport.listen, addrs(&opened));
        assert_eq!(exact.turn.nat_discovery.unwrap().places[0].ports, [5000, 5001]);
    }

    #[test]
    fn behind_nat_the_private_addresses_are_bound_the_public_ones_told_and_all_are_closed_to_peers() {
        let text = "[nat_discovery]\naddresses = [\"203.0.113.5/10.0.0.5\", \"203.0.113.6/10.0.0.6\", \
                    \"2001:db8::5\", \"2001:db8::6\"]\nresponse_port = true\nanswers_per_second = 7\n";
        let turn = settings(text).turn;
        let discovery = turn.nat_discovery.unwrap();
        let told = discovery.places.iter().flat_map(|places| places.addrs);
        let pairs: Vec<_> = told
            .map(|addr| format!("{} as {}", addr.bind, addr.advertised))
            .collect();
        assert_eq!(
            pairs,
            [
                "10.0.0.5 as 203.0.113.5",
                "10.0.0.6 as 203.0.113.6",
                "2001:db8::5 as 2001:db8::5",
                "2001:db8::6 as 2001:db8::6"
            ]
        );
        assert!(discovery.response_port && discovery.tcp);
        assert_eq!(discovery.answers_per_second, 7);
        for own in ["10.0.0.6", "203.0.113.6", "2001:db8::6"] {
            assert!(turn.own_addrs.contains(&own.parse().unwrap()), "{own}");
        }
    }

    #[test]
    fn tcp_clients_are_told_only_where_tcp_listens_at_all_four() {
        let tcp = |text: &str| settings(text).turn.nat_discovery.unwrap().tcp;
        assert!(tcp(TWO));
        assert!(!tcp(&format!("[relay]\nlisten_tcp = \"off\"\n{TWO}")));
        assert!(!tcp(&format!("[relay]\nlisten_tcp = \"0.0.0.0:3478\"\n{TWO}")));
        assert!(tcp(&format!(
            "[relay]\nlisten_tcp = [\"0.0.0.0:3478\", \"0.0.0.0:3479\"]\n{TWO}"
        )));
        // The web server has one of them.
        assert!(!tcp(&format!("[http]\nlisten = \"203.0.113.6:3479\"\n{TWO}")));
    }

    #[test]
    fn nobody_is_sent_to_the_alternate_port_to_relay() {
        let config = loaded(TWO).unwrap();
        assert!(
            advertised(&config, &config.planned())
                .iter()
                .all(|one| one.port == 3478)
        );
        let both = loaded(&format!(
            "[relay]\nlisten = [\"0.0.0.0:3478\", \"0.0.0.0:3479\"]\n{TWO}"
        ))
        .unwrap();
        assert!(advertised(&both, &both.planned()).iter().any(|one| one.port == 3479));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_way_out() {
        let named = |list: &str| format!("[nat_discovery]\naddresses = {list}\n");
        for (text, wrong, fix) in [
            (
                named("\"203.0.113.5\""),
                "discovery answers from two",
                "name two IPv4 addresses",
            ),
            (
                named("[\"203.0.113.5\", \"203.0.113.6\", \"2001:db8::5\"]"),
                "1 IPv6 address(es)",
                "name two IPv6 addresses",
            ),
            (
                named("[\"203.0.113.5\", \"203.0.113.6\", \"203.0.113.7\"]"),
                "3 IPv4 address(es)",
                "name two IPv4 addresses",
            ),
            (
                named("[\"203.0.113.5\", \"203.0.113.5\"]"),
                "203.0.113.5 twice",
                "two different addresses",
            ),
            (
                named("[\"203.0.113.5/10.0.0.5\", \"203.0.113.5/10.0.0.6\"]"),
                "203.0.113.5 twice",
                "needs a public one of its own",
            ),
            (
                named("[\"203.0.113.5/10.0.0.5\", \"203.0.113.6/10.0.0.5\"]"),
                "203.0.113.5 twice",
                "two different addresses",
            ),
            (
                named("[\"203.0.113.5/0.0.0.0\", \"203.0.113.6\"]"),
                "stands for every address",
                "name the two addresses",
            ),
            (
                format!("[relay]\nlisten = \"127.0.0.1:3478\"\n{TWO}"),
                "neither 203.0.113.5 nor 203.0.113.6",
                "add \"203.0.113.5:3478\" to `relay.listen`",
            ),
            (
                format!("[relay]\nlisten = \"0.0.0.0:0\"\n{TWO}"),
                "left to the kernel",
                "write 203.0.113.5:3478",
            ),
            (format!("{TWO}alternate_port = 3478\n"), "already", "alternate_port"),
            (
                format!("[relay]\nport_range = \"3000-4000\"\nlisten = \"0.0.0.0:5000\"\n{TWO}"),
                "contains port 3479",
                "choose a range without 3479",
            ),
        ] {
            let problems = loaded(&text).unwrap_err().to_string();
            assert!(problems.contains(wrong) && problems.contains(fix), "{text}\n{problems}");
        }
    }
}
