//! The bytes of one packet: the client's framing, and the stamp inside the payload by which loss, mix-ups and one-way
//! latency are seen.

use std::{net::SocketAddr, time::Instant};

use crate::Method;

/// Marks a payload as ours.
const MAGIC: [u8; 4] = *b"mpld";
/// Magic, run, flow, direction, time.
pub(crate) const STAMP_LEN: usize = 24;

/// What a payload says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Trial number: stragglers of an earlier trial are not counted in this one.
    pub(crate) run: u32,
    pub(crate) flow: u32,
    pub(crate) up: bool,
    pub(crate) sent_nanos: u64,
}

impl Stamp {
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&MAGIC);
        payload[4..8].copy_from_slice(&self.run.to_be_bytes());
        payload[8..12].copy_from_slice(&self.flow.to_be_bytes());
        payload[12..16].copy_from_slice(&u32::from(self.up).to_be_bytes());
        payload[16..24].copy_from_slice(&self.sent_nanos.to_be_bytes());
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        if payload.get(..4)? != MAGIC {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            run: word(4)?,
            flow: word(8)?,
            up: word(12)? == 1,
            sent_nanos: u64::from_be_bytes(payload.get(16..24)?.try_into().ok()?),
        })
    }
}

/// Nanoseconds since `epoch`; both ends live in this process, so one clock serves them.
pub(crate) fn nanos_since(epoch: Instant) -> u64 {
    epoch.elapsed().as_nanos() as u64
}

/// A packet of one flow with everything but the stamp filled in.
pub(crate) struct Template {
    bytes: Vec<u8>,
    payload_at: usize,
}

impl Template {
    /// `peer` is where the relay shall send it; used by Send indications alone.
    pub(crate) fn new(method: Method, channel: u16, peer: SocketAddr, payload_len: usize) -> Self {
        let mut bytes = Vec::with_capacity(payload_len + 64);
        match method {
            Method::Direct => {}
            Method::Channel => {
                bytes.extend_from_slice(&channel.to_be_bytes());
                bytes.extend_from_slice(&(payload_len as u16).to_be_bytes());
            }
            Method::Send => {
                let address = xor_address(peer);
                let padded = payload_len.next_multiple_of(4);
                let length = 4 + address.len() + 4 + padded;
                bytes.extend_from_slice(&0x0016_u16.to_be_bytes());
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
                bytes.extend_from_slice(&MAGIC_COOKIE);
                bytes.extend_from_slice(&TRANSACTION);
                bytes.extend_from_slice(&0x0012_u16.to_be_bytes());
                bytes.extend_from_slice(&(address.len() as u16).to_be_bytes());
                bytes.extend_from_slice(&address);
                bytes.extend_from_slice(&0x0013_u16.to_be_bytes());
                bytes.extend_from_slice(&(payload_len as u16).to_be_bytes());
            }
        }
        let payload_at = bytes.len();
        bytes.resize(payload_at + payload_len, 0xA5);
        if method == Method::Send {
            bytes.resize(payload_at + payload_len.next_multiple_of(4), 0);
        }
        Self { bytes, payload_at }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes `count` copies back to back, each with its stamp, into `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, count: usize, stamp: Stamp) {
        out.clear();
        for _ in 0..count {
            let start = out.len();
            out.extend_from_slice(&self.bytes);
            stamp.write(&mut out[start + self.payload_at..]);
        }
    }
}

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Indications get no answer, so any transaction ID serves.
const TRANSACTION: [u8; 12] = *b"meetpointldg";

/// Value of XOR-PEER-ADDRESS (RFC 8489 §14.2).
fn xor_address(address: SocketAddr) -> Vec<u8> {
    let mask = [MAGIC_COOKIE.as_slice(), TRANSACTION.as_slice()].concat();
    let (family, octets) = match address {
        SocketAddr::V4(v4) => (1, v4.ip().octets().to_vec()),
        SocketAddr::V6(v6) => (2, v6.ip().octets().to_vec()),
    };
    let port = address.port() ^ 0x2112;
    let mut value = vec![0, family];
    value.extend_from_slice(&port.to_be_bytes());
    value.extend(octets.iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    value
}

/// Finds the payload in what a client received: ChannelData, a Data indication, or bare.
pub(crate) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    match *packet.first()? {
        0x40..=0x7F if packet.get(..4)? != MAGIC => {
            let len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            packet.get(4..4 + len)
        }
        0x00 => {
            let mut rest = packet.get(20..)?;
            loop {
                let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
                let len = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
                if kind == 0x0013 {
                    return rest.get(4..4 + len);
                }
                rest = rest.get(4 + len.next_multiple_of(4)..)?;
            }
        }
        _ => Some(packet),
    }
}

#[cfg(test)]
mod tests {
    use super::{Stamp, Template, unwrap};
    use crate::Method;

    #[test]
    fn every_framing_gives_its_stamp_back() {
        let stamp = Stamp {
            run: 3,
            flow: 77,
            up: true,
            sent_nanos: 123_456_789_012,
        };
        let peer = "[2001:db8::1]:4000".parse().unwrap();
        for method in [Method::Channel, Method::Send, Method::Direct] {
            for size in [24, 25, 160, 1200] {
                let template = Template::new(method, 0x4001, peer, size);
                let mut out = Vec::new();
                template.write(&mut out, 2, stamp);
                assert_eq!(out.len(), 2 * template.len());
                for packet in out.chunks(template.len()) {
                    let payload = unwrap(packet).unwrap();
                    assert_eq!(payload.len(), size);
                    assert_eq!(Stamp::read(payload), Some(stamp));
                }
            }
        }
    }

    #[test]
    fn a_send_indication_is_one_that_the_stun_crate_reads() {
        use turn::proto::{data::Data, peeraddr::PeerAddress};
        let template = Template::new(Method::Send, 0, "192.0.2.1:3480".parse().unwrap(), 161);
        let mut message = stun::message::Message::new();
        message.unmarshal_binary(&template.bytes).unwrap();
        let (mut peer, mut data) = (PeerAddress::default(), Data::default());
        stun::message::Getter::get_from(&mut peer, &message).unwrap();
        stun::message::Getter::get_from(&mut data, &message).unwrap();
        assert_eq!(peer.to_string(), "192.0.2.1:3480");
        assert_eq!(data.0.len(), 161);
    }

    #[test]
    fn truncated_packets_have_no_payload() {
        assert_eq!(unwrap(&[]), None);
        assert_eq!(unwrap(&[0x40, 1, 0, 9, 1]), None);
        assert_eq!(unwrap(&[0, 0x17, 0, 0]), None);
        assert_eq!(Stamp::read(b"mpld\0\0"), None);
    }
}
