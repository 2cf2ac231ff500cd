//! What a handler needs to know about the request it answers, and how refusals are told apart.

use std::sync::Arc;

use super::five_tuple::FiveTuple;
use super::redirect::Alternate;
use super::verdict::Answer;
use crate::wire::{IntegrityKey, IntegrityKind, Method, TransactionId, UnknownTypes};

/// A request's answer address: what goes into the answer's header, and where it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) from: FiveTuple,
    pub(super) method: Method,
    pub(super) transaction_id: TransactionId,
    /// Bytes of the request.
    pub(super) len: usize,
    /// The request had FINGERPRINT, so its answer gets one (RFC 8489 §7).
    pub(super) fingerprint: bool,
}

/// The key that answers are signed with, and the attribute that carries the signature (RFC 8489 §9.2.4).
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) key: IntegrityKey,
    pub(super) kind: IntegrityKind,
}

/// A refusal: becomes an error response.
#[derive(Clone, Debug)]
pub(super) enum Reject {
    /// ERROR-CODE and nothing else.
    Code(Answer),
    /// 401 or 438, with REALM, NONCE and PASSWORD-ALGORITHMS, so that the client can try again. REALM is that of the server, or
    /// the one that the client came with, where that is as good.
    Challenge(Answer, Option<Arc<str>>),
    /// 420 with the list.
    Unknown(UnknownTypes),
    /// 300 with ALTERNATE-SERVER, and ALTERNATE-DOMAIN where that is due.
    Alternate(Alternate),
}

impl Reject {
    /// The code it is counted as.
    pub(super) const fn answer(&self) -> Answer {
        match self {
            Self::Code(answer) | Self::Challenge(answer, _) => *answer,
            Self::Unknown(_) => Answer::UnknownAttribute,
            Self::Alternate(_) => Answer::TryAlternate,
        }
    }
}

impl From<Answer> for Reject {
    fn from(answer: Answer) -> Self {
        Self::Code(answer)
    }
}
