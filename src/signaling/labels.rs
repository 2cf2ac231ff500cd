//! The closed sets: kinds of message, error codes, close codes. Each is a wire word, a metric label and an index at once.

/// Declares an enum whose members have one word each, which is both the metric label and, where there is one, the word on the wire.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every member, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of this member: `snake_case`, stable, safe as a metric label.
            pub const fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// Position in [`Self::ALL`].
            pub const fn index(self) -> usize { self as usize }
        }
    };
}

labels! {
    /// What a received message was.
    MessageKind {
        /// `hello`
        Hello => "hello",
        /// `join`
        Join => "join",
        /// `leave`
        Leave => "leave",
        /// `sig`
        Sig => "sig",
        /// `send`
        Send => "send",
        /// `meta`
        Meta => "meta",
        /// `room`
        Room => "room",
        /// `who`
        Who => "who",
        /// `ice`
        Ice => "ice",
        /// `auth`
        Auth => "auth",
        /// `ack`
        Ack => "ack",
        /// `ping`
        Ping => "ping",
        /// `bye`
        Bye => "bye",
        /// A well-formed frame whose `t` is not known here.
        Unknown => "unknown",
        /// Text that is not one JSON object with a string `t`, or a known message with missing or wrong fields.
        Malformed => "malformed",
        /// A binary frame that is no `send`, or on a connection that reads none.
        Binary => "binary",
        /// A frame longer than the limit.
        Oversize => "oversize",
    }
}

labels! {
    /// Why the hub refused a message: the `code` of `err`.
    ErrorCode {
        /// Not one JSON object with a string `t`, nor a binary frame of this protocol.
        BadFrame => "bad_frame",
        /// A known message with a missing, wrong or contradictory field, or at the wrong moment.
        BadRequest => "bad_request",
        /// A `t` this server does not know.
        UnknownType => "unknown_type",
        /// A token is needed, or the one given is not valid.
        Unauthorized => "unauthorized",
        /// The token is past its expiry.
        Expired => "expired",
        /// The identity or the room key does not allow it.
        Forbidden => "forbidden",
        /// The room, the connection's list of rooms or the process is at its bound.
        RoomFull => "room_full",
        /// The room does not exist, or the sender is not in it.
        NoRoom => "no_room",
        /// Nobody of that id is in the room.
        NoPeer => "no_peer",
        /// Another owner holds that peer id in the room.
        IdTaken => "id_taken",
        /// Too many messages or bytes; `retry` says when.
        RateLimited => "rate_limited",
        /// A frame, a name or presence data longer than the limit.
        TooLarge => "too_large",
        /// Your user has as many connections as it may.
        Limit => "limit",
        /// The byte budget of `send` is used up; `retry` says when.
        RelayBusy => "relay_busy",
        /// Not offered by this server, or not now: then `retry` says when.
        Unavailable => "unavailable",
    }
}

labels! {
    /// Which budget of relayed data was used up.
    RelayBudget {
        /// That of the peer who sends.
        Peer => "peer",
        /// That of the room.
        Room => "room",
        /// That of the whole process.
        Total => "total",
    }
}

labels! {
    /// How a connection ended. 40xx ask the client to reconnect, 41xx ask it not to.
    CloseCode {
        /// 1000: the client said `bye` or closed.
        Normal => "normal",
        /// 1002: the client broke RFC 6455.
        Protocol => "protocol",
        /// 1006, never on the wire: the socket ended without a close frame.
        Abnormal => "abnormal",
        /// 1007: text that is not UTF-8.
        BadUtf8 => "bad_utf8",
        /// 1009: a frame longer than the limit.
        TooLarge => "too_large",
        /// 4001: no byte for longer than `hb.dead`.
        Dead => "dead",
        /// 4002: the client reads too slowly; its queue was full.
        Slow => "slow",
        /// 4003: the server is going away.
        Drain => "drain",
        /// 4004: kept sending past the rate limit.
        Rate => "rate",
        /// 4005: who this is cannot be judged now, for want of somebody else; come back later.
        Unavailable => "unavailable",
        /// 4100: no `hello` in time, or a `hello` this server cannot accept.
        BadRequest => "bad_request",
        /// 4101: a token is needed, or the one given is not valid.
        BadToken => "bad_token",
        /// 4102: the token expired; fetch a new one, then try once.
        Expired => "expired",
        /// 4103: a newer connection of the same owner took over.
        Replaced => "replaced",
        /// 4105: the identity does not allow it, or an operator ended it.
        Forbidden => "forbidden",
        /// 4106: the process, or your user, has as many connections as it may.
        Limit => "limit",
    }
}

impl CloseCode {
    /// The status code of the close frame (RFC 6455 §7.4). 1006 is reserved and must not be put on the wire.
    pub const fn status(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Abnormal => 1006,
            Self::BadUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::Dead => 4001,
            Self::Slow => 4002,
            Self::Drain => 4003,
            Self::Rate => 4004,
            Self::Unavailable => 4005,
            Self::BadRequest => 4100,
            Self::BadToken => 4101,
            Self::Expired => 4102,
            Self::Replaced => 4103,
            Self::Forbidden => 4105,
            Self::Limit => 4106,
        }
    }
}
