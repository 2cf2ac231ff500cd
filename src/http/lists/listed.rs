//! What may stand in a list, for whoever wants to know whether it answers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use zeroize::Zeroizing;

use super::urls::Source;
use crate::credentials::{Credential, KeyRing, MintError, UnixTime, in_realm, mint};

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
    /// One of `[servers.NAME]`, by its name.
    Server(Box<str>),
    /// One of `ice.extra`, or of a realm's `ice_servers`.
    Extra,
}

impl Origin {
    /// What metrics and operators call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Own => "own",
            Self::Server(name) => name,
            Self::Extra => "extra",
        }
    }
}

#[derive(Clone)]
pub(super) enum Opens {
    Nothing,
    Minted {
        keys: KeyRing,
        realm: Option<Box<str>>,
        max_ttl: Option<Duration>,
    },
    Fixed {
        username: Box<str>,
        password: Zeroizing<String>,
    },
}

impl Opens {
    pub(super) fn fixed(username: &str, password: &str) -> Self {
        Self::Fixed {
            username: username.into(),
            password: Zeroizing::new(password.to_owned()),
        }
    }
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
            Opens::Minted { keys, realm, max_ttl } => {
                let ttl = max_ttl.map_or(ttl, |most| most.min(ttl));
                let user = match realm {
                    Some(realm) => Cow::Owned(in_realm(user, realm)),
                    None => Cow::Borrowed(user),
                };
                Some(minted(mint(keys, now, &user, ttl)?))
            }
            Opens::Fixed { username, password } => Some((username.to_string(), password.clone())),
        })
    }
}

/// Collects each URL once: the first one that names it says what opens it.
#[derive(Default)]
pub(super) struct Listing {
    seen: HashSet<Box<str>>,
    all: Vec<Listed>,
}

impl Listing {
    pub(super) fn add(&mut self, source: &Source, origin: &Origin, opens: &Opens) {
        for (url, relays) in source.urls() {
            if self.seen.insert(url.into()) {
                self.all.push(Listed {
                    url: url.into(),
                    origin: origin.clone(),
                    opens: if relays { opens.clone() } else { Opens::Nothing },
                });
            }
        }
    }

    pub(super) fn into_all(self) -> Vec<Listed> {
        self.all
    }
}
