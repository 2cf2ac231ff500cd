//! `GET /api/admin/top` of the real program under coturn's client: who relays most is first, living or gone, and what is said of
//! everybody agrees with `/metrics`.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Meetpoint, Program, http_get, pause};
use crate::uclient::{EchoPeer, run_at_port, try_run_at_port};
use crate::usage::{ADMIN, get, login, settled};
use serde_json::Value;

const ACME: &str = "acme's secret of 32 characters!!";
const GLOBEX: &str = "globex's secret of 32 characters";

fn top(server: &Meetpoint, query: &str) -> Vec<Value> {
    let (status, body) = get(server.http, &format!("/api/admin/top?{query}"), ADMIN);
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    // So few have come that all have room.
    assert_eq!(body["othersAtMost"], 0, "{body}");
    body["top"].as_array().unwrap().clone()
}

/// Asks again until it is as it should be: events take a moment.
fn until(server: &Meetpoint, query: &str, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let patience = Instant::now() + Duration::from_secs(40);
    loop {
        let found = top(server, query);
        if good(&found) {
            return found;
        }
        assert!(Instant::now() < patience, "{query}: {found:?}");
        pause(Duration::from_millis(200));
    }
}

fn is_exactly(talker: &Value, count: u64) -> bool {
    talker["atLeast"] == count && talker["atMost"] == count
}

fn payload(server: &Meetpoint, unit: &str, realm: &str) -> u64 {
    let label = format!("realm=\"{realm}\"");
    server.metric(&format!("meetpoint_realm_payload_{unit}_total"), &[&label]) as u64
}

#[test]
fn the_loudest_is_first_living_or_gone_and_the_counts_are_those_of_the_metrics() {
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("REALMS__ACME__SECRETS", ACME),
        ("REALMS__ACME__ALLOW", "127.0.0.0/8"),
        ("REALMS__GLOBEX__SECRETS", GLOBEX),
        ("REALMS__GLOBEX__ALLOW", "127.0.0.0/8"),
        ("ADMIN__TOKENS", ADMIN),
    ]);
    let peer = EchoPeer::start("127.0.0.1");
    let echo = peer.port.to_string();
    let to_echo = ["-e", "127.0.0.1", "-r", &echo, "-c"];
    let bob = login("bob", "globex", GLOBEX);
    let bob: Vec<&str> = bob.iter().map(String::as_str).collect();
    run_at_port(server.udp, "127.0.0.1", &[&to_echo[..], &bob].concat());
    let of_bob = until(&server, "by=bytes", |top| {
        top.first().is_some_and(|first| first["user"] == "bob@globex")
    });

    // Alice relays for as long as she is let.
    let alice = login("alice", "acme", ACME);
    let port = server.udp.to_string();
    let mut command = Command::new("turnutils_uclient");
    command.args(["-p", &port, "-n", "100000", "-l", "1000"]);
    let client = Program::start(command.args(to_echo).args(&alice).arg("127.0.0.1"));
    let found = until(&server, "by=bytes&window=60m", |top| {
        // In packets too: that is some hundred of hers.
        top.len() == 2 && top[0]["user"] == "alice@acme" && top[0]["atLeast"].as_u64() > Some(100_000)
    });
    assert!(
        found[0]["atLeast"].as_u64() > of_bob[0]["atLeast"].as_u64(),
        "{found:?}"
    );
    assert_eq!(
        (&found[0]["realm"], &found[1]["user"]),
        (&"acme".into(), &"bob@globex".into())
    );
    // She is gone without a word: nothing has told of her allocation's end.
    drop(client);
    settled(&server);
    for unit in ["bytes", "packets"] {
        let (acme, globex) = (payload(&server, unit, "acme"), payload(&server, unit, "globex"));
        let by = |per: &str| format!("by={unit}&per={per}");
        until(&server, &by("user"), |top| {
            is_exactly(&top[0], acme) && is_exactly(&top[1], globex)
        });
        let realms = until(&server, &by("realm"), |top| is_exactly(&top[0], acme));
        assert_eq!((&realms[0]["realm"], realms.len()), (&"acme".into(), 2));
        let clients = until(&server, &by("client"), |top| is_exactly(&top[0], acme + globex));
        assert_eq!((&clients[0]["client"], clients.len()), (&"127.0.0.1".into(), 1));
    }

    // Who asks for what is closed, and who has the wrong password.
    let carol = login("carol", "globex", GLOBEX);
    let carol: Vec<&str> = carol.iter().map(String::as_str).collect();
    let to_closed = ["-e", "10.1.2.3", "-r", "9", "-c"];
    assert_eq!(
        try_run_at_port(server.udp, "127.0.0.1", &[&to_closed[..], &carol].concat()),
        None
    );
    let denied = until(&server, "by=denied&per=user&limit=1", |top| !top.is_empty());
    assert_eq!(
        (&denied[0]["user"], &denied[0]["realm"]),
        (&"carol@globex".into(), &"globex".into())
    );
    let wrong = [&to_echo[..], &carol[..3], &["not-the-password"]].concat();
    assert_eq!(try_run_at_port(server.udp, "127.0.0.1", &wrong), None);
    until(&server, "by=auth_failures&per=client", |top| {
        top.first().is_some_and(|first| first["client"] == "127.0.0.1")
    });
    let made = |user: &str| {
        let found = top(&server, "by=allocations");
        let of_user = found.iter().find(|one| one["user"] == user);
        of_user.map_or(0, |one| one["atLeast"].as_u64().unwrap())
    };
    settled(&server);
    let counted = server.metric("meetpoint_realm_allocations_created_total", &["realm=\"acme\""]);
    assert_eq!(made("alice@acme"), counted as u64);

    // For operators alone.
    assert_eq!(http_get(server.http, "/api/admin/top").0, 401);
    assert_eq!(get(server.http, "/api/admin/top?window=2h", ADMIN).0, 400);
}
