//! One life of the backplane: both connections from the first byte to whatever ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use redis::{Pipeline, PushInfo, PushKind, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::bounded::Unparsed;
use super::channel::{Channels, Named};
use super::connection::{Asker, Dialer};
use super::driver::Receiver;
use super::fault::Fault;
use super::outgoing::{Outgoing, To};
use crate::fleet::FleetTopic;
use crate::signaling::{NodeId, RoomTopic, Topic};
use crate::telemetry::BackplaneMetrics;
use crate::telemetry::labels::{BackplaneFault, BackplaneState};

/// How often a replica publishes to itself.
const ECHO_EVERY: Duration = Duration::from_secs(1);

/// Most messages and bytes that go to Redis in one piece. The next piece waits for its answers.
const BATCH: (usize, usize) = (2048, 1 << 20);

/// Most rooms that one command subscribes to.
const ROOMS: usize = 512;

/// What Redis has confirmed.
type Rooms = HashSet<RoomTopic, RandomState>;

/// What every life begins with.
pub(super) struct Session {
    pub(super) dialer: Dialer,
    pub(super) channels: Channels,
    pub(super) node: NodeId,
    pub(super) outgoing: Outgoing,
    pub(super) receiver: Arc<dyn Receiver>,
    pub(super) metrics: BackplaneMetrics,
}

/// How a life ended.
pub(super) struct Ended {
    pub(super) fault: Fault,
    /// How long the hub had a backplane; `None` if it never had.
    pub(super) lived: Option<Duration>,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self { fault, lived: None }
    }
}

impl Session {
    /// Connects, subscribes, tells the hub, and serves until something breaks. The hub has been told of the end when this returns.
    pub(super) async fn run(&self, up: impl FnOnce()) -> Ended {
        let ended = self.try_run(up).await.unwrap_or_else(Ended::from);
        // Whatever it ended with: until the next one nobody takes anything.
        self.outgoing.close();
        self.metrics.subscriptions.set(0);
        ended
    }

    async fn try_run(&self, up: impl FnOnce()) -> Result<Ended, Fault> {
        let inbound = Arc::new(Inbound::new(self));
        let pushes = {
            let inbound = Arc::clone(&inbound);
            move |push| {
                inbound.take(push);
                Ok::<_, std::convert::Infallible>(())
            }
        };
        let mut listening = self.dialer.listen(pushes, &inbound.unparsed).await?;
        let mut publishing = self.dialer.connect().await?;
        let ended = {
            let (listener, listener_ended) = listening.parts();
            let (publisher, publisher_ended) = publishing.parts();
            let rooms = self.begin(listener, &inbound).await?;
            let began = Instant::now();
            up();
            let fault = tokio::select! {
                fault = self.publish(publisher) => fault,
                fault = self.follow(listener, rooms) => fault,
                fault = self.echo(inbound.echoes.subscribe()) => fault,
                fault = listener_ended => fault,
                fault = publisher_ended => fault,
                () = self.outgoing.overflow() => Fault::new(BackplaneFault::Overflow, "more was to be published than may wait"),
            };
            Ended {
                fault,
                lived: Some(began.elapsed()),
            }
        };
        // What comes in ends first: the hub is told nothing by a backplane that it has lost.
        listening.end().await;
        publishing.end().await;
        self.metrics.set_state(BackplaneState::Away);
        self.receiver.bus_lost();
        Ok(ended)
    }

    /// Subscribes to what this replica always hears and to every room that it hosts, and tells the hub. Gives those rooms.
    async fn begin(&self, listener: &mut Asker, inbound: &Inbound) -> Result<Rooms, Fault> {
        let always = [
            self.channels.of(&Topic::Everybody),
            self.channels.of(&Topic::Node(self.node)),
            self.channels.of_fleet(&FleetTopic::Everybody),
            self.channels.of_fleet(&FleetTopic::Node(self.node)),
            self.channels.echo(self.node),
        ];
        listener.subscribe(&always).await?;
        let mut rooms = Rooms::default();
        let mut new = self.outgoing.follow();
        loop {
            for some in new.chunks(ROOMS) {
                listener.subscribe(&self.names(some)).await?;
            }
            rooms.extend(new);
            self.metrics.subscriptions.set(rooms.len() as i64);
            // Under the hub's lock: no room comes to it between the look and the word, and nothing is missed after it.
            let ready = || {
                let ready = self.outgoing.open_unless_changed();
                inbound.live.store(ready, Ordering::Release);
                ready
            };
            if self.receiver.bus_connected(&ready) {
                self.metrics.set_state(BackplaneState::Connected);
                self.metrics.connects.inc();
                return Ok(rooms);
            }
            let changes = self.outgoing.next_changes(ROOMS).await;
            // Those that are given up already are left later, with all others.
            let unknown = |(room, wanted): (RoomTopic, bool)| (wanted && !rooms.contains(&room)).then_some(room);
            new = changes.into_iter().filter_map(unknown).collect();
        }
    }

