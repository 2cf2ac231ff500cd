"""The STUN/TURN relay: who gets one, whether their packets pass, and where those end that do not."""

from kit import EACH, EACH_LEGEND, GREEN, RED, dashboard, lines, now, rate, share, stat, table

RELAYED = rate("meetpoint_relay_relayed_packets_total")

who_gets_one = [
    stat("Relays alive", now("meetpoint_relay_allocations"), "short", width=3,
         says="Living relayed addresses. A dual allocation counts twice.", good="follows your users' day.",
         bad="falls at once: clients lost us.", do="look for a start among the marks."),
    stat("Being made", now("meetpoint_relay_allocations_pending"), "short", width=3, steps=[(None, GREEN), (100, RED)],
         says="Allocate requests whose socket is being bound, and Connect requests whose peer has not answered.",
         good="near 0.", bad="hundreds: the kernel is slow to bind, or peers of TCP relays do not answer.",
         do="see TCP relays below; without them, look at CPU."),
    stat("Workers", now("meetpoint_relay_workers"), "short", width=3, steps=[(None, RED), (1, GREEN)],
         says="Threads that relay, of all processes together.", good="one for each processor (`relay.workers`).",
         bad="0: no relay listens.", do="look at `relay.listen` and at the start log."),
    stat("Sockets", now("meetpoint_relay_sockets"), "short", width=3, runbook="MeetpointDescriptorsNearLimit",
         says="Open relay sockets: one for each living relayed address and reserved port.",
         good="near the number of relays.", bad="far above it for minutes.", do="report it with the log: sockets should end with their allocation."),
    lines("How requests are answered", [(rate("meetpoint_relay_answers_total", by="answer"), "{{answer}}")], "reqps", width=12,
          runbook=("MeetpointAllocateRefused", "MeetpointNoAllocations"),
          says="Answers of all TURN requests and Bindings: `success` or the error code. Each session begins with one 401; 438 renews a nonce.",
          good="`success` far above all else.", bad="508: full. 486: somebody is at a quota. 403: closed peers. 441, 401 without success: secrets disagree.",
          do="508 and 486: Bounds that were reached. 403: Abuse. 401: Sign-in failures of the overview."),
    lines("Relays made and refused", [
        (rate("meetpoint_relay_allocations_created_total"), "made"),
        (rate("meetpoint_realm_allocations_refused_total", by="realm", realm=True), "refused in {{realm}}"),
        (rate("meetpoint_relay_redirects_total", by="reason"), "sent elsewhere: {{reason}}"),
    ], "reqps", runbook=("MeetpointAllocateRefused", "MeetpointNoAllocations"),
        says="Allocate requests with good credentials by how they ended. `sent elsewhere` is 300 with ALTERNATE-SERVER.",
        good="made, and little else.", bad="refused above 5 % of made.", do="see the panel beside: it names the bound."),
    lines("Bounds that were reached", [(rate("meetpoint_relay_quota_hits_total", by="quota"), "{{quota}}")], "reqps",
          runbook=("MeetpointQuotaPressure", "MeetpointPortsExhausted"),
          says="Refusals because a bound was reached. `user` and `client` are one customer's, the others everybody's.",
          good="`user`, `client` now and then.", bad="`process`, `realm`: limits.allocations or the realm's. `ports`: relay.port_range is used up.",
          do="look who holds the relays (Abuse › Realms that take most; then the admin API), before you raise anything."),
    lines("How relays end", [
        (rate("meetpoint_relay_allocations_closed_total", by="reason"), "{{reason}}"),
        (rate("meetpoint_relay_allocations_refreshed_total"), "kept by Refresh"),
    ], "reqps",
        says="`deleted` by the client, `expired` when it fell silent, `client_gone` with its stream, `operator` by you.",
        good="`deleted` and `client_gone`.", bad="`expired` above all: clients vanish, or their Refresh does not reach us. `bind_failed`: no socket.",
        do="`bind_failed`: see Sockets that failed. `expired`: look for loss, and for a balancer that forgets UDP flows."),
]

