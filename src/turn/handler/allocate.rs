//! Allocate (RFC 8656 §7.2), up to the point where sockets are needed; [`super::bind`] goes on from there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::turn::allocation::{Allocation, Bind, Pending, RelayLeg, RelayOwner, State};
use crate::turn::auth::{Account, Authenticated, Grant, Identity, Purpose, quota_user};
use crate::turn::bucket::Bucket;
use crate::turn::channel::Channels;
use crate::turn::config::RelayAddr;
use crate::turn::connection::RelayedTransport;
use crate::turn::five_tuple::{Family, RelayedAddr};
use crate::turn::input::Now;
use crate::turn::meter::Usage;
use crate::turn::output::{Output, RelaySocket, ReservationToken};
use crate::turn::permission::Permissions;
use crate::turn::ports::PortWish;
use crate::turn::quota::Applicant;
use crate::turn::realm::RealmId;
use crate::turn::request::{Reject, Request, Signer};
use crate::turn::reservation::{RESERVATION_LIFETIME, Reservation};
use crate::turn::server::Server;
use crate::turn::share::ShareId;
use crate::turn::stats::Traffic;
use crate::turn::timers::Due;
use crate::turn::verdict::{AllocateRefusal, Answer, AuthFailure, DropReason, QuotaKind, Verdict};
use crate::wire::attribute::{
    AdditionalAddressFamily, AddressFamily, EvenPort, Lifetime, MobilityTicket, RequestedAddressFamily,
    RequestedTransport,
};
use crate::wire::{AttributeType, Message};

/// What the request wants, checked.
#[derive(Debug)]
struct Wanted {
    relayed_transport: RelayedTransport,
    /// By [`Family::index`].
    families: [bool; 2],
    refused: [Option<Answer>; 2],
    port: PortWish,
    token: Option<ReservationToken>,
    lifetime: Duration,
    mobility: bool,
}

/// A socket to ask for.
#[derive(Clone, Copy, Debug)]
struct Place {
    relay_addr: RelayAddr,
    at: SocketAddr,
    socket: RelaySocket,
}

/// The sockets to ask for, and what goes with them.
#[derive(Debug)]
struct Places {
    /// By [`Family::index`].
    legs: [Option<Place>; 2],
    refused: [Option<Answer>; 2],
    reservation: Option<ReservationToken>,
}

impl Server {
    pub(in crate::turn) fn handle_allocate(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        // A retransmission gets the answer that the first one got, or will get (RFC 8489 §6.3.1).
        let found = self.allocations.find(&request.from);
        let allocation = found.and_then(|index| self.allocations.get(index));
        match allocation.map(|allocation| &allocation.state) {
            Some(State::Live { transaction_id, answer }) if *transaction_id == request.transaction_id => {
                // Whoever saw the transaction id can forge this, so it is one of the answers that a source is due.
                let answer = answer.clone();
                if !self.admit_unauthenticated(now, &request.from) {
                    return Verdict::Dropped(DropReason::RateLimited);
                }
                self.stats.retransmits += 1;
                self.outputs.transmit(request.from, &answer);
                return Verdict::Answered(Answer::Success);
            }
            Some(State::Binding(pending)) if pending.request.transaction_id == request.transaction_id => {
                self.stats.retransmits += 1;
                return Verdict::Dropped(DropReason::InProgress);
            }
            _ => {}
        }

        // 1. Authentication.
        let purpose = if allocation.is_some() {
            Purpose::Other
        } else {
            Purpose::NewAllocation
        };
        let result = self
            .authenticator
            .authenticate(now, &request.from, message, allocation, purpose);
        let Authenticated {
            signer,
            identity,
            grant,
        } = match result {
            Ok(authenticated) => authenticated,
            Err(refusal) => return self.refuse_authentication(now, request, refusal),
        };
        if let Err(reject) = self.refuse_unknown(message) {
            return self.reject(now, request, reject, Some(&signer));
        }

        // 2. The 5-tuple must be free.
        let (None, Identity::Other(account)) = (found, identity) else {
            return self.reject(now, request, Answer::AllocationMismatch.into(), Some(&signer));
        };

        let realm = account.realm;
        let share = self
            .shares
            .of(&self.config.shares, self.realms.name(realm), &account.username);
        match self.try_allocate(now, request, message, &signer, account, grant.as_ref()) {
            Ok(()) => Verdict::Deferred,
            Err(reject) => {
                self.count_refused((realm, share), reject.answer());
                self.reject(now, request, reject, Some(&signer))
            }
        }
    }

