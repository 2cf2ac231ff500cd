//! Every input the fuzzers found worth keeping, replayed: a bug once found stays found.

#![expect(clippy::expect_used, clippy::panic, reason = "a target says no by panicking")]

use std::path::Path;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[test]
fn every_input_of_every_corpus_passes_its_target() {
    for (name, run) in targets::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut inputs: Vec<_> = std::fs::read_dir(&corpus)
            .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            // Shown if the target panics.
            println!("{}", input.display());
            run(&std::fs::read(&input).unwrap());
        }
    }
}

#[test]
fn inputs_no_corpus_holds_pass_too() {
    for (_, run) in targets::TARGETS {
        run(&[]);
        run(&[0; 64]);
        run(&[0xFF; 64]);
        run(&[0x40; 2048]);
    }
}
