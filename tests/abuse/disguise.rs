//! Every spelling of every closed address, for every operation that names a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use meetpoint::turn::{Config, Handled, PeerClass, PeerFilter, Verdict};
use meetpoint::wire::attribute::{
    AdditionalAddressFamily, AddressFamily, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
};
use meetpoint::wire::{AttributeType, Class, Message, MessageBuilder, Method};

use crate::relay::{Client, Lab, RELAY_V4, addr, config};

/// What names a peer, and must judge it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    CreatePermission,
    /// Behind an address that is allowed: one must not vouch for the other.
    CreatePermissionBehindAnother,
    ChannelBind,
    /// A Send indication without a permission, and one of a client that asked for one in vain.
    Send,
    /// RFC 6062.
    Connect,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [
        Self::CreatePermission,
        Self::CreatePermissionBehindAnother,
        Self::ChannelBind,
        Self::Send,
        Self::Connect,
    ];
}

/// An IPv4 address inside an IPv6 one.
type Disguise = fn(Ipv4Addr) -> Ipv6Addr;

/// Each way there is.
const DISGUISES: [(&str, Disguise); 13] = [
    ("mapped (RFC 4291)", |v4| v4.to_ipv6_mapped()),
    ("compatible (RFC 4291)", |v4| with_tail([0, 0, 0, 0, 0, 0], v4)),
    ("translated (RFC 2765)", |v4| with_tail([0, 0, 0, 0, 0xffff, 0], v4)),
    ("NAT64 (RFC 6052)", |v4| with_tail([0x64, 0xff9b, 0, 0, 0, 0], v4)),
    ("NAT64, local /96 (RFC 8215)", |v4| {
        with_tail([0x64, 0xff9b, 1, 0, 0, 0], v4)
    }),
    ("NAT64, local /48 (RFC 8215)", |v4| {
        let [a, b, c, d] = v4.octets();
        let two = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::from([0x64, 0xff9b, 1, two(a, b), two(0, c), two(d, 0), 0, 0])
    }),
    ("NAT64, local /56 (RFC 8215)", |v4| {
        let [a, b, c, d] = v4.octets();
        let two = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::from([0x64, 0xff9b, 1, two(7, a), two(0, b), two(c, d), 0, 0])
    }),
    ("NAT64, local /64 (RFC 8215)", |v4| {
        let [a, b, c, d] = v4.octets();
        let two = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::from([0x64, 0xff9b, 1, 7, two(0, a), two(b, c), two(d, 0), 0])
    }),
    ("6to4 (RFC 3056)", |v4| {
        let [a, b, c, d] = v4.octets();
        let two = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::from([0x2002, two(a, b), two(c, d), 0, 0, 0, 0, 1])
    }),
    ("Teredo (RFC 4380)", |v4| {
        with_tail([0x2001, 0, 0x1234, 0x5678, 0, 0], Ipv4Addr::from(!u32::from(v4)))
    }),
    ("ISATAP (RFC 5214)", |v4| with_tail([0x2600, 1, 2, 3, 0, 0x5efe], v4)),
    ("ISATAP, public (RFC 5214)", |v4| {
        with_tail([0x2600, 1, 2, 3, 0x200, 0x5efe], v4)
    }),
    ("ISATAP of the link (RFC 5214)", |v4| {
        with_tail([0xfe80, 0, 0, 0, 0, 0x5efe], v4)
    }),
];

fn with_tail(head: [u16; 6], v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = head;
    let tail = u32::from(v4);
    Ipv6Addr::from([a, b, c, d, e, f, (tail >> 16) as u16, tail as u16])
}

/// All spellings of an IPv4 address, with what is said of them.
pub(crate) fn spellings(v4: Ipv4Addr) -> Vec<(&'static str, IpAddr)> {
    let mut all = vec![("as it is", IpAddr::V4(v4))];
    for (name, disguise) in DISGUISES {
        all.push((name, IpAddr::V6(disguise(v4))));
    }
    all
}

/// What a client can have of relayed addresses, in both families: for UDP, and for TCP where the operator opened that.
pub(crate) struct Clients {
    udp: Client,
    tcp: Option<[Client; 2]>,
}

impl Deref for Clients {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.udp
    }
}

impl DerefMut for Clients {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.udp
    }
}

/// The configuration of the tests, with TCP allocations opened: nothing else is.
pub(crate) fn with_tcp() -> Config {
    Config {
        tcp_relay: true,
        ..config()
    }
}

