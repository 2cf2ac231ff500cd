"""The HTTP API: who gets an ICE list, how fast, and why not."""

from kit import GREEN, ORANGE, RED, dashboard, heat, lines, now, quantile, rate, share, stat

API = 'route=~"/api/ice-servers|/v1/ice|/v1/turn|http.compat"'
TIME = "meetpoint_http_request_duration_seconds"
ISSUED = rate("meetpoint_credentials_issues_total", where='result="issued"')

now_row = [
    stat("Lists given", ISSUED, "reqps", runbook="MeetpointIceApiRefusing",
         says="Credentials issued by the API and the hub.", good="in step with new users.", bad="0 in the day.", do="see How wishes end."),
    stat("Given, of all wishes", share(ISSUED, rate("meetpoint_credentials_issues_total")), "percentunit", runbook="MeetpointIceApiRefusing",
         steps=[(None, RED), (0.5, ORANGE), (0.95, GREEN)], empty="no wishes",
         says="Wishes that ended with a credential.", good="above 95 %.", bad="lower since a moment: tokens are refused.", do="see How wishes end."),
    stat("Server errors", share(rate("meetpoint_http_requests_total", where='status="5xx", ' + API), rate("meetpoint_http_requests_total", where=API)),
         "percentunit", runbook="MeetpointIceApiErrors", steps=[(None, GREEN), (0.001, ORANGE), (0.05, RED)], empty="no requests",
         says="Requests to the ICE API answered 5xx.", good="0.", bad="above 0.1 %.", do="see The service that judges tokens; then the log for `panic`."),
    stat("99 of 100 within", quantile(0.99, TIME, where=API), "s", runbook="MeetpointIceApiSlow",
         steps=[(None, GREEN), (0.05, ORANGE), (0.25, RED)], empty="no requests",
         says="Time to answer, of the ICE API.", good="below 5 ms.", bad="above 250 ms.", do="see Process › CPU and The service that judges tokens."),
    stat("Panics", "sum(increase(meetpoint_http_panics_total{@}[1h]))", "short", runbook="MeetpointPanics", steps=[(None, GREEN), (1, RED)],
         says="Requests answered 500 in the last hour because their handler panicked.", good="0.", bad="1: always a defect.",
         do="take the backtrace from the log and report it."),
    stat("Age of the key set", "max(time() - (meetpoint_auth_jwks_last_success_timestamp_seconds{@} > 0))", "s", runbook="MeetpointKeySetStale",
         steps=[(None, GREEN), (7200, ORANGE), (86400, RED)], empty="none",
         says="Since the issuer's keys were last fetched (`auth.jwks_url`). The keys of before go on.",
         good="below `auth.jwks_refresh`.", bad="above: a key that the issuer rotates in is not known.", do="`curl` the URL from the machine."),
]

how = [
    lines("How wishes end", [(rate("meetpoint_credentials_issues_total", by="surface, result"), "{{surface}}: {{result}}")], "reqps",
          runbook="MeetpointIceApiRefusing",
          says="Wishes for a credential, by who asked (API or hub) and how they ended.",
          good="`issued`.", bad="`unauthorized`: tokens. `rate_limited`: one client asks without end. `withheld`: nothing to give to this one. `bad_request`: a client of another shape.",
          do="see Why tokens are refused."),
    lines("Why tokens are refused", [(rate("meetpoint_auth_token_failures_total", by="surface, reason"), "{{surface}}: {{reason}}")], "reqps",
          runbook=("MeetpointIceApiRefusing", "MeetpointClockSkew"),
          says="Bearer tokens turned away.", good="`expired` now and then.", bad="`invalid` for all: the issuer changed its key. `unavailable`: the service that judges is away. `expired` for all: a clock.",
          do="`GET /v1/validate` says about a token what an attempt would."),
    lines("Lists by realm", [
        (rate("meetpoint_realm_credentials_issued_total", by="realm", realm=True), "{{realm}}"),
        (rate("meetpoint_realm_credentials_refused_total", by="realm, reason", realm=True), "{{realm}} refused: {{reason}}"),
    ], "reqps",
          says="Credentials issued and refused for each realm. What a tenant mints itself is not seen.", good="what was agreed.",
          bad="a tenant at a multiple of its users.", do="set `realms.NAME.rate`."),
    lines("Lists by rule", [(rate("meetpoint_ice_lists_total", by="list"), "{{list}}")], "reqps", width=12,
          says="Lists by the rule of `[lists.NAME]` that fitted; `default` where none did.", good="shares as you expect.",
          bad="a rule that nothing fits any more: the file of countries, or a proxy that is not trusted.", do="docs/ice-lists.md tells how a rule is chosen."),
    lines("Servers given", [(rate("meetpoint_ice_servers_given_total", by="server"), "{{server}}")], "ops", width=12,
          runbook="MeetpointRelayDead",
          says="How often each server was put into a list: this one (`own`), those of `[servers.NAME]`, what is added as it is (`extra`).",
          good="shares near the weights.", bad="a server at 0: dead, or switched off.", do="see Relays of the lists."),
]

