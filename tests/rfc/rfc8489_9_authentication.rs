//! RFC 8489 §9.2.4: the long-term credential mechanism, receiving a request; and time-limited credentials over it.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::{self, KeyRing};
use meetpoint::turn::{AuthFailure, Config, Limits, NonceKey};
use meetpoint::wire::attribute::{
    Nonce, PasswordAlgorithm, PasswordAlgorithms, Realm, RequestedTransport, SecurityFeatures, Username,
};
use meetpoint::wire::{AttributeType, Class, MessageBuilder, Method};

use crate::relay::{BEGIN, Client, Lab, Mode, PEER, REALM, Reply, STATIC_PASSWORD, STATIC_USER, config};

const A: &str = "192.0.2.1:4001";

fn failures(lab: &Lab, failure: AuthFailure) -> u64 {
    lab.server.stats().auth_failures[failure.index()]
}

fn assert_challenge(reply: &Reply, code: u16) {
    assert_eq!(reply.code(), code);
    assert_eq!(reply.find::<Realm<'_>>().unwrap().as_str(), REALM);
    assert!(reply.nonce().starts_with("obMatJos2"));
    assert_eq!(
        reply.find::<PasswordAlgorithms<'_>>().unwrap(),
        PasswordAlgorithms::SHA256_THEN_MD5
    );
    for absent in [
        AttributeType::USERNAME,
        AttributeType::USERHASH,
        AttributeType::MESSAGE_INTEGRITY,
    ] {
        assert!(!reply.has(absent));
    }
}

#[test]
fn a_request_without_integrity_is_challenged() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let reply = client.challenge(&mut lab);
    assert_challenge(&reply, 401);
    let features = SecurityFeatures::of_nonce(&reply.nonce()).unwrap();
    assert!(features.password_algorithms && !features.username_anonymity);
    assert_eq!(failures(&lab, AuthFailure::NoCredentials), 1);
}

#[test]
fn the_feature_bits_say_what_the_operator_chose() {
    for (offer_sha256, username_anonymity) in [(true, true), (false, true), (false, false)] {
        let mut lab = Lab::new(Config {
            offer_sha256,
            username_anonymity,
            ..config()
        });
        let reply = Client::new(A).challenge(&mut lab);
        let features = SecurityFeatures::of_nonce(&reply.nonce()).unwrap();
        assert_eq!(
            (features.password_algorithms, features.username_anonymity),
            (offer_sha256, username_anonymity)
        );
        assert_eq!(reply.has(AttributeType::PASSWORD_ALGORITHMS), offer_sha256);
    }
}

#[test]
fn integrity_without_user_realm_or_nonce_is_400_and_unsigned() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    for missing in 0..3 {
        let (nonce, name, key) = (client.nonce.clone(), client.username.clone(), client.key());
        let request = client.bare(Method::ALLOCATE, Class::Request, |builder| {
            builder.attribute(&RequestedTransport::UDP);
            if missing != 0 {
                builder.attribute(&Username::new(&name).unwrap());
            }
            if missing != 1 {
                builder.attribute(&Realm::new(REALM).unwrap());
            }
            if missing != 2 {
                builder.attribute(&Nonce::new(&nonce).unwrap());
            }
            builder.integrity(&key);
        });
        let reply = client.send(&mut lab, &request);
        assert_eq!((reply.code(), reply.kinds()), (400, vec![AttributeType::ERROR_CODE]));
        assert_eq!(reply.message().integrity_kind(), None);
    }
    assert_eq!(failures(&lab, AuthFailure::MissingAttribute), 3);
}

#[test]
fn a_wrong_password_is_401_and_a_wrong_realm_or_user_too() {
    let mut lab = Lab::new(config());
    for (user, password, realm, failure) in [
        (STATIC_USER, "looking-glass", REALM, AuthFailure::WrongPassword),
        ("1900000000:bob", "guess", REALM, AuthFailure::WrongPassword),
        ("nobody", "guess", REALM, AuthFailure::UnknownUser),
        ("", "guess", REALM, AuthFailure::UnknownUser),
        (STATIC_USER, STATIC_PASSWORD, "elsewhere", AuthFailure::WrongRealm),
    ] {
        let mut client = Client::with(A, user, password);
        client.challenge(&mut lab);
        client.realm = realm.to_owned();
        let reply = client.allocate_with(&mut lab, |_| {});
        assert_challenge(&reply, 401);
        assert!(failures(&lab, failure) > 0, "{user} {failure:?}");
    }
    lab.assert_empty();
}

