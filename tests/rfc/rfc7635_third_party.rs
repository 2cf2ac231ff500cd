//! RFC 7635: access tokens in place of passwords.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::{AccessToken, ThirdParty, TokenKey, UnixTime};
use meetpoint::turn::{AuthFailure, Config, Filter, Limits, ReservationToken, Revoked};
use meetpoint::wire::attribute::{
    EvenPort, Lifetime, MobilityTicket, Nonce, Realm, RequestedTransport, ThirdPartyAuthorization, Username,
    XorPeerAddress,
};
use meetpoint::wire::{AttributeType, Class, IntegrityKey, IntegrityKind, MessageBuilder, Method, TransactionId};

use crate::relay::{BEGIN, Client, Lab, PEER, REALM, Reply, addr, config, five_tuple};
use crate::rfc8016_mobility::ticket;

const NAME: &str = "turn.example.org";
const A: &str = "192.0.2.1:4001";
const B: &str = "198.51.100.7:5002";

fn north() -> TokenKey {
    TokenKey::new("north", &[1; 32]).unwrap()
}

fn union() -> TokenKey {
    TokenKey::new("union", &[2; 16]).unwrap()
}

fn with_keys(keys: Vec<TokenKey>) -> Config {
    Config {
        third_party: Some(Arc::new(ThirdParty::new(NAME, keys, 5).unwrap())),
        mobility: true,
        ..config()
    }
}

fn tokens() -> Config {
    with_keys(vec![north(), union()])
}

/// A client that comes with a token.
#[derive(Clone)]
struct Bearer {
    client: Client,
    kid: String,
    mac_key: Vec<u8>,
    kind: IntegrityKind,
    token: Option<Vec<u8>>,
}

impl Bearer {
    fn with(address: &str, key: &TokenKey, token: &AccessToken) -> Self {
        static NONCES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mut nonce = [0; 12];
        let count = NONCES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        nonce[..8].copy_from_slice(&count.to_be_bytes());
        Self {
            client: Client::new(address),
            kid: key.kid().to_owned(),
            mac_key: token.mac_key.to_vec(),
            kind: IntegrityKind::Sha1,
            token: Some(key.seal(NAME, nonce, token).unwrap()),
        }
    }

    /// With a token of `north` that ends in so many seconds.
    fn new(address: &str, mac_key: u8, seconds: u32) -> Self {
        Self::with(address, &north(), &token(mac_key, BEGIN, seconds))
    }

    /// Takes another token, made at `at`.
    fn take(&mut self, key: &TokenKey, token: &AccessToken) {
        let other = Self::with(A, key, token);
        (self.kid, self.mac_key, self.token) = (other.kid, other.mac_key, other.token);
    }

    fn call(&mut self, lab: &mut Lab, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Reply {
        if self.client.nonce.is_empty() {
            self.client.challenge(lab);
        }
        let request = self.request(method, fill);
        self.client.send(lab, &request)
    }

    fn request(&mut self, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        let TransactionId(id) = self.client.id();
        let mut buffer = [0; 1024];
        let mut builder = MessageBuilder::new(&mut buffer, method, Class::Request, TransactionId(id));
        fill(&mut builder);
        builder
            .attribute(&Username::new(&self.kid).unwrap())
            .attribute(&Realm::new(REALM).unwrap())
            .attribute(&Nonce::new(&self.client.nonce).unwrap());
        if let Some(token) = &self.token {
            builder.raw_attribute(AttributeType::ACCESS_TOKEN, token);
        }
        builder.sign(self.kind, &self.key());
        let len = builder.finish().unwrap();
        buffer[..len].to_vec()
    }

    fn key(&self) -> IntegrityKey {
        IntegrityKey::new(&self.mac_key)
    }

    fn signed(&self, reply: &Reply) -> bool {
        reply.message().verify_integrity_of(self.kind, &self.key()).is_ok()
    }

    fn allocate(&mut self, lab: &mut Lab) -> Reply {
        self.call(lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP).attribute(&Lifetime(3600));
        })
    }

    fn refresh(&mut self, lab: &mut Lab, seconds: u32) -> Reply {
        self.call(lab, Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(seconds));
        })
    }

    fn permit(&mut self, lab: &mut Lab) -> Reply {
        self.call(lab, Method::CREATE_PERMISSION, |builder| {
            builder.attribute(&XorPeerAddress(addr(PEER)));
        })
    }
}

