//! One member tells a room, and how that goes when some of the room do not read.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use clap::Args;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use crate::{
    Failure, crowd, process,
    report::Report,
    signal::{add_latency, settle},
    socket::{Closed, Reader},
    speak::{Target, peer_id},
    stamp::{Clock, Seen, Stamp},
};

#[derive(Args, Clone)]
pub(crate) struct Broadcast {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=15_000))]
    pub(crate) room: u32,
    /// Messages per second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Payload of each message, bytes.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=60_000))]
    pub(crate) size: u32,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) seconds: u64,
    /// Percent of the room that stop reading before the first message.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90))]
    pub(crate) slow: u32,
}

const ROOM: &str = "b";
/// The close code of slow readers.
const SLOW: u16 = 4_002;

pub(crate) async fn run(broadcast: &Broadcast) -> Result<Report, Failure> {
    let target = &broadcast.target;
    if !target.has_rooms() {
        return Err("this protocol has no rooms".into());
    }
    let clock = Clock::start();
    let crowd = crowd::enter(target, 0, broadcast.room as usize, 32, |_| ROOM.to_owned()).await?;
    if let Some(complaint) = crowd.complaint {
        return Err(complaint.into());
    }
    // The first one talks, the last ones are slow.
    let slow = (broadcast.room * broadcast.slow / 100) as usize;
    let readers = broadcast.room as usize - 1 - slow;
    let seen = Rc::new(RefCell::new(Seen::new()));
    let mut members = crowd.members.into_iter().map(|member| member.reader);
    let mut talker = members.next().ok_or("an empty room")?;
    let writer = talker.writer.clone();
    let mut sleepers = Sleepers::default();
    for (at, mut reader) in members.enumerate() {
        if at >= readers {
            sleepers.add(at + 1, reader);
            continue;
        }
        let seen = Rc::clone(&seen);
        tokio::task::spawn_local(async move {
            let mut expected = 0;
            let each = |frame: &[u8]| {
                if let Some(stamp) = Stamp::find(frame) {
                    seen.borrow_mut().record(stamp, &mut expected, clock.nanos());
                }
            };
            let _ = reader.take(each).await;
        });
    }
    let alarms = sleepers.alarms.clone();
    tokio::task::spawn_local(async move {
        let each = |frame: &[u8]| {
            if let Some(alarm) = gone_as_slow(frame).and_then(|peer| alarms.get(&peer)) {
                alarm.notify_one();
            }
        };
        talker.take(each).await
    });
    // Those who are told of others' coming have heard of it by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = process::sample(&target.pid);
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / broadcast.rate);
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(broadcast.seconds) {
        tick.tick().await;
        let stamp = Stamp {
            sender: 0,
            number: sent,
            nanos: clock.nanos(),
        };
        let text = target
            .broadcast(ROOM, &stamp.body(broadcast.size as usize))
            .unwrap_or_default();
        writer.say(&text).await?;
        sent += 1;
    }
    let after = process::sample(&target.pid);
    settle(&seen).await;
    let (closed, cut) = sleepers.wake().await;
    let seen = seen.borrow();
    let wanted = u64::from(sent) * readers as u64;
    let mut report = Report::default();
    report.add("messages", sent, "");
    report.add("deliveries", seen.received, "");
    report.add("lost", wanted.saturating_sub(seen.received), "of those who read");
    report.add("repeated", seen.repeated, "or out of order");
    add_latency(&mut report, &seen);
    report.add_rounded(
        "cpu_us_per_delivery",
        after.cpu_micros(&before, seen.received),
        "µs of the server",
    );
    process::add_resident(&mut report, &before, &after);
    if slow > 0 {
        report.add("slow_readers", slow, "");
        report.add("closed_4002", closed, "of them, by that code");
        report.add("cut", cut, "of them, without a close frame");
    }
    Ok(report)
}

/// The peer that a room is told has left because it did not read; only the native protocol tells.
fn gone_as_slow(frame: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(frame)
        .ok()
        .filter(|text| text.contains(r#""why":"slow""#))?;
    let event: serde_json::Value = serde_json::from_str(text).ok()?;
    event["peer"].as_str().map(str::to_owned)
}

/// Clients that do not read until they are woken: by the news that they are gone, or at the end.
#[derive(Default)]
struct Sleepers {
    alarms: HashMap<String, Rc<Notify>>,
    tasks: JoinSet<Option<Closed>>,
}

impl Sleepers {
    fn add(&mut self, at: usize, mut reader: Reader) {
        let alarm = Rc::new(Notify::new());
        self.alarms.insert(peer_id(at), Rc::clone(&alarm));
        self.tasks.spawn_local(async move {
            alarm.notified().await;
            let reading = reader.take(|_| {});
            // One that is still open has nothing to end it.
            tokio::time::timeout(Duration::from_secs(3), reading).await.ok()?.err()
        });
    }

    /// Lets them read what is there, and counts who has been closed as slow, and who has been cut off.
    async fn wake(mut self) -> (usize, usize) {
        self.alarms.values().for_each(|alarm| alarm.notify_one());
        let (mut closed, mut cut) = (0, 0);
        while let Some(done) = self.tasks.join_next().await {
            match done {
                Ok(Some(Closed(Some(SLOW)))) => closed += 1,
                Ok(Some(_)) => cut += 1,
                Ok(None) | Err(_) => {}
            }
        }
        (closed, cut)
    }
}
