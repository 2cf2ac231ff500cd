//! Rules and servers of ICE lists in the real program: its files, its reload, and what it says of a bad one.

use crate::mmdb;
use crate::program::{Server, finished, get, meetpoint};
use crate::reload::{RELOADED, toml};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

fn urls(server: &Server) -> Vec<String> {
    let answer = get(server.http, "/v1/ice?user=alice").unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let list: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let servers = list["iceServers"].as_array().unwrap();
    let urls = servers.iter().flat_map(|server| server["urls"].as_array().unwrap());
    urls.map(|url| url.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_server_comes_and_goes_with_a_reload_and_its_secret_is_in_no_output() {
    const SECRET: &str = "the secret of somebody else";
    let with = |more: &str| {
        toml(&format!(
            "[servers.other]\nurls = \"turns:other.example\"\nsecret_file = \"other\"\n{more}"
        ))
    };
    let server = Server::start_with(
        &[
            ("meetpoint.toml", &toml("")),
            ("secrets", "our own secret"),
            ("other", SECRET),
        ],
        &[],
    );
    let own = urls(&server);
    assert!(!own.iter().any(|url| url.contains("other.example")), "{own:?}");
    server.write("meetpoint.toml", &with(""));
    server.signal("HUP");
    server.wait_for_log(RELOADED, 1);
    assert_eq!(
        urls(&server),
        [own.clone(), vec!["turns:other.example".to_owned()]].concat()
    );
    server.write(
        "meetpoint.toml",
        &with("[lists.all]\nservers = \"other\"\nown = false\npolicy = \"relay\"\n"),
    );
    server.signal("HUP");
    server.wait_for_log(RELOADED, 2);
    assert_eq!(urls(&server), ["turns:other.example"]);
    assert_eq!(
        server.metric("meetpoint_ice_lists_total{list=\"all\"}"),
        Some("1".to_owned())
    );
    assert_eq!(
        server.metric("meetpoint_ice_servers_given_total{server=\"other\"}"),
        Some("2".to_owned())
    );
    server.write("meetpoint.toml", &toml(""));
    server.signal("HUP");
    server.wait_for_log(RELOADED, 3);
    assert_eq!(urls(&server), own);
    assert_eq!(server.metric("meetpoint_ice_lists_total{list=\"all\"}"), None);
    assert!(!server.log().contains(SECRET));
}

#[test]
fn the_database_of_countries_is_read_at_the_start_and_when_it_changes() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("countries.mmdb");
    fs::write(&file, mmdb::countries(&[("127.0.0.0/8", "DE")])).unwrap();
    let text = toml(&format!(
        "[ice]\ncountries_file = \"{}\"\n[servers.de]\nurls = \"stun:de.example\"\n[servers.fr]\nurls = \"stun:fr.example\"\n\
         [lists.de]\ncountries = \"DE\"\nservers = \"de\"\nown = false\n[lists.fr]\ncountries = \"FR\"\nservers = \"fr\"\nown = false\n",
        file.display()
    ));
    let server = Server::start_with(&[("meetpoint.toml", &text), ("secrets", "our own secret")], &[]);
    assert_eq!(urls(&server), ["stun:de.example"]);
    // Nobody sends a signal: the file is noticed.
    fs::write(&file, mmdb::countries(&[("127.0.0.0/9", "FR"), ("10.0.0.0/8", "DE")])).unwrap();
    server.wait_for_log(RELOADED, 1);
    assert_eq!(urls(&server), ["stun:fr.example"]);
    // One that is broken changes nothing.
    fs::write(&file, "country,code").unwrap();
    server.wait_for_log("nothing was changed", 1);
    assert!(
        server.log().contains("is not a database in the format of MaxMind"),
        "{}",
        server.log()
    );
    assert_eq!(urls(&server), ["stun:fr.example"]);
}

#[test]
fn without_its_database_of_countries_the_program_does_not_start() {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("meetpoint.toml"),
        "[ice]\ncountries_file = \"gone.mmdb\"\n[lists.de]\ncountries = \"DE\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [relay]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let output = meetpoint(&directory)
        .args(["serve", "--config", "meetpoint.toml"])
        .output()
        .unwrap();
    let (code, _, err) = finished(output);
    assert_ne!(code, 0);
    assert!(
        err.contains("ice.countries_file") && err.contains("gone.mmdb: cannot be read"),
        "{err}"
    );
}
