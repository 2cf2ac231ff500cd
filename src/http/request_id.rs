//! What names a request in answers and in the log.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::random;

/// Where it stands.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a proxy.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Hexadecimal digits of an id of our own.
const OWN_BYTES: usize = 2 * size_of::<u64>();

/// A request's id, as an extension. Plain ASCII.
#[derive(Clone, Debug)]
pub(super) enum RequestId {
    Own([u8; OWN_BYTES]),
    Proxys(HeaderValue),
}

impl RequestId {
    /// A trusted proxy's id, so that its log and ours can be matched; otherwise one of our own. Strangers choose nothing that
    /// ends up in the log.
    pub(super) fn of(headers: &HeaderMap, proxied: bool) -> Self {
        let theirs = headers.get(&REQUEST_ID).filter(|_| proxied);
        let plain = |id: &&HeaderValue| {
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
                && id
                    .as_bytes()
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        };
        if let Some(id) = theirs.filter(plain) {
            return Self::Proxys(id.clone());
        }
        // An id that repeats is a nuisance, not a danger.
        Self::Own(random::hex(random::number().unwrap_or_default()))
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Own(digits) => str::from_utf8(digits).unwrap_or_default(),
            Self::Proxys(id) => id.to_str().unwrap_or_default(),
        }
    }

    pub(super) fn value(&self) -> HeaderValue {
        match self {
            Self::Own(digits) => HeaderValue::from_bytes(digits).unwrap_or(HeaderValue::from_static("0")),
            Self::Proxys(id) => id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxys_plain_request_id_is_taken_over() {
        let id = |value: &str, proxied| {
            let mut headers = HeaderMap::new();
            headers.insert(&REQUEST_ID, value.parse().unwrap());
            RequestId::of(&headers, proxied).as_str().to_owned()
        };
        assert_eq!(id("abc-1.2_3", true), "abc-1.2_3");
        for (value, proxied) in [
            ("abc", false),
            ("", true),
            ("a b", true),
            (&*"a".repeat(65), true),
            ("a\"b", true),
        ] {
            let own = id(value, proxied);
            assert!(
                own.len() == 16 && own.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{own}"
            );
        }
        assert_eq!(id(&"a".repeat(64), true).len(), 64);
    }
}
