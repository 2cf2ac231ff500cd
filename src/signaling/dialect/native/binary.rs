//! Binary frames: `send` and `msg` whose data is bytes and not JSON.
//!
//! Both ways a frame is the version (1), flags (0), the length of the header as two bytes in network order, the header (a JSON
//! object), and the payload up to the end of the frame. Who does not read binary frames is told the same as text, the payload in
//! base64: the header's fields stand in the text as they stand here, so that the one form becomes the other without being read.
//!
//! The payload is borrowed from the frame that came, and copied once, into the frame that all receivers share: a slice kept for a
//! slow reader would keep the whole buffer that it was read into.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::{Body, Malformed, Request, Send, integer, read, room, to};
use crate::signaling::{
    event::Data,
    json::Object,
    labels::{ErrorCode, MessageKind},
};

/// The only version there is.
const VERSION: u8 = 1;
/// Version, flags and the length of the header.
const HEAD: usize = 4;

/// Every field of a header, unread. What else it has is ignored, as it is in text.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Header<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    rel: Option<&'a RawValue>,
}

/// The header and the payload of a frame.
fn split(frame: &[u8]) -> Result<(&str, &[u8]), &'static str> {
    let (head, rest) = frame
        .split_first_chunk::<HEAD>()
        .ok_or("a binary frame has a head of 4 bytes")?;
    let [version, flags, length @ ..] = *head;
    if version != VERSION {
        return Err("this server speaks version 1 of binary frames");
    }
    if flags != 0 {
        return Err("the flags of a binary frame are 0");
    }
    let length = usize::from(u16::from_be_bytes(length));
    let (header, payload) = rest
        .split_at_checked(length)
        .ok_or("the header is longer than its frame")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header must be one JSON object")?;
    Ok((header, payload))
}

/// Reads one binary frame, which is a `send`.
///
/// # Errors
/// [`Malformed`] with the answer to give when it is not a request of this protocol.
pub(crate) fn parse(frame: &[u8]) -> Result<Request<'_>, Malformed> {
    let junk = |message| Malformed {
        message,
        ..Malformed::BINARY
    };
    let (header, payload) = split(frame).map_err(junk)?;
    // The derived reader would take an array as well.
    if !header.trim_ascii_start().starts_with('{') {
        return Err(junk("the header must be one JSON object"));
    }
    let fields: Header<'_> = serde_json::from_str(header).map_err(|_| junk("the header must be one JSON object"))?;
    let Ok(id) = integer(fields.id, "") else {
        return Err(junk("id must be an integer from 0 to 2^53-1"));
    };
    let send = || {
        Ok(Send {
            room: room(fields.room)?,
            to: to(fields.to)?,
            data: Data::Bytes(payload),
            reliable: read(fields.rel, "rel must be a boolean")?.unwrap_or(false),
        })
    };
    let send = send().map_err(|message| Malformed {
        kind: MessageKind::Malformed,
        id,
        code: ErrorCode::BadRequest,
        message,
    })?;
    Ok(Request {
        id,
        body: Body::Send(send),
    })
}

fn header(object: Object, room: &str, from: &str, seq: u64) -> Object {
    object.text("room", room).text("from", from).number("seq", seq)
}

/// `msg` as a binary frame.
pub(crate) fn message(room: &str, from: &str, payload: &[u8], seq: u64) -> Bytes {
    let header = header(Object::with_capacity(64 + room.len() + from.len()), room, from, seq).finish();
    let mut frame = BytesMut::with_capacity(HEAD + header.len() + payload.len());
    frame.put_u8(VERSION);
    frame.put_u8(0);
    // Names have limits: a header is some hundred bytes long, written with escapes perhaps a thousand.
    frame.put_u16(u16::try_from(header.len()).unwrap_or(u16::MAX));
    frame.put_slice(&header);
    frame.put_slice(payload);
    frame.freeze()
}

/// `msg` with the same payload as a text frame.
pub(crate) fn message_text(room: &str, from: &str, payload: &[u8], seq: u64) -> Bytes {
    let length = 64 + room.len() + from.len() + payload.len().div_ceil(3) * 4;
    header(Object::frame("msg", length), room, from, seq)
        .raw_with("bin", |text| push_base64(text, payload))
        .finish()
}

