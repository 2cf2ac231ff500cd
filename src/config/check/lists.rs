//! What must hold between rules, servers and what rules ask for.

use super::Rules;
use crate::config::schema::{Config, List, Server};
use crate::credentials::DEFAULT_REALM;
use crate::credentials::ice_list::MAX_URLS;
use std::collections::BTreeSet;

pub(super) fn check(config: &Config, rules: &mut Rules<'_>) {
    for (name, server) in &config.servers {
        if ["own", "extra"].contains(&name.as_str()) {
            let wrong = format!(
                "`{name}` is what metrics call {}",
                if name == "own" { "this server" } else { "plain entries" }
            );
            rules.broken(&[&format!("servers.{name}.urls")], wrong, "give it another name".into());
        }
        opened(name, server, rules);
    }
    for (name, list) in &config.lists {
        names(name, list, config, rules);
        empty(name, list, config, rules);
        asked(name, list, config, rules);
    }
    extra(
        "ice.extra",
        config.ice.extra.iter().map(|server| server.0.urls.len()).sum(),
        rules,
    );
    for (name, realm) in &config.realms {
        let urls = realm.ice_servers.iter().map(|server| server.0.urls.len()).sum();
        extra(&format!("realms.{name}.ice_servers"), urls, rules);
    }
    let header = "ice.country_header";
    let proxies = "http.trusted_proxies";
    if config.ice.country_header.is_some() && config.http.trusted_proxies.is_empty() && rules.valid(&[header, proxies])
    {
        let fix = format!("name the proxies in `{proxies}`, or remove `{header}`");
        rules.broken(
            &[header],
            "there is no proxy from which it would be believed".into(),
            fix,
        );
    }
}

/// A TURN server is opened by one thing.
fn opened(name: &str, server: &Server, rules: &mut Rules<'_>) {
    let key = |key: &str| format!("servers.{name}.{key}");
    let (urls, secret, username, credential) = (key("urls"), key("secret"), key("username"), key("credential"));
    if !rules.valid(&[&urls, &secret, &username, &credential]) {
        return;
    }
    if server.urls.is_empty() {
        let fix = format!("set `{urls}`, for example to \"turn:turn.example.org:3478?transport=udp\"");
        rules.broken(&[&urls, &secret, &username], "a server without URLs".into(), fix);
        return;
    }
    let relays = server.urls.iter().any(|url| url.relays);
    let (has_secret, has_name, has_password) = (
        server.secret.is_some(),
        server.username.is_some(),
        server.credential.is_some(),
    );
    if has_secret && (has_name || has_password) {
        let fix = format!("keep `{secret}`, or `{username}` and `{credential}`");
        rules.broken(&[&secret], "two ways to open one server".into(), fix);
    } else if has_name != has_password {
        let (there, missing) = if has_name {
            (&username, &credential)
        } else {
            (&credential, &username)
        };
        rules.broken(
            &[there],
            "one without the other opens nothing".into(),
            format!("set `{missing}`"),
        );
    } else if relays && !has_secret && !has_name {
        let fix = format!("set `{secret}`, or `{username}` and `{credential}`");
        rules.broken(&[&urls], "a TURN server without anything to open it".into(), fix);
    } else if !relays && (has_secret || has_name) {
        let there = if has_secret { &secret } else { &username };
        let fix = format!("remove it, or give `{urls}` a turn: URI");
        rules.broken(&[there], "STUN needs none, and there is no TURN server".into(), fix);
    }
}

