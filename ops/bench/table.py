#!/usr/bin/env python3
"""Turns the lines that relay.sh, hub.sh or api.sh collects into Markdown tables: median (min-max) per server, for the relay the ratio
to coturn too.

Usage: table.py [--hub|--api] results.jsonl. The first round is left out, unless it is the only one.
"""

import json
import statistics
import sys

# Figure → (heading, decimals, whether less is better). A table shows the figures its load has.
FIGURES = {
    "system_cpu_us_per_packet": ("whole-system CPU, µs per packet", 2, True),
    "processes_cpu_us_per_packet": ("server + generator CPU, µs per packet", 2, True),
    "server_cpu_us_per_packet": ("server CPU, µs per packet", 2, True),
    "delivered_pps": ("delivered packets/s", 0, False),
    "up_loss_percent": ("loss up, %", 3, True),
    "down_loss_percent": ("loss down, %", 3, True),
    "up_p50_us": ("one-way p50 up, µs", 0, True),
    "up_p99_us": ("one-way p99 up, µs", 0, True),
    "down_p99_us": ("one-way p99 down, µs", 0, True),
    "cycles_per_second": ("allocations/s", 0, False),
    "server_cpu_us_per_cycle": ("server CPU, µs per allocation", 1, True),
    "failed_cycles": ("failed", 0, True),
    "port_collisions": ("ports refused as still in use", 0, True),
    "rss_bytes_per_allocation": ("resident bytes per allocation", 0, True),
    "idle_busy_share": ("cores busy with other work", 2, True),
}
# The same for hub.sh.
HUB_FIGURES = {
    "servers": ("processes of the server", 0, True),
    "connections": ("connections open", 0, False),
    "closed": ("closed meanwhile", 0, True),
    "enters_per_second": ("connections that come in, /s", 0, False),
    "cpu_us_per_enter": ("server CPU, µs per connection that comes in", 1, True),
    "enter_p99_ms": ("coming in, p99, ms", 1, True),
    "rss_bytes_per_connection": ("resident bytes per connection", 0, True),
    "kernel_bytes_per_connection": ("kernel buffers per connection, both ends, bytes", 0, True),
    "idle_cores": ("server CPU while idle, cores", 3, True),
    "signals_per_second": ("signals/s", 0, False),
    "cpu_us_per_signal": ("server CPU, µs per signal", 1, True),
    "deliveries": ("deliveries", 0, False),
    "cpu_us_per_delivery": ("server CPU, µs per delivery", 2, True),
    "rounds_per_second": ("come and go, /s", 0, False),
    "cpu_us_per_round": ("server CPU, µs per round", 1, True),
    "p50_us": ("p50, µs", 0, True),
    "p99_us": ("p99, µs", 0, True),
    "max_us": ("longest, µs", 0, True),
    "lost": ("lost", 0, True),
    "repeated": ("repeated or out of order", 0, True),
    "slow_readers": ("readers that stopped reading", 0, True),
    "closed_4002": ("of them closed with 4002", 0, False),
    "cut": ("of them cut off", 0, False),
    "members": ("members of the room", 0, False),
    "joined_in_s": ("all joined in, s", 1, True),
    "told_in_s": ("all knew of all in, s", 1, True),
    "members_who_miscount": ("members who miss somebody", 0, True),
    "missing_or_twice": ("missing or twice on lists", 0, True),
    "events_told": ("comings and goings told", 0, True),
    "bytes_told_mib": ("that in MiB", 0, True),
    "join_p50_ms": ("one join, p50, ms", 1, True),
    "join_p99_ms": ("one join, p99, ms", 1, True),
    "cpu_s": ("server CPU, s", 1, True),
    "rss_bytes_per_member": ("resident bytes per member", 0, True),
    "server_rss_mib": ("resident, MiB", 0, True),
    "failed": ("failed", 0, True),
}
# The same for api.sh.
API_FIGURES = {
    "lists_per_second": ("lists/s", 0, False),
    "cpu_us_per_list": ("server CPU, µs per list", 1, True),
    "lists_per_core_second": ("lists per second of server CPU", 0, False),
    "p50_us": ("p50, µs", 0, True),
    "p99_us": ("p99, µs", 0, True),
    "max_us": ("longest, µs", 0, True),
    "failed": ("failed", 0, True),
}
# Above this many cores of other work, the whole system's busy time says nothing about the server.
QUIET = 0.15
NEEDS_QUIET = "system_cpu_us_per_packet"
# A search for the highest rate ends at different rates: its other figures do not compare.
OF_A_SEARCH = ["delivered_pps", "server_cpu_us_per_packet"]


def cell(values: list[float], decimals: int) -> str:
    """Median and range."""
    median = statistics.median(values)
    if min(values) == max(values):
        return f"{median:,.{decimals}f}"
    return f"{median:,.{decimals}f} ({min(values):,.{decimals}f}–{max(values):,.{decimals}f})"


def of_api(run: dict) -> None:
    """Adds what a list cost, which is no matter of how much of the machine the server got."""
    figures, cpu_s = run["figures"], run["cpu_s"]
    figures["cpu_us_per_list"] = cpu_s * 1e6 / max(figures["lists"], 1)
    if cpu_s > 0:
        figures["lists_per_core_second"] = figures["lists"] / cpu_s


def main() -> None:
    arguments = sys.argv[1:]
    figures = {"--hub": HUB_FIGURES, "--api": API_FIGURES}.get(arguments[0], FIGURES)
    with open(arguments[-1], encoding="utf-8") as lines:
        runs = [json.loads(line) for line in lines]
    if figures is API_FIGURES:
        for run in runs:
            of_api(run)
    if max(run["round"] for run in runs) > 0:
        runs = [run for run in runs if run["round"] > 0]
    servers = list(dict.fromkeys(run["server"] for run in runs))
    ratios = "meetpoint" in servers and "coturn" in servers
    for load in dict.fromkeys(run["load"] for run in runs):
        print(f"\n### {load}\n")
        print("| figure | " + " | ".join(servers) + (" | meetpoint / coturn |" if ratios else " |"))
        print("|---|" + "--:|" * (len(servers) + ratios))
        for figure, (heading, decimals, _) in figures.items():
            if load.startswith("max-") and figure not in OF_A_SEARCH:
                continue
            found = {
                server: [
                    run["figures"][figure]
                    for run in runs
                    if (run["load"], run["server"]) == (load, server)
                    and run["figures"]
                    and figure in run["figures"]
                    and (figure != NEEDS_QUIET or run["figures"]["idle_busy_share"] <= QUIET)
                ]
                for server in servers
            }
            if not any(found.values()):
                continue
            row = [cell(found[server], decimals) if found[server] else "–" for server in servers]
            if ratios:
                theirs, ours = found["coturn"], found["meetpoint"]
                comparable = theirs and ours and statistics.median(theirs) > 0
                row.append(f"{statistics.median(ours) / statistics.median(theirs):.2f}" if comparable else "–")
            print(f"| {heading} | " + " | ".join(row) + " |")
        failed = [run for run in runs if run["load"] == load and run["figures"] is None]
        if failed:
            print(f"\n{len(failed)} runs failed: " + ", ".join(sorted({run["server"] for run in failed})))


if __name__ == "__main__":
    main()
