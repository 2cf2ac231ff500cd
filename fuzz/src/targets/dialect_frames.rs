//! Every dialect by itself: requests that open a connection, and frames on it, of two connections that share whatever there is to
//! share. No input may panic, what goes out is text (and JSON, where the dialect says nothing verbatim), and the numbers balance.
//!
//! The first byte is the dialect. Then come lines: the first two are the rooms and queries of the two connections, and each later
//! one is a frame; its first byte says whose.

use std::time::{Duration, Instant};

use meetpoint::signaling::{
    Config, ConnectionId, Dialect, Frame, Grants, Hub, Identity, Needs, Now, Opening, Output, Payload,
};

pub(crate) fn run(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    let dialect = Dialect::ALL[usize::from(choice) % Dialect::ALL.len()];
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.split('\n');
    let config = Config {
        connections: 4,
        rooms: 3,
        rooms_per_connection: 2,
        peers_per_room: 3,
        postponed_frames: 8,
        postponed_bytes: 256,
        ..Config::default()
    };
    let mut now = Now {
        instant: Instant::now(),
        unix_ms: 1_700_000_000_000,
    };
    let mut hub = Hub::new(config, [1; 32]);
    let mut open = Vec::new();
    for _ in 0..2 {
        let (room, query) = lines.next().unwrap_or_default().split_once('?').unwrap_or_default();
        let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
        let shown = dialect.of_opening(&Opening::new(dialect, Some(room), pairs()));
        let opening = Opening::new(shown, Some(room), pairs());
        let connected = hub.connect(now, shown).expect("there is room for two");
        open.push((connected.connection, shown));
        if let Some(frame) = Frame::opening(shown, &opening) {
            hand_in(&mut hub, now, connected.connection, frame);
        }
    }
    for line in lines {
        let Some((&who, _)) = line.as_bytes().split_first() else {
            continue;
        };
        let who = usize::from(who) % 2;
        let Some(frame) = line.get(1..) else { continue };
        let (connection, spoken) = open[who];
        let frame = Frame::text(spoken, frame);
        open[who].1 = frame.dialect();
        hand_in(&mut hub, now, connection, frame);
        drain(&mut hub, dialect);
        now.instant += Duration::from_millis(500);
        now.unix_ms += 500;
        hub.handle_timeout(now);
        drain(&mut hub, dialect);
    }
    for _ in 0..20 {
        now.instant += Duration::from_millis(500);
        hub.handle_timeout(now);
        drain(&mut hub, dialect);
    }
    let stats = hub.stats();
    assert_eq!(stats.messages.total(), stats.accepted + stats.refused.total());
    assert_eq!(stats.joins, stats.leaves + stats.memberships);
    assert_eq!(stats.postponed_waiting, 0, "nothing waits for longer than 5 s");
}

fn hand_in(hub: &mut Hub, now: Now, connection: ConnectionId, frame: Frame<'_>) {
    if let Some(admitted) = hub.try_admit(now, connection, frame) {
        let identity = (admitted.needs() != Needs::Nothing).then_some(Ok(Identity::ANONYMOUS));
        hub.handle_request(now, connection, admitted, Grants { identity, ice: None });
    }
}

fn drain(hub: &mut Hub, dialect: Dialect) {
    while let Some(output) = hub.poll_output() {
        let (Output::Deliver { payload, .. } | Output::DeliverSoon { payload, .. }) = output else {
            continue;
        };
        let Payload::Text(text) = payload else { continue };
        let text = std::str::from_utf8(&text).expect("frames are text");
        if !matches!(dialect, Dialect::Verbatim | Dialect::Rooms) {
            serde_json::from_str::<serde_json::Value>(text).expect("frames are JSON");
        }
    }
}
