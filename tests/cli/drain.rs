//! The end of a process that relays: living allocations first.

use crate::moderation::Peer;
use crate::program::{PATIENCE, Server, get, pause};
use crate::reload::{FIRST, RELOADED, client, echo, round_trip, toml};
use crate::support::client::{Client, Wish};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn start(drain_timeout: &str) -> Server {
    let config = toml(&format!("drain_timeout = \"{drain_timeout}\"\n"));
    Server::start_with(&[("meetpoint.toml", &config), ("secrets", FIRST)], &[])
}

fn refused(client: &mut Client) -> Option<u16> {
    client.try_allocate(Wish::default()).err()
}

/// Until a stop has begun to show.
fn wait_until_not_ready(server: &Server) {
    let start = Instant::now();
    while !get(server.http, "/readyz").unwrap().starts_with("HTTP/1.1 503") {
        assert!(start.elapsed() < PATIENCE, "{}", server.log());
        pause();
    }
    server.wait_for_log("waiting for living allocations", 1);
}

#[test]
fn a_stop_takes_no_new_allocations_and_waits_for_the_living_to_end() {
    let mut server = start("10m");
    let (peer, stop, thread) = echo();
    let mut living = client(&server, FIRST);
    living.allocate();
    living.bind(0x4000, peer);
    server.signal("TERM");
    wait_until_not_ready(&server);

    assert_eq!(refused(&mut client(&server, FIRST)), Some(508));
    let signaling = get(server.http, "/signaling").unwrap();
    assert!(
        signaling.starts_with("HTTP/1.1 426"),
        "no upgrade was asked for: {signaling}"
    );
    assert!(get(server.http, "/healthz").unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(living.refresh(600), Ok(()));
    for at in 0..20 {
        round_trip(&living, at);
    }
    // Neither a reload nor a broken file disturbs the end.
    server.signal("HUP");
    server.wait_for_log("the configuration is not read again", 1);
    round_trip(&living, 20);
    assert_eq!(server.has_ended(), None);

    assert_eq!(living.refresh(0), Ok(()));
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert!(!server.log().contains("ending allocations that still live"));
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn new_allocations_are_sent_to_another_server_from_a_reload_on_while_the_living_go_on() {
    let mut server = start("10m");
    let mut living = client(&server, FIRST);
    living.allocate();
    let moved = toml("drain_timeout = \"10m\"\nalternate_servers = \"192.0.2.1:3478\"\nredirect = \"always\"\n");
    server.write("meetpoint.toml", &moved);
    server.signal("HUP");
    server.wait_for_log(RELOADED, 1);
    assert_eq!(refused(&mut client(&server, FIRST)), Some(300));
    server.signal("TERM");
    wait_until_not_ready(&server);
    assert_eq!(refused(&mut client(&server, FIRST)), Some(300));
    assert_eq!(living.refresh(0), Ok(()));
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_drain_has_an_end_even_if_an_allocation_has_none() {
    let mut server = start("1s");
    let mut living = client(&server, FIRST);
    living.allocate();
    server.signal("TERM");
    let start = Instant::now();
    assert_eq!(server.wait(), 0);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(
        server.log().contains("ending allocations that still live"),
        "{}",
        server.log()
    );
}

#[test]
fn a_second_signal_does_not_wait_for_living_allocations() {
    let mut server = start("10m");
    let mut living = client(&server, FIRST);
    living.allocate();
    server.signal("INT");
    wait_until_not_ready(&server);
    server.signal("INT");
    assert_eq!(server.wait(), 0);
    assert!(server.log().contains("stopped at once"), "{}", server.log());
}

#[test]
fn without_an_allocation_a_stop_does_not_wait() {
    let mut server = start("10m");
    // One that has ended is none.
    let mut past = client(&server, FIRST);
    past.allocate();
    assert_eq!(past.refresh(0), Ok(()));
    server.signal("INT");
    let start = Instant::now();
    assert_eq!(server.wait(), 0);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!server.log().contains("waiting for living allocations"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_hub_takes_no_new_sockets() {
    use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
    let mut server = start("10m");
    let mut living = client(&server, FIRST);
    living.allocate();
    server.signal("TERM");
    wait_until_not_ready(&server);
    let request = format!("ws://{}/signaling", server.http).into_client_request().unwrap();
    let stream = tokio::net::TcpStream::connect(server.http).await.unwrap();
    let refused = tokio_tungstenite::client_async(request, stream).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Http(answer) if answer.status() == 503),
        "{refused:?}"
    );
    let ended = tokio::task::spawn_blocking(move || {
        living.refresh(0).unwrap();
        server.wait()
    });
    assert_eq!(ended.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_hub_are_told_the_window_of_the_last_reload() {
    let window = |min: &str, max: &str| {
        let more = format!("[signaling]\ndrain_after_min = \"{min}\"\ndrain_after_max = \"{max}\"\n");
        toml(&format!("drain_timeout = \"0s\"\n{more}"))
    };
    let config = window("1s", "30s");
    let mut server = Server::start_with(&[("meetpoint.toml", &config), ("secrets", FIRST)], &[]);
    let mut peer = Peer::connect(&server, "alice").await;
    server.write("meetpoint.toml", &window("2s", "40s"));
    server.signal("HUP");
    server.wait_for_log(RELOADED, 1);
    server.signal("TERM");
    assert_eq!(peer.recv().await, json!({"t": "drain", "after": [2000, 40_000]}));
    assert_eq!(peer.closed().await, 4003);
    drop(peer);
    assert_eq!(tokio::task::block_in_place(|| server.wait()), 0);
}
