//! A record: what one tenant used in one interval, as one line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::telemetry::RealmTotals;
use crate::telemetry::labels::IssueResult;
use crate::turn::{AllocateRefusal, AuthFailure, Direction, Traffic};

/// Packets and payload bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload, without headers.
    pub bytes: u64,
}

impl From<Traffic> for Flow {
    fn from(traffic: Traffic) -> Self {
        Self {
            packets: traffic.packets,
            bytes: traffic.bytes,
        }
    }
}

impl Flow {
    fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }

    fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Numbers by a word of a closed set; those that are zero are left out.
pub type ByWord = BTreeMap<String, u64>;

/// What only grows. In a record: what was added in its interval.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// From clients to peers, as `meetpoint_realm_payload_bytes_total` counts.
    pub to_peer: Flow,
    /// From peers to clients.
    pub to_client: Flow,
    /// Allocations that were made.
    pub allocations: u64,
    /// Milliseconds that allocations lived, together.
    pub allocation_ms: u64,
    /// Allocate requests with good credentials that were answered with an error, by [`AllocateRefusal`].
    pub refused: ByWord,
    /// Requests that were not authenticated, by [`AuthFailure`].
    pub auth_failures: ByWord,
    /// Payload packets dropped because a limit was reached.
    pub over_rate: u64,
    /// Credentials issued.
    pub issued: u64,
    /// Wishes for a credential that were not granted, by [`IssueResult`].
    pub issues_refused: ByWord,
}

fn by_word(each: impl Iterator<Item = (&'static str, u64)>) -> ByWord {
    each.filter(|(_, count)| *count > 0)
        .map(|(word, count)| (word.to_owned(), count))
        .collect()
}

impl From<&RealmTotals> for Counters {
    fn from(totals: &RealmTotals) -> Self {
        let relay = &totals.relay;
        let flow = |direction: Direction| relay.traffic[direction.index()].into();
        Self {
            to_peer: flow(Direction::ClientToPeer),
            to_client: flow(Direction::PeerToClient),
            allocations: relay.allocations_created,
            allocation_ms: u64::try_from(relay.allocation_time.as_millis()).unwrap_or(u64::MAX),
            refused: by_word(
                AllocateRefusal::ALL
                    .iter()
                    .map(|reason| (reason.as_label(), relay.allocations_refused[reason.index()])),
            ),
            auth_failures: by_word(
                AuthFailure::ALL
                    .iter()
                    .map(|reason| (reason.as_label(), relay.auth_failures[reason.index()])),
            ),
            over_rate: relay.over_rate,
            issued: totals.issues[IssueResult::Issued.index()],
            issues_refused: by_word(
                IssueResult::REFUSALS
                    .iter()
                    .map(|result| (result.as_label(), totals.issues[result.index()])),
            ),
        }
    }
}

impl Counters {
    /// What was added since. Never less than nothing: what was smaller than before counts as if it had begun anew at that.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let words = |now: &ByWord, before: &ByWord| {
            let added = |(word, count): (&String, &u64)| {
                let before = before.get(word).copied().unwrap_or(0);
                (word.clone(), count.saturating_sub(before))
            };
            now.iter().map(added).filter(|(_, count)| *count > 0).collect()
        };
        Self {
            to_peer: self.to_peer.since(before.to_peer),
            to_client: self.to_client.since(before.to_client),
            allocations: self.allocations.saturating_sub(before.allocations),
            allocation_ms: self.allocation_ms.saturating_sub(before.allocation_ms),
            refused: words(&self.refused, &before.refused),
            auth_failures: words(&self.auth_failures, &before.auth_failures),
            over_rate: self.over_rate.saturating_sub(before.over_rate),
            issued: self.issued.saturating_sub(before.issued),
            issues_refused: words(&self.issues_refused, &before.issues_refused),
        }
    }

    /// Adds what another record says.
    pub fn add(&mut self, other: &Self) {
        let words = |own: &mut ByWord, others: &ByWord| {
            for (word, count) in others {
                let own = own.entry(word.clone()).or_insert(0);
                *own = own.saturating_add(*count);
            }
        };
        self.to_peer.add(other.to_peer);
        self.to_client.add(other.to_client);
        self.allocations = self.allocations.saturating_add(other.allocations);
        self.allocation_ms = self.allocation_ms.saturating_add(other.allocation_ms);
        words(&mut self.refused, &other.refused);
        words(&mut self.auth_failures, &other.auth_failures);
        self.over_rate = self.over_rate.saturating_add(other.over_rate);
        self.issued = self.issued.saturating_add(other.issued);
        words(&mut self.issues_refused, &other.issues_refused);
    }

    /// Whether nothing happened.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What one tenant used in one interval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its name, which no other record has: instance, sequence and realm.
    pub record: String,
    /// Names the process, anew at each start.
    pub instance: String,
    /// Number of the interval in that process, from 1 on without gaps.
    pub sequence: u64,
    /// The tenant; `default` for all without a realm.
    pub realm: String,
    /// When the interval began, as [`super::day::time`] writes.
    pub from: String,
    /// When it ended.
    pub to: String,
    /// The clock was set within the interval: `from` is worked out from `to`, and what the clock that is never set has measured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock_set: bool,
    /// The process ended with it. Without such a record it crashed, and up to one interval is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// Allocations that lived when it ended.
    #[serde(default)]
    pub living: u64,
    /// Most that lived at once.
    #[serde(default)]
    pub peak: u64,
    /// About how many different USERNAMEs opened an allocation, within 3.3 %. Not to be summed: who comes again counts again.
    #[serde(default)]
    pub credentials_used: u64,
    /// What was added, but for what this server's own probes did.
    #[serde(flatten)]
    pub added: Counters,
    /// Of that, by the API key that fetched the credentials: at most [`MAX_KEYS`], and the others together as [`OTHERS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Counters>,
    /// What those probes did.
    #[serde(default, skip_serializing_if = "Counters::is_nothing")]
    pub probes: Counters,
}

/// Most keys that a record names: some 300 bytes each, and a record is a line and an event.
pub const MAX_KEYS: usize = 64;

/// All keys that a record does not name.
pub const OTHERS: &str = "(others)";

/// Those that did most, and the others in one.
pub fn bounded(mut keys: Vec<(String, Counters)>) -> BTreeMap<String, Counters> {
    if keys.len() > MAX_KEYS {
        let size = |of: &Counters| (of.to_peer.bytes.saturating_add(of.to_client.bytes), of.issued);
        keys.sort_by_key(|(_, of)| std::cmp::Reverse(size(of)));
        let mut others = Counters::default();
        for (_, of) in keys.drain(MAX_KEYS..) {
            others.add(&of);
        }
        keys.push((OTHERS.to_owned(), others));
    }
    keys.into_iter().collect()
}
