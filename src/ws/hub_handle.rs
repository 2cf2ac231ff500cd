//! The one hub of this process, shared by all sockets: a mutex around the state machine, a queue per connection, a timer.
//!
//! A call locks, runs the hub, moves its outputs into the queues, unlocks, and only then wakes the sockets. Frames are parsed
//! and tokens judged outside the lock; nothing inside it waits.

mod outputs;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use super::{
    Applicant, Authenticator, Bus, Config, IceList, IceSource, Pending, Verdict,
    outbox::{Bound, Outbox},
    per_ip::{PerIp, Slot},
    session::Opening,
    soon::Soon,
    stats_view::{RoomStats, StatsView},
};
use crate::signaling::{
    self, Admitted, AuthError, CloseCode, Connected, ConnectionId, Dialect, Frame, Full, Grants, Hub, IceHolder,
    IceUser, Identity, Needs, Now, Payload, RoomTopic, Sid, Stats, Topic,
};

/// One address has one in so many of the sessions that may wait for their owners.
const WAITING_SHARE: usize = 8;
/// Ended sessions that may wait until the relay is told.
const MAX_CUT_OFFS: usize = 16_384;
/// Clients that are given newer lists in a second because their rooms have other relays: each costs an HMAC, and some of them come to
/// the relay that is new to them.
const MOVES_PER_SECOND: usize = 1_000;
/// And where they are few, within this time.
const MOVED_WITHIN: Duration = Duration::from_secs(1);
/// So many places of sessions that wait no more may be kept.
const FEW: usize = 64;

/// The hub of this process with its clock and its sockets. Cheap to clone.
#[derive(Clone)]
pub struct HubHandle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    config: Config,
    /// [`Config::origins`] as of now.
    origins: ArcSwapOption<Vec<String>>,
    /// The process is about to end: no new sockets.
    draining: AtomicBool,
    authenticator: Arc<dyn Authenticator>,
    ice: Arc<dyn IceSource>,
    per_ip: Arc<PerIp>,
    /// Bounds the sessions of one address that wait for their owners.
    waiting_per_ip: Arc<PerIp>,
    /// Sessions that have not ended, those that say goodbye too.
    sessions: watch::Sender<usize>,
    started: Instant,
    limits: SessionLimits,
    /// Told when a deadline is sooner than the one the timer sleeps for.
    timer: Arc<Notify>,
}

struct State {
    hub: Hub,
    /// `None`: this process is alone.
    bus: Option<Arc<dyn Bus>>,
    /// Who takes from sessions what they hold of the relay.
    cut_off: Option<mpsc::Sender<Sid>>,
    /// By [`ConnectionId::index`]; the id tells an entry from a later one in the same place.
    outboxes: Vec<Option<(ConnectionId, Arc<Outbox>)>>,
    /// Sessions without a socket, by whose they are. Some may have ended meanwhile: they are found out when there are many, or
    /// when somebody is refused.
    waiting: HashMap<ConnectionId, Slot, RandomState>,
    /// Whose queues hold news that can wait a moment.
    soon: Soon,
    /// What the timer sleeps for.
    armed: Option<std::time::Instant>,
}

/// Reads both clocks. The runtime's clock, so that a test can stop it.
pub(crate) fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        instant: Instant::now().into_std(),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A connection that the hub has accepted; forgetting it ends it there.
pub(crate) struct Admission {
    pub(crate) hub: HubHandle,
    pub(crate) connection: ConnectionId,
    pub(crate) sid: Sid,
    pub(crate) outbox: Arc<Outbox>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        // Does nothing when the connection has ended in an orderly way before.
        self.hub.disconnect(self.connection, CloseCode::Abnormal);
        self.hub.shared.sessions.send_modify(|sessions| *sessions -= 1);
    }
}

/// What a session needs of the hub's limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLimits {
    pub(crate) frame_bytes: usize,
    pub(crate) ping_interval: Duration,
    pub(crate) dead_after: Duration,
}

/// Who asks, for a request that needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) sid: Sid,
    /// What came with the upgrade: a token for a hello without one, and where it came from.
    pub(crate) opening: &'a Opening,
}

