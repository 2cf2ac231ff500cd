//! The recipe of docs/missions.md for computations of several parties: a room is a session, a peer id the number of a party.

use meetpoint::signaling::Config;
use serde_json::json;

use crate::hub_world::World;

#[test]
fn parties_of_a_session_have_numbers_of_their_own_a_last_place_and_one_order_of_messages() {
    let mut world = World::new(Config::default());
    let session = json!({"t": "join", "id": 1, "room": "session-1", "max": 3});
    let parties = ["1", "2", "3"].map(|number| {
        let party = world.peer(number);
        let joined = world.ask(party, session.clone());
        let known: Vec<_> = joined["peers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|peer| peer["peer"].clone())
            .collect();
        let elders: Vec<_> = (1..number.parse::<u32>().unwrap())
            .map(|elder| json!(elder.to_string()))
            .collect();
        assert_eq!((joined["t"].as_str(), known), (Some("joined"), elders));
        party
    });
    // A number is one party's, and no fourth finds a place.
    let twin = world.peer("2");
    assert_eq!(world.ask(twin, session.clone())["code"], "id_taken");
    let fourth = world.peer("4");
    assert_eq!(world.ask(fourth, session)["code"], "room_full");
    let [one, two, three] = parties;
    for party in parties {
        world.all(party);
    }
    for step in ["announce", "propose", "vote"] {
        for (party, number) in [(two, "2"), (three, "3")] {
            let data = json!({"type": step, "party": number});
            world.say(
                party,
                json!({"t": "send", "room": "session-1", "data": data, "rel": true}),
            );
        }
    }
    let heard: Vec<_> = world.all(one).into_iter().filter(|frame| frame["t"] == "msg").collect();
    let order: Vec<_> = heard
        .iter()
        .map(|frame| (frame["data"]["type"].clone(), frame["from"].clone()))
        .collect();
    let expected = ["announce", "propose", "vote"].iter();
    let expected: Vec<_> = expected
        .flat_map(|step| [(json!(step), json!("2")), (json!(step), json!("3"))])
        .collect();
    assert_eq!(order, expected);
}