does_it_pass = [
    lines("Bandwidth by transport", [
        (f"8 * {rate('meetpoint_relay_payload_bytes_total', by='transport', where='direction=' + chr(34) + 'client_to_peer' + chr(34))}",
         "{{transport}}, to peers"),
        (f"8 * {rate('meetpoint_relay_payload_bytes_total', by='transport', where='direction=' + chr(34) + 'peer_to_client' + chr(34))}",
         "{{transport}}, to clients"),
    ], "bps", runbook=("MeetpointBandwidthLimited", "MeetpointNoTraffic"),
        says="Payload by the transport of the client leg, without the headers of STUN, UDP and IP.",
        good="mostly udp.", bad="mostly tcp, tls or websocket: UDP to us is blocked somewhere, and calls are worse for it.",
        do="`meetpoint check` from outside tries each transport."),
    lines("Packets by transport", [(rate("meetpoint_relay_payload_packets_total", by="transport, direction"), "{{transport}} {{direction}}")],
          "pps", runbook="MeetpointCpuSaturated",
          says="Relayed packets by the transport of the client leg. A packet between two clients here counts in both directions.",
          good="in proportion to the bandwidth.", bad="many packets of few bytes: a flood through a relay.",
          do="divide the panel beside by this one; sort the admin API's allocations by packets."),
    lines("Bandwidth by process", [(f"8 * {rate('meetpoint_relay_payload_bytes_total', by=EACH)}", EACH_LEGEND)], "bps",
          runbook="MeetpointBandwidthLimited",
          says="Payload of both directions, for each process.", good="shares that are alike.",
          bad="one that carries nearly all, while it is at its limit.", do="check the balancer; set `relay.alternate_servers` and `relay.redirect`."),
    lines("Over a limit", [
        (rate("meetpoint_relay_over_rate_packets_total", by="limit, direction"), "{{limit}} {{direction}}"),
        (rate("meetpoint_relay_connection_pauses_total", by="limit"), "{{limit}}, TCP held back"),
    ], "pps", runbook="MeetpointBandwidthLimited",
        says="Packets dropped because a limit of bytes or packets was reached, by that limit; TCP relays are read later instead.",
        good="none, or `allocation_…` and `user_…` of a few.", bad="`total_…`: everybody loses packets. `realm_…`: all of one tenant do.",
        do="raise the limit if the line bears it, or add a replica."),
    lines("Lost in this machine", [
        (rate("meetpoint_relay_recv_overflows_total"), "receive buffer full"),
        (rate("meetpoint_relay_send_failures_total", by="reason"), "not sent: {{reason}}"),
        (rate("meetpoint_relay_handover_overflows_total"), "hand-over full"),
        (rate("meetpoint_relay_handover_unowned_total"), "hand-over to nobody"),
        (rate("meetpoint_relay_recv_unusable_total"), "unusable on arrival"),
        (rate("meetpoint_relay_stream_dropped_frames_total"), "client reads too slowly"),
    ], "pps", runbook=("MeetpointReceiveOverflows", "MeetpointSendFailures", "MeetpointSlowReaders"),
        says="Datagrams that came and did not leave, by why. `refused` and `unreachable` are peers that went away.",
        good="0 but for `refused`, `unreachable` and slow readers.", bad="buffers full for more than a moment: no CPU, or bursts larger than buffers.",
        do="see Process › CPU; raise `relay.recv_buffer` and `relay.send_buffer`, and the kernel's net.core.rmem_max with them."),
    lines("Both ways?", [
        (share(rate("meetpoint_relay_payload_packets_total", where='direction="peer_to_client"'),
               rate("meetpoint_relay_payload_packets_total")), "of all packets, those to clients"),
        (share(rate("meetpoint_relay_hairpin_packets_total"), RELAYED), "between two clients here, of all relayed"),
        (share(f"8 * {rate('meetpoint_relay_hairpin_bytes_total')}", f"8 * {rate('meetpoint_relay_payload_bytes_total')}"),
         "the same in bytes"),
    ], "percentunit", max=1, runbook="MeetpointNoTraffic",
        says="The balance of the two directions, and how much never leaves the process.",
        good="near half for calls.", bad="near 0 or 1: answers do not come back; the relay range is closed in a firewall, or `relay.external_ip` is wrong.",
        do="open UDP of `relay.port_range` inwards; `meetpoint check` sends through two relays and back."),
]

