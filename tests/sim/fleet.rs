//! Several shards of one process, the ways between them, and a model beside them that says of each packet whether it may pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::UnixTime;
use meetpoint::turn::{
    Answer, BindError, Census, Config, ConnectError, ConnectionEnd, Destination, Filter, FiveTuple, Handled, Ledger,
    PeerRoute, RelayedAddr, ReservationToken, Reservations, Shard, Verdict,
};
use meetpoint::wire::attribute::{ChangeRequest, ResponsePort, XorPeerAddress};
use meetpoint::wire::{Class, Message, Method, PacketKind, demux};

use crate::history::History;
use crate::relay::Lab;

/// RFC 8656 §9 and §12.
const PERMISSION: Duration = Duration::from_secs(300);
const CHANNEL: Duration = Duration::from_secs(600);

/// What one client was granted, whatever address it has now: until when.
#[derive(Default)]
pub(crate) struct Granted {
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<SocketAddr, Duration>,
}

pub(crate) struct Fleet {
    pub(crate) labs: Vec<Lab>,
    parked: Vec<(ReservationToken, SocketAddr)>,
    pub(crate) ledger: Ledger,
    pub(crate) reservations: Reservations,
    pub(crate) config: Config,
    /// What its events said.
    pub(crate) history: History,
    /// Nothing is relayed to these, by the rules in force now: by realm, those that are gone among them.
    pub(crate) denied: BTreeMap<String, ipnet::IpNet>,
    /// Which realm each client belongs to, if it gets in at all.
    pub(crate) realms: Vec<&'static str>,
    pub(crate) clock: Duration,
    /// Whose address it is, or was: no address is ever used by two.
    pub(crate) owners: BTreeMap<SocketAddr, usize>,
    granted: BTreeMap<usize, Granted>,
    /// Streams that were handed over to the shard of their data connection.
    moved: BTreeMap<SocketAddr, usize>,
    /// What went to clients since it was last taken.
    pub(crate) sent: Vec<(FiveTuple, Vec<u8>)>,
    pub(crate) seen: Seen,
}

/// A run is worth something only if all of it happened.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub(crate) to_peers: u64,
    pub(crate) to_clients: u64,
    pub(crate) by_sibling: u64,
    pub(crate) by_owner: u64,
    pub(crate) connects: u64,
    pub(crate) accepted: u64,
    pub(crate) asked_about_nat: u64,
    pub(crate) answered_from_elsewhere: u64,
    pub(crate) answered_at_another_port: u64,
}

/// What the peers of the simulation are; everything else in it is closed.
fn is_open(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 20,
        IpAddr::V6(v6) => v6.segments()[0] == 0x2600,
    }
}

