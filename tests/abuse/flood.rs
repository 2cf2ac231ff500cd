//! A million packets of nobody, beside a call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use meetpoint::turn::{
    ClientAddr, Config, DropReason, FiveTuple, Handled, Limits, ListenAddr, PeerAddr, RelayId, Transport, Verdict,
};
use meetpoint::wire::attribute::{Lifetime, RequestedTransport};
use meetpoint::wire::{Class, Method};

use crate::counting::held;
use crate::relay::{Client, Lab, PEER, SERVER, addr, channel_data, config};

/// A call that goes on: it relays, and refreshes, at any time.
struct Call {
    client: Client,
    relay: RelayId,
    data: Vec<u8>,
}

impl Call {
    fn begin(lab: &mut Lab) -> Self {
        let mut client = Client::with_expiry("198.51.100.7:4001", "ann", Duration::from_secs(36_000));
        let relayed = client.allocate(lab);
        assert_eq!(client.bind(lab, 0x4000, PEER), 0);
        let relay = lab.relay_at(relayed);
        Self {
            client,
            relay,
            data: channel_data(0x4000, b"a word of a call"),
        }
    }

    fn goes_on(&mut self, lab: &mut Lab) {
        let out = lab.server.handle_client(lab.now, &self.client.five_tuple, &self.data);
        assert!(matches!(out, Handled::Forward(_)), "{out:?}");
        let back = lab
            .server
            .handle_peer(lab.now, self.relay, PeerAddr(addr(PEER)), b"and an answer");
        assert!(matches!(back, Handled::Forward(_)), "{back:?}");
        let reply = self.client.call(lab, Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(3600));
        });
        assert_eq!(reply.code(), 0);
        // What the call itself is told about is not what the flood costs.
        lab.events = Vec::new();
    }
}

/// Sources that differ in everything, three of four over IPv4.
fn source(n: u32) -> SocketAddr {
    let mixed = n.wrapping_mul(0x9E37_79B9);
    let ip = if n.is_multiple_of(4) {
        IpAddr::V6(Ipv6Addr::from(
            (0x2600_u128 << 112) | (u128::from(mixed) << 64) | u128::from(n),
        ))
    } else {
        IpAddr::V4(Ipv4Addr::from(0x1400_0000 | (mixed & 0x00FF_FFFF)))
    };
    SocketAddr::new(ip, 1024 + (n % 60_000) as u16)
}

fn five_tuple(client: SocketAddr) -> FiveTuple {
    FiveTuple {
        transport: Transport::Udp,
        client: ClientAddr(client),
        server: ListenAddr(addr(SERVER)),
    }
}

/// Sends the same packets from `count` sources in `seconds`, and returns how many were answered.
fn flood(lab: &mut Lab, call: &mut Call, packets: &[Vec<u8>], count: u32, seconds: u32) -> u64 {
    let mut answered = 0;
    for n in 0..count {
        let packet = &packets[n as usize % packets.len()];
        let handled = lab.server.handle_client(lab.now, &five_tuple(source(n)), packet);
        assert!(matches!(handled, Handled::Done(_)));
        answered += u64::from(matches!(handled.verdict(), Verdict::Answered(_)));
        while lab.server.poll_output().is_some() {}
        while lab.server.poll_event().is_some() {}
        if n % (count / 100) == 0 {
            call.goes_on(lab);
            lab.sleep(Duration::from_millis(u64::from(seconds) * 10));
        }
    }
    answered
}

