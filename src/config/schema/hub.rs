//! The signaling hub and its sockets.

use super::{minutes, seconds};
use crate::config::types::{ByteSize, DialectListener, DialectPath, Rate, TakeoverPolicy};
use crate::config::value::{Between, Must};
use std::time::Duration;

section! {
    /// The signaling hub: rooms, presence and messages over WebSocket (docs/signaling-protocol.md).
    Signaling as "signaling" {
        /// The name of this replica, told to clients in `welcome`.
        node: String = "meetpoint".to_owned(), Must("1 to 64 characters", |name: &String| (1..=64).contains(&name.chars().count()));
        /// Paths where clients of other projects find the hub in their own words, as `/path=dialect`: `native`, `reploid`,
        /// `chiral`, `topics`, `retcon`, `retcon-query`, `socket.io`, `edge-net`, `edge-announce`, `edge-relay`, `peerjs`,
        /// `matchbox`, `verbatim`, `rooms`, or `auto`, which goes by the first message. docs/dialects.md tells what each of them is.
        ///
        /// `/signaling` is `auto`, `/v1/ws` is `native`, `/peerjs` is `peerjs`, `/match` is `matchbox` and `/socket.io` is `socket.io`
        /// without being named, and so is `/` for WebSockets `auto`: a browser that opens it as a page sees the console.
        dialects: Vec<DialectPath> = Vec::new();
        /// Further TCP addresses of the web server, each with the dialect of clients that can be told no path, as
        /// `address:port=dialect`. A path of `dialects` is what it is there too; every other path is that dialect's. They have no
        /// TLS of their own: put a proxy in front of them, or clients on `http.listen_tls` with a path.
        listeners: Vec<DialectListener> = Vec::new();
        /// How long a client on a path of `auto` may be silent before it is told what clients wait for that speak second:
        /// `welcome` and `auth_required`. `0s` never tells them. Below the round trip of slow networks it is told to clients as
        /// well that speak first, which ignore it.
        welcome_silent_after: Duration = Duration::from_millis(250), Between(Duration::ZERO, seconds(5));
        /// Keys that PeerJS clients may give, each a name space of ids. Clients that are told none give `peerjs`.
        peerjs_keys: Vec<String> = vec!["peerjs".to_owned()], Must("keys of 1 to 64 letters, digits, `-` and `_`", |keys: &Vec<String>| are_keys(keys));
        /// PeerJS clients of one key. They are told of nobody, so many of them cost no more than their connections.
        peerjs_peers: usize = 20_000, Between(2, 10_000_000);
        /// Whether everybody may list the ids of PeerJS clients (`listAllPeers`). An id is often all that it takes to call somebody.
        peerjs_discovery: bool = false;
        /// Messages that may wait for a PeerJS id to be taken, for 5 s each; an eighth of them from one sender, and for one id.
        peerjs_queue_messages: usize = 4_096, Between(8, 1_000_000);
        /// Bytes of those messages.
        peerjs_queue_size: ByteSize = ByteSize::mib(4), Between(ByteSize::kib(64), ByteSize::mib(1024));
        /// Connections of this process, greeted or not. Each idle one costs about 4 KiB and a file descriptor.
        connections: usize = 20_000, Between(1, 10_000_000);
        /// Connections of one client address (IPv4 address, IPv6 /64); 0 is no limit. Loopback is not limited.
        ///
        /// Schools and carriers put many people behind one address.
        connections_per_ip: u32 = 1024;
        /// Connections that one client address may open in the long run; `"0/s"` is no limit. Beyond it the answer is 429 with
        /// `Retry-After`, before the upgrade. Loopback is not limited.
        connect_rate: Rate = Rate::per_second(20);
        /// Connections that one client address may open at once before `connect_rate` counts. After a restart a whole school comes
        /// back from one address.
        connect_burst: u32 = 500, Between(1, 1_000_000);
        /// Connections of one user, as its token names it, on this process; 0 is no limit. Who has none is counted by address
        /// alone.
        ///
        /// Beyond it the newest is closed with 4106. People have several devices with several tabs each.
        connections_per_user: usize = 64, Between(0, 1_000_000);
        /// Rooms of this process. Each costs about 300 bytes and its name.
        rooms: usize = 20_000, Between(1, 10_000_000);
        /// Members of one room. A broadcast costs one delivery for each member, so the load of a full room grows with the
        /// square of this.
        peers_per_room: usize = 256, Between(2, 100_000);
        /// Rooms that one connection may be in.
        rooms_per_connection: usize = 32, Between(1, 10_000);
        /// The longest message. The reader of each connection can grow to this.
        max_message: ByteSize = ByteSize::kib(64), Between(ByteSize::kib(1), ByteSize::mib(4));
        /// The longest room name, in bytes.
        room_name_bytes: usize = 128, Between(1, 1024);
        /// The longest peer id, in bytes.
        peer_id_bytes: usize = 128, Between(1, 1024);
        /// Presence data of one peer in one room. Every member of the room receives it.
        meta_size: ByteSize = ByteSize::kib(4), Between(ByteSize(0), ByteSize::kib(256));
        /// Keys of one presence object.
        meta_keys: usize = 32, Between(0, 1024);
        /// Sustained messages per second of one connection. Raising it lets one client take more of the hub.
        messages_per_second: u32 = 100, Between(1, 1_000_000);
        /// Messages that one connection may send at once: a newcomer to a full room sends an offer and a handful of
        /// candidates to each member.
        message_burst: u32 = 1000, Between(1, 1_000_000);
        /// Sustained bytes per second of one connection.
        bytes_per_second: ByteSize = ByteSize::kib(256), Between(ByteSize::kib(1), ByteSize::mib(1024));
        /// Bytes that one connection may send at once.
        byte_burst: ByteSize = ByteSize::mib(4), Between(ByteSize::kib(1), ByteSize::mib(1024));
        /// Messages refused by the rate limit before the connection is closed.
        rate_patience: u32 = 200, Between(1, 1_000_000);
        /// Sustained bytes per second that one peer may relay through the hub with `send`.
        ///
        /// The hub is a fallback for data and no path for media; raising this spends your bandwidth.
        relay_bytes_per_second: ByteSize = ByteSize::kib(64), Between(ByteSize(0), ByteSize::mib(1024));
        /// Bytes that one peer may relay through the hub at once.
        relay_byte_burst: ByteSize = ByteSize::kib(256), Between(ByteSize(0), ByteSize::mib(1024));
        /// Bytes per second that all relaying in one room may put on the wire, counted for each receiver: by default what one
        /// peer at its own limit puts there in a full room.
        relay_room_bytes_per_second: ByteSize = ByteSize::mib(16), Between(ByteSize(0), ByteSize::mib(4095));
        /// Bytes per second that all relaying through the hub may put on the wire, counted for each receiver.
        relay_total_bytes_per_second: ByteSize = ByteSize::mib(64), Between(ByteSize(0), ByteSize::mib(4095));
        /// Receivers that one `send` may name. A room is addressed by naming nobody.
        receivers_per_send: usize = 64, Between(1, 10_000);
        /// Members in one page of a member list.
        page_peers: usize = 100, Between(1, 10_000);
        /// Bytes after which a page of a member list ends early.
        page_size: ByteSize = ByteSize::kib(32), Between(ByteSize::kib(1), ByteSize::mib(1));
        /// Messages that may wait for one slow reader. Beyond it that reader is closed; a room is never delayed.
        queue_messages: usize = 1024, Between(16, 1_000_000);
        /// Bytes that may wait for one slow reader. This times the connections is the worst case of memory.
        queue_size: ByteSize = ByteSize::kib(512), Between(ByteSize::kib(64), ByteSize::mib(64));
        /// The read buffer of each connection, there at once. Raising it costs that much for every idle connection and
        /// saves reads on busy ones.
        read_buffer: ByteSize = ByteSize(512), Between(ByteSize(128), ByteSize::mib(1));
        /// Who may take a peer id that is in use.
        takeover: TakeoverPolicy = TakeoverPolicy::SameOwner;
        /// How long the session of a broken connection waits for its owner. The others of its rooms see `away` meanwhile, not
        /// `leave`, and what the peer missed is told again. `0s` ends sessions with their connections.
        ///
        /// Raising it keeps the places of those who do not come back for longer.
        resume_grace: Duration = seconds(30), Between(Duration::ZERO, minutes(2));
        /// Events that a session can be told again; at most half of `queue_messages` counts.
        resume_messages: usize = 64, Between(1, 10_000);
        /// Bytes of those events: what a busy client that acknowledges nothing costs beside its queue. At most half of
        /// `queue_size` counts.
        resume_size: ByteSize = ByteSize::kib(128), Between(ByteSize::kib(1), ByteSize::mib(16));
        /// Sessions that may wait for their owners at once, an eighth of them of one client address. Beyond it a broken
        /// connection ends its session.
        away_sessions: usize = 5_000, Between(0, 10_000_000);
        /// Bans that operators may have in force at once (`/v1/bans`), some 200 bytes each. Beyond it one more is refused.
        bans: usize = 10_000, Between(0, 1_000_000);
        /// Soonest that clients come back when the server goes away, each at a random time up to `drain_after_max`: `drain` tells
        /// them so, and they are closed. With one replica, as long as a restart takes.
        drain_after_min: Duration = Duration::from_millis(200), Between(Duration::ZERO, minutes(10));
        /// Latest that they come back. A longer window spreads the load on whoever takes over, and leaves clients alone for longer.
        drain_after_max: Duration = seconds(5), Between(Duration::ZERO, minutes(10));
        /// How long a connection may stay without a `hello`. Raising it lets idle strangers hold sockets longer.
        hello_timeout: Duration = seconds(10), Between(seconds(1), minutes(5));
        /// How often the server pings. Keep it below the 30 s at which the most impatient proxies cut an idle connection.
        ping_interval: Duration = seconds(25), Between(seconds(1), minutes(10));
        /// After how long without a byte a connection is dead.
        dead_after: Duration = seconds(60), Between(seconds(2), minutes(30));
        /// How long one message may take to be written before its reader counts as slow.
        write_timeout: Duration = seconds(20), Between(seconds(1), minutes(10));
        /// How long a closed connection may take to answer the close.
        close_timeout: Duration = seconds(2), Between(Duration::from_millis(100), minutes(1));
    }
}

fn are_keys(keys: &[String]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    keys.iter()
        .all(|key| (1..=64).contains(&key.len()) && key.bytes().all(plain))
}
