//! An allocation that follows its client to another 5-tuple (RFC 8016 §3.2).
//!
//! A Refresh with a valid ticket opens a second path. Packets of the client are taken from both; what goes to the client takes
//! the old one until the client is heard on the new one, which then is the only one. A client that says nothing on either for
//! [`MOVE_LIFETIME`] is on the new one, since it has asked for it with its credentials and a nonce that was sent there; one that
//! goes on to speak on the old one has come back.
//!
//! Invariants:
//! - An allocation counts for the client address of each of its paths, until it is certain which of them stays.
//! - An allocation has two paths at most. Each is in the table of 5-tuples, and in the routes of the shard that receives it if
//!   that is another one, for exactly as long as it is a path.
//! - No path of a closed stream is kept: another client may get its 5-tuple.

use std::time::{Duration, Instant};

use super::allocation::Bind;
use super::five_tuple::FiveTuple;
use super::input::Now;
use super::output::{Destination, Forward, Handled, Prefix};

use super::server::Server;
use super::ticket::{TICKET_LEN, Ticket};
use super::verdict::{CloseReason, MoveEnd, QuotaKind};

/// How long both paths are open when the client is not heard on the new one.
pub(super) const MOVE_LIFETIME: Duration = Duration::from_secs(30);
/// Whoever speaks on the old path in this last part of it has come back: what was under way at the Refresh is over by then.
const CAME_BACK: Duration = Duration::from_secs(15);
/// How long a mobile allocation outlives the stream of its client, at most: as long as it takes to find another network.
pub(super) const ADRIFT_LIFETIME: Duration = Duration::from_secs(60);

/// What an allocation remembers whose client asked for mobility.
#[derive(Debug, Default)]
pub(super) struct Mobility {
    /// The newest ticket.
    pub(super) serial: u32,
    /// The ticket that the newest one was given for: good until the client is heard on the new path, because the answer with
    /// the newest may have been lost.
    pub(super) former: Option<u32>,
    /// The second path.
    pub(super) moving: Option<Move>,
    /// The shard that receives the first path, if it is not this one.
    pub(super) via: Option<u16>,
    /// The first path was a stream that is closed: there is none.
    pub(super) is_adrift: bool,
}

/// A path that the client has asked for and not used yet.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) to: FiveTuple,
    /// The shard that receives it, if it is not this one.
    pub(super) via: Option<u16>,
    pub(super) expires: Instant,
    /// When the client last spoke on the old path.
    pub(super) heard_on_old: Option<Instant>,
}

impl Mobility {
    /// Whether a ticket is good.
    pub(super) fn honours(&self, serial: u32) -> bool {
        serial == self.serial || self.former == Some(serial)
    }
}

impl Server {
    /// The ticket that is in force.
    pub(super) fn ticket(&self, index: u32) -> Option<[u8; TICKET_LEN]> {
        let generation = self.allocations.generation(index)?;
        let serial = self.allocations.get(index)?.mobility.as_ref()?.serial;
        let ticket = Ticket {
            shard: self.shard.index,
            index,
            generation,
            serial,
        };
        self.tickets.seal(ticket)
    }

    /// The allocation of this shard that a ticket is good for.
    pub(super) fn resumed(&self, ticket: &Ticket) -> Option<u32> {
        let allocation = self.allocations.get(ticket.index)?;
        let good = ticket.shard == self.shard.index
            && self.allocations.generation(ticket.index) == Some(ticket.generation)
            && allocation.is_live()
            && allocation.mobility.as_ref()?.honours(ticket.serial);
        good.then_some(ticket.index)
    }

    /// Opens a second path to the allocation, in place of one that was never used. The caller has made sure that `to` is free.
    pub(super) fn begin_move(&mut self, now: Now, index: u32, to: FiveTuple, used: u32) -> Result<(), QuotaKind> {
        self.abandon_move(index);
        let limits = self.config.limits;
        let (via, shard) = (self.via, self.shard.index);
        let Some(allocation) = self.allocations.get_mut(index) else {
            return Ok(());
        };
        allocation.lease.try_move(&limits, to.client.0.ip())?;
        let Some(mobility) = allocation.mobility.as_deref_mut() else {
            return Ok(());
        };
        let expires = now.instant + MOVE_LIFETIME;
        mobility.serial = mobility.serial.wrapping_add(1);
        mobility.former = Some(used);
        mobility.moving = Some(Move {
            to,
            via,
            expires,
            heard_on_old: None,
        });
        let is_adrift = mobility.is_adrift;
        self.allocations.insert_path(to, index);
        if let Some(reader) = via {
            self.routes.board().open(reader, to, shard);
        }
        self.stats.moves_begun += 1;
        if is_adrift {
            self.finish_move(now, index, MoveEnd::Used);
        } else {
            self.note_expiry(index, expires);
        }
        Ok(())
    }

