//! From nothing to ready, and back.

use crate::program::{Server, finished, free_port, get, meetpoint, pause};
use futures_util::{SinkExt, StreamExt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};

#[test]
fn without_configuration_it_says_what_is_open_and_ends_on_sigterm() {
    let mut server = Server::start(&[]);
    let log = server.log();
    let url = format!("http://localhost:{}/", server.http.port());
    for part in [
        "meetpoint is running",
        url.as_str(),
        "credentials.secrets",
        "auth.jwt_secrets",
        "http.cors_origins",
    ] {
        assert!(log.contains(part), "{part} is missing in\n{log}");
    }
    let page = get(server.http, "/").unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{}",
        &page[..page.len().min(300)]
    );
    server.signal("TERM");
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert!(server.log().contains("\"stopped\""), "{}", server.log());
}

#[test]
fn sigint_ends_it_as_well() {
    let mut server = Server::start(&[]);
    server.signal("INT");
    assert_eq!(server.wait(), 0);
}

/// A request whose body never comes, which a stop waits for.
fn hanging_request(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    write!(
        stream,
        "POST /api/ice-servers HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
    )
    .unwrap();
    stream
}

#[test]
fn a_stop_waits_for_open_requests_and_a_second_signal_does_not() {
    let patient = ["--http-request-timeout", "60s", "--http-drain-timeout", "60s"];
    let mut server = Server::start(&patient);
    let _open = hanging_request(server.http);
    // Until the request has been read there is nothing to wait for.
    let metrics = || get(server.http, "/metrics").unwrap();
    let start = Instant::now();
    while !metrics().contains("meetpoint_http_connections 2") && start.elapsed() < Duration::from_secs(5) {
        pause();
    }
    server.signal("TERM");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(server.has_ended(), None, "it did not wait\n{}", server.log());
        pause();
    }
    server.signal("TERM");
    let start = Instant::now();
    assert_eq!(server.wait(), 0);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(server.log().contains("stopped at once"), "{}", server.log());
}

#[test]
fn a_stop_has_an_end_even_if_a_request_has_none() {
    let mut server = Server::start(&["--http-request-timeout", "60s", "--http-drain-timeout", "500ms"]);
    let _open = hanging_request(server.http);
    server.signal("TERM");
    assert_eq!(server.wait(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_websockets_to_come_back() {
    let mut server = Server::start(&[]);
    let mut request = format!("ws://{}/signaling", server.http).into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static("meetpoint.v1.json"));
    let (mut socket, _) =
        tokio_tungstenite::client_async(request, tokio::net::TcpStream::connect(server.http).await.unwrap())
            .await
            .unwrap();
    socket.send(Message::text(r#"{"t":"hello","v":[1]}"#)).await.unwrap();
    let welcome = socket.next().await.unwrap().unwrap();
    assert!(welcome.to_text().unwrap().contains("\"welcome\""), "{welcome:?}");
    server.signal("TERM");
    let closed = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(closed.await.unwrap(), 4003);
    assert_eq!(tokio::task::spawn_blocking(move || server.wait()).await.unwrap(), 0);
}

#[test]
fn a_tcp_port_that_is_taken_names_the_key_and_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let relay = format!("127.0.0.1:{}", free_port());
    let directory = TempDir::new().unwrap();
    let output = meetpoint(&directory)
        .args(["--http-listen", &address, "--relay-listen", &relay])
        .output()
        .unwrap();
    let (code, _, err) = finished(output);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains(&format!("meetpoint cannot start: cannot listen on {address} (TCP)")),
        "{err}"
    );
    assert!(err.contains("`http.listen` or --http-listen"), "{err}");
}

#[test]
fn a_udp_port_that_is_taken_names_the_address() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let http = format!("127.0.0.1:{}", free_port());
    let directory = TempDir::new().unwrap();
    let output = meetpoint(&directory)
        .args(["--http-listen", &http, "--relay-listen", &address])
        .output()
        .unwrap();
    let (code, _, err) = finished(output);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains(&format!("cannot listen on {address} (UDP)")) && err.contains("relay.listen"),
        "{err}"
    );
}

#[test]
fn dtls_with_an_rsa_key_is_refused_by_the_name_of_the_file_and_the_key() {
    let directory = TempDir::new().unwrap();
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let params = rcgen::CertificateParams::new(["turn.example.org".to_owned()]).unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("chain.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(at("rsa.key"), key.serialize_pem()).unwrap();
    let (http, relay, dtls) = (free_port(), free_port(), free_port());
    let arguments = [
        "serve".to_owned(),
        format!("--http-listen=127.0.0.1:{http}"),
        format!("--relay-listen=127.0.0.1:{relay}"),
        format!("--relay-listen-dtls=127.0.0.1:{dtls}"),
        "--tls-certificates=chain.pem:rsa.key".to_owned(),
    ];
    let (code, _, log) = finished(meetpoint(&directory).args(arguments).output().unwrap());
    assert_ne!(code, 0);
    for part in [
        "rsa.key holds an RSA key",
        "`tls.dtls_certificate`",
        "`relay.listen_dtls`",
    ] {
        assert!(log.contains(part), "{part} is missing in\n{log}");
    }
}

#[test]
fn metrics_can_have_a_listener_of_their_own() {
    let own = format!("127.0.0.1:{}", free_port());
    let server = Server::start(&["--metrics-listen", &own]);
    assert!(get(server.http, "/metrics").unwrap().starts_with("HTTP/1.1 404"));
    let metrics = get(own.parse().unwrap(), "/metrics").unwrap();
    assert!(metrics.contains("meetpoint_build_info"), "{metrics}");
    let off = Server::start(&["--metrics-enabled", "false"]);
    assert!(get(off.http, "/metrics").unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn half_open_connections_disturb_nobody() {
    let server = Server::start(&["--http-header-timeout", "1s"]);
    let mut silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    for (at, stream) in silent.iter_mut().enumerate().filter(|(at, _)| at % 2 == 0) {
        write!(stream, "GET /{at} HT").unwrap();
    }
    assert!(get(server.http, "/api/health").unwrap().starts_with("HTTP/1.1 200"));
    // Each is closed when its time for a header is over.
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).unwrap();
    }
}
