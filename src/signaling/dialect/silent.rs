//! Clients that wait for the server on a path where any dialect may be spoken: after a moment of silence they are told what the
//! most of them wait for. Who speaks first never hears it; a native client that is slow ignores it, as frames without `t`.

use crate::signaling::{Now, connection::ConnectionId, hub::Hub, json::Object};

/// `welcome` for those who begin when they have an id, `auth_required` for those who begin with a token. The id is the connection's
/// from then on, if it asks for no other ([`Hub::offered_id`]).
pub(super) fn greet(hub: &mut Hub, now: Now, connection: ConnectionId) {
    let Some(id) = hub.offer_id(connection) else { return };
    let welcome = Object::with_capacity(128)
        .text("type", "welcome")
        .text("peerId", &id)
        .number("timestamp", now.unix_ms)
        .number("serverTime", now.unix_ms);
    hub.answer(connection, welcome.finish());
    let auth_required = Object::with_capacity(32).text("type", "auth_required");
    hub.answer(connection, auth_required.finish());
}
