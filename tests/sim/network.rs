//! Chance and delay: what lies between clients, server and peers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Seeded pseudo-random numbers (xorshift64*): good enough to shuffle packets, the same on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// Packets under way, by the time they arrive.
pub(crate) struct Network<P> {
    under_way: BinaryHeap<Reverse<(Duration, u64)>>,
    packets: std::collections::HashMap<u64, P>,
    sent: u64,
    /// One packet in so many is lost; one in so many arrives twice.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) max_delay: Duration,
}

impl<P: Clone> Network<P> {
    pub(crate) fn new(loss: u64, duplication: u64, max_delay: Duration) -> Self {
        let (under_way, packets) = (BinaryHeap::new(), std::collections::HashMap::new());
        Self {
            under_way,
            packets,
            sent: 0,
            loss,
            duplication,
            max_delay,
        }
    }

    /// Sends a packet at `now`: each copy has a delay of its own, so packets overtake each other.
    pub(crate) fn send(&mut self, chance: &mut Chance, now: Duration, packet: &P) {
        let copies = if chance.one_in(self.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            if chance.one_in(self.loss) {
                continue;
            }
            let delay = Duration::from_micros(chance.below(self.max_delay.as_micros() as u64));
            self.sent += 1;
            self.under_way.push(Reverse((now + delay, self.sent)));
            self.packets.insert(self.sent, packet.clone());
        }
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn arrive(&mut self) -> Option<P> {
        let Reverse((_, id)) = self.under_way.pop()?;
        self.packets.remove(&id)
    }
}
