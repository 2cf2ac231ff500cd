"""The hub: who is connected, what is refused, how connections end, and whether the replicas agree."""

from kit import EACH, EACH_LEGEND, GREEN, ORANGE, RED, dashboard, lines, now, rate, share, stat, states

is_it_up = [
    stat("Connections", now("meetpoint_signaling_connections"), "short", says="Open WebSockets, greeted or not.",
         good="follows your users' day.", bad="falls at once.", do="look for a start among the marks; see How connections end."),
    stat("Peers", now("meetpoint_signaling_peers"), "short", says="Sessions that were welcomed, those that wait for their owner too.",
         good="near connections.", bad="far below: clients open and do not greet, or tokens are refused.", do="see Why messages are refused."),
    stat("Rooms", now("meetpoint_signaling_rooms"), "short", says="Rooms at each process; one that spans replicas counts at each.",
         good="follows your users' day.", bad="near `signaling.rooms`: no room can be opened.", do="raise `signaling.rooms`, after a look at who opens them."),
    stat("Waiting for their owner", now("meetpoint_signaling_away"), "short", says="Sessions whose connection broke and that may be resumed.",
         good="a few of a hundred.", bad="as many as peers: everybody was cut at once.", do="look at the balancer and its idle time-out."),
    stat("Refused: hub full", 'sum(increase(meetpoint_signaling_connects_refused_total{@}[10m]))', "short", runbook="MeetpointHubFull",
         steps=[(None, GREEN), (1, RED)], says="Connections in ten minutes for which the table had no place.",
         good="0.", bad="anything else: nobody new gets in.", do="raise `signaling.connections` and the descriptors, or add a replica."),
    stat("Bus", "min(meetpoint_backplane_connected{@})", "short", runbook="MeetpointBackplaneDown",
         mappings=states(zero="off or away", one="connected"), steps=[(None, ORANGE), (1, GREEN)],
         says="Whether all selected processes reach Redis.", good="connected, or off where none is configured.", bad="away: replicas are on their own.",
         do="see Replicas below."),
]

do_users_suffer = [
    lines("Why messages are refused", [(rate("meetpoint_signaling_refused_messages_total", by="code"), "{{code}}")], "reqps",
          runbook=("MeetpointHubRefusing", "MeetpointHubFull"),
          says="Messages answered with an error, by its code.", good="`no_peer` and `no_room` now and then.",
          bad="`relay_busy`, `limit`, `unavailable`: our bounds. `unauthorized`, `expired`: tokens. `bad_request`: a client of another version.",
          do="`unavailable` with a backplane: see Waiting for other replicas."),
    lines("How connections end", [(rate("meetpoint_signaling_closes_total", by="code"), "{{code}}")], "ops", runbook="MeetpointSlowReaders",
          says="Ended connections by close code.", good="`normal` and `abnormal` (phones).",
          bad="`slow`: clients that do not read. `dead`: no pong. `bad_token`, `expired`: the issuer. `drain`: we stop.",
          do="`slow`: who sends so much? See Budgets of relayed data."),
    lines("Shares", [
        (share(rate("meetpoint_signaling_refused_messages_total"), rate("meetpoint_signaling_messages_total")), "messages refused"),
        (share(rate("meetpoint_signaling_closes_total", where='code="slow"'), rate("meetpoint_signaling_closes_total")), "ends because of slowness"),
        (share(rate("meetpoint_signaling_resumes_refused_total"),
               f"{rate('meetpoint_signaling_resumes_total')} + {rate('meetpoint_signaling_resumes_refused_total')}"), "resumes refused"),
    ], "percentunit", max=1, runbook=("MeetpointHubRefusing", "MeetpointSlowReaders"),
        says="What of all did not go as the client wished.", good="below 1 %; resumes below 10 %.", bad="a step upwards.",
        do="resumes: replicas without stickiness refuse them by design; clients join again."),
    lines("Budgets of relayed data", [
        (rate("meetpoint_signaling_relay_refused_total", by="budget"), "refused: {{budget}}"),
        (rate("meetpoint_signaling_queue_overflows_total"), "closed: queue full"),
    ], "reqps", runbook=("MeetpointHubRefusing", "MeetpointSlowReaders"),
        says="Messages refused with `relay_busy`, by whose budget was used up, and connections that did not read.",
        good="0, or `peer` of a few.", bad="`total`: all rooms suffer.", do="raise `signaling.relay_total_bytes_per_second` if the line bears it."),
]

