//! The error codes a STUN or TURN server answers with, and their default reason phrases.

use core::fmt;

/// An error code: 300–699 (RFC 8489 §14.8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(u16);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// Every code known here, in ascending order: the closed set for counters.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The reason phrase the RFC recommends; empty for a code not known here.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

error_codes! {
    /// RFC 8489 §14.8.
    TRY_ALTERNATE = 300, "Try Alternate";
    /// RFC 8489 §14.8.
    BAD_REQUEST = 400, "Bad Request";
    /// RFC 8489 §14.8.
    UNAUTHENTICATED = 401, "Unauthenticated";
    /// RFC 8656 §19.
    FORBIDDEN = 403, "Forbidden";
    /// RFC 8016 §3.4.
    MOBILITY_FORBIDDEN = 405, "Mobility Forbidden";
    /// RFC 8489 §14.8.
    UNKNOWN_ATTRIBUTE = 420, "Unknown Attribute";
    /// RFC 8656 §19.
    ALLOCATION_MISMATCH = 437, "Allocation Mismatch";
    /// RFC 8489 §14.8.
    STALE_NONCE = 438, "Stale Nonce";
    /// RFC 8656 §19.
    ADDRESS_FAMILY_NOT_SUPPORTED = 440, "Address Family not Supported";
    /// RFC 8656 §19.
    WRONG_CREDENTIALS = 441, "Wrong Credentials";
    /// RFC 8656 §19.
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442, "Unsupported Transport Protocol";
    /// RFC 8656 §19.
    PEER_ADDRESS_FAMILY_MISMATCH = 443, "Peer Address Family Mismatch";
    /// RFC 6062 §6.3.
    CONNECTION_ALREADY_EXISTS = 446, "Connection Already Exists";
    /// RFC 6062 §6.3.
    CONNECTION_TIMEOUT_OR_FAILURE = 447, "Connection Timeout or Failure";
    /// RFC 8656 §19.
    ALLOCATION_QUOTA_REACHED = 486, "Allocation Quota Reached";
    /// RFC 8445 §16.2.
    ROLE_CONFLICT = 487, "Role Conflict";
    /// RFC 8489 §14.8.
    SERVER_ERROR = 500, "Server Error";
    /// RFC 8656 §19.
    INSUFFICIENT_CAPACITY = 508, "Insufficient Capacity";
}

impl ErrorCode {
    /// `None` outside 300–699, which the three-bit class (3–6) of the attribute cannot carry (RFC 8489 §14.8).
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 300 && code <= 699 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The code as a number, 300–699.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// From the attribute's two fields: hundreds digit and remainder.
    pub(super) const fn from_parts(class: u8, number: u8) -> Option<Self> {
        // The three reserved-adjacent bits only: a receiver ignores the other 21 (RFC 8489 §14.8).
        let class = class & 0x07;
        if class >= 3 && class <= 6 && number <= 99 {
            Some(Self(class as u16 * 100 + number as u16))
        } else {
            None
        }
    }

    /// Hundreds digit and remainder, as the attribute spells them.
    pub(super) const fn parts(self) -> [u8; 2] {
        [(self.0 / 100) as u8, (self.0 % 100) as u8]
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => write!(f, "{}", self.0),
            reason => write!(f, "{} {reason}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_300_to_699_are_error_codes() {
        assert_eq!(ErrorCode::new(299), None);
        assert_eq!(ErrorCode::new(300), Some(ErrorCode::TRY_ALTERNATE));
        assert!(ErrorCode::new(699).is_some());
        assert_eq!(ErrorCode::new(700), None);
    }

    #[test]
    fn every_code_survives_its_two_fields() {
        for code in 300..=699 {
            let code = ErrorCode::new(code).unwrap();
            let [class, number] = code.parts();
            assert_eq!(ErrorCode::from_parts(class, number), Some(code));
        }
        assert_eq!(ErrorCode::from_parts(4, 100), None);
        assert_eq!(ErrorCode::from_parts(2, 0), None);
        assert_eq!(ErrorCode::from_parts(7, 0), None);
    }

    #[test]
    fn the_known_codes_ascend_and_have_a_reason() {
        assert!(ErrorCode::ALL.is_sorted());
        assert!(ErrorCode::ALL.iter().all(|code| !code.reason().is_empty()));
        assert_eq!(ErrorCode::STALE_NONCE.to_string(), "438 Stale Nonce");
    }
}
