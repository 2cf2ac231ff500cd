//! Key sets that are fetched, from a server that does what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::config::{JwksSource, Jwt};
use super::*;
use crate::outbound::Url;
use crate::telemetry::labels::JwksFetch;

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/vectors/jwt/tokens.json")).unwrap());

/// Those of the set with these ids.
fn set(kids: &[&str]) -> String {
    let all = VECTORS["jwks"]["keys"].as_array().unwrap();
    let keys: Vec<_> = all
        .iter()
        .filter(|key| kids.contains(&key["kid"].as_str().unwrap()))
        .collect();
    json!({"keys": keys}).to_string()
}

fn good(name: &str) -> &'static str {
    VECTORS["good"][name].as_str().unwrap()
}

/// An issuer. Every request takes a permit before it is answered.
struct Issuer {
    answer: Mutex<Vec<u8>>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Issuer {
    async fn start(body: &str) -> (Arc<Self>, JwksSource) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/jwks.json", listener.local_addr().unwrap())).unwrap();
        let this = Arc::new(Self {
            answer: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS >> 1),
        });
        this.says("200 OK", "", body);
        let issuer = Arc::clone(&this);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let issuer = Arc::clone(&issuer);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    assert!(head.starts_with(b"GET /jwks.json HTTP/1.1\r\n"));
                    issuer.asked.fetch_add(1, Ordering::SeqCst);
                    issuer.gate.acquire().await.unwrap().forget();
                    let answer = issuer.answer.lock().unwrap().clone();
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        let source = JwksSource {
            cooldown: Duration::from_millis(1),
            timeout: Duration::from_secs(10),
            ..JwksSource::new(url)
        };
        (this, source)
    }

    fn says(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        *self.answer.lock().unwrap() = answer.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.gate.forget_permits(usize::MAX >> 4);
    }
}

fn authenticator(source: &JwksSource) -> (TokenAuthenticator, Metrics) {
    let metrics = Metrics::new().unwrap();
    let auth = with(source);
    (TokenAuthenticator::new(&auth, &metrics).unwrap(), metrics)
}

fn with(source: &JwksSource) -> Auth {
    Auth::Jwt(Box::new(Jwt {
        jwks: Some(source.clone()),
        ..Jwt::new(Vec::new())
    }))
}

fn applicant(token: &str) -> Applicant<'_> {
    Applicant {
        token: Some(token),
        ..Applicant::default()
    }
}

async fn judged(authenticator: &TokenAuthenticator, token: &str) -> Result<(), AuthError> {
    authenticator.identify(applicant(token)).await.map(|_| ())
}

#[tokio::test]
async fn the_first_token_waits_for_the_first_fetch_and_the_next_for_nothing() {
    let (issuer, source) = Issuer::start(&set(&["rsa", "ed"])).await;
    let (authenticator, metrics) = authenticator(&source);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    for name in ["RS256", "EdDSA", "EdDSA without kid"] {
        let verdict = authenticator.authenticate(applicant(good(name)));
        assert!(matches!(verdict, Verdict::Now(Ok(_))), "{name}: {verdict:?}");
    }
    assert_eq!(issuer.asked(), 1);
    let auth = metrics.auth();
    assert_eq!((auth.jwks_fetched(JwksFetch::Fetched), auth.jwks_keys.get()), (1, 2));
    assert!(auth.jwks_fetched_at.get() > 1_700_000_000);
}

#[tokio::test]
async fn a_token_that_is_known_is_verified_again_by_another_set_and_not_by_the_same_one() {
    use crate::telemetry::labels::TokenMemory::{Known, Verified};
    let (issuer, source) = Issuer::start(&set(&["rsa", "ed"])).await;
    let (authenticator, metrics) = authenticator(&source);
    let counted = || [Verified, Known].map(|result| metrics.auth().token_memories(result));
    for _ in 0..3 {
        assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    }
    assert_eq!(counted(), [1, 2]);
    // An unknown key has the set fetched, which is the same one, and then one more.
    tokio::time::sleep(source.cooldown).await;
    assert_eq!(judged(&authenticator, good("ES256")).await, Err(AuthError::Invalid));
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    assert_eq!(counted(), [1, 3]);
    issuer.says("200 OK", "", &set(&["rsa", "p256"]));
    tokio::time::sleep(source.cooldown).await;
    assert_eq!(judged(&authenticator, good("ES256")).await, Ok(()));
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    assert_eq!(counted(), [3, 3]);
}

