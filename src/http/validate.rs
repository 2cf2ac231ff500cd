//! `GET /v1/validate`: what would become of a WebSocket that a page opens. Browsers hide the answer to a failed upgrade from the
//! page, and an `err` frame needs a socket; this says both, and opens nothing.
//!
//! It costs what an attempt costs (the rate of connections of an address, its bad tokens, a question to the operator's service) and
//! tells nothing that an attempt would not: a page of an origin that is not allowed learns that and no more, and of a room only
//! whether the token names it.

use axum::Json;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::bearer::bearer;
use super::client::Client;
use super::code::Code;
use super::operation::{Operation, Tag};
use super::places::{self, SpokenHere};
use super::state::AppState;
use crate::signaling::{CloseCode, ErrorCode};
use crate::telemetry::labels::Surface;
use crate::ws::{self, Applicant, AuthError, UpgradeError};

/// What is asked about. Unknown names are ignored.
#[derive(Deserialize, IntoParams)]
pub(super) struct Attempt {
    /// The path of the hub; `/v1/ws` without one.
    path: Option<String>,
    /// The subprotocol that would be offered.
    protocol: Option<String>,
    /// A room that would be joined.
    room: Option<String>,
    /// The token, if not in `Authorization`.
    access_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Verdict)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Whether the socket would open and stay.
    ok: bool,
    /// Of the upgrade or of the protocol; `not_found` where the hub is not at that path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// For a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// The HTTP status of the upgrade, where it is that which fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status: Option<u16>,
    /// The close code of the socket, where it is that which ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    close: Option<u16>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u64>,
}

/// Why an attempt would fail.
enum Failure {
    /// Nothing is served there.
    Path,
    Upgrade(UpgradeError),
    Token(AuthError),
    Room,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({ "ok": false, "code": "unauthorized", "detail": "the token is not valid", "close": 4101 });
    vec![
        Operation::get(
            "/v1/validate",
            Tag::Signaling,
            "Why a WebSocket would fail, for pages that cannot see it",
        )
        .query::<Attempt>()
        .answers::<Answer>(200, "What would become of it", example)
        .fails(&[Code::BadRequest, Code::RateLimited]),
    ]
}

pub(super) async fn get(
    State(state): State<AppState>,
    Extension(client): Extension<Client>,
    listener: Option<Extension<SpokenHere>>,
    Query(attempt): Query<Attempt>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = state.admit(client.ip) {
        return error.into_response();
    }
    let failure = judge(
        &state,
        &client,
        listener.map(|Extension(spoken)| spoken),
        &attempt,
        &headers,
    )
    .await
    .err();
    let is_foreign = matches!(failure, Some(Failure::Upgrade(UpgradeError::Origin)));
    let mut response = Json(Answer::of(failure)).into_response();
    // This one answer is for the page that may not read any other.
    if let Some(origin) = headers.get(header::ORIGIN).filter(|_| is_foreign) {
        let origin: HeaderValue = origin.clone();
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

async fn judge(
    state: &AppState,
    client: &Client,
    listener: Option<SpokenHere>,
    attempt: &Attempt,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let path = attempt.path.as_deref().unwrap_or("/v1/ws");
    // In the order of an upgrade, but for the origin: whoever may not ask is told nothing else.
    state
        .hub()
        .would_refuse(headers, Some(client.ip))
        .map_err(Failure::Upgrade)?;
    if !places::is_of_the_hub(&state.config(), path, listener) {
        return Err(Failure::Path);
    }
    if attempt
        .protocol
        .as_deref()
        .is_some_and(|protocol| protocol != ws::NATIVE)
    {
        return Err(Failure::Upgrade(UpgradeError::Subprotocol(ws::NATIVE)));
    }
    let applicant = Applicant {
        token: bearer(headers).or(attempt.access_token.as_deref()),
        ip: Some(client.ip),
        origin: headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()),
        path: Some(path),
    };
    let authenticator = state.authenticator().for_surface(Surface::Websocket);
    let identity = authenticator.identify(applicant).await.map_err(Failure::Token)?;
    match &attempt.room {
        Some(room) if !identity.allows_room(room) => Err(Failure::Room),
        _ => Ok(()),
    }
}

impl Answer {
    fn of(failure: Option<Failure>) -> Self {
        let ok = Self {
            ok: true,
            code: None,
            detail: None,
            status: None,
            close: None,
            retry_after: None,
        };
        let Some(failure) = failure else { return ok };
        let failed = Self { ok: false, ..ok };
        match failure {
            Failure::Path => Self {
                code: Some("not_found"),
                detail: Some("the hub is not at this path".to_owned()),
                status: Some(StatusCode::NOT_FOUND.as_u16()),
                ..failed
            },
            Failure::Upgrade(error) => Self {
                code: Some(error.code()),
                detail: Some(error.to_string()),
                status: Some(error.status().as_u16()),
                retry_after: error.retry_after(),
                ..failed
            },
            Failure::Token(error) => {
                let (code, close) = match error {
                    AuthError::Missing | AuthError::Invalid => (ErrorCode::Unauthorized, CloseCode::BadToken),
                    AuthError::Expired => (ErrorCode::Expired, CloseCode::Expired),
                    AuthError::Forbidden => (ErrorCode::Forbidden, CloseCode::Forbidden),
                    AuthError::Unavailable(_) => (ErrorCode::Unavailable, CloseCode::Unavailable),
                    AuthError::Throttled(_) => (ErrorCode::RateLimited, CloseCode::Rate),
                };
                let retry_after = match error {
                    AuthError::Unavailable(retry) | AuthError::Throttled(retry) => Some(retry),
                    _ => None,
                };
                Self {
                    code: Some(code.as_label()),
                    detail: Some(error.to_string()),
                    close: Some(close.status()),
                    retry_after: retry_after.map(|retry| retry.as_secs() + 1),
                    ..failed
                }
            }
            Failure::Room => Self {
                code: Some(ErrorCode::Forbidden.as_label()),
                detail: Some("the token does not name this room".to_owned()),
                ..failed
            },
        }
    }
}
