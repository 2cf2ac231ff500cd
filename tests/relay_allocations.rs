//! A relayed packet costs the core no heap allocation, in any direction and by any framing.

#![expect(unsafe_code, reason = "a counting allocator is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use meetpoint::turn::{Config, Handled, Limits, PeerAddr, RateLimit};
use meetpoint::wire::{AttributeType, Class, Method, attribute::XorPeerAddress};

#[path = "support/relay.rs"]
mod relay;

use relay::{Client, Lab, PEER, addr, channel_data, config};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a `Cell` of plain numbers that needs
// no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on; `alloc` took it from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn no_relayed_packet_allocates() {
    no_packet_allocates(config());
}

#[test]
fn no_relayed_packet_allocates_when_everything_is_limited() {
    let limit = RateLimit {
        bytes_per_second: 1 << 40,
        packets_per_second: 1 << 32,
        ..RateLimit::NONE
    };
    no_packet_allocates(Config {
        limits: Limits {
            allocation_rate: limit,
            user_rate: limit,
            total_rate: limit,
            ..Limits::default()
        },
        ..config()
    });
}

fn no_packet_allocates(config: Config) {
    let mut lab = Lab::new(config);
    let mut a = Client::new("192.0.2.1:4001");
    let mut b = Client::new("192.0.2.2:4001");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    a.bind(&mut lab, 0x4000, PEER);
    a.bind(&mut lab, 0x4001, &at_b.to_string());
    b.permit(&mut lab, &[&at_a.to_string()]);
    let relay = lab.relay_at(at_a);
    let by_channel = channel_data(0x4000, &[1; 1200]);
    let hairpin = channel_data(0x4001, &[1; 1200]);
    let by_indication = a.bare(Method::SEND, Class::Indication, |builder| {
        builder
            .attribute(&XorPeerAddress(addr(PEER)))
            .raw_attribute(AttributeType::DATA, &[1; 1200]);
    });
    let (now, from) = (lab.now, a.five_tuple);
    let server = &mut lab.server;
    let counted = allocations(|| {
        for _ in 0..1000 {
            for datagram in [&by_channel, &hairpin, &by_indication] {
                assert!(matches!(
                    server.handle_client(now, &from, datagram),
                    Handled::Forward(_)
                ));
            }
            for peer in [PEER, "20.0.0.1:9"] {
                let handled = server.handle_peer(now, relay, PeerAddr(addr(peer)), &[1; 1200]);
                assert!(matches!(handled, Handled::Forward(_)));
            }
            assert!(server.poll_output().is_none());
        }
    });
    assert_eq!(counted, 0);
    assert!(allocations(|| drop(Box::new(1))) > 0, "the counter counts");
}
