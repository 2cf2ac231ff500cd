//! Another configuration while it runs, and allocations that notice nothing of it.

use crate::program::{Server, get};
use crate::support::client::{Arrival, Client, Wish};
use meetpoint::credentials::{KeyRing, UnixTime, mint};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub(crate) const FIRST: &str = "the first secret of this test";
const SECOND: &str = "the second secret of this test";
pub(crate) const RELOADED: &str = "configuration reloaded";

/// A relay on loopback that relays to loopback, with further lines of `[relay]` and what comes after.
pub(crate) fn toml(more: &str) -> String {
    format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[credentials]\nsecrets_file = \"secrets\"\n\
         [relay]\nexternal_ip = \"127.0.0.1\"\n{more}"
    )
}

fn start(secret: &str) -> Server {
    Server::start_with(&[("meetpoint.toml", &toml("")), ("secrets", secret)], &[])
}

/// A client with a credential of `secret`.
pub(crate) fn client(server: &Server, secret: &str) -> Client {
    client_of(server, secret, "alice")
}

pub(crate) fn client_of(server: &Server, secret: &str, user: &str) -> Client {
    let mut client = Client::new(server.relay);
    let now = UnixTime::from_system_time(SystemTime::now());
    let ring = KeyRing::from_bytes([secret]).unwrap();
    let credential = mint(&ring, now, user, Duration::from_secs(600)).unwrap();
    client.log_in_with(&credential.username, credential.password.as_str());
    client
}

/// Sends everything back until told to stop.
pub(crate) fn echo() -> (SocketAddr, Arc<AtomicBool>, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..len], from).unwrap();
            }
        }
    });
    (address, stop, thread)
}

/// One datagram there and back.
pub(crate) fn round_trip(client: &Client, at: u32) {
    client.send_channel(0x4000, &at.to_be_bytes());
    let back = client.receive();
    assert_eq!(back, Some(Arrival::Channel(0x4000, at.to_be_bytes().to_vec())));
}

