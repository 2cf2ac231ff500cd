//! Ports, networks, addresses and hosts.

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::credentials::Host;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A range of ports, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// How many ports it holds.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// Whether the port is inside.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Value for PortRange {
    fn expects() -> String {
        "a range of ports, such as `\"49152-65535\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)));
        match range {
            Some((0, _)) => Err(raw.fault("port 0 cannot be relayed from")),
            Some((first, last)) if first > last => {
                Err(raw.fault_with(format!("{first} is above {last}"), format!("write \"{last}-{first}\"")))
            }
            Some((first, last)) => Ok(Self { first, last }),
            None => Err(raw.fault(format!("`{text}` is not a range of ports"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}-{}", self.first, self.last))
    }
}

/// Where TCP is listened on, next to UDP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TcpListen {
    /// At the addresses and ports of UDP, save those that the web server has.
    #[default]
    Same,
    /// Nowhere.
    Off,
    /// At these.
    At(Vec<SocketAddr>),
}

impl TcpListen {
    /// The addresses, where `udp` are those of UDP and `taken` those that serve something else by TCP.
    #[must_use]
    pub fn addresses(&self, udp: &[SocketAddr], taken: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
        match self {
            Self::Same => udp.iter().copied().filter(|address| !taken(address)).collect(),
            Self::Off => Vec::new(),
            Self::At(addresses) => addresses.clone(),
        }
    }
}

impl Value for TcpListen {
    fn expects() -> String {
        format!(
            "`\"same\"` for the addresses of `relay.listen` (save those of `http.listen`), `\"off\"`, or a list, each {}",
            SocketAddr::expects()
        )
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match raw.text() {
            Ok("same") => Ok(Self::Same),
            Ok("off") => Ok(Self::Off),
            _ => Vec::from_raw(raw).map(|addresses| {
                if addresses.is_empty() {
                    Self::Off
                } else {
                    Self::At(addresses)
                }
            }),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Same => quoted("same"),
            Self::Off => quoted("off"),
            Self::At(addresses) => addresses.to_toml(),
        }
    }
}

impl Value for IpNet {
    fn expects() -> String {
        "an address or a network, such as `\"203.0.113.5\"` or `\"10.0.0.0/8\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let net: Self = text
            .parse()
            .map_err(|_| raw.fault(format!("`{text}` is not an address or a network")))?;
        // 10.1.2.3/8 is more likely a slip than a wish; a filter is no place to guess.
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(raw.fault_with(
                format!("`{text}` has bits set outside its prefix"),
                format!(
                    "write \"{}\" for the network, \"{}\" for the one address",
                    net.trunc(),
                    net.addr()
                ),
            ))
        }
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

/// A public address, and the address of this machine that it is mapped to (1:1 NAT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalIp {
    /// What clients and peers see.
    pub public: IpAddr,
    /// What this machine binds; without it, the address of the default route.
    pub private: Option<IpAddr>,
}

impl Value for ExternalIp {
    fn expects() -> String {
        "a public address, or `public/private` behind 1:1 NAT, such as `\"203.0.113.5/10.0.0.5\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let (public, private) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a.trim(), Some(b.trim())));
        let parse = |part: &str| {
            part.parse::<IpAddr>()
                .map_err(|_| raw.fault(format!("`{part}` in `{text}` is not an IP address")))
        };
        let this = Self {
            public: parse(public)?,
            private: private.map(parse).transpose()?,
        };
        if this.public.is_unspecified() {
            return Err(raw.fault(format!("{} cannot be advertised", this.public)));
        }
        match this.private {
            Some(private) if private.is_ipv4() != this.public.is_ipv4() => {
                Err(raw.fault(format!("{} and {private} are of different families", this.public)))
            }
            _ => Ok(this),
        }
    }

    fn to_toml(&self) -> String {
        match self.private {
            Some(private) => quoted(format_args!("{}/{private}", self.public)),
            None => quoted(self.public),
        }
    }
}

/// A host to advertise: a DNS name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub Host);

impl Value for HostName {
    fn expects() -> String {
        "a host name or an address, such as `\"turn.example.org\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        // An IPv6 address stands in brackets in a URI and without them everywhere else.
        let bracketed = text.parse::<std::net::Ipv6Addr>().is_ok().then(|| format!("[{text}]"));
        match Host::parse_authority(bracketed.as_deref().unwrap_or(text)) {
            Ok((host, None)) => Ok(Self(host)),
            Ok((host, Some(port))) => Err(raw.fault_with(
                format!("`{text}` has a port"),
                format!("write \"{host}\" here and {port} as `ice.port`"),
            )),
            Err(_) => Err(raw.fault(format!("`{text}` is neither a host name nor an address"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(self.0.to_string().trim_matches(['[', ']']))
    }
}
