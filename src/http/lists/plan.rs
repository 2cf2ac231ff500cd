//! Everything about lists that does not depend on who asks, worked out once: the way from a request to its list reads no URL.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::{Arc, OnceLock};

use axum::http::HeaderName;
use prometheus::IntCounter;

use super::asker::ListFor;
use super::choice;
use super::config::{Access, Gives, Lists, Rule, Server, Servers, When};
use super::countries::Countries;
use super::ice::Ice;
use super::listed::{Listed, Listing, Opens, Origin};
use super::matching::Place;
use super::pairs::Pairs;
use super::refusal::IssueError;
use super::urls::{Cut, Filter, Source, trim};
use crate::credentials::{
    Credential, Host, IceList, IceServer, KeyRing, TransportPolicy, UnixTime, Username, in_realm, is_probe, mint,
    named_realm,
};
use crate::fleet::{Choice, RoomKey};
use crate::http::realm::Realm;
use crate::telemetry::ApiMetrics;
use crate::telemetry::redact::CredentialId;

/// What a plan is made of.
pub(in crate::http) struct Parts {
    pub(in crate::http) ice: Ice,
    pub(in crate::http) keys: KeyRing,
    /// Tenants that have something to mint with.
    pub(in crate::http) realms: Vec<(Realm, KeyRing)>,
    pub(in crate::http) lists: Lists,
    pub(in crate::http) countries: Option<Arc<Countries>>,
    /// URLs that are left out.
    pub(in crate::http) dead: Arc<HashSet<Box<str>>>,
}

/// How lists are made until the configuration changes.
pub(in crate::http) struct Plan {
    ice: Ice,
    keys: KeyRing,
    /// Under the configured hosts, or else the addresses that this server knows of itself.
    own: Option<Source>,
    fallback: Option<Source>,
    /// And under the first host of a request.
    first_host: OnceLock<(Host, Arc<Source>)>,
    /// And those of rooms.
    pairs: Pairs,
    extra: Vec<Given>,
    realms: HashMap<Box<str>, OfRealm>,
    servers: Vec<OfServer>,
    rules: Vec<OfRule>,
    otherwise: OfRule,
    filters: Vec<Filter>,
    own_and_extra: [IntCounter; 2],
    /// Browsers get other lists than others.
    looks_for_browsers: bool,
    headers: Vec<HeaderName>,
    country_header: Option<HeaderName>,
    countries: Option<Arc<Countries>>,
    dead: Arc<HashSet<Box<str>>>,
}

/// What a tenant's lists are made of.
struct OfRealm {
    keys: KeyRing,
    realm: Realm,
    own: Option<Source>,
    extra: Vec<Given>,
}

/// An entry as the operator wrote it.
struct Given {
    source: Source,
    username: Option<String>,
    credential: Option<String>,
}

struct OfServer {
    server: Server,
    source: Source,
    /// To mint with, where a secret is shared.
    keys: Option<KeyRing>,
    key: u64,
    given: IntCounter,
}

struct OfRule {
    when: When,
    gives: Gives,
    /// Places in `servers`.
    candidates: Vec<usize>,
    /// Places in `filters`, wider and wider, for others and for browsers.
    filters: [[usize; 3]; 2],
    served: IntCounter,
}

