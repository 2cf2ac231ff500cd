//! Records of usage of the real program under coturn's client: over every transport, from client to client and by connections of
//! TCP, across a restart, they add up to what `/metrics` showed at the end of each process, to the byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::hook::{Answer, Got, Receiver};
use crate::support::{Meetpoint, http_get, output_of, pause};
use crate::uclient::{EchoPeer, run_at_port};
use serde_json::Value;
use tempfile::TempDir;

const ACME: &str = "acme's secret of 32 characters!!";
const GLOBEX: &str = "globex's secret of 32 characters";
pub(crate) const ADMIN: &str = "an-operators-token-of-32-characters";
const TOKEN: &str = "acme-token-of-32-characters-or-more";
const HOOK: &str = "webhook-secret-0123456789";

/// What is compared, by realm.
pub(crate) type Totals = BTreeMap<(String, &'static str), u64>;

const COUNTED: [(&str, &str, &[&str]); 6] = [
    (
        "meetpoint_realm_payload_bytes_total",
        "/toPeer/bytes",
        &["client_to_peer"],
    ),
    (
        "meetpoint_realm_payload_bytes_total",
        "/toClient/bytes",
        &["peer_to_client"],
    ),
    (
        "meetpoint_realm_payload_packets_total",
        "/toPeer/packets",
        &["client_to_peer"],
    ),
    (
        "meetpoint_realm_payload_packets_total",
        "/toClient/packets",
        &["peer_to_client"],
    ),
    ("meetpoint_realm_allocations_created_total", "/allocations", &[]),
    ("meetpoint_realm_credentials_issued_total", "/issued", &[]),
];

fn certificate(directory: &Path) -> (String, String) {
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (chain, key) = (at("chain.pem"), at("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-keyout", &key, "-out", &chain])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (chain, key)
}

struct Site {
    directory: TempDir,
    certificates: String,
    hook: String,
    tls: u16,
}

impl Site {
    fn start(&self) -> Meetpoint {
        let usage = self.usage();
        Meetpoint::start(&[
            ("PEERS__ALLOW", "127.0.0.0/8"),
            ("REALMS__ACME__SECRETS", ACME),
            ("REALMS__ACME__TOKENS", TOKEN),
            ("REALMS__ACME__ALLOW", "127.0.0.0/8"),
            ("REALMS__GLOBEX__SECRETS", GLOBEX),
            ("REALMS__GLOBEX__ALLOW", "127.0.0.0/8"),
            ("RELAY__TCP_RELAY", "true"),
            ("RELAY__LISTEN_TLS", &format!("127.0.0.1:{}", self.tls)),
            ("TLS__CERTIFICATES", &self.certificates),
            ("USAGE__DIRECTORY", &usage),
            ("USAGE__INTERVAL", "1s"),
            ("ADMIN__TOKENS", ADMIN),
            ("EVENTS__WEBHOOKS", &format!("{} {HOOK} usage", self.hook)),
        ])
    }

    fn usage(&self) -> String {
        self.directory.path().join("usage").to_str().unwrap().to_owned()
    }

    fn records(&self) -> Vec<Value> {
        let mut files: Vec<_> = std::fs::read_dir(self.usage())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        let text: String = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn login(user: &str, realm: &str, secret: &str) -> [String; 4] {
    let mut command = Meetpoint::command();
    let name = realm.to_uppercase();
    command
        .env(format!("MEETPOINT__REALMS__{name}__SECRETS"), secret)
        .args(["credentials", "--realm", realm, "--user", user, "--json"]);
    let minted: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let text = |name: &str| minted[name].as_str().unwrap().to_owned();
    ["-u".into(), text("username"), "-w".into(), text("credential")]
}

/// What `/metrics` says now. All clients have left, so that it does not change any more once the workers have told.
pub(crate) fn settled(server: &Meetpoint) -> Totals {
    let look = || -> Totals {
        let mut totals = Totals::new();
        for realm in ["default", "acme", "globex"] {
            for (name, field, labels) in COUNTED {
                let of_realm = format!("realm=\"{realm}\"");
                let labels: Vec<&str> = labels.iter().copied().chain([of_realm.as_str()]).collect();
                totals.insert((realm.to_owned(), field), server.metric(name, &labels) as u64);
            }
        }
        totals
    };
    let mut last = look();
    loop {
        pause(Duration::from_millis(600));
        let now = look();
        if now == last {
            return now;
        }
        last = now;
    }
}

fn sums<'a>(records: impl IntoIterator<Item = &'a Value>) -> Totals {
    let mut totals = Totals::new();
    for realm in ["default", "acme", "globex"] {
        for (_, field, _) in COUNTED {
            totals.insert((realm.to_owned(), field), 0);
        }
    }
    for record in records {
        for (_, field, _) in COUNTED {
            let realm = record["realm"].as_str().unwrap().to_owned();
            // What the probes of the process did is apart, and in the counters.
            let of_probes = record.pointer(&format!("/probes{field}")).and_then(Value::as_u64);
            let count = record.pointer(field).unwrap().as_u64().unwrap() + of_probes.unwrap_or(0);
            *totals.get_mut(&(realm, field)).unwrap() += count;
        }
    }
    totals
}

fn added(one: &Totals, other: &Totals) -> Totals {
    one.iter()
        .map(|(key, count)| (key.clone(), count + other[key]))
        .collect()
}

#[test]
fn records_of_usage_add_up_to_the_relays_counters_over_every_transport_and_a_restart() {
    let directory = TempDir::new().unwrap();
    let (chain, key) = certificate(directory.path());
    // It fails for a while, also with answers that are lost after it has taken an event.
    let receiver = Receiver::start(|number| match number {
        0..4 => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let site = Site {
        certificates: format!("{chain}:{key}"),
        hook: format!("http://{}/usage", receiver.addr),
        tls: crate::support::free_tcp_port(),
        directory,
    };
    let peer = EchoPeer::start("127.0.0.1");
    let echo = peer.port.to_string();
    let to_echo = ["-e", "127.0.0.1", "-r", &echo, "-c"];
    let alice = login("alice", "acme", ACME);
    let alice: Vec<&str> = alice.iter().map(String::as_str).collect();
    let bob = login("bob", "globex", GLOBEX);
    let bob: Vec<&str> = bob.iter().map(String::as_str).collect();

    let first = site.start();
    run_at_port(first.udp, "127.0.0.1", &to_echo);
    run_at_port(first.udp, "127.0.0.1", &[&to_echo[..], &alice, &["-n", "30"]].concat());
    run_at_port(
        first.udp,
        "127.0.0.1",
        &[&to_echo[..], &bob, &["-t", "-l", "1000"]].concat(),
    );
    run_at_port(site.tls, "127.0.0.1", &[&to_echo[..], &bob, &["-t", "-S"]].concat());
    // From client to client inside of the process.
    run_at_port(first.udp, "127.0.0.1", &[&["-y", "-c"][..], &alice].concat());
    let (status, _) = http_get(first.http, "/api/ice-servers");
    assert_eq!(status, 200);
    let of_first = settled(&first);
    assert!(of_first[&("acme".into(), "/toPeer/bytes")] > 3000, "{of_first:?}");
    assert!(of_first[&("globex".into(), "/toClient/bytes")] > 5000, "{of_first:?}");
    assert!(of_first[&("default".into(), "/issued")] > 0);
    first.end();
    assert_eq!(sums(&site.records()), of_first);

    // A crash of another process has left half a line.
    let today = site.records().last().unwrap()["from"].as_str().unwrap()[..10].to_owned();
    let file = Path::new(&site.usage()).join(format!("usage-{today}.jsonl"));
    let torn = std::fs::read_to_string(&file).unwrap() + "{\"record\":\"torn-1-acme\",\"inst";
    std::fs::write(&file, torn).unwrap();

    let second = site.start();
    let mut command = Command::new("turnutils_uclient");
    let port = second.udp.to_string();
    command
        .args(["-T", "-y", "-m", "2", "-p", &port])
        .args(&alice)
        .arg("127.0.0.1");
    let (success, output) = output_of(&mut command, Duration::from_secs(60));
    assert!(success, "{output}");
    run_at_port(second.udp, "127.0.0.1", &[&to_echo[..], &bob].concat());
    let of_second = settled(&second);
    assert!(of_second[&("acme".into(), "/toPeer/bytes")] > 0, "{of_second:?}");

    // For operators of all, for a tenant of itself alone, for nobody else.
    let until = Instant::now() + Duration::from_secs(20);
    let all = added(&of_first, &of_second);
    loop {
        let (status, body) = get(second.http, &format!("/api/admin/usage?from={today}"), ADMIN);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        if sums(body["usage"].as_array().unwrap()) == all {
            assert_eq!(body["findings"]["gaps"], 0, "{body}");
            assert_eq!(body["findings"]["malformed"], 0, "{body}");
            break;
        }
        assert!(Instant::now() < until, "{body}\n{all:?}");
        pause(Duration::from_millis(300));
    }
    let (status, body) = get(second.http, &format!("/v1/usage?from={today}"), TOKEN);
    let body: Value = serde_json::from_str(&body).unwrap();
    let days = body["usage"].as_array().unwrap();
    assert!(
        status == 200 && !days.is_empty() && days.iter().all(|day| day["realm"] == "acme"),
        "{body}"
    );
    assert_eq!(get(second.http, "/v1/usage?realm=globex", TOKEN).0, 400);
    assert_eq!(
        get(second.http, "/v1/usage", "nobodys-token-of-32-characters-ok").0,
        401
    );
    second.end();

    let records = site.records();
    assert_eq!(sums(&records), all);

    // The same by webhook: what came twice has the same name.
    let distinct = |got: &[Got]| -> BTreeMap<String, Value> {
        let events = got.iter().flat_map(Got::events);
        let named = events.map(|event| (event["record"].as_str().unwrap().to_owned(), event));
        named.collect()
    };
    let got = receiver.wait(|got| distinct(got).len() >= records.len());
    let told = distinct(&got);
    assert!(told.values().all(|event| event["kind"] == "usage"));
    assert_eq!((told.len(), sums(told.values())), (records.len(), all.clone()));

    // And by the command, which finds nothing to complain of.
    let mut command = Meetpoint::command();
    command.args(["usage", &site.usage(), "--total", "--format", "csv"]);
    let (success, csv) = output_of(&mut command, Duration::from_secs(20));
    assert!(success, "{csv}");
    for realm in ["default", "acme", "globex"] {
        let line = csv
            .lines()
            .find(|line| line.starts_with(&format!("all,{realm},")))
            .unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[2], all[&(realm.to_owned(), "/toPeer/bytes")].to_string(), "{csv}");
    }
}

pub(crate) fn get(port: u16, path: &str, token: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}
