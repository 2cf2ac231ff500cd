//! Certificates from files: chosen by SNI, looked at again and again.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use dimpl::DtlsCertificate;
use rustls::SignatureAlgorithm;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};

use super::{provider, validity};
use crate::telemetry::FrontMetrics;
use crate::telemetry::labels::CertificateReload;
use crate::transport::dtls;

/// The longest file that is read: a chain with a dozen certificates is some 30 KiB.
const MAX_FILE: u64 = 1 << 20;

/// Where one certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead to its root.
    pub chain: PathBuf,
    /// PEM: its private key, PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No file is configured.
    #[error("no certificate is configured")]
    None,
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds no PEM of the kind that is needed.
    #[error("{}: {wrong}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        wrong: String,
    },
    /// The key is not the certificate's, or of a kind that TLS does not use.
    #[error("{} and {}: {error}", files.chain.display(), files.key.display())]
    Pair {
        /// The files.
        files: CertificateFiles,
        /// What is wrong.
        error: rustls::Error,
    },
    /// None of them has a key that DTLS can use.
    #[error("{} holds {kind} key: DTLS needs ECDSA with P-256 or P-384", path.display())]
    NotForDtls {
        /// The file of the first key.
        path: PathBuf,
        /// What kind of key that is.
        kind: &'static str,
    },
    /// The new certificate has run out already.
    #[error("{}: this certificate has expired", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
    },
}

/// What a file looked like. Every way of replacing one changes it: writing, renaming over it, and swapping a symbolic link
/// on the way to it, as Kubernetes does with `..data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Follows symbolic links. `None` while there is no such file.
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|found: Metadata| Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// One certificate, ready for use.
struct Loaded {
    key: Arc<CertifiedKey>,
    /// The same for DTLS, if its kind of key is one that DTLS can use: the certificate without its chain.
    for_dtls: Option<DtlsCertificate>,
    /// Unix seconds.
    not_after: Option<i64>,
}

/// The certificates in use. The first one serves whoever names no host or one that is in none of them.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    /// How many of them, from the first on, are for TLS.
    for_tls: usize,
    /// Which of them are for DTLS, one of which must do for it; `None`: it is not spoken.
    for_dtls: Option<Range<usize>>,
    loaded: ArcSwap<Vec<Loaded>>,
    /// What the files looked like when they were last read, well or badly.
    seen: Mutex<Vec<Option<Stamp>>>,
}

impl Certificates {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first that cannot be used. One that has expired is used, with a warning.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, CertificateError> {
        let for_tls = files.len();
        Self::load_as(files, for_tls, None)
    }

    /// Reads all of them, and one for DTLS alone, if there is one. Otherwise the first with a key that DTLS can use, which is
    /// ECDSA with P-256 or P-384, serves there as well.
    ///
    /// # Errors
    /// As [`Certificates::load`], and when there is no such key.
    pub fn load_for_dtls(
        mut files: Vec<CertificateFiles>,
        own: Option<CertificateFiles>,
    ) -> Result<Self, CertificateError> {
        let for_tls = files.len();
        let first = if own.is_some() { for_tls } else { 0 };
        files.extend(own);
        let for_dtls = Some(first..files.len());
        Self::load_as(files, for_tls, for_dtls)
    }

    fn load_as(
        files: Vec<CertificateFiles>,
        for_tls: usize,
        for_dtls: Option<Range<usize>>,
    ) -> Result<Self, CertificateError> {
        if files.is_empty() {
            return Err(CertificateError::None);
        }
        let seen = stamps(&files);
        let loaded = read_all(&files)?;
        suit_dtls(&files, &loaded, for_dtls.as_ref())?;
        for (one, files) in loaded.iter().zip(&files) {
            if one.not_after.is_some_and(|end| end <= unix_now()) {
                tracing::warn!(file = %files.chain.display(), "this certificate has expired");
            }
        }
        Ok(Self {
            files,
            for_tls,
            for_dtls,
            loaded: ArcSwap::from_pointee(loaded),
            seen: Mutex::new(seen),
        })
    }

