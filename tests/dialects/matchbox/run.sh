#!/usr/bin/env bash
# Two unmodified clients of matchbox meet through the program: on a path, on a port of their own, and grouped in twos.
# Prints `1 passed, 0 failed` for each. Needs target/debug/meetpoint ($CARGO_TARGET_DIR).
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../../target}
CARGO_TARGET_DIR=$target/matchbox cargo build --quiet --locked
folder=$(mktemp -d)
server=''
trap '[[ -z $server ]] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
(
    cd "$folder"
    exec env MEETPOINT__HTTP__LISTEN=127.0.0.1:0 MEETPOINT__RELAY__LISTEN=127.0.0.1:0 MEETPOINT__LOG__FORMAT=json \
        MEETPOINT__RELAY__PORT_RANGE=20000-29999 MEETPOINT__SIGNALING__LISTENERS=127.0.0.1:0=matchbox \
        "$target/debug/meetpoint" serve >log 2>&1
) &
server=$!
for _ in $(seq 300); do
    grep -q '"message":"signaling.listeners"' "$folder/log" 2>/dev/null && break
    kill -0 "$server" || { cat "$folder/log"; exit 1; }
    sleep 0.1
done
port=$(sed -n 's/.*"address":"\([0-9.:]*\)","dialect":"matchbox".*/\1/p' "$folder/log")
web=127.0.0.1:$(sed -n 's/.*localhost:\([0-9]*\).*/\1/p' "$folder/log" | head -n 1)
for room in "ws://$port/room" "ws://$web/match/room" "ws://$web/match/room?next=2"; do
    echo "$room"
    timeout 90 "$target/matchbox/debug/meetpoint-matchbox-test" "$room"
done
