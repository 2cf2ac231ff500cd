//! The client against our own server: every way, and nothing is left behind.

use std::time::Duration;

use meetpoint::probe::{Client, Way};
use meetpoint::telemetry::labels::ProbeFault;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::program::{Server, free_port};
use crate::stage::{SECRET, allocate, allocate_with, believing, bind, login};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_our_own_server_works_and_leaves_no_allocation_behind() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(at("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let pair = format!("{}:{}", at("chain.pem"), at("key.pem"));
    let [listen_tls, listen_dtls] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let arguments = [
        "--tls-certificates",
        &pair,
        "--relay-listen-tls",
        &listen_tls,
        "--relay-listen-dtls",
        &listen_dtls,
    ];
    let server = Server::start_at("127.0.0.1", &arguments, &[("MEETPOINT__CREDENTIALS__SECRETS", SECRET)]);
    let [listen_tls, listen_dtls] = [listen_tls, listen_dtls].map(|address| address.parse().unwrap());

    let trust = believing(&[CertificateDer::from_pem_file(at("chain.pem")).unwrap()]);
    for (way, address) in [
        (Way::Udp, server.relay),
        (Way::Tcp, server.relay),
        (Way::Tls, listen_tls),
        (Way::Dtls, listen_dtls),
    ] {
        let relayed = allocate_with(way, address, PATIENCE, &login(SECRET), &trust).await;
        let relayed = relayed.unwrap_or_else(|fault| panic!("{way:?}: {fault}"));
        assert!(!relayed.ip().is_unspecified() && relayed.port() > 0, "{relayed}");
        // The server knows the user, and not with that password.
        let wrong = allocate_with(way, address, PATIENCE, &login("another secret of other people"), &trust).await;
        let wrong = wrong.unwrap_err();
        assert_eq!(
            (wrong.kind, wrong.code),
            (ProbeFault::Unauthorized, Some(401)),
            "{way:?}"
        );
    }
    assert!(bind(server.relay, PATIENCE).await.unwrap().ip().is_loopback());
    server.wait_for_metric("meetpoint_relay_allocations_created_total 4");
    server.wait_for_metric("meetpoint_relay_allocations_closed_total{reason=\"deleted\"} 4");

    // Somebody else's certificate.
    let stranger = allocate_with(Way::Tls, listen_tls, PATIENCE, &login(SECRET), &believing(&[])).await;
    assert_eq!(stranger.unwrap_err().kind, ProbeFault::Tls);
    // One for another name, by DTLS.
    let client = Client {
        way: Way::Dtls,
        server: listen_dtls,
        host: "turn.example",
        tls: &trust,
        until: Instant::now() + PATIENCE,
    };
    let other = client.allocate(&login(SECRET)).await.err().unwrap();
    assert_eq!(other.kind, ProbeFault::Tls, "{other}");
    // And nothing stays behind of any of them: each says that it is over.
    server.wait_for_metric("meetpoint_relay_dtls_sessions{phase=\"established\"} 0");
}

#[tokio::test]
async fn a_server_without_room_is_full_and_one_that_is_gone_refuses() {
    let quota = ["--limits-allocations-per-user", "1"];
    let server = Server::start_at("127.0.0.1", &quota, &[("MEETPOINT__CREDENTIALS__SECRETS", SECRET)]);
    let (login, tls) = (login(SECRET), believing(&[]));
    let client = Client {
        way: Way::Tcp,
        server: server.relay,
        host: "localhost",
        tls: &tls,
        until: Instant::now() + PATIENCE,
    };
    let kept = client.allocate(&login).await.unwrap();
    let second = client.allocate(&login).await.err().unwrap();
    assert_eq!((second.kind, second.code), (ProbeFault::Full, Some(486)));
    kept.close().await;
    client.allocate(&login).await.unwrap().close().await;

    let address = server.relay;
    drop(server);
    for way in [Way::Tcp, Way::Udp] {
        assert_eq!(
            allocate(way, address, PATIENCE).await.unwrap_err().kind,
            ProbeFault::Refused
        );
    }
    assert_eq!(bind(address, PATIENCE).await.unwrap_err().kind, ProbeFault::Refused);
}
