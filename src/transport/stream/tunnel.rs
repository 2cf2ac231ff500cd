//! TURN inside of a WebSocket: takes the framing of RFC 6455 off what comes in, in place, and says what to put around what
//! goes out.
//!
//! The payloads of all binary messages, one after the other, are the byte stream that TCP would carry
//! (`docs/turn-over-websocket.md`): where a message begins and ends means nothing, so nothing waits here for the end of one,
//! and a message of any length costs the same memory. It knows no socket and no clock.
//!
//! Bounds: a data frame has at most [`MAX_FRAME`] bytes; of pings, the last one is answered (RFC 6455 §5.5.3).

use std::io::Cursor;
use std::ops::Range;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest data frame. Nothing else may come until a frame is over, so it bounds how long an answer to a ping may take.
pub(in crate::transport) const MAX_FRAME: u64 = 1 << 20;
/// The longest header of a client's frame.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;

/// Why a WebSocket ends, as its close frame says it (RFC 6455 §7.4.1).
pub(in crate::transport) mod code {
    /// It served its purpose: it fell idle without an allocation.
    pub(in crate::transport) const NORMAL: u16 = 1000;
    /// The client broke RFC 6455.
    pub(in crate::transport) const PROTOCOL: u16 = 1002;
    /// Text, which TURN is not.
    pub(in crate::transport) const UNSUPPORTED: u16 = 1003;
    /// What is inside is neither STUN nor ChannelData.
    pub(in crate::transport) const INVALID: u16 = 1007;
    /// The client asks and does not read, or never says anything.
    pub(in crate::transport) const POLICY: u16 = 1008;
    /// A frame is too long.
    pub(in crate::transport) const TOO_BIG: u16 = 1009;
}

/// What a frame of ours is for.
const FINAL_BINARY: u8 = 0x82;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PING: u8 = 0x89;
const FINAL_PONG: u8 = 0x8A;

/// The header of an unmasked frame of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; 10],
    length: usize,
}

impl Head {
    /// Of a binary message with `payload` bytes.
    #[inline]
    pub(super) fn binary(payload: usize) -> Self {
        Self::of(FINAL_BINARY, payload)
    }

    fn of(first: u8, payload: usize) -> Self {
        let mut bytes = [first, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // The shortest of three forms (RFC 6455 §5.2).
        let length = if payload < 126 {
            bytes[1] = payload as u8;
            2
        } else if let Ok(payload) = u16::try_from(payload) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&payload.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        };
        Self { bytes, length }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The length of the frame of ours that `bytes` begin with.
pub(super) fn own_frame_len(bytes: &[u8]) -> usize {
    match *bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        [_, 127, _, _, _, _, a, b, c, d, ..] => 10 + u32::from_be_bytes([a, b, c, d]) as usize,
        [_, length, ..] => 2 + usize::from(length),
        _ => bytes.len(),
    }
}

/// A whole control frame of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    bytes: [u8; 2 + MAX_CONTROL],
    length: usize,
}

impl Word {
    fn new(first: u8, payload: &[u8]) -> Self {
        let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
        let mut bytes = [0; 2 + MAX_CONTROL];
        bytes[0] = first;
        bytes[1] = payload.len() as u8;
        if let Some(room) = bytes.get_mut(2..2 + payload.len()) {
            room.copy_from_slice(payload);
        }
        Self {
            bytes,
            length: 2 + payload.len(),
        }
    }

    /// Asks whether the client is still there.
    pub(super) fn ping() -> Self {
        Self::new(FINAL_PING, &[])
    }

    /// The last one.
    pub(super) fn close(code: u16) -> Self {
        Self::new(FINAL_CLOSE, &code.to_be_bytes())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The frame that bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Data,
    Control(Control),
}

/// The receiving side of one WebSocket.
#[derive(Debug)]
pub(super) struct Tunnel {
    header: [u8; MAX_HEADER],
    header_len: usize,
    inside: Inside,
    /// Bytes of the frame that are still to come.
    left: u64,
    mask: [u8; 4],
    /// Whether a message goes on in the next data frame.
    is_fragmented: bool,
    control: [u8; MAX_CONTROL],
    control_len: usize,
    /// The answer to the last ping.
    pong: Option<Word>,
    /// The code that it ends with: the client's, or why we end it.
    end: Option<u16>,
    is_broken: bool,
    /// Whether anything came since [`Tunnel::is_alive`] was asked.
    heard: bool,
    asked: bool,
}

impl Tunnel {
    pub(super) fn new() -> Self {
        Self {
            header: [0; MAX_HEADER],
            header_len: 0,
            inside: Inside::Data,
            left: 0,
            mask: [0; 4],
            is_fragmented: false,
            control: [0; MAX_CONTROL],
            control_len: 0,
            pong: None,
            end: None,
            is_broken: false,
            heard: true,
            asked: false,
        }
    }

