//! Messages by the book that no node would write: what each of them did once, and must not do.

use std::time::Duration;

use meetpoint::signaling::{RoomTopic, Topic};
use serde_json::json;

use super::world::Cluster;

/// Bytes of a message: version, kind, node, and what follows.
struct Made(Vec<u8>);

impl Made {
    fn new(cluster: &Cluster, kind: u8, from: usize) -> Self {
        let mut bytes = vec![1, kind];
        bytes.extend(cluster.id(from).as_bytes());
        Self(bytes)
    }

    fn about(cluster: &Cluster, kind: u8, from: usize, room: RoomTopic) -> Self {
        let mut made = Self::new(cluster, kind, from);
        made.0.extend(room.as_bytes());
        made
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn count(mut self, count: u32) -> Self {
        self.0.extend(count.to_be_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.count(u32::try_from(text.len()).unwrap()).bytes(text.as_bytes())
    }

    /// A member that nobody knows.
    fn claim(self, peer: &str, since_ms: u64) -> Self {
        let since = self.text(peer).number(since_ms).bytes(&[0, 0, 0]);
        since.bytes(&[3; 16]).bytes(&[0, 0]).text("{}")
    }

    fn hand_in(self, cluster: &mut Cluster, to: usize) {
        let topic = Topic::Node(cluster.id(to));
        cluster.inject(to, topic, &self.0);
    }
}

/// The topic of the room that was spoken of last.
fn topic(cluster: &Cluster) -> RoomTopic {
    let rooms = cluster.published.iter().rev().filter_map(|(_, topic)| match topic {
        Topic::Room(room) => Some(*room),
        _ => None,
    });
    rooms.into_iter().next().expect("a room")
}

#[test]
fn a_load_beyond_all_numbers_is_summed_up_without_overflow() {
    let mut cluster = Cluster::new(2);
    let alive = Made::new(&cluster, 0, 1).bytes(&[0]);
    let full = (0..4).fold(alive, |made, _| made.number(u64::MAX));
    full.hand_in(&mut cluster, 0);
    cluster.member(0, "a", "r");
    let bus = cluster.hub(0).stats().bus;
    assert_eq!((bus.total_connections, bus.total_memberships), (u64::MAX, u64::MAX));
}

#[test]
fn metadata_of_the_last_version_there_is_can_still_be_changed() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    let room = topic(&cluster);
    let made = Made::about(&cluster, 3, 1, room).number(0).number(0);
    // A list of nobody in a room that was made like this one.
    let made = made.bytes(&[1, 1, 0]).count(256).number(u64::MAX);
    made.text(r#"{"x":1}"#).count(0).hand_in(&mut cluster, 0);
    cluster.say(a, json!({"t": "room", "id": 1, "room": "r", "set": {"y": 2}}));
    cluster.settle();
    assert_eq!(cluster.told(a, "ok").len(), 1);
    assert_eq!(cluster.hub(0).stats().bus.malformed, 0);
}

#[test]
fn a_list_whose_number_is_too_high_keeps_the_true_one_away_no_longer_than_an_audit() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    let room = topic(&cluster);
    let made = Made::about(&cluster, 3, 1, room).number(u64::MAX).number(0);
    // A list with one member that is not there, and without the one that is.
    let made = made.bytes(&[1, 0]).number(0).text("{}").count(1).claim("ghost", 5);
    made.hand_in(&mut cluster, 0);
    assert_eq!(cluster.clients[a].rooms["r"], ["ghost".to_owned()].into());
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.clients[a].rooms["r"], ["b".to_owned()].into());
    cluster.check_agreement();
}

#[test]
fn a_member_that_stands_there_by_a_nodes_word_alone_is_asked_about() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    let room = topic(&cluster);
    let made = Made::about(&cluster, 5, 1, room).claim("ghost", 5);
    made.hand_in(&mut cluster, 0);
    assert_eq!(cluster.clients[a].rooms["r"], ["ghost".to_owned()].into());
    cluster.run(Duration::from_secs(10));
    assert!(cluster.clients[a].rooms["r"].is_empty());
    cluster.check_agreement();
}

#[test]
fn an_id_that_another_node_holds_is_nobody_elses_in_a_room_that_is_only_listened_to() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    let room = topic(&cluster);
    cluster.say(a, json!({"t": "leave", "room": "r"}));
    cluster.clients[a].leaves("r");
    cluster.settle();
    cluster.all(a);
    // Nobody answers, but that one has the id.
    cluster.lost_permille = 1_000;
    cluster.say(a, json!({"t": "join", "id": 1, "room": "r"}));
    let made = Made::about(&cluster, 5, 1, room).claim("a", 5);
    made.hand_in(&mut cluster, 0);
    cluster.run(Duration::from_secs(1));
    let listed = cluster.hub(0).rooms(usize::MAX, usize::MAX);
    assert!(listed.iter().all(|room| room.peers.len() == 1), "an id twice in a room");
    assert_eq!(cluster.told(a, "err").pop().unwrap()["code"], "id_taken");
}

#[test]
fn who_is_named_a_thousand_times_hears_a_word_once() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    let room = topic(&cluster);
    cluster.all(a);
    let made = Made::about(&cluster, 13, 1, room).number(0).text("b").count(1_000);
    let made = (0..1_000).fold(made, |made, _| made.text("a"));
    made.bytes(&[0]).text("offer").bytes(&[0, 0]).hand_in(&mut cluster, 0);
    assert_eq!(cluster.told(a, "sig").len(), 1);
}

#[test]
fn a_room_that_is_asked_for_a_thousand_times_in_one_message_is_told_once() {
    let mut cluster = Cluster::new(2);
    cluster.member(0, "a", "r");
    let room = topic(&cluster);
    cluster.published.clear();
    let made = Made::new(&cluster, 4, 1).count(1_000);
    let made = (0..1_000).fold(made, |made, _| made.bytes(room.as_bytes()));
    made.hand_in(&mut cluster, 0);
    cluster.run(Duration::from_millis(100));
    let told = cluster
        .published
        .iter()
        .filter(|(_, to)| *to == Topic::Node(cluster.id(1)));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_member_whose_id_went_to_one_that_is_gone_again_is_found_again() {
    let mut cluster = Cluster::new(3);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "c", "r");
    let room = topic(&cluster);
    // Its own node never hears of the other.
    let made = Made::about(&cluster, 5, 2, room).claim("c", 5);
    made.hand_in(&mut cluster, 0);
    let told = cluster.told(a, "peer");
    let events: Vec<_> = told.iter().map(|frame| &frame["ev"]).collect();
    assert_eq!(events, ["join", "leave", "join"], "{told:?}");
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.clients[a].rooms["r"], ["c".to_owned()].into());
    cluster.check_agreement();
}
