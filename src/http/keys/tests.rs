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

/// A key that makes others, and one that it made.
fn maker_and_made(all: &Keys, maker: &ApiKey) -> (Arc<Held>, Arc<Held>) {
    let by = Some(Maker {
        name: &maker.name,
        realm: maker.realm.as_deref(),
    });
    let (_, text) = all.make("app", None, by, NOW).unwrap();
    (all.find("admin").unwrap(), all.find(text.expose()).unwrap())
}

fn maker() -> ApiKey {
    ApiKey {
        scopes: Scope::ALL.to_vec(),
        realm: Some("acme".to_owned()),
        ..key("admin", &["admin"])
    }
}

#[test]
fn a_key_that_a_key_made_does_nothing_that_its_maker_does_not() {
    let directory = tempfile::TempDir::new().unwrap();
    let bounded = ApiKey {
        origins: vec!["https://app.example".to_owned()],
        max_ttl: Some(Duration::from_secs(60)),
        expires_at: Some(UnixTime(NOW.0 + 100)),
        ..maker()
    };
    let all = keys(std::slice::from_ref(&bounded));
    all.open(&directory.path().join("keys.json")).unwrap();
    let (_, made) = maker_and_made(&all, &bounded);
    let bounds = |key: &ApiKey| (key.realm.clone(), key.origins.clone(), key.max_ttl, key.expires_at);
    assert_eq!(bounds(made.key()), bounds(&bounded));
    let judge = |held: &Held, scope| held.judge(scope, Some("https://app.example"), NOW);
    assert_eq!(
        (judge(&made, Scope::Issue), judge(&made, Scope::Revoke)),
        (Ok(()), Ok(()))
    );
    for scope in [Scope::Usage, Scope::Keys] {
        assert_eq!(judge(&made, scope), Err(Refusal::Scope), "none of them makes another");
    }
    assert_eq!(made.judge(Scope::Issue, None, NOW), Err(Refusal::Origin));
    // What the maker may do from now on holds for what it has made.
    let text = all
        .0
        .ring
        .load()
        .by_hash
        .iter()
        .find_map(|(hash, held)| held.is_made.then_some(*hash))
        .unwrap();
    let now_it_may = |change: ApiKey| {
        all.replace(&[change]);
        let made = Arc::clone(&all.0.ring.load().by_hash[&text]);
        judge(&made, Scope::Issue)
    };
    let with = |scopes: &[Scope]| ApiKey {
        scopes: scopes.to_vec(),
        ..bounded.clone()
    };
    assert_eq!(now_it_may(with(&[Scope::Keys, Scope::Revoke])), Err(Refusal::Scope));
    assert_eq!(
        now_it_may(ApiKey {
            enabled: false,
            ..bounded.clone()
        }),
        Err(Refusal::Disabled)
    );
    assert_eq!(
        now_it_may(ApiKey {
            expires_at: Some(NOW),
            ..bounded.clone()
        }),
        Err(Refusal::Expired)
    );
    assert_eq!(now_it_may(bounded.clone()), Ok(()));
    // Somebody else who is called so, or nobody.
    assert_eq!(
        now_it_may(ApiKey {
            realm: None,
            ..bounded.clone()
        }),
        Err(Refusal::Disabled)
    );
    assert_eq!(now_it_may(key("other", &["admin"])), Err(Refusal::Disabled));
}

#[test]
fn a_key_and_all_that_it_made_have_one_quota_together_through_every_reload() {
    let directory = tempfile::TempDir::new().unwrap();
    let maker = maker();
    let all = keys(std::slice::from_ref(&maker));
    all.open(&directory.path().join("keys.json")).unwrap();
    let (of_maker, first) = maker_and_made(&all, &maker);
    let (_, second) = maker_and_made(&all, &maker);
    let take = |held: &Held| held.take(Instant::now(), NOW);
    assert_eq!((take(&first), take(&second)), (Ok(()), Ok(())));
    for held in [&of_maker, &first, &second] {
        assert!(matches!(take(held), Err(Refusal::Exhausted(Exhausted::Quota(_)))));
    }
    let mut raised = maker.clone();
    raised.grant.per_hour = 3;
    all.replace(&[raised]);
    let third = Arc::clone(&all.0.ring.load().by_name[first.name()]);
    assert_eq!(take(&third), Ok(()));
    assert!(take(&all.find("admin").unwrap()).is_err());
    // One that an operator made has its own.
    let (_, text) = all.make("", Some("acme"), None, NOW).unwrap();
    assert_eq!(take(&all.find(text.expose()).unwrap()), Ok(()));
}

#[test]
fn what_another_process_made_or_ended_opens_or_not_once_the_file_is_read_again() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("keys.json");
    let (ours, theirs) = (keys(&[]), keys(&[]));
    assert!(matches!(ours.read_again(), Err(StoreError::NoFile)));
    ours.open(&path).unwrap();
    theirs.open(&path).unwrap();
    let (made, text) = theirs.make("", None, None, NOW).unwrap();
    assert!(ours.find(text.expose()).is_none());
    assert!(ours.read_again().unwrap() && !ours.read_again().unwrap());
    assert!(ours.find(text.expose()).is_some());
    // What is not known here yet can be ended here.
    let (other, _) = theirs.make("", None, None, NOW).unwrap();
    ours.end(&other.uid, Of::All).unwrap();
    theirs.read_again().unwrap();
    assert_eq!(theirs.made(Of::All).unwrap(), [made]);
    std::fs::write(&path, "none").unwrap();
    assert!(ours.read_again().is_err() && ours.find(text.expose()).is_some());
}

#[test]
fn whoever_lists_keys_does_not_wait_for_the_disk() {
    let directory = tempfile::TempDir::new().unwrap();
    let all = keys(&[]);
    all.open(&directory.path().join("keys.json")).unwrap();
    let (made, text) = all.make("", None, None, NOW).unwrap();
    // As a change that is being written to a slow disk has it.
    let _writing = all.0.store.lock().unwrap();
    assert_eq!(all.made(Of::All).unwrap(), std::slice::from_ref(&made));
    assert!(all.made_key(&made.uid, Of::All).is_ok() && all.find(text.expose()).is_some());
    all.replace(&[key("shop", &["k"])]);
    assert_eq!(name(&all, "k").as_deref(), Some("shop"));
    assert!(matches!(all.end(&made.uid, Of::All), Err(StoreError::Locked)));
}
