//! The gate: what a stranger's ClientHello gets, decided without remembering anything about the stranger.
//!
//! A first ClientHello is answered with a cookie: by a HelloVerifyRequest (DTLS 1.2, RFC 6347 §4.2.1) or a HelloRetryRequest
//! (DTLS 1.3, RFC 9147 §5.1). The second, with that cookie, is let in. The library then is shown both: the first one is the
//! second without its cookie and with the padding it had, which the cookie tells, because a client may change nothing else
//! (RFC 8446 §4.1.2); and the answer that the library makes to it is the one that was sent. So the transcript, which in
//! DTLS 1.3 covers all three, comes out as the client's.

use std::time::Instant;

use super::cookie::{COOKIE, Cookies, Note, Said, Version, note};
use super::fragments::{MAX_HELLO, Pieced, Pool};
use super::hello::{self, CLIENT_HELLO, ClientHello, DTLS_1_2, DTLS_1_3, HANDSHAKE_HEADER, Part, RECORD_HEADER};
use super::identity::{CHACHA20_POLY1305, Crypto};
use crate::telemetry::DtlsRefusal;
use crate::turn::FiveTuple;

const HELLO_VERIFY_REQUEST: u8 = 3;
const SERVER_HELLO: u8 = 2;
const HANDSHAKE_FAILURE: u8 = 40;
/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A client whose address is verified.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) struct Admission {
    pub(super) version: Version,
    pub(super) cookie: [u8; COOKIE],
    /// Whether it can do without AES-GCM.
    pub(super) chacha: bool,
    /// The record sequence number that answers go on from (RFC 6347 §4.2.1).
    pub(super) record_sequence: u64,
    /// The two ClientHello messages, a record each.
    pub(super) first: Vec<u8>,
    pub(super) second: Vec<u8>,
}

/// What a datagram that begins with a ClientHello gets.
#[derive(Debug)]
pub(in crate::transport) enum Judged {
    /// This answer; it is no longer than what it answers.
    Cookie(Vec<u8>),
    /// A session.
    Admitted(Box<Admission>),
    /// Nothing yet: more pieces are to come.
    Waiting,
    /// Nothing, or an alert.
    Refused(DtlsRefusal, Option<Vec<u8>>),
}

/// The gate of one worker.
pub(in crate::transport) struct Gate {
    cookies: Cookies,
    pool: Pool,
}

impl Gate {
    /// `seed` is secret randomness of this worker alone.
    pub(in crate::transport) fn new(seed: [u8; 32], now: Instant) -> Self {
        Self {
            cookies: Cookies::new(seed, now),
            pool: Pool::default(),
        }
    }

    /// Judges a datagram for which [`hello::is_client_hello`] holds.
    pub(in crate::transport) fn judge(
        &mut self,
        crypto: &Crypto,
        now: Instant,
        from: &FiveTuple,
        datagram: &[u8],
    ) -> Judged {
        let refused = |why| Judged::Refused(why, None);
        let mut verdict = refused(DtlsRefusal::Malformed);
        for part in hello::parts(datagram) {
            if part.length > MAX_HELLO {
                return refused(DtlsRefusal::TooLong);
            }
            if part.bytes.len() == part.length {
                return self.weigh(crypto, now, from, &part, part.bytes, datagram.len());
            }
            match self.pool.add(now, from, &part) {
                // All of it came from there, in however many datagrams.
                Pieced::Whole(body) => return self.weigh(crypto, now, from, &part, &body, body.len()),
                Pieced::Waiting { evicted: false } => verdict = Judged::Waiting,
                Pieced::Waiting { evicted: true } => verdict = refused(DtlsRefusal::PiecesEvicted),
                Pieced::Refused => return refused(DtlsRefusal::Malformed),
            }
        }
        verdict
    }

