//! Whose certificates are believed.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// Those of this machine, read when the first one is to be judged, and those of the operator's own. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trust {
    own: Arc<[CertificateDer<'static>]>,
    connector: Arc<OnceCell<Result<TlsConnector, String>>>,
}

/// Why a file of certificates is none.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM, or not readable.
    #[error("{0}")]
    Unreadable(rustls::pki_types::pem::Error),
    /// Nothing in it.
    #[error("it holds no certificate")]
    Empty,
    /// A certificate that none is.
    #[error("a certificate in it cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl Trust {
    /// As the machine, and the authorities in the PEM file at `path` too.
    ///
    /// # Errors
    /// When the file is not one of certificates.
    pub fn with_authorities(path: &Path) -> Result<Self, TrustError> {
        let certificates = CertificateDer::pem_file_iter(path).map_err(TrustError::Unreadable)?;
        let own = certificates.collect::<Result<Vec<_>, _>>();
        let own = own.map_err(TrustError::Unreadable)?;
        if own.is_empty() {
            return Err(TrustError::Empty);
        }
        let mut store = RootCertStore::empty();
        for certificate in &own {
            store.add(certificate.clone()).map_err(TrustError::Unusable)?;
        }
        Ok(Self {
            own: own.into(),
            connector: Arc::default(),
        })
    }

    /// What shakes hands by it. Reads the machine's certificates the first time.
    pub(crate) async fn connector(&self) -> Result<&TlsConnector, String> {
        let own = Arc::clone(&self.own);
        let read = async move {
            // Reads a directory of files.
            let made = tokio::task::spawn_blocking(move || connector(&own)).await;
            made.unwrap_or_else(|error| Err(format!("TLS: {error}")))
        };
        self.connector.get_or_init(|| read).await.as_ref().map_err(Clone::clone)
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("own", &self.own.len())
            .finish_non_exhaustive()
    }
}

fn connector(own: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(own.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
