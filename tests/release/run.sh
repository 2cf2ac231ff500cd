#!/usr/bin/env bash
# What is released, made by the script that releases it and looked at as whoever installs it would: packages, pages, the list of what
# is inside, checksums, the image's root file system, the unit. By the `dev` profile, for time.
#
# Each check prints a line; the last one is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=../../ops/bench/free_port.sh
source ops/bench/free_port.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/meetpoint-release-test.XXXXXX")
started=''
ended() {
    [[ -z $started ]] || kill "$started" 2>/dev/null
    umount -l "$work/image/proc" 2>/dev/null
    rm -rf "$work"
}
trap ended EXIT
passed=0 failed=0
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        ((passed += 1)); echo "ok      $what"
    else
        ((failed += 1)); echo "FAILED  $what"; sed 's/^/        | /' <<<"$output" | tail -15
    fi
}

host=$(rustc -vV | sed -n 's/^host: //p')
if ! ops/release.sh --profile dev --target "$host" --out "$work/dist" >"$work/log" 2>&1; then
    tail -30 "$work/log"
    echo '0 passed, 1 failed'
    exit 1
fi
cd "$work/dist" || exit 1
package=$(echo meetpoint_*_*.deb) program=$(echo meetpoint-*-linux-gnu) list=$(echo meetpoint-*.cdx.json)
repository=$OLDPWD

static() { file -b "$program" | grep -E 'static-pie linked|statically linked' && ! readelf -d "$program" | grep NEEDED; }
check 'the program needs no library' static
stripped() {
    ! readelf -S "$program" | grep -E '\.(symtab|debug_info)' && ! grep -aFq "${CARGO_HOME:-$HOME/.cargo}/registry" "$program" && ! grep -aFq "$repository/src" "$program"
}
check 'the program holds no symbols, and no path of the machine that built it' stripped
names() { readelf -p .gnu_debuglink "$program" | grep -F "$program.debug" && nm --demangle "$program.debug" | grep -F 'meetpoint::app::' >"$work/names"; }
check 'the names of its functions are in the file beside it' names
says_its_version() { "./$program" --version | grep -F "revision $(git -C "$repository" describe --always --dirty --abbrev=12)"; }
check 'the program says which revision it was built from' says_its_version

checksums_cover_everything() {
    sha256sum --check --quiet SHA256SUMS &&
        diff <(find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort) <(awk '{ print $2 }' SHA256SUMS)
}
check 'the checksums are of everything, and right' checksums_cover_everything

# Installed, without anything being configured or started.
mkdir "$work/root"
check 'the package unpacks' dpkg-deb --extract "$package" "$work/root"
fields() { dpkg-deb --field "$package" Package Version Architecture Maintainer Description Installed-Size; }
complete() { [[ $(fields | grep -cE '^(Package|Version|Architecture|Maintainer|Description|Installed-Size): .+') == 6 ]]; }
check 'the package says what it is' complete
conffiles() { dpkg-deb --ctrl-tarfile "$package" | tar -xO ./conffiles | grep -x /etc/meetpoint/meetpoint.toml; }
check 'the configuration survives updates' conffiles
scripts() { dpkg-deb --control "$package" "$work/control" && sh -n "$work/control/postinst" && sh -n "$work/control/prerm"; }
check 'the scripts of the package are sound' scripts
page() { MANROFFOPT=-ww man --warnings --local-file "$work/root/usr/share/man/man1/meetpoint.1.gz" 2>"$work/man" | grep -q 'http-listen' && [[ ! -s $work/man ]]; }
if command -v man >/dev/null; then check 'the manual page is read without a warning' page; fi
bash_completes() {
    # What the shell would offer after "meetpoint doc".
    bash -c 'source "$1" && COMP_WORDS=(meetpoint doc) COMP_CWORD=1 && _meetpoint meetpoint doc meetpoint && printf "%s\n" "${COMPREPLY[@]}"' \
        _ "$work/root/usr/share/bash-completion/completions/meetpoint" | grep -x doctor
}
check 'bash completes a command' bash_completes
fish_and_zsh() { [[ -s $work/root/usr/share/zsh/vendor-completions/_meetpoint && -s $work/root/usr/share/fish/vendor_completions.d/meetpoint.fish ]]; }
check 'completions for zsh and fish are in the package' fish_and_zsh
configuration() {
    head -c 32 /dev/urandom | base64 >"$work/turn.secret"
    sed "s#/etc/meetpoint/turn.secret#$work/turn.secret#" "$work/root/etc/meetpoint/meetpoint.toml" >"$work/meetpoint.toml"
    "$work/root/usr/bin/meetpoint" config check --config "$work/meetpoint.toml"
}
check 'the configuration of the package is one that the program takes' configuration

