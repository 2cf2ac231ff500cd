//! Makes ICE lists with a fresh credential, for the API and for the hub.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, HeaderName};

use super::lists::{Countries, Headers, Ice, IssueError, ListFor, Listed, Lists, Parts, Plan, of_browser};
use super::realm::Realm;
use crate::credentials::{
    Credential, CredentialKey, DEFAULT_REALM, Host, IceList, KeyRing, UnixTime, Username, of_session,
};
use crate::fleet::{Choice, RoomKey};
use crate::telemetry::labels::{IssueResult, Surface};
use crate::telemetry::{ApiMetrics, Metrics};
use crate::ws::{self, IceAsker, IceSource, Told};

/// Longest header of the request for a socket that is kept for the rules of lists, bytes.
const MAX_TOLD_BYTES: usize = 256;
/// Most lines of one that are.
const MAX_TOLD_LINES: usize = 4;

/// Mints credentials and puts them into ICE lists. Clones share; secrets, list and rules can be replaced while it runs.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    /// Locked to change it, never to make a list.
    parts: Mutex<Parts>,
    plan: ArcSwap<Plan>,
    /// The relays of all replicas, for rooms.
    fleet: ArcSwap<Choice>,
    metrics: ApiMetrics,
}

impl Issuer {
    /// Mints with the first secret of `keys`, for the default realm alone, and gives everybody the same list.
    pub fn new(ice: Ice, keys: KeyRing, metrics: &Metrics) -> Self {
        let metrics = metrics.api().clone();
        let parts = Parts {
            ice,
            keys,
            realms: Vec::new(),
            lists: Lists::default(),
            countries: None,
            dead: Arc::default(),
        };
        Self(Arc::new(Inner {
            plan: ArcSwap::from_pointee(Plan::new(&parts, &metrics)),
            parts: Mutex::new(parts),
            fleet: ArcSwap::default(),
            metrics,
        }))
    }

    fn replace(&self, change: impl FnOnce(&mut Parts)) {
        // A panic in between leaves parts that are each whole.
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        self.0.plan.store(Arc::new(Plan::new(&parts, &self.0.metrics)));
    }

    /// Mints with other secrets from now on; what was minted before stays valid where the relay still has its secret.
    pub fn replace_keys(&self, keys: KeyRing) {
        self.replace(|parts| parts.keys = keys);
    }

    /// Advertises other servers from now on.
    pub fn replace_ice(&self, ice: Ice) {
        self.replace(|parts| parts.ice = ice);
    }

    /// Goes by other rules from now on, with other servers of others.
    pub fn replace_lists(&self, lists: Lists) {
        self.replace(|parts| parts.lists = lists);
    }

    /// Knows the countries of addresses from this database from now on, or from none.
    pub fn replace_countries(&self, countries: Option<Arc<Countries>>) {
        self.replace(|parts| parts.countries = countries);
    }

    /// Mints for these tenants from now on, each with its own secrets. One without any is known, and gets no credentials.
    pub fn replace_realms(&self, realms: &[Realm], keys: &HashMap<Box<str>, KeyRing>) {
        let of = |realm: &Realm| Some((realm.clone(), keys.get(realm.name.as_str())?.clone()));
        self.replace(|parts| parts.realms = realms.iter().filter_map(of).collect());
        self.0
            .metrics
            .replace_realms(realms.iter().map(|realm| realm.name.as_str()));
    }

    /// Leaves these out from now on, exactly as they stand in lists. A list that would lose its last TURN server by that has them
    /// all.
    pub fn replace_dead(&self, dead: Arc<HashSet<Box<str>>>) {
        self.replace(|parts| parts.dead = dead);
    }

    /// Gives rooms these relays from now on. Without any, and to those who name no room, lists are made of this server's own listeners.
    pub fn replace_fleet(&self, choice: Arc<Choice>) {
        self.0.fleet.store(choice);
    }

    /// What tells which relay a room has first: the same number, the same relay. `None`: rooms are given none.
    /// Without a room it is this replica's own.
    pub fn relay_of(&self, realm: Option<&str>, room: Option<&str>) -> Option<u64> {
        if !self.0.plan.load().shares_relays(realm) {
            return None;
        }
        let choice = self.0.fleet.load();
        room.map_or_else(|| choice.own(), |room| choice.first_of(RoomKey::new(realm, room)))
    }

