//! `GET /v1/ice` and `GET /api/ice-servers`: the list for `new RTCPeerConnection`, with a fresh credential.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::admission::{self, Asks, Caller};
use super::body::read_json;
use super::client::Client;
use super::code::Code;
use super::error::Problem;
use super::keys::Scope;
use super::lists::{Headers, IssueError, ListFor};
use super::operation::{BEARER_OR_QUERY, Operation, Tag};
use super::percent;
use super::random;
use super::state::AppState;
use crate::credentials::{IceList, IceServer, UnixTime, names_key, names_session, of_key};
use crate::telemetry::labels::IssueResult;

/// Where it is served, as those who are asked about a token are told.
pub(super) const PATH: &str = "/api/ice-servers";
/// Where it is served without `servers`.
pub(super) const V1_PATH: &str = "/v1/ice";
/// Longest `user` a client may ask for.
pub const MAX_USER_LABEL_BYTES: usize = 64;

/// Longest name of a room, characters.
pub const MAX_ROOM_CHARACTERS: usize = 128;

/// What a client may ask for, in the query (GET) or as a JSON object (POST). Unknown names are ignored: other servers of this
/// kind take `service`, `customIdentifier` and more.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, IntoParams, ToSchema)]
#[schema(as = IceWish)]
pub(super) struct Wish {
    /// Lifetime, seconds; capped by the configuration.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    ttl: Option<u64>,
    /// Label for the username; where tokens are asked for, the token's user counts instead.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._~@+-]+$")]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._~@+-]+$")]
    user: Option<String>,
    /// The room that the list is for: all in it are told of the same relay first, where several replicas have one each.
    #[param(min_length = 1, max_length = 128)]
    #[schema(min_length = 1, max_length = 128)]
    room: Option<String>,
}

/// The answer. `servers`, at the older path alone, is the same list as `iceServers`, under the name that Reploid's documents give it.
#[derive(Serialize, ToSchema)]
#[schema(as = IceAnswer)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(flatten)]
    list: &'a IceList,
    /// The same list as `iceServers`; at `/api/ice-servers` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<IceServer>>)]
    servers: Option<&'a [IceServer]>,
}

/// What a wish may be refused for, beside who makes it.
pub(super) const REFUSALS: [Code; 4] = [Code::BadTtl, Code::BadUser, Code::BadRoom, Code::NoUsableHost];

/// As in `docs/api.md`.
fn example() -> Value {
    json!({
        "iceServers": [
            { "urls": ["stun:turn.example.org:3478"] },
            {
                "urls": ["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"],
                "username": "1795251271:alice",
                "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
            },
        ],
        "ttl": 3600,
        "expiresAt": 1_795_251_271,
    })
}

pub(super) fn operations() -> Vec<Operation> {
    let with_servers = || {
        let mut example = example();
        example["servers"] = example["iceServers"].clone();
        example
    };
    let says = "A list with a fresh credential";
    vec![
        Operation::get(V1_PATH, Tag::Ice, "The same list, without `servers`")
            .by(BEARER_OR_QUERY)
            .query::<Wish>()
            .answers::<Answer<'_>>(200, says, example())
            .fails(&REFUSALS),
        Operation::get(PATH, Tag::Ice, "An ICE list with a fresh TURN credential")
            .by(BEARER_OR_QUERY)
            .query::<Wish>()
            .answers::<Answer<'_>>(200, says, with_servers())
            .fails(&REFUSALS),
        Operation::post(PATH, Tag::Ice, "The same list, asked for with a body")
            .by(BEARER_OR_QUERY)
            .takes::<Wish>(false, json!({ "ttl": 600, "user": "alice" }))
            .answers::<Answer<'_>>(200, says, with_servers())
            .fails(&REFUSALS)
            .fails(&[Code::BadJson]),
    ]
}

/// GET (and HEAD) of `/v1/ice`.
pub(super) fn v1(
    State(state): State<AppState>,
    request: Request<Body>,
) -> impl Future<Output = Result<Response, Problem>> {
    // Before anybody waits: what is held over that is copied, and a request is large.
    let (mut parts, _body) = request.into_parts();
    async move {
        let client = client_of(&mut parts)?;
        let query = parts.uri.query().unwrap_or_default();
        let asks = Asks::new(V1_PATH, &parts.headers).with_query(query);
        let list = issue(&state, &client, &asks, Wish::from_query(query)).await?;
        Ok(shown(&list, None))
    }
}

