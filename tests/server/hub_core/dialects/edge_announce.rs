//! edge-net's peers that announce themselves: who offers to whom, and who is who.

use meetpoint::signaling::{AuthError, CloseCode, Config, ConnectionId, Dialect};
use serde_json::{Value, json};

use crate::hub_world::World;

fn announcement(key: &str) -> Value {
    json!({"type": "announce", "piKey": key, "publicKey": "pk", "siteId": format!("site-{key}"), "capabilities": ["compute"]})
}

fn announce(world: &mut World, key: &str) -> (ConnectionId, Vec<Value>) {
    let connection = world.connect_as(Dialect::Auto);
    let told = world.speak(connection, announcement(key));
    (connection, told)
}

fn listed(told: &[Value]) -> Vec<String> {
    let list = told.iter().find(|frame| frame["type"] == "peer-list").expect("a list");
    let keys = list["peers"].as_array().unwrap().iter();
    keys.map(|peer| peer["piKey"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_newcomer_is_told_of_others_and_they_of_it_field_by_field() {
    let mut world = World::new(Config::default());
    let (a, told) = announce(&mut world, "a");
    assert_eq!(told, [json!({"type": "peer-list", "peers": []})]);
    let (b, told) = announce(&mut world, "b");
    let peer = json!({"piKey": "a", "siteId": "site-a", "capabilities": ["compute"]});
    assert_eq!(told, [json!({"type": "peer-list", "peers": [peer]})]);
    let joined = json!({"type": "peer-joined", "peerId": "b", "siteId": "site-b", "capabilities": ["compute"]});
    assert_eq!(world.all(a), [joined]);
    world.gone(b, CloseCode::Abnormal);
    assert_eq!(world.all(a), [json!({"type": "peer-left", "peerId": "b"})]);
    world.check();
}

/// Upstream, both offered and neither answered: whoever has the larger id offers, and nobody else.
#[test]
fn of_any_two_peers_one_offers_whatever_the_order_they_come_in() {
    let ids = ["b", "B", "10", "9", "~", "a0", "a"];
    let mut world = World::new(Config::default());
    let mut present: Vec<(&str, ConnectionId)> = Vec::new();
    let mut offers: Vec<[String; 2]> = Vec::new();
    for id in ids {
        let (newcomer, told) = announce(&mut world, id);
        // The client as it is: it offers to whom it is told of, and to a newcomer whose id is smaller than its own.
        offers.extend(listed(&told).into_iter().map(|to| [id.to_owned(), to]));
        for (own, connection) in &present {
            let joined = world.all(*connection).pop().unwrap();
            let other = joined["peerId"].as_str().unwrap();
            if utf16(own) > utf16(other) {
                offers.push([(*own).to_owned(), other.to_owned()]);
            }
        }
        present.push((id, newcomer));
    }
    let mut pairs: Vec<_> = offers
        .iter()
        .cloned()
        .map(|mut pair| {
            pair.sort();
            pair
        })
        .collect();
    pairs.sort();
    pairs.dedup();
    assert_eq!(
        (pairs.len(), offers.len()),
        (ids.len() * (ids.len() - 1) / 2, pairs.len())
    );
}

/// How JavaScript compares strings.
fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

#[test]
fn a_signal_says_who_sent_it_whatever_it_says_itself() {
    let mut world = World::new(Config::default());
    let (a, _) = announce(&mut world, "a");
    let (b, _) = announce(&mut world, "b");
    world.all(a);
    for (kind, field) in [("offer", "offer"), ("answer", "answer"), ("ice-candidate", "candidate")] {
        let mut frame = json!({"type": kind, "to": "a", "from": "forged", "x": 1});
        frame[field] = json!({"sdp": "v=0\r\n"});
        assert!(world.speak(b, frame.clone()).is_empty());
        frame["from"] = json!("b");
        assert_eq!(world.all(a), [frame]);
    }
    // Two senders in one frame: what is read last is what is true.
    let text = r#"{"from":"x","type":"offer","to":"a","from":"y","offer":{"n":1.50}}"#;
    world.hub.handle_frame(
        world.now,
        b,
        meetpoint::signaling::Frame::text(Dialect::EdgeAnnounce, text),
    );
    world.collect();
    assert_eq!(
        world.recv_text(a),
        r#"{"type":"offer","to":"a","offer":{"n":1.50},"from":"b"}"#
    );
}

/// Upstream, a client that has lost its socket does not announce itself again, and could be reached by nobody.
#[test]
fn the_first_signal_of_a_client_that_came_back_tells_who_it_is() {
    let mut world = World::new(Config::default());
    let (a, _) = announce(&mut world, "a");
    let (b, _) = announce(&mut world, "b");
    let (c, _) = announce(&mut world, "c");
    world.gone(b, CloseCode::Abnormal);
    world.all(a);
    world.all(c);
    let back = world.connect_as(Dialect::EdgeAnnounce);
    let told = world.speak(back, json!({"type": "offer", "to": "a", "from": "b", "offer": {}}));
    // It is offering to the one of them already.
    assert_eq!(told, [json!({"type": "peer-list", "peers": []})]);
    let kinds: Vec<_> = world.all(a).into_iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(kinds, ["peer-joined", "offer"]);
    assert_eq!(world.all(c)[0]["peerId"], "b");
    world.speak(c, json!({"type": "offer", "to": "b", "from": "c", "offer": {}}));
    assert_eq!(world.all(back)[0]["from"], "c");
    world.check();
}

#[test]
fn whoever_comes_back_by_a_signal_needs_what_everybody_needs() {
    let mut world = World::new(Config::default());
    let (a, _) = announce(&mut world, "a");
    let signal = json!({"type": "offer", "to": "a", "from": "b", "offer": {}});
    let back = world.connect_as(Dialect::EdgeAnnounce);
    world.speak_as(back, signal, Err(AuthError::Missing));
    assert_eq!(world.closed(back), Some(CloseCode::BadToken));
    let nameless = world.connect_as(Dialect::EdgeAnnounce);
    world.speak(nameless, json!({"type": "offer", "to": "a", "offer": {}}));
    assert_eq!(world.closed(nameless), Some(CloseCode::BadRequest));
    assert!(world.all(a).is_empty());
}

#[test]
fn errors_name_the_type_they_are_about() {
    let mut world = World::new(Config::default());
    let (a, _) = announce(&mut world, "a");
    let told = world.speak(a, json!({"type": "ice-candidate", "to": "x", "candidate": {}}));
    assert_eq!(
        (&told[0]["type"], &told[0]["error"], &told[0]["originalType"]),
        (&json!("error"), &json!("Peer not found"), &json!("ice-candidate"))
    );
    let told = world.speak(a, json!({"type": "ledger-get"}));
    assert_eq!(
        (&told[0]["type"], &told[0]["originalType"]),
        (&json!("error"), &json!("unknown"))
    );
    let told = world.speak(a, announcement("other"));
    assert_eq!(
        (&told[0]["code"], &told[0]["originalType"]),
        (&json!("forbidden"), &json!("announce"))
    );
}

#[test]
fn a_list_has_at_most_fifty_peers() {
    let mut world = World::new(Config::default());
    for number in 0..51 {
        announce(&mut world, &format!("a{number}"));
    }
    assert_eq!(listed(&announce(&mut world, "b").1).len(), 50);
}

#[test]
fn announcing_again_replaces_a_half_open_socket() {
    let mut world = World::new(Config::default());
    let (old, _) = announce(&mut world, "a");
    let (new, told) = announce(&mut world, "a");
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(listed(&told), Vec::<String>::new());
    assert_eq!(world.speak(new, announcement("a")).len(), 1);
    assert_eq!(world.hub.stats().memberships, 1);
}
