//! ClientHello messages, as far as they must be understood before there is any state: which version they can have, and
//! which cookie they bring.
//!
//! RFC 6347 §4.1, §4.2 (records, handshake header, ClientHello), RFC 9147 §5.3, RFC 8446 §4.1.2 and §4.2 (extensions).

/// Header of a plaintext record.
pub(super) const RECORD_HEADER: usize = 13;
/// Header of a handshake message or of a fragment of one.
pub(super) const HANDSHAKE_HEADER: usize = 12;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const CLIENT_HELLO: u8 = 1;
/// DTLS 1.2 on the wire.
pub(super) const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];
/// DTLS 1.3 on the wire: only ever inside of an extension.
pub(super) const DTLS_1_3: [u8; 2] = [0xfe, 0xfc];
const RANDOM: usize = 32;
const PADDING: u16 = 21;
const SUPPORTED_VERSIONS: u16 = 43;
const COOKIE: u16 = 44;
const KEY_SHARE: u16 = 51;

/// A fragment of a ClientHello, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Sequence number of its record, which the answer takes over (RFC 6347 §4.2.1).
    pub(super) record_sequence: u64,
    /// 0 without a cookie, 1 with one (RFC 6347 §4.2.2).
    pub(super) message_sequence: u16,
    /// Bytes of the whole message.
    pub(super) length: usize,
    /// Where in it this fragment begins.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

/// Whether a datagram begins with a plaintext record that begins with a ClientHello: all that a stranger may say.
pub(in crate::transport) fn is_client_hello(datagram: &[u8]) -> bool {
    matches!(datagram, [HANDSHAKE, 0xfe, _, 0, 0, ..]) && datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO)
}

/// The parts of a ClientHello in a datagram; it ends at the first record that is something else.
pub(super) fn parts(mut datagram: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if !is_client_hello(datagram) {
            return None;
        }
        let (header, rest) = datagram.split_at_checked(RECORD_HEADER)?;
        let (record, rest) = rest.split_at_checked(be(header.get(11..13)?))?;
        datagram = rest;
        let (handshake, bytes) = record.split_at_checked(HANDSHAKE_HEADER)?;
        let part = Part {
            record_sequence: be(header.get(5..11)?) as u64,
            message_sequence: be(handshake.get(4..6)?) as u16,
            length: be(handshake.get(1..4)?),
            offset: be(handshake.get(6..9)?),
            bytes,
        };
        // One fragment a record: a ClientHello is the only message of its flight.
        let fits = bytes.len() == be(handshake.get(9..12)?) && part.offset.checked_add(bytes.len())? <= part.length;
        fits.then_some(part)
    })
}