    /// Whether a room may keep a relay that it had first ([`Issuer::relay_of`]).
    pub fn keeps_relay(&self, realm: Option<&str>, room: &str, relay: u64) -> bool {
        let choice = self.0.fleet.load();
        choice.keeps(RoomKey::new(realm, room), relay) || !self.0.plan.load().shares_relays(realm)
    }

    /// URLs of this server's own that stand in lists of rooms, wherever those are asked for, with what opens them.
    pub fn own_relays(&self, urls: &[String]) -> Vec<Listed> {
        self.0.plan.load().listed_own(urls)
    }

    /// Every URL that a list may hold, each once, with what opens it. URLs whose host is known from requests alone are not among
    /// them: those of a server for which neither `ice.host` nor `http.public_url` is set, but for its own addresses.
    pub fn relays(&self) -> Vec<Listed> {
        self.0.plan.load().listed()
    }

    /// What is advertised now.
    pub fn ice(&self) -> Ice {
        self.0.plan.load().ice().clone()
    }

    /// What a request for a socket of the hub tells about later lists for it, as far as a rule of now looks at it.
    pub(super) fn told(&self, headers: &HeaderMap, proxied: bool) -> Told {
        let plan = self.0.plan.load();
        let of_name = |name: &HeaderName| {
            let values = || headers.get_all(name).iter();
            // All of them or none: that one stands there alone may be what counts.
            let are_kept = values().count() <= MAX_TOLD_LINES && values().all(|value| value.len() <= MAX_TOLD_BYTES);
            let named = values().filter(|_| are_kept).map(|value| (name.clone(), value.clone()));
            named.collect::<Vec<_>>()
        };
        Told {
            browser: of_browser(headers),
            proxied,
            headers: plan.headers().iter().flat_map(of_name).collect(),
        }
    }

    /// A list as it is for `asker` now.
    ///
    /// # Errors
    /// When there is no host to advertise, the user cannot be part of a username, or the realm issues none.
    pub fn list(&self, now: UnixTime, asker: &ListFor<'_>) -> Result<IceList, IssueError> {
        self.0.plan.load().list(now, asker, &self.0.fleet.load())
    }

    /// The key by which the holder of a credential of this realm can have it again; `None` for a realm without secrets.
    pub(super) fn key_of(&self, realm: Option<&str>, username: &Username<'_>) -> Option<CredentialKey> {
        self.by_secrets(realm, |keys| CredentialKey::of(keys, username))
    }

    /// The credential of this realm that a key is for, expired or not.
    pub(super) fn open(&self, realm: Option<&str>, key: &CredentialKey) -> Option<Credential> {
        self.by_secrets(realm, |keys| key.open(keys))?
    }

    fn by_secrets<T>(&self, realm: Option<&str>, make: impl FnOnce(&KeyRing) -> T) -> Option<T> {
        self.0.plan.load().keys(realm).map(make)
    }

    /// The lifetime of a credential of this realm when nobody asks for one.
    pub(super) fn usual_ttl(&self, realm: Option<&str>) -> Duration {
        self.0.plan.load().usual_ttl(realm)
    }

    /// The longest time for which credentials that exist may still open allocations.
    pub fn longest(&self) -> Duration {
        self.0.plan.load().longest()
    }

    /// Counts how a wish by HTTP ended, and for whom.
    pub(super) fn count(&self, result: IssueResult, realm: Option<&str>) {
        self.count_by(Surface::Http, result, realm);
    }

    fn count_by(&self, surface: Surface, result: IssueResult, realm: Option<&str>) {
        self.0.metrics.issue(surface, result);
        self.0.metrics.issue_in(realm.unwrap_or(DEFAULT_REALM), result);
    }
}

