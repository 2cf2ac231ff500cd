//! What operators do by one replica to those who are connected to others.

use std::{borrow::Cow, time::Duration};

use meetpoint::signaling::{Ban, BanBy, Barred, CloseCode, Config, Data, Dialect, NotDone, PutOut, Realm, Topic};
use serde_json::json;

use super::world::{ClientId, Cluster};
use crate::hub_world::user;

const NATIVE: Realm = Dialect::Native.realm();

fn put_out(cluster: &mut Cluster, at: usize, room: &str, peer: &str, ban: Option<BanBy>) -> Result<PutOut, NotDone> {
    let done = cluster.with_hub(at, |hub, now| {
        let ban = ban.map(|by| (by, now.unix_ms + 60_000));
        hub.put_out(now, (NATIVE, room), peer, Some("be nice"), ban)
    });
    cluster.settle();
    done
}

fn ban(cluster: &mut Cluster, at: usize, room: Option<&str>, who: Barred) -> u64 {
    let done = cluster.with_hub(at, |hub, now| {
        let ban = Ban {
            id: 0,
            room: room.map(|room| (NATIVE, room.into())),
            who,
            until_ms: now.unix_ms + 60_000,
            reason: None,
        };
        hub.ban(now, ban, Some("go away"))
    });
    cluster.settle();
    done.unwrap().0
}

/// The code of the answer to a wish to come into `r`; `None` if it came in.
fn refused(cluster: &mut Cluster, client: ClientId) -> Option<String> {
    cluster.say(client, json!({"t": "join", "id": 9, "room": "r"}));
    cluster.settle();
    let answer = cluster.told(client, "err").pop();
    answer.map(|answer| answer["code"].as_str().unwrap().to_owned())
}

