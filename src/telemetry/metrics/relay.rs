//! The relay's numbers: each worker publishes a copy of its counters, a scrape sums the copies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::family::AtScrape;
use super::table as t;
use crate::credentials::DEFAULT_REALM;
use crate::telemetry::DriverStats;
use crate::turn::{
    AllocateRefusal, AuthFailure, Direction, Family, Fill, MAX_REALMS, RateKind, RealmStats, Resource, Stats, Traffic,
    Transport,
};

/// What one worker published last.
#[derive(Default)]
struct Snapshot {
    core: Stats,
    realms: Vec<RealmStats>,
    /// Parts of them. None ever loses its place.
    shares: Vec<RealmStats>,
    driver: DriverStats,
    /// What realms did that have lost their place to others, by name. Bounded by [`MAX_RETIRED`].
    retired: BTreeMap<Arc<str>, RealmStats>,
}

/// Realms that are remembered after they are gone: more than an operator renames between two restarts.
const MAX_RETIRED: usize = 4 * MAX_REALMS;

/// By name.
type Totals = BTreeMap<Arc<str>, RealmStats>;

/// Where one worker publishes its counters. The lock is held for the time of a copy, once per tick and once per scrape;
/// no packet waits for it.
#[derive(Clone)]
pub struct ShardSlot(Arc<Mutex<Snapshot>>);

impl ShardSlot {
    /// Replaces what this worker published before. Counters must not shrink.
    pub fn publish(&self, core: &Stats, (realms, shares): (&[RealmStats], &[RealmStats]), driver: &DriverStats) {
        let mut snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.core.clone_from(core);
        snapshot.retire(realms);
        // Into the memory that is there: a tick allocates nothing.
        snapshot.realms.clear();
        snapshot.realms.extend_from_slice(realms);
        snapshot.shares.clear();
        snapshot.shares.extend_from_slice(shares);
        snapshot.driver = *driver;
    }
}

impl Snapshot {
    /// Keeps what realms did whose place has another one in `realms`.
    fn retire(&mut self, realms: &[RealmStats]) {
        for (before, now) in self.realms.iter().zip(realms) {
            if before.name == now.name {
                continue;
            }
            let has_room = self.retired.len() < MAX_RETIRED;
            match self.retired.get_mut(&before.name) {
                Some(known) => known.add(before),
                None if has_room => _ = self.retired.insert(Arc::clone(&before.name), before.clone()),
                None => {}
            }
        }
    }
}

/// The slots of all workers.
#[derive(Clone, Default)]
pub(super) struct Shards(Arc<Mutex<Vec<ShardSlot>>>);

impl Shards {
    /// The slot of worker `index`, which is the same one at every call.
    pub(super) fn slot(&self, index: usize) -> ShardSlot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while slots.len() <= index {
            slots.push(ShardSlot(Arc::default()));
        }
        slots[index].clone()
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let shards = self.clone();
        registry.register(Box::new(AtScrape::new(FAMILIES, move || shards.collect())?))
    }

    /// What each realm has done since the process began, whether it is still configured or not, and each share of one, as of one
    /// moment of each worker. Counters never shrink.
    pub(super) fn realm_totals(&self) -> (Totals, Totals) {
        let (mut realms, mut shares) = (Totals::new(), Totals::new());
        let add = |totals: &mut Totals, one: &RealmStats| match totals.entry(Arc::clone(&one.name)) {
            Entry::Vacant(entry) => _ = entry.insert(one.clone()),
            Entry::Occupied(mut entry) => entry.get_mut().add(one),
        };
        for slot in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let snapshot = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            for one in snapshot.realms.iter().chain(snapshot.retired.values()) {
                add(&mut realms, one);
            }
            for one in &snapshot.shares {
                add(&mut shares, one);
            }
        }
        (realms, shares)
    }

    /// Shows what each worker published last.
    pub(super) fn each(&self, mut look: impl FnMut(&Stats, &DriverStats)) {
        for slot in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let snapshot = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            look(&snapshot.core, &snapshot.driver);
        }
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Vec::with_capacity(slots.len());
        for slot in &slots {
            let snapshot = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Snapshot {
                core: snapshot.core.clone(),
                realms: snapshot.realms.clone(),
                shares: Vec::new(),
                driver: snapshot.driver,
                retired: BTreeMap::new(),
            });
        }
        families(&all)
    }
}

