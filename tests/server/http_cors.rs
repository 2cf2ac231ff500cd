//! Pages of other origins.

use axum::http::Method;
use meetpoint::http::{Config, Cors};

use crate::http_support::{Api, Reply, STRANGER, request};

const APP: &str = "https://app.example.org";

async fn preflight(api: &Api, path: &str, origin: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    api.answer_to(STRANGER, request("OPTIONS", path, &headers, "")).await
}

fn allow_listed() -> Api {
    Api::new(Config {
        cors: Cors::Origins(vec![APP.into(), "http://localhost:3000".into()]),
        ..Config::default()
    })
}

#[tokio::test]
async fn by_default_every_origin_may_read_and_none_may_send_cookies() {
    let api = Api::new(Config::default());
    let reply = api.get("/api/ice-servers", &[("origin", APP)]).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    assert!(
        reply
            .header("access-control-expose-headers")
            .unwrap()
            .contains("retry-after")
    );
}

#[tokio::test]
async fn a_preflight_allows_the_methods_and_headers_that_clients_need() {
    for api in [Api::new(Config::default()), allow_listed()] {
        for path in [
            "/api/ice-servers",
            "/v1/ice",
            "/v1/turn",
            "/api/health",
            "/api/signaling/stats",
            "/nothing",
        ] {
            let reply = preflight(&api, path, APP).await;
            assert!(reply.status.is_success(), "{path}: {}", reply.status);
            let methods = reply.header("access-control-allow-methods").unwrap();
            for method in [Method::GET, Method::POST] {
                assert!(methods.split(',').any(|own| own.trim() == method.as_str()), "{methods}");
            }
            let headers = reply.header("access-control-allow-headers").unwrap();
            assert!(
                headers.contains("authorization") && headers.contains("content-type"),
                "{headers}"
            );
            assert!(reply.header("access-control-max-age").is_some());
            assert!(reply.header("x-request-id").is_some());
            assert!(reply.header("access-control-allow-origin").is_some());
        }
    }
}

#[tokio::test]
async fn with_an_allow_list_only_its_origins_are_named_and_caches_are_told() {
    let api = allow_listed();
    for (origin, allowed) in [
        (APP, true),
        ("http://localhost:3000", true),
        ("https://evil.example", false),
        ("https://app.example.org.evil.example", false),
        ("http://app.example.org", false),
        ("null", false),
    ] {
        let reply = api.get("/api/ice-servers", &[("origin", origin)]).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            allowed.then_some(origin),
            "{origin}"
        );
        assert!(reply.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
        let reply = preflight(&api, "/api/ice-servers", origin).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            allowed.then_some(origin),
            "{origin}"
        );
    }
}

#[tokio::test]
async fn errors_can_be_read_across_origins_too() {
    let api = allow_listed();
    for path in ["/nothing", "/api/ice-servers?ttl=x", "/readyz", "/signaling"] {
        let reply = api.get(path, &[("origin", APP)]).await;
        assert!(!reply.status.is_success());
        assert_eq!(reply.header("access-control-allow-origin"), Some(APP), "{path}");
    }
}

/// DNS rebinding: to the browser the page is this server's own, so only the name is left to judge by.
#[tokio::test]
async fn a_name_that_is_not_on_the_list_is_misdirected_whatever_its_origin_says() {
    let api = Api::new(Config {
        hosts: vec!["meet.example.org".into()],
        ..Config::default()
    });
    let rebound = [("host", "rebound.test:8000"), ("origin", "http://rebound.test:8000")];
    for path in [
        "/api/ice-servers",
        "/",
        "/signaling",
        "/api/signaling/stats",
        "/nowhere",
    ] {
        let reply = api.get(path, &rebound).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (421.try_into().unwrap(), Some("wrong_host")),
            "{path}"
        );
    }
    assert_eq!(
        api.get("/readyz", &rebound).await.status,
        503,
        "probes know no name; this one is not ready yet"
    );
    for host in [
        "meet.example.org",
        "MEET.example.org:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "localhost",
    ] {
        assert_eq!(
            api.get("/api/ice-servers", &[("host", host)]).await.status,
            200,
            "{host}"
        );
    }
}
