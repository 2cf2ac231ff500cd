# Sourced by the benchmarks of the hub and of the API, and by the test of releases: a port for a server.
# shellcheck shell=bash

# Below the ports that clients are given: those are in use for a minute after their connections.
free_port() {
    python3 - <<'END'
import random
import socket

while True:
    port = random.randint(12_000, 32_000)
    try:
        for family, any_address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
            with socket.socket(family) as tried:
                tried.bind((any_address, port))
    except OSError:
        continue
    print(port)
    break
END
}
