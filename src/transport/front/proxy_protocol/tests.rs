use super::*;

/// What becomes of `bytes` when they come in pieces of `step`, and how many were taken.
fn fed(bytes: &[u8], step: usize) -> (Result<Option<Client>, Malformed>, usize) {
    let (mut preamble, mut taken) = (Preamble::default(), 0);
    let mut offered = 0;
    while taken < bytes.len() {
        // As from a socket: what was not taken is offered again, with more behind it.
        offered = (offered + step).min(bytes.len()).max(taken + 1);
        match preamble.take(&bytes[taken..offered]) {
            Ok((count, None)) => taken += count,
            Ok((count, client)) => return (Ok(client), taken + count),
            Err(error) => return (Err(error), taken),
        }
    }
    (Ok(None), taken)
}

/// Says the same of `bytes` however they come, and takes nothing of what follows.
fn read(bytes: &[u8]) -> Result<Option<Client>, Malformed> {
    let mut followed = bytes.to_vec();
    followed.extend_from_slice(b"\n\r\nPROXY and more");
    let (whole, _) = fed(bytes, usize::MAX / 2);
    for step in [1, 2, 7, 4000] {
        assert_eq!(fed(bytes, step).0, whole, "in pieces of {step}");
        if let Ok(Some(_)) = whole {
            assert_eq!(fed(&followed, step), (whole, bytes.len()), "in pieces of {step}");
        }
    }
    whole
}

fn at(address: &str) -> Result<Option<Client>, Malformed> {
    Ok(Some(Client::At(address.parse().unwrap())))
}

/// A header of version 2: command and family, then what follows its length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xBB];

fn extended(extensions: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&V4, extensions].concat())
}

#[test]
fn a_line_of_version_1_names_the_client() {
    assert_eq!(
        read(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n"),
        at("192.0.2.7:5000")
    );
    assert_eq!(
        read(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"),
        at("[2001:db8::7]:5000")
    );
    // IPv4 in IPv6, as a proxy with one socket for both writes it.
    assert_eq!(
        read(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 5000 443\r\n"),
        at("192.0.2.7:5000")
    );
    let longest = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), 107);
    assert_eq!(read(longest), Ok(Some(Client::Untold)));
    assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(Some(Client::Untold)));
}

#[test]
fn a_broken_line_is_refused() {
    for line in [
        &b"PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n"[..],
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n",
        b"PROXY TCP4 192.0.2.007 198.51.100.1 5000 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXYTCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY \r\n",
        b"GET / HTTP/1.1\r\n",
    ] {
        assert_eq!(read(line), Err(Malformed), "{}", String::from_utf8_lossy(line));
    }
    let mut endless = b"PROXY UNKNOWN ".to_vec();
    endless.resize(MAX_LINE, b'x');
    assert_eq!(read(&endless), Err(Malformed));
    endless.truncate(MAX_LINE - 1);
    assert_eq!(read(&endless), Ok(None), "it may still end");
}

#[test]
fn a_header_of_version_2_names_the_client() {
    assert_eq!(read(&binary(0x21, 0x11, &V4)), at("192.0.2.7:5000"));
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    v6[32..34].copy_from_slice(&5000_u16.to_be_bytes());
    assert_eq!(read(&binary(0x21, 0x21, &v6)), at("[2001:db8::7]:5000"));
}

#[test]
fn a_proxy_may_speak_for_itself_and_may_not_know_its_client() {
    // Whatever else a LOCAL header holds is not looked at.
    for family in [0x00, 0x11] {
        assert_eq!(read(&binary(0x20, family, &V4)), Ok(Some(Client::Proxy)));
    }
    assert_eq!(read(&binary(0x20, 0x00, &[])), Ok(Some(Client::Proxy)));
    assert_eq!(read(&binary(0x21, 0x00, &[])), Ok(Some(Client::Untold)));
    assert_eq!(read(&binary(0x21, 0x31, &[b'/'; 216])), Ok(Some(Client::Untold)));
    // Addresses that nobody can have.
    assert_eq!(read(&binary(0x21, 0x11, &[0; 12])), Ok(Some(Client::Untold)));
}

#[test]
fn a_broken_header_of_version_2_is_refused() {
    for (command, family, rest) in [
        (0x11, 0x11, &V4[..]),
        (0x22, 0x11, &V4),
        (0x21, 0x11, &V4[..11]),
        (0x21, 0x21, &V4),
        (0x21, 0x41, &V4),
        // Datagrams do not come by a stream.
        (0x21, 0x12, &V4),
    ] {
        assert_eq!(
            read(&binary(command, family, rest)),
            Err(Malformed),
            "{command:#x} {family:#x}"
        );
    }
    let mut wrong = binary(0x21, 0x11, &V4);
    wrong[11] = b'\r';
    assert_eq!(read(&wrong), Err(Malformed));
}

#[test]
fn extensions_are_skipped_and_must_be_whole() {
    // PP2_TYPE_AUTHORITY, PP2_TYPE_NOOP, and one that nobody knows.
    let good = [0x02, 0, 1, b'a', 0x04, 0, 0, 0xEE, 0, 2, 1, 2];
    assert_eq!(read(&extended(&good)), at("192.0.2.7:5000"));
    assert_eq!(read(&extended(&good[..good.len() - 1])), Err(Malformed));
    assert_eq!(read(&extended(&[0x02, 0])), Err(Malformed));
}

#[test]
fn a_checksum_must_be_right_if_there_is_one() {
    let mut header = extended(&[0x04, 0, 1, 0, CHECKSUM, 0, 4, 0, 0, 0, 0, 0x04, 0, 0]);
    let field = header.len() - 7;
    assert_eq!(read(&header), Err(Malformed));
    let sum = CRC32C.checksum(&header);
    header[field..field + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(read(&header), at("192.0.2.7:5000"));
    header[19] ^= 1;
    assert_eq!(read(&header), Err(Malformed), "another address than the proxy wrote");
    assert_eq!(read(&extended(&[CHECKSUM, 0, 3, 0, 0, 0])), Err(Malformed));
}

#[test]
fn the_checksum_is_the_one_of_the_standard() {
    // RFC 3720 appendix B.4: 32 bytes of zeros.
    assert_eq!(CRC32C.checksum(&[0; 32]), 0x8A91_36AA);
}

#[test]
fn a_header_is_bounded() {
    let padding = |length: usize| {
        let value = (length as u16).to_be_bytes();
        extended(&[&[0x04, value[0], value[1]], vec![0; length].as_slice()].concat())
    };
    let most = MAX_LEN - FIXED - V4.len() - 3;
    assert_eq!(read(&padding(most)), at("192.0.2.7:5000"));
    // Refused as soon as its length is known.
    assert_eq!(read(&padding(most + 1)[..FIXED]), Err(Malformed));
}
