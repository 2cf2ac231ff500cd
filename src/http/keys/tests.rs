//! Keys that are granted, replaced and refused.

use std::time::Duration;

use super::*;
use crate::http::rate_limit::RateLimit;
use crate::telemetry::Metrics;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn key(name: &str, texts: &[&str]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hashes: texts.iter().map(|text| KeyHash::of(text)).collect(),
        scopes: vec![Scope::Issue],
        realm: None,
        origins: Vec::new(),
        grant: Grant {
            rate: RateLimit::default(),
            per_hour: 2,
            per_day: 0,
        },
        max_ttl: None,
        enabled: true,
        expires_at: None,
    }
}

fn keys(all: &[ApiKey]) -> Keys {
    let keys = Keys::new(Metrics::new().unwrap().keys());
    keys.replace(all);
    keys
}

fn name(keys: &Keys, text: &str) -> Option<String> {
    keys.find(text).map(|held| held.name().to_string())
}

#[test]
fn both_keys_of_a_name_open_and_nothing_else_does() {
    let longest = "k".repeat(MAX_KEY_BYTES);
    let all = keys(&[key("shop", &["old", "new"]), key("site", &[&longest])]);
    assert_eq!(name(&all, "old").as_deref(), Some("shop"));
    assert_eq!(name(&all, "new").as_deref(), Some("shop"));
    assert_eq!(name(&all, &longest).as_deref(), Some("site"));
    for other in [
        "",
        "ol",
        "older",
        "shop",
        &KeyHash::of("old").written(),
        &format!("{longest}k"),
    ] {
        assert_eq!(name(&all, other), None, "{other}");
    }
    // One that nobody looks up, though its digest is known.
    let longer = "k".repeat(MAX_KEY_BYTES + 1);
    all.replace(&[key("site", &[&longer])]);
    assert_eq!(name(&all, &longer), None);
}

#[test]
fn a_key_that_is_taken_back_opens_nothing_and_one_that_stays_keeps_what_it_used() {
    let all = keys(&[key("shop", &["old"])]);
    let take = |text: &str| all.find(text).unwrap().take(Instant::now(), NOW);
    assert_eq!(take("old"), Ok(()));
    all.replace(&[key("shop", &["old", "new"])]);
    assert_eq!(take("new"), Ok(()));
    assert!(matches!(take("old"), Err(Refusal::Exhausted(Exhausted::Quota(_)))));
    all.replace(&[key("shop", &["new"])]);
    assert!(name(&all, "old").is_none() && take("new").is_err());
    all.replace(&[]);
    assert!(all.is_empty() && name(&all, "new").is_none());
}

#[test]
fn a_key_opens_what_it_is_for_from_where_it_stands_until_it_ends() {
    let judge = |key: ApiKey, scope, origin, now| keys(&[key]).find("k").unwrap().judge(scope, origin, UnixTime(now));
    let plain = || key("shop", &["k"]);
    assert_eq!(judge(plain(), Scope::Issue, None, 0), Ok(()));
    assert_eq!(judge(plain(), Scope::Issue, Some("https://any.example"), 0), Ok(()));
    for scope in [Scope::Revoke, Scope::Usage, Scope::Keys] {
        assert_eq!(judge(plain(), scope, None, 0), Err(Refusal::Scope));
    }
    let off = ApiKey {
        enabled: false,
        ..plain()
    };
    assert_eq!(judge(off, Scope::Issue, None, 0), Err(Refusal::Disabled));
    let ends = || ApiKey {
        expires_at: Some(UnixTime(100)),
        ..plain()
    };
    assert_eq!(judge(ends(), Scope::Issue, None, 99), Ok(()));
    assert_eq!(judge(ends(), Scope::Issue, None, 100), Err(Refusal::Expired));
    let page = || ApiKey {
        origins: vec!["https://app.example".to_owned()],
        ..plain()
    };
    assert_eq!(judge(page(), Scope::Issue, Some("https://APP.example"), 0), Ok(()));
    for origin in [
        None,
        Some("null"),
        Some("https://app.example.evil"),
        Some("http://app.example"),
    ] {
        assert_eq!(
            judge(page(), Scope::Issue, origin, 0),
            Err(Refusal::Origin),
            "{origin:?}"
        );
    }
}

#[test]
fn a_key_that_is_gone_leaves_no_series_and_one_that_is_new_has_all() {
    let metrics = Metrics::new().unwrap();
    let all = Keys::new(metrics.keys());
    all.replace(&[key("shop", &["k"])]);
    let line = "meetpoint_api_key_requests_total{key=\"shop\",result=\"accepted\"} 0";
    assert!(metrics.render().contains(line) && metrics.render().contains("meetpoint_api_keys 1"));
    all.replace(&[]);
    assert!(!metrics.render().contains("shop") && metrics.render().contains("meetpoint_api_keys 0"));
    assert_eq!(format!("{all:?}"), "Keys([])");
}

#[test]
fn a_table_is_no_slower_for_many_keys_and_finds_each() {
    let many: Vec<_> = (0..1000)
        .map(|at| key(&format!("k{at}"), &[&format!("text {at}")]))
        .collect();
    let all = keys(&many);
    assert!((0..1000).all(|at| name(&all, &format!("text {at}")) == Some(format!("k{at}"))));
    assert_eq!(all.find("text 1").unwrap().key().max_ttl, None::<Duration>);
}
