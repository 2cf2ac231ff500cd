#!/usr/bin/env bash
# Makes the root file system of the image: one static program, the certificates of the authorities, a user that is not root.
#
#   ops/container/rootfs.sh BINARY DIRECTORY
#
# The Containerfile runs it, and so do the tests, which then start the program inside of it.
set -euo pipefail

binary=${1:?usage: rootfs.sh BINARY DIRECTORY} root=${2:?usage: rootfs.sh BINARY DIRECTORY}
authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

# A dynamic one would find no loader in there, and say no more than "no such file".
if ! file -b "$binary" | grep -qE 'static-pie linked|statically linked'; then
    echo "$binary is not static: build it with -C target-feature=+crt-static (ops/release.sh does)" >&2
    exit 1
fi
if [[ ! -s $authorities ]]; then
    echo "no certificates at $authorities: install ca-certificates" >&2
    exit 1
fi

install -d -m 755 "$root"/{usr/bin,etc/ssl/certs,etc/meetpoint,proc,sys,dev}
# Owned by the user, for what is written at run time: keys that were made by the API, usage.
install -d -m 750 "$root/var/lib/meetpoint"
install -d -m 1777 "$root/tmp"
install -m 755 "$binary" "$root/usr/bin/meetpoint"
# Permitted, not effective: it starts where the capability is dropped, and has ports below 1024 where it is granted.
if command -v setcap >/dev/null && ((EUID == 0)); then setcap cap_net_bind_service=p "$root/usr/bin/meetpoint"; fi
install -m 644 "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
# Files before DNS, so that /etc/hosts and what the engine writes there counts.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'meetpoint:x:65532:65532:meetpoint:/var/lib/meetpoint:/sbin/nologin' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'meetpoint:x:65532:' >"$root/etc/group"
if ((EUID == 0)); then chown 65532:65532 "$root/var/lib/meetpoint"; fi
