//! What a probe needs, and credentials to probe with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meetpoint::credentials::{KeyRing, UnixTime, mint};
use meetpoint::probe::{Client, Fault, Login, Way};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Believes these certificates.
pub(crate) fn believing(certificates: &[CertificateDer<'static>]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

/// A credential of `secret`, good for ten minutes.
pub(crate) fn login(secret: &str) -> Login {
    let ring = KeyRing::from_bytes([secret]).unwrap();
    let now = UnixTime::from_system_time(SystemTime::now());
    let minted = mint(&ring, now, "tester", Duration::from_secs(600)).unwrap();
    Login {
        username: minted.username.clone(),
        credential: minted.password.as_str().to_owned(),
    }
}

/// One probe, as the program would make it.
pub(crate) async fn allocate(way: Way, server: SocketAddr, patience: Duration) -> Result<SocketAddr, Fault> {
    allocate_with(way, server, patience, &login(SECRET), &believing(&[])).await
}

pub(crate) async fn allocate_with(
    way: Way,
    server: SocketAddr,
    patience: Duration,
    login: &Login,
    tls: &TlsConnector,
) -> Result<SocketAddr, Fault> {
    let client = Client {
        way,
        server,
        host: "localhost",
        tls,
        until: Instant::now() + patience,
    };
    let allocation = client.allocate(login).await?;
    let relayed = allocation.relayed();
    allocation.close().await;
    Ok(relayed)
}

pub(crate) async fn bind(server: SocketAddr, patience: Duration) -> Result<SocketAddr, Fault> {
    let client = Client {
        way: Way::Udp,
        server,
        host: "localhost",
        tls: &believing(&[]),
        until: Instant::now() + patience,
    };
    client.binding().await
}
