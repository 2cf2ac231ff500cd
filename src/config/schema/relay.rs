//! The relay, its bounds, its peers and its users.

use super::{everywhere, hours, minutes, seconds};
use crate::config::types::{
    AlternateServer, ByteSize, ExternalIp, PortRange, RedirectWhen, SecretText, StaticUser, TcpListen,
};
use crate::config::value::{Between, Must, NonEmpty};
use crate::credentials::key_ring::MAX_SECRETS;
use crate::probe::{Place, Service, Way};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

section! {
    /// The STUN/TURN relay (RFC 8489, RFC 8656).
    Relay as "relay" {
        /// UDP addresses to listen on.
        ///
        /// A wildcard works with any number of addresses and costs two control messages per packet; naming the
        /// address saves them. The IPv6 default is skipped where there is no IPv6.
        listen: Vec<SocketAddr> = everywhere(3478), NonEmpty;
        /// TCP addresses to listen on, for clients whose network lets no UDP through.
        ///
        /// What is relayed beyond this server is UDP as ever, unless `tcp_relay` is on and a client asks for TCP.
        listen_tcp: TcpListen = TcpListen::Same;
        /// TCP addresses for TURN over TLS, usually port 5349. Needs `tls.certificates`.
        listen_tls: Vec<SocketAddr> = Vec::new();
        /// UDP addresses for TURN over DTLS, usually port 5349. Needs `tls.dtls_certificate`, or one of `tls.certificates`
        /// with an ECDSA key.
        ///
        /// Browsers do not use it; TURN over TLS gets through more networks. What is relayed arrives 29 to 37 bytes longer
        /// than over UDP.
        listen_dtls: Vec<SocketAddr> = Vec::new();
        /// Addresses that relayed traffic comes from as peers see them, at most one of each family.
        ///
        /// Without it the addresses of the default routes are found by asking the kernel (no packet is sent). Behind
        /// 1:1 NAT, as in most clouds, write `"public/private"`; `"public"` alone binds that address where this machine
        /// has it, else the address of the default route.
        external_ip: Vec<ExternalIp> = Vec::new();
        /// STUN servers that are asked at the start which address they see, where `external_ip` is not set: one of each family
        /// of this machine's default routes. The first answer counts; without any the process does not start.
        ///
        /// For machines behind 1:1 NAT whose public address is not known beforehand. Who answers, or forges an answer, decides
        /// what address peers are told: none of them gets anything by it, but nobody is reached.
        external_ip_from: Vec<String> = Vec::new(), Must("`stun:` URLs such as \"stun:stun.example.org:3478\"", |urls: &Vec<String>| are_stun_urls(urls));
        /// Grants allocations of TCP (RFC 6062) to clients of TCP and TLS.
        ///
        /// Whoever holds a credential can then open TCP connections from this server to any service on the internet that
        /// `peers` does not close, as by an open proxy with a password, and be reached at TCP ports of `port_range`. Browsers do
        /// not use it.
        tcp_relay: bool = false;
        /// Ports that relayed traffic comes from.
        ///
        /// One allocation holds one port of each family it has, so this bounds the number of allocations.
        port_range: PortRange = PortRange { first: 49_152, last: 65_535 };
        /// Threads that relay; 0 is one for each core. More threads than cores cost context switches.
        workers: usize = 0, Between(0, 1024);
        /// The REALM of RFC 8489 §14.9. Every 401 carries it, so a long one makes a better amplifier.
        realm: String = "meetpoint".to_owned(), Must("1 to 127 characters without quotes", |realm: &String| is_realm(realm));
        /// The SOFTWARE attribute of authenticated answers. Without it none is sent: fewer bytes, fewer hints.
        software: Option<String> = None, Must("at most 127 characters", |text: &Option<String>| text.as_ref().is_none_or(|text| text.chars().count() <= 127));
        /// The lifetime of an allocation whose client asked for none or for less.
        default_lifetime: Duration = minutes(10), Between(minutes(1), hours(24));
        /// The longest lifetime a client can ask for. A client that vanishes holds its port for this long.
        max_lifetime: Duration = hours(1), Between(minutes(1), hours(24));
        /// Lets an allocation follow its client to another address, where the client asks for it (RFC 8016).
        ///
        /// Off, such requests are answered with 405. On, a client that loses its TCP or TLS connection without a word holds
        /// its allocation for up to a minute longer, and packets of clients that moved may pass two workers.
        mobility: bool = false;
        /// Offers SHA-256 with PASSWORD-ALGORITHMS (RFC 8489 §14.11). Clients that do not know it use MD5 as ever.
        offer_sha256: bool = true;
        /// Asks clients of RFC 8489 for USERHASH in place of USERNAME (§9.2.3). Only `credentials.users` can be found
        /// by their hash, time-limited credentials cannot: leave it off when those are used.
        username_anonymity: bool = false;
        /// How long a nonce is good for. Longer means fewer 438 answers, and a longer time to replay a captured request.
        nonce_lifetime: Duration = minutes(10), Between(minutes(1), hours(24));
        /// Secret of the nonces, at least 32 characters. Replicas that one client may meet need the same one.
        ///
        /// Without it each process makes its own at random.
        nonce_secret: Option<SecretText> = None,
            Must("at least 32 characters long", |secret: &Option<SecretText>| secret.as_ref().is_none_or(|secret| secret.expose().len() >= 32));
        /// Other servers, which new allocations of clients by UDP and TCP are sent to with 300 (Try Alternate, RFC 8489 §10)
        /// when `relay.redirect` says so. Living allocations go on.
        ///
        /// Each with an address of one family or both, and with `weight=N` if it shall get N times as many as others
        /// (0: none); they take turns. It must know the same credentials. A client of a family that no server has stays here.
        alternate_servers: Vec<AlternateServer> = Vec::new();
        /// The same for clients by TLS and DTLS, with the TLS port. The name of its certificate goes in front, where it is
        /// not the name that clients use for this server.
        alternate_servers_tls: Vec<AlternateServer> = Vec::new();
        /// When new allocations are sent to another server: while this one drains; when it is too full as well
        /// (`relay.redirect_above`); always.
        redirect: RedirectWhen = RedirectWhen::Full;
        /// Percent of `limits.allocations`, and of `limits.total_bytes_per_second` and `limits.total_packets_per_second`
        /// where these are set, from which on this server is too full. Of the latter it takes some seconds above it.
        redirect_above: u8 = 90, Between(1, 99);
        /// Ports listened at, which other servers have in their `relay.alternate_servers` for this one. Who comes there
        /// has been sent here, and is not sent on: else two full servers send a client to each other until it gives up.
        arrival_ports: Vec<u16> = Vec::new();
        /// How long living allocations may go on after a stop was asked for; a second signal ends the wait.
        ///
        /// It ends as soon as none is left. Raise it, up to the length of a call, where whatever supervises the process
        /// waits as long (`terminationGracePeriodSeconds`, `TimeoutStopSec`, with `http.drain_timeout` on top).
        drain_timeout: Duration = seconds(15), Between(Duration::ZERO, hours(24));
        /// Bytes the kernel may queue for each listening socket before it drops; 0 leaves it to the kernel.
        ///
        /// Raising it rides out longer stalls and costs kernel memory. Capped by `net.core.rmem_max`.
        recv_buffer: ByteSize = ByteSize::mib(2), Between(ByteSize(0), ByteSize::mib(1024));
        /// Bytes of unsent datagrams for each listening socket; 0 leaves it to the kernel. Capped by
        /// `net.core.wmem_max`.
        send_buffer: ByteSize = ByteSize::mib(2), Between(ByteSize(0), ByteSize::mib(1024));
        /// As `recv_buffer`, for the socket of each allocation: the worst case is this times the allocations.
        relay_recv_buffer: ByteSize = ByteSize(0), Between(ByteSize(0), ByteSize::mib(64));
        /// As `send_buffer`, for the socket of each allocation.
        relay_send_buffer: ByteSize = ByteSize(0), Between(ByteSize(0), ByteSize::mib(64));
        /// Takes and sends trains of equal datagrams as one (UDP GRO and GSO). Off only helps to find out whether a
        /// network driver mishandles them.
        offload: bool = true;
        /// How often the counters of the relay are published. Shorter wakes an idle worker more often.
        stats_interval: Duration = Duration::from_millis(250), Between(Duration::from_millis(10), minutes(1));
    }
}

