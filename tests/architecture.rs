//! What the design says about the shape of the source, checked, so that it cannot drift: who imports whom, how long a file may
//! grow, that the cores are pure, where `unsafe` may live, and that the tree holds nothing of the machine it was written on.
//!
//! Every check is a function from text to complaints, and is shown to complain about a small bad sample.

#![expect(clippy::unwrap_used, reason = "a test: a tree that cannot be read is a failure")]

#[path = "architecture/checks.rs"]
mod checks;
#[path = "architecture/source.rs"]
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use checks::{
    CORES, File, IMPORTS, MAX_LINES, MAX_MAIN_LINES, forbid_missing, imports_upwards, impurities, leaks,
    opening_missing, too_long, unsafe_out_of_place,
};
use source::{without_comments_and_literals, without_tests};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, without what is built or installed.
fn tree() -> Vec<File> {
    const SKIPPED: &[&str] = &[
        "target",
        ".git",
        "node_modules",
        "artifacts",
        "__pycache__",
        "shots",
        ".venv",
        "corpus",
    ];
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => walk(&entry.path(), found),
                kind if kind.is_file() && name != ".git" => found.push(entry.path()),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    found
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some(File {
                path: path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"),
                text,
            })
        })
        .collect()
}

/// The Rust files under `src` that are part of the product: files declared by `#[cfg(test)] mod name;` are left out.
fn product() -> Vec<File> {
    let files: Vec<File> = tree()
        .into_iter()
        .filter(|f| f.path.starts_with("src/") && f.path.ends_with(".rs"))
        .collect();
    let mut tests = BTreeSet::new();
    for file in &files {
        let home = match file.path.rsplit_once('/').unwrap() {
            (home, "mod.rs" | "lib.rs" | "main.rs") => home.to_owned(),
            (home, name) => format!("{home}/{}", name.trim_end_matches(".rs")),
        };
        for name in without_tests(&without_comments_and_literals(&file.text)).1 {
            tests.insert(format!("{home}/{name}"));
        }
    }
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|t| path == format!("{t}.rs") || path.starts_with(&format!("{t}/")))
    };
    files.into_iter().filter(|file| !is_test(&file.path)).collect()
}

fn complaints(files: &[File], check: fn(&File) -> Vec<String>) -> Vec<String> {
    files
        .iter()
        .flat_map(|file| check(file).into_iter().map(|what| format!("{}: {what}", file.path)))
        .collect()
}

