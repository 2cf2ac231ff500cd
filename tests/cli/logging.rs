//! The log of the real program: what belongs together is found by one id, strangers cannot fill it, and no secret is in it.

use crate::admin;
use crate::moderation::{Peer, operate};
use crate::program::{PATIENCE, Server, free_port, get, meetpoint, pause};
use crate::reload::{FIRST, RELOADED, toml};
use crate::support::client::Client;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

/// As docs/logging.md has it.
const CALLS: &str = "[events]\nlog = true\n[log]\nlevel = \"info,meetpoint::access=debug\"\n";

/// As docs/logging.md finds what belongs to an id.
const FIND: &str = "select([.. | strings] | index($id)) | .what // .message";

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `jq` finds by an id, each line by its name.
fn found(server: &Server, id: &str) -> Vec<String> {
    let mut jq = Command::new("jq")
        .args(["-r", "--arg", "id", id, FIND])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = server.log();
    let mut input = jq.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(log.as_bytes()));
    let output = jq.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The name of a credential in the log, as the page says to compute it.
fn credential_id(username: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", "printf %s \"$1\" | sha256sum | cut -c1-12", "sh", username])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Username and password of a list.
fn credential(ice: &Value) -> (String, String) {
    let servers = ice.as_array().unwrap();
    let turn = servers.iter().find(|each| each["credential"].is_string()).unwrap();
    let text = |name: &str| turn[name].as_str().unwrap().to_owned();
    (text("username"), text("credential"))
}

fn log_in(server: &Server, (username, password): &(String, String)) -> Client {
    let mut client = Client::new(server.relay);
    client.log_in_with(username, password);
    client
}

