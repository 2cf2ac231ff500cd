//! Which addresses a client may reach through the relay.
//!
//! Closed by default: everything that is not a public unicast address (RFC 6890 and its successors), because the relay
//! stands inside somebody's network and must not lend its position to a stranger. Addresses that carry an IPv4 address
//! inside an IPv6 one are reduced to it before they are judged, so that no second spelling passes (CVE-2026-27624 and its
//! family). A deny rule of the operator beats everything, an allow rule beats the built-in list.
//!
//! Own addresses of the server are not judged here: see `hairpin` in [`super::server`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::verdict::labels;

labels! {
    /// Why a peer is closed to relaying.
    PeerClass {
        /// A deny rule of the operator.
        DenyRule = "deny_rule",
        /// Port 0, which nobody can listen on.
        PortZero = "port_zero",
        /// `0.0.0.0/8` and `::`, which reach this host on many systems (RFC 1122 §3.2.1.3).
        Unspecified = "unspecified",
        /// `127.0.0.0/8`, `::1` (RFC 1122, RFC 4291).
        Loopback = "loopback",
        /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` (RFC 1918).
        Private = "private",
        /// `100.64.0.0/10` (RFC 6598).
        CarrierGrade = "carrier_grade_nat",
        /// `169.254.0.0/16`, `fe80::/10` (RFC 3927, RFC 4291).
        LinkLocal = "link_local",
        /// `169.254.169.254`, `169.254.170.2`, `fd00:ec2::254`, `fd20:ce::254`, `100.100.100.200`, `192.0.0.192`: where clouds
        /// keep credentials.
        Metadata = "metadata",
        /// `192.0.0.0/24`, `2001::/23` (RFC 6890): protocol assignments.
        ProtocolAssignment = "protocol_assignment",
        /// `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20` (RFC 5737, 3849, 9637).
        Documentation = "documentation",
        /// `198.18.0.0/15`, `2001:2::/48` (RFC 2544, RFC 5180).
        Benchmarking = "benchmarking",
        /// `224.0.0.0/4`, `ff00::/8`.
        Multicast = "multicast",
        /// `255.255.255.255`.
        Broadcast = "broadcast",
        /// `240.0.0.0/4` and every IPv6 address outside global unicast `2000::/3` that is in no other class.
        Reserved = "reserved",
        /// `fc00::/7` (RFC 4193).
        UniqueLocal = "unique_local",
        /// `fec0::/10` (RFC 3879).
        SiteLocal = "site_local",
        /// `100::/64` (RFC 6666).
        Discard = "discard",
        /// An address of this server that is no relayed address.
        OwnAddress = "own_address",
    }
}

/// The operator's rules over the built-in list.
#[derive(Clone, Debug, Default)]
pub struct PeerFilter {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

impl PeerFilter {
    /// `allow` re-opens parts of the built-in list, `deny` closes anything. Both are matched against the reduced address;
    /// a rule for an IPv6 transition prefix itself (say `2002::/16`) is matched against the address as it came.
    pub fn new(allow: impl IntoIterator<Item = IpNet>, deny: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            allow: allow.into_iter().collect(),
            deny: deny.into_iter().collect(),
        }
    }

    /// Judges a peer for traffic: address and port.
    pub fn judge(&self, peer: SocketAddr) -> Result<(), PeerClass> {
        if peer.port() == 0 {
            return Err(PeerClass::PortZero);
        }
        self.judge_ip(peer.ip())
    }

    /// Judges a peer's address alone, as CreatePermission does (RFC 8656 §10.2: the port is ignored).
    pub fn judge_ip(&self, ip: IpAddr) -> Result<(), PeerClass> {
        let reduced = reduce(ip);
        if self.denies(ip, reduced) {
            return Err(PeerClass::DenyRule);
        }
        if self.allows(reduced) {
            return Ok(());
        }
        match class_of(reduced) {
            Some(class) => Err(class),
            None => Ok(()),
        }
    }

    /// Whether a deny rule names the address.
    fn denies(&self, ip: IpAddr, reduced: IpAddr) -> bool {
        self.deny.iter().any(|net| net.contains(&ip) || net.contains(&reduced))
    }

    /// Whether a deny rule names the address, for addresses whose other rules are not judged here (hairpin).
    pub(super) fn denied_by_rule(&self, ip: IpAddr) -> bool {
        self.denies(ip, reduce(ip))
    }

    /// Whether an allow rule names the address. Only the reduced form counts: `2002::/16` must not open 10.0.0.0/8.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let reduced = reduce(ip);
        self.allow.iter().any(|net| net.contains(&reduced))
    }
}

/// Deepest nesting that is followed. Each step takes an IPv4 address out of an IPv6 one, so one step ends it; the bound is
/// for the reader.
const MAX_REDUCTIONS: usize = 4;

/// The IPv4 address inside an IPv6 transition address, or the address itself.
pub fn reduce(ip: IpAddr) -> IpAddr {
    let mut ip = ip;
    for _ in 0..MAX_REDUCTIONS {
        let IpAddr::V6(v6) = ip else { break };
        let Some(v4) = embedded(v6) else { break };
        ip = IpAddr::V4(v4);
    }
    ip
}

/// Mapped (RFC 4291 §2.5.5.2), compatible (§2.5.5.1), translated (`::ffff:0:a.b.c.d`, RFC 2765), NAT64 (RFC 6052; the
/// local-use prefix of RFC 8215 in its /96 form), 6to4 (RFC 3056), Teredo (RFC 4380: the client, obfuscated), ISATAP (RFC 5214).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let tail = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(tail),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, ..] => Some(tail),
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] | [0x0064, 0xff9b, 1, ..] => Some(tail),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(tail))),
        [_, _, _, _, 0x0000 | 0x0200, 0x5efe, ..] => Some(tail),
        _ => None,
    }
}

/// The built-in list. `None`: public unicast.
fn class_of(ip: IpAddr) -> Option<PeerClass> {
    match ip {
        IpAddr::V4(v4) => class_of_v4(v4),
        IpAddr::V6(v6) => class_of_v6(v6),
    }
}

fn class_of_v4(v4: Ipv4Addr) -> Option<PeerClass> {
    Some(match v4.octets() {
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [192, 0, 0, 192] => PeerClass::Metadata,
        [0, ..] => PeerClass::Unspecified,
        [127, ..] => PeerClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => PeerClass::Private,
        [100, 64..=127, ..] => PeerClass::CarrierGrade,
        [169, 254, ..] => PeerClass::LinkLocal,
        [192, 0, 0, _] => PeerClass::ProtocolAssignment,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => PeerClass::Documentation,
        [198, 18..=19, ..] => PeerClass::Benchmarking,
        [224..=239, ..] => PeerClass::Multicast,
        [255, 255, 255, 255] => PeerClass::Broadcast,
        [240..=255, ..] => PeerClass::Reserved,
        _ => return None,
    })
}

fn class_of_v6(v6: Ipv6Addr) -> Option<PeerClass> {
    Some(match v6.segments() {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => PeerClass::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => PeerClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => PeerClass::Loopback,
        [0x0100, 0, 0, 0, ..] => PeerClass::Discard,
        [0xfc00..=0xfdff, ..] => PeerClass::UniqueLocal,
        [0xfe80..=0xfebf, ..] => PeerClass::LinkLocal,
        [0xfec0..=0xfeff, ..] => PeerClass::SiteLocal,
        [0xff00..=0xffff, ..] => PeerClass::Multicast,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => PeerClass::Documentation,
        [0x2001, 0x0002, 0, ..] => PeerClass::Benchmarking,
        [0x2001, 0..=0x01ff, ..] => PeerClass::ProtocolAssignment,
        [0x2000..=0x3fff, ..] => return None,
        _ => PeerClass::Reserved,
    })
}
