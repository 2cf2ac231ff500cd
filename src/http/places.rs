//! Where the hub is found beside its own paths: paths of the configuration, prefixes of dialects whose paths name a room, listeners
//! with a dialect of their own, and `/`.
//!
//! What it is not: a judge of dialects. Which one is spoken goes by the subprotocol (`ws`), then by an explicit path, then by the
//! listener, then by what the client says. The console stays at `/` for whoever asks for a page.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::code::Code;
use super::config::Config;
use super::operation::{Operation, Tag};
use super::peerjs::Asked;
use super::percent;
use super::state::AppState;
use crate::signaling::Dialect;
use crate::ws;

/// The dialect of a listener that has one of its own, as an extension of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpokenHere(pub Dialect);

/// A path of the hub, and what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place<'a> {
    dialect: Dialect,
    /// Without slashes around it.
    rest: &'a str,
}

/// What answers there without being configured.
const BUILT_IN: [(&str, Dialect); 3] = [
    ("/peerjs", Dialect::PeerJs),
    ("/match", Dialect::Matchbox),
    ("/socket.io", Dialect::SocketIo),
];

/// The shape that clients of edge-net read.
#[derive(Serialize, ToSchema)]
#[schema(as = EdgeStats)]
struct Numbers {
    peers: u64,
    nodes: u64,
    rooms: u64,
    /// Seconds since the start.
    uptime: u64,
}

pub(super) fn operations() -> Vec<Operation> {
    let room = "The room that is joined";
    let numbers = json!({ "peers": 2, "nodes": 2, "rooms": 1, "uptime": 7 });
    vec![
        Operation::get("/v1/ws", Tag::Signaling, "The hub's WebSocket, native protocol")
            .says("Subprotocol `meetpoint.v1.json`; the protocol is docs/signaling-protocol.md.")
            .upgrades(),
        Operation::get(
            "/signaling",
            Tag::Signaling,
            "The hub's WebSocket, whatever the client speaks",
        )
        .says("The dialects are those of docs/dialects.md.")
        .upgrades(),
        Operation::get("/match", Tag::Signaling, "WebSocket for clients of matchbox").upgrades(),
        Operation::get("/match/{room}", Tag::Signaling, "The same, in a room")
            .part("room", room)
            .upgrades()
            .fails(&[Code::BadRequest]),
        Operation::get("/socket.io", Tag::Signaling, "WebSocket for clients of socket.io")
            .upgrades()
            .fails_as::<SocketIoRefusal>(),
        Operation::get("/stats", Tag::Health, "Numbers, on listeners for edge-net's clients")
            .answers::<Numbers>(200, "How many there are", numbers)
            .fails(&[Code::NotFound]),
    ]
}

/// What clients of socket.io are told about a transport that is not there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document; the dialect writes it")]
struct SocketIoRefusal {
    code: u64,
    message: String,
}

/// `/stats`, where the listener is of a dialect whose server has it.
pub(super) async fn stats(State(state): State<AppState>, request: Request) -> Response {
    match request.extensions().get::<SpokenHere>() {
        Some(SpokenHere(Dialect::EdgeNet | Dialect::EdgeRelay)) => {
            let stats = state.hub().stats();
            let uptime = state.metrics().uptime().as_secs();
            Json(Numbers {
                peers: stats.peers,
                nodes: stats.peers,
                rooms: stats.rooms,
                uptime,
            })
            .into_response()
        }
        _ => elsewhere(State(state), request).await,
    }
}

/// Answers what no route does.
pub(super) async fn elsewhere(State(state): State<AppState>, request: Request) -> Response {
    answer(&state, request).unwrap_or_else(|_request| StatusCode::NOT_FOUND.into_response())
}

/// Answers `/` where that is the hub's; a page is the console's.
pub(super) async fn at_root(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if request.uri().path() != "/" {
        return next.run(request).await;
    }
    match answer(&state, request) {
        Ok(response) => response,
        Err(request) => next.run(*request).await,
    }
}

/// A path of the hub that has a route, where that is spoken: the listener's dialect, where anything may be.
pub(super) fn upgrade(state: &AppState, dialect: Dialect, request: Request) -> Response {
    let dialect = match (dialect, request.extensions().get::<SpokenHere>()) {
        (Dialect::Auto, Some(SpokenHere(spoken))) => *spoken,
        _ => dialect,
    };
    match admit(state, &request) {
        Ok(()) => ws::upgrade(state.hub(), dialect, request),
        Err(error) => error.into_response(),
    }
}

