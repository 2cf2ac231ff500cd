//! What may stand in a list, for whoever wants to know whether it answers.

use std::collections::HashSet;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::credentials::{
    Advertised, Credential, Host, IceList, IceServer, KeyRing, MintError, UnixTime, in_realm, mint, own_urls,
};

/// A STUN or TURN URL that a list may hold, exactly as it stands there, and what opens it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// `stun:`, `stuns:`, `turn:` or `turns:`.
    pub url: Box<str>,
    /// Whose server it is.
    pub origin: Origin,
    opens: Opens,
}

/// Whose server a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This one's relay.
    Own,
    /// One of `ice.extra`, or of a realm's `ice_servers`.
    Extra,
}

impl Origin {
    /// What metrics and operators call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Own => "own",
            Self::Extra => "extra",
        }
    }
}

#[derive(Clone)]
enum Opens {
    Nothing,
    Minted {
        keys: KeyRing,
        realm: Option<Box<str>>,
    },
    Fixed {
        username: Box<str>,
        password: Zeroizing<String>,
    },
}

/// Never a password.
impl std::fmt::Debug for Opens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Minted { .. } => "Minted",
            Self::Fixed { .. } => "Fixed",
        })
    }
}

impl Listed {
    /// A username and password that open it: minted for `user` where there is a secret, else those that are configured. `None` where
    /// none is needed.
    ///
    /// # Errors
    /// When the user cannot be part of a username.
    pub fn try_credential(
        &self,
        now: UnixTime,
        user: &str,
        ttl: Duration,
    ) -> Result<Option<(String, Zeroizing<String>)>, MintError> {
        let minted = |credential: Credential| {
            let password = Zeroizing::new(credential.password.as_str().to_owned());
            (credential.username, password)
        };
        Ok(match &self.opens {
            Opens::Nothing => None,
            Opens::Minted { keys, realm: None } => Some(minted(mint(keys, now, user, ttl)?)),
            Opens::Minted {
                keys,
                realm: Some(realm),
            } => Some(minted(mint(keys, now, &in_realm(user, realm), ttl)?)),
            Opens::Fixed { username, password } => Some((username.to_string(), password.clone())),
        })
    }
}

/// Collects each URL once: the first one that names it says what opens it.
#[derive(Default)]
pub(in crate::http) struct Listing {
    seen: HashSet<Box<str>>,
    all: Vec<Listed>,
}

impl Listing {
    /// This server's own, as tenants of `realm` are told of it.
    pub(in crate::http) fn own(
        &mut self,
        hosts: &[Host],
        listeners: &[Advertised],
        keys: &KeyRing,
        realm: Option<&str>,
    ) {
        let (stun, turn) = own_urls(hosts, listeners);
        let minted = Opens::Minted {
            keys: keys.clone(),
            realm: realm.map(Box::from),
        };
        self.add(&stun, Origin::Own, &Opens::Nothing);
        self.add(&turn, Origin::Own, &minted);
    }

    /// As the operator wrote them.
    pub(in crate::http) fn extra(&mut self, servers: &[IceServer]) {
        for server in servers {
            let opens = match (&server.username, &server.credential) {
                (Some(username), Some(password)) => Opens::Fixed {
                    username: username.as_str().into(),
                    password: Zeroizing::new(password.clone()),
                },
                _ => Opens::Nothing,
            };
            self.add(&server.urls, Origin::Extra, &opens);
        }
    }

    fn add(&mut self, urls: &[String], origin: Origin, opens: &Opens) {
        for url in urls {
            if self.seen.insert(url.as_str().into()) {
                self.all.push(Listed {
                    url: url.as_str().into(),
                    origin: origin.clone(),
                    opens: opens.clone(),
                });
            }
        }
    }

    pub(in crate::http) fn into_all(self) -> Vec<Listed> {
        self.all
    }
}

/// Takes dead URLs out, unless no TURN server would be left where there was one: a prober that is wrong about all of them must not
/// take everybody's relay away.
pub(in crate::http) fn without_dead(list: &mut IceList, dead: &HashSet<Box<str>>) {
    let is_dead = |url: &String| dead.contains(url.as_str());
    if !list.ice_servers.iter().any(|server| server.urls.iter().any(is_dead)) {
        return;
    }
    let relays = |servers: &[IceServer]| servers.iter().any(|server| server.credential.is_some());
    let living: Vec<IceServer> = list
        .ice_servers
        .iter()
        .map(|server| IceServer {
            urls: server.urls.iter().filter(|url| !is_dead(url)).cloned().collect(),
            ..server.clone()
        })
        .filter(|server| !server.urls.is_empty())
        .collect();
    let is_whole_again = living.is_empty() || relays(&list.ice_servers) && !relays(&living);
    if !is_whole_again {
        list.ice_servers = living;
    }
}
