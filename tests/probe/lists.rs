//! The real program probes the servers in its lists: what dies leaves them, and what is back is in them again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use meetpoint::probe::Way;
use serde_json::Value;

use crate::coturn::Coturn;
use crate::program::{PATIENCE, Server, free_port, pause};
use crate::stage::{SECRET, allocate, login};

const TOKEN: &str = "an operator's token of 32 characters";

/// Probes as fast as can be configured: dead after two failures, at most (1.2 + 2 × 0.5) × 2 s later.
const FAST: &str = "[probes]\ninterval = \"1s\"\ntimeout = \"500ms\"\nfailures = 2\nsuccesses = 1\n";

fn start(config: &str, arguments: &[&str]) -> Server {
    let config = format!("{config}\n[credentials]\nsecrets = \"{SECRET}\"\n[admin]\ntokens = \"{TOKEN}\"\n");
    Server::start_with(&[("meetpoint.toml", &config)], arguments)
}

/// An entry of `ice.extra` that opens a server with our secret.
fn entry(urls: &[String]) -> String {
    let login = login(SECRET);
    format!(
        "{{ urls = {urls:?}, username = \"{}\", credential = \"{}\" }}",
        login.username, login.credential
    )
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n",
        server.http
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn urls(server: &Server) -> Vec<String> {
    let (status, body) = get(server, "/api/ice-servers");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let servers = answer["iceServers"].as_array().unwrap().iter();
    let urls = servers.flat_map(|server| server["urls"].as_array().unwrap());
    urls.map(|url| url.as_str().unwrap().to_owned()).collect()
}

/// What the admin API says of a URL.
fn seen(server: &Server, url: &str) -> Option<Value> {
    let (status, body) = get(server, "/api/admin/relays");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let all = answer["relays"].as_array().unwrap();
    all.iter().find(|each| each["url"] == url).cloned()
}

fn wait_until(server: &Server, what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        let relays = get(server, "/api/admin/relays").1;
        assert!(start.elapsed() < PATIENCE, "{what}\n{relays}\n{}", server.log());
        pause();
    }
}

#[test]
fn a_relay_that_is_killed_leaves_the_list_and_is_back_after_its_restart() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let coturn = Coturn::start_at(address);
    let theirs = ["udp", "tcp"].map(|transport| format!("turn:{address}?transport={transport}"));
    let server = start(&format!("{FAST}[ice]\nextra = [{}]\n", entry(&theirs)), &[]);
    let has = |server: &Server| {
        let list = urls(server);
        theirs.iter().filter(|url| list.contains(url)).count()
    };
    assert_eq!(has(&server), 2);
    let whole = urls(&server).len();
    let up = |value: u8, transport: &str| {
        format!("meetpoint_probe_up{{server=\"extra\",transport=\"{transport}\"}} {value}")
    };
    let probed = |url: &str| seen(&server, url).is_some_and(|seen| seen["probedAt"].is_u64());
    wait_until(&server, "each is probed", || theirs.iter().all(|url| probed(url)));
    for url in &theirs {
        let seen = seen(&server, url).unwrap();
        assert_eq!(
            (&seen["up"], &seen["server"], &seen["reason"]),
            (&true.into(), &"extra".into(), &Value::Null)
        );
        assert_eq!((&seen["addressesUp"], &seen["addresses"]), (&1.into(), &1.into()));
    }
    server.wait_for_metric(&up(1, "udp"));

    // Killed by its pid.
    drop(coturn);
    wait_until(&server, "it is out", || has(&server) == 0);
    assert_eq!(urls(&server).len(), whole - 2, "and nothing else is");
    let gone = seen(&server, &theirs[0]).unwrap();
    assert_eq!((&gone["up"], &gone["reason"]), (&false.into(), &"refused".into()));
    server.wait_for_metric(&up(0, "udp"));
    server.wait_for_metric(&up(0, "tcp"));
    assert_eq!(
        server.log().matches("does not work and is left out").count(),
        2,
        "{}",
        server.log()
    );
    assert!(
        get(&server, "/readyz").0 == 200,
        "a dead server of others is no reason to stop"
    );

    let again = Coturn::start_at(address);
    wait_until(&server, "it is back", || has(&server) == 2);
    server.wait_for_metric(&up(1, "udp"));
    assert_eq!(server.log().matches("works again").count(), 2, "{}", server.log());
    server.wait_for_metric("meetpoint_events_total{kind=\"relay_down\"} 2");
    server.wait_for_metric("meetpoint_events_total{kind=\"relay_up\"} 2");
    drop(again);
}