/// Every relay was told of that session, each once; the one where it was ended by the one that was asked is told by the asker.
fn cut_off_of(cluster: &mut Cluster, sid: &serde_json::Value) -> Vec<usize> {
    let mut nodes: Vec<usize> = cluster
        .cut_off
        .drain(..)
        .filter(|(_, cut)| sid == cut.as_str())
        .map(|(node, _)| node)
        .collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn a_member_is_put_out_by_whichever_node_is_asked_and_every_relay_hears_of_it() {
    let mut cluster = Cluster::new(3);
    let a = cluster.member(0, "a", "r");
    let b = cluster.member(1, "b", "r");
    let sid = cluster.clients[b].welcome["sid"].clone();
    cluster.all(a);
    cluster.all(b);
    cluster.published.clear();
    let done = put_out(&mut cluster, 0, "r", "b", None).unwrap();
    assert_eq!((done.ended.len(), done.ban, done.replicas), (0, Ok(None), 1));
    assert_eq!(cluster.published[0], (0, Topic::Node(cluster.id(1))), "one hop");
    assert_eq!(cluster.all(b)[0]["msg"], "be nice");
    assert_eq!(cluster.clients[b].closed, Some(CloseCode::Forbidden));
    assert_eq!(cluster.told(a, "peer").pop().unwrap()["why"], "forbidden");
    assert_eq!(cut_off_of(&mut cluster, &sid), [0, 1, 2]);

    // By a node that does not host the room.
    let c = cluster.member(1, "c", "r");
    let sid = cluster.clients[c].welcome["sid"].clone();
    assert_eq!(put_out(&mut cluster, 2, "r", "c", None).unwrap().replicas, 2);
    assert_eq!(cluster.clients[c].closed, Some(CloseCode::Forbidden));
    assert_eq!(cut_off_of(&mut cluster, &sid), [0, 1, 2]);

    // By its own: the relay of that one is the asker's to tell.
    let sid = cluster.clients[a].welcome["sid"].clone();
    let done = put_out(&mut cluster, 0, "r", "a", None).unwrap();
    assert_eq!((done.ended.len(), done.replicas), (1, 0));
    assert_eq!(cut_off_of(&mut cluster, &sid), [1, 2]);

    cluster.member(0, "d", "r");
    assert_eq!(put_out(&mut cluster, 0, "r", "nobody", None), Err(NotDone::NoPeer));
    cluster.check_agreement();
}

#[test]
fn a_ban_holds_on_every_node_on_those_that_start_later_and_until_it_is_lifted_by_any() {
    let mut cluster = Cluster::new(3);
    cluster.member(0, "a", "r");
    let bob = cluster.peer_as(1, "b", user("bob"));
    cluster.say(bob, json!({"t": "join", "room": "r"}));
    cluster.settle();
    // Known as a user there, which the node that is asked cannot know.
    put_out(&mut cluster, 0, "r", "b", Some(BanBy::Auto)).unwrap();
    assert_eq!(cluster.clients[bob].closed, Some(CloseCode::Forbidden));
    cluster.kill(2);
    cluster.start_node(2);
    // Until nobody waits for the one that is dead.
    cluster.run(Duration::from_secs(10));
    for at in 0..3 {
        let again = cluster.peer_as(at, &format!("b{at}"), user("bob"));
        assert_eq!(refused(&mut cluster, again).as_deref(), Some("forbidden"), "node {at}");
        let other = cluster.peer_as(at, &format!("o{at}"), user("other"));
        assert_eq!(refused(&mut cluster, other), None, "node {at}");
    }
    // One number for all: what one node lists, another lifts.
    let listed = cluster.with_hub(2, |hub, now| hub.bans(now, 0, 10).0);
    assert_eq!(listed.len(), 1);
    assert!(cluster.with_hub(0, |hub, now| hub.lift_ban(now, listed[0].id)));
    cluster.settle();
    for at in 0..3 {
        assert_eq!(cluster.with_hub(at, |hub, now| hub.bans(now, 0, 10).0), []);
        let again = cluster.peer_as(at, &format!("c{at}"), user("bob"));
        assert_eq!(refused(&mut cluster, again), None, "node {at}");
    }
    cluster.check_agreement();
}

#[test]
fn a_ban_of_the_whole_server_ends_sessions_on_all_nodes() {
    let mut cluster = Cluster::new(2);
    let one = cluster.peer_as(0, "one", user("eve"));
    let two = cluster.peer_as(1, "two", user("eve"));
    let other = cluster.peer(1, "other");
    ban(&mut cluster, 0, None, Barred::User("eve".into(), None));
    for client in [one, two] {
        assert_eq!(cluster.clients[client].closed, Some(CloseCode::Forbidden));
    }
    assert_eq!(cluster.clients[other].closed, None);
    let sid = cluster.clients[two].welcome["sid"].clone();
    assert_eq!(cut_off_of(&mut cluster, &sid), [0, 1]);
}

#[test]
fn bans_made_at_once_have_numbers_of_their_own_and_more_of_them_than_one_turn_tells_arrive() {
    let mut cluster = Cluster::new(2);
    let one = ban(&mut cluster, 0, Some("r"), Barred::Peer("x".into()));
    let two = ban(&mut cluster, 1, Some("r"), Barred::Peer("y".into()));
    assert_ne!(one, two);
    for number in 0..300 {
        ban(&mut cluster, 0, Some("r"), Barred::Peer(format!("p{number}").into()));
    }
    cluster.kill(1);
    cluster.start_node(1);
    cluster.run(Duration::from_secs(1));
    let ids = |cluster: &mut Cluster, at| {
        let bans = cluster.with_hub(at, |hub, now| hub.bans(now, 0, 1_000).0);
        bans.into_iter().map(|ban| (ban.id, ban.who)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut cluster, 0).len(), 302);
    assert_eq!(ids(&mut cluster, 0), ids(&mut cluster, 1));
}

#[test]
fn bans_past_the_bound_are_not_taken_over() {
    let config = Config {
        bans: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::with(2, config, 1, |_| {});
    ban(&mut cluster, 0, None, Barred::Peer("a".into()));
    ban(&mut cluster, 1, None, Barred::Peer("b".into()));
    for at in 0..2 {
        assert_eq!(cluster.with_hub(at, |hub, now| hub.bans(now, 0, 10).0.len()), 2);
        let full = cluster.with_hub(at, |hub, now| {
            let ban = Ban {
                id: 0,
                room: None,
                who: Barred::Peer("c".into()),
                until_ms: now.unix_ms + 1_000,
                reason: None,
            };
            hub.ban(now, ban, None).is_err()
        });
        assert!(full);
    }
}

#[test]
fn a_room_is_closed_on_all_nodes_and_a_lock_keeps_everybody_out_of_it() {
    let mut cluster = Cluster::new(3);
    let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
    cluster.all(a);
    cluster.all(b);
    // Node 2 does not host it.
    ban(&mut cluster, 2, Some("r"), Barred::Everybody);
    let done = cluster.with_hub(2, |hub, now| hub.close_room(now, NATIVE, "r", Some("over")));
    assert_eq!(done, Ok(vec![]));
    cluster.settle();
    for client in [a, b] {
        assert_eq!(cluster.told(client, "closed").pop().unwrap()["msg"], "over");
        assert_eq!(refused(&mut cluster, client).as_deref(), Some("forbidden"));
    }
    assert_eq!((cluster.hub(0).stats().rooms, cluster.hub(1).stats().rooms), (0, 0));
}

#[test]
fn what_the_server_says_reaches_members_of_all_nodes_once_and_nobody_else() {
    let mut cluster = Cluster::new(3);
    let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
    let c = cluster.member(1, "c", "other");
    let say = |cluster: &mut Cluster, at, to: Option<&[&str]>, text: &str| {
        let to: Option<Vec<Cow<'_, str>>> = to.map(|to| to.iter().map(|peer| Cow::Borrowed(*peer)).collect());
        let said = cluster.with_hub(at, |hub, _| {
            let said = hub.say(NATIVE, "r", to.as_deref(), Data::Json(text), false);
            said.map(|(sent, missing)| (sent, missing.len()))
        });
        cluster.settle();
        said
    };
    assert_eq!(say(&mut cluster, 0, None, r#""1""#), Ok((2, 0)));
    assert_eq!(say(&mut cluster, 0, Some(&["b", "b", "nobody"]), r#""2""#), Ok((1, 1)));
    // By a node that does not know who is there.
    assert_eq!(say(&mut cluster, 2, None, r#""3""#), Ok((0, 0)));
    assert_eq!(say(&mut cluster, 2, Some(&["b"]), r#""4""#), Ok((0, 0)));
    let mut heard = |client| {
        let heard = cluster.told(client, "msg");
        let pairs = heard.iter().map(|msg| (msg["from"].clone(), msg["data"].clone()));
        pairs.collect::<Vec<_>>()
    };
    let from_server = |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| (json!("$server"), json!(text))).collect() };
    assert_eq!(heard(a), from_server(&["1", "3"]));
    assert_eq!(heard(b), from_server(&["1", "2", "3", "4"]));
    assert_eq!(heard(c), []);
}

#[test]
fn without_the_bus_an_operator_is_told_that_nobody_can_be_reached() {
    let mut cluster = Cluster::new(2);
    cluster.member(0, "a", "r");
    let b = cluster.member(1, "b", "r");
    cluster.unlink(0);
    cluster.settle();
    assert_eq!(put_out(&mut cluster, 0, "r", "b", None), Err(NotDone::NoPeer));
    assert_eq!(put_out(&mut cluster, 0, "s", "b", None), Err(NotDone::NoRoom));
    let said = cluster.with_hub(0, |hub, _| {
        hub.say(NATIVE, "r", Some(&["b".into()]), Data::Json("1"), false).err()
    });
    assert_eq!(said, Some(NotDone::NoPeer));
    assert_eq!(cluster.clients[b].closed, None);
    // What is banned meanwhile is told when the nodes meet again.
    ban(&mut cluster, 0, Some("r"), Barred::Peer("b".into()));
    cluster.run(Duration::from_secs(10));
    cluster.link(0);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.clients[b].closed, Some(CloseCode::Forbidden));
}