what_for = [
    lines("Messages", [(rate("meetpoint_signaling_messages_total", by="kind"), "{{kind}}")], "reqps",
          says="Messages received, by kind.", good="`sig` and `send` above `hello` and `join`.", bad="`hello` and `join` above all: clients come back again and again.",
          do="see How connections end."),
    lines("Carried out and delivered", [
        (rate("meetpoint_signaling_accepted_messages_total"), "messages carried out"), (rate("meetpoint_signaling_deliveries_total"), "frames delivered"),
    ], "reqps",
        says="What came in, and what goes out for it.", good="deliveries as many as rooms are large.",
        bad="hundreds for each message: very large rooms.", do="`signaling.peers_per_room` bounds it."),
    lines("Bytes", [
        (rate("meetpoint_signaling_delivered_bytes_total"), "delivered"), (rate("meetpoint_signaling_relayed_bytes_total"), "of these: payload of send"),
    ], "Bps", says="What the hub writes.", good="small beside the relay's traffic.", bad="near it: peers fell back to the hub for data.",
        do="see Overview › Relays granted: why is there no relay?"),
    lines("Comings and goings", [
        (rate("meetpoint_signaling_connects_total"), "connections"), (rate("meetpoint_signaling_joins_total"), "joins"),
        (rate("meetpoint_signaling_leaves_total"), "leaves"), (rate("meetpoint_signaling_takeovers_total"), "taken over"),
        (rate("meetpoint_signaling_resumes_total"), "resumed"), (rate("meetpoint_signaling_ice_pushes_total"), "lists pushed"),
    ], "ops", says="How often sessions and memberships begin and end.", good="joins near leaves.", bad="a saw: all come back in step after a cut.",
        do="look for a start or a drain among the marks."),
    lines("Members", [(now("meetpoint_signaling_memberships"), "memberships"), (now("meetpoint_signaling_peers"), "peers")], "short",
          says="Peers summed over rooms, beside peers.", good="a small multiple.", bad="climbs while peers do not: clients join and never leave.",
          do="`signaling.rooms_per_connection` bounds it."),
    lines("By process", [(now("meetpoint_signaling_connections", by=EACH), EACH_LEGEND)], "short",
          says="Open WebSockets of each process.", good="alike.", bad="one has all: the balancer does not count connections.",
          do="set it to fewest connections (docs/scaling.md)."),
    lines("Sessions that wait", [
        (rate("meetpoint_signaling_away_refused_total"), "no place to wait"), (rate("meetpoint_signaling_away_overflows_total"), "missed too much"),
        (rate("meetpoint_signaling_resumes_refused_total"), "not resumed"),
    ], "ops", says="Broken connections whose session could not go on.", good="near 0.", bad="`no place`: `signaling.away_sessions` is full.",
        do="raise it: it costs what waits for each."),
    lines("PeerJS: letters for nobody", [
        (now("meetpoint_signaling_postponed"), "waiting"), (rate("meetpoint_signaling_postponed_total"), "began to wait/s"),
        (rate("meetpoint_signaling_postponed_expired_total"), "nobody came/s"), (rate("meetpoint_signaling_postponed_refused_total"), "no room/s"),
    ], "short", says="Messages for PeerJS ids that nobody holds yet.", good="few wait, few expire.", bad="`no room`: `signaling.peerjs_queue_messages` is full.",
        do="raise it, or look who calls so many who are not there."),
]

