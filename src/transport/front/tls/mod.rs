//! TLS for every listener that speaks it: certificates from files, chosen by name, replaced while connections live.
//!
//! What it is: TLS 1.2 and 1.3 by rustls with aws-lc. What it is not: a client of a certificate authority; whoever renews
//! the files is somebody else, and we notice.
//!
//! Invariants: a bad new file never replaces a good certificate; a connection keeps the certificate it began with; what a
//! listener does not serve it does not agree to by ALPN, so that nobody can talk one protocol's bytes into another's server.
//!
//! RFC 8446, RFC 5246 (TLS), RFC 6066 §3 (SNI), RFC 7301 and RFC 7443 (ALPN).

mod certificates;
mod validity;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use tokio_rustls::TlsAcceptor;

pub use certificates::{CertificateError, CertificateFiles, Certificates};

/// RFC 7443 §4.
const ALPN_TURN: &[u8] = b"stun.turn";
/// RFC 7443 §4.
const ALPN_STUN: &[u8] = b"stun.nat-discovery";
/// RFC 7301 §6. HTTP/2 is not served: the API is small, and what is not there cannot be attacked.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// What a client agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreed {
    Turn,
    Http,
    /// It did not say.
    Nothing,
}

impl Agreed {
    pub(super) fn of(alpn: Option<&[u8]>) -> Self {
        match alpn {
            Some(ALPN_TURN | ALPN_STUN) => Self::Turn,
            Some(ALPN_HTTP) => Self::Http,
            _ => Self::Nothing,
        }
    }
}

/// Acceptors for each kind of listener, with the same certificates.
#[derive(Clone)]
pub(super) struct Acceptors {
    pub(super) turn: TlsAcceptor,
    pub(super) web: TlsAcceptor,
    pub(super) any: TlsAcceptor,
}

impl Acceptors {
    /// # Errors
    /// None with the provider that is built in.
    pub(super) fn new(certificates: &Arc<Certificates>) -> Result<Self, rustls::Error> {
        let acceptor = |protocols: &[&[u8]]| {
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(certificates) as _);
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok::<_, rustls::Error>(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self {
            turn: acceptor(&[ALPN_TURN, ALPN_STUN])?,
            web: acceptor(&[ALPN_HTTP])?,
            any: acceptor(&[ALPN_TURN, ALPN_STUN, ALPN_HTTP])?,
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
