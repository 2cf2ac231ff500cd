//! A service that is asked who is let in, and says what it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::hook::{MAX_KEPT, PATIENCE, WAITING_SHARE, read_answer};
use super::*;
use crate::events::config::Secret;
use crate::http::rate_limit::RateLimit;
use crate::outbound::Url;
use crate::telemetry::labels::HookVerdict;
use crate::ws::Rights;

const SECRET: &str = "the secret of the hook";

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/vectors/jwt/tokens.json")).unwrap());

/// The service. Every question takes a permit before it is answered.
struct Service {
    answer: Mutex<(String, String)>,
    asked: AtomicUsize,
    /// The last question, as it came.
    last: Mutex<(String, Value)>,
    gate: Semaphore,
}

impl Service {
    async fn start() -> (Arc<Self>, config::Hook) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/judge", listener.local_addr().unwrap())).unwrap();
        let this = Arc::new(Self {
            answer: Mutex::default(),
            asked: AtomicUsize::new(0),
            last: Mutex::default(),
            gate: Semaphore::new(100_000),
        });
        this.says(json!({"allow": true, "user": "alice"}));
        let service = Arc::clone(&this);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let length = header_of(&head, "content-length").parse().unwrap();
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    check_signature(&head, &body);
                    *service.last.lock().unwrap() = (head, serde_json::from_slice(&body).unwrap());
                    service.asked.fetch_add(1, Ordering::SeqCst);
                    service.gate.acquire().await.unwrap().forget();
                    let (status, answer) = service.answer.lock().unwrap().clone();
                    let length = answer.len();
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{answer}");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        let hook = config::Hook {
            timeout: Duration::from_secs(20),
            ..config::Hook::new(url, Secret::new(SECRET))
        };
        (this, hook)
    }

    fn says(&self, answer: Value) {
        self.answers("200 OK", &answer.to_string());
    }

    fn answers(&self, status: &str, body: &str) {
        *self.answer.lock().unwrap() = (status.to_owned(), body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.gate.forget_permits(100_000);
    }
}

fn header_of<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).unwrap().1
}

