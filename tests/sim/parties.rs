//! Who the clients of the long simulation are: of the default realm, of tenants, strangers between those, bearers of access
//! tokens; and what an operator makes of the tenants.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::{self, AccessToken, DEFAULT_REALM, KeyRing, ThirdParty, TokenKey, UnixTime, in_realm};
use meetpoint::turn::{DiscoveryPlaces, NatDiscovery, PeerFilter, RateLimit, RealmConfig, RealmLimits, ServerAddr};

use crate::network::Chance;
use crate::relay::{BEGIN, Client, RELAY_V4, SECRET, ip};

/// Nobody comes from the last two: they take the places of those that are removed.
pub(crate) const TENANTS: [&str; 4] = ["acme", "globex", "hooli", "initech"];
const REALM_OF_ACME: &str = "turn.acme.example";
const TOKEN_SERVER: &str = "turn.example.org";
pub(crate) const USERS: [&str; 6] = ["ann", "ben", "eve", "joe", "kim", "lea"];
const CREDENTIAL: Duration = Duration::from_secs(200 * 3600);

/// Whose secret a client holds, and where it wants in with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Party {
    Default,
    /// Of a tenant, and good for nothing else while that is gone.
    Of(&'static str),
    /// With the default secret on the name of a tenant: nobody, for as long as there is one of that name.
    Squatter(&'static str),
    /// With a tenant's secret on the name of another: nobody ever.
    Intruder(&'static str, &'static str),
    ByToken,
}

/// By number; the first four are the liveliest.
pub(crate) const PARTIES: [Party; 18] = [
    Party::Default,
    Party::Of("acme"),
    Party::Default,
    Party::ByToken,
    Party::Default,
    Party::Default,
    Party::Of("globex"),
    Party::Default,
    Party::Default,
    Party::Of("acme"),
    Party::ByToken,
    Party::Default,
    Party::Default,
    Party::Squatter("acme"),
    Party::Default,
    Party::Intruder("acme", "globex"),
    Party::Default,
    Party::Of("globex"),
];

impl Party {
    /// The realm that its allocations are in, if it gets any.
    pub(crate) const fn realm(self) -> &'static str {
        match self {
            Self::Of(tenant) => tenant,
            Self::Default | Self::Squatter(_) | Self::Intruder(..) | Self::ByToken => DEFAULT_REALM,
        }
    }

    pub(crate) fn client(self, number: usize) -> Client {
        let user = USERS[number % USERS.len()];
        let (secret, user) = match self {
            Self::Default | Self::ByToken => (SECRET.to_owned(), user.to_owned()),
            Self::Of(tenant) => (secret_of(tenant), in_realm(user, tenant)),
            // Of the same name as somebody who belongs there.
            Self::Squatter(tenant) => (SECRET.to_owned(), in_realm(USERS[1], tenant)),
            Self::Intruder(from, into) => (secret_of(from), in_realm(USERS[0], into)),
        };
        let ring = KeyRing::from_bytes([secret]).unwrap();
        let credential = credentials::mint(&ring, BEGIN, &user, CREDENTIAL).unwrap();
        let mut client = Client::with("192.0.2.1:1", &credential.username, credential.password.as_str());
        if self == Self::Of("acme") && number > TENANTS.len() {
            client.realm = REALM_OF_ACME.to_owned();
        }
        client
    }
}

fn secret_of(tenant: &str) -> String {
    format!("the secret of {tenant}")
}

fn tenant(name: &str) -> RealmConfig {
    RealmConfig {
        name: name.to_owned(),
        realm: (name == TENANTS[0]).then(|| REALM_OF_ACME.to_owned()),
        keys: Some(KeyRing::from_bytes([secret_of(name)]).unwrap()),
        ..RealmConfig::default()
    }
}

pub(crate) fn tenants() -> Vec<RealmConfig> {
    TENANTS[..2].iter().map(|name| tenant(name)).collect()
}

/// Tenants as an operator leaves them: some gone, some back, each with other bounds and other rules for peers.
pub(crate) fn other_tenants(
    chance: &mut Chance,
    denied: &[Option<ipnet::IpNet>],
) -> Vec<(RealmConfig, Option<ipnet::IpNet>)> {
    let first = chance.below(TENANTS.len() as u64) as usize;
    let names: Vec<_> = TENANTS.iter().cycle().skip(first).take(TENANTS.len()).collect();
    let mut all = Vec::new();
    for name in names {
        let is_away = if TENANTS[..2].contains(name) { 4 } else { 2 };
        if chance.one_in(is_away) {
            continue;
        }
        let net = chance.pick(denied).copied().flatten();
        let slow = RateLimit {
            packets_per_second: 1,
            packet_burst: 1,
            ..RateLimit::NONE
        };
        let limits = RealmLimits {
            allocations: 1 + chance.below(4) as u32,
            allocations_per_user: chance.one_in(2).then(|| 1 + chance.below(4) as u32),
            allocation_rate: chance.one_in(2).then_some(slow),
            total_rate: if chance.one_in(3) { slow } else { RateLimit::NONE },
            ..RealmLimits::NONE
        };
        let peers = PeerFilter::new([], net);
        all.push((
            RealmConfig {
                limits,
                peers,
                ..tenant(name)
            },
            net,
        ));
    }
    all
}

fn token_keys() -> [TokenKey; 2] {
    [("north", [1; 32]), ("union", [2; 32])].map(|(kid, key)| TokenKey::new(kid, &key).unwrap())
}

/// Of whom tokens are taken: `most` of the two authorization servers.
pub(crate) fn third_party(most: usize) -> Arc<ThirdParty> {
    let keys = token_keys().into_iter().take(most).collect();
    Arc::new(ThirdParty::new(TOKEN_SERVER, keys, 5).unwrap())
}

/// A new token, of one of the two authorization servers; now and then one that has ended. Its lifetime.
pub(crate) fn take_token(client: &mut Client, chance: &mut Chance, now: UnixTime) -> u32 {
    let lifetime = 60 + chance.below(4000) as u32;
    let key = &token_keys()[usize::from(chance.one_in(4))];
    let age = if chance.one_in(8) { 5000 } else { 0 };
    let token = AccessToken {
        mac_key: (0..20).map(|_| chance.below(256) as u8).collect::<Vec<_>>().into(),
        issued: UnixTime(now.0 - age),
        lifetime,
    };
    let nonce = std::array::from_fn(|_| chance.below(256) as u8);
    client.bear(TOKEN_SERVER, key, nonce, &token);
    lifetime
}

/// The two addresses and ports at which clients are told about their NATs.
pub(crate) const PLACES: ([&str; 2], [u16; 2]) = ([RELAY_V4, "20.9.9.10"], [3478, 3479]);

pub(crate) fn nat_discovery(response_port: bool) -> NatDiscovery {
    let (addrs, ports) = PLACES;
    let addrs = addrs.map(|addr| ServerAddr {
        bind: ip(addr),
        advertised: ip(addr),
    });
    NatDiscovery {
        places: vec![DiscoveryPlaces { addrs, ports }],
        tcp: false,
        response_port,
        answers_per_second: 4,
    }
}
