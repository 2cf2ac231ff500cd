//! RFC 8489 appendix B: the sample request with USERHASH and MESSAGE-INTEGRITY-SHA256.

use meetpoint::wire::attribute::{Nonce, PasswordAlgorithm, Realm, SecurityFeatures, Userhash};
use meetpoint::wire::{Class, IntegrityKey, IntegrityKind, Message, MessageBuilder, Method, userhash};

use crate::vector::vector;

#[test]
fn appendix_b_1_the_request_verifies_and_is_written_byte_for_byte() {
    let bytes = vector!("rfc8489_b_1_request");
    let message = Message::parse(&bytes).unwrap();
    let username = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    let realm = Realm::new("example.org").unwrap();
    let nonce = Nonce::new("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA").unwrap();
    let hash = Userhash(userhash(username, realm.as_str()));
    let key = IntegrityKey::long_term_sha256(username, realm.as_str(), "TheMatrIX");

    assert_eq!(message.find(), Ok(Some(hash)));
    assert_eq!(message.find(), Ok(Some(nonce)));
    assert_eq!(message.find(), Ok(Some(realm)));
    assert_eq!(message.find(), Ok(Some(PasswordAlgorithm::Sha256)));
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha256));

    let mut buffer = [0xFF; 256];
    let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Request, message.transaction_id())
        .attribute(&hash)
        .attribute(&nonce)
        .attribute(&realm)
        .attribute(&PasswordAlgorithm::Sha256)
        .integrity_sha256(&key)
        .finish()
        .unwrap();
    assert_eq!(buffer[..len], bytes);
}

#[test]
fn appendix_b_1_sets_a_bit_no_security_feature_is_assigned_to() {
    // "AAAC" is bit 22 counted from the left; §18.1 assigns bits 0 and 1 from there. The cookie is recognised, the bit
    // ignored.
    let features = SecurityFeatures::of_nonce("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
    assert_eq!(features, Some(SecurityFeatures::default()));
}