#[test]
fn broken_servers_leave_the_list_each_with_its_reason_and_those_that_cannot_be_judged_stay() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("turn:{}?transport=udp", silent.local_addr().unwrap());
    let nobody = "turn:nobody.invalid:3478?transport=udp".to_owned();
    // It speaks DTLS, and agrees on nothing: handshake_failure.
    let dtls = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = dtls.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((_, from)) = dtls.recv_from(&mut [0; 2048]) {
            let _ = dtls.send_to(&[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40], from);
        }
    });
    let dtls = format!("turns:{at}?transport=udp");
    let other = Server::start_at(
        "127.0.0.1",
        &[],
        &[("MEETPOINT__CREDENTIALS__SECRETS", "another secret of other people")],
    );
    let stranger = format!("turn:{}?transport=tcp", other.relay);
    let all = [silent, nobody, stranger, dtls.clone()];
    let server = start(&format!("{FAST}[ice]\nextra = [{}]\n", entry(&all)), &[]);
    wait_until(&server, "three are out", || {
        let list = urls(&server);
        all.iter().filter(|url| list.contains(url)).eq([&dtls])
    });
    // A port that is closed by now may refuse; the reasons of the others are certain.
    let reason = |url: &String| seen(&server, url).unwrap()["reason"].clone();
    assert_eq!(
        (reason(&all[1]), reason(&all[2])),
        ("resolve".into(), "unauthorized".into())
    );
    wait_until(&server, "a handshake that comes to nothing", || {
        reason(&dtls) == "local"
    });
    assert_eq!(seen(&server, &dtls).unwrap()["up"], true);
}

#[test]
fn an_own_url_that_only_this_machine_cannot_reach_stays_and_one_with_a_bad_certificate_goes() {
    let directory = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(at("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (pair, tls) = (
        format!("{}:{}", at("chain.pem"), at("key.pem")),
        format!("127.0.0.1:{}", free_port()),
    );
    // A port at which nobody answers, as behind a mapping that does not work from inside.
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = elsewhere.local_addr().unwrap().port().to_string();
    let arguments = [
        "--tls-certificates",
        &pair,
        "--relay-listen-tls",
        &tls,
        "--ice-host",
        "localhost",
        "--ice-port",
        &port,
    ];
    let server = start(&format!("{FAST}own = \"on\"\n"), &arguments);
    let all = urls(&server);
    let of = |start: &str, end: &str| {
        let mut found = all.iter().filter(|url| url.starts_with(start) && url.ends_with(end));
        found.next().cloned().unwrap()
    };
    let (stun, udp, secure) = (of("stun:", &port), of("turn:", "udp"), of("turns:", "tcp"));
    wait_until(&server, "the one with the certificate is out", || {
        !urls(&server).contains(&secure)
    });
    assert_eq!(seen(&server, &secure).unwrap()["reason"], "tls");
    for url in [&stun, &udp] {
        wait_until(&server, "it is judged by its own address", || {
            seen(&server, url).is_some_and(|seen| seen["onlyNearby"] == true)
        });
        assert!(urls(&server).contains(url), "{url}");
    }
    // They are clients like others for the relay, and nothing that is told of. A stranger's allocation is.
    server.wait_for_metric("meetpoint_events_total{kind=\"created\"} 0");
    let created = server.metric("meetpoint_relay_allocations_created_total ").unwrap();
    assert_ne!(created, "0");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = allocate(Way::Udp, server.relay, PATIENCE);
    runtime.block_on(client).unwrap();
    server.wait_for_metric("meetpoint_events_total{kind=\"created\"} 1");
    server.wait_for_metric("meetpoint_events_total{kind=\"closed\"} 1");
    // Believed, it is back: by a reload, and without a restart.
    let config = format!(
        "{FAST}own = \"on\"\nca = \"{}\"\n[credentials]\nsecrets = \"{SECRET}\"\n[admin]\ntokens = \"{TOKEN}\"\n",
        at("chain.pem")
    );
    server.write("meetpoint.toml", &config);
    wait_until(&server, "it is back", || urls(&server).contains(&secure));
    // And so is one that nobody probes any more.
    server.write("meetpoint.toml", &config.replace("own = \"on\"", "own = \"off\""));
    wait_until(&server, "nothing is probed", || seen(&server, &udp).is_none());
}

#[test]
fn a_server_alone_probes_nobody_and_nobody_is_given_the_name_of_its_probes() {
    let server = start(FAST, &[]);
    assert_eq!(get(&server, "/api/admin/relays"), (200, "{\"relays\":[]}".to_owned()));
    for user in ["meetpoint-probe", "meetpoint-probe%40acme"] {
        let (status, body) = get(&server, &format!("/api/ice-servers?user={user}"));
        assert_eq!(status, 400, "{body}");
        assert!(body.contains("bad_user"), "{body}");
    }
    assert_eq!(get(&server, "/api/ice-servers?user=meetpoint-prober").0, 200);
}
