//! Makes ICE lists with a fresh credential, for the API and for the hub.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::config::Ice;
use crate::credentials::{Host, IceList, KeyRing, MintError, UnixTime, mint};
use crate::telemetry::labels::{IssueResult, Surface};
use crate::telemetry::{ApiMetrics, Metrics};
use crate::ws::{self, IceSource};

/// Mints credentials and puts them into ICE lists. Clones share; secrets and list can be replaced while it runs.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    keys: ArcSwap<KeyRing>,
    ice: ArcSwap<Ice>,
    metrics: ApiMetrics,
}

/// Why there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Neither the configuration nor the request names a host to advertise.
    #[error("this server does not know its own address")]
    NoHost,
    /// The user label cannot be part of a username.
    #[error(transparent)]
    Mint(#[from] MintError),
}

impl Issuer {
    /// Mints with the first secret of `keys`.
    pub fn new(ice: Ice, keys: KeyRing, metrics: &Metrics) -> Self {
        let metrics = metrics.api().clone();
        Self(Arc::new(Inner {
            keys: ArcSwap::from_pointee(keys),
            ice: ArcSwap::from_pointee(ice),
            metrics,
        }))
    }

    /// Mints with other secrets from now on; what was minted before stays valid where the relay still has its secret.
    pub fn replace_keys(&self, keys: KeyRing) {
        self.0.keys.store(Arc::new(keys));
    }

    /// Advertises other servers from now on.
    pub fn replace_ice(&self, ice: Ice) {
        self.0.ice.store(Arc::new(ice));
    }

    /// What is advertised now.
    pub fn ice(&self) -> Arc<Ice> {
        self.0.ice.load_full()
    }

    /// A list for `user`, good for `ttl` (bounded by the configured maximum; `None`: the configured lifetime). `host` is the
    /// one by which the client reached this server, advertised when none is configured.
    ///
    /// # Errors
    /// When there is no host to advertise, or the user cannot be part of a username.
    pub fn list(
        &self,
        now: UnixTime,
        user: &str,
        host: Option<&Host>,
        ttl: Option<Duration>,
    ) -> Result<IceList, IssueError> {
        let ice = self.0.ice.load();
        let own;
        let hosts = match host {
            _ if !ice.hosts.is_empty() => &ice.hosts[..],
            Some(host) => {
                own = [host.clone()];
                &own
            }
            None if !ice.fallback_hosts.is_empty() => &ice.fallback_hosts,
            None => return Err(IssueError::NoHost),
        };
        let ttl = ttl.unwrap_or(ice.ttl).min(ice.max_ttl);
        let credential = mint(&self.0.keys.load(), now, user, ttl)?;
        Ok(IceList::new(hosts, &ice.listeners, &credential, now, &ice.extra))
    }

    /// Counts how a wish by HTTP ended.
    pub(super) fn count(&self, result: IssueResult) {
        self.0.metrics.issue(Surface::Http, result);
    }
}

/// Lists for the hub's `welcome` and `ice`. A list that cannot be made is empty: the client still joins its room and can
/// connect on the same network.
impl IceSource for Issuer {
    fn ice_servers(&self, user: &str, host: Option<&str>) -> ws::IceList {
        let now = UnixTime::from_system_time(SystemTime::now());
        let host = host
            .and_then(|host| Host::parse_authority(host).ok())
            .map(|(host, _port)| host);
        let list = self.list(now, user, host.as_ref(), None).inspect_err(|error| {
            tracing::debug!(%error, "no ICE servers for a signaling client");
        });
        let made = list.ok().and_then(|list| {
            let expires_at_ms = list.expires_at.0.saturating_mul(1000);
            ws::IceList::new(&list.ice_servers, expires_at_ms).ok()
        });
        let result = if made.is_some() {
            IssueResult::Issued
        } else {
            IssueResult::BadRequest
        };
        self.0.metrics.issue(Surface::Websocket, result);
        let mut list = made.unwrap_or_else(|| ws::IceList::empty(now.0.saturating_mul(1000)));
        list.policy = self.ice().relay_only.then(|| "relay".into());
        list
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("ice", &self.ice())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Username, verify};

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn issuer(ice: Ice) -> Issuer {
        Issuer::new(ice, KeyRing::from_bytes(["north"]).unwrap(), &Metrics::new().unwrap())
    }

    fn first_turn_url(list: &IceList) -> String {
        list.ice_servers
            .iter()
            .find(|server| server.credential.is_some())
            .unwrap()
            .urls[0]
            .clone()
    }

    #[test]
    fn configured_hosts_come_before_the_clients_and_the_clients_before_the_fallback() {
        let host: Host = "asked.example".parse().unwrap();
        let fallback_hosts: Vec<Host> = vec!["192.0.2.1".parse().unwrap()];
        let url = |hosts: Vec<Host>, fallback_hosts: &[Host], host: Option<&Host>| {
            let issuer = issuer(Ice {
                hosts,
                fallback_hosts: fallback_hosts.to_vec(),
                ..Ice::default()
            });
            issuer.list(NOW, "a", host, None).map(|list| first_turn_url(&list))
        };
        let own = vec!["turn.example".parse().unwrap()];
        assert_eq!(
            url(own, &fallback_hosts, Some(&host)).unwrap(),
            "turn:turn.example:3478?transport=udp"
        );
        assert_eq!(
            url(vec![], &fallback_hosts, Some(&host)).unwrap(),
            "turn:asked.example:3478?transport=udp"
        );
        assert_eq!(
            url(vec![], &fallback_hosts, None).unwrap(),
            "turn:192.0.2.1:3478?transport=udp"
        );
        assert_eq!(url(vec![], &[], None), Err(IssueError::NoHost));
    }

    #[test]
    fn the_lifetime_is_the_configured_one_and_never_above_the_maximum() {
        let host: Host = "a.example".parse().unwrap();
        let issuer = issuer(Ice {
            ttl: Duration::from_secs(600),
            max_ttl: Duration::from_secs(900),
            ..Ice::default()
        });
        let ttl = |wish: Option<u64>| {
            issuer
                .list(NOW, "a", Some(&host), wish.map(Duration::from_secs))
                .unwrap()
                .ttl
        };
        assert_eq!(
            (ttl(None), ttl(Some(60)), ttl(Some(900)), ttl(Some(901))),
            (600, 60, 900, 900)
        );
    }

    #[test]
    fn replaced_secrets_mint_from_then_on() {
        let host: Host = "a.example".parse().unwrap();
        let issuer = issuer(Ice::default());
        let south = KeyRing::from_bytes(["south"]).unwrap();
        issuer.replace_keys(south.clone());
        let list = issuer.list(NOW, "a", Some(&host), None).unwrap();
        let turn = list
            .ice_servers
            .iter()
            .find_map(|server| Some((server.username.clone()?, server.credential.clone()?)));
        let (username, password) = turn.unwrap();
        assert_eq!(
            verify(&south, NOW, &username, password.as_bytes())
                .as_ref()
                .map(Username::user),
            Ok("a")
        );
    }

    #[test]
    fn the_hub_gets_a_list_for_the_host_of_its_client_or_an_empty_one() {
        let issuer = issuer(Ice {
            relay_only: true,
            ..Ice::default()
        });
        let list = issuer.ice_servers("alice", Some("meet.example:8000"));
        assert!(
            list.servers.get().contains("turn:meet.example:3478?transport=udp"),
            "{}",
            list.servers
        );
        assert_eq!(list.policy.as_deref(), Some("relay"));
        let junk = issuer.ice_servers("alice", Some("<script>"));
        assert_eq!(junk.servers.get(), "[]");
    }
}