/// Clients with relayed addresses of both families.
pub(crate) fn dual(lab: &mut Lab) -> Clients {
    let mut number = 0;
    let tcp = [AddressFamily::Ipv4, AddressFamily::Ipv6].map(|family| {
        number += 1;
        let mut client = Client::with_expiry("192.0.2.1:4001", "tom", Duration::from_secs(36_000)).over_tcp();
        client.five_tuple.client.0.set_port(4100 + number);
        client.challenge(lab);
        let reply = client.call(lab, Method::ALLOCATE, |builder| {
            builder
                .attribute(&RequestedTransport::TCP)
                .attribute(&RequestedAddressFamily(family.value()));
        });
        (reply.code(), client)
    });
    let opened = tcp.iter().all(|(code, _)| *code == 0);
    assert!(opened || tcp.iter().all(|(code, _)| *code == 442));
    Clients {
        udp: dual_udp(lab),
        tcp: opened.then(|| tcp.map(|(_, client)| client)),
    }
}

fn dual_udp(lab: &mut Lab) -> Client {
    let mut client = Client::with_expiry("192.0.2.1:4001", "bob", Duration::from_secs(36_000));
    let reply = client.allocate_with(lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    assert_eq!(reply.code(), 0);
    client
}

/// Tries an operation; the error code, or `None` for an indication, which is not answered.
pub(crate) fn attempt(lab: &mut Lab, clients: &mut Clients, operation: Operation, peer: SocketAddr) -> Option<u16> {
    let name = |builder: &mut MessageBuilder<'_>| {
        builder.attribute(&XorPeerAddress(peer));
    };
    let client = &mut clients.udp;
    let reply = match operation {
        Operation::CreatePermission => client.call(lab, Method::CREATE_PERMISSION, name),
        Operation::CreatePermissionBehindAnother => client.call(lab, Method::CREATE_PERMISSION, |builder| {
            builder.attribute(&XorPeerAddress(addr("20.0.0.1:1")));
            name(builder);
        }),
        Operation::ChannelBind => client.call(lab, Method::CHANNEL_BIND, |builder| {
            builder.raw_attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 0x01, 0, 0]);
            name(builder);
        }),
        Operation::Connect => {
            let family = usize::from(peer.is_ipv6());
            let client = clients.tcp.as_mut().map_or(client, |tcp| &mut tcp[family]);
            let request = client.request(Method::CONNECT, name);
            lab.client(&client.five_tuple, &request);
            assert!(lab.connects.is_empty(), "{peer} is connected to");
            lab.reply()
        }
        Operation::Send => {
            let indication = client.bare(Method::SEND, Class::Indication, |builder| {
                name(builder);
                builder.raw_attribute(AttributeType::DATA, b"let me in");
            });
            let handled = lab.client(&client.five_tuple, &indication);
            assert!(
                matches!(handled, Handled::Done(Verdict::Dropped(_))),
                "{peer} was reached by Send: {handled:?}"
            );
            assert!(lab.sent.is_empty(), "an indication was answered");
            return None;
        }
    };
    Some(reply.code())
}

/// Every operation is refused, and leaves nothing behind.
pub(crate) fn assert_closed(lab: &mut Lab, client: &mut Clients, peer: SocketAddr, what: &str) {
    for operation in Operation::ALL {
        let before: u64 = lab.server.stats().denied_peers.iter().sum();
        let code = attempt(lab, client, operation, peer);
        match operation {
            Operation::Send => {}
            // Refused before the peer is looked at: nobody has anything to connect with.
            Operation::Connect if client.tcp.is_none() => assert_eq!(code, Some(437), "{what}: {peer}"),
            _ => {
                assert_eq!(code, Some(403), "{what}: {peer} by {operation:?}");
                let after: u64 = lab.server.stats().denied_peers.iter().sum();
                assert_eq!(after, before + 1, "{what}: {peer} by {operation:?} was not counted");
            }
        }
    }
    let stats = lab.server.stats();
    let left = (stats.permissions_active, stats.channels_active, stats.relayed);
    assert_eq!(left, (0, 0, 0), "{what}: {peer} left something behind");
}

/// What relays are abused for, by class; our own addresses come from the configuration of the tests.
const CLOSED: [(&str, PeerClass); 22] = [
    ("0.0.0.0", PeerClass::Unspecified),
    ("0.1.2.3", PeerClass::Unspecified),
    ("127.0.0.1", PeerClass::Loopback),
    ("127.255.255.254", PeerClass::Loopback),
    ("10.0.0.1", PeerClass::Private),
    ("10.0.0.5", PeerClass::OwnAddress),
    ("172.16.0.1", PeerClass::Private),
    ("172.31.255.255", PeerClass::Private),
    ("192.168.1.1", PeerClass::Private),
    ("100.64.0.1", PeerClass::CarrierGrade),
    ("169.254.1.1", PeerClass::LinkLocal),
    ("169.254.169.254", PeerClass::Metadata),
    ("169.254.170.2", PeerClass::Metadata),
    ("100.100.100.200", PeerClass::Metadata),
    ("168.63.129.16", PeerClass::Metadata),
    ("192.0.0.192", PeerClass::Metadata),
    ("192.0.0.8", PeerClass::ProtocolAssignment),
    ("203.0.113.7", PeerClass::Documentation),
    ("198.18.0.1", PeerClass::Benchmarking),
    ("224.0.0.251", PeerClass::Multicast),
    ("240.0.0.1", PeerClass::Reserved),
    ("255.255.255.255", PeerClass::Broadcast),
];

