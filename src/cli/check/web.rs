//! A connection to the web server under test, plain or TLS, and one GET over it.

use super::report::Failure;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The longest answer that is read.
const MAX_BODY: usize = 1 << 20;

/// The server under test, from the URL that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) secure: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins with a slash or is empty; never ends with one.
    pub(super) prefix: String,
}

impl Site {
    /// `http://host:port/prefix`, or a bare `host[:port]`, which is `http` on a name of this machine and `https`
    /// elsewhere.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            let local = ["localhost", "127.", "[::1]"].iter().any(|name| text.starts_with(name));
            format!("{}://{text}", if local { "http" } else { "https" })
        };
        let uri: Uri = with_scheme.parse().map_err(|_| format!("`{text}` is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(format!("`{text}` is neither http:// nor https://")),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| format!("`{text}` has no host"))?;
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The value of the Host field, and of the origin without its scheme.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// `scheme://authority/prefix` and a path behind it.
    pub(super) fn url(&self, scheme: &str, path: &str) -> String {
        format!(
            "{scheme}{}://{}{}{path}",
            if self.secure { "s" } else { "" },
            self.authority(),
            self.prefix
        )
    }
}

/// A byte stream, whatever is below.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What certificates are believed.
pub(super) struct Trust(Arc<rustls::ClientConfig>);

impl Trust {
    /// The certificates of this machine, and those of one more file.
    pub(super) fn new(extra: Option<&Path>) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = extra {
            let broken = |error| format!("--ca {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(broken)? {
                let certificate = certificate.map_err(broken)?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("--ca {}: {error}", path.display()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl Trust {
    /// TLS for TURN, which says so (RFC 7443).
    pub(super) fn for_turn(&self) -> tokio_rustls::TlsConnector {
        let mut config = (*self.0).clone();
        config.alpn_protocols = vec![b"stun.turn".to_vec()];
        Arc::new(config).into()
    }
}

/// Connects, with TLS where the URL says so.
pub(super) async fn connect(site: &Site, trust: &Trust) -> Result<Box<dyn Stream>, Failure> {
    let stream = TcpStream::connect((site.host.as_str(), site.port))
        .await
        .map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => {
                    "nothing listens there: is the server running, and is this the port of http.listen?"
                }
                std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
                    "there is no route to that address: check the name and this machine's network"
                }
                std::io::ErrorKind::TimedOut => "a firewall drops the packets: open the TCP port of http.listen",
                _ => "check the host name and the port",
            };
            Failure::new(format!("TCP: {error}"), hint)
        })?;
    // A probe is one small write; waiting for more only adds to the time it reports.
    let _ = stream.set_nodelay(true);
    if !site.secure {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(site.host.clone()).map_err(|_| {
        Failure::new(
            format!("`{}` is no name for TLS", site.host),
            "use the name in the certificate",
        )
    })?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&trust.0));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        Failure::new(
            format!("TLS: {error}"),
            "check that the port speaks TLS and that the certificate is whole, current and for this name \
             (--ca FILE trusts a private one)",
        )
    })?;
    Ok(Box::new(stream))
}

/// The answer to `GET prefix/path`.
pub(super) async fn get(
    site: &Site,
    trust: &Trust,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Bytes), Failure> {
    let stream = connect(site, trust).await?;
    let strange = |error: hyper::Error| {
        Failure::new(
            format!("HTTP: {error}"),
            "what listens there is not a meetpoint web server: check the port",
        )
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(strange)?;
    // Ends with the sender, at the latest when this process does.
    tokio::spawn(connection);
    let mut request = Request::get(format!("{}{path}", site.prefix))
        .header(header::HOST, site.authority())
        .header(
            header::USER_AGENT,
            concat!("meetpoint-check/", env!("CARGO_PKG_VERSION")),
        );
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::new(format!("HTTP: {error}"), "check the URL and the token"))?;
    let response = sender.send_request(request).await.map_err(strange)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| Failure::new(format!("HTTP: {error}"), "a proxy in between may cut the answer"))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_leave_out_what_is_usual() {
        let site = |text: &str| Site::parse(text).unwrap();
        assert_eq!(
            site("http://localhost:8000/").url("http", "/api"),
            "http://localhost:8000/api"
        );
        assert_eq!(
            site("localhost:8000").url("ws", "/signaling"),
            "ws://localhost:8000/signaling"
        );
        assert_eq!(
            site("meet.example.org").url("http", "/api"),
            "https://meet.example.org/api"
        );
        assert_eq!(
            site("https://a.example/meet/").url("ws", "/x"),
            "wss://a.example/meet/x"
        );
        assert_eq!(site("http://[::1]:8000").host, "::1");
        assert_eq!(site("http://[::1]:8000").authority(), "[::1]:8000");
        for wrong in ["ftp://a.example", "http://", "a b"] {
            assert!(Site::parse(wrong).is_err(), "{wrong}");
        }
    }
}
