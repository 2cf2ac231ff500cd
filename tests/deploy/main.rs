//! What is shipped beside the code says what the code does: pages that are made from it, and samples that it reads.
//!
//! `MEETPOINT_WRITE_DOCS=1 cargo test --test deploy` writes the pages anew.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, reason = "a test: a file that cannot be read is a failure")]

mod coverage;

use meetpoint::config::{File, Loaded, Problems, Sources, load, reference, summary};
use meetpoint::http::Code;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a page with what it should be, or writes it when asked to.
fn in_step(path: &str, expected: &str) {
    let path = root().join(path);
    if std::env::var_os("MEETPOINT_WRITE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the code says; run MEETPOINT_WRITE_DOCS=1 cargo test --test deploy",
        path.display()
    );
}

#[test]
fn the_reference_of_the_configuration_is_what_the_code_declares() {
    in_step("docs/configuration.md", &reference());
}

/// What the Helm chart asks to know which changes of the configuration need new pods.
#[test]
fn the_live_keys_that_the_chart_knows_are_those_of_the_program() {
    let mut lines = String::new();
    let sections = [
        meetpoint::config::Config::sections(),
        meetpoint::config::Config::named_sections(),
    ];
    for section in sections.concat() {
        let mut live = section.keys.iter().map(|key| meetpoint::config::is_live(&key.path()));
        match section.name.split_once('.') {
            // A section of the operator's naming: all of it or nothing.
            Some((several, _)) if live.all(|live| live) => lines.push_str(&format!("{several}.*\n")),
            Some(_) => {}
            None => {
                let paths = section.keys.iter().map(meetpoint::config::Key::path);
                for path in paths.filter(|path| meetpoint::config::is_live(path)) {
                    lines.push_str(&path);
                    lines.push('\n');
                }
            }
        }
    }
    in_step("helm/meetpoint/files/live-keys.txt", &lines);
}

/// A chart cannot reach outside of its directory.
#[test]
fn the_alerts_and_dashboards_in_the_chart_are_copies_of_ours() {
    for (from, start, extension, to) in [
        ("ops/prometheus", "alerts", "yml", "helm/meetpoint/files/prometheus"),
        ("grafana/dashboards", "", "json", "helm/meetpoint/files/grafana"),
    ] {
        let names = |directory: &str| -> Vec<String> {
            let entries = fs::read_dir(root().join(directory)).into_iter().flatten();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                // Tests of the alerts stand beside them.
                .filter(|name| name.starts_with(start) && name.ends_with(&format!(".{extension}")))
                .filter(|name| !name.contains("_test"))
                .collect();
            names.sort();
            names
        };
        if std::env::var_os("MEETPOINT_WRITE_DOCS").is_some() {
            fs::create_dir_all(root().join(to)).unwrap();
            for gone in names(to).iter().filter(|name| !names(from).contains(name)) {
                fs::remove_file(root().join(to).join(gone)).unwrap();
            }
        }
        for name in names(from) {
            let text = fs::read_to_string(root().join(from).join(&name)).unwrap();
            in_step(&format!("{to}/{name}"), &text);
        }
        assert_eq!(names(to), names(from), "{to}");
    }
}

#[test]
fn the_keys_in_the_readme_are_what_the_code_declares() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (before, rest) = readme.split_once("<!-- keys:").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /keys -->").unwrap();
    in_step(
        "README.md",
        &format!("{before}<!-- keys:{marker}-->\n{}<!-- /keys -->{after}", summary()),
    );
}

#[test]
fn the_codes_of_errors_in_the_api_page_are_those_of_the_code() {
    let page = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let (before, rest) = page.split_once("<!-- codes:").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /codes -->").unwrap();
    let rows: String = Code::ALL
        .iter()
        .map(|code| {
            format!(
                "| {} | `{}` | {} |\n",
                code.status().as_u16(),
                code.name(),
                code.meaning()
            )
        })
        .collect();
    let table = format!("\n| Status | `code` | |\n|---|---|---|\n{rows}\n");
    in_step(
        "docs/api.md",
        &format!("{before}<!-- codes:{marker}-->\n{table}<!-- /codes -->{after}"),
    );
}

