//! Events as lines of the log: target `meetpoint::events`, and `meetpoint::audit` for what operators do.
//!
//! What belongs together is found by `credential`, `session` and `allocation`, whichever of them are known (docs/logging.md).
//! Names that clients chose are written with control characters and quotes escaped, so that no line can be forged.

use std::net::SocketAddr;

use tracing::field::display;

use super::audit::Audit;
use super::hub::HubEvent;
use crate::credentials::Username;
use crate::telemetry::redact::{Addresses, CredentialId};
use crate::turn::{self, What};

/// Writes one event of the relay.
pub(super) fn relay(number: u64, event: &turn::Event, addresses: Addresses) {
    let about = &event.about;
    let shown = |address: SocketAddr| addresses.shown(address.ip(), Some(address.port()));
    let client = shown(about.client.0);
    let username = about.username.as_deref();
    let credential = username.map(|username| display(CredentialId::of(username)));
    let session = username.and_then(|username| Username::parse(username).ok()?.session());
    let allocation = about.allocation.map(display);
    let user = about.user.as_deref().map(|user| display(user.escape_debug()));
    let realm = about.realm.escape_debug();
    let transport = about.transport.as_label();
    // Of the relay's own addresses there is nothing to hide.
    let relayed: Vec<_> = about
        .relayed
        .iter()
        .flatten()
        .map(|relayed| relayed.0.to_string())
        .collect();
    let relayed = relayed.join(",");
    macro_rules! line {
        ($level:ident, $text:literal, $($field:tt)*) => {
            tracing::$level!(
                target: "meetpoint::events", number, allocation, credential, session, user, %realm, transport, client, listen = %about.listen.0,
                relayed, $($field)*, $text
            )
        };
    }
    match event.what {
        What::Created { lifetime } => line!(info, "allocation created", lifetime = lifetime.as_secs()),
        What::Refreshed { lifetime } => line!(debug, "allocation refreshed", lifetime = lifetime.as_secs()),
        What::Moved { from } => line!(info, "allocation moved", from = shown(from.0)),
        What::Closed {
            reason,
            lived,
            to_peer,
            to_client,
        } => line!(
            info,
            "allocation closed",
            reason = reason.as_label(),
            seconds = lived.as_secs(),
            to_peer_packets = to_peer.packets,
            to_peer_bytes = to_peer.bytes,
            to_client_packets = to_client.packets,
            to_client_bytes = to_client.bytes
        ),
        What::Denied {
            class,
            asked,
            peer,
            count,
        } => line!(
            info,
            "peer denied",
            class = class.as_label(),
            method = asked.as_label(),
            peer = addresses.shown(peer, None),
            count
        ),
        What::Limited { limit, count } => line!(info, "limit reached", limit = limit.as_label(), count),
        What::AuthFailed { reason, count } => line!(info, "credentials refused", reason = reason.as_label(), count),
    }
}

/// Writes one event of the hub.
pub(super) fn hub(number: u64, event: &HubEvent, addresses: Addresses) {
    fn plain(text: Option<&str>) -> Option<tracing::field::DisplayValue<std::str::EscapeDebug<'_>>> {
        text.map(|text| display(text.escape_debug()))
    }
    let client = event.client.and_then(|ip| addresses.shown(ip, None));
    tracing::info!(
        target: "meetpoint::events", number, what = event.kind.as_label(), dialect = event.dialect, room = plain(event.room.as_deref()),
        peer = plain(event.peer.as_deref()), session = event.session.as_deref(), user = plain(event.user.as_deref()),
        realm = plain(event.realm()), client, ban = event.ban,
        until = event.until.map(|until| until.0), reason = plain(event.reason.as_deref()), ended = event.ended, "hub"
    );
}

/// Writes what an operator did. Always, and with the whole address: it is asked for when something went wrong.
pub(super) fn audit(number: u64, audit: &Audit) {
    let token = audit.token.as_deref();
    let target = audit.target.as_deref().map(|target| display(target.escape_debug()));
    tracing::info!(
        target: "meetpoint::audit", number, action = audit.action, on = target, token, client = %audit.client, status = audit.status,
        count = audit.count, "admin API"
    );
}
