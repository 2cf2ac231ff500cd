#!/usr/bin/env bash
# Hub benchmark: meetpoint, PeerServer (npm `peer`) and y-webrtc's server (npm `y-webrtc`) by turns, on loopback.
#
#   bash ops/bench/hub.sh                        # every load, 6 rounds of which the first is discarded
#   bash ops/bench/hub.sh --rounds 3 --seconds 3 --loads 'signal churn'
#   bash ops/bench/hub.sh --servers 'meetpoint-native peerserver'
#   bash ops/bench/hub.sh --loads 'hold-50000 big-room-10000' --rounds 1
#
# Needs node and npm for the other servers, python3 for the table. A server is started afresh for each measurement. Only ratios
# of the same run mean anything: generator and server share the machine. Method: docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=6 seconds=5 out='' keep=''
all_servers='meetpoint-native meetpoint-peerjs meetpoint-topics peerserver y-webrtc'
servers=$all_servers
all_loads='hold-5000 signal signal-max broadcast-1000 slow-0 slow-10 churn hold-50000 big-room-10000'
loads=$all_loads
while (($#)); do
    case $1 in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --servers) servers=$2 ;;
        --loads) loads=$2 ;;
        --out) out=$2 ;;
        --npm) keep=$2 ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done

target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --release --bin meetpoint --example hub_load
meetpoint=$(realpath "$target/release/meetpoint")
load=$(realpath "$target/release/examples/hub_load")
# Each process may have as many descriptors as it may have at most.
ulimit -n "$(ulimit -Hn)"
descriptors=$(ulimit -n)
[[ $descriptors == unlimited ]] && descriptors=1000000

work=$(mktemp -d)
results=${out:-$work/results.jsonl}
: >"$results"
server_pids=()

stop_servers() {
    ((${#server_pids[@]})) || return 0
    kill "${server_pids[@]}" 2>/dev/null || true
    for _ in {1..50}; do kill -0 "${server_pids[@]}" 2>/dev/null || break; sleep 0.1; done
    kill -9 "${server_pids[@]}" 2>/dev/null || true
    wait "${server_pids[@]}" 2>/dev/null || true
    server_pids=()
}
cleanup() {
    stop_servers
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the servers -----------------------------------------------------------------------------------------------------
# Each with its own limits out of the way of the load, so that what is measured is what it can do and not what it is allowed to.
modules=${keep:-$work/npm}
if [[ $servers == *peerserver* || $servers == *y-webrtc* ]] && [[ ! -d $modules/node_modules/peer ]]; then
    mkdir -p "$modules"
    (cd "$modules" && npm init --yes >/dev/null 2>&1 && npm install --no-audit --no-fund --silent peer@1.0.2 y-webrtc@10.3.0 >&2)
fi
source ops/bench/free_port.sh

start_meetpoint() { # port
    env MEETPOINT__HTTP__LISTEN="127.0.0.1:$1" MEETPOINT__RELAY__LISTEN="127.0.0.1:$(free_port)" MEETPOINT__RELAY__WORKERS=1 \
        MEETPOINT__LOG__LEVEL=warn MEETPOINT__SIGNALING__RELAY_ROOM_BYTES_PER_SECOND=4095MiB \
        MEETPOINT__SIGNALING__CONNECTIONS=200000 MEETPOINT__SIGNALING__ROOMS=200000 MEETPOINT__SIGNALING__PEERS_PER_ROOM=20000 \
        MEETPOINT__SIGNALING__MESSAGES_PER_SECOND=1000000 MEETPOINT__SIGNALING__MESSAGE_BURST=1000000 \
        MEETPOINT__SIGNALING__BYTES_PER_SECOND=1GiB MEETPOINT__SIGNALING__BYTE_BURST=1GiB \
        MEETPOINT__SIGNALING__RELAY_BYTES_PER_SECOND=1GiB MEETPOINT__SIGNALING__RELAY_BYTE_BURST=1GiB \
        MEETPOINT__SIGNALING__RELAY_TOTAL_BYTES_PER_SECOND=4095MiB MEETPOINT__SIGNALING__DIALECTS=/topics=topics \
        "$meetpoint" serve >"$work/server-$1.log" 2>&1 &
    server_pids+=($!)
}
start_one() { # server port
    case $1 in
        meetpoint-*) start_meetpoint "$2" ;;
        peerserver)
            node "$modules/node_modules/.bin/peerjs" --host 127.0.0.1 --port "$2" --path / --concurrent_limit 1000000 \
                >"$work/server-$2.log" 2>&1 &
            server_pids+=($!)
            ;;
        y-webrtc)
            HOST=127.0.0.1 PORT=$2 node "$modules/node_modules/y-webrtc/bin/server.js" >"$work/server-$2.log" 2>&1 &
            server_pids+=($!)
            ;;
        *) echo "hub.sh: no server $1" >&2; return 1 ;;
    esac
    for _ in {1..200}; do
        (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return 0
        kill -0 "${server_pids[-1]}" 2>/dev/null || break
        sleep 0.05
    done
    echo "hub.sh: $1 did not start:" >&2
    tail -20 "$work/server-$2.log" >&2
    return 1
}
speaks() {
    case $1 in
        meetpoint-native) echo '--protocol native' ;;
        meetpoint-peerjs) echo '--protocol peerjs' ;;
        meetpoint-topics) echo '--protocol topics --path /topics' ;;
        peerserver) echo '--protocol peerjs' ;;
        y-webrtc) echo '--protocol topics' ;;
    esac
}

