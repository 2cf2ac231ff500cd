//! What the driver promises the hub while Redis is well.

use meetpoint::backplane::{Config, Outgoing, RedisUrl, round_trip};
use meetpoint::signaling::Topic;
use meetpoint::telemetry::labels::BackplaneState;

use crate::node::{Event, Node, room};
use crate::redis::{Redis, pause};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_publishes_reaches_the_other_in_order_over_all_topics_and_comes_back() {
    let redis = Redis::start(&[]);
    let (a, b) = (Node::start(1, &redis.url()), Node::start(2, &redis.url()));
    a.wait_connected(1);
    b.wait_connected(1);
    for node in [&a, &b] {
        node.outgoing.subscribe(room(1));
        node.wait_for(&Event::Subscribed(room(1)));
    }
    let topics = [Topic::Everybody, Topic::Room(room(1)), Topic::Node(b.id)];
    let sent: Vec<_> = (0..6_000)
        .map(|number| (topics[number % 3], number.to_string()))
        .collect();
    for (topic, payload) in &sent {
        a.publish(*topic, payload.clone());
    }
    let came = |node: &Node, count: usize| {
        node.wait("all messages", |events| {
            events
                .iter()
                .filter(|event| matches!(event, Event::Message(..)))
                .count()
                >= count
        });
        node.messages()
    };
    assert_eq!(came(&b, sent.len()), sent);
    let own: Vec<_> = sent
        .iter()
        .filter(|(topic, _)| *topic != Topic::Node(b.id))
        .cloned()
        .collect();
    assert_eq!(came(&a, own.len()), own, "its own, without what is for the other alone");
    assert_eq!(a.metrics.backplane().state(), BackplaneState::Connected);
    assert!(a.metric("meetpoint_backplane_published_total") >= 6_000.0);
    assert_eq!(a.metric("meetpoint_backplane_dropped_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_room_hosted_is_heard_when_the_hub_is_told_of_the_connection() {
    let redis = Redis::start(&[]);
    let a = Node::start(1, &redis.url());
    a.wait_connected(1);
    let rooms = 1_500;
    let host = |outgoing: &Outgoing| {
        for number in 0..rooms {
            outgoing.subscribe(room(number));
        }
        // Of nobody: there is no connection.
        outgoing.publish(Topic::Everybody, "too early".into());
        outgoing.unsubscribe(room(0));
    };
    let b = Node::with(2, Config::at(RedisUrl::parse(&redis.url()).unwrap()), host);
    b.wait_connected(1);
    assert_eq!(b.events()[0], Event::Connected, "nothing is said before it");
    for number in 0..rooms {
        a.publish(Topic::Room(room(number)), "x");
    }
    b.wait_for(&Event::Message(Topic::Room(room(rooms - 1)), "x".into()));
    let heard: Vec<_> = b.messages().into_iter().map(|(topic, _)| topic).collect();
    let wanted: Vec<_> = (1..rooms).map(|number| Topic::Room(room(number))).collect();
    assert_eq!(heard, wanted);
    assert!(a.messages().is_empty(), "it hosts none of them");
    assert_eq!(b.metric("meetpoint_backplane_subscriptions"), f64::from(rooms - 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_room_is_heard_from_its_confirmation_on_and_not_after_it_was_left() {
    let redis = Redis::start(&[]);
    let (a, b) = (Node::start(1, &redis.url()), Node::start(2, &redis.url()));
    a.wait_connected(1);
    b.wait_connected(1);
    for round in 0..20 {
        b.outgoing.subscribe(room(1));
        b.wait("the confirmation", |events| {
            events
                .iter()
                .filter(|event| **event == Event::Subscribed(room(1)))
                .count()
                > round
        });
        a.publish(Topic::Room(room(1)), round.to_string());
        b.wait_for(&Event::Message(Topic::Room(room(1)), round.to_string().into()));
        b.outgoing.unsubscribe(room(1));
        let channel = "meetpoint:1:room:00010000000000000000000000000000";
        while redis.listeners(channel) > 0 {
            pause();
        }
    }
    // Redis knew first.
    while b.metric("meetpoint_backplane_subscriptions") > 0.0 {
        pause();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_room_given_up_and_wanted_again_is_confirmed_again_and_heard() {
    let redis = Redis::start(&[]);
    let node = Node::start(1, &redis.url());
    node.wait_connected(1);
    for round in 0..200_u16 {
        let room = room(round % 7);
        node.outgoing.subscribe(room);
        node.outgoing.unsubscribe(room);
        node.outgoing.subscribe(room);
    }
    for number in 0..7 {
        node.wait_for(&Event::Subscribed(room(number)));
        node.publish(Topic::Room(room(number)), "heard");
        node.wait_for(&Event::Message(Topic::Room(room(number)), "heard".into()));
    }
    assert!(!node.events().contains(&Event::Lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_with_another_prefix_do_not_hear_each_other() {
    let redis = Redis::start(&[]);
    let other = Config {
        prefix: "meetpoint2".into(),
        ..Config::at(RedisUrl::parse(&redis.url()).unwrap())
    };
    let (a, b) = (Node::start(1, &redis.url()), Node::with(2, other, |_| {}));
    a.wait_connected(1);
    b.wait_connected(1);
    b.publish(Topic::Everybody, "of b");
    b.wait_for(&Event::Message(Topic::Everybody, "of b".into()));
    a.publish(Topic::Everybody, "of a");
    a.wait_for(&Event::Message(Topic::Everybody, "of a".into()));
    assert_eq!((a.messages().len(), b.messages().len()), (1, 1));
}

#[tokio::test]
async fn one_round_trip_says_whether_it_would_work() {
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let config = |url: &str| Config::at(RedisUrl::parse(url).unwrap());
    let with_password = format!("redis://:hunter2@127.0.0.1:{}", redis.port);
    round_trip(&config(&with_password)).await.unwrap();
    let fault = round_trip(&config(&redis.url())).await.unwrap_err();
    assert!(fault.to_string().contains("NOAUTH"), "{fault}");
}
