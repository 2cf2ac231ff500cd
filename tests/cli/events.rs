//! Events of the real program: in its log, at a webhook, on the admin stream, and in the audit trail.

use crate::admin::ask;
use crate::hook::{Answer, Got, Receiver};
use crate::moderation::Peer;
use crate::program::{PATIENCE, Server, pause};
use crate::reload::{FIRST, client_of, echo, round_trip, toml};
use crate::support::client::Wish;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Instant;

const TOKEN: &str = "an operator's token of 32 characters";
const HOOK_SECRET: &str = "the secret of a webhook of this test";

fn start(more: &str, arguments: &[&str]) -> Server {
    let config = format!(
        "{}[admin]\ntokens_file = \"tokens\"\n{more}",
        toml("drain_timeout = \"0s\"\n")
    );
    let tokens = format!("alice={TOKEN}");
    let files = [
        ("meetpoint.toml", config.as_str()),
        ("secrets", FIRST),
        ("tokens", tokens.as_str()),
        ("hook-secret", HOOK_SECRET),
    ];
    Server::start_with(&files, arguments)
}

fn webhook(receiver: &Receiver, more: &str) -> String {
    let url = receiver.url();
    format!("[[events.webhooks]]\nurl = \"{url}\"\nsecret_file = \"hook-secret\"\ninterval = \"50ms\"\n{more}")
}

/// A listener on the admin stream: curl, and its lines.
struct Stream {
    curl: Child,
    lines: mpsc::Receiver<String>,
}

impl Stream {
    fn open(server: &Server, query: &str) -> Self {
        let mut curl = Command::new("curl")
            .args([
                "-sS",
                "-N",
                "--noproxy",
                "*",
                "-H",
                &format!("Authorization: Bearer {TOKEN}"),
            ])
            .arg(format!("http://{}/api/admin/events{query}", server.http))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(curl.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let stream = Self { curl, lines };
        assert_eq!(stream.line(), ": listening");
        stream
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next event: its name, its id and its data.
    fn next(&self) -> (String, String, Value) {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("event", text)) => name = text.to_owned(),
                Some(("id", text)) => id = text.to_owned(),
                Some(("data", text)) => {
                    let data: Value = serde_json::from_str(text).unwrap();
                    return (name, id, data);
                }
                // Comments, and the empty lines between events.
                _ => assert!(line.is_empty() || line.starts_with(':'), "{line}"),
            }
        }
    }

    /// Whether it ended by itself.
    fn ends(mut self) -> bool {
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.curl.wait().unwrap().success()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

#[test]
fn an_allocation_is_told_of_everywhere_and_its_end_says_what_it_relayed() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let config = format!("[events]\nlog = true\n{}", webhook(&receiver, ""));
    let server = start(&config, &["--http-header-timeout", "1s"]);
    let stream = Stream::open(&server, "?kinds=created,closed,denied&user=alice");
    let other = Stream::open(&server, "?kinds=created&user=bob");

    let (peer, stop, thread) = echo();
    let mut alice = client_of(&server, FIRST, "alice");
    let relayed = alice.allocate();
    alice.bind(0x4000, peer);
    for at in 0..10 {
        round_trip(&alice, at);
    }
    let (name, id, created) = stream.next();
    assert_eq!((name.as_str(), &created["kind"]), ("created", &"created".into()));
    assert_eq!(created["id"], id);
    assert_eq!(created["client"], alice.socket.local_addr().unwrap().to_string());
    assert_eq!(created["relayed"][0], relayed.to_string());
    assert_eq!(created["listen"], server.relay.to_string());
    // A stream lives longer than the time that a header may take.
    let began = Instant::now();
    while began.elapsed().as_millis() < 1500 {
        pause();
    }
    assert_eq!(alice.refresh(0), Ok(()));
    let (_, _, closed) = stream.next();
    assert_eq!(
        (&closed["kind"], &closed["reason"]),
        (&"closed".into(), &"deleted".into())
    );
    assert_eq!(closed["allocation"], created["allocation"]);
    for way in ["toPeer", "toClient"] {
        assert_eq!(
            (&closed[way]["packets"], &closed[way]["bytes"]),
            (&10.into(), &40.into()),
            "{closed}"
        );
    }
    client_of(&server, FIRST, "bob").allocate();
    assert_eq!(other.next().2["user"], "bob", "of alice it heard nothing");

    receiver.wait(|got| {
        got.iter()
            .flat_map(|got| got.events())
            .filter(|event| event["kind"] == "created")
            .count()
            == 2
    });
    let told = receiver.events();
    assert_eq!(of_kind(&told, "created")[0], &created, "everybody is told the same");
    assert_eq!(of_kind(&told, "closed"), [&closed]);
    let log = server.log();
    assert!(
        log.contains("allocation closed") && log.contains("\"to_peer_bytes\":40"),
        "{log}"
    );
    assert!(log.contains("\"client\":\"127.0.0.0/24\""), "as a network: {log}");
    assert!(
        !log.contains("hook?key=value") && !log.contains(HOOK_SECRET) && !log.contains(TOKEN),
        "{log}"
    );
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_refused_peer_and_a_wrong_password_are_told_of_once_a_second() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let server = start(&webhook(&receiver, "kinds = [\"denied\", \"auth_failed\"]\n"), &[]);
    let mut alice = client_of(&server, FIRST, "alice");
    alice.allocate();
    assert_eq!(alice.try_permit("10.0.0.1:1".parse().unwrap()), Err(403));
    let mut guesser = client_of(&server, "not the secret of this server", "alice");
    assert_eq!(guesser.try_allocate(Wish::default()).err(), Some(401));
    let both = |got: &[crate::hook::Got]| got.iter().flat_map(|got| got.events()).count() >= 2;
    receiver.wait(both);
    let told = receiver.events();
    let denied = of_kind(&told, "denied")[0];
    assert_eq!(
        (&denied["class"], &denied["method"], &denied["peer"], &denied["count"]),
        (
            &"private".into(),
            &"create_permission".into(),
            &"10.0.0.1".into(),
            &1.into()
        )
    );
    let failed = of_kind(&told, "auth_failed")[0];
    assert_eq!(failed["reason"], "wrong_password");
    assert!(failed.get("user").is_none(), "nobody has proven it: {failed}");
}

