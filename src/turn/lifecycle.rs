//! How allocations end: by timer, by Refresh, with their client. Every way out goes through [`Server::close`] or
//! [`Server::close_leg`], which is where ports, relays and counters are given back.

use super::allocation::State;
use super::five_tuple::Family;
use super::input::Now;
use super::server::Server;
use super::timers::Due;
use super::verdict::{CloseReason, DropReason, Verdict};

impl Server {
    /// Runs every timer that is due.
    pub(super) fn run_timers(&mut self, now: Now) {
        while let Some((at, due)) = self.timers.pop(now.instant) {
            match due {
                Due::Allocation { index, generation } => {
                    let current = self.allocations.generation(index) == Some(generation);
                    // An entry that a later, earlier one has replaced comes up in vain.
                    if current
                        && self
                            .allocations
                            .get(index)
                            .is_some_and(|allocation| allocation.timer_at == at)
                    {
                        self.expire_allocation(now, index);
                    }
                }
                Due::Reservation { token, at } => {
                    self.ports.release_reserved(at, token);
                    if self.reservations.release(token).is_some() {
                        self.stats.reservations_expired += 1;
                        self.outputs.release(token);
                    }
                }
            }
        }
    }

    /// Removes what is expired of an allocation, or the whole of it.
    fn expire_allocation(&mut self, now: Now, index: u32) {
        for family in Family::ALL {
            let leg = self
                .allocations
                .get(index)
                .and_then(|allocation| allocation.relay(family));
            if leg.is_some_and(|leg| leg.expires <= now.instant) {
                self.close_leg(index, family, CloseReason::Expired);
            }
        }
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        self.stats.permissions_active -= allocation.permissions.expire(now.instant) as u64;
        self.stats.channels_active -= allocation.channels.expire(now.instant) as u64;
        self.schedule(index);
    }

    /// Enters the allocation's next expiry into the timers.
    fn schedule(&mut self, index: u32) {
        let Some(generation) = self.allocations.generation(index) else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        if let Some(at) = allocation.next_expiry() {
            allocation.timer_at = at;
            self.timers.push(at, Due::Allocation { index, generation });
        }
    }

    /// To be called when something of the allocation got a new expiry: makes sure that the timers know of it if it is earlier
    /// than what they have. One that is later waits for the entry that is there.
    pub(super) fn note_expiry(&mut self, index: u32, at: std::time::Instant) {
        let Some(generation) = self.allocations.generation(index) else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        if at < allocation.timer_at {
            allocation.timer_at = at;
            self.timers.push(at, Due::Allocation { index, generation });
        }
    }

    /// Ends one relayed address, with the permissions and channels of its family (RFC 8656 §8.1); the allocation with the last.
    pub(super) fn close_leg(&mut self, index: u32, family: Family, reason: CloseReason) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let others = allocation.relays.iter().flatten().count() > usize::from(allocation.relay(family).is_some());
        if !others || !allocation.is_live() {
            return self.close(index, reason);
        }
        self.stats.permissions_active -= allocation.permissions.remove_family(family) as u64;
        self.stats.channels_active -= allocation.channels.remove_family(family) as u64;
        self.release_leg(index, family, true);
    }

    /// Ends an allocation.
    pub(super) fn close(&mut self, index: u32, reason: CloseReason) {
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let live = allocation.is_live();
        self.stats.permissions_active -= allocation.permissions.len() as u64;
        self.stats.channels_active -= allocation.channels.len() as u64;
        for family in Family::ALL {
            self.release_leg(index, family, live);
        }
        let Some(allocation) = self.allocations.remove(index) else {
            return;
        };
        match &allocation.state {
            State::Live { .. } => self.stats.allocations_closed[reason.index()] += 1,
            State::Binding(pending) => {
                if let Some(token) = pending.reservation {
                    self.give_up_reservation(token);
                }
                // Whoever knows a better end than this has settled the request already.
                if reason != CloseReason::BindFailed {
                    self.settle(Verdict::Dropped(DropReason::ClientGone));
                }
            }
        }
    }

    /// Gives back one relay: its port, its id, its socket.
    pub(super) fn release_leg(&mut self, index: u32, family: Family, live: bool) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let transport = allocation.five_tuple.transport;
        let Some(leg) = allocation.relays[family.index()].take() else {
            return;
        };
        self.ports.release(leg.at);
        self.allocations.remove_relay(leg.id, leg.relayed);
        self.outputs.close(leg.id);
        if live {
            self.stats.allocations_active[family.index()][transport.index()] -= 1;
        }
    }

    /// Undoes a reservation whose client will never learn of it.
    pub(super) fn give_up_reservation(&mut self, token: super::ReservationToken) {
        if let Some(reservation) = self.reservations.release(token) {
            self.ports.release_reserved(reservation.at, token);
            self.outputs.release(token);
        }
    }
}