# --- the loads -------------------------------------------------------------------------------------------------------
arguments() { # load
    case $1 in
        hold-*) echo "hold --connections ${1#hold-} --seconds $seconds" ;;
        signal) echo "signal --pairs 200 --rate 5000 --seconds $seconds" ;;
        signal-max) echo "signal --pairs 200 --rate 0 --seconds $seconds" ;;
        broadcast-*) echo "broadcast --room ${1#broadcast-} --rate 10 --size 200 --seconds $seconds" ;;
        slow-*) echo "broadcast --room 50 --rate 100 --size 30000 --slow ${1#slow-} --receive-buffer 65536 --seconds $seconds" ;;
        churn) echo "churn --seconds $seconds" ;;
        big-room-*) echo "big-room --members ${1#big-room-}" ;;
        *) return 1 ;;
    esac
}
# What a server cannot do, or nobody would ask of it: rooms that PeerJS has not, lists that only the native protocol has, and more
# connections than two of the servers were written for.
skipped() { # load server
    case $1:$2 in
        broadcast-*:*peer* | slow-*:*peer*) ;;
        big-room-*:meetpoint-native | hold-50000:meetpoint-native) return 1 ;;
        big-room-*:* | hold-50000:*) ;;
        *) return 1 ;;
    esac
}
# One server has as many connections as it has descriptors.
servers_for() { # load
    case $1 in
        hold-*) echo $(((${1#hold-} + descriptors - 301) / (descriptors - 300))) ;;
        *) echo 1 ;;
    esac
}

for load_name in $loads; do arguments "$load_name" >/dev/null || { echo "hub.sh: no load $load_name" >&2; exit 2; }; done
for ((round = 0; round < rounds; round++)); do
    for load_name in $loads; do
        for server in $servers; do
            skipped "$load_name" "$server" && continue
            read -ra given <<<"$(arguments "$load_name") $(speaks "$server")"
            for _ in $(seq "$(servers_for "$load_name")"); do
                port=$(free_port)
                start_one "$server" "$port"
                given+=(--server "127.0.0.1:$port" --pid "${server_pids[-1]}")
            done
            # What a server does at its start is not part of it.
            sleep 0.5
            echo "round $round  $load_name  $server" >&2
            if found=$("$load" --json "${given[@]}" 2>"$work/load.log"); then
                printf '{"round":%d,"load":"%s","server":"%s","figures":%s}\n' "$round" "$load_name" "$server" "$found" >>"$results"
            else
                echo "  failed: $(tail -1 "$work/load.log")" >&2
                printf '{"round":%d,"load":"%s","server":"%s","figures":null}\n' "$round" "$load_name" "$server" >>"$results"
            fi
            stop_servers
        done
    done
done
echo "Load of the machine: $(cut -d' ' -f1-3 /proc/loadavg); $(nproc) cores; $descriptors descriptors a process; $(date +%F)"
python3 ops/bench/table.py --hub "$results"