/// Charges an attempt to its address. What is no upgrade is told so for nothing.
fn admit(state: &AppState, request: &Request) -> Result<(), ws::UpgradeError> {
    match request.extensions().get::<ws::ClientIp>() {
        Some(ws::ClientIp(ip)) if ws::is_upgrade(request.headers()) => state.admit(*ip),
        _ => Ok(()),
    }
}

/// Whether a WebSocket that is opened at that path comes to the hub, on a listener with that dialect of its own.
pub(super) fn is_of_the_hub(config: &Config, path: &str, listener: Option<SpokenHere>) -> bool {
    let spoken = listener.map(|SpokenHere(spoken)| spoken);
    matches!(path, "/signaling" | "/v1/ws") || find(config, path, spoken, true).is_some()
}

fn answer(state: &AppState, request: Request) -> Result<Response, Box<Request>> {
    let listener = request
        .extensions()
        .get::<SpokenHere>()
        .map(|SpokenHere(spoken)| *spoken);
    let path = request.uri().path().to_owned();
    let is_upgrade = ws::is_upgrade(request.headers());
    let Some(place) = find(&state.config(), &path, listener, is_upgrade) else {
        return Err(Box::new(request));
    };
    if place.dialect == Dialect::PeerJs {
        // Not there for another method, nor below the paths that there are.
        let asked = Asked::read(place.rest).filter(|asked| *asked == Asked::Socket || !is_upgrade);
        return match asked {
            Some(Asked::Socket) if is_upgrade => Ok(match admit(state, &request) {
                Ok(()) => ws::upgrade(state.hub(), Dialect::PeerJs, request),
                Err(error) => error.into_response(),
            }),
            // The body of a HEAD is left out where it is written.
            Some(asked) if matches!(*request.method(), Method::GET | Method::HEAD) => Ok(asked.answer(state)),
            Some(_) => {
                let allow = [(header::ALLOW, HeaderValue::from_static("GET,HEAD"))];
                Ok((StatusCode::METHOD_NOT_ALLOWED, allow).into_response())
            }
            None => Ok(StatusCode::NOT_FOUND.into_response()),
        };
    }
    if !is_upgrade && let Some(json) = place.dialect.plain_refusal() {
        let json_type = HeaderValue::from_static("application/json");
        return Ok((StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, json_type)], json).into_response());
    }
    if !is_upgrade && request.method() == Method::GET {
        let Some(text) = place.dialect.plain_answer() else {
            return refuse(state, place, request);
        };
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        return Ok(([(header::CONTENT_TYPE, plain)], text).into_response());
    }
    refuse(state, place, request)
}

/// Upgrades, or says what is missing for that; a page at `/` is somebody else's.
fn refuse(state: &AppState, place: Place<'_>, request: Request) -> Result<Response, Box<Request>> {
    if request.uri().path() == "/" && !ws::is_upgrade(request.headers()) {
        return Err(Box::new(request));
    }
    let Some(room) = percent::decode(place.rest) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    if let Err(error) = admit(state, &request) {
        return Ok(error.into_response());
    }
    Ok(ws::upgrade_into(state.hub(), place.dialect, Some(&room), request))
}

/// Where a path leads: the longest path of the configuration that it begins with, one that is built in, the listener's.
fn find<'a>(config: &Config, path: &'a str, listener: Option<Dialect>, is_upgrade: bool) -> Option<Place<'a>> {
    let configured = config
        .dialect_paths
        .iter()
        .map(|(path, dialect)| (path.as_str(), *dialect));
    let explicit = configured.chain(BUILT_IN).filter_map(|(base, dialect)| {
        let base = base.trim_end_matches('/');
        let rest = path.strip_prefix(base)?;
        let place = Place::at(dialect, rest)?;
        Some((base.len(), place))
    });
    // Of two that are equally long the first counts: what is configured.
    let longest = explicit.rev().max_by_key(|(length, _)| *length).map(|(_, place)| place);
    let of_listener = || Place::at_listener(listener?, path);
    let at_root = || {
        (path == "/" && is_upgrade).then_some(Place {
            dialect: Dialect::Auto,
            rest: "",
        })
    };
    longest.or_else(of_listener).or_else(at_root)
}

