//! TLS.

use super::{minutes, seconds};
use crate::config::types::CertificatePair;
use crate::config::value::Between;
use std::time::Duration;

section! {
    /// Certificates for `relay.listen_tls`, `http.listen_tls` and `streams.one_port`.
    Tls as "tls" {
        /// Certificates with their keys, PEM: `"chain.pem:key.pem"`, or a table `{ chain = "…", key = "…" }`.
        ///
        /// A chain begins with the certificate and leads towards its root. With several, the name that a client asks for
        /// (SNI) chooses; the first one serves those that ask for none of them.
        certificates: Vec<CertificatePair> = Vec::new();
        /// A certificate for `relay.listen_dtls` with its key, as above. Without it the first of `tls.certificates` serves whose
        /// key is ECDSA with P-256 or P-384: DTLS is spoken with no other kind.
        ///
        /// The certificate is sent without the rest of its chain, so clients must trust its issuer itself.
        dtls_certificate: Option<CertificatePair> = None;
        /// How often the files are looked at. New ones come into use without touching a connection that lives; ones that
        /// cannot be used are logged and counted, and the old ones stay.
        ///
        /// Renaming over a file and swapping a symbolic link on the way to it (Kubernetes) are noticed as well.
        reload_interval: Duration = seconds(2), Between(seconds(1), minutes(60));
    }
}
