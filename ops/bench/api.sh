#!/usr/bin/env bash
# ICE API benchmark: lists per second, what one costs, and how long it takes, on loopback with wrk over connections that are kept.
#
#   bash ops/bench/api.sh                        # every server and load, 6 rounds of which the first is discarded
#   bash ops/bench/api.sh --rounds 3 --seconds 3 --loads 'full' --servers 'meetpoint-open fixed'
#   bash ops/bench/api.sh --binary target/release/meetpoint --other /tmp/before/meetpoint
#                                                # a binary that is there; the same loads of another one, as `…-other`
#
# Needs wrk, nginx, node, openssl and python3. A server is started afresh for each measurement. Where there are two cores or more, the
# server has the first one alone and wrk the others. Only ratios of the same run mean anything. Method: docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=6 seconds=4 connections=64 out='' binary='' other=''
servers='meetpoint-open meetpoint-v1 meetpoint-key meetpoint-jwt meetpoint-jwts fixed node'
loads='full paced-25000'
while (($#)); do
    case $1 in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --connections) connections=$2 ;;
        --servers) servers=$2 ;;
        --loads) loads=$2 ;;
        --out) out=$2 ;;
        --binary) binary=$(realpath "$2") ;;
        --other) other=$(realpath "$2") ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done

if [[ -z $binary ]]; then
    cargo build --quiet --release --bin meetpoint
    binary=$(realpath "${CARGO_TARGET_DIR:-target}/release/meetpoint")
fi
if [[ -n $other ]]; then
    for server in $servers; do [[ $server == meetpoint-* ]] && servers+=" $server-other"; done
fi
if (($(nproc) >= 2)); then
    on_first=(taskset -c 0) on_others=(taskset -c "1-$(($(nproc) - 1))")
else
    on_first=() on_others=()
fi

work=$(mktemp -d)
results=${out:-$work/results.jsonl}
: >"$results"
server_pid=''
stop_server() {
    [[ -n $server_pid ]] || return 0
    kill "$server_pid" 2>/dev/null || true
    for _ in {1..100}; do kill -0 "$server_pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=''
}
cleanup() {
    stop_server
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- who asks --------------------------------------------------------------------------------------------------------
# Of this run alone.
secret=$(openssl rand -hex 32)
relay_secret=$(openssl rand -hex 32)
key=$(openssl rand -hex 32)
key_hash=sha256:$(printf %s "$key" | openssl dgst -sha256 -r | cut -d' ' -f1)
# One token, and as many as nobody remembers, each shown once in so many lists.
SECRET=$secret python3 - 20000 >"$work/tokens" <<'END'
import base64
import hashlib
import hmac
import json
import os
import sys
import time


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


for number in range(int(sys.argv[1])):
    claims = {"sub": f"alice-{number}", "exp": int(time.time()) + 86_400}
    signed = ".".join(text(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    print(signed + "." + text(hmac.digest(os.environ["SECRET"].encode(), signed.encode(), hashlib.sha256)))
END
token=$(head -n 1 "$work/tokens")

# --- the servers -----------------------------------------------------------------------------------------------------
source ops/bench/free_port.sh

# What those write who have no server for it: a username with its end, an HMAC-SHA1, a list.
cat >"$work/credentials.mjs" <<'END'
import { createHmac, randomBytes } from "node:crypto";
import { createServer } from "node:http";

const { PORT, SECRET } = process.env;
const urls = ["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"];
createServer((request, response) => {
  if (request.url !== "/api/ice-servers") return response.writeHead(404).end();
  const ttl = 3600;
  const expiresAt = Math.floor(Date.now() / 1000) + ttl;
  const username = `${expiresAt}:${randomBytes(8).toString("hex")}`;
  const credential = createHmac("sha1", SECRET).update(username).digest("base64");
  const iceServers = [{ urls: ["stun:turn.example.org:3478"] }, { urls, username, credential }];
  response.writeHead(200, {
    "content-type": "application/json",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
  });
  response.end(JSON.stringify({ iceServers, ttl, expiresAt, servers: iceServers }));
}).listen(Number(PORT), "127.0.0.1");
END

start_meetpoint() { # binary kind port
    local given=()
    case $2 in
        jwt | jwts) given=(MEETPOINT__AUTH__JWT_SECRETS="$secret") ;;
        key) given=(MEETPOINT__KEYS__BENCH__HASHES="$key_hash" MEETPOINT__KEYS__BENCH__RATE=0/s) ;;
    esac
    # The log is as it is by default. Clients on loopback are not limited.
    env "${given[@]}" MEETPOINT__HTTP__LISTEN="127.0.0.1:$3" MEETPOINT__RELAY__LISTEN="127.0.0.1:$(free_port)" \
        MEETPOINT__ICE__HOST=turn.example.org MEETPOINT__CREDENTIALS__SECRETS="$relay_secret" \
        "${on_first[@]}" "$1" serve >"$work/server.log" 2>&1 &
    server_pid=$!
}
start_one() { # server port
    local kind=${1#meetpoint-}
    case $1 in
        meetpoint-*-other) start_meetpoint "$other" "${kind%-other}" "$2" ;;
        meetpoint-*) start_meetpoint "$binary" "$kind" "$2" ;;
        fixed)
            # The bytes of a list of ours, always the same ones: what this machine does for an answer of that size.
            mkdir -p "$work/nginx"
            cat >"$work/nginx.conf" <<END
