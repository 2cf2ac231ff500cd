//! The operators' API of the real program, and what it does to clients.

use crate::program::{PATIENCE, Server, free_port};
use crate::reload::{FIRST, client_of, echo, round_trip, toml};
use crate::support::client::{Client, Wish};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

const TOKEN: &str = "an operator's token of 32 characters";

pub(crate) fn start(more: &str) -> Server {
    let config = format!("{}[admin]\ntokens_file = \"tokens\"\n{more}", toml(""));
    let files = [
        ("meetpoint.toml", config.as_str()),
        ("secrets", FIRST),
        ("tokens", TOKEN),
    ];
    Server::start_with(&files, &[])
}

/// One request: status, headers and body as they came.
pub(crate) fn ask(server: SocketAddr, token: Option<&str>, request: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {server}\r\nOrigin: https://evil.example\r\n{bearer}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

pub(crate) fn admin(server: &Server, request: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = ask(server.http, Some(TOKEN), request, body);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn users(answer: &Value) -> Vec<&str> {
    let all = answer["allocations"].as_array().unwrap();
    all.iter().map(|each| each["user"].as_str().unwrap()).collect()
}

fn refused(mut client: Client) -> Option<u16> {
    client.try_allocate(Wish::default()).err()
}

#[test]
fn without_a_token_of_an_operator_there_is_no_api() {
    let off = Server::start_with(&[("meetpoint.toml", &toml("")), ("secrets", FIRST)], &[]);
    assert_eq!(ask(off.http, Some(TOKEN), "GET /api/admin/config", "").0, 404);
    let server = start("");
    for (token, code) in [(None, "token_required"), (Some("another"), "invalid_token")] {
        for request in [
            "GET /api/admin/config",
            "POST /api/admin/drain",
            "DELETE /api/admin/allocations/0-0-0",
        ] {
            let (status, head, body) = ask(server.http, token, request, "");
            assert_eq!(status, 401, "{request}");
            assert!(
                head.contains("www-authenticate: bearer") && body.contains(code),
                "{head}\n{body}"
            );
        }
    }
    let (status, head, body) = ask(server.http, Some(TOKEN), "GET /api/admin/config", "");
    assert_eq!(status, 200);
    assert!(!head.contains("access-control-allow-origin"), "{head}");
    assert!(body.contains("external_ip = [\"127.0.0.1\"]"), "{body}");
    assert!(
        body.contains("<redacted>") && !body.contains(TOKEN) && !body.contains(FIRST),
        "{body}"
    );
    assert!(!server.log().contains(TOKEN));
}

#[test]
fn allocations_are_listed_page_by_page_and_ended_one_by_one() {
    let server = start("");
    let (peer, stop, thread) = echo();
    let mut alice = client_of(&server, FIRST, "alice");
    let relayed = alice.allocate();
    alice.bind(0x4000, peer);
    for at in 0..10 {
        round_trip(&alice, at);
    }
    let mut bobs: Vec<Client> = (0..3).map(|_| client_of(&server, FIRST, "bob")).collect();
    for bob in &mut bobs {
        bob.allocate();
    }

    let (status, answer) = admin(&server, "GET /api/admin/allocations?user=alice", "");
    assert_eq!((status, users(&answer)), (200, vec!["alice"]), "{answer}");
    let shown = &answer["allocations"][0];
    assert_eq!(shown["relayed"][0], relayed.to_string());
    assert_eq!(shown["client"], alice.socket.local_addr().unwrap().to_string());
    assert_eq!(
        (&shown["transport"], &shown["realm"]),
        (&"udp".into(), &"default".into())
    );
    for direction in ["toPeer", "toClient"] {
        assert_eq!(shown[direction]["packets"], 10, "{answer}");
        assert_eq!(shown[direction]["bytes"], 40, "{answer}");
    }
    assert_eq!((&shown["permissions"], &shown["channels"]), (&1.into(), &1.into()));
    let life = shown["expiresAt"].as_u64().unwrap() - shown["createdAt"].as_u64().unwrap();
    assert!((590..=610).contains(&life), "{answer}");

    // Every allocation once, however small the pages.
    let (mut seen, mut path) = (Vec::new(), "GET /api/admin/allocations?limit=1".to_owned());
    loop {
        let (_, answer) = admin(&server, &path, "");
        seen.extend(users(&answer).into_iter().map(str::to_owned));
        let Some(cursor) = answer["nextCursor"].as_str() else {
            break;
        };
        path = format!("GET /api/admin/allocations?limit=1&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, ["alice", "bob", "bob", "bob"]);
    let at = |query: &str| admin(&server, &format!("GET /api/admin/allocations?{query}"), "");
    assert_eq!(users(&at("client=127.0.0.1&realm=default").1).len(), 4);
    assert_eq!(users(&at("client=192.0.2.1").1).len(), 0);
    assert_eq!(users(&at("realm=elsewhere").1).len(), 0);
    assert_eq!(
        (at("client=nobody").0, at("cursor=x").0, at("surprise=1").0),
        (400, 400, 400)
    );

    let end = format!("DELETE /api/admin/allocations/{}", shown["id"].as_str().unwrap());
    assert_eq!(admin(&server, &end, "").0, 204);
    assert_eq!(admin(&server, &end, "").0, 404);
    assert_eq!(alice.refresh(600), Err(437));
    let (status, answer) = admin(&server, "DELETE /api/admin/users/bob/allocations", "");
    assert_eq!((status, &answer["ended"]), (200, &3.into()));
    assert_eq!(users(&at("limit=500").1).len(), 0);
    // Ended is not turned away.
    client_of(&server, FIRST, "bob").allocate();
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn who_is_revoked_is_cut_off_and_stays_out_whatever_is_reloaded() {
    let server = start("");
    let mut mallory = client_of(&server, FIRST, "mallory");
    mallory.allocate();
    let mut alice = client_of(&server, FIRST, "alice");
    alice.allocate();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let until = now.as_secs() + 3600;
    let revoke = |body: &str| admin(&server, "POST /api/admin/revocations", body);
    for bad in [
        String::new(),
        format!("{{\"until\":{until}}}"),
        "{\"user\":\"mallory\",\"until\":1}".to_owned(),
        format!("{{\"user\":\"a\",\"username\":\"b\",\"until\":{until}}}"),
        format!("{{\"user\":\"\",\"until\":{until}}}"),
    ] {
        assert_eq!(revoke(&bad).0, 400, "{bad}");
    }
    let (status, answer) = revoke(&format!("{{\"user\":\"mallory\",\"until\":{until}}}"));
    assert_eq!((status, &answer["ended"]), (200, &1.into()), "{answer}");
    assert_eq!(mallory.refresh(600), Err(437));
    assert_eq!(refused(client_of(&server, FIRST, "mallory")), Some(403));
    assert_eq!(alice.refresh(600), Ok(()));

    let (status, answer) = admin(&server, "POST /api/admin/reload", "");
    assert_eq!((status, &answer["applied"]), (200, &Value::Array(Vec::new())));
    server.write("secrets", &format!("{FIRST}\nanother secret of this test"));
    let (_, answer) = admin(&server, "POST /api/admin/reload", "");
    assert_eq!(answer["applied"][0], "credentials.secrets");
    assert_eq!(refused(client_of(&server, FIRST, "mallory")), Some(403));
    client_of(&server, FIRST, "alice").allocate();
}

#[test]
fn revocations_are_listed_and_lifted() {
    let server = start("");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let until = now.as_secs() + 3600;
    let revoke = |what: &str, name: &str| {
        let body = format!("{{\"{what}\":\"{name}\",\"until\":{until}}}");
        assert_eq!(admin(&server, "POST /api/admin/revocations", &body).0, 200);
    };
    for name in ["mallory", "trudy", "eve & co"] {
        revoke("user", name);
    }
    revoke("username", "9999999999:oscar");
    assert_eq!(refused(client_of(&server, FIRST, "mallory")), Some(403));

    let (mut seen, mut query) = (Vec::new(), "limit=1".to_owned());
    loop {
        let (status, answer) = admin(&server, &format!("GET /api/admin/revocations?{query}"), "");
        assert_eq!(status, 200, "{answer}");
        for entry in answer["revocations"].as_array().unwrap() {
            assert_eq!(entry["until"], until);
            seen.push((entry["user"].clone(), entry["username"].clone()));
        }
        let Some(cursor) = answer["nextCursor"].as_str() else {
            break;
        };
        query = format!("limit=1&cursor={cursor}");
    }
    let user = |name: &str| (Value::from(name), Value::Null);
    let oscar = (Value::Null, Value::from("9999999999:oscar"));
    assert_eq!(seen, [user("eve & co"), user("mallory"), user("trudy"), oscar]);

    let lift = |query: &str| admin(&server, &format!("DELETE /api/admin/revocations?{query}"), "");
    assert_eq!(lift("user=mallory").0, 204);
    client_of(&server, FIRST, "mallory").allocate();
    assert_eq!(refused(client_of(&server, FIRST, "trudy")), Some(403));
    for query in ["user=mallory", "username=trudy"] {
        let (status, answer) = lift(query);
        assert_eq!((status, &answer["code"]), (404, &"no_revocation".into()), "{query}");
    }
    assert_eq!(lift("username=9999999999:oscar").0, 204);
    assert_eq!(lift("user=eve%20%26%20co").0, 204);
    for bad in ["", "user=", "user=a&username=b", "name=a"] {
        assert_eq!(lift(bad).0, 400, "{bad}");
    }
    for bad in ["cursor=x", "surprise=1"] {
        assert_eq!(
            admin(&server, &format!("GET /api/admin/revocations?{bad}"), "").0,
            400,
            "{bad}"
        );
    }
    for request in ["GET /api/admin/revocations", "DELETE /api/admin/revocations?user=trudy"] {
        assert_eq!(ask(server.http, None, request, "").0, 401);
    }
    assert_eq!(refused(client_of(&server, FIRST, "trudy")), Some(403));
}

#[test]
fn a_reload_that_fails_says_why_and_a_drain_ends_the_process() {
    let mut server = start("");
    server.write("meetpoint.toml", "[relay]\nworkers = \"many\"\n");
    let (status, answer) = admin(&server, "POST /api/admin/reload", "");
    assert_eq!((status, &answer["code"]), (422, &"bad_configuration".into()));
    assert!(answer["detail"].as_str().unwrap().contains("relay.workers"), "{answer}");
    assert_eq!(admin(&server, "POST /api/admin/drain", "").0, 202);
    assert_eq!(server.wait(), 0, "{}", server.log());
}

#[test]
fn the_api_can_have_a_listener_of_its_own() {
    let own: SocketAddr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = start(&format!("listen = \"{own}\"\n"));
    assert_eq!(ask(server.http, Some(TOKEN), "GET /api/admin/config", "").0, 404);
    assert_eq!(ask(own, Some(TOKEN), "GET /api/admin/config", "").0, 200);
    assert_eq!(ask(own, Some(TOKEN), "GET /api/health", "").0, 404);
    // Tokens are rotated without a restart.
    server.write("tokens", "a new operator's token of 32 characters");
    let start = std::time::Instant::now();
    while ask(own, Some(TOKEN), "GET /api/admin/config", "").0 == 200 {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", server.log());
    }
    assert_eq!(
        ask(
            own,
            Some("a new operator's token of 32 characters"),
            "GET /api/admin/config",
            ""
        )
        .0,
        200
    );
}