#[test]
fn a_static_user_is_known_by_name_and_by_hash_with_either_algorithm() {
    for mode in [Mode::Classic, Mode::Md5, Mode::Sha256] {
        for userhash in [false, true] {
            let mut lab = Lab::new(config());
            let mut client = Client::with(A, STATIC_USER, STATIC_PASSWORD);
            (client.mode, client.userhash) = (mode, userhash);
            let reply = client.allocate_with(&mut lab, |_| {});
            assert_eq!(reply.code(), 0, "{mode:?} {userhash}");
            assert!(client.signed(&reply));
            assert_eq!(client.permit(&mut lab, &[PEER]), 0);
        }
    }
}

#[test]
fn a_time_limited_user_may_use_either_algorithm_and_its_hash_once_it_is_known() {
    for mode in [Mode::Classic, Mode::Md5, Mode::Sha256] {
        let mut lab = Lab::new(config());
        let mut client = Client::new(A);
        client.mode = mode;
        client.userhash = true;
        assert_eq!(
            client.allocate_with(&mut lab, |_| {}).code(),
            401,
            "nobody can be found by this hash"
        );
        client.userhash = false;
        client.allocate(&mut lab);
        client.userhash = true;
        let reply = client.refresh(&mut lab, 600);
        assert_eq!(reply.code(), 0);
        assert!(client.signed(&reply));
    }
}

#[test]
fn the_owner_may_change_the_algorithm_between_requests() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    client.mode = Mode::Sha256;
    let reply = client.refresh(&mut lab, 600);
    assert_eq!(reply.code(), 0);
    assert!(client.signed(&reply));
}

#[test]
fn an_offer_that_was_changed_on_the_way_is_400() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let both = PasswordAlgorithms::SHA256_THEN_MD5.as_bytes();
    let md5_only: &[u8] = &[0, 1, 0, 0];
    let swapped: &[u8] = &[0, 1, 0, 0, 0, 2, 0, 0];
    let (md5, sha256, other): (&[u8], &[u8], &[u8]) = (&[0, 1, 0, 0], &[0, 2, 0, 0], &[0, 3, 0, 0]);
    for (algorithms, algorithm, code) in [
        (Some(both), Some(md5), 0),
        (Some(md5_only), Some(md5), 400),
        (Some(swapped), Some(sha256), 400),
        (Some(&both[..7]), Some(sha256), 400),
        (Some(both), Some(other), 400),
        (Some(both), None, 400),
        (None, Some(md5), 400),
        (None, Some(sha256), 400),
    ] {
        let (nonce, name) = (client.nonce.clone(), client.username.clone());
        client.mode = Mode::Md5;
        let key = client.key();
        let request = client.bare(Method::ALLOCATE, Class::Request, |builder| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&Username::new(&name).unwrap());
            builder
                .attribute(&Realm::new(REALM).unwrap())
                .attribute(&Nonce::new(&nonce).unwrap());
            if let Some(algorithms) = algorithms {
                builder.raw_attribute(AttributeType::PASSWORD_ALGORITHMS, algorithms);
            }
            if let Some(algorithm) = algorithm {
                builder.raw_attribute(AttributeType::PASSWORD_ALGORITHM, algorithm);
            }
            builder.integrity_sha256(&key);
        });
        let reply = client.send(&mut lab, &request);
        assert_eq!(reply.code(), code, "{algorithms:?} {algorithm:?}");
        if code == 0 {
            assert!(client.signed(&reply));
            client.refresh(&mut lab, 0);
        }
    }
    assert_eq!(failures(&lab, AuthFailure::BidDown), 7);
}

#[test]
fn without_an_offer_sha256_cannot_be_chosen() {
    let mut lab = Lab::new(Config {
        offer_sha256: false,
        ..config()
    });
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    client.mode = Mode::Sha256;
    assert_eq!(client.allocate_with(&mut lab, |_| {}).code(), 400);
    client.mode = Mode::Classic;
    client.allocate(&mut lab);
}