/// As the page tells a service to do it.
fn check_signature(head: &str, body: &[u8]) {
    let (time, signature) = header_of(head, "x-meetpoint-signature").split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(time.strip_prefix("t=").unwrap().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(signature, hex);
}

fn authenticator(hook: config::Hook, jwt: Option<Jwt>) -> (TokenAuthenticator, Metrics) {
    let metrics = Metrics::new().unwrap();
    let auth = Auth::Hook(Box::new(hook), jwt.map(Box::new));
    (TokenAuthenticator::new(&auth, &metrics).unwrap(), metrics)
}

fn from(ip: &str, token: Option<&'static str>) -> Applicant<'static> {
    Applicant {
        token,
        ip: Some(ip.parse().unwrap()),
        origin: Some("https://app.example.org"),
        path: Some("/v1/ws"),
    }
}

fn shows(token: &'static str) -> Applicant<'static> {
    from("203.0.113.7", Some(token))
}

#[tokio::test]
async fn the_service_is_told_who_asks_and_says_who_that_is() {
    let (service, hook) = Service::start().await;
    let (authenticator, metrics) = authenticator(hook, None);
    let realm = Realm {
        name: "acme".to_owned(),
        tokens: Vec::new(),
        rate: RateLimit::default(),
        hosts: Vec::new(),
        extra: Vec::new(),
        ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(60),
    };
    authenticator.replace_realms(&[realm]);
    assert!(!authenticator.is_open() && authenticator.looks_at_origins());
    service.says(json!({
        "allow": true, "user": "bob", "publicKey": "k", "peer": "p1", "rooms": ["lobby", "team-*"], "realm": "acme",
        "can": {"turn": false}, "expiresAt": 4_102_444_800_u64, "more": {"is": "ignored"}
    }));
    let identity = authenticator
        .for_surface(Surface::Websocket)
        .identify(shows("opaque"))
        .await
        .unwrap();
    assert_eq!(
        identity,
        Identity {
            key: None,
            user: Some("bob".into()),
            public_key: Some("k".into()),
            peer: Some("p1".into()),
            rooms: Some(["lobby", "team-*"].map(Box::from).into()),
            realm: Some("acme".into()),
            rights: Rights {
                turn: false,
                ..Rights::ALL
            },
            claims: None,
            expires_at_ms: Some(4_102_444_800_000),
        }
    );
    let (head, question) = service.last.lock().unwrap().clone();
    assert!(head.starts_with("POST /judge HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        question,
        json!({"token": "opaque", "surface": "websocket", "ip": "203.0.113.7", "origin": "https://app.example.org",
               "path": "/v1/ws", "user": null})
    );
    assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Allowed), 1);
    service.says(json!({"allow": true, "realm": "globex"}));
    assert_eq!(
        authenticator.identify(shows("another")).await,
        Err(AuthError::Forbidden),
        "a realm that is not there"
    );
}

#[tokio::test]
async fn a_no_has_a_reason_and_whatever_is_no_answer_lets_nobody_in() {
    let (service, hook) = Service::start().await;
    let hook = config::Hook {
        cache: Duration::ZERO,
        ..hook
    };
    for (status, body, said) in [
        ("200 OK", r#"{"allow":false}"#, AuthError::Forbidden),
        ("200 OK", r#"{"allow":false,"reason":"banned"}"#, AuthError::Forbidden),
        ("200 OK", r#"{"allow":false,"reason":"invalid"}"#, AuthError::Invalid),
        ("200 OK", r#"{"allow":false,"reason":"expired"}"#, AuthError::Expired),
        ("401 Unauthorized", "", AuthError::Invalid),
        ("403 Forbidden", "<html>", AuthError::Forbidden),
    ] {
        service.answers(status, body);
        let (authenticator, metrics) = authenticator(hook.clone(), None);
        assert_eq!(authenticator.identify(shows("t")).await, Err(said), "{status} {body}");
        assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Denied), 1);
    }
    let long = json!({"allow": true, "x": "x".repeat(20_000)}).to_string();
    for (status, body) in [
        ("200 OK", ""),
        ("200 OK", "yes"),
        ("200 OK", "{}"),
        ("200 OK", "true"),
        ("200 OK", r#"{"allow":"true"}"#),
        ("200 OK", r#"{"allow":true,"allow":true}"#),
        ("200 OK", r#"{"allow":true,"user":""}"#),
        ("200 OK", r#"{"allow":true,"user":"a\nb"}"#),
        ("200 OK", r#"{"allow":true,"user":7}"#),
        ("200 OK", r#"{"allow":true,"rooms":"lobby"}"#),
        ("200 OK", &*long),
        ("201 Created", r#"{"allow":true}"#),
        ("302 Found", ""),
        ("404 Not Found", ""),
        ("500 Internal Server Error", r#"{"allow":true}"#),
    ] {
        service.answers(status, body);
        let (authenticator, metrics) = authenticator(hook.clone(), None);
        let result = authenticator.identify(shows("t")).await;
        assert!(
            matches!(result, Err(AuthError::Unavailable(_))),
            "{status} {body:.40}: {result:?}"
        );
        assert_eq!(
            metrics.auth().hook_verdicts(HookVerdict::Failed),
            1,
            "{status} {body:.40}"
        );
    }
}

#[tokio::test]
async fn an_answer_counts_for_the_same_question_and_for_no_other() {
    let (service, hook) = Service::start().await;
    let (authenticator, metrics) = authenticator(hook, None);
    for _ in 0..3 {
        assert!(authenticator.identify(shows("t")).await.is_ok());
    }
    assert_eq!(service.asked(), 1);
    assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Kept), 2);
    service.says(json!({"allow": false, "cacheFor": 0}));
    let elsewhere = Applicant {
        origin: Some("https://evil.test"),
        ..shows("t")
    };
    for applicant in [from("203.0.113.8", Some("t")), elsewhere, shows("T")] {
        for _ in 0..2 {
            assert_eq!(authenticator.identify(applicant).await, Err(AuthError::Forbidden));
        }
    }
    assert_eq!(service.asked(), 7, "what the service wants forgotten is not kept");
    assert_eq!(
        authenticator.for_surface(Surface::Websocket).identify(shows("t")).await,
        Err(AuthError::Forbidden)
    );
}

#[tokio::test]
async fn so_many_answers_are_kept_and_no_more() {
    let (service, hook) = Service::start().await;
    let hook = Hook::new(&hook, Metrics::new().unwrap().auth()).unwrap();
    for number in 0..MAX_KEPT + 10 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        hook.keep(key, Err(AuthError::Forbidden), Duration::from_secs(600));
    }
    assert_eq!(hook.kept_answers(), MAX_KEPT);
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn questions_are_bounded_and_one_that_is_taken_back_gives_its_place_to_the_next() {
    let (service, hook) = Service::start().await;
    service.close();
    let hook = config::Hook {
        concurrency: 2,
        cache: Duration::ZERO,
        ..hook
    };
    let (authenticator, metrics) = authenticator(hook, None);
    let places = 2 * (1 + WAITING_SHARE);
    let mut waiting: Vec<_> = (0..places)
        .map(|_| {
            let authenticator = authenticator.clone();
            tokio::spawn(async move { authenticator.identify(shows("t")).await })
        })
        .collect();
    while service.asked() < 2 {
        tokio::task::yield_now().await;
    }
    let refused = authenticator.identify(shows("t")).await;
    assert!(matches!(refused, Err(AuthError::Unavailable(_))), "{refused:?}");
    assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Busy), 1);
    assert_eq!(service.asked(), 2, "two at once");
    let first = waiting.remove(0);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    service.gate.add_permits(1_000);
    assert!(authenticator.identify(shows("t")).await.is_ok());
    for each in waiting {
        assert!(each.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_service_that_fails_again_and_again_is_left_alone_and_then_asked_by_one() {
    let (service, hook) = Service::start().await;
    service.answers("500 Internal Server Error", "");
    let (authenticator, metrics) = authenticator(hook, None);
    for _ in 0..PATIENCE {
        let failed = authenticator.identify(shows("t")).await;
        assert!(matches!(failed, Err(AuthError::Unavailable(_))));
    }
    assert_eq!(service.asked() as u32, PATIENCE);
    let Verdict::Now(Err(AuthError::Unavailable(pause))) = authenticator.authenticate(shows("t")) else {
        panic!("nobody is asked")
    };
    assert!(pause <= Duration::from_secs(1));
    assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Away), 1);
    service.says(json!({"allow": true}));
    service.close();
    tokio::time::sleep(pause).await;
    let probe = authenticator.authenticate(shows("t"));
    assert!(matches!(probe, Verdict::Later(_)));
    let other = authenticator.authenticate(shows("t"));
    assert!(
        matches!(other, Verdict::Now(Err(AuthError::Unavailable(_)))),
        "{other:?}"
    );
    service.gate.add_permits(1_000);
    let Verdict::Later(probe) = probe else { unreachable!() };
    assert!(probe.await.is_ok());
    assert!(authenticator.identify(shows("another")).await.is_ok());
}

#[tokio::test]
async fn a_probe_that_is_taken_back_leaves_asking_to_the_next() {
    let (service, hook) = Service::start().await;
    service.answers("500 Internal Server Error", "");
    let (authenticator, _) = authenticator(hook, None);
    for _ in 0..PATIENCE {
        let _ = authenticator.identify(shows("t")).await;
    }
    let Verdict::Now(Err(AuthError::Unavailable(pause))) = authenticator.authenticate(shows("t")) else {
        panic!("nobody is asked")
    };
    service.says(json!({"allow": true}));
    tokio::time::sleep(pause).await;
    for _ in 0..3 {
        let probe = authenticator.authenticate(shows("of somebody who goes away"));
        assert!(matches!(probe, Verdict::Later(_)), "{probe:?}");
    }
    assert!(authenticator.identify(shows("t")).await.is_ok());
}

#[tokio::test]
async fn whoever_has_no_turn_in_time_is_no_failure_of_the_service() {
    let (service, hook) = Service::start().await;
    service.close();
    let hook = config::Hook {
        timeout: Duration::from_millis(300),
        concurrency: 1,
        cache: Duration::ZERO,
        ..hook
    };
    let (authenticator, metrics) = authenticator(hook, None);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..=WAITING_SHARE {
        let authenticator = authenticator.clone();
        crowd.spawn(async move { authenticator.identify(shows("t")).await });
    }
    while let Some(result) = crowd.join_next().await {
        assert!(matches!(result.unwrap(), Err(AuthError::Unavailable(_))));
    }
    let verdicts = |verdict| metrics.auth().hook_verdicts(verdict);
    assert!(verdicts(HookVerdict::Failed) < u64::from(PATIENCE));
    assert!(verdicts(HookVerdict::Busy) > 0);
    assert!(
        matches!(authenticator.authenticate(shows("t")), Verdict::Later(_)),
        "it is not left alone"
    );
}

#[tokio::test]
async fn whose_time_is_over_by_the_service_or_while_it_was_asked_is_not_let_in() {
    let (service, hook) = Service::start().await;
    let (authenticator, _) = authenticator(hook, None);
    for end in ["0", "-5", "1", "1700000000"] {
        service.answers(
            "200 OK",
            &format!("{{\"allow\":true,\"user\":\"alice\",\"expiresAt\":{end},\"cacheFor\":0}}"),
        );
        assert_eq!(
            authenticator.identify(shows("t")).await,
            Err(AuthError::Expired),
            "{end}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_to_be_kept_for_less_than_no_time_is_not_kept() {
    let (service, hook) = Service::start().await;
    let (authenticator, _) = authenticator(hook, None);
    for (keep, asked) in [("-1", 2), ("0", 4), ("1e300", 5)] {
        service.answers("200 OK", &format!("{{\"allow\":true,\"cacheFor\":{keep}}}"));
        for _ in 0..2 {
            assert!(authenticator.identify(shows("t")).await.is_ok());
        }
        assert_eq!(service.asked(), asked, "{keep}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_waited_for_so_long() {
    let (service, hook) = Service::start().await;
    service.close();
    let hook = config::Hook {
        timeout: Duration::from_millis(50),
        ..hook
    };
    let (authenticator, metrics) = authenticator(hook, None);
    let result = authenticator.identify(shows("t")).await;
    assert!(matches!(result, Err(AuthError::Unavailable(_))), "{result:?}");
    assert_eq!(metrics.auth().hook_verdicts(HookVerdict::Failed), 1);
}

#[tokio::test]
async fn with_keys_the_service_is_asked_about_what_they_let_pass_and_has_the_last_word() {
    let (service, hook) = Service::start().await;
    let jwt = Jwt {
        keys: read_keys(VECTORS["pem"]["EdDSA"].as_str().unwrap()).unwrap(),
        ..Jwt::new(Vec::new())
    };
    let (authenticator, _) = authenticator(hook, Some(jwt));
    let good: &'static str = VECTORS["good"]["EdDSA"].as_str().unwrap();
    let forged: &'static str = VECTORS["attacks"]["another's key under a known name"].as_str().unwrap();
    assert_eq!(authenticator.identify(shows(forged)).await, Err(AuthError::Invalid));
    assert_eq!(service.asked(), 0, "strangers do not get so far");
    service.says(json!({"allow": true, "rooms": ["lobby"], "expiresAt": 4_102_444_000_u64, "cacheFor": 0}));
    let identity = authenticator.identify(shows(good)).await.unwrap();
    assert_eq!(service.last.lock().unwrap().1["user"], "alice");
    assert_eq!(identity.user.as_deref(), Some("alice"));
    assert!(identity.allows_room("lobby") && !identity.allows_room("attic"));
    assert_eq!(identity.expires_at_ms, Some(4_102_444_000_000), "the sooner end");
    service.says(json!({"allow": false}));
    assert_eq!(authenticator.identify(shows(good)).await, Err(AuthError::Forbidden));
}

#[tokio::test]
async fn those_without_a_token_are_turned_away_unless_the_operator_wants_to_be_asked() {
    let (service, hook) = Service::start().await;
    let nobody = from("203.0.113.7", None);
    let (closed, _) = authenticator(hook.clone(), None);
    assert_eq!(closed.identify(nobody).await, Err(AuthError::Missing));
    assert_eq!(service.asked(), 0);
    let hook = config::Hook {
        without_token: true,
        ..hook
    };
    let (asking, _) = authenticator(hook, None);
    service.says(json!({"allow": true}));
    assert_eq!(asking.identify(nobody).await, Ok(Identity::ANONYMOUS));
    assert_eq!(service.last.lock().unwrap().1["token"], Value::Null);
}

#[tokio::test]
async fn an_address_that_shows_bad_tokens_waits_and_its_neighbour_does_not() {
    let (service, hook) = Service::start().await;
    service.says(json!({"allow": false, "reason": "invalid"}));
    let (authenticator, _) = authenticator(hook, None);
    authenticator.replace_failures(Failures(RateLimit {
        burst: 3,
        interval: Duration::from_secs(600),
        ..RateLimit::default()
    }));
    let bad = from("203.0.113.7", Some("bad"));
    for _ in 0..3 {
        assert_eq!(authenticator.identify(bad).await, Err(AuthError::Invalid));
    }
    let websocket = authenticator.for_surface(Surface::Websocket);
    let throttled = websocket.identify(from("203.0.113.7", Some("good"))).await;
    assert!(matches!(throttled, Err(AuthError::Throttled(_))), "{throttled:?}");
    for (ip, tries) in [("203.0.113.8", 3), ("127.0.0.1", 9)] {
        for _ in 0..tries {
            assert_eq!(
                authenticator.identify(from(ip, Some("bad"))).await,
                Err(AuthError::Invalid),
                "{ip}"
            );
        }
    }
}

#[test]
fn an_answer_is_read_whatever_it_holds() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"allow\":null}",
        "\u{0}",
        "{\"allow\":true,\"expiresAt\":\"x\"}",
        // The fields in their order are no answer.
        "[true,null,\"root\",null,null,null,null,null,null,null]",
        "{\"allow\":true,\"can\":[]}",
        "{\"allow\":true,\"can\":[true,true,true]}",
    ] {
        assert!(read_answer(body.as_bytes()).is_none(), "{body}");
    }
    let ends = |at: &str| {
        let body = format!("{{\"allow\":true,\"expiresAt\":{at}}}");
        read_answer(body.as_bytes()).and_then(|(result, _)| result.ok()?.expires_at_ms)
    };
    assert_eq!(ends("-1"), Some(0));
    assert_eq!(ends("1e300"), Some(u64::MAX));
    assert_eq!(ends("1.5"), Some(1500));
    assert_eq!(ends("null"), None);
}
