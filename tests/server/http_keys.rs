//! API keys, as strangers show them: where they may stand, what they open, and what becomes of wrong ones.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use meetpoint::http::keys::{Grant, NewKey};
use meetpoint::http::{ApiKey, Auth, Config, Cors, Failures, Jwt, JwtSecret, KeyHash, RateLimit, Realm, Scope, Token};

use crate::http_support::{Api, Reply, STRANGER, request};

const KEY: &str = "a key of another service, which is long enough";
const TOKEN: &str = "acme's own token, of 32 characters and more";

pub(crate) fn key(name: &str, text: &str) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hashes: vec![KeyHash::of(text)],
        scopes: vec![Scope::Issue],
        realm: None,
        origins: Vec::new(),
        grant: Grant {
            rate: RateLimit::default(),
            per_hour: 0,
            per_day: 0,
        },
        max_ttl: None,
        enabled: true,
        expires_at: None,
    }
}

fn config(keys: Vec<ApiKey>) -> Config {
    Config {
        keys,
        refuse_strangers: true,
        ..Config::default()
    }
}

fn api(change: impl FnOnce(&mut ApiKey)) -> Api {
    let mut key = key("shop", KEY);
    change(&mut key);
    Api::new(config(vec![key]))
}

/// Status and problem code, which is null for a list.
fn told(reply: &Reply) -> (u16, serde_json::Value) {
    (reply.status.as_u16(), reply.json()["code"].clone())
}

fn metric(api: &Api, line: &str) -> bool {
    api.metrics.render().lines().any(|each| each == line)
}

fn encoded(key: &str) -> String {
    key.replace(' ', "%20").replace(',', "%2C")
}

#[tokio::test]
async fn a_key_opens_from_each_of_its_places_and_nobody_is_let_in_without_one() {
    let api = api(|_| ());
    let bearer = format!("Bearer {KEY}");
    let query = encoded(KEY);
    for (path, headers) in [
        ("/api/ice-servers", &[("authorization", bearer.as_str())][..]),
        ("/v1/ice", &[("x-api-key", KEY)]),
        (&format!("/api/ice-servers?apiKey={query}"), &[]),
        (&format!("/v1/turn?service=turn&key={query}"), &[]),
    ] {
        let reply = api.get(path, headers).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.json());
        let wrong: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.replace('k', "j")))
            .collect();
        let wrong: Vec<_> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = api.get(&path.replace("a%20key", "no%20key"), &wrong).await;
        assert_eq!(told(&reply), (401, "invalid_key".into()), "{path}");
        assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer "));
        let reply = api.get(path.split('?').next().unwrap(), &[]).await;
        assert_eq!(told(&reply), (401, "key_required".into()), "{path}");
    }
    let body = request("POST", "/api/ice-servers", &[("x-api-key", KEY)], "");
    assert_eq!(api.answer_to(STRANGER, body).await.status, 200);
    assert!(metric(
        &api,
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"accepted\"} 5"
    ));
    assert!(metric(&api, "meetpoint_api_key_unknown_total 4"));
    assert!(
        metric(
            &api,
            "meetpoint_auth_token_failures_total{surface=\"http\",reason=\"invalid\"} 4"
        ) || metric(
            &api,
            "meetpoint_auth_token_failures_total{reason=\"invalid\",surface=\"http\"} 4"
        )
    );
    assert!(
        metric(
            &api,
            "meetpoint_credentials_issues_total{result=\"unauthorized\",surface=\"http\"} 8"
        ),
        "{}",
        api.metrics.render()
    );
}

#[tokio::test]
async fn a_key_that_is_cut_off_is_told_so_and_its_text_is_in_no_answer() {
    let api = api(|_| ());
    let made = NewKey::make().unwrap();
    let cut = &made.expose()[..60];
    for (shown, word) in [(cut, "mistyped"), (made.expose(), "not valid")] {
        let reply = api.get("/v1/ice", &[("x-api-key", shown)]).await;
        let answer = reply.json().to_string();
        assert!(answer.contains(word) && !answer.contains(shown), "{answer}");
    }
}