#[tokio::test]
async fn a_key_that_comes_is_found_and_one_that_leaves_verifies_nothing_more() {
    let (issuer, source) = Issuer::start(&set(&["rsa"])).await;
    let (authenticator, _) = authenticator(&source);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    issuer.says("200 OK", "", &set(&["p256"]));
    tokio::time::sleep(source.cooldown).await;
    assert_eq!(judged(&authenticator, good("ES256")).await, Ok(()));
    tokio::time::sleep(source.cooldown).await;
    assert_eq!(judged(&authenticator, good("RS256")).await, Err(AuthError::Invalid));
}

#[tokio::test]
async fn however_many_unknown_keys_are_named_one_fetch_is_made_and_then_none_for_a_while() {
    let (issuer, mut source) = Issuer::start(&set(&["rsa"])).await;
    source.cooldown = Duration::from_secs(600);
    issuer.close();
    let (authenticator, metrics) = authenticator(&source);
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let authenticator = authenticator.clone();
            tokio::spawn(async move { judged(&authenticator, good("ES256")).await })
        })
        .collect();
    while issuer.asked() == 0 {
        tokio::task::yield_now().await;
    }
    issuer.gate.add_permits(1_000);
    for each in waiting {
        assert_eq!(each.await.unwrap(), Err(AuthError::Invalid));
    }
    for _ in 0..200 {
        let verdict = authenticator.authenticate(applicant(good("ES256")));
        assert!(
            matches!(verdict, Verdict::Now(Err(AuthError::Invalid))),
            "nobody waits in vain"
        );
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(metrics.auth().jwks_fetched(JwksFetch::Fetched), 1);
    // Those that need no key of the set never ask for it.
    for name in ["none", "HS256 with the modulus", "RS512 with a key for RS256"] {
        let attack = VECTORS["attacks"][name].as_str().unwrap();
        let verdict = authenticator.authenticate(applicant(attack));
        assert!(matches!(verdict, Verdict::Now(Err(AuthError::Invalid))), "{name}");
    }
}

