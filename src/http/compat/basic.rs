//! Passwords of Basic authentication (RFC 7617 §2), where clients of some services put their key or token.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The password; the user-id before it names an account, and there are none here.
pub(super) fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, pair) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    let (_, password) = pair.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_behind_the_first_colon_and_nothing_else_is_one() {
        for (value, password_of) in [
            ("Basic YTpiOmM=", Some("b:c")),
            ("bAsIc  YTpi", Some("b")),
            ("Basic YTo=", None),
            ("Basic YQ==", None),
            ("Basic %%%", None),
            ("Basic /zpi", None),
            ("Bearer YTpi", None),
            ("Basic", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(password(&headers).as_deref(), password_of, "{value}");
        }
        assert_eq!(password(&HeaderMap::new()), None);
    }
}