where_packets_end = [
    lines("All packets, by how they ended", [
        (RELAYED, "relayed"), (rate("meetpoint_relay_answers_total"), "answered"), (rate("meetpoint_relay_dropped_packets_total"), "dropped"),
    ], "pps", stacked=True,
        says="Each packet ends in one of these. Their sum is what came.", good="relayed above all.",
        bad="dropped grows while relayed does not: a flood, or clients that lost their permissions.", do="see the panel beside for why."),
    lines("Dropped, by why", [(rate("meetpoint_relay_dropped_packets_total", by="reason"), "{{reason}}")], "pps",
          runbook=("MeetpointFlood", "MeetpointReflection", "MeetpointBandwidthLimited"),
          says="Packets without an answer. `no_permission`: a peer speaks unasked. `no_channel`, `no_allocation`: a client goes on after an end.",
          good="little, mostly `no_permission`.", bad="`not_stun`, `malformed`, `rate_limited` in thousands: a flood. `no_allocation` after a start: the calls that the start ended.",
          do="flood: see Abuse. `over_rate`: see Over a limit."),
    lines("What comes", [
        (rate("meetpoint_relay_client_packets_total", by="transport"), "clients, {{transport}}"),
        (rate("meetpoint_relay_peer_packets_total"), "peers"),
    ], "pps", runbook="MeetpointFlood",
        says="Datagrams and frames received, before anything is decided.", good="in proportion to the traffic relayed.",
        bad="clients far above relayed.", do="see Dropped, by why."),
    lines("Errors of the network, and repeats", [
        (rate("meetpoint_relay_peer_errors_total", by="result"), "ICMP: {{result}}"),
        (rate("meetpoint_relay_retransmits_total"), "requests that were repeated"),
        (rate("meetpoint_relay_recv_failures_total"), "receive calls that failed"),
    ], "pps",
        says="ICMP errors about peers by what became of them, and requests that clients sent again.",
        good="repeats below 1 % of answers.", bad="repeats near answers: our answers do not reach clients.",
        do="look at the way out: firewall, asymmetric routes, send buffer."),
    lines("NAT discovery", [(rate("meetpoint_relay_nat_discovery_answers_total", by="kind"), "{{kind}}")], "reqps",
          says="Answers at the addresses of `nat_discovery.addresses` (RFC 5780). `short`: of clients over their budget.",
          good="a trickle, or nothing where it is off.", bad="`short` for long: somebody asks without end.", do="see Abuse › Budget of answers."),
    lines("Moves to another network", [
        (rate("meetpoint_relay_moves_begun_total"), "begun"),
        (rate("meetpoint_relay_moves_ended_total", by="result"), "ended: {{result}}"),
    ], "ops",
        says="Clients that took their relay to another address (RFC 8016, `relay.mobility`).", good="`used` near begun.",
        bad="`abandoned` or `silent` near begun: the new path does not carry.", do="nothing here; tell whoever makes the client."),
]

