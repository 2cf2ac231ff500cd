//! Closed label sets: a label value that is not in one of these enums cannot be written.

pub(crate) use crate::turn::verdict::labels;

labels! {
    /// Which surface a client came by.
    Surface {
        /// A request to the HTTP API.
        Http = "http",
        /// A message on a signaling WebSocket.
        Websocket = "websocket",
    }
}

labels! {
    /// The route of a request: its template, never its path, which is the client's to choose.
    Route {
        /// `/`, `/console/…`.
        Console = "/console",
        /// `/client.js` and the other bundles of the SDK.
        Client = "/client",
        /// `/api/ice-servers`.
        IceServers = "/api/ice-servers",
        /// `/v1/ice`.
        V1Ice = "/v1/ice",
        /// `/v1/turn`.
        V1Turn = "/v1/turn",
        /// `/v1/usage`.
        V1Usage = "/v1/usage",
        /// The paths of the services of `http.compat`.
        Compat = "http.compat",
        /// `/api/health`.
        ApiHealth = "/api/health",
        /// `/api/signaling/stats`.
        SignalingStats = "/api/signaling/stats",
        /// `/healthz`.
        Healthz = "/healthz",
        /// `/readyz`.
        Readyz = "/readyz",
        /// `/health`.
        Health = "/health",
        /// `/metrics`.
        Metrics = "/metrics",
        /// `/signaling`.
        Signaling = "/signaling",
        /// `/v1/ws`.
        V1Ws = "/v1/ws",
        /// `/v1/validate`.
        V1Validate = "/v1/validate",
        /// `/turn`.
        Turn = "/turn",
        /// `/api/admin/…`, `/v1/rooms…`, `/v1/bans…`, `/v1/tokens`.
        Admin = "/api/admin",
        /// Anything else.
        Unknown = "unknown",
    }
}

labels! {
    /// What a TCP listener is for.
    FrontListener {
        /// TURN over TCP.
        Turn = "turn",
        /// TURN over TLS.
        TurnTls = "turn_tls",
        /// The web server over TLS.
        Https = "https",
        /// Everything, told apart by the first bytes.
        OnePort = "one_port",
        /// The web server without TLS, where proxies say who their clients are.
        Http = "http",
    }
}

labels! {
    /// Why a connection ended before it was known what it speaks.
    FrontFailure {
        /// Too slow with the TLS handshake or the first byte.
        Timeout = "timeout",
        /// A proxy took too long with its PROXY header.
        ProxyTimeout = "proxy_timeout",
        /// A proxy sent no PROXY header, or a broken one.
        ProxyHeader = "proxy_header",
        /// The TLS handshake failed: no common version, cipher or protocol, or an alert.
        Tls = "tls",
        /// It went away.
        Gone = "gone",
        /// Nothing that is served here.
        Unknown = "unknown_protocol",
    }
}

labels! {
    /// What became of new certificate files.
    CertificateReload {
        /// They are in use.
        Replaced = "replaced",
        /// They cannot be used; the old ones stay.
        Failed = "failed",
    }
}

labels! {
    /// A request's method.
    Method {
        /// GET.
        Get = "get",
        /// HEAD.
        Head = "head",
        /// POST.
        Post = "post",
        /// OPTIONS, mostly CORS preflights.
        Options = "options",
        /// Any other.
        Other = "other",
    }
}

labels! {
    /// First digit of a status code.
    StatusClass {
        /// 1xx: a WebSocket began.
        Informational = "1xx",
        /// 2xx.
        Success = "2xx",
        /// 3xx.
        Redirection = "3xx",
        /// 4xx: the client's fault.
        ClientError = "4xx",
        /// 5xx: ours.
        ServerError = "5xx",
    }
}

labels! {
    /// How a wish for a credential ended.
    IssueResult {
        /// A list with a credential.
        Issued = "issued",
        /// Nothing: no token, or a bad one.
        Unauthorized = "unauthorized",
        /// A list without TURN: the token does not allow relaying.
        Withheld = "withheld",
        /// Nothing: too many from this client.
        RateLimited = "rate_limited",
        /// Nothing: the wish made no sense.
        BadRequest = "bad_request",
    }
}

