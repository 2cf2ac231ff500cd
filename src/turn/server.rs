//! The state of one shard, its way in and its way out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::allocation::Allocations;
use super::auth::Authenticator;
use super::bucket::{self, Bucket, Ticks};
use super::config::{Config, NonceKey};
use super::connection::PeerConnections;
use super::five_tuple::{FiveTuple, PeerAddr, RelayId, RelayedAddr, Transport};
use super::hashing::HashState;
use super::input::{BindError, IcmpError, Now, Shard};
use super::journal::Journal;
use super::load::Load;
use super::meter::Meter;
use super::output::{Handled, Output};
use super::ports::Ports;
use super::queue::Outputs;
use super::quota::{Ledger, client_prefix};
use super::realm::{RealmStats, Realms};
use super::request::{Reject, Request, Signer};
use super::reservation::Reservations;
use super::retransmit::RetransmitCache;
use super::rng::{Drbg, IndicationIds};
use super::route::Routes;
use super::share::Shares;
use super::stats::Stats;
use super::throttle::Throttle;
use super::ticket::Tickets;
use super::timers::Timers;
use super::verdict::{Answer, DropReason, PeerErrorEnd, Verdict};
use crate::wire::attribute::{
    AlternateDomain, AlternateServer, ErrorCodeAttribute, Nonce, Realm, Software, ThirdPartyAuthorization,
    UnknownAttributes,
};
use crate::wire::{
    Class, DecodeError, ErrorCode, IntegrityKind, Message, MessageBuilder, Method, PacketKind, VerifyError, demux,
};

/// Longest answer: REALM, SOFTWARE and ALTERNATE-DOMAIN at their longest, and the rest.
const MAX_ANSWER: usize = 3072;

/// The TURN server of one shard. See the [module](super) for its run loop and its invariants.
pub struct Server {
    pub(super) config: Arc<Config>,
    pub(super) shard: Shard,
    pub(super) authenticator: Authenticator,
    own_nonce_key: NonceKey,
    /// Addresses of this machine, where peers are not reached through the kernel.
    pub(super) own_addrs: Box<[IpAddr]>,
    pub(super) ledger: Ledger,
    /// Whose allocations are here, and what holds for them.
    pub(super) realms: Realms,
    pub(super) shares: Shares,
    pub(super) reservations: Reservations,
    pub(super) allocations: Allocations,
    pub(super) connections: PeerConnections,
    pub(super) ports: Ports,
    pub(super) rng: Drbg,
    pub(super) indication_ids: IndicationIds,
    pub(super) timers: Timers,
    pub(super) retransmits: RetransmitCache,
    throttle: Throttle,
    pub(super) tickets: Tickets,
    /// Clients of this shard's listeners that another shard serves.
    pub(super) routes: Routes,
    /// The shard that received the packet at hand, if it was handed over.
    pub(super) via: Option<u16>,
    /// Answers to NAT discovery, which are longer.
    discovery_throttle: Throttle,
    /// Whose turn it is to be an alternate server.
    pub(super) redirect_turn: u32,
    /// What this shard adds to the load of the process.
    pub(super) load: Load,
    /// What [`bucket::ticks`] counts from, once this shard knows it.
    pub(super) epoch: Option<Instant>,
    /// What may be relayed, and this shard's share of it.
    pub(super) meter: Meter,
    /// ICMP errors that clients of this shard may yet be told of.
    pub(super) peer_errors: Bucket,
    /// The first place whose permissions and channels the latest rules for peers have not judged; `None`: all are judged.
    pub(super) rejudged: Option<u32>,
    pub(super) outputs: Outputs,
    /// What happened, for those who keep records.
    pub(super) journal: Journal,
    pub(super) stats: Stats,
}

