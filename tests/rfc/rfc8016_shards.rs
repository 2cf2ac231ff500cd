//! RFC 8016 with several shards: the kernel puts a client that moved on whatever shard it likes.

use std::time::Duration;

use meetpoint::turn::{
    ClientAddr, Config, Destination, DropReason, FiveTuple, Handled, Ledger, ListenAddr, Reservations, Shard,
    Transport, Verdict,
};
use meetpoint::wire::attribute::{Lifetime, MobilityTicket};
use meetpoint::wire::{Method, PacketKind, demux};

use crate::relay::{Client, Lab, PEER, Reply, addr, channel_data, five_tuple, to_client};
use crate::rfc8016_mobility::{A, B, allocate, another_process, mobile, resume, ticket};

/// Two shards of one process, and the way between them.
struct Pair {
    shards: [Lab; 2],
}

impl Pair {
    fn new(config: &Config) -> Self {
        let (ledger, reservations) = (Ledger::new(), Reservations::new());
        let lab = |index| {
            Lab::shard(
                config.clone(),
                Shard { index, count: 2 },
                ledger.clone(),
                reservations.clone(),
            )
        };
        let mut shards = [lab(0), lab(1)];
        shards[1].now = shards[0].now;
        Self { shards }
    }

    /// A packet that reaches `shard`, and whatever it is handed over to.
    fn client(&mut self, shard: usize, from: &FiveTuple, datagram: &[u8]) -> Handled {
        let handled = self.shards[shard].client(from, datagram);
        let Handled::Forward(forward) = handled else {
            return handled;
        };
        let Destination::Owner { shard: owner, client } = forward.to else {
            return handled;
        };
        assert_eq!((usize::from(owner), client), (1 - shard, *from));
        assert_eq!(&datagram[forward.payload()], datagram);
        let owner = &mut self.shards[usize::from(owner)];
        let handled = owner.server.handle_handed_over(owner.now, shard as u16, from, datagram);
        owner.drain();
        owner.check();
        handled
    }

    fn call(&mut self, shard: usize, client: &Client, request: &[u8]) -> Reply {
        self.client(shard, &client.five_tuple, request);
        let [a, b] = &mut self.shards;
        let mut sent: Vec<_> = a.sent.drain(..).chain(b.sent.drain(..)).collect();
        assert_eq!(sent.len(), 1);
        let (to, bytes) = sent.remove(0);
        assert_eq!(to, client.five_tuple);
        Reply { to, bytes }
    }

    /// Refresh with a ticket through the listener of `shard`, as a client does it that has moved.
    fn resume(&mut self, shard: usize, client: &mut Client, ticket: &[u8]) -> Reply {
        for _ in 0..2 {
            let request = client.request(Method::REFRESH, |builder| {
                builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(ticket));
            });
            let reply = self.call(shard, client, &request);
            if !matches!(reply.code(), 401 | 438) {
                return reply;
            }
            client.nonce = reply.nonce();
        }
        panic!("a challenge after a challenge");
    }
}

#[test]
fn a_client_that_lands_on_another_shard_goes_on_with_its_allocation() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    let (relayed, first) = allocate(&mut pair.shards[0], &mut client);
    client.five_tuple = five_tuple(B);
    let reply = pair.resume(1, &mut client, &first);
    assert!(client.signed(&reply));
    let second = ticket(&reply);
    // The next packet already finds its way: data, requests, and what is for the client.
    let handled = pair.client(1, &client.five_tuple, &channel_data(0x4000, b"hi"));
    assert!(matches!(handled, Handled::Forward(forward) if matches!(forward.to, Destination::Peer { .. })));
    let relay = pair.shards[0].relay_at(relayed);
    let handled = pair.shards[0].peer(relay, addr(PEER), b"hello");
    assert_eq!(to_client(handled, b"hello").0, client.five_tuple);
    let request = client.request(Method::REFRESH, |builder| {
        builder.attribute(&Lifetime(600));
    });
    assert_eq!(pair.call(1, &client, &request).code(), 0);
    assert_eq!(
        (pair.shards[1].server.allocations(), pair.shards[1].server.routes()),
        (0, 1)
    );
    // An Allocate from there is one on a 5-tuple that has an allocation.
    let request = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&meetpoint::wire::attribute::RequestedTransport::UDP);
    });
    assert_eq!(pair.call(1, &client, &request).code(), 437);

    // Back to the first shard by another address: the route is gone.
    client.five_tuple = five_tuple("203.0.113.9:6003");
    assert_eq!(pair.resume(0, &mut client, &second).code(), 0);
    pair.client(0, &client.five_tuple, &channel_data(0x4000, b"heard"));
    let handled = pair.client(1, &five_tuple(B), &channel_data(0x4000, b"late"));
    assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoAllocation)));
    assert_eq!(pair.shards[1].server.routes(), 0);
}

