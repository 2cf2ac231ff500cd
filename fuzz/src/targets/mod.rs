//! The fuzz targets: each file here has a `pub(crate) fn run(data: &[u8])` that panics when something is wrong.
//!
//! Shared by the libFuzzer binary and by `tests/fuzz_corpus.rs`, which replays `fuzz/corpus/` in every test run. A new
//! target is a file, its name below, and a directory `fuzz/corpus/<name>/` with at least one seed.

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        /// Every target by name.
        pub(crate) const TARGETS: [(&str, fn(&[u8])); [$(stringify!($name)),*].len()] = [$((stringify!($name), $name::run)),*];
    };
}

targets!(
    access_token,
    api_requests,
    bus_ops,
    codec,
    config_text,
    countries,
    dialect_frames,
    dialect_ops,
    fleet_ops,
    hub_ops,
    keys_file,
    probe_answers,
    proxy_protocol,
    turn_ops,
    usage_lines
);