impl IssueResult {
    /// All but [`IssueResult::Issued`] and those of nobody known.
    pub const REFUSALS: [Self; 3] = [Self::Withheld, Self::RateLimited, Self::BadRequest];
}

labels! {
    /// What there is so much of and no more.
    QuotaGauge {
        /// Allocations (`limits.allocations`).
        Allocations = "allocations",
        /// Relay ports (`relay.port_range`), of the worker whose share is fullest.
        Ports = "ports",
        /// Reserved ports (`limits.reservations`).
        Reservations = "reservations",
        /// Data connections of TCP (`limits.tcp_connections`).
        Connections = "connections",
        /// Data connections that no client has bound yet (`limits.tcp_connections_pending`).
        PendingConnections = "pending_connections",
        /// Streams of TURN clients (`streams.max_connections`).
        Streams = "streams",
        /// DTLS sessions (`dtls.max_sessions`).
        DtlsSessions = "dtls_sessions",
        /// Connections of the web server (`http.max_connections`).
        HttpConnections = "http_connections",
        /// Connections of the hub (`signaling.connections`).
        SignalingConnections = "signaling_connections",
        /// Open files.
        Files = "files",
    }
}

labels! {
    /// Why a token was turned away.
    TokenFailure {
        /// None was sent where one is needed.
        Missing = "missing",
        /// Not a token of ours: form, algorithm, signature, issuer or audience.
        Invalid = "invalid",
        /// Past its expiry.
        Expired = "expired",
        /// Good, but not for this.
        Forbidden = "forbidden",
        /// Nobody knows: whoever had to be asked could not be.
        Unavailable = "unavailable",
        /// Not looked at: too many bad ones came from that address.
        Throttled = "throttled",
    }
}

labels! {
    /// What became of a request with an API key of the operator's.
    KeyResult {
        /// It opened.
        Accepted = "accepted",
        /// It is switched off.
        Disabled = "disabled",
        /// Past its end.
        Expired = "expired",
        /// Shown by a page of another origin than its own, or by a program.
        Origin = "origin",
        /// Good, but not for this.
        Scope = "scope",
        /// Too fast.
        RateLimited = "rate_limited",
        /// As many credentials as it may have in this hour or day.
        QuotaExceeded = "quota_exceeded",
    }
}

labels! {
    /// What became of a question to the service that judges tokens.
    HookVerdict {
        /// It says yes.
        Allowed = "allowed",
        /// It says no.
        Denied = "denied",
        /// It was asked this a moment ago, and its answer still counts.
        Kept = "kept",
        /// It gives no answer in time, or one that cannot be understood.
        Failed = "failed",
        /// It failed so often that it is left alone for a while.
        Away = "away",
        /// As many as may are waiting for it.
        Busy = "busy",
    }
}

labels! {
    /// What became of the memory of tokens that keys have verified.
    TokenMemory {
        /// A token was known, and no signature was verified.
        Known = "known",
        /// One was verified, and is known from now on.
        Verified = "verified",
        /// A good one was forgotten to remember another.
        Forgotten = "forgotten",
    }
}

labels! {
    /// How a fetch of the issuer's key set ended.
    JwksFetch {
        /// With a set of which something can be used.
        Fetched = "fetched",
        /// With no answer in time, or one that is no 200.
        Failed = "failed",
        /// With an answer that is no set of keys, is too long, or holds none that can be used.
        Unusable = "unusable",
    }
}

labels! {
    /// How a reload of the configuration ended.
    ReloadResult {
        /// Something is different from now on.
        Applied = "applied",
        /// Nothing that can change without a restart was different.
        Unchanged = "unchanged",
        /// The configuration was wrong: everything is as before.
        Rejected = "rejected",
    }
}

labels! {
    /// Whether the other replicas can be reached.
    BackplaneState {
        /// No backplane is configured: there are no others.
        Off = "off",
        /// Redis is away: each replica is on its own.
        Away = "away",
        /// Redis is there.
        Connected = "connected",
    }
}

