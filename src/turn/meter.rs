//! How much payload may pass: by allocation, by user, by realm, and in total; bytes and packets; each direction on its own.
//!
//! An allocation's buckets are its shard's own. A user's are shared by all shards and taken from packet by packet, because
//! seldom do two shards want the same one. Those of a realm and of the process are wanted by every shard at once, so each shard
//! takes slices of them: what it holds of a slice is the only error, 1/20 second's worth over all shards.
//!
//! A packet is taken from every limit or from none, and nothing is asked when no limit is set.

use super::bucket::{Bucket, Pace, SharedBucket, Ticks};
use super::config::{Limits, RateLimit};
use super::input::{Now, Shard};
use super::quota::Lease;
use super::realm::{RealmId, RealmLimits};
use super::server::Server;
use super::verdict::{Direction, DropReason, RateKind};

/// All shards together hold at most this part of a second's worth of the total.
const SLICES_PER_SECOND: u64 = 20;
/// No datagram is larger, and none must be stopped by its size alone.
const LARGEST_DATAGRAM: u64 = 64 * 1024;

/// Bytes and packets: what each limit is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Both<T> {
    bytes: T,
    packets: T,
}

/// How fast; `None` without a limit.
type Paces = Both<Option<Pace>>;

/// Which of the two ran out.
enum Short {
    Bytes,
    Packets,
}

/// What one allocation has relayed, by [`Direction`].
#[derive(Debug, Default)]
pub(super) struct Usage([Both<Bucket>; Direction::COUNT]);

/// What a user, a realm or the process has relayed, by [`Direction`].
#[derive(Debug, Default)]
pub(super) struct SharedUsage([Both<SharedBucket>; Direction::COUNT]);

/// The limits, and what this shard holds of those that it takes slices of.
#[derive(Debug)]
pub(super) struct Meter {
    is_on: bool,
    /// By [`RealmId`].
    realms: Box<[OfRealm]>,
    total: Pool,
}

/// The limits of one realm.
#[derive(Debug)]
struct OfRealm {
    allocation: Paces,
    user: Paces,
    total: Pool,
}

/// This shard's share of a limit that all shards want.
#[derive(Debug)]
struct Pool {
    paces: Paces,
    /// How much to take of it at once.
    slice: Both<u64>,
    /// What is left of what was taken, by [`Direction`].
    held: [Both<u64>; Direction::COUNT],
}