/// What [`families`] yields.
const FAMILIES: &[&super::family::Family] = &[
    &t::ALLOCATIONS,
    &t::ALLOCATIONS_PENDING,
    &t::ALLOCATIONS_CREATED,
    &t::ALLOCATIONS_REFRESHED,
    &t::ALLOCATIONS_CLOSED,
    &t::MOVES_BEGUN,
    &t::MOVES_ENDED,
    &t::PERMISSIONS,
    &t::PERMISSIONS_CREATED,
    &t::PERMISSIONS_REVOKED,
    &t::CHANNELS,
    &t::CHANNELS_CREATED,
    &t::CHANNELS_REVOKED,
    &t::RESERVATIONS_CREATED,
    &t::RESERVATIONS_EXPIRED,
    &t::PAYLOAD_PACKETS,
    &t::PAYLOAD_BYTES,
    &t::HAIRPIN_PACKETS,
    &t::HAIRPIN_BYTES,
    &t::CLIENT_PACKETS,
    &t::PEER_PACKETS,
    &t::RELAYED,
    &t::ANSWERED,
    &t::DROPPED,
    &t::OVER_RATE,
    &t::AUTH_FAILURES,
    &t::DENIED_PEERS,
    &t::PEER_ERRORS,
    &t::REDIRECTS,
    &t::DISCOVERY_ANSWERS,
    &t::QUOTA_HITS,
    &t::RETRANSMITS,
    &t::EVENTS_UNNOTED,
    &t::REALM_ALLOCATIONS,
    &t::REALM_ALLOCATIONS_CREATED,
    &t::REALM_ALLOCATIONS_PEAK,
    &t::REALM_ALLOCATIONS_LIMIT,
    &t::REALM_ALLOCATIONS_RATIO,
    &t::REALM_ALLOCATION_SECONDS,
    &t::REALM_USERS,
    &t::REALM_CREDENTIALS_USED,
    &t::REALM_ALLOCATIONS_REFUSED,
    &t::REALM_AUTH_FAILURES,
    &t::REALM_BYTES,
    &t::REALM_PACKETS,
    &t::REALM_OVER_RATE,
    &t::FAILING_SOURCES,
    &t::UNAUTHENTICATED_REQUESTS,
    &t::UNAUTHENTICATED_ANSWERS,
    &t::WORKERS,
    &t::RELAY_SOCKETS,
    &t::RECV_CALLS,
    &t::RECV_DATAGRAMS,
    &t::RECV_TRAINS,
    &t::RECV_FAILURES,
    &t::RECV_OVERFLOWS,
    &t::SEND_CALLS,
    &t::SEND_DATAGRAMS,
    &t::SEND_TRAINS,
    &t::SEND_FAILURES,
    &t::HANDOVERS,
    &t::HANDOVER_OVERFLOWS,
    &t::BIND_FAILURES,
    &t::TCP_RELAYS,
    &t::CONNECTIONS_PENDING,
    &t::CONNECTIONS,
    &t::CONNECTIONS_OPENED,
    &t::CONNECTIONS_ENDED,
    &t::CONNECTION_PAUSES,
    &t::STREAMS,
    &t::STREAMS_OPENED,
    &t::STREAMS_CLOSED,
    &t::STREAM_DROPPED,
    &t::DTLS_SESSIONS,
    &t::DTLS_COOKIES,
    &t::DTLS_ESTABLISHED,
    &t::DTLS_ENDED,
    &t::DTLS_REFUSED,
    &t::DTLS_DISCARDED,
];

