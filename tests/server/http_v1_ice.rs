//! `/v1/ice` and `/v1/turn`: the same lists as `/api/ice-servers` in two other forms, by the same rules.

use meetpoint::http::{Auth, Config, Ice, Jwt, JwtSecret, RateLimit};
use serde_json::json;

use crate::http_limits::{in_seconds, token};
use crate::http_support::{Api, STRANGER, request};

/// The names of an object, sorted.
fn names(object: &serde_json::Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn guarded() -> Api {
    Api::new(Config {
        auth: Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(crate::http_limits::JWT_SECRET)]))),
        ..Config::default()
    })
}

#[tokio::test]
async fn the_list_has_the_documented_names_and_no_other() {
    let api = Api::new(Config::default());
    let reply = api
        .get("/v1/ice?user=alice&ttl=60", &[("origin", "https://app.example")])
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("cache-control")),
        (200, Some("no-store"))
    );
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let body = reply.json();
    assert_eq!(names(&body), ["expiresAt", "iceServers", "ttl"]);
    assert_eq!(body["ttl"], 60);
    let username = body["iceServers"][1]["username"].as_str().unwrap();
    assert_eq!(username, format!("{}:alice", body["expiresAt"]));
    let post = api.answer_to(STRANGER, request("POST", "/v1/ice", &[], "")).await;
    post.assert_problem(405, "method_not_allowed");

    let relay_only = Api::new(Config {
        ice: Ice {
            relay_only: true,
            ..Ice::default()
        },
        ..Config::default()
    });
    assert_eq!(
        relay_only.get("/v1/ice", &[]).await.json()["iceTransportPolicy"],
        "relay"
    );
}

#[tokio::test]
async fn the_form_of_the_draft_has_one_credential_and_its_uris() {
    let api = Api::new(Config::default());
    let reply = api.get("/v1/turn?service=turn&username=alice&key=x&ttl=60", &[]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("cache-control")),
        (200, Some("no-store"))
    );
    let body = reply.json();
    assert_eq!(names(&body), ["password", "ttl", "uris", "username"]);
    assert_eq!(body["ttl"], 60);
    assert!(body["username"].as_str().unwrap().ends_with(":alice"), "{body}");
    let uris = ["udp", "tcp"].map(|transport| format!("turn:meet.example:3478?transport={transport}"));
    assert_eq!(body["uris"], json!(uris));
    // The same credential as in a list of that second.
    let (password, username) = (body["password"].as_str().unwrap(), body["username"].as_str().unwrap());
    assert_eq!(password, crate::http::password(username));

    assert_eq!(api.get("/v1/turn", &[]).await.status, 200);
    api.get("/v1/turn?service=stun", &[])
        .await
        .assert_problem(400, "bad_service");
    api.get("/v1/turn?username=a:b", &[])
        .await
        .assert_problem(400, "bad_user");
    api.get("/v1/turn?ttl=0", &[]).await.assert_problem(400, "bad_ttl");
    // TURN over WebSocket is another thing, and not there unless it is switched on.
    api.get("/turn?service=turn", &[])
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn both_ask_for_the_token_and_one_without_turn_gets_no_credential() {
    let api = guarded();
    let of = |claims: serde_json::Value| token("HS256", &claims);
    let good = of(json!({ "sub": "alice", "exp": in_seconds(600) }));
    let watcher = of(json!({ "sub": "bob", "exp": in_seconds(600), "can": { "turn": false } }));
    for path in ["/v1/ice", "/v1/turn"] {
        let reply = api.get(path, &[]).await;
        reply.assert_problem(401, "token_required");
        assert!(reply.header("www-authenticate").is_some());
    }
    let list = api
        .get("/v1/ice?user=mallory", &[("authorization", &good)])
        .await
        .json();
    assert!(list["iceServers"][1]["username"].as_str().unwrap().ends_with(":alice"));
    let one = api
        .get("/v1/turn?username=mallory", &[("authorization", &good)])
        .await
        .json();
    assert!(one["username"].as_str().unwrap().ends_with(":alice"));
    let list = api.get("/v1/ice", &[("authorization", &watcher)]).await.json();
    assert_eq!(list["iceServers"], json!([{ "urls": ["stun:meet.example:3478"] }]));
    let one = api.get("/v1/turn", &[("authorization", &watcher)]).await;
    one.assert_problem(403, "forbidden");
    let text = api.get("/metrics", &[]).await.text();
    for line in [
        "meetpoint_credentials_issues_total{result=\"issued\",surface=\"http\"} 2",
        "meetpoint_credentials_issues_total{result=\"withheld\",surface=\"http\"} 2",
        "meetpoint_credentials_issues_total{result=\"unauthorized\",surface=\"http\"} 2",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(
        text.contains("route=\"/v1/ice\"") && text.contains("route=\"/v1/turn\""),
        "{text}"
    );
}

#[tokio::test]
async fn all_three_paths_draw_from_one_bucket() {
    let api = Api::new(Config {
        rate: RateLimit {
            burst: 3,
            ..RateLimit::default()
        },
        ..Config::default()
    });
    for path in ["/api/ice-servers", "/v1/ice", "/v1/turn"] {
        assert_eq!(api.get(path, &[]).await.status, 200, "{path}");
    }
    for path in ["/api/ice-servers", "/v1/ice", "/v1/turn"] {
        let reply = api.get(path, &[]).await;
        reply.assert_problem(429, "rate_limited");
        assert!(reply.header("retry-after").is_some());
    }
}