who_uses_it = [
    lines("Relays by transport", [(now("meetpoint_relay_allocations", by="transport, family"), "{{transport}} {{family}}")], "short",
          stacked=True,
          says="Living relayed addresses by client leg and address family.", good="udp above all; ipv6 where you offer it.",
          bad="no udp: a firewall between users and us.", do="`meetpoint check` from outside."),
    lines("Relays by realm", [
        (now("meetpoint_realm_allocations", by="realm", realm=True), "{{realm}}"),
    ], "short", stacked=True, runbook="MeetpointQuotaPressure",
        says="Living allocations of each realm. A dual allocation counts once.", good="in proportion to the tenants.",
        bad="one that grows without bound.", do="`GET /api/admin/allocations?realm=NAME`; set `realms.NAME.allocations`."),
    lines("Bandwidth by realm", [
        (f"8 * {rate('meetpoint_realm_payload_bytes_total', by='realm, direction', realm=True)}", "{{realm}} {{direction}}"),
    ], "bps", runbook="MeetpointBandwidthLimited",
        says="Payload of each realm, both directions.", good="what was agreed with the tenant.", bad="a realm that takes the line from others.",
        do="set `realms.NAME.total_bytes_per_second`: it works without a restart."),
    lines("Permissions and channels", [
        (now("meetpoint_relay_permissions"), "permissions"), (now("meetpoint_relay_channels"), "channels"),
    ], "short",
        says="Living permissions and channel bindings.", good="a few for each relay.", bad="hundreds for each: somebody scans, or opens all he may.",
        do="see Abuse › Closed peers, by class; the admin API shows them for each allocation."),
    lines("New and revoked", [
        (rate("meetpoint_relay_permissions_created_total"), "permissions made"),
        (rate("meetpoint_relay_channels_created_total"), "channels made"),
        (rate("meetpoint_relay_permissions_revoked_total"), "permissions revoked"),
        (rate("meetpoint_relay_channels_revoked_total"), "channels revoked"),
        (rate("meetpoint_relay_reservations_created_total"), "ports reserved"),
        (rate("meetpoint_relay_reservations_expired_total"), "reserved ports that nobody took"),
    ], "ops",
        says="Permissions, channels and EVEN-PORT reservations as they come, and those that new rules took away.",
        good="revoked only after a change of `[peers]`.", bad="reserved ports that nobody took, in numbers: somebody holds ports.",
        do="lower `limits.reservations`."),
    table("Realms", "realm", [
        ("relays", now("meetpoint_realm_allocations", by="realm", realm=True), "short"),
        ("made/s", rate("meetpoint_realm_allocations_created_total", by="realm", realm=True), "reqps"),
        ("refused/s", rate("meetpoint_realm_allocations_refused_total", by="realm", realm=True), "reqps"),
        ("failed sign-ins/s", rate("meetpoint_realm_auth_failures_total", by="realm", realm=True), "reqps"),
        ("bits/s", f"8 * {rate('meetpoint_realm_payload_bytes_total', by='realm', realm=True)}", "bps"),
        ("packets/s", rate("meetpoint_realm_payload_packets_total", by="realm", realm=True), "pps"),
        ("over a limit/s", rate("meetpoint_realm_over_rate_packets_total", by="realm", realm=True), "pps"),
        ("credentials/s", rate("meetpoint_realm_credentials_issued_total", by="realm", realm=True), "reqps"),
    ], width=16, says="One line for each tenant.", good="refused and over a limit near 0.",
        bad="one tenant at its limits: its users suffer. One with failures alone: its secret and ours differ.",
        do="compare its secret with `[realms.NAME]`; the admin API lists its users."),
]

the_sockets = [
    lines("Packets for each system call", [
        (share(rate("meetpoint_relay_recv_datagrams_total"), rate("meetpoint_relay_recv_calls_total")), "received"),
        (share(rate("meetpoint_relay_send_datagrams_total"), rate("meetpoint_relay_send_calls_total")), "sent"),
    ], "short",
        says="How many datagrams one call moves. More is cheaper.", good="grows with the load.", bad="1 under load: `relay.offload` is off or the kernel old.",
        do="see the start log: it says which of GRO, GSO and batches are in use."),
    lines("Trains", [
        (rate("meetpoint_relay_recv_trains_total"), "received (GRO)"), (rate("meetpoint_relay_send_trains_total"), "sent (GSO)"),
        (rate("meetpoint_relay_send_train_fallbacks_total"), "cut by hand"),
    ], "ops",
        says="Buffers that held many datagrams of one flow.", good="sent near received for video.", bad="cut by hand near sent: the route cannot segment.",
        do="nothing is lost by it; CPU is. `relay.offload = false` saves the attempt."),
    lines("Hand-overs and sockets that failed", [
        (rate("meetpoint_relay_handovers_total"), "handed to another worker"),
        (rate("meetpoint_relay_bind_failures_total"), "sockets that could not be bound"),
        (rate("meetpoint_relay_events_dropped_total"), "events a worker had no room for"),
    ], "ops", runbook="MeetpointPortsExhausted",
        says="Datagrams between clients of two workers, relay sockets that the kernel refused, and events lost before they were told.",
        good="no failures.", bad="sockets that could not be bound: another program uses the ports, or no descriptors are left.",
        do="`ss -lun` against `relay.port_range`; Process › File descriptors."),
]

