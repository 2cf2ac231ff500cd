//! The hub and the web server: started together, ended in the order that clients notice least.

use super::backplane;
use super::fleet::FleetHandle;
use super::front::Ways;
use super::secrets;
use crate::backplane::Backplane;
use crate::config::Settings;
use crate::events::Feed;
use crate::http::{self, AppState, Issuer, TokenAuthenticator};
use crate::signaling::{Dialect, Sid};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{QuotaGauge, Surface};
use crate::transport::Relay;
use crate::turn;
use crate::ws::HubHandle;
use anyhow::Context as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long closed WebSockets may take to say goodbye, beyond the time that requests had.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often it is looked whether the last allocation has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long Redis may take to hear who has left.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the web listeners serve.
pub(super) struct Services {
    hub: HubHandle,
    backplane: Option<Backplane>,
    fleet: Option<FleetHandle>,
    state: AppState,
    issuer: Issuer,
    metrics: Metrics,
    server: http::Server,
    routes: axum::Router,
}

impl Services {
    pub(super) fn start(settings: &Settings, metrics: &Metrics) -> anyhow::Result<Self> {
        let keys = settings.turn.keys.clone().context("there is no secret to mint with")?;
        let authenticator = TokenAuthenticator::new(&settings.http.auth, metrics).context("[auth]")?;
        let issuer = Issuer::new(settings.http.ice.clone(), keys, metrics);
        issuer.replace_realms(&settings.http.realms, &settings.realm_keys());
        issuer.replace_countries(countries(settings.http.lists.countries.as_deref())?);
        let mut signaling = settings.signaling.clone();
        let mut fleet = settings.fleet.clone();
        if let (Some(bus), Some(fleet)) = (&mut signaling.bus, &mut fleet) {
            bus.node = backplane::node(&*secrets::random()?);
            fleet.node = bus.node;
        }
        let hub = HubHandle::start(
            signaling,
            settings.ws.clone(),
            Arc::new(authenticator.for_surface(Surface::Websocket)),
            Arc::new(issuer.clone()),
            *secrets::random()?,
        );
        metrics.replace_quota(QuotaGauge::SignalingConnections, settings.signaling.connections);
        let (backplane, fleet) = settings
            .backplane
            .as_ref()
            .zip(fleet)
            .map(|(config, fleet)| {
                backplane::start(config, fleet, &hub, settings.turn.revocations.clone(), &issuer, metrics)
            })
            .transpose()?
            .unzip();
        let state = AppState::new(
            settings.http.clone(),
            authenticator,
            issuer.clone(),
            hub.clone(),
            metrics.clone(),
        );
        state.open_keys().context("http.keys_file")?;
        let proxies = state.clone();
        Ok(Self {
            hub,
            issuer,
            backplane,
            fleet,
            metrics: metrics.clone(),
            server: http::Server::new(settings.http.limits, metrics).exempting(move |ip| proxies.is_trusted_proxy(ip)),
            routes: http::router(state.clone()),
            state,
        })
    }

    /// Sessions that were ended by way of other replicas, and who knows how long credentials live.
    pub(super) fn cut_offs(&self) -> (mpsc::Receiver<Sid>, Issuer) {
        (self.hub.cut_offs(), self.issuer.clone())
    }

    /// Who makes lists.
    pub(super) fn issuer(&self) -> Issuer {
        self.issuer.clone()
    }

    /// The relays of other replicas, if there are any.
    pub(super) fn fleet(&self) -> Option<FleetHandle> {
        self.fleet.clone()
    }

    /// What a reload changes.
    pub(super) fn state(&self) -> AppState {
        self.state.clone()
    }

