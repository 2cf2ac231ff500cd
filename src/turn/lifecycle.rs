//! How allocations end: by timer, by Refresh, with their client. Every way out goes through [`Server::close`] or
//! [`Server::close_leg`], which is where ports, relays and counters are given back.

use super::allocation::State;
use super::connection::RelayedTransport;
use super::five_tuple::Family;
use super::input::Now;
use super::output::Output;
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
                        self.outputs.ask(Output::ReleaseReserved { token });
                    }
                }
            }
        }
    }

    /// Removes what is expired of an allocation, or the whole of it.
    fn expire_allocation(&mut self, now: Now, index: u32) {
        self.expire_connections(now, index);
        for family in Family::ALL {
            let leg = self
                .allocations
                .get(index)
                .and_then(|allocation| allocation.relay(family));
            if leg.is_some_and(|leg| leg.expires <= now.instant) {
                self.close_leg(now, index, family, CloseReason::Expired);
            }
        }
        self.expire_move(now, index);
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
        let connections = self.connections.next_expiry(&allocation.connections);
        if let Some(at) = allocation.next_expiry().into_iter().chain(connections).min() {
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
    pub(super) fn close_leg(&mut self, now: Now, index: u32, family: Family, reason: CloseReason) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let others = allocation.relays.iter().flatten().count() > usize::from(allocation.relay(family).is_some());
        if !others || !allocation.is_live() {
            return self.close(now, index, reason);
        }
        self.stats.permissions_active -= allocation.permissions.remove_family(family) as u64;
        self.stats.channels_active -= allocation.channels.remove_family(family) as u64;
        self.close_connections_of(index, Some(family), reason);
        self.release_leg(index, family, true);
    }

    /// Ends an allocation.
    pub(super) fn close(&mut self, now: Now, index: u32, reason: CloseReason) {
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let live = allocation.is_live();
        if live {
            self.note_closed(now, index, reason);
        }
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        self.stats.permissions_active -= allocation.permissions.len() as u64;
        self.stats.channels_active -= allocation.channels.len() as u64;
        self.close_connections_of(index, None, reason);
        for family in Family::ALL {
            self.release_leg(index, family, live);
        }
        self.forget_paths(index);
        let Some(allocation) = self.allocations.remove(index) else {
            return;
        };
        self.sweep_timers();
        self.realms.leave(allocation.realm);
        match &allocation.state {
            State::Live { .. } => {
                self.stats.allocations_closed[reason.index()] += 1;
                self.realms.closed(now.instant, allocation.realm);
                self.shares.closed(now.instant, allocation.share);
            }
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

    /// Entries of allocations that ended stay in the timers until their time. A client that allocates and deletes all day
    /// would fill memory with them, so they are swept out once they outnumber the living: each sweep is paid for by as many
    /// ends.
    fn sweep_timers(&mut self) {
        const SLACK: usize = 256;
        if self.timers.of_allocations() <= SLACK + 4 * self.allocations.len() {
            return;
        }
        let allocations = &self.allocations;
        self.timers.retain_allocations(|at, index, generation| {
            allocations.generation(index) == Some(generation)
                && allocations
                    .get(index)
                    .is_some_and(|allocation| allocation.timer_at == at)
        });
    }

    /// Gives back one relay: its port, its id, its socket.
    pub(super) fn release_leg(&mut self, index: u32, family: Family, live: bool) {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let transport = allocation.five_tuple.transport;
        let is_tcp = allocation.relayed_transport == RelayedTransport::Tcp;
        let Some(leg) = allocation.relays[family.index()].take() else {
            return;
        };
        self.ports.release(leg.at);
        self.allocations.remove_relay(leg.id, leg.relayed);
        self.outputs.ask(Output::CloseRelay { relay: leg.id });
        if live {
            self.stats.allocations_active[family.index()][transport.index()] -= 1;
            if is_tcp {
                self.stats.tcp_relays_active[family.index()] -= 1;
            }
        }
    }

    /// Undoes a reservation whose client will never learn of it.
    pub(super) fn give_up_reservation(&mut self, token: super::ReservationToken) {
        if let Some(reservation) = self.reservations.release(token) {
            self.ports.release_reserved(reservation.at, token);
            self.outputs.ask(Output::ReleaseReserved { token });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::credentials::UnixTime;
    use crate::turn::{
        ClientAddr, Config, FiveTuple, Ledger, ListenAddr, Now, Output, Reservations, Server, Shard, StaticUser,
        Transport,
    };
    use crate::wire::attribute::{Lifetime, Nonce, Realm, RequestedTransport, Username};
    use crate::wire::{Class, IntegrityKey, Message, MessageBuilder, Method, TransactionId};

    #[test]
    fn a_client_that_allocates_and_deletes_all_day_does_not_fill_the_timers() {
        let config = Config {
            static_users: vec![StaticUser::new("a", "b")],
            ..Config::default()
        };
        let mut server = Server::new(
            Arc::new(config),
            Shard::SINGLE,
            Ledger::new(),
            Reservations::new(),
            [1; 32],
        );
        let now = Now {
            instant: Instant::now(),
            unix: UnixTime(1_800_000_000),
        };
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let from = FiveTuple {
            transport: Transport::Udp,
            client: ClientAddr(address("192.0.2.1:1")),
            server: ListenAddr(address("192.0.2.2:3478")),
        };
        let key = IntegrityKey::long_term_md5("a", "meetpoint", "b");
        let nonce = server.authenticator.nonce(now, &from);
        let nonce = std::str::from_utf8(&nonce).unwrap();
        for round in 0..2000_u32 {
            for method in [Method::ALLOCATE, Method::REFRESH] {
                let mut id = [method.value() as u8; 12];
                id[..4].copy_from_slice(&round.to_be_bytes());
                let mut buffer = [0; 256];
                let mut builder = MessageBuilder::new(&mut buffer, method, Class::Request, TransactionId(id));
                builder.attribute(&RequestedTransport::UDP);
                builder.attribute(&Lifetime(if method == Method::ALLOCATE { 3600 } else { 0 }));
                builder
                    .attribute(&Username::new("a").unwrap())
                    .attribute(&Realm::new("meetpoint").unwrap());
                let len = builder
                    .attribute(&Nonce::new(nonce).unwrap())
                    .integrity(&key)
                    .finish()
                    .unwrap();
                server.handle_client(now, &from, &buffer[..len]);
                let mut bind = None;
                while let Some(output) = server.poll_output() {
                    match output {
                        Output::BindRelay { relay, at, .. } => bind = Some((relay, at)),
                        Output::Transmit { bytes, .. } => {
                            assert_eq!(Message::parse(bytes).unwrap().class(), Class::Success);
                        }
                        _ => {}
                    }
                }
                if let Some((relay, at)) = bind {
                    server.handle_relay_bound(now, relay, Ok(at));
                    while server.poll_output().is_some() {}
                }
            }
            assert!(
                server.timers.of_allocations() <= 261,
                "{}",
                server.timers.of_allocations()
            );
        }
        assert_eq!(server.stats().allocations_created, 2000);
        assert_eq!(server.allocations(), 0);
    }
}
