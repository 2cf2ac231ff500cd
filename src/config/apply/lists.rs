//! From `[servers.NAME]` and `[lists.NAME]` to what lists are made by.

use crate::config::schema::{Config, List, Server};
use crate::config::types::IcePolicy;
use crate::credentials::TransportPolicy;
use crate::http::lists::config::{Access, Gives, Lists, Password, Rule, Server as Other, Servers, When};

impl Config {
    pub(in crate::config) fn lists_settings(&self) -> Lists {
        let mut rules: Vec<(&String, &List)> = self.lists.iter().collect();
        // Names are in their order already.
        rules.sort_by_key(|(_, list)| list.order);
        Lists {
            servers: self
                .servers
                .iter()
                .filter(|(_, server)| server.enabled)
                .map(|(name, server)| other(name, server))
                .collect(),
            rules: rules.into_iter().map(|(name, list)| rule(name, list)).collect(),
            countries: self.ice.countries_file.as_ref().map(|file| file.0.clone()),
            country_header: self.ice.country_header.as_ref().map(|header| header.0.clone()),
        }
    }

    /// Claims that some rule looks at.
    pub(in crate::config) fn kept_claims(&self) -> Vec<Box<str>> {
        let claims = self.lists.values().flat_map(|list| &list.claims);
        let mut names: Vec<Box<str>> = claims.map(|claim| claim.0.as_str().into()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn other(name: &str, server: &Server) -> Other {
    let access = match (&server.secret, &server.username, &server.credential) {
        (Some(secret), ..) => Access::Secret(Password::new(secret.expose())),
        (None, Some(username), Some(credential)) => {
            Access::Fixed(username.as_str().into(), Password::new(credential.expose()))
        }
        _ => Access::Nothing,
    };
    Other {
        name: name.into(),
        urls: server.urls.iter().map(|url| url.text.clone()).collect(),
        access,
        max_ttl: server.max_ttl,
        weight: server.weight,
        tags: boxed(&server.tags),
    }
}

fn rule(name: &str, list: &List) -> Rule {
    Rule {
        name: name.into(),
        when: When {
            clients: list.clients.clone(),
            countries: list.countries.iter().map(|country| country.0).collect(),
            headers: list
                .headers
                .iter()
                .map(|header| (header.0.clone(), header.1.as_str().into()))
                .collect(),
            headers_from_anyone: list.headers_from_anyone,
            claims: list
                .claims
                .iter()
                .map(|claim| (claim.0.as_str().into(), claim.1.as_str().into()))
                .collect(),
            realms: boxed(&list.realms),
            keys: boxed(&list.keys),
        },
        gives: Gives {
            own: list.own,
            extra: list.extra,
            servers: if list.servers.iter().any(|name| name == "*") {
                Servers::All
            } else {
                Servers::Some {
                    names: boxed(&list.servers),
                    tags: boxed(&list.tags),
                }
            },
            pick: list.pick,
            transports: list.transports.iter().map(|each| (each.0, each.1)).collect(),
            policy: list.policy.map(|policy| match policy {
                IcePolicy::All => TransportPolicy::All,
                IcePolicy::Relay => TransportPolicy::Relay,
            }),
            max_urls: list.max_urls,
        },
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