impl<'a> Asker<'a> {
    /// As the authenticator sees it.
    fn applicant(&self, token: Option<&'a str>) -> Applicant<'a> {
        let place = self.opening.place.as_deref();
        Applicant {
            token,
            ip: self.opening.ip,
            origin: place.and_then(|place| place.origin.as_deref()),
            path: place.map(|place| &*place.path),
        }
    }
}

impl HubHandle {
    /// Starts a hub and its timer. `seed` must be fresh randomness. Must be called inside a tokio runtime; the timer ends
    /// with the last handle.
    pub fn start(
        mut hub: signaling::Config,
        ws: Config,
        authenticator: Arc<dyn Authenticator>,
        ice: Arc<dyn IceSource>,
        seed: [u8; 32],
    ) -> Self {
        let per_ip = Arc::new(PerIp::new(ws.connections_per_ip));
        // What a session is told again goes through the queue of its new socket, beside the welcome: were it more than fits, that
        // socket would be closed as a slow reader's, and the next one too.
        hub.resume_bytes = hub.resume_bytes.min(ws.queue_bytes / 2);
        hub.resume_frames = hub.resume_frames.min(ws.queue_messages / 2);
        let share = u32::try_from(hub.away_sessions / WAITING_SHARE).unwrap_or(u32::MAX);
        let waiting_per_ip = Arc::new(PerIp::new(share.max(1)));
        let timer = Arc::new(Notify::new());
        let limits = SessionLimits {
            frame_bytes: hub.frame_bytes,
            ping_interval: hub.ping_interval,
            dead_after: hub.dead_after,
        };
        let state = State {
            hub: Hub::new(hub, seed),
            bus: None,
            cut_off: None,
            outboxes: Vec::new(),
            waiting: HashMap::default(),
            soon: Soon::new(),
            armed: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            origins: ArcSwapOption::new(ws.origins.clone().map(Arc::new)),
            config: ws,
            draining: AtomicBool::new(false),
            authenticator,
            ice,
            per_ip,
            waiting_per_ip,
            sessions: watch::Sender::new(0),
            started: Instant::now(),
            limits,
            timer: Arc::clone(&timer),
        });
        tokio::spawn(run_timer(Arc::downgrade(&shared), timer));
        Self { shared }
    }

    /// Lets the hub speak to other replicas. To be called before the first connection, with [`signaling::Config::bus`] set.
    pub fn attach(&self, bus: Arc<dyn Bus>) {
        self.shared.lock().bus = Some(bus);
    }

    /// Sessions that operators ended by way of other replicas, from now on: whoever takes them takes from them what they hold of the
    /// relay. One taker at a time.
    pub fn cut_offs(&self) -> mpsc::Receiver<Sid> {
        let (sender, receiver) = mpsc::channel(MAX_CUT_OFFS);
        self.shared.lock().cut_off = Some(sender);
        receiver
    }

    /// The bus can be used, if `ready` says so under the hub's lock; gives what it says.
    pub fn bus_connected(&self, ready: impl FnOnce() -> bool) -> bool {
        self.with_hub(|hub, now| {
            let ready = ready();
            if ready {
                hub.bus_connected(now);
            }
            ready
        })
    }

    /// The bus cannot be used.
    pub fn bus_lost(&self) {
        self.with_hub(|hub, now| hub.bus_lost(now));
    }

    /// A subscription is in force.
    pub fn subscribed(&self, topic: RoomTopic) {
        self.with_hub(|hub, now| hub.subscribed(now, topic));
    }

    /// What came by the bus.
    pub fn handle_remote(&self, topic: Topic, payload: &[u8]) {
        self.with_hub(|hub, now| hub.handle_remote(now, topic, payload));
    }

    /// The limits of the sockets, as they were at the start.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Lets browsers of other origins connect from now on ([`Config::origins`]). Who is connected stays.
    pub fn replace_origins(&self, origins: Option<Vec<String>>) {
        self.shared.origins.store(origins.map(Arc::new));
    }

    pub(crate) fn origins(&self) -> Option<Arc<Vec<String>>> {
        self.shared.origins.load_full()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether the process has as many connections as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.lock().hub.is_full()
    }

