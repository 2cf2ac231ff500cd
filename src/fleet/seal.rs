//! Who may speak: messages are signed with what all replicas share, so that whoever only has Redis cannot.
//!
//! Around each message stands a signature by every key of its sender, newest secret first; one that the receiver makes as well will do.
//! So a rotation, in which neighbours have one secret in common and not the newest, cuts nobody off. Replicas that share no secret sign
//! nothing, and hear nobody who does.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::message::MAX_BYTES;
use crate::credentials::KeyRing;
use crate::credentials::key_ring::MAX_SECRETS;

/// Bytes of a signature: nobody guesses one of 2¹²⁸ over a message that is good for minutes.
const TAG_BYTES: usize = 16;

/// What messages are signed with. Never printed.
#[derive(Clone, Default)]
pub struct Seals(Box<[Hmac<Sha256>]>, Box<[[u8; TAG_BYTES]]>);

/// Why a message was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is none.
    Malformed,
    /// Nobody signed it who knows a secret of ours.
    Forged,
}

impl Seals {
    /// One for each secret that replicas share. None for `None`: nobody is told from anybody else then.
    pub fn new(ring: Option<&KeyRing>) -> Self {
        let keys = ring.into_iter().flat_map(|ring| ring.derived(b"meetpoint fleet"));
        let macs: Box<[_]> = keys
            .filter_map(|key| Hmac::<Sha256>::new_from_slice(&key).ok())
            .collect();
        let marks = macs.iter().map(|mac| tag(mac, b"mark")).collect();
        Self(macs, marks)
    }

    pub(super) fn seal(&self, message: &[u8]) -> Bytes {
        let mut sealed = Vec::with_capacity(1 + self.0.len() * TAG_BYTES + message.len());
        sealed.push(self.0.len() as u8);
        for mac in &self.0 {
            sealed.extend_from_slice(&tag(mac, message));
        }
        sealed.extend_from_slice(message);
        sealed.into()
    }

    /// The message inside, if somebody signed it who may speak.
    pub(super) fn open<'a>(&self, sealed: &'a [u8]) -> Result<&'a [u8], Broken> {
        let (count, rest) = sealed.split_first().ok_or(Broken::Malformed)?;
        let count = usize::from(*count);
        if count > MAX_SECRETS || rest.len() > count * TAG_BYTES + MAX_BYTES {
            return Err(Broken::Malformed);
        }
        let (tags, message) = rest.split_at_checked(count * TAG_BYTES).ok_or(Broken::Malformed)?;
        if self.0.is_empty() && count == 0 {
            return Ok(message);
        }
        let known = self.0.iter().map(|mac| tag(mac, message));
        let is_signed = known.fold(Choice::from(0), |found, own| {
            let shown = tags.chunks_exact(TAG_BYTES);
            shown.fold(found, |found, shown| found | own.as_slice().ct_eq(shown))
        });
        if bool::from(is_signed) {
            Ok(message)
        } else {
            Err(Broken::Forged)
        }
    }
}

fn tag(mac: &Hmac<Sha256>, message: &[u8]) -> [u8; TAG_BYTES] {
    let mut mac = mac.clone();
    mac.update(message);
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    std::array::from_fn(|at| whole[at])
}

/// By what they make of the same text.
impl PartialEq for Seals {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Eq for Seals {}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} keys, redacted]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(secrets: &[&str]) -> Seals {
        Seals::new(KeyRing::from_bytes(secrets).ok().as_ref())
    }

    #[test]
    fn who_shares_any_secret_is_heard_and_nobody_else() {
        let message = b"a message".as_slice();
        for (speaks, hears, expected) in [
            (&["new"][..], &["new"][..], true),
            // Each step of a rotation, in both directions.
            (&["new", "old"], &["old"], true),
            (&["old"], &["new", "old"], true),
            (&["newer", "new"], &["new", "old"], true),
            (&["new"], &["old"], false),
            (&[], &["new"], false),
            (&["new"], &[], false),
            (&[], &[], true),
        ] {
            let sealed = seals(speaks).seal(message);
            let found = seals(hears).open(&sealed);
            let wanted = if expected { Ok(message) } else { Err(Broken::Forged) };
            assert_eq!(found, wanted, "{speaks:?} to {hears:?}");
        }
    }

    #[test]
    fn what_was_changed_on_its_way_is_not_heard() {
        let seals = seals(&["new", "old"]);
        let sealed = seals.seal(b"a message");
        for at in 33..sealed.len() {
            let mut other = sealed.to_vec();
            other[at] ^= 1;
            assert_eq!(seals.open(&other), Err(Broken::Forged), "{at}");
        }
        assert_eq!(seals.open(&[]), Err(Broken::Malformed));
        assert_eq!(seals.open(&[2, 0, 0]), Err(Broken::Malformed));
        assert_eq!(seals.open(&[MAX_SECRETS as u8 + 1; 400]), Err(Broken::Malformed));
        let longest = [vec![0; 1], vec![7; MAX_BYTES]].concat();
        assert_eq!(Seals::default().open(&longest).map(<[u8]>::len), Ok(MAX_BYTES));
        let longer = [longest, vec![7]].concat();
        assert_eq!(Seals::default().open(&longer), Err(Broken::Malformed));
    }

    #[test]
    fn keys_are_compared_without_being_shown() {
        assert_eq!(seals(&["a", "b"]), seals(&["a", "b"]));
        assert_ne!(seals(&["a", "b"]), seals(&["a", "c"]));
        assert_eq!(format!("{:?}", seals(&["a", "b"])), "[2 keys, redacted]");
    }
}