#[test]
fn the_end_of_an_allocation_takes_its_routes_with_it() {
    for heard in [false, true] {
        let mut pair = Pair::new(&mobile());
        let mut client = Client::new(A);
        let (_, first) = allocate(&mut pair.shards[0], &mut client);
        client.five_tuple = five_tuple(B);
        pair.resume(1, &mut client, &first);
        if heard {
            pair.client(1, &client.five_tuple, &channel_data(0x4000, b"heard"));
        }
        pair.shards[0].advance(Duration::from_secs(600));
        pair.shards[1].advance(Duration::from_secs(600));
        pair.shards[0].assert_empty();
        pair.client(1, &client.five_tuple, &channel_data(0x4000, b"late"));
        assert_eq!(pair.shards[1].server.routes(), 0);
        pair.shards[1].assert_empty();
    }
}

#[test]
fn who_may_not_move_an_allocation_makes_no_route() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut pair.shards[0], &mut client);
    let mut thief = Client::with_expiry(B, "eve", Duration::from_secs(3600));
    assert_eq!(pair.resume(1, &mut thief, &first).code(), 441);
    thief.username.clone_from(&client.username);
    let request = thief.request(Method::REFRESH, |builder| {
        builder.attribute(&MobilityTicket(&first));
    });
    assert_eq!(pair.call(1, &thief, &request).code(), 401);
    pair.client(1, &thief.five_tuple, &channel_data(0x4000, b"mine?"));
    assert_eq!(pair.shards[1].server.routes(), 0);
}

#[test]
fn what_was_not_made_here_is_not_handed_over() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut pair.shards[0], &mut client);
    let mut broken = first;
    broken[20] ^= 1;
    client.five_tuple = five_tuple(B);
    let mut elsewhere = Client::new(A);
    let (_, foreign) = allocate(&mut another_process(), &mut elsewhere);
    for bad in [&broken[..], &foreign, b"junk", &[]] {
        client.challenge(&mut pair.shards[1]);
        let request = client.request(Method::REFRESH, |builder| {
            builder.attribute(&MobilityTicket(bad));
        });
        let handled = pair.shards[1].client(&client.five_tuple, &request);
        assert!(matches!(handled, Handled::Done(_)), "{handled:?}");
        assert_eq!(pair.shards[1].reply().code(), 437);
    }
}

#[test]
fn a_stream_belongs_to_the_shard_of_its_ticket_and_junk_tosses_none_about() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut pair.shards[0], &mut client);
    let mut refresh = |ticket: &[u8]| {
        client.request(Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(ticket));
        })
    };
    let elsewhere = |pair: &Pair, shard: usize, frame: &[u8]| pair.shards[shard].server.belongs_elsewhere(frame);
    let frame = refresh(&first);
    assert_eq!(elsewhere(&pair, 1, &frame), Some(0));
    assert_eq!(elsewhere(&pair, 0, &frame), None);
    let (_, strange) = allocate(&mut another_process(), &mut Client::new(A));
    for junk in [&[b'A'; 32][..], b"", &first[..31], &strange] {
        let frame = refresh(junk);
        assert_eq!(elsewhere(&pair, 1, &frame), None);
    }
}

#[test]
fn a_stream_that_would_cross_shards_is_405() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut pair.shards[0], &mut client);
    client.five_tuple = FiveTuple {
        transport: Transport::Tls,
        client: ClientAddr(addr(B)),
        server: ListenAddr(addr("20.9.9.9:5349")),
    };
    let reply = resume(&mut pair.shards[1], &mut client, &first);
    assert_eq!(reply.code(), 405);
    assert!(client.signed(&reply));
    assert_eq!(resume(&mut pair.shards[0], &mut client, &first).code(), 0);
}

#[test]
fn what_is_handed_over_in_vain_ends_there() {
    let mut pair = Pair::new(&mobile());
    let mut client = Client::new(A);
    client.challenge(&mut pair.shards[1]);
    let allocate = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&meetpoint::wire::attribute::RequestedTransport::UDP);
    });
    let data = channel_data(0x4000, b"hi");
    for datagram in [&allocate[..], &data] {
        let lab = &mut pair.shards[0];
        let handled = lab.server.handle_handed_over(lab.now, 1, &client.five_tuple, datagram);
        assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoAllocation)));
        assert_ne!(demux(datagram), PacketKind::Other);
        lab.drain();
        lab.assert_empty();
    }
}
