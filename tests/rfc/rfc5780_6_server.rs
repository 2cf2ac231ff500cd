//! RFC 5780 §6: what a server with two addresses and two ports answers, from where, and how often.

use std::time::Duration;

use meetpoint::turn::{
    Config, DiscoveryAnswer, DiscoveryPlaces, DropReason, FiveTuple, Handled, ListenAddr, NatDiscovery, ServerAddr,
    Transport, Verdict,
};
use meetpoint::wire::attribute::{
    AlternateServer, ChangeRequest, MappedAddress, OtherAddress, Padding, ResponseOrigin, UnknownAttributes,
    XorMappedAddress,
};
use meetpoint::wire::{AttributeType, Class, MessageBuilder, Method};

use crate::relay::{Client, Lab, Reply, addr, config, five_tuple, ip};

pub(crate) const CLIENT: &str = "192.0.2.1:4001";
/// Where the four are bound, and what clients know them by: behind 1:1 NAT.
pub(crate) const BOUND: [&str; 2] = ["10.0.0.5", "10.0.0.6"];
const TOLD: [&str; 2] = ["20.9.9.9", "20.9.9.10"];
pub(crate) const PORTS: [u16; 2] = [3478, 3479];

pub(crate) fn discovery() -> NatDiscovery {
    let places = |bound: [&str; 2], told: [&str; 2]| DiscoveryPlaces {
        addrs: [0, 1].map(|at| ServerAddr {
            bind: ip(bound[at]),
            advertised: ip(told[at]),
        }),
        ports: PORTS,
    };
    NatDiscovery {
        places: vec![
            places(BOUND, TOLD),
            places(["fd00::5", "fd00::6"], ["2600:9::9", "2600:9::a"]),
        ],
        tcp: true,
        response_port: true,
        answers_per_second: 0,
    }
}

pub(crate) fn lab(discovery: NatDiscovery) -> Lab {
    Lab::new(Config {
        nat_discovery: Some(discovery),
        ..config()
    })
}

/// A client that sends to one of the four.
pub(crate) fn client_at(server: &str) -> Client {
    let mut client = Client::new(if server.starts_with('[') {
        "[2001:db8::7]:9"
    } else {
        CLIENT
    });
    client.five_tuple.server = ListenAddr(addr(server));
    client
}

/// The one answer to a Binding request, wherever it goes.
pub(crate) fn ask(lab: &mut Lab, client: &mut Client, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Reply {
    let request = client.bare(Method::BINDING, Class::Request, fill);
    lab.client(&client.five_tuple, &request);
    lab.reply()
}

fn change(change_ip: bool, change_port: bool) -> ChangeRequest {
    ChangeRequest { change_ip, change_port }
}

#[test]
fn the_answer_leaves_from_where_the_flags_say_and_names_the_other_address_whatever_they_say() {
    let mut lab = lab(discovery());
    for (a, p) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut client = client_at(&format!("{}:{}", BOUND[a], PORTS[p]));
        for (flags, from) in [
            (None, (a, p)),
            (Some(change(false, false)), (a, p)),
            (Some(change(true, false)), (1 - a, p)),
            (Some(change(false, true)), (a, 1 - p)),
            (Some(change(true, true)), (1 - a, 1 - p)),
        ] {
            let reply = ask(&mut lab, &mut client, |builder| {
                if let Some(flags) = flags {
                    builder.attribute(&flags);
                }
            });
            assert_eq!(reply.code(), 0);
            let expected = FiveTuple {
                server: ListenAddr(addr(&format!("{}:{}", BOUND[from.0], PORTS[from.1]))),
                ..client.five_tuple
            };
            assert_eq!(reply.to, expected, "{flags:?} at {a} {p}");
            let origin = addr(&format!("{}:{}", TOLD[from.0], PORTS[from.1]));
            assert_eq!(reply.find::<ResponseOrigin>().unwrap().0, origin);
            let other = addr(&format!("{}:{}", TOLD[1 - a], PORTS[1 - p]));
            assert_eq!(reply.find::<OtherAddress>().unwrap().0, other);
        }
    }
}

#[test]
fn both_forms_of_the_mapped_address_are_told_in_both_families() {
    let mut lab = lab(discovery());
    for (server, len, other) in [
        ("10.0.0.5:3478", 68, "20.9.9.10:3479"),
        ("[fd00::6]:3479", 116, "[2600:9::9]:3478"),
    ] {
        let mut client = client_at(server);
        let reply = ask(&mut lab, &mut client, |_| {});
        let seen = client.five_tuple.client.0;
        assert_eq!(reply.find::<MappedAddress>().unwrap().0, seen);
        assert_eq!(reply.find::<XorMappedAddress>().unwrap().0, seen);
        assert_eq!(reply.find::<OtherAddress>().unwrap().0, addr(other));
        assert_eq!(reply.bytes.len(), len);
        assert_eq!(reply.find::<AlternateServer>(), None);
    }
}