impl Plan {
    pub(in crate::http) fn new(parts: &Parts, metrics: &ApiMetrics) -> Self {
        let Parts { ice, lists, dead, .. } = parts;
        let mut filters: Vec<Filter> = Vec::new();
        let mut place = |filter: Filter| {
            let known = filters.iter().position(|known| *known == filter);
            known.unwrap_or_else(|| {
                filters.push(filter);
                filters.len() - 1
            })
        };
        let mut served = metrics.lists(lists.rules.iter().map(|rule| &*rule.name)).into_iter();
        let mut of_rule = |when: When, gives: Gives, served: IntCounter| OfRule {
            candidates: candidates(&gives.servers, &lists.servers),
            filters: [false, true]
                .map(|browser| Filter::widening(&gives.transports, browser, !ice.port_53_for_browsers).map(&mut place)),
            when,
            gives,
            served,
        };
        let otherwise = of_rule(When::default(), Gives::default(), metrics.default_list());
        let rule = |(rule, served): (&Rule, IntCounter)| of_rule(rule.when.clone(), rule.gives.clone(), served);
        let rules: Vec<OfRule> = lists.rules.iter().zip(served.by_ref()).map(rule).collect();
        let own = |hosts: &[Host]| {
            let source = || Source::own(hosts, &ice.listeners, ice.plain_turns, dead).prepared(&filters);
            (!hosts.is_empty()).then(source)
        };
        let extra = |servers: &[IceServer]| servers.iter().map(|server| given(server, &filters, dead)).collect();
        let realms = parts.realms.iter().map(|(realm, keys)| {
            let of = OfRealm {
                keys: keys.clone(),
                own: own(&realm.hosts),
                extra: extra(&realm.extra),
                realm: realm.clone(),
            };
            (realm.name.as_str().into(), of)
        });
        let given = metrics.servers(lists.servers.iter().map(|server| &*server.name));
        let servers: Vec<OfServer> = lists
            .servers
            .iter()
            .zip(given)
            .map(|(server, given)| OfServer {
                source: Source::new(&server.urls, dead).prepared(&filters),
                keys: match &server.access {
                    // An empty secret, which nothing lets in, opens nothing.
                    Access::Secret(secret) => KeyRing::from_bytes([secret.expose()]).ok(),
                    _ => None,
                },
                key: choice::key(&server.name),
                server: server.clone(),
                given,
            })
            .collect();
        let named = lists
            .rules
            .iter()
            .flat_map(|rule| &rule.when.headers)
            .map(|(name, _)| name);
        let mut headers: Vec<HeaderName> = named.chain(&lists.country_header).cloned().collect();
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        let realms: HashMap<Box<str>, OfRealm> = realms.collect();
        let (own, fallback, extra): (_, _, Vec<Given>) = (own(&ice.hosts), own(&ice.fallback_hosts), extra(&ice.extra));
        let is_tls_plain = ice.plain_turns;
        let of_realms = realms
            .values()
            .flat_map(|of| of.own.iter().chain(of.extra.iter().map(|given| &given.source)));
        let looks_for_browsers = is_tls_plain
            || ice.listeners.iter().any(|listener| listener.port == 53)
            || servers
                .iter()
                .map(|server| &server.source)
                .chain(extra.iter().map(|given| &given.source))
                .chain(of_realms)
                .any(Source::differs_for_browsers);
        Self {
            ice: ice.clone(),
            keys: parts.keys.clone(),
            own,
            fallback,
            first_host: OnceLock::new(),
            pairs: Pairs::default(),
            own_and_extra: metrics.own_and_extra(),
            extra,
            realms,
            servers,
            rules,
            otherwise,
            looks_for_browsers,
            headers,
            country_header: lists.country_header.clone(),
            countries: parts.countries.clone(),
            dead: dead.clone(),
            filters,
        }
    }

    pub(in crate::http) fn ice(&self) -> &Ice {
        &self.ice
    }

    /// Headers that some rule looks at.
    pub(in crate::http) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The longest time for which credentials that exist may still open allocations.
    pub(in crate::http) fn longest(&self) -> std::time::Duration {
        let of_realms = self.realms.values().map(|of| of.realm.max_ttl);
        of_realms.fold(self.ice.max_ttl, std::time::Duration::max)
    }

    /// The lifetime of a credential of this realm when nobody asks for one.
    pub(in crate::http) fn usual_ttl(&self, realm: Option<&str>) -> std::time::Duration {
        let of = realm.and_then(|name| self.realms.get(name));
        of.map_or(self.ice.ttl, |of| of.realm.ttl)
    }

    /// The secrets of a realm; `None` for one that is not configured or has none.
    pub(in crate::http) fn keys(&self, realm: Option<&str>) -> Option<&KeyRing> {
        match realm {
            Some(realm) => self.realms.get(realm).map(|of| &of.keys),
            None => Some(&self.keys),
        }
    }