#[test]
fn the_ends_of_the_last_allocations_get_out_before_the_process_ends() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let mut server = start(&webhook(&receiver, ""), &[]);
    let stream = Stream::open(&server, "");
    for user in ["alice", "bob"] {
        client_of(&server, FIRST, user).allocate();
    }
    server.signal("TERM");
    assert_eq!(server.wait(), 0, "{}", server.log());
    let told = receiver.events();
    let reasons: Vec<_> = of_kind(&told, "closed")
        .iter()
        .map(|event| event["reason"].clone())
        .collect();
    assert_eq!(reasons, ["shutdown", "shutdown"]);
    assert!(stream.ends(), "a stream does not hold up the end");
}

#[test]
fn operators_leave_a_trail_with_names_and_no_tokens() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let server = start(&webhook(&receiver, "kinds = \"admin\"\n"), &[]);
    let mut alice = client_of(&server, FIRST, "alice");
    alice.allocate();
    let until = u64::MAX / 2;
    let body = format!("{{\"user\":\"mallory\",\"until\":{until}}}");
    assert_eq!(ask(server.http, Some(TOKEN), "GET /api/admin/allocations", "").0, 200);
    assert_eq!(
        ask(server.http, Some(TOKEN), "POST /api/admin/revocations", &body).0,
        200
    );
    assert_eq!(
        ask(
            server.http,
            Some(TOKEN),
            "DELETE /api/admin/users/alice/allocations",
            ""
        )
        .0,
        200
    );
    assert_eq!(
        ask(server.http, Some(TOKEN), "DELETE /api/admin/allocations/0-0-77", "").0,
        404
    );
    assert_eq!(ask(server.http, Some(TOKEN), "POST /api/admin/reload", "").0, 200);

    // Somebody tries tokens: turned away, then told to wait, while a good one still opens.
    let wrong = |number: u32| {
        ask(
            server.http,
            Some(&format!("guess {number} of a token's 32 characters")),
            "GET /api/admin/config",
            "",
        )
    };
    let answers: Vec<u16> = (0..40).map(|number| wrong(number).0).collect();
    assert_eq!((answers[0], answers[19]), (401, 401));
    let (status, head, _) = wrong(99);
    assert!(
        answers.contains(&429) && status == 429 && head.contains("retry-after: "),
        "{answers:?} {head}"
    );
    assert_eq!(ask(server.http, Some(TOKEN), "GET /api/admin/config", "").0, 200);

    let trail = |events: &[Value]| -> Vec<(String, String, u64)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let own = events.iter().filter(|event| event["token"] == "alice");
        own.map(|event| {
            (
                text(&event["action"]),
                text(&event["target"]),
                event["status"].as_u64().unwrap(),
            )
        })
        .collect()
    };
    receiver.wait(|got| {
        got.iter()
            .flat_map(|got| got.events())
            .filter(|event| event["action"] == "token_refused")
            .count()
            >= 20
    });
    let told = receiver.events();
    let row = |action: &str, target: &str, status| (action.to_owned(), target.to_owned(), status);
    assert_eq!(
        trail(&told),
        [
            row("revoke", "mallory", 200),
            row("end_user", "alice", 200),
            row("end_allocation", "0-0-77", 404),
            row("reload", "", 200),
        ]
    );
    let log = server.log();
    assert!(
        log.contains("meetpoint::audit") && log.contains("\"token\":\"alice\""),
        "{log}"
    );
    assert!(!log.contains(TOKEN) && !log.contains("guess 0"), "{log}");
    assert!(
        !receiver
            .got()
            .iter()
            .any(|got| got.body.contains(TOKEN) || got.body.contains("guess "))
    );
    assert!(
        server
            .metric("meetpoint_admin_refusals_total{reason=\"limited\"}")
            .unwrap()
            != "0"
    );
}

