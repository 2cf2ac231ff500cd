//! `meetpoint check` and `meetpoint credentials` against a server that runs.

use crate::program::{Server, finished, free_port, meetpoint, run};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::UdpSocket;
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn outcomes(report: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(report).unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (text(step, "step"), text(step, "outcome")))
        .collect()
}

#[test]
fn a_server_without_configuration_passes_every_step() {
    let server = Server::start(&[]);
    let (code, out, err) = run(&["check", &server.url(), "--json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}{}", server.log());
    // TURN by UDP and by TCP.
    let expected = ["ready", "API", "STUN", "TURN", "TURN", "signaling"].map(|step| (step.to_owned(), "ok".to_owned()));
    assert_eq!(outcomes(&out), expected);
    let (code, table, _) = run(&["check", &server.url(), "--relay-only"]);
    assert_eq!(code, 0);
    assert!(
        table.contains("there and back") && !table.contains("signaling"),
        "{table}"
    );
    assert!(table.ends_with("All of it works.\n"), "{table}");
}

#[test]
fn a_server_on_ipv6_passes_every_step() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    // A client that asks for no family gets IPv4 (RFC 8656 §7.2), whatever it came by.
    let server = Server::start_at("::1", &["--relay-external-ip", "127.0.0.1,::1"], &[]);
    let (code, out, _) = run(&["check", &server.url(), "--json"]);
    assert_eq!(code, 0, "{out}{}", server.log());
    assert_eq!(outcomes(&out).len(), 6);
}

