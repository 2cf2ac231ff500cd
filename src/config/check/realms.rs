//! What must hold between realms, so that none of them opens another.

use super::Rules;
use crate::config::schema::{Config, Realm};
use crate::config::types::SecretText;
use crate::credentials::named_realm;

pub(super) fn check(config: &Config, rules: &mut Rules<'_>) {
    for (name, realm) in &config.realms {
        of_use(name, realm, rules);
        lifetimes(name, realm, config, rules);
        users(name, realm, rules);
    }
    shared(
        "secrets",
        "credentials.secrets",
        &config.credentials.secrets,
        config,
        |realm| &realm.secrets,
        rules,
    );
    shared(
        "tokens",
        "admin.tokens",
        &config.admin.tokens,
        config,
        |realm| &realm.tokens,
        rules,
    );
    let key = "credentials.users";
    if rules.valid(&[key]) {
        for user in &config.credentials.users {
            let Some(realm) = named_realm(&user.name).filter(|realm| config.realms.contains_key(*realm)) else {
                continue;
            };
            rules.broken(
                &[key],
                format!("the user `{}` has the name of one of the realm `{realm}`", user.name),
                format!("move it to `realms.{realm}.users`, without the `@{realm}`"),
            );
        }
    }
}

/// A realm that lets nobody in, and tokens that cannot mint.
fn of_use(name: &str, realm: &Realm, rules: &mut Rules<'_>) {
    let key = |key: &str| format!("realms.{name}.{key}");
    let (secrets, users, tokens) = (key("secrets"), key("users"), key("tokens"));
    if !realm.secrets.is_empty() || !rules.valid(&[&secrets, &users, &tokens]) {
        return;
    }
    if !realm.tokens.is_empty() {
        let wrong = "tokens without a secret to mint with".to_owned();
        rules.broken(&[&tokens], wrong, format!("set `{secrets}`"));
    } else if realm.users.is_empty() {
        let wrong = format!("the realm `{name}` lets nobody in");
        rules.broken(
            &[&secrets],
            wrong,
            format!("set `{secrets}` or `{users}`, or remove the realm"),
        );
    }
}

fn lifetimes(name: &str, realm: &Realm, config: &Config, rules: &mut Rules<'_>) {
    let own = ["ttl", "max_ttl"].map(|key| format!("realms.{name}.{key}"));
    let keys = [&own[0], &own[1], "credentials.ttl", "credentials.max_ttl"].map(|key: &str| key);
    let (ttl, max_ttl) = realm.lifetimes(config);
    let is_own = realm.ttl.is_some() || realm.max_ttl.is_some();
    if is_own && ttl > max_ttl && rules.valid(&keys) {
        rules.broken(
            &keys,
            format!("`{}` is above `{}`", own[0], own[1]),
            format!("raise `{}` or lower `{}`", own[1], own[0]),
        );
    }
}

/// The name of a realm stands in no name of its users: it is put behind them.
fn users(name: &str, realm: &Realm, rules: &mut Rules<'_>) {
    let key = format!("realms.{name}.users");
    for user in realm.users.iter().filter(|user| named_realm(&user.name) == Some(name)) {
        let bare = user.name.trim_end_matches(name).trim_end_matches('@');
        rules.broken(
            &[&key],
            format!("`{}` would come as `{}@{name}`", user.name, user.name),
            format!("write `{bare}`: the realm is put behind it"),
        );
    }
}

/// A secret in two realms would open both to whoever has it. It is not said which one it is.
fn shared(
    what: &str,
    of_all: &str,
    default: &[SecretText],
    config: &Config,
    of: impl Fn(&Realm) -> &[SecretText],
    rules: &mut Rules<'_>,
) {
    let mut seen: Vec<(String, &SecretText)> = default.iter().map(|secret| (of_all.to_owned(), secret)).collect();
    for (name, realm) in &config.realms {
        let key = format!("realms.{name}.{what}");
        for secret in of(realm) {
            let elsewhere = seen.iter().find(|(other, known)| *other != key && *known == secret);
            if let Some((other, _)) = elsewhere
                && rules.valid(&[&key, other])
            {
                rules.broken(
                    &[&key],
                    format!("one of them is also in `{other}`, and would open both"),
                    "give each its own".into(),
                );
            }
        }
        seen.extend(of(realm).iter().map(|secret| (key.clone(), secret)));
    }
}