#[test]
fn without_a_second_address_the_attributes_are_unknown_and_the_answer_is_32_bytes() {
    let nowhere_else = ["10.0.0.5:3478", "10.0.0.6:80", "10.0.0.7:3478"];
    for (config, servers) in [
        (config(), &nowhere_else[..1]),
        (
            Config {
                nat_discovery: Some(discovery()),
                ..config()
            },
            &nowhere_else[1..],
        ),
    ] {
        let mut lab = Lab::new(config);
        for server in servers {
            let mut client = client_at(server);
            assert_eq!(ask(&mut lab, &mut client, |_| {}).bytes.len(), 32);
            for kind in [
                AttributeType::CHANGE_REQUEST,
                AttributeType::RESPONSE_PORT,
                AttributeType::PADDING,
            ] {
                let reply = ask(&mut lab, &mut client, |builder| {
                    builder.raw_attribute(kind, &[0, 0, 0, 6]);
                });
                assert_eq!((reply.code(), reply.to), (420, client.five_tuple));
                assert_eq!(reply.find::<UnknownAttributes>().unwrap().0.as_slice(), [kind]);
                assert!(!reply.has(AttributeType::OTHER_ADDRESS));
            }
        }
    }
}

#[test]
fn one_family_with_two_addresses_does_not_open_the_other() {
    let mut only_v4 = discovery();
    only_v4.places.truncate(1);
    let mut lab = lab(only_v4);
    let mut client = client_at("[fd00::5]:3478");
    let reply = ask(&mut lab, &mut client, |_| {});
    assert_eq!((reply.code(), reply.bytes.len()), (0, 44));
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&change(true, true));
    });
    assert_eq!(reply.code(), 420);
}

#[test]
fn a_tcp_client_learns_the_other_address_and_is_answered_on_its_connection_only() {
    let mut lab = lab(discovery());
    let mut client = client_at("10.0.0.5:3478");
    client.five_tuple.transport = Transport::Tcp;
    let reply = ask(&mut lab, &mut client, |_| {});
    assert_eq!(reply.find::<OtherAddress>().unwrap().0, addr("20.9.9.10:3479"));
    assert_eq!(reply.find::<ResponseOrigin>().unwrap().0, addr("20.9.9.9:3478"));
    for kind in [
        AttributeType::CHANGE_REQUEST,
        AttributeType::RESPONSE_PORT,
        AttributeType::PADDING,
    ] {
        let reply = ask(&mut lab, &mut client, |builder| {
            builder.raw_attribute(kind, &[0, 0, 0, 6]);
        });
        assert_eq!((reply.code(), reply.to), (420, client.five_tuple));
    }
}

#[test]
fn streams_that_listen_at_one_place_only_name_no_other() {
    let mut no_tcp = discovery();
    no_tcp.tcp = false;
    let mut lab = lab(no_tcp);
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls, Transport::WebSocket] {
        let mut client = client_at("10.0.0.5:3478");
        client.five_tuple.transport = transport;
        assert_eq!(ask(&mut lab, &mut client, |_| {}).bytes.len(), 32, "{transport:?}");
    }
}

#[test]
fn a_source_over_its_budget_gets_short_answers_and_nothing_from_elsewhere() {
    let mut strict = discovery();
    strict.answers_per_second = 2;
    let mut lab = lab(strict);
    let mut client = client_at("10.0.0.5:3478");
    for _ in 0..2 {
        assert_eq!(ask(&mut lab, &mut client, |_| {}).bytes.len(), 68);
    }
    // Another port of the same address draws on the same budget.
    client.five_tuple.client = five_tuple("192.0.2.1:4002").client;
    assert_eq!(ask(&mut lab, &mut client, |_| {}).bytes.len(), 32);
    for fill in [
        |builder: &mut MessageBuilder<'_>| _ = builder.attribute(&change(true, true)),
        |builder: &mut MessageBuilder<'_>| _ = builder.attribute(&change(false, false)),
        |builder: &mut MessageBuilder<'_>| _ = builder.attribute(&Padding(&[0; 1200])),
        |builder: &mut MessageBuilder<'_>| _ = builder.raw_attribute(AttributeType::RESPONSE_PORT, &[9, 9, 0, 0]),
    ] {
        let request = client.bare(Method::BINDING, Class::Request, fill);
        let handled = lab.client(&client.five_tuple, &request);
        assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::RateLimited)));
        assert!(lab.sent.is_empty());
    }
    let counted = lab.server.stats().discovery_answers;
    assert_eq!(
        (
            counted[DiscoveryAnswer::Told.index()],
            counted[DiscoveryAnswer::Short.index()]
        ),
        (2, 1)
    );
    let mut neighbour = client_at("10.0.0.5:3478");
    neighbour.five_tuple.client = five_tuple("192.0.2.2:4001").client;
    assert_eq!(ask(&mut lab, &mut neighbour, |_| {}).bytes.len(), 68);
    lab.advance(Duration::from_secs(1));
    assert_eq!(ask(&mut lab, &mut client, |_| {}).bytes.len(), 68);
}

#[test]
fn turn_at_the_alternate_places_is_turn_as_anywhere() {
    let mut lab = lab(discovery());
    let mut client = client_at("10.0.0.6:3479");
    client.allocate(&mut lab);
    assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    // The attributes belong to Binding alone.
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(&change(true, true));
    });
    assert_eq!((reply.code(), reply.to), (420, client.five_tuple));
}
