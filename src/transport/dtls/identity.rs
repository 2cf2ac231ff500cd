//! What a session is made with: the certificate, and what is agreed to.

use std::sync::Arc;

use dimpl::crypto::{CryptoProvider, Dtls12CipherSuite, aws_lc_rs};
use dimpl::{Config, Error};

use super::config::Dtls;
use super::vouch::Vouching;

/// The longest datagram of a handshake: below what every path in use carries. Each message of it is cut to this.
const HANDSHAKE_MTU: usize = 1200;
/// Datagrams that a session may hold until those before them have come: a client's flight is three at most.
const HELD_DATAGRAMS: usize = 8;
/// Datagrams of one flight of ours.
const FLIGHT_DATAGRAMS: usize = 10;

/// How sessions are made, shared by all workers. Making it tests the cryptography, so once.
pub(in crate::transport) struct Crypto {
    /// DTLS 1.2 with ChaCha20-Poly1305, for everybody who offers it: the library chooses the explicit nonces of AES-GCM at
    /// random, which bounds how long one key is good.
    pub(super) chacha: Arc<Config>,
    /// DTLS 1.2 with AES-GCM.
    pub(super) gcm: Arc<Config>,
    pub(super) v13: Arc<Config>,
    pub(super) suites_12: Vec<u16>,
    pub(super) suites_13: Vec<u16>,
    pub(super) groups: Vec<u16>,
}

/// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256` (RFC 7905 §2).
pub(super) const CHACHA20_POLY1305: u16 = 0xcca9;

impl Crypto {
    /// # Errors
    /// None with the provider that is built in.
    pub(in crate::transport) fn new(bounds: &Dtls) -> Result<Self, Error> {
        let builder = || {
            Config::builder()
                .with_crypto_provider(CryptoProvider {
                    hmac_provider: &Vouching,
                    ..aws_lc_rs::default_provider()
                })
                // TURN authenticates by credentials.
                .require_client_certificate(false)
                .use_server_cookie(true)
                .handshake_timeout(bounds.handshake_timeout)
                .mtu(HANDSHAKE_MTU)
                .max_queue_rx(HELD_DATAGRAMS)
                .max_queue_tx(FLIGHT_DATAGRAMS)
        };
        let is_chacha = |suite: &Dtls12CipherSuite| suite.as_u16() == CHACHA20_POLY1305;
        let v13 = builder().build()?;
        let all: Vec<_> = v13.dtls12_cipher_suites().map(|one| one.suite()).collect();
        let (chacha, gcm): (Vec<_>, Vec<_>) = all.iter().copied().partition(is_chacha);
        Ok(Self {
            chacha: Arc::new(builder().dtls12_cipher_suites(&chacha).build()?),
            gcm: Arc::new(builder().dtls12_cipher_suites(&gcm).build()?),
            suites_12: all.iter().map(Dtls12CipherSuite::as_u16).collect(),
            suites_13: v13.dtls13_cipher_suites().map(|one| one.suite().as_u16()).collect(),
            groups: v13.kx_groups().map(|one| one.name().as_u16()).collect(),
            v13: Arc::new(v13),
        })
    }
}

impl std::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypto").finish_non_exhaustive()
    }
}

/// Whether DTLS can sign with this private key (DER): ECDSA with P-256 or P-384. The library panics at any other.
pub(in crate::transport) fn is_usable(key: &[u8]) -> bool {
    aws_lc_rs::default_provider().key_provider.load_private_key(key).is_ok()
}