    /// Counts an Allocate request with good credentials that is answered with an error.
    pub(super) fn count_refused(&mut self, (realm, share): (RealmId, Option<ShareId>), answer: Answer) {
        let reason = match answer {
            Answer::AllocationQuotaReached => AllocateRefusal::Quota,
            Answer::InsufficientCapacity if self.config.draining => AllocateRefusal::Draining,
            Answer::InsufficientCapacity => AllocateRefusal::Capacity,
            Answer::TryAlternate => AllocateRefusal::Redirected,
            Answer::Forbidden => AllocateRefusal::Revoked,
            _ => AllocateRefusal::Request,
        };
        if let Some(realm) = self.realms.stats_mut(realm) {
            realm.allocations_refused[reason.index()] += 1;
        }
        self.shares.refused(share, reason);
    }

    fn try_allocate(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
        signer: &Signer,
        account: Account,
        grant: Option<&Grant>,
    ) -> Result<(), Reject> {
        let config = Arc::clone(&self.config);
        // 3. to 9.
        let mut wanted = self.wanted(request, message)?;
        let user = grant.map_or_else(|| quota_user(&config, &account.username), |grant| &grant.user);
        let token_expires = grant.map(|grant| grant.ends(now));
        if let Some(ends) = token_expires {
            wanted.lifetime = wanted.lifetime.min(ends.saturating_duration_since(now.instant));
        }
        if self.is_turned_away(now, &account.username, user) {
            let whom = (account.realm, Some(&*account.username));
            self.fail_authentication(now, &request.from, whom, AuthFailure::Revoked);
            return Err(Answer::Forbidden.into());
        }
        if let Some(token) = wanted.token
            && self.reservations.peek(token, user, now.instant).is_none()
        {
            return Err(Answer::InsufficientCapacity.into());
        }

        // 11. Redirection, before anything is taken. A reservation is good here alone.
        let ticks = self.ticks(now);
        if wanted.token.is_none()
            && let Some(alternate) = self.redirection(ticks, &request.from)
        {
            return Err(Reject::Alternate(alternate));
        }
        if config.draining {
            return Err(Answer::InsufficientCapacity.into());
        }

        // 10. Quotas.
        let limits = self.realms.limits(account.realm);
        let applicant = Applicant {
            realm: (account.realm != RealmId::DEFAULT).then(|| (self.realms.name(account.realm), limits.allocations)),
            user,
            per_user: limits
                .allocations_per_user
                .unwrap_or(config.limits.allocations_per_user),
            client: request.from.client.0.ip(),
        };
        let lease = self
            .ledger
            .try_enter(ticks, &config.limits, applicant)
            .map_err(|kind| {
                self.hit_quota_at_allocate(now, &request.from, (account.realm, &account.username), kind);
                match kind {
                    QuotaKind::User | QuotaKind::Client | QuotaKind::Realm => Answer::AllocationQuotaReached,
                    _ => Answer::InsufficientCapacity,
                }
            })?;

        // Places are found before the allocation is entered, so that a refusal leaves nothing behind.
        let places = match wanted.token {
            Some(token) => self.claim_place(now.instant, token, user)?,
            None => self.find_places(now, request, &wanted, (account.realm, &account.username), user)?,
        };

        // The allocation is entered, with empty lists.
        let expires = now.instant + wanted.lifetime;
        let hash_state = self.allocations.hash_state.clone();
        let pending = Pending {
            request: *request,
            lifetime: wanted.lifetime,
            wish: wanted.port,
            reservation: places.reservation,
            refused: places.refused,
        };
        let (names, realm) = (&self.config.shares, self.realms.name(account.realm));
        let share = self.shares.of(names, realm, &account.username);
        let index = self.allocations.insert(Allocation {
            five_tuple: request.from,
            mobility: wanted.mobility.then(Box::default),
            lease,
            realm: account.realm,
            share,
            challenge: account.challenge,
            username: account.username,
            signer: signer.clone(),
            token_expires,
            algorithm: account.algorithm,
            state: State::Binding(Box::new(pending)),
            created: now.unix,
            began: now.instant,
            to_peer: Traffic::default(),
            to_client: Traffic::default(),
            relayed_transport: wanted.relayed_transport,
            relays: [None, None],
            connections: Vec::new(),
            permissions: Permissions::new(&hash_state),
            channels: Channels::new(&hash_state),
            usage: Usage::default(),
            peer_errors: Bucket::default(),
            timer_at: expires,
        });
        self.realms.enter(account.realm);
        for (family, place) in Family::ALL.into_iter().zip(places.legs) {
            let Some(Place { relay_addr, at, socket }) = place else {
                continue;
            };
            let id = self.allocations.new_relay(RelayOwner { index, family });
            self.ports.take(at);
            self.outputs.ask(Output::BindRelay { relay: id, at, socket });
            if let Some(allocation) = self.allocations.get_mut(index) {
                allocation.relays[family.index()] = Some(RelayLeg {
                    id,
                    relay_addr,
                    at,
                    relayed: RelayedAddr(SocketAddr::new(relay_addr.advertised, at.port())),
                    expires,
                    bind: Bind::Waiting {
                        attempts_left: config.bind_attempts.saturating_sub(1),
                        socket,
                    },
                });
            }
        }
        if let Some(generation) = self.allocations.generation(index) {
            self.timers.push(expires, Due::Allocation { index, generation });
        }
        Ok(())
    }