# The unit, by systemd's own judgement; what it names is where the package puts it.
unit() {
    local said
    # The program and its page are not installed on this machine.
    said=$(systemd-analyze verify "$work"/root/lib/systemd/system/meetpoint.{service,socket} 2>&1 |
        grep -E 'meetpoint\.(service|socket)' | grep -vE "Command 'man|/usr/bin/meetpoint is not executable")
    [[ -z $said ]] || { echo "$said"; return 1; }
}
check 'systemd finds nothing wrong with the units' unit
exposure() {
    local level
    level=$(systemd-analyze security --offline=true "$repository/ops/systemd/meetpoint.service" | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
    echo "exposure $level"
    awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 2.0) }'
}
check 'the unit exposes little, as systemd counts' exposure
# Every system call of a run with traffic is one that the unit's filter lets pass.
allowed() {
    systemd-analyze syscall-filter @system-service | sed -n 's/^    \([a-z0-9_]*\)$/\1/p'
    echo prlimit64; echo setrlimit
}
every_system_call_is_allowed() {
    local port=$((20000 + RANDOM % 10000)) log=$work/strace
    strace -f -qq -c -o "$log" "./$program" --http-listen "127.0.0.1:$port" --relay-listen "127.0.0.1:$port" --relay-external-ip 127.0.0.1 \
        --peers-allow 127.0.0.0/8 >/dev/null 2>&1 &
    started=$!
    for _ in $(seq 100); do curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" && break; sleep 0.1; done
    "./$program" check "http://127.0.0.1:$port" >"$work/checked" || { cat "$work/checked"; return 1; }
    local child
    child=$(pgrep -P "$started")
    kill "$child" && wait "$started" 2>/dev/null
    started=''
    # A filter of groups: what a group holds is expanded by systemd itself.
    local groups used
    groups=$(systemd-analyze syscall-filter @system-service | sed -n 's/^    \(@[a-z-]*\)$/\1/p')
    { allowed; for group in $groups; do systemd-analyze syscall-filter "$group" | sed -n 's/^    \([a-z0-9_]*\)$/\1/p'
        for inner in $(systemd-analyze syscall-filter "$group" | sed -n 's/^    \(@[a-z-]*\)$/\1/p'); do systemd-analyze syscall-filter "$inner" | sed -n 's/^    \([a-z0-9_]*\)$/\1/p'; done; done; } | sort -u >"$work/allowed"
    used=$(awk 'NR > 2 && $NF !~ /total|-----/ { print $NF }' "$log" | sort -u)
    [[ $(wc -l <<<"$used") -gt 20 ]] || { echo "strace saw too little: $used"; return 1; }
    # The loader's exec is systemd's own.
    local others
    others=$(comm -23 <(grep -vx execve <<<"$used") "$work/allowed")
    [[ -z $others ]] || { echo "not in the unit's filter: $others"; return 1; }
}
check 'no system call of the program is outside of the filter of its unit' every_system_call_is_allowed

# What is inside.
listed() {
    python3 - "$list" <<'PYTHON'
import json, sys
document = json.load(open(sys.argv[1]))
names = {component["name"] for component in document["components"]}
assert {"tokio", "axum", "rustls", "hmac"} <= names, names
assert not names & {"proptest", "divan", "rcgen", "tempfile"}, "crates of the tests alone are not inside"
assert all(component["hashes"] and component["licenses"] for component in document["components"])
PYTHON
}
check 'the list of what is inside has the crates of the program and no others' listed
valid_list() {
    "${MEETPOINT_TEST_PYTHON:-python3}" - "$list" <<'PYTHON'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
assert found is None, found
PYTHON
}
check 'the list is valid CycloneDX 1.5' valid_list