/// What a limit of bytes can say: 1 TB.
pub(super) const MOST_BYTES: ByteSize = ByteSize(1_000_000_000_000);

fn are_stun_urls(urls: &[String]) -> bool {
    let place = |url: &String| Place::of_url(url);
    urls.iter()
        .all(|url| place(url).is_some_and(|place| place.service == Service::Stun && place.way == Way::Udp))
}

pub(super) fn is_realm(realm: &str) -> bool {
    (1..=127).contains(&realm.chars().count()) && !realm.contains(['"', '\\']) && !realm.contains(char::is_control)
}

section! {
    /// What one user, one client, and all together, may hold of the relay.
    Limits as "limits" {
        /// Allocations of one user (the part of the username after the expiry) in this process. Beyond it: 486.
        ///
        /// A browser opens one for each interface and TURN URL of each connection.
        allocations_per_user: u32 = 50, Between(1, 1_000_000);
        /// Count each session of the hub for itself where `allocations_per_user` and the rates of a user apply. Otherwise all
        /// sessions of a user count together; those without a token are users of their own either way.
        ///
        /// Lets a user who opens more sessions have more of the relay.
        count_sessions: bool = false;
        /// Allocations of one client address (IPv4 address, IPv6 /64). Beyond it: 486. Whole companies share an address.
        allocations_per_client: u32 = 500, Between(1, 1_000_000);
        /// Allocations of all. Beyond it: 508. Each costs a socket, a port and some 4 KiB, half of it in the kernel.
        allocations: u32 = 20_000, Between(1, 1_000_000);
        /// Permissions of one allocation. Beyond it: 508. 64 bytes each.
        permissions: u16 = 256, Between(1, 65_535);
        /// Channels of one allocation. Beyond it: 508. 128 bytes each.
        channels: u16 = 256, Between(1, 16_384);
        /// Ports reserved by EVEN-PORT. Beyond it: 508. A socket each, for 30 s.
        reservations: u32 = 500, Between(0, 65_535);
        /// TCP connections of one allocation of `relay.tcp_relay`, those that wait included. Beyond it: 508, and a peer's
        /// connection is closed. Each costs a socket, and twice 64 KiB while one side does not read.
        tcp_connections_per_allocation: u16 = 32, Between(1, 65_535);
        /// TCP connections of all such allocations, at most an eighth of the open files that are allowed. One user has a quarter of
        /// them at most, or as many as one allocation may have.
        tcp_connections: u32 = 4_000, Between(1, 1_000_000);
        /// Those of them whose peer has not answered or that no client has bound; each may wait for 30 s.
        tcp_connections_pending: u32 = 1_000, Between(1, 1_000_000);
        /// Answers in one second to requests without valid credentials, Binding among them, for each client address and worker;
        /// 0 is no limit.
        ///
        /// Beyond it they are dropped and counted: this is what a spoofed source can be hit with.
        unauthenticated_per_second: u16 = 200;
        /// Bytes of payload that one allocation may relay in a second, in each direction on its own; 0 is no limit.
        ///
        /// Counted without STUN, ChannelData, UDP and IP headers. What is beyond is dropped, as a slow line would do, and
        /// counted: no more than the burst and this times the time passes. A video call takes about `"300KiB"`.
        allocation_bytes_per_second: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Bytes of that which may pass at once; 0 is what a tenth of a second brings. Never less than 64 KiB, the largest
        /// datagram.
        allocation_byte_burst: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Packets that one allocation may relay in a second, in each direction on its own; 0 is no limit.
        allocation_packets_per_second: u32 = 0;
        /// Packets of that which may pass at once; 0 is what a tenth of a second brings.
        allocation_packet_burst: u32 = 0;
        /// As `allocation_bytes_per_second`, for all allocations of one user in this process together.
        user_bytes_per_second: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Bytes of that which may pass at once; 0 is what a tenth of a second brings. Never less than 64 KiB, the largest
        /// datagram.
        user_byte_burst: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// As `allocation_packets_per_second`, for all allocations of one user in this process together.
        user_packets_per_second: u32 = 0;
        /// Packets of that which may pass at once; 0 is what a tenth of a second brings.
        user_packet_burst: u32 = 0;
        /// As `allocation_bytes_per_second`, for this process. Workers draw on it in slices, which lets up to 1/20 second's
        /// worth more pass now and less later.
        total_bytes_per_second: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Bytes of that which may pass at once; 0 is what a tenth of a second brings. Never less than 64 KiB, the largest
        /// datagram.
        total_byte_burst: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// As `allocation_packets_per_second`, for this process.
        total_packets_per_second: u32 = 0;
        /// Packets of that which may pass at once; 0 is what a tenth of a second brings.
        total_packet_burst: u32 = 0;
    }
}

