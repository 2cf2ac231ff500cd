//! The two sides of a call at work: a loop that sends by the clock, a loop that counts what arrives.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

use crate::{
    Failure,
    frame::{self, Stamp, Template, nanos_since},
    histogram::Histogram,
};

/// A sender that is later than this drops what it owes instead of bursting.
const MAX_LAG: Duration = Duration::from_millis(10);
/// Longest pause between two looks at the clock.
const NAP: Duration = Duration::from_micros(100);
/// Bytes of one receive buffer: a whole GRO train.
const RECEIVE_BUFFER: usize = 64 << 10;

/// One socket with its batch state, and where it sends.
pub(crate) struct End {
    socket: UdpSocket,
    state: UdpSocketState,
    template: Template,
    to: SocketAddr,
}

impl End {
    pub(crate) fn new(socket: UdpSocket, template: Template, to: SocketAddr) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            state,
            template,
            to,
        })
    }
}

/// Everything counted in one direction of one trial.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    /// Owed by the clock and not sent, because the generator was late or the kernel refused.
    pub(crate) missed: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Right trial, wrong flow or wrong length: a relay that mixes calls up.
    pub(crate) astray: AtomicU64,
}

pub(crate) fn send(
    ends: &[End],
    rate: u32,
    train: u8,
    stamp: Stamp,
    epoch: Instant,
    stop: &AtomicBool,
    counters: &Counters,
) {
    let train = u64::from(train);
    let (begun, mut owed_from) = (Instant::now(), 0_u64);
    let max_lag = (MAX_LAG.as_secs_f64() * f64::from(rate)) as u64 + train;
    let mut buffer = Vec::new();
    let mut flow = 0;
    while !stop.load(Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        if due > owed_from + max_lag {
            counters.missed.fetch_add(due - owed_from - max_lag, Relaxed);
            owed_from = due - max_lag;
        }
        if owed_from + train > due {
            thread::park_timeout(NAP);
            continue;
        }
        while owed_from + train <= due {
            let end = &ends[flow];
            end.template.write(
                &mut buffer,
                train as usize,
                Stamp {
                    flow: flow as u32,
                    sent_nanos: nanos_since(epoch),
                    ..stamp
                },
            );
            let transmit = Transmit {
                destination: end.to,
                ecn: None,
                contents: &buffer,
                segment_size: (train > 1).then(|| end.template.len()),
                src_ip: None,
            };
            let outcome = end.state.try_send((&end.socket).into(), &transmit);
            let counter = if outcome.is_ok() {
                &counters.sent
            } else {
                &counters.missed
            };
            counter.fetch_add(train, Relaxed);
            owed_from += train;
            flow = (flow + 1) % ends.len();
        }
    }
}

pub(crate) fn receive(
    ends: &[End],
    size: usize,
    expected: Stamp,
    epoch: Instant,
    stop: &AtomicBool,
    measuring: &AtomicBool,
    counters: &Counters,
) -> Result<Histogram, Failure> {
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    for (index, end) in (0..).zip(ends) {
        epoll::add(&poller, &end.socket, EventData::new_u64(index), EventFlags::IN)?;
    }
    let mut latency = Histogram::new();
    let mut buffers = vec![vec![0; RECEIVE_BUFFER]; BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut events = [const {
        Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }
    }; 64];
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    while !stop.load(Relaxed) {
        let ready = match epoll::wait(&poller, &mut events, Some(&patience)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let flow = event.data.u64() as usize;
            let mut slices = buffers.iter_mut().map(|b| IoSliceMut::new(b));
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| match slices.next() {
                Some(slice) => slice,
                None => IoSliceMut::new(&mut []),
            });
            let end = &ends[flow];
            // An ICMP error of an earlier packet ends this read only; its packet is counted as lost anyway.
            let Ok(count) = end.state.recv((&end.socket).into(), &mut slices, &mut metas) else {
                continue;
            };
            let now = nanos_since(epoch);
            let record = measuring.load(Relaxed);
            let (mut good, mut astray) = (0, 0);
            for (buffer, meta) in slices.iter().zip(&metas).take(count) {
                for packet in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    let payload = frame::unwrap(packet).unwrap_or_default();
                    let Some(stamp) = Stamp::read(payload).filter(|stamp| stamp.run == expected.run) else {
                        continue;
                    };
                    if stamp.flow as usize != flow || stamp.up != expected.up || payload.len() != size {
                        astray += 1;
                        continue;
                    }
                    good += 1;
                    if record {
                        latency.record(now.saturating_sub(stamp.sent_nanos));
                    }
                }
            }
            counters.received.fetch_add(good, Relaxed);
            counters.astray.fetch_add(astray, Relaxed);
        }
    }
    Ok(latency)
}
