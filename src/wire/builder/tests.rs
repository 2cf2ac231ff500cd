use super::super::attribute::{Data, Lifetime, Username};
use super::super::{Message, VerifyError};
use super::*;

const ID: TransactionId = TransactionId([9; 12]);

fn request(out: &mut [u8]) -> MessageBuilder<'_> {
    MessageBuilder::new(out, Method::REFRESH, Class::Request, ID)
}

#[test]
fn padding_is_zero_whatever_the_buffer_held() {
    for len in 0..=8 {
        let mut buffer = [0xFF; 64];
        let data = [1; 8];
        let total = request(&mut buffer).attribute(&Data(&data[..len])).finish().unwrap();
        assert_eq!(total, 24 + len + padding(len));
        assert!(buffer[24 + len..total].iter().all(|byte| *byte == 0));
        assert!(
            buffer[total..].iter().all(|byte| *byte == 0xFF),
            "nothing is written past the message"
        );
    }
}

#[test]
fn a_message_that_fits_exactly_is_written_and_one_byte_less_is_an_error() {
    let key = IntegrityKey::short_term("p");
    let mut buffer = [0; 20 + 8 + 24 + 36 + 8];
    let build = |out: &mut [u8]| {
        request(out)
            .attribute(&Lifetime(600))
            .integrity(&key)
            .integrity_sha256(&key)
            .fingerprint()
            .finish()
    };
    assert_eq!(build(&mut buffer), Ok(96));
    for short in 0..96 {
        assert_eq!(build(&mut buffer[..short]), Err(EncodeError::BufferFull), "{short}");
    }
}

#[test]
fn the_first_error_sticks() {
    let mut buffer = [0; 30];
    let mut builder = request(&mut buffer);
    builder.attribute(&Data(&[0; 16]));
    assert_eq!(builder.finish(), Err(EncodeError::BufferFull));
    builder
        .attribute(&Lifetime(1))
        .integrity(&IntegrityKey::short_term("p"))
        .fingerprint();
    assert_eq!(builder.finish(), Err(EncodeError::BufferFull));
}

#[test]
fn nothing_but_its_successors_follows_a_sealing_attribute() {
    let key = IntegrityKey::short_term("p");
    let mut buffer = [0; 256];
    let sealed = Err(EncodeError::Sealed);
    assert_eq!(
        request(&mut buffer).integrity(&key).attribute(&Lifetime(1)).finish(),
        sealed
    );
    assert_eq!(request(&mut buffer).integrity(&key).integrity(&key).finish(), sealed);
    assert_eq!(
        request(&mut buffer).integrity_sha256(&key).integrity(&key).finish(),
        sealed
    );
    assert_eq!(request(&mut buffer).fingerprint().integrity(&key).finish(), sealed);
    assert_eq!(request(&mut buffer).fingerprint().fingerprint().finish(), sealed);
    assert_eq!(
        request(&mut buffer).fingerprint().attribute(&Lifetime(1)).finish(),
        sealed
    );
}

#[test]
fn the_longest_value_and_the_longest_message_fit_and_one_more_byte_does_not() {
    let payload = vec![0; 65536];
    let mut buffer = vec![0; 70_000];
    // 65532 bytes of attributes are the most the length field can say.
    assert_eq!(
        request(&mut buffer).attribute(&Data(&payload[..65528])).finish(),
        Ok(20 + 65532)
    );
    assert!(Message::parse(&buffer[..20 + 65532]).is_ok());
    assert_eq!(
        request(&mut buffer).attribute(&Data(&payload[..65529])).finish(),
        Err(EncodeError::TooLong)
    );
    assert_eq!(
        request(&mut buffer).attribute(&Data(&payload)).finish(),
        Err(EncodeError::TooLong)
    );
}

#[test]
fn what_is_sealed_with_one_key_verifies_with_it_and_no_other() {
    let key = IntegrityKey::long_term_md5("user", "realm", "pass");
    let other = IntegrityKey::long_term_md5("user", "realm", "past");
    for kind in [IntegrityKind::Sha1, IntegrityKind::Sha256] {
        // Lengths on both sides of a hash block.
        for len in 0..=140 {
            let mut buffer = [0; 512];
            let name = "u".repeat(len);
            let username = Username::new(&name).unwrap();
            let total = request(&mut buffer)
                .attribute(&username)
                .sign(kind, &key)
                .fingerprint()
                .finish()
                .unwrap();
            let message = Message::parse(&buffer[..total]).unwrap();
            assert_eq!(message.verify_integrity(&key), Ok(kind));
            assert_eq!(message.verify_integrity(&other), Err(VerifyError::Mismatch));
            assert_eq!(message.verify_fingerprint(), Ok(()));
        }
    }
}
