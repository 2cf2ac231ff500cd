//! Why a server counts as out of order.

use std::fmt;
use std::io;

use crate::telemetry::labels::ProbeFault;

/// What went wrong, as one of few kinds and in words. The words hold nothing that the server chose: they go to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: ProbeFault,
    /// In words.
    pub text: Box<str>,
    /// Of an answer that was an error (RFC 8489 §14.8).
    pub code: Option<u16>,
}

impl Fault {
    pub(super) fn new(kind: ProbeFault, text: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            text: text.into(),
            code: None,
        }
    }

    /// An error answer. Its reason phrase is the server's to choose and is left out.
    pub(super) fn answered(method: &str, code: u16) -> Self {
        let kind = match code {
            401 | 441 => ProbeFault::Unauthorized,
            486 | 508 => ProbeFault::Full,
            _ => ProbeFault::Rejected,
        };
        Self {
            kind,
            text: format!("{method}: error {code}").into(),
            code: Some(code),
        }
    }

    /// Something that an answer of a STUN or TURN server never is.
    pub(super) fn bad_answer(text: impl Into<Box<str>>) -> Self {
        Self::new(ProbeFault::BadAnswer, text)
    }

    pub(super) fn silent() -> Self {
        Self::new(ProbeFault::Silent, "no answer")
    }

    /// From a socket, with the protocol it is of.
    pub(super) fn of_socket(protocol: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = match error.kind() {
            Kind::ConnectionRefused => ProbeFault::Refused,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
                ProbeFault::Closed
            }
            Kind::TimedOut | Kind::HostUnreachable => ProbeFault::Unreachable,
            // No route to that family, no address of it, no descriptor left: that says something about this machine alone.
            _ => ProbeFault::Local,
        };
        Self::new(kind, format!("{protocol}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_cannot_do_is_not_held_against_the_server() {
        let kind = |code: i32| Fault::of_socket("TCP", &io::Error::from_raw_os_error(code)).kind;
        for code in [
            libc::ENETUNREACH,
            libc::EADDRNOTAVAIL,
            libc::EMFILE,
            libc::EAFNOSUPPORT,
            libc::EACCES,
        ] {
            assert_eq!(kind(code), ProbeFault::Local, "{code}");
        }
        assert_eq!(kind(libc::ECONNREFUSED), ProbeFault::Refused);
        assert_eq!(kind(libc::EHOSTUNREACH), ProbeFault::Unreachable);
        assert_eq!(kind(libc::ETIMEDOUT), ProbeFault::Unreachable);
        assert_eq!(kind(libc::ECONNRESET), ProbeFault::Closed);
    }

    #[test]
    fn an_error_answer_keeps_its_code_and_nothing_else() {
        let fault = Fault::answered("Allocate", 486);
        assert_eq!((fault.kind, fault.code), (ProbeFault::Full, Some(486)));
        assert_eq!(fault.to_string(), "Allocate: error 486");
        assert_eq!(Fault::answered("Allocate", 401).kind, ProbeFault::Unauthorized);
        assert_eq!(Fault::answered("Binding", 420).kind, ProbeFault::Rejected);
    }
}
