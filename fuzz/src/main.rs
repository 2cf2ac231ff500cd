//! One libFuzzer binary for every target; `FUZZ_TARGET` says which. Started by `run.sh`.

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match targets::TARGETS.iter().find(|(name, _)| *name == wanted) {
        Some((_, run)) => *run,
        None => panic!(
            "FUZZ_TARGET must be one of {:?}",
            targets::TARGETS.map(|(name, _)| name)
        ),
    }
});

fuzz_target!(|data: &[u8]| RUN(data));
