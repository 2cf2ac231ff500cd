//! Why a WebSocket would fail, told to a page; and sockets that are opened faster than they may be.

use std::time::Duration;

use meetpoint::http::{Auth, Config, ConnectRate, Cors, Jwt, RateLimit, read_keys};
use meetpoint::telemetry::Metrics;
use serde_json::{Value, json};

use crate::http_support::{Api, Reply, STRANGER, request};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/jwt/tokens.json")).unwrap()
}

fn guarded() -> Config {
    let keys = read_keys(vectors()["pem"]["EdDSA"].as_str().unwrap()).unwrap();
    Config {
        auth: Auth::Jwt(Box::new(Jwt {
            keys,
            ..Jwt::new(Vec::new())
        })),
        ..Config::default()
    }
}

fn good() -> String {
    vectors()["good"]["EdDSA"].as_str().unwrap().to_owned()
}

async fn validate(api: &Api, query: &str, headers: &[(&str, &str)]) -> Reply {
    api.get(&format!("/v1/validate?{query}"), headers).await
}

#[tokio::test]
async fn what_would_be_let_in_is_ok_and_opens_nothing() {
    let api = Api::new(guarded());
    let bearer = format!("Bearer {}", good());
    for (query, headers) in [
        (format!("access_token={}", good()), vec![]),
        ("path=/signaling".to_owned(), vec![("authorization", &*bearer)]),
        (
            "protocol=meetpoint.v1.json&room=lobby&else=1".to_owned(),
            vec![("authorization", &*bearer)],
        ),
    ] {
        let reply = validate(&api, &query, &headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (200, json!({"ok": true})),
            "{query}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(api.hub.stats().connects, 0);
}

#[tokio::test]
async fn every_failure_is_told_as_the_attempt_would_meet_it() {
    let api = Api::new(guarded());
    let forged = vectors()["attacks"]["another's key under a known name"].clone();
    let forged = format!("access_token={}", forged.as_str().unwrap());
    for (query, code, status, close) in [
        ("path=/nowhere", "not_found", Some(404), None),
        ("protocol=other", "unsupported_subprotocol", Some(400), None),
        ("", "unauthorized", None, Some(4101)),
        (&*forged, "unauthorized", None, Some(4101)),
    ] {
        let reply = validate(&api, query, &[]).await;
        let body = reply.json();
        assert_eq!(
            (reply.status.as_u16(), &body["ok"], &body["code"]),
            (200, &json!(false), &json!(code))
        );
        assert_eq!(body["status"], json!(status), "{query}");
        assert_eq!(body["close"], json!(close), "{query}");
        assert!(!body["detail"].as_str().unwrap().contains("eyJ"));
    }
    api.hub.drain((Duration::ZERO, Duration::ZERO), None);
    let body = validate(&api, &format!("access_token={}", good()), &[]).await.json();
    assert_eq!((&body["code"], &body["status"]), (&json!("not_ready"), &json!(503)));
}

#[tokio::test]
async fn a_port_with_a_dialect_of_its_own_is_asked_about_its_own_paths() {
    let api = Api::new(Config::default());
    assert_eq!(validate(&api, "path=/anything", &[]).await.json()["code"], "not_found");
    let own = api.speaking(meetpoint::signaling::Dialect::Reploid);
    assert_eq!(validate(&own, "path=/anything", &[]).await.json(), json!({"ok": true}));
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_not_allowed_learns_that_and_nothing_else() {
    let origins = vec!["https://app.example.org".to_owned()];
    let api = Api::new(Config {
        cors: Cors::Origins(origins.clone()),
        ..guarded()
    });
    api.hub.replace_origins(Some(origins));
    let evil = [("origin", "https://evil.test")];
    for query in ["", "path=/nowhere", &*format!("access_token={}", good())] {
        let reply = validate(&api, query, &evil).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://evil.test"));
        let body = reply.json();
        assert_eq!(
            (&body["code"], &body["status"]),
            (&json!("origin_not_allowed"), &json!(403))
        );
    }
    let reply = api.get("/api/health", &evil).await;
    assert_eq!(reply.header("access-control-allow-origin"), None, "on no other route");
    let query = format!("access_token={}", good());
    let reply = validate(&api, &query, &[("origin", "https://app.example.org")]).await;
    assert_eq!(reply.json(), json!({"ok": true}));
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
}

#[tokio::test]
async fn sockets_are_opened_at_a_rate_and_asking_about_one_costs_the_same() {
    let api = Api::new(Config {
        connect_rate: ConnectRate(RateLimit {
            interval: Duration::from_secs(100),
            burst: 2,
            ..RateLimit::default()
        }),
        ..Config::default()
    });
    let upgrade = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    // Without a socket below there is nothing to upgrade, which is found out last.
    api.get("/v1/ws", &upgrade).await.assert_problem(400, "not_upgradable");
    assert_eq!(validate(&api, "", &[]).await.json(), json!({"ok": true}));
    for path in [
        "/v1/ws",
        "/signaling",
        "/v1/validate",
        "/",
        "/peerjs",
        "/peerjs/peerjs",
        "/match/room",
        "/socket.io/",
    ] {
        let reply = api.get(path, &upgrade).await;
        reply.assert_problem(429, "rate_limited");
        assert!(
            reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 99,
            "{path}"
        );
    }
    api.get("/v1/ws", &[]).await.assert_problem(426, "upgrade_required");
    let metrics: &Metrics = &api.metrics;
    assert_eq!(metrics.api().connects_limited.get(), 8);
    for _ in 0..9 {
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        let reply = api.answer_to(loopback, request("GET", "/v1/ws", &upgrade, "")).await;
        reply.assert_problem(400, "not_upgradable");
    }
    let neighbour = "203.0.113.8".parse().unwrap();
    assert_ne!(neighbour, STRANGER);
    let reply = api.answer_to(neighbour, request("GET", "/v1/ws", &upgrade, "")).await;
    reply.assert_problem(400, "not_upgradable");
}