/// The value of a field of the line with this message.
fn field(server: &Server, message: &str, name: &str) -> String {
    let all = lines(&server.log());
    let line = all.iter().find(|line| line["message"] == message).unwrap();
    line.pointer(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_call_is_found_by_its_request_its_credential_and_its_allocation() {
    let server = Server::start_with(&[("meetpoint.toml", &toml(CALLS)), ("secrets", FIRST)], &[]);
    let answer = get(server.http, "/api/ice-servers?user=alice").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let request = head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "))
        .unwrap();
    let list: Value = serde_json::from_str(body).unwrap();
    let alice = credential(&list["iceServers"]);
    let mut client = log_in(&server, &alice);
    client.allocate();
    assert_eq!(client.refresh(0), Ok(()));
    server.wait_for_log("allocation closed", 1);

    let id = credential_id(&alice.0);
    let of_credential = ["credential issued", "allocation created", "allocation closed"];
    assert_eq!(found(&server, &id), of_credential, "{}", server.log());
    assert_eq!(field(&server, "credential issued", "/credential"), id);
    assert_eq!(found(&server, request), ["credential issued", "request"]);
    let allocation = field(&server, "allocation created", "/allocation");
    assert_eq!(found(&server, &allocation), ["allocation created", "allocation closed"]);
    assert!(!server.log().contains(&alice.1), "a password");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_the_hub_is_found_from_its_request_to_what_its_kick_ended() {
    let server = admin::start(CALLS);
    let peer = Peer::join(&server, "alice", "room").await;
    let session = peer.welcome["sid"].as_str().unwrap().to_owned();
    let mut client = log_in(&server, &credential(&peer.welcome["ice"]["servers"]));
    tokio::task::block_in_place(|| client.allocate());
    let (status, kicked) = operate(&server, "POST /v1/rooms/room/kick", json!({"peer": "alice"})).await;
    assert_eq!((status, &kicked["allocations"]), (200, &json!(1)), "{kicked}");
    tokio::task::block_in_place(|| {
        server.wait_for_log("allocation closed", 1);
        server.wait_for_log("socket ends", 1);
    });
    let mut steps = found(&server, &session);
    // The socket, the relay and the operator's order are three threads.
    steps.sort();
    let expected = [
        "allocation closed",
        "allocation created",
        "credential issued",
        "hub.kick",
        "socket ends",
        "socket opens",
    ];
    assert_eq!(steps, expected, "{}", server.log());
    let request = field(&server, "socket opens", "/span/request_id");
    assert!(found(&server, &request).contains(&"request".to_owned()), "{request}");
}

#[test]
fn addresses_are_shown_as_far_as_the_operator_says_and_a_reload_says_it_anew() {
    let config = |addresses: &str| {
        toml(&format!(
            "[events]\nlog = true\n[log]\nlevel = \"debug\"\naddresses = \"{addresses}\"\n"
        ))
    };
    let server = Server::start_with(&[("meetpoint.toml", &config("network")), ("secrets", FIRST)], &[]);
    let mut seen = 0;
    let mut shown = |reloads: usize| {
        server.wait_for_log(RELOADED, reloads);
        let skipped = lines(&server.log()).len();
        let list = get(server.http, "/api/ice-servers?user=alice").unwrap();
        let list: Value = serde_json::from_str(list.split_once("\r\n\r\n").unwrap().1).unwrap();
        log_in(&server, &credential(&list["iceServers"])).allocate();
        seen += 1;
        server.wait_for_log("allocation created", seen);
        let new = lines(&server.log()).split_off(skipped);
        let of = |message: &str| {
            new.iter()
                .find(|line| line["message"] == message && !line["uri"].as_str().unwrap_or_default().contains("ready"))
                .unwrap()["client"]
                .clone()
        };
        [of("request"), of("allocation created")]
    };
    assert_eq!(shown(0), ["127.0.0.0/24", "127.0.0.0/24"]);
    server.write("meetpoint.toml", &config("none"));
    assert_eq!(shown(1), [Value::Null, Value::Null]);
    server.write("meetpoint.toml", &config("full"));
    let [request, created] = shown(2);
    assert_eq!(request, "127.0.0.1");
    assert!(created.as_str().unwrap().starts_with("127.0.0.1:"), "{created}");
}

#[test]
fn lines_go_to_standard_output_when_asked_and_nothing_to_standard_error() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let at = |port: u16| format!("127.0.0.1:{port}");
    let mut child = meetpoint(&directory)
        .args(["--http-listen", &at(free_port()), "--relay-listen", &at(free_port())])
        .args(["--log-output", "stdout"])
        .stdout(File::create(path("out")).unwrap())
        .stderr(File::create(path("err")).unwrap())
        .spawn()
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let start = Instant::now();
    while !read("out").contains("meetpoint is running") && start.elapsed() < PATIENCE {
        pause();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (out, err) = (read("out"), read("err"));
    assert!(out.contains("meetpoint is running") && err.is_empty(), "{out}\n{err}");
    assert!(!lines(&out).is_empty(), "each a JSON object");
}

/// What strangers send, each once.
fn knock(server: &Server, number: usize) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for packet in [&b"\x00\x03\x00\x00garbage"[..], &[0x16; 300], &[0x40; 20], &[]] {
        udp.send_to(packet, server.relay).unwrap();
    }
    let tcp = |to: SocketAddr, bytes: &[u8]| {
        let Ok(mut stream) = TcpStream::connect(to) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    };
    tcp(server.relay, b"\x16\x03\x01\x00\x05hello");
    for text in [
        "\x16\x03\x01\x02\x00".to_owned(),
        "GET / HTTP/9\r\n\r\n".to_owned(),
        format!("GET /{number}%0ainfo: forged HTTP/1.1\r\nHost: a\r\n\r\n"),
        "POST /api/ice-servers HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{{{".to_owned(),
        "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{0}\u{0}not a frame"
            .to_owned(),
    ] {
        tcp(server.http, text.as_bytes());
    }
}

#[test]
fn strangers_write_nothing_into_the_log_and_no_line_of_it_is_there_twice() {
    let server = Server::start_with(&[("meetpoint.toml", &toml("")), ("secrets", FIRST)], &[]);
    for number in 0..40 {
        knock(&server, number);
    }
    let all = lines(&server.log());
    assert!(all.len() < 20, "{}", server.log());
    let mut without_times: Vec<String> = all
        .into_iter()
        .map(|mut line| {
            line.as_object_mut().unwrap().remove("timestamp");
            line.to_string()
        })
        .collect();
    let said = without_times.len();
    without_times.sort();
    without_times.dedup();
    assert_eq!(without_times.len(), said, "{}", server.log());
}

#[test]
fn a_line_that_comes_again_and_again_is_counted_instead() {
    let config = toml("[log]\nburst = 3\n");
    let server = Server::start_with(&[("meetpoint.toml", &config), ("secrets", FIRST)], &[]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let limit = |number: usize| {
        let limited = Command::new("prlimit")
            .args(["--pid", &server.pid().to_string(), &format!("--nofile={number}:")])
            .status();
        assert!(limited.unwrap().success());
    };
    // Without a free descriptor every look at the queue of connections fails, several times a second.
    limit(open());
    let waiting: Vec<_> = (0..8).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    server.wait_for_log("more times in", 1);
    let all = lines(&server.log());
    let told = all.iter().find(|line| line["repeated"].is_u64()).unwrap();
    assert_eq!(told["level"], "WARN", "{told}");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .ends_with("s: cannot accept a connection"),
        "{told}"
    );
    let said = |line: &&Value| line["message"] == "cannot accept a connection";
    let before = all.iter().take_while(|line| !line["repeated"].is_u64());
    assert_eq!(before.filter(said).count(), 3, "{}", server.log());
    drop(waiting);
}

/// Opens a socket at a path, says something there, and waits for any answer.
async fn say(server: SocketAddr, path: &str, frames: &[&str]) {
    let request = format!("ws://{server}{path}").into_client_request().unwrap();
    let stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    for frame in frames {
        let _ = socket.send(Message::text(*frame)).await;
    }
    let _ = tokio::time::timeout(PATIENCE, socket.next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_key_is_written_down_wherever_clients_put_them() {
    const SECRET: &str = "mpk_5ecretOfAStranger0123456789";
    let config = toml(
        "[http]\ncompat = [\"cloudflare\", \"twilio\", \"metered\", \"xirsys\"]\n\
         [signaling]\ndialects = [\"/retcon=retcon\", \"/query=retcon-query\"]\n\
         [auth]\njwt_secrets = \"0123456789abcdef0123456789abcdef\"\n[log]\nlevel = \"trace\"\n",
    );
    let server = Server::start_with(&[("meetpoint.toml", &config), ("secrets", FIRST)], &[]);
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("shop:{SECRET}"));
    tokio::task::block_in_place(|| {
        for (request, header) in [
            (format!("GET /api/ice-servers?apiKey={SECRET}"), String::new()),
            (format!("GET /api/ice-servers?key={SECRET}&{SECRET}"), String::new()),
            ("GET /v1/ice".to_owned(), format!("X-Api-Key: {SECRET}")),
            ("GET /v1/ice".to_owned(), format!("Authorization: Bearer {SECRET}")),
            (
                "POST /2010-04-01/Accounts/AC1/Tokens.json".to_owned(),
                format!("Authorization: Basic {basic}"),
            ),
            (format!("GET /api/v1/turn/credentials?apiKey={SECRET}"), String::new()),
            (
                "POST /v1/turn/keys/shop/credentials/generate-ice-servers".to_owned(),
                format!("Authorization: Bearer {SECRET}"),
            ),
            ("PUT /_turn/shop".to_owned(), format!("Authorization: Basic {basic}")),
            (format!("GET /v1/validate?access_token={SECRET}"), String::new()),
            (
                "GET /api/admin/config".to_owned(),
                format!("Authorization: Bearer {SECRET}"),
            ),
        ] {
            crate::compat::ask(
                &server,
                &request,
                &[&header].map(|header| if header.is_empty() { "X-A: b" } else { header }),
                "",
            );
        }
    });
    let hello = json!({"t": "hello", "v": [1], "token": SECRET}).to_string();
    say(server.http, "/v1/ws", &[&hello]).await;
    say(server.http, &format!("/v1/ws?access_token={SECRET}"), &["{}"]).await;
    say(
        server.http,
        &format!("/retcon?token={SECRET}"),
        &["{\"type\":\"announce\"}"],
    )
    .await;
    say(server.http, &format!("/query?token={SECRET}&room=a"), &["{}"]).await;
    let connect = format!("40{}", json!({"token": SECRET}));
    say(server.http, "/socket.io/?EIO=4&transport=websocket", &[&connect]).await;
    let peerjs = format!("/peerjs?key=peerjs&id=a&token={SECRET}");
    say(server.http, &peerjs, &["{\"type\":\"HEARTBEAT\"}"]).await;

    tokio::task::block_in_place(|| server.wait_for_log("socket ends", 5));
    let log = server.log();
    assert!(log.contains("/v1/validate"), "requests are in it: {log}");
    for secret in [SECRET, &basic, FIRST] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
