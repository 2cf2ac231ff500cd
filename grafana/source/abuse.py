"""Who tries what they should not: closed peers, sign-ins, floods, quotas. Top talkers by address are in the admin API alone."""

from kit import EACH, EACH_LEGEND, GREEN, ORANGE, RED, bars, dashboard, lines, now, rate, share, stat, table

INWARD = 'class=~"loopback|private|carrier_grade_nat|link_local|metadata|unique_local|site_local|own_address"'
BAD_SIGN_IN = 'reason=~"missing_attribute|bid_down|wrong_realm|unknown_user|wrong_password|bad_token|foreign_nonce|wrong_user"'
CLIENTS = rate("meetpoint_relay_client_packets_total")

now_row = [
    stat("Inward peers refused", rate("meetpoint_relay_denied_peers_total", where=INWARD), "reqps", runbook="MeetpointInternalScan",
         steps=[(None, GREEN), (10, ORANGE), (100, RED)],
         says="Peers inside of networks that clients asked for and did not get. Nothing was sent there.",
         good="a few: browsers name their peers' private addresses in each call.", bad="hundreds a second, or any of `metadata`: somebody looks around in your network.",
         do="see Closed peers, by class; then find the user by `GET /api/admin/events?kinds=denied`."),
    stat("Metadata asked for", 'sum(increase(meetpoint_relay_denied_peers_total{@, class="metadata"}[1h]))', "short",
         runbook="MeetpointMetadataProbe", steps=[(None, GREEN), (1, RED)], decimals=0,
         says="Peers at the metadata services of clouds, in the last hour. No honest client has one.",
         good="0.", bad="anything else: it is an attempt at the credentials of your machine.", do="revoke the user; the runbook has the commands."),
    stat("Failed sign-ins", rate("meetpoint_relay_auth_failures_total", where=BAD_SIGN_IN), "reqps",
         runbook=("MeetpointCredentialStuffing", "MeetpointCredentialsRejected"), steps=[(None, GREEN), (5, ORANGE), (50, RED)],
         says="TURN requests with credentials that are not right, without those that merely expired.",
         good="below 1 a second.", bad="more: guessing, or a secret that two sides do not share.",
         do="see Who fails to sign in: many reasons and no success is guessing; one realm since a deploy is a secret."),
    stat("Junk of all packets", share(rate("meetpoint_relay_dropped_packets_total",
                                           where='reason=~"not_stun|malformed|bad_fingerprint|unexpected_response|rate_limited|source_port_zero"'), CLIENTS),
         "percentunit", runbook="MeetpointFlood", steps=[(None, GREEN), (0.3, ORANGE), (0.6, RED)], empty="no packets",
         says="The share of what clients sent that no client means to send.", good="below 10 %.",
         bad="above half, with CPU to show for it: a flood.", do="see Floods; block the source in the network before us."),
    stat("Answers held back", rate("meetpoint_relay_dropped_packets_total", where='reason="rate_limited"'), "pps",
         runbook="MeetpointReflection", steps=[(None, GREEN), (10, ORANGE), (1000, RED)],
         says="Requests without credentials past their address's budget (`limits.unauthenticated_per_second`).",
         good="0.", bad="any for long: somebody uses us to hit that address, or stands behind a very large NAT.",
         do="the victim gets its budget and no more; lower the budget if its owner complains."),
    stat("Too many requests (429)", rate("meetpoint_http_rate_limited_total"), "reqps", runbook="MeetpointHttpRateTable",
         steps=[(None, GREEN), (10, ORANGE)],
         says="HTTP requests past `http.rate`.", good="near 0.", bad="many: one client asks without end, or all come from one proxy that is not trusted.",
         do="check `http.trusted_proxies` first: without it all users behind a proxy share one budget."),
]

peers = [
    lines("Closed peers, by class", [(rate("meetpoint_relay_denied_peers_total", by="class"), "{{class}}")], "reqps", width=12,
          runbook=("MeetpointInternalScan", "MeetpointMetadataProbe"),
          says="Peers that a client asked for and did not get, by why they are closed.",
          good="`private`, in step with new relays.", bad="many classes at once: a scanner walks through the ranges. `own_address`: it looks for our other ports.",
          do="`GET /api/admin/events?kinds=denied` names user and address while it happens."),
    lines("For each new relay", [
        (share(rate("meetpoint_relay_denied_peers_total", where=INWARD), rate("meetpoint_relay_allocations_created_total")), "inward"),
        (share(rate("meetpoint_relay_denied_peers_total"), rate("meetpoint_relay_allocations_created_total")), "all"),
    ], "short", width=6, runbook="MeetpointInternalScan",
        says="Closed peers for each relay made: this does not grow with the number of honest users.",
        good="below 10.", bad="above 50: few relays try many addresses.", do="as beside."),
    lines("Taken away again", [
        (rate("meetpoint_relay_permissions_revoked_total"), "permissions"), (rate("meetpoint_relay_channels_revoked_total"), "channels"),
        (rate("meetpoint_relay_allocations_closed_total", where='reason="operator"'), "relays, by an operator"),
    ], "ops", width=6,
        says="What new rules or an operator ended.", good="only when you did something.", bad="when nobody did: who holds an admin token?",
        do="read the audit trail in the log."),
]

