//! Keys that take one word of a few.

use crate::config::value::{Fault, Raw, Value, quoted};

/// Declares an enum whose members are written as words.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $member_doc:literal])* $member:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $member_doc])* $member,)* }

        impl $name {
            /// The word it is written as.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$member => $word,)* }
            }
        }

        impl Value for $name {
            fn expects() -> String {
                let words = [$(concat!("`\"", $word, "\"`")),*];
                format!("one of {}", words.join(", "))
            }

            fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
                match raw.text()? {
                    $($word => Ok(Self::$member),)*
                    other => Err(raw.fault(format!("`{other}` is not one of the choices"))),
                }
            }

            fn to_toml(&self) -> String {
                quoted(self.word())
            }
        }
    };
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One line for a person.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

choice! {
    /// Where log lines go.
    LogOutput {
        /// Standard error.
        Stderr = "stderr",
        /// Standard output.
        Stdout = "stdout",
    }
}

choice! {
    /// How much of a client's address a log line shows.
    LogAddresses {
        /// The /24 of IPv4, the /48 of IPv6.
        Network = "network",
        /// All of it.
        Full = "full",
        /// Nothing.
        None = "none",
    }
}

choice! {
    /// Whether those who show neither token nor key get TURN credentials, where nobody is asked for a token.
    AnonymousTurn {
        /// Until there is an API key.
        UntilKeys = "until-keys",
        /// Always.
        Yes = "yes",
        /// Never.
        No = "no",
    }
}

choice! {
    /// Whether this server probes its own URLs.
    ProbeOwn {
        /// Where another TURN server could stand in for it.
        Auto = "auto",
        /// In any case.
        On = "on",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// `iceTransportPolicy` of a list.
    IcePolicy {
        /// Any candidate.
        All = "all",
        /// Relayed ones alone.
        Relay = "relay",
    }
}

choice! {
    /// Who may take a peer id that is in use.
    TakeoverPolicy {
        /// Nobody, until the holder leaves or is found dead.
        Reject = "reject",
        /// The same user, or whoever proves the holder's session.
        SameOwner = "same-owner",
        /// Anybody: the newest connection wins.
        Replace = "replace",
    }
}

choice! {
    /// Who sees the names of rooms and peers.
    RoomListing {
        /// Clients on loopback, and holders of a valid token where tokens are asked for.
        Trusted = "trusted",
        /// Everybody who can reach the port.
        Everyone = "everyone",
        /// Nobody.
        Nobody = "nobody",
    }
}

choice! {
    /// When new allocations are sent to another server.
    RedirectWhen {
        /// While this one drains.
        Draining = "draining",
        /// When it is too full, too.
        Full = "full",
        /// Always.
        Always = "always",
    }
}
