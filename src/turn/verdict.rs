//! How a packet can end. Closed sets, because each is a metric label.

/// Declares an enum with `ALL`, `COUNT`, `index()` and `as_label()`: a closed set of metric labels, here and in `telemetry`.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of `index`.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];
            /// How many values there are.
            pub const COUNT: usize = [$(Self::$variant,)*].len();

            /// Metric label.
            pub const fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// Position in `ALL`.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use labels;

/// The end of a packet: every packet handed in has exactly one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Passed on to a peer, a client or a sibling shard.
    Relayed,
    /// A request, answered.
    Answered(Answer),
    /// An Allocate or Connect request that waits for its socket or its peer; counted as `Answered` (or dropped) when that is
    /// known.
    Deferred,
    /// Ended here without an answer.
    Dropped(DropReason),
}

labels! {
    /// What a request was answered with: a success, or an error code this server uses.
    Answer {
        /// Success response.
        Success = "success",
        /// 300 (RFC 8489 §10): the server is draining or told to redirect.
        TryAlternate = "300",
        /// 400.
        BadRequest = "400",
        /// 401: no credentials, or wrong ones.
        Unauthenticated = "401",
        /// 403: the peer is closed to relaying.
        Forbidden = "403",
        /// 405 (RFC 8016 §3.4): mobility is off, or not to be had between these two paths.
        MobilityForbidden = "405",
        /// 420.
        UnknownAttribute = "420",
        /// 437: an allocation where none may be, or none where one must be.
        AllocationMismatch = "437",
        /// 438.
        StaleNonce = "438",
        /// 440.
        AddressFamilyNotSupported = "440",
        /// 441: another user's allocation.
        WrongCredentials = "441",
        /// 442.
        UnsupportedTransportProtocol = "442",
        /// 443.
        PeerAddressFamilyMismatch = "443",
        /// 446: Connect to a peer that is connected already, or about to be.
        ConnectionAlreadyExists = "446",
        /// 447: the peer of a Connect does not answer, or refuses.
        ConnectionTimeoutOrFailure = "447",
        /// 486.
        AllocationQuotaReached = "486",
        /// 508: no port, no socket, or a table of the allocation is full.
        InsufficientCapacity = "508",
    }
}

labels! {
    /// Why a packet ended without an answer.
    DropReason {
        /// Neither STUN nor ChannelData by its first byte (RFC 7983).
        NotStun = "not_stun",
        /// STUN or ChannelData by its first byte, but broken inside.
        Malformed = "malformed",
        /// A STUN message whose FINGERPRINT is wrong.
        BadFingerprint = "bad_fingerprint",
        /// A response: servers send none a request.
        UnexpectedResponse = "unexpected_response",
        /// An indication of a method that has none, or with attributes that are missing or not understood.
        BadIndication = "bad_indication",
        /// A Binding indication: a keepalive that wants nothing.
        Keepalive = "keepalive",
        /// Data on a 5-tuple without an allocation.
        NoAllocation = "no_allocation",
        /// ChannelData on a channel that is not bound.
        NoChannel = "no_channel",
        /// No permission for the peer, outward or inward.
        NoPermission = "no_permission",
        /// The peer is closed to relaying (counted by class as well).
        PeerDenied = "peer_denied",
        /// No relayed address of the peer's family.
        FamilyMismatch = "family_mismatch",
        /// Datagrams for a relayed address of TCP (RFC 6062), which takes none.
        TcpAllocation = "tcp_allocation",
        /// A datagram on a relay that does not exist (any more).
        NoRelay = "no_relay",
        /// The peer is an own relayed address that nobody holds.
        NoSuchPeer = "no_such_peer",
        /// Too long for the header it would need.
        TooLong = "too_long",
        /// An Allocate request retransmitted while its relay socket is being bound; the first one will be answered.
        InProgress = "in_progress",
        /// The client left while its Allocate or Connect request waited, or has lost its stream and not come back yet (RFC 8016).
        ClientGone = "client_gone",
        /// From port 0, where nobody can be answered.
        SourcePortZero = "source_port_zero",
        /// More answers to unauthenticated requests from one address than it is due.
        RateLimited = "rate_limited",
        /// More payload than a limit of bytes or packets allows (counted by limit as well).
        OverRate = "over_rate",
        /// An answer that does not fit the buffer. Cannot happen with a realm of sane length.
        AnswerTooLong = "answer_too_long",
    }
}