daemon off; master_process off; worker_processes 1; pid $work/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000; default_type application/json;
    client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
    uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
    server {
        listen 127.0.0.1:$2;
        location = /api/ice-servers {
            add_header cache-control no-store; add_header access-control-allow-origin "*";
            return 200 '$(<"$work/body")';
        }
    }
}
END
            "${on_first[@]}" nginx -c "$work/nginx.conf" >"$work/server.log" 2>&1 &
            server_pid=$!
            ;;
        node)
            PORT=$2 SECRET=$relay_secret "${on_first[@]}" node "$work/credentials.mjs" >"$work/server.log" 2>&1 &
            server_pid=$!
            ;;
        *) echo "api.sh: no server $1" >&2; return 1 ;;
    esac
    for _ in {1..400}; do
        (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "api.sh: $1 did not start:" >&2
    tail -20 "$work/server.log" >&2
    return 1
}
path_of() { [[ $1 == meetpoint-v1* ]] && echo /v1/ice || echo /api/ice-servers; }
shows() { # server; the header that it asks for
    case $1 in
        meetpoint-jwt*) echo "authorization: Bearer $token" ;;
        meetpoint-key*) echo "x-api-key: $key" ;;
        *) echo 'accept: */*' ;;
    esac
}

# --- the loads -------------------------------------------------------------------------------------------------------
# wrk has no rate. Paced, each connection waits before it asks again, by chance between nothing and twice its share: what is measured
# is the time from asking to the answer, and an answer that is late makes the next question late.
cat >"$work/load.lua" <<'END'
local rate = tonumber(os.getenv("BENCH_RATE"))
local mean = 1000 * tonumber(os.getenv("BENCH_CONNECTIONS")) / math.max(rate, 1)
if rate > 0 then
  delay = function() return math.floor(math.random() * 2 * mean + 0.5) end
end
local tokens = os.getenv("BENCH_TOKENS") or ""
if tokens ~= "" then
  local requests, at = {}, 0
  init = function()
    for token in io.lines(tokens) do
      requests[#requests + 1] = wrk.format(nil, nil, { ["authorization"] = "Bearer " .. token })
    end
  end
  request = function()
    at = at % #requests + 1
    return requests[at]
  end
end
done = function(summary, latency)
  local errors = summary.errors
  print(string.format('{"lists":%d,"lists_per_second":%.1f,"p50_us":%d,"p99_us":%d,"max_us":%d,"failed":%d}', summary.requests,
    summary.requests * 1e6 / summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
END
cpu_ticks() { # of the server; the command's name can hold blanks
    local stat
    stat=$(<"/proc/$server_pid/stat")
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}
rate_of() { # load
    case $1 in
        full) echo 0 ;;
        paced-*) echo "${1#paced-}" ;;
        *) return 1 ;;
    esac
}
wrk_for() { # seconds url header rate
    local many=$connections
    # Delays are whole milliseconds: more connections for the same rate make them long enough to mean something.
    (($4 == 0)) || many=$((connections * 4))
    BENCH_RATE=$4 BENCH_CONNECTIONS=$many BENCH_TOKENS=$tokens "${on_others[@]}" wrk --threads 1 --connections "$many" --duration "${1}s" \
        --timeout 10s --header "$3" --script "$work/load.lua" "$2" | grep '^{'
}

for load_name in $loads; do rate_of "$load_name" >/dev/null || { echo "api.sh: no load $load_name" >&2; exit 2; }; done
# The body of `fixed` is one that was really answered.
port=$(free_port)
start_one meetpoint-open "$port"
python3 - "$port" >"$work/body" <<'END'
import sys
import urllib.request

with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api/ice-servers", timeout=10) as answer:
    print(answer.read().decode(), end="")
END
stop_server
bytes=$(wc -c <"$work/body")

ticks_per_second=$(getconf CLK_TCK)
for ((round = 0; round < rounds; round++)); do
    for load_name in $loads; do
        rate=$(rate_of "$load_name")
        for server in $servers; do
            port=$(free_port)
            start_one "$server" "$port"
            url=http://127.0.0.1:$port$(path_of "$server") header=$(shows "$server") tokens=''
            [[ $server != meetpoint-jwts* ]] || tokens=$work/tokens
            # What a server does at its start, and what a compiler at run time has to learn first, is not part of it.
            wrk_for 1 "$url" "$header" "$rate" >/dev/null
            echo "round $round  $load_name  $server" >&2
            before=$(cpu_ticks)
            found=$(wrk_for "$seconds" "$url" "$header" "$rate")
            after=$(cpu_ticks)
            stop_server
            printf '{"round":%d,"load":"%s","server":"%s","cpu_s":%s,"figures":%s}\n' "$round" "$load_name" "$server" \
                "$(python3 -c "print(($after - $before) / $ticks_per_second)")" "$found" >>"$results"
        done
    done
done
echo "Load of the machine: $(cut -d' ' -f1-3 /proc/loadavg); $(nproc) cores; $connections connections; body of $bytes bytes; $(date +%F)"
python3 ops/bench/table.py --api "$results"