impl<'a> Place<'a> {
    /// A place of that dialect where `rest` stands behind its path.
    fn at(dialect: Dialect, rest: &'a str) -> Option<Self> {
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let rest = rest.trim_matches('/');
        let is_its = match dialect {
            Dialect::PeerJs => Asked::read(rest).is_some(),
            _ => rest.is_empty() || (dialect.takes_room() && !rest.contains('/')),
        };
        is_its.then_some(Self { dialect, rest })
    }

    /// On a listener that is a dialect's alone every path is.
    fn at_listener(dialect: Dialect, path: &'a str) -> Option<Self> {
        if dialect.takes_room() {
            return Self::at(dialect, path);
        }
        if dialect == Dialect::PeerJs {
            // Whatever the option `path` of its clients is: only the end of the path counts.
            let path = path.trim_matches('/');
            let starts: Vec<usize> = path.rmatch_indices('/').map(|(at, _)| at + 1).collect();
            let tail = |parts: usize| path.get(starts.get(parts - 1).copied().unwrap_or(0)..);
            let rest = if path.ends_with("/id") || path.ends_with("/peers") {
                tail(2)
            } else {
                tail(1)
            };
            let rest = rest.filter(|rest| Asked::read(rest).is_some()).unwrap_or("");
            return Some(Self { dialect, rest });
        }
        Some(Self { dialect, rest: "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(paths: &[(&str, Dialect)]) -> Config {
        Config {
            dialect_paths: paths
                .iter()
                .map(|(path, dialect)| ((*path).to_owned(), *dialect))
                .collect(),
            ..Config::default()
        }
    }

    #[test]
    fn an_explicit_path_comes_before_the_listener_and_that_before_the_root() {
        let config = config(&[("/files", Dialect::Chiral), ("/yjs/", Dialect::Topics)]);
        let spoken = |path, listener| find(&config, path, listener, true).map(|place| place.dialect);
        assert_eq!(spoken("/files", Some(Dialect::Reploid)), Some(Dialect::Chiral));
        assert_eq!(spoken("/files/", None), Some(Dialect::Chiral));
        assert_eq!(spoken("/yjs", None), Some(Dialect::Topics));
        assert_eq!(spoken("/files/x", None), None);
        assert_eq!(spoken("/filesystem", None), None);
        assert_eq!(spoken("/anything", Some(Dialect::Reploid)), Some(Dialect::Reploid));
        assert_eq!(spoken("/", Some(Dialect::Reploid)), Some(Dialect::Reploid));
        assert_eq!(spoken("/", None), Some(Dialect::Auto));
        assert_eq!(find(&config, "/", None, false), None);
    }

    #[test]
    fn a_configured_root_is_not_the_automatic_one() {
        let config = config(&[("/", Dialect::Chiral)]);
        let place = find(&config, "/", None, true).unwrap();
        assert_eq!(place.dialect, Dialect::Chiral);
        assert_eq!(find(&config, "/x", None, true), None);
    }

    #[test]
    fn the_paths_of_peerjs_and_matchbox_are_found_below_theirs() {
        let config = config(&[("/mine", Dialect::PeerJs), ("/lobby", Dialect::Verbatim)]);
        let found = |path, listener| {
            let place: Option<Place<'_>> = find(&config, path, listener, true);
            place.map(|place| (place.dialect, place.rest))
        };
        let peerjs = |rest| Some((Dialect::PeerJs, rest));
        assert_eq!(found("/peerjs", None), peerjs(""));
        assert_eq!(found("/peerjs/id", None), peerjs("id"));
        assert_eq!(found("/peerjs/peerjs/id", None), peerjs("peerjs/id"));
        assert_eq!(found("/mine/peerjs", None), peerjs("peerjs"));
        assert_eq!(found("/mine/key/peers", None), peerjs("key/peers"));
        assert_eq!(found("/mine/other", None), None);
        assert_eq!(found("/a/b/peerjs", Some(Dialect::PeerJs)), peerjs("peerjs"));
        assert_eq!(found("/a/b/key/id", Some(Dialect::PeerJs)), peerjs("key/id"));
        assert_eq!(found("/", Some(Dialect::PeerJs)), peerjs(""));
        assert_eq!(found("/match", None), Some((Dialect::Matchbox, "")));
        assert_eq!(found("/match/room", None), Some((Dialect::Matchbox, "room")));
        assert_eq!(found("/match/a/b", None), None);
        assert_eq!(
            found("/room", Some(Dialect::Matchbox)),
            Some((Dialect::Matchbox, "room"))
        );
        assert_eq!(found("/lobby/x", None), Some((Dialect::Verbatim, "x")));
    }
}
