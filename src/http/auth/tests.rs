//! Tokens, good and bad. They are put together by hand, so that what is verified was not made by the verifier's library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::claims::MAX_CLAIM_BYTES;
use super::config::{Jwt, JwtSecret};
use super::rules::MAX_TOKEN_BYTES;
use super::*;
use crate::ws::Rights;

const SECRET: &str = "an-hs256-secret-of-at-least-32-bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn token_with(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn token(claims: Value) -> String {
    token_with(&json!({"alg": "HS256", "typ": "JWT"}), &claims, SECRET)
}

fn jwt() -> Jwt {
    Jwt::new(vec![
        JwtSecret::new("a-newer-secret-that-signs-nothing-yet"),
        JwtSecret::new(SECRET),
    ])
}

fn authenticator(jwt: Jwt) -> TokenAuthenticator {
    TokenAuthenticator::new(&Auth::Jwt(Box::new(jwt)), &Metrics::new().unwrap()).unwrap()
}

/// What is known without asking anybody.
fn verdict(authenticator: &TokenAuthenticator, token: Option<&str>) -> Result<Identity, AuthError> {
    let applicant = Applicant {
        token,
        ..Applicant::default()
    };
    match authenticator.authenticate(applicant) {
        Verdict::Now(result) => result,
        Verdict::Later(_) => panic!("keys of the configuration answer at once"),
    }
}

fn judged(token: &str) -> Result<Identity, AuthError> {
    verdict(&authenticator(jwt()), Some(token))
}

#[test]
fn a_good_token_names_its_user_key_and_end() {
    let exp = now() + 600;
    let identity = judged(&token(json!({"sub": "alice", "publicKey": "k", "exp": exp}))).unwrap();
    assert_eq!(identity.user.as_deref(), Some("alice"));
    assert_eq!(identity.public_key.as_deref(), Some("k"));
    assert_eq!(identity.expires_at_ms, Some((exp + 30) * 1000));
    assert_eq!(identity.rights, Rights::ALL);
}

#[test]
fn user_id_stands_in_for_sub_as_text_or_number() {
    let exp = now() + 600;
    let user = |claims| judged(&token(claims)).unwrap().user.unwrap();
    assert_eq!(&*user(json!({"userId": "bob", "exp": exp})), "bob");
    assert_eq!(&*user(json!({"userId": 42, "exp": exp})), "42");
    assert_eq!(&*user(json!({"sub": "alice", "userId": "bob", "exp": exp})), "alice");
    assert_eq!(judged(&token(json!({"exp": exp}))), Err(AuthError::Invalid));
}

#[test]
fn rights_that_a_token_does_not_name_are_granted() {
    let claims = json!({"sub": "a", "exp": now() + 9, "can": {"turn": false}, "rooms": ["lobby"], "peer": "p1"});
    let identity = judged(&token(claims)).unwrap();
    assert_eq!(
        identity.rights,
        Rights {
            publish: true,
            relay: true,
            turn: false
        }
    );
    assert!(identity.allows_room("lobby") && !identity.allows_room("attic"));
    assert_eq!(identity.peer.as_deref(), Some("p1"));
}

#[test]
fn an_expired_token_is_told_apart_and_clocks_may_differ_by_30_seconds() {
    let with_exp = |exp| judged(&token(json!({"sub": "a", "exp": exp})));
    assert_eq!(with_exp(now() - 40), Err(AuthError::Expired));
    assert!(with_exp(now() - 20).is_ok());
    let with_nbf = |nbf| judged(&token(json!({"sub": "a", "exp": now() + 600, "nbf": nbf})));
    assert!(with_nbf(now() + 20).is_ok());
    assert_eq!(with_nbf(now() + 40), Err(AuthError::Invalid));
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert_eq!(judged(&token(json!({"sub": "a"}))), Err(AuthError::Invalid));
}

