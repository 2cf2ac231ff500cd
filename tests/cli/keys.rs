//! API keys on the real program: made by the command, rotated by a reload, and never in the log.

use crate::compat::{Answer, allocate, ask, lifetime, text};
use crate::program::{PATIENCE, Server, finished, meetpoint, pause, run};
use crate::reload::RELOADED;
use std::io::Write as _;
use std::process::Stdio;
use tempfile::TempDir;

/// A key of the command, and what it says to write.
fn make(name: &str) -> (String, String) {
    let (code, key, told) = run(&["keys", "make", name]);
    assert_eq!(code, 0, "{told}");
    let (_, toml) = told.split_once("[keys.").unwrap();
    (key.trim().to_owned(), format!("[keys.{toml}"))
}

fn start(more: &str) -> Server {
    let config = format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[relay]\nexternal_ip = \"127.0.0.1\"\n[log]\nlevel = \"debug\"\n{more}"
    );
    Server::start_with(&[("meetpoint.toml", &config)], &[])
}

fn fetch(server: &Server, path: &str, headers: &[&str]) -> Answer {
    ask(server, &format!("GET {path}"), headers, "")
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, text(&answer.json(), "code").to_owned())
}

#[test]
fn a_key_of_the_command_fetches_credentials_that_relay_and_is_in_no_log() {
    let (key, toml) = make("shop");
    assert!(
        key.starts_with("mpk_") && key.len() == 64 && !toml.contains(&key),
        "{toml}"
    );
    let server = start(&format!("{toml}max_ttl = \"10m\"\nquota_per_day = 3\n"));
    assert_eq!(
        code(&fetch(&server, "/api/ice-servers", &[])),
        (401, "key_required".into())
    );
    let bearer = format!("Authorization: Bearer {key}");
    let header = format!("X-Api-Key: {key}");
    for (path, headers) in [
        ("/api/ice-servers", &[bearer.as_str()][..]),
        ("/v1/ice", &[&header]),
        (&format!("/api/ice-servers?apiKey={key}"), &[]),
    ] {
        let answer = fetch(&server, path, headers);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let list = answer.json();
        let turn = &list["iceServers"][1];
        let username = text(turn, "username");
        assert!((590..=600).contains(&lifetime(username)), "{username}");
        assert!(allocate(&server, username, text(turn, "credential")).is_ok());
    }
    let answer = fetch(&server, "/v1/ice", &[&header]);
    assert_eq!(code(&answer), (429, "quota_exceeded".into()));
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let wrong = key.replacen("mpk_", "mpk_0", 1);
    assert_eq!(
        code(&fetch(&server, &format!("/v1/ice?key={wrong}"), &[])),
        (401, "invalid_key".into())
    );
    for line in [
        "meetpoint_api_keys 1",
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"accepted\"} 3",
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"quota_exceeded\"} 1",
        "meetpoint_api_key_unknown_total 1",
    ] {
        server.wait_for_metric(line);
    }
    server.wait_for_log("apiKey=…", 1);
    assert!(!server.log().contains("mpk_"), "{}", server.log());
    assert!(
        server
            .log()
            .contains("may join rooms, and fetches no credentials there"),
        "{}",
        server.log()
    );
}

#[test]
fn a_key_is_rotated_by_reloads_and_its_quota_does_not_begin_anew() {
    let (old, toml) = make("shop");
    let (new, next) = make("shop");
    let digest = |toml: &str| toml.split('"').nth(1).unwrap().to_owned();
    let config = |hashes: &[&str]| {
        let hashes: Vec<_> = hashes.iter().map(|hash| format!("\"{hash}\"")).collect();
        format!("[keys.shop]\nhashes = [{}]\nquota_per_day = 4\n", hashes.join(", "))
    };
    let (first, second) = (digest(&toml), digest(&next));
    let server = Server::start_with(&[("meetpoint.toml", &config(&[&first]))], &[]);
    let status = |key: &str| fetch(&server, "/v1/ice", &[&format!("X-Api-Key: {key}")]).status;
    let reload = |hashes: &[&str], times| {
        server.write("meetpoint.toml", &config(hashes));
        server.wait_for_log(RELOADED, times);
    };
    assert_eq!((status(&old), status(&new)), (200, 401));
    reload(&[&second, &first], 1);
    assert_eq!((status(&old), status(&new)), (200, 200));
    reload(&[&second], 2);
    assert_eq!((status(&old), status(&new), status(&new)), (401, 200, 429));
}

#[test]
fn a_key_of_another_service_is_taken_over_by_its_digest_and_a_short_one_is_not() {
    let hash = |key: &str| {
        let directory = TempDir::new().unwrap();
        let mut command = meetpoint(&directory);
        let mut child = command
            .args(["keys", "hash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        finished(child.wait_with_output().unwrap())
    };
    let theirs = "5d41402abc4b2a76b9719d911017c592";
    let (code, digest, _) = hash(&format!("{theirs}\n"));
    assert_eq!(code, 0);
    let server = start(&format!("[keys.shop]\nhashes = \"{}\"\n", digest.trim()));
    assert_eq!(fetch(&server, &format!("/v1/ice?apiKey={theirs}"), &[]).status, 200);
    for bad in ["", "hunter2", &"k".repeat(23), &"k".repeat(513)] {
        let (code, out, told) = hash(bad);
        assert_eq!((code, out.as_str()), (2, ""), "{told}");
        assert!(bad.is_empty() || !told.contains(bad));
    }
}

#[test]
fn a_name_that_cannot_be_one_makes_no_key() {
    for bad in ["Shop", "a b", "default", "", "shop]"] {
        let (code, out, told) = run(&["keys", "make", bad]);
        assert_eq!((code, out.as_str()), (2, ""), "{told}");
    }
    assert!(make("eu.shop").1.starts_with("[keys.\"eu.shop\"]"));
}

#[test]
fn a_key_with_the_scope_usage_reads_what_its_own_realm_used_and_no_other_key_does() {
    let (all, of_default) = make("bills");
    let (one, of_acme) = make("acme-bills");
    let (issuer, issues) = make("shop");
    let acme = "[realms.acme]\nsecrets = [\"acme's secret of 32 characters!!\"]\n[usage]\ndirectory = \"usage\"\ninterval = \"1s\"\n";
    let scope = "scopes = [\"usage\"]\n";
    let server = start(&format!(
        "{of_default}{scope}{of_acme}{scope}realm = \"acme\"\n{issues}{acme}"
    ));
    let bearer = |key: &str| format!("Authorization: Bearer {key}");
    let used = |key: &str| {
        let answer = fetch(&server, "/v1/usage", &[&bearer(key)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["usage"].as_array().unwrap().clone()
    };
    // The default realm has a record for each interval, acme none of one in which it did nothing.
    let until = std::time::Instant::now() + PATIENCE;
    while used(&all).is_empty() {
        assert!(std::time::Instant::now() < until, "no record is written");
        pause();
    }
    assert!(used(&all).iter().all(|day| day["realm"] == "default"));
    assert!(used(&one).is_empty());
    assert_eq!(
        code(&fetch(&server, "/v1/usage", &[&bearer(&issuer)])),
        (403, "forbidden".into())
    );
    assert_eq!(
        code(&fetch(&server, "/v1/usage?realm=default", &[&bearer(&one)])),
        (400, "bad_query".into())
    );
    assert_eq!(fetch(&server, "/v1/usage", &[]).status, 401);
    assert_eq!(fetch(&server, "/v1/ice", &[&bearer(&all)]).status, 403);
}
