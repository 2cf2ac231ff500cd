//! What clients of PeerJS ask of its server without a WebSocket: what it is, an id, and who is there.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::state::AppState;

/// Ids that one answer lists.
const LISTED: usize = 10_000;

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
                    return StatusCode::UNAUTHORIZED.into_response();
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
