//! The relays of several replicas.

use crate::config::types::{ByteSize, HostName};
use crate::config::value::{Between, Must};
use crate::fleet::{MAX_HOSTS, MAX_LABEL};

/// As for the bounds of the relay.
const MOST_BYTES: ByteSize = super::relay::MOST_BYTES;

section! {
    /// What the relays of several replicas tell each other over `backplane.redis_url` (docs/scaling.md): where they are, how busy they are. Who is
    /// turned away on one is on all, whatever is set here.
    Fleet as "fleet" {
        /// Names and addresses by which clients reach the relay of this replica and of no other, at most 8. Everybody in a room is then
        /// given the same relay first, in lists that are asked for with the room's name and from the hub, so that what one relays to
        /// the other stays within one process.
        ///
        /// Without any, this relay is given to no room. All replicas need the same secrets and realms: each mints for all.
        host: Vec<HostName> = Vec::new(), Must("at most 8 hosts", |hosts: &Vec<HostName>| hosts.len() <= MAX_HOSTS);
        /// Where this replica is, for operators to see at `/api/admin/fleet`.
        region: String = String::new(), Must("up to 64 letters, digits, `-`, `_`, `.` and `+`", |region: &String| is_label(region));
        /// The share of rooms that this relay is given, beside the weights of others.
        weight: u16 = 100, Between(1, 1000);
        /// Bytes of payload that this relay can pass in a second, in each direction on its own: what its link allows. 0 is
        /// `limits.total_bytes_per_second`; where that is 0, too, only allocations count.
        bytes_per_second: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Percent of `limits.allocations` and of `bytes_per_second` from which on rooms are given to other relays, until it is a sixth less.
        ///
        /// Rooms that have this relay keep it; those who come later have another one first.
        busy_percent: u64 = 90, Between(10, 1000);
    }
}

fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    text.len() <= MAX_LABEL && text.bytes().all(is_plain)
}
