//! A secret of one realm opens nothing in another: by name and by hash, with either algorithm, under either REALM.

use meetpoint::turn::{AuthFailure, Config, StaticUser};
use meetpoint::wire::attribute::{Nonce, Realm};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, Mode, PEER, REALM, SECRET, config};
use crate::two::{
    ACME, ACME_PASSWORD, ACME_REALM, ACME_SECRET, GLOBEX, GLOBEX_SECRET, acme, globex, minted, of_acme, of_globex,
    stats, two, with,
};

const A: &str = "192.0.2.1:4001";
const MODES: [Mode; 3] = [Mode::Classic, Mode::Md5, Mode::Sha256];

fn failures(lab: &Lab, failure: AuthFailure) -> u64 {
    lab.server.stats().auth_failures[failure.index()]
}

/// What an Allocate is answered with.
fn allocate(lab: &mut Lab, client: &mut Client) -> u16 {
    client.allocate_with(lab, |_| {}).code()
}

#[test]
fn every_secret_opens_its_own_realm_and_no_other() {
    let secrets = [(None, SECRET), (Some(ACME), ACME_SECRET), (Some(GLOBEX), GLOBEX_SECRET)];
    for mode in MODES {
        for (named, _) in secrets {
            for (holder, secret) in secrets {
                let mut lab = Lab::new(two());
                let user = named.map_or_else(|| "bob".to_owned(), |realm| format!("bob@{realm}"));
                let mut client = minted(A, secret, &user);
                client.mode = mode;
                let code = allocate(&mut lab, &mut client);
                let realm = named.unwrap_or("default");
                if named == holder {
                    assert_eq!(code, 0, "{named:?} with the secret of {holder:?}, {mode:?}");
                    assert_eq!(client.permit(&mut lab, &[PEER]), 0);
                    assert_eq!(stats(&mut lab, realm).allocations, 1);
                } else {
                    assert_eq!(code, 401, "{named:?} with the secret of {holder:?}, {mode:?}");
                    assert_eq!(failures(&lab, AuthFailure::WrongPassword), 1);
                    assert_eq!(
                        stats(&mut lab, realm).auth_failures[AuthFailure::WrongPassword.index()],
                        1
                    );
                    lab.assert_empty();
                }
            }
        }
    }
}