fn token(mac_key: u8, issued: UnixTime, lifetime: u32) -> AccessToken {
    AccessToken {
        mac_key: vec![mac_key; 20].into(),
        issued,
        lifetime,
    }
}

fn failures(lab: &Lab, failure: AuthFailure) -> u64 {
    lab.server.stats().auth_failures[failure.index()]
}

// §4, §6.1: the challenge.

#[test]
fn a_401_says_whom_tokens_are_for_where_they_are_taken_and_nothing_else_does() {
    let mut lab = Lab::new(tokens());
    let mut client = Client::new(A);
    let reply = client.challenge(&mut lab);
    assert_eq!(reply.find::<ThirdPartyAuthorization<'_>>().unwrap().as_str(), NAME);
    client.nonce = "obMatJos2AAAAbcdefghijkl".to_owned();
    let stale = client.refresh(&mut lab, 600);
    assert_eq!(stale.code(), 438);
    assert!(!stale.has(AttributeType::THIRD_PARTY_AUTHORIZATION));
    let mut lab = Lab::new(config());
    let reply = Client::new(A).challenge(&mut lab);
    assert!(!reply.has(AttributeType::THIRD_PARTY_AUTHORIZATION));
}

#[test]
fn passwords_go_on_to_work_beside_tokens() {
    let mut lab = Lab::new(tokens());
    Client::new(A).allocate(&mut lab);
}

// §4.1, §6.2: requests with a token.

#[test]
fn a_token_opens_an_allocation_and_its_key_signs_what_follows() {
    for (key, kind) in [(north(), IntegrityKind::Sha1), (union(), IntegrityKind::Sha256)] {
        for mac_key_len in [20, 32, 64] {
            let mut lab = Lab::new(tokens());
            let access = AccessToken {
                mac_key: vec![7; mac_key_len].into(),
                ..token(7, BEGIN, 3600)
            };
            let mut bearer = Bearer::with(A, &key, &access);
            bearer.kind = kind;
            let reply = bearer.allocate(&mut lab);
            assert_eq!(reply.code(), 0);
            assert!(bearer.signed(&reply));
            // The token was shown once: the key is enough from then on.
            for with_token in [true, false] {
                bearer.token = bearer.token.filter(|_| with_token);
                let reply = bearer.permit(&mut lab);
                assert_eq!(reply.code(), 0);
                assert!(bearer.signed(&reply));
            }
            assert_eq!(bearer.refresh(&mut lab, 0).code(), 0);
            lab.assert_empty();
        }
    }
}

#[test]
fn what_is_no_good_token_is_401_whatever_is_wrong_with_it() {
    let mut lab = Lab::new(tokens());
    let good = Bearer::new(A, 7, 600);
    let refused = |lab: &mut Lab, mut bearer: Bearer, failure: AuthFailure| {
        let before = failures(lab, failure);
        bearer.client.challenge(lab);
        let reply = bearer.allocate(lab);
        assert_eq!((reply.code(), failures(lab, failure)), (401, before + 1), "{failure:?}");
        assert!(reply.has(AttributeType::THIRD_PARTY_AUTHORIZATION));
    };
    // Another kid, an unknown one, a key that is not ours, another server.
    let kid = |kid: &str| Bearer {
        kid: kid.to_owned(),
        ..good.clone()
    };
    refused(&mut lab, kid("union"), AuthFailure::BadToken);
    refused(&mut lab, kid("south"), AuthFailure::UnknownUser);
    let forged = TokenKey::new("north", &[9; 32]).unwrap();
    let access = token(7, BEGIN, 600);
    refused(&mut lab, Bearer::with(A, &forged, &access), AuthFailure::BadToken);
    let elsewhere = north().seal("turn.example.com", [9; 12], &access).unwrap();
    let with = |token: Vec<u8>| Bearer {
        token: Some(token),
        ..good.clone()
    };
    refused(&mut lab, with(elsewhere), AuthFailure::BadToken);
    // The key inside is not the one that signed: a token that was seen on the wire is of no use.
    let mut thief = good.clone();
    thief.mac_key = vec![8; 20];
    refused(&mut lab, thief, AuthFailure::WrongPassword);
    // Without the token there is nothing to know the kid by.
    let mut without = good.clone();
    without.token = None;
    refused(&mut lab, without, AuthFailure::UnknownUser);
    // Lengths (CVE-2026-43994).
    let sealed = good.token.clone().unwrap();
    for len in [0, 1, 2, 13, 14, 30, sealed.len() - 1] {
        refused(&mut lab, with(sealed[..len].to_vec()), AuthFailure::BadToken);
    }
    for len in [sealed.len() + 1, 108, 109, 512] {
        let mut long = sealed.clone();
        long.resize(len, 0);
        refused(&mut lab, with(long), AuthFailure::BadToken);
    }
    lab.assert_empty();
}

#[test]
fn a_token_is_good_from_its_timestamp_less_the_skew_until_it_ends() {
    for (issued, lifetime, code) in [
        (BEGIN.0 + 5, 600, 0),
        (BEGIN.0 + 6, 600, 401),
        (BEGIN.0 - 599, 600, 0),
        (BEGIN.0 - 600, 600, 401),
        (BEGIN.0, 0, 401),
    ] {
        let mut lab = Lab::new(tokens());
        let mut bearer = Bearer::with(A, &north(), &token(7, UnixTime(issued), lifetime));
        assert_eq!(bearer.allocate(&mut lab).code(), code, "{issued} {lifetime}");
        assert_eq!(failures(&lab, AuthFailure::Expired), u64::from(code != 0));
    }
}

#[test]
fn a_token_is_refused_where_nobody_s_are_taken() {
    let mut lab = Lab::new(config());
    let mut bearer = Bearer::new(A, 7, 600);
    assert_eq!(bearer.allocate(&mut lab).code(), 401);
    // Beside a password it is an attribute that must be understood and is not.
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.raw_attribute(AttributeType::ACCESS_TOKEN, b"x");
    });
    assert_eq!(reply.code(), 420);
}