    fn names(&self, rooms: &[RoomTopic]) -> Vec<String> {
        rooms.iter().map(|room| self.channels.of_room(room)).collect()
    }

    /// Publishes what the hub says, in order.
    async fn publish(&self, publisher: &mut Asker) -> Fault {
        let echo = self.channels.echo(self.node);
        loop {
            let batch = self.outgoing.next_batch(BATCH.0, BATCH.1).await;
            let mut commands = Pipeline::with_capacity(batch.len());
            let mut bytes = 0;
            for publication in &batch {
                bytes += publication.payload.len();
                let command = commands.cmd("PUBLISH");
                match &publication.to {
                    To::Topic(topic) => command.arg(self.channels.of(topic)),
                    To::Fleet(topic) => command.arg(self.channels.of_fleet(topic)),
                    To::Echo => command.arg(&*echo),
                }
                .arg(&*publication.payload);
            }
            if let Err(fault) = publisher.ask(&commands).await {
                return fault;
            }
            self.outgoing.is_through();
            self.metrics.published.inc_by(batch.len() as u64);
            self.metrics.published_bytes.inc_by(bytes as u64);
        }
    }

    /// Subscribes to rooms that the hub begins to host, and leaves those it does not host any more.
    async fn follow(&self, listener: &mut Asker, mut rooms: Rooms) -> Fault {
        loop {
            let (mut new, mut gone) = (Vec::new(), Vec::new());
            for (room, wanted) in self.outgoing.next_changes(ROOMS).await {
                match (wanted, rooms.contains(&room)) {
                    (true, false) => new.push(room),
                    (false, true) => gone.push(room),
                    // Given up and wanted again before anybody looked: it was heard all the time.
                    (true, true) => self.receiver.subscribed(room),
                    (false, false) => {}
                }
            }
            if !gone.is_empty()
                && let Err(fault) = listener.unsubscribe(&self.names(&gone)).await
            {
                return fault;
            }
            if !new.is_empty()
                && let Err(fault) = listener.subscribe(&self.names(&new)).await
            {
                return fault;
            }
            for room in &gone {
                rooms.remove(room);
            }
            rooms.extend(new);
            self.metrics.subscriptions.set(rooms.len() as i64);
        }
    }

    /// Publishes to this replica itself, again and again, and ends when that does not come back.
    async fn echo(&self, mut echoes: watch::Receiver<u64>) -> Fault {
        for number in 1_u64.. {
            let sent = Instant::now();
            self.outgoing.echo(Bytes::copy_from_slice(&number.to_be_bytes()));
            let came = echoes.wait_for(|last| *last >= number);
            match timeout(self.dialer.patience(), came).await {
                Ok(Ok(_)) => self.metrics.round_trip.set(sent.elapsed().as_secs_f64()),
                Ok(Err(_)) | Err(_) => break,
            }
            sleep(ECHO_EVERY).await;
        }
        Fault::timed_out("a message of this replica to itself")
    }
}

/// What comes by the listening connection, taken in the task that reads it: so it is in order, and nothing waits in between.
struct Inbound {
    /// Before the hub has been told of the beginning nothing is handed in.
    live: AtomicBool,
    unparsed: Unparsed,
    echoes: watch::Sender<u64>,
    channels: Channels,
    node: NodeId,
    outgoing: Outgoing,
    receiver: Arc<dyn Receiver>,
    metrics: BackplaneMetrics,
}

impl Inbound {
    fn new(session: &Session) -> Self {
        Self {
            live: AtomicBool::new(false),
            unparsed: Unparsed::default(),
            echoes: watch::Sender::new(0),
            channels: session.channels.clone(),
            node: session.node,
            outgoing: session.outgoing.clone(),
            receiver: Arc::clone(&session.receiver),
            metrics: session.metrics.clone(),
        }
    }

    fn take(&self, push: PushInfo) {
        if push.kind == PushKind::Disconnection {
            // From the crate, not from Redis: no message is whole.
            return;
        }
        self.unparsed.reset();
        if !self.live.load(Ordering::Acquire) {
            return;
        }
        match (push.kind, push.data.as_slice()) {
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                self.message(channel, payload);
            }
            (PushKind::Subscribe, [Value::BulkString(channel), ..]) => {
                if let Some(Named::Topic(Topic::Room(room))) = self.channels.read(channel, self.node)
                    && self.outgoing.is_wanted(&room)
                {
                    self.receiver.subscribed(room);
                }
            }
            _ => {}
        }
    }

    fn message(&self, channel: &[u8], payload: &[u8]) {
        self.metrics.received.inc();
        self.metrics.received_bytes.inc_by(payload.len() as u64);
        match self.channels.read(channel, self.node) {
            Some(Named::Topic(topic)) => self.receiver.handle_remote(topic, payload),
            Some(Named::Fleet) => self.receiver.handle_fleet(payload),
            Some(Named::Echo) => {
                if let Ok(number) = payload.try_into().map(u64::from_be_bytes) {
                    self.echoes.send_replace(number);
                }
            }
            None => {}
        }
    }
}
