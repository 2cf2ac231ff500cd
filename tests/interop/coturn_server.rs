//! coturn as the server: credentials travel in both directions, so that one can replace the other in a running fleet.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Credential, Meetpoint, Program, SECRET, binding_mapped_address, free_udp_port, output_of};

/// A `turnserver --use-auth-secret` on loopback with our secret.
struct Coturn {
    program: Program,
    port: u16,
    _home: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Self {
        let (port, home) = (free_udp_port(), tempfile::tempdir().unwrap());
        let path = |name: &str| home.path().join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command
            .args([
                "-n",
                "--use-auth-secret",
                "--realm=coturn",
                "--listening-ip=127.0.0.1",
                "--relay-ip=127.0.0.1",
            ])
            .args([
                "--allow-loopback-peers",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--no-stdout-log",
                "--relay-threads=1",
            ])
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--log-file={}", path("log")))
            .arg(format!("--pidfile={}", path("pid")))
            .arg(format!("--userdb={}", path("db")));
        let mut coturn = Self {
            program: Program::start(&mut command),
            port,
            _home: home,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while binding_mapped_address(SocketAddr::from(([127, 0, 0, 1], port))).is_none() {
            assert!(
                coturn.program.ended().is_none() && Instant::now() < until,
                "turnserver did not start"
            );
        }
        coturn
    }

    /// Whether it lets this credential relay between two clients.
    fn serves(&self, username: &str, password: &str) -> bool {
        let mut command = Command::new("turnutils_uclient");
        command.args([
            "-p",
            &self.port.to_string(),
            "-y",
            "-c",
            "-u",
            username,
            "-w",
            password,
            "127.0.0.1",
        ]);
        let (success, output) = output_of(&mut command, Duration::from_secs(60));
        success && output.contains("Total lost packets 0 ")
    }
}

#[test]
fn coturn_serves_the_credentials_of_our_api() {
    let (server, coturn) = (Meetpoint::start(&[]), Coturn::start());
    let Credential { username, password } = Credential::from_api(server.http);
    assert!(coturn.serves(&username, &password));
    assert!(!coturn.serves(&username, "not-the-password"));
}

#[test]
fn coturn_serves_the_credentials_of_our_command_line() {
    let (success, output) = Meetpoint::minted_by_command("ann");
    assert!(success, "{output}");
    let minted: serde_json::Value = serde_json::from_str(&output).unwrap();
    let username = minted["username"].as_str().unwrap();
    assert!(username.ends_with(":ann"), "{username}");
    let password = minted["credential"].as_str().unwrap();
    assert!(Coturn::start().serves(username, password));
}

#[test]
fn we_serve_credentials_that_coturn_tools_mint_from_the_secret() {
    // `-W` makes turnutils_uclient mint `<expiry>:<user>` and the HMAC by itself.
    let server = Meetpoint::start(&[]);
    let mut command = Command::new("turnutils_uclient");
    command.args([
        "-p",
        &server.udp.to_string(),
        "-y",
        "-c",
        "-u",
        "bob",
        "-W",
        SECRET,
        "127.0.0.1",
    ]);
    let (success, output) = output_of(&mut command, Duration::from_secs(60));
    assert!(success && output.contains("Total lost packets 0 "), "{output}");
}