streams = [
    lines("Streams", [
        (now("meetpoint_relay_streams", by="transport"), "{{transport}}"),
        (now("meetpoint_relay_dtls_sessions", by="phase"), "dtls {{phase}}"),
    ], "short", says="Open TCP, TLS, WebSocket and DTLS connections of TURN clients.",
        good="near the relays of these transports.", bad="far above: connections that never ask. `handshake` near `dtls.max_handshakes`: a flood.",
        do="see Connections refused; `streams.first_timeout` ends those that say nothing."),
    lines("How streams end", [
        (rate("meetpoint_relay_streams_opened_total", by="transport"), "opened, {{transport}}"),
        (rate("meetpoint_relay_streams_closed_total", by="reason"), "{{reason}}"),
    ], "ops", runbook="MeetpointSlowReaders",
        says="`client` closed it; `silent` never asked; `slow_reader` did not read; `framing` spoke no STUN.", good="`client` above all.",
        bad="`slow_reader`: clients on lines too thin. `unresponsive`: lost without a word. `tls`: broken in the middle.",
        do="slow readers: `streams.queue_size` is what waits for each; raising it only delays."),
    lines("Connections at the door", [
        (rate("meetpoint_front_connections_total", by="listener"), "accepted at {{listener}}"),
        (rate("meetpoint_front_refused_connections_total", by="reason"), "refused: {{reason}}"),
        (rate("meetpoint_front_failed_connections_total", by="reason"), "failed: {{reason}}"),
    ], "ops", runbook="MeetpointConnectionsRefused",
        says="TCP connections before it is known what they speak.", good="accepted above all else.",
        bad="`refused: total`: full. `tls`: a wrong certificate or a scanner. `proxy_header`: the balancer does not send what is configured.",
        do="`total`: raise `streams.max_connections` and descriptors. `tls`: `openssl s_client -connect HOST:PORT` shows what clients see."),
    lines("DTLS", [
        (rate("meetpoint_relay_dtls_cookies_total"), "cookies"), (rate("meetpoint_relay_dtls_established_total"), "established"),
        (rate("meetpoint_relay_dtls_ended_total", by="reason"), "ended: {{reason}}"),
        (rate("meetpoint_relay_dtls_refused_total", by="reason"), "refused: {{reason}}"),
        (rate("meetpoint_relay_dtls_discarded_total"), "records that carried nothing"),
    ], "ops", runbook="MeetpointFlood",
        says="Handshakes over UDP. A first hello costs a cookie and no memory.", good="established near cookies.",
        bad="cookies far above established: forged addresses. `fault`: a defect of the library.",
        do="`fault`: report it with the log. Forged: nothing is held for them."),
    lines("TCP relays", [
        (now("meetpoint_relay_tcp_allocations", by="family"), "allocations {{family}}"),
        (now("meetpoint_relay_connections"), "data connections"), (now("meetpoint_relay_connections_pending"), "waiting"),
    ], "short", says="RFC 6062, where `relay.tcp_relay` opens it: relays that connect to peers over TCP.",
        good="what your application uses; 0 where it is off.", bad="many waiting: connections to peers that do not answer, as a scan makes them.",
        do="`GET /api/admin/allocations` shows connections by user; `relay.tcp_relay = false` closes it."),
    lines("TCP relays: ends", [
        (rate("meetpoint_relay_connections_opened_total", by="by"), "opened by {{by}}"),
        (rate("meetpoint_relay_connections_ended_total", by="reason"), "{{reason}}"),
    ], "ops", runbook="MeetpointInternalScan",
        says="Data connections by who began them and how they ended.", good="`finished` above all.",
        bad="`connect_failed` and `connect_timeout` above `finished`: somebody tries ports.", do="find the user by the admin API and revoke."),
]

DASHBOARD = dashboard("relay", "Relay", "The STUN/TURN relay: who gets one, whether packets pass, and where those end that do not.", [
    ("Do users get a relay?", who_gets_one),
    ("Does their traffic pass?", does_it_pass),
    ("Where do packets end?", where_packets_end),
    ("Who uses it?", who_uses_it),
    ("TCP, TLS, WebSocket, DTLS", streams),
    ("Sockets and system calls", the_sockets),
], realm=True)
