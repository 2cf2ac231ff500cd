//! Who is let in to the admin API, and the trail of what was done there.
//!
//! A token that opens always opens. Those that do not are answered 401, and 429 once an address has shown too many: not because
//! 32 characters could be guessed, but so that nobody fills the log and the audit trail with tries.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Admin;
use crate::credentials::UnixTime;
use crate::events::Audit;
use crate::http::bearer::bearer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::rate_limit::{Decision, RateLimit, RateLimiter};
use crate::telemetry::labels::AdminRefusal;

/// Bad tokens of one address at once, and then one in a while. The table forgets nobody who matters: a full bucket is 20 tries.
const TRIES: RateLimit = RateLimit {
    interval: Duration::from_secs(3),
    burst: 20,
    limit_loopback: true,
    clients: 4096,
};

/// To whom or what something was done, where the path does not say; set by the handler.
#[derive(Clone)]
pub(super) struct Target(pub(super) Box<str>);

/// Counts those who are turned away.
pub(super) struct Door {
    tries: RateLimiter,
    /// Tries that no event told of yet.
    untold: AtomicU64,
}

impl Door {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            tries: RateLimiter::new(TRIES, Instant::now()),
            untold: AtomicU64::new(0),
        })
    }
}

/// Lets in who has a token that opens, and writes down what is changed.
pub(super) async fn authorize(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if admin.tokens.is_off() {
        return Problem::of_status(StatusCode::NOT_FOUND).into_response();
    }
    let client = request.extensions().get::<Client>();
    let client = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.ip);
    let shown = bearer(request.headers());
    let Some(name) = shown.and_then(|token| admin.tokens.name_of(token)) else {
        return turn_away(&admin, client, shown.is_some());
    };
    let (action, target) = action(&request);
    let response = next.run(request).await;
    if let Some(action) = action {
        let named = response.extensions().get::<Target>();
        admin.intake.audit(Audit {
            at: now(),
            action,
            target: named.map(|Target(name)| name.clone()).or(target),
            token: Some(name),
            client,
            status: response.status().as_u16(),
            count: 1,
        });
    }
    response
}

fn turn_away(admin: &Admin, client: IpAddr, shown: bool) -> Response {
    let untold = &admin.door.untold;
    let metrics = admin.intake.metrics();
    if let Decision::Limited { retry_after } = admin.door.tries.check(client, Instant::now()) {
        untold.fetch_add(1, Ordering::Relaxed);
        metrics.admin_refusal(AdminRefusal::Limited);
        return Problem::rate_limited(retry_after).into_response();
    }
    let (reason, action) = if shown {
        (AdminRefusal::Invalid, "token_refused")
    } else {
        (AdminRefusal::Missing, "token_missing")
    };
    metrics.admin_refusal(reason);
    admin.intake.audit(Audit {
        at: now(),
        action,
        target: None,
        token: None,
        client,
        status: StatusCode::UNAUTHORIZED.as_u16(),
        count: 1 + untold.swap(0, Ordering::Relaxed),
    });
    let challenge = "Bearer realm=\"meetpoint admin\"";
    let (code, detail) = if shown {
        (Code::InvalidToken, "this is no token of an operator")
    } else {
        (Code::TokenRequired, "an operator's token is required")
    };
    Problem::unauthorized(code, detail, challenge).into_response()
}

/// What a request changes, and to whom as far as its path says; `None` for those that only look.
fn action(request: &Request) -> (Option<&'static str>, Option<Box<str>>) {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let part = |from_end: usize| request.uri().path().rsplit('/').nth(from_end).map(Box::from);
    match (request.method(), matched.unwrap_or_default()) {
        (&Method::DELETE, "/api/admin/allocations/{id}") => (Some("end_allocation"), part(0)),
        (&Method::DELETE, "/api/admin/users/{user}/allocations") => (Some("end_user"), part(1)),
        (&Method::POST, "/api/admin/revocations") => (Some("revoke"), None),
        (&Method::DELETE, "/api/admin/revocations") => (Some("lift_revocation"), None),
        (&Method::POST, "/api/admin/reload") => (Some("reload"), None),
        (&Method::POST, "/api/admin/drain") => (Some("drain"), None),
        (&Method::POST, "/v1/rooms/{room}/kick") => (Some("kick"), part(1)),
        (&Method::POST, "/v1/rooms/{room}/close") => (Some("close_room"), part(1)),
        (&Method::POST, "/v1/rooms/{room}/send") => (Some("send_to_room"), part(1)),
        (&Method::POST, "/v1/rooms/{room}/meta") => (Some("set_room"), part(1)),
        (&Method::POST, "/v1/bans") => (Some("ban"), None),
        (&Method::DELETE, "/v1/bans/{ban}") => (Some("lift_ban"), part(0)),
        (&Method::POST, "/v1/tokens") => (Some("issue_token"), None),
        (&Method::GET, "/api/admin/events") => (Some("listen"), None),
        (&Method::GET | &Method::HEAD, _) => (None, None),
        // Whatever is added later is in the trail before somebody thinks of it.
        _ => (Some("other"), part(0)),
    }
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}