#[test]
fn the_user_of_another_realm_is_nobody_even_with_the_right_password() {
    for mode in MODES {
        for userhash in [false, true] {
            for (username, code) in [
                ("carol@acme", 0),
                ("carol@globex", 401),
                ("carol", 401),
                ("carol@acme@acme", 401),
            ] {
                for realm in [REALM, ACME_REALM] {
                    let mut lab = Lab::new(two());
                    let mut client = Client::with(A, username, ACME_PASSWORD);
                    (client.mode, client.userhash) = (mode, userhash);
                    client.challenge(&mut lab);
                    client.realm = realm.to_owned();
                    assert_eq!(
                        allocate(&mut lab, &mut client),
                        code,
                        "{username} {mode:?} {userhash} {realm}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_user_of_the_default_realm_cannot_take_the_name_of_one_in_another() {
    // Such a configuration is refused with a word about it; the relay does not rely on that.
    let mut lab = Lab::new(Config {
        static_users: vec![StaticUser::new("dave@globex", "of the default realm")],
        ..two()
    });
    let mut dave = Client::with(A, "dave@globex", "of the default realm");
    assert_eq!(allocate(&mut lab, &mut dave), 401);
}

#[test]
fn an_at_that_names_no_realm_is_a_part_of_the_name() {
    let mut lab = Lab::new(two());
    for (port, user) in [
        "bob@example.org",
        "@bob:matrix.example",
        "bob@",
        "@",
        "acme@bob",
        "bob@ACME",
        "bob@acme ",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = minted(&format!("192.0.2.1:{}", 1 + port), SECRET, user);
        assert_eq!(allocate(&mut lab, &mut client), 0, "{user}");
    }
    assert_eq!(stats(&mut lab, "default").allocations, 7);
    let mut client = minted("192.0.2.1:99", ACME_SECRET, "bob@example.org");
    assert_eq!(allocate(&mut lab, &mut client), 401);
}

#[test]
fn the_last_at_counts_and_a_realm_needs_no_user() {
    let mut lab = Lab::new(two());
    for (port, user) in ["bob@globex@acme", "@acme"].into_iter().enumerate() {
        let mut client = minted(&format!("192.0.2.1:{}", 1 + port), ACME_SECRET, user);
        assert_eq!(allocate(&mut lab, &mut client), 0, "{user}");
    }
    assert_eq!(
        (stats(&mut lab, ACME).allocations, stats(&mut lab, GLOBEX).allocations),
        (2, 0)
    );
}

#[test]
fn everybody_is_challenged_alike_and_a_realms_own_realm_is_good_for_its_users_alone() {
    for mode in MODES {
        let mut lab = Lab::new(two());
        let mut acme = of_acme(A, "bob");
        let challenge = acme.challenge(&mut lab);
        assert_eq!(challenge.find::<Realm<'_>>().unwrap().as_str(), REALM);
        (acme.realm, acme.mode) = (ACME_REALM.to_owned(), mode);
        assert_eq!(allocate(&mut lab, &mut acme), 0);
        assert_eq!(acme.permit(&mut lab, &[PEER]), 0);
        // The owner of the allocation is the same under either, and found by its hash under either.
        for realm in [REALM, ACME_REALM] {
            for userhash in [false, true] {
                (acme.realm, acme.userhash) = (realm.to_owned(), userhash);
                let reply = acme.refresh(&mut lab, 600);
                assert_eq!(reply.code(), 0, "{realm} {userhash} {mode:?}");
                assert!(acme.signed(&reply));
            }
        }
        for (mut other, failure) in [
            (of_globex("192.0.2.2:1", "bob"), AuthFailure::WrongRealm),
            (minted("192.0.2.2:2", SECRET, "bob"), AuthFailure::WrongRealm),
            (minted("192.0.2.2:3", SECRET, "bob@acme"), AuthFailure::WrongPassword),
        ] {
            other.challenge(&mut lab);
            other.realm = ACME_REALM.to_owned();
            let before = failures(&lab, failure);
            assert_eq!(allocate(&mut lab, &mut other), 401);
            assert_eq!(failures(&lab, failure), before + 1);
        }
    }
}

#[test]
fn who_came_with_the_realms_own_realm_is_challenged_with_it_again() {
    let mut lab = Lab::new(two());
    let mut client = of_acme(A, "bob");
    client.challenge(&mut lab);
    client.realm = ACME_REALM.to_owned();
    allocate(&mut lab, &mut client);
    for (nonce, password, code) in [
        // The one nonce that is old and was ours, then one that never was.
        (client.nonce.clone(), client.password.clone(), 438),
        ("obMatJos2AAAA".to_owned(), client.password.clone(), 438),
        (String::new(), "wrong".to_owned(), 401),
    ] {
        lab.sleep(std::time::Duration::from_secs(3000));
        if nonce.is_empty() {
            client.challenge(&mut lab);
        } else {
            client.nonce = nonce;
        }
        client.password = password;
        let reply = client.refresh(&mut lab, 600);
        assert_eq!(reply.code(), code);
        assert_eq!(reply.find::<Realm<'_>>().unwrap().as_str(), ACME_REALM);
        assert!(reply.find::<Nonce<'_>>().is_some() && !reply.has(AttributeType::MESSAGE_INTEGRITY));
    }
}

#[test]
fn the_key_that_a_client_keeps_in_place_of_its_password_opens() {
    // H(user:REALM:password) was made where the client was set up: it cannot answer any other REALM.
    let mut lab = Lab::new(two());
    let mut client = Client::with(A, "carol@acme", ACME_PASSWORD);
    client.challenge(&mut lab);
    client.realm = ACME_REALM.to_owned();
    assert_eq!(allocate(&mut lab, &mut client), 0);
}

#[test]
fn credentials_of_another_realm_are_wrong_for_an_allocation_that_lives() {
    let mut lab = Lab::new(two());
    of_acme(A, "bob").allocate(&mut lab);
    for mut other in [of_globex(A, "bob"), minted(A, SECRET, "bob"), of_acme(A, "eve")] {
        let request = other.bare(Method::REFRESH, meetpoint::wire::Class::Request, |_| {});
        other.nonce = other.send(&mut lab, &request).nonce();
        assert_eq!(other.refresh(&mut lab, 0).code(), 441);
    }
    assert_eq!(lab.server.allocations(), 1);
}

#[test]
fn a_realm_without_secrets_has_its_users_and_a_realm_without_users_its_secrets() {
    let mut silent = acme();
    silent.keys = None;
    let mut lab = Lab::new(with([silent, globex()]));
    assert_eq!(allocate(&mut lab, &mut of_acme(A, "bob")), 401);
    assert_eq!(allocate(&mut lab, &mut minted(A, SECRET, "bob@acme")), 401);
    assert_eq!(failures(&lab, AuthFailure::UnknownUser), 2);
    assert_eq!(allocate(&mut lab, &mut Client::with(A, "carol@acme", ACME_PASSWORD)), 0);
}

#[test]
fn every_secret_of_a_realm_verifies_and_an_expired_credential_opens_nothing() {
    let mut rotating = acme();
    rotating.keys = Some(meetpoint::credentials::KeyRing::from_bytes(["newer", ACME_SECRET]).unwrap());
    let mut lab = Lab::new(with([rotating]));
    assert_eq!(allocate(&mut lab, &mut of_acme(A, "bob")), 0);
    assert_eq!(allocate(&mut lab, &mut minted("192.0.2.1:2", "newer", "bob@acme")), 0);
    lab.advance(std::time::Duration::from_secs(3601));
    assert_eq!(allocate(&mut lab, &mut of_acme(A, "bob")), 401);
    assert_eq!(failures(&lab, AuthFailure::Expired), 1);
}

#[test]
fn what_coturns_users_compute_by_hand_opens() {
    // python3 -c 'import hmac,base64;
    //   print(base64.b64encode(hmac.digest(b"acme\'s secret", b"1800003600:bob@acme", "sha1")).decode())'
    let mut lab = Lab::new(two());
    let mut client = Client::with(A, "1800003600:bob@acme", HAND_MADE);
    assert_eq!(allocate(&mut lab, &mut client), 0);
    assert_eq!(config().realm, REALM);
}

const HAND_MADE: &str = "dGYzkbpxga2URhpcc6z8uBdCxOY=";