/// CVE-free since its design, and yet: coturn #780 held a session for each of these, firezone a nonce.
#[test]
fn abuse_a_million_forged_allocates_take_no_memory_and_disturb_no_call() {
    let limits = Limits {
        unauthenticated_per_second: 20,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut call = Call::begin(&mut lab);
    let mut forger = Client::new("192.0.2.1:1");
    let mut packets = vec![
        forger.bare(Method::ALLOCATE, Class::Request, |builder| {
            builder.attribute(&RequestedTransport::UDP);
        }),
        forger.bare(Method::BINDING, Class::Request, |_| {}),
    ];
    // Signed, with a nonce of somebody else, and by a user that nobody knows.
    forger.nonce = "obMatJos2AAAAAAAAAAAAAAA".to_owned();
    packets.push(forger.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    }));
    forger.username = "nobody".to_owned();
    packets.push(forger.request(Method::REFRESH, |_| {}));
    // The queue of outputs, and whatever else grows once.
    flood(&mut lab, &mut call, &packets, 10_000, 1);
    let before = held();
    let answered = flood(&mut lab, &mut call, &packets, 1_000_000, 2);
    let grown = held() - before;
    assert!(grown < 4096, "{grown} bytes more are held");
    assert_eq!(
        (lab.server.allocations(), lab.ledger.total(), lab.ledger.holders()),
        (1, 1, 2)
    );
    assert!(lab.reservations.is_empty() && lab.binds == 1);
    // Sources share 4096 counters: that many answers each second, and 20 for each of them.
    assert!(answered <= 3 * 20 * 4096, "{answered} answers");
    let silenced = lab.server.stats().dropped[DropReason::RateLimited.index()];
    assert!(silenced > 700_000, "{silenced} were silenced");
    lab.check();
}

/// Junk of every first byte: DTLS hellos in pieces among them, which made coturn hold 650 kB before its cookie (CVE-2026-73214).
#[test]
fn cve_2026_73214_pieces_of_dtls_hellos_and_other_junk_take_no_memory() {
    let mut lab = Lab::new(config());
    let mut call = Call::begin(&mut lab);
    // A ClientHello of 16 MiB, of which this is a piece of 35 bytes.
    let mut hello = vec![
        22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 22, 1, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 0, 0, 10,
    ];
    hello.resize(35, 0xAA);
    let mut packets: Vec<_> = (0..=255_u8)
        .map(|first| vec![first; 1 + usize::from(first) * 5])
        .collect();
    packets.extend((0..256).map(|_| hello.clone()));
    flood(&mut lab, &mut call, &packets, 10_000, 1);
    let before = held();
    assert_eq!(
        flood(&mut lab, &mut call, &packets, 200_000, 1),
        0,
        "junk is not answered"
    );
    let grown = held() - before;
    assert!(grown < 4096, "{grown} bytes more are held");
    lab.check();
}

/// From one prefix: the budget silences the answers, and who shares the address and has credentials is served all the same.
#[test]
fn abuse_a_flood_in_the_name_of_a_client_does_not_cut_its_call() {
    let mut lab = Lab::new(config());
    let mut call = Call::begin(&mut lab);
    let victim = call.client.five_tuple.client.0.ip();
    let mut forger = Client::new("192.0.2.1:1");
    let allocate = forger.bare(Method::ALLOCATE, Class::Request, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    let delete = forger.bare(Method::REFRESH, Class::Request, |builder| {
        builder.attribute(&Lifetime(0));
    });
    let mut answered = 0;
    for n in 0..100_000_u32 {
        // Now and then from the very port of the call.
        let port = if n.is_multiple_of(100) {
            4001
        } else {
            1024 + (n % 60_000) as u16
        };
        let packet = if n.is_multiple_of(2) { &allocate } else { &delete };
        let from = five_tuple(SocketAddr::new(victim, port));
        let handled = lab.server.handle_client(lab.now, &from, packet);
        answered += u64::from(matches!(handled.verdict(), Verdict::Answered(_)));
        while lab.server.poll_output().is_some() {}
        while lab.server.poll_event().is_some() {}
        if n % 10_000 == 0 {
            call.goes_on(&mut lab);
            lab.sleep(Duration::from_millis(100));
        }
    }
    assert!(answered <= 2 * 200, "{answered} answers in one second");
    call.goes_on(&mut lab);
}
