//! What clients of PeerJS ask of its server without a WebSocket: what it is, an id, and who is there.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use utoipa::ToSchema;

use super::code::Code;
use super::error::Problem;
use super::operation::{Operation, Tag};
use super::state::AppState;

/// Ids that one answer lists.
const LISTED: usize = 10_000;

/// What a client is told that this is.
#[derive(ToSchema)]
#[schema(as = PeerJsServer)]
#[expect(dead_code, reason = "for the document; the text is a constant")]
struct About {
    name: String,
    description: String,
    website: String,
}

pub(super) fn operations() -> Vec<Operation> {
    let key = "The option `key` of the client, `peerjs` where it names none";
    let about = serde_json::json!({
        "name": "PeerJS Server",
        "description": "A server side element to broker connections between PeerJS clients.",
        "website": "https://peerjs.com/",
    });
    let id = |path, summary| {
        Operation::get(path, Tag::Signaling, summary).answers_text(
            200,
            "An id that nobody has",
            "text/html; charset=utf-8",
        )
    };
    let peers = |path, summary| {
        Operation::get(path, Tag::Signaling, summary)
            .answers::<Vec<String>>(200, "Their ids", serde_json::json!(["alice", "bob"]))
            .fails(&[Code::DiscoveryOff])
    };
    let socket = |path, summary| {
        Operation::get(path, Tag::Signaling, summary)
            .says("Where it is no handshake, the answer says what this is.")
            .upgrades()
            .answers_as::<About>(
                200,
                "A server of PeerJS",
                "application/json; charset=utf-8",
                about.clone(),
            )
            .never(&[Code::UpgradeRequired])
    };
    vec![
        socket("/peerjs", "WebSocket for clients of PeerJS"),
        socket("/peerjs/peerjs", "The same, where they look for it"),
        id("/peerjs/id", "A new id for a client of PeerJS"),
        id("/peerjs/{key}/id", "The same, with the client's key").part("key", key),
        peers(
            "/peerjs/peers",
            "Who is there, where `signaling.peerjs_discovery` says so",
        ),
        peers("/peerjs/{key}/peers", "The same, of one key").part("key", key),
    ]
}

/// What stands behind the path of a client's option `path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The WebSocket; a plain request is told what this is.
    Socket,
    /// An id that nobody has.
    Id,
    /// The ids of those who gave that key; `None` is the one that clients give unasked.
    Peers(Option<&'a str>),
}

impl<'a> Asked<'a> {
    /// Reads `rest`, which has no slashes around it. The key may be the path's own end: `/peerjs/id` is the `id` of the key `peerjs`
    /// below `/`, and so are `/peerjs` and `/peerjs/peerjs` both WebSockets.
    pub(super) fn read(rest: &'a str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            ["" | "peerjs"] => Some(Self::Socket),
            ["id"] | [_, "id"] => Some(Self::Id),
            ["peers"] => Some(Self::Peers(None)),
            [key, "peers"] => Some(Self::Peers(Some(key))),
            _ => None,
        }
    }

    /// The answer to a plain GET.
    pub(super) fn answer(self, state: &AppState) -> Response {
        match self {
            Self::Socket => {
                let about = r#"{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.","website":"https://peerjs.com/"}"#;
                typed("application/json; charset=utf-8", about.to_owned())
            }
            Self::Id => typed("text/html; charset=utf-8", state.hub().fresh_uuid()),
            Self::Peers(key) => {
                if !state.config().peerjs_discovery {
                    return Problem::new(Code::DiscoveryOff, "this server does not tell who is there").into_response();
                }
                let peers = state.hub().peerjs_peers(key.unwrap_or("peerjs"), LISTED);
                axum::Json(peers.iter().map(|peer| &**peer).collect::<Vec<&str>>()).into_response()
            }
        }
    }
}

/// An id is text of a stranger's choice nowhere, but no browser shall guess at that.
fn typed(content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (
            HeaderName::from_static("content-security-policy"),
            HeaderValue::from_static("default-src 'none'"),
        ),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_client_is_read_below_its_own_and_with_the_key_as_its_end() {
        let cases = [
            ("", Some(Asked::Socket)),
            ("peerjs", Some(Asked::Socket)),
            ("id", Some(Asked::Id)),
            ("any/id", Some(Asked::Id)),
            ("peers", Some(Asked::Peers(None))),
            ("mine/peers", Some(Asked::Peers(Some("mine")))),
            ("mine", None),
            ("a/b/id", None),
        ];
        for (rest, asked) in cases {
            assert_eq!(Asked::read(rest), asked, "{rest}");
        }
    }
}