/// GET (and HEAD) of `/api/ice-servers`.
pub(super) fn get(
    State(state): State<AppState>,
    request: Request<Body>,
) -> impl Future<Output = Result<Response, Problem>> {
    let (mut parts, _body) = request.into_parts();
    async move {
        let client = client_of(&mut parts)?;
        let query = parts.uri.query().unwrap_or_default();
        let asks = Asks::new(PATH, &parts.headers).with_query(query);
        let list = issue(&state, &client, &asks, Wish::from_query(query)).await?;
        Ok(shown(&list, Some(&list.ice_servers)))
    }
}

/// POST to `/api/ice-servers`, with an optional JSON object.
pub(super) async fn post(State(state): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&mut parts)?;
    let wish = match to_bytes(body, state.config().limits.body_bytes).await {
        Ok(body) if body.is_empty() => Wish::from_query(parts.uri.query().unwrap_or_default()),
        Ok(body) => Wish::from_json(&parts.headers, &body),
        Err(_) => Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE)),
    };
    let asks = Asks::new(PATH, &parts.headers).with_query(parts.uri.query().unwrap_or_default());
    let list = issue(&state, &client, &asks, wish).await?;
    Ok(shown(&list, Some(&list.ice_servers)))
}

/// Bytes of a list that is usual, and header fields of an answer that is: neither grows while it is written.
const USUAL_BYTES: usize = 1024;
const USUAL_FIELDS: usize = 12;

fn shown(list: &IceList, servers: Option<&[IceServer]>) -> Response {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    if let Err(error) = serde_json::to_writer(&mut body, &Answer { servers, list }) {
        tracing::error!(%error, "a list cannot be written");
        return Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    }
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.reserve(USUAL_FIELDS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Who asks, of a request that nobody else asks about it.
fn client_of(parts: &mut Parts) -> Result<Client, Problem> {
    let client = parts.extensions.remove::<Client>();
    client.ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
}

/// A list for whoever asks, counted by how that ended. In this order: who is it, may it have more now, does the wish make sense.
pub(super) async fn issue(
    state: &AppState,
    client: &Client,
    asks: &Asks<'_>,
    wish: Result<Wish, Problem>,
) -> Result<IceList, Problem> {
    let caller = match admission::admit(state, client, asks, Scope::Issue).await {
        Ok(caller) => caller,
        Err(problem) => {
            state.issuer().count(IssueResult::Unauthorized, None);
            return Err(problem);
        }
    };
    let realm = caller.identity.realm.as_deref();
    let charged = caller.charge(state, client);
    let is_charged = charged.is_ok();
    let outcome = charged
        .map_err(|problem| (IssueResult::RateLimited, problem))
        .and_then(|()| wish.map_err(|problem| (IssueResult::BadRequest, problem)))
        .map(|wish| wish.within(caller.max_ttl(), || state.issuer().usual_ttl(realm)))
        .and_then(|wish| list(state, client, asks.headers(), &caller, &wish));
    if is_charged && !matches!(outcome, Ok((IssueResult::Issued, _))) {
        caller.give_back();
    }
    let (result, list) = match outcome {
        Ok((result, list)) => (result, Ok(list)),
        Err((result, problem)) => (result, Err(problem)),
    };
    state.issuer().count(result, realm);
    caller.count_issue(result);
    list
}

fn list(
    state: &AppState,
    client: &Client,
    headers: &HeaderMap,
    caller: &Caller,
    wish: &Wish,
) -> Result<(IssueResult, IceList), (IssueResult, Problem)> {
    let identity = &caller.identity;
    let user: Cow<'_, str> = match (&identity.user, &wish.user) {
        (Some(user), _) => Cow::Borrowed(user),
        (None, Some(label)) => Cow::Borrowed(label),
        (None, None) => Cow::Owned(random_user().ok_or_else(|| {
            (
                IssueResult::BadRequest,
                Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR),
            )
        })?),
    };
    if names_session(&user) {
        let problem = Problem::new(
            Code::BadUser,
            "user begins like a session of the hub, and those credentials are the hub's to give",
        );
        return Err((IssueResult::BadRequest, problem));
    }
    // The relay counts by what the name says, so that nobody else may say it.
    let user = match caller.share() {
        Some(key) if state.config().names_keys => Cow::Owned(of_key(key, &user)),
        Some(_) => user,
        None if names_key(&user) => {
            let problem = Problem::new(
                Code::BadUser,
                "user begins like that of an API key, which has fetched none of this",
            );
            return Err((IssueResult::BadRequest, problem));
        }
        None => user,
    };
    let now = UnixTime::from_system_time(SystemTime::now());
    let wanted = ListFor {
        realm: identity.realm.as_deref(),
        user: &user,
        host: client.host.as_ref(),
        ttl: wish.ttl.map(Duration::from_secs),
        room: wish.room.as_deref(),
        client: Some(client.ip),
        claims: identity.claims.as_deref().unwrap_or_default(),
        key: caller.key(),
        headers: Headers::Request {
            map: headers,
            proxied: client.proxied,
        },
        again: None,
    };
    let mut list = state
        .issuer()
        .list(now, &wanted)
        .map_err(|error| (IssueResult::BadRequest, refusal(error)))?;
    if identity.rights.turn {
        return Ok((IssueResult::Issued, list));
    }
    list.ice_servers.retain(|server| server.credential.is_none());
    Ok((IssueResult::Withheld, list))
}

