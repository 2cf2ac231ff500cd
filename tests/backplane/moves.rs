//! What becomes of rooms whose relay goes, dies while its process lives, or changes with a reload.

use serde_json::{Value, json};

use crate::client::Client;
use crate::fleet::{client, is_of, list, start_in_fleet, start_with_more, wait, wait_open};
use crate::redis::Redis;
use crate::replica::Replica;
use crate::stopped::Stopped;

/// A room whose relay is that replica's, by what `asked` says.
pub(crate) fn room_of(asked: &Replica, relay: &Replica) -> String {
    let mut names = (0..200).map(|number| format!("room{number}"));
    let is_it = |room: &String| is_of(&list(asked, &format!("?room={room}")).0[0], relay);
    names.find(is_it).unwrap()
}

fn is_ice(frame: &Value) -> bool {
    frame["t"] == "ice"
}

/// TURN URLs of the list that a client is given unasked.
fn pushed(client: &mut Client) -> Value {
    let ice = client.wait("newer servers", is_ice);
    ice["servers"][1]["urls"].clone()
}

/// In a room, with that room's list.
fn joined(replica: &Replica, peer: &str, room: &str) -> Client {
    let mut client = replica.client(peer);
    client.join(room);
    while client.try_take(is_ice).is_some() {}
    client
}

#[test]
fn when_a_relay_drains_or_dies_everybody_in_its_rooms_is_given_the_same_other_one_and_nobody_else_anything() {
    let redis = Redis::start(&[]);
    let [a, b, c] = [(); 3].map(|()| start_in_fleet(&redis));
    for replica in [&a, &b, &c] {
        wait_open(replica, 3.0);
    }
    let [of_a, of_b, of_c] = [&a, &b, &c].map(|relay| room_of(&a, relay));
    let mut peers = [joined(&a, "p1", &of_b), joined(&c, "p2", &of_b)];
    let mut other = joined(&a, "q", &of_a);
    let mut left = joined(&a, "r", &of_c);

    let mut holder = client(&b, "holder");
    holder.allocate();
    b.signal("TERM");
    let given = peers.each_mut().map(pushed);
    assert_eq!(given[0], given[1], "both are told of the same one");
    assert_eq!(given[0], json!(list(&a, &format!("?room={of_b}")).0));
    let urls = given[0].as_array().unwrap();
    assert!(!urls.iter().any(|url| is_of(url.as_str().unwrap(), &b)), "{urls:?}");
    assert_eq!(holder.refresh(600), Ok(()), "what lives on it lives on");

    // A crash is noticed by its silence.
    c.kill();
    let given = pushed(&mut left);
    assert!(is_of(given[0].as_str().unwrap(), &a), "{given}");
    assert_eq!(other.try_take(is_ice), None, "it has its relay still");
    a.wait_metric("meetpoint_fleet_moved_total", |moved| moved >= 2.0);
    assert!(a.metric("meetpoint_fleet_choices_total") >= 3.0);
}

#[test]
fn a_relay_that_is_dead_in_a_process_that_lives_leaves_the_lists_of_others_and_comes_back() {
    let redis = Redis::start(&[]);
    let probes = "[probes]\ninterval = \"1s\"\ntimeout = \"1s\"\nfailures = 2\nsuccesses = 1\n";
    let [a, b] = [(); 2].map(|()| start_with_more(&redis, probes, &["--relay-workers", "1"]));
    for replica in [&a, &b] {
        wait_open(replica, 2.0);
    }
    // Nobody stands in for it in its own lists: it is for the others that it is probed.
    let own = format!("turn:127.0.0.1:{}", b.relay.port());
    wait("a probe of its own relay", || {
        let probed = b.operate("GET /api/admin/relays", &json!({}));
        probed.to_string().contains(&own)
    });
    let rooms = [room_of(&a, &a), room_of(&a, &b)];
    let urls = || rooms.each_ref().map(|room| list(&a, &format!("?room={room}")).0);
    let mut peer = joined(&a, "p", &rooms[1]);
    let before = urls();

    let stopped = Stopped::of(b.pid());
    a.wait_metric("meetpoint_fleet_relays{standing=\"broken\"}", |broken| broken == 1.0);
    wait("lists without it", || urls().concat().iter().all(|url| is_of(url, &a)));
    assert!(is_of(pushed(&mut peer)[0].as_str().unwrap(), &a));
    assert!(b.try_get("/readyz").unwrap().starts_with("HTTP/1.1 200"), "it lives");
    drop(stopped);
    wait_open(&a, 2.0);
    wait("the lists of before", || urls() == before);
    let back = pushed(&mut peer);
    assert!(
        is_of(back[0].as_str().unwrap(), &b),
        "who is in the room goes back with it"
    );
}

#[test]
fn what_a_reload_changes_of_a_relay_the_others_know_at_once_and_rooms_go_by_it() {
    let redis = Redis::start(&[]);
    let [a, b] = [(); 2].map(|()| start_in_fleet(&redis));
    wait_open(&a, 2.0);
    assert!(is_of(&list(&a, &format!("?room={}", room_of(&a, &b))).0[0], &b));
    let before = b.file("meetpoint.toml");
    let after = before.replace(
        "[fleet]\nhost = \"127.0.0.1\"",
        "[ice]\nport = 4444\n[fleet]\nhost = \"127.0.0.2\"\nweight = 1000\nregion = \"eu\"",
    );
    assert_ne!(before, after);
    b.write("meetpoint.toml", &after);
    b.signal("HUP");
    wait("the other one is told", || {
        let shown = a.operate("GET /api/admin/fleet", &json!({}));
        let other = &shown["relays"][1];
        let told = ["hosts", "weight", "region"].map(|key| other[key].clone());
        told == [json!(["127.0.0.2"]), json!(1000), json!("eu")] && other["listeners"][0]["port"] == 4444
    });
    let firsts = || (0..60).map(|room| list(&a, &format!("?room=room{room}")).0[0].clone());
    wait("rooms go by it", || !firsts().any(|url| is_of(&url, &b)));
    let moved = firsts().filter(|url| url.starts_with("turn:127.0.0.2:4444?"));
    assert!(moved.count() > 40, "ten of eleven");
}
