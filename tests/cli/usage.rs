//! `meetpoint usage` on files, good and bad ones, and the bill of docs/usage.md made of what it says.

use crate::compat::{ask, text};
use crate::program::{PATIENCE, Server, finished, meetpoint, pause};
use crate::support::client::Client;
use meetpoint::http::keys::NewKey;
use meetpoint::usage::account::Reading;
use meetpoint::usage::store::Store;
use meetpoint::usage::{Account, At};
use serde_json::json;
use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Noon of 2026-11-21, UTC.
const NOON: u64 = 1_795_262_400_000;

/// A directory with the files of a process in which acme relays 1 GB in each of 24 hours.
fn files() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = Store::new(directory.path()).unwrap();
    let mut at = At {
        instant: Instant::now(),
        unix_ms: NOON,
    };
    let mut account = Account::new("0123456789ab".into(), at);
    for hour in 1..=24 {
        at.instant += Duration::from_secs(3600);
        at.unix_ms += 3_600_000;
        let mut acme = Reading::default();
        acme.counters.to_peer.bytes = 400_000_000 * hour;
        acme.counters.to_client.bytes = 600_000_000 * hour;
        acme.counters.allocation_ms = 7_200_000 * hour;
        acme.counters.refused.insert("quota".into(), hour);
        let readings = [("acme".to_owned(), acme), ("default".to_owned(), Reading::default())];
        store.push(&account.close(at, readings.into(), hour == 24));
    }
    store.write().unwrap();
    directory
}

fn usage(directory: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let mut command = meetpoint(directory);
    finished(command.args(["usage", "."]).args(arguments).output().unwrap())
}

