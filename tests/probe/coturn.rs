//! coturn (`turnserver`), as a server of other people.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meetpoint::probe::Way;
use meetpoint::telemetry::labels::ProbeFault;
use tempfile::TempDir;

use crate::program::{PATIENCE, free_port, pause};
use crate::stage::{SECRET, allocate, allocate_with, believing, bind, login};

/// A `turnserver --use-auth-secret` on loopback. Dropping it kills it, by its pid.
pub(crate) struct Coturn {
    child: Child,
    pub(crate) address: SocketAddr,
    _home: TempDir,
}

impl Coturn {
    pub(crate) fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let home = TempDir::new().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let child = Command::new("turnserver")
            .args(["-n", "--use-auth-secret", "--realm=coturn", "--relay-ip=127.0.0.1"])
            .args([
                "--allow-loopback-peers",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--no-stdout-log",
            ])
            .arg("--relay-threads=1")
            .arg(format!("--listening-ip={}", address.ip()))
            .arg(format!("--listening-port={}", address.port()))
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--log-file={}", path("log")))
            .arg(format!("--pidfile={}", path("pid")))
            .arg(format!("--userdb={}", path("db")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver (apt: coturn)");
        let mut coturn = Self {
            child,
            address,
            _home: home,
        };
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            let ended = coturn.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "turnserver did not start");
            pause();
        }
        coturn
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn coturn_answers_probes_and_turns_a_wrong_secret_away() {
    let coturn = Coturn::start();
    for way in [Way::Udp, Way::Tcp] {
        let relayed = allocate(way, coturn.address, PATIENCE).await;
        assert!(
            relayed.as_ref().is_ok_and(|relayed| relayed.ip().is_loopback()),
            "{way:?} {relayed:?}"
        );
        let wrong = login("another secret of other people");
        let wrong = allocate_with(way, coturn.address, PATIENCE, &wrong, &believing(&[])).await;
        assert_eq!(wrong.unwrap_err().kind, ProbeFault::Unauthorized, "{way:?}");
    }
    assert!(bind(coturn.address, PATIENCE).await.unwrap().ip().is_loopback());
    let address = coturn.address;
    drop(coturn);
    let gone = allocate(Way::Udp, address, Duration::from_secs(5)).await;
    assert_eq!(gone.unwrap_err().kind, ProbeFault::Refused);
}
