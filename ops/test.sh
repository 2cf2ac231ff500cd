#!/usr/bin/env bash
# Runs every check and every test, and installs what they need where it can (Debian 12, as root).
#
#   bash ops/test.sh              # everything
#   bash ops/test.sh fmt unit     # only these stages
#   bash ops/test.sh --list       # the stages
#
# A stage that fails does not stop the next one. The last line is `N passed, N failed`: the tests that ran, and for a stage
# that is no test, one failure if it fails. The exit code is 0 when nothing failed. Logs: $MEETPOINT_TEST_LOGS, else a
# temporary directory that is kept when something failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0 PYTHONDONTWRITEBYTECODE=1

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$target/test-python
logs=${MEETPOINT_TEST_LOGS:-$(mktemp -d "${TMPDIR:-/tmp}/meetpoint-test.XXXXXX")}
mkdir -p "$logs" "$target"
passed=0 failed=0 skipped=()
running=''
wanted=()
list_only=false
for argument in "$@"; do
    case $argument in
        --list) list_only=true ;;
        -*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) wanted+=("$argument") ;;
    esac
done

# Everything a stage started ends with it, and with us.
end_group() { [[ -z $1 ]] || kill -"${2:-TERM}" -- "-$1" 2>/dev/null; }
trap 'end_group "$running" KILL; exit 130' INT TERM

have() { command -v "$1" >/dev/null 2>&1; }

