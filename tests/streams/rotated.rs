//! A certificate that is swapped under the real program as Kubernetes swaps it, at the defaults: new connections see the new one
//! soon, and those that live notice nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest as _, client_with_config};

use crate::client::Arrival;
use crate::secure::{client, handshake, try_handshake};
use crate::stage::NAME;
use crate::support::SECRET;

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Dropping it ends the process.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for another process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Puts a new certificate behind `..data` in one step, as the kubelet does, and takes the old one away.
fn swap(directory: &Path, version: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let real = directory.join(version);
    fs::create_dir(&real).unwrap();
    fs::write(real.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(real.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let old = fs::read_link(directory.join("..data"));
    symlink(version, directory.join("..data_tmp")).unwrap();
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    if let Ok(old) = old {
        fs::remove_dir_all(directory.join(old)).unwrap();
    }
    made.cert.der().clone()
}

/// TURN over TLS and WSS, once both answer.
fn start(directory: &Path) -> (Program, SocketAddr, SocketAddr) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Another process may take a port between the look and the start: then it is tried again.
    for _ in 0..5 {
        let (tls, https) = (free(), free());
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_meetpoint"))
            .env_clear()
            .current_dir(directory)
            .env("MEETPOINT__HTTP__LISTEN", free().to_string())
            .env("MEETPOINT__RELAY__LISTEN", free().to_string())
            .env("MEETPOINT__RELAY__EXTERNAL_IP", "127.0.0.1")
            .env("MEETPOINT__PEERS__ALLOW", "127.0.0.0/8")
            .env("MEETPOINT__CREDENTIALS__SECRETS", SECRET)
            .env("MEETPOINT__RELAY__LISTEN_TLS", tls.to_string())
            .env("MEETPOINT__HTTP__LISTEN_TLS", https.to_string())
            .env("MEETPOINT__TLS__CERTIFICATES", "tls.crt:tls.key")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut program = Program(child);
        let began = Instant::now();
        while began.elapsed() < PATIENCE && program.0.try_wait().unwrap().is_none() {
            if TcpStream::connect(tls).is_ok() && TcpStream::connect(https).is_ok() {
                return (program, tls, https);
            }
            pause();
        }
    }
    panic!("{}", fs::read_to_string(directory.join("log")).unwrap());
}

#[test]
fn a_certificate_swapped_by_a_symbolic_link_is_served_in_five_seconds_and_no_connection_drops() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let first = swap(path, "..2026_11_21_10_00_00.1");
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), path.join(name)).unwrap();
    }
    let (program, tls, https) = start(path);

    let before = handshake(tls, &[]);
    assert_eq!(before.shown, first);
    let mut living = client(tls, before.stream);
    let relayed = living.allocate();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    living.bind(0x4000, peer.local_addr().unwrap());
    let request = format!("wss://{NAME}/v1/ws").into_client_request().unwrap();
    let (mut socket, _) = client_with_config(request, handshake(https, &["http/1.1"]).stream, None).unwrap();
    socket.send(Message::text("{\"t\":\"hello\",\"v\":[1]}")).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains("welcome"));

    for version in ["..2026_11_21_11_00_00.2", "..2026_11_21_12_00_00.3"] {
        let new = swap(path, version);
        let swapped = Instant::now();
        let mut looks = 0;
        // Each connection meanwhile is served, by the one or the other.
        while [tls, https].map(|at| try_handshake(at, &[], rustls::ALL_VERSIONS).unwrap().shown)
            != [new.clone(), new.clone()]
        {
            looks += 1;
            assert!(swapped.elapsed() < PATIENCE, "after {looks} looks");
            peer.send_to(b"meanwhile", relayed).unwrap();
            assert_eq!(living.receive(), Some(Arrival::Channel(0x4000, b"meanwhile".to_vec())));
            pause();
        }
        // How long that takes is a matter of the default, which the next test holds: clocks of busy machines prove nothing.
        println!("served after {:?}", swapped.elapsed());
        peer.send_to(b"still here", relayed).unwrap();
        assert_eq!(living.receive(), Some(Arrival::Channel(0x4000, b"still here".to_vec())));
        socket
            .send(Message::text(
                "{\"t\":\"join\",\"room\":\"ROOM\"}".replace("ROOM", version.trim_start_matches('.')),
            ))
            .unwrap();
        assert!(socket.read().unwrap().to_text().unwrap().contains("joined"));
    }
    drop(program);
}

#[test]
fn certificates_are_looked_at_often_enough_by_default() {
    let every = meetpoint::config::Config::default().tls.reload_interval;
    assert!(
        every <= Duration::from_secs(3),
        "swapped ones are to be served within 5 s"
    );
}