/// Lists for the hub's `welcome` and `ice`. A list that cannot be made is empty: the client still joins its room and can
/// connect on the same network.
impl IceSource for Issuer {
    fn ice_servers(&self, asker: &IceAsker<'_>) -> ws::IceList {
        let now = UnixTime::from_system_time(SystemTime::now());
        let user = asker.user;
        let host = asker
            .host
            .and_then(|host| Host::parse_authority(host).ok())
            .map(|(host, _port)| host);
        let realm = user.realm.as_deref();
        let label = of_session(&user.session, &user.user);
        let wanted = ListFor {
            realm,
            user: &label,
            host: host.as_ref(),
            room: asker.room,
            client: asker.ip,
            claims: user.claims.as_deref().unwrap_or_default(),
            headers: Headers::Kept(asker.told),
            ..ListFor::default()
        };
        let list = self.list(now, &wanted);
        let list = list.inspect_err(|error| {
            tracing::debug!(%error, "no ICE servers for a signaling client");
        });
        let made = list.ok().and_then(|list| {
            let expires_at_ms = list.expires_at.0.saturating_mul(1000);
            let mut made = ws::IceList::new(&list.ice_servers, expires_at_ms).ok()?;
            made.policy = list.policy.map(|policy| policy.as_str().into());
            made.relay = IceSource::relay_of(self, asker);
            Some(made)
        });
        let result = if made.is_some() {
            IssueResult::Issued
        } else {
            IssueResult::BadRequest
        };
        self.count_by(Surface::Websocket, result, realm);
        made.unwrap_or_else(|| ws::IceList::empty(now.0.saturating_mul(1000)))
    }

    fn relay_of(&self, asker: &IceAsker<'_>) -> Option<u64> {
        Self::relay_of(self, asker.user.realm.as_deref(), asker.room)
    }