fn families(all: &[Snapshot]) -> Vec<MetricFamily> {
    let core = |field: fn(&Stats) -> u64| all.iter().map(|one| field(&one.core)).sum::<u64>() as f64;
    let driver = |field: fn(&DriverStats) -> u64| all.iter().map(|one| field(&one.driver)).sum::<u64>() as f64;
    let by_direction = |field: fn(&Stats, usize, usize) -> u64| {
        let pairs = Direction::ALL
            .iter()
            .flat_map(|way| Transport::ALL.iter().map(move |over| (way, over)));
        pairs.map(move |(way, over)| {
            let sum: u64 = all.iter().map(|one| field(&one.core, way.index(), over.index())).sum();
            ([way.as_label(), over.as_label()], sum as f64)
        })
    };
    let realms = realms(all);
    let of_realms = |family: &super::family::Family, field: fn(&RealmStats) -> u64| {
        family.samples(realms.values().map(|realm| ([&*realm.name], field(realm) as f64)))
    };
    let by_realm_and_direction = |field: fn(&Traffic) -> u64| {
        realms.values().flat_map(move |realm| {
            let of = |way: &Direction| field(&realm.traffic[way.index()]) as f64;
            Direction::ALL.map(|way| ([&*realm.name, way.as_label()], of(&way)))
        })
    };
    let by_rate = |field: fn(&Stats) -> &[[u64; RateKind::COUNT]; Direction::COUNT]| {
        Direction::ALL.iter().flat_map(move |way| {
            RateKind::ALL.iter().map(move |limit| {
                let sum: u64 = all.iter().map(|one| field(&one.core)[way.index()][limit.index()]).sum();
                ([way.as_label(), limit.as_label()], sum as f64)
            })
        })
    };
    let allocations = Family::ALL.iter().flat_map(|family| {
        Transport::ALL.iter().map(move |over| {
            let sum: u64 = all
                .iter()
                .map(|one| one.core.allocations_active[family.index()][over.index()])
                .sum();
            ([family.as_label(), over.as_label()], sum as f64)
        })
    });
    vec![
        t::ALLOCATIONS.samples(allocations),
        t::ALLOCATIONS_PENDING.single(core(|stats| stats.pending)),
        t::ALLOCATIONS_CREATED.single(core(|stats| stats.allocations_created)),
        t::ALLOCATIONS_REFRESHED.single(core(|stats| stats.allocations_refreshed)),
        t::ALLOCATIONS_CLOSED.by_label(&sum(all, |one| &one.core.allocations_closed)),
        t::MOVES_BEGUN.single(core(|stats| stats.moves_begun)),
        t::MOVES_ENDED.by_label(&sum(all, |one| &one.core.moves_ended)),
        t::PERMISSIONS.single(core(|stats| stats.permissions_active)),
        t::PERMISSIONS_CREATED.single(core(|stats| stats.permissions_created)),
        t::PERMISSIONS_REVOKED.single(core(|stats| stats.permissions_revoked)),
        t::CHANNELS.single(core(|stats| stats.channels_active)),
        t::CHANNELS_CREATED.single(core(|stats| stats.channels_created)),
        t::CHANNELS_REVOKED.single(core(|stats| stats.channels_revoked)),
        t::RESERVATIONS_CREATED.single(core(|stats| stats.reservations_created)),
        t::RESERVATIONS_EXPIRED.single(core(|stats| stats.reservations_expired)),
        t::PAYLOAD_PACKETS.samples(by_direction(|stats, way, over| stats.traffic[way][over].packets)),
        t::PAYLOAD_BYTES.samples(by_direction(|stats, way, over| stats.traffic[way][over].bytes)),
        t::HAIRPIN_PACKETS.single(core(|stats| stats.hairpin.packets)),
        t::HAIRPIN_BYTES.single(core(|stats| stats.hairpin.bytes)),
        t::CLIENT_PACKETS.by_label(&sum(all, |one| &one.core.client_packets)),
        t::PEER_PACKETS.single(core(|stats| stats.peer_packets)),
        t::RELAYED.single(core(|stats| stats.relayed)),
        t::ANSWERED.by_label(&sum(all, |one| &one.core.answered)),
        t::DROPPED.by_label(&sum(all, |one| &one.core.dropped)),
        t::OVER_RATE.samples(by_rate(|stats| &stats.over_rate)),
        t::AUTH_FAILURES.by_label(&sum(all, |one| &one.core.auth_failures)),
        t::DENIED_PEERS.by_label(&sum(all, |one| &one.core.denied_peers)),
        t::PEER_ERRORS.by_label(&sum(all, |one| &one.core.peer_errors)),
        t::REDIRECTS.by_label(&sum(all, |one| &one.core.redirects)),
        t::DISCOVERY_ANSWERS.by_label(&sum(all, |one| &one.core.discovery_answers)),
        t::QUOTA_HITS.by_label(&sum(all, |one| &one.core.quota_hits)),
        t::RETRANSMITS.single(core(|stats| stats.retransmits)),
        t::EVENTS_UNNOTED.single(core(|stats| stats.events_dropped)),
        of_realms(&t::REALM_ALLOCATIONS, |realm| realm.allocations),
        of_realms(&t::REALM_ALLOCATIONS_CREATED, |realm| realm.allocations_created),
        of_realms(&t::REALM_ALLOCATIONS_PEAK, |realm| realm.peak),
        of_realms(&t::REALM_ALLOCATIONS_LIMIT, |realm| realm.limit),
        t::REALM_ALLOCATIONS_RATIO.samples(realms.values().map(|realm| ([&*realm.name], used(realm, all)))),
        t::REALM_ALLOCATION_SECONDS.samples(
            realms
                .values()
                .map(|realm| ([&*realm.name], realm.allocation_time.as_secs_f64())),
        ),
        of_realms(&t::REALM_USERS, |realm| realm.users),
        of_realms(&t::REALM_CREDENTIALS_USED, |realm| realm.credentials_used),
        t::REALM_ALLOCATIONS_REFUSED.samples(realms.values().flat_map(|realm| {
            AllocateRefusal::ALL.map(|reason| {
                let count = realm.allocations_refused[reason.index()] as f64;
                ([&*realm.name, reason.as_label()], count)
            })
        })),
        t::REALM_AUTH_FAILURES.samples(realms.values().flat_map(|realm| {
            AuthFailure::ALL.map(|reason| {
                let count = realm.auth_failures[reason.index()] as f64;
                ([&*realm.name, reason.as_label()], count)
            })
        })),
        t::REALM_BYTES.samples(by_realm_and_direction(|traffic| traffic.bytes)),
        t::REALM_PACKETS.samples(by_realm_and_direction(|traffic| traffic.packets)),
        of_realms(&t::REALM_OVER_RATE, |realm| realm.over_rate),
        // Each worker tells this of the whole process.
        t::FAILING_SOURCES.single(all.iter().map(|one| one.core.failing_sources).max().unwrap_or(0) as f64),
        t::UNAUTHENTICATED_REQUESTS.single(core(|stats| stats.unauthenticated_requests.bytes)),
        t::UNAUTHENTICATED_ANSWERS.single(core(|stats| stats.unauthenticated_answers.bytes)),
        t::WORKERS.single(all.len() as f64),
        t::RELAY_SOCKETS.single(driver(|stats| stats.relay_sockets)),
        t::RECV_CALLS.single(driver(|stats| stats.recv_calls)),
        t::RECV_DATAGRAMS.single(driver(|stats| stats.recv_datagrams)),
        t::RECV_TRAINS.single(driver(|stats| stats.recv_trains)),
        t::RECV_FAILURES.single(driver(|stats| stats.recv_failures)),
        t::RECV_UNUSABLE.single(driver(|stats| stats.recv_unusable)),
        t::RECV_OVERFLOWS.single(driver(|stats| stats.recv_overflows)),
        t::SEND_CALLS.single(driver(|stats| stats.send_calls)),
        t::SEND_DATAGRAMS.single(driver(|stats| stats.send_datagrams)),
        t::SEND_TRAINS.single(driver(|stats| stats.send_trains)),
        t::SEND_TRAIN_FALLBACKS.single(driver(|stats| stats.send_train_fallbacks)),
        t::SEND_FAILURES.by_label(&sum(all, |one| &one.driver.send_failures)),
        t::HANDOVERS.single(driver(|stats| stats.handovers)),
        t::HANDOVER_OVERFLOWS.single(driver(|stats| stats.handover_overflows)),
        t::HANDOVER_UNOWNED.single(driver(|stats| stats.handover_unowned)),
        t::BIND_FAILURES.single(driver(|stats| stats.bind_failures)),
        t::TCP_RELAYS.by_label(&sum(all, |one| &one.core.tcp_relays_active)),
        t::CONNECTIONS_PENDING.single(core(|stats| stats.connections_pending)),
        t::CONNECTIONS.single(core(|stats| stats.connections_active)),
        t::CONNECTIONS_OPENED.by_label(&sum(all, |one| &one.core.connections_opened)),
        t::CONNECTIONS_ENDED.by_label(&sum(all, |one| &one.core.connections_ended)),
        t::CONNECTION_PAUSES.samples(by_rate(|stats| &stats.connection_pauses)),
        t::STREAMS.by_label(&sum(all, |one| &one.driver.streams)),
        t::STREAMS_OPENED.by_label(&sum(all, |one| &one.driver.streams_opened)),
        t::STREAMS_CLOSED.by_label(&sum(all, |one| &one.driver.streams_closed)),
        t::STREAM_DROPPED.single(driver(|stats| stats.stream_dropped_frames)),
        t::DTLS_SESSIONS.by_label(&sum(all, |one| &one.driver.dtls_sessions)),
        t::DTLS_COOKIES.single(driver(|stats| stats.dtls_cookies)),
        t::DTLS_ESTABLISHED.single(driver(|stats| stats.dtls_established)),
        t::DTLS_ENDED.by_label(&sum(all, |one| &one.driver.dtls_ended)),
        t::DTLS_REFUSED.by_label(&sum(all, |one| &one.driver.dtls_refused)),
        t::DTLS_DISCARDED.single(driver(|stats| stats.dtls_discarded)),
    ]
}

