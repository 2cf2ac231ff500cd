//! The proxies that `ops/proxy` has a configuration for, started with exactly those: only ports, names and paths are this test's.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{Meetpoint, Program, free_tcp_port, output_of, pause};

/// A certificate for `localhost`, as each program wants it.
struct Certificate(TempDir);

impl Certificate {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(directory.path().join("chain.pem"), &chain).unwrap();
        fs::write(directory.path().join("both.pem"), format!("{chain}{key}")).unwrap();
        fs::write(directory.path().join("key.pem"), key).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A shipped file with what is this test's in place of what it names. Each must be in there.
fn shipped(name: &str, replacements: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/proxy").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (theirs, ours) in replacements {
        assert!(text.contains(theirs), "{theirs} is not in {name}");
        text = text.replace(theirs, ours);
    }
    text
}

fn wait_for(port: u16, proxy: &Program) {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "the proxy does not listen:\n{}", proxy.log());
        pause(Duration::from_millis(50));
    }
}

/// `meetpoint check` as a user would run it: API, STUN, a relayed round trip, the hub's WebSocket.
fn checked(port: u16, certificate: &Certificate) {
    let mut check = Meetpoint::command();
    check.args([
        "check",
        &format!("https://localhost:{port}"),
        "--ca",
        &certificate.path("chain.pem"),
    ]);
    let (success, output) = output_of(&mut check, Duration::from_secs(60));
    assert!(success && output.contains("signaling"), "{output}");
}

/// Asks from an address of choice, with a header that a client made up, and gives the status.
fn asked(port: u16, from: &str, path: &str) -> String {
    let script = format!(
        "import http.client, ssl\n\
         connection = http.client.HTTPSConnection('localhost', {port}, source_address=('{from}', 0), timeout=20,\n\
             context=ssl._create_unverified_context())\n\
         connection.request('GET', '{path}', headers={{'X-Forwarded-For': '192.0.2.77'}})\n\
         print(connection.getresponse().status)\n"
    );
    let (success, output) = output_of(Command::new("python3").args(["-c", &script]), Duration::from_secs(30));
    assert!(success, "{output}");
    output.trim().to_owned()
}

/// The client's network is in the log, and what it made up is not.
fn clients_are_told_apart(server: &Meetpoint, port: u16) {
    assert_eq!(asked(port, "127.1.6.6", "/api/ice-servers"), "200");
    let until = Instant::now() + Duration::from_secs(10);
    while !server.log().contains("\"127.1.6.0/24\"") {
        assert!(
            Instant::now() < until,
            "the client is not in the log:\n{}",
            server.log()
        );
        pause(Duration::from_millis(50));
    }
    assert!(!server.log().contains("192.0.2."), "a client's own header was believed");
    for operators in ["/metrics", "/api/admin/allocations"] {
        assert_eq!(asked(port, "127.0.0.1", operators), "404", "{operators}");
    }
}

fn behind_a_trusted_proxy() -> Meetpoint {
    Meetpoint::start(&[("PEERS__ALLOW", "127.0.0.0/8"), ("HTTP__TRUSTED_PROXIES", "127.0.0.1")])
}

#[test]
fn nginx_passes_the_api_and_the_hub_on_and_tells_who_the_client_is() {
    let (server, certificate, port) = (behind_a_trusted_proxy(), Certificate::make(), free_tcp_port());
    let site = shipped(
        "nginx.conf",
        &[
            ("127.0.0.1:8000;", &format!("127.0.0.1:{};", server.http)),
            ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
            ("    listen [::]:443 ssl;\n", ""),
            ("meet.example.org;", "localhost;"),
            (
                "/etc/letsencrypt/live/meet.example.org/fullchain.pem",
                &certificate.path("chain.pem"),
            ),
            (
                "/etc/letsencrypt/live/meet.example.org/privkey.pem",
                &certificate.path("key.pem"),
            ),
        ],
    );
    fs::write(certificate.path("site.conf"), site).unwrap();
    let home = certificate.path("");
    let main = format!(
        "daemon off; pid {home}pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path {home}a; \
         proxy_temp_path {home}b; fastcgi_temp_path {home}c; uwsgi_temp_path {home}d; scgi_temp_path {home}e;\n\
         include {home}site.conf; }}\n"
    );
    fs::write(certificate.path("nginx.conf"), main).unwrap();
    let nginx = Program::start(Command::new("nginx").args(["-e", "stderr", "-c", &certificate.path("nginx.conf")]));
    wait_for(port, &nginx);
    checked(port, &certificate);
    clients_are_told_apart(&server, port);
}

