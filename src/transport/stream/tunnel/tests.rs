use super::*;

/// A masked frame as clients send them.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let head = Head::of(first, payload.len());
    let mut bytes = head.as_bytes().to_vec();
    bytes[1] |= 0x80;
    bytes.extend(mask);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    unmask(&mut bytes[start..], mask);
    bytes
}

/// What is inside of `bytes` when they come in pieces of `step`.
fn decoded(bytes: &[u8], step: usize) -> (Vec<u8>, Tunnel) {
    let mut tunnel = Tunnel::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        let mut piece = piece.to_vec();
        let kept = tunnel.decode(&mut piece);
        out.extend_from_slice(&piece[..kept]);
    }
    (out, tunnel)
}

fn end_of(bytes: &[u8]) -> Option<u16> {
    let (_, whole) = decoded(bytes, usize::MAX);
    let (_, single) = decoded(bytes, 1);
    assert_eq!((whole.end(), whole.is_broken()), (single.end(), single.is_broken()));
    whole.end()
}

#[test]
fn payloads_become_one_stream_however_they_are_cut_into_messages_fragments_and_reads() {
    let long: Vec<u8> = (0..70_000_u32).map(|n| (n * 7) as u8).collect();
    let mut bytes = frame(0x82, b"one ");
    // Fragments, an empty one among them, with a ping and a pong in between.
    bytes.extend(frame(0x02, b"t"));
    bytes.extend(frame(0x89, b"still there?"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x8A, b""));
    bytes.extend(frame(0x80, b"wo "));
    bytes.extend(frame(0x82, b""));
    bytes.extend(frame(0x82, &long[..200]));
    bytes.extend(frame(0x82, &long[200..]));
    let mut wanted = b"one two ".to_vec();
    wanted.extend(&long);
    for step in [1, 2, 3, 5, 13, 1000, usize::MAX] {
        let (out, mut tunnel) = decoded(&bytes, step);
        assert!(out == wanted, "in pieces of {step}");
        assert_eq!(tunnel.end(), None);
        assert_eq!(tunnel.take_pong().unwrap().as_bytes(), b"\x8A\x0Cstill there?");
        assert!(tunnel.take_pong().is_none());
    }
}

#[test]
fn of_many_pings_the_last_one_is_answered() {
    let bytes: Vec<u8> = (0..100_u8).flat_map(|n| frame(0x89, &[n])).collect();
    let (_, mut tunnel) = decoded(&bytes, usize::MAX);
    assert_eq!(tunnel.take_pong().unwrap().as_bytes(), [0x8A, 1, 99]);
    assert!(tunnel.take_pong().is_none());
}

#[test]
fn each_mistake_has_its_code() {
    assert_eq!(end_of(&frame(0x81, b"hello")), Some(code::UNSUPPORTED));
    let mut unmasked = Head::of(0x82, 3).as_bytes().to_vec();
    unmasked.extend(b"abc");
    assert_eq!(end_of(&unmasked), Some(code::PROTOCOL));
    for first in [
        0xC2, 0xA2, 0x92, // reserved bits
        0x83, 0x8B, // reserved opcodes
        0x80, // the end of nothing
        0x09, 0x08, // control frames in pieces
    ] {
        assert_eq!(end_of(&frame(first, b"ab")), Some(code::PROTOCOL), "{first:#x}");
    }
    let twice = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
    assert_eq!(end_of(&twice), Some(code::PROTOCOL));
    assert_eq!(end_of(&frame(0x89, &[0; 125])), None);
    assert_eq!(end_of(&frame(0x89, &[0; 126])), Some(code::PROTOCOL));
}

#[test]
fn a_frame_at_the_bound_is_taken_and_one_past_it_is_refused_by_its_header() {
    let at = frame(0x82, &vec![1; MAX_FRAME as usize]);
    assert_eq!(decoded(&at, 4096).0.len() as u64, MAX_FRAME);
    let mut past = Head::of(0x82, MAX_FRAME as usize + 1).as_bytes().to_vec();
    past[1] |= 0x80;
    past.extend([0; 4]);
    assert_eq!(end_of(&past), Some(code::TOO_BIG));
    let endless = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    assert_eq!(end_of(&endless), Some(code::TOO_BIG));
}

#[test]
fn a_close_frame_ends_it_with_its_own_code_and_nothing_behind_it_counts() {
    for (payload, wanted) in [
        (&b""[..], code::NORMAL),
        (&[0x03, 0xE9][..], 1001),
        (b"\x0F\xA0bye", 4000),
    ] {
        let bytes = [frame(0x82, b"before"), frame(0x88, payload), frame(0x82, b"behind")].concat();
        let (out, tunnel) = decoded(&bytes, usize::MAX);
        assert_eq!(
            (&out[..], tunnel.end(), tunnel.is_broken()),
            (&b"before"[..], Some(wanted), false)
        );
    }
    for wrong in [&[3][..], &[0x03, 0xEE], &[0x03, 0xED], &[0, 5]] {
        assert_eq!(end_of(&frame(0x88, wrong)), Some(code::PROTOCOL), "{wrong:?}");
    }
}

#[test]
fn who_answers_nothing_between_two_pings_is_gone() {
    let mut tunnel = Tunnel::new();
    assert!(tunnel.is_alive(), "nobody has asked yet");
    tunnel.decode(&mut frame(0x8A, b""));
    assert!(tunnel.is_alive());
    assert!(!tunnel.is_alive());
}

#[test]
fn our_frames_are_as_long_as_their_headers_say() {
    for payload in [0, 1, 125, 126, 65_535, 65_536, 66_000] {
        let head = Head::binary(payload);
        let whole = head.as_bytes().len() + payload;
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(whole + 7, 0);
        assert_eq!(own_frame_len(&bytes), whole);
    }
    assert_eq!(own_frame_len(Word::close(1000).as_bytes()), 4);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_how_they_are_cut_makes_no_difference(
        frames in proptest::collection::vec(
            (proptest::prelude::any::<u8>(), proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)), 0..6),
        junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        step in 1_usize..300,
    ) {
        let mut bytes: Vec<u8> = frames
            .iter()
            // Mostly kinds of frames that there are.
            .flat_map(|(first, payload)| frame([0x82, 0x02, 0x80, 0x00, 0x89, 0x8A, 0x88, *first][usize::from(first % 8)], payload))
            .collect();
        bytes.extend(junk);
        let (whole, mut one) = decoded(&bytes, usize::MAX);
        let (pieces, mut other) = decoded(&bytes, step);
        proptest::prop_assert!(whole == pieces && whole.len() <= bytes.len());
        proptest::prop_assert_eq!((one.end(), one.is_broken()), (other.end(), other.is_broken()));
        let words = (one.take_pong(), other.take_pong());
        proptest::prop_assert_eq!(
            words.0.as_ref().map(|word| word.as_bytes().to_vec()),
            words.1.as_ref().map(|word| word.as_bytes().to_vec())
        );
    }
}