/// A whole ClientHello.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientHello<'a> {
    /// Everything, without handshake header.
    pub(super) body: &'a [u8],
    /// Version, random and session id.
    pub(super) head: &'a [u8],
    /// The cookie of DTLS 1.2, its length in front of it.
    pub(super) cookie: &'a [u8],
    /// Cipher suites and compression methods, each with its length.
    pub(super) choices: &'a [u8],
    suites: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> ClientHello<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut rest = body;
        take(&mut rest, 2 + RANDOM)?;
        take_sized(&mut rest, 1)?;
        let (head, from_cookie) = body.split_at_checked(body.len() - rest.len())?;
        take_sized(&mut rest, 1)?;
        let (cookie, from_suites) = from_cookie.split_at_checked(from_cookie.len() - rest.len())?;
        let suites = take_sized(&mut rest, 2)?;
        take_sized(&mut rest, 1)?;
        let choices = from_suites.get(..from_suites.len() - rest.len())?;
        let extensions = if rest.is_empty() {
            rest
        } else {
            take_sized(&mut rest, 2)?
        };
        let whole =
            rest.is_empty() && suites.len().is_multiple_of(2) && extensions_of(extensions).all(|one| one.is_some());
        whole.then_some(Self {
            body,
            head,
            cookie,
            choices,
            suites,
            extensions,
        })
    }

    /// The highest version of a client that knows no other way to say so.
    pub(super) fn version(&self) -> &'a [u8] {
        self.head.get(..2).unwrap_or_default()
    }

    /// The cipher suites, as the client prefers them.
    pub(super) fn suites(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.suites.chunks_exact(2).map(|suite| be(suite) as u16)
    }

    /// Whether DTLS 1.3 is offered.
    pub(super) fn offers_1_3(&self) -> bool {
        let versions = self
            .extension(SUPPORTED_VERSIONS)
            .and_then(|mut data| take_sized(&mut data, 1));
        versions.is_some_and(|versions| versions.chunks_exact(2).any(|version| version == DTLS_1_3))
    }

    /// The groups a key share is there for.
    pub(super) fn key_shares(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut shares = self
            .extension(KEY_SHARE)
            .and_then(|mut data| take_sized(&mut data, 2))
            .unwrap_or_default();
        std::iter::from_fn(move || {
            let group = take(&mut shares, 2)?;
            take_sized(&mut shares, 2)?;
            Some(be(group) as u16)
        })
    }

    /// The cookie of DTLS 1.3.
    pub(super) fn cookie_extension(&self) -> Option<&'a [u8]> {
        self.extension(COOKIE).and_then(|mut data| take_sized(&mut data, 2))
    }

    fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut found = extensions_of(self.extensions)
            .flatten()
            .filter(|(kind, _)| *kind == wanted);
        found.next().and_then(|(_, whole)| whole.get(4..))
    }

    /// How long its padding is (RFC 7685), if there is any.
    pub(super) fn padding(&self) -> Option<u16> {
        self.extension(PADDING).map(|data| data.len() as u16)
    }

    /// The body as it was before the client was told a cookie. All that a client may change is its padding (RFC 8446 §4.1.2),
    /// so one has to know what that was.
    pub(super) fn before_cookie(&self, padding: Option<u16>) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body.len());
        body.extend_from_slice(self.head);
        body.push(0);
        body.extend_from_slice(self.choices);
        let mut list = Vec::with_capacity(self.extensions.len());
        let mut left = padding;
        for (kind, whole) in extensions_of(self.extensions).flatten() {
            match kind {
                COOKIE => {}
                PADDING => push_padding(&mut list, left.take()),
                _ => list.extend_from_slice(whole),
            }
        }
        push_padding(&mut list, left);
        if list.is_empty() {
            // A list that is there and empty stays there.
            let end = self.head.len() + self.cookie.len() + self.choices.len();
            if self.body.len() > end {
                body.extend_from_slice(&[0, 0]);
            }
        } else {
            body.extend_from_slice(&(list.len() as u16).to_be_bytes());
            body.extend_from_slice(&list);
        }
        body
    }
}

fn push_padding(list: &mut Vec<u8>, padding: Option<u16>) {
    let Some(padding) = padding else { return };
    list.extend_from_slice(&PADDING.to_be_bytes());
    list.extend_from_slice(&padding.to_be_bytes());
    list.resize(list.len() + usize::from(padding), 0);
}

/// Each extension, its header included; `None` where the list breaks off.
fn extensions_of(mut list: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if list.is_empty() {
            return None;
        }
        let whole = list;
        let kind = take(&mut list, 2).map(be);
        let data = take_sized(&mut list, 2);
        let Some((kind, _)) = kind.zip(data) else {
            list = &[];
            return Some(None);
        };
        Some(whole.get(..whole.len() - list.len()).map(|whole| (kind as u16, whole)))
    })
}

/// Big-endian.
fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// What follows a length of so many bytes.
fn take_sized<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let length = take(rest, length)?;
    take(rest, be(length))
}