#[test]
fn a_captured_request_opens_nothing_from_another_address_and_nothing_when_its_nonce_is_old() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 3600);
    bearer.client.challenge(&mut lab);
    let request = bearer.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    assert_eq!(Client::new(B).send(&mut lab, &request).code(), 438);
    lab.sleep(Duration::from_secs(601));
    assert_eq!(bearer.client.send(&mut lab, &request).code(), 438);
    lab.assert_empty();
}

// §4.1.2: the allocation and its token.

#[test]
fn no_allocation_outlives_its_token() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    assert_eq!(bearer.allocate(&mut lab).lifetime(), 1000);
    lab.advance(Duration::from_secs(700));
    bearer.client.nonce.clear();
    assert_eq!(bearer.refresh(&mut lab, 3600).lifetime(), 300);
    bearer.token = None;
    assert_eq!(bearer.refresh(&mut lab, 600).lifetime(), 300);
    lab.advance(Duration::from_millis(299_999));
    assert_eq!(bearer.refresh(&mut lab, 3600).lifetime(), 1);
    assert_eq!(lab.server.allocations(), 1);
    lab.advance(Duration::from_millis(1));
    lab.assert_empty();
}

#[test]
fn a_refresh_with_a_new_token_lets_the_allocation_live_on() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    bearer.allocate(&mut lab);
    lab.advance(Duration::from_secs(900));
    // Of another authorization server, even: what counts is where it comes from.
    bearer.take(&union(), &token(8, UnixTime(BEGIN.0 + 900), 2000));
    bearer.client.nonce.clear();
    let reply = bearer.refresh(&mut lab, 3600);
    assert_eq!((reply.code(), reply.lifetime()), (0, 2000));
    assert!(bearer.signed(&reply));
    bearer.token = None;
    assert_eq!(bearer.permit(&mut lab).code(), 0);
    lab.advance(Duration::from_secs(1999));
    assert_eq!(lab.server.allocations(), 1);
    lab.advance(Duration::from_secs(1));
    lab.assert_empty();
}