impl Server {
    /// A server without allocations. `ledger` and `reservations` are shared by all shards of the process; `seed` is secret
    /// randomness of this shard alone.
    pub fn new(config: Arc<Config>, shard: Shard, ledger: Ledger, reservations: Reservations, seed: [u8; 32]) -> Self {
        let mut rng = Drbg::new(seed);
        let hash_state = HashState::with_seed(u64::from_be_bytes(rng.bytes()));
        let own_nonce_key = NonceKey::new(rng.bytes());
        let realms = Realms::new(&config, &ledger);
        Self {
            authenticator: Authenticator::new(Arc::clone(&config), &realms, &own_nonce_key, &hash_state),
            own_nonce_key,
            own_addrs: own_addrs(&config),
            shard,
            reservations,
            connections: PeerConnections::new(shard, hash_state.clone()),
            ports: Ports::new(shard, &hash_state),
            tickets: Tickets::new(&ledger, &mut rng),
            routes: Routes::new(ledger.routes(), shard.index, &hash_state),
            via: None,
            retransmits: RetransmitCache::new(&hash_state),
            throttle: Throttle::new(hash_state.clone()),
            discovery_throttle: Throttle::new(hash_state.clone()),
            redirect_turn: u32::from_be_bytes(rng.bytes()),
            load: Load::new(&config, shard),
            allocations: Allocations::new(hash_state.clone()),
            indication_ids: IndicationIds::new(u64::from_be_bytes(rng.bytes())),
            rng,
            timers: Timers::default(),
            epoch: None,
            meter: Meter::new(&config.limits, realms.all_limits(), shard),
            realms,
            shares: Shares::default(),
            peer_errors: Bucket::default(),
            rejudged: None,
            outputs: Outputs::default(),
            journal: Journal::new(&config, hash_state.clone()),
            stats: Stats::default(),
            ledger,
            config,
        }
    }

    /// Takes one datagram, or one frame of a stream, from a client.
    pub fn handle_client(&mut self, now: Now, from: &FiveTuple, datagram: &[u8]) -> Handled {
        self.stats.client_packets[from.transport.index()] += 1;
        self.expire(now);
        if let Some(shard) = self.routes.owner(from) {
            return self.count(Self::to_owner(shard, *from, datagram));
        }
        self.take_client(now, from, datagram)
    }

    /// Takes a datagram that shard `via` received and handed over ([`super::Destination::Owner`]).
    pub fn handle_handed_over(&mut self, now: Now, via: u16, from: &FiveTuple, datagram: &[u8]) -> Handled {
        self.stats.client_packets[from.transport.index()] += 1;
        self.expire(now);
        self.via = Some(via);
        let handled = self.take_client(now, from, datagram);
        self.via = None;
        handled
    }

    fn take_client(&mut self, now: Now, from: &FiveTuple, datagram: &[u8]) -> Handled {
        if from.client.0.port() == 0 {
            // Nobody can be answered there.
            return self.count(drop_packet(DropReason::SourcePortZero));
        }
        let handled = match demux(datagram) {
            PacketKind::ChannelData => self.handle_channel_data(now, from, datagram),
            PacketKind::Stun => self.handle_stun(now, from, datagram),
            PacketKind::Dtls | PacketKind::Other => drop_packet(DropReason::NotStun),
        };
        self.count(handled)
    }

    /// Takes one datagram that a peer sent to a relay socket, or that a sibling shard hands over.
    pub fn handle_peer(&mut self, now: Now, relay: RelayId, from: PeerAddr, datagram: &[u8]) -> Handled {
        self.stats.peer_packets += 1;
        self.expire(now);
        let handled = self.handle_peer_data(now, relay, from, datagram);
        self.count(handled)
    }

    /// Takes an ICMP error about a datagram that left `relay` towards `peer` (RFC 8656 §11.5). Whether the client is told is
    /// counted in [`Stats::peer_errors`] and returned.
    pub fn handle_peer_error(&mut self, now: Now, relay: RelayId, peer: PeerAddr, icmp: IcmpError) -> PeerErrorEnd {
        self.expire(now);
        let end = self.report_peer_error(now, relay, peer, icmp);
        self.stats.peer_errors[end.index()] += 1;
        end
    }

