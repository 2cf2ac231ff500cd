//! Who is told what happens.

use super::{hours, minutes, seconds};
use crate::config::types::{ByteSize, Webhook};
use crate::config::value::{Between, Must};
use std::collections::BTreeSet;
use std::time::Duration;

/// Most webhooks: each is a task, a queue and a line in every event's path.
const MAX_WEBHOOKS: usize = 16;

section! {
    /// What happens in the relay, told as it happens (docs/events.md): to the log, to webhooks, and to operators who listen at
    /// `/api/admin/events`.
    Events as "events" {
        /// Writes events to the log: `info`, and `debug` for refreshes, under `meetpoint::events`.
        ///
        /// They name users and where they come from. What operators do is logged in any case, under `meetpoint::audit`.
        log: bool = false;
        /// Whole addresses of clients and peers in those lines, whatever `log.addresses` says.
        log_addresses: bool = false;
        /// Receivers of events by HTTP, at most 16: `[[events.webhooks]]` tables with `url` and `secret` (or `secret_file`), and
        /// optionally `kinds` (default: all but `refreshed`), `batch` (most events of one delivery, default 100, at most 1000),
        /// `interval` (how long an event waits for others, default 1 s) and `timeout` (default 10 s).
        ///
        /// Receivers get whole addresses and usernames. In a variable or a file of lines: `URL SECRET [KINDS]`.
        webhooks: Vec<Webhook> = Vec::new(), Must("at most 16, each with an address of its own", |hooks: &Vec<Webhook>| are_distinct(hooks));
        /// Events that may wait for one webhook. More are dropped and counted.
        queue_events: usize = 20_000, Between(1, 1_000_000);
        /// Bytes of those events. Each is some 400.
        queue_size: ByteSize = ByteSize::mib(16), Between(ByteSize::kib(64), ByteSize::mib(1024));
        /// How long a delivery is tried again before its events are dropped and counted.
        ///
        /// Longer rides out longer outages of a receiver, as far as the queue goes.
        retry_for: Duration = minutes(15), Between(Duration::ZERO, hours(24));
        /// How long the end of the process may wait for webhooks to take what is left.
        flush_timeout: Duration = seconds(5), Between(Duration::ZERO, minutes(1));
        /// Open streams at `/api/admin/events`.
        subscribers: usize = 16, Between(0, 1000);
    }
}

fn are_distinct(hooks: &[Webhook]) -> bool {
    let mut seen = BTreeSet::new();
    hooks.len() <= MAX_WEBHOOKS && hooks.iter().all(|hook| seen.insert(hook.0.url.whole()))
}
