//! Time-limited TURN credentials, and the ICE server lists that carry them.
//!
//! What it is: the scheme of draft-uberti-behave-turn-rest-00, which coturn, eturnal, Synapse, Nextcloud Talk and Jitsi
//! speak: the username is `<unix expiry>:<user>` and the password is `base64(HMAC-SHA1(secret, username))`. Whoever knows
//! a secret can mint; the relay needs nothing but the secret to verify, so no credential is ever stored.
//!
//! And the access tokens of RFC 7635 ([`access_token`]), where another server says who may come and seals the key.
//!
//! What it is not: the long-term credential mechanism of RFC 8489 §9.2 (nonce, realm, MESSAGE-INTEGRITY), which lives in
//! `turn` and asks this module for the passwords that a username may have; and not a user database.
//!
//! Invariants:
//! - Minting and verifying are one file ([`credential`]), tied by a property test.
//! - No clock and no randomness: `now` and the user label are arguments.
//! - A [`Secret`] keeps no plain bytes, prints as `[redacted]` and is wiped when dropped; passwords are compared in
//!   constant time and wiped too.
//! - Every lookup over the ring takes the same time whichever secret matches.
//!
//! RFCs: 7064 (STUN URIs), 7065 (TURN URIs), 7635 §6.2 (access tokens), 8489 §9.2 (what the password is for); draft-uberti-behave-turn-rest-00.

#![forbid(unsafe_code)]

pub mod access_token;
pub mod credential;
pub mod credential_key;
pub mod ice_list;
pub mod key_ring;
pub mod realm;
pub mod unix_time;
pub mod uri;
pub mod username;

pub use access_token::{AccessToken, ThirdParty, ThirdPartyError, TokenError, TokenKey, TokenKeyError};
pub use credential::{Credential, MintError, Password, VerifyError, mint, verify};
pub use credential_key::CredentialKey;
pub use ice_list::{Advertised, IceList, IceServer, TransportPolicy, Urls, own_urls};
pub use key_ring::{KeyRing, KeyRingError, Secret, SecretError};
pub use realm::{DEFAULT_REALM, in_realm, is_realm_name, named_realm};
pub use unix_time::UnixTime;
pub use uri::{DEFAULT_PORT, DEFAULT_TLS_PORT, Host, StunUri, TurnUri, UriError, UriTransport};
pub use username::{
    MADE_KEY, PROBE_USER, Username, UsernameError, is_probe, names_key, names_session, of_key, of_session, probe_user,
};
