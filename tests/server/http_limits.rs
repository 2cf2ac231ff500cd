//! What the API refuses: tokens, rates, sizes.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use meetpoint::http::{Auth, Config, Jwt, JwtSecret, Limits, RateLimit};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http_support::{Api, STRANGER, request};

pub(crate) const JWT_SECRET: &str = "an-hs256-secret-of-at-least-32-bytes";

pub(crate) fn token(alg: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": alg, "typ": "JWT" })), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(JWT_SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!(
        "Bearer {signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

pub(crate) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn guarded() -> Api {
    Api::new(Config {
        auth: Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(JWT_SECRET)]))),
        ..Config::default()
    })
}

#[tokio::test]
async fn where_tokens_are_asked_for_the_tokens_user_is_the_credentials_user() {
    let good = token("HS256", &json!({ "sub": "alice", "exp": in_seconds(600) }));
    let reply = guarded()
        .get("/api/ice-servers?user=mallory", &[("authorization", &good)])
        .await;
    let username = reply.json()["iceServers"][1]["username"].as_str().unwrap().to_owned();
    assert!(username.ends_with(":alice"), "{username}");
}

#[tokio::test]
async fn a_missing_expired_or_forged_token_is_401_with_a_challenge() {
    let api = guarded();
    let reply = api.get("/api/ice-servers", &[]).await;
    reply.assert_problem(401, "token_required");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"meetpoint\""));
    let expired = token("HS256", &json!({ "sub": "alice", "exp": in_seconds(-60) }));
    let reply = api.get("/api/ice-servers", &[("authorization", &expired)]).await;
    reply.assert_problem(401, "expired_token");
    assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"));
    for alg in ["none", "RS256", "HS512"] {
        let forged = token(alg, &json!({ "sub": "alice", "exp": in_seconds(600) }));
        api.get("/api/ice-servers", &[("authorization", &forged)])
            .await
            .assert_problem(401, "invalid_token");
    }
    api.get("/api/ice-servers", &[("authorization", "Bearer junk")])
        .await
        .assert_problem(401, "invalid_token");
    let text = api.get("/metrics", &[]).await.text();
    assert!(text.contains("meetpoint_auth_token_failures_total{reason=\"expired\",surface=\"http\"} 1"));
    assert!(text.contains("meetpoint_credentials_issues_total{result=\"unauthorized\",surface=\"http\"} 6"));
}

#[tokio::test]
async fn a_token_without_the_right_to_relay_gets_stun_alone() {
    let watcher = token(
        "HS256",
        &json!({ "sub": "a", "exp": in_seconds(600), "can": { "turn": false } }),
    );
    let reply = guarded().get("/api/ice-servers", &[("authorization", &watcher)]).await;
    assert_eq!(
        reply.json()["iceServers"],
        json!([{ "urls": ["stun:meet.example:3478"] }])
    );
}

#[tokio::test]
async fn a_valid_token_sees_rooms_from_anywhere() {
    let good = token(
        "HS256",
        &json!({ "userId": 7, "publicKey": "k", "exp": in_seconds(600) }),
    );
    let api = guarded();
    let listed = async |headers: &[(&str, &str)]| {
        api.get("/api/signaling/stats", headers).await.json()["roomsListed"]
            .as_bool()
            .unwrap()
    };
    assert!(listed(&[("authorization", &good)]).await);
    assert!(!listed(&[]).await);
}

fn limited(burst: u32) -> Config {
    let rate = RateLimit {
        interval: Duration::from_secs(60),
        burst,
        ..RateLimit::default()
    };
    Config {
        rate,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..Config::default()
    }
}

#[tokio::test]
async fn past_the_burst_a_client_is_told_when_to_come_back() {
    let api = Api::new(limited(2));
    for _ in 0..2 {
        assert_eq!(api.get("/api/ice-servers", &[]).await.status, 200);
    }
    let reply = api.get("/api/ice-servers", &[]).await;
    reply.assert_problem(429, "rate_limited");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
    assert_eq!(reply.json()["retryAfter"], wait);
    // Nobody else is affected, nor are other routes.
    let other: IpAddr = "198.51.100.1".parse().unwrap();
    assert_eq!(
        api.answer_to(other, request("GET", "/api/ice-servers", &[], ""))
            .await
            .status,
        200
    );
    assert_eq!(api.get("/api/health", &[]).await.status, 200);
    let text = api.get("/metrics", &[]).await.text();
    assert!(text.contains("\nmeetpoint_http_rate_limited_total 1\n"), "{text}");
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_limited_one_by_one_and_cannot_lie() {
    let api = Api::new(limited(1));
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    let through = async |forwarded: &str| {
        let headers = [("x-forwarded-for", forwarded)];
        api.answer_to(proxy, request("GET", "/api/ice-servers", &headers, ""))
            .await
            .status
            .as_u16()
    };
    assert_eq!(through("203.0.113.1").await, 200);
    assert_eq!(through("203.0.113.2").await, 200);
    assert_eq!(through("203.0.113.1").await, 429);
    assert_eq!(
        through("198.51.100.250, 203.0.113.1").await,
        429,
        "what the client wrote itself counts for nothing"
    );
    // A stranger's header is not read at all.
    for spoofed in ["198.51.100.1", "198.51.100.2"] {
        let headers = [("x-forwarded-for", spoofed)];
        let expected = if spoofed.ends_with('1') { 200 } else { 429 };
        assert_eq!(api.get("/api/ice-servers", &headers).await.status, expected);
    }
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let limits = Limits {
        body_bytes: 64,
        ..Limits::default()
    };
    let api = Api::new(Config {
        limits,
        ..Config::default()
    });
    let post = async |body: String, declared: bool| {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if declared {
            headers.push(("content-length", body.len().to_string()));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        api.answer_to(STRANGER, request("POST", "/api/ice-servers", &headers, &body))
            .await
    };
    let padded = |length: usize| format!("{{\"ttl\":60{}}}", " ".repeat(length - 10));
    assert_eq!(padded(64).len(), 64);
    for declared in [true, false] {
        assert_eq!(post(padded(64), declared).await.status, 200);
        post(padded(65), declared).await.assert_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_told_apart() {
    let api = Api::new(Config::default());
    let post = async |content_type: &str, body: &str| {
        api.answer_to(
            STRANGER,
            request("POST", "/api/ice-servers", &[("content-type", content_type)], body),
        )
        .await
    };
    post("text/plain", "ttl=60")
        .await
        .assert_problem(415, "unsupported_media_type");
    post("application/json", "{").await.assert_problem(400, "bad_json");
    post("application/json", r#"{"ttl":0}"#)
        .await
        .assert_problem(400, "bad_ttl");
}