    /// Steps 3 to 9 of RFC 8656 §7.2, as far as the request alone can be judged.
    fn wanted(&self, request: &Request, message: &Message<'_>) -> Result<Wanted, Reject> {
        let bad = |_| Reject::from(Answer::BadRequest);

        // 3. REQUESTED-TRANSPORT; TCP is for clients of TCP and TLS, and has no use for what is about datagrams or pairs of
        // ports (RFC 6062 §5.1).
        let relayed_transport = match message.find::<RequestedTransport>().map_err(bad)? {
            Some(RequestedTransport::UDP) => RelayedTransport::Udp,
            Some(RequestedTransport::TCP) if self.config.tcp_relay => RelayedTransport::Tcp,
            Some(_) => return Err(Answer::UnsupportedTransportProtocol.into()),
            None => return Err(Answer::BadRequest.into()),
        };
        let of_datagrams = [
            AttributeType::DONT_FRAGMENT,
            AttributeType::EVEN_PORT,
            AttributeType::RESERVATION_TOKEN,
        ];
        if relayed_transport == RelayedTransport::Tcp
            && (!request.from.transport.is_tcp() || of_datagrams.iter().any(|kind| message.has(*kind)))
        {
            return Err(Answer::BadRequest.into());
        }

        // 4. DONT-FRAGMENT was refused with the unknown attributes, if it had to be.

        // 5. RESERVATION-TOKEN stands alone.
        let token = message.find::<ReservationToken>().map_err(bad)?;
        let even_port = message.find::<EvenPort>().map_err(bad)?;
        let requested = message.find::<RequestedAddressFamily>().map_err(bad)?;
        let additional = message.find::<AdditionalAddressFamily>().map_err(bad)?;
        if token.is_some() && (even_port.is_some() || requested.is_some() || additional.is_some()) {
            return Err(Answer::BadRequest.into());
        }

        // 6. One way to ask for a family.
        if requested.is_some() && additional.is_some() {
            return Err(Answer::BadRequest.into());
        }

        // 7. The family must be served. Without a wish it is IPv4.
        let family = match requested.map(RequestedAddressFamily::family) {
            None | Some(Some(AddressFamily::Ipv4)) => Family::V4,
            Some(Some(AddressFamily::Ipv6)) => Family::V6,
            Some(None) => return Err(Answer::AddressFamilyNotSupported.into()),
        };
        if token.is_none() && self.relay_addr(family).is_none() {
            return Err(Answer::AddressFamilyNotSupported.into());
        }
        let mut families = [false; 2];
        families[family.index()] = true;

        // 8. EVEN-PORT.
        let port = match even_port {
            None => PortWish::Any,
            Some(EvenPort { reserve_next: false }) => PortWish::Even,
            Some(EvenPort { reserve_next: true }) if additional.is_some() => return Err(Answer::BadRequest.into()),
            Some(EvenPort { reserve_next: true }) => PortWish::Pair,
        };

        // 9. ADDITIONAL-ADDRESS-FAMILY: IPv6 beside IPv4, as far as it can be had.
        let mut refused = [None; 2];
        match additional.map(AdditionalAddressFamily::family) {
            None => {}
            Some(Some(AddressFamily::Ipv6)) if self.relay_addr(Family::V6).is_some() => {
                families[Family::V6.index()] = true;
            }
            Some(Some(AddressFamily::Ipv6)) => refused[Family::V6.index()] = Some(Answer::AddressFamilyNotSupported),
            Some(Some(AddressFamily::Ipv4) | None) => return Err(Answer::BadRequest.into()),
        }

        // Mobility is asked for with an empty ticket (RFC 8016 §3.1.2).
        let ticket = message.find::<MobilityTicket<'_>>().map_err(bad)?;
        let mobility = match ticket.map(|ticket| ticket.0.is_empty()) {
            None => false,
            // Data connections cannot follow a client (RFC 6062).
            Some(_) if !self.config.mobility || relayed_transport == RelayedTransport::Tcp => {
                return Err(Answer::MobilityForbidden.into());
            }
            Some(true) => true,
            Some(false) => return Err(Answer::BadRequest.into()),
        };

        let lifetime = self.granted_lifetime(message.find::<Lifetime>().map_err(bad)?);
        Ok(Wanted {
            relayed_transport,
            families,
            refused,
            port,
            token,
            lifetime,
            mobility,
        })
    }

