//! The second half of Allocate: the driver has bound a socket, or could not.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::turn::allocation::{Bind, RelayOwner, State};
use crate::turn::connection::RelayedTransport;
use crate::turn::five_tuple::{Family, RelayId, RelayedAddr};
use crate::turn::input::{BindError, Now};
use crate::turn::output::{Output, RelaySocket, ReservationToken};
use crate::turn::reservation::RESERVATION_LIFETIME;
use crate::turn::server::Server;
use crate::turn::timers::Due;
use crate::turn::verdict::{Answer, CloseReason, QuotaKind, Verdict};
use crate::wire::ErrorCode;
use crate::wire::attribute::{
    AddressErrorCode, AddressFamily, Lifetime, MobilityTicket, XorMappedAddress, XorRelayedAddress,
};

impl Server {
    pub(in crate::turn) fn relay_bound(&mut self, now: Now, id: RelayId, result: Result<SocketAddr, BindError>) {
        let Some(RelayOwner { index, family }) = self.allocations.owner_of(id) else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        let Some(leg) = &mut allocation.relays[family.index()] else {
            return;
        };
        let Bind::Waiting { attempts_left, socket } = leg.bind else {
            return;
        };
        match result {
            Ok(bound) => {
                leg.bind = Bind::Done;
                leg.relayed = RelayedAddr(SocketAddr::new(leg.relay_addr.advertised, bound.port()));
                let (relayed, at) = (leg.relayed, leg.at);
                self.allocations.publish(id, relayed);
                if let RelaySocket::FreshAndReserveNext(token) = socket {
                    self.hold_reservation(now, token, SocketAddr::new(at.ip(), at.port() + 1));
                }
            }
            Err(BindError::InUse) if attempts_left > 0 && self.try_next_port(index, family, attempts_left - 1) => {
                return;
            }
            Err(_) => self.refuse_leg(now, index, family),
        }
        let waiting = self.allocations.get(index).is_some_and(|allocation| {
            allocation
                .relays
                .iter()
                .flatten()
                .any(|leg| matches!(leg.bind, Bind::Waiting { .. }))
        });
        if !waiting {
            self.finish_allocate(now, index);
        }
    }

    /// The reservation's thirty seconds begin.
    fn hold_reservation(&mut self, now: Now, token: ReservationToken, at: SocketAddr) {
        let expires = now.instant + RESERVATION_LIFETIME;
        self.reservations.hold_until(token, expires);
        self.timers.push(expires, Due::Reservation { token, at });
        self.stats.reservations_created += 1;
    }

    /// Asks for another port in place of one that somebody else holds. `false` if there is none.
    fn try_next_port(&mut self, index: u32, family: Family, attempts_left: u8) -> bool {
        let Some(allocation) = self.allocations.get_mut(index) else {
            return false;
        };
        let State::Binding(pending) = &allocation.state else {
            return false;
        };
        let Some(leg) = &mut allocation.relays[family.index()] else {
            return false;
        };
        let Bind::Waiting { socket, .. } = leg.bind else {
            return false;
        };
        if matches!(socket, RelaySocket::Reserved(_)) {
            return false;
        }
        // The old port stays taken while the new one is drawn, so that it is not drawn again.
        let config = Arc::clone(&self.config);
        let picked = self
            .ports
            .pick(&mut self.rng, leg.relay_addr.bind, &config.relay_ports, pending.wish);
        let Some(port) = picked else { return false };
        let at = SocketAddr::new(leg.at.ip(), port);
        self.ports.release(leg.at);
        self.ports.take(at);
        if let RelaySocket::FreshAndReserveNext(token) = socket {
            let next = SocketAddr::new(at.ip(), at.port() + 1);
            self.ports
                .release_reserved(SocketAddr::new(leg.at.ip(), leg.at.port() + 1), token);
            self.ports.reserve(next, token);
            self.reservations.relocate(token, next);
        }
        leg.at = at;
        leg.relayed = RelayedAddr(SocketAddr::new(leg.relay_addr.advertised, port));
        leg.bind = Bind::Waiting { attempts_left, socket };
        self.outputs.ask(Output::BindRelay {
            relay: leg.id,
            at,
            socket,
        });
        true
    }