#[test]
fn of_two_integrity_attributes_the_stronger_counts() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    client.mode = Mode::Sha256;
    let (nonce, name, key) = (client.nonce.clone(), client.username.clone(), client.key());
    let sealed = |client: &mut Client, seal: &dyn Fn(&mut MessageBuilder<'_>)| {
        client.bare(Method::ALLOCATE, Class::Request, |builder| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&Username::new(&name).unwrap());
            builder
                .attribute(&Realm::new(REALM).unwrap())
                .attribute(&Nonce::new(&nonce).unwrap());
            builder
                .attribute(&PasswordAlgorithms::SHA256_THEN_MD5)
                .attribute(&PasswordAlgorithm::Sha256);
            seal(builder);
        })
    };
    let wrong = meetpoint::wire::IntegrityKey::short_term("wrong");
    let request = sealed(&mut client, &|builder| {
        _ = builder.integrity(&key).integrity_sha256(&wrong)
    });
    assert_eq!(client.send(&mut lab, &request).code(), 401);
    let request = sealed(&mut client, &|builder| {
        _ = builder.integrity(&wrong).integrity_sha256(&key)
    });
    assert_eq!(client.send(&mut lab, &request).code(), 0);
}

#[test]
fn a_truncated_hmac_is_no_proof_of_the_password() {
    // RFC 8489 §14.6: all 32 bytes, unless the usage allows less, and TURN says nothing of it.
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    client.mode = Mode::Sha256;
    let whole = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    for len in [16, 28] {
        let mut request = whole[..whole.len() - (4 + 32)].to_vec();
        let length = (request.len() - 20 + 4 + len) as u16;
        request[2..4].copy_from_slice(&length.to_be_bytes());
        let mac = hmac_sha256(&client, &request);
        request.extend_from_slice(&[0x00, 0x1C, 0, len as u8]);
        request.extend_from_slice(&mac[..len]);
        assert_eq!(client.send(&mut lab, &request).code(), 401, "{len}");
    }
    assert_eq!(failures(&lab, AuthFailure::WrongPassword), 2);
    assert_eq!(client.send(&mut lab, &whole).code(), 0);
}

fn hmac_sha256(client: &Client, covered: &[u8]) -> [u8; 32] {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let key = Sha256::digest(format!("{}:{REALM}:{}", client.username, client.password));
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(covered);
    mac.finalize().into_bytes().into()
}

#[test]
fn a_nonce_that_is_too_old_is_438_with_a_fresh_one_for_those_who_know_the_password() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    lab.advance(Duration::from_secs(599));
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
    lab.advance(Duration::from_secs(1));
    let reply = client.refresh(&mut lab, 600);
    assert_challenge(&reply, 438);
    assert_eq!(failures(&lab, AuthFailure::StaleNonce), 1);

    let mut guesser = client.clone();
    guesser.password = "guess".into();
    assert_challenge(&guesser.refresh(&mut lab, 600), 401);

    client.nonce = reply.nonce();
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
}

#[test]
fn a_nonce_of_another_address_is_438() {
    let mut lab = Lab::new(config());
    let mut other = Client::new("192.0.2.1:4002");
    other.challenge(&mut lab);
    let mut client = Client::new(A);
    for nonce in [
        other.nonce.as_str(),
        "",
        "obMatJos2AAAA",
        "f//499k954d6OL34oL9FSTvy64sA",
    ] {
        client.nonce = nonce.to_owned();
        let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP);
        });
        assert_challenge(&reply, 438);
    }
    assert_eq!(failures(&lab, AuthFailure::ForeignNonce), 4);
}

#[test]
fn replicas_with_one_key_take_each_others_nonces() {
    let mut one = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut one);
    let mut two = Lab::new(config());
    assert_eq!(client.allocate_with(&mut two, |_| {}).code(), 0);
    let mut stranger = Lab::new(Config {
        nonce_key: Some(NonceKey::new([8; 32])),
        ..config()
    });
    assert_eq!(client.allocate_with(&mut stranger, |_| {}).code(), 438);
    let mut alone = Lab::new(Config {
        nonce_key: None,
        ..config()
    });
    assert_eq!(client.allocate_with(&mut alone, |_| {}).code(), 438);
    client.nonce.clear();
    client.allocate(&mut alone);
}

