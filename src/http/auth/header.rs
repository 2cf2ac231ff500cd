//! The first part of a token: what it says it is signed with (RFC 7515 §4.1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::key::Algorithm;

/// Longest header, decoded. Ours have fifty bytes, those with a key id two hundred.
const MAX_HEADER_BYTES: usize = 1024;

/// What of it matters. That it carries a key (`jwk`, `x5c`) or names a place where one is (`jku`, `x5u`) does not: whoever
/// signs a token does not say by which key it is judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    typ: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Header {
    /// Reads that of a token; `None` for what no token of ours has: an algorithm that is not known here (`none` is not), a
    /// `crit`, since no extension is understood (RFC 7515 §4.1.11), or the `typ` of a token that is for something else (RFC 8725
    /// §3.11).
    pub(super) fn of(token: &str) -> Option<Self> {
        let (header, _) = token.split_once('.')?;
        let mut decoded = [0; MAX_HEADER_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(header, &mut decoded).ok()?;
        let fields: Fields<'_> = serde_json::from_slice(decoded.get(..length)?).ok()?;
        let ours = fields.typ.as_deref().is_none_or(is_ours);
        let algorithm = Algorithm::named(&fields.alg)?;
        (ours && fields.crit.is_none()).then(|| Self {
            algorithm,
            kid: fields.kid.map(|kid| kid.into()),
        })
    }
}

/// A JWT, or an access token (RFC 9068 §2.1); `application/` may stand in front, and case does not matter (RFC 7515 §4.1.9).
fn is_ours(typ: &str) -> bool {
    const APPLICATION: &str = "application/";
    let front = typ
        .get(..APPLICATION.len())
        .filter(|front| front.eq_ignore_ascii_case(APPLICATION));
    let typ = if front.is_some() {
        &typ[APPLICATION.len()..]
    } else {
        typ
    };
    typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt")
}