    /// Whether rooms of a realm are given the fleet's relays. A tenant with servers of its own has none of those, and neither has one
    /// that is not configured.
    pub(in crate::http) fn shares_relays(&self, realm: Option<&str>) -> bool {
        realm.is_none_or(|name| self.realms.get(name).is_some_and(|of| of.own.is_none()))
    }

    /// A list as it is for `asker`.
    pub(in crate::http) fn list(
        &self,
        now: UnixTime,
        asker: &ListFor<'_>,
        fleet: &Choice,
    ) -> Result<IceList, IssueError> {
        let ice = &self.ice;
        if is_probe(asker.user) {
            return Err(IssueError::Reserved);
        }
        let of = match asker.realm {
            Some(name) => Some(self.realms.get(name).ok_or(IssueError::NoRealm)?),
            // Nobody is given what would open nothing, and nobody a name that looks like a tenant's.
            None if named_realm(asker.user).is_some_and(|name| self.realms.contains_key(name)) => {
                return Err(IssueError::OtherRealm);
            }
            None => None,
        };
        let (default, most) = of.map_or((ice.ttl, ice.max_ttl), |of| (of.realm.ttl, of.realm.max_ttl));
        let ttl = asker.ttl.unwrap_or(default).min(most);
        let (keys, user) = match of {
            Some(of) => (&of.keys, Cow::Owned(in_realm(asker.user, &of.realm.name))),
            None => (&self.keys, Cow::Borrowed(asker.user)),
        };
        let place = Place::of(asker, self.country_header.as_ref(), self.countries.as_deref());
        let rule = self.rules.iter().find(|rule| place.fits(&rule.when));
        let rule = rule.unwrap_or(&self.otherwise);
        // Minted even where it is not given away: whose name cannot be part of a username gets nothing at all.
        let credential = match asker.again {
            Some(again) => again.clone(),
            None => mint(keys, now, &user, ttl)?,
        };
        // The name is hashed only if somebody reads it.
        tracing::debug!(
            target: "meetpoint::access",
            credential = %CredentialId::of(&credential.username),
            session = Username::parse(&credential.username).ok().and_then(|name| name.session()),
            realm = asker.realm,
            seconds = ttl.as_secs(),
            "credential issued"
        );
        let room = asker.room.filter(|_| self.shares_relays(asker.realm));
        let pair = room.and_then(|room| fleet.pair(RoomKey::new(asker.realm, room)));
        let of_fleet = pair.map(|pair| {
            self.pairs.of(&pair, || {
                let chosen = pair.chosen();
                Source::new(chosen.stun.iter().chain(chosen.turn.iter()), &self.dead).prepared(&self.filters)
            })
        });
        let requested;
        let own = match (of.and_then(|of| of.own.as_ref()), &self.own, asker.host, &self.fallback) {
            (Some(own), ..) | (None, Some(own), ..) => Some(own),
            (None, None, Some(host), _) => {
                requested = self.requested(host);
                Some(&*requested)
            }
            (None, None, None, fallback) => fallback.as_ref(),
        };
        let making = Making {
            plan: self,
            now,
            ttl,
            user: &user,
            credential: &credential,
            own: of_fleet.as_deref().or(own),
            extra: of.map_or(&self.extra, |of| &of.extra),
            key: choice::key(asker.room.unwrap_or(asker.user)),
        };
        let looks_for_browsers =
            self.looks_for_browsers || of_fleet.as_deref().is_some_and(Source::differs_for_browsers);
        let browser = looks_for_browsers && asker.headers.of_browser();
        let list = making
            .list(rule, browser)
            .or_else(|| making.list(&self.otherwise, browser));
        list.ok_or(IssueError::NoHost)
    }

    /// This server under the host of a request. The first one is kept: most servers have one name.
    fn requested(&self, host: &Host) -> Arc<Source> {
        let ice = &self.ice;
        let known = self.first_host.get_or_init(|| {
            let source = Source::own(slice::from_ref(host), &ice.listeners, ice.plain_turns, &self.dead);
            (host.clone(), Arc::new(source.prepared(&self.filters)))
        });
        if known.0 == *host {
            return known.1.clone();
        }
        let source = Source::own(slice::from_ref(host), &ice.listeners, ice.plain_turns, &self.dead);
        Arc::new(source)
    }