    /// Takes the framing off `bytes`, the next ones of the connection: what is left of them, unmasked, is moved to their
    /// front. Returns how much that is. After a close frame, or a mistake, nothing counts any more.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> usize {
        self.heard |= !bytes.is_empty();
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.end.is_none() {
            let result = if self.left == 0 {
                self.take_header(bytes, &mut at)
            } else {
                self.take_payload(bytes, &mut at, &mut kept)
            };
            if let Err(code) = result {
                self.is_broken = true;
                self.end = Some(code);
            }
        }
        kept
    }

    fn take_header(&mut self, bytes: &[u8], at: &mut usize) -> Result<(), u16> {
        if let (Some(room), Some(&byte)) = (self.header.get_mut(self.header_len), bytes.get(*at)) {
            *room = byte;
        }
        self.header_len += 1;
        *at += 1;
        let mut cursor = Cursor::new(self.header.get(..self.header_len).unwrap_or_default());
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| code::PROTOCOL)? else {
            return Ok(());
        };
        self.header_len = 0;
        let has_extension = header.rsv1 || header.rsv2 || header.rsv3;
        let Some(mask) = header.mask.filter(|_| !has_extension) else {
            // What a client sends is masked (RFC 6455 §5.1), and no extension was agreed to.
            return Err(code::PROTOCOL);
        };
        self.inside = match header.opcode {
            OpCode::Data(Data::Text) => return Err(code::UNSUPPORTED),
            OpCode::Data(data) => {
                if (data == Data::Continue) != self.is_fragmented {
                    return Err(code::PROTOCOL);
                }
                if length > MAX_FRAME {
                    return Err(code::TOO_BIG);
                }
                self.is_fragmented = !header.is_final;
                Inside::Data
            }
            OpCode::Control(control) => {
                if length > MAX_CONTROL as u64 || !header.is_final {
                    return Err(code::PROTOCOL);
                }
                self.control_len = 0;
                Inside::Control(control)
            }
        };
        (self.left, self.mask) = (length, mask);
        if length == 0 { self.finish_frame() } else { Ok(()) }
    }

    fn take_payload(&mut self, bytes: &mut [u8], at: &mut usize, kept: &mut usize) -> Result<(), u16> {
        let count = (bytes.len() - *at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let piece = *at..*at + count;
        unmask(bytes.get_mut(piece.clone()).unwrap_or_default(), self.mask);
        self.mask.rotate_left(count % 4);
        *at += count;
        self.left -= count as u64;
        match self.inside {
            Inside::Data => {
                bytes.copy_within(piece, *kept);
                *kept += count;
            }
            Inside::Control(_) => self.keep_control(bytes, piece),
        }
        if self.left == 0 { self.finish_frame() } else { Ok(()) }
    }

    fn keep_control(&mut self, bytes: &[u8], piece: Range<usize>) {
        let room = self.control_len..self.control_len + piece.len();
        self.control_len = room.end;
        if let (Some(room), Some(piece)) = (self.control.get_mut(room), bytes.get(piece)) {
            room.copy_from_slice(piece);
        }
    }

    fn finish_frame(&mut self) -> Result<(), u16> {
        let payload = self.control.get(..self.control_len).unwrap_or_default();
        match self.inside {
            Inside::Control(Control::Ping) => self.pong = Some(Word::new(FINAL_PONG, payload)),
            Inside::Control(Control::Close) => {
                self.end = Some(match *payload {
                    [] => code::NORMAL,
                    [_] => return Err(code::PROTOCOL),
                    [high, low, ..] => match u16::from_be_bytes([high, low]) {
                        // Codes that may be on the wire (RFC 6455 §7.4).
                        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => code,
                        _ => return Err(code::PROTOCOL),
                    },
                });
            }
            Inside::Data | Inside::Control(_) => {}
        }
        Ok(())
    }

    /// The code it ends with, if it does: the client has closed it, or made a mistake.
    pub(super) fn end(&self) -> Option<u16> {
        self.end
    }

    /// Whether it ends because of a mistake.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The answer to the last ping, once.
    pub(super) fn take_pong(&mut self) -> Option<Word> {
        self.pong.take()
    }

    /// Whether anything came since this was asked the last time, and a ping was sent.
    pub(super) fn is_alive(&mut self) -> bool {
        let was_asked = std::mem::replace(&mut self.asked, true);
        std::mem::take(&mut self.heard) || !was_asked
    }
}

/// RFC 6455 §5.3.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let word = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for eight in words {
        *eight = (u64::from_ne_bytes(*eight) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
