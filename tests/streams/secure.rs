//! A TLS client that looks at what it is shown instead of judging it.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::client::{Client, connect};
use crate::stage::NAME;

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

#[derive(Debug)]
struct Look {
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().unwrap() = Some(own.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What came of a handshake.
pub(crate) struct Handshake {
    pub(crate) stream: Tls,
    pub(crate) shown: CertificateDer<'static>,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Shakes hands, offering these protocols, in a version of TLS or in any.
pub(crate) fn try_handshake(
    server: SocketAddr,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Handshake> {
    shake(connect(server), alpn, versions)
}

fn shake(
    mut socket: TcpStream,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Handshake> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let shown = Arc::default();
    let look = Look {
        provider: Arc::clone(&provider),
        shown: Arc::clone(&shown),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(look))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
    let shown = shown.lock().unwrap().take().unwrap();
    Ok(Handshake {
        stream: StreamOwned::new(tls, socket),
        shown,
        alpn,
    })
}

pub(crate) fn handshake(server: SocketAddr, alpn: &[&str]) -> Handshake {
    try_handshake(server, alpn, rustls::ALL_VERSIONS).unwrap()
}

/// Shakes hands over a connection that is there already.
pub(crate) fn handshake_over(socket: TcpStream, alpn: &[&str]) -> Handshake {
    shake(socket, alpn, rustls::ALL_VERSIONS).unwrap()
}

/// A TURN client over an established connection.
pub(crate) fn client(server: SocketAddr, stream: Tls) -> Client {
    let local = stream.sock.local_addr().unwrap();
    Client::over(Box::new(stream), local, server)
}