    /// These, as own ones.
    pub(in crate::http) fn listed_own(&self, urls: &[String]) -> Vec<Listed> {
        let opens = Opens::Minted {
            keys: self.keys.clone(),
            realm: None,
            max_ttl: None,
        };
        let mut all = Listing::default();
        all.add(&Source::new(urls, &self.dead), &Origin::Own, &opens);
        all.into_all()
    }

    /// Every URL that a list may hold.
    pub(in crate::http) fn listed(&self) -> Vec<Listed> {
        let mut all = Listing::default();
        let minted = |keys: &KeyRing, realm: Option<&str>| Opens::Minted {
            keys: keys.clone(),
            realm: realm.map(Box::from),
            max_ttl: None,
        };
        let own = self.own.as_ref().or(self.fallback.as_ref());
        if let Some(own) = own {
            all.add(own, &Origin::Own, &minted(&self.keys, None));
        }
        for of in &self.servers {
            let opens = match (&of.keys, &of.server.access) {
                (Some(keys), _) => Opens::Minted {
                    keys: keys.clone(),
                    realm: None,
                    max_ttl: of.server.max_ttl,
                },
                (None, Access::Fixed(username, password)) => Opens::fixed(username, password.expose()),
                _ => Opens::Nothing,
            };
            all.add(&of.source, &Origin::Server(of.server.name.clone()), &opens);
        }
        all.extra(&self.extra);
        let mut realms: Vec<_> = self.realms.iter().collect();
        realms.sort_unstable_by_key(|(name, _)| *name);
        for (name, of) in realms {
            if let Some(own) = &of.own {
                all.add(own, &Origin::Own, &minted(&of.keys, Some(name)));
            }
            all.extra(&of.extra);
        }
        all.into_all()
    }
}

impl Listing {
    fn extra(&mut self, servers: &[Given]) {
        for given in servers {
            let opens = match (&given.username, &given.credential) {
                (Some(username), Some(password)) => Opens::fixed(username, password),
                _ => Opens::Nothing,
            };
            self.add(&given.source, &Origin::Extra, &opens);
        }
    }
}

fn given(server: &IceServer, filters: &[Filter], dead: &HashSet<Box<str>>) -> Given {
    Given {
        source: Source::new(&server.urls, dead).prepared(filters),
        username: server.username.clone(),
        credential: server.credential.clone(),
    }
}

fn candidates(wanted: &Servers, servers: &[Server]) -> Vec<usize> {
    let is_meant = |server: &Server| match wanted {
        Servers::All => true,
        Servers::Some { names, tags } => {
            names.contains(&server.name) || server.tags.iter().any(|tag| tags.contains(tag))
        }
    };
    let places = servers.iter().enumerate().filter(|(_, server)| is_meant(server));
    places.map(|(at, _)| at).collect()
}

/// One list on its way.
struct Making<'a> {
    plan: &'a Plan,
    now: UnixTime,
    ttl: std::time::Duration,
    user: &'a str,
    credential: &'a Credential,
    own: Option<&'a Source>,
    extra: &'a [Given],
    key: u64,
}

