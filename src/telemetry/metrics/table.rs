//! Every metric there is. A metric that is not in here cannot be written; `docs/metrics.md` is made from this table.

use super::family::{Family, Kind};
use super::label_sets::*;

/// Upper bounds of request durations, seconds: the answers are made from memory, so what is slow is queueing.
const DURATIONS: &[f64] = &[0.0001, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Upper bounds of the durations of probes, seconds: round trips across the world, twice and more, and a lost packet.
const PROBE_DURATIONS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

macro_rules! table {
    ($($area:literal { $($name:ident = $kind:expr, $metric:literal, [$($label:expr),*], $help:literal;)* })*) => {
        $($(
            #[doc = $help]
            pub static $name: Family = Family { name: $metric, help: $help, kind: $kind, labels: &[$($label),*] };
        )*)*

        /// The table, by area, in the order in which it is documented.
        pub static AREAS: &[(&str, &[&Family])] = &[$(($area, &[$(&$name),*])),*];
    };
}

table! {
    "Relay: sessions" {
        ALLOCATIONS = Kind::Gauge, "meetpoint_relay_allocations", [FAMILY, TRANSPORT],
            "Living relayed addresses, by their address family and the transport of the client leg. A dual allocation counts in both families.";
        ALLOCATIONS_PENDING = Kind::Gauge, "meetpoint_relay_allocations_pending", [],
            "Allocate requests whose relay socket is being bound, and Connect requests whose peer has not answered.";
        ALLOCATIONS_CREATED = Kind::Counter, "meetpoint_relay_allocations_created_total", [],
            "Allocations answered with success.";
        ALLOCATIONS_REFRESHED = Kind::Counter, "meetpoint_relay_allocations_refreshed_total", [],
            "Successful Refresh requests that kept an allocation.";
        ALLOCATIONS_CLOSED = Kind::Counter, "meetpoint_relay_allocations_closed_total", [CLOSE_REASON],
            "Allocations that ended.";
        MOVES_BEGUN = Kind::Counter, "meetpoint_relay_moves_begun_total", [],
            "Refresh requests with a mobility ticket that opened a second path to an allocation (RFC 8016).";
        MOVES_ENDED = Kind::Counter, "meetpoint_relay_moves_ended_total", [MOVE_END],
            "Moves that are over, by which path was kept and why.";
        PERMISSIONS = Kind::Gauge, "meetpoint_relay_permissions", [],
            "Living permissions.";
        PERMISSIONS_CREATED = Kind::Counter, "meetpoint_relay_permissions_created_total", [],
            "Permissions that were new, not refreshed.";
        PERMISSIONS_REVOKED = Kind::Counter, "meetpoint_relay_permissions_revoked_total", [],
            "Permissions removed because new rules close their peer.";
        CHANNELS = Kind::Gauge, "meetpoint_relay_channels", [],
            "Living channel bindings.";
        CHANNELS_CREATED = Kind::Counter, "meetpoint_relay_channels_created_total", [],
            "Channel bindings that were new, not refreshed.";
        CHANNELS_REVOKED = Kind::Counter, "meetpoint_relay_channels_revoked_total", [],
            "Channel bindings removed because new rules close their peer.";
        RESERVATIONS_CREATED = Kind::Counter, "meetpoint_relay_reservations_created_total", [],
            "Ports reserved by EVEN-PORT.";
        RESERVATIONS_EXPIRED = Kind::Counter, "meetpoint_relay_reservations_expired_total", [],
            "Reserved ports that nobody claimed in time.";
    }
    "Relay: traffic" {
        PAYLOAD_PACKETS = Kind::Counter, "meetpoint_relay_payload_packets_total", [DIRECTION, TRANSPORT],
            "Packets relayed, by the transport of the client leg. Grows while sessions live. A packet between two clients of this server counts in both directions.";
        PAYLOAD_BYTES = Kind::Counter, "meetpoint_relay_payload_bytes_total", [DIRECTION, TRANSPORT],
            "Bytes relayed, without STUN, ChannelData, UDP and IP headers.";
        HAIRPIN_PACKETS = Kind::Counter, "meetpoint_relay_hairpin_packets_total", [],
            "Packets handed from client to client inside the process, without passing a relay socket.";
        HAIRPIN_BYTES = Kind::Counter, "meetpoint_relay_hairpin_bytes_total", [],
            "Bytes of those packets.";
    }
    "Relay: verdicts" {
        CLIENT_PACKETS = Kind::Counter, "meetpoint_relay_client_packets_total", [TRANSPORT],
            "Datagrams and frames received from clients. Together with the peers' packets it equals relayed + answered + dropped + pending.";
        PEER_PACKETS = Kind::Counter, "meetpoint_relay_peer_packets_total", [],
            "Datagrams received from peers.";
        RELAYED = Kind::Counter, "meetpoint_relay_relayed_packets_total", [],
            "Packets passed on.";
        ANSWERED = Kind::Counter, "meetpoint_relay_answers_total", [ANSWER],
            "Requests answered: `success`, or the error code.";
        DROPPED = Kind::Counter, "meetpoint_relay_dropped_packets_total", [DROP_REASON],
            "Packets that ended without an answer.";
        OVER_RATE = Kind::Counter, "meetpoint_relay_over_rate_packets_total", [DIRECTION, RATE],
            "Payload packets dropped because a limit of bytes or packets was reached (`over_rate` among the dropped), by that limit.";
        AUTH_FAILURES = Kind::Counter, "meetpoint_relay_auth_failures_total", [AUTH_FAILURE],
            "Requests that were not authenticated. `no_credentials` and `stale_nonce` are part of every session.";
        DENIED_PEERS = Kind::Counter, "meetpoint_relay_denied_peers_total", [PEER_CLASS],
            "Peers that a client asked for and did not get, by why they are closed.";
        PEER_ERRORS = Kind::Counter, "meetpoint_relay_peer_errors_total", [PEER_ERROR],
            "ICMP errors about datagrams to peers, by what became of them. They are no packets and have no verdict.";
        REDIRECTS = Kind::Counter, "meetpoint_relay_redirects_total", [REDIRECT],
            "Allocate requests that were sent to another server with 300, by why.";
        DISCOVERY_ANSWERS = Kind::Counter, "meetpoint_relay_nat_discovery_answers_total", [DISCOVERY_ANSWER],
            "Binding requests answered at an address of NAT discovery. `moved` left from another address or port, `short` were of clients over their budget.";
        QUOTA_HITS = Kind::Counter, "meetpoint_relay_quota_hits_total", [QUOTA],
            "Refusals because a bound was reached.";
        RETRANSMITS = Kind::Counter, "meetpoint_relay_retransmits_total", [],
            "Requests answered from memory because they were retransmitted.";
        EVENTS_UNNOTED = Kind::Counter, "meetpoint_relay_events_dropped_total", [],
            "Events that a worker had no room for: more things repeated at once than it folds, or more ended at once than may live.";
    }
    "Realms" {
        REALM_ALLOCATIONS = Kind::Gauge, "meetpoint_realm_allocations", [REALM],
            "Living allocations. A dual allocation counts once.";
        REALM_ALLOCATIONS_CREATED = Kind::Counter, "meetpoint_realm_allocations_created_total", [REALM],
            "Allocations answered with success.";
        REALM_ALLOCATIONS_PEAK = Kind::Gauge, "meetpoint_realm_allocations_peak", [REALM],
            "Most allocations that lived at once since the process began, exactly: what a gauge at the scrapes misses is in it.";
        REALM_ALLOCATIONS_LIMIT = Kind::Gauge, "meetpoint_realm_allocations_limit", [REALM],
            "Allocations that the realm may hold (`realms.NAME.allocations`); 0: as many as the process.";
        REALM_ALLOCATIONS_RATIO = Kind::Gauge, "meetpoint_realm_allocations_used_ratio", [REALM],
            "Living allocations against what the realm may hold, or else the process: at 1 the next one is answered 486 (508).";
        REALM_ALLOCATION_SECONDS = Kind::Counter, "meetpoint_realm_allocation_seconds_total", [REALM],
            "Time that allocations have lived, all together, those that live now included.";
        REALM_USERS = Kind::Gauge, "meetpoint_realm_users", [REALM],
            "Users that hold an allocation, as quotas count users.";
        REALM_CREDENTIALS_USED = Kind::Gauge, "meetpoint_realm_credentials_used", [REALM],
            "About how many different USERNAMEs have opened an allocation since the process began (an estimate, standard error 3.3 %). More than were issued: somebody else mints with the secret.";
        REALM_ALLOCATIONS_REFUSED = Kind::Counter, "meetpoint_realm_allocations_refused_total", [REALM, ALLOCATE_REFUSAL],
            "Allocate requests with good credentials that were answered with an error: a quota, a drain, a wish that cannot be granted.";
        REALM_AUTH_FAILURES = Kind::Counter, "meetpoint_realm_auth_failures_total", [REALM, AUTH_FAILURE],
            "Requests with credentials that name the realm and were turned away, stale nonces among them. Whoever knows a realm's name can make it grow.";
        REALM_BYTES = Kind::Counter, "meetpoint_realm_payload_bytes_total", [REALM, DIRECTION],
            "Bytes relayed, without STUN, ChannelData, UDP and IP headers.";
        REALM_PACKETS = Kind::Counter, "meetpoint_realm_payload_packets_total", [REALM, DIRECTION],
            "Packets relayed.";
        REALM_OVER_RATE = Kind::Counter, "meetpoint_realm_over_rate_packets_total", [REALM],
            "Payload packets dropped because a limit of bytes or packets was reached: its own, or one that it came under.";
        REALM_CREDENTIALS = Kind::Counter, "meetpoint_realm_credentials_issued_total", [REALM],
            "Credentials issued by the API and the hub. What a tenant mints itself is not seen.";
        REALM_CREDENTIALS_REFUSED = Kind::Counter, "meetpoint_realm_credentials_refused_total", [REALM, ISSUE_REFUSAL],
            "Wishes for a credential of the realm that were not granted. Those of nobody whom a token or a key made known count for no realm.";
    }
    "Quotas and abuse" {
        QUOTA_RATIO = Kind::Gauge, "meetpoint_quota_used_ratio", [RESOURCE],
            "How much is used of what there is, from 0 to 1: at 1 the next one is refused. `ports` is of the worker whose share of the relay ports is fullest.";
        FAILING_SOURCES = Kind::Gauge, "meetpoint_relay_auth_failing_sources", [],
            "About how many client addresses (IPv6: prefixes) had credentials turned away in this minute or the last one, whichever is more (an estimate, standard error 3.3 %). None of them is forged: each had been given its nonce. Many of them, and few failures of each: credentials are being tried.";
        UNAUTHENTICATED_REQUESTS = Kind::Counter, "meetpoint_relay_unauthenticated_request_bytes_total", [],
            "Bytes of the requests by UDP that were answered without credentials.";
        UNAUTHENTICATED_ANSWERS = Kind::Counter, "meetpoint_relay_unauthenticated_answer_bytes_total", [],
            "Bytes of those answers. Against the bytes of the requests it is what somebody gains who forges his source: above 3 something is wrong, whatever the packets.";
    }
    "ICE lists" {
        ICE_LISTS = Kind::Counter, "meetpoint_ice_lists_total", [LIST],
            "Lists that were made, by the rule that they were made by: `default` where none fits.";
        ICE_SERVERS = Kind::Counter, "meetpoint_ice_servers_given_total", [SERVER],
            "Times that a server of `[servers.NAME]` was put into a list; `own` is this server's relay, `extra` what `ice.extra` and realms add.";
    }
    "Relay: sockets" {
        WORKERS = Kind::Gauge, "meetpoint_relay_workers", [],
            "Threads that relay.";
        RELAY_SOCKETS = Kind::Gauge, "meetpoint_relay_sockets", [],
            "Open relay sockets.";
        RECV_CALLS = Kind::Counter, "meetpoint_relay_recv_calls_total", [],
            "Receive system calls that returned something.";
        RECV_DATAGRAMS = Kind::Counter, "meetpoint_relay_recv_datagrams_total", [],
            "Datagrams received, each segment of a train counted.";
        RECV_TRAINS = Kind::Counter, "meetpoint_relay_recv_trains_total", [],
            "Buffers that held a train of datagrams (GRO).";
        RECV_FAILURES = Kind::Counter, "meetpoint_relay_recv_failures_total", [],
            "Receive system calls that failed.";
        RECV_UNUSABLE = Kind::Counter, "meetpoint_relay_recv_unusable_total", [],
            "Messages longer than their buffer or without a sender to answer; dropped.";
        RECV_OVERFLOWS = Kind::Counter, "meetpoint_relay_recv_overflows_total", [],
            "Datagrams the kernel dropped because a listener's receive buffer was full.";
        SEND_CALLS = Kind::Counter, "meetpoint_relay_send_calls_total", [],
            "Send system calls.";
        SEND_DATAGRAMS = Kind::Counter, "meetpoint_relay_send_datagrams_total", [],
            "Datagrams sent, each segment of a train counted.";
        SEND_TRAINS = Kind::Counter, "meetpoint_relay_send_trains_total", [],
            "Messages sent as a train of datagrams (GSO).";
        SEND_TRAIN_FALLBACKS = Kind::Counter, "meetpoint_relay_send_train_fallbacks_total", [],
            "Trains that the route could not cut and that went datagram by datagram.";
        SEND_FAILURES = Kind::Counter, "meetpoint_relay_send_failures_total", [SEND_FAILURE],
            "Datagrams that could not be sent, and are lost.";
        HANDOVERS = Kind::Counter, "meetpoint_relay_handovers_total", [],
            "Datagrams handed to the worker that owns the peer's relayed address.";
        HANDOVER_OVERFLOWS = Kind::Counter, "meetpoint_relay_handover_overflows_total", [],
            "Hand-overs dropped because that worker's queue was full.";
        HANDOVER_UNOWNED = Kind::Counter, "meetpoint_relay_handover_unowned_total", [],
            "Datagrams for a relayed address of this process that no worker holds.";
        BIND_FAILURES = Kind::Counter, "meetpoint_relay_bind_failures_total", [],
            "Relay sockets that could not be bound.";
    }
    "Relay: TCP allocations" {
        TCP_RELAYS = Kind::Gauge, "meetpoint_relay_tcp_allocations", [FAMILY],
            "Living relayed addresses of TCP (RFC 6062), by their address family. Among `meetpoint_relay_allocations` as well.";
        CONNECTIONS_PENDING = Kind::Gauge, "meetpoint_relay_connections_pending", [],
            "Data connections whose peer has not answered, or whose client has not bound them.";
        CONNECTIONS = Kind::Gauge, "meetpoint_relay_connections", [],
            "Data connections that carry bytes between a client and a peer.";
        CONNECTIONS_OPENED = Kind::Counter, "meetpoint_relay_connections_opened_total", [INITIATOR],
            "Data connections begun, by a client's Connect or by a peer; those closed at once included. Equals ended + pending + carrying.";
        CONNECTIONS_ENDED = Kind::Counter, "meetpoint_relay_connections_ended_total", [CONNECTION_END],
            "Data connections that ended, by why.";
        CONNECTION_PAUSES = Kind::Counter, "meetpoint_relay_connection_pauses_total", [DIRECTION, RATE],
            "Times that a data connection was not read because a limit of bytes or packets was reached.";
    }
    "Relay: streams" {
        STREAMS = Kind::Gauge, "meetpoint_relay_streams", [STREAM],
            "Open streams of TURN clients.";
        STREAMS_OPENED = Kind::Counter, "meetpoint_relay_streams_opened_total", [STREAM],
            "Streams that a worker took in. One whose data connection is at another worker counts at both.";
        STREAMS_CLOSED = Kind::Counter, "meetpoint_relay_streams_closed_total", [STREAM_END],
            "Streams that ended, by why.";
        STREAM_DROPPED = Kind::Counter, "meetpoint_relay_stream_dropped_frames_total", [],
            "Frames dropped because their client does not read them fast enough.";
        FRONT_ACCEPTED = Kind::Counter, "meetpoint_front_connections_total", [LISTENER],
            "TCP connections accepted on the listeners of the relay, of TLS, and of everything on one port.";
        FRONT_REFUSED = Kind::Counter, "meetpoint_front_refused_connections_total", [REFUSAL],
            "Connections closed because a bound was reached.";
        FRONT_FAILED = Kind::Counter, "meetpoint_front_failed_connections_total", [FRONT_FAILURE],
            "Connections that ended before it was known what they speak.";
        CERTIFICATE_EXPIRY = Kind::Gauge, "meetpoint_tls_certificate_expiry_timestamp_seconds", [],
            "When the first of the certificates in use runs out, Unix seconds. Missing without TLS.";
        CERTIFICATE_RELOADS = Kind::Counter, "meetpoint_tls_certificate_reloads_total", [CERTIFICATE_RELOAD],
            "New certificate files, by what became of them.";
        CERTIFICATES_GOOD = Kind::Gauge, "meetpoint_tls_certificates_last_reload_successful", [],
            "0 when the certificate files that changed last cannot be used: those of before go on until they end.";
    }
    "Relay: DTLS" {
        DTLS_SESSIONS = Kind::Gauge, "meetpoint_relay_dtls_sessions", [DTLS_PHASE],
            "DTLS sessions of clients whose address is verified.";
        DTLS_COOKIES = Kind::Counter, "meetpoint_relay_dtls_cookies_total", [],
            "ClientHello messages answered with a cookie. Much more than handshakes: somebody forges addresses, or does not receive.";
        DTLS_ESTABLISHED = Kind::Counter, "meetpoint_relay_dtls_established_total", [],
            "Handshakes that were finished.";
        DTLS_ENDED = Kind::Counter, "meetpoint_relay_dtls_ended_total", [DTLS_END],
            "DTLS sessions that ended, unfinished handshakes included, by why.";
        DTLS_REFUSED = Kind::Counter, "meetpoint_relay_dtls_refused_total", [DTLS_REFUSAL],
            "Datagrams at a DTLS listener that were refused, by why.";
        DTLS_DISCARDED = Kind::Counter, "meetpoint_relay_dtls_discarded_total", [],
            "Datagrams of established sessions that carried nothing: forged, replayed, damaged, or a mere acknowledgement.";
    }
    "Signaling" {
        HUB_CONNECTIONS = Kind::Gauge, "meetpoint_signaling_connections", [],
            "Open WebSockets, greeted or not.";
        HUB_PEERS = Kind::Gauge, "meetpoint_signaling_peers", [],
            "Sessions that have been welcomed, those that wait for their owner too.";
        HUB_AWAY = Kind::Gauge, "meetpoint_signaling_away", [],
            "Sessions whose connection broke and that wait for their owner.";
        HUB_ROOMS = Kind::Gauge, "meetpoint_signaling_rooms", [],
            "Rooms.";
        HUB_MEMBERSHIPS = Kind::Gauge, "meetpoint_signaling_memberships", [],
            "Peers summed over rooms.";
        HUB_MESSAGES = Kind::Counter, "meetpoint_signaling_messages_total", [MESSAGE],
            "Messages received. Each is accepted or refused.";
        HUB_ACCEPTED = Kind::Counter, "meetpoint_signaling_accepted_messages_total", [],
            "Messages carried out.";
        HUB_REFUSED = Kind::Counter, "meetpoint_signaling_refused_messages_total", [ERROR],
            "Messages answered with an error, by its code.";
        HUB_DELIVERIES = Kind::Counter, "meetpoint_signaling_deliveries_total", [],
            "Frames put into a connection's queue.";
        HUB_DELIVERED_BYTES = Kind::Counter, "meetpoint_signaling_delivered_bytes_total", [],
            "Bytes of those frames.";
        HUB_RELAYED_BYTES = Kind::Counter, "meetpoint_signaling_relayed_bytes_total", [],
            "Payload bytes relayed by `send`, counted for each receiver.";
        HUB_RELAY_REFUSED = Kind::Counter, "meetpoint_signaling_relay_refused_total", [RELAY_BUDGET],
            "Messages refused with `relay_busy`, by whose budget was used up: the peer's, its room's or the server's.";
        HUB_OVERFLOWS = Kind::Counter, "meetpoint_signaling_queue_overflows_total", [],
            "Connections closed because their queue was full.";
        HUB_JOINS = Kind::Counter, "meetpoint_signaling_joins_total", [],
            "Room joins.";
        HUB_LEAVES = Kind::Counter, "meetpoint_signaling_leaves_total", [],
            "Room leaves, for whatever reason.";
        HUB_TAKEOVERS = Kind::Counter, "meetpoint_signaling_takeovers_total", [],
            "Connections replaced by a newer one of the same owner.";
        HUB_ICE_PUSHES = Kind::Counter, "meetpoint_signaling_ice_pushes_total", [],
            "ICE server lists sent unasked, because the credentials of the older ones were about to end.";
        HUB_EXPELLED = Kind::Counter, "meetpoint_signaling_expelled_total", [],
            "Sessions that an operator ended.";
        HUB_ROOMS_CLOSED = Kind::Counter, "meetpoint_signaling_rooms_closed_total", [],
            "Rooms that an operator ended.";
        HUB_BANS = Kind::Gauge, "meetpoint_signaling_bans", [],
            "Bans, those included that are over and not yet forgotten (signaling.bans).";
        HUB_BANNED = Kind::Counter, "meetpoint_signaling_banned_total", [],
            "Greetings and joins refused because of a ban.";
        HUB_RESUMES = Kind::Counter, "meetpoint_signaling_resumes_total", [],
            "Sessions that went on over another connection.";
        HUB_RESUMES_REFUSED = Kind::Counter, "meetpoint_signaling_resumes_refused_total", [],
            "Sessions that their owner came back to and that could not go on: too much was missed, or the token is another's.";
        HUB_AWAY_REFUSED = Kind::Counter, "meetpoint_signaling_away_refused_total", [],
            "Broken connections whose session ended at once, because as many as may were waiting (signaling.away_sessions).";
        HUB_AWAY_OVERFLOWS = Kind::Counter, "meetpoint_signaling_away_overflows_total", [],
            "Waiting sessions that ended because they missed more than is kept (signaling.resume_messages, resume_size).";
        HUB_POSTPONED = Kind::Counter, "meetpoint_signaling_postponed_total", [],
            "Messages that waited for somebody to take a PeerJS id.";
        HUB_POSTPONED_WAITING = Kind::Gauge, "meetpoint_signaling_postponed", [],
            "Messages that wait for somebody to take a PeerJS id (at most signaling.peerjs_queue_messages).";
        HUB_POSTPONED_EXPIRED = Kind::Counter, "meetpoint_signaling_postponed_expired_total", [],
            "Senders who were told that nobody took the PeerJS id.";
        HUB_POSTPONED_REFUSED = Kind::Counter, "meetpoint_signaling_postponed_refused_total", [],
            "Messages that could not wait for a PeerJS id (signaling.peerjs_queue_messages, peerjs_queue_size).";
        HUB_CONNECTS = Kind::Counter, "meetpoint_signaling_connects_total", [],
            "Connections accepted.";
        HUB_CONNECTS_REFUSED = Kind::Counter, "meetpoint_signaling_connects_refused_total", [],
            "Connections refused because the table was full.";
        HUB_CLOSES = Kind::Counter, "meetpoint_signaling_closes_total", [CLOSE],
            "Ended connections, by close code.";
    }
    "Probes" {
        PROBE_UP = Kind::Gauge, "meetpoint_probe_up", [SERVER, PROBE_TRANSPORT],
            "1 while every probed URL of the server over that transport works, 0 while one is dead and left out of lists. Servers by their name in the configuration; `own` is this one, `extra` are those of `ice.extra` and of realms. `GET /api/admin/relays` tells them apart.";
        PROBE_DURATION = Kind::Histogram(PROBE_DURATIONS), "meetpoint_probe_duration_seconds", [SERVER, PROBE_TRANSPORT],
            "How long probes took, failed ones too: look-up, connection, TLS, and Binding, or Allocate and Refresh.";
        PROBE_FAILURES = Kind::Counter, "meetpoint_probe_failures_total", [SERVER, PROBE_FAULT],
            "Probes that failed. `local` says something of this machine and nothing of the server, and changes no judgement.";
    }
    "Backplane" {
        BACKPLANE_CONNECTED = Kind::Gauge, "meetpoint_backplane_connected", [],
            "1 while the other replicas can be reached. 0 for longer than a moment, with a backplane configured: each replica is on its own.";
        BACKPLANE_CONNECTS = Kind::Counter, "meetpoint_backplane_connects_total", [],
            "Times the backplane came up, the first time included.";
        BACKPLANE_FAULTS = Kind::Counter, "meetpoint_backplane_faults_total", [BACKPLANE_FAULT],
            "Times the backplane ended, and attempts at it that failed.";
        BACKPLANE_PUBLISHED = Kind::Counter, "meetpoint_backplane_published_total", [],
            "Messages that Redis took from this replica.";
        BACKPLANE_PUBLISHED_BYTES = Kind::Counter, "meetpoint_backplane_published_bytes_total", [],
            "Bytes of those messages.";
        BACKPLANE_RECEIVED = Kind::Counter, "meetpoint_backplane_received_total", [],
            "Messages that came by Redis, those of this replica itself too.";
        BACKPLANE_RECEIVED_BYTES = Kind::Counter, "meetpoint_backplane_received_bytes_total", [],
            "Bytes of those messages.";
        BACKPLANE_DROPPED = Kind::Counter, "meetpoint_backplane_dropped_total", [],
            "Messages dropped because too many waited for Redis (backplane.queue_messages, queue_size). Replicas find together again by themselves.";
        BACKPLANE_QUEUED = Kind::Gauge, "meetpoint_backplane_queued_messages", [],
            "Messages that wait for Redis.";
        BACKPLANE_QUEUED_BYTES = Kind::Gauge, "meetpoint_backplane_queued_bytes", [],
            "Bytes of those messages.";
        BACKPLANE_SUBSCRIPTIONS = Kind::Gauge, "meetpoint_backplane_subscriptions", [],
            "Rooms of this replica that Redis has confirmed.";
        BACKPLANE_ROUND_TRIP = Kind::Gauge, "meetpoint_backplane_round_trip_seconds", [],
            "How long the last message of this replica to itself took, the time in its queue included.";
        BUS_NODES = Kind::Gauge, "meetpoint_backplane_nodes", [],
            "Other replicas that are alive, as far as this one hears.";
        BUS_NODES_LOST = Kind::Counter, "meetpoint_backplane_nodes_lost_total", [],
            "Other replicas that fell silent. Their members have left the rooms.";
        BUS_MIRRORED = Kind::Gauge, "meetpoint_backplane_mirrored_peers", [],
            "Members of rooms here that live on other replicas.";
        BUS_RESYNCS = Kind::Counter, "meetpoint_backplane_resyncs_total", [],
            "Lists of members that were asked for again because a message of them was lost.";
        BUS_WAITING = Kind::Gauge, "meetpoint_backplane_waiting_requests", [],
            "Requests of clients that wait for other replicas.";
        BUS_HELD = Kind::Counter, "meetpoint_backplane_held_total", [],
            "Requests of clients that waited for other replicas, joins mostly.";
        BUS_HELD_TIMEOUTS = Kind::Counter, "meetpoint_backplane_held_timeouts_total", [],
            "Those that waited in vain (backplane.sync_timeout).";
        BUS_HELD_REFUSED = Kind::Counter, "meetpoint_backplane_held_refused_total", [],
            "Requests refused because as many as may were waiting.";
        BUS_MALFORMED = Kind::Counter, "meetpoint_backplane_malformed_total", [],
            "Messages that are none of a replica of this version: broken, too long, or somebody else writes to the channels.";
        BUS_STALE = Kind::Counter, "meetpoint_backplane_stale_total", [],
            "Messages of other replicas about what is not here any more.";
        BUS_TURNED_AWAY = Kind::Counter, "meetpoint_backplane_turned_away_total", [],
            "Messages of other replicas that found a table full (backplane.nodes, mirrored_peers).";
        BUS_CONNECTIONS = Kind::Gauge, "meetpoint_backplane_total_connections", [],
            "Open WebSocket connections of all replicas together, as they told last.";
        BUS_PEERS = Kind::Gauge, "meetpoint_backplane_total_peers", [],
            "Welcomed sessions of all replicas together.";
        BUS_ROOMS = Kind::Gauge, "meetpoint_backplane_total_rooms", [],
            "Rooms of all replicas together, each counted once.";
    }
    "Fleet" {
        FLEET_NODES = Kind::Gauge, "meetpoint_fleet_nodes", [],
            "Other replicas whose relays are heard of.";
        FLEET_RELAYS = Kind::Gauge, "meetpoint_fleet_relays", [RELAY_STANDING],
            "Relays between which this replica chooses, its own among them, by whether they take rooms. None open: rooms go to busy ones, then to those that are dead by their own probes, or lists are made without regard to rooms.";
        FLEET_ANNOUNCEMENTS = Kind::Counter, "meetpoint_fleet_announcements_total", [],
            "Announcements of other replicas' relays.";
        FLEET_LOAD = Kind::Gauge, "meetpoint_fleet_load_percent", [],
            "How full this relay is, as it tells the others: allocations or bytes a second against their bounds, whichever is more. At fleet.busy_percent it becomes busy.";
        FLEET_CHANGES = Kind::Counter, "meetpoint_fleet_revocations_total", [CHANGE_ORIGIN],
            "Changes of the revocations: an operator of this replica made them, another replica told of them, or they were missed and asked for. The same order by an operator counts once on each replica.";
        FLEET_FULL = Kind::Counter, "meetpoint_fleet_revocations_full_total", [],
            "Changes of other replicas for which the table of revocations had no room. Above zero: somebody is let in here who is turned away elsewhere.";
        FLEET_ASKED = Kind::Counter, "meetpoint_fleet_questions_total", [],
            "Questions to other replicas for revocations that this one had missed.";
        FLEET_UNANSWERED = Kind::Counter, "meetpoint_fleet_unanswered_total", [],
            "Questions of other replicas that were put off, because there were too many at once.";
        FLEET_MALFORMED = Kind::Counter, "meetpoint_fleet_malformed_total", [],
            "Messages about relays that are none of a replica of this version, or claim what none claims: somebody else writes to the channels.";
        FLEET_TURNED_AWAY = Kind::Counter, "meetpoint_fleet_turned_away_total", [],
            "Messages of relays of replicas beyond backplane.nodes.";
        FLEET_FORGED = Kind::Counter, "meetpoint_fleet_forged_total", [],
            "Messages about relays that nobody signed who shares a secret (credentials.secrets) with this replica: somebody else writes to the channels, or a replica has other secrets.";
        FLEET_STALE = Kind::Counter, "meetpoint_fleet_stale_total", [],
            "Messages about relays that were said before, or more than five minutes from now by this machine's clock: somebody repeats them, or a clock is wrong.";
        FLEET_CHOICES = Kind::Counter, "meetpoint_fleet_choices_total", [],
            "How often the relays that rooms can be given were put together anew, because one came, went, or has another standing.";
        FLEET_POSTPONED = Kind::Counter, "meetpoint_fleet_choices_postponed_total", [],
            "Changes of relays that were taken in together with others: four times a second at most.";
        FLEET_MOVED = Kind::Counter, "meetpoint_fleet_moved_total", [],
            "Clients of the hub that were given newer ICE servers because their room has another relay.";
    }
    "API" {
        HTTP_REQUESTS = Kind::Counter, "meetpoint_http_requests_total", [ROUTE, METHOD, STATUS],
            "Requests answered.";
        HTTP_DURATION = Kind::Histogram(DURATIONS), "meetpoint_http_request_duration_seconds", [ROUTE],
            "From a request's header to its answer's header.";
        HTTP_RATE_LIMITED = Kind::Counter, "meetpoint_http_rate_limited_total", [],
            "Requests answered 429.";
        HTTP_RATE_EVICTIONS = Kind::Counter, "meetpoint_http_rate_evictions_total", [],
            "Clients forgotten by the rate limit because its table was full. Growing means it is too small, or under attack.";
        HTTP_CONNECTIONS = Kind::Gauge, "meetpoint_http_connections", [],
            "Open TCP connections that speak HTTP. One that became a WebSocket counts under signaling.";
        HTTP_ACCEPTED = Kind::Counter, "meetpoint_http_connections_total", [],
            "TCP connections accepted.";
        HTTP_AT_LIMIT = Kind::Counter, "meetpoint_http_connection_limit_total", [],
            "Times the limit of connections was reached and accepting paused.";
        HTTP_REFUSED = Kind::Counter, "meetpoint_http_connections_refused_total", [],
            "TCP connections closed at once because their client's address had as many as it may.";
        HTTP_TIMEOUTS = Kind::Counter, "meetpoint_http_timeouts_total", [],
            "Requests that took longer than the request timeout.";
        HTTP_HEADS_REFUSED = Kind::Counter, "meetpoint_http_heads_refused_total", [],
            "Requests answered 414 or 431: their path, query or header was too long.";
        HTTP_PANICS = Kind::Counter, "meetpoint_http_panics_total", [],
            "Requests answered 500 because their handler panicked. Always a bug.";
        CREDENTIAL_ISSUES = Kind::Counter, "meetpoint_credentials_issues_total", [SURFACE, ISSUE],
            "Wishes for a credential, by how they ended.";
        TOKEN_FAILURES = Kind::Counter, "meetpoint_auth_token_failures_total", [SURFACE, TOKEN_FAILURE],
            "Bearer tokens turned away.";
        API_KEYS = Kind::Gauge, "meetpoint_api_keys", [],
            "API keys that there are, also those that are switched off.";
        API_KEY_REQUESTS = Kind::Counter, "meetpoint_api_key_requests_total", [KEY, KEY_RESULT],
            "Requests with an API key, by what became of them.";
        API_KEY_UNKNOWN = Kind::Counter, "meetpoint_api_key_unknown_total", [],
            "Texts that were shown as API keys and are none. Each counts against its address as a bad token does (auth.failure_rate).";
        REVOCATIONS_REFUSED = Kind::Counter, "meetpoint_revocations_refused_total", [REVOCATIONS_FULL],
            "Revocations by operators and tenants for which there was no room, by what was full: the table, what all tenants have of it, or what one of them has. Whom they mean is let in still.";
        HUB_CONNECTS_LIMITED = Kind::Counter, "meetpoint_http_connects_rate_limited_total", [],
            "Attempts to open a WebSocket of the hub, and questions about one, past the rate of their address.";
        AUTH_HOOK_VERDICTS = Kind::Counter, "meetpoint_auth_hook_verdicts_total", [HOOK_VERDICT],
            "Questions to the service that judges tokens, by what became of them. All but `allowed`, `denied` and `kept` let nobody in.";
        TOKEN_MEMORIES = Kind::Counter, "meetpoint_auth_token_memory_total", [TOKEN_MEMORY],
            "Good tokens that keys judge: `known` without verifying, `verified`; and `forgotten` for want of a place. Many of the last: more than 4096 tokens are in use at once.";
        JWKS_FETCHES = Kind::Counter, "meetpoint_auth_jwks_fetches_total", [JWKS_FETCH],
            "Fetches of the issuer's key set. After one that failed the keys of before go on.";
        JWKS_KEYS = Kind::Gauge, "meetpoint_auth_jwks_keys", [],
            "Keys of the issuer's set that can be used.";
        JWKS_FETCHED_AT = Kind::Gauge, "meetpoint_auth_jwks_last_success_timestamp_seconds", [],
            "When the issuer's key set was last fetched, in Unix seconds; 0 never. `time()` less this is its age.";
    }
    "Events" {
        EVENTS = Kind::Counter, "meetpoint_events_total", [RECORD],
            "Events told of. One may stand for many of its kind within a second.";
        EVENTS_DROPPED = Kind::Counter, "meetpoint_events_dropped_total", [],
            "Events that found no room between the workers and those who are told.";
        WEBHOOK_EVENTS = Kind::Counter, "meetpoint_webhook_events_total", [HOOK_END],
            "Events by what became of them on the way to a webhook. All but `delivered` are lost.";
        WEBHOOK_ATTEMPTS = Kind::Counter, "meetpoint_webhook_attempts_total", [HOOK_ATTEMPT],
            "Attempts at a delivery, which may hold many events.";
        WEBHOOK_QUEUED = Kind::Gauge, "meetpoint_webhook_queued_events", [],
            "Events that wait for a webhook or are under way to it.";
        ADMIN_STREAMS = Kind::Gauge, "meetpoint_admin_streams", [],
            "Open streams of events.";
        ADMIN_STREAMS_REFUSED = Kind::Counter, "meetpoint_admin_streams_refused_total", [],
            "Streams of events refused because as many were open as may be.";
        ADMIN_STREAM_LAGGED = Kind::Counter, "meetpoint_admin_stream_lagged_events_total", [],
            "Events that a stream was too slow for.";
        ADMIN_REFUSALS = Kind::Counter, "meetpoint_admin_refusals_total", [ADMIN_REFUSAL],
            "Requests to the admin API without a token that opens.";
    }
    "Usage" {
        USAGE_WRITTEN = Kind::Counter, "meetpoint_usage_records_written_total", [],
            "Records of usage that are in their file.";
        USAGE_FAILURES = Kind::Counter, "meetpoint_usage_write_failures_total", [],
            "Attempts to write records of usage that failed: the disk is full, or the directory is not writable or another process's. They are written later.";
        USAGE_WAITING = Kind::Gauge, "meetpoint_usage_waiting_records", [],
            "Records of usage that wait to be written. Above 0 for long: see the failures.";
        USAGE_LOST = Kind::Counter, "meetpoint_usage_records_lost_total", [],
            "Records of usage that could not be written before the process ended. They are in its log.";
        USAGE_WRITTEN_AT = Kind::Gauge, "meetpoint_usage_last_written_timestamp_seconds", [],
            "When records of usage were last written, Unix seconds; 0 never.";
    }
    "Process" {
        BUILD_INFO = Kind::Gauge, "meetpoint_build_info", [VERSION, REVISION, PROFILE],
            "Always 1.";
        UPTIME = Kind::Gauge, "meetpoint_uptime_seconds", [],
            "Since the process began to count.";
        CONFIG_RELOADS = Kind::Counter, "meetpoint_config_reloads_total", [RELOAD],
            "Times the configuration was read again while the process ran. Growing `rejected`: what is written down is wrong, look at the log.";
        CONFIG_GOOD = Kind::Gauge, "meetpoint_config_last_reload_successful", [],
            "0 when the configuration was rejected as it was last read, secrets in files included: what runs is older, and a restart would fail.";
        CONFIG_PENDING = Kind::Gauge, "meetpoint_config_pending_keys", [],
            "Keys whose new value waits for a restart, as of the last reload.";
        READY = Kind::Gauge, "meetpoint_ready", [],
            "1 while `/readyz` says so: everything listens and nothing drains.";
        DRAINING = Kind::Gauge, "meetpoint_draining", [],
            "1 from the first request to stop until the process ends: living allocations may go on, nobody new gets one.";
        CLOCK = Kind::Gauge, "meetpoint_clock_seconds", [],
            "The clock by which credentials and tokens are judged, Unix seconds. Far from the time of the scrape: one of the two is wrong.";
        PROCESS_START = Kind::Gauge, "process_start_time_seconds", [],
            "When the process began to count, Unix seconds.";
        PROCESS_CPU = Kind::Counter, "process_cpu_seconds_total", [],
            "CPU time in user and system mode.";
        PROCESS_RESIDENT = Kind::Gauge, "process_resident_memory_bytes", [],
            "Memory in RAM.";
        PROCESS_VIRTUAL = Kind::Gauge, "process_virtual_memory_bytes", [],
            "Memory mapped.";
        PROCESS_FDS = Kind::Gauge, "process_open_fds", [],
            "Open file descriptors.";
        PROCESS_MAX_FDS = Kind::Gauge, "process_max_fds", [],
            "Most file descriptors the process may open.";
        PROCESS_THREADS = Kind::Gauge, "process_threads", [],
            "Threads.";
    }
}

/// Every metric.
pub fn families() -> impl Iterator<Item = &'static Family> {
    AREAS.iter().flat_map(|(_, families)| families.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_area_noun_and_unit() {
        let mut seen = BTreeSet::new();
        for family in families() {
            assert!(seen.insert(family.name), "{} is declared twice", family.name);
            let ours = family.name.starts_with("meetpoint_") || family.name.starts_with("process_");
            let clean = family
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(ours && clean, "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert!(
                family.help.ends_with('.') && !family.help.contains('\n'),
                "{}",
                family.name
            );
        }
    }

    #[test]
    fn label_sets_are_closed_small_and_without_doubles() {
        for family in families() {
            for label in family.labels {
                let values = (label.values)();
                let unique: BTreeSet<_> = values.iter().collect();
                assert!((1..=32).contains(&values.len()), "{}: {}", family.name, label.name);
                assert_eq!(unique.len(), values.len(), "{}: {}", family.name, label.name);
            }
        }
    }
}