impl Meter {
    /// `realms` are the limits of every realm, in the order of [`RealmId`].
    pub(super) fn new<'a>(limits: &Limits, realms: impl Iterator<Item = &'a RealmLimits>, shard: Shard) -> Self {
        let of_realm = |realm: &RealmLimits| OfRealm {
            allocation: paces(realm.allocation_rate.unwrap_or(limits.allocation_rate)),
            user: paces(realm.user_rate.unwrap_or(limits.user_rate)),
            total: Pool::new(realm.total_rate, shard),
        };
        let realms: Box<[_]> = realms.map(of_realm).collect();
        let total = Pool::new(limits.total_rate, shard);
        let is_limit = |paces: &Paces| paces.bytes.is_some() || paces.packets.is_some();
        let is_on = is_limit(&total.paces)
            || realms
                .iter()
                .flat_map(|realm| [&realm.allocation, &realm.user, &realm.total.paces])
                .any(is_limit);
        Self { is_on, realms, total }
    }

    /// Whether there is any limit.
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Takes a packet of `len` bytes from every limit, or from none.
    fn charge(
        &mut self,
        now: Ticks,
        (realm, direction): (RealmId, Direction),
        len: u64,
        alone: &mut Usage,
        lease: &Lease,
        process: &SharedUsage,
    ) -> Result<(), RateKind> {
        let way = direction.index();
        // Cannot be: every allocation's realm has a place. Without limits to ask, the safe answer is no.
        let Some(realm) = self.realms.get_mut(realm.index()) else {
            return Err(RateKind::RealmBytes);
        };
        let user = lease.user_usage();
        let mut after = alone.0[way];
        after.take(realm.allocation, now, len).map_err(|short| match short {
            Short::Bytes => RateKind::AllocationBytes,
            Short::Packets => RateKind::AllocationPackets,
        })?;
        user.0[way].take(realm.user, now, len).map_err(|short| match short {
            Short::Bytes => RateKind::UserBytes,
            Short::Packets => RateKind::UserPackets,
        })?;
        if let Some(all) = lease.realm_usage()
            && let Err(short) = realm.total.take(now, way, len, &all.0[way])
        {
            user.0[way].give_back(realm.user, len);
            return Err(match short {
                Short::Bytes => RateKind::RealmBytes,
                Short::Packets => RateKind::RealmPackets,
            });
        }
        if let Err(short) = self.total.take(now, way, len, &process.0[way]) {
            user.0[way].give_back(realm.user, len);
            realm.total.give_back(way, len);
            return Err(match short {
                Short::Bytes => RateKind::TotalBytes,
                Short::Packets => RateKind::TotalPackets,
            });
        }
        alone.0[way] = after;
        Ok(())
    }

    /// Undoes a [`Meter::charge`].
    fn refund(&mut self, (realm, direction): (RealmId, Direction), len: u64, alone: &mut Usage, user: &SharedUsage) {
        let way = direction.index();
        let Some(realm) = self.realms.get_mut(realm.index()) else {
            return;
        };
        alone.0[way].give_back(realm.allocation, len);
        user.0[way].give_back(realm.user, len);
        realm.total.give_back(way, len);
        self.total.give_back(way, len);
    }
}

impl Pool {
    fn new(limit: RateLimit, shard: Shard) -> Self {
        let slice = |per_second: u64| per_second / SLICES_PER_SECOND / u64::from(shard.count.max(1));
        Self {
            paces: paces(limit),
            slice: Both {
                bytes: slice(limit.bytes_per_second),
                packets: slice(limit.packets_per_second),
            },
            held: [Both::default(); Direction::COUNT],
        }
    }

    #[inline]
    fn take(&mut self, now: Ticks, way: usize, len: u64, from: &Both<SharedBucket>) -> Result<(), Short> {
        let (held, paces, slice) = (&mut self.held[way], self.paces, self.slice);
        if !refill(&mut held.bytes, &from.bytes, paces.bytes, now, len, slice.bytes) {
            return Err(Short::Bytes);
        }
        if !refill(&mut held.packets, &from.packets, paces.packets, now, 1, slice.packets) {
            return Err(Short::Packets);
        }
        if paces.bytes.is_some() {
            held.bytes -= len;
        }
        if paces.packets.is_some() {
            held.packets -= 1;
        }
        Ok(())
    }

    fn give_back(&mut self, way: usize, len: u64) {
        let held = &mut self.held[way];
        if self.paces.bytes.is_some() {
            held.bytes += len;
        }
        if self.paces.packets.is_some() {
            held.packets += 1;
        }
    }
}

/// Sees to it that at least `amount` is held, if there is a limit; takes up to a slice if it must take.
#[inline]
fn refill(held: &mut u64, from: &SharedBucket, pace: Option<Pace>, now: Ticks, amount: u64, slice: u64) -> bool {
    let Some(pace) = pace else { return true };
    let Some(least) = amount.checked_sub(*held).filter(|least| *least > 0) else {
        return true;
    };
    match from.try_take(pace, now, least, slice.max(least)) {
        Some(taken) => {
            *held += taken;
            true
        }
        None => false,
    }
}

impl Both<Bucket> {
    #[inline]
    fn take(&mut self, paces: Paces, now: Ticks, len: u64) -> Result<(), Short> {
        if paces.bytes.is_some_and(|pace| !self.bytes.try_take(pace, now, len)) {
            return Err(Short::Bytes);
        }
        if paces.packets.is_some_and(|pace| !self.packets.try_take(pace, now, 1)) {
            return Err(Short::Packets);
        }
        Ok(())
    }

