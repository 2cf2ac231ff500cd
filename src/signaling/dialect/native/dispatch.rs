//! Requests of the native protocol as calls of the hub's primitives, and their answers.

use std::sync::Arc;

use crate::signaling::{
    Now,
    connection::ConnectionId,
    dialect::native::{
        frame::{self, Welcome},
        request::{Body, Change, Join, Request, Send, Sig, Who},
    },
    error::Reject,
    hub::{Entry, Grants, Greeting, Hub},
    labels::{CloseCode, ErrorCode},
    meta::{Entries, Meta},
};

/// Carries out one request. On success the answer, if it has one, is queued.
///
/// # Errors
/// The refusal, which the caller counts and sends.
pub(crate) fn carry_out(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    request: Request<'_>,
    grants: Grants<'_>,
) -> Result<(), Reject> {
    let id = request.id;
    if !matches!(request.body, Body::Hello(_)) && !hub.is_welcomed(connection) {
        return Err(Reject::bad_request("the first message must be hello").fatal(CloseCode::BadRequest));
    }
    match request.body {
        Body::Hello(hello) => {
            let ice = grants.ice;
            let identity = grants
                .identity
                .ok_or(Reject::new(ErrorCode::Unavailable, "nobody to ask about tokens"))?;
            if !hello.versions.contains(&1) {
                return Err(Reject::bad_request("this server speaks version 1").fatal(CloseCode::BadRequest));
            }
            let greeting = Greeting {
                peer: hello.peer.as_deref(),
                older: hello.older(),
                resumes: hello.caps.iter().any(|cap| cap == "resume"),
                binary: hello.caps.iter().any(|cap| cap == "bin"),
                meta: presence(hub, hello.meta.as_ref()).map_err(|reject| reject.fatal(CloseCode::BadRequest))?,
            };
            let greeted = hub.greet(now, connection, greeting, identity)?;
            let welcome = Welcome {
                id,
                sid: greeted.sid.as_str(),
                key: &greeted.key,
                peer: &greeted.peer,
                now_ms: now.unix_ms,
                resumed: greeted.missed.is_some(),
                ice,
            };
            let payload = frame::welcome(&welcome, hub.config());
            hub.answer(connection, payload);
            hub.plan_ice(now, connection, ice);
            hub.want_room_ice(connection);
            for missed in greeted.missed.into_iter().flatten() {
                hub.answer(connection, missed);
            }
            Ok(())
        }
        Body::Join(join) => self::join(hub, now, connection, id, &join),
        Body::Leave { room } => {
            let membership = hub.membership(connection, &room)?;
            hub.leave(connection, membership, "leave");
            ok(hub, connection, id);
            Ok(())
        }
        Body::Sig(sig) => self::sig(hub, connection, id, &sig),
        Body::Send(send) => self::send(hub, now, connection, id, &send),
        Body::Meta(Change { room, set, del }) => {
            hub.check_publish(connection)?;
            let membership = hub.membership(connection, &room)?;
            hub.set_presence(connection, membership, set.as_ref(), &del)?;
            ok(hub, connection, id);
            Ok(())
        }
        Body::Room {
            change: Change { room, set, del },
            if_version,
        } => {
            hub.check_publish(connection)?;
            let membership = hub.membership(connection, &room)?;
            let version = hub.set_room(connection, membership, set.as_ref(), &del, if_version)?;
            if id.is_some() {
                hub.answer(
                    connection,
                    frame::ok(id).text("room", &room).number("ver", version).finish(),
                );
            }
            Ok(())
        }
        Body::Who(Who { room, filter, after }) => {
            let membership = hub.membership(connection, &room)?;
            let page = hub.page(connection, membership, &filter, after.as_deref())?;
            hub.answer(connection, frame::who(id, &room, &page));
            Ok(())
        }
        Body::Ice => {
            hub.answer(connection, frame::ice(id, grants.ice));
            hub.plan_ice(now, connection, grants.ice);
            Ok(())
        }
        Body::Auth { .. } => {
            let identity = grants
                .identity
                .ok_or(Reject::new(ErrorCode::Unavailable, "nobody to ask about tokens"))?;
            hub.refresh(now, connection, identity)?;
            ok(hub, connection, id);
            Ok(())
        }
        Body::Ack { seq } => {
            hub.acknowledge(connection, seq);
            ok(hub, connection, id);
            Ok(())
        }
        Body::Ping { n } => {
            hub.answer(connection, frame::pong(id, n, now.unix_ms));
            Ok(())
        }
        Body::Bye => {
            ok(hub, connection, id);
            hub.close(connection, CloseCode::Normal);
            Ok(())
        }
    }
}

/// Presence data as the hub keeps it.
fn presence(hub: &Hub, entries: Option<&Entries<'_>>) -> Result<Option<Arc<Meta>>, Reject> {
    Meta::changed(None, entries, &[], hub.config())
        .map_err(|_| Reject::new(ErrorCode::TooLarge, "presence data past limits.meta"))
}

/// `ok`, for clients that asked to be told.
fn ok(hub: &mut Hub, connection: ConnectionId, id: Option<u64>) {
    if id.is_some() {
        hub.answer(connection, frame::ok(id).finish());
    }
}

fn join(hub: &mut Hub, now: Now, connection: ConnectionId, id: Option<u64>, join: &Join<'_>) -> Result<(), Reject> {
    let meta = match &join.meta {
        None => None,
        Some(entries) => Some(presence(hub, Some(entries))?),
    };
    let entry = Entry {
        key: join.key.as_deref(),
        meta,
        max: join.max,
        create: join.create,
        ..Entry::plain(&join.room)
    };
    let membership = hub.join(now, connection, &entry)?;
    let seq = hub.last_seq();
    let payload = hub
        .snapshot(connection, membership)
        .map(|snapshot| frame::joined(id, &snapshot, seq));
    if let Some(payload) = payload {
        hub.answer(connection, payload);
    }
    Ok(())
}

fn sig(hub: &mut Hub, connection: ConnectionId, id: Option<u64>, sig: &Sig<'_>) -> Result<(), Reject> {
    hub.check_publish(connection)?;
    let membership = hub.membership(connection, &sig.room)?;
    let data = sig.data.map(serde_json::value::RawValue::get);
    hub.signal(
        connection,
        membership,
        &sig.to,
        &sig.kind,
        data,
        sig.correlation.as_deref(),
    )?;
    ok(hub, connection, id);
    Ok(())
}

fn send(hub: &mut Hub, now: Now, connection: ConnectionId, id: Option<u64>, send: &Send<'_>) -> Result<(), Reject> {
    let membership = hub.membership(connection, &send.room)?;
    let sent = hub.relay(
        now,
        connection,
        membership,
        send.to.as_deref(),
        send.data,
        send.reliable,
    )?;
    if id.is_some() {
        let mut answer = frame::ok(id).number("sent", sent.receivers as u64);
        if !sent.missing.is_empty() {
            answer = answer.raw_with("missing", |text| {
                text.push('[');
                for (at, peer) in sent.missing.iter().enumerate() {
                    if at > 0 {
                        text.push(',');
                    }
                    crate::signaling::json::push_string(text, peer);
                }
                text.push(']');
            });
        }
        hub.answer(connection, answer.finish());
    }
    Ok(())
}