impl Fleet {
    pub(crate) fn new(config: Config, shards: u16, foreign: &[u16]) -> Self {
        let (ledger, reservations) = (Ledger::new(), Reservations::new());
        let mut labs: Vec<Lab> = (0..shards)
            .map(|index| {
                let shard = Shard { index, count: shards };
                Lab::shard(config.clone(), shard, ledger.clone(), reservations.clone())
            })
            .collect();
        let now = labs[0].now;
        for lab in &mut labs {
            lab.now = now;
            lab.foreign = foreign.iter().copied().collect();
        }
        Self {
            labs,
            parked: Vec::new(),
            ledger,
            reservations,
            config,
            history: History::default(),
            denied: BTreeMap::new(),
            realms: Vec::new(),
            clock: Duration::ZERO,
            owners: BTreeMap::new(),
            granted: BTreeMap::new(),
            moved: BTreeMap::new(),
            sent: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// The shard that the kernel picks for a client.
    pub(crate) fn shard_of(&self, client: SocketAddr) -> usize {
        let picked = usize::from(client.port()) * 7 % self.labs.len();
        self.moved.get(&client).copied().unwrap_or(picked)
    }

    /// Lets one shard do something. Reserved sockets are parked for all of them together.
    pub(crate) fn with<T>(&mut self, shard: usize, act: impl FnOnce(&mut Lab) -> T) -> T {
        let lab = &mut self.labs[shard];
        std::mem::swap(&mut lab.parked, &mut self.parked);
        // What was let in under an earlier configuration may still be bound.
        let is_prompt = lab.held.is_empty();
        let done = act(lab);
        std::mem::swap(&mut lab.parked, &mut self.parked);
        for event in lab.events.drain(..) {
            let configured = is_prompt.then_some(&self.config);
            self.history.note(&event, configured);
        }
        self.sent.append(&mut lab.sent);
        done
    }

    /// Lets time pass until `at`, and runs every timer of every shard at its time.
    pub(crate) fn advance(&mut self, at: Duration) {
        let time = at.saturating_sub(self.clock);
        for shard in 0..self.labs.len() {
            self.with(shard, |lab| lab.advance(time));
        }
        self.clock = at.max(self.clock);
    }

    /// The clock on the wall jumps; the other one does not.
    pub(crate) fn jump(&mut self, seconds: i64) {
        for lab in &mut self.labs {
            lab.now.unix = UnixTime(lab.now.unix.0.saturating_add_signed(seconds));
        }
    }

    pub(crate) fn reconfigure(&mut self, config: Config) {
        let shared = Arc::new(config.clone());
        self.config = config;
        let before = self.history.look(&mut self.labs);
        for shard in 0..self.labs.len() {
            self.with(shard, |lab| {
                lab.server.reconfigure(Arc::clone(&shared));
                lab.drain();
            });
        }
        self.history.forget_gone(&before, &mut self.labs);
    }

    /// Reports one bind that was held back, if there is one.
    pub(crate) fn report(&mut self, shard: usize, result: Result<(), BindError>) {
        self.with(shard, |lab| {
            if !lab.held.is_empty() {
                lab.report(result);
            }
        });
    }

    /// A packet of a client, or of somebody who forged its address.
    pub(crate) fn client(&mut self, from: &FiveTuple, bytes: &[u8]) {
        let mut shard = self.shard_of(from.client.0);
        if from.transport.is_stream()
            && let Some(elsewhere) = self.labs[shard].server.belongs_elsewhere(bytes)
        {
            shard = usize::from(elsewhere);
            self.moved.insert(from.client.0, shard);
        }
        let asked = self.labs[shard].connects.len();
        let sent = self.sent.len();
        let mut handled = self.with(shard, |lab| lab.client(from, bytes));
        if let Ok(request) = Message::parse(bytes)
            && request.method() == Method::BINDING
        {
            self.check_binding(from, &request, bytes.len(), sent);
        }
        let mut owner = shard;
        if let Handled::Forward(forward) = handled
            && let Destination::Owner { shard: to, client } = forward.to
        {
            assert_eq!(&client, from);
            self.seen.by_owner += 1;
            owner = usize::from(to);
            handled = self.with(owner, |lab| {
                let handled = lab.server.handle_handed_over(lab.now, shard as u16, from, bytes);
                lab.drain();
                lab.check();
                handled
            });
        }
        for (_, _, peer, route) in &self.labs[shard].connects[asked.min(self.labs[shard].connects.len())..] {
            assert_eq!(*route == PeerRoute::OwnRelay, self.is_relayed(peer.ip()), "{peer}");
            assert!(
                !self.is_denied(self.realm_of(from.client.0), peer.ip()) && is_open(peer.ip()),
                "{peer} is connected to"
            );
            self.seen.connects += 1;
        }
        let who = self.owners.get(&from.client.0).copied();
        self.grant(who, &handled, bytes);
        let Handled::Forward(forward) = handled else { return };
        let payload = &bytes[forward.payload()];
        let by_channel = demux(bytes) == PacketKind::ChannelData;
        match forward.to {
            Destination::Peer { relay, peer } => {
                self.seen.to_peers += 1;
                assert!(self.labs[owner].sockets.contains_key(&relay), "{relay} has no socket");
                self.assert_granted(who, peer.0, by_channel);
            }
            Destination::Client(to) => self.delivered(&to, None),
            Destination::Sibling { to, from, otherwise } => {
                self.seen.by_sibling += 1;
                assert_eq!(otherwise, None, "nothing of this machine is open");
                self.assert_granted(who, to.0, by_channel);
                self.peer(to.0, from.0, payload);
            }
            Destination::Owner { .. } => panic!("handed over twice"),
        }
    }

    /// A packet of a peer to a relayed address, from without or from a sibling.
    pub(crate) fn peer(&mut self, relayed: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        let found = (0..self.labs.len())
            .find_map(|shard| Some((shard, self.labs[shard].server.relay_at(RelayedAddr(relayed))?)));
        let Some((shard, relay)) = found else { return };
        match self.with(shard, |lab| lab.peer(relay, peer, payload)) {
            Handled::Forward(forward) => match forward.to {
                Destination::Client(to) => self.delivered(&to, Some(peer)),
                other => panic!("what comes from a peer goes to a client and not to {other:?}"),
            },
            Handled::Done(verdict) => assert_ne!(verdict, Verdict::Relayed),
        }
    }

    /// A peer that was connected to answers, or does not; a connection that is there ends.
    pub(crate) fn settle_connection(&mut self, shard: usize, is_there: bool) {
        let result = if is_there { Ok(()) } else { Err(ConnectError) };
        self.with(shard, |lab| {
            if !lab.connects.is_empty() {
                lab.connected(result);
            } else if let Some(key) = lab.connections.keys().next().copied() {
                lab.ended(key, ConnectionEnd::Finished);
            }
        });
    }

    /// A peer connects to a relayed address.
    pub(crate) fn accept(&mut self, relayed: SocketAddr, peer: SocketAddr) {
        let found = (0..self.labs.len())
            .find_map(|shard| Some((shard, self.labs[shard].server.relay_at(RelayedAddr(relayed))?)));
        let Some((shard, relay)) = found else { return };
        let accepted = self.with(shard, |lab| lab.accept_at(relay, peer));
        if accepted.is_ok() {
            self.seen.accepted += 1;
            let lab = &self.labs[shard];
            let page = lab.server.page(lab.now, &Filter::default(), 0, 100);
            let mut views = page.allocations.iter();
            let owner = views.find(|view| view.relayed.contains(&relayed)).unwrap();
            assert!(
                !self.is_denied(&owner.realm, peer.ip()),
                "{peer} is denied by the rules of now"
            );
        }
    }

    /// Whoever is asked about a NAT answers nobody but the address that asked, from one of its own four, and no more than once.
    fn check_binding(&mut self, from: &FiveTuple, request: &Message<'_>, len: usize, sent: usize) {
        let answers = &self.sent[sent..];
        assert!(answers.len() <= 1);
        self.seen.asked_about_nat += 1;
        let Some((to, answer)) = answers.first() else { return };
        let is_success = Message::parse(answer).unwrap().class() == Class::Success;
        assert_eq!((to.transport, to.client.0.ip()), (from.transport, from.client.0.ip()));
        // Headers, four addresses of IPv6 and a REALM or SOFTWARE at most.
        assert!(answer.len() <= len + 200, "{} for {len}", answer.len());
        let change = request.find::<ChangeRequest>().ok().flatten().unwrap_or_default();
        let port = request.find::<ResponsePort>().ok().flatten();
        let places = self.config.nat_discovery.as_ref().filter(|_| is_success);
        let place = places.and_then(|all| all.places.first());
        let other = |own: &SocketAddr| {
            place.map_or(*own, |place| {
                let ip = place.addrs.iter().map(|addr| addr.bind).find(|ip| *ip != own.ip());
                let port = place.ports.into_iter().find(|port| *port != own.port());
                SocketAddr::new(ip.unwrap(), port.unwrap())
            })
        };
        let (own, other) = (from.server.0, other(&from.server.0));
        let expected = SocketAddr::new(
            if change.change_ip { other.ip() } else { own.ip() },
            if change.change_port { other.port() } else { own.port() },
        );
        assert_eq!(to.server.0, expected, "{change:?}");
        let is_served = place.is_some() && self.config.nat_discovery.as_ref().is_some_and(|all| all.response_port);
        let port = port.filter(|_| is_served).map_or(from.client.0.port(), |port| port.0);
        assert_eq!(to.client.0.port(), port);
        self.seen.answered_from_elsewhere += u64::from(to.server != from.server);
        self.seen.answered_at_another_port += u64::from(to.client != from.client);
    }

    /// The realm of whom an address belongs to.
    fn realm_of(&self, client: SocketAddr) -> &'static str {
        let who = self.owners.get(&client);
        who.map_or("nobody's", |who| self.realms[*who])
    }

    fn is_relayed(&self, ip: IpAddr) -> bool {
        self.config.relay_addrs.iter().any(|relay| relay.advertised == ip)
    }

    pub(crate) fn gone(&mut self, client: &FiveTuple) {
        let shard = self.shard_of(client.client.0);
        self.with(shard, |lab| lab.gone(client));
    }

    /// Remembers what the server has said yes to.
    fn grant(&mut self, who: Option<usize>, handled: &Handled, bytes: &[u8]) {
        let (Some(who), Handled::Done(Verdict::Answered(Answer::Success))) = (who, handled) else {
            return;
        };
        let Ok(message) = Message::parse(bytes) else { return };
        if message.class() != Class::Request {
            return;
        }
        let clock = self.clock;
        let granted = self.granted.entry(who).or_default();
        let peers = message.find_all::<XorPeerAddress>().map(|peer| peer.unwrap().0);
        match message.method() {
            Method::CREATE_PERMISSION => granted
                .permissions
                .extend(peers.map(|peer| (peer.ip(), clock + PERMISSION))),
            Method::CHANNEL_BIND => {
                for peer in peers.take(1) {
                    granted.permissions.insert(peer.ip(), clock + PERMISSION);
                    granted.channels.insert(peer, clock + CHANNEL);
                }
            }
            _ => {}
        }
    }

    /// No packet to a peer without a permission, or a channel, that was granted and is in time, under the rules of now.
    fn assert_granted(&self, who: Option<usize>, peer: SocketAddr, by_channel: bool) {
        let granted = who.and_then(|who| self.granted.get(&who));
        let until = granted.and_then(|granted| {
            if by_channel {
                granted.channels.get(&peer).copied()
            } else {
                granted.permissions.get(&peer.ip()).copied()
            }
        });
        assert!(
            until.is_some_and(|until| self.clock < until),
            "{peer} got a packet of {who:?} that it had no permission for: {until:?} at {:?}",
            self.clock
        );
        let realm = who.map_or("nobody's", |who| self.realms[who]);
        assert!(
            !self.is_denied(realm, peer.ip()),
            "{peer} is denied by the rules of {realm} now"
        );
    }

    /// What goes to a client comes from somebody it has a permission for.
    fn delivered(&mut self, to: &FiveTuple, peer: Option<SocketAddr>) {
        self.seen.to_clients += 1;
        let who = self.owners.get(&to.client.0);
        let granted = who
            .and_then(|who| self.granted.get(who))
            .expect("it asked for something");
        // What is hairpinned comes from a relayed address.
        let from: BTreeSet<IpAddr> = match peer {
            Some(peer) => [peer.ip()].into(),
            None => self.config.relay_addrs.iter().map(|relay| relay.advertised).collect(),
        };
        let permitted = from
            .iter()
            .any(|ip| granted.permissions.get(ip).is_some_and(|until| self.clock < *until));
        assert!(
            permitted,
            "{to:?} got a packet of {from:?} that it had no permission for"
        );
        let realm = self.realm_of(to.client.0);
        assert!(peer.is_none_or(|peer| !self.is_denied(realm, peer.ip())));
    }

    fn is_denied(&self, realm: &str, ip: IpAddr) -> bool {
        self.denied.get(realm).is_some_and(|net| net.contains(&ip))
    }

    /// What is true between any two packets.
    pub(crate) fn check(&mut self) {
        self.history.check(&mut self.labs);
        let sum = |of: fn(&Lab) -> usize| self.labs.iter().map(of).sum::<usize>();
        assert_eq!(self.ledger.total() as usize, sum(|lab| lab.server.allocations()));
        let held = sum(|lab| lab.held.len());
        let active = sum(|lab| lab.server.stats().allocations_active.iter().flatten().sum::<u64>() as usize);
        let sockets = sum(|lab| lab.sockets.len());
        assert!(
            sockets >= active && (held > 0 || sockets == active),
            "{sockets} sockets for {active}"
        );
        let reserved = self.reservations.len();
        assert!(reserved >= self.parked.len() && (held > 0 || reserved == self.parked.len()));
        let mut bound = BTreeSet::new();
        let parked = self.parked.iter().map(|(_, at)| at);
        for at in self.labs.iter().flat_map(|lab| lab.sockets.values()).chain(parked) {
            assert!(bound.insert(*at), "{at} is bound twice");
        }
        for lab in &self.labs {
            lab.check();
            let stats = lab.server.stats();
            let living = stats.allocations_created - stats.allocations_closed.iter().sum::<u64>();
            let census = lab.server.census();
            let being_bound = census.pending - lab.connects.len();
            assert_eq!(living as usize + being_bound, census.allocations, "{stats:?}");
            assert_eq!(census.connections, lab.connects.len() + lab.connections.len());
            assert_eq!(census.permissions[0], census.permissions[1]);
            assert_eq!(census.channels[0], census.channels[1]);
            assert!(census.permissions[0] >= stats.permissions_active as usize);
        }
    }

    /// Nothing is left of anything, and everything that began has ended.
    pub(crate) fn assert_empty(&mut self) {
        assert!(self.parked.is_empty(), "{:?}", self.parked);
        for shard in 0..self.labs.len() {
            // A look at the routes that others have closed.
            let nobody = crate::relay::five_tuple("198.51.100.200:9");
            self.with(shard, |lab| lab.client(&nobody, &[0xFF; 8]));
            let lab = &self.labs[shard];
            lab.assert_empty();
            assert_eq!(lab.server.census(), Census::default(), "shard {shard}");
            assert_eq!(lab.server.poll_timeout(), None, "shard {shard} waits for something");
            let stats = lab.server.stats();
            assert_eq!(stats.allocations_created, stats.allocations_closed.iter().sum::<u64>());
            assert_eq!(stats.moves_begun, stats.moves_ended.iter().sum::<u64>());
            assert_eq!(stats.events_dropped, 0);
        }
        self.history.assert_told(&mut self.labs);
    }
}