#[test]
fn webhooks_come_and_go_with_a_reload() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let server = start("", &[]);
    client_of(&server, FIRST, "before").allocate();
    let tail = |more: &str| {
        format!(
            "{}[admin]\ntokens_file = \"tokens\"\n{more}",
            toml("drain_timeout = \"0s\"\n")
        )
    };
    server.write("meetpoint.toml", &tail(&webhook(&receiver, "kinds = \"created\"\n")));
    server.signal("HUP");
    server.wait_for_log("events.webhooks", 1);
    client_of(&server, FIRST, "meanwhile").allocate();
    receiver.wait(|got| !got.is_empty());
    server.write("meetpoint.toml", &tail(""));
    server.signal("HUP");
    server.wait_for_log("events.webhooks", 2);
    client_of(&server, FIRST, "after").allocate();
    let users: Vec<_> = receiver.events().iter().map(|event| event["user"].clone()).collect();
    assert_eq!(users, ["meanwhile"]);
    assert_eq!(server.metric("meetpoint_webhook_queued_events").as_deref(), Some("0"));
}

#[test]
fn a_receiver_with_tls_must_have_a_certificate_that_this_machine_believes() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut tls = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut head = [0; 4096];
            let mut secure = rustls::Stream::new(&mut tls, &mut stream);
            let Ok(length) = secure.read(&mut head) else { continue };
            let text = String::from_utf8_lossy(&head[..length]).into_owned();
            let _ = std::io::Write::write_all(&mut secure, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            let _ = sender.send(text);
        }
    });
    let hook = format!("[[events.webhooks]]\nurl = \"{url}\"\nsecret_file = \"hook-secret\"\ninterval = \"0s\"\n");
    let config = format!("{}{hook}", toml("drain_timeout = \"0s\"\n"));
    let pem = certified.cert.pem();
    let files = [
        ("meetpoint.toml", config.as_str()),
        ("secrets", FIRST),
        ("hook-secret", HOOK_SECRET),
        ("ca.pem", pem.as_str()),
    ];
    // Nobody vouches for it: not told, and the log says why.
    let strict = Server::start_with(&files, &[]);
    client_of(&strict, FIRST, "alice").allocate();
    strict.wait_for_log("the webhook does not take events: TLS", 1);
    drop(strict);
    assert!(requests.try_recv().is_err());
    let trusting = Server::start_among(&files, "127.0.0.1", &[], &[("SSL_CERT_FILE", "ca.pem")]);
    client_of(&trusting, FIRST, "alice").allocate();
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(
        request.starts_with("POST / HTTP/1.1\r\n") && request.contains("x-meetpoint-signature: t="),
        "{request}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_whom_operators_put_out_of_the_hub_and_let_in_again() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let kinds = "kinds = [\"hub.kick\", \"hub.ban\", \"hub.unban\", \"hub.room_closed\"]\n";
    let config = format!("[events]\nlog = true\n{}", webhook(&receiver, kinds));
    let server = tokio::task::block_in_place(|| start(&config, &[]));
    let mallory = Peer::join(&server, "mallory", "a \"room\"").await;
    let mut alice = Peer::join(&server, "alice", "a \"room\"").await;
    let operate = |request: &str, body: &str| {
        let (status, _, body) = tokio::task::block_in_place(|| ask(server.http, Some(TOKEN), request, body));
        assert!(status < 300, "{request}: {body}");
    };
    operate(
        "POST /v1/rooms/a%20%22room%22/kick",
        "{\"peer\":\"mallory\",\"reason\":\"be nice\",\"ban_seconds\":60}",
    );
    operate("DELETE /v1/bans/1", "");
    operate("POST /v1/rooms/a%20%22room%22/close", "{\"reason\":\"over\"}");
    assert_eq!(alice.recv().await["ev"], "leave");
    assert_eq!(alice.recv().await["t"], "closed");

    let all = |got: &[Got]| got.iter().map(|got| got.events().len()).sum::<usize>() >= 4;
    tokio::task::block_in_place(|| receiver.wait(all));
    let events = receiver.events();
    let told: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(told, ["hub.kick", "hub.ban", "hub.unban", "hub.room_closed"]);
    let kick = &events[0];
    for (name, value) in [
        ("dialect", "native"),
        ("room", "a \"room\""),
        ("peer", "mallory"),
        ("client", "127.0.0.1"),
        ("reason", "be nice"),
    ] {
        assert_eq!(kick[name], value, "{kick}");
    }
    assert_eq!(kick["session"], mallory.welcome["sid"]);
    assert!(kick.get("user").is_none() && kick.get("realm").is_none(), "{kick}");
    let ban = &events[1];
    assert_eq!(
        (&ban["ban"], &ban["ended"], &ban["peer"]),
        (&json!(1), &json!(1), &json!("mallory")),
        "{ban}"
    );
    assert!(ban["until"].as_u64().unwrap() > ban["time"].as_u64().unwrap(), "{ban}");
    assert_eq!(events[2]["ban"], 1);
    assert_eq!(
        (&events[3]["room"], &events[3]["ended"]),
        (&json!("a \"room\""), &json!(0))
    );
    // A line cannot be forged by the name of a room.
    server.wait_for_log("hub.room_closed", 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_without_room_for_its_ban_is_told_and_loses_the_relay_all_the_same() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let config = format!(
        "[signaling]\nbans = 0\n{}",
        webhook(&receiver, "kinds = \"hub.kick\"\n")
    );
    let server = tokio::task::block_in_place(|| start(&config, &[]));
    let mut mallory = Peer::join(&server, "mallory", "lobby").await;
    let operate = |request: &str, body: &str| {
        let (status, _, body) = tokio::task::block_in_place(|| ask(server.http, Some(TOKEN), request, body));
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let kick = json!({ "peer": "mallory", "ban_seconds": 60 });
    let (status, problem) = operate("POST /v1/rooms/lobby/kick", &kick.to_string());
    assert_eq!((status, &problem["code"]), (507, &json!("bans_full")));
    assert_eq!(mallory.recv().await["code"], "forbidden");
    assert_eq!(mallory.closed().await, 4105);
    tokio::task::block_in_place(|| receiver.wait(|got| !got.is_empty()));
    assert_eq!(receiver.events()[0]["session"], mallory.welcome["sid"]);
    let (_, revoked) = operate("GET /api/admin/revocations", "");
    assert_eq!(
        revoked["revocations"][0]["session"], mallory.welcome["sid"],
        "{revoked}"
    );
}
