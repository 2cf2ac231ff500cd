//! Events as lines of the log: target `meetpoint::events`, and `meetpoint::audit` for what operators do.
//!
//! Names that clients chose are written with control characters and quotes escaped, so that no line can be forged.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::audit::Audit;
use super::hub::HubEvent;
use crate::telemetry::redact::Network;
use crate::turn::{self, What};

/// An address as the log may show it.
struct Shown {
    ip: IpAddr,
    port: Option<u16>,
    whole: bool,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.whole, self.port) {
            (true, Some(port)) => SocketAddr::new(self.ip, port).fmt(f),
            (true, None) => self.ip.fmt(f),
            (false, _) => Network(self.ip).fmt(f),
        }
    }
}

/// Writes one event of the relay; whole addresses, or their networks.
pub(super) fn relay(number: u64, event: &turn::Event, whole: bool) {
    let about = &event.about;
    let client = Shown {
        ip: about.client.0.ip(),
        port: Some(about.client.0.port()),
        whole,
    };
    let allocation = about.allocation.map(tracing::field::display);
    let user = about
        .user
        .as_deref()
        .map(|user| tracing::field::display(user.escape_debug()));
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
                target: "meetpoint::events", number, allocation, user, %realm, transport, %client, listen = %about.listen.0,
                relayed, $($field)*, $text
            )
        };
    }
    match event.what {
        What::Created { lifetime } => line!(info, "allocation created", lifetime = lifetime.as_secs()),
        What::Refreshed { lifetime } => line!(debug, "allocation refreshed", lifetime = lifetime.as_secs()),
        What::Moved { from } => {
            let from = Shown {
                ip: from.0.ip(),
                port: Some(from.0.port()),
                whole,
            };
            line!(info, "allocation moved", %from)
        }
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
        } => {
            let peer = Shown {
                ip: peer,
                port: None,
                whole,
            };
            line!(info, "peer denied", class = class.as_label(), method = asked.as_label(), %peer, count)
        }
        What::Limited { limit, count } => line!(info, "limit reached", limit = limit.as_label(), count),
        What::AuthFailed { reason, count } => line!(info, "credentials refused", reason = reason.as_label(), count),
    }
}

/// Writes one event of the hub.
pub(super) fn hub(number: u64, event: &HubEvent, whole: bool) {
    fn plain(text: Option<&str>) -> Option<tracing::field::DisplayValue<std::str::EscapeDebug<'_>>> {
        text.map(|text| tracing::field::display(text.escape_debug()))
    }
    let client = event.client.map(|ip| Shown { ip, port: None, whole });
    tracing::info!(
        target: "meetpoint::events", number, what = event.kind.as_label(), dialect = event.dialect, room = plain(event.room.as_deref()),
        peer = plain(event.peer.as_deref()), session = event.session.as_deref(), user = plain(event.user.as_deref()),
        realm = plain(event.realm()), client = client.map(tracing::field::display), ban = event.ban,
        until = event.until.map(|until| until.0), reason = plain(event.reason.as_deref()), ended = event.ended, "hub"
    );
}

/// Writes what an operator did. Always, and with the whole address: it is asked for when something went wrong.
pub(super) fn audit(number: u64, audit: &Audit) {
    let token = audit.token.as_deref();
    let target = audit
        .target
        .as_deref()
        .map(|target| tracing::field::display(target.escape_debug()));
    tracing::info!(
        target: "meetpoint::audit", number, action = audit.action, on = target, token, client = %audit.client, status = audit.status,
        count = audit.count, "admin API"
    );
}