#[test]
fn every_secret_of_the_ring_is_good_and_no_other() {
    let mut rotated = config();
    rotated.keys = Some(KeyRing::from_bytes(["new", "old", "older"]).unwrap());
    let mut lab = Lab::new(rotated);
    for (port, secret, code) in [(1, "new", 0), (2, "old", 0), (3, "older", 0), (4, "oldest", 401)] {
        let ring = KeyRing::from_bytes([secret]).unwrap();
        let minted = credentials::mint(&ring, BEGIN, "bob", Duration::from_secs(60)).unwrap();
        let address = format!("192.0.2.1:{port}");
        let mut client = Client::with(&address, &minted.username, minted.password.as_str());
        assert_eq!(client.allocate_with(&mut lab, |_| {}).code(), code, "{secret}");
    }
}

#[test]
fn an_expired_credential_opens_nothing_new() {
    let mut lab = Lab::new(config());
    for (ttl, code) in [(0, 0), (60, 0)] {
        let mut client = Client::with_expiry(A, "bob", Duration::from_secs(ttl));
        assert_eq!(
            client.allocate_with(&mut lab, |_| {}).code(),
            code,
            "the last second counts"
        );
        client.refresh(&mut lab, 0);
    }
    let mut client = Client::with_expiry(A, "bob", Duration::from_secs(60));
    lab.advance(Duration::from_secs(61));
    assert_challenge(&client.allocate_with(&mut lab, |_| {}), 401);
    assert_eq!(failures(&lab, AuthFailure::Expired), 1);
}

#[test]
fn an_expired_credential_never_cuts_a_living_relay() {
    let mut lab = Lab::new(config());
    let mut client = Client::with_expiry(A, "bob", Duration::from_secs(60));
    client.allocate(&mut lab);
    for _ in 0..20 {
        lab.advance(Duration::from_secs(500));
        let stale = client.refresh(&mut lab, 600);
        let reply = if stale.code() == 438 {
            client.nonce = stale.nonce();
            client.refresh(&mut lab, 600)
        } else {
            stale
        };
        assert_eq!(reply.code(), 0);
        assert_eq!(client.permit(&mut lab, &[PEER]), 0);
        assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    }
    // Nor does the secret's removal.
    let mut rotated = config();
    rotated.keys = None;
    lab.server.reconfigure(Arc::new(rotated));
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
}

#[test]
fn good_credentials_of_another_user_are_441() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let mut alice = Client::with(A, STATIC_USER, STATIC_PASSWORD);
    alice.nonce = client.nonce.clone();
    let reply = alice.refresh(&mut lab, 0);
    assert_eq!(reply.code(), 441);
    assert!(alice.signed(&reply));
    assert_eq!(alice.permit(&mut lab, &[PEER]), 441);
    assert_eq!(alice.bind(&mut lab, 0x4000, PEER), 441);
    // The same user with another expiry is another username.
    let mut renewed = Client::with_expiry(A, "bob", Duration::from_secs(7200));
    renewed.nonce = client.nonce.clone();
    assert_eq!(renewed.refresh(&mut lab, 0).code(), 441);
    let mut guesser = Client::with(A, STATIC_USER, "guess");
    guesser.nonce = client.nonce.clone();
    assert_eq!(guesser.refresh(&mut lab, 0).code(), 401);
    assert_eq!(lab.server.allocations(), 1);
    assert_eq!(failures(&lab, AuthFailure::WrongUser), 4);
}

#[test]
fn a_server_without_any_credentials_lets_nobody_in() {
    let mut lab = Lab::new(Config {
        keys: None,
        static_users: Vec::new(),
        ..config()
    });
    assert_eq!(Client::new(A).allocate_with(&mut lab, |_| {}).code(), 401);
    assert_eq!(
        Client::with(A, STATIC_USER, STATIC_PASSWORD)
            .allocate_with(&mut lab, |_| {})
            .code(),
        401
    );
}

#[test]
fn static_users_are_counted_by_their_whole_name() {
    let mut few = config();
    few.limits = Limits {
        allocations_per_user: 1,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let codes: Vec<_> = (1..=2)
        .map(|port| {
            let address = format!("192.0.2.1:{port}");
            Client::with(&address, STATIC_USER, STATIC_PASSWORD)
                .allocate_with(&mut lab, |_| {})
                .code()
        })
        .collect();
    assert_eq!(codes, [0, 486]);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let shown = format!("{:?} {:?}", config(), Lab::new(config()).server);
    for secret in [STATIC_PASSWORD, crate::relay::SECRET, "7, 7, 7"] {
        assert!(!shown.contains(secret));
    }
}
