//! Several replicas as one.

use super::{minutes, seconds};
use crate::config::types::{ByteSize, FilePath, RedisAddress, SecretText};
use crate::config::value::{Between, Must};
use std::time::Duration;

section! {
    /// Rooms that several replicas share over one Redis or Valkey server (docs/scaling.md). Without `redis_url` this process is alone, and
    /// nothing of this runs.
    Backplane as "backplane" {
        /// The server, the same one for all replicas: `redis://[user:password@]host[:port]`, or `rediss://` for TLS. Redis 6 or
        /// newer, or Valkey; one address, no Redis Cluster and no Sentinel.
        ///
        /// Who can write to that server can speak for anybody in any room. As a whole it may come from a file (`redis_url_file`).
        redis_url: Option<RedisAddress> = None;
        /// The password, in place of the one in `redis_url`.
        redis_password: Option<SecretText> = None;
        /// A PEM file with certificates that `rediss://` believes beside those of this machine.
        redis_ca: Option<FilePath> = None;
        /// What the names of all channels begin with. Replicas with the same prefix at the same server are one; databases
        /// of Redis do not keep them apart.
        prefix: String = "meetpoint".to_owned(), Must("1 to 64 letters, digits, `-`, `_`, `.` and `:`", |prefix: &String| is_prefix(prefix));
        /// How long Redis may take for anything before it counts as away. Rooms go on within each replica meanwhile.
        ///
        /// Raising it rides out longer pauses of Redis, and notices a cut network later.
        redis_timeout: Duration = seconds(5), Between(Duration::from_millis(100), minutes(1));
        /// After how long without a word another replica counts as dead, and its members leave the rooms. Each says 7 words in twice that
        /// time. Use the same for all.
        ///
        /// Raising it keeps the members of a killed replica in the lists for longer; too low, a pause looks like its death.
        node_timeout: Duration = seconds(7), Between(seconds(1), minutes(5));
        /// How long a join, or a change of a room's metadata, waits for the other replicas that host the room. A join goes on
        /// with what is known after that.
        sync_timeout: Duration = Duration::from_millis(300), Between(Duration::from_millis(10), seconds(10));
        /// Other replicas that are listened to. Every replica hears of each other one all the time.
        nodes: usize = 64, Between(1, 1024);
        /// Members of rooms here that live on other replicas. Each costs about 300 bytes and its presence data.
        mirrored_peers: usize = 100_000, Between(1, 10_000_000);
        /// Messages that may wait for Redis. Beyond it all of them are dropped and counted, and the replicas compare their lists anew.
        queue_messages: usize = 20_000, Between(16, 10_000_000);
        /// Bytes of those messages.
        queue_size: ByteSize = ByteSize::mib(32), Between(ByteSize::mib(8), ByteSize::mib(1024));
    }
}

fn is_prefix(prefix: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(is_plain)
}
