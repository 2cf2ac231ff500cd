//! The listeners for streams: what is opened, and who serves what comes in.

use super::bind;
use super::inherited::Inherited;
use super::tunnel::Tunnels;
use crate::config::{Config, RelayListeners};
use crate::http;
use crate::telemetry::Metrics;
use crate::telemetry::labels::FrontListener;
use crate::transport::front::tls::{CertificateError, Certificates};
use crate::transport::front::{Front, Link, Rewind, WebConnection};
use crate::transport::{Relay, Streams};
use crate::ws::TunnelSink;
use anyhow::Context as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connections that may wait for the web server.
const WAITING: usize = 64;

/// Every listener for streams that is no plain one of the web server.
pub(super) struct Listeners {
    open: Vec<(FrontListener, TcpListener)>,
}

impl Listeners {
    /// Opens them, where the relay took `udp` for UDP. `web` is who listens for the web server: where proxies begin with a
    /// header of their own, it is taken over, since only the front reads those.
    pub(super) fn open(
        config: &Config,
        udp: &[SocketAddr],
        web: &mut Vec<TcpListener>,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Self> {
        let rest = [
            (FrontListener::TurnTls, &config.relay.listen_tls, "relay.listen_tls"),
            (FrontListener::Https, &config.http.listen_tls, "http.listen_tls"),
            (FrontListener::OnePort, &config.streams.one_port, "streams.one_port"),
        ];
        let mut open: Vec<_> = turn(config, udp, inherited)?
            .into_iter()
            .map(|one| (FrontListener::Turn, one))
            .collect();
        for (kind, addresses, key) in rest {
            let opened = bind::listen(inherited, addresses, key)?;
            open.extend(opened.into_iter().map(|one| (kind, one)));
        }
        if !config.streams.proxy_protocol_from.is_empty() {
            open.extend(web.drain(..).map(|one| (FrontListener::Http, one)));
        }
        Ok(Self { open })
    }

    /// The addresses that were taken for a kind.
    pub(super) fn addresses(&self, kind: FrontListener) -> Vec<SocketAddr> {
        let of_kind = self.open.iter().filter(|(found, _)| *found == kind);
        of_kind.filter_map(|(_, listener)| listener.local_addr().ok()).collect()
    }

    /// What TURN clients can come to.
    pub(super) fn of_relay(&self, relay: &Relay) -> RelayListeners {
        RelayListeners {
            udp: relay.local_addrs().to_vec(),
            tcp: self.addresses(FrontListener::Turn),
            tls: self.addresses(FrontListener::TurnTls),
            dtls: relay.dtls_addrs().to_vec(),
            one_port: self.addresses(FrontListener::OnePort),
        }
    }
}

/// Listens for TURN over TCP.
fn turn(config: &Config, udp: &[SocketAddr], inherited: &mut Inherited) -> anyhow::Result<Vec<TcpListener>> {
    let key = "relay.listen_tcp";
    let wanted = config.relay_tcp(udp);
    let chosen_by_kernel = config.relay.listen.iter().any(|address| address.port() == 0);
    match bind::listen(inherited, &wanted, key) {
        // Whoever left the UDP port to the kernel has not asked for that number.
        Err(_) if chosen_by_kernel => {
            let any: Vec<_> = wanted.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
            bind::listen(inherited, &any, key)
        }
        result => result,
    }
}

/// The certificates, read for the first time; `None` if none is configured.
pub(super) fn certificates(config: &Config) -> anyhow::Result<Option<Arc<Certificates>>> {
    let (files, dtls_alone) = (config.certificates(), config.dtls_certificate());
    if files.is_empty() && dtls_alone.is_none() {
        return Ok(None);
    }
    let loaded = if config.relay.listen_dtls.is_empty() {
        Certificates::load(files)
    } else {
        Certificates::load_for_dtls(files, dtls_alone)
    };
    let loaded = loaded.map_err(|error| {
        let fix = match error {
            CertificateError::NotForDtls { .. } => {
                "name an ECDSA certificate and its key in `tls.dtls_certificate` (`openssl ecparam -genkey -name prime256v1` \
                 makes such a key), or speak no DTLS: remove `relay.listen_dtls`"
            }
            _ => "`tls.certificates` names PEM files, the chain and then its key, that this user can read",
        };
        anyhow::anyhow!("{error}\n    fix: {fix}")
    })?;
    Ok(Some(Arc::new(loaded)))
}

/// What serves the listeners, and where the web server takes its share from.
pub(super) struct Ways {
    front: Front,
    listeners: Listeners,
    web: Web,
}

impl Ways {
    pub(super) fn new(
        bounds: &Streams,
        relay: &Relay,
        metrics: &Metrics,
        certificates: Option<&Arc<Certificates>>,
        listeners: Listeners,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut front = Front::new(bounds, relay, metrics).with_web(sender);
        if let Some(certificates) = certificates.filter(|one| one.serve_tls()) {
            front = front.with_tls(certificates).context("cannot speak TLS")?;
        }
        Ok(Self {
            front,
            listeners,
            web: Web(receiver),
        })
    }

    /// Where WebSockets with TURN inside go.
    pub(super) fn tunnels(&self) -> Arc<dyn TunnelSink> {
        Arc::new(Tunnels(self.front.clone()))
    }

    /// Serves every listener in a task until `until`. The web server's source.
    pub(super) fn spawn<U>(self, tasks: &mut JoinSet<()>, until: impl Fn() -> U) -> Web
    where
        U: Future<Output = ()> + Send + 'static,
    {
        for (kind, listener) in self.listeners.open {
            tasks.spawn(self.front.clone().serve(listener, kind, until()));
        }
        self.web
    }
}

/// HTTP connections from the front.
pub(super) struct Web(mpsc::Receiver<WebConnection>);

impl http::Source for Web {
    type Stream = Rewind<Link>;

    async fn next(&mut self) -> io::Result<(Rewind<Link>, SocketAddr)> {
        match self.0.recv().await {
            Some(WebConnection { stream, client }) => Ok((stream, client)),
            // The front has ended, and the web server is about to.
            None => std::future::pending().await,
        }
    }
}
