//! What the hub puts out, into the queues of the sockets.

use std::{sync::Arc, task::Waker};

use super::State;
use crate::{
    signaling::{CloseCode, ConnectionId, Now, Output},
    ws::outbox::{Bound, Outbox, Waits},
};

impl State {
    /// Moves what the hub put out into the queues; returns whom to wake.
    pub(super) fn move_outputs(&mut self, now: Now, bound: Bound) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Deliver { connection, payload } => {
                    let Some(outbox) = self.outbox(connection) else {
                        continue;
                    };
                    match outbox.push(payload, bound) {
                        Ok(waker) => wakers.extend(waker),
                        Err(_overflow) => self.end_slow(now, connection, &mut wakers),
                    }
                }
                Output::DeliverSoon { connection, payload } => {
                    let Some(outbox) = self.outbox(connection) else {
                        continue;
                    };
                    match outbox.push_soon(payload, bound) {
                        Ok(Waits::Enough(waker)) => wakers.extend(waker),
                        Ok(Waits::First) => self.soon.list(now.instant, connection),
                        Ok(Waits::Remembered) => {}
                        Err(_overflow) => self.end_slow(now, connection, &mut wakers),
                    }
                }
                Output::RenewIce { connection } => {
                    wakers.extend(self.outbox(connection).and_then(|outbox| outbox.renew_ice()));
                }
                Output::RoomIce { connection } => {
                    wakers.extend(self.outbox(connection).and_then(|outbox| outbox.room_ice()));
                }
                Output::Close { connection, code } => {
                    wakers.extend(self.outbox(connection).and_then(|outbox| outbox.close(code)));
                    self.forget(connection);
                }
                Output::Publish { topic, payload } => {
                    if let Some(bus) = &self.bus {
                        bus.publish(topic, payload);
                    }
                }
                Output::Subscribe { topic } => {
                    if let Some(bus) = &self.bus {
                        bus.subscribe(topic);
                    }
                }
                Output::Unsubscribe { topic } => {
                    if let Some(bus) = &self.bus {
                        bus.unsubscribe(topic);
                    }
                }
                Output::CutOff { sid } => {
                    // As many wait as may: credentials end by themselves, and the next order of that kind is not lost.
                    if let Some(cut_off) = &self.cut_off
                        && cut_off.try_send(sid).is_err()
                    {
                        tracing::warn!("more sessions were ended by operators than the relay can be told of at once");
                    }
                }
            }
        }
        wakers
    }

    /// The room goes on without its slow reader. What that causes is for the hub to put out.
    fn end_slow(&mut self, now: Now, connection: ConnectionId, wakers: &mut Vec<Waker>) {
        wakers.extend(self.outbox(connection).and_then(|outbox| outbox.close(CloseCode::Slow)));
        self.hub.disconnect(now, connection, CloseCode::Slow);
        self.forget(connection);
    }

    /// Whom to wake because news has waited for them for long enough.
    pub(super) fn hurry(&mut self, now: std::time::Instant) -> Vec<Waker> {
        let due = self.soon.take(now);
        due.into_iter()
            .filter_map(|connection| self.outbox(connection)?.hurry())
            .collect()
    }

    pub(super) fn next_deadline(&self) -> Option<std::time::Instant> {
        [self.hub.poll_timeout(), self.soon.due()].into_iter().flatten().min()
    }

    /// Gives back the places of sessions that wait no more.
    pub(super) fn forget_returned(&mut self) {
        let hub = &self.hub;
        self.waiting.retain(|connection, _| hub.is_away(*connection));
    }

    pub(super) fn outbox(&self, connection: ConnectionId) -> Option<&Arc<Outbox>> {
        let (owner, outbox) = self.outboxes.get(connection.index())?.as_ref()?;
        (*owner == connection).then_some(outbox)
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        if let Some(slot) = self.outboxes.get_mut(connection.index())
            && slot.as_ref().is_some_and(|(owner, _)| *owner == connection)
        {
            *slot = None;
        }
    }
}
