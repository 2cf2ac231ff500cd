#!/usr/bin/env bash
# Builds what is released: static programs, Debian packages, a list of what is inside (CycloneDX), and checksums of all of it.
#
#   ops/release.sh [--out DIRECTORY] [--profile release|dev] [--target TRIPLE]…
#
#   --out       where it goes; default dist/
#   --profile   dev is for tests of this script: it takes minutes less, and is no release
#   --target    x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu; default: the one of this machine, and the other where its
#               standard library (`rustup target add`) and linker (`apt install gcc-aarch64-linux-gnu`) are installed
#
# The programs are static (glibc inside), so they run on any Linux from 4.14 on and in an image without anything else.
set -euo pipefail
cd "$(dirname "$0")/.."

out=dist profile=release targets=()
while (($#)); do
    case $1 in
        --out) out=${2:?--out needs a directory}; shift ;;
        --profile) profile=${2:?--profile needs release or dev}; shift ;;
        --target) targets+=("${2:?--target needs a triple}"); shift ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
case $profile in release) built=release ;; dev) built=debug ;; *) echo "no profile $profile: release or dev" >&2; exit 2 ;; esac

host=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
# Whoever builds the same revision again gets the same times in the packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH MEETPOINT_REVISION=$revision
built_in=${CARGO_TARGET_DIR:-$PWD/target}

linker_of() { case $1 in "$host") echo cc ;; aarch64-*) echo aarch64-linux-gnu-gcc ;; x86_64-*) echo x86_64-linux-gnu-gcc ;; esac; }
objcopy_of() { case $1 in "$host") echo objcopy ;; aarch64-*) echo aarch64-linux-gnu-objcopy ;; x86_64-*) echo x86_64-linux-gnu-objcopy ;; esac; }
machine_of() { case $1 in x86_64-*) echo amd64 ;; aarch64-*) echo arm64 ;; *) echo "no Debian name for $1" >&2; return 1 ;; esac; }
can_build() { [[ -d $(rustc --print sysroot)/lib/rustlib/$1/lib ]] && command -v "$(linker_of "$1")" >/dev/null; }

if ((${#targets[@]} == 0)); then
    targets=("$host")
    for other in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        [[ $other == "$host" ]] && continue
        if can_build "$other"; then targets+=("$other"); else echo "left out: $other (its standard library or its linker is not installed)"; fi
    done
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
parts=$(mktemp -d "${TMPDIR:-/tmp}/meetpoint-release.XXXXXX")
trap 'rm -rf "$parts"' EXIT

# A static program has no dynamic linker to look up getrandom(2) with, and the files it would fall back to are not in every image.
static='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'
# Where it was built is nobody's business, and makes no difference to what is built.
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
mapped="--remap-path-prefix=$crates=/crates --remap-path-prefix=$PWD=/meetpoint"
mapped_c="-ffile-prefix-map=$crates=/crates -ffile-prefix-map=$built_in=/target"

build() {
    local target=$1 linker variable flags=()
    linker=$(linker_of "$target") variable=${target//-/_}
    [[ $profile == release ]] && flags+=(--release)
    # By target, so that build scripts and macros of this machine are built as ever.
    env "CARGO_TARGET_${variable^^}_LINKER=$linker" "CC_$variable=$linker" "CFLAGS_$variable=$mapped_c" \
        "CARGO_TARGET_${variable^^}_RUSTFLAGS=$static $mapped" \
        cargo build --quiet --locked --bin meetpoint --target "$target" "${flags[@]}"
    # The names of functions go into a file of their own, which debuggers and profilers find by its name.
    local objcopy whole=$built_in/$target/$built/meetpoint names=meetpoint-$version-$target.debug
    objcopy=$(objcopy_of "$target")
    "$objcopy" --only-keep-debug "$whole" "$out/$names"
    "$objcopy" --strip-all "$whole" "$parts/meetpoint-$target"
    (cd "$out" && "$objcopy" --add-gnu-debuglink="$names" "$parts/meetpoint-$target")
    chmod 644 "$out/$names"
    install -m 755 "$parts/meetpoint-$target" "$out/meetpoint-$version-$target"
}

# The pages are the same for every machine; the program of this one prints them.
pages() {
    local program=$parts/meetpoint-$host
    mkdir -p "$parts/pages"
    "$program" manual >"$parts/pages/meetpoint.1"
    local shell
    for shell in bash zsh fish; do "$program" completions "$shell" >"$parts/pages/meetpoint.$shell"; done
    tar --create --gzip --file "$out/meetpoint-$version-pages.tar.gz" --directory "$parts/pages" --sort=name --owner=0 --group=0 \
        --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" .
}

package() {
    local target=$1 machine root size
    machine=$(machine_of "$target") root=$parts/deb-$target
    install -D -m 755 "$parts/meetpoint-$target" "$root/usr/bin/meetpoint"
    install -D -m 644 ops/systemd/meetpoint.service "$root/lib/systemd/system/meetpoint.service"
    install -D -m 644 ops/systemd/meetpoint.socket "$root/lib/systemd/system/meetpoint.socket"
    install -D -m 640 ops/release/meetpoint.toml "$root/etc/meetpoint/meetpoint.toml"
    install -D -m 644 ops/sysctl/90-meetpoint.conf "$root/usr/share/doc/meetpoint/examples/90-meetpoint.conf"
    local example
    for example in docs/examples/*.toml ops/proxy/*; do install -D -m 644 "$example" "$root/usr/share/doc/meetpoint/examples/$(basename "$example")"; done
    gzip -9 --no-name <CHANGELOG.md | install -D -m 644 /dev/stdin "$root/usr/share/doc/meetpoint/changelog.gz"
    install -D -m 644 ops/release/copyright "$root/usr/share/doc/meetpoint/copyright"
    gzip -9 --no-name <"$parts/pages/meetpoint.1" | install -D -m 644 /dev/stdin "$root/usr/share/man/man1/meetpoint.1.gz"
    install -D -m 644 "$parts/pages/meetpoint.bash" "$root/usr/share/bash-completion/completions/meetpoint"
    install -D -m 644 "$parts/pages/meetpoint.zsh" "$root/usr/share/zsh/vendor-completions/_meetpoint"
    install -D -m 644 "$parts/pages/meetpoint.fish" "$root/usr/share/fish/vendor_completions.d/meetpoint.fish"
    size=$(du -sk "$root" | cut -f1)
    mkdir -p "$root/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@MACHINE@/$machine/" -e "s/@SIZE@/$size/" ops/release/control >"$root/DEBIAN/control"
    echo /etc/meetpoint/meetpoint.toml >"$root/DEBIAN/conffiles"
    install -m 755 ops/release/postinst ops/release/prerm "$root/DEBIAN"
    dpkg-deb --build --root-owner-group "$root" "$out/meetpoint_${version}_$machine.deb" >/dev/null
}

for target in "${targets[@]}"; do build "$target"; done
[[ -e $parts/meetpoint-$host ]] || build "$host"
pages
for target in "${targets[@]}"; do
    if command -v dpkg-deb >/dev/null; then package "$target"; else echo 'left out: packages (dpkg-deb is not installed)'; fi
done
python3 ops/release/sbom.py --version "$version" --revision "$revision" --time "$SOURCE_DATE_EPOCH" >"$out/meetpoint-$version.cdx.json"
(cd "$out" && rm -f SHA256SUMS && find . -maxdepth 1 -type f -name 'meetpoint*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
ls -l "$out"
