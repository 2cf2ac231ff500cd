//! What the API hands out opens the relay.

use meetpoint::credentials::{Advertised, TurnUri, UriTransport};
use meetpoint::http::{Config, Ice};
use serde_json::Value;

use crate::http_support::Api;
use crate::support::Running;
use crate::support::client::{Client, Wish};

/// The TURN entry of a list from an API beside `relay`.
async fn turn_entry(relay: &Running, query: &str) -> Value {
    let udp = Advertised {
        transport: UriTransport::Udp,
        secure: false,
        port: relay.addr().port(),
    };
    let ice = Ice {
        listeners: vec![udp],
        ..Ice::default()
    };
    let api = Api::new(Config {
        ice,
        ..Config::default()
    });
    let reply = api.get(query, &[("host", "127.0.0.1:8000")]).await;
    reply.json()["iceServers"][1].clone()
}

fn allocate(relay: &Running, username: &str, password: &str) -> Result<(), u16> {
    let mut client = Client::new(relay.addr());
    client.log_in_with(username, password);
    client.try_allocate(Wish::default()).map(|_| ())
}

#[tokio::test]
async fn a_credential_of_the_api_opens_an_allocation_and_a_changed_one_does_not() {
    let relay = Running::start(1, &["127.0.0.1:0"]);
    let entry = turn_entry(&relay, "/api/ice-servers?user=alice").await;
    let uri: TurnUri = entry["urls"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(uri.host.ip(), Some(relay.addr().ip()));
    assert_eq!(uri.port, Some(relay.addr().port()));

    let (username, password) = (
        entry["username"].as_str().unwrap(),
        entry["credential"].as_str().unwrap(),
    );
    assert_eq!(allocate(&relay, username, password), Ok(()));
    assert_eq!(
        allocate(&relay, &username.replace("alice", "mallory"), password),
        Err(401)
    );
    let (expiry, _) = username.split_once(':').unwrap();
    let longer = expiry.parse::<u64>().unwrap() + 1;
    assert_eq!(allocate(&relay, &format!("{longer}:alice"), password), Err(401));
}

#[tokio::test]
async fn a_credential_opens_nothing_after_its_second_is_over() {
    let relay = Running::start(1, &["127.0.0.1:0"]);
    let entry = turn_entry(&relay, "/api/ice-servers?ttl=1").await;
    let (username, password) = (
        entry["username"].as_str().unwrap(),
        entry["credential"].as_str().unwrap(),
    );
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(allocate(&relay, username, password), Err(401));
}
