//! RFC 6062 §5.4: receiving a ConnectionBind request.

use std::time::Duration;

use meetpoint::turn::connection::BIND_TIMEOUT;
use meetpoint::turn::{AuthFailure, ConnectionEnd, Ledger, Reservations, Shard, Transport};
use meetpoint::wire::attribute::ConnectionId;
use meetpoint::wire::{Class, Method};

use crate::relay::{Client, Lab, PEER};
use crate::rfc6062_client::{A, DATA, PEER_2, allocate_tcp, allocated, ask, bind, connect, open_config};

#[test]
fn the_connection_that_it_comes_by_is_joined_with_the_peers() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut lab = Lab::new(open_config());
        let (mut client, _) = allocated(&mut lab);
        let (key, id) = connect(&mut client, &mut lab, PEER);
        let mut data = client.again_from(DATA);
        data.five_tuple.transport = transport;
        let reply = bind(&mut data, &mut lab, id);
        assert_eq!(reply.code(), 0);
        assert!(data.signed(&reply));
        assert_eq!(lab.connections[&key], Some(data.five_tuple));
        let stats = lab.server.stats();
        assert_eq!((stats.connections_pending, stats.connections_active), (0, 1));
        assert_eq!(lab.ledger.connections(), (1, 0));
        // It is no longer in a hurry.
        lab.advance(BIND_TIMEOUT * 2);
        assert_eq!(lab.connections.len(), 1);
    }
}

#[test]
fn it_is_challenged_like_any_request() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let (_, id) = connect(&mut client, &mut lab, PEER);
    let mut data = client.again_from(DATA);
    // The nonce of the control connection was given to another address.
    data.nonce = client.nonce.clone();
    let reply = bind(&mut data, &mut lab, id);
    assert_eq!(reply.code(), 438);
    data.nonce = reply.nonce();
    data.password = "guess".to_owned();
    assert_eq!(bind(&mut data, &mut lab, id).code(), 401);
    data.password = client.password;
    assert_eq!(bind(&mut data, &mut lab, id).code(), 0);
}

#[test]
fn a_client_that_came_by_no_stream_is_refused() {
    for transport in [Transport::Udp, Transport::Dtls, Transport::WebSocket] {
        let mut lab = Lab::new(open_config());
        let (mut client, _) = allocated(&mut lab);
        let (_, id) = connect(&mut client, &mut lab, PEER);
        let mut data = client.again_from(DATA);
        data.five_tuple.transport = transport;
        assert_eq!(bind(&mut data, &mut lab, id).code(), 400);
        assert_eq!(lab.server.stats().connections_pending, 1);
    }
}

#[test]
fn without_an_id_of_a_connection_that_waits_it_is_refused() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let (key, id) = connect(&mut client, &mut lab, PEER);
    let mut data = client.again_from(DATA);
    assert_eq!(bind(&mut data, &mut lab, ConnectionId(id.0 ^ 1)).code(), 400);
    assert_eq!(data.call(&mut lab, Method::CONNECTION_BIND, |_| {}).code(), 400);

    // One that is bound already, or was.
    assert_eq!(bind(&mut data, &mut lab, id).code(), 0);
    let mut late = client.again_from("192.0.2.1:4003");
    assert_eq!(bind(&mut late, &mut lab, id).code(), 400);
    lab.ended(key, ConnectionEnd::Finished);
    assert_eq!(bind(&mut late, &mut lab, id).code(), 400);

    // One whose time is up.
    let (_, id) = connect(&mut client, &mut lab, PEER);
    lab.advance(BIND_TIMEOUT);
    assert_eq!(bind(&mut late, &mut lab, id).code(), 400);
}

#[test]
fn it_must_come_with_the_credentials_of_the_control_connection() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let (_, id) = connect(&mut client, &mut lab, PEER);
    let mut eve = Client::with_expiry("192.0.2.66:1", "eve", Duration::from_secs(60)).over_tcp();
    assert_eq!(bind(&mut eve, &mut lab, id).code(), 441);
    assert_eq!(lab.server.stats().auth_failures[AuthFailure::WrongUser.index()], 1);
    let mut data = client.again_from(DATA);
    assert_eq!(bind(&mut data, &mut lab, id).code(), 0);
}

#[test]
fn a_credential_that_expired_meanwhile_still_binds() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::with_expiry(A, "bob", Duration::from_secs(60)).over_tcp();
    allocate_tcp(&mut client, &mut lab);
    lab.advance(Duration::from_secs(120));
    let (_, id) = connect(&mut client, &mut lab, PEER);
    let mut data = client.again_from(DATA);
    assert_eq!(bind(&mut data, &mut lab, id).code(), 0);
}

#[test]
fn a_control_connection_cannot_become_a_data_connection() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let (_, id) = connect(&mut client, &mut lab, PEER);
    assert_eq!(bind(&mut client.clone(), &mut lab, id).code(), 400);
    let mut other = Client::new("192.0.2.9:1").over_tcp();
    allocate_tcp(&mut other, &mut lab);
    assert_eq!(bind(&mut other, &mut lab, id).code(), 400);
}

#[test]
fn what_is_not_connected_yet_cannot_be_bound() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let (_, id) = connect(&mut client, &mut lab, PEER);
    // Ids are not given away before the answer: this one is of another connection.
    assert!(ask(&mut client, &mut lab, PEER_2).is_none());
    let mut data = client.again_from(DATA);
    assert_eq!(bind(&mut data, &mut lab, ConnectionId(!id.0)).code(), 400);
}

#[test]
fn a_request_for_a_connection_of_another_shard_is_known_by_its_id() {
    let ledger = Ledger::new();
    let shard = |index| {
        let shard = Shard { index, count: 3 };
        Lab::shard(open_config(), shard, ledger.clone(), Reservations::new())
    };
    let mut labs = [shard(0), shard(1), shard(2)];
    let (mut client, _) = allocated(&mut labs[1]);
    let (_, id) = connect(&mut client, &mut labs[1], PEER);
    let mut data = client.again_from(DATA);
    for class in [Class::Request, Class::Indication] {
        let frame = data.bare(Method::CONNECTION_BIND, class, |builder| {
            builder.attribute(&id);
        });
        let found = labs.each_ref().map(|lab| lab.server.belongs_elsewhere(&frame));
        let expected = (class == Class::Request).then_some(1);
        assert_eq!(found, [expected, None, expected]);
    }
    let others = [
        data.bare(Method::CONNECTION_BIND, Class::Request, |_| {}),
        data.bare(Method::CONNECT, Class::Request, |builder| {
            builder.attribute(&id);
        }),
        b"\x00\x0b".to_vec(),
        Vec::new(),
    ];
    for frame in others {
        assert_eq!(labs[0].server.belongs_elsewhere(&frame), None);
    }
    assert_eq!(labs[0].server.stats().packets_in(), 0, "looking counts nothing");
    // Where it does not belong it is refused; where it does it is carried out.
    assert_eq!(bind(&mut data.clone(), &mut labs[0], id).code(), 400);
    assert_eq!(bind(&mut data, &mut labs[1], id).code(), 0);
}