/// The realms by name, summed over all workers: those that are configured, and those that still have allocations.
fn realms(all: &[Snapshot]) -> BTreeMap<Arc<str>, RealmStats> {
    // There before any worker has published: a rate over a counter that appears with its first event misses it.
    let default: Arc<str> = DEFAULT_REALM.into();
    let mut realms = BTreeMap::from([(Arc::clone(&default), RealmStats::new(default))]);
    for one in all.iter().flat_map(|one| &one.realms) {
        match realms.entry(Arc::clone(&one.name)) {
            Entry::Vacant(entry) => _ = entry.insert(one.clone()),
            Entry::Occupied(mut entry) => entry.get_mut().add(one),
        }
    }
    realms.retain(|_, realm| realm.is_configured || realm.allocations > 0);
    realms
}

/// How much of its allocations a realm uses: of its own, or of what the process has.
fn used(realm: &RealmStats, all: &[Snapshot]) -> f64 {
    let of_process = all
        .iter()
        .map(|one| one.core.fills[Resource::Allocations.index()].limit)
        .max();
    let of_process = of_process.unwrap_or(0);
    let limit = if realm.limit == 0 {
        of_process
    } else {
        realm.limit.min(of_process)
    };
    let used = realm.allocations;
    Fill { used, limit }.ratio()
}

/// Sums an array of counters over all workers.
fn sum<const N: usize>(all: &[Snapshot], field: fn(&Snapshot) -> &[u64; N]) -> [u64; N] {
    let mut total = [0; N];
    for one in all {
        for (total, count) in total.iter_mut().zip(field(one)) {
            *total += count;
        }
    }
    total
}
