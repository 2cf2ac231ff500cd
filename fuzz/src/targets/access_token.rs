//! Access tokens (RFC 7635 §6.2): no length may lie its way past the seal, and what is opened can be sealed again.
//!
//! The first byte says what is tried: a token as it is, or one that is sealed from the rest and then changed.

use meetpoint::credentials::{AccessToken, TokenKey, UnixTime};

const NAME: &str = "turn.example.org";

pub(crate) fn run(data: &[u8]) {
    let [north, union] = [TokenKey::new("north", &[1; 32]), TokenKey::new("union", &[2; 16])].map(Result::unwrap);
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    for key in [&north, &union] {
        if let Ok(token) = key.open(NAME, rest) {
            // Nobody guesses a tag; a corpus that was made with these keys comes here.
            assert!((16..=64).contains(&token.mac_key.len()));
            assert!(rest.len() <= meetpoint::credentials::access_token::MAX_TOKEN);
        }
    }
    let (times, mac_key) = rest.split_at(rest.len().min(12));
    let mut padded = [0; 12];
    padded[..times.len()].copy_from_slice(times);
    let token = AccessToken {
        mac_key: mac_key.to_vec().into(),
        issued: UnixTime(u64::from_be_bytes(padded[..8].try_into().expect("eight bytes")) >> 16),
        lifetime: u32::from_be_bytes(padded[8..].try_into().expect("four bytes")),
    };
    let Ok(mut sealed) = north.seal(NAME, [choice; 12], &token) else {
        assert!(!(16..=64).contains(&mac_key.len()));
        return;
    };
    assert_eq!(north.open(NAME, &sealed).as_ref(), Ok(&token));
    assert!(union.open(NAME, &sealed).is_err());
    let at = usize::from(choice) % sealed.len();
    sealed[at] ^= 1 | choice;
    assert!(north.open(NAME, &sealed).is_err());
    sealed.truncate(at);
    assert!(north.open(NAME, &sealed).is_err());
}
