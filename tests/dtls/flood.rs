//! Many who mean ill, and one who does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use meetpoint::transport;

use crate::stage::{Speaks, Stage, client};
use crate::stranger::{address, half_open, hello, socket};

/// Addresses that a flood comes from.
const ADDRESSES: u32 = 5_000;

#[test]
fn garbage_on_the_port_is_counted_and_disturbs_nobody() {
    let stage = Stage::start(1);
    let mut good = client(stage.dtls, Speaks::Both);
    let stranger = socket(address(0));
    for len in 0..200_u32 {
        for first in [0, 1, 20, 21, 22, 23, 25, 0x2f, 64, 255] {
            let mut datagram = vec![first; len as usize];
            if len > 4 && len % 2 == 0 {
                datagram[1..5].copy_from_slice(&[0xfe, 0xfd, 0, 0]);
            }
            stranger.send_to(&datagram, stage.dtls).unwrap();
        }
        if len % 20 == 0 {
            good.mapped();
        }
    }
    good.allocate();
    let refused = "meetpoint_relay_dtls_refused_total{reason=\"no_session\"}";
    assert!(stage.running.wait_for(refused, |found| found > 1500) > 1500);
    stage.assert_metric("meetpoint_relay_dtls_sessions", 1);
}

#[test]
fn thousands_of_half_open_handshakes_keep_no_good_client_out() {
    let stage = Stage::bounded(
        2,
        transport::Dtls {
            handshakes: 64,
            ..transport::Dtls::default()
        },
    );
    let (opened, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let server = stage.dtls;
    // Some send their cookies back and then fall silent ...
    let half = {
        let (opened, over) = (Arc::clone(&opened), Arc::clone(&over));
        std::thread::spawn(move || {
            for nth in 0..ADDRESSES {
                half_open(&socket(address(nth)), server, nth);
                opened.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        })
    };
    // ... and some never saw a cookie: their addresses are not theirs.
    let forged = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut sent = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let socket = socket(address(10_000 + sent % ADDRESSES));
                socket.send_to(&hello(sent, b""), server).unwrap();
                sent += 1;
                std::thread::yield_now();
            }
            sent
        })
    };
    let mut served = 0;
    let mut good: Vec<_> = Vec::new();
    while !over.load(Ordering::Relaxed) && served < 12 {
        let speaks = [Speaks::Only12, Speaks::Only13, Speaks::Both][served % 3];
        let mut client = client(server, speaks);
        client.allocate();
        good.push(client);
        served += 1;
    }
    assert!(served >= 3, "the flood was over before anybody came");
    half.join().unwrap();
    let sent = forged.join().unwrap();
    for client in &mut good {
        client.mapped();
    }
    let sessions = |phase| format!("meetpoint_relay_dtls_sessions{{phase=\"{phase}\"}}");
    assert!(stage.running.wait_for(&sessions("handshake"), |found| found <= 64) <= 64);
    stage.assert_metric(&sessions("established"), served as u64);
    let evicted = stage
        .running
        .metric("meetpoint_relay_dtls_ended_total{reason=\"evicted\"}");
    assert!(evicted >= u64::from(ADDRESSES) / 2, "{evicted} evicted");
    assert!(stage.running.metric("meetpoint_relay_dtls_cookies_total") > u64::from(ADDRESSES));
    assert!(sent > 0);
}
