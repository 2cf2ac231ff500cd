//! What operators do to the hub, told as events beside the audit trail: that says who did it, these whom it met.

use std::time::SystemTime;

use super::Admin;
use crate::credentials::UnixTime;
use crate::events::HubEvent;
use crate::signaling::{Ban, Barred, Dialect, Ended, Realm};
use crate::telemetry::labels::RecordKind;

/// A room that something happened in.
pub(super) type Place<'a> = (Realm, &'a str);

fn event(kind: RecordKind, place: Option<Place<'_>>) -> HubEvent {
    let now = UnixTime::from_system_time(SystemTime::now());
    let dialect = |realm: Realm| Dialect::ALL.iter().find(|dialect| dialect.realm() == realm);
    HubEvent {
        dialect: place
            .and_then(|(realm, _)| dialect(realm))
            .map(|dialect| dialect.as_label()),
        room: place.map(|(_, room)| room.into()),
        ..HubEvent::new(now, kind)
    }
}

/// Sessions were ended, one event for each.
pub(super) fn ended(admin: &Admin, place: Option<Place<'_>>, ended: &[Ended], reason: Option<&str>) {
    for one in ended {
        admin.intake.hub(HubEvent {
            peer: Some((*one.peer).into()),
            session: Some(one.sid.as_str().into()),
            user: one.user.clone(),
            tenant: one.tenant.clone(),
            client: one.address,
            reason: reason.map(Box::from),
            ..event(RecordKind::HubKick, place)
        });
    }
}

/// Somebody is kept out from now on.
pub(super) fn banned(admin: &Admin, id: u64, ban: &Ban, ended: usize) {
    let place = ban.room.as_ref().map(|(realm, room)| (*realm, &**room));
    let told = HubEvent {
        ban: Some(id),
        until: Some(UnixTime(ban.until_ms / 1000)),
        reason: ban.reason.clone(),
        ended: Some(ended),
        ..event(RecordKind::HubBan, place)
    };
    admin.intake.hub(match &ban.who {
        Barred::Everybody => told,
        Barred::Peer(peer) => HubEvent {
            peer: Some(peer.clone()),
            ..told
        },
        Barred::User(user, tenant) => HubEvent {
            user: Some(user.clone()),
            tenant: tenant.clone(),
            ..told
        },
        Barred::Address(address) => HubEvent {
            client: Some(*address),
            ..told
        },
    });
}

/// Somebody is let in again.
pub(super) fn lifted(admin: &Admin, id: u64) {
    admin.intake.hub(HubEvent {
        ban: Some(id),
        ..event(RecordKind::HubUnban, None)
    });
}

/// A room was ended.
pub(super) fn closed(admin: &Admin, place: Place<'_>, ended: usize, reason: Option<&str>) {
    admin.intake.hub(HubEvent {
        reason: reason.map(Box::from),
        ended: Some(ended),
        ..event(RecordKind::HubRoomClosed, Some(place))
    });
}