    /// The relay of a relayed address, if this shard holds it.
    pub fn relay_at(&self, relayed: RelayedAddr) -> Option<RelayId> {
        self.allocations.relay_at(&relayed.0)
    }

    /// Takes the outcome of [`Output::BindRelay`]: the address the socket is bound to. Once per `BindRelay`; for a relay that
    /// is closed meanwhile it does nothing.
    pub fn handle_relay_bound(&mut self, now: Now, relay: RelayId, result: Result<SocketAddr, BindError>) {
        self.expire(now);
        self.relay_bound(now, relay, result);
    }

    /// The client's stream is closed: its allocation ends, or waits a little for its client to come back if it is mobile.
    pub fn handle_client_gone(&mut self, now: Now, five_tuple: &FiveTuple) {
        self.expire(now);
        self.stream_closed(now, five_tuple);
    }

    /// The next piece of work for the driver; `None` when there is no more. Drain after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        self.outputs.pop()
    }

    /// When [`Server::handle_timeout`] wants to be called. May be earlier than anything expires, never later.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline()
    }

    /// Ends what is out of time.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire(now);
    }

    /// Takes a new configuration. Living allocations keep their relayed address, lifetime and credentials. New rules for peers
    /// hold from now on: permissions and channels to peers that they close are gone, and counted. A realm that is not there any
    /// more lets nobody in; its living allocations keep the limits and peers that it had.
    pub fn reconfigure(&mut self, config: Arc<Config>) {
        let hash_state = &self.allocations.hash_state;
        let same_rules = self.realms.reconfigure(&config, &self.ledger);
        self.authenticator = Authenticator::new(Arc::clone(&config), &self.realms, &self.own_nonce_key, hash_state);
        let own_addrs = own_addrs(&config);
        let alike = same_rules && Self::judges_alike(&self.config, &config) && self.own_addrs == own_addrs;
        self.own_addrs = own_addrs;
        self.meter = Meter::new(&config.limits, self.realms.all_limits(), self.shard);
        self.journal.reconfigure(&config);
        self.config = config;
        if !alike {
            self.begin_rejudging();
        }
    }

    /// Whether a client has an allocation, one being bound included. Until then a driver owes its stream little.
    pub fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.allocations.find(client).is_some()
    }

    /// What was counted so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What was counted so far by realm, the default one first: each that is configured, and those that were.
    pub fn realm_stats(&mut self) -> &[RealmStats] {
        self.realms.stats(&self.stats)
    }

    /// Both together, and what is worth no count of its own: how full things are as of `now`.
    pub fn all_stats(&mut self, now: Now) -> (&Stats, &[RealmStats]) {
        self.look_around(now);
        let realms = self.realms.stats(&self.stats);
        (&self.stats, realms)
    }

    /// All that is published: the same, and the shares of realms.
    pub fn counted(&mut self, now: Now) -> (&Stats, &[RealmStats], &[RealmStats]) {
        self.look_around(now);
        let realms = self.realms.stats(&self.stats);
        (&self.stats, realms, self.shares.stats(now.instant))
    }

    /// Allocations of this shard, those being bound included: zero when a drain is over.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// 5-tuples that lead to an allocation: one for each, two while it moves, none while its client is between two streams.
    pub fn paths(&self) -> usize {
        self.allocations.paths()
    }

    /// One message, by class and method (RFC 8489 §6.3).
    fn handle_stun(&mut self, now: Now, from: &FiveTuple, datagram: &[u8]) -> Handled {
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(DecodeError::MissingCookie | DecodeError::NotStun) => return drop_packet(DropReason::NotStun),
            Err(_) => return drop_packet(DropReason::Malformed),
        };
        let fingerprint = match message.verify_fingerprint() {
            Ok(()) => true,
            Err(VerifyError::Absent) => false,
            Err(VerifyError::Mismatch) => return drop_packet(DropReason::BadFingerprint),
        };
        match (message.class(), message.method()) {
            (Class::Request, method) => {
                let transaction_id = message.transaction_id();
                let request = Request {
                    from: *from,
                    method,
                    transaction_id,
                    len: datagram.len(),
                    fingerprint,
                };
                // A ticket of a sibling's; and what a sibling handed over in vain is not handed on.
                if self.via.is_none() {
                    if let Some(handled) = self.hand_over_ticket(now, &request, &message, datagram) {
                        return handled;
                    }
                } else if method != Method::REFRESH && self.allocations.find(from).is_none() {
                    return drop_packet(DropReason::NoAllocation);
                }
                Handled::Done(self.handle_request(now, &request, &message))
            }
            (Class::Indication, Method::SEND) => self.handle_send(now, from, &message),
            (Class::Indication, Method::BINDING) => drop_packet(DropReason::Keepalive),
            (Class::Indication, _) => drop_packet(DropReason::BadIndication),
            (Class::Success | Class::Error, _) => drop_packet(DropReason::UnexpectedResponse),
        }
    }

    fn handle_request(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        match message.method() {
            Method::BINDING => self.handle_binding(now, request, message),
            Method::ALLOCATE => self.handle_allocate(now, request, message),
            Method::REFRESH => self.handle_refresh(now, request, message),
            Method::CREATE_PERMISSION => self.handle_create_permission(now, request, message),
            Method::CHANNEL_BIND => self.handle_channel_bind(now, request, message),
            Method::CONNECT => self.handle_connect(now, request, message),
            Method::CONNECTION_BIND => self.handle_connection_bind(now, request, message),
            // A request of a method that we do not know, or that is an indication: its sender waits for an answer too.
            _ => self.reject(now, request, Reject::Code(Answer::BadRequest), None),
        }
    }

    /// Sends a success response with what `fill` adds, signed if the request was authenticated.
    pub(super) fn succeed(
        &mut self,
        request: &Request,
        signer: Option<&Signer>,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Verdict {
        let mut buffer = [0; MAX_ANSWER];
        match self.build(&mut buffer, request, Class::Success, signer, fill) {
            Some(message) => {
                self.outputs.transmit(request.from, message);
                if signer.is_none() {
                    Self::count_unauthenticated(&mut self.stats, request, message.len());
                }
                Verdict::Answered(Answer::Success)
            }
            None => Verdict::Dropped(DropReason::AnswerTooLong),
        }
    }

    /// Sends the error response for `reject`. Reason phrases are left empty: clients go by the number, and every byte counts
    /// when the source may be forged.
    pub(super) fn reject(&mut self, now: Now, request: &Request, reject: Reject, signer: Option<&Signer>) -> Verdict {
        if signer.is_none() && !self.admit_unauthenticated(now, &request.from) {
            return Verdict::Dropped(DropReason::RateLimited);
        }
        let answer = reject.answer();
        let Some(code) = error_code(answer) else {
            return Verdict::Dropped(DropReason::AnswerTooLong);
        };
        let config = &*self.config;
        let mut buffer = [0; MAX_ANSWER];
        let message = self.build(&mut buffer, request, Class::Error, signer, |builder| {
            if let Some(code) = ErrorCodeAttribute::new(code, "") {
                builder.attribute(&code);
            }
            match &reject {
                Reject::Code(_) => {}
                Reject::Challenge(_, realm) => {
                    // Minting costs an HMAC, so only a challenge pays for it.
                    let nonce = self.authenticator.nonce(now, &request.from);
                    let nonce = std::str::from_utf8(&nonce).ok().and_then(Nonce::new);
                    let realm = realm.as_deref().unwrap_or(&config.realm);
                    if let (Some(realm), Some(nonce)) = (Realm::new(realm), nonce) {
                        builder.attribute(&realm).attribute(&nonce);
                    }
                    if let Some(offered) = self.authenticator.offered() {
                        builder.attribute(&offered);
                    }
                    let third_party = config
                        .third_party
                        .as_ref()
                        .filter(|_| answer == Answer::Unauthenticated);
                    let third_party = third_party.and_then(|it| ThirdPartyAuthorization::new(it.server_name()));
                    if let Some(name) = third_party {
                        builder.attribute(&name);
                    }
                }
                Reject::Unknown(types) => {
                    builder.attribute(&UnknownAttributes(*types));
                }
                Reject::Alternate(alternate) => {
                    builder.attribute(&AlternateServer(alternate.addr));
                    // Who signs with SHA-256 knows the attribute; only a certificate makes it matter (RFC 8489 §10).
                    let is_secure = matches!(request.from.transport, Transport::Tls | Transport::Dtls);
                    let knows = signer.is_some_and(|signer| signer.kind == IntegrityKind::Sha256);
                    if let Some(domain) = alternate.domain.as_deref().filter(|_| is_secure && knows) {
                        builder.attribute(&AlternateDomain(domain.as_bytes()));
                    }
                }
            }
        });
        match message {
            Some(message) => {
                self.outputs.transmit(request.from, message);
                if signer.is_none() {
                    Self::count_unauthenticated(&mut self.stats, request, message.len());
                }
                Verdict::Answered(answer)
            }
            None => Verdict::Dropped(DropReason::AnswerTooLong),
        }
    }

    /// Counts an answer whose receiver may be somebody else than who asked.
    fn count_unauthenticated(stats: &mut Stats, request: &Request, answer: usize) {
        if request.from.transport == Transport::Udp {
            stats.unauthenticated_requests.add(request.len);
            stats.unauthenticated_answers.add(answer);
        }
    }

    /// Refuses a request whose sender is known, outside of any packet's turn.
    pub(super) fn refuse(&mut self, request: &Request, reject: Reject, signer: &Signer) -> Verdict {
        let answer = reject.answer();
        let mut buffer = [0; MAX_ANSWER];
        let message = self.build(&mut buffer, request, Class::Error, Some(signer), |builder| {
            if let Some(code) = error_code(answer).and_then(|code| ErrorCodeAttribute::new(code, "")) {
                builder.attribute(&code);
            }
        });
        match message {
            Some(message) => {
                self.outputs.transmit(request.from, message);
                Verdict::Answered(answer)
            }
            None => Verdict::Dropped(DropReason::AnswerTooLong),
        }
    }

    fn build<'b>(
        &self,
        buffer: &'b mut [u8],
        request: &Request,
        class: Class,
        signer: Option<&Signer>,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Option<&'b [u8]> {
        let mut builder = MessageBuilder::new(buffer, request.method, class, request.transaction_id);
        fill(&mut builder);
        if let Some(signer) = signer {
            if let Some(software) = self.config.software.as_deref().and_then(Software::new) {
                builder.attribute(&software);
            }
            builder.sign(signer.kind, &signer.key);
        }
        if request.fingerprint {
            builder.fingerprint();
        }
        let len = builder.finish().ok()?;
        buffer.get(..len)
    }

    /// Whether one more answer may go to a source that has shown no credentials. Streams cannot be forged.
    pub(super) fn admit_unauthenticated(&mut self, now: Now, from: &FiveTuple) -> bool {
        if from.transport != Transport::Udp {
            return true;
        }
        let source = self.source_of(from);
        let limit = self.config.limits.unauthenticated_per_second;
        self.throttle.admit(now.instant, source, limit)
    }

    /// Whether one more answer of NAT discovery may go to a source.
    pub(super) fn admit_discovery(&mut self, now: Now, from: &FiveTuple) -> bool {
        if from.transport != Transport::Udp {
            return true;
        }
        let source = self.source_of(from);
        let limit = self.config.nat_discovery.as_ref();
        let limit = limit.map_or(0, |discovery| discovery.answers_per_second);
        self.discovery_throttle.admit(now.instant, source, limit)
    }

    fn source_of(&self, from: &FiveTuple) -> IpAddr {
        let limits = &self.config.limits;
        client_prefix(from.client.0.ip(), limits.client_prefix_v4, limits.client_prefix_v6)
    }

    /// The time as buckets count it.
    #[inline]
    pub(super) fn ticks(&mut self, now: Now) -> Ticks {
        let epoch = *self.epoch.get_or_insert_with(|| self.ledger.epoch(now.instant));
        bucket::ticks(epoch, now.instant)
    }

    /// Counts a packet's verdict.
    #[inline]
    fn count(&mut self, handled: Handled) -> Handled {
        match handled.verdict() {
            Verdict::Relayed => self.stats.relayed += 1,
            Verdict::Answered(answer) => self.stats.answered[answer.index()] += 1,
            Verdict::Deferred => self.stats.pending += 1,
            Verdict::Dropped(reason) => self.stats.dropped[reason.index()] += 1,
        }
        handled
    }

    /// Counts the verdict of a request that was [`Verdict::Deferred`].
    pub(super) fn settle(&mut self, verdict: Verdict) {
        self.stats.pending -= 1;
        self.count(Handled::Done(verdict));
    }

    #[inline]
    fn next_deadline(&self) -> Option<Instant> {
        if let Some(overdue) = self.next_rejudging() {
            return Some(overdue);
        }
        let all = [self.timers.next(), self.retransmits.next_expiry(), self.journal.next()];
        all.into_iter().flatten().min()
    }

    /// Ends what is out of time, before anything else can see it. One comparison when nothing is.
    #[inline]
    pub(super) fn expire(&mut self, now: Now) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now.instant) {
            self.rejudge();
            self.retransmits.expire(now.instant);
            self.run_timers(now);
            self.journal.settle(now.instant);
        }
    }
}

