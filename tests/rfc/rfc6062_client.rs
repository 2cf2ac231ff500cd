//! What the tests of RFC 6062 have in common: a client of TCP and its requests.

use std::net::SocketAddr;

use meetpoint::turn::{Config, ConnectionKey};
use meetpoint::wire::Method;
use meetpoint::wire::attribute::{ConnectionId, RequestedTransport, XorPeerAddress};

use crate::relay::{Client, Lab, Reply, addr, config};

pub(crate) const A: &str = "192.0.2.1:4001";
pub(crate) const DATA: &str = "192.0.2.1:4002";
pub(crate) const PEER_2: &str = "20.0.0.2:7000";

pub(crate) fn open_config() -> Config {
    Config {
        tcp_relay: true,
        ..config()
    }
}

/// A client by TCP that has a TCP allocation, and its relayed address.
pub(crate) fn allocated(lab: &mut Lab) -> (Client, SocketAddr) {
    let mut client = Client::new(A).over_tcp();
    let reply = allocate_tcp(&mut client, lab);
    assert_eq!(reply.code(), 0);
    let relayed = reply.relayed();
    (client, relayed)
}

pub(crate) fn allocate_tcp(client: &mut Client, lab: &mut Lab) -> Reply {
    if client.nonce.is_empty() {
        client.challenge(lab);
    }
    client.call(lab, Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::TCP);
    })
}

/// Sends a Connect request. It is not answered yet, unless it is refused.
pub(crate) fn ask(client: &mut Client, lab: &mut Lab, peer: &str) -> Option<Reply> {
    let request = client.request(Method::CONNECT, |builder| {
        builder.attribute(&XorPeerAddress(addr(peer)));
    });
    lab.client(&client.five_tuple, &request);
    (!lab.sent.is_empty()).then(|| lab.reply())
}

/// The error code that a Connect request is refused with at once.
pub(crate) fn refused(client: &mut Client, lab: &mut Lab, peer: &str) -> u16 {
    let reply = ask(client, lab, peer).expect("refused at once");
    assert!(client.signed(&reply));
    reply.code()
}

/// Connects to a peer that answers.
pub(crate) fn connect(client: &mut Client, lab: &mut Lab, peer: &str) -> (ConnectionKey, ConnectionId) {
    assert!(ask(client, lab, peer).is_none());
    let key = lab.connected(Ok(()));
    let reply = lab.reply();
    assert_eq!((reply.code(), reply.to), (0, client.five_tuple));
    assert!(client.signed(&reply));
    (key, reply.find::<ConnectionId>().expect("CONNECTION-ID"))
}

/// Sends ConnectionBind by a connection of its own, with a nonce for it.
pub(crate) fn bind(data: &mut Client, lab: &mut Lab, id: ConnectionId) -> Reply {
    if data.nonce.is_empty() {
        let bare = data.bare(Method::CONNECTION_BIND, meetpoint::wire::Class::Request, |builder| {
            builder.attribute(&id);
        });
        let reply = data.send(lab, &bare);
        assert_eq!(reply.code(), 401);
        data.nonce = reply.nonce();
    }
    data.call(lab, Method::CONNECTION_BIND, |builder| {
        builder.attribute(&id);
    })
}
