//! What the driver does when Redis is not well. After each fault it is connected again and everything is heard.

use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meetpoint::backplane::config::Queue;
use meetpoint::backplane::{Config, MAX_MESSAGE, Password, RedisUrl};
use meetpoint::signaling::Topic;
use meetpoint::telemetry::labels::{BackplaneFault, BackplaneState};
use tempfile::TempDir;

use crate::node::{Event, Node, room};
use crate::redis::Redis;

fn config(url: &str) -> Config {
    Config::at(RedisUrl::parse(url).unwrap())
}

/// Notices what hangs soon, and not for a busy machine's pauses alone.
fn impatient(url: &str) -> Config {
    Config {
        patience: Duration::from_secs(2),
        ..config(url)
    }
}

/// Both hear a room's message of the other, since the last connection.
fn assert_together(a: &Node, b: &Node, word: &str) {
    for (from, to) in [(a, b), (b, a)] {
        let payload = format!("{word} of {}", from.id);
        // Either may be between two connections for a moment: what is published then is lost, as it may be.
        let message = Event::Message(Topic::Room(room(1)), payload.clone().into());
        let start = std::time::Instant::now();
        while to.count(&message) == 0 {
            assert!(start.elapsed() < crate::redis::PATIENCE, "{payload} was not heard");
            from.publish(Topic::Room(room(1)), payload.clone());
            crate::redis::pause();
        }
    }
}