/// A handshake message in a plaintext record.
pub(super) fn record(record_sequence: u64, kind: u8, message_sequence: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let mut out = Vec::with_capacity(RECORD_HEADER + HANDSHAKE_HEADER + body.len());
    out.push(HANDSHAKE);
    out.extend_from_slice(&DTLS_1_2);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(record_sequence.to_be_bytes().get(2..).unwrap_or_default());
    out.extend_from_slice(&((HANDSHAKE_HEADER + body.len()) as u16).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&message_sequence.to_be_bytes());
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ClientHello for both versions, with extensions of this kind and content.
    pub(in crate::transport::dtls) fn hello(cookie: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = DTLS_1_2.to_vec();
        body.extend_from_slice(&[7; RANDOM]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
        let list: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
            .collect();
        if !list.is_empty() {
            body.extend_from_slice(&(list.len() as u16).to_be_bytes());
            body.extend_from_slice(&list);
        }
        body
    }

    #[test]
    fn a_hello_gives_up_its_version_suites_shares_and_cookie() {
        let body = hello(
            b"",
            &[
                (SUPPORTED_VERSIONS, &[4, 0xfe, 0xfd, 0xfe, 0xfc]),
                (KEY_SHARE, &[0, 11, 0x0a, 0x0a, 0, 1, 0, 0, 0x1d, 0, 2, 9, 9]),
                (COOKIE, &[0, 3, 1, 2, 3]),
            ],
        );
        let parsed = ClientHello::parse(&body).unwrap();
        assert!(parsed.offers_1_3());
        assert_eq!(parsed.key_shares().collect::<Vec<_>>(), [0x0a0a, 0x1d]);
        assert_eq!(parsed.suites().collect::<Vec<_>>(), [0x1301, 0xc02b]);
        assert_eq!(parsed.cookie_extension(), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn without_its_cookie_a_hello_is_the_one_before_with_the_padding_of_then() {
        let share: (u16, &[u8]) = (KEY_SHARE, &[0, 6, 0, 0x1d, 0, 2, 9, 9]);
        let groups: (u16, &[u8]) = (10, &[0, 2, 0, 0x1d]);
        let cookie: (u16, &[u8]) = (COOKIE, &[0, 1, 5]);
        let padding: (u16, &[u8]) = (PADDING, &[0; 9]);
        let before = |body: &[u8], padding| ClientHello::parse(body).unwrap().before_cookie(padding);
        let plain = hello(b"", &[share, groups]);
        assert_eq!(before(&hello(b"", &[share, cookie, groups]), None), plain);
        assert_eq!(before(&hello(b"", &[share, groups, cookie, padding]), None), plain);
        let padded = hello(b"", &[share, groups, (PADDING, &[0; 20])]);
        assert_eq!(before(&hello(b"", &[share, groups, cookie, padding]), Some(20)), padded);
        assert_eq!(before(&hello(b"", &[share, groups, padding, cookie]), Some(20)), padded);
        assert_eq!(before(&hello(b"", &[share, groups, cookie]), Some(20)), padded);
        assert_eq!(ClientHello::parse(&padded).unwrap().padding(), Some(20));
        assert_eq!(before(&hello(b"12345", &[]), None), hello(b"", &[]));
    }

    #[test]
    fn what_is_cut_or_padded_is_no_hello() {
        let whole = hello(b"abc", &[(KEY_SHARE, &[0, 6, 0, 0x1d, 0, 2, 9, 9])]);
        for len in 0..whole.len() {
            // Without extensions it is one of the oldest kind.
            let bare = len == hello(b"abc", &[]).len();
            assert_eq!(ClientHello::parse(&whole[..len]).is_some(), bare, "{len}");
        }
        assert!(ClientHello::parse(&[&whole[..], &[0]].concat()).is_none());
    }

    #[test]
    fn parts_are_found_in_one_datagram_and_nothing_else_is() {
        let body = hello(b"", &[]);
        let mut datagram = record(7, CLIENT_HELLO, 0, &body);
        let all: Vec<_> = parts(&datagram).collect();
        let expected = Part {
            record_sequence: 7,
            message_sequence: 0,
            length: body.len(),
            offset: 0,
            bytes: &body,
        };
        assert_eq!(all, [expected]);
        datagram.extend(record(8, CLIENT_HELLO, 0, &body));
        datagram.extend(record(9, 2, 0, &body));
        assert_eq!(parts(&datagram).count(), 2);
        for len in 0..datagram.len() {
            let _ = parts(&datagram[..len]).count();
        }
        datagram[RECORD_HEADER + 11] += 1;
        assert_eq!(parts(&datagram).count(), 0, "a fragment that says more than there is");
    }
}