http = [
    lines("Requests", [(rate("meetpoint_http_requests_total", by="route"), "{{route}}")], "reqps",
          says="Requests answered, by route.", good="lists near new users.", bad="`unknown`: scanners, or a client with a wrong path.",
          do="compare the path with docs/api.md."),
    lines("Answers", [(rate("meetpoint_http_requests_total", by="status, method"), "{{method}} {{status}}")], "reqps", runbook="MeetpointIceApiErrors",
          says="By class of status and method.", good="2xx.", bad="5xx. 4xx of `options`: a page of an origin that is not allowed.",
          do="check `http.cors_origins`."),
    lines("Time to answer", [
        (quantile(0.5, TIME, by="route"), "{{route}}, half"), (quantile(0.99, TIME, by="route"), "{{route}}, 99 of 100"),
    ], "s", runbook="MeetpointIceApiSlow",
        says="From the header of the request to that of the answer, by route.", good="below 5 ms.", bad="all routes at once: no CPU. One: what it waits for.",
        do="see Process › CPU."),
    heat("Spread of times", f"sum by (le) (increase({TIME}_bucket{{@, {API}}}[~]))", "s", runbook="MeetpointIceApiSlow",
         says="How many answers took how long, on the ICE API.", good="one dark band at the bottom.", bad="a second band above: some wait for the judge of tokens.",
         do="see The service that judges tokens."),
    lines("Connections", [
        (now("meetpoint_http_connections"), "open"), (rate("meetpoint_http_connections_total"), "accepted/s"),
    ], "short", runbook="MeetpointConnectionsRefused",
        says="TCP connections that speak HTTP. One that became a WebSocket counts at the hub.", good="below `http.max_connections`.",
        bad="at it: accepting pauses.", do="see What was refused."),
    lines("What was refused", [
        (rate("meetpoint_http_connection_limit_total"), "accepting paused"), (rate("meetpoint_http_connections_refused_total"), "address at its limit"),
        (rate("meetpoint_http_rate_limited_total"), "429"), (rate("meetpoint_http_connects_rate_limited_total"), "WebSocket attempts"),
        (rate("meetpoint_http_timeouts_total"), "timed out"), (rate("meetpoint_http_heads_refused_total"), "head too long"), (rate("meetpoint_http_rate_evictions_total"), "forgotten by the limiter"),
    ], "ops", runbook=("MeetpointConnectionsRefused", "MeetpointHttpRateTable"),
        says="Requests and connections past a bound.", good="near 0.", bad="`accepting paused`: new users wait.", do="raise `http.max_connections`; check `http.trusted_proxies`."),
]