    /// Forgets a relay that never came to be: unlike a bound one it has no socket to close.
    fn refuse_leg(&mut self, now: Now, index: u32, family: Family) {
        let held = self.allocations.get(index);
        let who = held.map(|allocation| (allocation.five_tuple, allocation.realm, allocation.username.clone()));
        if let Some((from, realm, username)) = who {
            self.hit_quota_at_allocate(now, &from, (realm, &username), QuotaKind::Ports);
        }
        let Some(allocation) = self.allocations.get_mut(index) else {
            return;
        };
        if let State::Binding(pending) = &mut allocation.state {
            pending.refused[family.index()] = Some(Answer::InsufficientCapacity);
        }
        let Some(leg) = allocation.relays[family.index()].take() else {
            return;
        };
        self.ports.release(leg.at);
        self.allocations.remove_relay(leg.id, leg.relayed);
    }

    /// Answers the Allocate request: every socket it asked for is there or refused.
    fn finish_allocate(&mut self, now: Now, index: u32) {
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let State::Binding(pending) = &allocation.state else {
            return;
        };
        let (request, refused, reservation) = (pending.request, pending.refused, pending.reservation);
        let lifetime = pending.lifetime;
        let signer = allocation.signer.clone();
        let relayed = Family::ALL.map(|family| allocation.relay(family).map(|leg| leg.relayed));

        let (realm, share) = (allocation.realm, allocation.share);
        if relayed.iter().all(Option::is_none) {
            self.close(now, index, CloseReason::BindFailed);
            self.count_refused((realm, share), Answer::InsufficientCapacity);
            let verdict = self.reject(now, &request, Answer::InsufficientCapacity.into(), Some(&signer));
            return self.settle(verdict);
        }

        let ticket = self.ticket(index);
        let mapped = XorMappedAddress(request.from.client.0);
        let verdict = self.succeed(&request, Some(&signer), |builder| {
            for relayed in relayed.into_iter().flatten() {
                builder.attribute(&XorRelayedAddress(relayed.0));
            }
            for (family, answer) in [AddressFamily::Ipv4, AddressFamily::Ipv6].into_iter().zip(refused) {
                let code = match answer {
                    None => continue,
                    Some(Answer::AddressFamilyNotSupported) => ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
                    Some(_) => ErrorCode::INSUFFICIENT_CAPACITY,
                };
                builder.attribute(&AddressErrorCode::new(family, code));
            }
            builder.attribute(&Lifetime(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)));
            if let Some(token) = reservation {
                builder.attribute(&token);
            }
            if let Some(ticket) = &ticket {
                builder.attribute(&MobilityTicket(ticket));
            }
            builder.attribute(&mapped);
        });
        let answer = self.outputs.last_message().map(Box::from);
        let (Verdict::Answered(Answer::Success), Some(answer)) = (verdict, answer) else {
            self.close(now, index, CloseReason::BindFailed);
            return self.settle(verdict);
        };

        // The lifetime runs from the answer.
        let token_expires = self
            .allocations
            .get(index)
            .and_then(|allocation| allocation.token_expires);
        let expires = now.instant + lifetime;
        let expires = token_expires.map_or(expires, |ends| ends.min(expires));
        if let Some(allocation) = self.allocations.get_mut(index) {
            allocation.state = State::Live {
                transaction_id: request.transaction_id,
                answer,
            };
            for (family, leg) in Family::ALL.into_iter().zip(&mut allocation.relays) {
                if let Some(leg) = leg {
                    leg.expires = expires;
                    self.stats.allocations_active[family.index()][request.from.transport.index()] += 1;
                    if allocation.relayed_transport == RelayedTransport::Tcp {
                        self.stats.tcp_relays_active[family.index()] += 1;
                    }
                }
            }
        }
        self.stats.allocations_created += 1;
        if let Some(allocation) = self.allocations.get(index) {
            self.realms
                .opened(now.instant, realm, &allocation.username, self.ledger.tallies());
            self.shares.opened(now.instant, share);
        }
        self.note_created(now, index, lifetime);
        self.settle(verdict);
    }
}