labels! {
    /// Why the backplane ended, or did not begin.
    BackplaneFault {
        /// No connection: no such name, no route, nobody who listens.
        Unreachable = "unreachable",
        /// TLS failed: no trust in the certificate, or no common version.
        Tls = "tls",
        /// Redis said no: the password, the rights of the user, or a command.
        Refused = "refused",
        /// Too long without an answer.
        TimedOut = "timed_out",
        /// Redis closed the connection, or it broke.
        Closed = "closed",
        /// More was to be published than may wait.
        Overflow = "overflow",
        /// What came is longer than anything a replica sends.
        TooLong = "too_long",
    }
}

labels! {
    /// What a probe asks for, and over what.
    ProbeTransport {
        /// A binding.
        Stun = "stun",
        /// An allocation over UDP.
        Udp = "udp",
        /// An allocation over TCP.
        Tcp = "tcp",
        /// An allocation over TLS.
        Tls = "tls",
        /// An allocation over DTLS.
        Dtls = "dtls",
    }
}

labels! {
    /// Why a probe of a STUN or TURN server failed.
    ProbeFault {
        /// Its name has no address.
        Resolve = "resolve",
        /// No connection: no route to the host, or no answer to the attempt.
        Unreachable = "unreachable",
        /// Nobody listens there.
        Refused = "refused",
        /// TLS failed: no trust in the certificate, another name in it, or no common version.
        Tls = "tls",
        /// No answer in time.
        Silent = "silent",
        /// The server ended the connection.
        Closed = "closed",
        /// What came is no answer of a STUN or TURN server, or not one of who knows the password.
        BadAnswer = "bad_answer",
        /// The credential was turned away.
        Unauthorized = "unauthorized",
        /// The server has no room, or the probe's user has too many allocations.
        Full = "full",
        /// The server answered with another error.
        Rejected = "rejected",
        /// This machine could not ask: no route of that family, no socket, nothing that can be tested.
        Local = "local",
    }
}

labels! {
    /// What kind of event is told of.
    RecordKind {
        /// An allocation was made.
        Created = "created",
        /// An allocation was refreshed.
        Refreshed = "refreshed",
        /// An allocation follows its client.
        Moved = "moved",
        /// An allocation ended.
        Closed = "closed",
        /// A peer was refused.
        Denied = "denied",
        /// A bound or a rate was reached.
        Limited = "limited",
        /// TURN credentials were turned away.
        AuthFailed = "auth_failed",
        /// An operator did something, or somebody wanted to be one.
        Admin = "admin",
        /// An operator ended a session of the hub.
        HubKick = "hub.kick",
        /// An operator keeps somebody out of a room or of the hub.
        HubBan = "hub.ban",
        /// An operator lets somebody in again.
        HubUnban = "hub.unban",
        /// What a tenant used in an interval.
        Usage = "usage",
        /// An operator ended a room.
        HubRoomClosed = "hub.room_closed",
        /// A server in the ICE lists does not work and is left out.
        RelayDown = "relay_down",
        /// It works again.
        RelayUp = "relay_up",
    }
}

labels! {
    /// What became of an attempt at a delivery to a webhook.
    HookAttempt {
        /// 2xx.
        Taken = "taken",
        /// An answer that another attempt would not change.
        Refused = "refused",
        /// No answer, or 408, 429 or 5xx.
        Failed = "failed",
    }
}

labels! {
    /// What became of an event on the way to a webhook.
    HookEnd {
        /// The receiver took it.
        Delivered = "delivered",
        /// Too much waited already.
        QueueFull = "queue_full",
        /// The receiver does not want it.
        Refused = "refused",
        /// The receiver did not take it for too long.
        GaveUp = "gave_up",
        /// The process ended before.
        Shutdown = "shutdown",
        /// The webhook was removed from the configuration.
        Removed = "removed",
    }
}

labels! {
    /// Why the admin API let somebody not in.
    AdminRefusal {
        /// No token.
        Missing = "missing",
        /// No token of an operator.
        Invalid = "invalid",
        /// Too many of those from one address.
        Limited = "limited",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_at_its_own_index() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), index);
        }
        let mut words: Vec<_> = Route::ALL.iter().map(|route| route.as_label()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Route::COUNT);
    }
}