/// What it is by HTTP that there is no list.
pub(super) fn refusal(error: IssueError) -> Problem {
    match error {
        IssueError::NoHost => Problem::new(
            Code::NoUsableHost,
            "no host is configured to be advertised, and the request's Host is not one that could be",
        ),
        IssueError::NoRealm => Problem::new(Code::NoRealm, "the realm of this token issues no credentials"),
        IssueError::OtherRealm => Problem::new(
            Code::BadUser,
            "user ends with the name of a realm, which issues its own credentials",
        ),
        IssueError::Reserved => Problem::new(Code::BadUser, error.to_string()),
        IssueError::Mint(error) => Problem::new(Code::BadUser, error.to_string()),
    }
}

/// 64 random bits: nobody shares a quota with a stranger by chance. `None` when the system has no randomness to give.
fn random_user() -> Option<String> {
    let digits = random::hex(random::number()?);
    str::from_utf8(&digits).ok().map(str::to_owned)
}

impl Wish {
    fn from_query(query: &str) -> Result<Self, Problem> {
        Self::from_query_with(query, "user")
    }

    /// Reads a query where the label has another name.
    pub(super) fn from_query_with(query: &str, label: &str) -> Result<Self, Problem> {
        let mut wish = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "ttl" => wish.ttl = Some(parse_ttl(value)?),
                "room" => wish.room = Some(percent::decode(value).ok_or_else(bad_room)?),
                name if name == label => wish.user = Some(percent::decode(value).ok_or_else(bad_user)?),
                _ => {}
            }
        }
        wish.checked()
    }

    fn from_json(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        read_json::<Self>(headers, body, Code::BadJson)?.checked()
    }

    /// From a request that was read elsewhere.
    ///
    /// # Errors
    /// As for a wish in JSON.
    pub(super) fn new(ttl: Option<u64>, user: Option<String>) -> Result<Self, Problem> {
        let room = None;
        Self { ttl, user, room }.checked()
    }

    /// The same for a room.
    ///
    /// # Errors
    /// When no room can have that name.
    pub(super) fn in_room(self, room: Option<String>) -> Result<Self, Problem> {
        Self { room, ..self }.checked()
    }

    /// The room that it is for.
    pub(super) fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    /// The same with no longer a lifetime than `most`, if there is one; `usual` is what it would be without a wish.
    fn within(mut self, most: Option<Duration>, usual: impl FnOnce() -> Duration) -> Self {
        if let Some(most) = most {
            let wanted = self.ttl.unwrap_or_else(|| usual().as_secs());
            self.ttl = Some(wanted.min(most.as_secs()));
        }
        self
    }

    fn checked(self) -> Result<Self, Problem> {
        if self.ttl == Some(0) {
            return Err(bad_ttl());
        }
        if self.user.as_deref().is_some_and(|user| !is_label(user)) {
            return Err(bad_user());
        }
        if self.room.as_deref().is_some_and(|room| !is_room(room)) {
            return Err(bad_room());
        }
        Ok(self)
    }
}

