//! Clients that come by TCP.

use super::seconds;
use crate::config::types::ByteSize;
use crate::config::value::Between;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

section! {
    /// Clients that come by TCP or TLS (RFC 8489 §6.2.2): everything on one port, how many, and how long they are waited
    /// for.
    Streams as "streams" {
        /// TCP addresses at which everything is served: STUN and TURN over TCP and over TLS, the web server over HTTP and
        /// HTTPS. They are told apart by ALPN and by their first byte. Port 443 is what the strictest networks let through.
        ///
        /// TURN over UDP is served at the same addresses, unless `relay.listen_dtls` has them.
        ///
        /// With `tls.certificates` it speaks TLS; behind a balancer that takes TLS off it works without.
        one_port: Vec<SocketAddr> = Vec::new();
        /// Whether TURN is served inside of WebSockets as well, at `/turn` of the web server: for networks that let nothing
        /// but HTTPS through a proxy. Browsers cannot use it for WebRTC, programs can: docs/turn-over-websocket.md.
        ///
        /// `http.cors_origins` says which pages may. The bounds and times of this section hold for it.
        websocket: bool = false;
        /// Proxies that begin each TCP connection with a PROXY header, version 1 or 2: HAProxy's `send-proxy` and
        /// `send-proxy-v2`, nginx's `proxy_protocol`, most balancers of clouds. The address in it is the client's from then
        /// on, for every limit, in XOR-MAPPED-ADDRESS and for the web server.
        ///
        /// It holds for every listener of TURN and of the web server, `metrics.listen` and `admin.listen` excepted. An
        /// address in here must send a header within `streams.first_timeout`, else its connection is closed; a header of
        /// anybody else is not believed. An address that is no proxy of yours can pass for any client. For headers of HTTP
        /// see `http.trusted_proxies`.
        proxy_protocol_from: Vec<IpNet> = Vec::new();
        /// Connections open at once, those still in a handshake included. Beyond it new ones are closed at once.
        ///
        /// Each costs a file descriptor and about 1 KiB, with TLS 40 KiB.
        max_connections: usize = 20_000, Between(1, 1_000_000);
        /// Connections of one client address (IPv4 address, IPv6 /64). Whole companies share an address.
        max_connections_per_client: usize = 500, Between(1, 1_000_000);
        /// How long a connection without an allocation may go without a request.
        idle_timeout: Duration = seconds(30), Between(seconds(1), seconds(3600));
        /// How long a client may take to its first whole message; with TLS, also how long to the end of the handshake.
        first_timeout: Duration = seconds(10), Between(seconds(1), seconds(300));
        /// What may wait for one client to read it. Beyond it relayed data is dropped, as a full link would.
        ///
        /// At 2 Mbit/s the default is one second of video: more only makes what arrives older.
        queue_size: ByteSize = ByteSize::kib(256), Between(ByteSize::kib(64), ByteSize::mib(16));
    }
}
