//! A PROXY header in pieces of any size: the same answer however it comes, never a byte of what follows, never more than the
//! bound.

use meetpoint::transport::front::proxy_protocol::{Client, MAX_LEN, Malformed, Preamble};

/// What becomes of `bytes`, offered with `step` more each time; how many were taken.
fn fed(bytes: &[u8], step: usize) -> (Result<Option<Client>, Malformed>, usize) {
    let mut preamble = Preamble::default();
    let (mut taken, mut offered) = (0, 0);
    while taken < bytes.len() {
        offered = (offered + step).clamp(taken + 1, bytes.len().max(taken + 1));
        match preamble.take(&bytes[taken..offered]) {
            Ok((count, client)) => {
                assert!(count > 0 && count <= offered - taken, "it takes what was offered");
                taken += count;
                assert!(taken <= MAX_LEN, "it is bounded");
                if client.is_some() {
                    return (Ok(client), taken);
                }
            }
            Err(error) => return (Err(error), taken),
        }
    }
    (Ok(None), taken)
}

pub(crate) fn run(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    // Fuzzers seldom guess twelve bytes.
    let mut signed = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    signed.extend_from_slice(bytes);
    let mut line = b"PROXY ".to_vec();
    line.extend_from_slice(bytes);
    for bytes in [bytes, &signed, &line] {
        let (whole, taken) = fed(bytes, bytes.len());
        let (pieces, taken_in_pieces) = fed(bytes, usize::from(step) + 1);
        assert_eq!(whole, pieces);
        if matches!(whole, Ok(Some(_))) {
            assert_eq!(taken, taken_in_pieces);
            assert_eq!(fed(&bytes[..taken], 1), (whole, taken), "what follows does not matter");
        }
    }
}
