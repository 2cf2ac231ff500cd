//! `meetpoint config`, and what a wrong configuration does to every command.

use crate::program::{finished, meetpoint, run};
use tempfile::TempDir;

#[test]
fn a_wrong_configuration_exits_with_2_and_lists_everything() {
    let directory = TempDir::new().unwrap();
    std::fs::write(
        directory.path().join("meetpoint.toml"),
        "[relay]\nport_rage = \"1-2\"\nworkers = \"x\"\n",
    )
    .unwrap();
    for command in ["serve", "credentials"] {
        let output = meetpoint(&directory)
            .args([command, "--log-format", "xml"])
            .env("MEETPOINT__HTTP__BURST", "lots")
            .output()
            .unwrap();
        let (code, out, err) = finished(output);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        for part in [
            "the configuration has 4 problems",
            "meetpoint.toml:2: relay.port_rage: unknown key",
            "did you mean `relay.port_range`?",
            "meetpoint.toml:3: relay.workers: expected an integer",
            "MEETPOINT__HTTP__BURST: http.burst: `lots` is not a whole number",
            "--log-format: log.format: `xml` is not one of the choices",
        ] {
            assert!(err.contains(part), "{part} is missing in\n{err}");
        }
    }
}

#[test]
fn config_check_says_how_much_is_set() {
    let directory = TempDir::new().unwrap();
    std::fs::write(
        directory.path().join("other.toml"),
        "[relay]\nrealm = \"example.org\"\n",
    )
    .unwrap();
    let output = meetpoint(&directory)
        .args(["config", "check", "--config", "other.toml"])
        .output()
        .unwrap();
    let (code, out, err) = finished(output);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("ok: 1 key"), "{out}");
}

#[test]
fn config_show_prints_what_is_in_effect_and_hides_secrets() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("turn.secret"), "hunter2-hunter2-hunter2\n").unwrap();
    let output = meetpoint(&directory)
        .args(["config", "show", "--credentials-secrets-file", "turn.secret"])
        .env("MEETPOINT__RELAY__REALM", "example.org")
        .output()
        .unwrap();
    let (code, out, err) = finished(output);
    assert_eq!(code, 0, "{err}");
    let line = |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(
        line("realm = \"example.org\"").ends_with("# MEETPOINT__RELAY__REALM"),
        "{out}"
    );
    assert!(
        line("secrets = [\"<redacted>\"]").ends_with("# --credentials-secrets-file"),
        "{out}"
    );
    assert!(!out.contains("hunter2"));
}

#[test]
fn config_docs_is_the_reference() {
    let (code, out, _) = run(&["config", "docs"]);
    assert_eq!((code, out), (0, meetpoint::config::reference()));
}

#[test]
fn a_file_that_is_not_there_is_named_with_who_named_it() {
    let (code, _, err) = run(&["config", "check", "--config", "nowhere.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("--config: nowhere.toml cannot be read"), "{err}");
    let directory = TempDir::new().unwrap();
    let output = meetpoint(&directory)
        .args(["config", "check"])
        .env("MEETPOINT_CONFIG", "gone.toml")
        .output()
        .unwrap();
    let (code, _, err) = finished(output);
    assert_eq!(code, 2);
    assert!(err.contains("MEETPOINT_CONFIG: gone.toml cannot be read"), "{err}");
}

#[test]
fn a_wrong_flag_exits_with_2_and_help_and_version_with_0() {
    let (code, out, err) = run(&["--relay-lisen", "x"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--relay-listen"), "{err}");
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for key in meetpoint::config::Config::sections()
        .iter()
        .flat_map(|section| &section.keys)
    {
        assert!(
            out.contains(&format!("--{} ", key.flag())),
            "no flag for {}",
            key.path()
        );
    }
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with(concat!("meetpoint ", env!("CARGO_PKG_VERSION"))) && out.contains("revision"),
        "{out}"
    );
}

#[test]
fn credentials_need_a_secret_and_say_where_to_put_it() {
    let (code, out, err) = run(&["credentials"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("set credentials.secrets") && err.contains("--secret-file"),
        "{err}"
    );
    let (code, _, err) = run(&["credentials", "--ttl", "3d"]);
    assert_eq!(code, 2);
    assert!(err.contains("between 1s and 48h"), "{err}");
}
