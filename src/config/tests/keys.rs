//! `[keys.NAME]`: what is read, what is refused, and what is never shown.

use super::{file, loaded, problem, problems};
use crate::config::detect::Machine;
use crate::config::{Changes, load, show};
use crate::credentials::UnixTime;
use crate::http::keys::NewKey;
use crate::http::{KeyHash, Scope};

const ONE: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const TWO: &str = "sha256:cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34";

fn machine() -> Machine {
    Machine {
        ipv4: Some("192.0.2.1".parse().unwrap()),
        ipv6: None,
        addresses: Vec::new(),
        outside: Vec::new(),
    }
}

#[test]
fn a_key_is_what_its_section_says() {
    let config = loaded(&format!(
        "[realms.acme]\nsecrets = \"a\"\n[keys.shop]\nhashes = [\"{ONE}\", \"{TWO}\"]\nscopes = [\"issue\", \"revoke\"]\nrealm = \"acme\"\n\
         origins = \"https://shop.example\"\nenabled = false\nexpires = \"2027-01-31\"\nrate = \"5/s\"\nburst = 7\nquota_per_hour = 10\n\
         quota_per_day = 100\nmax_ttl = \"10m\"\n"
    ))
    .unwrap();
    let settings = config.settings(&machine());
    let key = &settings.http.keys[0];
    assert_eq!(key.name, "shop");
    assert_eq!(key.hashes, [KeyHash::of("abc"), KeyHash::parse(TWO).unwrap()]);
    assert_eq!(key.scopes, [Scope::Issue, Scope::Revoke]);
    assert_eq!((key.realm.as_deref(), key.enabled), (Some("acme"), false));
    assert_eq!(key.origins, ["https://shop.example"]);
    assert_eq!(key.expires_at, Some(UnixTime(1_801_353_600)));
    assert_eq!((key.grant.rate.interval.as_millis(), key.grant.rate.burst), (200, 7));
    assert_eq!((key.grant.per_hour, key.grant.per_day), (10, 100));
    assert_eq!(key.max_ttl.unwrap().as_secs(), 600);
}

#[test]
fn strangers_are_refused_from_the_first_key_on_unless_the_operator_says_otherwise() {
    let refuses = |text: &str| loaded(text).unwrap().settings(&machine()).http.refuse_strangers;
    let key = format!("[keys.shop]\nhashes = \"{ONE}\"\n");
    assert!(!refuses("") && refuses(&key));
    assert!(!refuses(&format!("[auth]\nanonymous_turn = \"yes\"\n{key}")));
    assert!(refuses("[auth]\nanonymous_turn = \"no\"\n"));
}

#[test]
fn a_file_of_digests_rotates_a_key_and_is_taken_over_by_a_reload() {
    let mut sources = file("[keys.shop]\nhashes_file = \"shop.keys\"\n");
    let text = format!("{ONE}\n{TWO}\n");
    let read = move |_: &std::path::Path| Ok(text.clone());
    sources.read = &read;
    let config = load(&sources).unwrap().config;
    assert_eq!(config.keys["shop"].hashes.len(), 2);
    let (_, changes) = config.clone().continuing(&loaded("").unwrap());
    assert_eq!(changes.applied, ["keys.shop"]);
    assert_eq!(config.clone().continuing(&config).1, Changes::default());
}

#[test]
fn a_digest_is_shown_by_its_beginning_and_a_key_in_its_place_never() {
    let shown = show(&load(&file(&format!("[keys.shop]\nhashes = \"{ONE}\"\n"))).unwrap());
    assert!(
        shown.contains("sha256:ba7816bf<redacted>") && !shown.contains(&ONE[20..]),
        "{shown}"
    );
    let key = NewKey::make().unwrap();
    let wrong = problem(&format!("[keys.shop]\nhashes = \"{}\"\n", key.expose()));
    assert!(
        wrong.contains("this is a key itself") && !wrong.contains(key.expose()),
        "{wrong}"
    );
    // What to write in its place is told, so that it can be.
    let (_, digest) = wrong.split_once("write \"").unwrap();
    let (digest, _) = digest.split_once('"').unwrap();
    assert_eq!(KeyHash::parse(digest), Some(key.hash()));
    let wrong = problem("[keys.shop]\nhashes = \"hunter2\"\n");
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn what_would_surprise_is_refused_with_the_way_out() {
    let key = |lines: &str| format!("[keys.shop]\nhashes = \"{ONE}\"\n{lines}");
    for (text, parts) in [
        (
            "[keys.shop]\nenabled = true\n".to_owned(),
            ["has no digest", "meetpoint keys make shop"],
        ),
        (key("scopes = []\n"), ["good for nothing", "enabled = false"]),
        (key("scopes = \"admin\"\n"), ["not one of the choices", "`\"revoke\"`"]),
        (key("realm = \"acme\"\n"), ["there is no [realms.acme]", "name one"]),
        (
            key("realm = \"acme\"\n[realms.acme]\nusers = \"a:b\"\n"),
            ["no secret to mint with", "realms.acme.secrets"],
        ),
        (
            key(&format!("[keys.site]\nhashes = \"{ONE}\"\n")),
            ["is also in `keys.shop.hashes`", "its own"],
        ),
        (
            key("origins = \"https://shop.example\"\n[http]\ncors_origins = \"https://app.example\"\n"),
            ["kept out by `http.cors_origins`", "add it"],
        ),
        (key("origins = \"*\"\n"), ["not accepted", "origins without a path"]),
        (key("expires = \"soon\"\n"), ["no date in UTC", "2027-01-31"]),
        (key("expires = 2027-01-31\n"), ["in quotes", "2027-01-31"]),
        (key("max_ttl = \"49h\"\n"), ["not accepted", "48h"]),
    ] {
        let wrong = problem(&text);
        assert!(parts.iter().all(|part| wrong.contains(part)), "{wrong}\n{text}");
    }
    let three = format!(
        "[keys.shop]\nhashes = [\"{ONE}\", \"{TWO}\", \"{}\"]\n",
        KeyHash::of("x").written()
    );
    assert!(problems(&file(&three))[0].contains("at most two"));
}