    pub(crate) fn per_ip(&self) -> &Arc<PerIp> {
        &self.shared.per_ip
    }

    pub(crate) fn session_limits(&self) -> SessionLimits {
        self.shared.limits
    }

    /// The counters and gauges as of now.
    pub fn stats(&self) -> Stats {
        self.shared.lock().hub.stats()
    }

    /// What `/api/signaling/stats` shows: at most `rooms` rooms with at most `peers` ids each.
    pub fn stats_view(&self, rooms: usize, peers: usize) -> StatsView {
        let (stats, listed) = {
            let state = self.shared.lock();
            (state.hub.stats(), state.hub.rooms(rooms, peers))
        };
        let bus = &stats.bus;
        let (total_rooms, total_peers, replicas) = if bus.connected {
            (bus.total_rooms, bus.total_peers, bus.nodes + 1)
        } else {
            (stats.rooms, stats.peers, 1)
        };
        StatsView {
            total_rooms,
            total_peers,
            replicas,
            rooms: listed.into_iter().map(RoomStats::from).collect(),
            connections: stats.connections,
            messages: stats.messages.total(),
            deliveries: stats.deliveries,
            rejected: stats.refused.total(),
            uptime: self.shared.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// A random UUID, for clients that ask for an id before they connect.
    pub(crate) fn fresh_uuid(&self) -> String {
        self.shared.lock().hub.fresh_uuid()
    }

    /// The ids of at most `most` PeerJS clients that gave that key.
    pub(crate) fn peerjs_peers(&self, key: &str, most: usize) -> Vec<Arc<str>> {
        self.shared.lock().hub.peers_of(Dialect::PeerJs.realm(), key, most)
    }

    /// Tells every client to come back after a random time within `after`, at `url` if given, and takes no new ones: those
    /// who come back belong elsewhere. Closes nothing.
    pub fn drain(&self, after: (Duration, Duration), url: Option<&str>) {
        self.shared.draining.store(true, Ordering::Release);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.with_hub(|hub, _| hub.drain((millis(after.0), millis(after.1)), url));
    }

    /// Closes every connection with 4003. They say goodbye in their own time: [`Self::emptied`].
    pub fn close_all(&self) {
        self.with_hub(|hub, _| hub.close_all());
    }

    /// Waits until no session is left, those included that only wait for their client to close.
    pub async fn emptied(&self) {
        // Fails when the sender is gone, which `self` holds.
        let _ = self
            .shared
            .sessions
            .subscribe()
            .wait_for(|sessions| *sessions == 0)
            .await;
    }

    pub(crate) fn connect(&self, dialect: Dialect, address: Option<IpAddr>) -> Result<Admission, Full> {
        let outbox = Arc::new(Outbox::default());
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let Connected { connection, sid } = state.hub.connect(now(), dialect)?;
        if let Some(address) = address {
            state.hub.set_address(connection, address);
        }
        if state.outboxes.len() <= connection.index() {
            state.outboxes.resize_with(connection.index() + 1, || None);
        }
        if let Some(slot) = state.outboxes.get_mut(connection.index()) {
            *slot = Some((connection, Arc::clone(&outbox)));
        }
        self.shared.rearm(state);
        drop(guard);
        self.shared.sessions.send_modify(|sessions| *sessions += 1);
        Ok(Admission {
            hub: self.clone(),
            connection,
            sid,
            outbox,
        })
    }

    pub(crate) fn disconnect(&self, connection: ConnectionId, code: CloseCode) {
        self.with_hub(|hub, now| hub.disconnect(now, connection, code));
        self.shared.lock().forget(connection);
    }

    /// The socket of a connection has ended, which was counted for `owner`. If its session waits, it takes one of the places
    /// that its address has for that; without one it ends as well, so that one address cannot have them all.
    pub(crate) fn share_waiting(&self, connection: ConnectionId, owner: Option<IpAddr>) {
        let Some(owner) = owner else { return };
        let refused = {
            let mut guard = self.shared.lock();
            let state = &mut *guard;
            if !state.hub.is_away(connection) {
                return;
            }
            if state.waiting.len() > 2 * state.hub.away_sessions() + FEW {
                state.forget_returned();
            }
            let open = || self.shared.waiting_per_ip.try_open(Some(owner));
            let place = open().or_else(|| {
                state.forget_returned();
                open()
            });
            match place {
                Some(place) => {
                    state.waiting.insert(connection, place);
                    false
                }
                None => true,
            }
        };
        if refused {
            self.with_hub(|hub, _| hub.refuse_waiting(connection));
        }
    }

    /// One frame from a socket. Where its sender has to be judged by somebody else, that verdict is to be waited for, and the
    /// frame read again and handed to [`Self::handle_judged`] before the next one.
    #[must_use]
    pub(crate) fn handle_frame(&self, asker: Asker<'_>, frame: Frame<'_>) -> Option<Pending> {
        if frame.needs() == Needs::Nothing {
            self.with_hub(|hub, now| hub.handle_frame(now, asker.connection, frame));
            return None;
        }
        // Charged first: judging tokens and minting credentials is not free.
        let admitted = self.with_hub(|hub, now| hub.try_admit(now, asker.connection, frame))?;
        let token = match admitted.needs() {
            Needs::Nothing | Needs::Ice => None,
            Needs::Identity { token } => Some(Some(token)),
            Needs::Name if self.shared.lock().hub.is_welcomed(asker.connection) => None,
            Needs::Name => Some(asker.opening.token.as_deref()),
            Needs::Welcome { token } => Some(token.or(asker.opening.token.as_deref())),
        };
        let identity = match token.map(|token| self.shared.authenticator.authenticate(asker.applicant(token))) {
            None => None,
            Some(Verdict::Now(identity)) => Some(identity),
            Some(Verdict::Later(pending)) => return Some(pending),
        };
        self.answer_with_grants(asker, admitted, identity);
        None
    }

    /// A frame that was admitted before, now that its sender is known. What the hub has ended meanwhile stays ended.
    pub(crate) fn handle_judged(&self, asker: Asker<'_>, frame: Frame<'_>, identity: Result<Identity, AuthError>) {
        if let Some(admitted) = frame.readmitted() {
            self.answer_with_grants(asker, admitted, Some(identity));
        }
    }

    fn answer_with_grants(
        &self,
        asker: Asker<'_>,
        admitted: Admitted<'_>,
        identity: Option<Result<Identity, AuthError>>,
    ) {
        let user = match (admitted.needs(), &identity) {
            (Needs::Ice, _) => self.shared.lock().hub.ice_user(asker.connection),
            (Needs::Welcome { .. }, Some(Ok(identity))) if identity.rights.turn => {
                let session = self.shared.lock().hub.session_of(asker.connection, &admitted);
                let sid = session.unwrap_or(asker.sid);
                Some(IceUser::new(identity, sid.as_str()))
            }
            _ => None,
        };
        let room = user
            .as_ref()
            .and_then(|_| self.shared.lock().hub.ice_room(asker.connection));
        let list = user.map(|user| {
            let asker = asker.opening.for_ice(&user, room.as_deref());
            self.shared.ice.ice_servers(&asker)
        });
        let ice = list.as_ref().map(IceList::as_ice);
        self.with_hub(|hub, now| hub.handle_request(now, asker.connection, admitted, Grants { identity, ice }));
    }

    /// Whether it is worth keeping from where a socket was opened.
    pub(crate) fn looks_at_origins(&self) -> bool {
        self.shared.authenticator.looks_at_origins()
    }

    /// Gives a connection newer ICE credentials, unasked.
    pub(crate) fn renew_ice(&self, connection: ConnectionId, opening: &Opening) {
        let (user, room) = self.ice_for(connection);
        let Some(user) = user else { return };
        let list = self.shared.ice.ice_servers(&opening.for_ice(&user, room.as_deref()));
        self.with_hub(|hub, now| hub.push_ice(now, connection, list.as_ice()));
    }

    /// What to tell a connection before anything else: the ICE servers of its room, where those have another relay than the list
    /// it has. Mints only then.
    pub(crate) fn room_ice(&self, connection: ConnectionId, opening: &Opening) -> Option<Payload> {
        let (user, room) = self.ice_for(connection);
        let (user, room) = (user?, room?);
        let asker = opening.for_ice(&user, Some(&room));
        let wanted = self.shared.ice.relay_of(&asker)?;
        if self.shared.lock().hub.ice_relay(connection) == Some(wanted) {
            return None;
        }
        let list = self.shared.ice.ice_servers(&asker);
        self.with_hub(|hub, now| hub.room_ice(now, connection, list.as_ice()))
    }

    /// Whom a list for a connection is made out to, and for which room.
    fn ice_for(&self, connection: ConnectionId) -> (Option<IceUser>, Option<Box<str>>) {
        let state = self.shared.lock();
        (state.hub.ice_user(connection), state.hub.ice_room(connection))
    }

    /// Gives every client newer ICE credentials within that time: after a change of the secrets or of the list.
    pub fn renew_all_ice(&self, within: Duration) {
        self.with_hub(|hub, now| hub.renew_all_ice(now, within));
    }

    /// Gives newer ICE credentials to everybody in a room whose relay went, or is another room's by now: soon, at random, and no more
    /// than a thousand of them in a second. Says how many.
    pub fn renew_moved_ice(&self) -> usize {
        let holders = self.shared.lock().hub.ice_holders();
        // Outside of the lock: each costs a hash.
        let is_moved = |holder: &IceHolder| {
            let ice = &self.shared.ice;
            !ice.keeps_relay(holder.realm.as_deref(), &holder.room, holder.relay)
        };
        let moved: Vec<ConnectionId> = holders
            .iter()
            .filter(|holder| is_moved(holder))
            .map(|holder| holder.connection)
            .collect();
        let count = moved.len();
        if count > 0 {
            let seconds = Duration::from_secs((count / MOVES_PER_SECOND) as u64);
            let within = seconds.max(MOVED_WITHIN);
            self.with_hub(|hub, now| hub.renew_ice_of(now, moved, within));
        }
        count
    }

    /// What an operator asks of the hub, or has it do: under its lock, so nothing that takes long.
    pub fn moderate<T>(&self, call: impl FnOnce(&mut Hub, Now) -> T) -> T {
        self.with_hub(call)
    }

    fn with_hub<T>(&self, call: impl FnOnce(&mut Hub, Now) -> T) -> T {
        self.shared.with_hub(call)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The hub does not panic on any input; were it to, serving on with consistent queues beats refusing everybody.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_hub<T>(&self, call: impl FnOnce(&mut Hub, Now) -> T) -> T {
        let mut guard = self.lock();
        let now = now();
        let result = call(&mut guard.hub, now);
        let bound = Bound {
            frames: self.config.queue_messages,
            bytes: self.config.queue_bytes,
        };
        let wakers = guard.move_outputs(now, bound);
        self.rearm(&mut guard);
        drop(guard);
        for waker in wakers {
            waker.wake();
        }
        result
    }

    /// Wakes those whose news has waited for long enough.
    fn hurry(&self) {
        let wakers = self.lock().hurry(now().instant);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes the timer when something is due before what it sleeps for.
    fn rearm(&self, state: &mut State) {
        if let Some(deadline) = state.next_deadline()
            && state.armed.is_none_or(|armed| deadline < armed)
        {
            state.armed = Some(deadline);
            self.timer.notify_one();
        }
    }
}

/// Sleeps until the hub's next deadline, again and again, until the last handle is gone.
async fn run_timer(shared: Weak<Shared>, sooner: Arc<Notify>) {
    /// How often the timer looks whether anybody still needs it.
    const LOOK: Duration = Duration::from_secs(5);
    loop {
        let Some(strong) = shared.upgrade() else { return };
        strong.with_hub(|hub, now| hub.handle_timeout(now));
        strong.hurry();
        let next = {
            let mut state = strong.lock();
            state.armed = state.next_deadline();
            state.armed
        };
        // Held while sleeping, this would never be the last handle.
        drop(strong);
        let latest = Instant::now() + LOOK;
        let until = next.map_or(latest, |next| Instant::from_std(next).min(latest));
        tokio::select! {
            () = sooner.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHandle")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
