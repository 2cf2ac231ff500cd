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

/// Clients of all dialects at once, a few thousand conversations of them, the same in every run.
#[test]
fn conversations_of_all_dialects_at_random_keep_the_rules_of_the_hub() {
    run_at_random("dialect_ops", 4_000);
}

/// Three nodes on a bus that loses messages, and in half of the sequences makes some up.
#[test]
fn nodes_on_a_bus_that_loses_breaks_and_makes_up_messages_keep_their_bounds_and_agree_when_it_is_whole() {
    run_at_random("bus_ops", 2_000);
}

/// Three relays on a bus that loses messages, and somebody who makes some up.
#[test]
fn relays_on_a_bus_that_loses_breaks_and_makes_up_messages_agree_when_it_is_whole() {
    run_at_random("fleet_ops", 300);
}

#[expect(clippy::print_stdout, reason = "what a target was given is shown if it panics")]
fn run_at_random(target: &str, sequences: usize) {
    let (_, run) = targets::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target of that name");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for sequence in 0..sequences {
        let length = 40 + sequence % 400;
        let input: Vec<u8> = (0..length)
            .map(|_| {
                // xorshift64: any generator will do that is the same everywhere.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        // Shown if the target panics.
        println!("sequence {sequence}: {input:?}");
        run(&input);
    }
}

/// `fuzz/run.sh` builds with `--locked`: with a lock file from before a dependency came it builds nothing.
#[test]
fn the_fuzzers_lock_file_knows_every_dependency() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let lock = read("fuzz/Cargo.lock");
    let section = |text: &str, begin: &str, end: &str| {
        let (_, rest) = text.split_once(begin).expect("it has this section");
        rest.split_once(end).expect("and the next").0.to_owned()
    };
    let mut missing = Vec::new();
    for (manifest, package) in [("Cargo.toml", "meetpoint"), ("fuzz/Cargo.toml", "meetpoint-fuzz")] {
        let locked = section(&lock, &format!("name = \"{package}\"\n"), "\n]\n");
        let declared = section(&read(manifest), "\n[dependencies]\n", "\n[");
        let names = declared
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(" = "));
        let is_locked =
            |name: &str| locked.contains(&format!(" \"{name}\"")) || locked.contains(&format!(" \"{name} "));
        missing.extend(names.map(|(name, _)| name.to_owned()).filter(|name| !is_locked(name)));
    }
    assert!(
        missing.is_empty(),
        "{missing:?}: run `cargo metadata --manifest-path fuzz/Cargo.toml`"
    );
}