#[test]
fn the_old_key_is_no_good_after_a_new_token_and_an_expired_token_renews_nothing() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    bearer.allocate(&mut lab);
    let mut old = bearer.clone();
    old.token = None;
    let mut late = bearer.clone();
    late.take(&north(), &token(9, UnixTime(BEGIN.0 - 600), 600));
    assert_eq!(late.refresh(&mut lab, 600).code(), 401);
    bearer.take(&north(), &token(8, BEGIN, 2000));
    assert_eq!(bearer.refresh(&mut lab, 600).code(), 0);
    assert_eq!(old.refresh(&mut lab, 600).code(), 401);
}

#[test]
fn another_token_is_441_for_anything_but_a_refresh_and_for_a_password_s_allocation() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    bearer.allocate(&mut lab);
    let mut other = bearer.clone();
    other.take(&union(), &token(8, BEGIN, 1000));
    assert_eq!(other.permit(&mut lab).code(), 441);
    let mut client = Client::new(B);
    client.allocate(&mut lab);
    other.client = client;
    assert_eq!(other.refresh(&mut lab, 600).code(), 441);
}

#[test]
fn a_ticket_is_not_enough_with_a_token_of_somebody_else() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    let reply = bearer.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::UDP)
            .attribute(&MobilityTicket(&[]));
    });
    let stolen = ticket(&reply);
    let resume = |lab: &mut Lab, bearer: &mut Bearer| {
        bearer.client.five_tuple = five_tuple(B);
        bearer.client.challenge(lab);
        bearer.call(lab, Method::REFRESH, |builder| {
            builder.attribute(&MobilityTicket(&stolen));
        })
    };
    let mut thief = Bearer::new(B, 9, 1000);
    assert_eq!(resume(&mut lab, &mut thief).code(), 441);
    assert_eq!(resume(&mut lab, &mut bearer).code(), 0);
}

#[test]
fn a_key_that_goes_lets_what_it_opened_live_and_opens_nothing_new() {
    let mut lab = Lab::new(tokens());
    let mut bearer = Bearer::new(A, 7, 1000);
    bearer.allocate(&mut lab);
    lab.server.reconfigure(Arc::new(with_keys(vec![union()])));
    assert_eq!(bearer.refresh(&mut lab, 600).code(), 0);
    assert_eq!(Bearer::new(B, 8, 1000).allocate(&mut lab).code(), 401);
    lab.server.reconfigure(Arc::new(tokens()));
    assert_eq!(Bearer::new(B, 8, 1000).allocate(&mut lab).code(), 0);
}

// Quotas.