#[test]
fn a_server_with_tls_passes_every_step_by_https_and_by_turns() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(at("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let pair = format!("{}:{}", at("chain.pem"), at("key.pem"));
    let start = || {
        let (tls, one_port) = (free_port(), free_port());
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let arguments = [
            "--tls-certificates",
            &pair,
            "--ice-host",
            "localhost",
            "--relay-listen-tls",
            &listen(tls),
            "--streams-one-port",
            &listen(one_port),
        ];
        (Server::start(&arguments), one_port)
    };
    let (server, one_port) = start();
    let url = format!("https://localhost:{one_port}");
    let (code, out, _) = run(&["check", &url, "--ca", &at("chain.pem"), "--json"]);
    assert_eq!(code, 0, "{out}{}", server.log());
    // STUN and TURN by UDP, TCP and TLS: each on a port of its own and on the one port.
    let expected = [
        "ready",
        "API",
        "STUN",
        "STUN",
        "TURN",
        "TURN",
        "TURN",
        "TURN",
        "TURN",
        "TURN",
        // The first one of TLS once more, without a query.
        "TURN",
        "signaling",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|&step| (step.to_owned(), "ok".to_owned()))
        .collect();
    assert_eq!(outcomes(&out), expected);
    assert_eq!(out.matches("turns:localhost:").count(), 3, "{out}");
    // A certificate that nobody vouches for is found out.
    let (code, out, _) = run(&["check", &server.url(), "--relay-only"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("fix: the certificate must be whole, current, and for the advertised host"),
        "{out}"
    );
}

#[test]
fn nothing_there_fails_and_names_the_likely_cause() {
    let (code, out, _) = run(&["check", &format!("http://127.0.0.1:{}", free_port())]);
    assert_eq!(code, 1);
    assert!(
        out.contains("FAILED") && out.contains("fix: nothing listens there"),
        "{out}"
    );
}

#[test]
fn a_relay_that_clients_cannot_reach_fails_while_the_api_works() {
    // Advertises a port at which nobody answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let server = Server::start(&["--ice-port", &port]);
    let (code, out, _) = run(&["check", &server.url(), "--timeout", "2"]);
    assert_eq!(code, 1);
    let line = |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(
        line("API").contains(" ok ") && line("signaling").contains(" ok "),
        "{out}"
    );
    assert!(
        line("STUN").contains("FAILED") && line("TURN").contains("FAILED"),
        "{out}"
    );
    assert!(out.contains("fix: open the UDP port of relay.listen"), "{out}");
    assert!(out.ends_with("2 steps failed.\n"), "{out}");
}

#[test]
fn a_minted_credential_opens_the_relay_and_a_forged_one_does_not() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("turn.secret"), SECRET).unwrap();
    let server = Server::start_at("127.0.0.1", &[], &[("MEETPOINT__CREDENTIALS__SECRETS", SECRET)]);
    let mint = [
        "credentials",
        "--user",
        "alice",
        "--ttl",
        "10m",
        "--secret-file",
        "turn.secret",
        "--json",
    ];
    let (code, out, err) = finished(meetpoint(&directory).args(mint).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let minted: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(minted["ttl"], 600);
    let username = minted["username"].as_str().unwrap();
    assert!(username.ends_with(":alice"), "{username}");

    let uri = format!("turn:{}?transport=udp", server.relay);
    let check = |credential: &str| run(&["check", &uri, "--username", username, "--credential", credential]);
    let (code, out, _) = check(minted["credential"].as_str().unwrap());
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = check("AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(code, 1);
    assert!(
        out.contains("401") && out.contains("fix: the credential is refused"),
        "{out}"
    );

    let (code, _, err) = run(&["check", &uri]);
    assert_eq!(code, 2);
    assert!(err.contains("--username and --credential"), "{err}");
}

#[test]
fn a_server_that_asks_for_tokens_is_tested_with_one() {
    let server = Server::start_at("127.0.0.1", &[], &[("MEETPOINT__AUTH__JWT_SECRETS", SECRET)]);
    let (code, out, _) = run(&["check", &server.url()]);
    assert_eq!(code, 1);
    assert!(out.contains("asks for a token") && out.contains("--token"), "{out}");

    let claims = json!({ "sub": "alice", "exp": 4_102_444_800_u64 });
    let token = encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap();
    let (code, out, _) = run(&["check", &server.url(), "--token", &token]);
    assert_eq!(code, 0, "{out}{}", server.log());
    let (code, out, _) = run(&["check", &server.url(), "--token", "not.a.token"]);
    assert_eq!(code, 1);
    assert!(out.contains("refuses the token"), "{out}");
}

#[test]
fn a_check_mints_what_lets_it_in_from_the_secrets_of_its_configuration() {
    let directory = TempDir::new().unwrap();
    let other = "another secret of thirty-two characters or more";
    let config = |secret: &str| {
        format!(
            "[credentials]\nsecrets = \"{secret}\"\n[auth]\njwt_secrets = \"{secret}\"\njwt_audience = \"meet\"\njwt_issuer = \"id\"\n"
        )
    };
    std::fs::write(directory.path().join("right.toml"), config(SECRET)).unwrap();
    std::fs::write(directory.path().join("wrong.toml"), config(other)).unwrap();
    std::fs::write(directory.path().join("none.toml"), "").unwrap();
    let secrets = [
        ("MEETPOINT__CREDENTIALS__SECRETS", SECRET),
        ("MEETPOINT__AUTH__JWT_SECRETS", SECRET),
        ("MEETPOINT__AUTH__JWT_AUDIENCE", "meet"),
        ("MEETPOINT__AUTH__JWT_ISSUER", "id"),
    ];
    let server = Server::start_at("127.0.0.1", &[], &secrets);
    let relay = format!("turn:{}?transport=udp", server.relay);
    let check = |config: &str, rest: &[&str]| {
        let mut command = meetpoint(&directory);
        command.args(["check", "--mint", "--config", config]).args(rest);
        finished(command.output().unwrap())
    };
    let (code, out, err) = check("right.toml", &[&server.url(), "--web-only", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let steps: Vec<String> = outcomes(&out).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, ["ready", "API", "signaling"], "--web-only leaves the relays out");
    let (code, out, _) = check("right.toml", &[&relay]);
    assert_eq!(code, 0, "{out}");

    let (code, out, _) = check("wrong.toml", &[&server.url(), "--web-only"]);
    assert!(code == 1 && out.contains("refuses the token"), "{out}");
    let (code, out, _) = check("wrong.toml", &[&relay]);
    assert!(code == 1 && out.contains("the credential is refused"), "{out}");
    let (code, _, err) = check("none.toml", &[&relay]);
    assert!(code == 2 && err.contains("--mint"), "{err}");
    let (code, _, err) = check("gone.toml", &[&relay]);
    assert!(code == 2 && err.contains("gone.toml"), "{err}");
}

#[test]
fn the_redis_of_the_configuration_is_tested_as_well_and_its_password_not_shown() {
    let server = Server::start(&[]);
    let directory = TempDir::new().unwrap();
    // Nothing listens there.
    let url = format!("redis://:hunter2@127.0.0.1:{}", free_port());
    let check = || {
        let mut command = meetpoint(&directory);
        command.args(["check", &server.url(), "--json", "--timeout", "5"]);
        command
    };
    let (code, out, err) = finished(check().env("MEETPOINT__BACKPLANE__REDIS_URL", &url).output().unwrap());
    assert_eq!(code, 1, "{out}{err}");
    let last = ("backplane".to_owned(), "failed".to_owned());
    assert_eq!(outcomes(&out).last(), Some(&last));
    assert!(out.contains("is Redis running") && !out.contains("hunter2"), "{out}");
    std::fs::write(
        directory.path().join("m.toml"),
        "[backplane]\nredis_ulr = \"redis://:hunter2@a\"\n",
    )
    .unwrap();
    let (code, out, _) = finished(check().args(["--config", "m.toml"]).output().unwrap());
    assert_eq!(code, 0, "a server elsewhere is no worse for it: {out}");
    let last = ("backplane".to_owned(), "skipped".to_owned());
    assert_eq!(outcomes(&out).last(), Some(&last));
    assert!(!out.contains("hunter2"), "{out}");
}
