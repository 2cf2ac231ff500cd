//! One client's DTLS: from the ClientHello that showed its address to the last alert.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{DtlsCertificate, Error, Output, SecurityError};

use super::cookie::{COOKIE, Version};
use super::gate::Admission;
use super::hello::{HANDSHAKE, RECORD_HEADER};
use super::identity::Crypto;
use super::vouch::vouching;
use crate::telemetry::{DtlsEnd, DtlsPhase};
use crate::transport::stream::census::Ticket;
use crate::turn::FiveTuple;

/// The longest message: the content of one record (RFC 6347 §4.1, RFC 9147 §4).
pub(super) const MAX_MESSAGE: usize = 1 << 14;
/// The longest datagram that is looked at until a session is established: all that a client sends after its ClientHello is
/// some hundred bytes.
const MAX_HANDSHAKE_DATAGRAM: usize = 2048;
/// Records sealed with one key of AES-GCM in DTLS 1.2. The library draws the eight explicit bytes of a nonce at random: two
/// are alike after so many with a probability of 2^-17.
const GCM_RECORDS: u64 = 1 << 24;

/// What one step of a session gives.
pub(in crate::transport) struct Scratch {
    /// Where the library writes one piece of output.
    out: Box<[u8]>,
    bytes: Vec<u8>,
    /// Datagrams to send, as ranges of `bytes`.
    packets: Vec<Range<usize>>,
    /// Messages of the client.
    messages: Vec<Range<usize>>,
}

impl Scratch {
    pub(in crate::transport) fn new() -> Self {
        Self {
            // A datagram carries no more than this, whatever its records are.
            out: vec![0; 1 << 16].into(),
            bytes: Vec::with_capacity(1 << 16),
            packets: Vec::with_capacity(16),
            messages: Vec::with_capacity(32),
        }
    }

    pub(in crate::transport) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.messages.clear();
    }

    /// Something to send that no session made.
    pub(super) fn push_packet(&mut self, packet: &[u8]) {
        let range = keep(&mut self.bytes, packet);
        self.packets.push(range);
    }

    pub(in crate::transport) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    pub(in crate::transport) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.messages.iter().filter_map(|range| self.bytes.get(range.clone()))
    }
}

fn keep(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}

/// A session.
pub(super) struct Session {
    dtls: dimpl::Dtls,
    pub(super) five_tuple: FiveTuple,
    pub(super) cookie: [u8; COOKIE],
    pub(super) phase: DtlsPhase,
    /// What is added to the numbers of our plaintext records, so that they go on from the client's (RFC 6347 §4.2.1): the
    /// answers that were sent before the session was made had these.
    offset: u64,
    /// Records that may be sealed yet.
    records_left: u64,
    opened: Instant,
    pub(super) last_message: Instant,
    /// When the library wants to be woken.
    wake: Instant,
    /// What the table's heap has for it.
    pub(super) scheduled: Option<Instant>,
    pub(super) end: Option<DtlsEnd>,
    /// Different for every session the worker ever had.
    pub(super) serial: u64,
    _place: Ticket,
    /// Its place among the handshakes.
    handshake: Option<Ticket>,
}

/// What a session is made from, beside the admission.
pub(super) struct Opening {
    pub(super) five_tuple: FiveTuple,
    pub(super) certificate: DtlsCertificate,
    pub(super) place: Ticket,
    pub(super) handshake: Ticket,
    pub(super) serial: u64,
}