fn assert_clean(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// ---- the checks on the tree -------------------------------------------------------------------------------------------

#[test]
fn modules_import_only_downwards() {
    assert_clean(&complaints(&product(), imports_upwards));
}

#[test]
fn every_module_has_a_row_in_the_import_table_and_every_row_a_module() {
    let modules: BTreeSet<String> = product().iter().filter_map(|f| f.module().map(str::to_owned)).collect();
    let rows: BTreeSet<String> = IMPORTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(modules, rows);
}

#[test]
fn the_cores_read_no_clock_no_randomness_no_environment_and_no_socket() {
    assert_clean(&complaints(&product(), impurities));
}

#[test]
fn the_cores_forbid_unsafe_code() {
    let files = product();
    assert_clean(&complaints(&files, forbid_missing));
    for core in CORES {
        assert!(
            files.iter().any(|file| file.path == format!("src/{core}/mod.rs")),
            "src/{core}/mod.rs is gone"
        );
    }
}

#[test]
fn unsafe_lives_in_the_system_call_files_alone() {
    assert_clean(&complaints(&product(), unsafe_out_of_place));
}

#[test]
fn no_file_outgrows_its_limit() {
    let mut files = product();
    files.extend(
        tree()
            .into_iter()
            .filter(|f| f.path.starts_with("examples/") && f.path.ends_with(".rs")),
    );
    assert_clean(&complaints(&files, too_long));
}

#[test]
fn every_module_says_what_it_is() {
    assert_clean(&complaints(&product(), opening_missing));
}

#[test]
fn the_tree_holds_nothing_of_one_machine() {
    assert_clean(&complaints(&tree(), leaks));
}

#[test]
fn the_tree_is_really_read() {
    let files = product();
    for expected in [
        "src/lib.rs",
        "src/main.rs",
        "src/wire/mod.rs",
        "src/turn/mod.rs",
        "src/http/mod.rs",
    ] {
        assert!(
            files.iter().any(|file| file.path == expected),
            "{expected} was not found"
        );
    }
    assert!(tree().iter().any(|file| file.path == "Cargo.lock"));
}

// ---- the checks can fail ----------------------------------------------------------------------------------------------

fn complains(check: fn(&File) -> Vec<String>, path: &str, text: &str) -> bool {
    !check(&File::sample(path, text)).is_empty()
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for bad in [
        "use crate::turn::Server;",
        "use crate::{turn::Server};",
        "use crate::{ wire::Message,\n turn };",
        "fn f() { crate::turn::f() }",
        "use super::super::turn;",
        "type T = crate :: turn :: T;",
        "pub(crate) use crate::turn::*;",
        "fn f<'a>(c: char) -> bool { c == '\"' || crate::turn::f() }",
    ] {
        assert!(complains(imports_upwards, "src/wire/message.rs", bad), "{bad}");
    }
    for good in [
        "use crate::wire::Message;",
        "// use crate::turn::Server;",
        "/* crate::turn /* nested */ crate::turn */",
        "const S: &str = \"crate::turn\";",
        "const R: &str = r#\"\"crate::turn\"\"#;",
        "use super::turn;",
        "#[cfg(test)] mod tests { use crate::turn::Server; }",
        "#[cfg(all(test, feature = \"server\"))]\nmod x { use crate::turn; }",
    ] {
        assert!(!complains(imports_upwards, "src/wire/message.rs", good), "{good}");
    }
    assert!(complains(
        imports_upwards,
        "src/wire/message.rs",
        "#[cfg(test)] mod tests { }\nuse crate::turn::Server;"
    ));
    assert!(complains(
        imports_upwards,
        "src/turn/mod.rs",
        "use crate::telemetry::Metrics;"
    ));
    assert!(complains(
        imports_upwards,
        "src/transport/mod.rs",
        "use crate::http::Router;"
    ));
    assert!(complains(imports_upwards, "src/config/mod.rs", "use crate::app::run;"));
    assert!(complains(imports_upwards, "src/stray/mod.rs", ""));
    assert!(!complains(
        imports_upwards,
        "src/http/mod.rs",
        "use crate::ws::upgrade;"
    ));
    assert!(!complains(
        imports_upwards,
        "src/turn/mod.rs",
        "use crate::credentials::KeyRing;"
    ));
}

#[test]
fn an_impure_core_is_found_however_it_is_written() {
    for bad in [
        "let t = Instant::now();",
        "let t = std::time::Instant::now();",
        "let t = SystemTime::now();",
        "use std::{env, fmt};",
        "let v = std::env::var(\"X\");",
        "use std::net::{SocketAddr, UdpSocket};",
        "tokio::spawn(f());",
        "tracing::info!(\"x\");",
        "use std::{thread};",
        "use std::fs;",
        "getrandom::fill(&mut b);",
        "println!(\"x\");",
        "let x: rand::Rng;",
    ] {
        assert!(complains(impurities, "src/turn/server.rs", bad), "{bad}");
    }
    for good in [
        "use std::time::Instant; fn f(now: Instant) {}",
        "use std::net::{IpAddr, SocketAddr};",
        "// Instant::now()",
        "self.log.push(1);",
        "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }",
        "const V: &str = env!(\"CARGO_PKG_VERSION\");",
    ] {
        assert!(!complains(impurities, "src/turn/server.rs", good), "{good}");
    }
    assert!(!complains(
        impurities,
        "src/transport/worker.rs",
        "let t = Instant::now();"
    ));
}

#[test]
fn a_long_file_is_found_and_its_tests_are_not_counted() {
    let line = "const X: u8 = 1;\n";
    assert!(!complains(too_long, "src/turn/server.rs", &line.repeat(MAX_LINES)));
    assert!(complains(too_long, "src/turn/server.rs", &line.repeat(MAX_LINES + 1)));
    let with_tests = format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        line.repeat(MAX_LINES - 1),
        line.repeat(MAX_LINES)
    );
    assert!(!complains(too_long, "src/turn/server.rs", &with_tests));
    assert!(complains(
        too_long,
        "src/turn/server.rs",
        &"// a comment\n".repeat(MAX_LINES + 1)
    ));
    assert!(complains(too_long, "src/main.rs", &line.repeat(MAX_MAIN_LINES + 1)));
}

#[test]
fn unsafe_outside_its_files_is_found() {
    assert!(complains(
        unsafe_out_of_place,
        "src/turn/server.rs",
        "fn f() { unsafe { g() } }"
    ));
    assert!(complains(
        unsafe_out_of_place,
        "src/transport/udp/batch.rs",
        "unsafe impl Send for X {}"
    ));
    assert!(!complains(
        unsafe_out_of_place,
        "src/transport/udp/sys.rs",
        "fn f() { unsafe { g() } }"
    ));
    assert!(!complains(
        unsafe_out_of_place,
        "src/turn/server.rs",
        "#![forbid(unsafe_code)] // unsafe\nlet s = \"unsafe\";"
    ));
}

#[test]
fn a_core_that_allows_unsafe_and_a_silent_module_are_found() {
    assert!(complains(
        forbid_missing,
        "src/wire/mod.rs",
        "//! Bytes.\n// #![forbid(unsafe_code)]\n"
    ));
    assert!(!complains(
        forbid_missing,
        "src/wire/mod.rs",
        "//! Bytes.\n#![forbid(unsafe_code)]\n"
    ));
    assert!(complains(
        opening_missing,
        "src/http/mod.rs",
        "use std::fmt;\n//! Late.\n"
    ));
    assert!(!complains(opening_missing, "src/http/router.rs", "use std::fmt;\n"));
}

#[test]
fn paths_and_hosts_of_one_machine_are_found() {
    assert!(complains(leaks, "README.md", concat!("see /work", "/shared/design.md")));
    assert!(complains(leaks, "ops/x.sh", concat!("cd /tmp", "/wt/x")));
    assert!(complains(leaks, "client/.npmrc", ""));
    assert!(complains(
        leaks,
        "Cargo.lock",
        "source = \"registry+https://mirror.example/index\""
    ));
    assert!(complains(
        leaks,
        "client/package-lock.json",
        "  \"resolved\": \"http://mirror.example/x.tgz\","
    ));
    assert!(!complains(
        leaks,
        "Cargo.lock",
        "source = \"registry+https://github.com/rust-lang/crates.io-index\""
    ));
    assert!(!complains(
        leaks,
        "ops/test.sh",
        "dir=$(mktemp -d /tmp/meetpoint.XXXXXX)"
    ));
}
