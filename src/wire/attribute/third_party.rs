//! The attributes of third-party authorization by token (RFC 7635 §6).

use super::{opaque_attribute, text_attribute};

text_attribute!(
    /// THIRD-PARTY-AUTHORIZATION: the name of the server tokens come from, fewer than 128 characters (RFC 7635 §6.1).
    ThirdPartyAuthorization, THIRD_PARTY_AUTHORIZATION
);

opaque_attribute!(
    /// ACCESS-TOKEN: a token, sealed for the STUN server (RFC 7635 §6.2).
    AccessToken, ACCESS_TOKEN
);