sign_in = [
    lines("Who fails to sign in", [
        (rate("meetpoint_relay_auth_failures_total", by="reason"), "{{reason}}"),
    ], "reqps", runbook=("MeetpointCredentialStuffing", "MeetpointCredentialsRejected", "MeetpointClockSkew"),
        says="TURN requests that were not authenticated. `no_credentials` and `stale_nonce` are part of every session.",
        good="nothing else above 1 a second.", bad="`expired`: a clock, or clients that keep old lists. `wrong_password`: two secrets. `foreign_nonce`: an address that changes, or replay.",
        do="`meetpoint credentials` on the machine makes one that must work; if it does, the minting side is wrong."),
    lines("Addresses that fail", [("sum(meetpoint_relay_auth_failing_sources{@})", "addresses")], "short",
          runbook=("MeetpointCredentialStuffing", "MeetpointCredentialsRejected"),
          says="About how many addresses showed credentials that failed within this minute or the last. Forged ones do not count.",
          good="a handful.", bad="hundreds beside few successes: a bot net guesses; beside none: our secret is not the issuer's.",
          do="one address: block it. Many and no success: compare secrets."),
    lines("Failed sign-ins by realm", [(rate("meetpoint_realm_auth_failures_total", by="realm, reason", realm=True), "{{realm}}: {{reason}}")], "reqps",
          runbook=("MeetpointCredentialStuffing", "MeetpointCredentialsRejected"),
          says="Requests that name the realm and were turned away, stale nonces among them. Whoever knows the name can make it grow.",
          good="in step with the realm's relays.", bad="one realm alone: its tenant's secret is not ours.", do="compare secrets with the tenant."),
    lines("Tokens turned away", [
        (rate("meetpoint_auth_token_failures_total", by="surface, reason"), "{{surface}}: {{reason}}"),
        (rate("meetpoint_admin_refusals_total", by="reason"), "admin API: {{reason}}"),
    ], "reqps", runbook=("MeetpointAdminGuessing", "MeetpointIceApiRefusing"),
        says="Bearer tokens at the API, the hub and the admin API that open nothing.", good="`missing` and `expired` in small numbers.",
        bad="`throttled`: one address shows many bad ones. Any number at the admin API: somebody tries its door.",
        do="serve the admin API on `admin.listen` in a closed network."),
]