    /// The socket that RESERVATION-TOKEN stands for.
    fn claim_place(&self, now: Instant, token: ReservationToken, user: &str) -> Result<Places, Reject> {
        let Some(held) = self.reservations.claim(token, user, now) else {
            return Err(Answer::InsufficientCapacity.into());
        };
        let mut legs = [None; 2];
        legs[Family::of(held.at.ip()).index()] = Some(Place {
            relay_addr: held.relay_addr,
            at: held.at,
            socket: RelaySocket::Reserved(token),
        });
        Ok(Places {
            legs,
            refused: [None; 2],
            reservation: None,
        })
    }

    /// Free ports for the families that are wanted, and the reservation that goes with a pair.
    fn find_places(
        &mut self,
        now: Now,
        request: &Request,
        wanted: &Wanted,
        whom: (RealmId, &str),
        user: &str,
    ) -> Result<Places, Reject> {
        let config = Arc::clone(&self.config);
        let range = &config.relay_ports;
        let mut places = Places {
            legs: [None; 2],
            refused: wanted.refused,
            reservation: None,
        };
        for family in Family::ALL.into_iter().filter(|family| wanted.families[family.index()]) {
            let Some(relay_addr) = self.relay_addr(family) else {
                continue;
            };
            let mut picked = self.ports.pick(&mut self.rng, relay_addr.bind, range, wanted.port);
            if picked.is_none() && self.ports.forget_reserved(|token| !self.reservations.is_held(token)) {
                picked = self.ports.pick(&mut self.rng, relay_addr.bind, range, wanted.port);
            }
            match picked {
                Some(port) => {
                    let at = SocketAddr::new(relay_addr.bind, port);
                    places.legs[family.index()] = Some(Place {
                        relay_addr,
                        at,
                        socket: match wanted.relayed_transport {
                            RelayedTransport::Udp => RelaySocket::Fresh,
                            RelayedTransport::Tcp => RelaySocket::Listen,
                        },
                    });
                }
                None => {
                    self.hit_quota_at_allocate(now, &request.from, whom, QuotaKind::Ports);
                    places.refused[family.index()] = Some(Answer::InsufficientCapacity);
                }
            }
        }
        let Some(place) = places.legs.iter_mut().flatten().next() else {
            return Err(Answer::InsufficientCapacity.into());
        };
        if wanted.port == PortWish::Pair {
            let token = ReservationToken(self.rng.bytes());
            let next = SocketAddr::new(place.at.ip(), place.at.port() + 1);
            let expires = now.instant + RESERVATION_LIFETIME;
            let entry = Reservation {
                user: Arc::from(user),
                at: next,
                relay_addr: place.relay_addr,
                expires,
            };
            if !self.reservations.try_reserve(&self.config.limits, token, entry) {
                self.hit_quota_at_allocate(now, &request.from, whom, QuotaKind::Reservations);
                return Err(Answer::InsufficientCapacity.into());
            }
            self.ports.reserve(next, token);
            place.socket = RelaySocket::FreshAndReserveNext(token);
            places.reservation = Some(token);
        }
        Ok(places)
    }

    /// What the client asked for, but no more than the maximum and no less than the default (RFC 8656 §7.2, §8.2).
    pub(super) fn granted_lifetime(&self, asked: Option<Lifetime>) -> Duration {
        let asked = asked.map_or(Duration::ZERO, |lifetime| Duration::from_secs(u64::from(lifetime.0)));
        asked.min(self.config.max_lifetime).max(self.config.default_lifetime)
    }

    /// The relay address of a family.
    fn relay_addr(&self, family: Family) -> Option<RelayAddr> {
        self.config
            .relay_addrs
            .iter()
            .copied()
            .find(|relay| Family::of(relay.bind) == family)
    }
}
