//! The `turn` crate's client: another implementation, in another style, over our relay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::UdpSocket, time::timeout};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::support::{Credential, Meetpoint};

const PATIENCE: Duration = Duration::from_secs(10);

async fn client(server: &Meetpoint, credential: &Credential) -> Client {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("127.0.0.1:{}", server.udp);
    let client = Client::new(ClientConfig {
        stun_serv_addr: address.clone(),
        turn_serv_addr: address,
        username: credential.username.clone(),
        password: credential.password.clone(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    client
}

async fn received(from: &(impl Conn + ?Sized), expected: &[u8]) -> SocketAddr {
    let mut buffer = vec![0; 2048];
    let (len, source) = timeout(PATIENCE, from.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..len], expected);
    source
}

#[tokio::test]
async fn data_travels_both_ways_between_the_crates_client_and_a_peer() {
    let server = Meetpoint::with_loopback_peers();
    let credential = Credential::from_api(server.http);
    let client = client(&server, &credential).await;
    let mapped = client.send_binding_request().await.unwrap();
    assert!(mapped.ip().is_loopback());

    let relay = client.allocate().await.unwrap();
    let relayed = relay.local_addr().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_address = peer.local_addr().unwrap();
    // The client begins with Send indications and changes to a channel when its bind succeeds: both must arrive.
    for round in 0..50_u32 {
        let payload = vec![round as u8; 20 + round as usize * 20];
        relay.send_to(&payload, peer_address).await.unwrap();
        let mut buffer = vec![0; 2048];
        let (len, from) = timeout(PATIENCE, peer.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((&buffer[..len], from), (payload.as_slice(), relayed));
        peer.send_to(&payload, relayed).await.unwrap();
        assert_eq!(received(&relay, &payload).await, peer_address);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    relay.close().await.unwrap();
    client.close().await.unwrap();
}

#[tokio::test]
async fn two_clients_of_the_crate_meet_inside_the_server() {
    let server = Meetpoint::start(&[("RELAY__WORKERS", "2")]);
    let credential = Credential::from_api(server.http);
    let (ann, bob) = (client(&server, &credential).await, client(&server, &credential).await);
    let (ann_relay, bob_relay) = (ann.allocate().await.unwrap(), bob.allocate().await.unwrap());
    let (ann_at, bob_at) = (ann_relay.local_addr().unwrap(), bob_relay.local_addr().unwrap());
    // The first packet of each opens its own permission; the other's may not be there yet.
    bob_relay.send_to(b"open", ann_at).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for round in 0..20_u8 {
        ann_relay.send_to(&[round; 100], bob_at).await.unwrap();
        assert_eq!(received(&bob_relay, &[round; 100]).await, ann_at);
        bob_relay.send_to(&[round; 200], ann_at).await.unwrap();
        assert_eq!(received(&ann_relay, &[round; 200]).await, bob_at);
    }
    ann.close().await.unwrap();
    bob.close().await.unwrap();
}