    /// Serves on all listeners until [`Ending::drain`].
    pub(super) fn spawn(
        self,
        web: (Vec<TcpListener>, Vec<(TcpListener, Dialect)>),
        metrics_only: Vec<TcpListener>,
        ways: Ways,
        admin: (Vec<TcpListener>, axum::Router),
        (compat, tunnels): (axum::Router, Option<axum::Router>),
    ) -> Ending {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let metrics_routes = http::metrics_router(self.metrics.clone());
        let with_routes = |listeners: Vec<TcpListener>, routes: axum::Router| {
            listeners.into_iter().map(move |listener| (listener, routes.clone()))
        };
        let until = || {
            let mut stopped = stopped.clone();
            async move {
                // An error means that nobody can ask for a stop any more.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }
        };
        let (admin_only, admin_routes) = admin;
        let routes = if admin_only.is_empty() {
            self.routes.merge(admin_routes.clone())
        } else {
            self.routes
        };
        let routes = routes.merge(compat);
        let routes = match tunnels {
            Some(tunnels) => routes.merge(tunnels),
            None => routes,
        };
        let (web, of_dialects) = web;
        let of_dialects = of_dialects.into_iter().map(|(listener, dialect)| {
            let routes = routes.clone().layer(axum::Extension(http::SpokenHere(dialect)));
            (listener, routes)
        });
        let all = with_routes(web, routes.clone())
            .chain(of_dialects)
            .chain(with_routes(metrics_only, metrics_routes))
            .chain(with_routes(admin_only, admin_routes));
        for (listener, routes) in all {
            tasks.spawn(self.server.clone().serve(listener, routes, until()));
        }
        let from_front = ways.spawn(&mut tasks, until);
        tasks.spawn(self.server.serve(from_front, routes, until()));
        Ending {
            stop,
            tasks,
            hub: self.hub,
            backplane: self.backplane,
            fleet: self.fleet,
        }
    }
}

/// The database of countries, read whole.
pub(super) fn countries(file: Option<&Path>) -> anyhow::Result<Option<Arc<http::Countries>>> {
    let read = |path: &Path| {
        http::Countries::try_open(path).with_context(|| format!("ice.countries_file: {}", path.display()))
    };
    Ok(file.map(read).transpose()?.map(Arc::new))
}

/// What it takes to end.
pub(super) struct Ending {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    hub: HubHandle,
    backplane: Option<Backplane>,
    fleet: Option<FleetHandle>,
}

impl Ending {
    /// Refuses new allocations, sends the clients of the hub elsewhere, and lets what lives go on: allocations for no longer
    /// than `patience`, clients of the hub come back at random within `come_back`, then open requests for no longer than `http.drain_timeout` and a moment.
    ///
    /// Until the allocations are gone the web server answers, `/readyz` with 503: what balances load must see it.
    pub(super) async fn drain(
        mut self,
        relay: &Relay,
        core: &turn::Config,
        patience: Duration,
        come_back: (Duration, Duration),
        feed: &Feed,
    ) {
        relay.reconfigure(&Arc::new(turn::Config {
            draining: true,
            ..core.clone()
        }));
        if let Some(fleet) = &self.fleet {
            fleet.drain();
        }
        self.hub.drain(come_back, None);
        self.hub.close_all();
        if let Some(backplane) = &self.backplane {
            backplane.flush(LAST_WORDS).await;
        }
        outlive(relay, patience).await;
        // A stream of events would have the web server wait for its client.
        feed.close();
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        if timeout(FAREWELL, self.hub.emptied()).await.is_err() {
            tracing::debug!("some WebSockets did not say goodbye");
        }
    }
}

/// Waits until no allocation is left, or `patience` is over.
async fn outlive(relay: &Relay, patience: Duration) {
    let living = relay.allocations();
    if living == 0 || patience.is_zero() {
        return;
    }
    tracing::info!(allocations = living, at_most = ?patience, "waiting for living allocations to end (relay.drain_timeout)");
    let gone = async {
        while relay.allocations() > 0 && relay.is_alive() {
            sleep(LOOK).await;
        }
    };
    if timeout(patience, gone).await.is_err() {
        tracing::warn!(allocations = relay.allocations(), "ending allocations that still live");
    }
}
