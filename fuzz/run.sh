#!/usr/bin/env bash
# Fuzzes one target with coverage guidance, on stable Rust; needs a C++ compiler for libFuzzer itself.
#   fuzz/run.sh TARGET SECONDS [libFuzzer options]     new inputs go to fuzz/corpus/TARGET, crashes to fuzz/artifacts/TARGET
#   fuzz/run.sh TARGET merge                           minimises fuzz/corpus/TARGET
set -euo pipefail
target=${1:?target, see fuzz/src/targets/mod.rs}
seconds=${2:?seconds, or merge}
shift 2
cd "$(dirname "$0")"
corpus=corpus/$target
artifacts=artifacts/$target
mkdir -p "$corpus" "$artifacts"

# What cargo-fuzz asks of a nightly compiler, said to LLVM directly. --target keeps the flags away from build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="${RUSTFLAGS:-} -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export FUZZ_TARGET=$target
cargo build --quiet --release --locked --target "$host" --target-dir "${FUZZ_TARGET_DIR:-target}"
fuzzer=${FUZZ_TARGET_DIR:-target}/$host/release/meetpoint-fuzz

if [ "$seconds" = merge ]; then
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    "$fuzzer" -set_cover_merge=1 -use_counters=0 -max_len=1024 "$@" "$new" "$corpus"
    rm -rf "$corpus"
    cp -r "$new" "$corpus"
    chmod 755 "$corpus"
else
    "$fuzzer" -max_total_time="$seconds" -artifact_prefix="$artifacts/" -max_len=2048 -timeout=5 "$@" "$corpus"
fi