#[tokio::test]
async fn those_who_wait_for_a_fetch_are_bounded_in_number() {
    let (issuer, source) = Issuer::start(&set(&["rsa"])).await;
    issuer.close();
    let (authenticator, _) = authenticator(&source);
    let waiting: Vec<_> = (0..jwks::MAX_WAITING)
        .map(|_| authenticator.authenticate(applicant(good("RS256"))))
        .collect();
    assert!(waiting.iter().all(|verdict| matches!(verdict, Verdict::Later(_))));
    let refused = authenticator.authenticate(applicant(good("RS256")));
    assert!(
        matches!(refused, Verdict::Now(Err(AuthError::Unavailable(_)))),
        "{refused:?}"
    );
    drop(waiting);
    issuer.gate.add_permits(1_000);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_stay() {
    let (issuer, source) = Issuer::start(&set(&["rsa"])).await;
    let (authenticator, metrics) = authenticator(&source);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    let elsewhere = "location: http://127.0.0.1:9/other\r\n";
    let weak = json!({"keys": [VECTORS["jwks"]["keys"][6]]}).to_string();
    for (status, headers, body, result) in [
        ("500 Internal Server Error", "", "", JwksFetch::Failed),
        ("302 Found", elsewhere, "", JwksFetch::Failed),
        ("200 OK", "", "", JwksFetch::Unusable),
        ("200 OK", "", "<html>", JwksFetch::Unusable),
        ("200 OK", "", "{\"keys\":[]}", JwksFetch::Unusable),
        ("200 OK", "", &weak, JwksFetch::Unusable),
        ("200 OK", "", &huge, JwksFetch::Unusable),
        ("200 OK", "content-length: 9\r\n", "{}", JwksFetch::Failed),
    ] {
        issuer.says(status, headers, body);
        let before = metrics.auth().jwks_fetched(result);
        tokio::time::sleep(source.cooldown).await;
        let unknown = judged(&authenticator, good("ES256")).await;
        assert!(
            matches!(unknown, Err(AuthError::Unavailable(_))),
            "{status} {body:.9}: {unknown:?}"
        );
        assert!(metrics.auth().jwks_fetched(result) > before, "{status} {body:.9}");
        assert_eq!(
            judged(&authenticator, good("RS256")).await,
            Ok(()),
            "{status} {body:.9}"
        );
    }
    assert_eq!(metrics.auth().jwks_keys.get(), 1);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_waited_for_so_long() {
    let (issuer, mut source) = Issuer::start(&set(&["rsa"])).await;
    source.timeout = Duration::from_millis(50);
    issuer.close();
    let (authenticator, metrics) = authenticator(&source);
    let unknown = judged(&authenticator, good("RS256")).await;
    assert!(matches!(unknown, Err(AuthError::Unavailable(_))), "{unknown:?}");
    assert!(metrics.auth().jwks_fetched(JwksFetch::Failed) >= 1);
}

#[tokio::test]
async fn the_set_is_fetched_again_when_its_time_is_over() {
    let (issuer, mut source) = Issuer::start(&set(&["rsa"])).await;
    source.refresh = Duration::from_millis(20);
    let (authenticator, _) = authenticator(&source);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    issuer.says("200 OK", "", &set(&["ed"]));
    // A known key asks for nothing: it is the refresh alone that takes it away.
    while judged(&authenticator, good("RS256 without kid")).await == Ok(()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(issuer.asked() >= 2);
}

#[tokio::test]
async fn a_reload_goes_on_with_the_same_set_and_begins_anew_with_another() {
    let (issuer, source) = Issuer::start(&set(&["rsa"])).await;
    let (authenticator, _) = authenticator(&source);
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    let Auth::Jwt(mut jwt) = with(&source) else {
        unreachable!()
    };
    jwt.keys = read_keys(VECTORS["pem"]["EdDSA"].as_str().unwrap()).unwrap();
    authenticator.replace(&Auth::Jwt(jwt)).unwrap();
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    assert_eq!(judged(&authenticator, good("EdDSA")).await, Ok(()));
    assert_eq!(issuer.asked(), 1);
    let (_other_issuer, other) = Issuer::start(&set(&["ed"])).await;
    authenticator.replace(&with(&other)).unwrap();
    assert_eq!(judged(&authenticator, good("EdDSA")).await, Ok(()));
    assert_eq!(judged(&authenticator, good("RS256")).await, Err(AuthError::Invalid));
    authenticator.replace(&Auth::Open).unwrap();
    assert!(authenticator.is_open());
}

#[test]
fn how_long_a_set_lives_is_read_from_its_answer() {
    let lives = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(field::CACHE_CONTROL, value.parse().unwrap());
        jwks::max_age(&headers)
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(lives("public, max-age=19845, must-revalidate"), seconds(19_845));
    assert_eq!(lives("Max-Age=\"60\""), seconds(60));
    assert_eq!(lives("max-age=60, no-store"), seconds(0));
    assert_eq!(lives("max-age=-1"), None);
    assert_eq!(lives("public"), None);
    assert_eq!(jwks::max_age(&HeaderMap::new()), None);
}

#[tokio::test]
async fn a_key_without_an_id_in_the_configuration_does_not_hide_that_another_is_missing() {
    let (issuer, source) = Issuer::start(&set(&["ed"])).await;
    let all = VECTORS["jwks"]["keys"].as_array().unwrap();
    let mut other = all.iter().find(|key| key["kid"] == "pss").unwrap().clone();
    other["alg"] = "RS256".into();
    other.as_object_mut().unwrap().remove("kid");
    let auth = Auth::Jwt(Box::new(Jwt {
        keys: read_keys(&other.to_string()).unwrap(),
        jwks: Some(source.clone()),
        ..Jwt::new(Vec::new())
    }));
    let authenticator = TokenAuthenticator::new(&auth, &Metrics::new().unwrap()).unwrap();
    assert_eq!(judged(&authenticator, good("EdDSA")).await, Ok(()));
    issuer.says("200 OK", "", &set(&["rsa"]));
    tokio::time::sleep(source.cooldown).await;
    assert_eq!(judged(&authenticator, good("RS256")).await, Ok(()));
    tokio::time::sleep(source.cooldown).await;
    let forged = VECTORS["attacks"]["another's key under a known name"].as_str().unwrap();
    let asked = issuer.asked();
    assert_eq!(judged(&authenticator, forged).await, Err(AuthError::Invalid));
    assert!(issuer.asked() <= asked + 1);
}