labels! {
    /// What became of an ICMP error about a datagram to a peer (RFC 8656 §11.5).
    PeerErrorEnd {
        /// The client was told with a Data indication.
        Reported = "reported",
        /// Of a type that clients are not told of.
        OtherType = "other_type",
        /// Of a relay that does not exist (any more).
        NoRelay = "no_relay",
        /// No permission for the peer, or none any more.
        NoPermission = "no_permission",
        /// More errors than the allocation's client, or all of this shard's clients, are told of in a second.
        RateLimited = "rate_limited",
    }
}

labels! {
    /// Why a new allocation was sent to another server (RFC 8489 §10).
    RedirectReason {
        /// The process is about to end.
        Draining = "draining",
        /// It has too many allocations.
        Allocations = "allocations",
        /// It has been relaying too much for a while.
        Rate = "rate",
        /// It is told to send everybody away.
        Always = "always",
    }
}

labels! {
    /// How a Binding request to a place of NAT discovery was answered (RFC 5780 §6.1).
    DiscoveryAnswer {
        /// From where it came to, with the other address.
        Told = "told",
        /// The same, from another address or port, or to another port.
        Moved = "moved",
        /// Without the other address, because its sender is over its budget and asked for nothing more.
        Short = "short",
    }
}

labels! {
    /// Why a request was not authenticated (RFC 8489 §9.2.4). `NoCredentials` is how every session begins.
    AuthFailure {
        /// No MESSAGE-INTEGRITY: the first request of a client.
        NoCredentials = "no_credentials",
        /// MESSAGE-INTEGRITY without USERNAME or USERHASH, REALM and NONCE.
        MissingAttribute = "missing_attribute",
        /// PASSWORD-ALGORITHM(S) incomplete or changed on the way.
        BidDown = "bid_down",
        /// REALM is not ours.
        WrongRealm = "wrong_realm",
        /// Neither a static user nor a time-limited username.
        UnknownUser = "unknown_user",
        /// MESSAGE-INTEGRITY does not match.
        WrongPassword = "wrong_password",
        /// ACCESS-TOKEN is not shaped like a token, or not sealed for this server with the key of its kid (RFC 7635).
        BadToken = "bad_token",
        /// The username's expiry is past (judged at Allocate only), or the token's.
        Expired = "expired",
        /// The nonce is ours but too old.
        StaleNonce = "stale_nonce",
        /// The nonce is not one we gave to this address.
        ForeignNonce = "foreign_nonce",
        /// Good credentials, but not those of the allocation.
        WrongUser = "wrong_user",
        /// Good credentials that an operator has revoked (403; judged at Allocate and Refresh).
        Revoked = "revoked",
    }
}

labels! {
    /// Which bound refused something.
    QuotaKind {
        /// Allocations of one user (486).
        User = "user",
        /// Allocations of one client address or prefix (486).
        Client = "client",
        /// Allocations of the process (508).
        Process = "process",
        /// Allocations of one realm (486).
        Realm = "realm",
        /// No free relay port (508).
        Ports = "ports",
        /// Permissions of one allocation (508).
        Permissions = "permissions",
        /// Channels of one allocation (508).
        Channels = "channels",
        /// Reserved ports of the process (508).
        Reservations = "reservations",
        /// Data connections of one TCP allocation, or of one user with many of them (508, or closed at once).
        Connections = "connections",
        /// Data connections of the process (508, or closed at once).
        ProcessConnections = "process_connections",
        /// Data connections of the process that no client has bound yet (508, or closed at once).
        PendingConnections = "pending_connections",
        /// Remembered answers of closed allocations; the oldest one made room.
        RetransmitCache = "retransmit_cache",
    }
}