#[test]
fn the_algorithm_is_ours_to_choose() {
    let claims = json!({"sub": "a", "exp": now() + 600});
    for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        let forged = token_with(&json!({"alg": alg, "typ": "JWT"}), &claims, SECRET);
        assert_eq!(judged(&forged), Err(AuthError::Invalid), "{alg}");
        let unsigned = format!("{}.", forged.rsplit_once('.').unwrap().0);
        assert_eq!(judged(&unsigned), Err(AuthError::Invalid), "{alg} unsigned");
    }
}

#[test]
fn a_token_is_verified_once_and_again_after_every_reload() {
    use crate::telemetry::labels::TokenMemory::{Known, Verified};
    let metrics = Metrics::new().unwrap();
    let auth = |secret: &str| Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(secret)])));
    let authenticator = TokenAuthenticator::new(&auth(SECRET), &metrics).unwrap();
    let good = token(json!({"sub": "alice", "publicKey": "k", "rooms": ["lobby"], "exp": now() + 600}));
    let first = verdict(&authenticator, Some(&good)).unwrap();
    let socket = authenticator.for_surface(Surface::Websocket);
    assert_eq!(verdict(&socket, Some(&good)), Ok(first.clone()));
    let counted = || [Verified, Known].map(|result| metrics.auth().token_memories(result));
    assert_eq!(counted(), [1, 1]);

    // A token like it is another one.
    let (front, signature) = good.rsplit_once('.').unwrap();
    let changed = format!("{front}.A{}", &signature[1..]);
    let other = if changed == good {
        format!("{front}.B{}", &signature[1..])
    } else {
        changed
    };
    assert_eq!(verdict(&authenticator, Some(&other)), Err(AuthError::Invalid));

    // A secret that is taken back verifies nothing more, known or not; and when it is back, nothing is remembered of it.
    authenticator
        .replace(&auth("another-secret-of-thirty-two-bytes-or-more"))
        .unwrap();
    for judge in [&authenticator, &socket] {
        assert_eq!(verdict(judge, Some(&good)), Err(AuthError::Invalid));
    }
    authenticator.replace(&auth(SECRET)).unwrap();
    assert_eq!(verdict(&authenticator, Some(&good)), Ok(first));
    assert_eq!(counted(), [2, 1]);
}

#[test]
fn a_wrong_key_and_a_changed_claim_are_refused() {
    let header = json!({"alg": "HS256"});
    let claims = json!({"sub": "a", "exp": now() + 600});
    assert_eq!(
        judged(&token_with(&header, &claims, "some-other-secret-of-32-bytes-or-so")),
        Err(AuthError::Invalid)
    );
    let good = token(claims);
    let changed = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 600}).to_string());
    let parts: Vec<_> = good.split('.').collect();
    assert_eq!(
        judged(&format!("{}.{changed}.{}", parts[0], parts[2])),
        Err(AuthError::Invalid)
    );
    for junk in ["", ".", "..", "a.b.c", "a.b.c.d", "eyJ"] {
        assert_eq!(judged(junk), Err(AuthError::Invalid), "{junk:?}");
    }
}

#[test]
fn audience_and_issuer_are_asked_for_when_configured() {
    let strict = authenticator(Jwt {
        audience: Some("meet".into()),
        issuer: Some("idp".into()),
        ..jwt()
    });
    let judge = |extra: Value| {
        let mut claims = json!({"sub": "a", "exp": now() + 600});
        claims
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        verdict(&strict, Some(&token(claims)))
    };
    assert!(judge(json!({"aud": "meet", "iss": "idp"})).is_ok());
    assert!(judge(json!({"aud": ["other", "meet"], "iss": "idp"})).is_ok());
    for bad in [
        json!({}),
        json!({"aud": "meet"}),
        json!({"iss": "idp"}),
        json!({"aud": "x", "iss": "idp"}),
    ] {
        assert_eq!(judge(bad.clone()), Err(AuthError::Invalid), "{bad}");
    }
    // Not configured: whatever audience the issuer writes is fine.
    assert!(judged(&token(json!({"sub": "a", "exp": now() + 600, "aud": "x"}))).is_ok());
}

