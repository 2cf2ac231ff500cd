//! Tokens that an operator has this server sign, used at the hub and for ICE lists of the real program.

use crate::admin::{admin, ask, start};
use crate::moderation::Peer;
use serde_json::{Value, json};

const SECRET: &str = "an HS256 secret of thirty-two characters or more";

fn closed() -> crate::program::Server {
    start(&format!(
        "[auth]\njwt_secrets = [\"{SECRET}\", \"another secret of thirty-two characters or more\"]\njwt_audience = \"meet\"\n\
         jwt_issuer = \"https://id.example\"\n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issued_token_opens_the_hub_and_the_ice_list_and_no_more_than_it_says() {
    let server = closed();
    let wanted = json!({
        "user": "alice", "peer": "alice-1", "rooms": ["lobby"], "can": { "relay": false }, "ttl": 600, "publicKey": "k",
    });
    let (status, issued) = tokio::task::block_in_place(|| admin(&server, "POST /v1/tokens", &wanted.to_string()));
    assert_eq!((status, &issued["ttl"]), (200, &json!(600)), "{issued}");
    let token = issued["token"].as_str().unwrap();

    let hello = json!({ "t": "hello", "v": [1], "peer": "alice-1", "token": token });
    let mut peer = Peer::greeted(&server, hello).await;
    assert_eq!(peer.welcome["t"], "welcome", "{}", peer.welcome);
    assert_eq!(peer.ask(json!({ "t": "join", "room": "lobby" })).await["t"], "joined");
    assert_eq!(
        peer.ask(json!({ "t": "join", "room": "other" })).await["code"],
        "forbidden"
    );
    let said = peer
        .ask(json!({ "t": "send", "id": 3, "room": "lobby", "data": 1 }))
        .await;
    assert_eq!(said["code"], "forbidden", "{said}");
    let other = json!({ "t": "hello", "v": [1], "peer": "bob", "token": token });
    assert_eq!(Peer::greeted(&server, other).await.welcome["t"], "err");

    for path in ["/api/ice-servers", "/v1/ice"] {
        let (status, _, body) =
            tokio::task::block_in_place(|| ask(server.http, Some(token), &format!("GET {path}"), ""));
        let list: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(
            list["iceServers"][1]["username"].as_str().unwrap().ends_with(":alice"),
            "{body}"
        );
    }
    // It is no token of an operator.
    let (status, _, _) = tokio::task::block_in_place(|| ask(server.http, Some(token), "GET /v1/rooms", ""));
    assert_eq!(status, 401);
    server.wait_for_log("issue_token", 1);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("issue_token")).unwrap();
    assert!(
        line.contains("\"on\":\"alice\"") && line.contains("\"status\":200"),
        "{line}"
    );
    assert!(!log.contains(token) && !log.contains(SECRET), "{log}");
}

#[test]
fn a_token_is_bounded_and_what_would_not_be_let_in_is_not_signed() {
    let server = closed();
    let of = |wanted: Value| {
        let (status, problem) = admin(&server, "POST /v1/tokens", &wanted.to_string());
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    for (wanted, code) in [
        (json!({}), "bad_body"),
        (json!({ "user": "a", "surprise": 1 }), "bad_body"),
        (json!({ "user": "a", "can": { "fly": true } }), "bad_body"),
        (json!({ "user": "" }), "bad_claim"),
        (json!({ "user": "a", "peer": "b\u{7}" }), "bad_claim"),
        (json!({ "user": "a", "ttl": 0 }), "bad_ttl"),
        (json!({ "user": "a", "ttl": 86_401 }), "bad_ttl"),
        (json!({ "user": "a", "realm": "nowhere" }), "unknown_realm"),
        (
            json!({ "user": "a", "rooms": vec!["r".repeat(1024); 8] }),
            "token_too_long",
        ),
    ] {
        assert_eq!(of(wanted.clone()), (400, code.to_owned()), "{wanted}");
    }
    assert_eq!(of(json!({ "user": "a", "ttl": 86_400 })).0, 200);
    for token in [None, Some("another")] {
        assert_eq!(ask(server.http, token, "POST /v1/tokens", "{\"user\":\"a\"}").0, 401);
    }
}

#[test]
fn a_server_that_asks_for_no_tokens_signs_none() {
    let server = start("");
    let (status, problem) = admin(&server, "POST /v1/tokens", "{\"user\":\"alice\"}");
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("no_token_secret")),
        "{problem}"
    );
}
