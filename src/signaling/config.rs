//! What an operator may set about the hub.

use std::time::Duration;

use super::{BusConfig, Takeover};

/// Limits and policies of the hub. Every table and every rate has its bound here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of this replica, told to clients in `welcome.node`. Default `"meetpoint"`. At most 64 bytes are useful.
    pub node: String,
    /// How long a connection may stay without a `hello`. Default 10 s. Raising it lets idle strangers hold sockets longer.
    pub hello_timeout: Duration,
    /// How long a connection of any dialect may be silent before it is told what clients wait for that speak second. Default
    /// 250 ms; zero never does. Lower, and clients that speak first are told as well when their network is slow.
    pub welcome_silent_after: Duration,
    /// Connections of this process, greeted or not. Default 20 000. Each idle one costs about 4 KiB of memory and a file descriptor.
    pub connections: usize,
    /// Connections of one user, as its token names it, on this process; 0 is no limit. Default 64: devices and tabs. Past it
    /// the newest is closed with 4106. Sessions that wait for their socket to come back do not count.
    pub connections_per_user: usize,
    /// Rooms of this process. Default 20 000. Each costs about 300 bytes and its name.
    pub rooms: usize,
    /// Members of one room, the ceiling of a room's own `max`. Default 256. A join, a leave and a broadcast cost one
    /// delivery per member, so the load of a full room grows with the square of this.
    pub peers_per_room: usize,
    /// Rooms one connection may be in. Default 32. Multiplies what one client can make the hub hold and announce.
    pub rooms_per_connection: usize,
    /// Longest frame a client may send, bytes. Default 65 536. The reader of each connection can grow to this.
    pub frame_bytes: usize,
    /// Longest room name, bytes of UTF-8. Default 128.
    pub room_name_bytes: usize,
    /// Longest peer id, bytes of ASCII. Default 128.
    pub peer_id_bytes: usize,
    /// Presence data of one peer in one room (and the metadata of one room): keys and values together, bytes of JSON.
    /// Default 4 096. Every member of a room receives it.
    pub meta_bytes: usize,
    /// Keys of one presence object. Default 32.
    pub meta_keys: usize,
    /// Sustained messages per second of one connection. Default 100. Raising it lets one client take more of the hub.
    pub messages_per_second: u32,
    /// Messages one connection may send at once. Default 1 000: a newcomer to a full room sends an offer and a handful of
    /// candidates to each member.
    pub message_burst: u32,
    /// Sustained bytes per second of one connection, all frames together. Default 262 144 (256 KiB/s).
    pub bytes_per_second: u32,
    /// Bytes one connection may send at once, all frames together. Default 4 194 304 (4 MiB).
    pub byte_burst: u32,
    /// Messages refused by the rate limit before the connection is closed with 4004; refills at a tenth of this per second.
    /// Default 200. A client that honours `retry` never loses more than a few.
    pub rate_patience: u32,
    /// Sustained payload bytes per second one peer may relay by `send`. Default 65 536 (64 KiB/s). The hub is a fallback
    /// for data, not a path for media; raising it spends the operator's bandwidth.
    pub relay_bytes_per_second: u32,
    /// Payload bytes one peer may relay by `send` at once. Default 262 144 (256 KiB).
    pub relay_byte_burst: u32,
    /// Payload bytes per second that all `send` of one room together may put on the wire, counted per receiver. Default
    /// 16 777 216 (16 MiB/s), with a burst of the same size: one peer at its own limit in a full room. Raising it lets one room
    /// take more of what all may have.
    pub relay_room_bytes_per_second: u32,
    /// Payload bytes per second that all `send` together may put on the wire, counted per receiver. Default 67 108 864
    /// (64 MiB/s), with a burst of the same size. Bounds what many small peers can do together.
    pub relay_total_bytes_per_second: u32,
    /// Receivers that one `send` may name. Default 64. A room is addressed by naming nobody.
    pub receivers_per_send: usize,
    /// Members in one page of `joined` or `who`. Default 100. A page of members with full presence data is a large frame.
    pub page_peers: usize,
    /// Bytes after which a page of `joined` or `who` ends early. Default 32 768. Keeps a page well below what a client
    /// may have set as its longest frame.
    pub page_bytes: usize,
    /// Keys that PeerJS clients may give, each a name space of ids. Default `peerjs` alone, which is what clients give unasked.
    pub peerjs_keys: Vec<String>,
    /// PeerJS clients of one key. Default 20 000. They are told of nobody, so a large number costs no more than the connections.
    pub peerjs_peers: usize,
    /// Frames that may wait for a PeerJS id to be taken, 5 s each; an eighth of one sender and for one id. Default 4 096.
    pub postponed_frames: usize,
    /// Bytes of those frames. Default 4 194 304 (4 MiB).
    pub postponed_bytes: usize,
    /// Who may take a peer id that is in use. Default [`Takeover::SameOwner`].
    pub takeover: Takeover,
    /// How long a session waits for its owner after its socket broke; others see `away` meanwhile, not `leave`. Default 30 s.
    /// Zero ends sessions with their sockets. Raising it keeps the places of those who do not come back for longer.
    pub resume_grace: Duration,
    /// Events that a session can be told again. Default 64.
    pub resume_frames: usize,
    /// Bytes of those events. Default 131 072. What a busy client that does not acknowledge costs, beside its queue.
    pub resume_bytes: usize,
    /// Sessions of this process that wait for their owners. Default 5 000; beyond it a broken socket ends its session.
    pub away_sessions: usize,
    /// Bans in force at once. Default 10 000, some 200 bytes each. Beyond it one more is refused.
    pub bans: usize,
    /// How often the server pings, told to clients in `welcome.hb.ping`. Default 25 s: below the 30 s at which the most
    /// impatient proxies cut an idle connection. The driver does the pinging.
    pub ping_interval: Duration,
    /// After how long without a byte a connection is dead (close 4001), told to clients in `welcome.hb.dead`. Default 60 s.
    pub dead_after: Duration,
    /// Other replicas that rooms are shared with. Default `None`: this process is alone.
    pub bus: Option<BusConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: "meetpoint".into(),
            hello_timeout: Duration::from_secs(10),
            welcome_silent_after: Duration::from_millis(250),
            connections: 20_000,
            connections_per_user: 64,
            rooms: 20_000,
            peers_per_room: 256,
            rooms_per_connection: 32,
            frame_bytes: 65_536,
            room_name_bytes: 128,
            peer_id_bytes: 128,
            meta_bytes: 4_096,
            meta_keys: 32,
            messages_per_second: 100,
            message_burst: 1_000,
            bytes_per_second: 262_144,
            byte_burst: 4_194_304,
            rate_patience: 200,
            relay_bytes_per_second: 65_536,
            relay_byte_burst: 262_144,
            relay_room_bytes_per_second: 16_777_216,
            relay_total_bytes_per_second: 67_108_864,
            receivers_per_send: 64,
            page_peers: 100,
            page_bytes: 32_768,
            peerjs_keys: vec!["peerjs".into()],
            peerjs_peers: 20_000,
            postponed_frames: 4_096,
            postponed_bytes: 4_194_304,
            takeover: Takeover::SameOwner,
            resume_grace: Duration::from_secs(30),
            resume_frames: 64,
            resume_bytes: 131_072,
            away_sessions: 5_000,
            bans: 10_000,
            ping_interval: Duration::from_secs(25),
            dead_after: Duration::from_secs(60),
            bus: None,
        }
    }
}

impl Config {
    /// Whether sessions outlive their sockets at all.
    pub const fn offers_resume(&self) -> bool {
        !self.resume_grace.is_zero() && self.away_sessions > 0
    }
}
