//! Two clients of matchbox, as its crate ships, in one room of the hub: `meetpoint-matchbox-test ws://HOST/match/room`. Each sends the
//! other a packet over the data channel that the hub negotiated and thanks for what it hears; one leaves once it is thanked, and the
//! other is told.

use std::time::Duration;

use futures::{FutureExt, select};
use matchbox_socket::{Packet, PeerState, WebRtcSocket};

const PATIENCE: Duration = Duration::from_secs(60);
const THANKS: &[u8] = b"thanks";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("the address of a room");
    let both = tokio::time::timeout(PATIENCE, async {
        tokio::join!(client(&url, "one", true), client(&url, "two", false));
    });
    both.await.expect("the clients met in time");
    println!("1 passed, 0 failed");
}

/// Says its name to whoever it meets, hears that of the other and thanks for it. Packets go out while `running` is polled and only
/// then, so nobody may leave on having sent: the one that leaves waits for thanks.
async fn client(url: &str, name: &'static str, leaves: bool) {
    let (mut socket, running) = WebRtcSocket::builder(url)
        .ice_server(matchbox_socket::RtcIceServerConfig {
            urls: Vec::new(),
            username: None,
            credential: None,
        })
        .add_reliable_channel()
        .build();
    let running = running.fuse();
    futures::pin_mut!(running);
    let (mut heard, mut thanked) = (false, false);
    loop {
        for (peer, state) in socket.update_peers() {
            println!("{name}: {peer} is {state:?}");
            match state {
                PeerState::Connected => socket.channel_mut(0).send(Packet::from(name.as_bytes()), peer),
                PeerState::Disconnected => {
                    assert!(heard, "{name} lost a peer that it never heard");
                    return;
                }
            }
        }
        for (peer, packet) in socket.channel_mut(0).receive() {
            assert_ne!(&*packet, name.as_bytes());
            if &*packet == THANKS {
                thanked = true;
            } else {
                heard = true;
                socket.channel_mut(0).send(Packet::from(THANKS), peer);
            }
        }
        if heard && thanked && leaves {
            return;
        }
        select! {
            ended = running => panic!("{name}: {ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)).fuse() => {}
        }
    }
}