#[test]
fn caddy_passes_the_api_and_the_hub_on_and_tells_who_the_client_is() {
    let (server, certificate, port) = (behind_a_trusted_proxy(), Certificate::make(), free_tcp_port());
    let (chain, key) = (certificate.path("chain.pem"), certificate.path("key.pem"));
    let site = shipped(
        "Caddyfile",
        &[
            (
                "reverse_proxy 127.0.0.1:8000",
                &format!("reverse_proxy 127.0.0.1:{}", server.http),
            ),
            // What it would do by itself takes a name of the public DNS.
            (
                "meet.example.org {",
                &format!("https://localhost:{port} {{\n\ttls {chain} {key}"),
            ),
        ],
    );
    let text = format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}");
    fs::write(certificate.path("Caddyfile"), text).unwrap();
    let mut command = Command::new("caddy");
    command.args([
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        &certificate.path("Caddyfile"),
    ]);
    command
        .env("HOME", certificate.path(""))
        .env("XDG_DATA_HOME", certificate.path("data"));
    let caddy = Program::start(&mut command);
    wait_for(port, &caddy);
    checked(port, &certificate);
    clients_are_told_apart(&server, port);
}

#[test]
fn haproxy_passes_the_web_and_turn_over_tls_on_and_tells_who_the_client_is() {
    let certificate = Certificate::make();
    let (tls, web, turns) = (free_tcp_port(), free_tcp_port(), free_tcp_port());
    let files = format!("{}:{}", certificate.path("chain.pem"), certificate.path("key.pem"));
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("STREAMS__PROXY_PROTOCOL_FROM", "127.0.0.1/32"),
        ("RELAY__LISTEN_TLS", &format!("127.0.0.1:{tls}")),
        ("ICE__TLS_PORT", &turns.to_string()),
        ("ICE__TCP_PORT", "9"),
        ("TLS__CERTIFICATES", &files),
    ]);
    let text = shipped(
        "haproxy.cfg",
        &[
            (
                "server one 127.0.0.1:8000",
                &format!("server one 127.0.0.1:{}", server.http),
            ),
            ("server one 127.0.0.1:5350", &format!("server one 127.0.0.1:{tls}")),
            ("maxconn 20000", "maxconn 1000"),
            ("bind :443 ", &format!("bind 127.0.0.1:{web} ")),
            ("bind :5349", &format!("bind 127.0.0.1:{turns}")),
            ("/etc/haproxy/meet.example.org.pem", &certificate.path("both.pem")),
        ],
    );
    fs::write(certificate.path("haproxy.cfg"), text).unwrap();
    let haproxy = Program::start(Command::new("haproxy").args(["-db", "-f", &certificate.path("haproxy.cfg")]));
    wait_for(web, &haproxy);
    clients_are_told_apart(&server, web);
    // TURN over TLS through HAProxy, and nothing of it is UDP: the list's other ports are not asked.
    let mut credentials = Meetpoint::command();
    credentials.args(["credentials", "--user", "alice", "--json"]);
    credentials.env("MEETPOINT__CREDENTIALS__SECRETS", crate::support::SECRET);
    let (_, minted) = output_of(&mut credentials, Duration::from_secs(10));
    let minted: serde_json::Value = serde_json::from_str(&minted).unwrap();
    let field = |name: &str| minted[name].as_str().unwrap().to_owned();
    let mut check = Meetpoint::command();
    check.args([
        "check",
        &format!("turns:localhost:{turns}?transport=tcp"),
        "--ca",
        &certificate.path("chain.pem"),
    ]);
    check.args(["--username", &field("username"), "--credential", &field("credential")]);
    let (success, output) = output_of(&mut check, Duration::from_secs(60));
    assert!(success, "{output}\n{}", server.log());
}
