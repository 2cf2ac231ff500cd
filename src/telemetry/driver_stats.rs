//! What a relay driver counts beside the core's own statistics.

use super::labels::labels;

labels! {
    /// Why a datagram could not be sent. The datagram is lost, as UDP allows; the session goes on.
    SendFailure {
        /// The socket's send buffer was full (`EAGAIN`, `ENOBUFS`).
        BufferFull = "buffer_full",
        /// No route, or the neighbour does not answer (`ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`).
        Unreachable = "unreachable",
        /// Longer than the path takes (`EMSGSIZE`).
        TooLong = "too_long",
        /// A local firewall said no (`EPERM`, `EACCES`).
        Refused = "refused",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// What a stream runs over.
    StreamKind {
        /// TCP.
        Tcp = "tcp",
        /// TLS over TCP.
        Tls = "tls",
        /// A WebSocket, with TLS or without.
        WebSocket = "websocket",
    }
}

labels! {
    /// Why a stream ended.
    StreamEnd {
        /// The client closed it.
        Client = "client",
        /// No request for too long, and no allocation.
        Idle = "idle",
        /// The client never sent a whole message.
        Silent = "silent",
        /// Neither STUN nor ChannelData, or longer than a client without an allocation may send.
        Framing = "framing",
        /// The client broke TLS.
        Tls = "tls",
        /// The client broke the WebSocket protocol, or sent text.
        WebSocket = "websocket",
        /// A WebSocket client answers no ping.
        Unresponsive = "unresponsive",
        /// The client asks and does not read the answers.
        SlowReader = "slow_reader",
        /// Reset, or unreachable for too long.
        Failed = "failed",
        /// The client came again from the same address and port.
        Replaced = "replaced",
        /// It was the client's half of a data connection, which ended.
        DataConnection = "data_connection",
        /// It went to the worker that holds the other half of its data connection.
        Moved = "moved",
        /// That worker's queue of new streams was full.
        Busy = "busy",
    }
}

labels! {
    /// Why a connection was closed as soon as it was accepted.
    StreamRefusal {
        /// As many connections as the process takes.
        Total = "total",
        /// As many connections as one client gets.
        Client = "client",
        /// The worker's queue of new streams is full.
        Busy = "busy",
    }
}

labels! {
    /// How far a DTLS session is.
    DtlsPhase {
        /// The client's address is verified, its handshake is not finished.
        Handshake = "handshake",
        /// It carries messages.
        Established = "established",
    }
}

labels! {
    /// Why a DTLS session ended.
    DtlsEnd {
        /// The client closed it.
        Client = "client",
        /// No message for too long, and no allocation.
        Idle = "idle",
        /// The handshake took too long.
        Timeout = "timeout",
        /// The handshake failed, or the client sent a fatal alert.
        Failed = "failed",
        /// The oldest handshake, when there were too many.
        Evicted = "evicted",
        /// The client began anew from the same address and port.
        Replaced = "replaced",
        /// The client asked for a renegotiation.
        Renegotiation = "renegotiation",
        /// As many records as one key is good for.
        Exhausted = "exhausted",
        /// The DTLS library failed.
        Fault = "fault",
        /// This process ends.
        Shutdown = "shutdown",
    }
}

labels! {
    /// Why a datagram at a DTLS listener was refused.
    DtlsRefusal {
        /// Neither of a session nor a ClientHello.
        NoSession = "no_session",
        /// A ClientHello that cannot be read, or one too short to be answered.
        Malformed = "malformed",
        /// A ClientHello that is too long.
        TooLong = "too_long",
        /// A ClientHello in pieces that took the place of another, unfinished one.
        PiecesEvicted = "pieces_evicted",
        /// No version, cipher suite or group in common.
        NothingInCommon = "nothing_in_common",
        /// A cookie that is not, or no longer, good.
        BadCookie = "bad_cookie",
        /// As many sessions as the process takes.
        Total = "total",
        /// As many sessions as one client gets.
        Client = "client",
        /// As many handshakes as one client gets.
        ClientHandshakes = "client_handshakes",
        /// There is no certificate that DTLS can use.
        NoCertificate = "no_certificate",
    }
}

/// Counters (only ever grow) and gauges of one worker, plain integers that it publishes each tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Counter: receive system calls that returned at least one buffer.
    pub recv_calls: u64,
    /// Counter: datagrams received, each segment of a train counted.
    pub recv_datagrams: u64,
    /// Counter: buffers that held a train of two or more datagrams (GRO).
    pub recv_trains: u64,
    /// Counter: receive system calls that failed for another reason than "nothing there".
    pub recv_failures: u64,
    /// Counter: messages longer than their buffer, or from a sender no answer can reach (port 0); dropped.
    pub recv_unusable: u64,
    /// Counter: datagrams that the kernel dropped because a listener's receive buffer was full (`SO_RXQ_OVFL`).
    pub recv_overflows: u64,
    /// Counter: send system calls.
    pub send_calls: u64,
    /// Counter: datagrams sent, each segment of a train counted.
    pub send_datagrams: u64,
    /// Counter: messages that held a train of two or more datagrams (GSO).
    pub send_trains: u64,
    /// Counter: trains that the route could not cut and that went datagram by datagram.
    pub send_train_fallbacks: u64,
    /// Counter: datagrams that could not be sent, by [`SendFailure`].
    pub send_failures: [u64; SendFailure::COUNT],
    /// Counter: datagrams handed to the worker that owns the peer's relayed address.
    pub handovers: u64,
    /// Counter: hand-overs dropped because that worker's queue was full.
    pub handover_overflows: u64,
    /// Counter: datagrams for a relayed address of this process that no worker holds (any more).
    pub handover_unowned: u64,
    /// Counter: relay sockets that could not be bound.
    pub bind_failures: u64,
    /// Gauge: relay sockets open now.
    pub relay_sockets: u64,
    /// Gauge: streams of clients open now, by [`StreamKind`].
    pub streams: [u64; StreamKind::COUNT],
    /// Counter: streams that this worker took in, by [`StreamKind`].
    pub streams_opened: [u64; StreamKind::COUNT],
    /// Counter: streams that ended, by [`StreamEnd`].
    pub streams_closed: [u64; StreamEnd::COUNT],
    /// Counter: frames dropped because their client does not read fast enough.
    pub stream_dropped_frames: u64,
    /// Gauge: DTLS sessions now, by [`DtlsPhase`].
    pub dtls_sessions: [u64; DtlsPhase::COUNT],
    /// Counter: ClientHello messages answered with a cookie; nothing was remembered of them.
    pub dtls_cookies: u64,
    /// Counter: DTLS sessions that were established.
    pub dtls_established: u64,
    /// Counter: DTLS sessions that ended, handshakes included, by [`DtlsEnd`].
    pub dtls_ended: [u64; DtlsEnd::COUNT],
    /// Counter: datagrams at a DTLS listener that were refused, by [`DtlsRefusal`].
    pub dtls_refused: [u64; DtlsRefusal::COUNT],
    /// Counter: datagrams of established DTLS sessions that carried nothing.
    pub dtls_discarded: u64,
}