floods = [
    lines("Floods", [
        (rate("meetpoint_relay_dropped_packets_total", by="reason",
              where='reason=~"not_stun|malformed|bad_fingerprint|unexpected_response|rate_limited|source_port_zero|no_allocation"'), "{{reason}}"),
        (CLIENTS, "all from clients"),
    ], "pps", runbook="MeetpointFlood",
        says="Packets that no client means to send, beside all that came.", good="far below all.", bad="near all.",
        do="find the source outside: `tcpdump -ni any udp port 3478 -c 200`; block it upstream."),
    lines("Budget of answers", [
        (rate("meetpoint_relay_dropped_packets_total", by=EACH, where='reason="rate_limited"'), "held back at " + EACH_LEGEND),
        (rate("meetpoint_relay_auth_failures_total", where='reason="no_credentials"'), "challenges (401)"),
        (rate("meetpoint_relay_nat_discovery_answers_total", where='kind="short"'), "NAT discovery, short"),
    ], "pps", runbook="MeetpointReflection",
        says="Answers to whom nobody knows, and those that were held back. Each is at most 1.35 times a Binding, 3 times an Allocate.",
        good="nothing held back.", bad="held back at one process for minutes: a reflection attempt.", do="as the runbook says."),
    lines("Given back to strangers", [
        (share(rate("meetpoint_relay_unauthenticated_answer_bytes_total"), rate("meetpoint_relay_unauthenticated_request_bytes_total")),
         "bytes answered for each asked"),
    ], "short", runbook="MeetpointReflection", steps=[(None, GREEN), (3, RED)],
        says="UDP answers without credentials, against the requests they answer. It is what a reflection attack gains.",
        good="between 1 and 3: real clients.", bad="above 3: a defect; no request should be answered with so much.", do="take a capture and report it."),
    lines("Half-open", [
        (now("meetpoint_relay_dtls_sessions", where='phase="handshake"'), "DTLS handshakes"),
        (rate("meetpoint_relay_streams_closed_total", by="reason", where='reason=~"silent|idle|framing"'), "streams: {{reason}}/s"),
        (rate("meetpoint_front_failed_connections_total", by="reason", where='reason=~"timeout|tls|unknown_protocol"'), "at the door: {{reason}}/s"),
        (rate("meetpoint_http_timeouts_total"), "HTTP timeouts/s"),
    ], "short", runbook=("MeetpointFlood", "MeetpointConnectionsRefused"),
        says="Connections that were opened and not used.", good="a trickle of scanners.", bad="in step with refused connections: somebody fills the tables.",
        do="lower `streams.max_connections_per_client`, `http.max_connections_per_client`."),
    lines("Too many", [
        (rate("meetpoint_http_rate_limited_total"), "HTTP requests"),
        (rate("meetpoint_http_connects_rate_limited_total"), "WebSocket attempts"),
        (rate("meetpoint_http_connections_refused_total"), "HTTP connections of one address"),
        (rate("meetpoint_http_rate_evictions_total"), "clients forgotten by the limiter"),
        (rate("meetpoint_front_refused_connections_total", by="reason"), "connections: {{reason}}"),
        (rate("meetpoint_revocations_refused_total", by="full"), "revocations: {{full}} full"),
    ], "reqps", runbook=("MeetpointHttpRateTable", "MeetpointConnectionsRefused"),
        says="What was refused for its number.", good="little.", bad="`forgotten by the limiter`: more addresses than its table has places, a distributed flood.",
        do="put a proxy or the provider's filter in front."),
    lines("The hub, refused for their rate", [
        (rate("meetpoint_signaling_refused_messages_total", by="code", where='code=~"rate_limited|too_large|limit|forbidden|bad_frame"'), "{{code}}"),
        (rate("meetpoint_signaling_relay_refused_total", by="budget"), "budget of {{budget}}"),
        (rate("meetpoint_signaling_closes_total", by="code", where='code=~"rate|too_large|bad_utf8|protocol|forbidden"'), "closed: {{code}}"),
    ], "reqps", runbook="MeetpointHubRefusing",
        says="Messages and connections that were too many, too large or wrong.", good="little.", bad="`closed: rate` again and again: one client in a loop.",
        do="`GET /v1/rooms` shows rooms; ban the user there."),
    lines("Bans", [
        (now("meetpoint_signaling_bans"), "in force"), (rate("meetpoint_signaling_banned_total"), "turned away/s"),
        (rate("meetpoint_signaling_expelled_total"), "put out by an operator/s"), (rate("meetpoint_signaling_rooms_closed_total"), "rooms closed/s"),
    ], "short",
        says="What operators of the hub did, and how often a ban kept somebody out.", good="yours.", bad="bans near `signaling.bans`: no more can be made.",
        do="lift old ones: `GET /v1/bans`."),
]

who = [
    table("Realms that take most", "realm", [
        ("bits/s", f"topk(20, 8 * {rate('meetpoint_realm_payload_bytes_total', by='realm', realm=True)})", "bps"),
        ("packets/s", rate("meetpoint_realm_payload_packets_total", by="realm", realm=True), "pps"),
        ("relays", now("meetpoint_realm_allocations", by="realm", realm=True), "short"),
        ("users", now("meetpoint_realm_users", by="realm", realm=True), "short"),
        ("credentials seen", now("meetpoint_realm_credentials_used", by="realm", realm=True), "short"),
        ("refused/s", rate("meetpoint_realm_allocations_refused_total", by="realm", realm=True), "reqps"),
        ("failed sign-ins/s", rate("meetpoint_realm_auth_failures_total", by="realm", realm=True), "reqps"),
    ], width=12,
        says="Tenants by what they take. Users and addresses never become labels: there are too many of them, and they are private.",
        good="what was agreed.", bad="one far above the others.",
        do="who it is inside of the realm: `curl -H 'Authorization: Bearer …' HOST/api/admin/allocations?realm=NAME`."),
    bars("Bounds that refused, last hour", 'sort_desc(sum by (quota) (increase(meetpoint_relay_quota_hits_total{@}[1h])))', "{{quota}}", "short", width=6,
         runbook="MeetpointQuotaPressure",
         says="How often each bound of the relay said no within an hour.", good="`user` and `client` alone.",
         bad="`process`, `ports`, `realm`: what one took, others miss.", do="set `limits.allocations_per_user` and `limits.allocations_per_client`."),
    bars("Limits that dropped packets, last hour", 'sort_desc(sum by (limit) (increase(meetpoint_relay_over_rate_packets_total{@}[1h])))', "{{limit}}", "short",
         width=6, runbook="MeetpointBandwidthLimited",
         says="Packets beyond a limit of rate, by the limit, within an hour.", good="`allocation_…` and `user_…`: the limits do their work.",
         bad="`total_…`: everybody pays.", do="give users a limit, so that the total is not reached."),
]

DASHBOARD = dashboard("abuse", "Abuse", "Who tries what they should not. Users and addresses are in the admin API and the log alone, by design.", [
    ("Is somebody at it now?", now_row),
    ("Do they reach for what is closed?", peers),
    ("Do they guess?", sign_in),
    ("Do they flood?", floods),
    ("Who takes most?", who),
], realm=True)