impl Making<'_> {
    /// With the narrowest filter that leaves a TURN server; where none does, what the narrowest leaves, if anything.
    fn list(&self, rule: &OfRule, browser: bool) -> Option<IceList> {
        let [strict, with_dead, with_53] = rule.filters[usize::from(browser)];
        let relays = |list: &IceList| list.ice_servers.iter().any(|server| server.credential.is_some());
        let mut made = self.by(rule, strict);
        if !relays(&made.0) {
            let wider = [with_dead, with_53].into_iter().map(|filter| self.by(rule, filter));
            let found = wider.into_iter().find(|(list, _)| relays(list));
            made = found.unwrap_or(made);
        }
        let (list, others) = made;
        if list.ice_servers.is_empty() {
            return None;
        }
        let [own, extra] = &self.plan.own_and_extra;
        if rule.gives.own && self.own.is_some() {
            own.inc();
        }
        if rule.gives.extra && !self.extra.is_empty() {
            extra.inc();
        }
        rule.served.inc();
        for of in others.into_iter().filter_map(|at| self.plan.servers.get(at)) {
            of.given.inc();
        }
        Some(list)
    }

    /// With the filter of that number, and whose servers are in it.
    fn by(&self, rule: &OfRule, filter: usize) -> (IceList, Vec<usize>) {
        let (gives, filters) = (&rule.gives, &self.plan.filters);
        let mut servers = Vec::with_capacity(2 + 2 * rule.candidates.len() + self.extra.len());
        let mut expires_at = None;
        if let Some(own) = self.own.filter(|_| gives.own) {
            let opens = (
                self.credential.username.clone(),
                self.credential.password.as_str().to_owned(),
            );
            if push(&mut servers, own.cut(filters, filter), Some(opens)) {
                expires_at = Some(self.credential.expires_at);
            }
        }
        let mut give = |at: usize| {
            let Some(of) = self.plan.servers.get(at) else { return };
            let minted = of.keys.as_ref().and_then(|keys| {
                let ttl = of.server.max_ttl.map_or(self.ttl, |most| most.min(self.ttl));
                mint(keys, self.now, self.user, ttl).ok()
            });
            let opens = match (&minted, &of.server.access) {
                (Some(minted), _) => Some((minted.username.clone(), minted.password.as_str().to_owned())),
                (None, Access::Fixed(username, password)) => Some((username.to_string(), password.expose().to_owned())),
                _ => None,
            };
            if push(&mut servers, of.source.cut(filters, filter), opens)
                && let Some(minted) = minted
            {
                let soonest = expires_at.map_or(minted.expires_at, |known: UnixTime| known.min(minted.expires_at));
                expires_at = Some(soonest);
            }
        };
        let others = match gives.pick {
            0 => rule.candidates.clone(),
            pick => self.picked(rule, filter, pick),
        };
        others.iter().copied().for_each(&mut give);
        for given in self.extra.iter().filter(|_| gives.extra) {
            let opens = given.username.clone().zip(given.credential.clone());
            push(&mut servers, given.source.cut(filters, filter), opens);
        }
        trim(&mut servers, gives.max_urls);
        let expires_at = expires_at.unwrap_or_else(|| self.now.saturating_add(self.ttl));
        let policy = gives
            .policy
            .or_else(|| self.plan.ice.relay_only.then_some(TransportPolicy::Relay));
        let list = IceList {
            ice_servers: servers,
            policy,
            ttl: expires_at.saturating_since(self.now).as_secs(),
            expires_at,
        };
        (list, others)
    }

    /// The best of those of which the filter leaves what they are for.
    fn picked(&self, rule: &OfRule, filter: usize, pick: usize) -> Vec<usize> {
        let filters = &self.plan.filters;
        let of_use = |at: &&usize| {
            self.plan.servers.get(**at).is_some_and(|of| {
                let cut = of.source.cut(filters, filter);
                !cut.turn.is_empty() || !of.source.relays() && !cut.stun.is_empty()
            })
        };
        let drawn = |at: &usize| {
            let of = self.plan.servers.get(*at);
            let draw = of.map_or(f64::MAX, |of| choice::draw(self.key, of.key, of.server.weight));
            (draw, *at)
        };
        let mut all: Vec<(f64, usize)> = rule.candidates.iter().filter(of_use).map(drawn).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().take(pick).map(|(_, at)| at).collect()
    }
}

/// Adds what a filter left of a server, STUN and TURN apart: some clients drop a whole entry over one URL that they do not know. Says
/// whether there is something to relay by.
fn push(servers: &mut Vec<IceServer>, cut: Cut, opens: Option<(String, String)>) -> bool {
    let Cut { stun, turn } = cut;
    if !stun.is_empty() {
        servers.push(IceServer {
            urls: stun,
            username: None,
            credential: None,
        });
    }
    if turn.is_empty() {
        return false;
    }
    let (username, credential) = opens.unzip();
    servers.push(IceServer {
        urls: turn,
        username,
        credential,
    });
    true
}