    /// Judges a whole ClientHello. `room`: how long an answer may be.
    fn weigh(
        &mut self,
        crypto: &Crypto,
        now: Instant,
        from: &FiveTuple,
        part: &Part<'_>,
        body: &[u8],
        room: usize,
    ) -> Judged {
        let refused = |why| Judged::Refused(why, None);
        let Some(hello) = ClientHello::parse(body) else {
            return refused(DtlsRefusal::Malformed);
        };
        let Some((version, suite)) = agree(crypto, &hello) else {
            let alert = alert(part.record_sequence);
            return Judged::Refused(DtlsRefusal::NothingInCommon, (alert.len() <= room).then_some(alert));
        };
        let brought = match version {
            Version::Dtls12 => hello.cookie.get(1..).filter(|cookie| !cookie.is_empty()),
            Version::Dtls13 => hello.cookie_extension(),
        };
        let Some(brought) = brought else {
            if part.message_sequence != 0 {
                return refused(DtlsRefusal::Malformed);
            }
            let said = said(version, &hello, hello.body);
            let cookie = self.cookies.make(now, from, padding_note(hello.padding()), &said);
            let answer = match version {
                Version::Dtls12 => verify_request(part.record_sequence, &cookie),
                Version::Dtls13 => retry_request(part.record_sequence, suite, &cookie),
            };
            return if answer.len() <= room {
                Judged::Cookie(answer)
            } else {
                refused(DtlsRefusal::Malformed)
            };
        };
        let Ok(cookie) = <[u8; COOKIE]>::try_from(brought) else {
            return refused(DtlsRefusal::BadCookie);
        };
        let first = hello.before_cookie(noted_padding(note(&cookie)));
        if !self.cookies.is_good(now, from, &said(version, &hello, &first), &cookie) {
            return refused(DtlsRefusal::BadCookie);
        }
        if part.message_sequence != 1 {
            return refused(DtlsRefusal::Malformed);
        }
        Judged::Admitted(Box::new(Admission {
            version,
            cookie,
            chacha: hello.suites().any(|suite| suite == CHACHA20_POLY1305),
            record_sequence: part.record_sequence,
            first: hello::record(0, CLIENT_HELLO, 0, &first),
            second: hello::record(part.record_sequence, CLIENT_HELLO, 1, hello.body),
        }))
    }
}

/// What a client must say again: in DTLS 1.2 version, random, session id and choices (RFC 6347 §4.2.1), in DTLS 1.3 everything,
/// because all of it is in the transcript.
fn said<'a>(version: Version, hello: &ClientHello<'a>, first: &'a [u8]) -> Said<'a> {
    let pieces = match version {
        Version::Dtls12 => [hello.head, hello.choices],
        Version::Dtls13 => [first, &[]],
    };
    Said { version, pieces }
}

/// What of the first ClientHello cannot be seen in the second.
fn padding_note(padding: Option<u16>) -> Note {
    padding.unwrap_or(u16::MAX).to_be_bytes()
}

fn noted_padding(note: Note) -> Option<u16> {
    // A cookie that nobody has verified yet: no more padding than a hello can have.
    Some(u16::from_be_bytes(note)).filter(|padding| usize::from(*padding) <= MAX_HELLO)
}

/// The version that a client gets, and the suite that a HelloRetryRequest names.
fn agree(crypto: &Crypto, hello: &ClientHello<'_>) -> Option<(Version, u16)> {
    if hello.version() != DTLS_1_2 {
        return None;
    }
    let first = |known: &[u16]| hello.suites().find(|suite| known.contains(suite));
    // Without a share that we can use a HelloRetryRequest would have to ask for one, and the second ClientHello would not
    // tell what the first one was. Such a client gets DTLS 1.2, if it can. A cookie of DTLS 1.2 has decided already.
    let is_1_3 =
        hello.offers_1_3() && hello.cookie == [0] && hello.key_shares().any(|group| crypto.groups.contains(&group));
    if is_1_3 && let Some(suite) = first(&crypto.suites_13) {
        return Some((Version::Dtls13, suite));
    }
    first(&crypto.suites_12).map(|suite| (Version::Dtls12, suite))
}

/// RFC 6347 §4.2.1. It names DTLS 1.0, whichever version is meant.
fn verify_request(record_sequence: u64, cookie: &[u8; COOKIE]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xff, COOKIE as u8];
    body.extend_from_slice(cookie);
    hello::record(record_sequence, HELLO_VERIFY_REQUEST, 0, &body)
}

/// RFC 8446 §4.1.4, with the extensions in the order in which the library has them.
fn retry_request(record_sequence: u64, suite: u16, cookie: &[u8; COOKIE]) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(&DTLS_1_2);
    body.extend_from_slice(&RETRY);
    body.push(0);
    body.extend_from_slice(&suite.to_be_bytes());
    body.push(0);
    body.extend_from_slice(&[0, 6 + 6 + COOKIE as u8]);
    body.extend_from_slice(&[0, 43, 0, 2]);
    body.extend_from_slice(&DTLS_1_3);
    body.extend_from_slice(&[0, 44, 0, 2 + COOKIE as u8, 0, COOKIE as u8]);
    body.extend_from_slice(cookie);
    hello::record(record_sequence, SERVER_HELLO, 0, &body)
}

/// A fatal alert: nothing in common.
fn alert(record_sequence: u64) -> Vec<u8> {
    let mut out = hello::record(record_sequence, 0, 0, &[]);
    out.truncate(RECORD_HEADER);
    out[0] = 21;
    out[RECORD_HEADER - 2..].copy_from_slice(&[0, 2]);
    out.extend_from_slice(&[2, HANDSHAKE_FAILURE]);
    out
}

const _: () = assert!(
    MAX_HELLO + RECORD_HEADER + HANDSHAKE_HEADER < 1 << 14,
    "a record holds it"
);