#[test]
fn claims_are_bounded_and_printable() {
    let user = |sub: &str| judged(&token(json!({"sub": sub, "exp": now() + 600})));
    assert!(user(&"u".repeat(MAX_CLAIM_BYTES)).is_ok());
    for bad in ["", "a\nb", &"u".repeat(MAX_CLAIM_BYTES + 1)] {
        assert_eq!(user(bad), Err(AuthError::Invalid), "{bad:?}");
    }
    let long = token(json!({"sub": "a", "exp": now() + 600, "x": "y".repeat(MAX_TOKEN_BYTES)}));
    assert_eq!(judged(&long), Err(AuthError::Invalid));
}

#[test]
fn without_tokens_everybody_is_anonymous() {
    let open = TokenAuthenticator::new(&Auth::Open, &Metrics::new().unwrap()).unwrap();
    assert!(open.is_open());
    assert_eq!(verdict(&open, None), Ok(Identity::ANONYMOUS));
    assert_eq!(verdict(&open, Some("whatever")), Ok(Identity::ANONYMOUS));
    assert_eq!(verdict(&authenticator(jwt()), None), Err(AuthError::Missing));
}

#[test]
fn where_strangers_are_refused_they_join_without_turn() {
    let open = TokenAuthenticator::new(&Auth::Open, &Metrics::new().unwrap()).unwrap();
    let socket = open.for_surface(Surface::Websocket);
    open.refuse_strangers(true);
    let rights = verdict(&socket, None).unwrap().rights;
    assert!(!rights.turn && rights.publish && rights.relay);
    open.refuse_strangers(false);
    assert_eq!(verdict(&socket, None), Ok(Identity::ANONYMOUS));
}

#[test]
fn a_short_or_missing_secret_is_refused_at_start() {
    let error = |secrets: &[&str]| {
        let secrets = secrets.iter().map(|secret| JwtSecret::new(*secret)).collect();
        let jwt = Jwt {
            leeway: Duration::ZERO,
            ..Jwt::new(secrets)
        };
        TokenAuthenticator::new(&Auth::Jwt(Box::new(jwt)), &Metrics::new().unwrap()).err()
    };
    assert!(matches!(error(&[]), Some(AuthConfigError::NoSecret)));
    let short = "s".repeat(MIN_SECRET_BYTES - 1);
    assert!(matches!(error(&[&short]), Some(AuthConfigError::ShortSecret)));
    assert!(error(&[&"s".repeat(MIN_SECRET_BYTES)]).is_none());
}

#[test]
fn a_token_opens_no_realm_that_is_not_configured() {
    let realm = crate::http::Realm {
        name: "acme".to_owned(),
        tokens: vec![crate::http::Token::new("acme's own token")],
        rate: crate::http::RateLimit::default(),
        hosts: Vec::new(),
        extra: Vec::new(),
        ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(60),
    };
    let authenticator = authenticator(jwt());
    authenticator.replace_realms(&[realm]);
    let socket = authenticator.for_surface(Surface::Websocket);
    let with = |realm: Value| token(json!({"sub": "alice", "exp": now() + 9, "realm": realm}));
    for surface in [&authenticator, &socket] {
        let realm = |claim| verdict(surface, Some(&with(claim))).map(|identity| identity.realm);
        assert_eq!(realm(json!("acme")), Ok(Some("acme".into())));
        assert_eq!(realm(json!("default")), Ok(None));
        assert_eq!(realm(json!(null)), Ok(None));
        assert_eq!(realm(json!("globex")), Err(AuthError::Forbidden));
        assert_eq!(realm(json!(7)), Err(AuthError::Invalid));
        // A tenant's own token is no JWT, and lets nobody into a room.
        assert_eq!(verdict(surface, Some("acme's own token")), Err(AuthError::Invalid));
    }
    authenticator.replace_realms(&[]);
    assert_eq!(verdict(&socket, Some(&with(json!("acme")))), Err(AuthError::Forbidden));
}
