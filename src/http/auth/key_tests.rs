//! Public keys and the tokens of others: `tests/vectors/jwt` tells who made them.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::claims::MAX_CLAIM_BYTES;
use super::config::Jwt;
use super::jwk::{KeySet, MAX_KEYS};
use super::key::{Algorithm, MAX_KID_BYTES};
use super::rules::MAX_TRIES;
use super::*;

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/vectors/jwt/tokens.json")).unwrap());

fn text(of: &str, name: &str) -> &'static str {
    VECTORS[of][name].as_str().unwrap()
}

fn jwks() -> String {
    VECTORS["jwks"].to_string()
}

fn jwt(keys: &str) -> Jwt {
    Jwt {
        keys: read_keys(keys).unwrap(),
        ..Jwt::new(Vec::new())
    }
}

fn judged(jwt: Jwt, token: &str) -> Result<Identity, AuthError> {
    let authenticator = TokenAuthenticator::new(&Auth::Jwt(Box::new(jwt)), &Metrics::new().unwrap()).unwrap();
    let applicant = Applicant {
        token: Some(token),
        ..Applicant::default()
    };
    match authenticator.authenticate(applicant) {
        Verdict::Now(result) => result,
        Verdict::Later(_) => panic!("nobody is to be asked"),
    }
}

#[test]
fn tokens_of_every_algorithm_by_another_library_are_verified_with_the_keys_of_a_set() {
    let good = VECTORS["good"].as_object().unwrap();
    assert_eq!(good.len(), 8);
    for (name, token) in good {
        let identity = judged(jwt(&jwks()), token.as_str().unwrap()).unwrap();
        assert_eq!(identity.user.as_deref(), Some("alice"), "{name}");
    }
    assert_eq!(
        judged(jwt(&jwks()), VECTORS["expired"].as_str().unwrap()),
        Err(AuthError::Expired)
    );
}

#[test]
fn keys_in_pem_verify_what_they_signed_and_nothing_else() {
    for name in ["RS256", "ES256", "EdDSA"] {
        for (other, token) in VECTORS["good"].as_object().unwrap() {
            // What stands in a set names its key, and one in PEM has no name.
            let own = other.starts_with(name) || (name == "RS256" && other == "access token");
            let result = judged(jwt(text("pem", name)), token.as_str().unwrap());
            assert_eq!(result.is_ok(), own, "{other} by the key for {name}");
        }
    }
    let several = ["RS256", "ES256", "EdDSA"].map(|name| text("pem", name)).concat();
    let keys = read_keys(&several).unwrap();
    let algorithms: Vec<_> = keys.iter().map(VerifyingKey::algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]);
}

#[test]
fn every_attack_of_the_collection_fails() {
    let attacks = VECTORS["attacks"].as_object().unwrap();
    assert!(attacks.len() >= 26, "some are gone");
    let in_pem = ["RS256", "ES256", "EdDSA"].map(|name| text("pem", name)).concat();
    for keys in [jwks(), in_pem] {
        let mut both = jwt(&keys);
        // A secret beside the keys makes HS256 an algorithm that is known.
        both.secrets = vec![crate::http::JwtSecret::new("a-secret-of-at-least-thirty-two-bytes")];
        for (name, token) in attacks {
            let only_for_names = name.contains("of RSA key") || name.contains("name of an RSA key");
            if only_for_names && !keys.starts_with('{') {
                // Without names a good signature of a known key is just that.
                continue;
            }
            for jwt in [jwt(&keys), both.clone()] {
                let result = judged(jwt, token.as_str().unwrap());
                assert_eq!(result, Err(AuthError::Invalid), "{name}");
            }
        }
    }
}

#[test]
fn audience_and_issuer_are_asked_of_every_algorithm() {
    for (name, token) in VECTORS["good"].as_object().unwrap() {
        let with = |audience: &str, issuer: &str| {
            let strict = Jwt {
                audience: Some(audience.to_owned()),
                issuer: Some(issuer.to_owned()),
                ..jwt(&jwks())
            };
            judged(strict, token.as_str().unwrap())
        };
        assert!(with("meet", "https://issuer.example.org/").is_ok(), "{name}");
        assert_eq!(
            with("other", "https://issuer.example.org/"),
            Err(AuthError::Invalid),
            "{name}"
        );
        assert_eq!(
            with("meet", "https://elsewhere.example.org/"),
            Err(AuthError::Invalid),
            "{name}"
        );
    }
}

#[test]
fn of_a_set_only_what_can_be_used_is_taken_and_the_rest_is_told() {
    let set = KeySet::from_json(jwks().as_bytes()).unwrap();
    let shown: Vec<_> = set.keys.iter().map(|key| format!("{key:?}")).collect();
    assert_eq!(shown, ["RS256 rsa", "PS256 pss", "ES256 p256", "EdDSA ed"]);
    assert_eq!(set.skipped, [KeyError::Use, KeyError::Type, KeyError::Size]);
}

/// The first key of the set with other fields; `null` removes one.
fn changed(kid: &str, fields: Value) -> Result<Vec<VerifyingKey>, KeyError> {
    let keys = VECTORS["jwks"]["keys"].as_array().unwrap();
    let mut key = keys.iter().find(|key| key["kid"] == kid).unwrap().clone();
    for (name, value) in fields.as_object().unwrap() {
        key[name] = value.clone();
        if value.is_null() {
            key.as_object_mut().unwrap().remove(name);
        }
    }
    read_keys(&key.to_string())
}

