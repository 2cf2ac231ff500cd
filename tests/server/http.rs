//! The API: what each route answers.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use meetpoint::http::{Config, Ice, MetricsAccess, RoomListing};
use meetpoint::telemetry::labels::Route;
use serde_json::json;
use sha1::Sha1;

use crate::http_support::{Api, SECRET, STRANGER, request};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What coturn computes.
pub(crate) fn password(username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn the_ice_list_is_ready_for_a_peer_connection_and_its_credential_is_what_coturn_computes() {
    let reply = Api::new(Config::default())
        .get("/api/ice-servers?user=alice", &[])
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(body["servers"], body["iceServers"]);
    assert_eq!(body["iceServers"][0], json!({ "urls": ["stun:meet.example:3478"] }));
    let turn = &body["iceServers"][1];
    let urls = ["udp", "tcp"].map(|transport| format!("turn:meet.example:3478?transport={transport}"));
    assert_eq!(turn["urls"], json!(urls));
    let username = turn["username"].as_str().unwrap();
    let (expiry, user) = username.split_once(':').unwrap();
    assert_eq!(user, "alice");
    let expires_at = body["expiresAt"].as_u64().unwrap();
    assert_eq!(expiry.parse::<u64>().unwrap(), expires_at);
    assert_eq!(body["ttl"], 3600);
    assert!((now() + 3595..=now() + 3605).contains(&expires_at));

    assert_eq!(turn["credential"], password(username));
}

#[tokio::test]
async fn get_head_and_post_are_taken_and_other_methods_are_not() {
    let api = Api::new(Config::default());
    let head = api
        .answer_to(STRANGER, request("HEAD", "/api/ice-servers", &[], ""))
        .await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let post = api
        .answer_to(STRANGER, request("POST", "/api/ice-servers?ttl=60", &[], ""))
        .await;
    assert_eq!(post.json()["ttl"], 60);
    let wish = r#"{"ttl":120,"user":"bob","customIdentifier":"x"}"#;
    let headers = [("content-type", "application/json")];
    let post = api
        .answer_to(STRANGER, request("POST", "/api/ice-servers", &headers, wish))
        .await;
    assert_eq!(post.json()["ttl"], 120);
    assert!(
        post.json()["iceServers"][1]["username"]
            .as_str()
            .unwrap()
            .ends_with(":bob")
    );
    let delete = api
        .answer_to(STRANGER, request("DELETE", "/api/ice-servers", &[], ""))
        .await;
    delete.assert_problem(405, "method_not_allowed");
    assert!(delete.header("allow").unwrap().contains("POST"));
}

#[tokio::test]
async fn a_lifetime_is_capped_and_nonsense_is_refused() {
    let api = Api::new(Config::default());
    assert_eq!(
        api.get("/api/ice-servers?ttl=99999999", &[]).await.json()["ttl"],
        172_800
    );
    api.get("/api/ice-servers?ttl=soon", &[])
        .await
        .assert_problem(400, "bad_ttl");
    api.get("/api/ice-servers?user=a%3Ab", &[])
        .await
        .assert_problem(400, "bad_user");
}

#[tokio::test]
async fn nobody_is_given_the_name_of_a_session_of_the_hub() {
    let api = Api::new(Config::default());
    let path = |user: &str| format!("/api/ice-servers?user={user}");
    api.get(&path("mJ7rTq0c2nLx-b_A~bob"), &[])
        .await
        .assert_problem(400, "bad_user");
    assert_eq!(api.get(&path("mJ7r~bob"), &[]).await.status, 200);
}

#[tokio::test]
async fn without_a_label_every_credential_has_a_user_of_its_own() {
    let api = Api::new(Config::default());
    let mut users = Vec::new();
    for _ in 0..2 {
        let body = api.get("/api/ice-servers", &[]).await.json();
        let username = body["iceServers"][1]["username"].as_str().unwrap().to_owned();
        users.push(username.split_once(':').unwrap().1.to_owned());
    }
    assert_ne!(users[0], users[1]);
}

#[tokio::test]
async fn the_advertised_host_is_the_requests_own_unless_one_is_configured() {
    let open = Api::new(Config::default());
    let first_url = async |api: &Api, host: &str| {
        let reply = api.get("/api/ice-servers", &[("host", host)]).await;
        reply.json()["iceServers"][0]["urls"][0].as_str().map(str::to_owned)
    };
    assert_eq!(
        first_url(&open, "[2001:db8::1]:8000").await.as_deref(),
        Some("stun:[2001:db8::1]:3478")
    );
    assert_eq!(
        first_url(&open, "localhost:8000").await.as_deref(),
        Some("stun:localhost:3478")
    );
    for junk in [
        "<script>",
        "a b",
        "evil.example/x",
        "a\"b",
        "user@evil.example",
        "0.0.0.0:8000",
    ] {
        open.get("/api/ice-servers", &[("host", junk)])
            .await
            .assert_problem(400, "no_usable_host");
    }
    let ice = Ice {
        hosts: vec!["turn.example".parse().unwrap()],
        ..Ice::default()
    };
    let fixed = Api::new(Config {
        ice,
        ..Config::default()
    });
    assert_eq!(
        first_url(&fixed, "<script>").await.as_deref(),
        Some("stun:turn.example:3478")
    );
}

#[tokio::test]
async fn the_answer_recommends_relay_only_where_the_operator_wants_it() {
    let ice = Ice {
        relay_only: true,
        ..Ice::default()
    };
    let reply = Api::new(Config {
        ice,
        ..Config::default()
    })
    .get("/api/ice-servers", &[])
    .await;
    assert_eq!(reply.json()["iceTransportPolicy"], "relay");
    let reply = Api::new(Config::default()).get("/api/ice-servers", &[]).await;
    assert!(reply.json().get("iceTransportPolicy").is_none());
}

#[tokio::test]
async fn health_is_told_in_the_shapes_that_clients_read() {
    let api = Api::new(Config::default());
    let health = api.get("/api/health", &[]).await.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["providers"], json!([]));
    assert_eq!(health["ollama"]["status"], "offline");
    assert!(health["timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    let retcon = api.get("/health", &[]).await.json();
    assert_eq!(
        (&retcon["ok"], &retcon["peers"], &retcon["rooms"]),
        (&json!(true), &json!(0), &json!(0))
    );
    assert_eq!(api.get("/healthz", &[]).await.json(), json!({ "status": "ok" }));
}

#[tokio::test]
async fn readiness_follows_the_flag_and_liveness_does_not() {
    let api = Api::new(Config::default());
    api.get("/readyz", &[]).await.assert_problem(503, "not_ready");
    api.metrics.readiness().set(true);
    assert_eq!(api.get("/readyz", &[]).await.json(), json!({ "status": "ready" }));
    api.metrics.readiness().set(false);
    api.get("/readyz", &[]).await.assert_problem(503, "not_ready");
    assert_eq!(api.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn statistics_have_the_documented_shape_and_name_rooms_to_trusted_clients_only() {
    let listing = async |room_listing, client: &str| {
        let api = Api::new(Config {
            room_listing,
            ..Config::default()
        });
        let reply = api
            .answer_to(
                client.parse().unwrap(),
                request("GET", "/api/signaling/stats", &[("host", "localhost:8000")], ""),
            )
            .await;
        let body = reply.json();
        assert_eq!(
            (&body["totalRooms"], &body["totalPeers"], &body["rooms"]),
            (&json!(0), &json!(0), &json!([]))
        );
        body["roomsListed"].as_bool().unwrap()
    };
    assert!(listing(RoomListing::Trusted, "127.0.0.1").await);
    assert!(!listing(RoomListing::Trusted, "203.0.113.7").await);
    assert!(listing(RoomListing::Everyone, "203.0.113.7").await);
    assert!(!listing(RoomListing::Nobody, "127.0.0.1").await);
}

#[tokio::test]
async fn a_forgotten_proxy_on_loopback_does_not_make_the_world_local() {
    let api = Api::new(Config::default());
    let headers = [("x-forwarded-for", "203.0.113.7")];
    let forwarded = request("GET", "/api/signaling/stats", &headers, "");
    let reply = api.answer_to("127.0.0.1".parse().unwrap(), forwarded).await;
    assert_eq!(reply.json()["roomsListed"], false);
}

#[tokio::test]
async fn a_page_of_somebody_else_in_a_browser_on_this_machine_does_not_see_the_rooms() {
    let api = Api::new(Config::default());
    let listed = async |headers: &[(&str, &str)]| {
        let request = request("GET", "/api/signaling/stats", headers, "");
        api.answer_to("127.0.0.1".parse().unwrap(), request).await.json()["roomsListed"] == true
    };
    for host in ["localhost:8000", "app.localhost", "127.0.0.1:8000", "[::1]:8000"] {
        assert!(listed(&[("host", host)]).await, "{host}");
        let of_another_origin = [("host", host), ("origin", "https://evil.example")];
        assert!(!listed(&of_another_origin).await, "{host}");
    }
    assert!(!listed(&[("host", "rebound.evil.example:8000")]).await);
    assert!(!listed(&[("host", "notlocalhost")]).await);
}

#[tokio::test]
async fn metrics_count_the_requests_before_them() {
    let api = Api::new(Config::default());
    api.get("/api/ice-servers", &[]).await;
    api.get("/zebra/crossing", &[]).await;
    let reply = api.get("/metrics", &[]).await;
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = reply.text();
    for line in [
        "meetpoint_http_requests_total{method=\"get\",route=\"/api/ice-servers\",status=\"2xx\"} 1",
        "meetpoint_http_requests_total{method=\"get\",route=\"unknown\",status=\"4xx\"} 1",
        "meetpoint_credentials_issues_total{result=\"issued\",surface=\"http\"} 1",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is missing");
    }
    assert!(!text.contains("zebra"), "a path became a label");
}

#[tokio::test]
async fn metrics_can_move_to_a_listener_of_their_own_or_go_away() {
    for metrics in [MetricsAccess::Separate, MetricsAccess::Off] {
        let api = Api::new(Config {
            metrics,
            ..Config::default()
        });
        api.get("/metrics", &[]).await.assert_problem(404, "not_found");
        let separate = api.with_metrics_alone();
        assert_eq!(separate.get("/metrics", &[]).await.status, 200);
        assert_eq!(separate.get("/readyz", &[]).await.status, 503);
        assert_eq!(separate.get("/api/ice-servers", &[]).await.status, 404);
    }
}

#[tokio::test]
async fn the_console_is_served_at_the_root() {
    let reply = Api::new(Config::default()).get("/", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        reply
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    let missing = Api::new(Config::default()).get("/console/none.js", &[]).await;
    missing.assert_problem(404, "not_found");
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_is_explained_in_json() {
    let api = Api::new(Config::default());
    for path in ["/signaling", "/v1/ws"] {
        let reply = api.get(path, &[]).await;
        reply.assert_problem(426, "upgrade_required");
        assert_eq!(reply.header("upgrade"), Some("websocket"));
        assert_eq!(reply.header("sec-websocket-version"), Some("13"));
    }
}

#[test]
fn every_route_is_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    for route in Route::ALL {
        if route != Route::Unknown {
            assert!(page.contains(&format!("`{}", route.as_label())), "{}", route.as_label());
        }
    }
}

#[tokio::test]
async fn every_unknown_path_and_method_is_a_problem_document() {
    let api = Api::new(Config::default());
    for path in ["/nothing", "/api", "/api/ice-servers/", "/metrics/x", "//"] {
        api.get(path, &[]).await.assert_problem(404, "not_found");
    }
    for path in ["/healthz", "/api/health", "/api/signaling/stats", "/metrics"] {
        let reply = api.answer_to(STRANGER, request("POST", path, &[], "")).await;
        reply.assert_problem(405, "method_not_allowed");
    }
}
