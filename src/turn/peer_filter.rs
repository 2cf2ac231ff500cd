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
        /// keep credentials. `168.63.129.16`, public by its number, is Azure's host as its virtual machines see it: resolver and
        /// agent channel.
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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

    /// Closes what `other` has deny rules for, too; `false` if all of it was closed by the same rules already.
    pub(super) fn deny_also(&mut self, other: &Self) -> bool {
        let new: Vec<_> = other.deny.iter().filter(|net| !self.deny.contains(net)).collect();
        if new.is_empty() {
            return false;
        }
        self.deny = self.deny.iter().chain(new).copied().collect();
        true
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

/// Mapped (RFC 4291 §2.5.5.2), compatible (§2.5.5.1), translated (`::ffff:0:a.b.c.d`, RFC 2765), NAT64 (RFC 6052), 6to4
/// (RFC 3056), Teredo (RFC 4380: the client, obfuscated), ISATAP (RFC 5214).
///
/// Not NAT64 under the local-use prefix `64:ff9b:1::/48` (RFC 8215): where the IPv4 address is in it depends on the length that
/// its network chose, so it stays what it is, which is not public.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let tail = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(tail),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, ..] => Some(tail),
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => Some(tail),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(tail))),
        // An interface identifier goes with any prefix, and what is no tunnel takes it for a plain address: a multicast group or
        // a neighbour on the link is not opened by a public address inside.
        [_, _, _, _, 0x0000 | 0x0200, 0x5efe, ..] if class_of_v6(v6).is_none() => Some(tail),
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
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            PeerClass::Metadata
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn judged(text: &str) -> Result<(), PeerClass> {
        PeerFilter::default().judge_ip(ip(text))
    }

    #[test]
    fn each_range_is_closed_from_its_first_address_to_its_last() {
        for (first, last, class) in [
            ("0.0.0.0", "0.255.255.255", PeerClass::Unspecified),
            ("127.0.0.0", "127.255.255.255", PeerClass::Loopback),
            ("10.0.0.0", "10.255.255.255", PeerClass::Private),
            ("172.16.0.0", "172.31.255.255", PeerClass::Private),
            ("192.168.0.0", "192.168.255.255", PeerClass::Private),
            ("100.64.0.0", "100.127.255.255", PeerClass::CarrierGrade),
            ("169.254.0.0", "169.254.255.255", PeerClass::LinkLocal),
            ("192.0.0.0", "192.0.0.255", PeerClass::ProtocolAssignment),
            ("192.0.2.0", "192.0.2.255", PeerClass::Documentation),
            ("198.51.100.0", "198.51.100.255", PeerClass::Documentation),
            ("203.0.113.0", "203.0.113.255", PeerClass::Documentation),
            ("198.18.0.0", "198.19.255.255", PeerClass::Benchmarking),
            ("224.0.0.0", "239.255.255.255", PeerClass::Multicast),
            ("240.0.0.0", "255.255.255.254", PeerClass::Reserved),
            ("255.255.255.255", "255.255.255.255", PeerClass::Broadcast),
            (
                "fc00::",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::UniqueLocal,
            ),
            (
                "fe80::",
                "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::LinkLocal,
            ),
            (
                "fec0::",
                "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::SiteLocal,
            ),
            (
                "ff00::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::Multicast,
            ),
            (
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::Documentation,
            ),
            (
                "3fff::",
                "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                PeerClass::Documentation,
            ),
            ("100::", "100::ffff:ffff:ffff:ffff", PeerClass::Discard),
            ("4000::", "5fff::1", PeerClass::Reserved),
            ("::1", "::1", PeerClass::Loopback),
            ("::", "::", PeerClass::Unspecified),
        ] {
            assert_eq!(judged(first), Err(class), "{first}");
            assert_eq!(judged(last), Err(class), "{last}");
        }
    }

    #[test]
    fn the_neighbours_of_closed_ranges_are_open() {
        for open in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "8.8.8.8",
            "2001:200::",
            "2001:db7::1",
            "2001:db9::1",
            "2600::1",
            "3ffe::1",
        ] {
            assert_eq!(judged(open), Ok(()), "{open}");
        }
    }

    #[test]
    fn metadata_services_are_a_class_of_their_own() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert_eq!(judged(address), Err(PeerClass::Metadata), "{address}");
        }
    }

    #[test]
    fn no_second_spelling_of_a_closed_address_passes() {
        for spelling in [
            "::ffff:192.168.0.1",
            "::192.168.0.1",
            "::ffff:0:192.168.0.1",
            "64:ff9b::192.168.0.1",
            "2002:c0a8:1::1",
            "2001:0:1:2:3:4:3f57:fffe",
            "2600::5efe:c0a8:1",
            "2600::200:5efe:c0a8:1",
        ] {
            assert_eq!(reduce(ip(spelling)), ip("192.168.0.1"), "{spelling}");
            assert_eq!(judged(spelling), Err(PeerClass::Private), "{spelling}");
        }
        for (spelling, class) in [
            ("::ffff:127.0.0.1", PeerClass::Loopback),
            ("::ffff:0.0.0.0", PeerClass::Unspecified),
            ("2002:7f00:1::", PeerClass::Loopback),
            ("64:ff9b::a00:1", PeerClass::Private),
            ("::ffff:255.255.255.255", PeerClass::Broadcast),
        ] {
            assert_eq!(judged(spelling), Err(class), "{spelling}");
        }
        assert_eq!(judged("::ffff:8.8.8.8"), Ok(()));
        assert_eq!(judged("64:ff9b::8.8.8.8"), Ok(()));
    }

    #[test]
    fn a_public_ipv4_address_inside_does_not_open_the_address_around_it() {
        for (address, class) in [
            // Interface identifiers of ISATAP, in addresses that are no public unicast.
            ("ff02::5efe:808:808", PeerClass::Multicast),
            ("ff02::200:5efe:808:808", PeerClass::Multicast),
            ("fe80::5efe:808:808", PeerClass::LinkLocal),
            ("fd00::5efe:808:808", PeerClass::UniqueLocal),
            ("2001:db8::5efe:808:808", PeerClass::Documentation),
            // A translator with a prefix of 48 bits sends this one to 10.0.0.1 (RFC 6052 §2.2).
            ("64:ff9b:1:a00:0:100:808:808", PeerClass::Reserved),
            ("64:ff9b:1::8.8.8.8", PeerClass::Reserved),
        ] {
            assert_eq!(judged(address), Err(class), "{address}");
        }
        let opened = PeerFilter::new(["8.8.8.8/32".parse().unwrap()], []);
        assert_eq!(opened.judge_ip(ip("ff02::5efe:808:808")), Err(PeerClass::Multicast));
        let opened = PeerFilter::new(["64:ff9b:1::/48".parse().unwrap()], []);
        assert_eq!(opened.judge_ip(ip("64:ff9b:1::8.8.8.8")), Ok(()));
    }

    #[test]
    fn a_deny_rule_beats_an_allow_rule_which_beats_the_list() {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        let filter = PeerFilter::new(
            nets(&["10.0.0.0/8", "fd00::/8", "2002::/16"]),
            nets(&["10.1.0.0/16", "64:ff9b::/96", "8.8.8.8/32"]),
        );
        for (address, judged) in [
            ("10.0.0.1", Ok(())),
            ("::ffff:10.0.0.1", Ok(())),
            ("10.1.0.1", Err(PeerClass::DenyRule)),
            ("::ffff:10.1.0.1", Err(PeerClass::DenyRule)),
            ("64:ff9b::9.9.9.9", Err(PeerClass::DenyRule)),
            ("8.8.8.8", Err(PeerClass::DenyRule)),
            ("2002:808:808::1", Err(PeerClass::DenyRule)),
            ("fd12::1", Ok(())),
            // Opening a transition prefix does not open what it carries.
            ("2002:c0a8:1::1", Err(PeerClass::Private)),
        ] {
            assert_eq!(filter.judge_ip(ip(address)), judged, "{address}");
        }
    }

    #[test]
    fn nobody_listens_on_port_zero() {
        let filter = PeerFilter::default();
        assert_eq!(filter.judge("8.8.8.8:0".parse().unwrap()), Err(PeerClass::PortZero));
        assert_eq!(filter.judge("8.8.8.8:1".parse().unwrap()), Ok(()));
        assert_eq!(filter.judge("10.0.0.1:1".parse().unwrap()), Err(PeerClass::Private));
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::HashSet<_> = PeerClass::ALL.iter().map(|class| class.as_label()).collect();
        assert_eq!(labels.len(), PeerClass::COUNT);
    }
}
