//! RFC 5780 §7: CHANGE-REQUEST, RESPONSE-PORT and PADDING, and the bounds of what they make the server send.

use meetpoint::turn::{ClientAddr, DiscoveryAnswer};
use meetpoint::wire::attribute::{ChangeRequest, Padding, ResponseOrigin, ResponsePort, XorMappedAddress};
use meetpoint::wire::{Attribute, AttributeType, TransactionId};

use crate::relay::{addr, ip};
use crate::rfc5780_6_server::{CLIENT, ask, client_at, discovery, lab};

const SERVER: &str = "10.0.0.5:3478";

#[test]
fn change_request_has_its_two_flags_where_the_rfc_draws_them_and_ignores_the_others() {
    let id = TransactionId([0; 12]);
    for (bits, change_ip, change_port) in [(0, false, false), (2, false, true), (4, true, false), (6, true, true)] {
        let wanted = ChangeRequest { change_ip, change_port };
        let mut value = [0xFF; 4];
        wanted.encode(&id, &mut value);
        assert_eq!(value, [0, 0, 0, bits]);
        for noise in [0, 0xF9] {
            assert_eq!(
                ChangeRequest::decode(&[noise, noise, noise, bits | noise], &id),
                Ok(wanted)
            );
        }
    }
}

#[test]
fn broken_attributes_are_400_and_are_answered_where_they_came_from() {
    let mut lab = lab(discovery());
    let mut client = client_at(SERVER);
    for (kind, value) in [
        (AttributeType::CHANGE_REQUEST, &[0, 0, 6][..]),
        (AttributeType::CHANGE_REQUEST, &[0, 0, 0, 6, 0]),
        (AttributeType::RESPONSE_PORT, &[1]),
        (AttributeType::RESPONSE_PORT, &[0, 0, 0, 0]),
    ] {
        let reply = ask(&mut lab, &mut client, |builder| {
            builder.raw_attribute(kind, value);
        });
        assert_eq!((reply.code(), reply.to), (400, client.five_tuple), "{kind:?} {value:?}");
    }
}

#[test]
fn the_answer_goes_to_the_response_port_of_the_same_address() {
    let mut lab = lab(discovery());
    let mut client = client_at(SERVER);
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&ResponsePort(5999));
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(reply.to.client, ClientAddr((ip("192.0.2.1"), 5999).into()));
    assert_eq!(reply.to.server, client.five_tuple.server);
    // What it says is still where the request came from.
    assert_eq!(reply.find::<XorMappedAddress>().unwrap().0, addr(CLIENT));
    assert_eq!(lab.server.stats().discovery_answers[DiscoveryAnswer::Moved.index()], 1);
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&ResponsePort(5999)).attribute(&ChangeRequest {
            change_ip: true,
            change_port: true,
        });
    });
    assert_eq!(reply.to.client.0, addr("192.0.2.1:5999"));
    assert_eq!(reply.to.server.0, addr("10.0.0.6:3479"));
    assert_eq!(reply.find::<ResponseOrigin>().unwrap().0, addr("20.9.9.10:3479"));
}

#[test]
fn an_operator_who_has_not_opened_the_response_port_has_it_refused() {
    let mut closed = discovery();
    closed.response_port = false;
    let mut lab = lab(closed);
    let mut client = client_at(SERVER);
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&ResponsePort(5999));
    });
    assert_eq!((reply.code(), reply.to), (420, client.five_tuple));
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&ChangeRequest::default());
    });
    assert_eq!(reply.code(), 0);
}

#[test]
fn padding_is_answered_with_as_much_padding_and_no_more_than_an_mtu() {
    let mut lab = lab(discovery());
    let mut client = client_at(SERVER);
    for (asked, answered) in [(0, 0), (1, 1), (1200, 1200), (1500, 1500), (1501, 1500), (1900, 1500)] {
        let reply = ask(&mut lab, &mut client, |builder| {
            builder.attribute(&Padding(&[7; 1900][..asked]));
        });
        assert_eq!(reply.code(), 0);
        assert_eq!(reply.find::<Padding<'_>>().unwrap().0.len(), answered, "{asked}");
        assert!(reply.bytes.len() <= 24 + 48 + answered.next_multiple_of(4));
    }
    assert!(!ask(&mut lab, &mut client, |_| {}).has(AttributeType::PADDING));
}

#[test]
fn padding_and_response_port_together_are_refused() {
    let mut lab = lab(discovery());
    let mut client = client_at(SERVER);
    let reply = ask(&mut lab, &mut client, |builder| {
        builder.attribute(&Padding(&[0; 64])).attribute(&ResponsePort(5999));
    });
    assert_eq!((reply.code(), reply.to), (400, client.five_tuple));
    assert_eq!(reply.bytes.len(), 28);
}