/// Ends a packet without an answer.
pub(super) const fn drop_packet(reason: DropReason) -> Handled {
    Handled::Done(Verdict::Dropped(reason))
}

fn own_addrs(config: &Config) -> Box<[IpAddr]> {
    let relays = config
        .relay_addrs
        .iter()
        .flat_map(|relay| [relay.bind, relay.advertised]);
    let mut own: Vec<_> = relays
        .chain(config.own_addrs.iter().copied())
        .filter(|ip| !ip.is_unspecified())
        .collect();
    own.sort_unstable();
    own.dedup();
    own.into_boxed_slice()
}

const fn error_code(answer: Answer) -> Option<ErrorCode> {
    Some(match answer {
        Answer::Success => return None,
        Answer::TryAlternate => ErrorCode::TRY_ALTERNATE,
        Answer::BadRequest => ErrorCode::BAD_REQUEST,
        Answer::Unauthenticated => ErrorCode::UNAUTHENTICATED,
        Answer::Forbidden => ErrorCode::FORBIDDEN,
        Answer::MobilityForbidden => ErrorCode::MOBILITY_FORBIDDEN,
        Answer::UnknownAttribute => ErrorCode::UNKNOWN_ATTRIBUTE,
        Answer::AllocationMismatch => ErrorCode::ALLOCATION_MISMATCH,
        Answer::StaleNonce => ErrorCode::STALE_NONCE,
        Answer::AddressFamilyNotSupported => ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
        Answer::WrongCredentials => ErrorCode::WRONG_CREDENTIALS,
        Answer::UnsupportedTransportProtocol => ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL,
        Answer::ConnectionAlreadyExists => ErrorCode::CONNECTION_ALREADY_EXISTS,
        Answer::ConnectionTimeoutOrFailure => ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE,
        Answer::PeerAddressFamilyMismatch => ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH,
        Answer::AllocationQuotaReached => ErrorCode::ALLOCATION_QUOTA_REACHED,
        Answer::InsufficientCapacity => ErrorCode::INSUFFICIENT_CAPACITY,
    })
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("shard", &self.shard)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