keys = [
    lines("API keys", [
        (rate("meetpoint_api_key_requests_total", by="key, result"), "{{key}}: {{result}}"),
        (rate("meetpoint_api_key_unknown_total"), "no key of ours"),
    ], "reqps", width=12, runbook=("MeetpointApiKeyRefused", "MeetpointApiKeyGuessing"),
        says="Requests with API keys, by key and how they ended.", good="`accepted`.",
        bad="`quota_exceeded`, `rate_limited`: the application has outgrown its key, or is in a loop. `expired`: it was not replaced everywhere.",
        do="ask the owner of the key; its bounds are taken over by a reload."),
    stat("Keys", "max(meetpoint_api_keys{@})", "short", height=8, says="API keys that there are, also those that are switched off.",
         good="as many as you gave.", bad="more: who made them?", do="the audit trail in the log tells who made a key."),
    stat("Relays that are dead", "count(max by (server, transport) (meetpoint_probe_up{@}) == 0) or vector(0)", "short", height=8,
         runbook="MeetpointRelayDead", steps=[(None, GREEN), (1, RED)],
         says="Servers of the ICE lists that no process can use over a transport, by real probes (`[probes]`). Lists leave them out.",
         good="0.", bad="more.", do="`GET /api/admin/relays` names URL and reason."),
    stat("Half of all probes within", quantile(0.5, "meetpoint_probe_duration_seconds"), "s", height=8, empty="no probes",
         says="How long a probe takes, from look-up to answer.", good="below 0.2 s.", bad="seconds: the line, or a server that is about to fail.",
         do="see Probes that failed."),
    lines("Relays of the lists", [("min by (server, transport) (meetpoint_probe_up{@})", "{{server}} {{transport}}")], "short", width=12, max=1,
          runbook="MeetpointRelayDead", says="1 while every probed URL of the server over that transport works for all processes.",
          good="1.", bad="0: left out of the lists.", do="as beside."),
    lines("Probes that failed", [(rate("meetpoint_probe_failures_total", by="server, reason"), "{{server}}: {{reason}}")], "ops", width=12,
          runbook="MeetpointRelayDead",
          says="Failed probes by why. `local` says something of this machine and nothing of the server.", good="0.",
          bad="`unauthorized`: a secret. `silent`: a firewall. `tls`: a certificate.", do="`meetpoint check turn:…` tries one by hand."),
]

judges = [
    lines("The service that judges tokens", [(rate("meetpoint_auth_hook_verdicts_total", by="result"), "{{result}}")], "reqps", width=8,
          runbook="MeetpointAuthHookFailing",
          says="Questions to `auth.hook_url`, by what became of them. All but `allowed`, `denied` and `kept` let nobody in.",
          good="`allowed`, `kept`.", bad="`failed`, `away`: it does not answer; nobody new gets in. `busy`: more questions than `auth.hook_concurrency`.",
          do="`curl` it from the machine; raise `auth.hook_timeout` only if it is honestly slow."),
    lines("The issuer's keys", [
        (rate("meetpoint_auth_jwks_fetches_total", by="result"), "{{result}}/s"), (now("meetpoint_auth_jwks_keys"), "keys"),
    ], "short", width=8, runbook="MeetpointKeySetStale",
        says="Fetches of `auth.jwks_url`, and keys that can be used.", good="`fetched` now and then, keys as the issuer has.",
        bad="`failed` or `unusable`.", do="`curl` the URL from the machine; look at `auth.authorities` for a private certificate."),
    lines("Tokens that are known", [(rate("meetpoint_auth_token_memory_total", by="result"), "{{result}}")], "reqps", width=8,
          says="Good tokens that keys judge: `known` costs a digest, `verified` a signature. `forgotten`: there was no place for one more.",
          good="pages ask again: `known`.", bad="`forgotten` all the time: more than 4096 tokens are in use at once, and each list costs a signature.",
          do="nothing breaks; give the process more CPU, or clients tokens that live longer."),
]

DASHBOARD = dashboard("ice_api", "ICE API", "The HTTP API: who gets an ICE list, how fast, and why not.", [
    ("Do pages get their list?", now_row),
    ("How do wishes end?", how),
    ("Who asks with keys, and do the relays live?", keys),
    ("How do requests end?", http),
    ("Whom do we ask?", judges),
], realm=True)
