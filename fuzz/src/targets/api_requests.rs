//! Requests to the ICE API, in its own form and in those of other services, with rules by which lists differ: heads, tokens, queries
//! and bodies of anybody's making.
//!
//! An input is a request as text: `POST /path?query`, header lines, an empty line, the body. No answer is a mistake of the server, each is
//! what its type says, every list has a server in it and no more URLs than may be, and no answer holds a secret.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use meetpoint::config::detect::Machine;
use meetpoint::config::{File, Sources, load};
use meetpoint::credentials::KeyRing;
use meetpoint::credentials::ice_list::MAX_URLS;
use meetpoint::events::Events;
use meetpoint::http::admin::Tokens;
use meetpoint::http::{self, AppState, Issuer, TokenAuthenticator};
use meetpoint::telemetry::Metrics;
use meetpoint::ws::HubHandle;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

#[path = "../../../tests/support/nobody.rs"]
mod nobody;

use nobody::Nobody;

/// What no answer may hold; the corpus holds what opens.
const SECRETS: [&str; 3] = ["the secret of all others", "the secret of acme", "the secret of coturn"];

const CONFIG: &str = r#"
[http]
compat = ["cloudflare", "twilio", "metered", "xirsys", "matrix", "stunner"]
trusted_proxies = ["127.0.0.0/8"]
public_url = "https://meet.example.org"
[ice]
host = "turn.example.org"
country_header = "CF-IPCountry"
[credentials]
secrets = "the secret of all others"
[admin]
tokens = "ops=0123456789abcdef0123456789abcdef"
[realms.acme]
secrets = "the secret of acme"
tokens = "acme-token-of-32-characters-or-more"
rate = "100000/s"
burst = 100000
[servers.far]
urls = ["turn:far.example:3478?transport=udp", "turns:far.example:443?transport=tcp", "turn:far.example:53", "stun:far.example"]
secret = "the secret of coturn"
tags = ["eu"]
[servers.near]
urls = ["turns:near.example:443?transport=tcp"]
username = "account"
credential = "the same for everybody"
tags = ["eu"]
[lists.a]
order = 1
countries = ["DE", "FR"]
own = false
tags = ["eu"]
pick = 1
[lists.b]
order = 2
headers = ["x-plan=pro", "x-plan=team", "x-place=office"]
servers = ["far"]
transports = ["tls"]
policy = "relay"
max_urls = 2
[lists.c]
order = 3
clients = ["198.51.100.0/24", "2001:db8::/32"]
servers = "*"
extra = false
max_urls = 1
[lists.d]
order = 4
realms = ["acme"]
servers = ["near"]
"#;

struct Api {
    runtime: Runtime,
    router: Router,
}

static API: LazyLock<Api> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let router = runtime.block_on(async { router() });
    Api { runtime, router }
});

fn router() -> Router {
    let file = Some(File { path: "meetpoint.toml".into(), text: CONFIG.to_owned() });
    let loaded = load(&Sources { file, ..Sources::none() }).unwrap_or_else(|problems| panic!("{problems}"));
    let settings = loaded.config.settings(&Machine::default());
    let metrics = Metrics::new().expect("metrics");
    let authenticator = TokenAuthenticator::new(&settings.http.auth, &metrics).expect("an authenticator");
    let ring = |secret: &str| KeyRing::from_bytes([secret]).expect("a secret");
    let issuer = Issuer::new(settings.http.ice.clone(), ring(SECRETS[0]), &metrics);
    issuer.replace_realms(&settings.http.realms, &[("acme".into(), ring(SECRETS[1]))].into());
    let (judge, credentials) = (Arc::new(authenticator.clone()), Arc::new(issuer.clone()));
    let hub = HubHandle::start(settings.signaling, settings.ws, judge, credentials, [7; 32]);
    let events = Events::start(settings.events, &metrics).expect("events");
    let state = AppState::new(settings.http, authenticator, issuer, hub, metrics);
    let tokens = Tokens::default();
    tokens.replace(["0123456789abcdef0123456789abcdef"]);
    let (intake, feed) = (events.intake(), events.feed());
    // They live as long as the process, as everything here.
    std::mem::forget(events);
    http::router(state.clone())
        .merge(http::compat_router(&state, tokens.clone(), Arc::new(Nobody), intake.clone()))
        .merge(http::admin_router(&state, tokens, Arc::new(Nobody), (intake, feed)))
}

pub(crate) fn run(data: &[u8]) {
    let Some((request, client)) = request(data) else { return };
    // A stream of events never ends, and a WebSocket is another's to fuzz.
    if request.uri().path().ends_with("/events") || request.headers().contains_key(header::UPGRADE) {
        return;
    }
    let Api { runtime, router } = &*API;
    runtime.block_on(async {
        let mut request = request;
        request.extensions_mut().insert(ConnectInfo(client));
        let answer = tokio::time::timeout(Duration::from_secs(20), router.clone().oneshot(request));
        let (parts, body) = answer.await.expect("it is answered").expect("a router answers").into_parts();
        let body = to_bytes(body, 4 << 20).await.expect("a body of bounded length");
        // What a request says itself may be repeated to whoever sent it.
        let said = String::from_utf8_lossy(data);
        judge(&parts, &body, |secret| said.contains(secret));
    });
}

/// `None` for what hyper would not let through.
fn request(data: &[u8]) -> Option<(Request<Body>, SocketAddr)> {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    let mut client = SocketAddr::from(([127, 0, 0, 1], 40_000));
    for line in lines.take(64) {
        let (name, value) = line.split_once(':')?;
        match name {
            // Where it comes from: this machine's proxy, or a stranger.
            "client" => client = SocketAddr::new(value.trim().parse().ok()?, 40_000),
            _ => request = request.header(name, value.trim()),
        }
    }
    let body = body.strip_prefix(b"\n\n").unwrap_or_default();
    Some((request.body(Body::from(body.to_vec())).ok()?, client))
}

fn judge(answer: &axum::http::response::Parts, body: &[u8], is_said: impl Fn(&str) -> bool) {
    let status = answer.status.as_u16();
    assert_ne!(status, 500, "{}", String::from_utf8_lossy(body));
    let text = String::from_utf8_lossy(body);
    for part in SECRETS {
        assert!(!text.contains(part) || is_said(part), "{text}");
    }
    let kind = answer.headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().expect("a type is text"));
    if !kind.contains("json") || body.is_empty() {
        return;
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    if kind == "application/problem+json" {
        assert_eq!(json["status"].as_u64(), Some(status.into()), "{text}");
        assert!(json["code"].is_string() && json["requestId"].is_string(), "{text}");
    }
    if let Some(servers) = json["iceServers"].as_array() {
        let urls = servers.iter().map(|server| server["urls"].as_array().map_or(1, Vec::len)).sum::<usize>();
        assert!((1..=MAX_URLS).contains(&urls), "{text}");
        for server in servers {
            assert_eq!(server.get("username").is_some(), server.get("credential").is_some(), "{text}");
        }
    }
}