#[test]
fn a_secret_is_rotated_while_an_allocation_relays_and_nothing_is_lost() {
    let server = start(FIRST);
    let (peer, stop, thread) = echo();
    let mut living = client(&server, FIRST);
    living.allocate();
    living.bind(0x4000, peer);
    let mut sent = 0;
    let mut relay_some = |living: &Client| {
        for _ in 0..50 {
            round_trip(living, sent);
            sent += 1;
        }
    };
    relay_some(&living);

    // Both are valid, the new one mints.
    server.write("secrets", &format!("{SECOND}\n{FIRST}\n"));
    server.signal("HUP");
    while !server.log().contains(RELOADED) {
        relay_some(&living);
    }
    client(&server, SECOND).allocate();
    client(&server, FIRST).allocate();

    // The old one is gone. Nobody sends a signal: the file is noticed.
    server.write("secrets", SECOND);
    while server.log().matches(RELOADED).count() < 2 {
        relay_some(&living);
    }
    let refused = client(&server, FIRST).try_allocate(Wish::default()).map(|_| ());
    assert_eq!(refused, Err(401));
    client(&server, SECOND).allocate();
    let list = get(server.http, "/api/ice-servers?user=alice").unwrap();
    let password = list
        .split("\"credential\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let username = list.split("\"username\":\"").nth(1).unwrap().split('"').next().unwrap();
    let mut fetched = Client::new(server.relay);
    fetched.log_in_with(username, password);
    fetched.allocate();

    // The allocation of the credential that no longer opens any lives on, and is still its owner's.
    relay_some(&living);
    assert_eq!(living.refresh(600), Ok(()));
    living.bind(0x4000, peer);
    relay_some(&living);
    assert_eq!(
        server.metric("meetpoint_config_reloads_total{result=\"applied\"}"),
        Some("2".to_owned())
    );
    assert!(!server.log().contains(FIRST) && !server.log().contains(SECOND));
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

/// Puts a secret's file behind `..data` in one step, as the kubelet does.
fn swap(directory: &std::path::Path, version: &str, secrets: &str) {
    use std::os::unix::fs::symlink;
    std::fs::create_dir(directory.join(version)).unwrap();
    std::fs::write(directory.join(version).join("secrets"), secrets).unwrap();
    symlink(version, directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

#[test]
fn secrets_behind_kubernetes_links_are_rotated_twice_and_no_valid_credential_is_ever_refused() {
    const THIRD: &str = "the third secret of this test";
    let mounted = tempfile::TempDir::new().unwrap();
    swap(mounted.path(), "..1", FIRST);
    std::os::unix::fs::symlink("..data/secrets", mounted.path().join("secrets")).unwrap();
    let file = mounted.path().join("secrets");
    let config = toml("").replace("\"secrets\"", &format!("\"{}\"", file.display()));
    let server = Server::start_with(&[("meetpoint.toml", &config)], &[]);
    let mut held = Vec::new();
    // Each list opens an allocation at once, and what was issued before goes on to do so.
    let mut fetch_and_use = |keep: bool| {
        let list = get(server.http, "/api/ice-servers?user=alice").unwrap();
        let text = |name: &str| {
            let (_, rest) = list.split_once(&format!("\"{name}\":\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let fresh = (text("username"), text("credential"));
        for (username, password) in held.iter().chain([&fresh]) {
            let mut client = Client::new(server.relay);
            client.log_in_with(username, password);
            client.allocate();
            assert_eq!(client.refresh(0), Ok(()));
        }
        if keep {
            held.push(fresh);
        }
    };
    fetch_and_use(true);
    for (times, (version, secrets)) in [
        ("..2", format!("{SECOND}\n{FIRST}\n")),
        ("..3", format!("{THIRD}\n{SECOND}\n{FIRST}\n")),
    ]
    .into_iter()
    .enumerate()
    {
        swap(mounted.path(), version, &secrets);
        // Nobody sends a signal.
        while server.log().matches(RELOADED).count() <= times {
            fetch_and_use(false);
        }
        fetch_and_use(true);
        let newest = if times == 0 { SECOND } else { THIRD };
        client(&server, newest).allocate();
    }
    let metric = "meetpoint_config_reloads_total{result=\"applied\"}";
    assert_eq!(server.metric(metric), Some("2".to_owned()));
    // Once the oldest is taken away, what it had signed opens nothing, and the rest still does.
    swap(mounted.path(), "..4", &format!("{THIRD}\n{SECOND}\n"));
    server.wait_for_log(RELOADED, 3);
    let refused = client(&server, FIRST).try_allocate(Wish::default()).map(|_| ());
    assert_eq!(refused, Err(401));
    client(&server, SECOND).allocate();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_all_that_is_wrong() {
    let server = start(FIRST);
    let bad = toml("port_rang = \"1-2\"\n[limits]\nallocations = 0\n[log]\nlevel = \"debug\"\n");
    server.write("meetpoint.toml", &bad);
    server.write("secrets", SECOND);
    server.signal("HUP");
    server.wait_for_log("nothing was changed", 1);
    let log = server.log();
    for part in [
        "the configuration has 2 problems",
        "relay.port_range",
        "limits.allocations",
    ] {
        assert!(log.contains(part), "{part} is missing in\n{log}");
    }
    client(&server, FIRST).allocate();
    assert_eq!(
        client(&server, SECOND).try_allocate(Wish::default()).map(|_| ()),
        Err(401)
    );
    assert_eq!(
        server.metric("meetpoint_config_reloads_total{result=\"rejected\"}"),
        Some("1".to_owned())
    );

    // What waited for the mistake to be corrected comes with the correction.
    server.write("meetpoint.toml", &toml(""));
    server.wait_for_log(RELOADED, 1);
    client(&server, SECOND).allocate();
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_changes() {
    let server = start(FIRST);
    let other = toml("realm = \"elsewhere\"\n[limits]\nallocations = 1\n[http]\nlisten = \"127.0.0.1:1\"\n");
    server.write("meetpoint.toml", &other);
    server.signal("HUP");
    server.wait_for_log("needs a restart", 1);
    // `http.listen` is a flag here, which wins over the file.
    assert!(server.log().contains("[\\\"relay.realm\\\"]"), "{}", server.log());
    assert_eq!(server.metric("meetpoint_config_pending_keys"), Some("1".to_owned()));
    let mut first = client(&server, FIRST);
    first.allocate();
    assert_eq!(
        client(&server, FIRST).try_allocate(Wish::default()).map(|_| ()),
        Err(508)
    );
}

#[test]
fn filters_origins_and_hosts_change_while_it_runs() {
    let server = start(FIRST);
    let mut living = client(&server, FIRST);
    living.allocate();
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert_eq!(living.try_permit(peer), Ok(()));
    assert!(
        get(server.http, "/api/health")
            .unwrap()
            .contains("access-control-allow-origin: *")
    );
    let other = toml("")
        .replace("allow = \"127.0.0.0/8\"", "deny = \"127.0.0.0/8\"")
        .replace(
            "[relay]",
            "[ice]\nhost = \"turn.example.org\"\n[http]\ncors_origins = \"https://app.example.org\"\n[relay]",
        );
    server.write("meetpoint.toml", &other);
    server.wait_for_log(RELOADED, 1);
    assert_eq!(living.try_permit(peer), Err(403));
    assert!(
        get(server.http, "/api/ice-servers")
            .unwrap()
            .contains("turn:turn.example.org:")
    );
    assert!(
        !get(server.http, "/api/health")
            .unwrap()
            .contains("access-control-allow-origin: *")
    );
}

#[test]
fn tokens_are_asked_for_from_the_reload_on() {
    let server = start(FIRST);
    assert!(
        get(server.http, "/api/ice-servers")
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    let closed = format!(
        "{}[auth]\njwt_secrets = \"0123456789abcdef0123456789abcdef\"\n",
        toml("")
    );
    server.write("meetpoint.toml", &closed);
    server.wait_for_log(RELOADED, 1);
    assert!(
        get(server.http, "/api/ice-servers")
            .unwrap()
            .starts_with("HTTP/1.1 401")
    );
}

#[test]
fn a_secret_that_nobody_configured_survives_a_reload() {
    let server = Server::start_with(&[("meetpoint.toml", "[relay]\nexternal_ip = \"127.0.0.1\"\n")], &[]);
    let list = get(server.http, "/api/ice-servers").unwrap();
    let field = |name: &str| {
        let rest = list.split(&format!("\"{name}\":\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    server.write(
        "meetpoint.toml",
        "[relay]\nexternal_ip = \"127.0.0.1\"\n[log]\nlevel = \"debug\"\n[limits]\nchannels = 7\n",
    );
    server.wait_for_log(RELOADED, 1);
    let mut client = Client::new(server.relay);
    client.log_in_with(&field("username"), &field("credential"));
    client.allocate();
    get(server.http, "/api/health").unwrap();
    server.wait_for_log("\"level\":\"DEBUG\"", 1);
}
