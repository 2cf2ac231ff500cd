//! `relay.external_ip_from`: what a STUN server sees is what peers are told.

use crate::program::{Server, free_port, run};

#[test]
fn the_address_that_a_stun_server_sees_is_the_relays_and_is_listed() {
    let stun = Server::start(&[]);
    // Seen from loopback, we are on loopback: not the address that the machine would have found by itself.
    let from = format!("stun:{}", stun.relay);
    let gone = format!("stun:127.0.0.1:{}", free_port());
    let server = Server::start(&[
        "--relay-external-ip-from",
        &format!("{gone},{from}"),
        "--ice-relay-addresses",
        "true",
        "--http-public-url",
        "https://meet.example.org",
    ]);
    assert!(server.log().contains("\"address\":\"127.0.0.1\""), "{}", server.log());
    // A machine with IPv6 lists that too, and this relay does not listen there: the check may say so.
    let (_, out, _) = run(&["check", &server.url(), "--json"]);
    assert!(
        out.contains(&format!("turn:{}", server.relay)) && !out.contains("meet.example.org"),
        "{out}"
    );
}

#[test]
fn a_relay_that_nobody_tells_its_address_does_not_start() {
    let gone = format!("stun:127.0.0.1:{}", free_port());
    let (code, _, err) = run(&[
        "serve",
        "--http-listen",
        "127.0.0.1:0",
        "--relay-listen",
        "127.0.0.1:0",
        "--relay-external-ip-from",
        &gone,
    ]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("no STUN server tells the external address") && err.contains(&gone),
        "{err}"
    );
}

#[test]
fn only_stun_over_udp_can_be_asked() {
    for url in ["turn:a.example", "stuns:a.example", "https://a.example", "a.example"] {
        let (code, _, err) = run(&["config", "check", "--relay-external-ip-from", url]);
        assert_eq!(code, 2, "{url}");
        assert!(err.contains("relay.external_ip_from") && err.contains("stun:"), "{err}");
    }
}
