//! Mobility tickets: the place of an allocation, sealed (RFC 8016 §3.1.2, §5).
//!
//! ```text
//! base64url( tag 12 ‖ ( shard 10 bits ‖ place 22 bits ‖ generation 4 ‖ serial 4 ) ⊕ pad )        32 characters
//! tag = HMAC-SHA256(key "tag", body), first 12 bytes;   pad = HMAC-SHA256(key "pad", tag), first 12 bytes
//! ```
//! Text of 32 characters, because coturn's client keeps a ticket as a string of at most that. The tag takes the place of a
//! nonce (as in RFC 5297): no two bodies are alike, so no pad is used twice.
//!
//! The key is the process's own: every shard can read where a ticket belongs, and no other process, and nobody else, can make
//! or read one. A ticket is no credential: who brings it must show the key of the allocation, too.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::quota::Ledger;
use super::rng::Drbg;

const HALF: usize = 12;
/// Characters of a ticket.
pub(super) const TICKET_LEN: usize = 32;
/// Places that fit: more than there can be allocations.
const PLACE_BITS: u32 = 22;

/// What a ticket says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    /// The shard that holds the allocation.
    pub(super) shard: u16,
    /// Its place there.
    pub(super) index: u32,
    /// Which of the place's successive allocations.
    pub(super) generation: u32,
    /// Which of the allocation's successive tickets.
    pub(super) serial: u32,
}

/// Seals tickets and opens them.
pub(super) struct Tickets {
    tag: Hmac<Sha256>,
    pad: Hmac<Sha256>,
}

impl Tickets {
    /// With the key of the process, which the first shard that asks draws.
    pub(super) fn new(ledger: &Ledger, rng: &mut Drbg) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&ledger.ticket_key(|| rng.bytes()));
        let keyed = |label: &[u8]| Hmac::new(&block.into()).chain_update(label);
        let tickets = Self {
            tag: keyed(b"tag"),
            pad: keyed(b"pad"),
        };
        block.zeroize();
        tickets
    }

    /// A ticket's text; `None` for a shard or a place beyond what fits, which a process does not have.
    pub(super) fn seal(&self, ticket: Ticket) -> Option<[u8; TICKET_LEN]> {
        let place = u32::from(ticket.shard)
            .checked_shl(PLACE_BITS)
            .filter(|_| ticket.shard < 1 << (u32::BITS - PLACE_BITS) && ticket.index < 1 << PLACE_BITS)?
            | ticket.index;
        let mut body = [0; HALF];
        for (bytes, number) in body.chunks_exact_mut(4).zip([place, ticket.generation, ticket.serial]) {
            bytes.copy_from_slice(&number.to_be_bytes());
        }
        let tag = first(&self.tag, &body);
        let mut sealed = [0; 2 * HALF];
        let (left, right) = sealed.split_at_mut(HALF);
        left.copy_from_slice(&tag);
        right.copy_from_slice(&xor(body, first(&self.pad, &tag)));
        let mut text = [0; TICKET_LEN];
        // 24 bytes are 32 characters, always.
        (URL_SAFE_NO_PAD.encode_slice(sealed, &mut text) == Ok(TICKET_LEN)).then_some(text)
    }

    /// What a ticket says; `None` if this process did not make it. The length is looked at first: junk costs no hash.
    pub(super) fn open(&self, text: &[u8]) -> Option<Ticket> {
        let text: &[u8; TICKET_LEN] = text.try_into().ok()?;
        let mut sealed = [0; 2 * HALF];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut sealed) != Ok(2 * HALF) {
            return None;
        }
        let (tag, rest) = sealed.split_first_chunk::<HALF>()?;
        let body = xor(*rest.first_chunk()?, first(&self.pad, tag));
        if !bool::from(first(&self.tag, &body).ct_eq(tag)) {
            return None;
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = body;
        let place = u32::from_be_bytes([a, b, c, d]);
        Some(Ticket {
            shard: (place >> PLACE_BITS) as u16,
            index: place & ((1 << PLACE_BITS) - 1),
            generation: u32::from_be_bytes([e, f, g, h]),
            serial: u32::from_be_bytes([i, j, k, l]),
        })
    }
}

fn first(keyed: &Hmac<Sha256>, bytes: &[u8]) -> [u8; HALF] {
    let mac = keyed.clone().chain_update(bytes).finalize().into_bytes();
    let mut out = [0; HALF];
    out.copy_from_slice(&mac[..HALF]);
    out
}

fn xor(mut bytes: [u8; HALF], pad: [u8; HALF]) -> [u8; HALF] {
    for (byte, pad) in bytes.iter_mut().zip(pad) {
        *byte ^= pad;
    }
    bytes
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket = Ticket {
        shard: 1023,
        index: (1 << PLACE_BITS) - 1,
        generation: 9,
        serial: u32::MAX,
    };

    fn tickets(ledger: &Ledger, seed: u8) -> Tickets {
        Tickets::new(ledger, &mut Drbg::new([seed; 32]))
    }

    #[test]
    fn a_ticket_is_read_by_every_shard_of_its_process_and_by_no_other() {
        let ledger = Ledger::new();
        let sealed = tickets(&ledger, 1).seal(TICKET).unwrap();
        assert_eq!(tickets(&ledger, 2).open(&sealed), Some(TICKET));
        assert_eq!(tickets(&Ledger::new(), 2).open(&sealed), None);
    }

    #[test]
    fn a_ticket_that_is_changed_anywhere_is_none() {
        let tickets = tickets(&Ledger::new(), 1);
        let sealed = tickets.seal(TICKET).unwrap();
        for at in 0..TICKET_LEN {
            for byte in 0..=u8::MAX {
                let mut broken = sealed;
                broken[at] = byte;
                assert_eq!(tickets.open(&broken).is_some(), byte == sealed[at], "{byte} at {at}");
            }
        }
        assert_eq!(tickets.open(&sealed[1..]), None);
        assert_eq!(tickets.open(&[]), None);
        assert_eq!(tickets.open(&[&sealed[..], b"A"].concat()), None);
    }

    #[test]
    fn tickets_one_after_the_other_have_nothing_in_common() {
        let tickets = tickets(&Ledger::new(), 1);
        let [a, b] = [1, 2].map(|serial| tickets.seal(Ticket { serial, ..TICKET }).unwrap());
        assert!(a.iter().zip(b).filter(|(a, b)| **a == *b).count() < 8);
        assert_eq!(format!("{tickets:?}"), "Tickets([redacted])");
    }

    #[test]
    fn what_does_not_fit_is_not_sealed() {
        let tickets = tickets(&Ledger::new(), 1);
        assert_eq!(tickets.seal(Ticket { shard: 1024, ..TICKET }), None);
        let index = 1 << PLACE_BITS;
        assert_eq!(tickets.seal(Ticket { index, ..TICKET }), None);
    }
}