/// A frame of [`message`] as that of [`message_text`]: for a session that comes back on a socket whose client reads no binary.
pub(crate) fn as_text(frame: &[u8]) -> Option<Bytes> {
    let (header, payload) = split(frame).ok()?;
    let fields = header.strip_prefix('{')?.strip_suffix('}')?;
    let mut text = String::with_capacity(64 + fields.len() + payload.len().div_ceil(3) * 4);
    text.push_str(r#"{"t":"msg","#);
    text.push_str(fields);
    text.push_str(r#","bin":"#);
    push_base64(&mut text, payload);
    text.push('}');
    Some(Bytes::from(text))
}

/// A JSON string: what base64 is written with needs no escapes.
fn push_base64(text: &mut String, payload: &[u8]) {
    text.push('"');
    STANDARD.encode_string(payload, text);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of those parts.
    fn frame(version: u8, flags: u8, header: &str, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_be_bytes();
        [&[version, flags], &length[..], header.as_bytes(), payload].concat()
    }

    #[test]
    fn the_payload_is_borrowed_from_the_frame() {
        let frame = frame(1, 0, r#"{"room":"r","to":["b","c"],"id":7,"rel":true}"#, b"\x00\xFF{");
        let request = parse(&frame).unwrap();
        assert_eq!(request.id, Some(7));
        let Body::Send(send) = request.body else {
            panic!("not a send")
        };
        assert_eq!((&*send.room, send.to.unwrap().len(), send.reliable), ("r", 2, true));
        let Data::Bytes(payload) = send.data else {
            panic!("not bytes")
        };
        assert_eq!(payload, b"\x00\xFF{");
        assert!(frame.as_ptr_range().contains(&payload.as_ptr()));
    }

    #[test]
    fn what_is_no_frame_is_a_bad_frame_and_what_is_no_request_a_bad_request() {
        let good = r#"{"room":"r"}"#;
        let cases: &[(Vec<u8>, &str)] = &[
            (vec![], "a binary frame has a head of 4 bytes"),
            (vec![1, 0, 0], "a binary frame has a head of 4 bytes"),
            (frame(0, 0, good, b""), "this server speaks version 1 of binary frames"),
            (frame(2, 0, good, b""), "this server speaks version 1 of binary frames"),
            (frame(1, 1, good, b""), "the flags of a binary frame are 0"),
            (vec![1, 0, 0, 1], "the header is longer than its frame"),
            (
                vec![1, 0, 0xFF, 0xFF, b'{', b'}'],
                "the header is longer than its frame",
            ),
            (vec![1, 0, 0, 1, 0xFF], "the header must be one JSON object"),
            (frame(1, 0, "", b"x"), "the header must be one JSON object"),
            (frame(1, 0, r#"["r"]"#, b""), "the header must be one JSON object"),
            (
                frame(1, 0, r#"{"room":"r"}x"#, b""),
                "the header must be one JSON object",
            ),
            (
                frame(1, 0, r#"{"room":"r","room":"s"}"#, b""),
                "the header must be one JSON object",
            ),
            (
                frame(1, 0, r#"{"room":"r","id":-1}"#, b""),
                "id must be an integer from 0 to 2^53-1",
            ),
        ];
        for (frame, message) in cases {
            let refusal = parse(frame).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.message),
                (ErrorCode::BadFrame, *message),
                "{frame:?}"
            );
        }
        for (header, message) in [
            ("{}", "room is missing"),
            (r#"{"room":1}"#, "room must be a string"),
            (r#"{"room":"r","to":7}"#, "to must be a string or an array of strings"),
            (r#"{"room":"r","rel":1}"#, "rel must be a boolean"),
        ] {
            let refusal = parse(&frame(1, 0, header, b"")).unwrap_err();
            assert_eq!((refusal.code, refusal.message), (ErrorCode::BadRequest, message));
        }
    }

    #[test]
    fn a_message_says_the_same_as_text_whether_it_was_binary_before_or_not() {
        for payload in [&b""[..], b"a", b"ab", b"abc", &[0, 0xFF, 0xFE]] {
            let binary = message("r \"1\"", "a", payload, 9);
            assert_eq!(
                split(&binary),
                Ok((r#"{"room":"r \"1\"","from":"a","seq":9}"#, payload))
            );
            let text = message_text("r \"1\"", "a", payload, 9);
            assert_eq!(as_text(&binary).unwrap(), text);
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(STANDARD.decode(value["bin"].as_str().unwrap()).unwrap(), payload);
        }
    }
}
