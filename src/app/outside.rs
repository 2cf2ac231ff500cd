//! Asks STUN servers which address this machine has for the rest of the world (`relay.external_ip_from`), once, at the start.
//!
//! Behind 1:1 NAT nothing on the machine knows it: a cloud's own way of telling is another one in each cloud, and in Kubernetes
//! the API names the node's address inside of the cluster.

use crate::config::detect::Machine;
use crate::probe::{Client, Fault, Place, Resolver, Way};
use anyhow::{Context as _, bail};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// How long one server may take, its name included.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often all of them are asked: a machine that has just started may have no network yet.
const ROUNDS: usize = 3;

/// The addresses that the first servers to answer saw, one of each family of the default routes.
///
/// # Errors
/// When none tells the IPv4 address, or with IPv6 alone none that. IPv6 beside IPv4 may have nobody to ask, and is rarely behind
/// NAT: its own address is taken then.
pub(super) fn ask(servers: &[String], machine: &Machine) -> anyhow::Result<Vec<IpAddr>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot ask for the external address")?;
    let asking = Asking {
        servers,
        resolver: Resolver::new(4),
        tls: no_tls()?,
    };
    let found = runtime.block_on(asking.all(machine));
    // A resolver that hangs holds nobody up.
    runtime.shutdown_background();
    found
}

/// The client of probes wants to know whose certificates to believe. It is never told to use TLS: the key takes `stun:` alone.
fn no_tls() -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let nobody = rustls::RootCertStore::empty();
    Ok(Arc::new(config.with_root_certificates(nobody).with_no_client_auth()).into())
}

struct Asking<'a> {
    servers: &'a [String],
    resolver: Resolver,
    tls: TlsConnector,
}

impl Asking<'_> {
    async fn all(&self, machine: &Machine) -> anyhow::Result<Vec<IpAddr>> {
        let mut routes = machine.default_routes();
        if routes.is_empty() {
            routes.push(Ipv4Addr::LOCALHOST.into());
        }
        let mut found = Vec::new();
        for (at, route) in routes.iter().enumerate() {
            match self.family(route.is_ipv4()).await {
                Ok(seen) => {
                    tracing::info!(address = %seen, own = %route, "this is how others see this machine (relay.external_ip_from)");
                    found.push(seen);
                }
                Err(faults) if at == 0 => bail!(
                    "no STUN server tells the external address: {faults}\n    fix: check relay.external_ip_from, and that UDP may \
                     leave this machine; or write the address with relay.external_ip"
                ),
                Err(_) => tracing::warn!(own = %route, "no STUN server tells this address: it is taken as it is"),
            }
        }
        Ok(found)
    }

    /// What the first server to answer saw, or what was wrong with each.
    async fn family(&self, v4: bool) -> Result<IpAddr, String> {
        let mut faults = Vec::new();
        for _ in 0..ROUNDS {
            faults.clear();
            for url in self.servers {
                let Some(place) = Place::of_url(url) else { continue };
                match timeout(PATIENCE, self.one(&place, v4)).await {
                    Ok(Ok(Some(seen))) => return Ok(seen),
                    Ok(Ok(None)) => faults.push(format!("{url} has no address of this family")),
                    Ok(Err(fault)) => faults.push(format!("{url}: {}", fault.text)),
                    Err(_) => faults.push(format!("{url}: no answer in {} s", PATIENCE.as_secs())),
                }
            }
        }
        Err(faults.join("; "))
    }

    async fn one(&self, place: &Place, v4: bool) -> Result<Option<IpAddr>, Fault> {
        let addresses = self.resolver.addresses(&place.host, place.port).await?;
        let Some(&server) = addresses.iter().find(|address| address.is_ipv4() == v4) else {
            return Ok(None);
        };
        let client = Client {
            way: Way::Udp,
            server,
            host: &place.host,
            tls: &self.tls,
            until: Instant::now() + PATIENCE,
        };
        Ok(Some(client.binding().await?.ip()))
    }
}
