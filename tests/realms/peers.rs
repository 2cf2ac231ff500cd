//! Whom a realm may reach: its own rules in place of the default realm's, for every way to a peer.

use meetpoint::turn::{Config, DropReason, Handled, PeerFilter, RealmConfig, Verdict};
use meetpoint::wire::Method;
use meetpoint::wire::attribute::{RequestedTransport, XorPeerAddress};

use crate::relay::{Client, Lab, RELAY_V4, SECRET, addr, to_peer};
use crate::two::{acme, globex, minted, of_acme, of_globex, with};

const PRIVATE: &str = "10.1.2.3:7000";
const PUBLIC: &str = "20.0.0.1:7000";
const DENIED: &str = "20.0.0.2:7000";

fn filter(allow: &[&str], deny: &[&str]) -> PeerFilter {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    PeerFilter::new(nets(allow), nets(deny))
}

/// Acme may reach a private network and not one public host; the default realm may reach another private network.
fn ruled() -> Config {
    let acme = RealmConfig {
        peers: filter(&["10.0.0.0/8"], &["20.0.0.2/32"]),
        ..acme()
    };
    Config {
        peers: filter(&["192.168.0.0/16"], &[]),
        ..with([acme, globex()])
    }
}

fn clients() -> [(Client, [bool; 4]); 3] {
    // PRIVATE, 192.168.0.1, PUBLIC, DENIED
    [
        (of_acme("192.0.2.1:1", "u"), [true, false, true, false]),
        (of_globex("192.0.2.1:2", "u"), [false, false, true, true]),
        (minted("192.0.2.1:3", SECRET, "u"), [false, true, true, true]),
    ]
}

#[test]
fn each_realm_has_its_own_rules_at_create_permission_channel_bind_and_send() {
    let mut lab = Lab::new(ruled());
    for (mut client, open) in clients() {
        client.allocate(&mut lab);
        for (index, (peer, open)) in [PRIVATE, "192.168.0.1:7000", PUBLIC, DENIED]
            .into_iter()
            .zip(open)
            .enumerate()
        {
            let code = if open { 0 } else { 403 };
            assert_eq!(client.permit(&mut lab, &[peer]), code, "{} {peer}", client.username);
            assert_eq!(client.bind(&mut lab, 0x4000 + index as u16, peer), code);
            let handled = client.send_to(&mut lab, peer, b"x");
            if open {
                assert_eq!(to_peer(handled), peer.parse().unwrap());
            } else {
                assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoPermission)));
            }
        }
    }
}

#[test]
fn new_rules_of_a_realm_close_what_its_clients_had_open_and_nobody_elses() {
    let mut lab = Lab::new(with([acme(), globex()]));
    let mut acme_client = of_acme("192.0.2.1:1", "u");
    let mut globex_client = of_globex("192.0.2.1:2", "u");
    for client in [&mut acme_client, &mut globex_client] {
        client.allocate(&mut lab);
        for (number, peer) in [(0x4000, DENIED), (0x4001, PUBLIC)] {
            assert_eq!(client.bind(&mut lab, number, peer), 0);
        }
    }
    lab.server.reconfigure(std::sync::Arc::new(ruled()));
    let dropped = |reason| Handled::Done(Verdict::Dropped(reason));
    assert_eq!(
        acme_client.send_on(&mut lab, 0x4000, b"x"),
        dropped(DropReason::NoChannel)
    );
    assert_eq!(
        acme_client.send_to(&mut lab, DENIED, b"x"),
        dropped(DropReason::NoPermission)
    );
    for handled in [
        acme_client.send_on(&mut lab, 0x4001, b"x"),
        globex_client.send_on(&mut lab, 0x4000, b"x"),
        globex_client.send_to(&mut lab, DENIED, b"x"),
    ] {
        to_peer(handled);
    }
    assert_eq!(lab.server.stats().channels_revoked, 1);
    // The same rules again change nothing.
    lab.server.reconfigure(std::sync::Arc::new(ruled()));
    assert_eq!(lab.server.stats().permissions_revoked, 1);
}

#[test]
fn a_rule_of_the_realm_closes_hairpin_and_leaves_that_of_others_open() {
    let closed = RealmConfig {
        peers: filter(&[], &[&format!("{RELAY_V4}/32")]),
        ..acme()
    };
    let mut lab = Lab::new(with([closed, globex()]));
    let mut acme_client = of_acme("192.0.2.1:1", "u");
    let mut globex_client = of_globex("192.0.2.1:2", "u");
    let mut default = minted("192.0.2.1:3", SECRET, "u");
    let at = [&mut acme_client, &mut globex_client, &mut default].map(|client| client.allocate(&mut lab).to_string());
    for peer in [&at[1], &at[2]] {
        assert_eq!(acme_client.permit(&mut lab, &[peer]), 403);
        assert_eq!(acme_client.bind(&mut lab, 0x4000, peer), 403);
    }
    // Between two realms as between two clients of one: each permits the other.
    assert_eq!(globex_client.permit(&mut lab, &[&at[2]]), 0);
    assert_eq!(
        globex_client.send_to(&mut lab, &at[2], b"x"),
        Handled::Done(Verdict::Dropped(DropReason::NoPermission))
    );
    assert_eq!(default.permit(&mut lab, &[&at[1]]), 0);
    assert!(matches!(
        globex_client.send_to(&mut lab, &at[2], b"x"),
        Handled::Forward(_)
    ));
}

#[test]
fn the_servers_own_services_stay_closed_to_a_realm_that_opens_private_networks() {
    // 10.0.0.5 is where relay sockets are bound; nobody holds port 8000 there, and the rule of acme opens all of 10/8.
    let mut lab = Lab::new(ruled());
    let mut globex_client = of_globex("192.0.2.1:1", "u");
    globex_client.allocate(&mut lab);
    for peer in [format!("{RELAY_V4}:8000"), "10.0.0.5:8000".to_owned()] {
        assert_eq!(globex_client.bind(&mut lab, 0x4000, &peer), 403);
    }
}

#[test]
fn connect_is_judged_by_the_rules_of_the_realm_too() {
    let mut lab = Lab::new(Config {
        tcp_relay: true,
        ..ruled()
    });
    for (client, open) in clients() {
        let mut client = client.over_tcp();
        client.challenge(&mut lab);
        let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::TCP);
        });
        assert_eq!(reply.code(), 0);
        for (peer, open) in [PRIVATE, "192.168.0.1:7000", PUBLIC, DENIED].into_iter().zip(open) {
            let request = client.request(Method::CONNECT, |builder| {
                builder.attribute(&XorPeerAddress(addr(peer)));
            });
            lab.client(&client.five_tuple, &request);
            if open {
                assert!(
                    lab.sent.is_empty(),
                    "{} {peer}: a connection is asked for",
                    client.username
                );
                lab.connected(Ok(()));
                assert_eq!(lab.reply().code(), 0);
            } else {
                assert_eq!(lab.reply().code(), 403, "{} {peer}", client.username);
            }
        }
    }
}