const CLOSED_V6: [(&str, PeerClass); 16] = [
    ("::", PeerClass::Unspecified),
    ("::1", PeerClass::Loopback),
    ("fe80::1", PeerClass::LinkLocal),
    ("fec0::1", PeerClass::SiteLocal),
    ("fd00:ec2::254", PeerClass::Metadata),
    ("fd20:ce::254", PeerClass::Metadata),
    ("fd00::5", PeerClass::OwnAddress),
    ("fd12:3456::1", PeerClass::UniqueLocal),
    ("fc00::1", PeerClass::UniqueLocal),
    ("ff02::1", PeerClass::Multicast),
    ("ff0e::fb", PeerClass::Multicast),
    ("2001:db8::1", PeerClass::Documentation),
    ("3fff::1", PeerClass::Documentation),
    ("2001:2::1", PeerClass::Benchmarking),
    ("100::1", PeerClass::Discard),
    ("4000::1", PeerClass::Reserved),
];

#[test]
fn abuse_internal_networks_are_closed_to_every_operation_by_default() {
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for (ip, class) in CLOSED.into_iter().chain(CLOSED_V6) {
        let before = lab.server.stats().denied_peers[class.index()];
        let peer = SocketAddr::new(ip.parse().unwrap(), 80);
        assert_closed(&mut lab, &mut client, peer, "by default");
        assert!(
            lab.server.stats().denied_peers[class.index()] >= before + 3,
            "{ip} is not counted as {class:?}"
        );
        // What is refused without a look at credentials has a bound for each second.
        lab.advance(Duration::from_secs(1));
    }
}

#[test]
fn abuse_no_disguise_opens_a_closed_address_to_any_operation() {
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for (ip, _) in CLOSED {
        lab.advance(Duration::from_secs(1));
        for (disguise, spelled) in spellings(ip.parse().unwrap()) {
            assert_closed(&mut lab, &mut client, SocketAddr::new(spelled, 80), disguise);
        }
    }
}

/// The server's own public address, at a port that is no relayed address: listeners, the web server, anything.
#[test]
fn abuse_no_disguise_opens_the_servers_own_address() {
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for (disguise, spelled) in spellings(RELAY_V4.parse().unwrap()) {
        for port in [22, 80, 443, 3478, 8000] {
            let peer = SocketAddr::new(spelled, port);
            assert_eq!(
                attempt(&mut lab, &mut client, Operation::ChannelBind, peer),
                Some(403),
                "{disguise}: {peer}"
            );
            attempt(&mut lab, &mut client, Operation::Send, peer);
        }
    }
    assert_eq!(lab.server.stats().channels_active, 0);
}

/// An allow rule names what it opens; nothing else is opened by it in another spelling.
#[test]
fn abuse_an_allow_rule_opens_no_transition_prefix_that_carries_something_else() {
    let prefixes = [
        "2002::/16",
        "64:ff9b::/96",
        "2001::/32",
        "::/96",
        "::ffff:0:0/96",
        "2600::/16",
    ];
    let peers = PeerFilter::new(prefixes.map(|net| net.parse().unwrap()), []);
    let mut lab = Lab::new(Config { peers, ..with_tcp() });
    let mut client = dual(&mut lab);
    for inside in ["127.0.0.1", "192.168.1.1", "169.254.169.254"] {
        for (disguise, spelled) in spellings(inside.parse().unwrap()) {
            let v6 = matches!(spelled, IpAddr::V6(_));
            assert_closed(&mut lab, &mut client, SocketAddr::new(spelled, 80), disguise);
            assert!(v6 || disguise == "as it is");
        }
    }
}

/// CVE-2026-27624: rules for IPv4 did not hold for `::ffff:a.b.c.d`.
#[test]
fn cve_2026_27624_a_deny_rule_holds_for_every_spelling_of_what_it_denies() {
    let peers = PeerFilter::new([], ["20.5.0.0/16".parse().unwrap()]);
    let mut lab = Lab::new(Config { peers, ..with_tcp() });
    let mut client = dual(&mut lab);
    for (disguise, spelled) in spellings("20.5.6.7".parse().unwrap()) {
        assert_closed(&mut lab, &mut client, SocketAddr::new(spelled, 80), disguise);
    }
    let denied = lab.server.stats().denied_peers[PeerClass::DenyRule.index()];
    assert!(denied >= 3 * 9, "{denied}");
    assert_eq!(client.permit(&mut lab, &["20.6.0.1:1"]), 0, "the neighbour is open");
}