fn load_text(path: &Path, text: String) -> Result<Loaded, Problems> {
    load(&Sources {
        file: Some(File {
            path: path.to_owned(),
            text,
        }),
        // Secrets of a sample are not on this machine; no two are the same.
        read: &|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok(format!("0123456789abcdef0123456789abcdef{name}"))
        },
        ..Sources::none()
    })
}

/// Every TOML file that is offered as a configuration.
fn samples() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join("docs/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    found
}

#[test]
fn every_sample_configuration_is_one_that_the_server_takes() {
    assert!(samples().len() >= 3);
    for path in samples() {
        let loaded = load_text(&path, fs::read_to_string(&path).unwrap());
        assert!(loaded.is_ok(), "{}: {}", path.display(), loaded.unwrap_err());
    }
}

#[test]
fn every_toml_block_of_the_pages_is_a_configuration_that_the_server_takes() {
    for page in [
        "README.md",
        "docs/balancing.md",
        "docs/ice-lists.md",
        "docs/nat-discovery.md",
    ] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let blocks: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert!(!blocks.is_empty(), "{page}");
        for block in blocks {
            let loaded = load_text(Path::new(page), block.to_owned());
            assert!(loaded.is_ok(), "{page}\n{block}\n{}", loaded.unwrap_err());
        }
    }
}

/// Paths in brackets of Markdown links, without what leads elsewhere.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    let docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `section.key` in backquotes anywhere in the pages must be a key, if the section is one.
#[test]
fn every_key_that_the_pages_name_exists() {
    let sections = meetpoint::config::Config::sections();
    let exists = |path: &str| {
        let Some((section, key)) = path.split_once('.') else {
            return true;
        };
        let Some(section) = sections.iter().find(|known| known.name == section) else {
            return true;
        };
        let of_file = key.trim_end_matches("_file");
        !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            || section.keys.iter().any(|known| [key, of_file].contains(&known.name))
    };
    for name in [
        "README.md",
        "docs/architecture.md",
        "docs/threat-model.md",
        "docs/configuration.md",
        "docs/balancing.md",
        "docs/nat-discovery.md",
    ] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            assert!(exists(quoted), "{name} names `{quoted}`, which is no key");
        }
    }
}

/// coturn says itself what it takes; whoever comes from there looks each of his options up.
#[test]
fn every_option_of_coturn_has_its_line_in_the_page_for_those_who_come_from_there() {
    let output = std::process::Command::new("turnserver").arg("--help").output();
    let output = output.expect("coturn is not installed (apt install coturn)");
    let help = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let page = fs::read_to_string(root().join("docs/migrating-from-coturn.md")).unwrap();
    let options: Vec<&str> = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split([' ', '\t', ',', '=', '[', '<', '"']))
        .filter_map(|word| word.strip_prefix("--"))
        .map(|name| name.trim_end_matches(|last: char| !last.is_ascii_alphanumeric()))
        .filter(|name| name.len() > 2 && name.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    assert!(options.len() > 80, "{help}");
    let is_told = |name: &&str| {
        let alone = format!("`{name}`");
        let family = |prefix: &str| name.starts_with(prefix) && page.contains(&format!("`{prefix}*`"));
        page.contains(&alone) || family("cli-") || family("web-admin")
    };
    // Of the program itself, not of the server it makes.
    let own = [
        "version",
        "help",
        "prod",
        "ne",
        "no-auth-pings",
        "no-dynamic-ip-list",
        "no-dynamic-realms",
        "no-cli",
    ];
    let missing: Vec<_> = options
        .iter()
        .filter(|name| !is_told(name) && !own.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Every Rust file of the product and of its tests.
fn sources(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The tests of `tests/abuse` are the rows of the threat model: none is forgotten there.
#[test]
fn every_test_of_a_known_attack_is_in_the_threat_model() {
    let mut code = String::new();
    sources(&root().join("tests/abuse"), &mut code);
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let names = code.split("\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
    let rows: Vec<&str> = names
        .filter(|name| ["cve_", "coturn_", "abuse_"].iter().any(|kind| name.starts_with(kind)))
        .collect();
    assert!(rows.len() > 40, "{rows:?}");
    let forgotten: Vec<_> = rows
        .iter()
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:#?}");
}

/// In the threat model, what is in backquotes with four words or more is the name of a test.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    sources(&root().join("tests"), &mut code);
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 3 && !name.contains('.'))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    let gone: Vec<_> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(gone.is_empty(), "{gone:#?}");
}