labels! {
    /// Why an Allocate request with good credentials was answered with an error.
    AllocateRefusal {
        /// 486: the user, the client's address or the realm holds as many as it may.
        Quota = "quota",
        /// 508: the process holds as many as it may, or there is no port or socket.
        Capacity = "capacity",
        /// 508: the process is about to end.
        Draining = "draining",
        /// 300.
        Redirected = "redirected",
        /// 403: an operator has revoked the credentials.
        Revoked = "revoked",
        /// Any other: the request makes no sense, or asks for what is not offered.
        Request = "request",
    }
}

labels! {
    /// What the process has so much of and no more.
    Resource {
        /// Allocations.
        Allocations = "allocations",
        /// Relay ports: of the worker whose share is fullest.
        Ports = "ports",
        /// Reserved ports.
        Reservations = "reservations",
        /// Data connections of TCP.
        Connections = "connections",
        /// Data connections that no client has bound yet.
        PendingConnections = "pending_connections",
    }
}

labels! {
    /// Which limit a packet was dropped by.
    RateKind {
        /// Bytes of one allocation.
        AllocationBytes = "allocation_bytes",
        /// Packets of one allocation.
        AllocationPackets = "allocation_packets",
        /// Bytes of one user.
        UserBytes = "user_bytes",
        /// Packets of one user.
        UserPackets = "user_packets",
        /// Bytes of one realm.
        RealmBytes = "realm_bytes",
        /// Packets of one realm.
        RealmPackets = "realm_packets",
        /// Bytes of the process.
        TotalBytes = "total_bytes",
        /// Packets of the process.
        TotalPackets = "total_packets",
    }
}

labels! {
    /// How an allocation ended.
    CloseReason {
        /// Refresh with LIFETIME 0.
        Deleted = "deleted",
        /// Its lifetime ran out.
        Expired = "expired",
        /// The client's stream closed.
        ClientGone = "client_gone",
        /// An operator ended it.
        Operator = "operator",
        /// Its relay socket could not be had, so it never lived.
        BindFailed = "bind_failed",
        /// The process ended.
        Shutdown = "shutdown",
    }
}

labels! {
    /// How the move of an allocation to another 5-tuple ended (RFC 8016 §3.2).
    MoveEnd {
        /// The client was heard on the new path.
        Used = "used",
        /// The client was heard on neither path until the time was up, and is believed to be on the new one.
        Silent = "silent",
        /// The old path was a stream and closed.
        OldClosed = "old_closed",
        /// The allocation ended, another move began, the new stream closed, or the client came back to the old path.
        Abandoned = "abandoned",
    }
}

labels! {
    /// Who opened a data connection of a TCP allocation (RFC 6062).
    Initiator {
        /// The client, by Connect.
        Client = "client",
        /// A peer, by connecting to the relayed address.
        Peer = "peer",
    }
}

labels! {
    /// How a data connection of a TCP allocation ended (RFC 6062 §5).
    ConnectionEnd {
        /// A peer without a permission: closed as soon as it was accepted.
        NoPermission = "no_permission",
        /// A peer's connection beyond a limit (counted by limit as well): closed as soon as it was accepted.
        NoRoom = "no_room",
        /// The peer refused the connection, or cannot be reached.
        ConnectFailed = "connect_failed",
        /// The peer did not answer in time.
        ConnectTimeout = "connect_timeout",
        /// No client bound it in time.
        Unbound = "unbound",
        /// Both sides have ended it.
        Finished = "finished",
        /// The client's half broke: reset, or against the rules of TLS.
        ClientFailed = "client_failed",
        /// The peer's half broke.
        PeerFailed = "peer_failed",
        /// One side had ended it, and the other neither said nor read anything for too long.
        HalfClosed = "half_closed",
        /// New rules close its peer.
        Revoked = "revoked",
        /// Its allocation ended.
        AllocationEnded = "allocation_ended",
        /// A system call failed that should not.
        Failed = "failed",
    }
}

labels! {
    /// Which way payload went.
    Direction {
        /// From a client towards a peer.
        ClientToPeer = "client_to_peer",
        /// From a peer towards a client.
        PeerToClient = "peer_to_client",
    }
}
