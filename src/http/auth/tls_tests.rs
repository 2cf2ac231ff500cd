//! Whom the fetch of a key set believes, with an authority of the operator's own: a real server, good and bad certificates.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::config::JwksSource;
use super::*;
use crate::outbound::Url;
use crate::telemetry::labels::JwksFetch;

const VECTORS: &str = include_str!("../../../tests/vectors/jwt/tokens.json");

/// An authority, and the file that names it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let file = std::env::temp_dir().join(format!("meetpoint-{}-{name}.pem", std::process::id()));
        std::fs::write(&file, pem).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Serves the key set to everybody, under a certificate for `name` that is good until `year`.
async fn serve(authority: &Authority, name: &str, year: i32) -> Url {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let set = vectors["jwks"].to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not believe the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Url::parse(&format!("https://localhost:{port}/jwks.json")).unwrap()
}

/// What becomes of a good token, and whether the fetch was counted as one.
async fn judged(url: Url, authority: Option<&Authority>) -> (Result<(), AuthError>, JwksFetch) {
    let source = JwksSource {
        authorities: authority.map(|authority| authority.file.clone()),
        ..JwksSource::new(url)
    };
    let auth = Auth::Jwt(Box::new(Jwt {
        jwks: Some(source),
        ..Jwt::new(Vec::new())
    }));
    let metrics = Metrics::new().unwrap();
    let authenticator = TokenAuthenticator::new(&auth, &metrics).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let applicant = Applicant {
        token: vectors["good"]["ES256"].as_str(),
        ..Applicant::default()
    };
    let result = authenticator.identify(applicant).await.map(|_| ());
    let failed = metrics.auth().jwks_fetched(JwksFetch::Failed);
    let fetched = metrics.auth().jwks_fetched(JwksFetch::Fetched);
    assert!(failed > 0 || fetched > 0);
    let counted = if failed > 0 {
        JwksFetch::Failed
    } else {
        JwksFetch::Fetched
    };
    (result, counted)
}

#[tokio::test]
async fn a_set_is_taken_from_whom_the_operators_authority_vouches_for() {
    let ours = Authority::new("vouches");
    let url = serve(&ours, "localhost", 2199).await;
    assert_eq!(judged(url, Some(&ours)).await, (Ok(()), JwksFetch::Fetched));
}

#[tokio::test]
async fn a_set_is_taken_from_nobody_else_and_that_is_counted() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let other_name = serve(&ours, "elsewhere.example.org", 2199).await;
    let over = serve(&ours, "localhost", 2020).await;
    let stranger = serve(&theirs, "localhost", 2199).await;
    let private = serve(&ours, "localhost", 2199).await;
    for (url, authority) in [
        (other_name, Some(&ours)),
        (over, Some(&ours)),
        (stranger, Some(&ours)),
        (private, None),
    ] {
        let (result, counted) = judged(url.clone(), authority).await;
        assert!(matches!(result, Err(AuthError::Unavailable(_))), "{url}: {result:?}");
        assert_eq!(counted, JwksFetch::Failed, "{url}");
    }
}