    fn give_back(&mut self, paces: Paces, len: u64) {
        if let Some(pace) = paces.bytes {
            self.bytes.give_back(pace, len);
        }
        if let Some(pace) = paces.packets {
            self.packets.give_back(pace, 1);
        }
    }
}

impl Both<SharedBucket> {
    #[inline]
    fn take(&self, paces: Paces, now: Ticks, len: u64) -> Result<(), Short> {
        if let Some(pace) = paces.bytes
            && self.bytes.try_take(pace, now, len, len).is_none()
        {
            return Err(Short::Bytes);
        }
        if let Some(pace) = paces.packets
            && self.packets.try_take(pace, now, 1, 1).is_none()
        {
            if let Some(pace) = paces.bytes {
                self.bytes.give_back(pace, len);
            }
            return Err(Short::Packets);
        }
        Ok(())
    }

    fn give_back(&self, paces: Paces, len: u64) {
        if let Some(pace) = paces.bytes {
            self.bytes.give_back(pace, len);
        }
        if let Some(pace) = paces.packets {
            self.packets.give_back(pace, 1);
        }
    }
}

impl SharedUsage {
    /// Whether every bucket is full.
    pub(super) fn is_full(&self, now: Ticks) -> bool {
        self.0
            .iter()
            .all(|both| both.bytes.is_full(now) && both.packets.is_full(now))
    }

    #[cfg(test)]
    pub(super) fn take_for_test(&self, pace: Pace, now: Ticks) {
        assert!(self.0[0].bytes.try_take(pace, now, 1, 1).is_some());
    }

    /// Whether nothing was ever taken.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_full(0)
    }
}

/// A limit's paces, its bursts filled in.
fn paces(limit: RateLimit) -> Paces {
    let burst = |burst: u64, per_second: u64, least: u64| if burst == 0 { per_second / 10 } else { burst }.max(least);
    let bytes = burst(limit.byte_burst, limit.bytes_per_second, LARGEST_DATAGRAM);
    let packets = burst(limit.packet_burst, limit.packets_per_second, 1);
    Both {
        bytes: Pace::new(limit.bytes_per_second, bytes),
        packets: Pace::new(limit.packets_per_second, packets),
    }
}

impl Server {
    /// Takes a packet of payload from every limit that it counts against; drops it, counted, if there is not enough.
    pub(super) fn charge(&mut self, now: Now, index: u32, direction: Direction, len: usize) -> Result<(), DropReason> {
        self.try_charge(now, index, direction, len).map_err(|kind| {
            self.hit_rate(now, index, kind, direction);
            DropReason::OverRate
        })
    }

    /// Takes payload from every limit that it counts against, or says which one has not enough.
    pub(super) fn try_charge(
        &mut self,
        now: Now,
        index: u32,
        direction: Direction,
        len: usize,
    ) -> Result<(), RateKind> {
        let ticks = self.ticks(now);
        let Some(allocation) = self.allocations.get_mut(index) else {
            return Ok(());
        };
        let (id, usage, lease) = (allocation.realm, &mut allocation.usage, &allocation.lease);
        let (meter, len) = (&mut self.meter, len as u64);
        meter.charge(ticks, (id, direction), len, usage, lease, self.ledger.usage())?;
        self.load.note(ticks, direction, len, self.ledger.load());
        Ok(())
    }

    /// Undoes [`Server::charge`] for a packet that ended for another reason.
    pub(super) fn refund(&mut self, index: u32, direction: Direction, len: usize) {
        if !self.meter.is_on() {
            return;
        }
        if let Some(allocation) = self.allocations.get_mut(index) {
            let (usage, user) = (&mut allocation.usage, allocation.lease.user_usage());
            self.meter
                .refund((allocation.realm, direction), len as u64, usage, user);
        }
    }
}