    /// A packet of the allocation's client that was good, and on which path.
    #[inline]
    pub(super) fn heard(&mut self, now: Now, index: u32, from: &FiveTuple) {
        let allocation = self.allocations.get_mut(index);
        let Some(moving) = allocation
            .and_then(|allocation| allocation.mobility.as_deref_mut())
            .and_then(|mobility| mobility.moving.as_mut())
        else {
            return;
        };
        if moving.to == *from {
            self.finish_move(now, index, MoveEnd::Used);
        } else {
            moving.heard_on_old = Some(now.instant);
        }
    }

    /// The time of a move is up, if it is.
    pub(super) fn expire_move(&mut self, now: Now, index: u32) {
        let mobility = self.allocations.get(index).and_then(|it| it.mobility.as_deref());
        let Some(moving) = mobility.and_then(|mobility| mobility.moving.as_ref()) else {
            return;
        };
        if now.instant < moving.expires {
            return;
        }
        let since = moving.expires.checked_sub(CAME_BACK);
        if moving
            .heard_on_old
            .is_some_and(|at| since.is_none_or(|since| at >= since))
        {
            self.abandon_move(index);
        } else {
            self.finish_move(now, index, MoveEnd::Silent);
        }
    }

    /// Makes the second path the only one.
    fn finish_move(&mut self, now: Now, index: u32, end: MoveEnd) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let Some(mobility) = allocation.mobility.as_deref_mut() else {
            return;
        };
        let Some(moving) = mobility.moving.take() else {
            return;
        };
        let old = std::mem::replace(&mut allocation.five_tuple, moving.to);
        let via = std::mem::replace(&mut mobility.via, moving.via);
        mobility.former = None;
        let was_adrift = std::mem::take(&mut mobility.is_adrift);
        allocation.lease.stay();
        for (active, leg) in self.stats.allocations_active.iter_mut().zip(&allocation.relays) {
            if leg.as_ref().is_some_and(|leg| leg.bind == Bind::Done) {
                active[old.transport.index()] -= 1;
                active[moving.to.transport.index()] += 1;
            }
        }
        if !was_adrift {
            self.forget_path(index, &old, via);
        }
        self.stats.moves_ended[end.index()] += 1;
        self.note_moved(now, index, old.client);
    }

    /// Closes the second path, if there is one. Both tickets stay good.
    pub(super) fn abandon_move(&mut self, index: u32) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let mobility = allocation.mobility.as_deref_mut();
        let Some(moving) = mobility.and_then(|mobility| mobility.moving.take()) else {
            return;
        };
        allocation.lease.move_back();
        self.forget_path(index, &moving.to, moving.via);
        self.stats.moves_ended[MoveEnd::Abandoned.index()] += 1;
    }

    /// Forgets every path of an allocation that ends.
    pub(super) fn forget_paths(&mut self, index: u32) {
        self.abandon_move(index);
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let (path, mobility) = (allocation.five_tuple, allocation.mobility.as_deref());
        if mobility.is_some_and(|mobility| mobility.is_adrift) {
            return;
        }
        let via = mobility.and_then(|mobility| mobility.via);
        self.forget_path(index, &path, via);
    }

    fn forget_path(&mut self, index: u32, path: &FiveTuple, via: Option<u16>) {
        self.allocations.remove_path(path, index);
        if let Some(reader) = via {
            self.routes.board().close(reader, *path);
        }
    }

    /// The stream of a client is closed. An allocation that is not mobile ends with it (RFC 8656 §3.1).
    pub(super) fn stream_closed(&mut self, now: Now, five_tuple: &FiveTuple) {
        let Some(index) = self.allocations.find(five_tuple) else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let live = allocation.is_live();
        let Some(mobility) = allocation.mobility.as_deref_mut().filter(|_| live) else {
            return self.close(now, index, CloseReason::ClientGone);
        };
        match &mobility.moving {
            Some(moving) if moving.to == *five_tuple => self.abandon_move(index),
            Some(_) => self.finish_move(now, index, MoveEnd::OldClosed),
            None => {
                let via = mobility.via.take();
                mobility.is_adrift = true;
                let expires = now.instant + ADRIFT_LIFETIME;
                for leg in allocation.relays.iter_mut().flatten() {
                    leg.expires = leg.expires.min(expires);
                }
                self.forget_path(index, five_tuple, via);
                self.note_expiry(index, expires);
            }
        }
    }

    /// Hands a whole datagram over to the shard that serves its client.
    pub(super) fn to_owner(shard: u16, client: FiveTuple, datagram: &[u8]) -> Handled {
        Handled::Forward(Forward {
            to: Destination::Owner { shard, client },
            prefix: Prefix::EMPTY,
            payload_start: 0,
            payload_len: datagram.len() as u32,
            padding: 0,
            dont_fragment: false,
        })
    }

    /// Clients whose packets this shard hands over to another.
    pub fn routes(&self) -> usize {
        self.routes.len()
    }
}
