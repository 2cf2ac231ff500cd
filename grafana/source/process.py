"""The process and its machine: starts, configuration, CPU, memory, descriptors, certificates, events out."""

from kit import EACH, EACH_LEGEND, GREEN, ORANGE, RED, YELLOW, dashboard, lines, now, rate, share, stat, states, table

is_it_up = [
    stat("Ready", "sum(meetpoint_ready{@})", "short", runbook="MeetpointNotReady", steps=[(None, RED), (1, GREEN)],
         says="Processes that take work.", good="all of them.", bad="fewer than run.", do="see Versions and starts for which."),
    stat("Draining", "sum(meetpoint_draining{@})", "short", runbook="MeetpointDrainingLong", steps=[(None, GREEN), (1, ORANGE)],
         says="Processes that stop when their last relay has ended, or `relay.drain_timeout` is over.",
         good="0, or one at a time during a roll-out.", bad="for longer than `relay.drain_timeout`.", do="a second signal ends it at once, and its calls."),
    stat("Youngest started", "min(meetpoint_uptime_seconds{@})", "s", runbook="MeetpointRestartLoop", steps=[(None, YELLOW), (600, GREEN)],
         says="Since the last start of any.", good="since your last deploy.", bad="minutes, and nobody deployed.", do="read why it ended: the log before the start."),
    stat("Versions", "count(count by (version, revision) (meetpoint_build_info{@}))", "short", runbook="MeetpointVersionsDiffer",
         steps=[(None, GREEN), (2, ORANGE)], says="Different builds that run now.", good="1, or 2 during a roll-out.", bad="2 for hours: a roll-out that hangs.",
         do="see Versions and starts."),
    stat("Keys that wait for a restart", "max(meetpoint_config_pending_keys{@})", "short", runbook="MeetpointConfigPending",
         steps=[(None, GREEN), (1, YELLOW)], says="Changed keys of the configuration that a reload cannot take over.",
         good="0.", bad="more: what is written is not what runs.", do="the log of the reload names them; restart after a drain."),
    stat("Clock is off by", "max(abs(meetpoint_clock_seconds{@} - timestamp(meetpoint_clock_seconds{@})))", "s", runbook="MeetpointClockSkew",
         steps=[(None, GREEN), (5, ORANGE), (60, RED)], decimals=1,
         says="The process's clock against that of Prometheus, the time of the scrape included.", good="below a second.",
         bad="above some seconds: credentials end early or live long, tokens are refused.", do="`chronyc tracking` on both machines."),
]

machine = [
    lines("CPU", [(f"sum by ({EACH}) (rate(process_cpu_seconds_total{{@}}[~]))", EACH_LEGEND)], "short", runbook="MeetpointCpuSaturated",
          says="Processors in use, in whole ones.", good="below 70 % of Relay › Workers.", bad="at the number of processors: packets wait, then drop.",
          do="look for a flood (Abuse › Floods); else add a replica."),
    lines("CPU for each thousand packets", [
        (share(f"1000 * {rate('process_cpu_seconds_total')}", rate("meetpoint_relay_relayed_packets_total")), "seconds"),
    ], "s", runbook="MeetpointCpuSaturated",
        says="What relaying costs, all work of the process included. It rises when little is relayed.", good="below 20 ms under load.",
        bad="rises at the same load after a deploy.", do="compare versions; see Relay › Packets for each system call."),
    lines("Memory in RAM", [(f"sum by ({EACH}) (process_resident_memory_bytes{{@}})", EACH_LEGEND)], "bytes", runbook="MeetpointMemoryGrowth",
          says="Resident memory.", good="follows relays and connections.", bad="climbs for hours while these do not.", do="as the runbook says."),
    lines("Memory for each relay and connection", [
        (share("sum(process_resident_memory_bytes{@})",
               f"{now('meetpoint_relay_allocations')} + {now('meetpoint_signaling_connections')}"), "bytes"),
    ], "bytes", runbook="MeetpointMemoryGrowth",
        says="Memory divided by what it is for; the process itself takes some ten MiB.", good="falls with load, to some KiB.", bad="climbs at an even load.",
        do="as the runbook says."),
    lines("File descriptors", [
        (f"sum by ({EACH}) (process_open_fds{{@}})", "open, " + EACH_LEGEND), (f"min by ({EACH}) (process_max_fds{{@}})", "at most, " + EACH_LEGEND),
    ], "short", runbook="MeetpointDescriptorsNearLimit",
        says="Open descriptors and how many may be.", good="below 60 % of the bound.", bad="above 80 %.", do="raise `LimitNOFILE` or the container's ulimit, restart."),
    lines("Threads", [(f"sum by ({EACH}) (process_threads{{@}})", EACH_LEGEND)], "short",
          says="Threads of the process: workers, the runtime, and those that resolve names.", good="even.", bad="climbs.", do="report it with the log: threads are not made by load."),
]

