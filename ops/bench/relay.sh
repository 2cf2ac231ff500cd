#!/usr/bin/env bash
# Relay benchmark: meetpoint and coturn by turns, in three network namespaces (client - relay - peer).
#
#   bash ops/bench/relay.sh                      # every load, 6 rounds of which the first is discarded
#   bash ops/bench/relay.sh --rounds 3 --seconds 2 --loads 'both-100x160 trains-100x160'
#   bash ops/bench/relay.sh --servers 'coturn meetpoint direct'
#
# Needs root (namespaces), iproute2, python3 and coturn. A server is started afresh for each measurement, one worker each.
# Only ratios of the same run mean anything: generator and server share the machine. Method: docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=6 seconds=4 workers=1 rate=40000 keep='' out=''
servers='coturn meetpoint'
all_loads='both-1x160 both-100x160 both-1x1200 both-100x1200 send-100x160 up-100x160 trains-1x160 trains-100x160 trains-100x1200
max-1x160 max-100x160 max-trains-1x160 max-trains-100x160 allocate hold'
loads=$all_loads
while (($#)); do
    case $1 in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --servers) servers=$2 ;;
        --loads) loads=$2 ;;
        --workers) workers=$2 ;;
        --rate) rate=$2 ;;
        --out) out=$2 ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
((EUID == 0)) || { echo 'relay.sh: needs root, for network namespaces' >&2; exit 2; }

target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --release --bin meetpoint --example load
meetpoint=$(realpath "$target/release/meetpoint")
load=$(realpath "$target/release/examples/load")

work=$(mktemp -d)
results=${out:-$work/results.jsonl}
: >"$results"
tag=mp$$
client=$tag-c relay=$tag-r peer=$tag-p
server_pid=''

stop_server() {
    [[ -n $server_pid ]] || return 0
    kill "$server_pid" 2>/dev/null || true
    for _ in {1..50}; do kill -0 "$server_pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=''
}
cleanup() {
    stop_server
    for name in "$client" "$relay" "$peer"; do ip netns del "$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the network -----------------------------------------------------------------------------------------------------
for name in "$client" "$relay" "$peer"; do
    ip netns add "$name"
    ip -n "$name" link set lo up
done
ip link add c0 netns "$client" type veth peer name c1 netns "$relay"
ip link add p0 netns "$peer" type veth peer name p1 netns "$relay"
ip -n "$client" addr add 10.81.1.1/24 dev c0
ip -n "$relay" addr add 10.81.1.2/24 dev c1
ip -n "$peer" addr add 10.81.2.1/24 dev p0
ip -n "$relay" addr add 10.81.2.2/24 dev p1
for end in "$client c0" "$relay c1" "$peer p0" "$relay p1"; do
    read -r name device <<<"$end"
    ip -n "$name" link set "$device" up
done
ip -n "$client" route add default via 10.81.1.2
ip -n "$peer" route add default via 10.81.2.2
ip netns exec "$relay" sysctl -qw net.ipv4.ip_forward=1

# --- the servers -----------------------------------------------------------------------------------------------------
# Both get: one address for clients, one for relaying, the same secret, the same number of threads that relay, no TLS, no log.
secret=bench-secret-of-thirty-two-characters
start_coturn() {
    cat >"$work/coturn.conf" <<EOF
listening-ip=10.81.1.2
listening-port=3478
relay-ip=10.81.2.2
relay-threads=$workers
use-auth-secret
static-auth-secret=$secret
realm=bench
userdb=$work/turndb
pidfile=$work/coturn.pid
log-file=/dev/null
no-stdout-log
no-tls
no-dtls
no-tcp
no-cli
EOF
    ip netns exec "$relay" turnserver -c "$work/coturn.conf" >"$work/server.log" 2>&1 &
    server_pid=$!
}
start_meetpoint() {
    env MEETPOINT__HTTP__LISTEN=127.0.0.1:8000 MEETPOINT__RELAY__LISTEN=10.81.1.2:3478 \
        MEETPOINT__RELAY__EXTERNAL_IP=10.81.2.2 MEETPOINT__RELAY__WORKERS="$workers" \
        MEETPOINT__CREDENTIALS__SECRETS="$secret" MEETPOINT__PEERS__ALLOW=10.81.2.0/24 \
        MEETPOINT__LIMITS__ALLOCATIONS=1000000 MEETPOINT__LIMITS__ALLOCATIONS_PER_USER=1000000 MEETPOINT__LIMITS__ALLOCATIONS_PER_CLIENT=1000000 \
        MEETPOINT__LIMITS__UNAUTHENTICATED_PER_SECOND=0 MEETPOINT__LOG__LEVEL=warn \
        ip netns exec "$relay" "$meetpoint" serve >"$work/server.log" 2>&1 &
    server_pid=$!
}
start_direct() { sleep 1000 & server_pid=$!; }
wait_until_listening() {
    for _ in {1..100}; do
        [[ -n $(ip netns exec "$relay" ss -Hlun 'sport = :3478') ]] && return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "relay.sh: $1 did not start:" >&2
    tail -20 "$work/server.log" >&2
    return 1
}

# --- the loads -------------------------------------------------------------------------------------------------------
arguments() {
    local name=$1 shape=${1##*-}
    local traffic=(relay --peer-netns "$peer" --peer-ip 10.81.2.1 --client-ip 10.81.1.1 --seconds "$seconds")
    [[ $shape == *x* ]] && traffic+=(--allocations "${shape%x*}" --size "${shape#*x}")
    case $name in
        both-*) echo "${traffic[@]} --rate $rate --direction both" ;;
        up-*) echo "${traffic[@]} --rate $rate --direction up" ;;
        send-*) echo "${traffic[@]} --rate $rate --direction both --method send" ;;
        trains-*) echo "${traffic[@]} --rate $rate --direction both --train 8" ;;
        max-trains-*) echo "${traffic[@]} --direction up --train 8 --rate 100000 --find-max 0.1" ;;
        max-*) echo "${traffic[@]} --direction up --rate 80000 --find-max 0.1" ;;
        allocate) echo "allocate --seconds $seconds" ;;
        hold) echo 'hold --allocations 2000' ;;
        *) return 1 ;;
    esac
}

for load_name in $loads; do arguments "$load_name" >/dev/null || { echo "relay.sh: no load $load_name" >&2; exit 2; }; done
for ((round = 0; round < rounds; round++)); do
    for load_name in $loads; do
        for server in $servers; do
            read -ra given <<<"$(arguments "$load_name")"
            if [[ $server == direct ]]; then
                [[ ${given[0]} == relay && $load_name != send-* ]] || continue
                given+=(--method direct)
            fi
            "start_$server"
            [[ $server == direct ]] || wait_until_listening "$server"
            echo "round $round  $load_name  $server" >&2
            if found=$("$load" --json "${given[@]}" --server 10.81.1.2:3478 --secret "$secret" \
                --client-netns "$client" --pid "$server_pid" 2>"$work/load.log"); then
                printf '{"round":%d,"load":"%s","server":"%s","figures":%s}\n' "$round" "$load_name" "$server" "$found" >>"$results"
            else
                echo "  failed: $(tail -1 "$work/load.log")" >&2
                printf '{"round":%d,"load":"%s","server":"%s","figures":null}\n' "$round" "$load_name" "$server" >>"$results"
            fi
            stop_server
        done
    done
done
python3 ops/bench/table.py "$results"