    fn keeps_relay(&self, realm: Option<&str>, room: &str, relay: u64) -> bool {
        Self::keeps_relay(self, realm, room, relay)
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("ice", self.0.plan.load().ice())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{IceServer, Username, verify};
    use crate::ws::IceUser;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn issuer(ice: Ice) -> Issuer {
        Issuer::new(ice, KeyRing::from_bytes(["north"]).unwrap(), &Metrics::new().unwrap())
    }

    fn plain<'a>(user: &'a str, host: Option<&'a Host>, ttl: Option<u64>) -> ListFor<'a> {
        ListFor {
            user,
            host,
            ttl: ttl.map(Duration::from_secs),
            ..ListFor::default()
        }
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
            issuer
                .list(NOW, &plain("a", host, None))
                .map(|list| first_turn_url(&list))
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
        let ttl = |wish: Option<u64>| issuer.list(NOW, &plain("a", Some(&host), wish)).unwrap().ttl;
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
        let list = issuer.list(NOW, &plain("a", Some(&host), None)).unwrap();
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
        let alice = IceUser {
            user: "alice".into(),
            realm: None,
            session: "mJ7rTq0c2nLxWb5A".into(),
            claims: None,
        };
        let told = Told::default();
        let ask = |host| {
            issuer.ice_servers(&IceAsker {
                user: &alice,
                host: Some(host),
                ip: None,
                room: None,
                told: &told,
            })
        };
        let list = ask("meet.example:8000");
        assert!(
            list.servers.get().contains("turn:meet.example:3478?transport=udp"),
            "{}",
            list.servers
        );
        assert_eq!(list.policy.as_deref(), Some("relay"));
        let junk = ask("<script>");
        assert_eq!(junk.servers.get(), "[]");
    }

    #[test]
    fn a_tenants_list_is_of_its_secret_its_name_its_servers_and_its_lifetimes() {
        let issuer = issuer(Ice {
            hosts: vec!["turn.example".parse().unwrap()],
            ..Ice::default()
        });
        let realm = Realm {
            name: "acme".to_owned(),
            tokens: Vec::new(),
            rate: crate::http::RateLimit::default(),
            hosts: vec!["turn.acme.example".parse().unwrap()],
            extra: Vec::new(),
            ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(120),
        };
        let secret = KeyRing::from_bytes(["acme's"]).unwrap();
        let keys = HashMap::from([("acme".into(), secret.clone())]);
        let silent = Realm {
            name: "silent".to_owned(),
            ..realm.clone()
        };
        issuer.replace_realms(&[realm, silent], &keys);
        let list = |realm, user, ttl| {
            let wanted = ListFor {
                realm,
                ..plain(user, None, ttl)
            };
            issuer.list(NOW, &wanted)
        };
        let made = list(Some("acme"), "alice", Some(999)).unwrap();
        assert_eq!((made.ttl, list(Some("acme"), "alice", None).unwrap().ttl), (120, 60));
        assert_eq!(first_turn_url(&made), "turn:turn.acme.example:3478?transport=udp");
        let turn = made
            .ice_servers
            .iter()
            .find(|server| server.credential.is_some())
            .unwrap();
        let (username, password) = (turn.username.clone().unwrap(), turn.credential.clone().unwrap());
        assert_eq!(
            verify(&secret, NOW, &username, password.as_bytes()).map(|it| it.user().to_owned()),
            Ok("alice@acme".to_owned())
        );
        assert_eq!(
            first_turn_url(&list(None, "alice", None).unwrap()),
            "turn:turn.example:3478?transport=udp"
        );

        // Nobody gets a name of a tenant with another secret; a name that only looks like one is a name.
        assert_eq!(list(None, "alice@acme", None), Err(IssueError::OtherRealm));
        assert!(list(None, "alice@example.org", None).is_ok());
        assert_eq!(list(Some("silent"), "alice", None), Err(IssueError::NoRealm));
        assert_eq!(list(Some("gone"), "alice", None), Err(IssueError::NoRealm));
        issuer.replace_realms(&[], &HashMap::new());
        assert_eq!(list(Some("acme"), "alice", None), Err(IssueError::NoRealm));
    }

    #[test]
    fn dead_urls_leave_the_list_and_come_back_but_the_last_turn_server_never_goes() {
        let other = IceServer {
            urls: vec!["turn:other.example:3478?transport=udp".to_owned()].into(),
            username: Some("u".to_owned()),
            credential: Some("c".to_owned()),
        };
        let issuer = issuer(Ice {
            hosts: vec!["turn.example".parse().unwrap()],
            extra: vec![other],
            ..Ice::default()
        });
        let urls = || {
            let list = issuer.list(NOW, &plain("a", None, None)).unwrap();
            let urls = list.ice_servers.iter().flat_map(|server| server.urls.to_vec());
            urls.collect::<Vec<_>>()
        };
        let dead =
            |urls: &[String]| issuer.replace_dead(Arc::new(urls.iter().map(|url| url.as_str().into()).collect()));
        let all = urls();
        assert_eq!(all.len(), 4);
        dead(&all[..2]);
        assert_eq!(urls(), all[2..]);
        dead(&all[..3]);
        assert_eq!(urls(), all[3..]);
        // A prober that finds all of them dead is believed about none.
        for everything in [&all[1..], &all] {
            dead(everything);
            assert_eq!(urls(), all);
        }
        dead(&[]);
        assert_eq!(urls(), all);
    }

    #[test]
    fn what_a_list_may_hold_can_be_opened_by_whoever_wants_to_probe_it() {
        let other = |credential: Option<&str>| IceServer {
            urls: vec!["turn:other.example".to_owned()].into(),
            username: credential.map(str::to_owned),
            credential: credential.map(str::to_owned),
        };
        let issuer = issuer(Ice {
            fallback_hosts: vec!["192.0.2.1".parse().unwrap()],
            extra: vec![other(Some("first")), other(Some("second"))],
            ..Ice::default()
        });
        let acme = Realm {
            name: "acme".to_owned(),
            tokens: Vec::new(),
            rate: crate::http::RateLimit::default(),
            hosts: vec!["turn.acme.example".parse().unwrap()],
            extra: Vec::new(),
            ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(120),
        };
        let of_acme = KeyRing::from_bytes(["acme's"]).unwrap();
        issuer.replace_realms(&[acme], &HashMap::from([("acme".into(), of_acme.clone())]));
        let relays = issuer.relays();
        let urls: Vec<&str> = relays.iter().map(|relay| &*relay.url).collect();
        assert_eq!(
            urls,
            [
                "stun:192.0.2.1:3478",
                "turn:192.0.2.1:3478?transport=udp",
                "turn:192.0.2.1:3478?transport=tcp",
                "turn:other.example",
                "stun:turn.acme.example:3478",
                "turn:turn.acme.example:3478?transport=udp",
                "turn:turn.acme.example:3478?transport=tcp",
            ]
        );
        let opens = |at: usize| {
            relays[at]
                .try_credential(NOW, "probe", Duration::from_secs(30))
                .unwrap()
        };
        assert_eq!(opens(0), None);
        let (username, password) = opens(1).unwrap();
        let north = KeyRing::from_bytes(["north"]).unwrap();
        assert!(verify(&north, NOW, &username, password.as_bytes()).is_ok());
        assert_eq!(
            opens(3).map(|(_, password)| password.to_string()),
            Some("first".to_owned())
        );
        let (username, password) = opens(5).unwrap();
        assert!(username.ends_with(":probe@acme"), "{username}");
        assert!(verify(&of_acme, NOW, &username, password.as_bytes()).is_ok());
        assert!(!format!("{relays:?}").contains("first"));
    }
}