    /// Reads the files again if they look different from the last time. Whether they are in use now.
    ///
    /// # Errors
    /// What is wrong with the new ones; the old ones stay in use.
    pub fn refresh(&self) -> Result<bool, CertificateError> {
        let now = stamps(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        let new = read_all(&self.files)?;
        suit_dtls(&self.files, &new, self.for_dtls.as_ref())?;
        let is_over = |one: &Loaded| one.not_after.is_some_and(|end| end <= unix_now());
        let old = self.loaded.load();
        for (index, one) in new.iter().enumerate() {
            if is_over(one)
                && old.get(index).is_some_and(|old| !is_over(old))
                && let Some(files) = self.files.get(index)
            {
                return Err(CertificateError::Expired {
                    path: files.chain.clone(),
                });
            }
        }
        self.loaded.store(Arc::new(new));
        Ok(true)
    }

    /// The certificate for a new DTLS session.
    pub(in crate::transport) fn for_dtls(&self) -> Option<DtlsCertificate> {
        let loaded = self.loaded.load();
        let suitable = loaded.get(self.for_dtls.clone()?)?;
        suitable.iter().find_map(|one| one.for_dtls.clone())
    }

    /// Whether there is one for TLS, beside one that is for DTLS alone.
    pub fn serve_tls(&self) -> bool {
        self.for_tls > 0
    }

    /// The first end of a certificate, Unix seconds.
    pub fn first_expiry(&self) -> Option<i64> {
        self.loaded.load().iter().filter_map(|one| one.not_after).min()
    }

    /// Looks at the files every so often, for as long as it is polled.
    pub async fn watch(self: Arc<Self>, every: Duration, metrics: FrontMetrics) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(end) = self.first_expiry() {
                metrics.certificate_expiry(end);
            }
            ticks.tick().await;
            let certificates = Arc::clone(&self);
            // The files may be on a network that hangs.
            match tokio::task::spawn_blocking(move || certificates.refresh()).await {
                Ok(Ok(true)) => {
                    metrics.certificate_reload(CertificateReload::Replaced);
                    tracing::info!("new certificates are in use");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    metrics.certificate_reload(CertificateReload::Failed);
                    tracing::error!(%error, "new certificates cannot be used, the old ones stay");
                }
                Err(error) => tracing::error!(%error, "looking at the certificates failed"),
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded.load();
        let loaded = loaded.get(..self.for_tls).unwrap_or_default();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| loaded.iter().find(|one| is_for(&one.key, &name)));
        named.or(loaded.first()).map(|one| Arc::clone(&one.key))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|own| ParsedCertificate::try_from(own).ok());
    parsed.is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

fn stamps(files: &[CertificateFiles]) -> Vec<Option<Stamp>> {
    files
        .iter()
        .flat_map(|files| [Stamp::of(&files.chain), Stamp::of(&files.key)])
        .collect()
}

fn read_all(files: &[CertificateFiles]) -> Result<Vec<Loaded>, CertificateError> {
    files.iter().map(read_pair).collect()
}

/// Whether one of the candidates does for DTLS.
fn suit_dtls(
    files: &[CertificateFiles],
    loaded: &[Loaded],
    candidates: Option<&Range<usize>>,
) -> Result<(), CertificateError> {
    let Some(candidates) = candidates else { return Ok(()) };
    let loaded = loaded.get(candidates.clone()).unwrap_or_default();
    if loaded.iter().any(|one| one.for_dtls.is_some()) {
        return Ok(());
    }
    let (Some(files), Some(first)) = (files.get(candidates.start), loaded.first()) else {
        return Err(CertificateError::None);
    };
    Err(CertificateError::NotForDtls {
        path: files.key.clone(),
        kind: match first.key.key.algorithm() {
            SignatureAlgorithm::RSA => "an RSA",
            SignatureAlgorithm::ECDSA => "an ECDSA (P-521)",
            SignatureAlgorithm::ED25519 => "an Ed25519",
            _ => "another",
        },
    })
}

fn read_pair(files: &CertificateFiles) -> Result<Loaded, CertificateError> {
    let wrong = |path: &Path, wrong: String| CertificateError::Pem {
        path: path.to_owned(),
        wrong,
    };
    let text = read(&files.chain)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&files.chain, error.to_string()))?;
    let Some(own) = chain.first() else {
        return Err(wrong(&files.chain, "there is no PEM certificate in it".to_owned()));
    };
    let not_after = validity::not_after(own);
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|error| wrong(&files.key, format!("there is no usable PEM private key in it: {error}")))?;
    let for_dtls = dtls::is_usable(key.secret_der()).then(|| DtlsCertificate {
        certificate: own.to_vec(),
        private_key: key.secret_der().to_vec(),
    });
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| CertificateError::Pair {
        files: files.clone(),
        error,
    })?;
    Ok(Loaded {
        key: Arc::new(key),
        for_dtls,
        not_after,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read as _;
    let failed = |error| CertificateError::Read {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(directory: &Path, name: &str) -> CertificateFiles {
        CertificateFiles {
            chain: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        }
    }

    fn write(files: &CertificateFiles, (chain, key): &(String, String)) {
        std::fs::write(&files.chain, chain).unwrap();
        std::fs::write(&files.key, key).unwrap();
    }

    fn first(certificates: &Certificates) -> CertificateDer<'static> {
        certificates.loaded.load()[0].key.cert[0].clone()
    }

    #[test]
    fn new_files_come_into_use_and_bad_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path(), "a");
        write(&files, &pair(&["one.example"]));
        let certificates = Certificates::load(vec![files.clone()]).unwrap();
        let one = first(&certificates);
        assert!(!certificates.refresh().unwrap(), "nothing has changed");

        // A key that is not the certificate's: as in the middle of a replacement that is not atomic.
        let two = pair(&["two.example"]);
        std::fs::write(&files.chain, &two.0).unwrap();
        assert!(matches!(certificates.refresh(), Err(CertificateError::Pair { .. })));
        assert_eq!(first(&certificates), one);
        assert!(
            !certificates.refresh().unwrap(),
            "the same bad file is not reported again"
        );
        std::fs::write(&files.key, &two.1).unwrap();
        assert!(certificates.refresh().unwrap());
        let now = first(&certificates);
        assert_ne!(now, one);

        for bad in ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            std::fs::write(&files.chain, bad).unwrap();
            assert!(
                matches!(certificates.refresh(), Err(CertificateError::Pem { .. })),
                "{bad}"
            );
        }
        std::fs::remove_file(&files.chain).unwrap();
        assert!(matches!(certificates.refresh(), Err(CertificateError::Read { .. })));
        assert_eq!(first(&certificates), now);
    }

    #[test]
    fn a_swapped_symbolic_link_is_a_new_file() {
        // What Kubernetes does: cert.pem -> ..data/cert.pem, ..data -> a directory per version.
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, name) in [("..1", "one.example"), ("..2", "two.example")] {
            std::fs::create_dir(at(version)).unwrap();
            write(&files(&at(version), "tls"), &pair(&[name]));
        }
        std::os::unix::fs::symlink("..1", at("..data")).unwrap();
        let linked = files(directory.path(), "tls");
        std::os::unix::fs::symlink("..data/tls.pem", &linked.chain).unwrap();
        std::os::unix::fs::symlink("..data/tls.key", &linked.key).unwrap();
        let certificates = Certificates::load(vec![linked]).unwrap();
        let one = first(&certificates);
        std::os::unix::fs::symlink("..2", at("..data.new")).unwrap();
        std::fs::rename(at("..data.new"), at("..data")).unwrap();
        assert!(certificates.refresh().unwrap());
        assert_ne!(first(&certificates), one);
    }

    #[test]
    fn a_certificate_that_has_expired_does_not_replace_one_that_has_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path(), "a");
        write(&files, &pair(&["one.example"]));
        let certificates = Certificates::load(vec![files.clone()]).unwrap();
        let mut params = rcgen::CertificateParams::new(["one.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let old = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        write(&files, &old);
        assert!(matches!(certificates.refresh(), Err(CertificateError::Expired { .. })));
        // Where there is nothing better it is used: some clients do not look.
        assert!(Certificates::load(vec![files]).unwrap().first_expiry().unwrap() < unix_now());
    }

    #[test]
    fn names_choose_among_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (files(directory.path(), "a"), files(directory.path(), "b"));
        write(&a, &pair(&["a.example"]));
        write(&b, &pair(&["b.example", "*.b.example"]));
        let certificates = Certificates::load(vec![a, b]).unwrap();
        let loaded = certificates.loaded.load();
        let chosen = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            loaded.iter().position(|one| is_for(&one.key, &name))
        };
        assert_eq!(chosen("a.example"), Some(0));
        assert_eq!(chosen("b.example"), Some(1));
        assert_eq!(chosen("turn.b.example"), Some(1));
        assert_eq!(chosen("c.example"), None);
    }

    #[test]
    fn without_files_there_is_nothing_to_load() {
        assert!(matches!(Certificates::load(Vec::new()), Err(CertificateError::None)));
    }
}
