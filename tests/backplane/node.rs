//! The driver alone: a node with a recorder in the place of the hub.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use bytes::Bytes;
use meetpoint::backplane::{Backplane, Config, Outgoing, Receiver, RedisUrl};
use meetpoint::signaling::{NodeId, RoomTopic, Topic};
use meetpoint::telemetry::Metrics;
use meetpoint::telemetry::labels::BackplaneFault;

use crate::redis::{PATIENCE, pause};

/// What the driver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    Lost,
    Subscribed(RoomTopic),
    Message(Topic, Bytes),
    Fleet(Bytes),
}

/// Takes the place of the hub.
#[derive(Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<Event>>,
    /// While closed, whoever hands in a message waits.
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Recorder {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl Receiver for Recorder {
    fn bus_connected(&self, ready: &dyn Fn() -> bool) -> bool {
        // As under the hub's lock: nothing else is noted in between.
        let mut events = self.events.lock().unwrap();
        let ready = ready();
        if ready {
            events.push(Event::Connected);
        }
        ready
    }

    fn bus_lost(&self) {
        self.note(Event::Lost);
    }

    fn subscribed(&self, topic: RoomTopic) {
        self.note(Event::Subscribed(topic));
    }

    fn handle_remote(&self, topic: Topic, payload: &[u8]) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
        self.note(Event::Message(topic, Bytes::copy_from_slice(payload)));
    }

    fn handle_fleet(&self, payload: &[u8]) {
        self.note(Event::Fleet(Bytes::copy_from_slice(payload)));
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) outgoing: Outgoing,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Metrics,
    _backplane: Backplane,
}

impl Node {
    /// The first byte of its name, and where Redis is.
    pub(crate) fn start(name: u8, url: &str) -> Self {
        Self::with(name, Config::at(RedisUrl::parse(url).unwrap()), |_| {})
    }

    /// All of it; `before` may publish and subscribe before there is a connection.
    pub(crate) fn with(name: u8, config: Config, before: impl FnOnce(&Outgoing)) -> Self {
        let metrics = Metrics::new().unwrap();
        let outgoing = Outgoing::new(config.queue, metrics.backplane().clone());
        before(&outgoing);
        let id = NodeId::new([name; 8]);
        let recorder = Arc::new(Recorder::default());
        let receiver = Arc::clone(&recorder);
        let backplane = Backplane::start(&config, id, outgoing.clone(), receiver, metrics.backplane()).unwrap();
        Self {
            id,
            outgoing,
            recorder,
            metrics,
            _backplane: backplane,
        }
    }

    pub(crate) fn publish(&self, topic: Topic, payload: impl Into<String>) {
        self.outgoing.publish(topic, Bytes::from(payload.into()));
    }

    /// What was noted so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.recorder.events.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, event: &Event) -> usize {
        self.events().iter().filter(|each| *each == event).count()
    }

    /// Payloads of the messages, in order.
    pub(crate) fn messages(&self) -> Vec<(Topic, String)> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let each = |event| match event {
            Event::Message(topic, payload) => Some((topic, text(payload))),
            _ => None,
        };
        self.events().into_iter().filter_map(each).collect()
    }

    /// Waits until what was noted is as wanted.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&[Event]) -> bool) {
        let start = Instant::now();
        while !wanted(&self.recorder.events.lock().unwrap()) {
            if start.elapsed() > PATIENCE {
                let events = self.events();
                let last = &events[events.len().saturating_sub(20)..];
                panic!(
                    "{what} did not happen; {} events, the last: {last:?}\n{}",
                    events.len(),
                    self.numbers()
                );
            }
            pause();
        }
    }

    pub(crate) fn wait_for(&self, event: &Event) {
        self.wait(&format!("{event:?}"), |events| events.contains(event));
    }

    /// Waits until it was connected so many times.
    pub(crate) fn wait_connected(&self, times: usize) {
        self.wait(&format!("connection {times}"), |events| {
            events.iter().filter(|event| **event == Event::Connected).count() >= times
        });
    }

    pub(crate) fn wait_fault(&self, fault: BackplaneFault) {
        let line = format!("meetpoint_backplane_faults_total{{reason=\"{}\"}} 0", fault.as_label());
        let start = Instant::now();
        while self.metrics.render().contains(&line) {
            assert!(start.elapsed() < PATIENCE, "{}", self.numbers());
            pause();
        }
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap().parse().unwrap()
    }

    fn numbers(&self) -> String {
        let text = self.metrics.render();
        let ours = text.lines().filter(|line| line.starts_with("meetpoint_backplane"));
        ours.collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn room(number: u16) -> RoomTopic {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    RoomTopic::new(bytes)
}
