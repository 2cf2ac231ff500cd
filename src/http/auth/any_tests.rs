//! What comes from others, whatever it is: key sets, answers of the service, tokens.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::claims::MAX_CLAIM_BYTES;
use super::hook::read_answer;
use super::jwk::{KeySet, MAX_KEYS};
use super::key::{Algorithm, MAX_KID_BYTES};
use super::*;

/// What stands where something else should.
fn odd() -> impl Strategy<Value = Value> {
    let long = "A".repeat(700);
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([true, "a"])),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!("AQAB")),
        Just(json!("A".repeat(43))),
        Just(json!("_".repeat(342))),
        Just(json!(long)),
        Just(json!("a\nb")),
    ]
}

fn object(members: &'static [&'static str], known: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        3 => proptest::sample::select(known).prop_map(Value::from),
        2 => odd(),
    ];
    let member = (proptest::sample::select(members), value);
    proptest::collection::vec(member, 0..10).prop_map(|members| {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::Object(members.collect::<Map<_, _>>())
    })
}

fn jwk() -> impl Strategy<Value = Value> {
    object(
        &[
            "kty", "kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "crv", "x", "x", "y", "d", "k",
        ],
        &[
            "RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "P-384", "RS256", "PS256", "ES256", "EdDSA", "HS256",
            "none", "sig", "enc",
        ],
    )
}

fn answer() -> impl Strategy<Value = Value> {
    let rest = object(
        &[
            "reason",
            "user",
            "publicKey",
            "peer",
            "rooms",
            "realm",
            "can",
            "expiresAt",
            "cacheFor",
            "more",
        ],
        &["alice", "invalid", "expired", "default"],
    );
    let allow = prop_oneof![4 => Just(Some(json!(true))), 1 => odd().prop_map(Some), 1 => Just(None)];
    (rest, allow).prop_map(|(mut answer, allow)| {
        if let Some(allow) = allow {
            answer["allow"] = allow;
        }
        answer
    })
}

fn check_set(text: &[u8]) {
    let Ok(set) = KeySet::from_json(text) else { return };
    assert!((1..=MAX_KEYS).contains(&set.keys.len()));
    for key in &set.keys {
        assert_ne!(key.algorithm(), Algorithm::Hs256, "no set holds a secret");
        assert!(key.kid().is_none_or(|kid| kid.len() <= MAX_KID_BYTES));
    }
    // Points that are on no curve come this far: they verify nothing, and do no harm.
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/jwt/tokens.json")).unwrap();
    let auth = Auth::Jwt(Box::new(Jwt {
        keys: set.keys,
        ..Jwt::new(Vec::new())
    }));
    let authenticator = TokenAuthenticator::new(&auth, &Metrics::new().unwrap()).unwrap();
    for token in vectors["good"].as_object().unwrap().values() {
        let applicant = Applicant {
            token: token.as_str(),
            ..Applicant::default()
        };
        let verdict = authenticator.authenticate(applicant);
        assert!(matches!(verdict, Verdict::Now(Err(AuthError::Invalid))), "{verdict:?}");
    }
}

fn check_answer(text: &[u8]) {
    let Some((Ok(identity), _)) = read_answer(text) else {
        return;
    };
    let said: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(said["allow"], true, "{said}");
    let texts = [
        ("user", &identity.user),
        ("publicKey", &identity.public_key),
        ("peer", &identity.peer),
    ];
    for (name, text) in texts {
        assert_eq!(said[name].as_str(), text.as_deref(), "{said}");
        assert!(
            text.as_ref()
                .is_none_or(|text| (1..=MAX_CLAIM_BYTES).contains(&text.len()))
        );
    }
    // What narrows is there as it was said, or nobody is let in.
    assert_eq!(said["rooms"].is_array(), identity.rooms.is_some(), "{said}");
    assert_eq!(
        said["expiresAt"].is_number(),
        identity.expires_at_ms.is_some(),
        "{said}"
    );
    assert!(said["can"].is_object() || said["can"].is_null(), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_set_is_read_whatever_it_holds(keys in proptest::collection::vec(jwk(), 0..MAX_KEYS + 8), one in jwk()) {
        check_set(json!({"keys": keys}).to_string().as_bytes());
        check_set(one.to_string().as_bytes());
    }

    #[test]
    fn an_answer_lets_in_only_whom_it_says_and_as_it_says(answer in answer()) {
        check_answer(answer.to_string().as_bytes());
        // Its values without their names.
        let values: Vec<_> = answer.as_object().unwrap().values().collect();
        prop_assert!(read_answer(json!(values).to_string().as_bytes()).is_none());
    }

    #[test]
    fn bytes_that_are_nothing_are_no_key_no_answer_and_no_token(bytes: Vec<u8>, token in "[A-Za-z0-9_.-]{0,80}") {
        prop_assert!(KeySet::from_json(&bytes).is_err());
        prop_assert!(!matches!(read_answer(&bytes), Some((Ok(_), _))));
        prop_assert!(super::header::Header::of(&token).is_none_or(|header| header.kid.is_none_or(|kid| kid.len() < 1024)));
    }
}