#[tokio::test]
async fn an_address_that_shows_wrong_keys_waits_and_a_right_one_opens_from_there_all_the_same() {
    let failures = Failures(RateLimit {
        burst: 3,
        interval: Duration::from_secs(3600),
        ..RateLimit::default()
    });
    let api = Api::new(Config {
        failures,
        ..config(vec![key("shop", KEY)])
    });
    let wrong = [("x-api-key", "no key of anybody's")];
    for _ in 0..3 {
        assert_eq!(told(&api.get("/v1/ice", &wrong).await), (401, "invalid_key".into()));
    }
    let reply = api.get("/v1/ice", &wrong).await;
    assert_eq!(told(&reply), (429, "rate_limited".into()));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(api.get("/v1/ice", &[("x-api-key", KEY)]).await.status, 200);
    let neighbour = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8));
    let reply = api.answer_to(neighbour, request("GET", "/v1/ice", &wrong, "")).await;
    assert_eq!(told(&reply), (401, "invalid_key".into()));
}

#[tokio::test]
async fn quotas_rates_and_lifetimes_hold_at_their_bounds_and_what_came_to_nothing_is_given_back() {
    let shown = [("x-api-key", KEY)];
    let quota = api(|key| {
        key.grant.per_day = 2;
        key.max_ttl = Some(Duration::from_secs(90));
    });
    // Neither a wish that makes no sense nor a name that is not to be had uses anything up.
    for path in ["/v1/ice?ttl=0", "/v1/ice?user=%40%20"] {
        assert_eq!(quota.get(path, &shown).await.status, 400, "{path}");
    }
    for (path, ttl) in [("/v1/ice", 90), ("/v1/ice?ttl=60", 60)] {
        assert_eq!(quota.get(path, &shown).await.json()["ttl"], ttl);
    }
    let reply = quota.get("/v1/ice", &shown).await;
    assert_eq!(told(&reply), (429, "quota_exceeded".into()));
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait));
    assert!(metric(
        &quota,
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"quota_exceeded\"} 1"
    ));

    let fast = api(|key| {
        key.grant.rate = RateLimit {
            interval: Duration::from_secs(60),
            burst: 2,
            ..RateLimit::default()
        };
    });
    // From different addresses: the key pays, not the client.
    for (last, status) in [(1, 200), (2, 200), (3, 429)] {
        let client = IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
        let reply = fast.answer_to(client, request("GET", "/v1/ice", &shown, "")).await;
        assert_eq!(reply.status, status);
    }
    assert!(metric(
        &fast,
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"rate_limited\"} 1"
    ));
}