#[test]
fn a_token_is_a_user_to_the_quotas_whatever_its_holder_does() {
    let limits = Limits {
        allocations_per_user: 2,
        allocations_per_client: 5,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..tokens() });
    let from = |lab: &mut Lab, port: u16, mac_key: u8| {
        let mut bearer = Bearer::new(&format!("192.0.2.1:{port}"), mac_key, 3600);
        (bearer.allocate(lab).code(), bearer)
    };
    // Sealed again, with other nonces, it is the same token to the quota: its key is.
    let (codes, mut bearers): (Vec<_>, Vec<_>) = (1..=3).map(|port| from(&mut lab, port, 7)).unzip();
    assert_eq!(codes, [0, 0, 486]);
    // A renewal with another token neither frees a place of the first one nor takes one of the second.
    bearers[0].take(&north(), &token(8, BEGIN, 3600));
    assert_eq!(bearers[0].refresh(&mut lab, 600).code(), 0);
    assert_eq!(from(&mut lab, 4, 7).0, 486);
    assert_eq!(
        (from(&mut lab, 5, 8).0, from(&mut lab, 6, 8).0, from(&mut lab, 7, 8).0),
        (0, 0, 486)
    );
    // Who has many tokens meets the quota of the address.
    assert_eq!((from(&mut lab, 8, 9).0, from(&mut lab, 9, 10).0), (0, 486));
    assert_eq!(lab.ledger.total(), 5);
}

#[test]
fn whoever_holds_a_token_is_turned_away_by_the_user_that_operators_see() {
    let config = tokens();
    let revocations = config.revocations.clone();
    let mut lab = Lab::new(config);
    let [mut bearer, mut other] = [7, 8].map(|key| Bearer::new(&format!("192.0.2.1:{key}"), key, 3600));
    for bearer in [&mut bearer, &mut other] {
        assert_eq!(bearer.allocate(&mut lab).code(), 0);
    }
    let seen = lab.server.page(lab.now, &Filter::default(), 0, 9).allocations;
    assert_ne!(seen[0].user, seen[1].user, "each is a user of its own to the quotas");
    let revoke = |lab: &Lab, user: &str| {
        let until = UnixTime(lab.now.unix.0 + 3600);
        let who = Revoked::User(user.into());
        revocations.insert(lab.now.unix, who, until).unwrap();
    };
    revoke(&lab, &seen[0].user);
    assert_eq!(
        (
            bearer.refresh(&mut lab, 600).code(),
            other.refresh(&mut lab, 600).code()
        ),
        (403, 0)
    );
    let filter = Filter {
        user: Some(seen[0].user.clone()),
        ..Filter::default()
    };
    assert_eq!(lab.server.end_fitting(lab.now, &filter, 0).0, 1);
    lab.drain();
    bearer.client.five_tuple = five_tuple("192.0.2.1:9");
    bearer.client.nonce.clear();
    assert_eq!(bearer.allocate(&mut lab).code(), 403);
    // And all of them by the kid, as they are known by the key that sealed their tokens.
    revoke(&lab, "north");
    assert_eq!(other.refresh(&mut lab, 600).code(), 403);
    other.client.five_tuple = five_tuple("192.0.2.1:10");
    other.client.nonce.clear();
    assert_eq!(other.allocate(&mut lab).code(), 403);
}

#[test]
fn a_reserved_port_belongs_to_the_token_that_reserved_it_and_counts_for_it() {
    let limits = Limits {
        allocations_per_user: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..tokens() });
    let reserve = |lab: &mut Lab, port: u16, key: u8| {
        let mut bearer = Bearer::new(&format!("192.0.2.1:{port}"), key, 3600);
        let reply = bearer.call(lab, Method::ALLOCATE, |builder| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&EvenPort { reserve_next: true });
        });
        assert_eq!(reply.code(), 0, "{key}");
        (bearer, reply.find::<ReservationToken>().unwrap())
    };
    let (_held, reserved) = reserve(&mut lab, 1, 7);
    let (mut second, _) = reserve(&mut lab, 2, 7);
    // Others with tokens under the same key are not kept from reserving by it.
    reserve(&mut lab, 3, 8);
    assert_eq!(second.refresh(&mut lab, 0).code(), 0);
    let mut claim = |port: u16, key: u8| {
        let mut bearer = Bearer::new(&format!("192.0.2.1:{port}"), key, 3600);
        let reply = bearer.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP).attribute(&reserved);
        });
        reply.code()
    };
    assert_eq!((claim(4, 8), claim(5, 7)), (508, 0));
}