pub(super) fn parse_ttl(text: &str) -> Result<u64, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_ttl());
    }
    // Only the length can be wrong now, and whatever does not fit is capped anyway.
    Ok(text.parse().unwrap_or(u64::MAX))
}

pub(super) fn bad_ttl() -> Problem {
    Problem::new(Code::BadTtl, "ttl must be a whole number of seconds, at least 1")
}

fn bad_user() -> Problem {
    Problem::new(
        Code::BadUser,
        format!("user must be 1 to {MAX_USER_LABEL_BYTES} characters out of A-Z a-z 0-9 . _ ~ @ + -"),
    )
}

pub(super) fn bad_room() -> Problem {
    Problem::new(
        Code::BadRoom,
        format!("room must be the name of a room, of 1 to {MAX_ROOM_CHARACTERS} characters"),
    )
}

/// Any name that the hub would take. It goes nowhere but into a hash.
fn is_room(room: &str) -> bool {
    (1..=MAX_ROOM_CHARACTERS).contains(&room.chars().count())
}

/// Nothing that a log, a shell or coturn's separator would trip over.
fn is_label(user: &str) -> bool {
    (1..=MAX_USER_LABEL_BYTES).contains(&user.len())
        && user
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~@+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_may_have_any_name_that_the_hub_would_take() {
        let room = |query: &str| Wish::from_query(query).ok().map(|wish| wish.room);
        assert_eq!(room("room=my%20room%2F%C3%BC+1"), Some(Some("my room/ü+1".to_owned())));
        assert_eq!(room("room=x&ttl=60"), Some(Some("x".to_owned())));
        assert_eq!(room("rooms=x"), Some(None));
        assert!(room(&format!("room={}", "%C3%BC".repeat(MAX_ROOM_CHARACTERS))).is_some());
        for bad in [
            "room=",
            "room=%ff",
            "room=%2",
            &format!("room={}", "x".repeat(MAX_ROOM_CHARACTERS + 1)),
        ] {
            assert_eq!(room(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wish_is_read_from_the_query_and_what_is_unknown_is_ignored() {
        let wish = Wish::from_query("service=turn&ttl=60&user=alice%40example.org&x").unwrap();
        assert_eq!(
            wish,
            Wish {
                ttl: Some(60),
                user: Some("alice@example.org".into()),
                room: None,
            }
        );
        assert_eq!(Wish::from_query("").unwrap(), Wish::default());
    }

    #[test]
    fn a_lifetime_that_is_no_number_of_seconds_is_refused_and_a_huge_one_is_capped_later() {
        for bad in ["ttl=", "ttl=0", "ttl=-1", "ttl=+1", "ttl=1.5", "ttl=1h", "ttl=%31"] {
            assert_eq!(Wish::from_query(bad).unwrap_err(), bad_ttl(), "{bad}");
        }
        assert_eq!(
            Wish::from_query("ttl=99999999999999999999").unwrap().ttl,
            Some(u64::MAX)
        );
    }

    #[test]
    fn a_user_label_is_short_and_plain() {
        let longest = "u".repeat(MAX_USER_LABEL_BYTES);
        assert!(Wish::from_query(&format!("user={longest}")).is_ok());
        for bad in [
            &format!("{longest}u"),
            "",
            "a%0Ab",
            "a:b",
            "a%20b",
            "%",
            "%4",
            "%zz",
            "%ff",
            "ü",
        ] {
            assert_eq!(
                Wish::from_query(&format!("user={bad}")).unwrap_err(),
                bad_user(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_json_wish_needs_its_content_type_and_an_object() {
        let read = |content_type: &'static str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            Wish::from_json(&headers, body.as_bytes())
        };
        assert_eq!(
            read("application/json; charset=utf-8", r#"{"ttl":86400,"x":1}"#)
                .unwrap()
                .ttl,
            Some(86_400)
        );
        assert_eq!(
            read("text/plain", "{}").unwrap_err(),
            Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
        for bad in [
            "[",
            "[]",
            "7",
            r#"{"ttl":"1"}"#,
            r#"{"ttl":-1}"#,
            r#"{"ttl":0}"#,
            r#"{"user":"a:b"}"#,
        ] {
            assert!(read("application/json", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn random_users_differ() {
        assert_ne!(random_user().unwrap(), random_user().unwrap());
    }
}