is_wanted() {
    ((${#wanted[@]} == 0)) && return 0
    local name
    for name in "${wanted[@]}"; do [[ $name == "$1" ]] && return 0; done
    return 1
}

say() { printf '%-6s %-16s %7s  %s\n' "$1" "$2" "$3" "${4:-}"; }

# Sums what a log reports: libtest ("test result: … 3 passed; 0 failed"), and lines that are "3 passed, 0 failed" as pytest,
# node and our own scripts print them.
count() {
    awk '
        /^test result: / || /^(=+ )?[0-9]+ (passed|failed)[ ,;]/ || /^(=+ )?[0-9]+ passed$/ {
            for (i = 2; i <= NF; i++) {
                word = $i; gsub(/[,;.]/, "", word)
                if (word == "passed") p += $(i - 1)
                if (word == "failed") f += $(i - 1)
            }
        }
        END { print p + 0, f + 0 }' "$1"
}

# stage NAME KIND SECONDS COMMAND…   KIND: check, or test whose log is counted.
stage() {
    local name=$1 kind=$2 limit=$3 log=$logs/$1.log began=$SECONDS code p=0 f=0
    shift 3
    is_wanted "$name" || return 0
    if $list_only; then echo "$name"; return 0; fi
    setsid timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    code=$?
    end_group "$running"
    running=''
    if [[ $kind == test ]]; then
        read -r p f < <(count "$log")
        ((code != 0 && f == 0)) && f=1
        ((code == 0 && p == 0 && f == 0)) && { echo 'no test ran' >>"$log"; code=1 f=1; }
    else
        ((code != 0)) && f=1
    fi
    ((passed += p, failed += f))
    local result=''
    [[ $kind == test ]] && result="$p passed, $f failed"
    ((code == 124)) && result+=" (stopped after $limit s)"
    if ((f == 0)); then
        say ok "$name" "$((SECONDS - began)) s" "$result"
    else
        say FAIL "$name" "$((SECONDS - began)) s" "$result"
        # What failed first, then the end of the log.
        grep -E '^(error|warning: unused|thread .* panicked|test .* FAILED|Diff in|E  )' -A3 "$log" | head -20 | sed 's/^/       | /'
        tail -n 25 "$log" | sed 's/^/       | /'
        echo "       | (whole log: $log)"
    fi
}

skip() {
    is_wanted "$1" || return 0
    if $list_only; then echo "$1"; return 0; fi
    skipped+=("$1")
    say SKIP "$1" '' "$2"
}

# --- what is needed ----------------------------------------------------------------------------------------------------
# Commands and the Debian packages that bring them.
needs='nginx:nginx caddy:caddy strace:strace turnutils_uclient:coturn systemd-analyze:systemd turnserver:coturn haproxy:haproxy redis-server:redis-server chromium:chromium ip:iproute2 nft:nftables openssl:openssl python3:python3 node:nodejs npm:npm curl:curl cc:build-essential'
needs+=' prometheus:prometheus promtool:prometheus jq:jq'

prepare() {
    local pair packages=()
    for pair in $needs; do have "${pair%%:*}" || packages+=("${pair#*:}"); done
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    if ((${#packages[@]})); then
        if have apt-get && ((EUID == 0)); then
            export DEBIAN_FRONTEND=noninteractive
            # The packages start servers where there is an init system (coturn's on 3478, Redis' on 6379, Prometheus' on 9090): not wanted on a test machine.
            apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" || return 1
            have systemctl && systemctl disable --now coturn haproxy redis-server prometheus prometheus-node-exporter 2>/dev/null
        else
            echo "missing: ${packages[*]} (Debian packages); run as root on Debian, or install them" >&2
        fi
    fi
    if ! cmp -s tests/interop/requirements.txt "$venv/requirements.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt &&
            cp tests/interop/requirements.txt "$venv/requirements.txt" || return 1
    fi
    return 0
}

if ! have cargo; then
    echo 'cargo is missing: install Rust 1.95 or newer (https://rustup.rs)' >&2
    echo '0 passed, 1 failed'
    exit 1
fi
export -f prepare have
export needs venv
stage prepare check 900 bash -c prepare
export MEETPOINT_TEST_PYTHON=$venv/bin/python

# --- checks ------------------------------------------------------------------------------------------------------------
stage fmt check 60 cargo fmt --check -- --color never
stage clippy check 1200 cargo clippy --quiet --all-targets -- -D warnings
stage docs check 600 env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps
stage core check 600 cargo clippy --quiet --no-default-features --lib -- -D warnings
if have cargo-deny; then
    stage deny check 300 cargo deny --offline check bans licenses sources
fi

# --- tests -------------------------------------------------------------------------------------------------------------
stage build check 1500 cargo test --quiet --no-run
stage unit test 600 cargo test --no-fail-fast --lib --bins --examples
stage doctest test 600 cargo test --no-fail-fast --doc

# Every test target there is; those that need the programs of others come last.
mapfile -t targets < <(cargo metadata --no-deps --format-version 1 --offline 2>/dev/null | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    for target in package["targets"]:
        if "test" in target["kind"] and target["name"] not in ("interop", "browser"):
            print(target["name"])' | sort)
for name in "${targets[@]}"; do stage "$name" test 900 cargo test --no-fail-fast --test "$name"; done

if { have node && have npm; } || $list_only; then
    # The SDK: types, its tests against the program built above, sizes, and that dist/ is what the sources make.
    stage client test 900 bash -c 'cd client && npm ci --silent --no-audit --no-fund && npm run -s check && npm test -s'
else
    skip client 'needs node and npm'
fi

if { have node && have npm; } || $list_only; then
    # socket.io's own client, and small ones that do what Retcon's and edge-net's do, which are in no registry.
    stage dialect-clients test 300 bash -c 'cd tests/dialects/node && npm ci --silent --no-audit --no-fund && npm test -s'
else
    skip dialect-clients 'needs node and npm'
fi

if { have node && have npm; } || $list_only; then
    # Other services' official clients against our answers in their shapes, and aiortc gathers with what each read.
    stage api-clients test 600 bash -c 'cd tests/api-clients/node && npm ci --silent --no-audit --no-fund && npm test -s'
else
    skip api-clients 'needs node and npm'
fi

if have promtool || $list_only; then
    # What Grafana and Prometheus are given: up to date, parses, names what there is.
    stage dashboards test 120 python3 tests/deploy/grafana/run.py test_dashboards
    # Each alert fires and stays silent as it should, and a changed rule is noticed: some hundreds of runs of promtool.
    stage alerts test 900 python3 tests/deploy/grafana/run.py test_alerts
else
    skip dashboards 'needs promtool'
    skip alerts 'needs promtool'
fi
if { have prometheus && have turnutils_uclient && have redis-server; } || $list_only; then
    # Every query of every dashboard, asked of a Prometheus that scrapes two meetpoints under load of every kind.
    stage panels test 300 env MEETPOINT="$target/debug/meetpoint" "$venv/bin/python" tests/deploy/grafana/run.py test_live
else
    skip panels 'needs prometheus, coturn and redis-server'
fi

# What is released, made and looked at; static, so a build of its own.
stage release test 1500 bash tests/release/run.sh

# Clients of matchbox, a package of its own: its tree is larger than ours.
stage matchbox test 1500 bash tests/dialects/matchbox/run.sh

if have python3 || $list_only; then
    # The Helm chart: rendered by Helm's engine, held to the schemas of Kubernetes, and its pods run as far as that goes without a cluster.
    stage helm test 900 bash tests/deploy/helm/run.sh
else
    skip helm 'needs python3'
fi

missing=''
for program in turnutils_uclient turnutils_peer turnutils_stunclient turnutils_natdiscovery turnserver haproxy; do have "$program" || missing+=" $program"; done
if [[ -z $missing ]] || $list_only; then
    # They wait for timers of the tools more than they work.
    stage interop test 900 cargo test --no-fail-fast --test interop -- --test-threads 8
else
    skip interop "needs coturn and haproxy:$missing"
fi

# The program held to its own /openapi.json, in each way of letting clients in.
stage contract test 600 "$venv/bin/python" tests/contract/run.py "$target/debug/meetpoint"

if have chromium || [[ -n ${MEETPOINT_CHROMIUM:-} ]] || $list_only; then
    stage browser test 1200 cargo test --no-fail-fast --test browser
else
    skip browser 'needs chromium'
fi

$list_only && exit 0
((failed == 0)) && [[ -z ${MEETPOINT_TEST_LOGS:-} ]] && rm -rf "$logs"
((${#skipped[@]} == 0)) || echo "left out here: ${skipped[*]}"
echo "$passed passed, $failed failed"
((failed == 0))
