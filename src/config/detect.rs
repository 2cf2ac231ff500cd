//! The addresses of this machine that others can reach, found without sending anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What the kernel says about its default routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detected {
    /// The source address of the IPv4 default route.
    pub ipv4: Option<Ipv4Addr>,
    /// The source address of the IPv6 default route.
    pub ipv6: Option<Ipv6Addr>,
}

impl Detected {
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
        Self {
            ipv4: match ipv4 {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            },
            ipv6: match ipv6 {
                Some(IpAddr::V6(address)) => Some(address),
                _ => None,
            },
        }
    }

    /// The address of one family.
    #[must_use]
    pub fn of_family_of(&self, address: &IpAddr) -> Option<IpAddr> {
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
    (!address.is_unspecified()).then_some(address)
}
