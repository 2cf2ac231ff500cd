//! A tenant's credential in coturn's client: its username with two separators and its password are nothing special to others.

use std::process::Command;

use crate::support::Meetpoint;
use crate::uclient::{EchoPeer, run_at_port, try_run_at_port};

const ACME: &str = "acme's secret of 32 characters!!";
const GLOBEX: &str = "globex's secret of 32 characters";

fn start() -> Meetpoint {
    Meetpoint::start(&[
        ("REALMS__ACME__SECRETS", ACME),
        ("REALMS__ACME__ALLOW", "127.0.0.0/8"),
        ("REALMS__ACME__REALM", "turn.acme.example"),
        ("REALMS__GLOBEX__SECRETS", GLOBEX),
    ])
}

#[test]
fn coturns_client_relays_with_a_credential_that_meetpoint_minted_for_a_realm() {
    let server = start();
    let peer = EchoPeer::start("127.0.0.1");
    let mut command = Meetpoint::command();
    command.env("MEETPOINT__REALMS__ACME__SECRETS", ACME).args([
        "credentials",
        "--realm",
        "acme",
        "--user",
        "interop",
        "--json",
    ]);
    let minted: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let (username, password) = (
        minted["username"].as_str().unwrap(),
        minted["credential"].as_str().unwrap(),
    );
    let port = peer.port.to_string();
    for more in [&["-c"][..], &["-s"], &["-t"]] {
        let arguments = [&["-e", "127.0.0.1", "-r", &port, "-u", username, "-w", password], more].concat();
        run_at_port(server.udp, "127.0.0.1", &arguments);
    }
    server.assert_counted("meetpoint_realm_allocations_created_total", &["realm=\"acme\""], 3.0);
    server.assert_counted("meetpoint_realm_payload_bytes_total", &["realm=\"acme\""], 1000.0);
    assert_eq!(
        server.metric("meetpoint_realm_payload_bytes_total", &["realm=\"default\""]),
        0.0
    );
}

#[test]
fn a_credential_made_by_a_script_with_coturns_recipe_opens_its_realm_and_no_other() {
    let server = start();
    let peer = EchoPeer::start("127.0.0.1");
    let script = "import base64, hmac, sys, time\n\
                  username = f'{int(time.time()) + 600}:interop@{sys.argv[2]}'\n\
                  print(username, base64.b64encode(hmac.digest(sys.argv[1].encode(), username.encode(), 'sha1')).decode())";
    let port = peer.port.to_string();
    for (secret, realm, opens) in [(ACME, "acme", true), (GLOBEX, "acme", false), (ACME, "globex", false)] {
        let output = Command::new("python3")
            .args(["-c", script, secret, realm])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (username, password) = text.trim().split_once(' ').unwrap();
        let arguments = ["-c", "-e", "127.0.0.1", "-r", &port, "-u", username, "-w", password];
        assert_eq!(
            try_run_at_port(server.udp, "127.0.0.1", &arguments).is_some(),
            opens,
            "{secret} for {realm}"
        );
    }
}
