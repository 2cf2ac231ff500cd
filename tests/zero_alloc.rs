//! A relayed packet costs no heap allocation: counted by an allocator that sees every thread of this process.
//!
//! One test, in a binary of its own: while it counts, nothing else runs, and the test itself only uses buffers it had
//! before.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/udp/mod.rs"]
mod support;

use std::net::{SocketAddr, UdpSocket};

use support::Running;
use support::client::{Client, channel_data, send_indication};

/// One packet from here to there, again and again.
struct Path<'a> {
    name: &'static str,
    from: &'a UdpSocket,
    packet: Vec<u8>,
    via: SocketAddr,
    to: &'a UdpSocket,
    /// Bytes that arrive.
    len: usize,
}

impl Path<'_> {
    /// Sends bursts and waits for each packet; returns how many allocations that took, by anybody.
    fn allocations(&self, buffer: &mut [u8]) -> u64 {
        let before = allocations::so_far();
        for burst in [1, 1, 8, 1, 16].into_iter().cycle().take(200) {
            for _ in 0..burst {
                assert_eq!(self.from.send_to(&self.packet, self.via).unwrap(), self.packet.len());
            }
            for _ in 0..burst {
                assert_eq!(self.to.recv(buffer).unwrap(), self.len);
            }
        }
        allocations::so_far() - before
    }
}

#[test]
fn a_relayed_packet_allocates_nothing() {
    const PAYLOAD: [u8; 160] = [7; 160];
    let mut buffer = vec![0; 65_536];
    for workers in [1, 2] {
        let core = meetpoint::turn::Config {
            events: true,
            ..support::core_config()
        };
        let running = Running::with(&support::config(workers, &["127.0.0.1:0"]), core);
        let server = running.addr();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let there = peer.local_addr().unwrap();

        let mut by_channel = Client::new(server);
        let channel_relayed = by_channel.allocate();
        by_channel.bind(0x4000, there);
        let mut by_indication = Client::new(server);
        let indication_relayed = by_indication.allocate();
        by_indication.permit(there);
        // With two workers, some of these are on another one than the first.
        let others: Vec<_> = (0..8)
            .map(|_| {
                let mut other = Client::new(server);
                let relayed = other.allocate();
                other.bind(0x4001, channel_relayed);
                (other, relayed)
            })
            .collect();
        for (index, (_, relayed)) in others.iter().enumerate() {
            by_channel.bind(0x4010 + index as u16, *relayed);
        }

        let here = &by_channel.socket;
        let mut paths = vec![
            Path {
                name: "channel out",
                from: here,
                packet: channel_data(0x4000, &PAYLOAD),
                via: server,
                to: &peer,
                len: 160,
            },
            Path {
                name: "channel in",
                from: &peer,
                packet: PAYLOAD.to_vec(),
                via: channel_relayed,
                to: here,
                len: 164,
            },
            Path {
                name: "indication out",
                from: &by_indication.socket,
                packet: send_indication(there, &PAYLOAD, false),
                via: server,
                to: &peer,
                len: 160,
            },
            Path {
                name: "indication in",
                from: &peer,
                packet: PAYLOAD.to_vec(),
                via: indication_relayed,
                to: &by_indication.socket,
                len: 196,
            },
        ];
        for (index, (other, _)) in others.iter().enumerate() {
            let number = 0x4010 + index as u16;
            let packet = channel_data(0x4001, &PAYLOAD);
            paths.push(Path {
                name: "hairpin in",
                from: &other.socket,
                packet,
                via: server,
                to: here,
                len: 164,
            });
            let packet = channel_data(number, &PAYLOAD);
            paths.push(Path {
                name: "hairpin out",
                from: here,
                packet,
                via: server,
                to: &other.socket,
                len: 164,
            });
        }
        assert!(allocations::so_far() > 0, "the allocator does not count");
        for path in &paths {
            // The first round may still fill tables.
            path.allocations(&mut buffer);
            assert_eq!(path.allocations(&mut buffer), 0, "{} with {workers} workers", path.name);
        }
        if workers > 1 {
            assert!(
                running.wait_for("meetpoint_relay_handovers_total", |n| n > 0) > 0,
                "all clients on one worker"
            );
        }
    }
}