#[test]
fn a_key_that_is_not_what_it_says_is_refused_with_the_reason() {
    assert!(changed("rsa", json!({})).is_ok());
    let no = |kid, fields| changed(kid, fields).unwrap_err();
    for (kid, fields, why) in [
        ("rsa", json!({"d": "AQAB"}), KeyError::Private),
        ("rsa", json!({"kty": "oct", "k": "c2VjcmV0"}), KeyError::Secret),
        ("rsa", json!({"kty": "EC"}), KeyError::Type),
        ("rsa", json!({"alg": "RS512"}), KeyError::Algorithm),
        ("rsa", json!({"alg": "HS256"}), KeyError::Algorithm),
        ("rsa", json!({"alg": "none"}), KeyError::Algorithm),
        ("rsa", json!({"use": "enc"}), KeyError::Use),
        ("rsa", json!({"key_ops": ["encrypt"]}), KeyError::Use),
        ("rsa", json!({"key_ops": "verify"}), KeyError::Form),
        ("rsa", json!({"n": "AQAB"}), KeyError::Size),
        ("rsa", json!({"n": "+/=="}), KeyError::Part),
        ("rsa", json!({"n": null}), KeyError::Part),
        ("rsa", json!({"e": "AQ"}), KeyError::Size),
        ("rsa", json!({"e": "AQAA"}), KeyError::Size),
        ("rsa", json!({"e": "AQAAAAAB"}), KeyError::Size),
        ("rsa", json!({"n": "w".repeat(1368)}), KeyError::Size),
        ("rsa", json!({"kid": "k".repeat(MAX_KID_BYTES + 1)}), KeyError::Kid),
        ("rsa", json!({"kid": 7}), KeyError::Form),
        ("p256", json!({"crv": "secp256k1"}), KeyError::Type),
        ("p256", json!({"alg": "RS256"}), KeyError::Algorithm),
        ("p256", json!({"x": "AQAB"}), KeyError::Part),
        ("ed", json!({"crv": "Ed448"}), KeyError::Type),
        ("ed", json!({"alg": "ES256"}), KeyError::Algorithm),
    ] {
        assert_eq!(no(kid, fields.clone()), why, "{kid} {fields}");
    }
    assert!(changed("rsa", json!({"kid": "k".repeat(MAX_KID_BYTES)})).is_ok());
    assert!(changed("ed", json!({"alg": "Ed25519"})).is_ok());
    assert!(changed("rsa", json!({"key_ops": ["sign", "verify"], "alg": null, "use": null})).is_ok());
}

#[test]
fn a_point_that_is_not_on_the_curve_verifies_nothing() {
    let off = json!({"y": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"});
    let off = Jwt {
        keys: changed("p256", off).unwrap(),
        ..Jwt::new(Vec::new())
    };
    assert_eq!(judged(off, text("good", "ES256")), Err(AuthError::Invalid));
}

#[test]
fn what_is_no_public_key_is_refused_with_the_reason() {
    for (keys, why) in [
        ("", KeyError::Form),
        ("-----BEGIN PUBLIC KEY-----\n", KeyError::Form),
        ("{", KeyError::Form),
        ("{}", KeyError::Form),
        ("{\"keys\": 7}", KeyError::Form),
        ("{\"keys\": []}", KeyError::Nothing),
        (text("private_pem", "EdDSA"), KeyError::Private),
        (text("pem", "weak"), KeyError::Size),
        (text("pem", "p384"), KeyError::Type),
    ] {
        assert_eq!(read_keys(keys), Err(why), "{keys}");
    }
    let mut many: Vec<Value> = Vec::new();
    let one = &VECTORS["jwks"]["keys"][0];
    for number in 0..=MAX_KEYS {
        let mut key = one.clone();
        key["kid"] = number.to_string().into();
        many.push(key);
    }
    assert_eq!(read_keys(&json!({"keys": many}).to_string()), Err(KeyError::Number));
    many.pop();
    assert_eq!(read_keys(&json!({"keys": many}).to_string()).unwrap().len(), MAX_KEYS);
}

#[test]
fn a_token_without_a_name_is_tried_with_so_many_keys_and_no_more() {
    let ed = |x: u8| {
        let x = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, [x; 32]);
        changed("ed", json!({"x": x, "kid": null})).unwrap()
    };
    let strangers = |number: usize| (0..number).flat_map(|x| ed(x as u8)).collect::<Vec<_>>();
    let with = |number: usize| {
        let mut jwt = Jwt::new(Vec::new());
        jwt.keys = [strangers(number), read_keys(text("pem", "EdDSA")).unwrap()].concat();
        judged(jwt, text("good", "EdDSA without kid"))
    };
    assert!(with(MAX_TRIES - 1).is_ok());
    assert_eq!(with(MAX_TRIES), Err(AuthError::Invalid));
}

#[test]
fn secrets_and_keys_stand_side_by_side_and_each_knows_its_own() {
    let mut both = jwt(&jwks());
    both.secrets = vec![crate::http::JwtSecret::new("an-hs256-secret-of-at-least-32-bytes")];
    assert!(judged(both.clone(), text("good", "RS256")).is_ok());
    let header = json!({"alg": "HS256", "kid": "rsa"});
    let claims = json!({"sub": "u".repeat(MAX_CLAIM_BYTES), "exp": 4_102_444_800_u64});
    let macced = super::tests::token_with(&header, &claims, "an-hs256-secret-of-at-least-32-bytes");
    assert!(judged(both, &macced).is_ok(), "a name is for keys that have one");
    assert_eq!(judged(jwt(&jwks()), &macced), Err(AuthError::Invalid));
}