section! {
    /// Who may be relayed to. Private, loopback, link-local, multicast and metadata addresses are closed by default, in
    /// every disguise (mapped, compatible, NAT64, 6to4, Teredo), and so are the addresses of this machine.
    Peers as "peers" {
        /// Networks to open that are closed by default.
        ///
        /// Whoever holds a credential then reaches every UDP service in them, and with `relay.tcp_relay` every TCP service. Realms
        /// have their own: `realms.NAME.allow`.
        allow: Vec<IpNet> = Vec::new();
        /// Networks to close, to clients of every realm. Wins over `allow`.
        ///
        /// What a reload closes is closed at once: permissions and channels of living allocations to it are gone.
        deny: Vec<IpNet> = Vec::new();
    }
}

section! {
    /// Time-limited credentials: username `<expiry>:<user>`, password base64(HMAC-SHA1(secret, username)), the scheme
    /// of coturn's `use-auth-secret`.
    Credentials as "credentials" {
        /// Shared secrets, at most 8. The first one mints, every one verifies: to rotate, put a new one in front; with several
        /// replicas first below it, until all know it (docs/scaling.md).
        ///
        /// Without any, one is made at random at each start: credentials then end with the process, and another replica
        /// refuses them. Each further secret costs one more HMAC on the first request of a session.
        secrets: Vec<SecretText> = Vec::new(), Must("at most 8 secrets", |secrets: &Vec<SecretText>| secrets.len() <= MAX_SECRETS);
        /// How long a credential opens allocations, when the client asks for no time. A relay that lives is never cut
        /// by it. A leaked one is good for this long.
        ttl: Duration = hours(1), Between(minutes(1), hours(48));
        /// The longest time a client can ask for with `?ttl=`. A leaked credential is good for that long; a key can have less
        /// (`keys.NAME.max_ttl`).
        max_ttl: Duration = hours(48), Between(minutes(1), hours(48));
        /// Users with fixed passwords, for clients that cannot fetch credentials.
        users: Vec<StaticUser> = Vec::new();
    }
}
