//! `/openapi.json` and the routers: what is served is described, what is described is served and answered as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use jsonschema::Validator;
use meetpoint::events::{self, Events};
use meetpoint::http::admin::Tokens;
use meetpoint::http::{self, Auth, Code, Config, Jwt, JwtSecret, Served, Service};
use meetpoint::ws::{TunnelPlace, TunnelSink, UpgradeError};
use serde_json::{Value, json};

use crate::http_support::{Api, STRANGER, request};
use crate::nobody::Nobody;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct NoTunnel;

impl TunnelSink for NoTunnel {
    fn admit(&self, _: SocketAddr) -> Result<Box<dyn TunnelPlace>, UpgradeError> {
        Err(UpgradeError::Full)
    }
}

/// A listener with everything that there is, and the document's place on it.
fn everything(config: Config) -> Api {
    let api = Api::new(Config {
        compat: Service::ALL.to_vec(),
        ..config
    });
    let events = Events::start(events::Config::default(), &api.metrics).unwrap();
    let (intake, feed) = (events.intake(), events.feed());
    let tokens = Tokens::default();
    tokens.replace([TOKEN]);
    let served = Served {
        public: true,
        metrics: true,
        compat: Service::ALL.to_vec(),
        tunnel: true,
        admin: Some(tokens.clone()),
    };
    let state = api.state();
    let more = http::compat_router(&state, tokens.clone(), Arc::new(Nobody), intake.clone())
        .merge(http::admin_router(&state, tokens, Arc::new(Nobody), (intake, feed)))
        .merge(http::tunnel_router(&state, Arc::new(NoTunnel)))
        .merge(http::openapi_router(&state, served));
    api.with_routes(more)
}

async fn document(api: &Api) -> Value {
    let reply = api.get("/openapi.json", &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Method and path of every route, as the router itself shows them. `any` is written as GET: the handshake of a WebSocket.
fn routes(router: &Router) -> BTreeSet<(String, String)> {
    let shown = format!("{router:?}");
    // The fallbacks behind it have numbers of their own.
    let (shown, _) = shown.split_once("fallback_router").unwrap();
    let mut paths = BTreeMap::new();
    let mut methods = BTreeMap::new();
    for (at, _) in shown.match_indices("RouteId(") {
        let rest = &shown[at + "RouteId(".len()..];
        let (id, rest) = rest.split_once("): ").unwrap();
        if let Some(path) = rest.strip_prefix('"') {
            paths.insert(id.to_owned(), path.split_once('"').unwrap().0.to_owned());
        } else if rest.starts_with("MethodRouter") {
            let allow = rest.split_once("allow_header: ").unwrap().1;
            let allow = match allow.strip_prefix("Bytes(b\"") {
                Some(allow) => allow.split_once('"').unwrap().0.to_owned(),
                None => "GET".to_owned(),
            };
            methods.insert(id.to_owned(), allow);
        }
    }
    let mut all = BTreeSet::new();
    for (id, path) in &paths {
        let Some(allow) = methods.get(id).filter(|_| !path.contains("__private__axum")) else {
            continue;
        };
        for method in allow.split(',').filter(|method| *method != "HEAD") {
            all.insert((method.to_owned(), path.replace("{*", "{")));
        }
    }
    all
}

fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let methods: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        methods
            .into_iter()
            .map(move |method| (method.to_ascii_uppercase(), path.clone()))
    };
    paths.iter().flat_map(of).collect()
}