#[tokio::test]
async fn a_key_in_a_page_is_good_from_there_alone_and_limits_each_visitor() {
    let origin = "https://shop.example";
    let config = config(vec![ApiKey {
        origins: vec![origin.to_owned()],
        ..key("shop", KEY)
    }]);
    let api = Api::new(Config {
        rate: RateLimit {
            interval: Duration::from_secs(60),
            burst: 2,
            ..RateLimit::default()
        },
        ..config
    });
    for from in [&[][..], &[("origin", "https://evil.example")], &[("origin", "null")]] {
        let headers = [&[("x-api-key", KEY)][..], from].concat();
        let reply = api.get("/v1/ice", &headers).await;
        assert_eq!(told(&reply), (403, "origin_not_allowed".into()), "{from:?}");
    }
    let page = [("x-api-key", KEY), ("origin", origin)];
    for status in [200, 200, 429] {
        let reply = api.get("/v1/ice", &page).await;
        assert_eq!(reply.status, status);
        assert!(reply.header("access-control-allow-origin").is_some());
    }
    let other = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(
        api.answer_to(other, request("GET", "/v1/ice", &page, "")).await.status,
        200
    );
    assert!(metric(
        &api,
        "meetpoint_api_key_requests_total{key=\"shop\",result=\"origin\"} 3"
    ));
    // The header in which it stands may be sent by pages.
    let asks = [
        ("origin", origin),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-api-key"),
    ];
    let reply = api.answer_to(STRANGER, request("OPTIONS", "/v1/ice", &asks, "")).await;
    assert!(
        reply
            .header("access-control-allow-headers")
            .unwrap()
            .contains("x-api-key")
    );
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_credentials_and_not_only_kept_from_reading_them() {
    let own = "https://app.example";
    let jwt = Jwt::new(vec![JwtSecret::new("0123456789abcdef0123456789abcdef")]);
    for auth in [Auth::Open, Auth::Jwt(Box::new(jwt))] {
        let is_open = auth == Auth::Open;
        let api = Api::new(Config {
            cors: Cors::Origins(vec![own.to_owned()]),
            auth,
            keys: vec![key("shop", KEY)],
            ..Config::default()
        });
        for path in ["/api/ice-servers", "/v1/ice", "/v1/turn"] {
            for (origin, refused) in [
                (Some("https://evil.example"), true),
                (Some("null"), true),
                (Some(own), false),
                (Some("http://meet.example:8000"), false),
                (None, false),
            ] {
                let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
                let (status, code) = told(&api.get(path, &headers).await);
                let expected = match (refused, is_open) {
                    (true, _) => (403, "origin_not_allowed".into()),
                    (false, true) => (200, serde_json::Value::Null),
                    (false, false) => (401, "token_required".into()),
                };
                assert_eq!((status, code), expected, "{path} from {origin:?}");
                let with_key = [&headers[..], &[("x-api-key", KEY)]].concat();
                let status = api.get(path, &with_key).await.status;
                assert_eq!(status, if refused { 403 } else { 200 }, "{path} from {origin:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_off_over_or_for_something_else_says_which() {
    let shown = [("x-api-key", KEY)];
    for (change, status, code) in [
        (
            (|key: &mut ApiKey| key.enabled = false) as fn(&mut ApiKey),
            403,
            "key_disabled",
        ),
        (
            |key| key.expires_at = Some(meetpoint::credentials::UnixTime(1)),
            401,
            "expired_key",
        ),
        (|key| key.scopes = vec![Scope::Revoke], 403, "forbidden"),
    ] {
        let api = api(change);
        assert_eq!(told(&api.get("/v1/ice", &shown).await), (status, code.into()));
    }
}

#[tokio::test]
async fn tokens_of_realms_come_before_keys_and_keys_before_other_tokens() {
    let realm = Realm {
        name: "acme".to_owned(),
        tokens: vec![Token::new(TOKEN)],
        rate: RateLimit::default(),
        hosts: Vec::new(),
        extra: Vec::new(),
        ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(60),
    };
    let jwt = Jwt::new(vec![JwtSecret::new("0123456789abcdef0123456789abcdef")]);
    let api = Api::new(Config {
        auth: Auth::Jwt(Box::new(jwt)),
        realms: vec![realm],
        ..config(vec![key("shop", KEY)])
    });
    let bearer = |token: &str| format!("Bearer {token}");
    for (token, told_of) in [
        // A realm that mints nothing here: but it was let in.
        (bearer(TOKEN), (403, "no_realm".into())),
        (bearer(KEY), (200, serde_json::Value::Null)),
        (bearer("a token of nobody"), (401, "invalid_token".into())),
        (bearer(NewKey::make().unwrap().expose()), (401, "invalid_key".into())),
    ] {
        let reply = api.get("/v1/ice", &[("authorization", &token)]).await;
        assert_eq!(told(&reply), told_of);
    }
    assert_eq!(told(&api.get("/v1/ice", &[]).await), (401, "token_required".into()));
}

#[tokio::test]
async fn where_strangers_are_served_a_wrong_key_is_refused_and_without_keys_nothing_is_one() {
    let served = Api::new(Config {
        keys: vec![key("shop", KEY)],
        ..Config::default()
    });
    assert_eq!(served.get("/v1/ice", &[]).await.status, 200);
    let reply = served.get("/v1/ice", &[("x-api-key", "wrong")]).await;
    assert_eq!(told(&reply), (401, "invalid_key".into()));
    // A token says nothing there, as ever.
    assert_eq!(
        served.get("/v1/ice", &[("authorization", "Bearer x")]).await.status,
        200
    );
    let open = Api::new(Config::default());
    assert_eq!(open.get("/v1/turn?key=whatever", &[]).await.status, 200);
    let closed = Api::new(config(Vec::new()));
    assert_eq!(
        told(&closed.get("/v1/ice", &[("x-api-key", "x")]).await),
        (401, "key_required".into())
    );
}
