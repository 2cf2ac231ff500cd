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

#[tokio::test]
async fn a_page_may_read_what_is_exposed_and_nobody_is_asked_for_cookies() {
    let reply = allow_listed().get("/v1/ice", &[("origin", APP)]).await;
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["retry-after", "www-authenticate", "etag", "x-request-id"] {
        assert!(exposed.split(',').any(|one| one == name), "{exposed}");
    }
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

/// The Private Network Access draft: asked by a page of the Internet for a server in its visitor's network.
#[tokio::test]
async fn a_private_network_is_opened_to_pages_that_the_operator_named_alone() {
    for (api, opened) in [(allow_listed(), Some("true")), (Api::new(Config::default()), None)] {
        let headers = [
            ("origin", APP),
            ("access-control-request-method", "GET"),
            ("access-control-request-private-network", "true"),
        ];
        let reply = api
            .answer_to(STRANGER, request("OPTIONS", "/v1/ice", &headers, ""))
            .await;
        assert_eq!(reply.header("access-control-allow-private-network"), opened);
    }
}

#[tokio::test]
async fn a_preflight_lets_the_keys_of_the_api_through() {
    let headers = [
        ("origin", APP),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,x-api-key"),
    ];
    let reply = allow_listed()
        .answer_to(STRANGER, request("OPTIONS", "/v1/ice", &headers, ""))
        .await;
    let allowed = reply.header("access-control-allow-headers").unwrap();
    assert!(
        allowed.contains("x-api-key") && allowed.contains("authorization"),
        "{allowed}"
    );
}

#[tokio::test]
async fn options_that_is_no_preflight_says_what_a_path_takes() {
    let api = Api::new(Config::default());
    for (path, status, allow) in [
        ("/v1/ice", 204, Some("GET,HEAD")),
        ("/api/ice-servers", 204, Some("GET,HEAD,POST")),
        ("/healthz", 204, Some("GET,HEAD")),
        ("/", 204, Some("GET,HEAD")),
        ("/client.js", 204, Some("GET,HEAD")),
        ("/nothing", 404, None),
        ("/v1/ws", 426, None),
    ] {
        let reply = api
            .answer_to(STRANGER, request("OPTIONS", path, &[("origin", APP)], ""))
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (status, allow),
            "{path}"
        );
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(reply.header("x-request-id").is_some(), "{path}");
    }
}

#[tokio::test]
async fn head_is_the_get_without_its_body_and_a_wrong_method_is_told_which_are_right() {
    let api = Api::new(Config::default());
    for path in [
        "/v1/ice",
        "/api/ice-servers",
        "/v1/turn",
        "/healthz",
        "/api/health",
        "/",
        "/client.js",
        "/metrics",
    ] {
        let get = api.get(path, &[]).await;
        let head = api.answer_to(STRANGER, request("HEAD", path, &[], "")).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        let reply = api
            .answer_to(STRANGER, request("PATCH", path, &[("origin", APP)], ""))
            .await;
        reply.assert_problem(405, "method_not_allowed");
        assert!(reply.header("allow").unwrap().starts_with("GET,HEAD"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
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