replicas = [
    lines("Who sees whom", [
        (f"max by ({EACH}) (meetpoint_backplane_nodes{{@}})", "seen by " + EACH_LEGEND), (now("meetpoint_backplane_connected"), "connected to Redis"),
    ], "short", runbook=("MeetpointReplicasDisagree", "MeetpointBackplaneDown"),
        says="Other replicas that each one hears, and how many reach Redis.", good="all see the same number: replicas less one.",
        bad="different numbers for more than `backplane.node_timeout`: rooms are apart.", do="as the runbook says: find the one that differs."),
    lines("Round trip", [(f"max by ({EACH}) (meetpoint_backplane_round_trip_seconds{{@}})", EACH_LEGEND)], "s", runbook="MeetpointBackplaneSlow",
          steps=[(None, GREEN), (0.1, RED)],
          says="How long the last message of a replica to itself took, its own queue included.", good="below 5 ms.",
          bad="above 100 ms: joins wait for it.", do="look at the Redis machine: CPU, `SLOWLOG`, other users of it."),
    lines("Faults", [
        (rate("meetpoint_backplane_faults_total", by="reason"), "{{reason}}"), (rate("meetpoint_backplane_connects_total"), "came up"),
        (rate("meetpoint_backplane_nodes_lost_total"), "replicas that fell silent"),
    ], "ops", runbook=("MeetpointBackplaneDown", "MeetpointReplicasDisagree"),
        says="Times the bus ended, and attempts that failed.", good="0.", bad="`unreachable`: network. `refused`: password or ACL. `overflow`: Redis cut us off.",
        do="`meetpoint check` on the machine publishes once and says what is wrong."),
    lines("Messages on the bus", [
        (rate("meetpoint_backplane_published_total"), "published"), (rate("meetpoint_backplane_received_total"), "received"),
        (rate("meetpoint_backplane_dropped_total"), "dropped"), (rate("meetpoint_backplane_malformed_total"), "malformed"),
        (rate("meetpoint_backplane_stale_total"), "stale"), (rate("meetpoint_backplane_turned_away_total"), "turned away"),
        (rate("meetpoint_backplane_resyncs_total"), "lists compared anew"),
    ], "reqps", runbook=("MeetpointBackplaneDropping",),
        says="What replicas tell each other.", good="nothing dropped or malformed.", bad="`dropped`: Redis is too slow. `malformed`: another version, or somebody else writes there.",
        do="during an upgrade `malformed` is normal; else check the ACL of the channels."),
    lines("Bytes on the bus", [
        (rate("meetpoint_backplane_published_bytes_total"), "published"), (rate("meetpoint_backplane_received_bytes_total"), "received"),
    ], "Bps", says="What passes through Redis.", good="grows with replicas that share rooms.", bad="near what Redis' line carries.",
        do="put rooms together: route by room where the balancer can."),
    lines("Waiting for Redis", [
        (now("meetpoint_backplane_queued_messages"), "messages"), (f"{now('meetpoint_backplane_queued_bytes')} / 1024", "KiB"),
    ], "short", runbook="MeetpointBackplaneDropping",
        says="What is queued towards Redis.", good="near 0.", bad="climbs to `backplane.queue_messages`: then all of it is dropped.", do="see Round trip."),
    lines("Waiting for other replicas", [
        (now("meetpoint_backplane_waiting_requests"), "now"), (rate("meetpoint_backplane_held_total"), "held/s"),
        (rate("meetpoint_backplane_held_timeouts_total"), "in vain/s"), (rate("meetpoint_backplane_held_refused_total"), "no place to wait/s"),
    ], "short", runbook="MeetpointBackplaneSlow",
        says="Joins that wait for the bus.", good="none in vain.", bad="in vain: a replica died a moment ago, or Redis is slow.",
        do="see Who sees whom and Round trip."),
    lines("The fleet: who is turned away everywhere", [
        (f"max by ({EACH}) (meetpoint_fleet_nodes{{@}})", "others heard by " + EACH_LEGEND),
        (rate("meetpoint_fleet_revocations_total"), "revocations taken over/s"),
        (rate("meetpoint_fleet_revocations_full_total"), "revocations without room/s"),
        (rate("meetpoint_fleet_questions_total"), "lists compared/s"), (rate("meetpoint_fleet_unanswered_total"), "questions without an answer/s"),
        (rate("meetpoint_fleet_malformed_total"), "malformed/s"), (rate("meetpoint_fleet_turned_away_total"), "no place for a replica/s"),
        (rate("meetpoint_fleet_forged_total"), "signed by nobody/s"), (rate("meetpoint_fleet_stale_total"), "said before/s"),
    ], "short", runbook=("MeetpointReplicasDisagree", "MeetpointRevocationsFull"),
        says="What replicas tell each other beside rooms: whom operators turned away.", good="all hear the same number.",
        bad="`without room`: the table of revocations is full, and somebody who was turned away may come in at one replica.",
        do="`GET /api/admin/revocations` at each; lift old ones, give shorter ends. `signed by nobody`: replicas have other secrets, or somebody else writes to Redis. `said before`: a clock is wrong, or somebody repeats messages."),
    lines("Relays that replicas know", [
        ("max by (standing) (meetpoint_fleet_relays{@})", "{{standing}}"),
        (f"max by ({EACH}) (meetpoint_fleet_load_percent{{@}})", "load of " + EACH_LEGEND + ", percent"),
        (rate("meetpoint_fleet_announcements_total"), "announcements/s"),
        (rate("meetpoint_fleet_choices_total"), "choices made anew/s"), (rate("meetpoint_fleet_choices_postponed_total"), "changes taken in together/s"),
        (rate("meetpoint_fleet_moved_total"), "clients given another relay/s"),
    ], "short", runbook=("MeetpointReplicasDisagree", "MeetpointQuotaPressure"),
        says="Relays by whether they take rooms, and how full each one is, as they tell each other.",
        good="`open` as many as run, loads alike.", bad="none `open`: rooms go to busy ones. `broken`: dead by its own probes. One load far above: a very large room, or a balancer.",
        do="`GET /api/admin/relays` at the broken one; add a replica, or raise `fleet.busy_percent` if the machines bear it."),
    lines("All replicas together", [
        ("max(meetpoint_backplane_total_connections{@})", "connections"), ("max(meetpoint_backplane_total_peers{@})", "peers"),
        ("max(meetpoint_backplane_total_rooms{@})", "rooms, each once"), (now("meetpoint_backplane_mirrored_peers"), "members mirrored"),
        (now("meetpoint_backplane_subscriptions"), "rooms subscribed"),
    ], "short", runbook="MeetpointReplicasDisagree",
        says="What replicas told each other of their numbers, and what each keeps of the others.", good="connections equal the sum of By process.",
        bad="they differ: a replica is not heard.", do="see Who sees whom."),
]

DASHBOARD = dashboard("signaling", "Signaling", "The hub: who is connected, what is refused, how connections end, and whether the replicas agree.", [
    ("Is it up?", is_it_up),
    ("Do users suffer?", do_users_suffer),
    ("What is it used for?", what_for),
    ("Replicas", replicas),
])
