//! What a client by DTLS gets, and what becomes of it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use meetpoint::transport::front::tls::{CertificateError, CertificateFiles, Certificates};

use crate::client::Arrival;
use crate::stage::{Link, Speaks, Stage, certificate, client, client_on, files, socket_for, write};

const ALL: [Speaks; 3] = [Speaks::Only12, Speaks::Only13, Speaks::Both];

fn peer(server: SocketAddr) -> (UdpSocket, SocketAddr) {
    let socket = socket_for(server);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn hears(peer: &UdpSocket, expected: &[u8]) {
    let mut buffer = [0; 1 << 16];
    let len = peer.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], expected);
}

#[test]
fn channels_and_indications_pass_both_ways_in_each_version_and_family() {
    let stage = Stage::start(2);
    for server in [Some(stage.dtls), stage.dtls6].into_iter().flatten() {
        for speaks in ALL {
            let mut client = client(server, speaks);
            assert_eq!(client.mapped(), client.local, "{speaks:?}");
            let relayed = client.allocate();
            let (peer, there) = peer(server);
            client.bind(0x4000, there);
            client.send_channel(0x4000, b"by channel, out.");
            hears(&peer, b"by channel, out.");
            peer.send_to(b"by channel, back", relayed).unwrap();
            assert_eq!(
                client.receive(),
                Some(Arrival::Channel(0x4000, b"by channel, back".to_vec()))
            );
            let (other, elsewhere) = self::peer(server);
            client.permit(elsewhere);
            client.send_indication(elsewhere, b"by indication, out..");
            hears(&other, b"by indication, out..");
            other.send_to(b"by indication, back.", relayed).unwrap();
            assert_eq!(
                client.receive(),
                Some(Arrival::Data(elsewhere, b"by indication, back.".to_vec()))
            );
            // As large as a path of 1,500 bytes takes it, and larger than that.
            for len in [1400, 9000] {
                let payload = vec![7; len];
                client.send_channel(0x4000, &payload);
                hears(&peer, &payload);
                peer.send_to(&payload, relayed).unwrap();
                assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, payload)));
            }
        }
    }
    let packets = "meetpoint_relay_payload_packets_total{direction=\"client_to_peer\",transport=\"dtls\"}";
    assert!(stage.running.wait_for(packets, |found| found >= 12) >= 12);
}

#[test]
fn clients_by_dtls_and_by_udp_reach_each_other_on_whichever_worker() {
    let stage = Stage::start(3);
    for _ in 0..4 {
        let (mut one, mut other) = (client(stage.dtls, Speaks::Both), client(stage.dtls, Speaks::Only12));
        let mut plain = crate::support::client::Client::new(stage.running.addr());
        let (at_one, at_other, at_plain) = (one.allocate(), other.allocate(), plain.allocate());
        one.bind(0x4000, at_other);
        other.bind(0x4001, at_one);
        one.bind(0x4002, at_plain);
        plain.bind(0x4003, at_one);
        one.send_channel(0x4000, b"to the other");
        assert_eq!(
            other.receive(),
            Some(Arrival::Channel(0x4001, b"to the other".to_vec()))
        );
        plain.send_channel(0x4003, b"from UDP");
        assert_eq!(one.receive(), Some(Arrival::Channel(0x4002, b"from UDP".to_vec())));
        one.send_channel(0x4002, b"and back");
        assert_eq!(plain.receive(), Some(Arrival::Channel(0x4003, b"and back".to_vec())));
    }
}

#[test]
fn a_client_that_says_goodbye_takes_its_allocation_along() {
    let stage = Stage::start(1);
    let socket = socket_for(stage.dtls);
    let again = socket.try_clone().unwrap();
    let mut client = client_on(socket, stage.dtls, Speaks::Both);
    client.allocate();
    stage.assert_metric("meetpoint_relay_sockets", 1);
    // A client that vanished comes back from the same address, and finds nothing in its way.
    drop(client);
    let mut client = client_on(again.try_clone().unwrap(), stage.dtls, Speaks::Only12);
    stage.assert_metric("meetpoint_relay_dtls_ended_total{reason=\"replaced\"}", 1);
    stage.assert_metric("meetpoint_relay_sockets", 0);
    client.allocate();
    drop(client);
    let mut link = Link::connect(again, stage.dtls, Speaks::Only13);
    stage.assert_metric("meetpoint_relay_dtls_ended_total{reason=\"replaced\"}", 2);
    link.close();
    stage.assert_metric("meetpoint_relay_dtls_ended_total{reason=\"client\"}", 1);
    stage.assert_metric("meetpoint_relay_dtls_sessions", 0);
}

#[test]
fn new_certificates_serve_new_handshakes_and_living_sessions_go_on() {
    let stage = Stage::start(1);
    let first = Link::connect(socket_for(stage.dtls), stage.dtls, Speaks::Both).certificate;
    let mut living = client(stage.dtls, Speaks::Both);
    let expected = write(&stage.files, &certificate());
    assert!(stage.certificates.refresh().unwrap());
    for speaks in ALL {
        let link = Link::connect(socket_for(stage.dtls), stage.dtls, speaks);
        assert_eq!(link.certificate, expected, "{speaks:?}");
        assert_ne!(link.certificate, first);
    }
    living.allocate();
    // A certificate that DTLS cannot use does not come into use.
    write(&stage.files, &rsa());
    assert!(matches!(
        stage.certificates.refresh(),
        Err(CertificateError::NotForDtls { .. })
    ));
    let link = Link::connect(socket_for(stage.dtls), stage.dtls, Speaks::Both);
    assert_eq!(link.certificate, expected);
}

fn rsa() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let signing_key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let params = rcgen::CertificateParams::new(["turn.example.org".to_owned()]).unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    rcgen::CertifiedKey { cert, signing_key }
}

#[test]
fn a_key_that_dtls_cannot_use_is_refused_by_name_and_one_of_its_own_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let main = files(&directory);
    write(&main, &rsa());
    assert!(Certificates::load(vec![main.clone()]).is_ok(), "TLS can use it");
    let error = Certificates::load_for_dtls(vec![main.clone()], None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("key.pem") && error.contains("RSA") && error.contains("ECDSA"),
        "{error}"
    );
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(["turn.example.org".to_owned()]).unwrap();
    let odd = CertificateFiles {
        chain: directory.path().join("odd.pem"),
        key: directory.path().join("odd.key"),
    };
    write(
        &odd,
        &rcgen::CertifiedKey {
            cert: params.self_signed(&ed25519).unwrap(),
            signing_key: ed25519,
        },
    );
    assert!(Certificates::load_for_dtls(vec![main.clone()], Some(odd)).is_err());
    let own = CertificateFiles {
        chain: directory.path().join("own.pem"),
        key: directory.path().join("own.key"),
    };
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let signing_key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(["turn.example.org".to_owned()]).unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        write(&own, &rcgen::CertifiedKey { cert, signing_key });
        assert!(Certificates::load_for_dtls(vec![main.clone()], Some(own.clone())).is_ok());
        // As one of several it is found.
        assert!(Certificates::load_for_dtls(vec![main.clone(), own.clone()], None).is_ok());
    }
}

#[test]
fn whoever_is_connected_is_told_when_the_relay_ends() {
    let stage = Stage::start(2);
    let mut clients: Vec<_> = ALL.iter().map(|speaks| client(stage.dtls, *speaks)).collect();
    for client in &mut clients {
        client.mapped();
    }
    let Stage { running, .. } = stage;
    running.relay.shutdown();
    for client in &mut clients {
        assert_eq!(client.frame(), None, "a close_notify");
    }
}