fn pair(config: &Config) -> (Node, Node) {
    let host = |outgoing: &meetpoint::backplane::Outgoing| outgoing.subscribe(room(1));
    let (a, b) = (Node::with(1, config.clone(), host), Node::with(2, config.clone(), host));
    a.wait_connected(1);
    b.wait_connected(1);
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_killed_and_started_again_is_found_again_with_every_room() {
    let mut redis = Redis::start(&[]);
    let (a, b) = pair(&config(&redis.url()));
    assert_together(&a, &b, "before");
    redis.kill();
    for node in [&a, &b] {
        node.wait_for(&Event::Lost);
        assert_eq!(node.metrics.backplane().state(), BackplaneState::Away);
        node.publish(Topic::Everybody, "while it was away");
        // Rooms come and go meanwhile.
        node.outgoing.subscribe(room(2));
        node.outgoing.subscribe(room(3));
        node.outgoing.unsubscribe(room(3));
    }
    redis.start_again();
    a.wait_connected(2);
    b.wait_connected(2);
    assert_together(&a, &b, "after");
    a.publish(Topic::Room(room(3)), "of a room that was left");
    a.publish(Topic::Room(room(2)), "of a room that came meanwhile");
    b.wait_for(&Event::Message(
        Topic::Room(room(2)),
        "of a room that came meanwhile".into(),
    ));
    let texts: Vec<_> = b.messages().into_iter().map(|(_, text)| text).collect();
    assert!(
        !texts
            .iter()
            .any(|text| text == "while it was away" || text == "of a room that was left")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_hangs_is_noticed_and_found_again() {
    let redis = Redis::start(&[]);
    let (a, b) = pair(&impatient(&redis.url()));
    redis.signal("STOP");
    for node in [&a, &b] {
        node.wait_for(&Event::Lost);
        node.wait_fault(BackplaneFault::TimedOut);
    }
    redis.signal("CONT");
    a.wait_connected(2);
    b.wait_connected(2);
    assert_together(&a, &b, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_starts_before_redis_finds_it_later() {
    let mut redis = Redis::planned(&[]);
    let node = Node::start(1, &redis.url());
    node.wait_fault(BackplaneFault::Unreachable);
    assert_eq!(node.events(), []);
    redis.start_again();
    node.wait_connected(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_password_is_refused_until_it_is_right() {
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let node = Node::with(
        1,
        Config {
            password: Some(Password::new("hunter3")),
            ..config(&redis.url())
        },
        |_| {},
    );
    node.wait_fault(BackplaneFault::Refused);
    assert_eq!(node.events(), []);
    assert_eq!(redis.ask(&["AUTH hunter2", "CONFIG SET requirepass hunter3"]), "+OK");
    node.wait_connected(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_of_redis_needs_no_more_than_the_channels() {
    let redis = Redis::start(&[]);
    let rights = "ACL SETUSER meet on >pass resetchannels &meetpoint:* -@all +publish +subscribe +unsubscribe";
    assert_eq!(redis.ask(&[rights]), "+OK");
    let url = format!("redis://meet:pass@127.0.0.1:{}", redis.port);
    let (a, b) = pair(&config(&url));
    assert_together(&a, &b, "with rights");
    // Nobody may publish any more: that is not passed over.
    assert_eq!(redis.ask(&["ACL SETUSER meet -publish"]), "+OK");
    a.wait_fault(BackplaneFault::Refused);
    a.wait_for(&Event::Lost);
    assert_eq!(redis.ask(&["ACL SETUSER meet +publish"]), "+OK");
    assert_together(&a, &b, "with rights again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_redis_closes_are_made_again() {
    let redis = Redis::start(&[]);
    let (a, b) = pair(&config(&redis.url()));
    for (round, kind) in ["pubsub", "normal", "pubsub", "normal"].into_iter().enumerate() {
        redis.ask(&[&format!("CLIENT KILL TYPE {kind} SKIPME yes")]);
        a.wait_connected(round + 2);
        b.wait_connected(round + 2);
        assert_together(&a, &b, &round.to_string());
    }
    for node in [&a, &b] {
        // Never connected twice without having been told of the loss.
        let mut up = false;
        for event in node.events() {
            match event {
                Event::Connected => assert!(!std::mem::replace(&mut up, true)),
                Event::Lost => assert!(std::mem::replace(&mut up, false)),
                Event::Message(..) | Event::Fleet(_) | Event::Subscribed(_) => {
                    assert!(up, "{event:?} while it was away")
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_is_too_slow_for_redis_is_cut_off_and_comes_back() {
    let redis = Redis::start(&["--client-output-buffer-limit", "pubsub 1mb 1mb 1"]);
    let (a, b) = pair(&config(&redis.url()));
    b.recorder.set_closed(true);
    let long = "x".repeat(64 * 1024);
    for _ in 0..400 {
        a.publish(Topic::Node(b.id), long.clone());
    }
    // What the kernel's buffers hold comes on top; Redis says itself when it had enough.
    let start = std::time::Instant::now();
    while !redis_closed_somebody(&redis) {
        assert!(start.elapsed() < crate::redis::PATIENCE);
        a.publish(Topic::Node(b.id), long.clone());
        crate::redis::pause();
    }
    b.recorder.set_closed(false);
    b.wait_for(&Event::Lost);
    b.wait_connected(2);
    assert_together(&a, &b, "after");
}

fn redis_closed_somebody(redis: &Redis) -> bool {
    redis.listeners("meetpoint:1:node:0202020202020202") == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_than_may_wait_is_dropped_counted_and_told() {
    let redis = Redis::start(&[]);
    let bound = Config {
        queue: Queue {
            messages: 100,
            bytes: 1 << 20,
        },
        ..config(&redis.url())
    };
    let (a, b) = pair(&bound);
    redis.signal("STOP");
    let start = std::time::Instant::now();
    let publishing = std::time::Instant::now();
    for number in 0..10_000 {
        a.publish(Topic::Everybody, number.to_string());
    }
    assert!(
        publishing.elapsed() < Duration::from_secs(30),
        "the hub does not wait for Redis"
    );
    a.wait_fault(BackplaneFault::Overflow);
    a.wait_for(&Event::Lost);
    assert!(start.elapsed() < crate::redis::PATIENCE);
    assert!(a.metric("meetpoint_backplane_dropped_total") >= 101.0);
    redis.signal("CONT");
    a.wait_connected(2);
    assert_together(&a, &b, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_longer_than_any_of_ours_ends_the_connection_and_nothing_else() {
    let redis = Redis::start(&[]);
    let (a, b) = pair(&config(&redis.url()));
    let long = "x".repeat(MAX_MESSAGE + (1 << 20));
    redis.ask(&[&format!("PUBLISH meetpoint:1:node:0101010101010101 {long}")]);
    a.wait_fault(BackplaneFault::TooLong);
    a.wait_connected(2);
    assert_together(&a, &b, "after");
    assert!(a.messages().iter().all(|(_, text)| text.len() < 100));
    assert!(!b.events().contains(&Event::Lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_never_answers_and_what_answers_nonsense_is_no_redis() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Node::with(
        1,
        Config {
            patience: Duration::from_millis(300),
            ..config(&format!("redis://{}", listener.local_addr().unwrap()))
        },
        |_| {},
    );
    silent.wait_fault(BackplaneFault::TimedOut);
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = talker.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in talker.incoming().take(3) {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let misled = Node::start(2, &format!("redis://{address}"));
    misled.wait_fault(BackplaneFault::Closed);
    assert_eq!((silent.events(), misled.events()), (vec![], vec![]));
}

/// A certificate for `localhost` in that directory.
fn certificate(directory: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_tls_the_certificate_must_be_trusted() {
    let directory = TempDir::new().unwrap();
    certificate(directory.path());
    let at = |name: &str| directory.path().join(name).display().to_string();
    let mut redis = Redis::planned(&[]);
    let port = redis.port.to_string();
    redis = redis.with(&[
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &at("chain.pem"),
        "--tls-key-file",
        &at("key.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    redis.start_again();
    let url = format!("rediss://localhost:{port}");
    let trusting = Config {
        ca: Some(directory.path().join("chain.pem")),
        ..config(&url)
    };
    let (a, b) = pair(&trusting);
    assert_together(&a, &b, "by TLS");
    let stranger = Node::with(3, config(&url), |_| {});
    stranger.wait_fault(BackplaneFault::Tls);
    assert_eq!(stranger.events(), []);
}

/// Passes connections on: to one server and the other in turn while `apart`, else to the first.
fn door(servers: [u16; 2], apart: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let to = servers[if apart.load(Ordering::Relaxed) { number % 2 } else { 0 }];
            let (Ok(inside), Ok(outside)) = (TcpStream::connect(("127.0.0.1", to)), stream) else {
                continue;
            };
            for (mut from, mut to) in [
                (inside.try_clone().unwrap(), outside.try_clone().unwrap()),
                (outside, inside),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_lead_to_two_servers_are_noticed_and_made_anew() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    let apart = Arc::new(AtomicBool::new(true));
    let port = door([one.port, other.port], Arc::clone(&apart));
    let node = Node::with(1, impatient(&format!("redis://127.0.0.1:{port}")), |_| {});
    node.wait_fault(BackplaneFault::TimedOut);
    apart.store(false, Ordering::Relaxed);
    let start = std::time::Instant::now();
    let echo = || node.metric("meetpoint_backplane_round_trip_seconds");
    while echo() == 0.0 {
        assert!(start.elapsed() < crate::redis::PATIENCE);
        crate::redis::pause();
    }
    node.wait_connected(2);
}