/// Paths that the fallback answers: no router knows them.
const OF_THE_FALLBACK: [&str; 9] = [
    "/match",
    "/match/{room}",
    "/peerjs",
    "/peerjs/id",
    "/peerjs/peerjs",
    "/peerjs/peers",
    "/peerjs/{key}/id",
    "/peerjs/{key}/peers",
    "/socket.io",
];

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_a_route() {
    let api = everything(Config::default());
    let (served, described) = (routes(&api.router), described(&document(&api).await));
    assert!(served.contains(&("POST".into(), "/v1/bans".into())), "{served:?}");
    assert!(served.contains(&("GET".into(), "/signaling".into())), "{served:?}");
    let silent: Vec<_> = served.difference(&described).collect();
    assert!(
        silent.is_empty(),
        "routes that /openapi.json does not know (add an Operation beside their handlers): {silent:?}"
    );
    for (method, path) in described.difference(&served) {
        assert!(
            OF_THE_FALLBACK.contains(&path.as_str()),
            "/openapi.json has {method} {path}, which is no route"
        );
        let path = path.replace("{room}", "r").replace("{key}", "k");
        let reply = api.get(&path, &[]).await;
        assert_ne!(reply.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_router_that_serves_less_describes_less() {
    let api = Api::new(Config::default());
    let tokens = Tokens::default();
    let served = Served {
        public: true,
        admin: Some(tokens.clone()),
        ..Served::default()
    };
    let more = http::openapi_router(&api.state(), served);
    let api = api.with_routes(more);
    let paths =
        |document: &Value| -> BTreeSet<String> { document["paths"].as_object().unwrap().keys().cloned().collect() };
    let before = paths(&document(&api).await);
    for path in ["/v1/bans", "/api/admin/config", "/ice", "/metrics", "/turn"] {
        assert!(!before.contains(path), "{path}");
    }
    tokens.replace([TOKEN]);
    let after = paths(&document(&api).await);
    assert!(after.contains("/v1/bans") && after.is_superset(&before));
}

/// Every schema of the document, with what it refers to, as one JSON Schema.
fn schema(document: &Value, schema: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .build(&whole)
        .unwrap()
}

fn complaints(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| error.to_string()).collect()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.to_ascii_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

#[tokio::test]
async fn every_example_fits_its_schema() {
    let document = document(&everything(Config::default())).await;
    let mut seen = 0;
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with(['1', '2'])),
            "{method} {path} never succeeds"
        );
        let bodies = responses
            .values()
            .chain([&operation["requestBody"]])
            .filter_map(|body| body["content"].as_object());
        for content in bodies.flat_map(|content| content.values()) {
            let Some(example) = content.get("example") else {
                continue;
            };
            seen += 1;
            let wrong = complaints(&schema(&document, &content["schema"]), example);
            assert!(wrong.is_empty(), "{method} {path}: {wrong:?} in {example}");
        }
    }
    assert!(seen > 100, "{seen}");
}

#[tokio::test]
async fn every_code_is_told_with_its_status_by_some_operation() {
    let document = document(&everything(Config::default())).await;
    let text = document["paths"].to_string();
    for code in Code::ALL {
        // Told for whole connections and paths, before there is an operation.
        let of_no_operation = [Code::MethodNotAllowed, Code::Unavailable];
        let is_there = text.contains(&format!("`{}`", code.name()));
        assert_eq!(is_there, !of_no_operation.contains(code), "{}", code.name());
    }
}

#[tokio::test]
async fn real_answers_fit_what_is_described() {
    let secret = "an HS256 secret of the tests, long enough";
    let closed = Config {
        auth: Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(secret)]))),
        ..Config::default()
    };
    for (api, open) in [(everything(Config::default()), true), (everything(closed), false)] {
        let document = document(&api).await;
        for (method, path, operation) in operations(&document) {
            // Ends with the reader.
            if path == "/api/admin/events" {
                continue;
            }
            let concrete: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let body = operation["requestBody"]["content"].as_object();
            let body = body.and_then(|content| content.iter().next());
            let text = body.map_or_else(String::new, |(_, content)| content["example"].to_string());
            let kind = body.map_or("text/plain", |(kind, _)| kind);
            let bearer = format!("Bearer {TOKEN}");
            for authorization in [None, Some(bearer.as_str())] {
                let mut headers = vec![("content-type", kind)];
                headers.extend(authorization.map(|value| ("authorization", value)));
                let reply = api
                    .answer_to(STRANGER, request(&method, &concrete, &headers, &text))
                    .await;
                let what = format!("{method} {concrete}, open: {open}: {} {}", reply.status, reply.text());
                let described = &operation["responses"][reply.status.as_str()];
                assert!(described.is_object(), "{what}");
                assert!(reply.header("x-request-id").is_some(), "{what}");
                let Some(content) = described["content"].as_object() else {
                    assert!(reply.body.is_empty(), "{what}");
                    continue;
                };
                let kind = reply.header("content-type").unwrap_or_default();
                let content = content.get(kind).or_else(|| content.get("*/*"));
                let content = content.unwrap_or_else(|| panic!("{what}: {kind} is not described"));
                if kind.ends_with("json") {
                    let wrong = complaints(&schema(&document, &content["schema"]), &reply.json());
                    assert!(wrong.is_empty(), "{what}: {wrong:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_document_has_a_tag_and_is_asked_for_again() {
    let api = everything(Config::default());
    let reply = api.get("/openapi.json", &[("origin", "https://app.example.org")]).await;
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let tag = reply.header("etag").unwrap().to_owned();
    let again = api.get("/openapi.json", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
    assert_eq!(reply.json()["openapi"], "3.1.0");
    let page = api.get("/docs", &[]).await;
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none';")
    );
}

#[tokio::test]
async fn operations_have_names_of_their_own_and_known_schemes() {
    let document = document(&everything(Config::default())).await;
    let mut ids = BTreeSet::new();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for (method, path, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
        for name in operation["security"].as_array().into_iter().flatten() {
            for name in name.as_object().unwrap().keys() {
                assert!(schemes.contains_key(name), "{method} {path}: {name}");
            }
        }
    }
    let ice = &document["paths"]["/v1/ice"]["get"]["security"];
    assert_eq!(ice[0], json!({}), "nobody needs a token here");
}
