//! What this machine knows about its own addresses, found without sending anything.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// The source address of the IPv4 default route.
    pub ipv4: Option<Ipv4Addr>,
    /// The source address of the IPv6 default route.
    pub ipv6: Option<Ipv6Addr>,
    /// Every address of every interface.
    pub addresses: Vec<IpAddr>,
    /// As what the rest of the world sees it, one of each family at most, where somebody was asked (`relay.external_ip_from`).
    pub outside: Vec<IpAddr>,
}

impl Machine {
    /// Asks the kernel. Connecting a UDP socket looks up the route and sends no packet.
    #[must_use]
    pub fn ask() -> Self {
        // 192.0.2.0/24 and 2001:db8::/32 are for documentation (RFC 5737, RFC 3849): nobody is there, every default
        // route covers them.
        let ipv4 = source_towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
        let ipv6 = source_towards(
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        );
        let routes = Self {
            ipv4: match ipv4 {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            },
            ipv6: match ipv6 {
                Some(IpAddr::V6(address)) => Some(address),
                _ => None,
            },
            addresses: ipv4.into_iter().chain(ipv6).collect(),
            outside: Vec::new(),
        };
        // Where there is no /proc, the default routes and the listeners remain.
        routes.refreshed().unwrap_or(routes)
    }

    /// The same machine with the addresses it has now; `None` if the kernel's tables cannot be read, for lack of
    /// descriptors say. What cannot be seen must not be taken for gone.
    #[must_use]
    pub fn refreshed(&self) -> Option<Self> {
        let table = |path| match std::fs::read_to_string(path) {
            // No IPv6, no table of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(String::new()),
            read => read.ok(),
        };
        let mut addresses = local_ipv4(&table("/proc/net/fib_trie")?);
        addresses.extend(local_ipv6(&table("/proc/net/if_inet6")?));
        addresses.extend(self.default_routes());
        addresses.sort_unstable();
        addresses.dedup();
        Some(Self {
            addresses,
            ..self.clone()
        })
    }

    /// The addresses of the default routes, IPv4 first.
    #[must_use]
    pub fn default_routes(&self) -> Vec<IpAddr> {
        self.ipv4
            .map(IpAddr::V4)
            .into_iter()
            .chain(self.ipv6.map(IpAddr::V6))
            .collect()
    }

    /// The address of the default route of the family of `address`.
    #[must_use]
    pub fn default_route_like(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }
}

fn source_towards(any: IpAddr, target: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(target, 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    // A link-local address is the sign of an IPv6 route that leads nowhere.
    let link_local = matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
    (!address.is_unspecified() && !link_local).then_some(address)
}

/// The addresses in `/proc/net/fib_trie`: a line `|-- address`, and below it `/32 host LOCAL`.
fn local_ipv4(fib_trie: &str) -> Vec<IpAddr> {
    let mut candidate = None;
    let mut found = Vec::new();
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            candidate = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(candidate.map(IpAddr::V4));
        }
    }
    found
}

/// The addresses in `/proc/net/if_inet6`: 32 hexadecimal digits at the start of each line.
fn local_ipv6(if_inet6: &str) -> Vec<IpAddr> {
    let first_words = if_inet6.lines().filter_map(|line| line.split_whitespace().next());
    first_words
        .filter_map(|word| u128::from_str_radix(word, 16).ok().map(|bits| IpAddr::V6(bits.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_kernel_are_read() {
        let fib = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.0.5\n        \
                   /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        \
                   /32 host LOCAL\n";
        let found: Vec<IpAddr> = ["10.0.0.5", "127.0.0.1"].map(|each| each.parse().unwrap()).into();
        assert_eq!(local_ipv4(fib), found);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000005 02 40 00 80     eth0\n";
        let found: Vec<IpAddr> = ["::1", "2001:db8::5"].map(|each| each.parse().unwrap()).into();
        assert_eq!(local_ipv6(inet6), found);
        assert!(local_ipv4("nonsense\n/32 host LOCAL").is_empty() && local_ipv6("zz\n\n").is_empty());
    }

    #[test]
    fn an_address_that_is_gone_is_gone_at_the_next_look() {
        let machine = Machine::ask();
        let stranger: IpAddr = "192.0.2.77".parse().unwrap();
        let before = Machine {
            addresses: vec![stranger],
            ..machine.clone()
        };
        assert_eq!(before.refreshed(), Some(machine));
    }

    #[test]
    fn this_machine_has_addresses_and_none_of_them_is_a_wildcard() {
        let machine = Machine::ask();
        assert!(
            machine.addresses.iter().all(|address| !address.is_unspecified()),
            "{machine:?}"
        );
        assert!(
            machine
                .default_routes()
                .iter()
                .all(|route| machine.addresses.contains(route)),
            "{machine:?}"
        );
    }
}