impl Session {
    /// Makes a session and lets it answer the ClientHello.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn open(
        crypto: &Crypto,
        opening: Opening,
        admission: &Admission,
        now: Instant,
        scratch: &mut Scratch,
    ) -> Result<Self, DtlsEnd> {
        let config = match (admission.version, admission.chacha) {
            (Version::Dtls13, _) => &crypto.v13,
            (Version::Dtls12, true) => &crypto.chacha,
            (Version::Dtls12, false) => &crypto.gcm,
        };
        let (config, certificate) = (Arc::clone(config), opening.certificate);
        let make = AssertUnwindSafe(|| match admission.version {
            Version::Dtls12 => dimpl::Dtls::new_12(config, certificate, now),
            Version::Dtls13 => dimpl::Dtls::new_13(config, certificate, now),
        });
        let is_gcm_12 = admission.version == Version::Dtls12 && !admission.chacha;
        let mut session = Self {
            dtls: catch_unwind(make).map_err(|_| DtlsEnd::Fault)?,
            five_tuple: opening.five_tuple,
            cookie: admission.cookie,
            phase: DtlsPhase::Handshake,
            offset: admission.record_sequence.saturating_sub(1),
            records_left: if is_gcm_12 { GCM_RECORDS } else { u64::MAX },
            opened: now,
            last_message: now,
            wake: now,
            scheduled: None,
            end: None,
            serial: opening.serial,
            _place: opening.place,
            handshake: Some(opening.handshake),
        };
        vouching(admission.cookie, || {
            session.step(now, scratch, |dtls| dtls.handle_packet(&admission.first))?;
            // The client has had this answer, from the gate.
            scratch.clear();
            session.step(now, scratch, |dtls| dtls.handle_packet(&admission.second))
        })?;
        Ok(session)
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// Why the session is to end.
    pub(super) fn receive(&mut self, now: Instant, datagram: &[u8], scratch: &mut Scratch) -> Result<(), DtlsEnd> {
        scratch.clear();
        let is_plain = matches!(datagram, [20..=26, 0xfe, _, 0, 0, ..]);
        let is_forgery = match self.phase {
            DtlsPhase::Handshake => datagram.len() > MAX_HANDSHAKE_DATAGRAM,
            // All that may come in plaintext yet is a flight that was lost or comes late, which begins with a handshake
            // message (RFC 6347 §4.2.4).
            DtlsPhase::Established => is_plain && datagram.first() != Some(&HANDSHAKE),
        };
        if is_forgery {
            return Ok(());
        }
        self.step(now, scratch, |dtls| dtls.handle_packet(datagram))
    }

    /// Takes the ClientHello that it was made from once more.
    ///
    /// # Errors
    /// Why the session is to end.
    pub(super) fn receive_again(&mut self, now: Instant, hello: &[u8], scratch: &mut Scratch) -> Result<(), DtlsEnd> {
        scratch.clear();
        self.step(now, scratch, |dtls| dtls.handle_packet(hello))
    }

    /// Seals a message for the client.
    ///
    /// # Errors
    /// Why the session is to end.
    pub(super) fn seal(&mut self, now: Instant, message: &[u8], scratch: &mut Scratch) -> Result<(), DtlsEnd> {
        scratch.clear();
        self.records_left = self.records_left.checked_sub(1).ok_or(DtlsEnd::Exhausted)?;
        self.step(now, scratch, |dtls| dtls.send_application_data(message).map(|_| ()))
    }

    /// Does what is due.
    ///
    /// # Errors
    /// Why the session is to end.
    pub(super) fn wake(&mut self, now: Instant, scratch: &mut Scratch) -> Result<(), DtlsEnd> {
        scratch.clear();
        if self.wake > now {
            return Ok(());
        }
        self.step(now, scratch, |_| Ok(()))
    }

    /// The last words: a close_notify, unless there is nobody to hear it or no key to say it with.
    pub(super) fn farewell(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.clear();
        let is_mute = matches!(self.end, Some(DtlsEnd::Fault | DtlsEnd::Failed | DtlsEnd::Replaced));
        if self.phase == DtlsPhase::Established && !is_mute {
            let _ = self.step(now, scratch, dimpl::Dtls::close);
        }
    }

    /// When it wants [`Session::wake`], or ends by itself.
    pub(super) fn due(&self, handshake: Duration, idle: Duration) -> Instant {
        let end = match self.phase {
            DtlsPhase::Handshake => self.opened.checked_add(handshake),
            DtlsPhase::Established => self.last_message.checked_add(idle),
        };
        end.map_or(self.wake, |end| end.min(self.wake))
    }

    /// Whether its time is over, with the reason.
    pub(super) fn is_over(&self, now: Instant, handshake: Duration, idle: Duration) -> Option<DtlsEnd> {
        let (since, patience, why) = match self.phase {
            DtlsPhase::Handshake => (self.opened, handshake, DtlsEnd::Timeout),
            DtlsPhase::Established => (self.last_message, idle, DtlsEnd::Idle),
        };
        (now.saturating_duration_since(since) >= patience).then_some(why)
    }

    /// One step of the library, with everything it has to say afterwards. A panic of the library ends this session alone.
    fn step(
        &mut self,
        now: Instant,
        scratch: &mut Scratch,
        act: impl FnOnce(&mut dimpl::Dtls) -> Result<(), Error>,
    ) -> Result<(), DtlsEnd> {
        let was = self.phase;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            // Its clock must be set before it is given anything.
            let acted = self.dtls.handle_timeout(now).and_then(|()| act(&mut self.dtls));
            (acted, self.drain(scratch))
        }));
        let Ok((acted, closed)) = stepped else {
            return Err(DtlsEnd::Fault);
        };
        if closed {
            return Err(DtlsEnd::Client);
        }
        match acted {
            Ok(()) => Ok(()),
            Err(Error::Timeout(_)) if was == DtlsPhase::Handshake => Err(DtlsEnd::Timeout),
            // It holds as much as it may: the rest is lost, as a full link would have it.
            Err(Error::ReceiveQueueFull) => Ok(()),
            Err(_) if was == DtlsPhase::Handshake => Err(DtlsEnd::Failed),
            // What follows can only be said under the session's own keys.
            Err(Error::RenegotiationAttempt) => Err(DtlsEnd::Renegotiation),
            Err(Error::Timeout(_) | Error::SecurityError(SecurityError::FatalAlert { .. })) => Err(DtlsEnd::Failed),
            Err(Error::ConnectionClosed) => Err(DtlsEnd::Client),
            // Anybody may send nonsense from the client's address.
            Err(_) => Ok(()),
        }
    }

    /// Takes out all output; whether the client has closed the session.
    fn drain(&mut self, scratch: &mut Scratch) -> bool {
        let mut closed = false;
        loop {
            match self.dtls.poll_output(&mut scratch.out) {
                Output::Packet(packet) => {
                    let range = keep(&mut scratch.bytes, packet);
                    if self.offset > 0
                        && let Some(kept) = scratch.bytes.get_mut(range.clone())
                    {
                        renumber(kept, self.offset);
                    }
                    scratch.packets.push(range);
                }
                Output::ApplicationData(message) => {
                    let range = keep(&mut scratch.bytes, message);
                    scratch.messages.push(range);
                }
                Output::Connected => {
                    self.phase = DtlsPhase::Established;
                    self.handshake = None;
                }
                Output::CloseNotify => closed = true,
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return closed;
                }
                // Nothing that it writes is longer than its buffer.
                Output::BufferTooSmall { .. } => return true,
                _ => {}
            }
        }
    }
}

/// Adds to the sequence numbers of plaintext records: nothing authenticates them.
fn renumber(mut datagram: &mut [u8], offset: u64) {
    while let Some((header, rest)) = datagram.split_at_mut_checked(RECORD_HEADER) {
        let [20..=26, 0xfe, _, 0, 0, sequence @ .., high, low] = header else {
            return;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let number = sequence.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)) + offset;
        sequence.copy_from_slice(number.to_be_bytes().get(2..).unwrap_or_default());
        let Some((_, next)) = rest.split_at_mut_checked(length) else {
            return;
        };
        datagram = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plaintext_records_are_renumbered() {
        let plain = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 255, 0, 1, 9];
        let sealed = [22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        let mut datagram = [plain, plain, sealed].concat();
        renumber(&mut datagram, 1);
        let mut moved = plain;
        moved[9..11].copy_from_slice(&[1, 0]);
        assert_eq!(datagram, [moved, moved, sealed].concat());
        for len in 0..datagram.len() {
            renumber(&mut datagram[..len].to_vec(), 3);
        }
    }
}
