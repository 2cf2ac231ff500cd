//! A relay that takes streams, with TLS and a web server on one port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use meetpoint::credentials::KeyRing;
use meetpoint::http::{self, AppState, Issuer, TokenAuthenticator};
use meetpoint::signaling;
use meetpoint::telemetry::labels::FrontListener;
use meetpoint::telemetry::{Metrics, StreamRefusal};
use meetpoint::transport::front::tls::{CertificateFiles, Certificates};
use meetpoint::transport::front::{self, Front, Link, Rewind, WebConnection};
use meetpoint::transport::{self, Streams};
use meetpoint::turn;
use meetpoint::ws::{self, HubHandle};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::support::{Running, SECRET, config, core_config};

/// The name in the certificate.
pub(crate) const NAME: &str = "turn.example.org";

/// The one origin whose pages may open a WebSocket.
pub(crate) const ORIGIN: &str = "https://app.example.org";

/// The relay and its front.
pub(crate) struct Stage {
    pub(crate) running: Running,
    /// Where TURN is spoken over TCP, one address of each family.
    pub(crate) tcp: SocketAddr,
    pub(crate) tcp6: Option<SocketAddr>,
    pub(crate) tls: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) one_port: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) hub: HubHandle,
    /// Where the web server accepts by itself.
    pub(crate) web: SocketAddr,
    files: CertificateFiles,
    _directory: TempDir,
    pub(crate) runtime: Runtime,
}

impl Stage {
    pub(crate) fn start(workers: usize) -> Self {
        Self::with(workers, Streams::default(), core_config())
    }

    pub(crate) fn bounded(streams: Streams) -> Self {
        Self::with(1, streams, core_config())
    }

    pub(crate) fn with(workers: usize, streams: Streams, core: turn::Config) -> Self {
        let config = transport::Config {
            streams,
            ..config(workers, &["127.0.0.1:0"])
        };
        let running = Running::with(&config, core);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            chain: directory.path().join("chain.pem"),
            key: directory.path().join("key.pem"),
        };
        write_certificate(&files);
        let certificates = Arc::new(Certificates::load(vec![files.clone()]).unwrap());
        let (web, connections) = mpsc::channel(16);
        let front = Front::new(&config.streams, &running.relay, &running.metrics)
            .with_tls(&certificates)
            .unwrap()
            .with_web(web);
        let server = http::Server::new(http::Limits::default(), &running.metrics);
        let client = async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.to_string();
        // The hub's timers live there.
        let entered = runtime.enter();
        let (state, hub) = web_state(&running.metrics);
        drop(entered);
        let router = http::metrics_router(running.metrics.clone())
            .route("/client", axum::routing::get(client))
            .merge(http::tunnel_router(&state, Arc::new(Tunnels(front.clone()))));
        let direct = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let web = direct.local_addr().unwrap();
        runtime.spawn(server.clone().serve(direct, router.clone(), std::future::pending()));
        runtime.spawn(server.serve(Web(connections), router, std::future::pending()));
        let listen = |addr: &str, kind: FrontListener| {
            let listener = runtime.block_on(TcpListener::bind(addr)).ok()?;
            let addr = listener.local_addr().unwrap();
            runtime.spawn(front.clone().serve(listener, kind, std::future::pending()));
            Some(addr)
        };
        Self {
            tcp: listen("127.0.0.1:0", FrontListener::Turn).unwrap(),
            tcp6: listen("[::1]:0", FrontListener::Turn),
            tls: listen("127.0.0.1:0", FrontListener::TurnTls).unwrap(),
            https: listen("127.0.0.1:0", FrontListener::Https).unwrap(),
            one_port: listen("127.0.0.1:0", FrontListener::OnePort).unwrap(),
            http: listen("127.0.0.1:0", FrontListener::Http).unwrap(),
            certificates,
            hub,
            web,
            files,
            _directory: directory,
            running,
            runtime,
        }
    }

    /// Puts a new certificate where the old one is.
    pub(crate) fn replace_certificate(&self) -> CertificateDer<'static> {
        write_certificate(&self.files)
    }

    /// Waits until a metric has this value.
    pub(crate) fn assert_metric(&self, name: &str, value: u64) {
        assert_eq!(self.running.wait_for(name, |found| found == value), value, "{name}");
    }
}

fn write_certificate(files: &CertificateFiles) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// The web server's state; its hub allows the pages of one origin.
fn web_state(metrics: &Metrics) -> (AppState, HubHandle) {
    let config = http::Config {
        cors: http::Cors::Origins(vec![ORIGIN.to_owned()]),
        ..http::Config::default()
    };
    let authenticator = TokenAuthenticator::new(&config.auth, metrics).unwrap();
    let keys = KeyRing::from_bytes([SECRET]).unwrap();
    let issuer = Issuer::new(config.ice.clone(), keys, metrics);
    let hub = HubHandle::start(
        signaling::Config::default(),
        ws::Config {
            origins: Some(vec![ORIGIN.to_owned()]),
            ..ws::Config::default()
        },
        Arc::new(authenticator.clone()),
        Arc::new(issuer.clone()),
        [0; 32],
    );
    let state = AppState::new(config, authenticator, issuer, hub.clone(), metrics.clone());
    (state, hub)
}

/// From the web server to the front, as the process connects them.
struct Tunnels(Front);
struct Place(front::TunnelPlace);

impl ws::TunnelSink for Tunnels {
    fn admit(&self, client: SocketAddr) -> Result<Box<dyn ws::TunnelPlace>, ws::UpgradeError> {
        match self.0.admit_tunnel(client) {
            Ok(place) => Ok(Box::new(Place(place))),
            Err(StreamRefusal::Client) => Err(ws::UpgradeError::PerIp),
            Err(_) => Err(ws::UpgradeError::Full),
        }
    }
}

impl ws::TunnelPlace for Place {
    fn begin(self: Box<Self>, connection: ws::Reclaimed) {
        let stream = match connection.stream.downcast::<TcpStream>() {
            Ok(stream) => (*stream).into(),
            Err(stream) => *stream.downcast::<Rewind<Link>>().unwrap(),
        };
        tokio::spawn(async move { self.0.begin(stream, &connection.early).await });
    }
}

struct Web(mpsc::Receiver<WebConnection>);

impl http::Source for Web {
    type Stream = Rewind<Link>;

    async fn next(&mut self) -> io::Result<(Rewind<Link>, SocketAddr)> {
        let WebConnection { stream, client } = self.0.recv().await.unwrap();
        Ok((stream, client))
    }
}

/// Streams that are not waited for long.
pub(crate) fn impatient() -> Streams {
    Streams {
        idle_timeout: Duration::from_millis(300),
        first_timeout: Duration::from_millis(200),
        ..Streams::default()
    }
}
