//! Who gets which list of ICE servers: rules, servers of others, what browsers are spared, and what is left when all is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use axum::http::HeaderName;
use meetpoint::credentials::{Advertised, KeyRing, TransportPolicy, UnixTime, UriTransport, verify};
use meetpoint::http::lists::config::{Access, Country, Gives, Password, Rule, Server, Servers, When};
use meetpoint::http::{Auth, Config, Countries, Ice, Jwt, JwtSecret, Lists};
use serde_json::Value;

use crate::http_keys::key;
use crate::http_limits::{JWT_SECRET, in_seconds, token};
use crate::http_support::{Api, Reply, request};
use crate::mmdb;

fn server(name: &str, urls: &[&str], access: Access) -> Server {
    Server {
        name: name.into(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        access,
        max_ttl: None,
        weight: 1,
        tags: Vec::new(),
    }
}

fn fixed(name: &str) -> Server {
    let url = format!("turn:{name}.example:3478?transport=udp");
    server(name, &[&url], Access::Fixed("u".into(), Password::new("p")))
}

fn named(names: &[&str]) -> Servers {
    Servers::Some {
        names: names.iter().map(|name| Box::from(*name)).collect(),
        tags: Vec::new(),
    }
}

/// A rule that gives one server and nothing else, by which it is recognised.
fn only(name: &str, when: When) -> Rule {
    Rule {
        name: name.into(),
        when,
        gives: Gives {
            own: false,
            extra: false,
            servers: named(&[name]),
            ..Gives::default()
        },
    }
}

fn config(servers: Vec<Server>, rules: Vec<Rule>) -> Config {
    Config {
        ice: Ice {
            hosts: vec!["own.example".parse().unwrap()],
            ..Ice::default()
        },
        lists: Lists {
            servers,
            rules,
            ..Lists::default()
        },
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..Config::default()
    }
}

fn urls(reply: &Reply) -> Vec<String> {
    let list = reply.json();
    let servers = list["iceServers"].as_array().unwrap_or_else(|| panic!("{list}"));
    let urls = servers.iter().flat_map(|server| server["urls"].as_array().unwrap());
    urls.map(|url| url.as_str().unwrap().to_owned()).collect()
}

async fn asked(api: &Api, from: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    api.answer_to(from.parse().unwrap(), request("GET", path, headers, ""))
        .await
}

/// The one server in the list, by the first label of its host; `own` where it is this server's.
async fn given(api: &Api, from: &str, headers: &[(&str, &str)]) -> String {
    let reply = asked(api, from, "/api/ice-servers?user=alice", headers).await;
    let urls = urls(&reply);
    let host = urls.last().unwrap().split(':').nth(1).unwrap().to_owned();
    host.split('.').next().unwrap().to_owned()
}

fn bearer(claims: &Value) -> String {
    let mut all = serde_json::json!({ "sub": "alice", "exp": in_seconds(600) });
    let claims = claims.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(claims);
    token("HS256", &all)
}

fn country(text: &str) -> Vec<Country> {
    vec![Country::parse(text).unwrap()]
}

#[tokio::test]
async fn the_first_rule_that_fits_counts_and_whom_none_fits_gets_everything() {
    let office = When {
        clients: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ..When::default()
    };
    let one = When {
        clients: vec!["192.0.2.7/32".parse().unwrap()],
        ..When::default()
    };
    let servers = vec![fixed("first"), fixed("second")];
    let api = Api::new(config(servers, vec![only("first", one), only("second", office)]));
    assert_eq!(given(&api, "192.0.2.7", &[]).await, "first");
    assert_eq!(given(&api, "::ffff:192.0.2.7", &[]).await, "first");
    assert_eq!(given(&api, "192.0.2.8", &[]).await, "second");
    assert_eq!(given(&api, "2001:db8::1", &[]).await, "second");
    let all = asked(&api, "203.0.113.1", "/api/ice-servers", &[]).await;
    assert_eq!(
        urls(&all),
        [
            "stun:own.example:3478",
            "turn:own.example:3478?transport=udp",
            "turn:own.example:3478?transport=tcp",
            "turn:first.example:3478?transport=udp",
            "turn:second.example:3478?transport=udp",
        ]
    );
    let metrics = api.get("/metrics", &[]).await.text();
    for line in [
        "meetpoint_ice_lists_total{list=\"first\"} 2",
        "meetpoint_ice_lists_total{list=\"second\"} 2",
        "meetpoint_ice_lists_total{list=\"default\"} 1",
        "meetpoint_ice_servers_given_total{server=\"first\"} 3",
        "meetpoint_ice_servers_given_total{server=\"own\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn headers_count_from_trusted_proxies_alone_unless_the_rule_takes_anybodys() {
    let pro = |headers_from_anyone| When {
        headers: vec![(HeaderName::from_static("x-plan"), "pro".into())],
        headers_from_anyone,
        ..When::default()
    };
    for (from_anyone, from_stranger) in [(false, "own"), (true, "paid")] {
        let rules = vec![
            only("paid", pro(from_anyone)),
            Rule {
                gives: Gives {
                    servers: named(&[]),
                    ..Gives::default()
                },
                ..only("rest", When::default())
            },
        ];
        let api = Api::new(config(vec![fixed("paid")], rules));
        let through = [("x-plan", "pro"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(given(&api, "203.0.113.1", &[("x-plan", "pro")]).await, from_stranger);
        assert_eq!(given(&api, "10.0.0.1", &through).await, "paid");
        assert_eq!(given(&api, "10.0.0.1", &[("x-plan", "free")]).await, "own");
        assert_eq!(given(&api, "10.0.0.1", &[]).await, "own");
        // A proxy that adds its own to what its client sent.
        for twice in [["pro", "free"], ["free", "pro"]] {
            let headers = twice.map(|plan| ("x-plan", plan));
            assert_eq!(
                given(&api, "10.0.0.1", &headers).await,
                if from_anyone { "paid" } else { "own" }
            );
        }
    }
}

#[tokio::test]
async fn a_network_of_mapped_addresses_is_the_one_of_ipv4_that_it_stands_for() {
    let rule = |name: &str, net: &str| {
        let clients = vec![net.parse().unwrap()];
        only(
            name,
            When {
                clients,
                ..When::default()
            },
        )
    };
    let rules = vec![
        rule("mapped", "::ffff:203.0.113.0/120"),
        rule("six", "2001:db8::/96"),
        rule("all", "::ffff:0.0.0.0/96"),
    ];
    let api = Api::new(config(vec![fixed("mapped"), fixed("six"), fixed("all")], rules));
    for (from, expected) in [
        ("203.0.113.1", "mapped"),
        ("::ffff:203.0.113.1", "mapped"),
        ("203.0.114.1", "all"),
        ("2001:db8::1", "six"),
    ] {
        assert_eq!(given(&api, from, &[]).await, expected, "{from}");
    }
}

#[tokio::test]
async fn countries_come_from_the_proxys_header_or_the_database_and_from_no_stranger() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let networks = [
        ("203.0.113.0/24", "DE"),
        ("198.51.100.0/25", "US"),
        ("2001:db8::/32", "FR"),
    ];
    file.write_all(&mmdb::countries(&networks)).unwrap();
    let rules = ["DE", "US", "FR"].map(|letters| {
        let when = When {
            countries: country(letters),
            ..When::default()
        };
        only(&letters.to_lowercase(), when)
    });
    let mut config = config(vec![fixed("de"), fixed("us"), fixed("fr")], rules.into());
    config.lists.servers.push(fixed("unknown"));
    config.lists.rules.push(only("unknown", When::default()));
    config.lists.country_header = Some(HeaderName::from_static("cf-ipcountry"));
    let api = Api::new(config);
    assert_eq!(
        given(&api, "203.0.113.1", &[]).await,
        "unknown",
        "there is no database yet"
    );
    let countries = Countries::try_open(file.path()).unwrap();
    api.state().replace_countries(Some(std::sync::Arc::new(countries)));
    for (from, expected) in [
        ("203.0.113.1", "de"),
        ("198.51.100.1", "us"),
        ("198.51.100.200", "unknown"),
        ("::ffff:203.0.113.1", "de"),
        ("2001:db8::7", "fr"),
        ("127.0.0.1", "unknown"),
    ] {
        assert_eq!(given(&api, from, &[]).await, expected, "{from}");
    }
    // A stranger says where it is; a trusted proxy says where its client is.
    assert_eq!(given(&api, "203.0.113.1", &[("cf-ipcountry", "US")]).await, "de");
    let through = |country| [("x-forwarded-for", "203.0.113.1"), ("cf-ipcountry", country)];
    assert_eq!(given(&api, "10.0.0.1", &through("US")).await, "us");
    assert_eq!(given(&api, "10.0.0.1", &through("us")).await, "us");
    // It does not know, or passes on what it was sent beside its own.
    for unknown in ["XX", "T1", "", "Germany"] {
        assert_eq!(given(&api, "10.0.0.1", &through(unknown)).await, "de", "{unknown}");
    }
    let twice = [
        ("x-forwarded-for", "203.0.113.1"),
        ("cf-ipcountry", "FR"),
        ("cf-ipcountry", "US"),
    ];
    assert_eq!(given(&api, "10.0.0.1", &twice).await, "de");
}

#[test]
fn what_is_no_database_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("countries.mmdb");
    let error = || Countries::try_open(&path).unwrap_err().to_string();
    assert!(error().contains("cannot be read"), "{}", error());
    for junk in [&b""[..], b"country,code\n", b"\xab\xcd\xefMaxMind.com\xff"] {
        std::fs::write(&path, junk).unwrap();
        assert!(error().contains("not a database"), "{}", error());
    }
    // Damaged in any one byte, it says what it likes of whom it likes, and brings nothing down.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let whole = mmdb::countries(&[("203.0.113.0/24", "DE"), ("2001:db8::/32", "FR")]);
    let when = When {
        countries: country("DE"),
        ..When::default()
    };
    let mut config = config(vec![fixed("de")], vec![only("de", when)]);
    config.rate.interval = std::time::Duration::ZERO;
    let api = Api::new(config);
    for at in 0..whole.len() {
        for value in [0, 0x20, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            std::fs::write(&path, &damaged).unwrap();
            let Ok(read) = Countries::try_open(&path) else { continue };
            api.state().replace_countries(Some(std::sync::Arc::new(read)));
            for from in ["203.0.113.1", "2001:db8::1", "::1", "255.255.255.255"] {
                let reply = runtime.block_on(asked(&api, from, "/v1/ice", &[]));
                assert_eq!(reply.status, 200, "{at} {value}");
            }
        }
    }
    let mut cut = mmdb::countries(&[("203.0.113.0/24", "DE")]);
    cut.drain(..40);
    std::fs::write(&path, cut).unwrap();
    // Read or refused, it must not bring the process down.
    if let Ok(read) = Countries::try_open(&path) {
        drop(format!("{read:?}"));
    }
}

#[tokio::test]
async fn claims_of_a_token_choose_and_a_token_without_them_does_not() {
    let claims = |pairs: &[(&str, &str)]| When {
        claims: pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..When::default()
    };
    let rules = vec![
        only("eu", claims(&[("plan", "pro"), ("plan", "team"), ("region", "eu")])),
        only("pro", claims(&[("plan", "pro")])),
        only("beta", claims(&[("beta", "true")])),
        only("level", claims(&[("level", "7")])),
    ];
    let servers = ["eu", "pro", "beta", "level"].map(fixed).into();
    let kept = ["plan", "region", "beta", "level"].map(Box::from).into();
    let api = Api::new(Config {
        auth: Auth::Jwt(Box::new(Jwt {
            kept_claims: kept,
            ..Jwt::new(vec![JwtSecret::new(JWT_SECRET)])
        })),
        ..config(servers, rules)
    });
    for (claims, expected) in [
        (serde_json::json!({ "plan": "pro", "region": "eu" }), "eu"),
        (serde_json::json!({ "plan": "team", "region": ["us", "eu"] }), "eu"),
        (serde_json::json!({ "plan": "pro" }), "pro"),
        (serde_json::json!({ "plan": ["free", "pro"] }), "pro"),
        (serde_json::json!({ "beta": true, "plan": { "pro": 1 } }), "beta"),
        (serde_json::json!({ "level": 7 }), "level"),
    ] {
        let bearer = bearer(&claims);
        assert_eq!(
            given(&api, "203.0.113.1", &[("authorization", &bearer)]).await,
            expected,
            "{claims}"
        );
    }
    let bearer = bearer(&serde_json::json!({ "plan": "free" }));
    let all = asked(&api, "203.0.113.1", "/v1/ice", &[("authorization", &bearer)]).await;
    assert_eq!(urls(&all).len(), 7);
}

#[tokio::test]
async fn a_key_chooses_by_its_name_wherever_it_is_shown_and_whoever_shows_none_is_somebody_else() {
    let of_keys = |names: &[&str]| When {
        keys: names.iter().map(|name| Box::from(*name)).collect(),
        ..When::default()
    };
    let rules = vec![
        only("shop", of_keys(&["shop", "till"])),
        only("blog", of_keys(&["blog"])),
    ];
    let keys = ["shop", "till", "blog", "other"].map(|name| key(name, &format!("{name}, a key that is long enough")));
    let mut config = config(vec![fixed("shop"), fixed("blog")], rules);
    config.keys = keys.to_vec();
    let api = Api::new(config);
    for (name, expected) in [("shop", "shop"), ("till", "shop"), ("blog", "blog"), ("other", "")] {
        let text = format!("{name}, a key that is long enough");
        let bearer = format!("Bearer {text}");
        for headers in [("x-api-key", &text), ("authorization", &bearer)] {
            let reply = asked(&api, "203.0.113.1", "/v1/ice", &[(headers.0, headers.1)]).await;
            let found = urls(&reply);
            let wanted = format!("turn:{expected}.example:3478?transport=udp");
            assert_eq!(found == [wanted], !expected.is_empty(), "{name}: {found:?}");
        }
    }
    let nobody = asked(&api, "203.0.113.1", "/v1/ice", &[]).await;
    assert!(urls(&nobody).len() > 1);
}

#[tokio::test]
async fn a_server_with_a_shared_secret_gets_a_credential_of_its_own_and_the_list_is_good_for_as_long_as_the_first() {
    let theirs = Access::Secret(Password::new("their secret"));
    let mut other = server("other", &["turns:other.example", "stun:other.example"], theirs);
    other.max_ttl = Some(std::time::Duration::from_secs(120));
    let api = Api::new(config(vec![other], Vec::new()));
    let list = asked(&api, "203.0.113.1", "/api/ice-servers?user=alice&ttl=600", &[])
        .await
        .json();
    assert_eq!(list["ttl"], 120);
    let of_url = |url: &str| -> Value {
        let servers = list["iceServers"].as_array().unwrap();
        let holds = |server: &&Value| server["urls"].as_array().unwrap().contains(&url.into());
        servers.iter().find(holds).unwrap().clone()
    };
    let now = UnixTime(list["expiresAt"].as_u64().unwrap() - 120);
    let opens = |entry: &Value, secret: &str| {
        let ring = KeyRing::from_bytes([secret]).unwrap();
        let username = entry["username"].as_str().unwrap().to_owned();
        let password = entry["credential"].as_str().unwrap();
        verify(&ring, now, &username, password.as_bytes()).map(|name| name.expires_at().0 - now.0)
    };
    let (own, other) = (
        of_url("turn:own.example:3478?transport=udp"),
        of_url("turns:other.example"),
    );
    assert_eq!(opens(&other, "their secret"), Ok(120));
    assert!(opens(&own, "their secret").is_err());
    assert_eq!(opens(&own, crate::http_support::SECRET), Ok(600));
    assert!(of_url("stun:other.example").get("username").is_none());
}

#[tokio::test]
async fn a_user_is_given_the_same_servers_each_time_and_many_users_are_spread_by_weight() {
    let mut servers: Vec<Server> = ["a", "b", "c"].map(fixed).into();
    servers[0].weight = 4;
    servers[2].tags = vec!["far".into()];
    let pick = |pick, servers| Rule {
        gives: Gives {
            pick,
            servers,
            ..only("a", When::default()).gives
        },
        ..only("picks", When::default())
    };
    let lists = |rule| Lists {
        servers: servers.clone(),
        rules: vec![rule],
        ..Lists::default()
    };
    let api = Api::new(Config {
        lists: lists(pick(1, Servers::All)),
        rate: meetpoint::http::RateLimit {
            interval: std::time::Duration::ZERO,
            ..Default::default()
        },
        ..config(Vec::new(), Vec::new())
    });
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for user in 0..300 {
        let path = format!("/api/ice-servers?user=user-{user}");
        let first = urls(&asked(&api, "203.0.113.1", &path, &[]).await);
        assert_eq!(first.len(), 1);
        assert_eq!(urls(&asked(&api, "203.0.113.2", &path, &[]).await), first);
        *counts.entry(first[0].clone()).or_default() += 1;
    }
    // Two thirds, and a sixth each.
    let counts: Vec<u32> = counts.into_values().collect();
    assert!(
        (170..230).contains(&counts[0]) && counts[1..].iter().all(|count| (25..75).contains(count)),
        "{counts:?}"
    );

    api.issuer().replace_lists(lists(pick(2, Servers::All)));
    let two = urls(&asked(&api, "203.0.113.1", "/api/ice-servers?user=alice", &[]).await);
    assert_eq!(two.iter().collect::<BTreeSet<_>>().len(), 2);
    let far = Servers::Some {
        names: Vec::new(),
        tags: vec!["far".into()],
    };
    api.issuer().replace_lists(lists(pick(2, far)));
    let one = urls(&asked(&api, "203.0.113.1", "/api/ice-servers?user=alice", &[]).await);
    assert_eq!(one, ["turn:c.example:3478?transport=udp"]);
}

#[tokio::test]
async fn dead_servers_are_not_picked_and_when_all_are_dead_they_are_given_as_ever() {
    let rule = Rule {
        gives: Gives {
            pick: 1,
            servers: Servers::All,
            ..only("a", When::default()).gives
        },
        ..only("picks", When::default())
    };
    let api = Api::new(config(["a", "b"].map(fixed).into(), vec![rule]));
    let ask = async || urls(&asked(&api, "203.0.113.1", "/api/ice-servers?user=alice", &[]).await);
    let dead = |urls: &[&str]| {
        let urls = urls.iter().map(|url| Box::from(*url)).collect();
        api.issuer().replace_dead(std::sync::Arc::new(urls));
    };
    let alive = ask().await;
    let (a, b) = ("turn:a.example:3478?transport=udp", "turn:b.example:3478?transport=udp");
    dead(&[a]);
    assert_eq!(ask().await, [b]);
    dead(&[b]);
    assert_eq!(ask().await, [a]);
    dead(&[a, b]);
    assert_eq!(ask().await, alive);
}

#[tokio::test]
async fn browsers_are_spared_port_53_and_the_url_without_a_query_and_others_are_not() {
    let listener = |secure, port| Advertised {
        transport: UriTransport::Tcp,
        secure,
        port,
    };
    let mut config = config(
        vec![server(
            "cloud",
            &[
                "turn:cloud.example:53?transport=udp",
                "turn:cloud.example:3478?transport=udp",
            ],
            Access::Fixed("u".into(), Password::new("p")),
        )],
        Vec::new(),
    );
    config.ice.listeners = vec![listener(true, 443), listener(true, 5349), listener(false, 53)];
    let whole = [
        "turns:own.example:443?transport=tcp",
        "turns:own.example:5349?transport=tcp",
        "turn:own.example:53?transport=tcp",
        "turns:own.example:443",
        "turn:cloud.example:53?transport=udp",
        "turn:cloud.example:3478?transport=udp",
    ];
    let without = |left_out: &[usize]| -> Vec<&str> {
        let kept = whole.iter().enumerate().filter(|(at, _)| !left_out.contains(at));
        kept.map(|(_, url)| *url).collect()
    };
    let ask = async |config: &Config, headers: &[(&str, &str)]| {
        let api = Api::new(config.clone());
        urls(&asked(&api, "203.0.113.1", "/api/ice-servers", headers).await)
    };
    assert_eq!(ask(&config, &[("user-agent", "libwebrtc")]).await, whole);
    for browser in [
        ("origin", "https://app.example"),
        ("sec-fetch-mode", "cors"),
        ("user-agent", "Mozilla/5.0 (X11)"),
    ] {
        assert_eq!(ask(&config, &[browser]).await, without(&[2, 3, 4]), "{browser:?}");
    }
    config.ice.port_53_for_browsers = true;
    assert_eq!(ask(&config, &[("sec-fetch-mode", "cors")]).await, without(&[3]));
    config.ice.plain_turns = false;
    assert_eq!(ask(&config, &[]).await, without(&[3]));
    // Where there is nothing else, it is better than nothing.
    config.ice.port_53_for_browsers = false;
    config.ice.listeners = vec![listener(false, 53)];
    config.lists.servers.clear();
    assert_eq!(
        ask(&config, &[("sec-fetch-mode", "cors")]).await,
        ["turn:own.example:53?transport=tcp"]
    );
}

#[tokio::test]
async fn a_rule_has_its_policy_its_transports_and_its_length() {
    let gives = Gives {
        policy: Some(TransportPolicy::Relay),
        transports: vec![(UriTransport::Tcp, false)],
        ..Gives::default()
    };
    let with = |gives: &Gives| {
        let rule = Rule {
            gives: gives.clone(),
            ..only("all", When::default())
        };
        Api::new(config(vec![fixed("a")], vec![rule]))
    };
    let reply = asked(&with(&gives), "203.0.113.1", "/v1/ice", &[]).await;
    assert_eq!(urls(&reply), ["turn:own.example:3478?transport=tcp"]);
    assert_eq!(reply.json()["iceTransportPolicy"], "relay");

    let mut gives = Gives {
        policy: Some(TransportPolicy::All),
        ..Gives::default()
    };
    let whole = asked(&with(&gives), "203.0.113.1", "/v1/ice", &[]).await;
    assert_eq!(
        (urls(&whole).len(), &whole.json()["iceTransportPolicy"]),
        (4, &"all".into())
    );
    for (most, expected) in [(4, &[0, 1, 2, 3][..]), (3, &[0, 1, 3]), (2, &[0, 1]), (1, &[1])] {
        gives.max_urls = most;
        let left = urls(&asked(&with(&gives), "203.0.113.1", "/v1/ice", &[]).await);
        let expected: Vec<String> = expected.iter().map(|at| urls(&whole)[*at].clone()).collect();
        assert_eq!(left, expected, "{most}");
    }
}

#[tokio::test]
async fn a_list_of_many_servers_ends_at_32_urls_of_which_each_server_has_its_share() {
    let many: Vec<String> = (0..16)
        .map(|port| format!("turn:x.example:{}?transport=udp", 4000 + port))
        .collect();
    let of = |name: &str| {
        let urls: Vec<String> = many.iter().map(|url| url.replace("x.", &format!("{name}."))).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        server(name, &urls, Access::Fixed("u".into(), Password::new("p")))
    };
    let ask = async |names: &[&str]| {
        let api = Api::new(config(names.iter().map(|name| of(name)).collect(), Vec::new()));
        urls(&asked(&api, "203.0.113.1", "/v1/ice", &[]).await)
    };
    assert_eq!(ask(&["a"]).await.len(), 19);
    let full = ask(&["a", "b", "c"]).await;
    assert_eq!(full.len(), 32);
    let share = |name: &str| full.iter().filter(|url| url.contains(&format!(":{name}."))).count();
    assert_eq!([share("own"), share("a"), share("b"), share("c")], [3, 10, 10, 9]);
}

#[tokio::test]
async fn a_rule_that_can_give_nothing_gives_what_everybody_gets() {
    let api = Api::new(config(Vec::new(), vec![only("gone", When::default())]));
    assert_eq!(given(&api, "203.0.113.1", &[]).await, "own");
}
