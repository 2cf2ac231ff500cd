//! `docs/rfc-coverage.md` says which test shows which section. What it names must be there, and no test of a section may be
//! missing from it.

use std::collections::BTreeSet;
use std::fs;

use crate::{root, sources};

/// `a/{b,c}/d` as `a/b/d` and `a/c/d`.
fn expanded(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else {
        return vec![text.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap();
    choices
        .split(',')
        .flat_map(|choice| expanded(&format!("{before}{}{after}", choice.trim())))
        .collect()
}

/// What is in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).flat_map(expanded)
}

/// The rows of the tables with a column for code and one for tests.
fn rows(page: &str) -> Vec<[String; 4]> {
    let columns = page.lines().filter_map(|line| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<String> = inner.split(" | ").map(str::to_owned).collect();
        <[String; 4]>::try_from(cells).ok()
    });
    columns
        .filter(|[section, ..]| !["Section", "§"].contains(&section.as_str()))
        .collect()
}

fn exists(directory: &str, path: &str) -> bool {
    let path = root().join(directory).join(path);
    path.exists() || path.with_extension("rs").exists()
}

/// Whether this is a module of some directory of tests, or a fuzz target.
fn is_module(name: &str) -> bool {
    let mut homes: Vec<_> = fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    homes.push(root().join("fuzz/src/targets"));
    homes.iter().any(|home| home.join(format!("{name}.rs")).exists())
}

/// What is wrong with the table, for code that holds these functions.
fn complaints(page: &str, code: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for [section, what, in_code, tests] in rows(page) {
        for path in quoted(&in_code) {
            if !exists("src", &path) {
                wrong.push(format!("§{section} ({what}): there is no code `{path}`"));
            }
        }
        for name in quoted(&tests) {
            let is_there = match name.split_once("::") {
                Some((module, test)) => is_module(module) && code.contains(&format!("fn {test}(")),
                None if name.starts_with("tests/") => exists("", &name),
                None if name.contains('/') => exists("src", &name),
                None => is_module(&name) || code.contains(&format!("fn {name}(")),
            };
            if !is_there {
                wrong.push(format!("§{section} ({what}): there is no test `{name}`"));
            }
        }
        let says_something = tests.contains('`')
            || ["same", "unit test", "*none*", "–"]
                .iter()
                .any(|word| tests.contains(word));
        if !says_something {
            wrong.push(format!(
                "§{section} ({what}): neither a test nor a word about there being none"
            ));
        }
    }
    wrong
}

fn page() -> String {
    fs::read_to_string(root().join("docs/rfc-coverage.md")).unwrap()
}

#[test]
fn every_file_and_test_that_the_rfc_coverage_names_exists() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    sources(&root().join("tests"), &mut code);
    let page = page();
    assert!(rows(&page).len() > 60, "the tables are not read");
    let wrong = complaints(&page, &code);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_conformance_test_is_named_in_the_rfc_coverage() {
    let page = page();
    let named: BTreeSet<String> = quoted(&page)
        .map(|name| name.split("::").next().unwrap().to_owned())
        .collect();
    let is_conformance = |module: &String| module.starts_with("rfc") || module.starts_with("oracle");
    let missing: Vec<_> = fs::read_dir(root().join("tests/rfc"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // The others help.
        .filter(|path| fs::read_to_string(path).unwrap().contains("#[test]"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|module| is_conformance(module) && !named.contains(module))
        .collect();
    assert!(missing.is_empty(), "docs/rfc-coverage.md does not name {missing:?}");
}

#[test]
fn a_table_that_lies_is_noticed() {
    let row = |code: &str, test: &str| format!("| 9 | x | {code} | {test} |\n");
    let ok = [
        ("`turn/auth.rs`", "`rfc8489_9_authentication`"),
        ("`turn/{auth,nonce}.rs`", "same"),
        ("–", "*none*"),
    ];
    for (code, test) in ok {
        assert_eq!(complaints(&row(code, test), ""), [""; 0], "{code} {test}");
    }
    for (code, test) in [
        ("`turn/gone.rs`", "same"),
        ("same", "`rfc8489_gone`"),
        ("same", "`tests/interop/{uclient,gone}`"),
        ("same", "`rfc8489_9_authentication::a_test_that_is_gone`"),
        ("same", "unit tests in `turn/gone.rs`"),
        ("same", "surely"),
    ] {
        assert_eq!(complaints(&row(code, test), "").len(), 1, "{code} {test}");
    }
}