/// What a rule names is there.
fn names(name: &str, list: &List, config: &Config, rules: &mut Rules<'_>) {
    let servers = format!("lists.{name}.servers");
    let known: Vec<&str> = config.servers.keys().map(String::as_str).collect();
    for server in list.servers.iter().filter(|name| *name != "*") {
        if !known.contains(&server.as_str()) && rules.valid(&[&servers]) {
            let fix = if known.is_empty() {
                format!("write a section [servers.{server}]")
            } else {
                format!("the servers are {}", known.join(", "))
            };
            rules.broken(&[&servers], format!("there is no [servers.{server}]"), fix);
        }
    }
    let tags = format!("lists.{name}.tags");
    let there: BTreeSet<&String> = config.servers.values().flat_map(|server| &server.tags).collect();
    for tag in list.tags.iter().filter(|tag| !there.contains(tag)) {
        if rules.valid(&[&tags]) {
            let fix = "write it as it stands in `tags` of a server".to_owned();
            rules.broken(&[&tags], format!("no server has the tag `{tag}`"), fix);
        }
    }
    let realms = format!("lists.{name}.realms");
    for realm in &list.realms {
        if realm != DEFAULT_REALM && !config.realms.contains_key(realm) && rules.valid(&[&realms]) {
            let fix = format!("write a section [realms.{realm}], or \"{DEFAULT_REALM}\" for everybody who is of none");
            rules.broken(&[&realms], format!("there is no [realms.{realm}]"), fix);
        }
    }
    let keys = format!("lists.{name}.keys");
    for key in &list.keys {
        if !config.keys.contains_key(key) && rules.valid(&[&keys]) {
            let fix = format!("write a section [keys.{key}], or take `{key}` out of `{keys}`");
            rules.broken(&[&keys], format!("there is no [keys.{key}]"), fix);
        }
    }
}

/// A rule that gives nothing would be a mistake that shows only in clients.
fn empty(name: &str, list: &List, config: &Config, rules: &mut Rules<'_>) {
    let key = |key: &str| format!("lists.{name}.{key}");
    let (own, servers, tags) = (key("own"), key("servers"), key("tags"));
    let is_meant = |(name, server): &(&String, &Server)| {
        let named = list.servers.iter().any(|wanted| wanted == "*" || wanted == *name);
        server.enabled && (named || server.tags.iter().any(|tag| list.tags.contains(tag)))
    };
    let others = config.servers.iter().any(|server| is_meant(&server));
    let extra = list.extra && !config.ice.extra.is_empty();
    if !list.own && !others && !extra && rules.valid(&[&own, &servers, &tags]) {
        let fix = format!("set `{own}` to true, or name servers that are enabled in `{servers}`");
        rules.broken(&[&own, &servers], "the list would be empty".into(), fix);
    }
    if list.pick > 0 && list.servers.is_empty() && list.tags.is_empty() {
        let pick = key("pick");
        if rules.valid(&[&pick]) {
            let fix = format!("say of which, with `{servers}` (\"*\" is all) or `{tags}`");
            rules.broken(&[&pick], "picks of no servers".into(), fix);
        }
    }
}

/// A condition that can never hold was meant to.
fn asked(name: &str, list: &List, config: &Config, rules: &mut Rules<'_>) {
    let key = |key: &str| format!("lists.{name}.{key}");
    let countries = key("countries");
    let ice = &config.ice;
    let knows = ice.countries_file.is_some() || ice.country_header.is_some();
    if !list.countries.is_empty() && !knows && rules.valid(&[&countries, "ice.countries_file", "ice.country_header"]) {
        let fix = "set `ice.countries_file` to a database, or `ice.country_header` to the header of your proxy";
        rules.broken(&[&countries], "no country is known of anybody".into(), fix.into());
    }
    let headers = key("headers");
    let believed = list.headers_from_anyone || !config.http.trusted_proxies.is_empty();
    if !list.headers.is_empty() && !believed && rules.valid(&[&headers, "http.trusted_proxies"]) {
        let fix = format!(
            "name your proxies in `http.trusted_proxies`, or set `{}` if anybody may write them",
            key("headers_from_anyone")
        );
        rules.broken(
            &[&headers],
            "there is no proxy from which they would be believed".into(),
            fix,
        );
    }
    let claims = key("claims");
    if !list.claims.is_empty() && !config.auth.is_closed() && rules.valid(&[&claims, "auth.jwt_secrets"]) {
        let fix = "set `auth.jwt_secrets`, `auth.jwt_keys`, `auth.jwks_url` or `auth.hook_url`";
        rules.broken(
            &[&claims],
            "nobody shows a token that would be looked at".into(),
            fix.into(),
        );
    }
}

fn extra(key: &str, urls: usize, rules: &mut Rules<'_>) {
    if urls > MAX_URLS && rules.valid(&[key]) {
        let wrong = format!("{urls} URLs, of which a list has room for {MAX_URLS}");
        rules.broken(&[key], wrong, "keep those that clients need".into());
    }
}
