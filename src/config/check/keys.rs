//! What must hold between API keys, and between them and what they open.

use super::Rules;
use crate::config::schema::{ApiKey, Config};
use crate::config::types::KeyDigest;
use crate::http::Scope;

pub(super) fn check(config: &Config, rules: &mut Rules<'_>) {
    let mut seen: Vec<(String, KeyDigest)> = Vec::new();
    for (name, key) in &config.keys {
        of_use(name, key, rules);
        realm(name, key, config, rules);
        origins(name, key, config, rules);
        let hashes = format!("keys.{name}.hashes");
        for digest in &key.hashes {
            let elsewhere = seen.iter().find(|(_, known)| known == digest);
            if let Some((other, _)) = elsewhere
                && rules.valid(&[&hashes, other])
            {
                rules.broken(
                    &[&hashes],
                    format!("one of them is also in `{other}`: nobody could say which of the two is meant"),
                    "give each its own, and none of them twice".into(),
                );
            }
            seen.push((hashes.clone(), *digest));
        }
    }
}

/// A key that nobody can show, and one that is good for nothing.
fn of_use(name: &str, key: &ApiKey, rules: &mut Rules<'_>) {
    let (hashes, scopes) = (format!("keys.{name}.hashes"), format!("keys.{name}.scopes"));
    if key.hashes.is_empty() && rules.valid(&[&hashes]) {
        rules.broken(
            &[&hashes],
            format!("the key `{name}` has no digest, so nobody can show it"),
            format!("run `meetpoint keys make {name}`, or remove the section"),
        );
    }
    if key.scopes.is_empty() && rules.valid(&[&scopes]) {
        rules.broken(
            &[&scopes],
            format!("the key `{name}` is good for nothing"),
            format!(
                "write [\"{}\"], or set `keys.{name}.enabled = false`",
                Scope::Issue.name()
            ),
        );
    }
}

/// A realm that is not there, or that mints nothing.
fn realm(name: &str, key: &ApiKey, config: &Config, rules: &mut Rules<'_>) {
    let path = format!("keys.{name}.realm");
    let Some(realm) = key.realm.as_deref().filter(|_| rules.valid(&[&path])) else {
        return;
    };
    let secrets = format!("realms.{realm}.secrets");
    match config.realms.get(realm) {
        None => rules.broken(
            &[&path],
            format!("there is no [realms.{realm}]"),
            "name one that there is, or remove the line".into(),
        ),
        Some(known) if known.secrets.is_empty() && rules.valid(&[&secrets]) => rules.broken(
            &[&path],
            format!("the realm `{realm}` has no secret to mint with"),
            format!("set `{secrets}`"),
        ),
        Some(_) => {}
    }
}

/// Pages that could not read what their key opens.
fn origins(name: &str, key: &ApiKey, config: &Config, rules: &mut Rules<'_>) {
    let (path, allowed) = (format!("keys.{name}.origins"), "http.cors_origins");
    if !rules.valid(&[&path, allowed]) {
        return;
    }
    // `None` is every origin.
    let Some(all) = config.origins() else { return };
    let is_kept_out = |origin: &&String| !all.contains(&origin.to_lowercase());
    if let Some(origin) = key.origins.iter().find(is_kept_out) {
        rules.broken(
            &[&path],
            format!("pages of {origin} are kept out by `{allowed}`"),
            format!("add it to `{allowed}`"),
        );
    }
}