/// CVE-2026-73212: v4-compatible, 6to4 and NAT64 forms passed on RFC 6062 CONNECT alone.
#[test]
fn cve_2026_73212_connect_judges_as_every_other_operation_does() {
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"] {
        for (disguise, spelled) in spellings(inside.parse().unwrap()) {
            let code = attempt(&mut lab, &mut client, Operation::Connect, SocketAddr::new(spelled, 80));
            assert_eq!(code, Some(403), "{disguise}: {spelled}");
        }
    }
}

/// CVE-2020-26262: `0.0.0.0`, `[::1]` and `[::]` reached loopback past the filter.
#[test]
fn cve_2020_26262_unspecified_addresses_do_not_stand_for_loopback() {
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for peer in [
        "0.0.0.0:3478",
        "[::]:3478",
        "[::1]:3478",
        "[::ffff:0.0.0.0]:3478",
        "[::ffff:127.0.0.1]:22",
        "0.0.0.1:1",
    ] {
        assert_closed(&mut lab, &mut client, addr(peer), "unspecified");
    }
}

/// CVE-2026-73213: an IPv6 range was compared component by component, so that what lies inside by one and outside by another was open.
#[test]
fn cve_2026_73213_an_ipv6_range_is_closed_from_its_first_address_to_its_last() {
    let peers = PeerFilter::new(
        [],
        [
            "2600:1:2:8000::/49".parse().unwrap(),
            "2600:5::ff00/120".parse().unwrap(),
        ],
    );
    let mut lab = Lab::new(Config { peers, ..with_tcp() });
    let mut client = dual(&mut lab);
    for inside in [
        "2600:1:2:8000::",
        "2600:1:2:8000::1",
        "2600:1:2:9000:0:ffff:0:1",
        "2600:1:2:8001:1:2:3:4",
        "2600:1:2:ffff::",
        "2600:1:2:ffff:ffff:ffff:ffff:ffff",
        "2600:5::ff00",
        "2600:5::ff80",
        "2600:5::ffff",
    ] {
        assert_closed(
            &mut lab,
            &mut client,
            SocketAddr::new(inside.parse().unwrap(), 80),
            "range",
        );
    }
    for outside in [
        "2600:1:2:7fff:ffff:ffff:ffff:ffff",
        "2600:1:3::",
        "2600:5::feff",
        "2600:5::1:ff00",
    ] {
        let peer = SocketAddr::new(outside.parse().unwrap(), 80).to_string();
        assert_eq!(client.permit(&mut lab, &[&peer]), 0, "{outside}");
    }
}

/// coturn #2016: of two XOR-PEER-ADDRESS attributes one was judged and the other used.
#[test]
fn coturn_2016_of_two_peers_the_one_that_is_used_is_the_one_that_is_judged() {
    let open = addr("20.0.0.1:7000");
    let closed = addr("192.168.1.1:80");
    let mut lab = Lab::new(with_tcp());
    let mut client = dual(&mut lab);
    for (number, first, second) in [(1, open, closed), (2, closed, open)] {
        let bound = client.call(&mut lab, Method::CHANNEL_BIND, |builder| {
            builder
                .raw_attribute(AttributeType::CHANNEL_NUMBER, &[0x40, number, 0, 0])
                .attribute(&XorPeerAddress(first))
                .attribute(&XorPeerAddress(second));
        });
        assert_eq!(bound.code(), if first == open { 0 } else { 403 });
        let indication = client.bare(Method::SEND, Class::Indication, |builder| {
            builder
                .attribute(&XorPeerAddress(first))
                .attribute(&XorPeerAddress(second))
                .raw_attribute(AttributeType::DATA, b"x");
        });
        match lab.client(&client.five_tuple, &indication) {
            Handled::Forward(forward) => {
                assert!(first == open && format!("{:?}", forward.to).contains("20.0.0.1:7000"));
            }
            Handled::Done(_) => assert_eq!(first, closed),
        }
        let permitted = client.call(&mut lab, Method::CREATE_PERMISSION, |builder| {
            builder
                .attribute(&XorPeerAddress(first))
                .attribute(&XorPeerAddress(second));
        });
        assert_eq!(permitted.code(), 403, "every address of CreatePermission is judged");
        assert!(Message::parse(&permitted.bytes).is_ok());
    }
}
