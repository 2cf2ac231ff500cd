//! The two tenants of docs/realms.md on the real program: credentials by every way that the page names, and what they open.

use crate::program::{PATIENCE, Server, get};
use crate::reload::{RELOADED, client_of, echo, round_trip};
use crate::support::client::{Client, Wish};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::Ordering;

const SECRETS: [(&str, &str); 3] = [
    ("default.secret", "the secret of the default realm"),
    ("acme.secret", "the secret of acme"),
    ("globex.secret", "the secret of globex"),
];
const TOKEN: &str = "acme's token, of 32 characters or more";

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/realms.md")).unwrap()
}

/// What stands between the fences of a language, the first time.
fn fenced(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// The configuration of the page, with a network of this machine in place of acme's.
fn example() -> String {
    let text = fenced(&page(), "toml");
    assert!(text.contains("10.20.0.0/16") && text.contains("203.0.113.5"));
    text.replace("10.20.0.0/16", "127.0.0.0/8")
        .replace("203.0.113.5", "127.0.0.1")
}

fn start_with(config: &str) -> Server {
    let mut files = vec![("meetpoint.toml", config), ("acme.token", TOKEN)];
    files.extend(SECRETS);
    Server::start_with(&files, &[])
}

fn fetch(server: &Server, token: &str, query: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /api/ice-servers{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// A client with the credential of a list.
fn client_with(server: &Server, list: &Value) -> Client {
    let servers = list["iceServers"].as_array().unwrap();
    let turn = servers.iter().find(|one| one["credential"].is_string()).unwrap();
    let mut client = Client::new(server.relay);
    client.log_in_with(turn["username"].as_str().unwrap(), turn["credential"].as_str().unwrap());
    client
}

fn code(mut client: Client) -> u16 {
    client.try_allocate(Wish::default()).err().unwrap_or(0)
}

#[test]
fn a_tenants_token_fetches_credentials_of_its_realm_that_relay_within_its_rules() {
    let server = start_with(&example());
    let (peer, stop, thread) = echo();
    let (status, list) = fetch(&server, TOKEN, "?user=alice");
    assert_eq!(status, 200);
    assert_eq!(list["ttl"], 1800);
    let username = list["iceServers"][1]["username"].as_str().unwrap();
    assert!(username.ends_with(":alice@acme"), "{username}");
    let mut alice = client_with(&server, &list);
    alice.allocate();
    alice.bind(0x4000, peer);
    for at in 0..20 {
        round_trip(&alice, at);
    }

    // Anybody else gets one of the default realm, whose rules close this machine's network.
    let (status, list) = fetch(&server, "no token of anybody", "?user=bob");
    assert_eq!(status, 200);
    let mut bob = client_with(&server, &list);
    bob.allocate();
    // Not the address of the relay itself, where allocations are peers of everybody.
    let neighbour = "127.0.0.2:9".parse().unwrap();
    assert_eq!(bob.try_permit(neighbour), Err(403));
    assert_eq!(alice.try_permit(neighbour), Ok(()));
    let (status, problem) = fetch(&server, "no token of anybody", "?user=bob%40acme");
    assert_eq!((status, &problem["code"]), (400, &"bad_user".into()));

    for line in [
        "meetpoint_realm_allocations{realm=\"acme\"} 1",
        "meetpoint_realm_allocations{realm=\"default\"} 1",
        "meetpoint_realm_allocations{realm=\"globex\"} 0",
        "meetpoint_realm_payload_bytes_total{realm=\"acme\",direction=\"client_to_peer\"} 80",
        "meetpoint_realm_payload_bytes_total{realm=\"acme\",direction=\"peer_to_client\"} 80",
        "meetpoint_realm_payload_bytes_total{realm=\"default\",direction=\"client_to_peer\"} 0",
        "meetpoint_realm_credentials_issued_total{realm=\"acme\"} 1",
        "meetpoint_realm_credentials_issued_total{realm=\"default\"} 1",
        "meetpoint_realm_credentials_issued_total{realm=\"globex\"} 0",
    ] {
        server.wait_for_metric(line);
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn each_secret_opens_its_own_realm_on_the_real_program_and_no_other() {
    let server = start_with(&example());
    for (named, of_name) in [("bob", 0), ("bob@acme", 1), ("bob@globex", 2)] {
        for (holder, (_, secret)) in SECRETS.iter().enumerate() {
            let expected = if holder == of_name { 0 } else { 401 };
            assert_eq!(
                code(client_of(&server, secret, named)),
                expected,
                "{named} with {secret}"
            );
        }
    }
    let mut camera = Client::new(server.relay);
    camera.log_in_with("camera7@globex", "a fixed password");
    camera.allocate();
}

#[test]
fn the_script_of_the_page_and_the_command_mint_what_opens() {
    let server = start_with(&example());
    let output = Command::new("python3")
        .args(["-c", &fenced(&page(), "python"), SECRETS[2].1, "alice"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (username, password) = text.trim().split_once(' ').unwrap();
    let mut client = Client::new(server.relay);
    client.log_in_with(username, password);
    client.allocate();

    let minted = server.command(&["credentials", "--realm", "globex", "--user", "carol", "--json"]);
    let minted: Value = serde_json::from_slice(&minted.stdout).unwrap();
    let username = minted["username"].as_str().unwrap();
    assert!(username.ends_with(":carol@globex"), "{username}");
    let mut client = Client::new(server.relay);
    client.log_in_with(username, minted["credential"].as_str().unwrap());
    client.allocate();
    for (arguments, part) in [
        (["credentials", "--realm", "nobody"], "there is no [realms.nobody]"),
        (["credentials", "--user", "carol@acme"], "give --realm acme"),
    ] {
        let refused = server.command(&arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(part));
    }
}

#[test]
fn realms_come_and_go_by_reload_and_nobodys_allocation_notices() {
    let server = start_with(&example());
    let (peer, stop, thread) = echo();
    let mut living = client_of(&server, SECRETS[1].1, "alice@acme");
    living.allocate();
    living.bind(0x4000, peer);
    round_trip(&living, 0);

    let text = example();
    let (before, rest) = text.split_once("[realms.acme]").unwrap();
    let globex = rest.split_once("[realms.globex]").unwrap().1;
    server.write("initech.secret", "the secret of initech");
    let initech = "[realms.initech]\nsecrets_file = \"initech.secret\"\n";
    server.write("meetpoint.toml", &format!("{before}{initech}[realms.globex]{globex}"));
    server.wait_for_log(RELOADED, 1);
    // Workers take the configuration between two packets.
    while code(client_of(&server, "the secret of initech", "bob@initech")) != 0 {}
    assert_eq!(code(client_of(&server, SECRETS[1].1, "bob@acme")), 401);
    assert_eq!(code(client_of(&server, SECRETS[2].1, "bob@globex")), 0);
    let (status, list) = fetch(&server, TOKEN, "?user=alice");
    assert_eq!(status, 200);
    let username = list["iceServers"][1]["username"].as_str().unwrap();
    assert!(
        username.ends_with(":alice"),
        "the token is no token any more: {username}"
    );
    for at in 1..20 {
        round_trip(&living, at);
    }
    server.wait_for_metric("meetpoint_realm_allocations{realm=\"acme\"} 1");
    assert!(
        !get(server.http, "/metrics")
            .unwrap()
            .contains("issued_total{realm=\"acme\"}")
    );
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