# The image: its root file system by the same steps, and the program in it as the user of the image, seeing nothing else.
check 'the root file system of the image is made' "$repository/ops/container/rootfs.sh" "$program" "$work/image"
inside() { chroot --userspec=65532:65532 "$work/image" /usr/bin/meetpoint "$@"; }
refuses_dynamic() { ! "$repository/ops/container/rootfs.sh" /bin/ls "$work/other" 2>"$work/refused" && grep -q 'not static' "$work/refused"; }
check 'a program that is not static is refused' refuses_dynamic
serves_in_the_image() {
    local port
    port=$(free_port)
    mount -t proc proc "$work/image/proc" || return 1
    # Read-only, as it should be run.
    unshare --mount bash -c "mount --bind '$work/image' '$work/image' && mount -o remount,ro,bind '$work/image' && \
        exec chroot --userspec=65532:65532 '$work/image' /usr/bin/meetpoint --http-listen 127.0.0.1:$port --relay-listen 127.0.0.1:$port \
        --relay-external-ip 127.0.0.1 --peers-allow 127.0.0.0/8" >"$work/image.log" 2>&1 &
    started=$!
    for _ in $(seq 100); do curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" && break; sleep 0.1; done
    # The health check of the image, by a name that is resolved in there.
    echo '127.0.0.1 localhost' >"$work/image/etc/hosts"
    inside check "http://localhost:$port" || { cat "$work/image.log"; return 1; }
    kill "$started" && wait "$started"
    local code=$?
    started=''
    ((code == 0)) || { cat "$work/image.log"; return 1; }
}
check 'the program serves in the image, read-only and not as root, is healthy by its own check, and ends on SIGTERM' serves_in_the_image

# Ports below 1024 in the image: with the capability they can be had, without it the program still starts. In a network of its own,
# where no port is free for everybody.
low_ports() {
    local serve='--http-listen 127.0.0.1:443 --relay-listen 127.0.0.1:3478 --relay-external-ip 127.0.0.1'
    # As an engine starts it: another user, the capability in the bounding set, none effective.
    timeout 3 unshare --net --mount bash -c "ip link set lo up && sysctl -qw net.ipv4.ip_unprivileged_port_start=1024 && \
        mount -t proc proc '$work/image/proc' && exec setpriv --reuid 65532 --regid 65532 --clear-groups --inh-caps=-all --ambient-caps=-all \
        --bounding-set=-all,+net_bind_service,+sys_chroot -- '$work/image/usr/bin/meetpoint' $serve" >"$work/low.log" 2>&1
    [[ $? == 124 ]] || { cat "$work/low.log"; return 1; }
    timeout 3 unshare --net bash -c "ip link set lo up && exec setpriv --reuid 65532 --regid 65532 --clear-groups --inh-caps=-all \
        --ambient-caps=-all --bounding-set=-all -- '$work/image/usr/bin/meetpoint' --version" >"$work/low.log" 2>&1 || { cat "$work/low.log"; return 1; }
}
check 'the program of the image has low ports where that is granted, and starts where it is not' low_ports

# The compose file: what it mounts and builds from is there, and the program takes the settings that it gives.
compose() {
    "${MEETPOINT_TEST_PYTHON:-python3}" - "$repository/ops/container" "$PWD/$program" <<'PYTHON'
import os, pathlib, subprocess, sys, yaml
home, program = pathlib.Path(sys.argv[1]), sys.argv[2]
text = yaml.safe_load((home / "compose.yaml").read_text())
services = text["services"]
made = {secret["file"] for secret in text["secrets"].values()}
for name, service in services.items():
    assert "image" in service and ":" in service["image"].rsplit("/")[-1] or "build" in service, f"{name}: no version"
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        assert source in text["volumes"] or (home / source).exists(), f"{name}: {source} is not there"
    for secret in service.get("secrets", []):
        assert secret in text["secrets"], secret
    for other in service.get("depends_on", []):
        assert other in services, other
build = services["meetpoint"]["build"]
assert (home / build["context"] / build["dockerfile"]).exists()
ours = {key: value for key, value in services["meetpoint"]["environment"].items()}
ours["MEETPOINT__RELAY__EXTERNAL_IP"] = ""
secret = pathlib.Path("secret"); secret.write_text("0123456789abcdef0123456789abcdef\n")
ours["MEETPOINT__CREDENTIALS__SECRETS_FILE"] = str(secret.resolve())
done = subprocess.run([program, "config", "check"], env=ours, capture_output=True, text=True)
secret.unlink()
assert done.returncode == 0, done.stderr
rules = yaml.safe_load((home / "prometheus.yml").read_text())["rule_files"]
for rule in rules:
    assert (home.parent / "prometheus" / pathlib.Path(rule).name).exists(), rule
PYTHON
}
check 'what the compose file mounts is there, and its settings are taken' compose

echo "$passed passed, $failed failed"
((failed == 0))