configuration = [
    lines("Configuration read again", [(rate("meetpoint_config_reloads_total", by="result"), "{{result}}")], "ops", runbook="MeetpointConfigRejected",
          says="Reloads by what became of them.", good="`applied` when you changed it.", bad="`rejected`: what is written is wrong; the old one goes on.",
          do="`meetpoint config check` says what is wrong, with lines."),
    stat("Last reload of the configuration", "min(meetpoint_config_last_reload_successful{@})", "short", runbook="MeetpointConfigRejected", height=8,
         mappings=states(zero="rejected", one="good"), steps=[(None, RED), (1, GREEN)],
         says="What became of the configuration as it was last read, for the worst process.", good="good.", bad="rejected: a restart would fail.",
         do="`meetpoint config check` on its machine."),
    stat("Last reload of certificates", "min(meetpoint_tls_certificates_last_reload_successful{@})", "short", runbook="MeetpointCertificateReloadFailing", height=8,
         mappings=states(zero="failed", one="good"), steps=[(None, RED), (1, GREEN)],
         says="What became of the certificate files that changed last.", good="good.", bad="failed: the old ones go on until they end.",
         do="compare chain and key, as the runbook says."),
    lines("Certificates", [
        (rate("meetpoint_tls_certificate_reloads_total", by="result"), "{{result}}/s"),
    ], "ops", runbook="MeetpointCertificateReloadFailing",
        says="New certificate files, by what became of them.", good="`replaced` at renewals.", bad="`failed`: the files do not fit together; the old one goes on until it ends.",
        do="`openssl x509 -noout -enddate -in FILE`, and compare the key; the log says why."),
    lines("Certificates end in", [(f"min by ({EACH}) (meetpoint_tls_certificate_expiry_timestamp_seconds{{@}}) - time()", EACH_LEGEND)], "s",
          runbook="MeetpointCertificateExpiring", steps=[(None, RED), (2 * 86400, ORANGE), (14 * 86400, GREEN)],
          says="Time left of the first certificate to run out, for each process.", good="alike, and more than two weeks.", bad="one that is behind: its files are not renewed.",
          do="compare the mounted file with the renewed one."),
]

events = [
    lines("Events", [(rate("meetpoint_events_total", by="kind"), "{{kind}}")], "ops",
          says="Events told of; one may stand for many of its kind within a second.", good="`created` near `closed`.", bad="`denied`, `limited`, `auth_failed` above these.",
          do="see Abuse."),
    lines("Webhooks", [
        (rate("meetpoint_webhook_events_total", by="result"), "events: {{result}}"), (rate("meetpoint_webhook_attempts_total", by="result"), "attempts: {{result}}"),
    ], "ops", runbook="MeetpointWebhookDropping",
        says="Events and deliveries to `events.webhooks`.", good="`delivered`, `taken`.", bad="`queue_full`, `gave_up`, `refused`: lost for the receiver.",
        do="read the receiver's log; what is lost is not sent again."),
    lines("Waiting and watching", [
        (now("meetpoint_webhook_queued_events"), "wait for a webhook"), (now("meetpoint_admin_streams"), "streams open"),
        (rate("meetpoint_admin_streams_refused_total"), "streams refused/s"), (rate("meetpoint_admin_stream_lagged_events_total"), "missed by a stream/s"),
        (rate("meetpoint_events_dropped_total"), "dropped before anybody was told/s"),
    ], "short", runbook="MeetpointWebhookDropping",
        says="What is on its way to those who are told.", good="waiting near 0.", bad="climbs to `events.queue_events`: then events are lost.", do="see Webhooks."),
]

usage = [
    lines("Records of usage", [
        (rate("meetpoint_usage_records_written_total"), "written/s"), (rate("meetpoint_usage_write_failures_total"), "attempts that failed/s"),
        (rate("meetpoint_usage_records_lost_total"), "lost/s"), (now("meetpoint_usage_waiting_records"), "waiting"),
    ], "short", width=16, runbook="MeetpointUsageExportFailing",
        says="The daily files of `[usage]` that bills are made from.", good="written, and nothing waits.", bad="attempts that fail: the disk is full, or not ours to write.",
        do="make room; what waits is written then. What is lost is in the log."),
    stat("Usage last written", "max(time() - (meetpoint_usage_last_written_timestamp_seconds{@} > 0))", "s", width=8, height=8,
         runbook="MeetpointUsageExportFailing", steps=[(None, GREEN), (2 * 86400, RED)], empty="never, or off",
         says="Since records of usage were last written, by any process.", good="less than a day, where `[usage]` is on.", bad="more than a day.",
         do="see Records of usage."),
]

which = [
    table("Versions and starts", "pod, instance, version, revision, profile", [
        ("running", "max by (pod, instance, version, revision, profile) (meetpoint_build_info{@})", "short"),
    ], width=12, says="What runs where. `profile` must be `release`.", good="one version.", bad="`debug`: it is ten times as slow. Two versions for hours.",
        do="deploy the one that should run."),
    table("Starts", EACH, [
        ("started", "1000 * max by (pod, instance) (process_start_time_seconds{@})", "dateTimeAsIso"),
        ("starts in 6 h", "sum by (pod, instance) (changes(process_start_time_seconds{@}[6h]))", "short"),
        ("ready", "max by (pod, instance) (meetpoint_ready{@})", "short"),
    ], width=12, runbook="MeetpointRestartLoop", says="When each process began.", good="at your last deploy.", bad="one that begins again and again.",
        do="`kubectl logs --previous` or `journalctl -u meetpoint`: the lines before the start."),
]

DASHBOARD = dashboard("process", "Process", "The process and its machine: starts, configuration, CPU, memory, descriptors, certificates, events out.", [
    ("Is it up?", is_it_up),
    ("Has it what it needs?", machine),
    ("Is it configured as written?", configuration),
    ("Are others told?", events),
    ("Is usage written down?", usage),
    ("What runs where?", which),
])
