//! Somebody else's TURN client against this relay: webrtc-rs `turn`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meetpoint::credentials::{self, KeyRing, UnixTime};
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn as _;

use crate::support::{Running, SECRET};

#[tokio::test]
async fn the_client_of_webrtc_rs_allocates_and_is_relayed_both_ways() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let server = running.addr().to_string();
    let ring = KeyRing::from_bytes([SECRET]).unwrap();
    let now = UnixTime::from_system_time(SystemTime::now());
    let credential = credentials::mint(&ring, now, "stranger", Duration::from_secs(60)).unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: server.clone(),
        turn_serv_addr: server,
        username: credential.username,
        password: credential.password.as_str().to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    let mapped = client.send_binding_request().await.unwrap();
    assert!(mapped.ip().is_loopback());

    let relay = client.allocate().await.unwrap();
    let relayed = relay.local_addr().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let there = peer.local_addr().unwrap();
    // The first packets go by indication, and later ones by the channel it binds meanwhile.
    let mut buffer = [0; 1500];
    for round in 0..20_u8 {
        relay.send_to(&[round; 99], there).await.unwrap();
        let (len, from) = within(peer.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..len], from), (&[round; 99][..], relayed));
        peer.send_to(&[round; 7], from).await.unwrap();
        let (len, from): (usize, SocketAddr) = within(relay.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..len], from), (&[round; 7][..], there));
    }
    client.close().await.unwrap();
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3), future)
        .await
        .expect("nothing came")
}