#[test]
fn days_and_tenants_are_summed_in_columns_for_people_and_in_values_for_programs() {
    let directory = files();
    let (code, table, complaints) = usage(&directory, &[]);
    assert_eq!((code, complaints.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(&rows[0][..4], ["day", "realm", "to_peer_bytes", "to_client_bytes"]);
    assert_eq!(&rows[1][..4], ["2026-11-21", "acme", "4800000000", "7200000000"]);
    assert_eq!(rows.len(), 5);
    let (code, csv, _) = usage(&directory, &["--total", "--realm", "acme", "--format", "csv"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[1], "all,acme,9600000000,14400000000,0,0,0,172800.000,0,24,0,0,24");
    assert_eq!(lines.len(), 2);
    let (_, day, _) = usage(
        &directory,
        &["--from", "2026-11-22", "--to", "2026-11-22", "--format", "csv"],
    );
    assert_eq!(day.lines().nth(1).unwrap().split(',').nth(2).unwrap(), "4800000000");
}

#[test]
fn what_is_wrong_with_the_files_is_said_and_fails() {
    let directory = files();
    let file = directory.path().join("usage-2026-11-21.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.push(lines[0]);
    lines.drain(4..6);
    std::fs::write(&file, lines.join("\n") + "\n{\"torn\":").unwrap();
    let (code, table, complaints) = usage(&directory, &[]);
    assert_eq!(code, 1, "{complaints}");
    assert!(table.contains("2026-11-22"));
    for wanted in [
        "1 records are there more than once",
        "1 intervals are missing",
        "1 lines are no records",
        "0123456789ab: 1 intervals are missing",
    ] {
        assert!(complaints.contains(wanted), "{wanted} is missing in\n{complaints}");
    }
    let (code, _, complaints) = finished(meetpoint(&directory).args(["usage", "nowhere.jsonl"]).output().unwrap());
    assert_eq!(code, 2);
    assert!(complaints.starts_with("nowhere.jsonl: "), "{complaints}");
}

#[test]
fn the_bill_of_the_page_is_made_of_what_the_command_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/usage.md")).unwrap();
    let (_, script) = page.split_once("```python\n").unwrap();
    let script = script.split_once("```").unwrap().0;
    let directory = files();
    let at = |name: &str| directory.path().join(name);
    let (_, sums, _) = usage(&directory, &["--total", "--format", "json"]);
    std::fs::write(at("bill.py"), script).unwrap();
    std::fs::write(at("usage.json"), sums).unwrap();
    let bill = || {
        let mut command = Command::new("python3");
        finished(command.args([at("bill.py"), at("usage.json")]).output().unwrap())
    };
    let (code, text, errors) = bill();
    assert_eq!((code, errors.as_str()), (0, ""));
    let cells: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(cells, ["acme", "24.000", "GB", "48.000", "h", "1.22"]);

    let file = at("usage-2026-11-21.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let gap: Vec<&str> = text.lines().filter(|line| !line.contains("\"sequence\":3,")).collect();
    std::fs::write(&file, gap.join("\n") + "\n").unwrap();
    let (_, sums, _) = usage(&directory, &["--total", "--format", "json"]);
    std::fs::write(at("usage.json"), sums).unwrap();
    let (code, _, errors) = bill();
    assert_eq!((code, errors.trim()), (1, "not billed: {'gaps': 1}"));
}

/// The lines of the command with `--keys`, as texts by their columns.
fn by_key(csv: &str) -> HashMap<(String, String), HashMap<String, String>> {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let row = |cells: Vec<&str>| {
        let row = names
            .iter()
            .zip(&cells)
            .map(|(name, cell)| ((*name).to_owned(), (*cell).to_owned()));
        ((cells[1].to_owned(), cells[2].to_owned()), row.collect())
    };
    lines.map(row).collect()
}

#[test]
fn what_credentials_of_each_key_used_adds_up_to_their_tenant_and_no_tenant_has_the_probes() {
    let (shop, site) = (NewKey::make().unwrap(), NewKey::make().unwrap());
    let token = "acme-token-of-32-characters-or-more";
    let key = |name: &str, key: &NewKey| {
        format!(
            "[keys.{name}]\nhashes = \"{}\"\nrealm = \"acme\"\nquota_per_day = 2\n",
            key.hash().written()
        )
    };
    let config = format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[relay]\nexternal_ip = \"127.0.0.1\"\ndrain_timeout = \"0s\"\n[ice]\nhost = \"127.0.0.1\"\n[probes]\nown = \"on\"\ninterval = \"1s\"\n\
         [usage]\ndirectory = \"usage\"\ninterval = \"1s\"\nkeys = true\n\
         [realms.acme]\nsecrets = \"the secret of acme\"\ntokens = \"{token}\"\n{}{}",
        key("shop", &shop),
        key("site", &site)
    );
    let mut server = Server::start_with(&[("meetpoint.toml", &config)], &[]);
    let fetch = |key: &str| {
        let bearer = format!("Authorization: Bearer {key}");
        ask(&server, "GET /api/ice-servers?user=alice", &[&bearer], "")
    };
    let client = |key: &str, begins: &str| {
        let list = fetch(key).json();
        let turn = &list["iceServers"][1];
        let username = text(turn, "username");
        let (_, user) = username.split_once(':').unwrap();
        assert!(user == format!("{begins}alice@acme"), "{username}");
        let mut client = Client::new(server.relay);
        client.log_in_with(username, text(turn, "credential"));
        let relayed = client.allocate();
        (client, relayed)
    };
    let (mut one, at_one) = client(shop.expose(), "shop!");
    let (mut other, at_other) = client(site.expose(), "site!");
    let (_silent, _) = client(shop.expose(), "shop!");
    let (_of_nobody, _) = client(token, "");
    assert_eq!(fetch(shop.expose()).status, 429, "its quota");
    one.bind(0x4000, at_other);
    other.permit(at_one);
    one.send_channel(0x4000, b"hello");
    assert!(other.receive().is_some());
    server.wait_for_metric("meetpoint_realm_payload_bytes_total{realm=\"acme\",direction=\"peer_to_client\"} 5");
    let is_probed = || {
        let created = server.metric("meetpoint_realm_allocations_created_total{realm=\"default\"}");
        created.is_some_and(|created| created != "0")
    };
    let start = Instant::now();
    while !is_probed() {
        assert!(start.elapsed() < PATIENCE, "no probe\n{}", server.log());
        pause();
    }
    server.signal("TERM");
    assert_eq!(server.wait(), 0);

    let (code, csv, told) = finished(server.command(&["usage", "usage", "--total", "--keys", "--format", "csv"]));
    assert_eq!(code, 0, "{told}");
    let rows = by_key(&csv);
    let cells = |realm: &str, key: &str, names: [&str; 5]| {
        let row = &rows[&(realm.to_owned(), key.to_owned())];
        names.map(|name| row[name].parse::<u64>().unwrap())
    };
    let names = [
        "to_peer_bytes",
        "to_client_bytes",
        "allocations",
        "issued",
        "auth_failures",
    ];
    assert_eq!(cells("acme", "shop", names), [5, 0, 2, 2, 0], "{csv}");
    assert_eq!(cells("acme", "site", names), [0, 5, 1, 1, 0], "{csv}");
    assert_eq!(cells("acme", "(none)", names), [0, 0, 1, 1, 0], "{csv}");
    assert_eq!(cells("default", "(none)", names), [0; 5], "{csv}");
    assert!(
        cells("default", "(probes)", names)[2] >= 1 && !rows.contains_key(&("acme".into(), "(probes)".into())),
        "{csv}"
    );
    // The tenant's own sum is theirs together, and says what became of the wish that was refused.
    let (_, json, _) = finished(server.command(&["usage", "usage", "--total", "--realm", "acme", "--format", "json"]));
    let sums: serde_json::Value = serde_json::from_str(&json).unwrap();
    let acme = &sums["usage"][0];
    assert_eq!(
        (&acme["toPeer"]["bytes"], &acme["toClient"]["bytes"]),
        (&json!(5), &json!(5))
    );
    assert_eq!((&acme["allocations"], &acme["issued"]), (&json!(4), &json!(4)));
    assert_eq!(acme["keys"]["shop"]["issuesRefused"], json!({ "rate_limited": 1 }));
}
